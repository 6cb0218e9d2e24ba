//! The metrics that `/metrics` has, and what is worth waking somebody for.
//!
//! The gateway says those of topics, groups and dead letters, [`crate::up`] those of the node and its listener; a
//! test holds what is generated against a running node.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) title: &'static str,
    /// In Grafana's names.
    pub(super) unit: &'static str,
    /// What tells its series apart.
    pub(super) by: Option<&'static str>,
}

const fn gauge(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, title, unit, by: None }
}

const fn counter(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, title, unit, by: None }
}

const fn of(by: &'static str, metric: Metric) -> Metric {
    Metric { by: Some(by), ..metric }
}

pub(super) const METRICS: &[Metric] = &[
    of("version", gauge("tidings_build_info", "Version", "none")),
    of("topic", gauge("tidings_topic_records", "Records held", "short")),
    of("topic", gauge("tidings_topic_size_bytes", "Bytes held", "bytes")),
    of("topic", gauge("tidings_topic_records_per_second", "Records gained", "cps")),
    of("group", gauge("tidings_group_lag_records", "Records behind", "short")),
    of("group", gauge("tidings_group_members", "Members", "short")),
    of("group", gauge("tidings_group_stuck", "Groups that are stuck", "bool_yes_no")),
    gauge("tidings_dead_letters", "Dead letters", "short"),
    counter("tidings_node_requests_total", "Requests to the node", "reqps"),
    counter("tidings_node_produced_bytes_total", "Bytes produced", "Bps"),
    counter("tidings_node_fetched_bytes_total", "Bytes fetched", "Bps"),
    counter("tidings_node_journal_writes_total", "Durable writes", "iops"),
    counter("tidings_node_damaged_total", "Ranges found damaged", "short"),
    gauge("tidings_node_unflushed_bytes", "Bytes not yet in segments", "bytes"),
    gauge("tidings_node_free_bytes", "Free bytes of the disk", "bytes"),
    gauge("tidings_kafka_connections", "Connections", "short"),
    counter("tidings_kafka_connections_accepted_total", "Connections accepted", "cps"),
    counter("tidings_kafka_connections_refused_total", "Connections refused", "cps"),
    counter("tidings_kafka_requests_total", "Requests on the wire", "reqps"),
    counter("tidings_kafka_frames_refused_total", "Frames refused", "cps"),
];

/// Name, expression, for how long, severity, what it means, what to do.
type Alert = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ALERTS: &[Alert] = &[
    (
        "TidingsDown",
        "up{job=\"tidings\"} == 0",
        "1m",
        "critical",
        "The node does not answer.",
        "`tidings up` on the machine; its log says why it stopped.",
    ),
    (
        "TidingsDamaged",
        "tidings_node_damaged_total > 0",
        "0m",
        "critical",
        "Ranges of offsets are damaged.",
        "`tidings log verify DIR` names them; look at the disk first.",
    ),
    (
        "TidingsDiskFull",
        "tidings_node_free_bytes < 2e9",
        "5m",
        "critical",
        "Less than 2 GB of the disk are free; writes are refused when it is full.",
        "A larger disk, or less retention; `tidings_topic_size_bytes` says which topics are large.",
    ),
    (
        "TidingsDiskFillsUp",
        "predict_linear(tidings_node_free_bytes[6h], 24 * 3600) < 0",
        "30m",
        "warning",
        "At this pace the disk is full within a day.",
        "A larger disk, or less retention.",
    ),
    (
        "TidingsGroupStuck",
        "tidings_group_stuck == 1",
        "5m",
        "critical",
        "Group {{ $labels.group }} is behind and commits nothing.",
        "`tidings group describe {{ $labels.group }}`; its service's log.",
    ),
    (
        "TidingsGroupFallsBehind",
        "tidings_group_lag_records > 1000 and deriv(tidings_group_lag_records[15m]) > 0",
        "30m",
        "warning",
        "Group {{ $labels.group }} is {{ $value }} records behind, and falls further.",
        "More members, up to one for each partition, or faster ones.",
    ),
    (
        "TidingsGroupEmpty",
        "tidings_group_members == 0 and tidings_group_lag_records > 0",
        "15m",
        "warning",
        "Group {{ $labels.group }} has records to read and no members.",
        "Start its service, or `tidings group delete` what nobody runs any more.",
    ),
    (
        "TidingsDeadLetters",
        "delta(tidings_dead_letters[15m]) > 0",
        "0m",
        "warning",
        "Services have given up on events.",
        "`tidings dead list SERVICE` has the causes; redrive when they are gone.",
    ),
    (
        "TidingsConnectionsRefused",
        "rate(tidings_kafka_connections_refused_total[5m]) > 0",
        "10m",
        "warning",
        "Connections are refused because a limit is reached.",
        "Look for a client that opens many; else a larger `--max-connections`.",
    ),
    (
        "TidingsFramesRefused",
        "rate(tidings_kafka_frames_refused_total[5m]) > 0",
        "10m",
        "warning",
        "Something that is no Kafka client talks to the Kafka port.",
        "Look for a scanner, or a client that expects TLS.",
    ),
];

/// Prometheus' own file: where the node is, and where the rules are.
pub(super) fn scrape(target: &str) -> Value {
    json!({
        "rule_files": ["tidings.rules.yml"],
        "scrape_configs": [{
            "job_name": "tidings",
            "metrics_path": "/metrics",
            "scrape_interval": "15s",
            "static_configs": [{ "targets": [target] }],
        }],
    })
}

pub(super) fn rules() -> Value {
    let rules = ALERTS.iter().map(|(alert, expr, lasts, severity, means, what_to_do)| {
        json!({
            "alert": alert,
            "annotations": { "summary": means, "description": what_to_do },
            "expr": expr,
            "for": lasts,
            "labels": { "severity": severity },
        })
    });
    json!({ "groups": [{ "name": "tidings", "rules": rules.collect::<Vec<_>>() }] })
}
