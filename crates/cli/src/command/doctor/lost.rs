//! How long brokers wait for one that is cut off: packets to it are dropped, and nobody is told.
//!
//! A broker that is killed hangs up, and whoever waits for it learns of it at once. One that is cut off is waited for
//! until a timeout says otherwise, and most of Kafka's defaults say 30 s: a transaction of which it had to be told, and
//! with it the service, stands still for as long.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::findings::{number, or_ok};
use super::{Finding, Level};

/// What brokers may wait without a word: more than the 9 s after which they take each other for lost.
const WAIT_MS_MAX: i64 = 10_000;

/// What of the brokers waits for another of them.
const WAITS: [&str; 5] = [
    "broker.session.timeout.ms",
    "controller.socket.timeout.ms",
    "replica.lag.time.max.ms",
    "replica.socket.timeout.ms",
    "request.timeout.ms",
];

pub(super) fn lost_brokers(facts: &Facts) -> Vec<Finding> {
    if facts.cluster.brokers.len() < 2 {
        return Vec::new();
    }
    let mut long: BTreeMap<&str, i64> = BTreeMap::new();
    for configs in facts.brokers.values() {
        for name in WAITS {
            let said = number(configs, name).filter(|ms| *ms > WAIT_MS_MAX);
            if let Some(ms) = said {
                let longest = long.entry(name).or_insert(ms);
                *longest = ms.max(*longest);
            }
        }
    }
    let mut findings = Vec::new();
    if let Some(longest) = long.values().max() {
        let what = format!("a broker that is cut off is waited for up to {} s", longest / 1000);
        let names = long.iter().map(|(name, ms)| format!("{name}={ms}")).collect();
        findings.push(
            Finding::of(Level::Warning, "lost brokers", what, names)
                .why("services stand still for as long: transactions wait until all have been told, and records \
                      for replicas that were in sync")
                .hint("2000 to 3000 for each: docs/operations.md says which, and the price"),
        );
    }
    or_ok(findings, "lost brokers", "one that is cut off is not waited for longer than 10 s")
}

#[cfg(test)]
mod tests {
    use tidings_engine::{Broker, Cluster};

    use super::*;

    /// Two brokers, the second with one configuration.
    fn facts(brokers: usize, name: &str, value: &str) -> Facts {
        let all = [1, 2].map(|id| Broker { id, address: None });
        let said = [(name.to_owned(), value.to_owned())];
        Facts {
            cluster: Cluster {
                id: "x".to_owned(),
                brokers: all.into_iter().take(brokers).collect(),
                placements: Vec::new(),
            },
            brokers: [(1, BTreeMap::new()), (2, said.into())].into(),
            topics: BTreeMap::new(),
            positions: Vec::new(),
            unseen: Vec::new(),
        }
    }

    #[test]
    fn what_waits_long_for_a_lost_broker_is_named() {
        for (brokers, name, value, expected) in [
            (2, "request.timeout.ms", "30000", Some("request.timeout.ms=30000")),
            (2, "replica.lag.time.max.ms", "10001", Some("replica.lag.time.max.ms=10001")),
            (2, "broker.session.timeout.ms", "9000", None),
            (2, "log.retention.ms", "30000", None),
        ] {
            let findings = lost_brokers(&facts(brokers, name, value));
            let [finding] = &findings[..] else { panic!("{findings:?}") };
            let level = if expected.is_some() { Level::Warning } else { Level::Ok };
            assert_eq!(finding.level, level, "{name}={value}");
            assert_eq!(finding.names.first().map(String::as_str), expected);
        }
        assert_eq!(lost_brokers(&facts(1, "request.timeout.ms", "30000")), []);
    }
}
