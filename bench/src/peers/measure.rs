//! The measurements: each takes one running peer and puts its figures into the report.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::generator::{self, Ending};
use super::light::{Light, batch};
use super::order::order;
use super::peer::{Kind, Peer, Programs};
use super::report::{Column, Report, Row, Unit};
use super::services::services;
use super::{crowd, sink};
use crate::physical;

/// What a round is given.
pub(super) struct Round<'a> {
    pub(super) programs: &'a Programs,
    pub(super) dir: PathBuf,
    pub(super) span: Duration,
    pub(super) report: &'a mut Report,
}

pub(super) struct Measurement {
    pub(super) name: &'static str,
    /// Physical and client limits, measured before the peers in each round.
    pub(super) limit: fn(&mut Round<'_>) -> anyhow::Result<()>,
    pub(super) peer: fn(&mut Round<'_>, Kind) -> anyhow::Result<()>,
}

pub(super) const MEASUREMENTS: [Measurement; 9] = [
    Measurement { name: "start", limit: none, peer: start },
    Measurement { name: "produce", limit: client, peer: produce },
    Measurement { name: "latency", limit: flush, peer: latency },
    Measurement { name: "readers", limit: none, peer: readers },
    Measurement { name: "waiting", limit: none, peer: waiting },
    Measurement { name: "idle", limit: none, peer: idle },
    Measurement { name: "transactions", limit: none, peer: transactions },
    Measurement { name: "services", limit: none, peer: services },
    Measurement { name: "order", limit: none, peer: order },
];

const START: Row =
    Row { name: "start to first acknowledged record", unit: Unit::Milliseconds, wanted: "< 50 ms" };
const RESIDENT: Row =
    Row { name: "memory after the start", unit: Unit::Megabytes, wanted: "< 25 MB" };
const PRODUCE_100_1: Row = Row {
    name: "100 B batched, 1 partition",
    unit: Unit::PerSecond,
    wanted: ">= 1.5 M/s, >= 3 x kafka",
};
const PRODUCE_100_50: Row = Row {
    name: "100 B batched, 50 partitions",
    unit: Unit::PerSecond,
    wanted: ">= 1.5 M/s, >= 3 x kafka",
};
const PRODUCE_1K: Row = Row {
    name: "1 KB batched, 1 partition",
    unit: Unit::MegabytesPerSecond,
    wanted: ">= 600 MB/s",
};
const CPU: Row =
    Row { name: "processor time of a million of 100 B", unit: Unit::Seconds, wanted: "" };
const PEAK: Row = Row { name: "most memory while producing", unit: Unit::Megabytes, wanted: "" };
const E2E_P50: Row =
    Row { name: "end to end at 10,000/s, p50", unit: Unit::Milliseconds, wanted: "" };
const E2E_MEMORY_P50: Row =
    Row { name: "  without the disk, p50", unit: Unit::Milliseconds, wanted: "" };
const E2E_MEMORY_P99: Row =
    Row { name: "  without the disk, p99", unit: Unit::Milliseconds, wanted: "" };
const E2E_P99: Row = Row {
    name: "end to end at 10,000/s, p99",
    unit: Unit::Milliseconds,
    wanted: "<= 2 x limit, <= 0.2 x kafka flushing",
};
const HEAD: Row = Row {
    name: "ten readers at the head",
    unit: Unit::MegabytesPerSecond,
    wanted: ">= 1,500 MB/s",
};
const HEAD_READS: Row =
    Row { name: "  read from the disk for them", unit: Unit::Megabytes, wanted: "0" };
const QUIET_READS: Row =
    Row { name: "  read while there were none", unit: Unit::Megabytes, wanted: "" };
const COLD: Row = Row {
    name: "catching up from the disk",
    unit: Unit::MegabytesPerSecond,
    wanted: ">= 0.7 x limit",
};
const WAITING: Row =
    Row { name: "512 clients that wait", unit: Unit::PerSecond, wanted: ">= 20,000/s" };
const WAITING_P99: Row =
    Row { name: "512 clients that wait, p99", unit: Unit::Milliseconds, wanted: "" };
const CONNECTION: Row =
    Row { name: "an idle connection of 10,000", unit: Unit::Kilobytes, wanted: "<= 20 KB" };
const GROUPS: Row =
    Row { name: "1,000 idle groups, of one core", unit: Unit::Percent, wanted: "<= 3 %" };
const PLAIN: Row = Row { name: "8 producers, flush each 100", unit: Unit::PerSecond, wanted: "" };
const COMMITTED: Row = Row {
    name: "8 producers, transactions of 100",
    unit: Unit::PerSecond,
    wanted: ">= 95 % of the row above",
};

/// One topic everywhere, so that the sink need know only one.
const TOPIC: &str = "bench";
const FIFTY: i32 = 50;
const HEAD_BYTES: u64 = 64 << 20;
const COLD_BYTES: u64 = 1 << 30;
const READERS: usize = 10;
const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_GROUPS: usize = 1_000;
const RATE: u32 = 10_000;
/// Of small figures, which need a while.
const LIVE_FOR: Duration = Duration::from_secs(12);

impl Round<'_> {
    pub(super) fn start(&self, kind: Kind) -> anyhow::Result<Peer> {
        Peer::start(kind, self.programs, self.dir.join("peer"))
    }

    pub(super) fn put(&mut self, row: Row, kind: Kind, figure: f64) {
        self.report.put(row, Column::Peer(kind), figure);
    }

    fn limit(&mut self, row: Row, figure: f64) {
        self.report.put(row, Column::Limit, figure);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of several of this signature")]
fn none(_: &mut Round<'_>) -> anyhow::Result<()> {
    Ok(())
}

fn per_second(produced: generator::Produced) -> f64 {
    produced.messages as f64 / produced.took.as_secs_f64()
}

fn megabytes(produced: generator::Produced) -> f64 {
    produced.bytes as f64 / 1e6 / produced.took.as_secs_f64()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn percentile(latencies: &mut [Duration], percent: usize) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default()
}

fn start(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let batch = batch(100);
    let began = Instant::now();
    let peer = round.start(kind)?;
    let mut light = Light::connect(&peer.address)?;
    light.create(TOPIC, 1)?;
    light.produce(TOPIC, &batch)?;
    round.put(START, kind, millis(began.elapsed()));
    std::thread::sleep(Duration::from_secs(2));
    round.put(RESIDENT, kind, peer.process.resident()? as f64 / 1e6);
    Ok(())
}

fn client(round: &mut Round<'_>) -> anyhow::Result<()> {
    for (row, partitions, size) in
        [(PRODUCE_100_1, 1, 100), (PRODUCE_100_50, FIFTY, 100), (PRODUCE_1K, 1, 1000)]
    {
        let address = sink::start(TOPIC, partitions)?;
        let produced = generator::produce(&address, TOPIC, partitions, size, round.span)?;
        let figure = if size == 100 { per_second(produced) } else { megabytes(produced) };
        round.limit(row, figure);
    }
    Ok(())
}

fn produce(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    let mut light = Light::connect(&peer.address)?;
    for (row, partitions, size) in
        [(PRODUCE_100_1, 1, 100), (PRODUCE_100_50, FIFTY, 100), (PRODUCE_1K, 1, 1000)]
    {
        let topic = format!("{TOPIC}-{size}-{partitions}");
        light.create(&topic, partitions)?;
        // What is warm in a broker that has run for a while is warm here.
        generator::produce(&peer.address, &topic, partitions, size, round.span / 4)?;
        let cpu = peer.process.cpu()?;
        let produced = generator::produce(&peer.address, &topic, partitions, size, round.span)?;
        let cpu = peer.process.cpu()? - cpu;
        if size == 100 {
            round.put(row, kind, per_second(produced));
        } else {
            round.put(row, kind, megabytes(produced));
        }
        if (size, partitions) == (100, 1) {
            round.put(CPU, kind, cpu.as_secs_f64() * 1e6 / produced.messages as f64);
        }
    }
    round.put(PEAK, kind, peer.process.peak()? as f64 / 1e6);
    Ok(())
}

/// A write of 4 KiB at the end of a file and `fdatasync`, over and over.
fn flush(round: &mut Round<'_>) -> anyhow::Result<()> {
    let measured = physical::synced_writes(&round.dir.join("flushed"), 4096, round.span)?;
    round.limit(E2E_P50, millis(measured.median));
    round.limit(E2E_P99, millis(measured.worst_of_hundred));
    Ok(())
}

fn latency(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    let mut light = Light::connect(&peer.address)?;
    light.create(TOPIC, 1)?;
    // Warms both sides up.
    generator::open_loop(&peer.address, TOPIC, RATE, round.span / 2)?;
    let fresh = format!("{TOPIC}-2");
    light.create(&fresh, 1)?;
    let mut latencies = generator::open_loop(&peer.address, &fresh, RATE, round.span)?;
    round.put(E2E_P50, kind, millis(percentile(&mut latencies, 50)));
    round.put(E2E_P99, kind, millis(percentile(&mut latencies, 99)));
    if kind == Kind::Tidings {
        // What client, network and processors take of it.
        let memory = format!("{TOPIC}-memory");
        light.create_with(&memory, 1, &[("tidings.durability", "memory")])?;
        let mut latencies = generator::open_loop(&peer.address, &memory, RATE, round.span)?;
        round.put(E2E_MEMORY_P50, kind, millis(percentile(&mut latencies, 50)));
        round.put(E2E_MEMORY_P99, kind, millis(percentile(&mut latencies, 99)));
    }
    Ok(())
}

/// Fills partition 0 with records of 1 KB up to so many bytes; returns its end.
fn fill(peer: &Peer, bytes: u64) -> anyhow::Result<i64> {
    let mut filled = 0;
    while filled < bytes {
        let span = Duration::from_millis(200);
        filled += generator::produce(&peer.address, TOPIC, 1, 1000, span)?.bytes;
    }
    let mut light = Light::connect(&peer.address)?;
    let request = tidings_wire::list_offsets::Request {
        replica_id: -1,
        topics: vec![tidings_wire::list_offsets::Topic {
            name: TOPIC.to_owned(),
            partitions: vec![tidings_wire::list_offsets::Partition {
                timestamp: -1,
                ..tidings_wire::list_offsets::Partition::default()
            }],
        }],
        ..tidings_wire::list_offsets::Request::default()
    };
    let answer = light.call(1, &request)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.context("no offset")?.offset)
}

fn readers(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    Light::connect(&peer.address)?.create(TOPIC, 1)?;
    let end = fill(&peer, COLD_BYTES)?;
    // What is read without anybody asking: checking what is stored, as the scrubber does.
    let quiet = peer.process.disk_reads()?;
    std::thread::sleep(round.span);
    let quiet = peer.process.disk_reads()? - quiet;
    round.put(QUIET_READS, kind, quiet as f64 / 1e6);
    let from = end - (HEAD_BYTES / 1000) as i64;
    let (begun, bytes, reads) = (Instant::now(), AtomicU64::new(0), peer.process.disk_reads()?);
    std::thread::scope(|scope| {
        let read = || -> anyhow::Result<()> {
            let (mut light, mut buffer) = (Light::connect(&peer.address)?, Vec::new());
            let mut at = from;
            while begun.elapsed() < round.span {
                let (read, next) = light.fetch(TOPIC, at, &mut buffer)?;
                bytes.fetch_add(read, Ordering::Relaxed);
                at = if next >= end { from } else { next };
            }
            Ok(())
        };
        let running: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a reading thread panicked"),
        })
    })?;
    let took = begun.elapsed();
    round.put(HEAD, kind, bytes.into_inner() as f64 / 1e6 / took.as_secs_f64());
    let reads = (peer.process.disk_reads()? - reads).saturating_sub(quiet);
    round.put(HEAD_READS, kind, reads as f64 / 1e6);

    let peer = peer.restart(round.programs)?;
    let largest = forget(&peer.data())?;
    if kind == Kind::Tidings {
        // The disk swings from minute to minute, so its limit is that of our own turn.
        let direct = physical::direct_reads(&largest, 4)?;
        round.limit(COLD, direct.bytes as f64 / 1e6 / direct.took.as_secs_f64());
    }
    let (mut light, mut buffer) = (Light::connect(&peer.address)?, Vec::new());
    let (begun, mut at, mut bytes) = (Instant::now(), 0, 0);
    while at < end {
        let (read, next) = light.fetch(TOPIC, at, &mut buffer)?;
        ensure!(next > at, "no more comes from offset {at}");
        (at, bytes) = (next, bytes + read);
    }
    round.put(COLD, kind, bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// Takes every file of the folder out of the page cache; returns the largest.
fn forget(folder: &Path) -> anyhow::Result<PathBuf> {
    let (mut largest, mut length, mut folders) = (None, 0, vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let (path, meta) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            // A peer puts files beside the others and renames them.
            match std::fs::File::open(&path) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
            physical::forget(&path)?;
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if is_log && meta.len() > length {
                (largest, length) = (Some(path), meta.len());
            }
        }
    }
    largest.context("there are no segments")
}

fn waiting(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    Light::connect(&peer.address)?.create(TOPIC, 1)?;
    crowd::waiting(&peer.address, TOPIC, 512, round.span / 4)?;
    let measured = crowd::waiting(&peer.address, TOPIC, 512, round.span)?;
    let rate = measured.operations as f64 / measured.took.as_secs_f64();
    round.put(WAITING, kind, rate);
    round.put(WAITING_P99, kind, millis(measured.worst_of_hundred));
    Ok(())
}

fn idle(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    let runtime = crowd::runtime()?;
    let before = peer.process.resident()?;
    let idle = crowd::idle(&runtime, &peer.address, IDLE_CONNECTIONS)?;
    let after = peer.process.resident()?;
    drop(idle);
    let each = after.saturating_sub(before) as f64 / 1e3 / IDLE_CONNECTIONS as f64;
    round.put(CONNECTION, kind, each);

    let members = crowd::members(&runtime, &peer.address, IDLE_GROUPS)?;
    let cpu = peer.process.cpu()?;
    crowd::live(&runtime, members, LIVE_FOR)?;
    let cpu = peer.process.cpu()? - cpu;
    round.put(GROUPS, kind, cpu.as_secs_f64() / LIVE_FOR.as_secs_f64() * 100.0);
    Ok(())
}

fn transactions(round: &mut Round<'_>, kind: Kind) -> anyhow::Result<()> {
    let peer = round.start(kind)?;
    let mut light = Light::connect(&peer.address)?;
    for (row, ending) in [(PLAIN, Ending::Flush), (COMMITTED, Ending::Commit)] {
        let topic = format!("{TOPIC}-{ending:?}");
        light.create(&topic, 1)?;
        let measure = |span| generator::rounds(&peer.address, &topic, ending, 8, 100, span);
        measure(round.span / 4)?;
        round.put(row, kind, per_second(measure(round.span)?));
    }
    Ok(())
}
