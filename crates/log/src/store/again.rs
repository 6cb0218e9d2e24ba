//! Writing entries into the journal once more, so that its start does not wait for them.
//!
//! A log whose flush failed, or which could not be opened, has what it accepted in the journal only.
//! When the ring is half full and begins with such entries, they are pushed again; once the copies are
//! durable the older ones are needed no more. Recovery takes either, or both. Copies that would not
//! leave as much room again as they take are not made: then the ring fills, and appends are refused.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::append::Pushed;
use super::{LogId, Store};
use crate::LogKey;
use crate::journal::EntryKind;

/// Copies on their way.
#[derive(Debug)]
pub(super) struct Again {
    /// Of the frame with the last of them.
    last: u64,
    /// From which frame on each log is needed once they are durable.
    holders: BTreeMap<LogId, u64>,
    /// The frame of each entry.
    unopened: BTreeMap<LogKey, Vec<u64>>,
}

impl Store {
    /// Begins or ends the copying of what holds the journal's start, if it is time to.
    pub(super) fn copy_what_holds(&mut self) {
        if let Some(again) = self.flushing.again.take_if(|a| self.journal.durable() > a.last) {
            for (id, first) in again.holders {
                if let Some(holder) = self.flushing.holders.get_mut(&id) {
                    *holder = first;
                }
            }
            self.unopened.copied(&again.unopened);
        }
        let holders = self.flushing.holders.values().copied();
        let held = holders.chain(self.unopened.first_sequence()).min();
        let (used, most) = self.journal.used_bytes();
        let in_the_way = held.is_some_and(|held| held <= self.journal.start()) && used >= most / 2;
        if in_the_way && self.flushing.again.is_none() && self.journal.failed().is_none() {
            let of_logs = self.flushing.holders.keys().filter_map(|id| self.logs.get(id));
            let bytes: u64 = of_logs.map(|log| log.held_bytes()).sum();
            if 2 * (bytes + self.unopened.entry_bytes()) <= most - used {
                self.flushing.again = Some(self.push_held());
            }
        }
    }

    fn push_held(&mut self) -> Again {
        let first = self.journal.unsealed();
        let holders: Vec<LogId> = self.flushing.holders.keys().copied().collect();
        for id in &holders {
            let Some(log) = self.logs.get(id) else { continue };
            let key = log.key();
            for (kind, bytes) in log.held() {
                self.push_again(key, kind, bytes);
            }
        }
        let mut unopened = BTreeMap::new();
        for (key, entries) in self.unopened.held() {
            let copy = |(kind, bytes)| self.push_again(key, kind, bytes);
            unopened.insert(key, entries.into_iter().map(copy).collect());
        }
        let holders = holders.into_iter().map(|id| (id, first)).collect();
        Again { last: self.journal.gathering(), holders, unopened }
    }

    /// Puts an entry that its log has already into the journal; returns its frame's sequence.
    pub(super) fn push_again(&mut self, key: LogKey, kind: EntryKind, bytes: Bytes) -> u64 {
        self.pushed.push_back(Pushed::Again);
        self.journal.push(key, kind, &[bytes])
    }
}
