//! The producers that all logs remember, counted: there are never more than
//! [`StoreConfig::producers_max`].
//!
//! Before one that is too many, the log that remembers most of them forgets those that wrote longest ago, as
//! each log does at its own limit: whoever makes many producers makes their partitions forget, and not
//! those of others. No producer with an open transaction is forgotten; such producers may be a part of all
//! only, beyond which no transaction begins.
//!
//! [`StoreConfig::producers_max`]: crate::StoreConfig::producers_max

use std::collections::{BTreeMap, BTreeSet};

use super::{LogId, Store};
use crate::limits::{OPEN_TRANSACTIONS_SHARE, PRODUCERS_FORGOTTEN_SHARE};
use crate::partition_log::ProducerCounts;
use crate::{AppendRefused, BatchHeader};

#[derive(Debug, Default)]
pub(super) struct Census {
    /// Of the logs that remember any.
    by_log: BTreeMap<LogId, ProducerCounts>,
    /// Producers that a log may forget, and the log.
    by_idle: BTreeSet<(usize, LogId)>,
    all: ProducerCounts,
}

impl Census {
    pub(super) fn removed(&mut self, id: LogId) {
        self.set(id, ProducerCounts::default());
    }

    fn set(&mut self, id: LogId, counts: ProducerCounts) {
        let before = self.by_log.get(&id).copied().unwrap_or_default();
        if before == counts {
            return;
        }
        self.by_idle.remove(&(before.idle, id));
        if counts == ProducerCounts::default() {
            self.by_log.remove(&id);
        } else {
            self.by_log.insert(id, counts);
            self.by_idle.insert((counts.idle, id));
        }
        self.all = ProducerCounts {
            idle: self.all.idle - before.idle + counts.idle,
            open: self.all.open - before.open + counts.open,
        };
    }

    /// The log that must forget some, and how many, where no more than these may be remembered.
    fn one_too_many(&self, producers: usize) -> Option<(LogId, usize)> {
        if self.all.idle + self.all.open <= producers {
            return None;
        }
        let (idle, largest) = self.by_idle.last().copied()?;
        (idle > 0).then(|| (largest, (idle / PRODUCERS_FORGOTTEN_SHARE).max(1)))
    }
}

impl Store {
    /// Before a batch is taken in: its producer may be one that the log does not know.
    pub(super) fn make_room_for_producer(
        &mut self,
        id: LogId,
        header: &BatchHeader,
    ) -> Result<(), AppendRefused> {
        let Some(log) = self.logs.get(&id).filter(|_| header.producer_id >= 0) else {
            return Ok(());
        };
        let limit = self.config.producers_max / OPEN_TRANSACTIONS_SHARE;
        if log.opens_transaction(header) && self.census.all.open >= limit {
            return Err(AppendRefused::TooManyTransactions { limit });
        }
        if !log.remembers(header.producer_id) {
            self.forget_producers(self.config.producers_max.saturating_sub(1));
        }
        Ok(())
    }

    /// Counts a log's producers, which may have become others.
    pub(super) fn count_producers(&mut self, id: LogId) {
        let Some(log) = self.logs.get(&id) else { return };
        self.census.set(id, log.producer_counts());
        self.forget_producers(self.config.producers_max);
    }

    /// Forgets until there are no more than these, as far as may be.
    fn forget_producers(&mut self, producers: usize) {
        while let Some((largest, count)) = self.census.one_too_many(producers)
            && let Some(log) = self.logs.get_mut(&largest)
        {
            log.forget_producers(count);
            self.census.set(largest, log.producer_counts());
        }
    }

    /// Producers that all logs remember.
    pub fn producers(&self) -> usize {
        self.census.all.idle + self.census.all.open
    }
}
