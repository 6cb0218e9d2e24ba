//! The suites: each measures raw limits and what stands beside them, in one round.

mod compaction;
mod disk;
mod engine;
mod executor;
mod journal;
mod partitions;
mod reads;
mod seam;
mod services;
mod startup;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use tidings_node::broker::log::{LogConfig, StoreConfig};

use crate::measured::{Heading, Measured, Table};
use crate::physical;
use crate::sizes::Sizes;

pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Round<'_>) -> anyhow::Result<()>,
}

pub(crate) const SUITES: [Suite; 11] = [
    Suite { name: "disk", about: "what the disk does by itself", run: disk::measure },
    Suite { name: "executor", about: "what writes the journal", run: executor::measure },
    Suite { name: "journal", about: "appends to a store", run: journal::measure },
    Suite { name: "partitions", about: "few and many logs", run: partitions::measure },
    Suite { name: "reads", about: "reads from memory and from disk", run: reads::measure },
    Suite { name: "compaction", about: "clean-up by key", run: compaction::measure },
    Suite { name: "startup", about: "opening a store", run: startup::measure },
    Suite { name: "engine", about: "the embedded engine", run: engine::measure },
    Suite { name: "services", about: "services of the SDK", run: services::measure },
    Suite { name: "values", about: "values by key, in memory and on disk", run: values::measure },
    Suite { name: "seam", about: "what the engines cost", run: seam::measure },
];

/// One round of one suite.
pub(crate) struct Round<'a> {
    /// Empty at the beginning, and deleted after.
    pub(crate) dir: PathBuf,
    pub(crate) span: Duration,
    pub(crate) sizes: Sizes,
    number: usize,
    table: &'a mut Table,
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        dir: PathBuf,
        span: Duration,
        sizes: Sizes,
        number: usize,
        table: &'a mut Table,
    ) -> Self {
        Self { dir, span, sizes, number, table }
    }

    fn put(&mut self, heading: Heading, measured: Measured) {
        self.table.put(heading, measured);
    }

    fn note(&mut self, name: &str, text: &str) {
        self.table.note(name, text);
    }

    /// A file for raw durable writes.
    fn raw_ring(&self) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("raw");
        if !path.exists() {
            physical::prepare_ring(&path)?;
        }
        Ok(path)
    }

    /// Measures raw durable writes of `size` bytes, `depth` at once, if this round has not; returns the
    /// row's name.
    fn raw_writes(&mut self, size: usize, depth: usize) -> anyhow::Result<String> {
        let name = format!("raw: {} KiB durable writes, {depth} at once", size / 1024);
        if self.table.rounds(&name) <= self.number {
            let path = self.raw_ring()?;
            let measured = physical::durable_writes(&path, size, depth, self.span)?;
            self.put(Heading::plain(&name), measured);
        }
        Ok(name)
    }
}

/// A node's, without what comes by itself: clean-up and scrubbing run where they are measured.
fn store_config() -> StoreConfig {
    StoreConfig { scrub_bytes_per_second: 0, ..StoreConfig::default() }
}

fn log_config() -> LogConfig {
    LogConfig { retention_ms: -1, ..LogConfig::KAFKA }
}
