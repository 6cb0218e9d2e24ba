//! `/metrics` in Prometheus' text format, and `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::Shared;
use super::exposition::{Exposition, MEDIA_TYPE};
use super::figure::{Family, Figure};
use super::services;
use super::snapshot::{GroupLine, Snapshot, TopicLine};

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
const DEAD_LETTERS: Family =
    Family::gauge("tidings_dead_letters", "Dead letters in all dead-letter topics.", &[]);

/// What the gateway itself says at `/metrics`, in the order in which it says it. What the binary hands in and what
/// services report comes after it.
pub static METRICS: [Family; 8] = [
    BUILD_INFO,
    TOPIC_RECORDS,
    TOPIC_SIZE,
    TOPIC_RATE,
    GROUP_LAG,
    GROUP_MEMBERS,
    GROUP_STUCK,
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
    let [build, records, size, rate, lag, members, stuck, dead] = &METRICS;
    let topics = |family: &'static Family, read: fn(&TopicLine) -> Option<f64>| {
        let figure = move |topic: &TopicLine| {
            Some(Figure { family, labels: vec![topic.name.clone()], value: read(topic)? })
        };
        snapshot.topics.iter().filter_map(figure)
    };
    let groups = |family: &'static Family, read: fn(&GroupLine) -> f64| {
        let figure = move |group: &GroupLine| Figure {
            family,
            labels: vec![group.name.clone()],
            value: read(group),
        };
        snapshot.groups.iter().map(figure)
    };
    let mut figures = vec![Figure { family: build, labels: vec![version.to_owned()], value: 1.0 }];
    figures.extend(topics(records, |topic| Some(topic.records.0 as f64)));
    figures.extend(topics(size, |topic| Some(topic.bytes?.0 as f64)));
    figures.extend(topics(rate, |topic| Some(topic.records_per_second.0)));
    figures.extend(groups(lag, |group| group.lag.0 as f64));
    figures.extend(groups(members, |group| group.members.0 as f64));
    figures.extend(groups(stuck, |group| f64::from(u8::from(group.stuck))));
    figures.push(dead.is(snapshot.dead.total.0 as f64));
    figures
}
