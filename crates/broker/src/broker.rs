//! The broker's main value.

use std::sync::Arc;

use tidings_log::{Disk, Fault};

use crate::{Reply, Request};
pub use tidings_coordinator::Now;

/// Names one submitted request until its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

#[derive(Debug)]
pub struct Completion {
    pub ticket: Ticket,
    pub reply: Reply,
}

/// What the broker is told once.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub node_id: i32,
    pub default_partitions: i32,
    pub auto_create_topics: bool,
    /// Free bytes below which produce is refused, kept for what must still work on a full disk.
    pub disk_reserve_bytes: u64,
    /// Seeds topic, member and cluster ids, so that a run can be repeated.
    pub seed: u64,
}

/// What opening found, for the operator.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    pub topics: usize,
    pub partitions: usize,
    /// One line for each partition that was cut, rebuilt or damaged.
    pub findings: Vec<String>,
}

/// The syncs of one group commit, to run away from the broker's thread.
#[derive(Debug)]
pub struct SyncBatch {}

impl SyncBatch {
    /// Runs every sync; the outcome goes back through [`Broker::sync_end`].
    pub fn run(&mut self) {
        todo!()
    }
}

#[derive(Debug)]
pub struct Broker {}

impl Broker {
    pub fn open(
        _disk: Arc<dyn Disk>,
        _config: BrokerConfig,
        _now: Now,
    ) -> Result<(Self, OpenReport), Fault> {
        todo!()
    }
    /// 22 characters of URL-safe base64, made at first start and kept.
    pub fn cluster_id(&self) -> &str {
        todo!()
    }
    pub fn submit(&mut self, _now: Now, _ticket: Ticket, _request: Request) {
        todo!()
    }
    /// The next finished request, if any.
    pub fn poll(&mut self) -> Option<Completion> {
        todo!()
    }
    /// When [`Broker::tick`] must be called next, in `Now::mono_ms` terms.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        todo!()
    }
    /// Acts on every timer that is due: sessions, rebalances, waiting fetches.
    pub fn tick(&mut self, _now: Now) {
        todo!()
    }
    /// What must be synced so that held replies can go; none when nothing is pending or a batch is
    /// already out.
    pub fn sync_begin(&mut self) -> Option<SyncBatch> {
        todo!()
    }
    pub fn sync_end(&mut self, _now: Now, _batch: SyncBatch) {
        todo!()
    }
    /// Tells the broker how much room the disk has; it refuses produce below its reserve.
    pub fn set_free_bytes(&mut self, _free: u64) {
        todo!()
    }
    /// Closes every log cleanly.
    pub fn close(&mut self) -> Result<(), Fault> {
        todo!()
    }
}
