//! The end of a transaction: decided by its producer, by its timeout, or by the next producer; then
//! carried out.
//!
//! With [`TransactionVersion::Two`] the end raises the epoch, so a request with the current epoch is about
//! the present transaction, and one with the epoch before it repeats the last end (KIP-890). When the
//! epochs are used up, the producer goes on with another producer id and epoch 0; then the repetition has
//! the former producer id and its last epoch.

use super::{
    EPOCH_MAX, NO_EPOCH, NONE, Transaction, TransactionPartitions, TransactionRecord,
    TransactionRefused, TransactionState, TransactionVersion, Transactions,
};
use crate::Now;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    Commit,
    Abort,
}

/// A producer ends its transaction (EndTxn).
#[derive(Clone, Debug)]
pub struct EndTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
    pub end: TransactionEnd,
    pub version: TransactionVersion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndDecision {
    /// It has ended so already; producer id and epoch to go on with.
    Already { producer_id: i64, epoch: i16 },
    /// The record decides it; then see [`Transactions::closing`].
    End(TransactionRecord),
}

/// What ends a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionMarker {
    pub producer_id: i64,
    pub epoch: i16,
    pub end: TransactionEnd,
    pub version: TransactionVersion,
}

/// What is left to do of a transaction that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub marker: TransactionMarker,
    /// Where the marker goes.
    pub partitions: TransactionPartitions,
    /// To be applied when every partition has it.
    pub complete: TransactionRecord,
    /// Producer id and epoch that the producer goes on with.
    pub goes_on: (i64, i16),
}

impl Transactions {
    /// `fresh` is a producer id that nobody has; it is used up when the record has it.
    pub fn decide_end(
        &self,
        now: Now,
        request: &EndTransaction,
        fresh: i64,
    ) -> Result<EndDecision, TransactionRefused> {
        if request.transactional_id.is_empty() {
            return Err(TransactionRefused::InvalidRequest("the transactional id is empty"));
        }
        let held = self.get(&request.transactional_id);
        let held = held.ok_or(TransactionRefused::UnknownProducer)?;
        let verdict = match request.version {
            TransactionVersion::One => held.judge_end_one(request)?,
            TransactionVersion::Two => held.judge_end_two(request)?,
        };
        let with_partitions = match verdict {
            Verdict::Already => {
                return Ok(EndDecision::Already {
                    producer_id: held.producer_id,
                    epoch: held.epoch,
                });
            }
            Verdict::End => true,
            Verdict::EndOfNothing => false,
        };
        let mut changed = held.changed(now);
        changed.state = match request.end {
            TransactionEnd::Commit => TransactionState::PrepareCommit,
            TransactionEnd::Abort => TransactionState::PrepareAbort,
        };
        changed.version = request.version;
        if !with_partitions {
            changed.started_ms = now.wall_ms;
        }
        if request.version == TransactionVersion::Two {
            changed.next_producer_id = if held.is_exhausted() { fresh } else { NONE };
            changed.last_epoch = held.epoch;
            changed.epoch = held.epoch.checked_add(1).ok_or(TransactionRefused::Fenced)?;
        }
        Ok(EndDecision::End(TransactionRecord::new(request.transactional_id.clone(), changed)))
    }

    /// What is left to do of an id's transaction; none unless it is decided and not completed.
    pub fn closing(&self, now: Now, id: &str) -> Option<Closing> {
        let held = self.get(id)?;
        let (end, state) = match held.state {
            TransactionState::PrepareCommit => {
                (TransactionEnd::Commit, TransactionState::CompleteCommit)
            }
            TransactionState::PrepareAbort => {
                (TransactionEnd::Abort, TransactionState::CompleteAbort)
            }
            _ => return None,
        };
        let rotates = held.version == TransactionVersion::Two && held.next_producer_id != NONE;
        let goes_on =
            if rotates { (held.next_producer_id, 0) } else { (held.producer_id, held.epoch) };
        let completed = Transaction {
            producer_id: goes_on.0,
            epoch: goes_on.1,
            next_producer_id: NONE,
            state,
            partitions: TransactionPartitions::new(),
            ..held.changed(now)
        };
        Some(Closing {
            marker: TransactionMarker {
                producer_id: held.producer_id,
                epoch: held.epoch,
                end,
                version: held.version,
            },
            partitions: held.partitions.clone(),
            complete: TransactionRecord::new(id.to_owned(), completed),
            goes_on,
        })
    }
}

/// An ongoing transaction, as it is when it is aborted and its producer's epoch has ended.
pub(super) fn fenced(now: Now, ongoing: &Transaction, version: TransactionVersion) -> Transaction {
    debug_assert!(ongoing.epoch <= EPOCH_MAX, "one epoch is left for fencing");
    Transaction {
        state: TransactionState::PrepareAbort,
        epoch: ongoing.epoch.saturating_add(1),
        last_epoch: match version {
            TransactionVersion::One => NO_EPOCH,
            TransactionVersion::Two => ongoing.epoch,
        },
        next_producer_id: NONE,
        version,
        ..ongoing.changed(now)
    }
}

enum Verdict {
    Already,
    End,
    /// An abort where no partition was added: only the epoch grows.
    EndOfNothing,
}

impl Transaction {
    fn judge_end_one(&self, request: &EndTransaction) -> Result<Verdict, TransactionRefused> {
        if self.producer_id != request.producer_id {
            return Err(TransactionRefused::UnknownProducer);
        }
        if self.epoch != request.epoch {
            return Err(TransactionRefused::Fenced);
        }
        self.judge_repeated(request.end).unwrap_or(match self.state {
            TransactionState::Ongoing => Ok(Verdict::End),
            state => Err(TransactionRefused::InvalidState { state }),
        })
    }

    fn judge_end_two(&self, request: &EndTransaction) -> Result<Verdict, TransactionRefused> {
        let rotated = self.previous_producer_id == request.producer_id
            && self.producer_id != request.producer_id
            && request.epoch == EPOCH_MAX
            && self.epoch == 0;
        let is_raised = self.epoch.checked_sub(1) == Some(request.epoch);
        if self.producer_id != request.producer_id && !rotated {
            return Err(TransactionRefused::UnknownProducer);
        }
        let is_current = self.epoch == request.epoch && !rotated;
        let is_repeated = is_raised || rotated;
        match self.state {
            TransactionState::Ongoing if is_current => Ok(Verdict::End),
            TransactionState::PrepareCommit | TransactionState::PrepareAbort if is_raised => {
                self.judge_repeated(request.end).unwrap_or(Err(TransactionRefused::Concurrent))
            }
            // The epoch after the last is for nobody: its producer was fenced.
            TransactionState::CompleteCommit | TransactionState::CompleteAbort
                if is_repeated && self.epoch <= EPOCH_MAX =>
            {
                self.judge_repeated(request.end).unwrap_or(Err(TransactionRefused::Fenced))
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort
                if is_current =>
            {
                match request.end {
                    TransactionEnd::Abort => Ok(Verdict::EndOfNothing),
                    TransactionEnd::Commit => {
                        Err(TransactionRefused::InvalidState { state: self.state })
                    }
                }
            }
            _ => Err(TransactionRefused::Fenced),
        }
    }

    /// The answer to an end that was decided before; none when none was.
    fn judge_repeated(&self, end: TransactionEnd) -> Option<Result<Verdict, TransactionRefused>> {
        use TransactionEnd::{Abort, Commit};
        Some(match (self.state, end) {
            (TransactionState::CompleteCommit, Commit)
            | (TransactionState::CompleteAbort, Abort) => Ok(Verdict::Already),
            (TransactionState::PrepareCommit, Commit) | (TransactionState::PrepareAbort, Abort) => {
                Err(TransactionRefused::Concurrent)
            }
            (TransactionState::Empty | TransactionState::Ongoing, _) => return None,
            (state, _) => Err(TransactionRefused::InvalidState { state }),
        })
    }
}
