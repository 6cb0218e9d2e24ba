//! Broker configuration as `DescribeConfigs` shows it: what was said at the start, what is fixed, and
//! the defaults of topics. All of it is read-only.

use tidings_log::StoreConfig;

use crate::config::{
    CLEANUP_POLICY, COMPRESSION_TYPE, DELETE_RETENTION_MS, INDEX_INTERVAL_BYTES,
    MAX_COMPACTION_LAG_MS, MAX_MESSAGE_BYTES, MIN_CLEANABLE_DIRTY_RATIO, MIN_COMPACTION_LAG_MS,
    RETENTION_BYTES, RETENTION_MS, SEGMENT_BYTES, SEGMENT_INDEX_BYTES, SEGMENT_MS,
    TIMESTAMP_AFTER_MAX_MS, TIMESTAMP_BEFORE_MAX_MS, TIMESTAMP_TYPE, topic_default,
};
use crate::{BrokerConfig, ConfigEntry, ConfigKind, ConfigSource, limits};

/// Where a broker config has its value from.
enum BrokerValue {
    NodeId,
    DefaultPartitions,
    AutoCreate,
    Number(i64),
    Text(&'static str),
    /// The default of this topic config.
    OfTopics(&'static str),
    /// A setting of the store.
    Store(fn(&StoreConfig) -> i64),
}

/// Name, kind, value, documentation. Everything is read-only: it is said when the node starts.
const BROKER_CONFIGS: &[(&str, ConfigKind, BrokerValue, &str)] = {
    use BrokerValue::{AutoCreate, DefaultPartitions, NodeId, Number, OfTopics, Store, Text};
    use ConfigKind::{Boolean, Double, Int, List, Long, String};
    &[
        ("broker.id", Int, NodeId, "This node's id."),
        ("node.id", Int, NodeId, "This node's id."),
        ("num.partitions", Int, DefaultPartitions, "Partitions of a topic that does not say."),
        (
            "auto.create.topics.enable",
            Boolean,
            AutoCreate,
            "Whether asking for a missing topic's metadata creates it.",
        ),
        ("default.replication.factor", Int, Number(1), "One node holds one replica."),
        ("min.insync.replicas", Int, Number(1), "One node holds one replica."),
        ("delete.topic.enable", Boolean, Text("true"), "Topics can be deleted."),
        ("message.max.bytes", Int, OfTopics(MAX_MESSAGE_BYTES), "Largest record batch."),
        ("log.segment.bytes", Int, OfTopics(SEGMENT_BYTES), "Size of a segment."),
        (
            "log.index.interval.bytes",
            Int,
            OfTopics(INDEX_INTERVAL_BYTES),
            "Distance between two entries of an offset index.",
        ),
        (
            "log.message.timestamp.type",
            String,
            OfTopics(TIMESTAMP_TYPE),
            "Whether timestamps are the producer's or the time of the append.",
        ),
        ("log.cleanup.policy", List, OfTopics(CLEANUP_POLICY), "What becomes of old records."),
        ("log.retention.ms", Long, OfTopics(RETENTION_MS), "Age at which segments go."),
        ("log.retention.bytes", Long, OfTopics(RETENTION_BYTES), "Size at which segments go."),
        ("log.roll.ms", Long, OfTopics(SEGMENT_MS), "Age at which a segment is closed."),
        (
            "log.index.size.max.bytes",
            Int,
            OfTopics(SEGMENT_INDEX_BYTES),
            "Size of an index at which its segment is closed.",
        ),
        (
            "log.cleaner.min.cleanable.ratio",
            Double,
            OfTopics(MIN_CLEANABLE_DIRTY_RATIO),
            "Uncompacted share at which a log is compacted.",
        ),
        (
            "log.cleaner.min.compaction.lag.ms",
            Long,
            OfTopics(MIN_COMPACTION_LAG_MS),
            "Time for which records stay uncompacted at least.",
        ),
        (
            "log.cleaner.max.compaction.lag.ms",
            Long,
            OfTopics(MAX_COMPACTION_LAG_MS),
            "Time for which records stay uncompacted at most.",
        ),
        (
            "log.cleaner.delete.retention.ms",
            Long,
            OfTopics(DELETE_RETENTION_MS),
            "How long tombstones are kept.",
        ),
        (
            "log.message.timestamp.before.max.ms",
            Long,
            OfTopics(TIMESTAMP_BEFORE_MAX_MS),
            "How far a timestamp may be behind the clock.",
        ),
        (
            "log.message.timestamp.after.max.ms",
            Long,
            OfTopics(TIMESTAMP_AFTER_MAX_MS),
            "How far a timestamp may be ahead of the clock.",
        ),
        (
            "log.retention.check.interval.ms",
            Long,
            Store(|store| store.retention_check_ms.cast_signed()),
            "Time between two looks at a log's retention and compaction.",
        ),
        (
            "producer.id.expiration.ms",
            Int,
            Store(|store| store.producer_expiry_ms),
            "Silence after which an idempotent producer is forgotten.",
        ),
        ("compression.type", String, OfTopics(COMPRESSION_TYPE), "Batches are kept as they came."),
        (
            "group.min.session.timeout.ms",
            Int,
            Number(limits::SESSION_TIMEOUT_MIN_MS as i64),
            "Shortest session timeout of a group's member.",
        ),
        (
            "group.max.session.timeout.ms",
            Int,
            Number(limits::SESSION_TIMEOUT_MAX_MS as i64),
            "Longest session timeout of a group's member.",
        ),
        (
            "group.max.size",
            Int,
            Number(limits::MEMBERS_PER_GROUP_MAX as i64),
            "Members of one group.",
        ),
        (
            "group.initial.rebalance.delay.ms",
            Int,
            Number(0),
            "The first member of a group does not wait for others.",
        ),
        (
            "offset.metadata.max.bytes",
            Int,
            Number(limits::OFFSET_METADATA_BYTES_MAX as i64),
            "Largest metadata of one committed offset.",
        ),
        ("offsets.topic.num.partitions", Int, Number(1), "Partitions of __consumer_offsets."),
        ("offsets.topic.replication.factor", Int, Number(1), "One node holds one replica."),
    ]
};

impl BrokerValue {
    /// The value, and the default where the value was set at start.
    fn read(&self, config: &BrokerConfig) -> (String, Option<&'static str>, bool) {
        let fixed = |value: String| (value, None, false);
        match self {
            Self::NodeId => (config.node_id.to_string(), None, true),
            Self::DefaultPartitions => (config.default_partitions.to_string(), Some("4"), true),
            Self::AutoCreate => (config.auto_create_topics.to_string(), Some("true"), true),
            Self::Number(number) => fixed(number.to_string()),
            Self::Text(text) => fixed((*text).to_owned()),
            Self::Store(setting) => fixed(setting(&config.store).to_string()),
            Self::OfTopics(name) => fixed(topic_default(name).to_owned()),
        }
    }
}

/// The broker's own configuration as `DescribeConfigs` shows it.
pub(crate) fn describe_broker(config: &BrokerConfig) -> Vec<ConfigEntry> {
    let rows = BROKER_CONFIGS.iter();
    rows.map(|&(name, kind, ref value, documentation)| {
        let (value, default, set) = value.read(config);
        let (default, source) = if set {
            (default.map(str::to_owned), ConfigSource::StaticBroker)
        } else {
            (Some(value.clone()), ConfigSource::Default)
        };
        ConfigEntry {
            name,
            value: Some(value),
            default,
            source,
            kind,
            read_only: true,
            documentation,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_shows_what_it_was_told_and_what_is_fixed() {
        let config = BrokerConfig {
            node_id: 7,
            default_partitions: 3,
            auto_create_topics: false,
            disk_reserve_bytes: 0,
            store: StoreConfig::default(),
            seed: 0,
        };
        let described = describe_broker(&config);
        let cases = [
            ("broker.id", "7", None, ConfigSource::StaticBroker),
            ("num.partitions", "3", Some("4"), ConfigSource::StaticBroker),
            ("auto.create.topics.enable", "false", Some("true"), ConfigSource::StaticBroker),
            ("message.max.bytes", "1048588", Some("1048588"), ConfigSource::Default),
            ("log.retention.ms", "604800000", Some("604800000"), ConfigSource::Default),
            ("producer.id.expiration.ms", "86400000", Some("86400000"), ConfigSource::Default),
            ("group.max.session.timeout.ms", "1800000", Some("1800000"), ConfigSource::Default),
        ];
        for (name, value, default, source) in cases {
            let entry = described.iter().find(|entry| entry.name == name).expect(name);
            let seen = (entry.value.as_deref(), entry.default.as_deref(), entry.source);
            assert_eq!(seen, (Some(value), default, source), "{name}");
        }
    }
}
