//! The names of redpanda-data/kminion.
//!
//! Not there: `kminion_kafka_consumer_group_offset_commits_total` and `kminion_exporter_offset_consumer_records_consumed_total`,
//! which count records of `__consumer_offsets` as an exporter that reads it does, and `kminion_end_to_end_…`, which are of
//! records that kminion writes itself. A cluster does not say its version through the engine, nor which of its brokers
//! is its controller or a group's coordinator: the labels are `N/A` and -1 there.
//!
//! Source: <https://github.com/redpanda-data/kminion>, `prometheus/exporter.go` and its collectors.

use std::collections::{BTreeMap, BTreeSet};

use tidings_engine::{Broker, GroupOffset, Topic};

use super::collected::{Collected, Group};
use crate::exposition::Exposition;
use crate::figure::Family;
use crate::observe::size_of;

type Labels = &'static [&'static str];

const OF_PARTITION: Labels = &["topic_name", "partition_id"];
const OF_TOPIC: Labels = &["topic_name"];
const OF_GROUP: Labels = &["group_id"];
const OF_TOPIC_OF_GROUP: Labels = &["group_id", "topic_name"];

static EXPORTER_UP: Family = Family::gauge(
    "kminion_exporter_up",
    "Build info about this Prometheus Exporter. Gauge value is 0 if one or more scrapes have failed.",
    &["version"],
);
static CLUSTER_INFO: Family = Family::gauge(
    "kminion_kafka_cluster_info",
    "Kafka cluster information",
    &["cluster_version", "broker_count", "controller_id", "cluster_id"],
);
static BROKER_INFO: Family = Family::gauge(
    "kminion_kafka_broker_info",
    "Kafka broker information",
    &["broker_id", "address", "port", "rack_id", "is_controller"],
);
static BROKER_SIZE: Family = Family::gauge(
    "kminion_kafka_broker_log_dir_size_total_bytes",
    "The summed size in bytes of all log dirs for a given broker",
    &["broker_id", "address", "port", "rack_id"],
);
static TOPIC_SIZE: Family = Family::gauge(
    "kminion_kafka_topic_log_dir_size_total_bytes",
    "The summed size in bytes of partitions for a given topic. This includes the used space for replica partitions.",
    OF_TOPIC,
);
static TOPIC_INFO: Family = Family::gauge(
    "kminion_kafka_topic_info",
    "Info labels for a given topic",
    &["topic_name", "partition_count", "replication_factor", "cleanup_policy"],
);
static LOW: Family = Family::gauge(
    "kminion_kafka_topic_partition_low_water_mark",
    "Partition Low Water Mark",
    OF_PARTITION,
);
static LOW_SUM: Family = Family::gauge(
    "kminion_kafka_topic_low_water_mark_sum",
    "Sum of all the topic's partition low water marks",
    OF_TOPIC,
);
static HIGH: Family = Family::gauge(
    "kminion_kafka_topic_partition_high_water_mark",
    "Partition High Water Mark",
    OF_PARTITION,
);
static HIGH_SUM: Family = Family::gauge(
    "kminion_kafka_topic_high_water_mark_sum",
    "Sum of all the topic's partition high water marks",
    OF_TOPIC,
);
static GROUP_INFO: Family = Family::gauge(
    "kminion_kafka_consumer_group_info",
    "Consumer Group info metrics. It will report 1 if the group is in the stable state, otherwise 0.",
    &["group_id", "protocol", "protocol_type", "state", "coordinator_id"],
);
static MEMBERS: Family = Family::gauge(
    "kminion_kafka_consumer_group_members",
    "Consumer Group member count metrics. It will report the number of members in the consumer group",
    OF_GROUP,
);
static EMPTY_MEMBERS: Family = Family::gauge(
    "kminion_kafka_consumer_group_empty_members",
    "It will report the number of members in the consumer group with no partition assigned",
    OF_GROUP,
);
static TOPIC_MEMBERS: Family = Family::gauge(
    "kminion_kafka_consumer_group_topic_members",
    "It will report the number of members in the consumer group assigned on a given topic",
    OF_TOPIC_OF_GROUP,
);
static ASSIGNED: Family = Family::gauge(
    "kminion_kafka_consumer_group_topic_assigned_partitions",
    "It will report the number of partitions assigned in the consumer group for a given topic",
    OF_TOPIC_OF_GROUP,
);
static OFFSET_SUM: Family = Family::gauge(
    "kminion_kafka_consumer_group_topic_offset_sum",
    "The sum of all committed group offsets across all partitions in a topic",
    OF_TOPIC_OF_GROUP,
);
static PARTITION_LAG: Family = Family::gauge(
    "kminion_kafka_consumer_group_topic_partition_lag",
    "The number of messages a consumer group is lagging behind the latest offset of a partition",
    &["group_id", "topic_name", "partition_id"],
);
static TOPIC_LAG: Family = Family::gauge(
    "kminion_kafka_consumer_group_topic_lag",
    "The number of messages a consumer group is lagging behind across all partitions in a topic",
    OF_TOPIC_OF_GROUP,
);

/// `address` is where a broker is that has none of its own: the node.
pub(super) fn write(text: &mut Exposition, found: &Collected, address: &str, version: &str) {
    text.begin(&EXPORTER_UP);
    text.sample(&[&version], 1.0);
    brokers(text, found, address, version);
    topics(text, found);
    members(text, found);
    positions(text, found);
}

/// The one broker of a node that is controller and coordinator; which it is in a cluster is not seen from here.
fn controller(found: &Collected) -> i32 {
    let first = found.brokers.first().filter(|_| found.is_embedded);
    first.map_or(-1, |broker| broker.id)
}

fn brokers(text: &mut Exposition, found: &Collected, address: &str, version: &str) {
    let controller = controller(found);
    let version = if found.is_embedded { version } else { "N/A" };
    text.begin(&CLUSTER_INFO);
    text.sample(&[&version, &found.brokers.len(), &controller, &found.cluster_id], 1.0);
    let at = |broker: &Broker| {
        let address = broker.address.as_deref().unwrap_or(address);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        (host.to_owned(), port.to_owned())
    };
    text.begin(&BROKER_INFO);
    for broker in &found.brokers {
        let (host, port) = at(broker);
        text.sample(&[&broker.id, &host, &port, &"", &(broker.id == controller)], 1.0);
    }
    text.begin(&BROKER_SIZE);
    for broker in &found.brokers {
        let Some(bytes) = bytes_of(found, broker.id) else { continue };
        let (host, port) = at(broker);
        text.sample(&[&broker.id, &host, &port, &""], bytes as f64);
    }
}

/// What a broker has on disk of the topics that are shown; none where the engine does not know sizes.
fn bytes_of(found: &Collected, broker: i32) -> Option<u64> {
    let partitions = found.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition))
    });
    let mut bytes = 0;
    for (topic, partition) in partitions {
        let size = partition.size_bytes?;
        let at = found.placement(topic, partition.id);
        if at.is_some_and(|at| at.replicas.first() == Some(&broker)) {
            bytes += size;
        }
    }
    Some(bytes)
}

fn topics(text: &mut Exposition, found: &Collected) {
    text.begin(&TOPIC_SIZE);
    for topic in &found.topics {
        if let Some(bytes) = size_of(topic) {
            text.sample(&[&topic.name], bytes as f64);
        }
    }
    text.begin(&TOPIC_INFO);
    for topic in &found.topics {
        let policy = found.policies.get(&topic.name).map_or("N/A", String::as_str);
        let replicas = found.placement(&topic.name, 0).map(|at| at.replicas.len());
        let replicas = replicas.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        text.sample(&[&topic.name, &topic.partitions.len(), &replicas, &policy], 1.0);
    }
    marks(text, found, [&LOW, &LOW_SUM], |partition| partition.start_offset);
    marks(text, found, [&HIGH, &HIGH_SUM], |partition| partition.end_offset);
}

fn marks(
    text: &mut Exposition,
    found: &Collected,
    [each, sum]: [&'static Family; 2],
    read: fn(&tidings_engine::Partition) -> i64,
) {
    text.begin(each);
    for Topic { name, partitions, .. } in &found.topics {
        for partition in partitions {
            text.sample(&[name, &partition.id], read(partition) as f64);
        }
    }
    text.begin(sum);
    for Topic { name, partitions, .. } in &found.topics {
        text.sample(&[name], partitions.iter().map(read).sum::<i64>() as f64);
    }
}

fn members(text: &mut Exposition, found: &Collected) {
    let coordinator = controller(found);
    text.begin(&GROUP_INFO);
    for Group { protocol_type, described } in &found.groups {
        let stable = f64::from(u8::from(described.state == "Stable"));
        let (name, protocol, state) = (&described.name, &described.protocol, &described.state);
        text.sample(&[name, protocol, protocol_type, state, &coordinator], stable);
    }
    let groups = || found.groups.iter().map(|group| &group.described);
    text.begin(&MEMBERS);
    for group in groups() {
        text.sample(&[&group.name], group.members.len() as f64);
    }
    text.begin(&EMPTY_MEMBERS);
    for group in groups() {
        let empty = group.members.iter().filter(|member| member.assignment.is_empty());
        text.sample(&[&group.name], empty.count() as f64);
    }
    let by_topic: Vec<_> = groups().map(|group| (&group.name, assigned(group))).collect();
    let all = || by_topic.iter().flat_map(|(name, by)| by.iter().map(move |at| (*name, at)));
    text.begin(&TOPIC_MEMBERS);
    all().for_each(|(group, (topic, (members, _)))| {
        text.sample(&[group, topic], *members as f64);
    });
    text.begin(&ASSIGNED);
    all().for_each(|(group, (topic, (_, partitions)))| {
        text.sample(&[group, topic], *partitions as f64);
    });
}

/// Members that have something of a topic, and how many partitions they have of it.
fn assigned(group: &tidings_engine::GroupDescription) -> BTreeMap<&str, (usize, usize)> {
    let mut by_topic: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for member in &group.members {
        let topics: BTreeSet<&str> = member.assignment.iter().map(|at| at.topic.as_str()).collect();
        topics.iter().for_each(|topic| by_topic.entry(topic).or_default().0 += 1);
        member.assignment.iter().for_each(|at| by_topic.entry(&at.topic).or_default().1 += 1);
    }
    by_topic
}

fn positions(text: &mut Exposition, found: &Collected) {
    let committed = |at: &&GroupOffset| at.committed.is_some();
    let mut sums: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
    text.begin(&PARTITION_LAG);
    for group in found.groups.iter().map(|group| &group.described) {
        for at in group.offsets.iter().filter(committed) {
            text.sample(&[&group.name, &at.topic, &at.partition], at.lag.max(0) as f64);
            let sum = sums.entry((&group.name, &at.topic)).or_default();
            sum.0 += at.committed.unwrap_or(0);
            sum.1 += at.lag.max(0);
        }
    }
    text.begin(&OFFSET_SUM);
    for ((group, topic), (offset, _)) in &sums {
        text.sample(&[group, topic], *offset as f64);
    }
    text.begin(&TOPIC_LAG);
    for ((group, topic), (_, lag)) in &sums {
        text.sample(&[group, topic], *lag as f64);
    }
}
