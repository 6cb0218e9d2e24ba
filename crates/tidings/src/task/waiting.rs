//! What waits: how much of it there is and since when, and what waits for a turn at a limited dependency.

use super::{Parked, State, Task, Work};

impl Task {
    /// Records that were delivered and are not done; those on the shelf are not among them.
    pub(crate) fn unfinished(&self) -> usize {
        self.watermark.unfinished()
    }

    /// The timestamp of the oldest record that is not done and waits for no person, unless that one is being
    /// attempted: the first in memory is the first of its key, and so is the first on the shelf.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let ready = self.ready.first_key_value().and_then(|(_, key)| self.lanes.get(key));
        let ready = ready.and_then(|lane| lane.waiting.front()).map(|record| record.timestamp);
        ready.into_iter().chain(self.shelf.oldest_ms()).min()
    }

    /// What is on the shelf waits longer there. When it is due again is in memory only: it is tried sooner by whoever
    /// has the partition next.
    pub(super) fn put_off(&mut self, work: Work, due_ms: i64) {
        let Work { record, attempts, finished, redrives, .. } = work;
        let offset = record.offset;
        let Some(parked) = self.shelf.get(offset) else { return };
        let (state, is_news) = (State::Waiting { due_ms }, finished.len() > parked.finished.len());
        let parked = Parked { record, attempts, state, finished, redrives };
        if is_news {
            self.park(offset, parked);
        } else {
            self.shelf.put(offset, parked);
        }
    }
}
