//! Reads of a log's newest batches, which are in memory, and of a log that is only on disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tidings_node::FileDisk;
use tidings_node::broker::log::{Disk as _, LogId, OpenMode, Reading, Store};

use crate::measured::{Heading, Limit, Measured};
use crate::owner::{self, Logs, Owner};
use crate::physical;
use crate::suite::{Round, log_config, store_config};

const READ_BYTES: usize = 1 << 20;
/// Stays in memory: less than the cache's budget.
const TAIL_BYTES: u64 = 64 << 20;

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let dir = round.dir.join("store");
    let logs = Logs { count: 1, config: log_config() };
    let batch = owner::batch(16, 1000);

    let mut owner = Owner::open(&dir, store_config(), logs)?;
    owner.fill(&batch, 1, TAIL_BYTES)?;
    let measured = read_again(&owner.store, round.span)?;
    round.put(Heading::plain("read 1 MiB, from memory"), measured);

    owner.fill(&batch, 1, round.sizes.cold_bytes)?;
    owner.close()?;
    let segments = segments(&dir.join("bench-0"))?;
    let largest = segments.first().context("a log that was closed has a segment")?;
    let limit = "raw: 1 MiB direct reads, 8 at once";
    round.put(Heading::plain(limit), physical::direct_reads(largest, 8)?);
    physical::forget(largest)?;
    let measured = read_file(&dir, largest)?;
    let limit = || Limit::Bytes(limit.to_owned());
    round.put(Heading::against("read 1 MiB of a file, from disk", limit(), ""), measured);
    for segment in &segments {
        physical::forget(segment)?;
    }
    let owner = Owner::open(&dir, store_config(), logs)?;
    let measured = read_through(&owner.store)?;
    round.put(Heading::against("read 1 MiB, from disk", limit(), ">= 70 %"), measured);
    let measured = read_through(&owner.store)?;
    round.put(Heading::plain("read 1 MiB, from disk once more"), measured);
    owner.close()
}

/// By the node's disk, which chooses how.
fn read_file(dir: &Path, path: &Path) -> anyhow::Result<Measured> {
    let disk = FileDisk::open(dir)?;
    let name = path.strip_prefix(dir)?.to_str().context("a name of ours")?;
    let file = disk.open(name, OpenMode::Existing)?;
    let (mut latencies, mut bytes, mut buffer) = (Vec::new(), 0, vec![0; READ_BYTES]);
    let start = Instant::now();
    loop {
        let begun = Instant::now();
        let read = file.read_at(&mut buffer, bytes)?;
        if read == 0 {
            return Ok(Measured::of(latencies, bytes, start.elapsed()));
        }
        latencies.push(begun.elapsed());
        bytes += read as u64;
    }
}

/// From one end to the other until `span` is over.
fn read_again(store: &Store, span: Duration) -> anyhow::Result<Measured> {
    let (mut latencies, mut bytes, mut from) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        let Reading::Ready(batches) = store.read(LogId(0), from, i64::MAX, READ_BYTES)? else {
            anyhow::bail!("offset {from} is not in memory")
        };
        latencies.push(begun.elapsed());
        bytes += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        from = batches.last().map_or(0, |last| from + offsets(last, from));
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

/// From one end to the other, once.
fn read_through(store: &Store) -> anyhow::Result<Measured> {
    let end = store.log(LogId(0)).context("a log that is open")?.durable_offset();
    let (mut latencies, mut bytes, mut from) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while from < end {
        let begun = Instant::now();
        let batches = store.read_now(LogId(0), from, end, READ_BYTES)?;
        latencies.push(begun.elapsed());
        bytes += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        let last = batches.last().with_context(|| format!("nothing at offset {from}"))?;
        from += offsets(last, from);
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

/// How far the end of these batches is past `from`.
fn offsets(batches: &bytes::Bytes, from: i64) -> i64 {
    let last = tidings_node::broker::log::split(batches.clone()).filter_map(Result::ok).last();
    last.map_or(1, |batch| batch.last_offset() + 1 - from)
}

/// The data files in a log's folder, largest first.
fn segments(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            found.push((entry.metadata()?.len(), entry.path()));
        }
    }
    found.sort_unstable();
    ensure!(!found.is_empty(), "{} has no segment", dir.display());
    Ok(found.into_iter().rev().map(|(_, path)| path).collect())
}
