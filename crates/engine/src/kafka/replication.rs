//! How many brokers keep a topic's records, and whether that is enough for one to be acknowledged.

use super::topics::topic_of;
use super::{Looker, native};
use crate::Error;

/// A topic as whoever writes to it must know it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replication {
    /// By their numbers.
    partitions: Vec<Replicas>,
    /// The topic's `min.insync.replicas` and `max.message.bytes`; none to a user who may not see them.
    wanted: Option<usize>,
    pub(super) max_message_bytes: Option<usize>,
}

/// Of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replicas {
    id: i32,
    has_leader: bool,
    all: usize,
    in_sync: usize,
}

/// Asked anew.
pub(super) fn replication_of(looker: &Looker, name: &str) -> Result<Replication, Error> {
    let partitions = topic_of(looker, name, |topic| {
        let replicas = |partition: &rdkafka::metadata::MetadataPartition| Replicas {
            id: partition.id(),
            has_leader: partition.leader() >= 0,
            all: partition.replicas().len(),
            in_sync: partition.isr().len(),
        };
        topic.partitions().iter().map(replicas).collect()
    })?;
    // Who may write a topic may not always see its configuration; then the defaults will do.
    let configs = native::topic_configs(looker, name).unwrap_or_default();
    let number = |wanted: &str| {
        let config = configs.iter().find(|config| config.name == wanted)?;
        config.value.as_ref()?.parse().ok()
    };
    Ok(Replication {
        partitions,
        wanted: number("min.insync.replicas"),
        max_message_bytes: number("max.message.bytes"),
    })
}

impl Replication {
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Refuses a topic in which nothing can ever be acknowledged.
    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
        let Some(wanted) = self.wanted else { return Ok(()) };
        match self.partitions.iter().find(|replicas| replicas.all < wanted) {
            None => Ok(()),
            Some(Replicas { id, all, .. }) => Err(Error::Invalid(format!(
                "{name}-{id} has {all} of the {wanted} replicas that min.insync.replicas asks for, so \
                 nothing can be acknowledged; give the topic more replicas, or lower its \
                 min.insync.replicas"
            ))),
        }
    }

    /// Why a partition takes no records now, if one does not.
    pub(super) fn why_not_now(&self, name: &str) -> Option<String> {
        let why = |&Replicas { id, has_leader, all, in_sync }: &Replicas| {
            if !has_leader {
                return Some(format!(
                    "{name}-{id} has no leader: its replicas are on brokers that are down"
                ));
            }
            // A topic with fewer replicas than that is refused with its first record, whatever is in sync.
            let wanted = self.wanted.unwrap_or(1).min(all);
            (in_sync < wanted).then(|| {
                format!(
                    "{name}-{id} takes no records: {in_sync} of its {all} replicas are in sync and \
                     min.insync.replicas wants {wanted}"
                )
            })
        };
        self.partitions.iter().find_map(why)
    }

    /// What keeps a record of this partition from being acknowledged.
    pub(super) fn why_late(&self, partition: i32) -> String {
        let found = self.partitions.iter().find(|replicas| replicas.id == partition);
        match (found, self.wanted) {
            (Some(Replicas { has_leader: false, all, .. }), _) => {
                format!("none of its {all} replicas leads; look for brokers that are down")
            }
            (Some(Replicas { in_sync, all, .. }), Some(wanted)) if *in_sync < wanted => format!(
                "{in_sync} of its {all} replicas are in sync and min.insync.replicas asks for \
                 {wanted}; look for brokers that are down"
            ),
            _ => "look whether the partition's leader is reachable, and not overloaded".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(has_leader: bool, all: usize, in_sync: usize, wanted: Option<usize>) -> Replication {
        let enough = Replicas { id: 0, has_leader: true, all: 3, in_sync: 3 };
        let partitions = vec![enough, Replicas { id: 1, has_leader, all, in_sync }];
        Replication { partitions, wanted, max_message_bytes: None }
    }

    #[test]
    fn too_few_replicas_are_told_before_anything_is_sent() {
        assert_eq!(topic(true, 3, 1, Some(2)).check("t"), Ok(()), "they may come back");
        assert_eq!(topic(true, 1, 1, None).check("t"), Ok(()), "who knows");
        let refused = topic(true, 1, 1, Some(2)).check("t").unwrap_err();
        assert!(refused.to_string().starts_with("t-1 has 1 of the 2 replicas"), "{refused}");
    }

    #[test]
    fn what_takes_no_records_now_is_told() {
        for (topic, expected) in [
            (topic(true, 3, 2, Some(2)), None),
            (topic(true, 3, 1, None), None),
            (topic(true, 1, 1, Some(2)), None),
            (
                topic(true, 3, 1, Some(2)),
                Some("t-1 takes no records: 1 of its 3 replicas are in sync"),
            ),
            (topic(false, 3, 0, Some(2)), Some("t-1 has no leader")),
        ] {
            let why = topic.why_not_now("t");
            let (why, expected) = (why.as_deref(), expected.unwrap_or_default());
            assert_eq!(why.is_some(), !expected.is_empty(), "{why:?}");
            assert!(why.unwrap_or_default().starts_with(expected), "{why:?}");
        }
    }

    #[test]
    fn what_keeps_a_record_from_being_acknowledged() {
        for (topic, partition, expected) in [
            (topic(false, 3, 0, Some(2)), 1, "none of its 3 replicas leads"),
            (topic(true, 3, 1, Some(2)), 1, "1 of its 3 replicas are in sync"),
            (topic(true, 3, 1, Some(2)), 0, "leader is reachable"),
            (topic(true, 3, 1, None), 1, "leader is reachable"),
        ] {
            let why = topic.why_late(partition);
            assert!(why.contains(expected), "{why}");
        }
    }
}
