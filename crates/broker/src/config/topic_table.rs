//! The table of topic configs: every one of Apache Kafka 4.2, and those of our own.
//!
//! A config without effect is taken where nothing is promised by it, and says so; one that would
//! promise what one node cannot do takes its default only.

use tidings_log::limits::BATCH_BYTES_MAX;

use crate::limits::BROKERS_MAX;

use super::ConfigKind;
use super::rule::Rule;

pub(super) struct TopicConfig {
    pub(super) name: &'static str,
    /// The broker config that a topic which says nothing takes its value from.
    pub(super) broker: Option<&'static str>,
    pub(super) kind: ConfigKind,
    pub(super) default: &'static str,
    pub(super) rule: Rule,
    pub(super) documentation: &'static str,
}

pub(super) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(super) const COMPRESSION_TYPE: &str = "compression.type";
pub(super) const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub(super) const INDEX_INTERVAL_BYTES: &str = "index.interval.bytes";
pub(super) const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(super) const TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
pub(super) const TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
pub(super) const TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub(super) const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(super) const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub(super) const RETENTION_BYTES: &str = "retention.bytes";
pub(super) const RETENTION_MS: &str = "retention.ms";
pub(super) const SEGMENT_BYTES: &str = "segment.bytes";
pub(super) const SEGMENT_INDEX_BYTES: &str = "segment.index.bytes";
pub(super) const SEGMENT_MS: &str = "segment.ms";
pub(super) const DURABILITY: &str = "tidings.durability";

const NOT_TIERED: &str = "there is no tiered storage";

/// By name.
pub(super) const TOPIC_CONFIGS: &[TopicConfig] = &[
    TopicConfig {
        name: CLEANUP_POLICY,
        broker: Some("log.cleanup.policy"),
        kind: ConfigKind::List,
        default: "delete",
        rule: Rule::List(&["compact", "delete"]),
        documentation: "delete: old segments go by age and size; compact: the last record of each key stays; or both. Empty: nothing goes.",
    },
    TopicConfig {
        name: "compression.gzip.level",
        broker: Some("compression.gzip.level"),
        kind: ConfigKind::Int,
        default: "-1",
        rule: Rule::UnlessMinusOne(1, 9),
        documentation: "Level of gzip where the broker compresses; batches are kept as the producer compressed them, so it has no effect.",
    },
    TopicConfig {
        name: "compression.lz4.level",
        broker: Some("compression.lz4.level"),
        kind: ConfigKind::Int,
        default: "9",
        rule: Rule::Range(1, 17),
        documentation: "Level of lz4 where the broker compresses; batches are kept as the producer compressed them, so it has no effect.",
    },
    TopicConfig {
        name: COMPRESSION_TYPE,
        broker: Some("compression.type"),
        kind: ConfigKind::String,
        default: "producer",
        rule: Rule::Only("producer", "batches are kept as the producer compressed them"),
        documentation: "Batches are kept with the compression that the producer chose; other values are refused.",
    },
    TopicConfig {
        name: "compression.zstd.level",
        broker: Some("compression.zstd.level"),
        kind: ConfigKind::Int,
        default: "3",
        rule: Rule::Range(-131_072, 22),
        documentation: "Level of zstd where the broker compresses; batches are kept as the producer compressed them, so it has no effect.",
    },
    TopicConfig {
        name: DELETE_RETENTION_MS,
        broker: Some("log.cleaner.delete.retention.ms"),
        kind: ConfigKind::Long,
        default: "86400000",
        rule: Rule::Range(0, i64::MAX),
        documentation: "How long a compacted topic keeps tombstones and transaction markers.",
    },
    TopicConfig {
        name: "file.delete.delay.ms",
        broker: Some("log.segment.delete.delay.ms"),
        kind: ConfigKind::Long,
        default: "60000",
        rule: Rule::Range(0, i64::MAX),
        documentation: "No effect: files go at once, and what is being read stays readable.",
    },
    TopicConfig {
        name: "flush.messages",
        broker: Some("log.flush.interval.messages"),
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: Rule::Range(1, i64::MAX),
        documentation: "No effect: every batch is on disk before it is acknowledged.",
    },
    TopicConfig {
        name: "flush.ms",
        broker: Some("log.flush.interval.ms"),
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: Rule::Range(0, i64::MAX),
        documentation: "No effect: every batch is on disk before it is acknowledged.",
    },
    TopicConfig {
        name: "follower.replication.throttled.replicas",
        broker: None,
        kind: ConfigKind::List,
        default: "",
        rule: Rule::Replicas,
        documentation: "No effect: one node replicates to nobody.",
    },
    TopicConfig {
        name: INDEX_INTERVAL_BYTES,
        broker: Some("log.index.interval.bytes"),
        kind: ConfigKind::Int,
        default: "4096",
        rule: Rule::Range(1, i32::MAX as i64),
        documentation: "Distance in bytes between two entries of a segment's offset index.",
    },
    TopicConfig {
        name: "leader.replication.throttled.replicas",
        broker: None,
        kind: ConfigKind::List,
        default: "",
        rule: Rule::Replicas,
        documentation: "No effect: one node replicates to nobody.",
    },
    TopicConfig {
        name: "local.retention.bytes",
        broker: Some("log.local.retention.bytes"),
        kind: ConfigKind::Long,
        default: "-2",
        rule: Rule::Range(-2, i64::MAX),
        documentation: "No effect: there is no tiered storage, retention.bytes bounds what is kept.",
    },
    TopicConfig {
        name: "local.retention.ms",
        broker: Some("log.local.retention.ms"),
        kind: ConfigKind::Long,
        default: "-2",
        rule: Rule::Range(-2, i64::MAX),
        documentation: "No effect: there is no tiered storage, retention.ms bounds what is kept.",
    },
    TopicConfig {
        name: MAX_COMPACTION_LAG_MS,
        broker: Some("log.cleaner.max.compaction.lag.ms"),
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: Rule::Range(1, i64::MAX),
        documentation: "Longest time a record of a compacted topic may stay uncompacted.",
    },
    TopicConfig {
        name: MAX_MESSAGE_BYTES,
        broker: Some("message.max.bytes"),
        kind: ConfigKind::Int,
        default: "1048588",
        rule: Rule::Range(0, BATCH_BYTES_MAX as i64),
        documentation: "Largest record batch that the topic takes, after compression.",
    },
    TopicConfig {
        name: TIMESTAMP_AFTER_MAX_MS,
        broker: Some("log.message.timestamp.after.max.ms"),
        kind: ConfigKind::Long,
        default: "3600000",
        rule: Rule::Range(0, i64::MAX),
        documentation: "How far a record's timestamp may be ahead of the broker's clock (CreateTime).",
    },
    TopicConfig {
        name: TIMESTAMP_BEFORE_MAX_MS,
        broker: Some("log.message.timestamp.before.max.ms"),
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        rule: Rule::Range(0, i64::MAX),
        documentation: "How far a record's timestamp may be behind the broker's clock (CreateTime).",
    },
    TopicConfig {
        name: TIMESTAMP_TYPE,
        broker: Some("log.message.timestamp.type"),
        kind: ConfigKind::String,
        default: "CreateTime",
        rule: Rule::Words(&["CreateTime", "LogAppendTime"]),
        documentation: "Whether a record's timestamp is the producer's or the time of its append.",
    },
    TopicConfig {
        name: MIN_CLEANABLE_DIRTY_RATIO,
        broker: Some("log.cleaner.min.cleanable.ratio"),
        kind: ConfigKind::Double,
        default: "0.5",
        rule: Rule::Fraction,
        documentation: "Share of a compacted log that must be uncompacted before it is compacted again.",
    },
    TopicConfig {
        name: MIN_COMPACTION_LAG_MS,
        broker: Some("log.cleaner.min.compaction.lag.ms"),
        kind: ConfigKind::Long,
        default: "0",
        rule: Rule::Range(0, i64::MAX),
        documentation: "How long a record of a compacted topic stays uncompacted at least.",
    },
    TopicConfig {
        name: MIN_INSYNC_REPLICAS,
        broker: Some("min.insync.replicas"),
        kind: ConfigKind::Int,
        default: "1",
        // How many there are depends on the topic: `TopicSettings::check_replicas`.
        rule: Rule::Range(1, BROKERS_MAX as i64),
        documentation: "At most the topic's replicas, of which one node holds one; all are in sync, and acknowledged means on its disk.",
    },
    TopicConfig {
        name: "preallocate",
        broker: Some("log.preallocate"),
        kind: ConfigKind::Boolean,
        default: "false",
        rule: Rule::Boolean,
        documentation: "No effect: segments are written in large pieces, and the journal's room is always taken in advance.",
    },
    TopicConfig {
        name: "remote.log.copy.disable",
        broker: None,
        kind: ConfigKind::Boolean,
        default: "false",
        rule: Rule::Only("false", NOT_TIERED),
        documentation: "There is no tiered storage.",
    },
    TopicConfig {
        name: "remote.log.delete.on.disable",
        broker: None,
        kind: ConfigKind::Boolean,
        default: "false",
        rule: Rule::Only("false", NOT_TIERED),
        documentation: "There is no tiered storage.",
    },
    TopicConfig {
        name: "remote.storage.enable",
        broker: None,
        kind: ConfigKind::Boolean,
        default: "false",
        rule: Rule::Only("false", NOT_TIERED),
        documentation: "There is no tiered storage.",
    },
    TopicConfig {
        name: RETENTION_BYTES,
        broker: Some("log.retention.bytes"),
        kind: ConfigKind::Long,
        default: "-1",
        rule: Rule::Range(-1, i64::MAX),
        documentation: "Bytes of a partition above which its oldest segments go; -1: no bound.",
    },
    TopicConfig {
        name: RETENTION_MS,
        broker: Some("log.retention.ms"),
        kind: ConfigKind::Long,
        default: "604800000",
        rule: Rule::Range(-1, i64::MAX),
        documentation: "Age by timestamp at which segments go; -1: never.",
    },
    TopicConfig {
        name: SEGMENT_BYTES,
        broker: Some("log.segment.bytes"),
        kind: ConfigKind::Int,
        default: "1073741824",
        // Kafka's floor of 1 MiB keeps a client from asking for a file per batch.
        rule: Rule::Range(1024 * 1024, i32::MAX as i64),
        documentation: "A segment file is closed before it would grow past this.",
    },
    TopicConfig {
        name: SEGMENT_INDEX_BYTES,
        broker: Some("log.index.size.max.bytes"),
        kind: ConfigKind::Int,
        default: "10485760",
        rule: Rule::Range(4, i32::MAX as i64),
        documentation: "A segment is closed before one of its indexes would grow past this.",
    },
    TopicConfig {
        name: "segment.jitter.ms",
        broker: Some("log.roll.jitter.ms"),
        kind: ConfigKind::Long,
        default: "0",
        rule: Rule::Range(0, i64::MAX),
        documentation: "No effect: segments are closed one by one as they are flushed, so they never all close at once.",
    },
    TopicConfig {
        name: SEGMENT_MS,
        broker: Some("log.roll.ms"),
        kind: ConfigKind::Long,
        default: "604800000",
        rule: Rule::Range(1, i64::MAX),
        documentation: "A segment is closed when its first batch is this old.",
    },
    TopicConfig {
        name: DURABILITY,
        broker: None,
        kind: ConfigKind::String,
        default: "disk",
        rule: Rule::Words(&["disk", "memory"]),
        documentation: "memory: acknowledged before it is on disk, and lost with the process or the power for some seconds.",
    },
    TopicConfig {
        name: "unclean.leader.election.enable",
        broker: Some("unclean.leader.election.enable"),
        kind: ConfigKind::Boolean,
        default: "false",
        rule: Rule::Boolean,
        documentation: "No effect: the only replica is the leader.",
    },
];

/// The row of a name.
pub(super) fn topic_config(name: &str) -> Option<&'static TopicConfig> {
    let place = TOPIC_CONFIGS.binary_search_by(|config| config.name.cmp(name)).ok()?;
    TOPIC_CONFIGS.get(place)
}
