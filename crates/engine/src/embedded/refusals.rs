//! The broker's refusals as the seam's errors: what the caller can do about each.

use tidings_node::NodeError;
use tidings_node::broker::log::{BatchError, Fault, FaultKind};
use tidings_node::broker::{
    FetchRefused, GroupRefused, GroupTrouble, ProduceRefused, TopicRefused, TransactionRefused,
};

use crate::{Error, TopicPartition};

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Locked { .. } => Self::Storage(error.to_string()),
            NodeError::Fault(fault) => fault.into(),
            NodeError::Stopped => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Corrupt(_) => Self::Corrupt(fault.to_string()),
            FaultKind::NoSpace
            | FaultKind::TooManyFiles
            | FaultKind::NotFound
            | FaultKind::Io(_)
            | FaultKind::Lost { .. } => Self::Storage(fault.to_string()),
        }
    }
}

pub(super) fn topic(name: &str, refused: TopicRefused) -> Error {
    match refused {
        TopicRefused::Unknown | TopicRefused::UnknownId => Error::UnknownTopic(name.to_owned()),
        TopicRefused::Exists => Error::TopicExists(name.to_owned()),
        TopicRefused::NotYet | TopicRefused::OverQuota | TopicRefused::Full(_) => {
            Error::Unavailable(format!("{name}: {refused}"))
        }
        TopicRefused::InvalidName(text)
        | TopicRefused::InvalidPartitions(text)
        | TopicRefused::InvalidReplication(text)
        | TopicRefused::InvalidAssignment(text)
        | TopicRefused::InvalidConfig(text)
        | TopicRefused::InvalidRequest(text) => Error::Invalid(text),
        TopicRefused::DeletionDisabled => Error::Invalid(format!("{name}: {refused}")),
        TopicRefused::Storage(text) => Error::Storage(text),
    }
}

pub(super) fn produce(at: &TopicPartition, refused: ProduceRefused) -> Error {
    match refused {
        ProduceRefused::UnknownPartition | ProduceRefused::UnknownId => {
            Error::UnknownTopic(at.to_string())
        }
        ProduceRefused::Storage(text) => Error::Storage(text),
        ProduceRefused::OutOfOrderSequence(_) | ProduceRefused::StaleEpoch(_) => {
            Error::Unavailable(format!("{at}: {refused}"))
        }
        ProduceRefused::TooLarge { .. }
        | ProduceRefused::Internal(_)
        | ProduceRefused::Batch(_)
        | ProduceRefused::NoTransactionalId
        | ProduceRefused::Transaction(_)
        | ProduceRefused::InvalidTransaction(_) => Error::Invalid(format!("{at}: {refused}")),
    }
}

pub(super) fn fetch(at: &TopicPartition, refused: FetchRefused) -> Error {
    match refused {
        FetchRefused::UnknownPartition | FetchRefused::UnknownId | FetchRefused::InconsistentId => {
            Error::UnknownTopic(at.to_string())
        }
        FetchRefused::OutOfRange { wanted, first, next } => {
            Error::OffsetOutOfRange { wanted, first, next }
        }
        FetchRefused::FencedEpoch { .. } | FetchRefused::UnknownEpoch { .. } => {
            Error::Unavailable(format!("{at}: {refused}"))
        }
        FetchRefused::Corrupt(text) => Error::Corrupt(text),
        FetchRefused::Storage(text) => Error::Storage(text),
    }
}

pub(super) fn group(group: &str, refused: GroupRefused) -> Error {
    match refused {
        GroupRefused::UnknownMember
        | GroupRefused::IllegalGeneration
        | GroupRefused::Rebalancing
        | GroupRefused::FencedInstance => Error::Fenced(format!("group {group}: {refused}")),
        GroupRefused::InvalidGroup
        | GroupRefused::InconsistentProtocol
        | GroupRefused::InvalidSessionTimeout { .. }
        | GroupRefused::MemberIdRequired { .. } => {
            Error::Invalid(format!("group {group}: {refused}"))
        }
        GroupRefused::Full => Error::Unavailable(format!("group {group}: {refused}")),
        GroupRefused::Other(trouble) => match trouble {
            GroupTrouble::Storage(text) => Error::Storage(text),
            GroupTrouble::UnknownPartition => {
                Error::UnknownTopic(format!("in a commit of group {group}"))
            }
            GroupTrouble::UnstableOffset | GroupTrouble::NoRoom => {
                Error::Unavailable(format!("group {group}: {trouble}"))
            }
            GroupTrouble::MetadataTooLarge
            | GroupTrouble::UnknownTopicId
            | GroupTrouble::Subscribed
            | GroupTrouble::Consumer(_)
            | GroupTrouble::NotEmpty
            | GroupTrouble::NotFound => Error::Invalid(format!("group {group}: {trouble}")),
        },
    }
}

pub(super) fn transaction(id: &str, refused: TransactionRefused) -> Error {
    match refused {
        TransactionRefused::Fenced
        | TransactionRefused::UnknownProducer
        | TransactionRefused::NotFound
        | TransactionRefused::InvalidState { .. } => {
            Error::Fenced(format!("transactional id {id}: {refused}; open it again"))
        }
        TransactionRefused::InvalidRequest(_)
        | TransactionRefused::InvalidTimeout { .. }
        | TransactionRefused::NotAdded => {
            Error::Invalid(format!("transactional id {id}: {refused}"))
        }
        TransactionRefused::Concurrent | TransactionRefused::Full { .. } => {
            Error::Unavailable(format!("transactional id {id}: {refused}"))
        }
        TransactionRefused::Storage(text) => Error::Storage(text),
    }
}

/// Bytes came from the log that are no batches: never the reader's fault.
pub(super) fn decode(at: &TopicPartition, error: &BatchError) -> Error {
    Error::Corrupt(format!("{at}: {error}"))
}
