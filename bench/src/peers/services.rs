//! A service's work, exactly once: of each order a payment. Ours is two instances of the SDK on the embedded engine, in this
//! process; theirs is two threads of Kafka Streams with `exactly_once_v2` on a broker of its own, in a process of its own, without the envelopes that ours reads,
//! checks and writes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tidings::Service;
use tidings_engine::Engine;

use super::measure::Round;
use super::peer::{Kind, java};
use super::report::{Row, Unit};
use crate::orders::{PARTITIONS, fill, pay};

const EVENTS: u64 = 500_000;

const HANDLED: Row = Row {
    name: "a service's events, exactly once",
    unit: Unit::PerSecond,
    wanted: ">= 200,000/s, >= 3 x kafka",
};

pub(super) fn services(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let took = match kind {
        Kind::Tidings => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(ours(round))?,
        Kind::Kafka | Kind::KafkaFlushing => streams(round, kind)?,
        Kind::Tansu => bail!("it has no services"),
    };
    round.put(HANDLED, kind, EVENTS as f64 / took.as_secs_f64());
    Ok(())
}

async fn ours(round: &Round<'_>) -> anyhow::Result<Duration> {
    let engine = Engine::open(round.dir.join("services")).await?;
    fill(&engine, EVENTS).await?;
    let begun = Instant::now();
    let mut instances = Vec::new();
    for _ in 0..PARTITIONS {
        instances.push(Service::new("payment").on(pay).start(&engine).await?);
    }
    while instances.iter().map(|instance| instance.figures().emitted).sum::<u64>() < EVENTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    for instance in instances {
        instance.stop().await?;
    }
    engine.close().await?;
    Ok(took)
}

/// What `compat/java/streams/Payments.java` says.
fn streams(round: &Round<'_>, kind: Kind) -> anyhow::Result<Duration> {
    let peer = round.start(kind)?;
    let mut command = java(round.programs, "-Xmx1g", "streams.Payments")?;
    command.arg(&peer.address).arg(round.dir.join("streams")).arg(EVENTS.to_string());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "Kafka Streams ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let millis = said.trim().parse().with_context(|| format!("Kafka Streams said {said:?}"))?;
    Ok(Duration::from_millis(millis))
}
