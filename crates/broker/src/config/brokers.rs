//! What brokers were told while they run, and how their configuration is described.

use tidings_coordinator::{
    AssignorName, ConsumerGroupsConfig, GroupsConfig, MigrationPolicy, TransactionsConfig,
};
use tidings_log::StoreConfig;

use super::broker_row::{ASSIGNORS, BrokerConfigRow, Live, MIGRATION, Value};
use super::broker_table::{BROKER_CONFIGS, MINUTE_MS, broker_config};
use super::rule::{list, truth};
use super::topics::hours_of;
use super::{ConfigEntry, ConfigSource, ConfigSynonym, Said};
use crate::limits::KeptLimits;
use crate::{BrokerConfig, TopicRefused};

/// What was said of all brokers, and of this one, which wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BrokerSaid {
    pub(crate) cluster: Said,
    pub(crate) node: Said,
}

impl BrokerSaid {
    /// What was said of all brokers, whose name is empty, or of this one.
    pub(crate) fn said(&self, broker: &str) -> &Said {
        if broker.is_empty() { &self.cluster } else { &self.node }
    }

    /// The value that was said last of this node, or else of all.
    pub(super) fn dynamic(&self, name: &str) -> Option<&str> {
        self.node.get(name).or_else(|| self.cluster.get(name)).map(String::as_str)
    }

    /// What was said of this name, the value in force first.
    pub(super) fn synonyms(&self, name: &'static str) -> impl Iterator<Item = ConfigSynonym> {
        let sources = [(&self.node, ConfigSource::Broker), (&self.cluster, ConfigSource::Cluster)];
        sources.into_iter().filter_map(move |(said, source)| {
            said.get(name).map(|value| ConfigSynonym { name, value: value.clone(), source })
        })
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.dynamic(name)?.parse().ok()
    }

    fn int(&self, name: &str) -> Option<i32> {
        self.number(name).and_then(|number| i32::try_from(number).ok())
    }

    fn size(&self, name: &str) -> Option<usize> {
        self.number(name).and_then(|number| usize::try_from(number).ok())
    }

    /// `num.partitions`
    pub(crate) fn default_partitions(&self, config: &BrokerConfig) -> i32 {
        self.int("num.partitions").unwrap_or(config.default_partitions)
    }

    /// `auto.create.topics.enable`
    pub(crate) fn auto_create_topics(&self, config: &BrokerConfig) -> bool {
        let said = self.dynamic("auto.create.topics.enable").and_then(truth);
        said.unwrap_or(config.auto_create_topics)
    }

    /// What holds for all groups; nothing is said in it of single ones.
    pub(crate) fn groups(&self) -> GroupsConfig {
        let default = GroupsConfig::default();
        let int = |name, default| self.int(name).unwrap_or(default);
        let minutes = self.int("offsets.retention.minutes").map(i64::from);
        let check_ms = self.number("offsets.retention.check.interval.ms");
        GroupsConfig {
            session_timeout_min_ms: int(
                "group.min.session.timeout.ms",
                default.session_timeout_min_ms,
            ),
            session_timeout_max_ms: int(
                "group.max.session.timeout.ms",
                default.session_timeout_max_ms,
            ),
            classic_group_size_max: self
                .size("group.max.size")
                .unwrap_or(default.classic_group_size_max),
            offsets_retention_ms: minutes
                .map_or(default.offsets_retention_ms, |minutes| minutes * MINUTE_MS),
            retention_check_ms: check_ms
                .and_then(|ms| u64::try_from(ms).ok())
                .unwrap_or(default.retention_check_ms),
            consumer: self.consumer_groups(default.consumer),
            ..default
        }
    }

    fn consumer_groups(&self, default: ConsumerGroupsConfig) -> ConsumerGroupsConfig {
        let int = |name, default| self.int(name).unwrap_or(default);
        let migration = self.dynamic("group.consumer.migration.policy");
        ConsumerGroupsConfig {
            session_timeout_ms: int(
                "group.consumer.session.timeout.ms",
                default.session_timeout_ms,
            ),
            session_timeout_min_ms: int(
                "group.consumer.min.session.timeout.ms",
                default.session_timeout_min_ms,
            ),
            session_timeout_max_ms: int(
                "group.consumer.max.session.timeout.ms",
                default.session_timeout_max_ms,
            ),
            heartbeat_interval_ms: int(
                "group.consumer.heartbeat.interval.ms",
                default.heartbeat_interval_ms,
            ),
            heartbeat_interval_min_ms: int(
                "group.consumer.min.heartbeat.interval.ms",
                default.heartbeat_interval_min_ms,
            ),
            heartbeat_interval_max_ms: int(
                "group.consumer.max.heartbeat.interval.ms",
                default.heartbeat_interval_max_ms,
            ),
            group_size_max: self.size("group.consumer.max.size").unwrap_or(default.group_size_max),
            assignors: match self.dynamic("group.consumer.assignors") {
                Some(said) => list(said).filter_map(AssignorName::of).collect(),
                None => default.assignors,
            },
            migration: migration.and_then(MigrationPolicy::of).unwrap_or(default.migration),
        }
    }

    /// What holds for transactions.
    pub(crate) fn transactions(&self) -> TransactionsConfig {
        let default = TransactionsConfig::default();
        let kept_ms = self.number("transactional.id.expiration.ms");
        TransactionsConfig {
            timeout_max_ms: self
                .int("transaction.max.timeout.ms")
                .unwrap_or(default.timeout_max_ms),
            id_kept_ms: kept_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(default.id_kept_ms),
            ..default
        }
    }

    /// Refuses what would contradict itself, as Kafka does when it starts.
    pub(crate) fn check_groups(&self) -> Result<(), TopicRefused> {
        let groups = self.groups();
        let all = &groups.consumer;
        let (min, max) = (groups.session_timeout_min_ms, groups.session_timeout_max_ms);
        let (session, interval) = (
            ("group.consumer.session.timeout.ms", all.session_timeout_ms),
            ("group.consumer.heartbeat.interval.ms", all.heartbeat_interval_ms),
        );
        let session_min = ("group.consumer.min.session.timeout.ms", all.session_timeout_min_ms);
        let session_max = ("group.consumer.max.session.timeout.ms", all.session_timeout_max_ms);
        let interval_min =
            ("group.consumer.min.heartbeat.interval.ms", all.heartbeat_interval_min_ms);
        let interval_max =
            ("group.consumer.max.heartbeat.interval.ms", all.heartbeat_interval_max_ms);
        let ordered = [
            (("group.min.session.timeout.ms", min), ("group.max.session.timeout.ms", max)),
            (session_min, session),
            (session, session_max),
            (interval_min, interval),
            (interval, interval_max),
        ];
        for ((lower, low), (upper, high)) in ordered {
            if low > high {
                let text = format!("{lower} ({low}) > {upper} ({high})");
                return Err(TopicRefused::InvalidRequest(text));
            }
        }
        if interval.1 >= session.1 {
            return Err(TopicRefused::InvalidRequest(format!(
                "{} ({}) >= {} ({})",
                interval.0, interval.1, session.0, session.1
            )));
        }
        if all.assignors.is_empty() {
            let text = "group.consumer.assignors must name an assignor".to_owned();
            return Err(TopicRefused::InvalidRequest(text));
        }
        Ok(())
    }

    /// `producer.id.expiration.ms`
    pub(crate) fn producer_expiry_ms(&self, config: &BrokerConfig) -> i64 {
        self.number("producer.id.expiration.ms").unwrap_or(config.store.producer_expiry_ms)
    }
}

/// Whether all of this may be said of a broker.
pub(crate) fn check_brokers(said: &Said) -> Result<(), TopicRefused> {
    for (name, value) in said {
        let row = changeable(name)?;
        let Value::Live(live) = row.value else { continue };
        let checked = live.rule().check(name, row.kind, value);
        checked.map_err(TopicRefused::InvalidRequest)?;
    }
    Ok(())
}

/// The row of a name that may be set while the node runs.
pub(super) fn changeable(name: &str) -> Result<&'static BrokerConfigRow, TopicRefused> {
    let Some(row) = broker_config(name) else {
        return Err(TopicRefused::InvalidConfig(format!("Unknown broker config name: {name}")));
    };
    if matches!(row.value, Value::Live(_)) {
        return Ok(row);
    }
    Err(TopicRefused::InvalidRequest(format!(
        "Cannot update these configs dynamically: {name}: {}",
        row.documentation
    )))
}

impl BrokerConfigRow {
    /// What holds when nothing was said while the node runs: the value it was started with, and the
    /// default.
    fn below(&self, config: &BrokerConfig) -> Vec<ConfigSynonym> {
        let name = self.name;
        let synonym = |value: String, source| ConfigSynonym { name, value, source };
        let told = |value: String| synonym(value, ConfigSource::StaticBroker);
        let default = |value: String| synonym(value, ConfigSource::Default);
        match self.value {
            Value::OfServer | Value::Nothing => Vec::new(),
            Value::DeleteTopics => {
                vec![told(config.delete_topics.to_string()), default("true".to_owned())]
            }
            Value::NodeId => vec![told(config.node_id.to_string())],
            Value::Number(number) => vec![default(number.to_string())],
            Value::Text(text) => vec![default(text.to_owned())],
            Value::Store(setting) => {
                vec![told(setting(&config.store).to_string()), default(setting_default(setting))]
            }
            Value::Live(Live::OfTopics(topic)) => vec![default(topic.default.to_owned())],
            Value::Live(Live::DefaultPartitions) => {
                vec![told(config.default_partitions.to_string()), default("4".to_owned())]
            }
            Value::Live(Live::Groups(setting, ..)) => {
                vec![default(setting(&GroupsConfig::default()).to_string())]
            }
            Value::Live(Live::Assignors) => vec![default(ASSIGNORS.to_owned())],
            Value::Live(Live::Migration) => vec![default(MIGRATION.to_owned())],
            Value::Live(Live::Transactions(setting)) => {
                vec![default(setting(&TransactionsConfig::default()).to_string())]
            }
            Value::Live(Live::AutoCreate) => {
                vec![told(config.auto_create_topics.to_string()), default("true".to_owned())]
            }
            Value::Live(Live::ProducerExpiry) => {
                let setting = |store: &StoreConfig| store.producer_expiry_ms;
                vec![told(setting(&config.store).to_string()), default(setting_default(setting))]
            }
        }
    }

    fn describe(&self, said: &BrokerSaid, config: &BrokerConfig) -> ConfigEntry {
        let mut synonyms: Vec<ConfigSynonym> = said.synonyms(self.name).collect();
        let hours = hours_of(self.name).filter(|_| !synonyms.is_empty());
        synonyms.extend(match hours {
            // What was told stands above Kafka's default, which is another config's.
            Some((name, value)) => {
                let (value, source) = (value.to_owned(), ConfigSource::Default);
                vec![ConfigSynonym { name, value, source }]
            }
            None => self.below(config),
        });
        let entry = ConfigEntry::new(self.name, self.kind, self.documentation, synonyms);
        ConfigEntry { read_only: !matches!(self.value, Value::Live(_)), ..entry }
    }
}

fn setting_default(setting: fn(&StoreConfig) -> i64) -> String {
    setting(&StoreConfig::default()).to_string()
}

/// The configuration of this broker.
pub(crate) fn describe_broker(said: &BrokerSaid, config: &BrokerConfig) -> Vec<ConfigEntry> {
    BROKER_CONFIGS.iter().map(|row| row.describe(said, config)).collect()
}

/// What was said of all brokers, and nothing else.
pub(crate) fn describe_cluster(said: &BrokerSaid) -> Vec<ConfigEntry> {
    let rows = BROKER_CONFIGS.iter().filter(|row| said.cluster.contains_key(row.name));
    let entry = |row: &BrokerConfigRow| {
        let synonyms = said.synonyms(row.name);
        let synonyms = synonyms.filter(|synonym| synonym.source == ConfigSource::Cluster);
        ConfigEntry::new(row.name, row.kind, row.documentation, synonyms.collect())
    };
    rows.map(entry).collect()
}

/// The configuration of a broker that was told nothing.
pub fn broker_configs() -> Vec<ConfigEntry> {
    let config = BrokerConfig {
        kept: KeptLimits::default(),
        node_id: 1,
        brokers: 1,
        default_partitions: 4,
        auto_create_topics: true,
        delete_topics: true,
        disk_reserve_bytes: 0,
        store: StoreConfig::default(),
        seed: 0,
    };
    describe_broker(&BrokerSaid::default(), &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BrokerConfig {
        BrokerConfig {
            kept: KeptLimits::default(),
            node_id: 7,
            brokers: 1,
            default_partitions: 3,
            auto_create_topics: false,
            delete_topics: true,
            disk_reserve_bytes: 0,
            store: StoreConfig::default(),
            seed: 0,
        }
    }

    fn entry(said: &BrokerSaid, name: &str) -> ConfigEntry {
        let described = describe_broker(said, &config());
        described.into_iter().find(|entry| entry.name == name).expect(name)
    }

    #[test]
    fn the_broker_shows_what_it_was_told_and_what_is_fixed() {
        use ConfigSource::{Default, StaticBroker};
        let cases = [
            ("broker.id", Some("7"), None, StaticBroker, true),
            ("num.partitions", Some("3"), Some("4"), StaticBroker, false),
            ("auto.create.topics.enable", Some("false"), Some("true"), StaticBroker, false),
            ("message.max.bytes", Some("1048588"), Some("1048588"), Default, false),
            ("log.retention.ms", Some("604800000"), Some("604800000"), Default, false),
            ("group.max.session.timeout.ms", Some("1800000"), Some("1800000"), Default, false),
            ("offsets.retention.minutes", Some("10080"), Some("10080"), Default, false),
            ("num.io.threads", None, None, Default, true),
        ];
        for (name, value, default, source, read_only) in cases {
            let entry = entry(&BrokerSaid::default(), name);
            let seen = (entry.value.as_deref(), entry.default_value(), entry.source);
            assert_eq!(seen, (value, default, source), "{name}");
            assert_eq!(entry.read_only, read_only, "{name}");
        }
    }

    #[test]
    fn what_is_told_stands_above_a_default_in_hours() {
        let name = "log.retention.ms";
        let mut said = BrokerSaid::default();
        said.cluster.insert(name.into(), "5".into());
        let synonyms = entry(&said, name).synonyms;
        let seen: Vec<(&str, &str)> =
            synonyms.iter().map(|synonym| (synonym.name, synonym.value.as_str())).collect();
        assert_eq!(seen, [(name, "5"), ("log.retention.hours", "168")]);
    }

    #[test]
    fn what_was_said_of_this_broker_wins_over_what_was_said_of_all() {
        let name = "num.partitions";
        let mut said = BrokerSaid::default();
        said.cluster.insert(name.into(), "5".into());
        assert_eq!(entry(&said, name).source, ConfigSource::Cluster);
        assert_eq!(said.default_partitions(&config()), 5);
        said.node.insert(name.into(), "6".into());
        let sources = entry(&said, name).synonyms.into_iter().map(|s| (s.value, s.source));
        let expected = [
            ("6", ConfigSource::Broker),
            ("5", ConfigSource::Cluster),
            ("3", ConfigSource::StaticBroker),
            ("4", ConfigSource::Default),
        ];
        let expected = expected.map(|(value, source)| (value.to_owned(), source));
        assert_eq!(sources.collect::<Vec<_>>(), expected);
        assert_eq!(said.default_partitions(&config()), 6);
        let cluster = describe_cluster(&said);
        assert_eq!(cluster.len(), 1);
        assert_eq!((cluster[0].value.as_deref(), cluster[0].synonyms.len()), (Some("5"), 1));
    }

    #[test]
    fn a_broker_is_told_only_what_it_acts_on() {
        let cases = [
            ("log.retention.ms", "5", Ok(())),
            (
                "log.retention.ms",
                "x",
                Err(
                    "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
                ),
            ),
            (
                "num.partitions",
                "0",
                Err("Invalid value 0 for configuration num.partitions: Value must be at least 1"),
            ),
            (
                "node.id",
                "3",
                Err("Cannot update these configs dynamically: node.id: This node's id."),
            ),
            (
                "num.io.threads",
                "3",
                Err(
                    "Cannot update these configs dynamically: num.io.threads: Of Kafka's implementation: nothing here has it.",
                ),
            ),
            ("foo.bar", "3", Err("Unknown broker config name: foo.bar")),
        ];
        for (name, value, expected) in cases {
            let said = Said::from([(name.to_owned(), value.to_owned())]);
            let seen = check_brokers(&said).map_err(|refused| refused.to_string());
            assert_eq!(seen, expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn the_table_is_sorted_has_a_row_for_all_that_topics_fall_back_to_and_takes_its_defaults() {
        assert!(BROKER_CONFIGS.is_sorted_by_key(|row| row.name));
        for name in super::super::topic_table::TOPIC_CONFIGS.iter().filter_map(|row| row.broker) {
            assert!(broker_config(name).is_some(), "{name}");
        }
        for entry in broker_configs().into_iter().filter(|entry| !entry.read_only) {
            let value = entry.default_value().expect("what can be set has a default").to_owned();
            assert_eq!(check_brokers(&Said::from([(entry.name.to_owned(), value)])), Ok(()));
        }
    }
}
