//! What the facts mean: each check says that it is content, or what would hurt, with names and numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Configs, Facts};
use super::lost::lost_brokers;
use super::{Finding, Level};

/// What librdkafka's and Kafka's own producers send at most unless they are told otherwise.
const BATCH_BYTES: i64 = 1_048_588;
/// How long a transaction takes at most unless its producer says otherwise.
const TRANSACTION_MS: i64 = 60_000;

/// `outage_ms` is how long a service may be down without losing anything.
pub(super) fn of(facts: &Facts, outage_ms: i64) -> Vec<Finding> {
    let checks = [
        brokers(facts),
        serving(facts),
        replication(facts),
        min_in_sync(facts),
        unclean_elections(facts),
        own_topics(facts),
        lost_brokers(facts),
        retention(facts, outage_ms),
        positions(facts, outage_ms),
        sizes(facts),
        unseen(facts),
    ];
    checks.into_iter().flatten().collect()
}

/// The check's findings, or that it is content.
pub(super) fn or_ok(findings: Vec<Finding>, check: &'static str, content: &str) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(check, content)] } else { findings }
}

pub(super) fn number(configs: &Configs, name: &str) -> Option<i64> {
    configs.get(name)?.parse().ok()
}

fn brokers(facts: &Facts) -> Vec<Finding> {
    let brokers = &facts.cluster.brokers;
    let shown: Vec<String> = brokers
        .iter()
        .map(|broker| match &broker.address {
            Some(address) => format!("{} at {address}", broker.id),
            None => format!("{} embedded", broker.id),
        })
        .collect();
    let version = "they offer what an engine needs, Apache Kafka 2.5 or later";
    match brokers.len() {
        0 | 1 => vec![
            Finding::of(Level::Warning, "brokers", "one broker", shown)
                .why("its disk has the only copy of everything, and while it is down nobody is served")
                .hint("backups; or a cluster of three brokers: docs/operations.md says when and how"),
        ],
        2 => vec![
            Finding::of(Level::Warning, "brokers", "two brokers", shown)
                .why("acknowledged records need both, or are safe on one only")
                .hint("a third broker"),
        ],
        count => vec![Finding::ok("brokers", format!("{count} brokers ({}); {version}", shown.join(", ")))],
    }
}

fn serving(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let named = |wanted: &dyn Fn(&tidings_engine::Placement) -> bool| -> Vec<String> {
        let those = facts.cluster.placements.iter().filter(|placement| wanted(placement));
        those.map(|placement| format!("{}-{}", placement.topic, placement.partition)).collect()
    };
    let offline = named(&|placement| placement.leader.is_none());
    if !offline.is_empty() {
        let what = "partitions without a leader";
        findings.push(
            Finding::of(Level::Error, "in sync", what, offline)
                .why("nobody can write to them or read them")
                .hint("start the brokers that have them"),
        );
    }
    let behind = |placement: &tidings_engine::Placement| {
        placement.leader.is_some() && placement.in_sync.len() < placement.replicas.len()
    };
    let too_few = |placement: &tidings_engine::Placement| {
        let least = min_of(facts, &placement.topic).unwrap_or(1);
        behind(placement) && i64::try_from(placement.in_sync.len()).unwrap_or(0) < least
    };
    let refusing = named(&too_few);
    if !refusing.is_empty() {
        let what = "fewer replicas in sync than are needed";
        findings.push(
            Finding::of(Level::Error, "in sync", what, refusing)
                .why("they refuse records with acks=all")
                .hint("look for brokers that are down, or for full disks"),
        );
    }
    let lagging = named(&|placement| behind(placement) && !too_few(placement));
    if !lagging.is_empty() {
        let what = "replicas that are not in sync";
        findings.push(
            Finding::of(Level::Warning, "in sync", what, lagging)
                .why("one more failure stops them, or loses records")
                .hint("look for brokers that are down, restarting or slow"),
        );
    }
    let content = "every partition is served and in sync";
    or_ok(findings, "in sync", content)
}

/// The least number of replicas in sync that a topic needs; for the engine's own what brokers say.
fn min_of(facts: &Facts, topic: &str) -> Option<i64> {
    let configs = facts.topics.get(topic);
    if let Some(min) = configs.and_then(|configs| number(configs, "min.insync.replicas")) {
        return Some(min);
    }
    let name = match topic {
        "__transaction_state" => "transaction.state.log.min.isr",
        _ => "min.insync.replicas",
    };
    facts.brokers.values().find_map(|configs| number(configs, name))
}

/// The fewest replicas that a partition of each topic has.
fn replicas(facts: &Facts) -> BTreeMap<&str, i64> {
    let mut fewest = BTreeMap::new();
    for placement in &facts.cluster.placements {
        let count = i64::try_from(placement.replicas.len()).unwrap_or(i64::MAX);
        let least = fewest.entry(placement.topic.as_str()).or_insert(count);
        *least = count.min(*least);
    }
    fewest
}

fn replication(facts: &Facts) -> Vec<Finding> {
    if facts.cluster.brokers.len() < 2 {
        return Vec::new();
    }
    let single: Vec<String> = replicas(facts)
        .into_iter()
        .filter(|(_, count)| *count < 2)
        .map(|(topic, _)| topic.to_owned())
        .collect();
    let mut findings = Vec::new();
    if !single.is_empty() {
        let what = "topics with one replica";
        findings.push(
            Finding::of(Level::Error, "replication", what, single)
                .why("one disk that fails takes their records; one broker that is down stops them")
                .hint("kafka-reassign-partitions.sh with three replicas; default.replication.factor=3, or \
                       replication=3 in the URL, for new topics"),
        );
    }
    or_ok(findings, "replication", "every topic is on more than one broker")
}

fn min_in_sync(facts: &Facts) -> Vec<Finding> {
    let mut by_kind: BTreeMap<(Level, &str, &str, &str), Vec<String>> = BTreeMap::new();
    for (topic, count) in replicas(facts) {
        let Some(min) = min_of(facts, topic) else { continue };
        let kind = if min > count && count > 0 {
            (
                Level::Error,
                "min.insync.replicas is more than there are replicas",
                "every record with acks=all is refused",
                "more replicas, or a smaller min.insync.replicas",
            )
        } else if count > 1 && min == 1 {
            (
                Level::Warning,
                "min.insync.replicas=1 with several replicas",
                "while the others are behind, acks=all means one disk: acknowledged records go with it",
                "min.insync.replicas=2 with three replicas",
            )
        } else if count > 1 && min == count {
            (
                Level::Warning,
                "min.insync.replicas is as many as there are replicas",
                "with any broker down, for maintenance too, records are refused",
                "one more replica than min.insync.replicas",
            )
        } else {
            continue;
        };
        by_kind.entry(kind).or_default().push(topic.to_owned());
    }
    let finding = |((level, what, why, hint), topics): (_, Vec<String>)| {
        Finding::of(level, "min ISR", what, topics).why(why).hint(hint)
    };
    let findings: Vec<Finding> = by_kind.into_iter().map(finding).collect();
    if findings.is_empty() && facts.cluster.brokers.len() < 2 {
        return findings;
    }
    or_ok(findings, "min ISR", "acknowledged records survive a broker, and a broker may be down")
}

fn unclean_elections(facts: &Facts) -> Vec<Finding> {
    let replicas = replicas(facts);
    let unclean = |topic: &&String| {
        let several = replicas.get(topic.as_str()).is_some_and(|count| *count > 1);
        let said = facts.topics[*topic].get("unclean.leader.election.enable");
        several && said.is_some_and(|value| value == "true")
    };
    let topics: Vec<String> = facts.topics.keys().filter(unclean).cloned().collect();
    if facts.cluster.brokers.len() < 2 {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if !topics.is_empty() {
        let what = "unclean.leader.election.enable=true";
        findings.push(
            Finding::of(Level::Warning, "elections", what, topics)
                .why(
                    "a replica that is behind may become the leader: acknowledged records are gone",
                )
                .hint("unclean.leader.election.enable=false"),
        );
    }
    or_ok(findings, "elections", "only replicas that are in sync become leaders")
}

/// The topics that groups and transactions are kept in, as brokers make them.
fn own_topics(facts: &Facts) -> Vec<Finding> {
    let count = i64::try_from(facts.cluster.brokers.len()).unwrap_or(i64::MAX);
    let mut findings = Vec::new();
    for (name, what) in [
        ("offsets.topic.replication.factor", "positions of groups"),
        ("transaction.state.log.replication.factor", "transactions"),
    ] {
        let said: BTreeSet<i64> =
            facts.brokers.values().filter_map(|configs| number(configs, name)).collect();
        for factor in said {
            let (why, hint) = if factor > count {
                let why = format!("{what} cannot be kept until there are as many brokers");
                (why, format!("more brokers, or {name}={count}"))
            } else if factor < 2 && count > 1 {
                let why = format!("one disk that fails takes all {what}");
                (why, format!("{name}=3; a topic that is there is reassigned"))
            } else {
                continue;
            };
            let finding = format!("{name}={factor} with {count} brokers");
            let finding = Finding::of(Level::Error, "own topics", finding, Vec::new());
            findings.push(finding.why(why).hint(hint));
        }
    }
    or_ok(findings, "own topics", "positions and transactions are kept as the brokers can")
}

fn retention(facts: &Facts, outage_ms: i64) -> Vec<Finding> {
    let read: BTreeSet<&str> = facts.positions.iter().map(|held| held.topic.as_str()).collect();
    let mut short: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for topic in read {
        let Some(configs) = facts.topics.get(topic) else { continue };
        let deletes = configs.get("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
        let kept = number(configs, "retention.ms").filter(|kept| deletes && *kept >= 0);
        if let Some(kept) = kept.filter(|kept| *kept < outage_ms) {
            short.entry(kept).or_default().push(topic.to_owned());
        }
    }
    let mut findings: Vec<Finding> = short
        .into_iter()
        .map(|(kept, topics)| {
            let what = format!(
                "records go after {}, before the {} that a group may be down",
                time(kept),
                time(outage_ms)
            );
            Finding::of(Level::Warning, "retention", what, topics)
                .why("a group that is down for longer loses what it has not read, and is not told")
                .hint(format!(
                    "retention.ms={outage_ms} or more; or say with --outage how long it may be down"
                ))
        })
        .collect();
    let minutes = facts.brokers.values().filter_map(|of| number(of, "offsets.retention.minutes"));
    if let Some(minutes) = minutes.min()
        && minutes.saturating_mul(60_000) < outage_ms
    {
        let what =
            format!("positions of a group without members go after {}", time(minutes * 60_000));
        findings.push(
            Finding::of(Level::Warning, "retention", what, Vec::new())
                .why("a group that is down for longer begins anew: it repeats everything, or misses it")
                .hint(format!("offsets.retention.minutes={} or more", outage_ms / 60_000)),
        );
    }
    let content = format!("what groups read, and their positions, outlast {}", time(outage_ms));
    or_ok(findings, "retention", &content)
}

fn positions(facts: &Facts, outage_ms: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lost: Vec<_> = facts.positions.iter().filter(|held| held.lost > 0).collect();
    if !lost.is_empty() {
        let offsets: i64 = lost.iter().map(|held| held.lost).sum();
        let names = lost
            .iter()
            .map(|held| {
                format!("{} in {}-{} by {}", held.group, held.topic, held.partition, held.lost)
            })
            .collect();
        let what = format!("positions before what is kept, by {offsets} offsets");
        findings.push(
            Finding::of(Level::Error, "positions", what, names)
                .why("the records between were taken by retention before the group read them")
                .hint("longer retention.ms; delete the group if nobody uses it any more"),
        );
    }
    let late = facts.positions.iter().filter_map(|held| {
        let configs = facts.topics.get(&held.topic)?;
        let deletes = configs.get("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
        let kept = number(configs, "retention.ms").filter(|kept| deletes && *kept >= 0)?;
        let left = kept - held.waiting_ms?;
        (left < outage_ms.min(kept / 2)).then(|| {
            let left =
                if left > 0 { format!("in {}", time(left)) } else { "any moment".to_owned() };
            format!("{} in {}-{}: {left}", held.group, held.topic, held.partition)
        })
    });
    let late: Vec<String> = late.collect();
    if !late.is_empty() {
        let what = "positions at records that retention takes soon";
        findings.push(
            Finding::of(Level::Warning, "positions", what, late)
                .why("what the group has not read by then is gone")
                .hint("start the group, or a longer retention.ms until it has caught up"),
        );
    }
    let content = "every group's position points to what is kept";
    or_ok(findings, "positions", content)
}

fn sizes(facts: &Facts) -> Vec<Finding> {
    let small = |(topic, configs): (&String, &Configs)| {
        let bytes = number(configs, "max.message.bytes").filter(|bytes| *bytes < BATCH_BYTES)?;
        Some(format!("{topic} ({bytes})"))
    };
    let topics: Vec<String> = facts.topics.iter().filter_map(small).collect();
    let mut findings = Vec::new();
    if !topics.is_empty() {
        let what = format!("batches of less than {BATCH_BYTES} bytes only");
        findings.push(
            Finding::of(Level::Warning, "sizes", what, topics)
                .why("they are sent in portions, one after the other, and larger records are refused")
                .hint(format!("max.message.bytes={BATCH_BYTES} or more")),
        );
    }
    let timeouts = facts.brokers.values();
    let timeout = timeouts.filter_map(|of| number(of, "transaction.max.timeout.ms")).min();
    if let Some(timeout) = timeout.filter(|timeout| *timeout < TRANSACTION_MS) {
        let what = format!("transaction.max.timeout.ms={timeout}");
        findings.push(
            Finding::of(Level::Error, "sizes", what, Vec::new())
                .why(format!("transactions may take {TRANSACTION_MS} ms unless a service says less, and are refused"))
                .hint(format!("transaction.max.timeout.ms={TRANSACTION_MS} or more")),
        );
    }
    or_ok(findings, "sizes", "batches and transactions are taken as they are sent")
}

fn unseen(facts: &Facts) -> Vec<Finding> {
    if facts.unseen.is_empty() {
        return Vec::new();
    }
    let names = facts.unseen.iter().map(|(what, _)| what.clone()).collect();
    let what = "what cannot be seen was not checked";
    let why = facts.unseen[0].1.clone();
    vec![
        Finding::of(Level::Warning, "unseen", what, names).why(why).hint(
            "a user that may describe the cluster, topics and groups, and their configuration",
        ),
    ]
}

/// `90 s`, `36 h`, `7 days`.
pub(super) fn time(ms: i64) -> String {
    match ms / 1000 {
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::{Broker, Cluster, Placement};

    use super::super::facts::Position;
    use super::*;

    const DAY: i64 = 86_400_000;

    fn configs(said: &[(&str, &str)]) -> Configs {
        said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Three brokers and a topic `t` that nothing is wrong with.
    fn sound() -> Facts {
        let broker = configs(&[
            ("min.insync.replicas", "2"),
            ("offsets.topic.replication.factor", "3"),
            ("transaction.state.log.replication.factor", "3"),
            ("offsets.retention.minutes", "10080"),
            ("transaction.max.timeout.ms", "900000"),
        ]);
        let topic = configs(&[
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("max.message.bytes", "1048588"),
        ]);
        let address = Some("h:1".to_owned());
        Facts {
            cluster: Cluster {
                id: "x".to_owned(),
                brokers: [1, 2, 3].map(|id| Broker { id, address: address.clone() }).to_vec(),
                placements: vec![Placement {
                    topic: "t".to_owned(),
                    partition: 0,
                    leader: Some(1),
                    replicas: vec![1, 2, 3],
                    in_sync: vec![1, 2, 3],
                }],
            },
            brokers: [1, 2, 3].map(|id| (id, broker.clone())).into(),
            topics: [("t".to_owned(), topic)].into(),
            positions: vec![Position {
                group: "g".to_owned(),
                topic: "t".to_owned(),
                partition: 0,
                lost: 0,
                waiting_ms: Some(1000),
            }],
            unseen: Vec::new(),
        }
    }

    /// What is not content, as `level check: finding`.
    fn check(change: impl FnOnce(&mut Facts), expected: &[&str]) {
        let mut facts = sound();
        change(&mut facts);
        let findings = of(&facts, 3 * DAY);
        let bad = findings.iter().filter(|finding| finding.level != Level::Ok);
        let told: Vec<String> = bad
            .clone()
            .map(|finding| format!("{:?} {}: {}", finding.level, finding.check, finding.finding))
            .collect();
        assert_eq!(told, expected, "{facts:?}");
        for finding in bad {
            assert!(!finding.why.is_empty() && !finding.hint.is_empty(), "{finding:?}");
        }
    }

    fn set(facts: &mut Facts, name: &str, value: &str) {
        let topic = facts.topics.get_mut("t").unwrap();
        topic.insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn what_would_hurt_is_found_and_nothing_else() {
        check(|_| {}, &[]);
        check(
            |f| f.cluster.placements[0].replicas = vec![1],
            &[
                "Error replication: topics with one replica",
                "Error min ISR: min.insync.replicas is more than there are replicas",
            ],
        );
        check(
            |f| set(f, "min.insync.replicas", "1"),
            &["Warning min ISR: min.insync.replicas=1 with several replicas"],
        );
        check(
            |f| set(f, "min.insync.replicas", "3"),
            &["Warning min ISR: min.insync.replicas is as many as there are replicas"],
        );
        check(
            |f| f.cluster.placements[0].in_sync = vec![1, 2],
            &["Warning in sync: replicas that are not in sync"],
        );
        check(
            |f| f.cluster.placements[0].in_sync = vec![1],
            &["Error in sync: fewer replicas in sync than are needed"],
        );
        check(
            |f| f.cluster.placements[0].leader = None,
            &["Error in sync: partitions without a leader"],
        );
        check(
            |f| set(f, "unclean.leader.election.enable", "true"),
            &["Warning elections: unclean.leader.election.enable=true"],
        );
        check(
            |f| set(f, "max.message.bytes", "1000"),
            &["Warning sizes: batches of less than 1048588 bytes only"],
        );
        check(
            |f| set(f, "retention.ms", "86400000"),
            &[
                "Warning retention: records go after 24 h, before the 3 days that a group may be down",
            ],
        );
        check(|f| set(f, "retention.ms", "-1"), &[]);
        check(
            |f| f.positions[0].lost = 7,
            &["Error positions: positions before what is kept, by 7 offsets"],
        );
        check(
            |f| f.positions[0].waiting_ms = Some(6 * DAY),
            &["Warning positions: positions at records that retention takes soon"],
        );
        check(
            |f| f.unseen.push(("the groups".to_owned(), "no".to_owned())),
            &["Warning unseen: what cannot be seen was not checked"],
        );
    }

    #[test]
    fn what_brokers_are_told_is_looked_at() {
        let say = |facts: &mut Facts, name: &str, value: &str| {
            let broker = facts.brokers.get_mut(&2).unwrap();
            broker.insert(name.to_owned(), value.to_owned());
        };
        check(
            |f| say(f, "offsets.topic.replication.factor", "1"),
            &["Error own topics: offsets.topic.replication.factor=1 with 3 brokers"],
        );
        check(
            |f| say(f, "transaction.state.log.replication.factor", "5"),
            &["Error own topics: transaction.state.log.replication.factor=5 with 3 brokers"],
        );
        check(
            |f| say(f, "offsets.retention.minutes", "60"),
            &["Warning retention: positions of a group without members go after 60 min"],
        );
        check(
            |f| say(f, "transaction.max.timeout.ms", "30000"),
            &["Error sizes: transaction.max.timeout.ms=30000"],
        );
    }

    #[test]
    fn few_brokers_are_told_once() {
        let shrink = |f: &mut Facts| {
            f.cluster.brokers.truncate(1);
            f.brokers.retain(|id, _| *id == 1);
            f.cluster.placements[0].replicas = vec![1];
            f.cluster.placements[0].in_sync = vec![1];
            set(f, "min.insync.replicas", "1");
            for name in ["offsets.topic", "transaction.state.log"] {
                let name = format!("{name}.replication.factor");
                f.brokers.get_mut(&1).unwrap().insert(name, "1".to_owned());
            }
        };
        check(shrink, &["Warning brokers: one broker"]);
        check(
            |f| f.cluster.brokers.truncate(2),
            &[
                "Warning brokers: two brokers",
                "Error own topics: offsets.topic.replication.factor=3 with 2 brokers",
                "Error own topics: transaction.state.log.replication.factor=3 with 2 brokers",
            ],
        );
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = [1_500, 119_000, 120_000, 3_600_000, 7_200_000, DAY, 2 * DAY].map(time);
        assert_eq!(said, ["1 s", "119 s", "2 min", "60 min", "2 h", "24 h", "2 days"]);
    }
}
