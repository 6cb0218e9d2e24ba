//! What an application sees while a cluster's brokers fail: beats on every partition of a topic, a service that
//! answers each with an echo, and a member of a group that hears the echoes.
//!
//! Each partition has a lane of its own, which sends a beat when the one before it is acknowledged: so a silence of
//! the partition whose leader is gone is told from a silence of the others. A beat that was refused is sent again
//! with the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings::{Event, Id, Outcome, Outgoing, Publisher, Received, Service, decode, done};
use tidings_compat::eventually;
use tidings_engine::{Engine, NewTopic, Polled, SubscribeOptions, partition_of};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PATIENCE;

pub(super) const BEATS: &str = "probe.beats";
const ECHOES: &str = "probe.echoes";
pub(super) const LANES: i32 = 6;
/// Between an acknowledgement and the next beat of the lane.
const PAUSE: Duration = Duration::from_millis(20);
/// Beats of each lane, and echoes of each partition, after which it counts as going on.
const GOING_ON: usize = 20;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "probe.beats", key = "lane")]
struct Beat {
    lane: String,
    number: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "probe.echoes", key = "lane")]
struct Echo {
    lane: String,
    number: u64,
}

async fn echo(beat: Received<Beat>) -> Outcome<Echo> {
    done(Echo { lane: beat.lane.clone(), number: beat.number })
}

/// When something came, by partition, in order.
type Times = BTreeMap<i32, Vec<Instant>>;

#[derive(Default)]
struct Seen {
    acknowledged: Times,
    echoed: Times,
    /// Lane and number of each echo, as often as it came.
    echoes: Vec<(String, u64)>,
    beats: BTreeSet<(String, u64)>,
    refused: u64,
}

pub(super) struct Probe {
    runtime: Runtime,
    engine: Engine,
    service: tidings::Running,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    lanes: Vec<JoinHandle<()>>,
    listener: JoinHandle<()>,
}

/// The longest silence that ended after a moment, where there was anybody to be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silences {
    /// Of the partitions that a broker led.
    pub(super) led: Option<Duration>,
    /// Of the others.
    pub(super) others: Option<Duration>,
    /// Of the service, on any partition.
    pub(super) service: Option<Duration>,
}

impl Probe {
    pub(super) fn start(url: &str) -> Self {
        // What the engine and the service warn of belongs to what a failed drill shows.
        let logged =
            tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN);
        let (Ok(()) | Err(_)) = logged.with_writer(std::io::stderr).try_init();
        let runtime = Runtime::new().expect("a runtime");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let (engine, service, lanes, listener) = runtime.block_on(async {
            let engine = Engine::connect(url).await.expect("the cluster answers");
            for name in [BEATS, ECHOES] {
                let topic = NewTopic { partitions: Some(LANES), ..NewTopic::kept(name) };
                engine.create_topic(topic).await.expect("made");
            }
            let service = Service::new("probe").on(echo).start(&engine).await.expect("it starts");
            let mut lanes = Vec::new();
            for partition in 0..LANES {
                let publisher = Publisher::open(&engine, "probe").await.expect("a publisher");
                let lane = lane(publisher, partition, Arc::clone(&seen), stopped.clone());
                lanes.push(tokio::spawn(lane));
            }
            let listener = tokio::spawn(listen(engine.clone(), Arc::clone(&seen), stopped));
            (engine, service, lanes, listener)
        });
        Self { runtime, engine, service, seen, stop, lanes, listener }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    /// Waits until every lane and every partition of echoes has gone on for a while after a moment.
    pub(super) fn wait_until_it_goes_on(&self, since: Instant) {
        let goes_on = |times: &Times| {
            let after = |times: &Vec<Instant>| times.iter().filter(|at| **at > since).count();
            times.len() == LANES as usize && times.values().all(|times| after(times) >= GOING_ON)
        };
        let gone_on = eventually(PATIENCE, || {
            let seen = self.seen();
            (goes_on(&seen.acknowledged) && goes_on(&seen.echoed)).then_some(())
        });
        assert!(gone_on.is_some(), "the probe stands still: {}", self.state(since));
    }

    fn state(&self, since: Instant) -> String {
        let seen = self.seen();
        let after = |times: &Times| -> Vec<usize> {
            times.values().map(|t| t.iter().filter(|at| **at > since).count()).collect()
        };
        let (acknowledged, echoed) = (after(&seen.acknowledged), after(&seen.echoed));
        format!("acknowledged {acknowledged:?}, echoed {echoed:?}, refused {}", seen.refused)
    }

    /// The longest silences that ended after a moment, where a broker led these partitions.
    pub(super) fn silences(&self, since: Instant, led: &[i32]) -> Silences {
        let seen = self.seen();
        let of = |times: &Times, wanted: &dyn Fn(i32) -> bool| {
            let longest = times.iter().filter(|(at, _)| wanted(**at)).map(|(_, times)| {
                let pairs = times.windows(2).filter(|pair| pair[1] > since);
                pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
            });
            longest.max()
        };
        Silences {
            led: of(&seen.acknowledged, &|at| led.contains(&at)),
            others: of(&seen.acknowledged, &|at| !led.contains(&at)),
            service: of(&seen.echoed, &|_| true),
        }
    }

    /// Lets the service finish, and checks that each beat was echoed once.
    pub(super) fn finish(self) {
        let Self { runtime, engine, service, seen, stop, lanes, listener } = self;
        runtime.block_on(async {
            stop.send_replace(true);
            for lane in lanes {
                lane.await.expect("a lane does not panic");
            }
        });
        let all = eventually(PATIENCE, || {
            let seen = locked(&seen);
            (seen.echoes.len() >= seen.beats.len()).then_some(())
        });
        listener.abort();
        let seen = locked(&seen);
        let echoed: BTreeSet<&(String, u64)> = seen.echoes.iter().collect();
        let lost: Vec<_> = seen.beats.iter().filter(|beat| !echoed.contains(beat)).collect();
        assert!(all.is_some() && lost.is_empty(), "no echo of {lost:?}");
        assert_eq!(seen.echoes.len(), echoed.len(), "some beats were echoed twice");
        println!("{} beats were each echoed once, {} sends refused", echoed.len(), seen.refused);
        drop(seen);
        runtime.block_on(async {
            service.stop().await.expect("it stops");
            engine.close().await.expect("closed");
        });
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key whose records go to this partition.
fn key_of(partition: i32) -> String {
    let mut keys = (0..).map(|n: u32| format!("lane-{n}"));
    keys.find(|key| partition_of(key.as_bytes(), LANES) == partition).expect("keys go everywhere")
}

async fn lane(
    publisher: Publisher,
    partition: i32,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Receiver<bool>,
) {
    let lane = key_of(partition);
    for number in 0.. {
        let beat = Beat { lane: lane.clone(), number };
        let id = Id::derived(&["probe", &lane, &number.to_string()]);
        loop {
            match publisher.publish(vec![Outgoing::new(&beat).id(id.clone())]).await {
                Ok(_) => break,
                Err(_) => locked(&seen).refused += 1,
            }
        }
        {
            let mut seen = locked(&seen);
            seen.acknowledged.entry(partition).or_default().push(Instant::now());
            seen.beats.insert((lane.clone(), number));
        }
        if *stop.borrow() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(engine: Engine, seen: Arc<Mutex<Seen>>, stop: watch::Receiver<bool>) {
    let options = SubscribeOptions::default();
    let topics = [ECHOES.to_owned()];
    let mut member = engine.subscribe("listener", &topics, options).await.expect("a member");
    loop {
        let polled = match member.poll(500, Duration::from_secs(1)).await {
            Ok(polled) => polled,
            Err(error) => {
                println!("the listener: {error}");
                continue;
            }
        };
        let Polled::Records(records) = polled else { continue };
        let mut seen = locked(&seen);
        for record in records {
            let echo = decode::<Echo>(&record).expect("an echo");
            seen.echoes.push((echo.lane.clone(), echo.number));
            if !*stop.borrow() {
                seen.echoed.entry(record.partition).or_default().push(Instant::now());
            }
        }
    }
}
