//! What is odd about a group, from its description alone. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use tidings_engine::{GroupDescription, GroupMember, GroupOffset};

use crate::limits::{HOT_LAG_MIN, HOT_TIMES};

/// Where a group is behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct TopicPartition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn of(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }

    pub(crate) fn is(&self, topic: &str, partition: i32) -> bool {
        self.topic == topic && self.partition == partition
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Partitions whose lag is at least [`HOT_LAG_MIN`] and [`HOT_TIMES`] the average of their topic's others: a key that is used
/// far more than others, or a member that is slow. A topic of one partition has none.
pub(crate) fn hot(offsets: &[GroupOffset]) -> Vec<TopicPartition> {
    let mut topics: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for at in offsets {
        let (count, lag) = topics.entry(&at.topic).or_default();
        (*count, *lag) = (*count + 1, lag.saturating_add(at.lag));
    }
    let is_hot = |at: &&GroupOffset| {
        let (count, lag) = topics[at.topic.as_str()];
        let (others, theirs) = (count - 1, lag - at.lag);
        others > 0
            && at.lag >= HOT_LAG_MIN
            && at.lag.saturating_mul(others) >= theirs.saturating_mul(HOT_TIMES)
    };
    offsets.iter().filter(is_hot).map(|at| TopicPartition::of(&at.topic, at.partition)).collect()
}

/// Members of a group at rest that have nothing to read: they are more than there are partitions.
pub(crate) fn idle(group: &GroupDescription) -> impl Iterator<Item = &GroupMember> {
    let at_rest = group.state == "Stable";
    group.members.iter().filter(move |member| at_rest && member.assignment.is_empty())
}

/// The topics that it reads or has read.
pub(crate) fn topics(group: &GroupDescription) -> Vec<String> {
    let assigned = group.members.iter().flat_map(|member| &member.assignment).map(|at| &at.topic);
    let all: BTreeSet<&String> = group.offsets.iter().map(|at| &at.topic).chain(assigned).collect();
    all.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(lags: &[(&str, i32, i64)]) -> Vec<GroupOffset> {
        let offset = |(topic, partition, lag): &(&str, i32, i64)| GroupOffset {
            topic: (*topic).to_owned(),
            partition: *partition,
            committed: Some(0),
            end_offset: *lag,
            lag: *lag,
            metadata: None,
        };
        lags.iter().map(offset).collect()
    }

    #[test]
    fn a_partition_is_hot_beside_the_others_of_its_topic() {
        for (lags, wanted) in [
            (&[][..], &[][..]),
            (&[("a", 0, 5_000)], &[]),
            (&[("a", 0, 400), ("a", 1, 100)], &["a-0"]),
            (&[("a", 0, 399), ("a", 1, 100)], &[]),
            (&[("a", 0, 99), ("a", 1, 0)], &[]),
            (&[("a", 0, 100), ("a", 1, 0)], &["a-0"]),
            (&[("a", 0, 900), ("a", 1, 900), ("a", 2, 0), ("a", 3, 0)], &[]),
            (&[("a", 0, 0), ("a", 1, 9_000), ("a", 2, 10), ("b", 0, 9_000)], &["a-1"]),
        ] {
            let found: Vec<_> = hot(&offsets(lags)).iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted, "{lags:?}");
        }
    }

    #[test]
    fn a_member_without_partitions_is_idle_once_the_group_is_at_rest() {
        let member = |name: &str, partitions: i32| GroupMember {
            member_id: name.to_owned(),
            client_id: name.to_owned(),
            host: String::new(),
            assignment: (0..partitions)
                .map(|partition| tidings_engine::TopicPartition { topic: "t".into(), partition })
                .collect(),
        };
        let group = |state: &str| GroupDescription {
            name: "g".into(),
            state: state.to_owned(),
            protocol: "range".into(),
            members: vec![member("a", 2), member("b", 0), member("c", 1)],
            offsets: offsets(&[("s", 0, 1), ("t", 0, 1)]),
        };
        let names =
            |state| idle(&group(state)).map(|member| member.client_id.clone()).collect::<Vec<_>>();
        assert_eq!(names("Stable"), ["b"]);
        assert!(names("PreparingRebalance").is_empty());
        assert_eq!(topics(&group("Stable")), ["s", "t"]);
    }
}
