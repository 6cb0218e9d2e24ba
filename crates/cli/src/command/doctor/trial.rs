//! What shows only by trying: whether a service may do what it needs, and what the brokers' clocks say.
//!
//! A topic and a group `tidings.doctor.<number>` are made, used and deleted again, whatever happened between.
//! The transaction is aborted; a cluster remembers its id `tidings.doctor` until it expires (seven days by
//! default), and the next look uses the same one.
//!
//! The topic has the log's own times and a partition for each broker: what a broker writes between a moment
//! here and a later one has a time between these two when the clocks agree.

use std::collections::BTreeMap;

use tidings_engine::{
    Cluster, Engine, Error, NewTopic, ReadLimit, SentRecord, TopicPartition, TransactionOptions,
};

use super::facts::now_ms;
use super::{Finding, Level};
use crate::limits::{CLOCK_SKEW_ERROR, CLOCK_SKEW_WARNING, DOCTOR_PARTITIONS_MAX};

const NAME: &str = "tidings.doctor";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What was tried, and what came of it.
#[derive(Debug, Default)]
struct Tried {
    may: Vec<&'static str>,
    /// What is needed for what, and the refusal.
    not: Vec<(&'static str, Error)>,
    /// By how many milliseconds each broker's clock is ahead, at the least.
    clocks: BTreeMap<i32, i64>,
    left: Vec<String>,
}

pub(super) async fn trial(engine: &Engine, cluster: &Cluster) -> Vec<Finding> {
    let name = format!("{NAME}.{}", now_ms());
    let mut tried = Tried::default();
    let partitions = cluster.brokers.len().clamp(1, DOCTOR_PARTITIONS_MAX);
    let topic = NewTopic {
        name: name.clone(),
        partitions: i32::try_from(partitions).ok(),
        configs: vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())],
    };
    let made = engine.create_topic(topic).await;
    let is_made = made.is_ok();
    if tried.step("make topics", made).is_some() {
        records(engine, &name, &mut tried).await;
        transaction(engine, &name, &mut tried).await;
        group(engine, &name, &mut tried).await;
    }
    if is_made {
        let deleted = engine.delete_topic(&name).await;
        if tried.step("delete topics", deleted).is_none() {
            tried.left.push(format!("topic {name}"));
        }
    }
    tried.findings()
}

async fn records(engine: &Engine, name: &str, tried: &mut Tried) {
    let Some(producer) = tried.step("write records", engine.producer().await) else { return };
    let Some(placed) = tried.step("see brokers", engine.cluster().await) else { return };
    let leaders = placed.placements.into_iter().filter(|placement| placement.topic == name);
    let leaders: BTreeMap<i32, i32> =
        leaders.filter_map(|placement| Some((placement.partition, placement.leader?))).collect();
    for (partition, leader) in leaders {
        let record = record(name, partition);
        let before = now_ms();
        let sent = producer.send(vec![record]).await;
        let after = now_ms();
        let Some(sent) = tried.step("write records", sent) else { return };
        let limit = ReadLimit { records: 1, bytes: 1024, wait: PATIENCE };
        let offset = sent.first().map_or(0, |position| position.offset);
        let read = engine.read(name, partition, offset, limit).await;
        let Some(read) = tried.step("read records", read) else { return };
        if let Some(record) = read.records.first() {
            tried.clocks.insert(leader, ahead(before, record.timestamp, after));
        }
    }
}

async fn transaction(engine: &Engine, name: &str, tried: &mut Tried) {
    let aborted = async {
        let producer = engine.transactional_producer(NAME, TransactionOptions::default()).await?;
        let mut transaction = producer.begin().await?;
        let appended = transaction.append(vec![record(name, 0)]).await;
        transaction.abort().await?;
        appended.map(drop)
    };
    tried.step("transactional ids", aborted.await);
}

async fn group(engine: &Engine, name: &str, tried: &mut Tried) {
    let at = TopicPartition { topic: name.to_owned(), partition: 0 };
    let set = engine.reset_group(name, &[(at, 0, None)]).await;
    if tried.step("groups", set).is_some()
        && let Err(error) = engine.delete_group(name).await
    {
        tried.not.push(("delete groups", error));
        tried.left.push(format!("group {name}"));
    }
}

fn record(topic: &str, partition: i32) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        value: Some("tidings doctor".into()),
        ..SentRecord::default()
    }
}

/// By how much the time that was written is outside the moments around it.
fn ahead(before: i64, written: i64, after: i64) -> i64 {
    if written < before { written - before } else { (written - after).max(0) }
}

impl Tried {
    fn step<T>(&mut self, what: &'static str, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(done) => {
                if !self.may.contains(&what) {
                    self.may.push(what);
                }
                Some(done)
            }
            Err(error) => {
                self.may.retain(|may| *may != what);
                self.not.push((what, error));
                None
            }
        }
    }

    fn findings(self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (what, error) in &self.not {
            let (finding, hint) = match error {
                Error::Denied(_) => (
                    format!("this user may not: {what}"),
                    format!("give the user what it needs for it: {}", operations(what)),
                ),
                _ => (
                    format!("it does not work: {what}"),
                    "see the other findings first; then what the brokers' logs say".to_owned(),
                ),
            };
            let finding = Finding::of(Level::Error, "permissions", finding, Vec::new());
            findings.push(finding.why(error.to_string()).hint(hint));
        }
        if self.not.is_empty() {
            let may = self.may.join(", ");
            findings.push(Finding::ok("permissions", format!("all that a service needs: {may}")));
        }
        if !self.left.is_empty() {
            let what = "what was made for the trial could not be taken away";
            findings.push(
                Finding::of(Level::Warning, "trial", what, self.left.clone())
                    .why("the user may make it, and not delete it")
                    .hint("delete it with another user; --no-trial makes nothing"),
            );
        }
        findings.extend(clocks(&self.clocks));
        findings
    }
}

/// Kafka's names of what a step needs.
fn operations(step: &str) -> &'static str {
    match step {
        "make topics" => "Create on the topic, or on the cluster",
        "delete topics" => "Delete on the topic",
        "write records" => "Write and Describe on the topic",
        "read records" => "Read and Describe on the topic",
        "transactional ids" => "Write and Describe on the transactional id",
        "groups" => "Read on the group",
        "delete groups" => "Delete on the group",
        _ => "Describe on the cluster",
    }
}

fn clocks(clocks: &BTreeMap<i32, i64>) -> Option<Finding> {
    let worst = clocks.values().map(|ahead| ahead.unsigned_abs()).max()?;
    let limit = |limit: std::time::Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let level = match worst {
        worst if worst > limit(CLOCK_SKEW_ERROR) => Level::Error,
        worst if worst > limit(CLOCK_SKEW_WARNING) => Level::Warning,
        _ => {
            return Some(Finding::ok("clocks", "every broker's clock agrees with this machine's"));
        }
    };
    let told = clocks.iter().filter(|(_, ahead)| ahead.unsigned_abs() > limit(CLOCK_SKEW_WARNING));
    let told = told.map(|(broker, ahead)| match ahead {
        0.. => format!("broker {broker} is {ahead} ms ahead"),
        _ => format!("broker {broker} is {} ms behind", ahead.unsigned_abs()),
    });
    let what = format!("clocks differ by {worst} ms from this machine's");
    Some(
        Finding::of(level, "clocks", what, told.collect())
            .why("retention, timers and reads by time go by clocks; records from far ahead are refused")
            .hint("NTP on the brokers and on this machine"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_or_behind_by_what_no_delay_explains() {
        for (before, written, after, expected) in [
            (10, 10, 20, 0),
            (10, 20, 20, 0),
            (10, 9, 20, -1),
            (10, 21, 20, 1),
            (10, 5_020, 20, 5_000),
        ] {
            assert_eq!(ahead(before, written, after), expected, "{before} {written} {after}");
        }
    }

    #[test]
    fn clocks_are_told_by_how_far_they_are() {
        let check = |said: &[(i32, i64)], level: Level, names: &[&str]| {
            let finding = clocks(&said.iter().copied().collect()).unwrap();
            assert_eq!(
                (finding.level, finding.names),
                (level, names.iter().map(|n| (*n).to_owned()).collect())
            );
        };
        check(&[(1, 0), (2, -1000)], Level::Ok, &[]);
        check(&[(1, 0), (2, -1001)], Level::Warning, &["broker 2 is 1001 ms behind"]);
        check(&[(1, 60_001)], Level::Error, &["broker 1 is 60001 ms ahead"]);
        assert_eq!(clocks(&BTreeMap::new()), None);
    }
}
