//! What a topic was told, and what that means.

use tidings_log::LogConfig;

use super::rule::{list, millionths};
use super::topic_table::{
    CLEANUP_POLICY, DELETE_RETENTION_MS, DURABILITY, INDEX_INTERVAL_BYTES, MAX_COMPACTION_LAG_MS,
    MAX_MESSAGE_BYTES, MIN_CLEANABLE_DIRTY_RATIO, MIN_COMPACTION_LAG_MS, MIN_INSYNC_REPLICAS,
    RETENTION_BYTES, RETENTION_MS, SEGMENT_BYTES, SEGMENT_INDEX_BYTES, SEGMENT_MS,
    TIMESTAMP_AFTER_MAX_MS, TIMESTAMP_BEFORE_MAX_MS, TIMESTAMP_TYPE, TOPIC_CONFIGS, TopicConfig,
    topic_config,
};
use super::{BrokerSaid, ConfigEntry, ConfigSource, ConfigSynonym, Said};
use crate::{TopicRefused, limits};

/// What a topic was told, and what that means together with what brokers were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// What was said, by name; everything else is the broker's.
    said: Said,
    pub(crate) max_message_bytes: usize,
    pub(crate) log_append_time: bool,
    /// How far a record's timestamp may be behind and ahead of the clock, unless the log's time is
    /// used.
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    /// Only compared with how many replicas there are: all of them are always in sync.
    min_insync_replicas: i64,
    pub(crate) log: LogConfig,
}

impl TopicSettings {
    /// Takes what a client said of a new topic.
    pub(crate) fn parse(
        configs: &[(String, Option<String>)],
        brokers: &BrokerSaid,
    ) -> Result<Self, TopicRefused> {
        let without: Vec<_> = configs.iter().filter(|(_, value)| value.is_none()).collect();
        if !without.is_empty() {
            let names: Vec<_> = without.into_iter().map(|(name, _)| name.as_str()).collect();
            return Err(TopicRefused::InvalidConfig(format!(
                "Null value not supported for topic configs: {}",
                names.join(",")
            )));
        }
        let said = configs.iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| (name.clone(), value.trim().to_owned()))
        });
        let unknown = configs.iter().find(|(name, _)| topic_config(name).is_none());
        if let Some((name, _)) = unknown {
            return Err(TopicRefused::InvalidConfig(unknown_name(name)));
        }
        Self::checked(said.collect(), brokers)
    }

    /// What is said of a topic, if all of it is allowed.
    pub(crate) fn checked(said: Said, brokers: &BrokerSaid) -> Result<Self, TopicRefused> {
        let (count, most) = (said.len(), limits::CONFIGS_PER_TOPIC_MAX);
        if count > most {
            let text = format!("{count} configs are more than {most}");
            return Err(TopicRefused::InvalidConfig(text));
        }
        for (name, value) in &said {
            let checked = match topic_config(name) {
                Some(config) => config.rule.check(name, config.kind, value),
                None => Err(unknown_name(name)),
            };
            checked.map_err(TopicRefused::InvalidConfig)?;
        }
        let settings = Self::new(said, brokers);
        let LogConfig { min_compaction_lag_ms: min, max_compaction_lag_ms: max, .. } = settings.log;
        if min > max {
            return Err(TopicRefused::InvalidConfig(format!(
                "conflict topic config setting {MIN_COMPACTION_LAG_MS} ({min}) > \
                 {MAX_COMPACTION_LAG_MS} ({max})"
            )));
        }
        Ok(settings)
    }

    /// Refuses to want more replicas in sync than a topic has.
    pub(crate) fn check_replicas(&self, replicas: usize) -> Result<(), TopicRefused> {
        let wanted = self.min_insync_replicas;
        if usize::try_from(wanted).is_ok_and(|wanted| wanted <= replicas) {
            return Ok(());
        }
        let why = match replicas {
            1 => "one node holds one replica".to_owned(),
            _ => format!("there are {replicas} replicas"),
        };
        Err(TopicRefused::InvalidConfig(format!(
            "Invalid value {wanted} for configuration {MIN_INSYNC_REPLICAS}: Value must be at most \
             {replicas}: {why}"
        )))
    }

    /// What the catalog kept; it was checked when it was said.
    pub(crate) fn new(said: Said, brokers: &BrokerSaid) -> Self {
        let text = |name: &str| -> &str {
            let Some(config) = topic_config(name) else { return "" };
            let of_brokers = || brokers.dynamic(config.broker?);
            said.get(name).map(String::as_str).or_else(of_brokers).unwrap_or(config.default)
        };
        let long = |name: &str| text(name).parse::<i64>().unwrap_or(i64::MAX);
        let int = |name: &str| u32::try_from(long(name)).unwrap_or(u32::MAX);
        let policy = text(CLEANUP_POLICY);
        let has = |word: &str| list(policy).any(|said| said == word);
        Self {
            max_message_bytes: int(MAX_MESSAGE_BYTES) as usize,
            log_append_time: text(TIMESTAMP_TYPE) == "LogAppendTime",
            timestamp_before_max_ms: long(TIMESTAMP_BEFORE_MAX_MS),
            timestamp_after_max_ms: long(TIMESTAMP_AFTER_MAX_MS),
            min_insync_replicas: long(MIN_INSYNC_REPLICAS),
            log: LogConfig {
                segment_bytes: int(SEGMENT_BYTES),
                segment_ms: long(SEGMENT_MS),
                segment_index_bytes: int(SEGMENT_INDEX_BYTES),
                index_interval_bytes: int(INDEX_INTERVAL_BYTES),
                delete: has("delete"),
                compact: has("compact"),
                retention_ms: long(RETENTION_MS),
                retention_bytes: long(RETENTION_BYTES),
                min_cleanable_dirty_millionths: millionths(text(MIN_CLEANABLE_DIRTY_RATIO))
                    .unwrap_or(1_000_000),
                min_compaction_lag_ms: long(MIN_COMPACTION_LAG_MS),
                max_compaction_lag_ms: long(MAX_COMPACTION_LAG_MS),
                delete_retention_ms: long(DELETE_RETENTION_MS),
                volatile: text(DURABILITY) == "memory",
            },
            said,
        }
    }

    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    pub(crate) fn describe(&self, brokers: &BrokerSaid) -> Vec<ConfigEntry> {
        let entry = |config: &TopicConfig| {
            let said = self.said.get(config.name).map(|value| ConfigSynonym {
                name: config.name,
                value: value.clone(),
                source: ConfigSource::Topic,
            });
            let of_brokers = config.broker.into_iter().flat_map(|name| brokers.synonyms(name));
            let default = ConfigSynonym {
                name: config.broker.unwrap_or(config.name),
                value: config.default.to_owned(),
                source: ConfigSource::Default,
            };
            let synonyms = said.into_iter().chain(of_brokers).chain([default]).collect();
            let entry = ConfigEntry::new(config.name, config.kind, config.documentation, synonyms);
            match config.broker.and_then(hours_of) {
                Some(hours) => in_hours(entry, hours),
                None => entry,
            }
        };
        TOPIC_CONFIGS.iter().map(entry).collect()
    }
}

/// The broker config in hours that Kafka has the default of this one from, and its value there.
pub(super) fn hours_of(broker: &str) -> Option<(&'static str, &'static str)> {
    match broker {
        "log.retention.ms" => Some(("log.retention.hours", "168")),
        "log.roll.ms" => Some(("log.roll.hours", "168")),
        "log.roll.jitter.ms" => Some(("log.roll.jitter.hours", "0")),
        _ => None,
    }
}

/// With the synonyms that Kafka gives of what has its default in hours: the hours come after what
/// brokers were told, and are left out where they were told nothing.
fn in_hours(mut entry: ConfigEntry, (name, value): (&'static str, &str)) -> ConfigEntry {
    let of_brokers = [ConfigSource::Broker, ConfigSource::Cluster];
    let is_told = entry.synonyms.iter().any(|synonym| of_brokers.contains(&synonym.source));
    entry.synonyms.pop();
    if is_told {
        let (value, source) = (value.to_owned(), ConfigSource::Default);
        entry.synonyms.push(ConfigSynonym { name, value, source });
    }
    entry
}

pub(super) fn unknown_name(name: &str) -> String {
    format!("Unknown topic config name: {name}")
}

/// The configuration of a topic that says nothing, on a node that was told nothing.
pub fn topic_configs() -> Vec<ConfigEntry> {
    let brokers = BrokerSaid::default();
    TopicSettings::new(Said::new(), &brokers).describe(&brokers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKA: LogConfig = LogConfig::KAFKA;

    fn parse(name: &str, value: &str) -> Result<TopicSettings, String> {
        let configs = [(name.to_owned(), Some(value.to_owned()))];
        let parsed = TopicSettings::parse(&configs, &BrokerSaid::default());
        parsed.map_err(|refused| refused.to_string())
    }

    #[test]
    fn no_more_replicas_can_be_wanted_in_sync_than_there_are() {
        let two = parse("min.insync.replicas", "2").unwrap();
        assert_eq!([2, 3].map(|replicas| two.check_replicas(replicas)), [Ok(()), Ok(())]);
        assert_eq!(
            two.check_replicas(1).unwrap_err().to_string(),
            "Invalid value 2 for configuration min.insync.replicas: Value must be at most 1: one \
             node holds one replica"
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let cases = [
            ("min.insync.replicas", "0", "Value must be at least 1"),
            (
                "compression.type",
                "lz4",
                "Value must be producer: batches are kept as the producer compressed them",
            ),
            ("remote.storage.enable", "true", "Value must be false: there is no tiered storage"),
            ("segment.bytes", "1", "Value must be at least 1048576"),
            ("cleanup.policy", "keep", "String must be one of: compact, delete"),
        ];
        for (name, value, trouble) in cases {
            let expected = format!("Invalid value {value} for configuration {name}: {trouble}");
            assert_eq!(parse(name, value), Err(expected));
        }
        let unknown = parse("message.format.version", "3.0").unwrap_err();
        assert_eq!(unknown, "Unknown topic config name: message.format.version");
    }

    #[test]
    fn what_was_said_is_described_with_its_source() {
        let settings = parse("max.message.bytes", "2000").unwrap();
        assert_eq!(settings.max_message_bytes, 2000);
        let described = settings.describe(&BrokerSaid::default());
        let said = described.iter().find(|entry| entry.name == "max.message.bytes").unwrap();
        assert_eq!((said.value.as_deref(), said.source), (Some("2000"), ConfigSource::Topic));
        assert_eq!(said.default_value(), Some("1048588"));
        let silent = described.iter().find(|entry| entry.name == "retention.ms").unwrap();
        let seen = (silent.value.as_deref(), silent.source);
        assert_eq!(seen, (Some("604800000"), ConfigSource::Default));
    }

    #[test]
    fn a_value_comes_from_the_topic_then_the_broker_then_the_cluster_then_the_default() {
        let mut brokers = BrokerSaid::default();
        let mut expected = vec![("log.retention.bytes", "-1", ConfigSource::Default)];
        let seen = |said: &Said, brokers: &BrokerSaid| {
            let settings = TopicSettings::new(said.clone(), brokers);
            let described = settings.describe(brokers);
            let entry = described.into_iter().find(|entry| entry.name == RETENTION_BYTES).unwrap();
            let synonyms = entry.synonyms.into_iter().map(|s| (s.name, s.value, s.source));
            (settings.log.retention_bytes, synonyms.collect::<Vec<_>>())
        };
        let check = |said: &Said, brokers: &BrokerSaid, expected: &[(&'static str, &str, _)]| {
            let synonyms =
                expected.iter().map(|(name, value, from)| (*name, (*value).into(), *from));
            let first = expected[0].1.parse().unwrap();
            assert_eq!(seen(said, brokers), (first, synonyms.collect()));
        };
        let mut said = Said::new();
        check(&said, &brokers, &expected);
        brokers.cluster.insert("log.retention.bytes".into(), "3".into());
        expected.insert(0, ("log.retention.bytes", "3", ConfigSource::Cluster));
        check(&said, &brokers, &expected);
        brokers.node.insert("log.retention.bytes".into(), "2".into());
        expected.insert(0, ("log.retention.bytes", "2", ConfigSource::Broker));
        check(&said, &brokers, &expected);
        said.insert(RETENTION_BYTES.into(), "1".into());
        expected.insert(0, (RETENTION_BYTES, "1", ConfigSource::Topic));
        check(&said, &brokers, &expected);
    }

    #[test]
    fn a_default_in_hours_is_named_only_below_what_brokers_were_told() {
        use ConfigSource::{Cluster, Default, Topic};
        let text = |pairs: &[(&str, &str)]| -> Said {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        type Synonyms<'a> = &'a [(&'a str, &'a str, ConfigSource)];
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let told = ("log.retention.ms", "3", Cluster);
        let hours = ("log.retention.hours", "168", Default);
        let own = ("retention.ms", "1", Topic);
        let cases: [(Pairs<'_>, Pairs<'_>, &str, Synonyms<'_>); 4] = [
            (&[], &[], "604800000", &[]),
            (&[("retention.ms", "1")], &[], "1", &[own]),
            (&[], &[("log.retention.ms", "3")], "3", &[told, hours]),
            (&[("retention.ms", "1")], &[("log.retention.ms", "3")], "1", &[own, told, hours]),
        ];
        for (said, cluster, value, expected) in cases {
            let brokers = BrokerSaid { cluster: text(cluster), ..BrokerSaid::default() };
            let described = TopicSettings::new(text(said), &brokers).describe(&brokers);
            let entry = described.iter().find(|entry| entry.name == RETENTION_MS).unwrap();
            let seen = entry.synonyms.iter().map(|s| (s.name, s.value.as_str(), s.source));
            assert_eq!(seen.collect::<Vec<_>>(), expected, "{said:?} {cluster:?}");
            assert_eq!(entry.value.as_deref(), Some(value));
            assert_eq!(entry.default_value(), Some("604800000"));
        }
    }

    #[test]
    fn a_config_of_a_new_topic_has_a_value() {
        let configs = [("retention.ms", None), ("segment.ms", Some("60000")), ("what", None)]
            .map(|(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned)));
        let refused = TopicSettings::parse(&configs, &BrokerSaid::default()).unwrap_err();
        let text = "Null value not supported for topic configs: retention.ms,what";
        assert_eq!(refused, TopicRefused::InvalidConfig(text.to_owned()));
    }

    #[test]
    fn what_is_said_is_what_the_log_does() {
        assert_eq!(TopicSettings::new(Said::new(), &BrokerSaid::default()).log, LogConfig::KAFKA);
        let cases: [(&str, &str, LogConfig); 9] = [
            ("cleanup.policy", "compact", LogConfig { delete: false, compact: true, ..KAFKA }),
            ("cleanup.policy", "compact, delete", LogConfig { compact: true, ..KAFKA }),
            ("cleanup.policy", "", LogConfig { delete: false, ..KAFKA }),
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
            TopicSettings::parse(&said, &BrokerSaid::default()).unwrap_err().to_string(),
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)"
        );
    }

    #[test]
    fn the_table_is_sorted_and_every_default_is_allowed() {
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|config| config.name));
        for config in TOPIC_CONFIGS {
            assert_eq!(config.rule.check(config.name, config.kind, config.default), Ok(()));
        }
    }
}
