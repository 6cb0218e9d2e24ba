//! Topic configuration: the one table of names, defaults and documentation.
//!
//! Listed is only what is acted on, with Kafka's names, defaults and meanings. A topic config that
//! Kafka knows and this broker does not act on is refused, so that nobody relies on it; where only
//! one value can be honoured (`min.insync.replicas`), only that value is taken.

use std::collections::{BTreeMap, BTreeSet};

use tidings_log::{LogConfig, limits::BATCH_BYTES_MAX};

use crate::{TopicRefused, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    String,
    Int,
    Long,
    Double,
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

pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(crate) const COMPRESSION_TYPE: &str = "compression.type";
pub(crate) const DELETE_RETENTION_MS: &str = "delete.retention.ms";
const DURABILITY: &str = "tidings.durability";
const FILE_DELETE_DELAY_MS: &str = "file.delete.delay.ms";
pub(crate) const INDEX_INTERVAL_BYTES: &str = "index.interval.bytes";
pub(crate) const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub(crate) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(crate) const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub(crate) const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(crate) const RETENTION_BYTES: &str = "retention.bytes";
pub(crate) const RETENTION_MS: &str = "retention.ms";
pub(crate) const SEGMENT_BYTES: &str = "segment.bytes";
pub(crate) const SEGMENT_INDEX_BYTES: &str = "segment.index.bytes";
pub(crate) const SEGMENT_MS: &str = "segment.ms";
pub(crate) const TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
pub(crate) const TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
pub(crate) const TIMESTAMP_TYPE: &str = "message.timestamp.type";

/// Values that a config takes.
enum Allowed {
    /// One of these words.
    Words(&'static [&'static str]),
    /// Some of these words, each once, with commas between.
    List(&'static [&'static str]),
    /// A number of this range.
    Range(i64, i64),
    /// A fraction, 0 to 1.
    Fraction,
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
        allowed: Allowed::List(&["delete", "compact"]),
        documentation: "delete: old segments go by age and size; compact: the last record of each key stays; or both.",
    },
    TopicConfig {
        name: COMPRESSION_TYPE,
        kind: ConfigKind::String,
        default: "producer",
        allowed: Allowed::Only("producer", "batches are stored as the producer compressed them"),
        documentation: "Batches are stored with the compression that the producer chose.",
    },
    TopicConfig {
        name: DELETE_RETENTION_MS,
        kind: ConfigKind::Long,
        default: "86400000",
        allowed: Allowed::Range(0, i64::MAX),
        documentation: "How long a compacted topic keeps tombstones and transaction markers.",
    },
    TopicConfig {
        name: FILE_DELETE_DELAY_MS,
        kind: ConfigKind::Long,
        default: "60000",
        allowed: Allowed::Range(0, i64::MAX),
        documentation: "Accepted for Kafka's sake; files go at once, and what is being read stays readable.",
    },
    TopicConfig {
        name: INDEX_INTERVAL_BYTES,
        kind: ConfigKind::Int,
        default: "4096",
        allowed: Allowed::Range(1, i32::MAX as i64),
        documentation: "Distance in bytes between two entries of a segment's offset index.",
    },
    TopicConfig {
        name: MAX_COMPACTION_LAG_MS,
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        allowed: Allowed::Range(1, i64::MAX),
        documentation: "Longest time a record of a compacted topic may stay uncompacted.",
    },
    TopicConfig {
        name: MAX_MESSAGE_BYTES,
        kind: ConfigKind::Int,
        default: "1048588",
        allowed: Allowed::Range(0, BATCH_BYTES_MAX as i64),
        documentation: "Largest record batch that the topic takes, after compression.",
    },
    TopicConfig {
        name: TIMESTAMP_AFTER_MAX_MS,
        kind: ConfigKind::Long,
        default: "3600000",
        allowed: Allowed::Range(0, i64::MAX),
        documentation: "How far a record's timestamp may be ahead of the broker's clock (CreateTime).",
    },
    TopicConfig {
        name: TIMESTAMP_BEFORE_MAX_MS,
        kind: ConfigKind::Long,
        default: "9223372036854775807",
        allowed: Allowed::Range(0, i64::MAX),
        documentation: "How far a record's timestamp may be behind the broker's clock (CreateTime).",
    },
    TopicConfig {
        name: TIMESTAMP_TYPE,
        kind: ConfigKind::String,
        default: "CreateTime",
        allowed: Allowed::Words(&["CreateTime", "LogAppendTime"]),
        documentation: "Whether a record's timestamp is the producer's or the time of its append.",
    },
    TopicConfig {
        name: MIN_CLEANABLE_DIRTY_RATIO,
        kind: ConfigKind::Double,
        default: "0.5",
        allowed: Allowed::Fraction,
        documentation: "Share of a compacted log that must be uncompacted before it is compacted again.",
    },
    TopicConfig {
        name: MIN_COMPACTION_LAG_MS,
        kind: ConfigKind::Long,
        default: "0",
        allowed: Allowed::Range(0, i64::MAX),
        documentation: "How long a record of a compacted topic stays uncompacted at least.",
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
        allowed: Allowed::Range(-1, i64::MAX),
        documentation: "Bytes of a partition above which its oldest segments go; -1: no bound.",
    },
    TopicConfig {
        name: RETENTION_MS,
        kind: ConfigKind::Long,
        default: "604800000",
        allowed: Allowed::Range(-1, i64::MAX),
        documentation: "Age by timestamp at which segments go; -1: never.",
    },
    TopicConfig {
        name: SEGMENT_BYTES,
        kind: ConfigKind::Int,
        default: "1073741824",
        // Kafka's floor of 1 MiB keeps a client from asking for a file per batch.
        allowed: Allowed::Range(1024 * 1024, i32::MAX as i64),
        documentation: "A segment file is closed before it would grow past this.",
    },
    TopicConfig {
        name: SEGMENT_INDEX_BYTES,
        kind: ConfigKind::Int,
        default: "10485760",
        allowed: Allowed::Range(4, i32::MAX as i64),
        documentation: "A segment is closed before one of its indexes would grow past this.",
    },
    TopicConfig {
        name: SEGMENT_MS,
        kind: ConfigKind::Long,
        default: "604800000",
        allowed: Allowed::Range(1, i64::MAX),
        documentation: "A segment is closed when its first batch is this old.",
    },
    TopicConfig {
        name: DURABILITY,
        kind: ConfigKind::String,
        default: "disk",
        allowed: Allowed::Words(&["disk", "memory"]),
        documentation: "memory: acknowledged before it is on disk, and lost with the process or the power for some seconds.",
    },
];

/// What a topic was told, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// What was said, by name; everything else has its default.
    said: BTreeMap<String, String>,
    pub(crate) max_message_bytes: usize,
    pub(crate) log_append_time: bool,
    /// How far a record's timestamp may be behind and ahead of the clock, unless the log's time is
    /// used.
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
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
        let settings = Self::new(said);
        let LogConfig { min_compaction_lag_ms: min, max_compaction_lag_ms: max, .. } = settings.log;
        if min > max {
            return Err(TopicRefused::InvalidConfig(format!(
                "{MIN_COMPACTION_LAG_MS} {min} is more than {MAX_COMPACTION_LAG_MS} {max}"
            )));
        }
        Ok(settings)
    }

    /// What the catalog kept; it was checked when it was said.
    pub(crate) fn new(said: BTreeMap<String, String>) -> Self {
        let text = |name: &str| -> String {
            let config = TOPIC_CONFIGS.iter().find(|config| config.name == name);
            let default = config.map(|config| config.default).unwrap_or_default();
            said.get(name).map_or(default, String::as_str).to_owned()
        };
        let long = |name: &str| text(name).parse::<i64>().unwrap_or(i64::MAX);
        let int = |name: &str| u32::try_from(long(name)).unwrap_or(u32::MAX);
        let policy = text(CLEANUP_POLICY);
        let has = |word: &str| policy.split(',').any(|said| said.trim() == word);
        Self {
            max_message_bytes: int(MAX_MESSAGE_BYTES) as usize,
            log_append_time: text(TIMESTAMP_TYPE) == "LogAppendTime",
            timestamp_before_max_ms: long(TIMESTAMP_BEFORE_MAX_MS),
            timestamp_after_max_ms: long(TIMESTAMP_AFTER_MAX_MS),
            log: LogConfig {
                segment_bytes: int(SEGMENT_BYTES),
                segment_ms: long(SEGMENT_MS),
                segment_index_bytes: int(SEGMENT_INDEX_BYTES),
                index_interval_bytes: int(INDEX_INTERVAL_BYTES),
                delete: has("delete"),
                compact: has("compact"),
                retention_ms: long(RETENTION_MS),
                retention_bytes: long(RETENTION_BYTES),
                min_cleanable_dirty_millionths: millionths(&text(MIN_CLEANABLE_DIRTY_RATIO))
                    .unwrap_or(1_000_000),
                min_compaction_lag_ms: long(MIN_COMPACTION_LAG_MS),
                max_compaction_lag_ms: long(MAX_COMPACTION_LAG_MS),
                delete_retention_ms: long(DELETE_RETENTION_MS),
                volatile: text(DURABILITY) == "memory",
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
            Allowed::List(words) if is_list_of(words, value) => return Ok(()),
            Allowed::List(words) => format!("it takes one or more of {}", words.join(",")),
            Allowed::Fraction if millionths(value).is_some() => return Ok(()),
            Allowed::Fraction => "it takes a number from 0 to 1".to_owned(),
            Allowed::Range(min, max) => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => return Ok(()),
                _ => format!("it takes a number from {min} to {max}"),
            },
        };
        Err(TopicRefused::InvalidConfig(format!("invalid value {value} for {name}: {trouble}")))
    }
}

/// Whether `value` names some of the words, each once.
fn is_list_of(words: &[&str], value: &str) -> bool {
    let said: Vec<&str> = value.split(',').map(str::trim).collect();
    let distinct: BTreeSet<&&str> = said.iter().collect();
    said.len() == distinct.len() && said.iter().all(|word| words.contains(word))
}

/// A fraction between 0 and 1 as a number of millionths.
fn millionths(value: &str) -> Option<u32> {
    let fraction = value.parse::<f64>().ok().filter(|fraction| (0.0..=1.0).contains(fraction))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    Some((fraction * 1e6).round() as u32)
}

/// The default of a topic config, by one of the names of the table.
pub(crate) fn topic_default(name: &str) -> &'static str {
    let found = TOPIC_CONFIGS.iter().find(|config| config.name == name);
    found.expect("a name of the table").default
}

/// The configuration of a topic that says nothing.
pub fn topic_configs() -> Vec<ConfigEntry> {
    TopicSettings::new(BTreeMap::new()).describe()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKA: LogConfig = LogConfig::KAFKA;

    fn parse(name: &str, value: &str) -> Result<TopicSettings, String> {
        let configs = [(name.to_owned(), Some(value.to_owned()))];
        TopicSettings::parse(&configs).map_err(|refused| refused.to_string())
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let cases = [
            (
                "min.insync.replicas",
                "2",
                "invalid value 2 for min.insync.replicas: only 1 is accepted: one node holds one replica",
            ),
            (
                "cleanup.policy",
                "delete,delete",
                "invalid value delete,delete for cleanup.policy: it takes one or more of delete,compact",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "invalid value 1.5 for min.cleanable.dirty.ratio: it takes a number from 0 to 1",
            ),
            (
                "retention.ms",
                "-2",
                "invalid value -2 for retention.ms: it takes a number from -1 to 9223372036854775807",
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
        let seen = (silent.value.as_deref(), silent.source);
        assert_eq!(seen, (Some("604800000"), ConfigSource::Default));
    }

    #[test]
    fn what_is_said_is_what_the_log_does() {
        assert_eq!(TopicSettings::new(BTreeMap::new()).log, LogConfig::KAFKA);
        let cases: [(&str, &str, LogConfig); 8] = [
            ("cleanup.policy", "compact", LogConfig { delete: false, compact: true, ..KAFKA }),
            ("cleanup.policy", "compact, delete", LogConfig { compact: true, ..KAFKA }),
            ("retention.ms", "-1", LogConfig { retention_ms: -1, ..KAFKA }),
            (
                "retention.bytes",
                "5000000000",
                LogConfig { retention_bytes: 5_000_000_000, ..KAFKA },
            ),
            ("segment.ms", "1000", LogConfig { segment_ms: 1000, ..KAFKA }),
            (
                "min.cleanable.dirty.ratio",
                "0.01",
                LogConfig { min_cleanable_dirty_millionths: 10_000, ..KAFKA },
            ),
            ("delete.retention.ms", "0", LogConfig { delete_retention_ms: 0, ..KAFKA }),
            ("tidings.durability", "memory", LogConfig { volatile: true, ..KAFKA }),
        ];
        for (name, value, expected) in cases {
            assert_eq!(parse(name, value).unwrap().log, expected, "{name}={value}");
        }
    }

    #[test]
    fn lags_that_contradict_each_other_are_refused() {
        let said = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")]
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        assert_eq!(
            TopicSettings::parse(&said).unwrap_err().to_string(),
            "min.compaction.lag.ms 10 is more than max.compaction.lag.ms 9"
        );
    }

    #[test]
    fn every_default_is_a_value_that_is_allowed() {
        for config in TOPIC_CONFIGS {
            assert_eq!(config.check(config.default), Ok(()), "{}", config.name);
        }
    }
}
