//! `/metrics` in Prometheus' text format, and `/readyz`.
//!
//! A series costs whoever keeps it, so how many there are is bounded whatever clients make: up to [`METRICS_TOPICS_MAX`] topics
//! and [`METRICS_GROUPS_MAX`] groups are named, those first that an alert is about. Sums are of all of them, and
//! `tidings_metrics_left_out` says how many are not named. Which come first is decided by what seldom changes (what is
//! wrong, the order of magnitude, the name), so that series do not come and go with every record.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::Shared;
use super::exposition::{Exposition, MEDIA_TYPE};
use super::figure::{Family, Figure};
use super::services;
use super::snapshot::{GroupLine, Snapshot, TopicLine};
use crate::limits::{GROUP_NAME_SHOWN_BYTES_MAX, METRICS_GROUPS_MAX, METRICS_TOPICS_MAX};

const BUILD_INFO: Family =
    Family::gauge("tidings_build_info", "The version in its label.", &["version"]);
const TOPIC_RECORDS: Family =
    Family::gauge("tidings_topic_records", "Records a topic holds.", &["topic"]);
const TOPIC_SIZE: Family =
    Family::gauge("tidings_topic_size_bytes", "Bytes a topic holds on disk.", &["topic"]);
const TOPIC_RATE: Family = Family::gauge(
    "tidings_topic_records_per_second",
    "Records a topic has gained per second, lately.",
    &["topic"],
);
const GROUP_LAG: Family = Family::gauge(
    "tidings_group_lag_records",
    "Records a consumer group has still to process.",
    &["group"],
);
const GROUP_MEMBERS: Family =
    Family::gauge("tidings_group_members", "Members of a consumer group.", &["group"]);
const GROUP_STUCK: Family = Family::gauge(
    "tidings_group_stuck",
    "1 for a consumer group that is behind and commits nothing.",
    &["group"],
);
const ALL_RATE: Family = Family::gauge(
    "tidings_topics_records_per_second",
    "Records that all topics together have gained per second, lately.",
    &[],
);
const ALL_LAG: Family = Family::gauge(
    "tidings_groups_lag_records",
    "Records that all consumer groups together have still to process.",
    &[],
);
const ALL_STUCK: Family = Family::gauge(
    "tidings_groups_stuck",
    "Consumer groups that are behind and commit nothing.",
    &[],
);
const LEFT_OUT: Family = Family::gauge(
    "tidings_metrics_left_out",
    "Topics and groups that have no series of their own here, as there are too many.",
    &["what"],
);
const DEAD_LETTERS: Family =
    Family::gauge("tidings_dead_letters", "Dead letters in all dead-letter topics.", &[]);

/// What the gateway itself says at `/metrics`, in the order in which it says it. What the binary hands in and what
/// services report comes after it.
pub static METRICS: [Family; 12] = [
    BUILD_INFO,
    TOPIC_RECORDS,
    TOPIC_SIZE,
    TOPIC_RATE,
    GROUP_LAG,
    GROUP_MEMBERS,
    GROUP_STUCK,
    ALL_RATE,
    ALL_LAG,
    ALL_STUCK,
    LEFT_OUT,
    DEAD_LETTERS,
];

/// Ready as long as the engine answers.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.frame().fresh {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n")
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text(&shared))
}

fn text(shared: &Shared) -> String {
    let frame = shared.frame();
    let mut text = Exposition::default();
    text.figures(&of_snapshot(&frame.snapshot, shared.options.version));
    text.figures(&shared.options.figures.read());
    text.text() + &services::exposition(&frame.snapshot.services)
}

/// What `/metrics` of a console says, for who sends it elsewhere.
#[derive(Clone, Debug)]
pub struct MetricsText(pub(super) Arc<Shared>);

impl MetricsText {
    /// As it is now, in Prometheus' text format.
    pub fn read(&self) -> String {
        text(&self.0)
    }
}

fn of_snapshot(snapshot: &Snapshot, version: &str) -> Vec<Figure> {
    let [
        build,
        records,
        size,
        rate,
        lag,
        members,
        stuck,
        all_rate,
        all_lag,
        all_stuck,
        left_out,
        dead,
    ] = &METRICS;
    let (named_topics, named_groups) =
        (named_topics(&snapshot.topics), named_groups(&snapshot.groups));
    let topics = |family: &'static Family, read: fn(&TopicLine) -> Option<f64>| {
        let figure = move |topic: &&TopicLine| {
            Some(Figure { family, labels: vec![topic.name.clone()], value: read(topic)? })
        };
        named_topics.iter().filter_map(figure)
    };
    let groups = |family: &'static Family, read: fn(&GroupLine) -> f64| {
        let figure = move |group: &&GroupLine| Figure {
            family,
            labels: vec![group.name.clone()],
            value: read(group),
        };
        named_groups.iter().map(figure)
    };
    let mut figures = vec![Figure { family: build, labels: vec![version.to_owned()], value: 1.0 }];
    figures.extend(topics(records, |topic| Some(topic.records.0 as f64)));
    figures.extend(topics(size, |topic| Some(topic.bytes?.0 as f64)));
    figures.extend(topics(rate, |topic| Some(topic.records_per_second.0)));
    figures.extend(groups(lag, |group| group.lag.0 as f64));
    figures.extend(groups(members, |group| group.members.0 as f64));
    figures.extend(groups(stuck, |group| f64::from(u8::from(group.stuck))));
    figures.push(all_rate.is(snapshot.topics.iter().map(|topic| topic.records_per_second.0).sum()));
    figures.push(all_lag.is(snapshot.groups.iter().map(|group| group.lag.0 as f64).sum()));
    figures.push(all_stuck.is(snapshot.groups.iter().filter(|group| group.stuck).count() as f64));
    for (what, all, named) in [
        ("topics", snapshot.topics.len(), named_topics.len()),
        ("groups", snapshot.groups.len(), named_groups.len()),
    ] {
        let value = (all - named) as f64;
        figures.push(Figure { family: left_out, labels: vec![what.to_owned()], value });
    }
    figures.push(dead.is(snapshot.dead.total.0 as f64));
    figures
}

/// The largest, by orders of magnitude.
fn named_topics(topics: &[TopicLine]) -> Vec<&TopicLine> {
    let largest = |topic: &TopicLine| Reverse(digits(topic.records.0));
    first_by(topics.iter().collect(), METRICS_TOPICS_MAX, largest)
}

/// Those with something wrong, then those furthest behind, by orders of magnitude.
fn named_groups(groups: &[GroupLine]) -> Vec<&GroupLine> {
    let worst = |group: &GroupLine| {
        (group.severity().is_none(), group.severity(), Reverse(digits(group.lag.0)))
    };
    let short = groups.iter().filter(|group| group.name.len() <= GROUP_NAME_SHOWN_BYTES_MAX);
    first_by(short.collect(), METRICS_GROUPS_MAX, worst)
}

/// So many, in the order that they have; of more, those that come first by a key, then by the order that they have.
fn first_by<T, K: Ord>(mut all: Vec<&T>, most: usize, key: impl Fn(&T) -> K) -> Vec<&T> {
    if all.len() > most {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_cached_key(|at| (key(all[*at]), *at));
        order.truncate(most);
        order.sort_unstable();
        all = order.into_iter().map(|at| all[at]).collect();
    }
    all
}

fn digits(number: i64) -> u32 {
    number.checked_ilog10().map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Count, Rate};

    fn group(name: &str, lag: i64, members: i64, stuck: bool) -> GroupLine {
        let (lag, members) = (Count(lag), Count(members));
        GroupLine { lag, members, stuck, ..GroupLine::unseen(name) }
    }

    fn names(named: &[&GroupLine]) -> Vec<String> {
        named.iter().map(|group| group.name.clone()).collect()
    }

    #[test]
    fn groups_that_an_alert_is_about_are_named_whatever_their_number() {
        let mut groups: Vec<GroupLine> =
            (0..METRICS_GROUPS_MAX).map(|n| group(&format!("a{n:05}"), 7, 1, false)).collect();
        assert_eq!(named_groups(&groups).len(), METRICS_GROUPS_MAX);
        groups.push(group("behind", 2_000, 1, false));
        groups.push(group("empty", 1, 0, false));
        groups.push(group("idle", 0, 1, false));
        groups.push(group("stuck", 5, 1, true));
        groups.push(group(&"x".repeat(GROUP_NAME_SHOWN_BYTES_MAX + 1), 1, 1, true));
        let named = names(&named_groups(&groups));
        assert_eq!(named.len(), METRICS_GROUPS_MAX);
        assert_eq!(named[METRICS_GROUPS_MAX - 3..], ["behind", "empty", "stuck"]);
        // A few records more or less change nothing.
        groups[9].lag = Count(9);
        groups[METRICS_GROUPS_MAX - 1].lag = Count(1);
        assert_eq!(names(&named_groups(&groups)), named);
    }

    #[test]
    fn sums_are_of_all_and_what_has_no_series_is_counted() {
        let groups = (0..METRICS_GROUPS_MAX + 5).map(|n| group(&format!("g{n:05}"), 2, 1, true));
        let topic = |n: usize| TopicLine {
            records: Count(i64::from(n == 0)),
            records_per_second: Rate(0.5),
            name: format!("t{n:05}"),
            ..TopicLine::default()
        };
        let snapshot = Snapshot {
            groups: groups.collect(),
            topics: (0..METRICS_TOPICS_MAX + 1).rev().map(topic).collect(),
            ..Snapshot::default()
        };
        let figures = of_snapshot(&snapshot, "1");
        let of = |family: &Family| {
            let of = figures.iter().filter(|figure| figure.family == family);
            of.map(|figure| figure.value).collect::<Vec<_>>()
        };
        assert_eq!(of(&GROUP_LAG).len(), METRICS_GROUPS_MAX);
        assert_eq!(of(&TOPIC_RECORDS).iter().sum::<f64>(), 1.0, "the largest is named");
        assert_eq!(of(&ALL_STUCK), [(METRICS_GROUPS_MAX + 5) as f64]);
        assert_eq!(of(&ALL_LAG), [(METRICS_GROUPS_MAX + 5) as f64 * 2.0]);
        assert_eq!(of(&ALL_RATE), [(METRICS_TOPICS_MAX + 1) as f64 * 0.5]);
        assert_eq!(of(&LEFT_OUT), [1.0, 5.0]);
    }
}
