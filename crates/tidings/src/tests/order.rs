//! Order per key through failure: keys that fail wait with what follows them, a person redrives them, and
//! others flow.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{Act, CommandOutcome, Dep, Desk, Outcome, Received, Selection, Service, done, retry};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct Step {
    order: String,
    number: u32,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "payments", key = "order")]
struct Taken {
    order: String,
    number: u32,
}

/// Orders that fail.
type Broken = Arc<Mutex<Vec<&'static str>>>;

async fn take(event: Received<Step>, broken: Dep<Broken>) -> Outcome<Taken> {
    if broken.lock().expect("whole").contains(&event.order.as_str()) {
        return retry(format!("{} is broken", event.order));
    }
    done(Taken { order: event.order.clone(), number: event.number })
}

async fn steps(engine: &Engine, steps: &[(&str, u32)]) {
    let events = steps.iter().map(|(order, number)| {
        let step = Step { order: (*order).to_owned(), number: *number };
        Outgoing::new(&step).id(format!("{order}-{number}"))
    });
    till(engine).await.publish(events.collect()).await.expect("published");
}

/// The numbers of each order, as they are in the output.
async fn taken(engine: &Engine) -> BTreeMap<String, Vec<u32>> {
    let mut taken: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for record in records(engine, "payments").await {
        let event = crate::decode::<Taken>(&record).expect("decodes");
        taken.entry(event.order.clone()).or_default().push(event.number);
    }
    taken
}

fn service(broken: &Broken) -> Service {
    Service::new("payment").on(take).with(Arc::clone(broken)).retry(QUICK)
}

const REDRIVE: Act = Act::Redrive { per_second: None, force: false };
const ALL_DONE: fn(u64) -> CommandOutcome = |done| CommandOutcome { done, left: 0, unheard: 0 };

#[tokio::test]
async fn a_dead_key_keeps_its_followers_until_it_is_redriven() {
    let engine = engine(2).await;
    let broken = Broken::new(Mutex::new(vec!["a"]));
    let running = service(&broken).start(&engine).await.expect("started");
    steps(&engine, &[("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]).await;
    until(&running, |f| f.dead_keys == 1 && f.parked == 3 && f.emitted == 2).await;
    running.stop().await.expect("stopped");

    // Another instance, which finds it in the changelog.
    let running = service(&broken).start(&engine).await.expect("started");
    steps(&engine, &[("a", 3), ("b", 2)]).await;
    until(&running, |f| f.parked == 4 && f.emitted == 1).await;
    let desk = Desk::of(&engine, "payment");
    let [dead] = &desk.dead().await.expect("read")[..] else { panic!("one key is dead") };
    let letter = dead_letters(&engine, "payment").await.remove(0);
    assert_eq!(dead.letters, [letter.id.expect("ours")]);
    assert_eq!((dead.cause.as_str(), dead.attempts, dead.followers), ("a is broken", 3, 3));
    assert_eq!((dead.key.as_deref(), dead.redrives), (Some(&b"a"[..]), 0));

    // Redriven too early it dies again, with a letter of its own moment.
    let given = desk.command("ann", Selection::All, REDRIVE).await.expect("given");
    assert_eq!(desk.outcome(&given, SOON).await, Ok(ALL_DONE(1)));
    until(&running, |f| f.dead == 1 && f.dead_keys == 1).await;
    broken.lock().expect("whole").clear();
    let of = Selection::Cause("a is broken".into());
    let given = desk.command("ann", of.clone(), REDRIVE).await.expect("given");
    assert_eq!(desk.outcome(&given, SOON).await, Ok(ALL_DONE(1)));
    until(&running, |f| f.parked == 0 && f.emitted == 5).await;
    running.stop().await.expect("stopped");
    let all = BTreeMap::from([("a".to_owned(), vec![0, 1, 2, 3]), ("b".to_owned(), vec![0, 1, 2])]);
    assert_eq!(taken(&engine).await, all);
    assert!(desk.dead().await.expect("read").is_empty());
    let audit = desk.audit().await.expect("read");
    let told: Vec<_> = audit.iter().map(|a| (a.by.as_str(), &a.of, a.done, a.left)).collect();
    assert_eq!(told, [("ann", &Selection::All, 1, 0), ("ann", &of, 1, 0)]);
}

#[tokio::test]
async fn a_command_is_heard_also_when_the_control_topic_was_made_anew() {
    let engine = engine(1).await;
    let broken = Broken::new(Mutex::new(vec!["a"]));
    let running = service(&broken).start(&engine).await.expect("started");
    let desk = Desk::of(&engine, "payment");
    steps(&engine, &[("a", 0), ("b", 0)]).await;
    until(&running, |f| f.dead_keys == 1 && f.emitted == 1).await;
    for dead in 1..=2 {
        let given = desk.command("ann", Selection::All, REDRIVE).await.expect("given");
        assert_eq!(desk.outcome(&given, SOON).await, Ok(ALL_DONE(1)));
        until(&running, |f| f.dead == dead + 1 && f.dead_keys == 1).await;
    }
    engine.delete_topic("payment.control").await.expect("deleted");
    broken.lock().expect("whole").clear();
    let given = desk.command("ann", Selection::All, REDRIVE).await.expect("given");
    assert_eq!(desk.outcome(&given, SOON).await, Ok(ALL_DONE(1)));
    until(&running, |f| f.parked == 0 && f.emitted == 2).await;
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_command_given_while_nobody_runs_is_carried_out_later_and_once() {
    let engine = engine(1).await;
    let broken = Broken::new(Mutex::new(vec!["a", "b"]));
    let running = service(&broken).start(&engine).await.expect("started");
    steps(&engine, &[("a", 0), ("b", 0), ("a", 1)]).await;
    // That both fail could be an outage, until another order shows that it is none.
    for n in 0.. {
        steps(&engine, &[("c", n)]).await;
        let figures = until(&running, |f| f.emitted > u64::from(n)).await;
        if figures.dead_keys == 2 {
            break;
        }
    }
    running.stop().await.expect("stopped");
    let desk = Desk::of(&engine, "payment");
    let dead = desk.dead().await.expect("read");
    let of = |key: &str| {
        let its = dead.iter().find(|dead| dead.key.as_deref() == Some(key.as_bytes()));
        Selection::Letter(its.expect("it is dead").letters[0].clone())
    };
    let edit = Act::Edit { value: r#"{"order":"a","number":100}"#.into() };
    let edited = desk.command("ann", of("a"), edit).await.expect("given");
    let discarded = desk.command("bob", of("b"), Act::Discard).await.expect("given");
    let unheard = CommandOutcome { done: 0, left: 0, unheard: 1 };
    assert_eq!(desk.outcome(&edited, Duration::ZERO).await, Ok(unheard));

    broken.lock().expect("whole").clear();
    for _ in 0..2 {
        let running = service(&broken).start(&engine).await.expect("started");
        until(&running, |f| f.parked == 0).await;
        assert_eq!(desk.outcome(&edited, SOON).await, Ok(ALL_DONE(1)));
        assert_eq!(desk.outcome(&discarded, SOON).await, Ok(ALL_DONE(1)));
        running.stop().await.expect("stopped");
    }
    let mut taken = taken(&engine).await;
    assert!(taken.remove("c").is_some_and(|numbers| numbers.is_sorted()));
    assert_eq!(taken, BTreeMap::from([("a".to_owned(), vec![100, 1])]));
}

#[tokio::test]
async fn many_failing_keys_are_an_outage_and_one_poison_key_is_not() {
    let engine = engine(1).await;
    let down: Arc<AtomicBool> = Arc::default();
    let handler = async |event: Received<Step>, down: Dep<Arc<AtomicBool>>| {
        if down.load(Ordering::SeqCst) || event.order == "poison" {
            return retry("no answer");
        }
        done(Taken { order: event.order.clone(), number: event.number })
    };
    let service = Service::new("payment").on_named("take", handler).with(Arc::clone(&down));
    let running = service.retry(QUICK).breaker(QUICK_PROBES).start(&engine).await.expect("started");
    let orders: Vec<String> = (0..40).map(|n| format!("order-{n}")).collect();
    let mut all: Vec<(&str, u32)> = orders.iter().map(|order| (order.as_str(), 0)).collect();
    all.insert(7, ("poison", 0));
    steps(&engine, &all).await;
    let figures = until(&running, |f| f.dead_keys == 1 && f.emitted == 40).await;
    assert_eq!((figures.dead, running.outage()), (1, None));

    down.store(true, Ordering::SeqCst);
    let more: Vec<(&str, u32)> = orders.iter().map(|order| (order.as_str(), 1)).collect();
    steps(&engine, &more).await;
    eventually(async || running.outage().is_some_and(|outage| outage.probes > 20)).await;
    let figures = running.figures();
    assert_eq!((figures.dead, figures.emitted), (1, 40), "nobody dies of an outage");
    assert!(figures.parked < 10, "{figures:?}");
    down.store(false, Ordering::SeqCst);
    until(&running, |f| f.emitted == 80).await;
    running.stop().await.expect("stopped");
    assert_eq!(running_orders(&taken(&engine).await), 40);
}

/// Orders of which both steps were taken in order.
fn running_orders(taken: &BTreeMap<String, Vec<u32>>) -> usize {
    taken.values().filter(|numbers| **numbers == [0, 1]).count()
}
