//! Sets of partitions, by topic id.

use std::collections::{BTreeMap, BTreeSet};

use crate::TopicId;

/// Invariant: no topic without partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<TopicId, BTreeSet<i32>>);

impl Partitions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions there are, of all topics.
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub fn has(&self, topic: &TopicId, partition: i32) -> bool {
        self.0.get(topic).is_some_and(|of_topic| of_topic.contains(&partition))
    }

    pub fn add(&mut self, topic: TopicId, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    pub fn remove(&mut self, topic: &TopicId, partition: i32) {
        if let Some(of_topic) = self.0.get_mut(topic) {
            of_topic.remove(&partition);
            if of_topic.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    /// Topics with their partitions, both in order.
    pub fn by_topic(&self) -> impl ExactSizeIterator<Item = (&TopicId, &BTreeSet<i32>)> {
        self.0.iter()
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.0.iter().flat_map(|(topic, all)| all.iter().map(|partition| (*topic, *partition)))
    }

    /// The partitions that `keep` says yes to.
    pub fn filtered(&self, keep: impl Fn(&TopicId, i32) -> bool) -> Self {
        self.iter().filter(|(topic, partition)| keep(topic, *partition)).collect()
    }

    pub fn intersects(&self, other: &Self) -> bool {
        self.iter().any(|(topic, partition)| other.has(&topic, partition))
    }

    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.iter().all(|(topic, partition)| other.has(&topic, partition))
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(all: I) -> Self {
        let mut partitions = Self::default();
        partitions.extend(all);
        partitions
    }
}

impl Extend<(TopicId, i32)> for Partitions {
    fn extend<I: IntoIterator<Item = (TopicId, i32)>>(&mut self, all: I) {
        for (topic, partition) in all {
            self.add(topic, partition);
        }
    }
}
