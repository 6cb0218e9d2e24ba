//! Partitions that this engine has made a moment ago, or was told that they are there: a broker that does not know them
//! has not heard of them yet, and is asked again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::TopicPartition;
use crate::limits::CHANGE_SEEN_WITHIN;

#[derive(Debug, Default)]
pub(super) struct Changed {
    /// How many partitions a topic has since when.
    topics: Mutex<BTreeMap<String, (i32, Instant)>>,
}

impl Changed {
    pub(super) fn note(&self, topic: &str, partitions: i32) {
        let mut topics = self.topics();
        topics.retain(|_, (_, when)| when.elapsed() < CHANGE_SEEN_WITHIN);
        topics.insert(topic.to_owned(), (partitions, Instant::now()));
    }

    /// It is deleted: not to know it is right.
    pub(super) fn forget(&self, topic: &str) {
        self.topics().remove(topic);
    }

    pub(super) fn lately(&self, at: &TopicPartition) -> bool {
        self.topics().get(&at.topic).is_some_and(|(partitions, when)| {
            (0..*partitions).contains(&at.partition) && when.elapsed() < CHANGE_SEEN_WITHIN
        })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, (i32, Instant)>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_partition_is_new_for_a_moment_or_until_its_topic_is_deleted() {
        let changed = Changed::default();
        let lately = |topic: &str, partition| {
            changed.lately(&TopicPartition { topic: topic.to_owned(), partition })
        };
        changed.note("a", 1);
        tokio::time::advance(CHANGE_SEEN_WITHIN / 2).await;
        changed.note("b", 2);
        assert!(lately("a", 0) && lately("b", 1) && !lately("c", 0));
        assert!(!lately("a", 1) && !lately("a", -1), "there is none of that number");
        tokio::time::advance(CHANGE_SEEN_WITHIN / 2).await;
        assert!(!lately("a", 0) && lately("b", 0));
        changed.note("c", 1);
        assert_eq!(changed.topics().len(), 2, "what is old is not kept");
        changed.forget("b");
        assert!(!lately("b", 0));
    }
}
