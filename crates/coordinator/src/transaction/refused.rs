//! What is refused, by what the producer can do about it.

use thiserror::Error;

use super::TransactionState;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransactionRefused {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("transaction timeout outside 1..={max_ms} ms")]
    InvalidTimeout { max_ms: i32 },
    #[error("the producer id is not the one of this transactional id")]
    UnknownProducer,
    /// Another producer has the transactional id now.
    #[error("a newer producer has this transactional id")]
    Fenced,
    /// The producer may repeat the request.
    #[error("the last transaction of this transactional id is still being ended")]
    Concurrent,
    #[error("the transaction is in state {}", state.name())]
    InvalidState { state: TransactionState },
    #[error("the partition is not part of the producer's transaction")]
    NotAdded,
    #[error("the transactional id is not known")]
    NotFound,
    /// A limit is reached (see `limits`).
    #[error("no more than {limit} {what}")]
    Full { limit: usize, what: &'static str },
    #[error("{0}")]
    Storage(String),
}
