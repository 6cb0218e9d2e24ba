//! One partition's log: segments, offset index, time index, producer state, recovery.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Batch, Disk, Fault};

/// What of a topic's configuration the log acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed before it would grow past this.
    pub segment_bytes: u32,
    /// Distance between two entries of the offset index.
    pub index_interval_bytes: u32,
}

/// The moment and epoch of an append; the log has no clock.
#[derive(Clone, Copy, Debug)]
pub struct AppendAt {
    pub now_ms: i64,
    pub leader_epoch: i32,
    /// Set when the topic uses log append time: timestamps become `now_ms`.
    pub log_append_time: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Written, not yet durable: wait for `durable_offset` to pass `last_offset`.
    Written { base_offset: i64, last_offset: i64 },
    /// The producer sent this batch before; it is at these offsets.
    Duplicate { base_offset: i64, last_offset: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefused {
    #[error("sequence {got} of producer {producer_id} where {expected} was expected")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    #[error("epoch {got} of producer {producer_id} is older than {current}")]
    StaleEpoch { producer_id: i64, current: i16, got: i16 },
    /// The disk would not take it; nothing was appended. With `FaultKind::NoSpace` a later append
    /// may succeed; any other fault has poisoned the log.
    #[error(transparent)]
    Fault(#[from] Fault),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    #[error("offset {wanted} is outside {first}..{next}")]
    OutOfRange { wanted: i64, first: i64, next: i64 },
    /// The bytes on disk from this offset on fail their check; they are not served.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes cut off the end because they were never whole; kept aside in the named file when any
    /// complete batch follows the damage.
    pub cut_bytes: u64,
    pub kept_aside: Option<String>,
    /// Index files that were rebuilt.
    pub rebuilt_indexes: u32,
    /// Damage that recovery leaves in place: reads of it are refused.
    pub damaged: Vec<Fault>,
}

/// An offset and the timestamp of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    pub offset: i64,
    pub timestamp: i64,
}

/// A partition's log. One owner; syncing may run elsewhere through [`SyncWork`].
#[derive(Debug)]
pub struct CommitLog {}

/// A sync to run away from the owner's thread; then tell the log with [`CommitLog::sync_end`].
#[derive(Debug)]
pub struct SyncWork {}

impl SyncWork {
    pub fn run(&self) -> Result<(), Fault> {
        todo!()
    }
}

impl CommitLog {
    /// Opens or creates the log in folder `dir`, recovering it; what it recovered is durable when
    /// this returns.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _dir: &str,
        _config: LogConfig,
    ) -> Result<(Self, Recovered), Fault> {
        todo!()
    }
    /// Assigns offsets, checks the producer's sequence and writes the batch.
    pub fn append(&mut self, _batch: &Batch, _at: AppendAt) -> Result<Appended, AppendRefused> {
        todo!()
    }
    /// Whole batches from the one that holds `from`, none starting at or past `until`, about
    /// `max_bytes` of them but at least one when there is one. Checksums are verified.
    pub fn read(&self, _from: i64, _until: i64, _max_bytes: usize) -> Result<Bytes, ReadRefused> {
        todo!()
    }
    pub fn start_offset(&self) -> i64 {
        todo!()
    }
    /// The offset after the last one written.
    pub fn end_offset(&self) -> i64 {
        todo!()
    }
    /// The offset after the last one that is on stable storage.
    pub fn durable_offset(&self) -> i64 {
        todo!()
    }
    /// First record at or after `timestamp` below `until`.
    pub fn offset_at_time(
        &self,
        _timestamp: i64,
        _until: i64,
    ) -> Result<Option<TimedOffset>, Fault> {
        todo!()
    }
    /// The record with the largest timestamp below `until` (the first of them).
    pub fn offset_of_max_timestamp(&self, _until: i64) -> Result<Option<TimedOffset>, Fault> {
        todo!()
    }
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }
    pub fn set_config(&mut self, _config: LogConfig) {
        todo!()
    }
    /// What must be synced to make everything written durable; none when nothing is pending.
    pub fn sync_begin(&mut self) -> Option<SyncWork> {
        todo!()
    }
    /// Takes the outcome of `work`: moves `durable_offset`, or poisons the log.
    pub fn sync_end(&mut self, _work: &SyncWork, _result: Result<(), Fault>) {
        todo!()
    }
    /// The fault after which this log takes no more appends.
    pub fn poisoned(&self) -> Option<&Fault> {
        todo!()
    }
    /// Syncs and writes indexes and producer snapshot, so that the next open need not scan.
    pub fn close(&mut self) -> Result<(), Fault> {
        todo!()
    }
}
