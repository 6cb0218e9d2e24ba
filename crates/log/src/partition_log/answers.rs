//! What a log is asked and what it answers.

use super::TransactionVersion;
use crate::Fault;

/// The moment and epoch of an append; the log has no clock.
#[derive(Clone, Copy, Debug)]
pub struct AppendAt {
    pub now_ms: i64,
    pub leader_epoch: i32,
    /// Set when the topic uses log append time: timestamps become `now_ms`.
    pub log_append_time: bool,
    /// The rules that the batch's transaction follows, if it is part of one or ends one.
    pub transactions: TransactionVersion,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Accepted, not yet durable: wait for `durable_offset` to pass `last_offset`.
    Written { base_offset: i64, last_offset: i64 },
    /// The producer sent this batch before; it is at these offsets.
    Duplicate { base_offset: i64, last_offset: i64 },
}

/// Why a batch was not appended; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefused {
    #[error("sequence {got} of producer {producer_id} where {expected} was expected")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    #[error("epoch {got} of producer {producer_id} is older than {current}")]
    StaleEpoch { producer_id: i64, current: i16, got: i16 },
    /// The end of a transaction must have a newer epoch than its batches, or it may be an older one's.
    #[error(
        "the end of a transaction of producer {producer_id} has epoch {current}, as its batches"
    )]
    EpochNotRaised { producer_id: i64, current: i16 },
    #[error("coordinator epoch {got} for producer {producer_id} is older than {current}")]
    CoordinatorFenced { producer_id: i64, current: i32, got: i32 },
    #[error(
        "producer {producer_id} has a transaction open since offset {first_offset}, and sent a batch \
         that is not part of it"
    )]
    TransactionOpen { producer_id: i64, first_offset: i64 },
    #[error("{limit} transactions are open in this partition already")]
    TooManyTransactions { limit: usize },
    /// More has been accepted than the disk has kept up with; the same append may succeed later.
    #[error("the disk does not keep up with what has been accepted")]
    Congested,
    /// The disk would not take it; nothing was appended. With one that
    /// [passes](crate::FaultKind::passes) a later append may succeed; any other has poisoned the log.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why nothing was read.
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
