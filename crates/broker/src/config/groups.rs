//! Configuration of single groups: the table of every group config of Apache Kafka 4.2, what is said of
//! a group, and how it is described (KIP-848, KIP-932, KIP-1071).
//!
//! A group that says nothing takes what brokers say of all. Kinds of groups that are not served have their
//! defaults only.

use tidings_coordinator::{GroupOverrides, GroupsConfig};

use super::ConfigKind::{self, Int, String as Text};
use super::rule::Rule;
use super::{BrokerSaid, ConfigEntry, ConfigSource, ConfigSynonym, Said};
use crate::TopicRefused;

struct GroupConfig {
    name: &'static str,
    kind: ConfigKind,
    rule: Rule,
    default: Default,
    documentation: &'static str,
}

enum Default {
    /// What holds for all groups.
    OfAll(fn(&GroupsConfig) -> i32),
    Fixed(&'static str),
}

const HEARTBEAT_INTERVAL_MS: &str = "consumer.heartbeat.interval.ms";
const SESSION_TIMEOUT_MS: &str = "consumer.session.timeout.ms";

const AT_LEAST_ONE: Rule = Rule::Range(1, i32::MAX as i64);

const fn share(name: &'static str, kind: ConfigKind, default: &'static str) -> GroupConfig {
    let rule = Rule::Only(default, "share groups are not served");
    let documentation = "Share groups are not served; other values are refused.";
    GroupConfig { name, kind, rule, default: Default::Fixed(default), documentation }
}

const fn streams(name: &'static str, default: &'static str) -> GroupConfig {
    let rule = Rule::Only(default, "streams groups are not served");
    let documentation = "Streams groups are not served; other values are refused.";
    GroupConfig { name, kind: Int, rule, default: Default::Fixed(default), documentation }
}

/// By name.
const GROUP_CONFIGS: &[GroupConfig] = &[
    GroupConfig {
        name: HEARTBEAT_INTERVAL_MS,
        kind: Int,
        rule: AT_LEAST_ONE,
        default: Default::OfAll(|groups| groups.consumer.heartbeat_interval_ms),
        documentation: "How often members of the consumer protocol send heartbeats.",
    },
    GroupConfig {
        name: SESSION_TIMEOUT_MS,
        kind: Int,
        rule: AT_LEAST_ONE,
        default: Default::OfAll(|groups| groups.consumer.session_timeout_ms),
        documentation: "Silence after which a member of the consumer protocol is gone.",
    },
    share("share.auto.offset.reset", Text, "latest"),
    share("share.heartbeat.interval.ms", Int, "5000"),
    share("share.isolation.level", Text, "read_uncommitted"),
    share("share.record.lock.duration.ms", Int, "30000"),
    share("share.session.timeout.ms", Int, "45000"),
    streams("streams.heartbeat.interval.ms", "5000"),
    streams("streams.initial.rebalance.delay.ms", "3000"),
    streams("streams.num.standby.replicas", "0"),
    streams("streams.session.timeout.ms", "45000"),
];

fn number(said: &Said, name: &str) -> Option<i32> {
    said.get(name)?.parse().ok()
}

/// What the coordinator is told of a group.
pub(crate) fn group_overrides(said: &Said) -> GroupOverrides {
    GroupOverrides {
        session_timeout_ms: number(said, SESSION_TIMEOUT_MS),
        heartbeat_interval_ms: number(said, HEARTBEAT_INTERVAL_MS),
    }
}

/// Whether all of this may be said of a group, within the bounds that brokers set.
pub(crate) fn check_group(said: &Said, brokers: &BrokerSaid) -> Result<(), TopicRefused> {
    let refused = |text: String| Err(TopicRefused::InvalidConfig(text));
    for (name, value) in said {
        let row = GROUP_CONFIGS.iter().find(|row| row.name == name);
        let checked = match row {
            Some(row) => row.rule.check(name, row.kind, value),
            None => Err(format!("Unknown group config name: {name}")),
        };
        checked.map_err(TopicRefused::InvalidConfig)?;
    }
    let all = brokers.groups().consumer;
    let interval_ms = number(said, HEARTBEAT_INTERVAL_MS).unwrap_or(all.heartbeat_interval_ms);
    let session_ms = number(said, SESSION_TIMEOUT_MS).unwrap_or(all.session_timeout_ms);
    let within = [
        (
            (HEARTBEAT_INTERVAL_MS, interval_ms),
            ("group.consumer.min.heartbeat.interval.ms", all.heartbeat_interval_min_ms),
            ("group.consumer.max.heartbeat.interval.ms", all.heartbeat_interval_max_ms),
        ),
        (
            (SESSION_TIMEOUT_MS, session_ms),
            ("group.consumer.min.session.timeout.ms", all.session_timeout_min_ms),
            ("group.consumer.max.session.timeout.ms", all.session_timeout_max_ms),
        ),
    ];
    for ((name, value), (lower, min), (upper, max)) in within {
        if value < min {
            return refused(format!("{name} must be greater than or equal to {lower}"));
        }
        if value > max {
            return refused(format!("{name} must be less than or equal to {upper}"));
        }
    }
    if session_ms <= interval_ms {
        return refused(format!(
            "{SESSION_TIMEOUT_MS} must be greater than {HEARTBEAT_INTERVAL_MS}"
        ));
    }
    Ok(())
}

/// The configuration of a group: what is said of it, or else what holds for all.
pub(crate) fn describe_group(said: &Said, brokers: &BrokerSaid) -> Vec<ConfigEntry> {
    let groups = brokers.groups();
    let entry = |row: &GroupConfig| {
        let (value, source) = match (said.get(row.name), &row.default) {
            (Some(value), _) => (value.clone(), ConfigSource::Group),
            (None, Default::OfAll(setting)) => {
                (setting(&groups).to_string(), ConfigSource::Default)
            }
            (None, Default::Fixed(value)) => ((*value).to_owned(), ConfigSource::Default),
        };
        let synonym = ConfigSynonym { name: row.name, value, source };
        ConfigEntry::new(row.name, row.kind, row.documentation, vec![synonym])
    };
    GROUP_CONFIGS.iter().map(entry).collect()
}

/// The configuration of a group of which nothing is said, on a node that was told nothing.
pub fn group_configs() -> Vec<ConfigEntry> {
    describe_group(&Said::new(), &BrokerSaid::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Said {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_group_is_told_only_what_its_members_can_be_held_to() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: [Case<'_>; 10] = [
            (&[], None),
            (&[(SESSION_TIMEOUT_MS, "50000"), (HEARTBEAT_INTERVAL_MS, "15000")], None),
            (&[("share.auto.offset.reset", "latest"), ("streams.num.standby.replicas", "0")], None),
            (
                &[(SESSION_TIMEOUT_MS, "44999")],
                Some(
                    "consumer.session.timeout.ms must be greater than or equal to \
                     group.consumer.min.session.timeout.ms",
                ),
            ),
            (
                &[(SESSION_TIMEOUT_MS, "60001")],
                Some(
                    "consumer.session.timeout.ms must be less than or equal to \
                     group.consumer.max.session.timeout.ms",
                ),
            ),
            (
                &[(HEARTBEAT_INTERVAL_MS, "15001")],
                Some(
                    "consumer.heartbeat.interval.ms must be less than or equal to \
                     group.consumer.max.heartbeat.interval.ms",
                ),
            ),
            (
                &[(SESSION_TIMEOUT_MS, "0")],
                Some(
                    "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at \
                     least 1",
                ),
            ),
            (
                &[("share.session.timeout.ms", "50000")],
                Some(
                    "Invalid value 50000 for configuration share.session.timeout.ms: Value must be \
                     45000: share groups are not served",
                ),
            ),
            (
                &[("streams.num.standby.replicas", "1")],
                Some(
                    "Invalid value 1 for configuration streams.num.standby.replicas: Value must be \
                     0: streams groups are not served",
                ),
            ),
            (&[("retention.ms", "1")], Some("Unknown group config name: retention.ms")),
        ];
        for (pairs, expected) in cases {
            let seen = check_group(&said(pairs), &BrokerSaid::default());
            let seen = seen.err().map(|refused| refused.to_string());
            assert_eq!(seen.as_deref(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_bounds_are_what_brokers_say() {
        let cluster = said(&[
            ("group.consumer.min.session.timeout.ms", "1000"),
            ("group.consumer.min.heartbeat.interval.ms", "10"),
        ]);
        let brokers = BrokerSaid { cluster, ..BrokerSaid::default() };
        let short = said(&[(SESSION_TIMEOUT_MS, "1000"), (HEARTBEAT_INTERVAL_MS, "999")]);
        assert_eq!(check_group(&short, &brokers), Ok(()));
        let text =
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        let equal = said(&[(SESSION_TIMEOUT_MS, "1000"), (HEARTBEAT_INTERVAL_MS, "1000")]);
        let refused = TopicRefused::InvalidConfig(text.to_owned());
        assert_eq!(check_group(&equal, &brokers), Err(refused));
    }

    #[test]
    fn what_was_said_of_the_group_is_described_with_its_source() {
        let node = said(&[("group.consumer.heartbeat.interval.ms", "6000")]);
        let brokers = BrokerSaid { node, ..BrokerSaid::default() };
        let described = describe_group(&said(&[(SESSION_TIMEOUT_MS, "50000")]), &brokers);
        let shown = described.iter().map(|entry| {
            assert_eq!(entry.synonyms.len(), 1);
            (entry.name, entry.value.as_deref().unwrap_or_default(), entry.source)
        });
        let expected = [
            (HEARTBEAT_INTERVAL_MS, "6000", ConfigSource::Default),
            (SESSION_TIMEOUT_MS, "50000", ConfigSource::Group),
            ("share.auto.offset.reset", "latest", ConfigSource::Default),
        ];
        assert_eq!(shown.take(3).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_table_is_sorted_and_every_default_is_allowed() {
        assert!(GROUP_CONFIGS.is_sorted_by_key(|row| row.name));
        let defaults = group_configs().into_iter();
        let defaults = defaults.filter_map(|entry| Some((entry.name.to_owned(), entry.value?)));
        let defaults: Said = defaults.collect();
        assert_eq!(defaults.len(), GROUP_CONFIGS.len());
        assert_eq!(check_group(&defaults, &BrokerSaid::default()), Ok(()));
    }
}
