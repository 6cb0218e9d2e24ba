//! Topic and broker configuration: the one table of names, defaults and documentation.
//!
//! Listed is only what is acted on. A topic config that Kafka knows and this broker does not act on
//! is refused, so that nobody relies on it; where only one value can be honoured (`retention.ms`),
//! only that value is taken.

use std::collections::BTreeMap;

use tidings_log::{LogConfig, limits::BATCH_BYTES_MAX};

use crate::{BrokerConfig, TopicRefused, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    String,
    Int,
    Long,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    StaticBroker,
    Default,
}

/// One configuration as described to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: &'static str,
    pub value: Option<String>,
    pub default: Option<String>,
    pub source: ConfigSource,
    pub kind: ConfigKind,
    pub read_only: bool,
    pub documentation: &'static str,
}

const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPRESSION_TYPE: &str = "compression.type";
const INDEX_INTERVAL_BYTES: &str = "index.interval.bytes";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const RETENTION_BYTES: &str = "retention.bytes";
const RETENTION_MS: &str = "retention.ms";
const SEGMENT_BYTES: &str = "segment.bytes";

/// Values that a config takes.
enum Allowed {
    /// One of these words.
    Words(&'static [&'static str]),
    /// A number of this range.
    Range(i64, i64),
    /// Only this, and why.
    Only(&'static str, &'static str),
}

struct TopicConfig {
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    allowed: Allowed,
    documentation: &'static str,
}

const TOPIC_CONFIGS: &[TopicConfig] = &[
    TopicConfig {
        name: CLEANUP_POLICY,
        kind: ConfigKind::List,
        default: "delete",
        allowed: Allowed::Only("delete", "log compaction is not supported"),
        documentation: "What happens to old segments; compaction is not supported.",
    },
    TopicConfig {
        name: COMPRESSION_TYPE,
        kind: ConfigKind::String,
        default: "producer",
        allowed: Allowed::Only("producer", "batches are stored as the producer compressed them"),
        documentation: "Batches are stored with the compression that the producer chose.",
    },
    TopicConfig {
        name: INDEX_INTERVAL_BYTES,
        kind: ConfigKind::Int,
        default: "4096",
        allowed: Allowed::Range(1, i32::MAX as i64),
        documentation: "Distance in bytes between two entries of a segment's offset index.",
    },
    TopicConfig {
        name: MAX_MESSAGE_BYTES,
        kind: ConfigKind::Int,
        default: "1048588",
        allowed: Allowed::Range(0, BATCH_BYTES_MAX as i64),
        documentation: "Largest record batch that the topic takes, after compression.",
    },
    TopicConfig {
        name: TIMESTAMP_TYPE,
        kind: ConfigKind::String,
        default: "CreateTime",
        allowed: Allowed::Words(&["CreateTime", "LogAppendTime"]),
        documentation: "Whether a record's timestamp is the producer's or the time of its append.",
    },
    TopicConfig {
        name: MIN_INSYNC_REPLICAS,
        kind: ConfigKind::Int,
        default: "1",
        allowed: Allowed::Only("1", "one node holds one replica"),
        documentation: "One node holds one replica; acknowledged means on its disk.",
    },
    TopicConfig {
        name: RETENTION_BYTES,
        kind: ConfigKind::Long,
        default: "-1",
        allowed: Allowed::Only(
            "-1",
            "retention is not supported, data is kept until the topic is deleted",
        ),
        documentation: "Data is kept until the topic is deleted; only -1 is accepted.",
    },
    TopicConfig {
        name: RETENTION_MS,
        kind: ConfigKind::Long,
        default: "-1",
        allowed: Allowed::Only(
            "-1",
            "retention is not supported, data is kept until the topic is deleted",
        ),
        documentation: "Data is kept until the topic is deleted; only -1 is accepted.",
    },
    TopicConfig {
        name: SEGMENT_BYTES,
        kind: ConfigKind::Int,
        default: "1073741824",
        // Kafka's floor of 1 MiB keeps a client from asking for a file per batch.
        allowed: Allowed::Range(1024 * 1024, i32::MAX as i64),
        documentation: "A segment file is closed before it would grow past this.",
    },
];

/// What a topic was told, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// What was said, by name; everything else has its default.
    said: BTreeMap<String, String>,
    pub(crate) max_message_bytes: usize,
    pub(crate) log_append_time: bool,
    pub(crate) log: LogConfig,
}

impl TopicSettings {
    /// Takes what a client said of a new topic; a null value means the default.
    pub(crate) fn parse(configs: &[(String, Option<String>)]) -> Result<Self, TopicRefused> {
        if configs.len() > limits::CONFIGS_PER_TOPIC_MAX {
            return Err(TopicRefused::InvalidConfig(format!(
                "{} configs are more than {}",
                configs.len(),
                limits::CONFIGS_PER_TOPIC_MAX
            )));
        }
        let mut said = BTreeMap::new();
        for (name, value) in configs {
            let Some(config) = TOPIC_CONFIGS.iter().find(|config| config.name == name) else {
                return Err(TopicRefused::InvalidConfig(format!(
                    "topic config {name} is not supported; supported are {}",
                    TOPIC_CONFIGS.iter().map(|config| config.name).collect::<Vec<_>>().join(", ")
                )));
            };
            let Some(value) = value else { continue };
            config.check(value.trim())?;
            said.insert(name.clone(), value.trim().to_owned());
        }
        Ok(Self::new(said))
    }

    /// What the catalog kept; it was checked when it was said.
    pub(crate) fn new(said: BTreeMap<String, String>) -> Self {
        let number = |name: &str| {
            let config = TOPIC_CONFIGS.iter().find(|config| config.name == name);
            let said = said.get(name).and_then(|value| value.parse::<u32>().ok());
            said.or_else(|| config?.default.parse().ok()).unwrap_or(u32::MAX)
        };
        Self {
            max_message_bytes: number(MAX_MESSAGE_BYTES) as usize,
            log_append_time: said.get(TIMESTAMP_TYPE).is_some_and(|v| v == "LogAppendTime"),
            log: LogConfig {
                segment_bytes: number(SEGMENT_BYTES),
                index_interval_bytes: number(INDEX_INTERVAL_BYTES),
                ..LogConfig::KAFKA
            },
            said,
        }
    }

    pub(crate) fn said(&self) -> &BTreeMap<String, String> {
        &self.said
    }

    pub(crate) fn describe(&self) -> Vec<ConfigEntry> {
        let entry = |config: &TopicConfig| {
            let said = self.said.get(config.name);
            ConfigEntry {
                name: config.name,
                value: Some(said.cloned().unwrap_or_else(|| config.default.to_owned())),
                default: Some(config.default.to_owned()),
                source: if said.is_some() { ConfigSource::Topic } else { ConfigSource::Default },
                kind: config.kind,
                read_only: false,
                documentation: config.documentation,
            }
        };
        TOPIC_CONFIGS.iter().map(entry).collect()
    }
}

impl TopicConfig {
    fn check(&self, value: &str) -> Result<(), TopicRefused> {
        let name = self.name;
        let trouble = match self.allowed {
            Allowed::Words(words) if words.contains(&value) => return Ok(()),
            Allowed::Words(words) => format!("it takes one of {}", words.join(", ")),
            Allowed::Only(only, _) if value == only => return Ok(()),
            Allowed::Only(only, why) => format!("only {only} is accepted: {why}"),
            Allowed::Range(min, max) => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => return Ok(()),
                _ => format!("it takes a number from {min} to {max}"),
            },
        };
        Err(TopicRefused::InvalidConfig(format!("invalid value {value} for {name}: {trouble}")))
    }
}

/// Where a broker config has its value from.
enum BrokerValue {
    NodeId,
    DefaultPartitions,
    AutoCreate,
    Number(i64),
    Text(&'static str),
    /// The default of this topic config.
    OfTopics(&'static str),
}

/// Name, kind, value, documentation. Everything is read-only: it is said when the node starts.
const BROKER_CONFIGS: &[(&str, ConfigKind, BrokerValue, &str)] = {
    use BrokerValue::{AutoCreate, DefaultPartitions, NodeId, Number, OfTopics, Text};
    use ConfigKind::{Boolean, Int, List, Long, String};
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
        ("log.cleanup.policy", List, OfTopics(CLEANUP_POLICY), "Compaction is not supported."),
        ("log.retention.ms", Long, OfTopics(RETENTION_MS), "Data is kept with its topic."),
        ("log.retention.bytes", Long, OfTopics(RETENTION_BYTES), "Data is kept with its topic."),
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
            Self::OfTopics(name) => {
                let found = TOPIC_CONFIGS.iter().find(|config| config.name == *name);
                fixed(found.expect("a name of the table").default.to_owned())
            }
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

    fn parse(name: &str, value: &str) -> Result<TopicSettings, String> {
        let configs = [(name.to_owned(), Some(value.to_owned()))];
        TopicSettings::parse(&configs).map_err(|refused| refused.to_string())
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let cases = [
            (
                "retention.ms",
                "604800000",
                "invalid value 604800000 for retention.ms: only -1 is accepted: retention is not supported, data is kept until the topic is deleted",
            ),
            (
                "cleanup.policy",
                "compact",
                "invalid value compact for cleanup.policy: only delete is accepted: log compaction is not supported",
            ),
            (
                "message.timestamp.type",
                "Never",
                "invalid value Never for message.timestamp.type: it takes one of CreateTime, LogAppendTime",
            ),
            (
                "segment.bytes",
                "1",
                "invalid value 1 for segment.bytes: it takes a number from 1048576 to 2147483647",
            ),
            (
                "segment.bytes",
                "many",
                "invalid value many for segment.bytes: it takes a number from 1048576 to 2147483647",
            ),
        ];
        for (name, value, expected) in cases {
            assert_eq!(parse(name, value), Err(expected.to_owned()), "{name}={value}");
        }
        let unknown = parse("flush.ms", "1").unwrap_err();
        assert!(
            unknown.starts_with("topic config flush.ms is not supported; supported are cleanup")
        );
    }

    #[test]
    fn what_was_said_is_described_with_its_source() {
        let settings = parse("max.message.bytes", "2000").unwrap();
        assert_eq!(settings.max_message_bytes, 2000);
        let described = settings.describe();
        let said = described.iter().find(|entry| entry.name == "max.message.bytes").unwrap();
        assert_eq!((said.value.as_deref(), said.source), (Some("2000"), ConfigSource::Topic));
        assert_eq!(said.default.as_deref(), Some("1048588"));
        let silent = described.iter().find(|entry| entry.name == "retention.ms").unwrap();
        assert_eq!((silent.value.as_deref(), silent.source), (Some("-1"), ConfigSource::Default));
    }

    #[test]
    fn the_broker_shows_what_it_was_told_and_what_is_fixed() {
        let config = BrokerConfig {
            node_id: 7,
            default_partitions: 3,
            auto_create_topics: false,
            disk_reserve_bytes: 0,
            seed: 0,
        };
        let described = describe_broker(&config);
        let cases = [
            ("broker.id", "7", None, ConfigSource::StaticBroker),
            ("num.partitions", "3", Some("4"), ConfigSource::StaticBroker),
            ("auto.create.topics.enable", "false", Some("true"), ConfigSource::StaticBroker),
            ("message.max.bytes", "1048588", Some("1048588"), ConfigSource::Default),
            ("log.retention.ms", "-1", Some("-1"), ConfigSource::Default),
            ("group.max.session.timeout.ms", "1800000", Some("1800000"), ConfigSource::Default),
        ];
        for (name, value, default, source) in cases {
            let entry = described.iter().find(|entry| entry.name == name).expect(name);
            let seen = (entry.value.as_deref(), entry.default.as_deref(), entry.source);
            assert_eq!(seen, (Some(value), default, source), "{name}");
        }
    }

    #[test]
    fn every_default_is_a_value_that_is_allowed() {
        for config in TOPIC_CONFIGS {
            assert_eq!(config.check(config.default), Ok(()), "{}", config.name);
        }
    }
}
