//! What all groups together may take of memory: members' metadata and assignments, committed offsets.
//!
//! Between counts it is known as the last count and what was taken since, which is never less than the
//! truth. It is counted anew when that reaches the bound, and then not before a second has passed or a
//! [`limits::GROUP_RECOUNT_SHARE`]th of the bound has been taken.

use crate::limits;

#[derive(Debug)]
pub(crate) struct GroupMemory {
    bytes_max: usize,
    counted: usize,
    taken_since: usize,
    counted_at_ms: Option<u64>,
}

impl GroupMemory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, counted: 0, taken_since: bytes_max, counted_at_ms: None }
    }

    /// Takes so many bytes if there is room for them.
    pub(crate) fn take(
        &mut self,
        now_ms: u64,
        bytes: usize,
        count: impl FnOnce() -> usize,
    ) -> bool {
        if self.taken_with(bytes) > self.bytes_max && self.may_count(now_ms) {
            self.counted = count();
            self.taken_since = 0;
            self.counted_at_ms = Some(now_ms);
        }
        let fits = self.taken_with(bytes) <= self.bytes_max;
        if fits {
            self.taken_since += bytes;
        }
        fits
    }

    fn taken_with(&self, bytes: usize) -> usize {
        self.counted.saturating_add(self.taken_since).saturating_add(bytes)
    }

    fn may_count(&self, now_ms: u64) -> bool {
        let is_old = self
            .counted_at_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= limits::GROUP_RECOUNT_MS);
        is_old || self.taken_since >= self.bytes_max / limits::GROUP_RECOUNT_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stays_within_the_bound_and_what_goes_makes_room() {
        let mut memory = GroupMemory::new(1000);
        assert!(memory.take(0, 600, || 0), "the first count finds nothing");
        assert!(memory.take(0, 400, || unreachable!("there is room for it")));
        assert!(!memory.take(1, 1, || 1000), "all of it is held");
        assert!(!memory.take(2, 1, || unreachable!("it was counted just now")));
        assert!(memory.take(1 + limits::GROUP_RECOUNT_MS, 1, || 600), "some of it has gone");
        assert!(memory.take(1 + limits::GROUP_RECOUNT_MS, 399, || unreachable!("there is room")));
        let share = 1000 / limits::GROUP_RECOUNT_SHARE;
        assert!(memory.take(2 + limits::GROUP_RECOUNT_MS, share, || 0), "much was taken since");
        assert!(!memory.take(9000, 1001, || 0), "more than all");
    }
}
