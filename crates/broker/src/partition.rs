//! A partition: its log, or why it has none.
//!
//! Invariant: nothing of a partition is shown or acknowledged before its topic's creation is on
//! disk (`settled`), so that what a client was told cannot belong to a topic that a crash undid.

use std::collections::BTreeMap;

use tidings_log::{AppendAt, AppendRefused, BatchBuilder, CommitLog, Fault, FaultKind, NewRecord};

use crate::catalog::LogId;
use crate::{PartitionDescription, limits};

/// The leader epoch of every partition: one node never changes leaders.
pub(crate) const LEADER_EPOCH: i32 = 0;

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) folder: String,
    /// The fault when the log could not be opened: the partition is there, but not to be used.
    pub(crate) log: Result<CommitLog, Fault>,
    /// The catalog must be durable up to here before the partition counts.
    pub(crate) settles_at: i64,
}

impl Partition {
    /// The log, if it takes appends.
    pub(crate) fn writable(&mut self) -> Result<&mut CommitLog, String> {
        match &mut self.log {
            Err(fault) => Err(unopened(&self.folder, fault)),
            Ok(log) => match log.poisoned() {
                Some(fault) => Err(poisoned(fault)),
                None => Ok(log),
            },
        }
    }

    pub(crate) fn readable(&self) -> Result<&CommitLog, String> {
        self.log.as_ref().map_err(|fault| unopened(&self.folder, fault))
    }

    pub(crate) fn describe(&self, catalog_durable: i64) -> PartitionDescription {
        let Ok(log) = &self.log else {
            return PartitionDescription {
                leader_epoch: LEADER_EPOCH,
                start_offset: 0,
                high_watermark: 0,
                size_bytes: 0,
                writable: false,
            };
        };
        PartitionDescription {
            leader_epoch: LEADER_EPOCH,
            start_offset: log.start_offset(),
            high_watermark: self.high_watermark(log, catalog_durable),
            size_bytes: log.size_bytes(),
            writable: log.poisoned().is_none(),
        }
    }

    /// The offset below which records may be shown.
    pub(crate) fn high_watermark(&self, log: &CommitLog, catalog_durable: i64) -> i64 {
        if self.settles_at <= catalog_durable { log.durable_offset() } else { log.start_offset() }
    }
}

/// Every log of the node, the catalog's own among them.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) by_id: BTreeMap<LogId, Partition>,
}

impl Logs {
    pub(crate) fn get(&self, id: LogId) -> Option<&Partition> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LogId) -> Option<&mut Partition> {
        self.by_id.get_mut(&id)
    }

    /// The offset below which a log is on disk; 0 for a log that is not there.
    pub(crate) fn durable(&self, id: LogId) -> i64 {
        let log = self.by_id.get(&id).and_then(|partition| partition.log.as_ref().ok());
        log.map_or(0, CommitLog::durable_offset)
    }

    /// Appends records of the broker's own; returns the offset after the last.
    pub(crate) fn append_own(
        &mut self,
        id: LogId,
        now_ms: i64,
        records: &[NewRecord],
    ) -> Result<i64, String> {
        let partition = self.by_id.get_mut(&id).ok_or("the log is not there")?;
        let log = partition.writable()?;
        let at = AppendAt { now_ms, leader_epoch: LEADER_EPOCH, log_append_time: false };
        let mut builder = BatchBuilder::new();
        for (index, record) in records.iter().enumerate() {
            builder.push(record);
            let full = builder.size_bytes() >= limits::OWN_BATCH_BYTES_MAX;
            if full || index + 1 == records.len() {
                let batch = std::mem::take(&mut builder).build();
                log.append(&batch, at).map_err(|refused| append_trouble(&refused))?;
            }
        }
        Ok(log.end_offset())
    }
}

fn append_trouble(refused: &AppendRefused) -> String {
    match refused {
        AppendRefused::Fault(fault) => storage_trouble(fault),
        other => other.to_string(),
    }
}

/// What to tell a client whose write met this fault.
pub(crate) fn storage_trouble(fault: &Fault) -> String {
    if fault.kind == FaultKind::NoSpace { no_space() } else { poisoned(fault) }
}

fn no_space() -> String {
    "the disk is full: no space is left for this write; free some space on the data directory's \
     disk, and writing goes on by itself"
        .to_owned()
}

pub(crate) fn below_reserve(free: u64, reserve: u64) -> String {
    format!(
        "the disk is full: {free} bytes are free and {reserve} are kept in reserve; free some \
         space on the data directory's disk, and producing goes on by itself"
    )
}

pub(crate) fn poisoned(fault: &Fault) -> String {
    format!(
        "{fault}: this log takes no more writes; a restart of the node recovers what is on disk"
    )
}

fn unopened(folder: &str, fault: &Fault) -> String {
    format!("{folder} could not be opened: {fault}")
}
