//! Appends to one log of a store, awaited until durable, beside raw durable writes of the same sizes
//! and depths.

use std::time::Duration;

use tidings_node::broker::log::{Batch, LogConfig};

use crate::measured::{Heading, Limit, Measured};
use crate::owner::{self, Logs, Owner};
use crate::physical;
use crate::suite::{Round, log_config, store_config};

/// Clients that keep everything busy with batches of 16 KB.
const MANY_BATCHES: usize = 256;
/// How much longer than others the rows that compare durability on and off take, so that flushing is
/// part of what they measure.
const LONG: u32 = 4;

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let (small, large) = (owner::batch(1, 100), owner::batch(16, 1000));
    let span = round.span;

    let limit = round.raw_writes(4 << 10, 1)?;
    let measured = append(round, log_config(), &small, 1, span)?;
    let limit = Limit::Latency(limit);
    round.put(Heading::against("append 100 B, 1 client", limit, "<= 1.3 x"), measured);

    let limit = Limit::Operations(round.raw_writes(4 << 10, 8)?);
    let measured = append(round, log_config(), &small, 512, span)?;
    round.put(Heading::against("append 100 B, 512 clients", limit, ">= 20,000/s"), measured);

    let limit = Limit::Bytes(round.raw_writes(16 << 10, 4)?);
    let measured = append(round, log_config(), &large, 4, span)?;
    round.put(Heading::against("append 16 KB, 4 clients", limit, ">= 80 %"), measured);

    let limit = Limit::Bytes(round.raw_writes(1 << 20, 4)?);
    let measured = append(round, log_config(), &large, MANY_BATCHES, span)?;
    let name = format!("append 16 KB, {MANY_BATCHES} clients");
    round.put(Heading::against(name, limit, ""), measured);

    let volatile = LogConfig { volatile: true, ..log_config() };
    let name = "append 16 KB, durability off";
    let measured = append(round, volatile, &large, MANY_BATCHES, span * LONG)?;
    round.put(Heading::plain(name), measured);
    let raw = "raw: 1 MiB durable writes and 2 MiB appends, side by side";
    let growing = round.dir.join("growing");
    let written = physical::writes_beside_appends(&round.raw_ring()?, &growing, span)?;
    std::fs::remove_file(growing)?;
    round.put(Heading::plain(raw), written);
    let measured = append(round, log_config(), &large, MANY_BATCHES, span * LONG)?;
    let limit = Limit::Bytes(name.to_owned());
    round.put(Heading::against("append 16 KB, durability on", limit, ""), measured);
    let limit = Limit::Bytes(raw.to_owned());
    round.put(Heading::against("the same, beside the disk", limit, ">= 80 %"), measured);
    Ok(())
}

/// To a new store of one log.
fn append(
    round: &Round<'_>,
    config: LogConfig,
    batch: &Batch,
    clients: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    let dir = round.dir.join("store");
    let mut owner = Owner::open(&dir, store_config(), Logs { count: 1, config })?;
    // The journal's first chunks are prepared, and memory is not new to the process, before anything is
    // timed.
    owner.append(batch, 1, clients, span / 4, u64::MAX)?;
    if clients == MANY_BATCHES {
        owner.fill(batch, 1, store_config().cache_bytes)?;
    }
    let measured = owner.append(batch, 1, clients, span, u64::MAX)?;
    owner.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(measured)
}
