//! What services of the SDK do on the embedded engine, on disk: every event's effect exactly once, in one
//! transaction with its position.

use std::time::Instant;

use tidings::{Outcome, Publisher, Received, Service, done};
use tidings_engine::Engine;

use crate::drill::{Drilled, drill};
use crate::measured::{Heading, Limit, Measured};
use crate::orders::{Order, fill, order, pay};
use crate::suite::Round;

/// Events of one throughput measurement.
const EVENTS: u64 = 200_000;
/// Events one by one, each waited for.
const SINGLE: usize = 200;
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
        let Drilled { healthy, beside_failures } = drill(&engine).await?;
        round.put(Heading::plain(HEALTHY), healthy);
        let limit = Limit::Worst(HEALTHY.to_owned());
        let heading = Heading::against("the same, healthy keys where 5 % fail", limit, "<= 1.2");
        round.put(heading, beside_failures);
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
