//! What of the newest batches stays in memory for readers.
//!
//! A unit is what is let go of together, because it is one piece of memory: a frame of the journal,
//! what opening a log found in the journal, or a run of batches that skipped it. Units go oldest first
//! when they are over budget, once everything in them is in segments; those that a failed log needs are
//! passed over.
//!
//! Small batches take more than their bytes: the rest of their frame's block, and their place in the tail.
//! What they take is counted, so that many of them are flushed sooner.

use std::collections::VecDeque;

use super::{LogId, Store};
use crate::limits::TAIL_BATCH_BYTES;

/// Bytes of batches that skip the journal which make a unit.
const LOOSE_UNIT_BYTES: u64 = 256 * 1024;

#[derive(Debug)]
struct Unit {
    number: u64,
    bytes: u64,
    /// Those with a batch in it, each at least once.
    logs: Vec<LogId>,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// By number.
    units: VecDeque<Unit>,
    next: u64,
    bytes: u64,
    /// Number of the unit that takes batches which skip the journal.
    loose: Option<u64>,
}

impl Cache {
    pub(super) fn new_unit(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// `logs` has the log of each batch in the unit.
    pub(super) fn add(&mut self, number: u64, bytes: usize, logs: impl Iterator<Item = LogId>) {
        let mut held: Vec<LogId> = logs.collect();
        let bytes = (bytes + held.len() * TAIL_BATCH_BYTES) as u64;
        held.sort_unstable();
        held.dedup();
        self.bytes += bytes;
        self.units.push_back(Unit { number, bytes, logs: held });
    }

    /// The unit for a batch that skips the journal.
    pub(super) fn loose_unit(&mut self, id: LogId, bytes: usize) -> u64 {
        let at = self
            .loose
            .and_then(|number| self.units.binary_search_by_key(&number, |unit| unit.number).ok());
        let unit = at.and_then(|at| self.units.get_mut(at));
        match unit.filter(|unit| unit.bytes < LOOSE_UNIT_BYTES) {
            Some(unit) => {
                let bytes = (bytes + TAIL_BATCH_BYTES) as u64;
                unit.bytes += bytes;
                self.bytes += bytes;
                if unit.logs.last() != Some(&id) {
                    unit.logs.push(id);
                }
                unit.number
            }
            None => {
                let number = self.new_unit();
                self.add(number, bytes, [id].into_iter());
                self.loose = Some(number);
                number
            }
        }
    }

    /// The next batch that skips the journal begins a unit, so that a flush covers all of the last one.
    pub(super) fn end_loose_unit(&mut self) {
        self.loose = None;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Store {
    /// What the newest batches may take of memory, whether or not they are in segments.
    pub(super) fn tail_bytes_max(&self) -> u64 {
        self.config.unflushed_bytes_max.max(self.config.cache_bytes)
    }

    /// Lets go of what is over budget and in segments.
    pub(super) fn trim_cache(&mut self) {
        let mut at = 0;
        while self.cache.bytes() > self.config.cache_bytes {
            let Some(unit) = self.cache.units.get(at) else { return };
            let logs = unit.logs.iter().filter_map(|id| self.logs.get(id));
            let mut needed = logs.filter(|log| log.needs_unit(unit.number)).peekable();
            if needed.peek().is_some() {
                if needed.any(|log| !log.is_poisoned()) {
                    return;
                }
                // It never goes, and those after it need not wait for it.
                at += 1;
                continue;
            }
            let Some(unit) = self.cache.units.remove(at) else { return };
            self.cache.bytes -= unit.bytes;
            for id in &unit.logs {
                if let Some(log) = self.logs.get_mut(id) {
                    log.evict(unit.number);
                }
            }
        }
    }
}
