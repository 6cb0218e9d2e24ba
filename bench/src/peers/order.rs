//! Order through failure: how long events of healthy keys wait while others fail, beside how long all wait when nothing
//! does ([`crate::drill`]). Ours is a service on the embedded engine, theirs the same service on a broker.

use anyhow::bail;
use tidings_engine::Engine;

use super::measure::Round;
use super::peer::Kind;
use super::report::{Row, Unit};
use crate::drill::{Drilled, drill};
use crate::measured::Measured;
use crate::orders::make_topics;

const fn row(name: &'static str) -> Row {
    Row { name, unit: Unit::Milliseconds, wanted: "" }
}

const HEALTHY_P50: Row = row("handled at 4,000/s, p50");
const HEALTHY_P99: Row = row("handled at 4,000/s, p99");
const BESIDE_P50: Row = row("  healthy keys where 5 % of events fail, p50");
const BESIDE_P99: Row = row("  healthy keys where 5 % of events fail, p99");
const RATIO: Row =
    Row { name: "  of the p99 without failures", unit: Unit::Percent, wanted: "<= 120 %" };

pub(super) fn order(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let drilled = match kind {
        Kind::Tidings => {
            let folder = round.dir.join("order");
            runtime.block_on(async { drilled(Engine::open(folder).await?).await })?
        }
        Kind::Kafka | Kind::KafkaFlushing => {
            let peer = round.start(kind)?;
            let address = format!("kafka://{}", peer.address);
            runtime.block_on(async { drilled(Engine::connect(&address).await?).await })?
        }
        Kind::Tansu => bail!("it has no services"),
    };
    let Drilled { healthy, beside_failures } = drilled;
    let millis = |measured: &Measured| {
        [measured.median, measured.worst_of_hundred].map(|time| time.as_secs_f64() * 1e3)
    };
    let ([healthy_p50, healthy_p99], [beside_p50, beside_p99]) =
        (millis(&healthy), millis(&beside_failures));
    round.put(HEALTHY_P50, kind, healthy_p50);
    round.put(HEALTHY_P99, kind, healthy_p99);
    round.put(BESIDE_P50, kind, beside_p50);
    round.put(BESIDE_P99, kind, beside_p99);
    round.put(RATIO, kind, beside_p99 / healthy_p99 * 100.0);
    Ok(())
}

async fn drilled(engine: Engine) -> anyhow::Result<Drilled> {
    make_topics(&engine).await?;
    let drilled = drill(&engine).await?;
    engine.close().await?;
    Ok(drilled)
}
