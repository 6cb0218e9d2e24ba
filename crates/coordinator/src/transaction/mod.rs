//! Transactions as a state machine (KIP-98, KIP-360, KIP-890), without I/O, clock or randomness.
//!
//! A transactional id has a producer id, an epoch and a state. A decision looks at them and yields the
//! [`TransactionRecord`]s that make it so; the owner appends them and hands each to
//! [`Transactions::apply`]. Loading is `apply` of every record of the log in order.
//!
//! ```text
//!            first partition                commit
//!   Empty ─────────────────► Ongoing ─────────────────► PrepareCommit ──► CompleteCommit
//!     ▲  ◄────────┐             │ abort, timeout,              │                │
//!     │           │             │ a new producer               │ every partition has its marker
//!     │      InitProducerId     └────────────────────► PrepareAbort ────► CompleteAbort
//!     └───────────┴──────────────────────────────────────────────────────── ┘
//! ```
//!
//! Ending takes three steps: the `Prepare*` record decides, a marker goes to each partition, the
//! `Complete*` record forgets the partitions. [`Transactions::closing`] says what is left of the last two;
//! whatever the first step's record says will be done, whoever crashes.
//!
//! Invariants:
//! 1. Of a producer id the epoch only grows; a request with another epoch than the current one changes
//!    nothing. The epoch grows when a producer starts, when a transaction is aborted in its stead, and, by
//!    [`TransactionVersion::Two`], whenever a transaction ends.
//! 2. A decided transaction is never undone, and nothing else begins before it is completed.
//! 3. A repeated end has the same answer as the first, and no other effect.
//!
//! Limits: [`limits::TRANSACTIONAL_IDS_MAX`], [`limits::PARTITIONS_PER_TRANSACTION_MAX`], and what
//! [`TransactionsConfig`] says of the longest transaction, of ids that are not used, and of memory: what
//! would take more is refused, and what ends a transaction never is.
//!
//! Not here: who may append what, the markers themselves, offsets in transactions
//! ([`crate::Coordinator`] keeps those), two-phase commit (KIP-939).

use std::collections::{BTreeMap, BTreeSet};

use crate::timers::Timers;
use crate::{Now, TransactionsConfig, limits};

mod describe;
mod ending;
mod partitions;
mod producer;
mod record;
mod refused;

pub use describe::{ListTransactions, ListedTransaction, ListedTransactions};
pub use ending::{Closing, EndDecision, EndTransaction, TransactionEnd, TransactionMarker};
pub use partitions::TransactionProducer;
pub use producer::{InitDecision, InitTransactions};
pub use record::TransactionRecord;
pub use refused::TransactionRefused;

/// The protocol that a producer speaks: Kafka's feature `transaction.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionVersion {
    /// 0 and 1: the epoch stays when a transaction ends (KIP-98, KIP-360).
    #[default]
    One,
    /// Each end of a transaction raises the epoch (KIP-890).
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl TransactionState {
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Decided, and not every partition has been told.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

/// Topics with their partitions.
pub type TransactionPartitions = BTreeMap<String, BTreeSet<i32>>;

/// What is known of a transactional id. -1 stands for no producer id, no epoch and no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    /// The producer id before the last change.
    pub previous_producer_id: i64,
    /// The producer id after the transaction that is being ended, when its epochs are used up.
    pub next_producer_id: i64,
    pub epoch: i16,
    /// The epoch before the last one was handed out, if that may be asked for again.
    pub last_epoch: i16,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: TransactionPartitions,
    pub updated_ms: i64,
    pub started_ms: i64,
    /// The protocol of the transaction's end.
    pub version: TransactionVersion,
}

/// No producer id, epoch or time.
const NONE: i64 = -1;
const NO_EPOCH: i16 = -1;
/// The last epoch that a producer is given: one more is left for fencing it.
const EPOCH_MAX: i16 = i16::MAX - 1;

impl Transaction {
    /// The start of every change: as it is, as of now.
    fn changed(&self, now: Now) -> Self {
        Self { previous_producer_id: self.producer_id, updated_ms: now.wall_ms, ..self.clone() }
    }

    fn is_exhausted(&self) -> bool {
        self.epoch >= EPOCH_MAX
    }

    /// What it takes of memory under this id.
    fn bytes(&self, id: &str) -> usize {
        let topics = self.partitions.iter().map(|(topic, of_topic)| {
            limits::TRANSACTION_TOPIC_BYTES
                + topic.len()
                + of_topic.len() * limits::TRANSACTION_PARTITION_BYTES
        });
        let open = if self.partitions.is_empty() { 0 } else { limits::TRANSACTION_OPEN_BYTES };
        limits::TRANSACTIONAL_ID_BYTES + 3 * id.len() + open + topics.sum::<usize>()
    }
}

#[derive(Debug)]
struct Held {
    transaction: Transaction,
    /// When it is aborted or forgotten, on the monotonic clock: derived, not part of the fold.
    due_ms: Option<u64>,
}

/// The transactional ids of one node.
#[derive(Debug, Default)]
pub struct Transactions {
    by_id: BTreeMap<String, Held>,
    timers: Timers,
    config: TransactionsConfig,
    /// What all of them take of memory.
    bytes: usize,
}

/// What time has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A transaction took too long: the record decides that it is aborted.
    TimedOut(TransactionRecord),
    /// An id has not been used for long: the record forgets it.
    Unused(TransactionRecord),
}

impl Transactions {
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the settings. Transactions that are under way keep their timeouts; ids that nobody uses
    /// are kept for as long as is said now.
    pub fn configure(&mut self, config: TransactionsConfig) {
        let (before_ms, after_ms) = (self.config.id_kept_ms, config.id_kept_ms);
        self.config = config;
        if before_ms == after_ms {
            return;
        }
        for (id, held) in &mut self.by_id {
            let state = held.transaction.state;
            let Some(due_ms) = held.due_ms.filter(|_| state != TransactionState::Ongoing) else {
                continue;
            };
            held.due_ms = Some(due_ms.saturating_add(after_ms).saturating_sub(before_ms));
            self.timers.set(id, held.due_ms);
        }
    }

    /// Folds one record into the state.
    pub fn apply(&mut self, now: Now, record: TransactionRecord) {
        let TransactionRecord { transactional_id: id, transaction } = record;
        self.bytes -= self.get(&id).map_or(0, |held| held.bytes(&id));
        self.bytes += transaction.as_ref().map_or(0, |held| held.bytes(&id));
        let Some(transaction) = transaction else {
            self.by_id.remove(&id);
            return self.timers.set(&id, None);
        };
        let due_ms = match self.by_id.get(&id) {
            Some(held) => {
                debug_assert!(
                    held.transaction.producer_id != transaction.producer_id
                        || held.transaction.epoch <= transaction.epoch,
                    "the epoch of {id} went back"
                );
                let goes_on = |was: &Transaction| {
                    (was.state, was.started_ms) == (transaction.state, transaction.started_ms)
                        && was.state == TransactionState::Ongoing
                };
                match held.due_ms {
                    Some(due_ms) if goes_on(&held.transaction) => Some(due_ms),
                    _ => due_at(now, &transaction, &self.config),
                }
            }
            None => due_at(now, &transaction, &self.config),
        };
        self.timers.set(&id, due_ms);
        self.by_id.insert(id, Held { transaction, due_ms });
    }

    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.by_id.get(id).map(|held| &held.transaction)
    }

    /// Whether there is room for what a record keeps beyond what it replaces.
    fn has_room_for(&self, record: &TransactionRecord) -> Result<(), TransactionRefused> {
        let id = &record.transactional_id;
        let before = self.get(id).map_or(0, |held| held.bytes(id));
        let after = record.transaction.as_ref().map_or(0, |held| held.bytes(id));
        let limit = self.config.bytes_max;
        if after <= before || self.bytes - before + after <= limit {
            return Ok(());
        }
        Err(TransactionRefused::Full { limit, what: "bytes of transactional ids and partitions" })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.by_id.iter().map(|(id, held)| (id.as_str(), &held.transaction))
    }

    /// The ids whose transaction is decided and not completed.
    pub fn prepared(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, held)| held.state.is_prepared()).map(|(id, _)| id)
    }

    // ---- time ----------------------------------------------------------------------------------

    /// When [`Transactions::pop_due`] must be called next, in `Now::mono_ms` terms.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// What is due next, if anything; `version` is the node's. Unless its record is applied, it is due
    /// again after [`limits::TRANSACTION_RETRY_MS`].
    pub fn pop_due(&mut self, now: Now, version: TransactionVersion) -> Option<Due> {
        while let Some(id) = self.timers.pop_due(now.mono_ms) {
            let Some(held) = self.by_id.get(&id) else { continue };
            self.timers.set(&id, Some(now.mono_ms + limits::TRANSACTION_RETRY_MS));
            let transaction = &held.transaction;
            match transaction.state {
                TransactionState::Ongoing => {
                    let fenced = ending::fenced(now, transaction, version);
                    return Some(Due::TimedOut(TransactionRecord::new(id, fenced)));
                }
                TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                    self.timers.set(&id, None);
                }
                TransactionState::Empty
                | TransactionState::CompleteCommit
                | TransactionState::CompleteAbort => {
                    return Some(Due::Unused(TransactionRecord::forgets(id)));
                }
            }
        }
        None
    }
}

/// The wall clock counts only for the time before a start: afterwards it may leap.
fn due_at(now: Now, transaction: &Transaction, config: &TransactionsConfig) -> Option<u64> {
    let (since_ms, after_ms) = match transaction.state {
        TransactionState::Ongoing => {
            (transaction.started_ms, u64::try_from(transaction.timeout_ms).unwrap_or(0))
        }
        TransactionState::PrepareCommit | TransactionState::PrepareAbort => return None,
        TransactionState::Empty
        | TransactionState::CompleteCommit
        | TransactionState::CompleteAbort => (transaction.updated_ms, config.id_kept_ms),
    };
    let passed_ms = u64::try_from(now.wall_ms.saturating_sub(since_ms)).unwrap_or(0);
    Some(now.mono_ms + after_ms.saturating_sub(passed_ms))
}
