//! What can be asked about transactions, and the answers.

use thiserror::Error;
pub use tidings_coordinator::{
    EndTransaction, InitTransactions, ListTransactions, ListedTransaction, ListedTransactions,
    Transaction, TransactionEnd, TransactionPartitions, TransactionRefused, TransactionState,
    TransactionVersion,
};
use tidings_log::ProducerEntry;

use crate::{Acks, CommitOffsets, FetchRefused, GroupRefused};

/// Makes partitions part of a producer's transaction.
#[derive(Clone, Debug)]
pub struct AddPartitions {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
    /// Topics of clients only: offsets are added by [`AddOffsets`].
    pub partitions: Vec<(String, i32)>,
    pub mode: AddMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddMode {
    Add(TransactionVersion),
    /// Only says whether they are.
    Verify,
}

#[derive(Clone, Debug)]
pub struct AddedPartition {
    pub topic: String,
    pub partition: i32,
    pub outcome: Result<(), AddRefused>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("the topic is written by the broker only")]
    Internal,
    #[error("another partition of the request was refused")]
    NotAttempted,
    #[error(transparent)]
    Transaction(#[from] TransactionRefused),
}

/// Makes the offsets that groups commit part of a producer's transaction.
#[derive(Clone, Debug)]
pub struct AddOffsets {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
    pub version: TransactionVersion,
}

/// Commits offsets when a transaction is committed.
#[derive(Clone, Debug)]
pub struct CommitInTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
    /// Without an [`AddOffsets`] before it.
    pub adds: bool,
    /// [`Acks::None`] leaves it to the transaction's end to wait for the disk.
    pub acks: Acks,
    pub commit: CommitOffsets,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitInTransactionRefused {
    #[error(transparent)]
    Transaction(#[from] TransactionRefused),
    #[error(transparent)]
    Group(#[from] GroupRefused),
}

/// Ends a transaction in single partitions, whatever its coordinator knows: for one that hangs.
#[derive(Clone, Debug)]
pub struct WriteMarkers {
    pub markers: Vec<WriteMarker>,
}

#[derive(Clone, Debug)]
pub struct WriteMarker {
    pub producer_id: i64,
    pub epoch: i16,
    pub end: TransactionEnd,
    pub coordinator_epoch: i32,
    pub topic: String,
    pub partition: i32,
}

/// In the order of the request.
#[derive(Clone, Debug)]
pub struct WrittenMarker {
    pub outcome: Result<(), MarkerRefused>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MarkerRefused {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("{0}")]
    StaleEpoch(String),
    #[error("{0}")]
    CoordinatorFenced(String),
    #[error("{0}")]
    Storage(String),
}

#[derive(Clone, Debug)]
pub struct DescribeTransactions {
    pub transactional_ids: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct DescribedTransaction {
    pub transactional_id: String,
    pub outcome: Result<Transaction, TransactionRefused>,
}

/// What the logs of partitions remember of their producers.
#[derive(Clone, Debug)]
pub struct DescribeProducers {
    pub partitions: Vec<(String, i32)>,
}

#[derive(Clone, Debug)]
pub struct DescribedProducers {
    pub topic: String,
    pub partition: i32,
    /// The newest entry of each.
    pub outcome: Result<Vec<ProducerEntry>, FetchRefused>,
}
