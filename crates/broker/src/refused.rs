//! What the broker refuses, by what the caller can do about it. `server` maps each to Kafka's code.

use thiserror::Error;
use tidings_coordinator::TransactionRefused;
pub use tidings_coordinator::{ConsumerTrouble, GroupRefused, GroupTrouble};
use tidings_log::{BatchRefused, RefusalKind};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicRefused {
    #[error("topic does not exist")]
    Unknown,
    #[error("no topic has this id")]
    UnknownId,
    #[error("topic exists already")]
    Exists,
    #[error("the deletion of the topic that had this name is under way: try again")]
    NotYet,
    #[error("{0}")]
    InvalidName(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidReplication(String),
    #[error("{0}")]
    InvalidAssignment(String),
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error(
        "the client has created and deleted more partitions than its quota allows: try again later"
    )]
    OverQuota,
    /// A limit of the node is reached.
    #[error("{0}")]
    Full(String),
    #[error("topics are not deleted here (delete.topic.enable=false)")]
    DeletionDisabled,
    #[error("{0}")]
    Storage(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuotaRefused {
    #[error("{0}")]
    Invalid(String),
    #[error("Unsupported entity type {0}")]
    UnknownType(String),
    /// A limit of the node is reached.
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Storage(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProduceRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("no topic has this id")]
    UnknownId,
    #[error("{0} is written by the broker only")]
    Internal(String),
    /// The batch breaks a rule of the format or of its topic.
    #[error(transparent)]
    Batch(#[from] BatchRefused),
    #[error("batch of {size} bytes is larger than max.message.bytes {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("{0}")]
    OutOfOrderSequence(String),
    #[error("{0}")]
    StaleEpoch(String),
    /// The batch and its producer's transaction in this partition do not go together.
    #[error("{0}")]
    InvalidTransaction(String),
    #[error("a transactional batch in a request without a transactional id")]
    NoTransactionalId,
    #[error(transparent)]
    Transaction(#[from] TransactionRefused),
    /// The disk is full or failed; the text says what to do.
    #[error("{0}")]
    Storage(String),
}

impl ProduceRefused {
    /// Whether the log refused, or what its topic asks of records; otherwise it was not asked.
    pub(crate) fn knows_the_log(&self) -> bool {
        match self {
            Self::Batch(refused) => {
                refused.kind == RefusalKind::InvalidTimestamp || !refused.records.is_empty()
            }
            Self::OutOfOrderSequence(_) | Self::StaleEpoch(_) | Self::InvalidTransaction(_) => true,
            Self::UnknownPartition
            | Self::UnknownId
            | Self::Internal(_)
            | Self::TooLarge { .. }
            | Self::NoTransactionalId
            | Self::Transaction(_)
            | Self::Storage(_) => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeleteRecordsRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("{0} is the broker's own topic")]
    Internal(String),
    /// A compacted topic keeps the last record of each key, whatever its offset.
    #[error("records of {0} go by key (cleanup.policy=compact), not by offset")]
    Compacted(String),
    #[error("offset {wanted} is not between 0 and the high watermark {high_watermark}")]
    OutOfRange { wanted: i64, high_watermark: i64 },
    /// The disk is full or failed; the text says what to do.
    #[error("{0}")]
    Storage(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("no topic has this id")]
    UnknownId,
    /// The topic of a session's partition was deleted, and another has its name.
    #[error("the topic was created anew, with another id")]
    InconsistentId,
    #[error("offset {wanted} is outside {first}..{next}")]
    OutOfRange { wanted: i64, first: i64, next: i64 },
    #[error("leader epoch {got} is older than {current}")]
    FencedEpoch { got: i32, current: i32 },
    #[error("leader epoch {got} is newer than {current}")]
    UnknownEpoch { got: i32, current: i32 },
    #[error("{0}")]
    Corrupt(String),
    #[error("{0}")]
    Storage(String),
}

/// Why a fetch of a session is not answered: the client begins another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FetchSessionRefused {
    #[error("there is no fetch session {0}")]
    NotFound(i32),
    #[error("fetch {got} of the session where {expected} was expected")]
    WrongEpoch { expected: i32, got: i32 },
    #[error("a fetch session names its topics by ids or by names, not by both")]
    MixedNames,
}
