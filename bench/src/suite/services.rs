//! What services of the SDK do on the embedded engine, on disk: every event's effect exactly once, in one
//! transaction with its position.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidings::{Backoff, Dep, Outcome, Publisher, Received, Service, done, retry};
use tidings_engine::Engine;

use crate::measured::{Heading, Limit, Measured};
use crate::orders::{KEYS, Order, Payment, fill, order, pay};
use crate::suite::Round;

/// Events of one throughput measurement.
const EVENTS: u64 = 200_000;
/// Events one by one, each waited for.
const SINGLE: usize = 200;
/// Events and their rate where some fail.
const STEADY: u64 = 12_000;
const PER_SECOND: u64 = 4_000;
/// One event in so many fails at its first attempt.
const FAILS_ONE_IN: u64 = 20;
const HEALTHY: &str = "until handled, 4,000/s, nothing fails";

async fn swallow(_: Received<Order>) -> Outcome<()> {
    done(())
}

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let raw = round.raw_writes(4 << 10, 1)?;
    let dir = round.dir.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = Engine::open(dir.join("services")).await?;
        fill(&engine, EVENTS).await?;
        for (name, service) in [
            ("handle, no effects", Service::new("nothing").on(swallow)),
            ("handle, one event out", Service::new("pay").on(pay)),
        ] {
            let begun = Instant::now();
            let running = service.start(&engine).await?;
            running.until(|figures| figures.processed == EVENTS).await;
            running.stop().await?;
            let took = begun.elapsed();
            let of_one = took / u32::try_from(EVENTS)?;
            let measured = Measured {
                operations: EVENTS,
                bytes: 0,
                took,
                median: of_one,
                worst_of_hundred: of_one,
            };
            round.put(Heading::plain(name), measured);
        }
        let single = one_by_one(&engine).await?;
        round.put(Heading::against("one event, until committed", Limit::Latency(raw), ""), single);
        round.put(Heading::plain(HEALTHY), steady(&engine, "steady", false).await?);
        let limit = Limit::Latency(HEALTHY.to_owned());
        let failing = steady(&engine, "failing", true).await?;
        round.put(Heading::against("the same, healthy keys where 5 % fail", limit, ""), failing);
        Ok(engine.close().await?)
    })
}

/// From the moment when an event is durable until its effect is.
async fn one_by_one(engine: &Engine) -> anyhow::Result<Measured> {
    let running = Service::new("single").on(pay).start(engine).await?;
    running.until(|figures| figures.processed == EVENTS).await;
    let till = Publisher::open(engine, "till").await?;
    let (mut latencies, begun) = (Vec::with_capacity(SINGLE), Instant::now());
    for number in 0..SINGLE as u64 {
        till.publish(vec![order(number, 0)]).await?;
        let published = Instant::now();
        running.until(|figures| figures.emitted > EVENTS + number).await;
        latencies.push(published.elapsed());
    }
    running.stop().await?;
    Ok(Measured::of(latencies, 0, begun.elapsed()))
}

/// What handlers of a steady load share.
struct Load {
    begun: Instant,
    first: u64,
    fails: bool,
    /// Of the keys of which nothing fails.
    latencies: Mutex<Vec<Duration>>,
}

impl Load {
    fn fails(&self, number: u64) -> bool {
        self.fails && number.is_multiple_of(FAILS_ONE_IN)
    }
}

async fn handle(event: Received<Order>, load: Dep<Arc<Load>>) -> Outcome<Payment> {
    if event.number < load.first {
        return done(Payment { key: event.key.clone(), number: event.number });
    }
    let waited = load.begun.elapsed().saturating_sub(Duration::from_micros(event.at));
    let mut latencies = load.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    // Whether it is the first attempt shows in how long it has waited.
    if load.fails(event.number) && waited < Duration::from_millis(400) {
        return retry("not now");
    }
    // A key of which one event fails is not healthy for as long as that waits.
    if !load.fails(event.number % KEYS) {
        latencies.push(waited);
    }
    done(Payment { key: event.key.clone(), number: event.number })
}

/// Events at a steady rate; how long each waited until it was handled.
async fn steady(engine: &Engine, name: &str, fails: bool) -> anyhow::Result<Measured> {
    let topic = engine.topic("orders").await?;
    let first: i64 = topic.partitions.iter().map(|partition| partition.end_offset).sum();
    let before = u64::try_from(first)?;
    let first = before.next_multiple_of(KEYS);
    let (begun, latencies) = (Instant::now(), Mutex::default());
    let load = Arc::new(Load { begun, first, fails, latencies });
    let pause = Duration::from_millis(500);
    let backoff = Backoff { first: pause, max: pause, attempts: 5 };
    let service = Service::new(name).on(handle).with(Arc::clone(&load)).retry(backoff);
    let running = service.start(engine).await?;
    running.until(|figures| figures.processed >= before).await;
    let till = Publisher::open(engine, "till").await?;
    let start = begun.elapsed();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let part = PER_SECOND / 200;
    for offset in (0..STEADY).step_by(usize::try_from(part)?) {
        ticks.tick().await;
        let at = u64::try_from(begun.elapsed().as_micros())?;
        let events = (offset..offset + part).map(|number| order(first + number, at));
        till.publish(events.collect()).await?;
    }
    running.until(|figures| figures.processed >= before + STEADY).await;
    running.stop().await?;
    let took = begun.elapsed() - start;
    let latencies =
        std::mem::take(&mut *load.latencies.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Measured::of(latencies, 0, took))
}
