//! `/metrics` in Prometheus' text format, and `/readyz`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::Shared;
use super::figure::{Figure, FigureKind};
use super::services;
use super::snapshot::Snapshot;

/// Ready as long as the engine answers.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.frame().fresh {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n")
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut figures = of_snapshot(&shared.frame().snapshot, shared.options.version);
    figures.extend(shared.options.figures.read());
    let text = exposition(&figures) + &services::exposition(&shared.frame().snapshot.services);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn of_snapshot(snapshot: &Snapshot, version: &str) -> Vec<Figure> {
    let gauge =
        |name, help, labels, value| Figure { name, help, kind: FigureKind::Gauge, labels, value };
    let topics = || snapshot.topics.iter();
    let groups = || snapshot.groups.iter();
    let of_topic = |name: &String| vec![("topic", name.clone())];
    let of_group = |name: &String| vec![("group", name.clone())];
    let build = vec![("version", version.to_owned())];
    let mut figures = vec![gauge("tidings_build_info", "The version in its label.", build, 1.0)];
    figures.extend(topics().map(|t| {
        let help = "Records a topic holds.";
        gauge("tidings_topic_records", help, of_topic(&t.name), t.records.0 as f64)
    }));
    figures.extend(topics().filter_map(|t| {
        let help = "Bytes a topic holds on disk.";
        Some(gauge("tidings_topic_size_bytes", help, of_topic(&t.name), t.bytes?.0 as f64))
    }));
    figures.extend(topics().map(|t| {
        let help = "Records a topic has gained per second, lately.";
        gauge("tidings_topic_records_per_second", help, of_topic(&t.name), t.records_per_second.0)
    }));
    figures.extend(groups().map(|g| {
        let help = "Records a consumer group has still to process.";
        gauge("tidings_group_lag_records", help, of_group(&g.name), g.lag.0 as f64)
    }));
    figures.extend(groups().map(|g| {
        let help = "Members of a consumer group.";
        gauge("tidings_group_members", help, of_group(&g.name), g.members.0 as f64)
    }));
    figures.extend(groups().map(|g| {
        let help = "1 for a consumer group that is behind and commits nothing.";
        gauge("tidings_group_stuck", help, of_group(&g.name), f64::from(u8::from(g.stuck)))
    }));
    let help = "Dead letters in all dead-letter topics.";
    figures.push(gauge("tidings_dead_letters", help, vec![], snapshot.dead.total.0 as f64));
    figures
}

/// One `HELP` and `TYPE` for each run of figures with the same name.
fn exposition(figures: &[Figure]) -> String {
    let mut out = String::new();
    let mut previous = "";
    for figure in figures {
        let Figure { name, help, kind, labels, value } = figure;
        if *name != previous {
            let kind = match kind {
                FigureKind::Counter => "counter",
                FigureKind::Gauge => "gauge",
            };
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
                .expect("writing to a string");
            previous = name;
        }
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(out, "{name}{labels} {value}").expect("writing to a string");
    }
    out
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let figure =
            |name, kind, labels, value| Figure { name, help: "Help.", kind, labels, value };
        let text = exposition(&[
            figure("tidings_a_total", FigureKind::Counter, vec![], 3.0),
            figure("tidings_b", FigureKind::Gauge, vec![("group", "x\"\\\n".into())], 0.5),
            figure("tidings_b", FigureKind::Gauge, vec![("group", "y".into())], 2.0),
        ]);
        let wanted = "# HELP tidings_a_total Help.\n# TYPE tidings_a_total counter\ntidings_a_total 3\n\
                      # HELP tidings_b Help.\n# TYPE tidings_b gauge\ntidings_b{group=\"x\\\"\\\\\\n\"} 0.5\n\
                      tidings_b{group=\"y\"} 2\n";
        assert_eq!(text, wanted);
    }
}
