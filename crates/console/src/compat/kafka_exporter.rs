//! The names of danielqsj/kafka_exporter.
//!
//! A partition of a topic that a group reads, without a commit, has the offset and the lag -1, as alerts wait for
//! that; unlike there, sums leave it out.
//!
//! Source: <https://github.com/danielqsj/kafka_exporter>, `kafka_exporter.go`.

use std::collections::BTreeMap;

use tidings_engine::{GroupOffset, Partition, Topic};

use super::collected::{Collected, Group};
use crate::exposition::Exposition;
use crate::figure::Family;

type Labels = &'static [&'static str];

const OF_PARTITION: Labels = &["topic", "partition"];
const OF_POSITION: Labels = &["consumergroup", "topic", "partition"];
const OF_TOPIC_OF_GROUP: Labels = &["consumergroup", "topic"];

static BROKERS: Family =
    Family::gauge("kafka_brokers", "Number of Brokers in the Kafka Cluster.", &[]);
static BROKER_INFO: Family =
    Family::gauge("kafka_broker_info", "Information about the Kafka Broker.", &["id", "address"]);
static PARTITIONS: Family =
    Family::gauge("kafka_topic_partitions", "Number of partitions for this Topic", &["topic"]);
static CURRENT: Family = Family::gauge(
    "kafka_topic_partition_current_offset",
    "Current Offset of a Broker at Topic/Partition",
    OF_PARTITION,
);
static OLDEST: Family = Family::gauge(
    "kafka_topic_partition_oldest_offset",
    "Oldest Offset of a Broker at Topic/Partition",
    OF_PARTITION,
);
static LEADER: Family = Family::gauge(
    "kafka_topic_partition_leader",
    "Leader Broker ID of this Topic/Partition",
    OF_PARTITION,
);
static REPLICAS: Family = Family::gauge(
    "kafka_topic_partition_replicas",
    "Number of Replicas for this Topic/Partition",
    OF_PARTITION,
);
static IN_SYNC: Family = Family::gauge(
    "kafka_topic_partition_in_sync_replica",
    "Number of In-Sync Replicas for this Topic/Partition",
    OF_PARTITION,
);
static PREFERRED: Family = Family::gauge(
    "kafka_topic_partition_leader_is_preferred",
    "1 if Topic/Partition is using the Preferred Broker",
    OF_PARTITION,
);
static UNDER_REPLICATED: Family = Family::gauge(
    "kafka_topic_partition_under_replicated_partition",
    "1 if Topic/Partition is under Replicated",
    OF_PARTITION,
);
static GROUP_CURRENT: Family = Family::gauge(
    "kafka_consumergroup_current_offset",
    "Current Offset of a ConsumerGroup at Topic/Partition",
    OF_POSITION,
);
static GROUP_CURRENT_SUM: Family = Family::gauge(
    "kafka_consumergroup_current_offset_sum",
    "Current Offset of a ConsumerGroup at Topic for all partitions",
    OF_TOPIC_OF_GROUP,
);
static LAG: Family = Family::gauge(
    "kafka_consumergroup_lag",
    "Current Approximate Lag of a ConsumerGroup at Topic/Partition",
    OF_POSITION,
);
static LAG_SUM: Family = Family::gauge(
    "kafka_consumergroup_lag_sum",
    "Current Approximate Lag of a ConsumerGroup at Topic for all partitions",
    OF_TOPIC_OF_GROUP,
);
static MEMBERS: Family = Family::gauge(
    "kafka_consumergroup_members",
    "Amount of members in a consumer group",
    &["consumergroup"],
);

/// `address` is where a broker is that has none of its own: the node.
pub(super) fn write(text: &mut Exposition, found: &Collected, address: &str) {
    text.begin(&BROKERS);
    text.sample(&[], found.brokers.len() as f64);
    text.begin(&BROKER_INFO);
    for broker in &found.brokers {
        let address = broker.address.as_deref().unwrap_or(address);
        text.sample(&[&broker.id, &address], 1.0);
    }
    text.begin(&PARTITIONS);
    for topic in &found.topics {
        text.sample(&[&topic.name], topic.partitions.len() as f64);
    }
    partitions(text, found);
    groups(text, found);
}

fn partitions(text: &mut Exposition, found: &Collected) {
    type Read = fn(&Collected, &Topic, &Partition) -> Option<f64>;
    let of_partition: [(&'static Family, Read); 7] = [
        (&CURRENT, |_, _, partition| Some(partition.end_offset as f64)),
        (&OLDEST, |_, _, partition| Some(partition.start_offset as f64)),
        (&LEADER, |found, topic, p| Some(f64::from(found.placement(&topic.name, p.id)?.leader?))),
        (&REPLICAS, |found, topic, p| {
            Some(found.placement(&topic.name, p.id)?.replicas.len() as f64)
        }),
        (
            &IN_SYNC,
            |found, topic, p| Some(found.placement(&topic.name, p.id)?.in_sync.len() as f64),
        ),
        (&PREFERRED, |found, topic, p| {
            let at = found.placement(&topic.name, p.id)?;
            let preferred = at.leader.is_some() && at.leader == at.replicas.first().copied();
            Some(f64::from(u8::from(preferred)))
        }),
        (&UNDER_REPLICATED, |found, topic, p| {
            let at = found.placement(&topic.name, p.id)?;
            Some(f64::from(u8::from(at.in_sync.len() < at.replicas.len())))
        }),
    ];
    for (family, read) in of_partition {
        text.begin(family);
        for topic in &found.topics {
            for partition in &topic.partitions {
                if let Some(value) = read(found, topic, partition) {
                    text.sample(&[&topic.name, &partition.id], value);
                }
            }
        }
    }
}

/// The positions of a group in a topic that it reads: those it has committed, -1 for the others.
struct Read<'a> {
    topic: &'a str,
    /// Number, committed offset, lag.
    partitions: Vec<(i32, i64, i64)>,
}

impl Read<'_> {
    fn sum(&self, read: fn(&(i32, i64, i64)) -> i64) -> f64 {
        let all = self.partitions.iter().map(read);
        all.filter(|value| *value >= 0).sum::<i64>() as f64
    }
}

fn read_of<'a>(found: &'a Collected, group: &'a Group) -> Vec<Read<'a>> {
    let mut committed: BTreeMap<&str, BTreeMap<i32, &GroupOffset>> = BTreeMap::new();
    for at in group.described.offsets.iter().filter(|at| at.committed.is_some()) {
        committed.entry(&at.topic).or_default().insert(at.partition, at);
    }
    let read = committed.into_iter().filter_map(|(topic, at)| {
        let position = |partition: &Partition| match at.get(&partition.id) {
            Some(GroupOffset { committed: Some(offset), lag, .. }) => (partition.id, *offset, *lag),
            _ => (partition.id, -1, -1),
        };
        let partitions = found.topic(topic)?.partitions.iter().map(position).collect();
        Some(Read { topic, partitions })
    });
    read.collect()
}

fn groups(text: &mut Exposition, found: &Collected) {
    let read: Vec<(&str, Vec<Read<'_>>)> = found
        .groups
        .iter()
        .map(|group| (group.described.name.as_str(), read_of(found, group)))
        .collect();
    let all = || read.iter().flat_map(|(group, read)| read.iter().map(move |read| (*group, read)));
    for (family, of) in [(&GROUP_CURRENT, true), (&LAG, false)] {
        text.begin(family);
        for (group, Read { topic, partitions }) in all() {
            for (partition, offset, lag) in partitions {
                let value = if of { *offset } else { *lag };
                text.sample(&[&group, topic, partition], value as f64);
            }
        }
    }
    text.begin(&GROUP_CURRENT_SUM);
    all().for_each(|(group, read)| {
        text.sample(&[&group, &read.topic], read.sum(|(_, offset, _)| *offset));
    });
    text.begin(&LAG_SUM);
    all().for_each(|(group, read)| {
        text.sample(&[&group, &read.topic], read.sum(|(_, _, lag)| *lag));
    });
    text.begin(&MEMBERS);
    for group in &found.groups {
        text.sample(&[&group.described.name], group.described.members.len() as f64);
    }
}
