//! How far behind a service is.

use std::time::Instant;

use tidings_engine::Subscription;

use super::Worker;
use crate::{figures::Behind, limits, task::Task};

impl Worker {
    /// Shows how much there is to do, and since when; looks every [`limits::BEHIND_EVERY`] at most.
    ///
    /// The loop asks before it waits and after it commits, and never waits longer than [`limits::POLL_WAIT`]: what
    /// was not looked at is not shown later than that.
    pub(super) fn show_behind(&mut self) {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now.duration_since(looked) < limits::BEHIND_EVERY) {
            return;
        }
        self.looked = Some(now);
        let unread = self.subscription.as_ref().map_or(0, Subscription::lag);
        let unfinished: usize = self.tasks.iter().map(Task::unfinished).sum();
        let waiting = self.tasks.iter().filter_map(Task::oldest_ms);
        let oldest_ms = waiting.chain(self.attempts.timestamps()).filter(|ms| *ms >= 0).min();
        let records = u64::try_from(unread).unwrap_or_default().saturating_add(unfinished as u64);
        self.counts.behind = Behind { records, oldest_ms };
        self.counts.show();
    }
}
