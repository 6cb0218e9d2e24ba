//! A producer starts: it gets the transactional id's producer id with a new epoch, which fences the
//! producer before it.

use super::{
    NO_EPOCH, NONE, Transaction, TransactionPartitions, TransactionRecord, TransactionRefused,
    TransactionState, TransactionVersion, Transactions, ending,
};
use crate::{Now, limits};

/// A producer starts (InitProducerId with a transactional id).
#[derive(Clone, Debug)]
pub struct InitTransactions {
    pub transactional_id: String,
    pub timeout_ms: i32,
    /// The producer id and epoch that the producer has, when it goes on after an error (KIP-360).
    pub expected: Option<(i64, i16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitDecision {
    /// The record decides that a transaction of the producer before it is aborted. When that is
    /// completed, ask again.
    AbortFirst(TransactionRecord),
    /// The record has the producer's id and epoch.
    Begin(TransactionRecord),
}

impl Transactions {
    /// `fresh` is a producer id that nobody has; it is used up when the record has it. `version` is the
    /// node's.
    pub fn decide_init(
        &self,
        now: Now,
        request: &InitTransactions,
        fresh: i64,
        version: TransactionVersion,
    ) -> Result<InitDecision, TransactionRefused> {
        let id = &request.transactional_id;
        if id.is_empty() || id.len() > limits::NAME_BYTES_MAX {
            return Err(TransactionRefused::InvalidRequest("no transactional id has this length"));
        }
        let max_ms = self.config.timeout_max_ms;
        if !(1..=max_ms).contains(&request.timeout_ms) {
            return Err(TransactionRefused::InvalidTimeout { max_ms });
        }
        let record = |transaction| TransactionRecord::new(id.clone(), transaction);
        let Some(held) = self.get(id) else {
            let limit = limits::TRANSACTIONAL_IDS_MAX;
            if self.by_id.len() >= limit {
                return Err(TransactionRefused::Full { limit, what: "transactional ids" });
            }
            let first = record(new(now, request.timeout_ms, fresh));
            self.has_room_for(&first)?;
            return Ok(InitDecision::Begin(first));
        };
        if !request.expected.is_none_or(|expected| held.may_be_of(expected)) {
            return Err(TransactionRefused::Fenced);
        }
        match held.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                Err(TransactionRefused::Concurrent)
            }
            // A producer that was fenced may not end the transaction of the one that did it.
            TransactionState::Ongoing
                if request.expected.is_some_and(|has| has != (held.producer_id, held.epoch)) =>
            {
                Err(TransactionRefused::Fenced)
            }
            TransactionState::Ongoing => {
                Ok(InitDecision::AbortFirst(record(ending::fenced(now, held, version))))
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => {
                let (producer_id, epoch, last_epoch) = held.next(request.expected, fresh)?;
                Ok(InitDecision::Begin(record(Transaction {
                    producer_id,
                    epoch,
                    last_epoch,
                    next_producer_id: NONE,
                    timeout_ms: request.timeout_ms,
                    state: TransactionState::Empty,
                    partitions: TransactionPartitions::new(),
                    started_ms: NONE,
                    ..held.changed(now)
                })))
            }
        }
    }
}

fn new(now: Now, timeout_ms: i32, producer_id: i64) -> Transaction {
    Transaction {
        producer_id,
        previous_producer_id: NONE,
        next_producer_id: NONE,
        epoch: 0,
        last_epoch: NO_EPOCH,
        timeout_ms,
        state: TransactionState::Empty,
        partitions: TransactionPartitions::new(),
        updated_ms: now.wall_ms,
        started_ms: NONE,
        version: TransactionVersion::One,
    }
}

impl Transaction {
    /// The current producer's id, or the one whose epochs were used up: that may be the repetition of a
    /// request whose answer was lost.
    fn may_be_of(&self, (producer_id, epoch): (i64, i16)) -> bool {
        producer_id == self.producer_id
            || (producer_id == self.previous_producer_id && epoch >= super::EPOCH_MAX)
    }

    /// Producer id, epoch and last epoch of the producer that starts.
    fn next(
        &self,
        expected: Option<(i64, i16)>,
        fresh: i64,
    ) -> Result<(i64, i16, i16), TransactionRefused> {
        match expected {
            None if self.is_exhausted() => Ok((fresh, 0, NO_EPOCH)),
            None => Ok((self.producer_id, self.epoch + 1, NO_EPOCH)),
            Some((_, epoch)) if epoch == self.epoch && self.is_exhausted() => {
                Ok((fresh, 0, self.epoch))
            }
            Some((_, epoch)) if epoch == self.epoch => {
                Ok((self.producer_id, self.epoch + 1, self.epoch))
            }
            Some((_, epoch)) if epoch == self.last_epoch && self.epoch < i16::MAX => {
                Ok((self.producer_id, self.epoch, self.last_epoch))
            }
            Some(_) => Err(TransactionRefused::Fenced),
        }
    }
}
