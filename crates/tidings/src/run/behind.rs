//! How far behind a service is, and what keeps it from reading on.

use std::time::Instant;

use tidings_engine::{Subscription, TopicPartition};

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
        #[cfg(feature = "disk")]
        if let Some(standby) = &self.standby {
            standby.show(&mut self.counts.now);
        }
        self.counts.show();
    }

    /// Says which partitions are not read on as their shelves are full, of those that were not paused before.
    pub(super) fn tell_of_full_shelves(&self, former: &[TopicPartition]) {
        let is_news = |task: &&Task| task.shelf().is_full() && !former.contains(task.at());
        for task in self.tasks.iter().filter(is_news) {
            let (service, at, shelf) = (&self.service.name, task.at(), task.shelf());
            let (records, dead, awaiting) =
                (shelf.len(), shelf.dead().count(), shelf.awaiting_any());
            tracing::warn!(
                %service, %at, records, dead, awaiting,
                "as much is put aside as may be: the partition is read on when some of it works or is discarded"
            );
        }
    }
}
