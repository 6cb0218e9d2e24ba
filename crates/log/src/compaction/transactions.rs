//! Which transactions' data and ends a reader of the log from its start on has met.
//!
//! Fed with every batch in order. The end of a transaction may go only when none of the transaction's
//! batches was met, that is, when an earlier cleaning has taken them all; and so may the entry in the
//! index of aborted transactions.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::partition_log::transactions::AbortedTransaction;
use crate::{BatchHeader, Ending};

#[derive(Clone, Debug)]
pub(super) struct Transactions {
    /// By first offset, the last one first.
    ahead: Vec<AbortedTransaction>,
    /// By producer, and whether a batch of it was met.
    aborting: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers of which a batch was met that no end has followed and that is of no aborted one.
    committing: HashSet<i64>,
}

/// What the end of a transaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Nothing of the transaction is left but this.
    pub(super) empty: bool,
    /// What readers must go on being told.
    pub(super) aborted: Option<AbortedTransaction>,
}

impl Transactions {
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|next| Reverse(next.first_offset));
        Self { ahead: aborted, aborting: HashMap::new(), committing: HashSet::new() }
    }

    /// Takes in a batch of data; tells whether it belongs to an aborted transaction.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        if !header.attributes.transactional() {
            return false;
        }
        self.reach(header.last_offset());
        match self.aborting.get_mut(&header.producer_id) {
            Some((aborted, met)) if header.last_offset() < aborted.last_offset => {
                *met = true;
                true
            }
            _ => {
                self.committing.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes in a control batch, which is the end of a transaction, or something else, or has lost
    /// its record.
    pub(super) fn control(&mut self, header: &BatchHeader, ending: Option<Ending>) -> Ended {
        self.reach(header.last_offset());
        match ending {
            Some(Ending::Abort) => {
                let met = self.aborting.remove(&header.producer_id);
                let aborted = met.and_then(|(aborted, met)| met.then_some(aborted));
                // Batches that the index of aborted transactions does not know need their end as well.
                let unknown = self.committing.remove(&header.producer_id);
                Ended { empty: aborted.is_none() && !unknown, aborted }
            }
            Some(Ending::Commit) => {
                let empty = !self.committing.remove(&header.producer_id);
                Ended { empty, aborted: None }
            }
            None => Ended { empty: false, aborted: None },
        }
    }

    fn reach(&mut self, offset: i64) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= offset) {
            self.aborting.insert(next.producer_id, (next, false));
        }
    }
}
