//! What the dashboard knows: the last look, what changed since the one before, and short histories.
//!
//! A value without clock or terminal. Histories have [`TOP_HISTORY`] looks; what is no more is forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidings::{REPORTS_TOPIC, Report};
use tidings_terminal::table::visible;

use super::sample::Sample;
use crate::limits::{TOP_HISTORY, TOP_STUCK_AFTER};

#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) at_ms: i64,
    /// Why the last look failed, if it did; what is shown is older.
    pub(super) trouble: Option<String>,
    /// The worst first.
    pub(super) problems: Vec<Problem>,
    pub(super) topics: Vec<TopicRow>,
    pub(super) groups: Vec<GroupRow>,
    pub(super) services: Vec<ServiceRow>,
    /// Records a second of all topics, oldest first.
    pub(super) throughput: VecDeque<f64>,
    lags: BTreeMap<String, VecDeque<i64>>,
    /// By group: what it had committed, and since when it has not committed more.
    still: BTreeMap<String, (i64, i64)>,
    before: Option<Sample>,
    failures: BTreeMap<String, u64>,
}

/// Worst last, so that the largest is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Warn,
    Bad,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) what: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct TopicRow {
    pub(super) name: String,
    pub(super) partitions: usize,
    pub(super) records: i64,
    pub(super) per_second: Option<f64>,
    pub(super) internal: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupRow {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) members: usize,
    pub(super) lag: i64,
    pub(super) per_second: Option<f64>,
    pub(super) stuck: bool,
    /// Lags of the last looks, oldest first.
    pub(super) trend: Vec<i64>,
    /// By topic.
    pub(super) lags: Vec<(String, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceRow {
    pub(super) name: String,
    pub(super) instances: usize,
    pub(super) lag_seconds: f64,
    /// Why it handles nothing, if it does not.
    pub(super) outage: Option<String>,
    pub(super) processed: u64,
    pub(super) failed: u64,
    /// Failures since the look before.
    pub(super) failing: u64,
    pub(super) parked: u64,
    pub(super) dead_keys: u64,
    pub(super) dead: u64,
    /// Name, what it handles, processed, failed.
    pub(super) handlers: Vec<(String, String, u64, u64)>,
}

impl Board {
    /// Takes a look.
    pub(super) fn take(&mut self, now: Sample, reports: &[Report]) {
        let seconds = self.before.as_ref().map(|b| (now.at_ms - b.at_ms) as f64 / 1000.0);
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        (self.at_ms, self.trouble) = (now.at_ms, None);
        self.topics = self.topics_of(&now, seconds);
        let own = self.topics.iter().filter(|topic| !topic.internal);
        let rates: Vec<f64> = own.filter_map(|topic| topic.per_second).collect();
        if seconds.is_some() {
            push(&mut self.throughput, rates.iter().sum());
        }
        self.groups = self.groups_of(&now, seconds);
        self.services = self.services_of(reports);
        self.problems = self.find_problems(&now);
        self.before = Some(now);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    fn topics_of(&self, now: &Sample, seconds: Option<f64>) -> Vec<TopicRow> {
        let before = self.before.iter().flat_map(|before| &before.topics);
        let ends: BTreeMap<&str, i64> = before.map(|t| (t.name.as_str(), t.end)).collect();
        let row = |topic: &super::sample::TopicLoad| TopicRow {
            name: visible(&topic.name).into_owned(),
            partitions: topic.partitions,
            records: topic.records,
            per_second: seconds.and_then(|seconds| {
                let was = ends.get(topic.name.as_str())?;
                Some(((topic.end - was) as f64 / seconds).max(0.0))
            }),
            internal: topic.name.starts_with('_') || topic.name == REPORTS_TOPIC,
        };
        now.topics.iter().map(row).collect()
    }

    fn groups_of(&mut self, now: &Sample, seconds: Option<f64>) -> Vec<GroupRow> {
        let names: BTreeSet<&str> = now.groups.iter().map(|(g, _)| g.name.as_str()).collect();
        self.lags.retain(|name, _| names.contains(name.as_str()));
        self.still.retain(|name, _| names.contains(name.as_str()));
        let ends: BTreeMap<&str, &super::sample::TopicLoad> =
            now.topics.iter().map(|topic| (topic.name.as_str(), topic)).collect();
        let mut rows = Vec::new();
        for (group, lag) in &now.groups {
            let history = self.lags.entry(group.name.clone()).or_default();
            let before = history.back().copied();
            push(history, *lag);
            let committed: i64 = group.committed.iter().map(|(_, _, offset)| offset).sum();
            let still = self.still.entry(group.name.clone()).or_insert((committed, now.at_ms));
            // Who has nothing to do does not stand still.
            if still.0 != committed || *lag == 0 {
                *still = (committed, now.at_ms);
            }
            let stood_ms = now.at_ms - still.1;
            let topics: BTreeSet<&str> =
                group.committed.iter().map(|(t, _, _)| t.as_str()).collect();
            let lag_of = |topic: &str| {
                let committed = group.committed.iter().filter(|(of, _, _)| of == topic);
                let committed: i64 = committed.map(|(_, _, offset)| offset).sum();
                ends.get(topic).map_or(0, |of| (of.end - committed).max(0))
            };
            rows.push(GroupRow {
                name: visible(&group.name).into_owned(),
                state: group.state.clone(),
                members: group.members,
                lag: *lag,
                per_second: before
                    .zip(seconds)
                    .map(|(before, seconds)| (lag - before) as f64 / seconds),
                stuck: *lag > 0
                    && stood_ms >= i64::try_from(TOP_STUCK_AFTER.as_millis()).unwrap_or(0),
                trend: history.iter().copied().collect(),
                lags: topics.into_iter().map(|t| (visible(t).into_owned(), lag_of(t))).collect(),
            });
        }
        rows
    }

    fn services_of(&mut self, reports: &[Report]) -> Vec<ServiceRow> {
        let mut by_name: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
        reports.iter().for_each(|report| by_name.entry(&report.service).or_default().push(report));
        let before = std::mem::take(&mut self.failures);
        let mut rows = Vec::new();
        for (name, reports) in by_name {
            let sum = |read: fn(&Report) -> u64| reports.iter().map(|of| read(of)).sum::<u64>();
            let mut handlers: BTreeMap<&str, (String, u64, u64)> = BTreeMap::new();
            for report in &reports {
                for handler in &report.metrics.handlers {
                    let event = report.handlers.iter().find(|of| of.name == handler.name);
                    let event = event.map_or("", |of| of.event.as_str());
                    let all = handlers.entry(&handler.name).or_default();
                    all.0 = visible(event).into_owned();
                    all.1 += handler.figures.processed;
                    all.2 += handler.figures.failed;
                }
            }
            let failed = sum(|of| of.metrics.figures.failed);
            let outage = reports.iter().find_map(|of| of.outage.as_ref());
            let last = before.get(name).copied().unwrap_or(failed);
            self.failures.insert(name.to_owned(), failed);
            rows.push(ServiceRow {
                name: visible(name).into_owned(),
                instances: reports.len(),
                lag_seconds: reports.iter().map(|of| of.metrics.lag_seconds).fold(0.0, f64::max),
                outage: outage.map(|outage| visible(&outage.cause).into_owned()),
                processed: handlers.values().map(|(_, processed, _)| processed).sum(),
                failed,
                failing: failed.saturating_sub(last),
                parked: sum(|of| of.metrics.figures.parked),
                dead_keys: sum(|of| of.metrics.figures.dead_keys),
                dead: sum(|of| of.metrics.figures.dead),
                handlers: handlers
                    .into_iter()
                    .map(|(name, (event, done, failed))| {
                        (visible(name).into_owned(), event, done, failed)
                    })
                    .collect(),
            });
        }
        rows
    }

    fn find_problems(&self, now: &Sample) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |severity, what| problems.push(Problem { severity, what });
        for topic in &now.topics {
            let name = visible(&topic.name);
            let (one, all) = ("partition", "partitions");
            if topic.leaderless > 0 {
                let (of, has) = if topic.leaderless == 1 { (one, "has") } else { (all, "have") };
                let what = format!("Topic {name}: {} {of} {has} no leader", topic.leaderless);
                add(Severity::Bad, what);
            } else if topic.behind > 0 {
                let (of, is) = if topic.behind == 1 { (one, "is") } else { (all, "are") };
                let what = format!("Topic {name}: {} {of} {is} not in sync", topic.behind);
                add(Severity::Warn, what);
            }
        }
        let dead = now.topics.iter().filter(|topic| topic.name.ends_with(".dead"));
        for topic in dead.filter(|topic| topic.records > 0) {
            // Offsets are of letters and of the marks that transactions leave.
            let letters = if topic.records == 1 { "letter" } else { "letters" };
            let most = topic.records;
            let what = format!("up to {most} dead {letters} in {}", visible(&topic.name));
            add(Severity::Warn, what);
        }
        for service in &self.services {
            let name = &service.name;
            if let Some(cause) = &service.outage {
                add(Severity::Bad, format!("Service {name} takes a dependency for down: {cause}"));
            }
            if service.dead_keys > 0 {
                let keys = service.dead_keys;
                let wait = if keys == 1 { "key waits" } else { "keys wait" };
                add(
                    Severity::Warn,
                    format!(
                        "Service {name}: {keys} {wait} for a person (tidings dead list {name})"
                    ),
                );
            }
        }
        for group in &self.groups {
            let (name, lag) = (&group.name, group.lag);
            if group.stuck && group.members > 0 {
                add(Severity::Bad, format!("Group {name} is stuck, {lag} records behind"));
            } else if lag > 0 && group.members == 0 {
                add(
                    Severity::Warn,
                    format!("Group {name} has no members and is {lag} records behind"),
                );
            }
        }
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        problems
    }
}

fn push<T>(history: &mut VecDeque<T>, value: T) {
    if history.len() >= TOP_HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::super::sample::TopicLoad;
    use super::*;
    use crate::client::GroupLoad;

    pub(in super::super) fn sample(at_ms: i64, end: i64, groups: &[(&str, usize, i64)]) -> Sample {
        let topic = |name: &str, end, leaderless| TopicLoad {
            name: name.to_owned(),
            records: end,
            end,
            partitions: 4,
            leaderless,
            behind: 0,
        };
        let group = |(name, members, committed): &(&str, usize, i64)| {
            let group = GroupLoad {
                name: (*name).to_owned(),
                state: if *members > 0 { "Stable" } else { "Empty" }.to_owned(),
                members: *members,
                committed: vec![("orders".to_owned(), 0, *committed)],
            };
            (group, end - committed)
        };
        Sample {
            at_ms,
            topics: vec![
                topic("orders", end, 0),
                topic("__own", 7, 0),
                topic("lost", 1, 1),
                topic("pay.dead", 3, 0),
            ],
            groups: groups.iter().map(group).collect(),
        }
    }

    pub(in super::super) fn report(instance: &str, failed: u64, outage: bool) -> Report {
        let mut report = json!({
            "report": 1, "service": "payment", "instance": instance,
            "handlers": [{ "name": "charge", "event": "OrderPlaced" }],
            "metrics": {
                "service": "payment", "lag_seconds": 2.5,
                "figures": { "failed": failed, "dead_keys": 1, "parked": 3 },
                "handlers": [{ "name": "charge", "processed": 40, "failed": failed }],
            },
        });
        if outage {
            report["outage"] = json!({ "cause": "bank: 503", "since_ms": 1, "probes": 2 });
        }
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn what_is_wrong_comes_first_and_the_worst_before_it() {
        let mut board = Board::default();
        board.take(sample(0, 100, &[("stuck", 2, 10), ("left", 0, 90), ("well", 1, 100)]), &[]);
        assert!(board.throughput.is_empty(), "a first look has no rates");
        board.take(
            sample(20_000, 120, &[("stuck", 2, 10), ("left", 0, 90), ("well", 1, 118)]),
            &[report("i-1", 5, false), report("i-2", 6, true)],
        );
        let what: Vec<&str> = board.problems.iter().map(|p| p.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "Topic lost: 1 partition has no leader",
                "Service payment takes a dependency for down: bank: 503",
                "Group stuck is stuck, 110 records behind",
                "up to 3 dead letters in pay.dead",
                "Service payment: 2 keys wait for a person (tidings dead list payment)",
                "Group left has no members and is 30 records behind",
            ]
        );
        assert_eq!(board.throughput, [1.0], "of 20 records in 20 s; internal topics do not count");
        let service = &board.services[0];
        assert_eq!((service.instances, service.processed, service.failed), (2, 80, 11));
        assert_eq!(service.handlers, [("charge".to_owned(), "OrderPlaced".to_owned(), 80, 11)]);
        let well = board.groups.iter().find(|group| group.name == "well").unwrap();
        assert_eq!((well.lag, well.per_second, well.stuck), (2, Some(0.1), false));
    }

    #[test]
    fn histories_are_short_and_forget_who_is_gone() {
        let mut board = Board::default();
        for n in 0..2 * TOP_HISTORY as i64 {
            board.take(sample(n * 1000, n, &[("a", 1, 0)]), &[]);
        }
        assert_eq!((board.throughput.len(), board.lags["a"].len()), (TOP_HISTORY, TOP_HISTORY));
        board.take(sample(1_000_000, 5, &[]), &[]);
        assert!(board.lags.is_empty() && board.still.is_empty());
    }
}
