//! A measurement, and the rows in which measurements of one kind from several rounds stand.

use std::time::Duration;

/// One measurement in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Of one operation.
    pub(crate) median: Duration,
    pub(crate) worst_of_hundred: Duration,
}

impl Measured {
    /// Sums up latencies that were taken one after the other or side by side within `took`.
    pub(crate) fn of(mut latencies: Vec<Duration>, bytes: u64, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default()
        };
        let operations = latencies.len() as u64;
        Self { operations, bytes, took, median: at(50), worst_of_hundred: at(99) }
    }

    /// One thing that was done once.
    pub(crate) fn once(bytes: u64, took: Duration) -> Self {
        Self::of(vec![took], bytes, took)
    }

    fn per_second(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// What a row is compared with.
#[derive(Clone, Debug)]
pub(crate) enum Limit {
    /// It is a limit itself, or has none.
    None,
    /// Operations per second of that row.
    Operations(String),
    /// Bytes per second of that row.
    Bytes(String),
    /// How much longer the median operation takes than that row's.
    Latency(String),
    /// How much longer the slowest of a hundred takes than that row's.
    Worst(String),
}

/// How a row is called, with what it is compared and what comparison is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub(crate) name: String,
    pub(crate) limit: Limit,
    pub(crate) wanted: &'static str,
}

impl Heading {
    pub(crate) fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), limit: Limit::None, wanted: "" }
    }

    pub(crate) fn against(name: impl Into<String>, limit: Limit, wanted: &'static str) -> Self {
        Self { name: name.into(), limit, wanted }
    }
}

/// Rows in the order in which they were first measured, and what was noted by the way.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    heading: Heading,
    rounds: Vec<Measured>,
}

impl Table {
    pub(crate) fn put(&mut self, heading: Heading, measured: Measured) {
        match self.rows.iter_mut().find(|row| row.heading.name == heading.name) {
            Some(row) => row.rounds.push(measured),
            None => self.rows.push(Row { heading, rounds: vec![measured] }),
        }
    }

    /// A figure that is no rate and no time; the last round's stays.
    pub(crate) fn note(&mut self, name: &str, text: &str) {
        self.notes.retain(|note| !note.starts_with(name));
        self.notes.push(format!("{name}: {text}"));
    }

    /// How often the row of this name was measured.
    pub(crate) fn rounds(&self, name: &str) -> usize {
        self.row(name).map_or(0, |row| row.rounds.len())
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.heading.name == name)
    }

    pub(crate) fn print(&self) {
        let (ops, rate, ratio) = ("ops/s", "MB/s", "of limit");
        println!("{:<44} {ops:>10} {rate:>9} {:>10} {:>10} {ratio:>9}", "", "p50", "p99");
        for row in &self.rows {
            let (ops, rate) =
                (row.median(Measured::per_second), row.median(Measured::megabytes_per_second));
            let p50 = row.median(|measured| measured.median.as_secs_f64() * 1e3);
            let p99 = row.median(|measured| measured.worst_of_hundred.as_secs_f64() * 1e3);
            let ratio = self.ratio(row).unwrap_or_default();
            let name = &row.heading.name;
            let wanted = row.heading.wanted;
            println!(
                "{name:<44} {ops:>10.0} {rate:>9.1} {p50:>7.3} ms {p99:>7.3} ms {ratio:>9}  {wanted}"
            );
        }
        for note in &self.notes {
            println!("{note}");
        }
    }

    fn ratio(&self, row: &Row) -> Option<String> {
        let of = |name: &str, figure: fn(&Measured) -> f64| {
            let limit = self.row(name)?;
            // Round by round: a disk's speed changes from one to the next.
            let ratios = row.rounds.iter().zip(&limit.rounds);
            Some(median(ratios.map(|(row, limit)| figure(row) / figure(limit)).collect()))
        };
        let percent = |ratio: f64| format!("{:.0} %", ratio * 100.0);
        let times = |ratio: f64| format!("{ratio:.2} x");
        match &row.heading.limit {
            Limit::None => None,
            Limit::Operations(name) => of(name, Measured::per_second).map(percent),
            Limit::Bytes(name) => of(name, Measured::megabytes_per_second).map(percent),
            Limit::Latency(name) => of(name, |measured| measured.median.as_secs_f64()).map(times),
            Limit::Worst(name) => {
                of(name, |measured| measured.worst_of_hundred.as_secs_f64()).map(times)
            }
        }
    }
}

impl Row {
    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
