//! Order through failure: many keys, events that fail in three ways, instances that crash and come back, and in
//! the end every event's effect once and in the order of its key.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings::{
    Act, Backoff, Dep, Desk, Event, Outcome, Outgoing, Publisher, Received, Running, Selection,
    Service, decode, done, retry,
};
use tidings_engine::{Engine, NewTopic, Offset, ReadLimit};

const PATIENCE: Duration = Duration::from_secs(240);
const PARTITIONS: i32 = 4;
/// One event in so many fails before it works.
const FAILS_ONE_IN: u64 = 20;
/// One key in so many has an event that no attempt handles, until a person has redriven it.
const DIES_ONE_IN: u64 = 50;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "drill.steps", key = "key")]
struct Step {
    key: String,
    number: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "drill.taken", key = "key")]
struct Taken {
    key: String,
    number: u32,
}

/// How often each event was attempted, and which are healed.
#[derive(Default)]
struct World {
    attempts: Mutex<HashMap<(String, u32), u32>>,
    healed: Mutex<bool>,
}

fn hash(text: &str) -> u64 {
    // FNV-1a.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

async fn take(event: Received<Step>, world: Dep<Arc<World>>) -> Outcome<Taken> {
    let Step { key, number } = &*event;
    let fate = hash(&format!("{key}/{number}"));
    let attempt = {
        let mut attempts = world.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = attempts.entry((key.clone(), *number)).or_default();
        *attempts += 1;
        *attempts
    };
    if *number == 1
        && hash(key).is_multiple_of(DIES_ONE_IN)
        && !*world.healed.lock().expect("whole")
    {
        return retry("it cannot be handled yet");
    }
    if fate.is_multiple_of(FAILS_ONE_IN) && attempt <= 1 + u32::from(fate.is_multiple_of(3)) {
        match fate / FAILS_ONE_IN % 3 {
            0 => return retry("not now"),
            1 => panic!("a bug"),
            // An error of somebody else's.
            _ => _ = "many".parse::<u32>()?,
        }
    }
    if fate.is_multiple_of(7) {
        tokio::time::sleep(Duration::from_millis(fate % 5)).await;
    }
    done(Taken { key: key.clone(), number: *number })
}

async fn start(engine: &Engine, world: &Arc<World>) -> Running {
    let backoff =
        Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100), attempts: 4 };
    let service = Service::new("drill").on(take).with(Arc::clone(world)).retry(backoff);
    service.start(engine).await.expect("started")
}

/// Reads the whole output: the numbers of each key, in the log's order.
async fn taken(engine: &Engine) -> BTreeMap<String, Vec<u32>> {
    let limit = ReadLimit { records: 5_000, bytes: 4 << 20, wait: Duration::ZERO };
    let mut taken: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let end = engine.offset("drill.taken", partition, Offset::Latest).await.expect("an end");
        let mut next = 0;
        while next < end {
            let read = engine.read("drill.taken", partition, next, limit).await.expect("read");
            next = read.next;
            for record in read.records {
                let event = decode::<Taken>(&record).expect("a step");
                taken.entry(event.key.clone()).or_default().push(event.number);
            }
        }
    }
    taken
}

/// So many events of so many keys, in parts; two instances, of which one crashes after each part.
pub(crate) async fn drill(engine: &Engine, keys: u32, each: u32, crashes: u32) {
    for name in ["drill.steps", "drill.taken"] {
        let topic = NewTopic { partitions: Some(PARTITIONS), ..NewTopic::kept(name) };
        engine.create_topic(topic).await.expect("made");
    }
    let world: Arc<World> = Arc::default();
    let till = Publisher::open(engine, "till").await.expect("a publisher");
    let mut instances = vec![start(engine, &world).await, start(engine, &world).await];
    let names: Vec<String> = (0..keys).map(|n| format!("key-{n}")).collect();
    let publish = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let steps = names.iter().map(|key| Step { key: key.clone(), number });
            let events =
                steps.map(|step| Outgoing::new(&step).id(format!("{}-{number}", step.key)));
            till.publish(events.collect()).await.expect("published");
        }
    };
    let part = (each / crashes).max(1);
    let mut number = 0;
    while number < each {
        let until = (number + part).min(each);
        publish(number..until).await;
        number = until;
        // Dropped, as a crash would: what it had in hand is not committed.
        drop(instances.remove(0));
        instances.push(start(engine, &world).await);
    }

    let dying = names.iter().filter(|key| hash(key).is_multiple_of(DIES_ONE_IN)).count();
    assert!(dying > 0, "no key dies");
    let begun = Instant::now();
    let desk = Desk::of(engine, "drill");
    loop {
        let taken = taken(engine).await;
        let whole = taken.values().filter(|numbers| numbers.len() == each as usize).count();
        if whole + dying == keys as usize && desk.dead().await.expect("read").len() == dying {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{whole} of {keys} keys, {:?}", instances[0].figures());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // New events of the dead keys arrive while these are redriven.
    *world.healed.lock().expect("whole") = true;
    let redrive = Act::Redrive { per_second: Some(50), force: false };
    let given = desk.command("drill", Selection::All, redrive).await.expect("given");
    publish(each..each + part).await;
    let outcome = desk.outcome(&given, PATIENCE).await.expect("heard");
    assert_eq!((outcome.done, outcome.unheard), (dying as u64, 0));
    let all: Vec<u32> = (0..each + part).collect();
    let begun = Instant::now();
    loop {
        let taken = taken(engine).await;
        for (key, numbers) in &taken {
            assert!(all.starts_with(numbers), "{key}: {numbers:?}");
        }
        if taken.len() == names.len() && taken.values().all(|numbers| *numbers == all) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", instances[0].figures());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for instance in instances {
        instance.stop().await.expect("stopped");
    }
}

#[test]
fn order_holds_through_failures_and_crashes_on_the_embedded_log() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::TempDir::new().expect("a folder");
    runtime.block_on(async {
        let engine = Engine::open(folder.path()).await.expect("a log");
        drill(&engine, 1_000, 100, 10).await;
        engine.close().await.expect("closed");
    });
}
