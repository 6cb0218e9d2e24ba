//! The node's logs: the store, and what the broker knows of each partition beside its log.
//!
//! Invariant: nothing of a partition is shown or acknowledged before its topic's creation is on
//! disk (`settles_at`), so that what a client was told cannot belong to a topic that a crash undid.

use std::collections::BTreeMap;

use tidings_coordinator::TransactionVersion;
use tidings_log::{
    AppendAt, AppendRefused, BatchBuilder, Fault, FaultKind, LogId, NewRecord, PartitionLog, Store,
};

use crate::catalog::CATALOG;
use crate::{Isolation, PartitionDescription, limits};

/// The leader epoch that a new partition has.
pub(crate) const FIRST_EPOCH: i32 = 0;

/// Of the batches that a coordinator writes for a producer.
const NO_SEQUENCE: i32 = -1;

/// The rules that a log applies to a producer that speaks this version.
pub(crate) fn log_version(version: TransactionVersion) -> tidings_log::TransactionVersion {
    match version {
        TransactionVersion::One => tidings_log::TransactionVersion::One,
        TransactionVersion::Two => tidings_log::TransactionVersion::Two,
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) folder: String,
    /// Why the log could not be opened: the partition is there, but not to be used.
    pub(crate) unopened: Option<Fault>,
    /// The catalog must be durable up to here before the partition counts.
    pub(crate) settles_at: i64,
    /// What its batches and answers carry (see [`crate::epochs`]).
    pub(crate) leader_epoch: i32,
    /// Bytes appended since the node started.
    pub(crate) appended_bytes: u64,
    /// The latest that [`Logs::append_time`] gave.
    append_time_ms: i64,
}

impl Partition {
    pub(crate) fn new(folder: String, settles_at: i64, leader_epoch: i32) -> Self {
        let (appended_bytes, append_time_ms) = (0, 0);
        Self { folder, unopened: None, settles_at, leader_epoch, appended_bytes, append_time_ms }
    }
}

/// Every log of the node, the catalog's own among them.
#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) store: Store,
    pub(crate) by_id: BTreeMap<LogId, Partition>,
}

impl Logs {
    pub(crate) fn get(&self, id: LogId) -> Option<&Partition> {
        self.by_id.get(&id)
    }

    pub(crate) fn leader_epoch(&self, id: LogId) -> i32 {
        self.by_id.get(&id).map_or(FIRST_EPOCH, |partition| partition.leader_epoch)
    }

    /// The log, if it could be opened.
    pub(crate) fn log(&self, id: LogId) -> Option<&PartitionLog> {
        self.store.log(id)
    }

    pub(crate) fn readable(&self, id: LogId) -> Result<&PartitionLog, String> {
        self.store.log(id).ok_or_else(|| match self.by_id.get(&id) {
            Some(Partition { folder, unopened: Some(fault), .. }) => {
                format!("{folder} could not be opened: {fault}")
            }
            _ => "the log is not there".to_owned(),
        })
    }

    /// The log, if it takes appends.
    pub(crate) fn writable(&self, id: LogId) -> Result<&PartitionLog, String> {
        let log = self.readable(id)?;
        match self.trouble(log) {
            Some(trouble) => Err(trouble),
            None => Ok(log),
        }
    }

    /// The time that the log gives a batch when the wall clock says `wall_ms`: while the node lives, never
    /// less than one before it got.
    pub(crate) fn append_time(&mut self, id: LogId, wall_ms: i64) -> i64 {
        let Some(partition) = self.by_id.get_mut(&id) else { return wall_ms };
        partition.append_time_ms = partition.append_time_ms.max(wall_ms);
        partition.append_time_ms
    }

    /// Why a log takes no more appends, and what to do.
    pub(crate) fn trouble(&self, log: &PartitionLog) -> Option<String> {
        match self.store.failed() {
            Some(fault) => Some(journal_trouble(fault)),
            None => log.failed().map(flush_trouble),
        }
    }

    /// The offset below which a log is on disk; 0 for a log that is not there.
    pub(crate) fn durable(&self, id: LogId) -> i64 {
        self.store.log(id).map_or(0, PartitionLog::durable_offset)
    }

    pub(crate) fn is_settled(&self, id: LogId) -> bool {
        let settles_at = self.by_id.get(&id).map(|partition| partition.settles_at);
        settles_at.is_none_or(|past| past <= self.durable(CATALOG))
    }

    /// The offset below which records may be shown.
    pub(crate) fn high_watermark(&self, id: LogId, log: &PartitionLog) -> i64 {
        if self.is_settled(id) { log.durable_offset() } else { log.start_offset() }
    }

    /// The offset below which no record belongs to an open transaction.
    pub(crate) fn last_stable_offset(&self, id: LogId, log: &PartitionLog) -> i64 {
        log.last_stable_offset().min(self.high_watermark(id, log))
    }

    /// The offset below which a reader of this isolation may be shown records.
    pub(crate) fn readable_until(
        &self,
        id: LogId,
        log: &PartitionLog,
        isolation: Isolation,
    ) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark(id, log),
            Isolation::Committed => self.last_stable_offset(id, log),
        }
    }

    pub(crate) fn describe(&self, id: LogId) -> PartitionDescription {
        let leader_epoch = self.leader_epoch(id);
        let Some(log) = self.store.log(id) else {
            return PartitionDescription {
                leader_epoch,
                start_offset: 0,
                high_watermark: 0,
                size_bytes: 0,
                writable: false,
                replicas: Vec::new(),
            };
        };
        PartitionDescription {
            leader_epoch,
            start_offset: log.start_offset(),
            high_watermark: self.high_watermark(id, log),
            size_bytes: log.size_bytes(),
            writable: self.trouble(log).is_none(),
            replicas: Vec::new(),
        }
    }

    /// Appends records of the broker's own; returns the offset after the last.
    pub(crate) fn append_own(
        &mut self,
        id: LogId,
        now_ms: i64,
        records: &[NewRecord],
    ) -> Result<i64, String> {
        self.append_batches(id, now_ms, records, BatchBuilder::new)
    }

    /// [`Self::append_own`] as part of the transaction of a producer.
    pub(crate) fn append_own_for(
        &mut self,
        id: LogId,
        now_ms: i64,
        records: &[NewRecord],
        (producer_id, epoch): (i64, i16),
    ) -> Result<i64, String> {
        let builder =
            || BatchBuilder::new().producer(producer_id, epoch, NO_SEQUENCE).transactional();
        self.append_batches(id, now_ms, records, builder)
    }

    fn append_batches(
        &mut self,
        id: LogId,
        now_ms: i64,
        records: &[NewRecord],
        new_builder: impl Fn() -> BatchBuilder,
    ) -> Result<i64, String> {
        self.writable(id)?;
        let at = AppendAt {
            now_ms,
            leader_epoch: self.leader_epoch(id),
            log_append_time: false,
            transactions: tidings_log::TransactionVersion::One,
        };
        let mut builder = new_builder();
        for (index, record) in records.iter().enumerate() {
            builder.push(record);
            let full = builder.size_bytes() >= limits::OWN_BATCH_BYTES_MAX;
            if full || index + 1 == records.len() {
                let batch = std::mem::replace(&mut builder, new_builder()).build();
                let appended = self.store.append_anyway(id, &batch, at);
                appended.map_err(|refused| append_trouble(&refused))?;
                self.count(id, batch.bytes().len());
            }
        }
        Ok(self.readable(id)?.end_offset())
    }

    /// Notes that so many bytes were appended.
    pub(crate) fn count(&mut self, id: LogId, bytes: usize) {
        if let Some(partition) = self.by_id.get_mut(&id) {
            partition.appended_bytes += bytes as u64;
        }
    }
}

/// What to tell a client whose append was refused.
pub(crate) fn append_trouble(refused: &AppendRefused) -> String {
    match refused {
        AppendRefused::Fault(fault) => storage_trouble(fault),
        other => other.to_string(),
    }
}

/// What to tell a client whose write met this fault.
pub(crate) fn storage_trouble(fault: &Fault) -> String {
    if fault.kind == FaultKind::NoSpace { no_space() } else { flush_trouble(fault) }
}

pub(crate) fn no_space() -> String {
    "the disk is full: no space is left for this write; free some space on the data directory's \
     disk, and writing goes on by itself"
        .to_owned()
}

/// What to tell when the journal has failed.
pub(crate) fn journal_trouble(fault: &Fault) -> String {
    format!(
        "the journal failed ({fault}): nothing more is acknowledged; look at the disk and restart \
         the node, which then takes what is on it; what was acknowledged can still be read"
    )
}

fn flush_trouble(fault: &Fault) -> String {
    format!(
        "{fault}: this partition takes no more writes; look at the disk and restart the node, \
         which then takes what is on it"
    )
}
