//! The `range` assignor: who reads what, as every Kafka client computes it.
//!
//! Per topic, the members that want it are sorted by id and given consecutive ranges; the first
//! ones get one more where it does not divide. So topics with as many partitions and the same
//! members are co-partitioned: partition i of each goes to the same member.

use std::collections::BTreeMap;

use crate::TopicPartition;

pub(super) const RANGE: &str = "range";

/// Member id → partitions. `members` says what each wants; `counts` how many partitions each topic
/// has, where a topic that does not exist is missing.
pub(super) fn range(
    members: &BTreeMap<String, Vec<String>>,
    counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut assigned: BTreeMap<String, Vec<TopicPartition>> =
        members.keys().map(|member| (member.clone(), Vec::new())).collect();
    for (topic, &count) in counts {
        let wanting: Vec<&String> =
            members.iter().filter(|(_, wants)| wants.contains(topic)).map(|(id, _)| id).collect();
        let mut next = 0;
        for (index, member) in wanting.iter().enumerate() {
            let left = wanting.len() - index;
            let left = i32::try_from(left).expect("a group has fewer members than i32::MAX");
            let share = (count - next).div_euclid(left) + i32::from((count - next) % left != 0);
            let range = next..next + share;
            next = range.end;
            let partitions =
                range.map(|partition| TopicPartition { topic: topic.clone(), partition });
            assigned.entry((*member).clone()).or_default().extend(partitions);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: &[(&str, &[&str])], counts: &[(&str, i32)], expected: &[(&str, &[&str])]) {
        let members = members
            .iter()
            .map(|(id, wants)| (id.to_string(), wants.iter().map(ToString::to_string).collect()))
            .collect();
        let counts = counts.iter().map(|(topic, count)| (topic.to_string(), *count)).collect();
        let assigned: Vec<(String, Vec<String>)> = range(&members, &counts)
            .into_iter()
            .map(|(id, partitions)| (id, partitions.iter().map(ToString::to_string).collect()))
            .collect();
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(id, list)| (id.to_string(), list.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(assigned, expected);
    }

    #[test]
    fn ranges_are_kafkas() {
        // From the documentation of Kafka's RangeAssignor.
        check(
            &[("c0", &["t0", "t1"]), ("c1", &["t0", "t1"])],
            &[("t0", 3), ("t1", 3)],
            &[("c0", &["t0-0", "t0-1", "t1-0", "t1-1"]), ("c1", &["t0-2", "t1-2"])],
        );
        check(
            &[("a", &["t"]), ("b", &["t"]), ("c", &["t"])],
            &[("t", 8)],
            &[("a", &["t-0", "t-1", "t-2"]), ("b", &["t-3", "t-4", "t-5"]), ("c", &["t-6", "t-7"])],
        );
    }

    #[test]
    fn members_without_a_share_get_an_empty_one() {
        check(&[("a", &["t"]), ("b", &["t"])], &[("t", 1)], &[("a", &["t-0"]), ("b", &[])]);
        check(&[("a", &["missing"])], &[], &[("a", &[])]);
    }

    #[test]
    fn a_topic_goes_to_those_who_want_it() {
        check(
            &[("a", &["t"]), ("b", &["u"])],
            &[("t", 2), ("u", 2)],
            &[("a", &["t-0", "t-1"]), ("b", &["u-0", "u-1"])],
        );
    }
}
