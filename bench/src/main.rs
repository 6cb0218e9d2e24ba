//! `tidings-bench`: what a durable append costs, beside what the disk can do at all.
//!
//! Each round measures the file system itself (write + fdatasync loops, reads from the page cache)
//! and then the embedded engine on the same file system; the table shows the median of the rounds
//! and the ratio to the physical figure of the same kind. Disks vary tenfold from minute to minute,
//! so a figure without the limit measured beside it says nothing.
//!
//! Limits: [`ROUNDS`] rounds of seven measurements of [`SPAN`] each, about 20 seconds in all; the
//! data stays below [`workload::BYTES_MAX`] per measurement and is deleted at the end.

mod physical;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Rounds whose median is shown.
const ROUNDS: usize = 3;
/// How long one measurement takes.
const SPAN: Duration = Duration::from_millis(800);

const USAGE: &str = "usage: tidings-bench [--dir DIR]
  --dir DIR   measure below DIR (default: the system's temporary directory)";

/// One measurement in one round.
#[derive(Clone, Copy, Debug)]
struct Measured {
    operations: u64,
    bytes: u64,
    took: Duration,
    /// Of one operation.
    median: Duration,
    worst_of_hundred: Duration,
}

impl Measured {
    /// Sums up latencies that were taken one after the other or side by side within `took`.
    fn of(mut latencies: Vec<Duration>, bytes: u64, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default()
        };
        let operations = latencies.len() as u64;
        Self { operations, bytes, took, median: at(50), worst_of_hundred: at(99) }
    }

    fn per_second(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// What a row is compared with.
#[derive(Clone, Copy)]
enum Limit {
    /// It is a limit itself.
    None,
    /// Operations per second of that row.
    Operations(&'static str),
    /// Bytes per second of that row.
    Bytes(&'static str),
}

struct Row {
    name: &'static str,
    limit: Limit,
    rounds: Vec<Measured>,
}

const SMALL_SYNCS: &str = "disk: 4 KiB write + fdatasync";
const LARGE_SYNCS: &str = "disk: 64 KiB write + fdatasync";
const CACHED_READS: &str = "page cache: 1 MiB reads";

fn main() -> anyhow::Result<()> {
    let parent = parse(std::env::args().skip(1))?;
    let dir = tempfile::Builder::new().prefix("tidings-bench-").tempdir_in(&parent);
    let dir = dir.with_context(|| format!("{} cannot be measured", parent.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows = [
        (SMALL_SYNCS, Limit::None),
        (LARGE_SYNCS, Limit::None),
        (CACHED_READS, Limit::None),
        ("append 100 B, 1 client", Limit::Operations(SMALL_SYNCS)),
        ("append 100 B, 64 clients", Limit::Operations(SMALL_SYNCS)),
        ("append 100 x 1 KB, 1 client", Limit::Bytes(LARGE_SYNCS)),
        ("append 100 x 1 KB, 8 clients", Limit::Bytes(LARGE_SYNCS)),
        ("read 1 KB records back", Limit::Bytes(CACHED_READS)),
    ]
    .map(|(name, limit)| Row { name, limit, rounds: Vec::new() });
    for round in 0..ROUNDS {
        let dir = dir.path().join(round.to_string());
        std::fs::create_dir(&dir)?;
        let disk = physical::measure(&dir, SPAN)?;
        let engine = runtime.block_on(workload::measure(&dir.join("engine"), SPAN))?;
        for (row, measured) in rows.iter_mut().zip(disk.into_iter().chain(engine)) {
            row.rounds.push(measured);
        }
        std::fs::remove_dir_all(&dir)?;
    }
    println!("below {}, median of {ROUNDS} rounds of {SPAN:?} each", parent.display());
    print(&rows);
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<PathBuf> {
    let mut dir = std::env::temp_dir();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dir" => dir = arguments.next().context("--dir needs a directory")?.into(),
            "--help" | "-h" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            unknown => bail!("unknown argument {unknown}\n{USAGE}"),
        }
    }
    Ok(dir)
}

fn print(rows: &[Row]) {
    let (ops, rate, ratio) = ("ops/s", "MB/s", "of limit");
    println!("{:<32} {ops:>10} {rate:>9} {:>9} {:>9} {ratio:>9}", "", "p50", "p99");
    for row in rows {
        let (ops, rate) =
            (row.median(Measured::per_second), row.median(Measured::megabytes_per_second));
        let p50 = row.median(|measured| measured.median.as_secs_f64() * 1e3);
        let p99 = row.median(|measured| measured.worst_of_hundred.as_secs_f64() * 1e3);
        let limit = |name| rows.iter().find(|row| row.name == name);
        let ratio = match row.limit {
            Limit::None => None,
            Limit::Operations(name) => limit(name).map(|l| ops / l.median(Measured::per_second)),
            Limit::Bytes(name) => {
                limit(name).map(|l| rate / l.median(Measured::megabytes_per_second))
            }
        };
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{:.0} %", ratio * 100.0));
        println!("{:<32} {ops:>10.0} {rate:>9.1} {p50:>6.2} ms {p99:>6.2} ms {ratio:>9}", row.name);
    }
}

impl Row {
    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
