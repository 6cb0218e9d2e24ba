//! A service under a steady load, with and without failures by turns on one engine: how long events wait until they
//! are handled.
//!
//! Of a phase with failures one event in [`FAILS_ONE_IN`] fails once, in one of three ways: it asks to be tried again, it
//! panics, it ends with an error of somebody else's. It is tried again after [`PAUSE`], and its key waits for it.
//! What is compared are the keys of which nothing fails. Service, producer and topics are the same in all phases, and the
//! phases are [`PHASES`], so that neither what warms up nor what fills up counts for one kind of them only.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tidings::{Backoff, Dep, Outcome, Publisher, Received, Running, Service, done, retry};
use tidings_engine::Engine;

use crate::measured::Measured;
use crate::orders::{KEYS, Order, Payment, order};

/// Events of a phase, and their rate.
const EVENTS: u64 = 12_000;
const PER_SECOND: u64 = 4_000;
/// So often are some of them published.
const TICK: Duration = Duration::from_millis(5);
const FAILS_ONE_IN: u64 = 20;
/// Between an event's failure and its next attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// Whether anything fails.
const PHASES: [bool; 4] = [false, true, true, false];

/// What was measured.
pub(crate) struct Drilled {
    pub(crate) healthy: Measured,
    /// The healthy keys where others fail.
    pub(crate) beside_failures: Measured,
}

/// The phase that is on.
#[derive(Default)]
struct Phase {
    /// Earlier events are of no interest.
    first: u64,
    fails: bool,
    /// Keys of which something fails, by number.
    unhealthy: HashSet<u64>,
    failed: HashSet<u64>,
    latencies: Vec<Duration>,
}

struct Load {
    begun: Instant,
    phase: Mutex<Phase>,
}

impl Load {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_micros(&self) -> anyhow::Result<u64> {
        Ok(u64::try_from(self.begun.elapsed().as_micros())?)
    }
}

/// How many of `one_in` kinds an event is, by its number.
fn fate(number: u64, one_in: u64) -> u64 {
    // Fibonacci hashing: numbers in a row are spread.
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % one_in
}

fn event_fails(number: u64) -> bool {
    fate(number, FAILS_ONE_IN) == 0
}

async fn handle(event: Received<Order>, load: Dep<Arc<Load>>) -> Outcome<Payment> {
    let number = event.number;
    let fails_now = {
        let mut phase = load.phase();
        let fails_now = phase.fails && number >= phase.first && event_fails(number);
        let fails_now = fails_now && phase.failed.insert(number);
        if number >= phase.first && !phase.unhealthy.contains(&(number % KEYS)) {
            let waited = load.begun.elapsed().saturating_sub(Duration::from_micros(event.at));
            phase.latencies.push(waited);
        }
        fails_now
    };
    if fails_now {
        match fate(number, FAILS_ONE_IN * 3) / FAILS_ONE_IN {
            0 => return retry("not now"),
            // A panic that nobody prints.
            1 => std::panic::resume_unwind(Box::new("a bug")),
            _ => _ = "many".parse::<u32>()?,
        }
    }
    done(Payment { key: event.key.clone(), number })
}

/// Runs all phases on an engine that has the topics of [`crate::orders`], and maybe orders.
pub(crate) async fn drill(engine: &Engine) -> anyhow::Result<Drilled> {
    let topic = engine.topic("orders").await?;
    let there: i64 = topic.partitions.iter().map(|partition| partition.end_offset).sum();
    let mut handled = u64::try_from(there)?;
    let mut next = handled.next_multiple_of(KEYS);
    let phase = Mutex::new(Phase { first: u64::MAX, ..Phase::default() });
    let load = Arc::new(Load { begun: Instant::now(), phase });
    let backoff = Backoff { first: PAUSE, max: PAUSE, attempts: 5 };
    let service = Service::new("drill").on(handle).with(Arc::clone(&load)).retry(backoff);
    let running = service.start(engine).await?;
    let till = Publisher::open(engine, "till").await?;
    // Before a phase counts there is one that does not.
    let mut measured: [(Vec<Duration>, Duration); 2] = Default::default();
    for (at, fails) in [false].into_iter().chain(PHASES).enumerate() {
        let begun = Instant::now();
        let unhealthy = (next..next + EVENTS).filter(|number| fails && event_fails(*number));
        let unhealthy = unhealthy.map(|number| number % KEYS).collect();
        *load.phase() = Phase { first: next, fails, unhealthy, ..Phase::default() };
        publish(&till, next, &load).await?;
        (handled, next) = (handled + EVENTS, next + EVENTS);
        until_handled(&running, handled).await?;
        let latencies = std::mem::take(&mut load.phase().latencies);
        ensure!(!latencies.is_empty(), "no key is healthy");
        if at > 0 {
            let (all, took) = &mut measured[usize::from(fails)];
            all.extend(latencies);
            *took += begun.elapsed();
        }
    }
    ensure!(running.figures().failed > 0, "nothing failed");
    running.stop().await?;
    let [healthy, beside_failures] = measured.map(|(all, took)| Measured::of(all, 0, took));
    Ok(Drilled { healthy, beside_failures })
}

/// A phase's events at their rate.
async fn publish(till: &Publisher, first: u64, load: &Load) -> anyhow::Result<()> {
    let part = PER_SECOND * u64::try_from(TICK.as_millis())? / 1_000;
    let mut ticks = tokio::time::interval(TICK);
    for offset in (0..EVENTS).step_by(usize::try_from(part)?) {
        ticks.tick().await;
        let at = load.elapsed_micros()?;
        let events = (offset..offset + part).map(|number| order(first + number, at));
        till.publish(events.collect()).await?;
    }
    Ok(())
}

async fn until_handled(running: &Running, events: u64) -> anyhow::Result<()> {
    let figures = running.until(|figures| figures.processed >= events).await;
    ensure!(figures.processed >= events, "the service ended: {figures:?}");
    Ok(())
}
