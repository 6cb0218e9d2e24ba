//! Group commit: one sync per log with unsynced bytes, run away from the broker's thread.

use tidings_log::{Fault, SyncWork};

use crate::broker::{Broker, Now};
use crate::catalog::LogId;
use crate::partition::poisoned;

/// The syncs of one group commit, to run away from the broker's thread.
#[derive(Debug)]
pub struct SyncBatch {
    parts: Vec<SyncPart>,
}

/// The sync of one log.
#[derive(Debug)]
pub struct SyncPart {
    log: LogId,
    work: SyncWork,
    result: Option<Result<(), Fault>>,
}

impl SyncPart {
    pub fn run(&mut self) {
        self.result = Some(self.work.run());
    }
}

impl SyncBatch {
    /// Runs every sync; the outcome goes back through [`Broker::sync_end`].
    pub fn run(&mut self) {
        self.parts.iter_mut().for_each(SyncPart::run);
    }

    /// The syncs one by one: they are independent, so an owner may run several at once.
    pub fn parts(&mut self) -> &mut [SyncPart] {
        &mut self.parts
    }
}

const fn sends<T: Send>() {}
const _: () = sends::<SyncBatch>();

impl Broker {
    /// What must be synced so that held replies can go; none when nothing is pending or a batch is
    /// already out.
    pub fn sync_begin(&mut self) -> Option<SyncBatch> {
        if self.sync_is_out {
            return None;
        }
        let mut parts = Vec::new();
        for log in std::mem::take(&mut self.dirty) {
            let held = self.logs.get_mut(log).and_then(|partition| partition.log.as_mut().ok());
            if let Some(work) = held.and_then(|held| held.sync_begin()) {
                parts.push(SyncPart { log, work, result: None });
            }
        }
        self.sync_is_out = !parts.is_empty();
        self.sync_is_out.then_some(SyncBatch { parts })
    }

    /// Takes back what [`Broker::sync_begin`] handed out, after [`SyncBatch::run`].
    pub fn sync_end(&mut self, now: Now, batch: SyncBatch) {
        self.sync_is_out = false;
        let mut synced = Vec::new();
        for part in batch.parts {
            let result = part.result.expect("a batch is run before it is given back");
            // A topic may have been deleted meanwhile.
            let Some(partition) = self.logs.get_mut(part.log) else { continue };
            let Ok(log) = &mut partition.log else { continue };
            log.sync_end(&part.work, result);
            if log.durable_offset() < log.end_offset() {
                self.dirty.insert(part.log);
            }
            synced.push(part.log);
        }
        for log in &synced {
            self.log_advanced(*log);
        }
        if synced.contains(&LogId::CATALOG) {
            let settled = self.settle_topics();
            synced.extend(settled);
        }
        self.carry_on_removals(now);
        self.wake_fetches(now, &synced);
    }

    /// A log's durable offset may have moved, or the log has failed: replies go.
    pub(crate) fn log_advanced(&mut self, id: LogId) {
        let Some(partition) = self.logs.get(id) else { return };
        let Ok(log) = &partition.log else { return };
        self.held.release(id, log.durable_offset());
        let Some(fault) = log.poisoned() else { return };
        let trouble = poisoned(fault);
        self.held.fail(id, &trouble);
        if id == LogId::CATALOG {
            self.fail_removals(&trouble);
        }
    }
}
