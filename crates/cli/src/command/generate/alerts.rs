//! What is worth telling somebody: alert rules for Prometheus, and where it scrapes.
//!
//! Series of services carry the instance that reported them; `honor_labels` keeps it, and rules add up over it, so they
//! also hold where services are scraped themselves.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Somebody is woken.
    Critical,
    /// Somebody looks today.
    Warning,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

struct Alert {
    name: &'static str,
    expr: &'static str,
    lasts: &'static str,
    severity: Severity,
    means: &'static str,
    what_to_do: &'static str,
}

const ALERTS: &[Alert] = &[
    Alert {
        name: "TidingsDown",
        expr: "up{job=\"tidings\"} == 0",
        lasts: "1m",
        severity: Severity::Critical,
        means: "{{ $labels.instance }} does not answer.",
        what_to_do: "`tidings up` on the machine; its log says why it stopped.",
    },
    Alert {
        name: "TidingsDamaged",
        expr: "tidings_node_damaged_total > 0",
        lasts: "0m",
        severity: Severity::Critical,
        means: "{{ $value }} ranges of offsets are damaged.",
        what_to_do: "`tidings log verify DIR` names them; look at the disk first.",
    },
    Alert {
        name: "TidingsDiskFull",
        expr: "tidings_node_free_bytes < 2e9",
        lasts: "5m",
        severity: Severity::Critical,
        means: "{{ $value | humanize1024 }}B of the disk are free; writes are refused when it is full.",
        what_to_do: "A larger disk, or less retention; `tidings_topic_size_bytes` says which topics are large.",
    },
    Alert {
        name: "TidingsDiskFillsUp",
        expr: "predict_linear(tidings_node_free_bytes[6h], 24 * 3600) < 0",
        lasts: "30m",
        severity: Severity::Warning,
        means: "At this pace the disk is full within a day.",
        what_to_do: "A larger disk, or less retention.",
    },
    Alert {
        name: "TidingsGroupStuck",
        expr: "tidings_group_stuck == 1",
        lasts: "5m",
        severity: Severity::Critical,
        means: "Group {{ $labels.group }} is behind and commits nothing.",
        what_to_do: "`tidings group describe {{ $labels.group }}`; its service's log.",
    },
    Alert {
        name: "TidingsGroupFallsBehind",
        expr: "tidings_group_lag_records > 1000 and deriv(tidings_group_lag_records[15m]) > 0",
        lasts: "30m",
        severity: Severity::Warning,
        means: "Group {{ $labels.group }} is {{ $value }} records behind, and falls further.",
        what_to_do: "More members, up to one for each partition, or faster ones.",
    },
    Alert {
        name: "TidingsGroupEmpty",
        expr: "tidings_group_members == 0 and tidings_group_lag_records > 0",
        lasts: "15m",
        severity: Severity::Warning,
        means: "Group {{ $labels.group }} has records to read and no members.",
        what_to_do: "Start its service, or `tidings group delete` what nobody runs any more.",
    },
    Alert {
        name: "TidingsServiceOutage",
        expr: "max by (service) (tidings_service_breaker_open) == 1",
        lasts: "5m",
        severity: Severity::Critical,
        means: "Service {{ $labels.service }} takes a dependency for down, and handles nothing.",
        what_to_do: "`/api/services` has the cause; when the dependency is back, the service goes on by itself.",
    },
    Alert {
        name: "TidingsServiceBehind",
        expr: "max by (service) (tidings_service_lag_seconds) > 300",
        lasts: "10m",
        severity: Severity::Warning,
        means: "The oldest event that {{ $labels.service }} has not done is {{ $value | humanizeDuration }} old.",
        what_to_do: "An event that fails again and again (`tidings_service_failed_total`), or too few instances.",
    },
    Alert {
        name: "TidingsServiceDeadKeys",
        expr: "sum by (service) (tidings_service_dead_keys) > 0",
        lasts: "5m",
        severity: Severity::Warning,
        means: "{{ $value }} keys of {{ $labels.service }} wait for a person, with all that follows them.",
        what_to_do: "`tidings dead list {{ $labels.service }}` has the causes; redrive when they are gone.",
    },
    Alert {
        name: "TidingsServicePanics",
        expr: "sum by (service, handler) (increase(tidings_service_panics_total[15m])) > 0",
        lasts: "0m",
        severity: Severity::Warning,
        means: "Handler {{ $labels.handler }} of {{ $labels.service }} panics.",
        what_to_do: "The service's log has the message; it is a bug.",
    },
    Alert {
        name: "TidingsServiceTurnedAway",
        expr: "sum by (service, handler) (rate(tidings_service_turned_away_total[10m])) > 0",
        lasts: "30m",
        severity: Severity::Warning,
        means: "Handler {{ $labels.handler }} of {{ $labels.service }} waits for turns at a limited dependency.",
        what_to_do: "The limits of the dependency are less than the load: raise them if it bears that.",
    },
    Alert {
        name: "TidingsServiceRejoins",
        expr: "sum by (service) (increase(tidings_service_rejoined_total[30m])) > 3",
        lasts: "0m",
        severity: Severity::Warning,
        means: "{{ $labels.service }} keeps losing its engine or its membership.",
        what_to_do: "The service's log, the brokers, and the network between them.",
    },
    Alert {
        name: "TidingsDeadLetters",
        expr: "delta(tidings_dead_letters[15m]) > 0",
        lasts: "0m",
        severity: Severity::Warning,
        means: "Services have given up on events.",
        what_to_do: "`tidings dead list SERVICE` has the causes; redrive when they are gone.",
    },
    Alert {
        name: "TidingsConnectionsRefused",
        expr: "rate(tidings_kafka_connections_refused_total[5m]) > 0",
        lasts: "10m",
        severity: Severity::Warning,
        means: "Connections are refused because a limit is reached.",
        what_to_do: "Look for a client that opens many; else a larger `--max-connections`.",
    },
    Alert {
        name: "TidingsFramesRefused",
        expr: "rate(tidings_kafka_frames_refused_total[5m]) > 0",
        lasts: "10m",
        severity: Severity::Warning,
        means: "Something that is no Kafka client talks to the Kafka port.",
        what_to_do: "Look for a scanner, or a client that expects TLS.",
    },
];

/// Prometheus' own file: where the node is, and where the rules are.
pub(super) fn scrape(target: &str, credentials: Option<(&str, Value)>) -> Value {
    let mut job = json!({
        "job_name": "tidings",
        "metrics_path": "/metrics",
        "scrape_interval": "15s",
        "honor_labels": true,
        "static_configs": [{ "targets": [target] }],
    });
    if let Some((field, said)) = credentials {
        job[field] = said;
    }
    json!({ "rule_files": ["*.rules.yml"], "scrape_configs": [job] })
}

pub(super) fn rules() -> Value {
    let rules = ALERTS.iter().map(|alert| {
        json!({
            "alert": alert.name,
            "annotations": { "summary": alert.means, "description": alert.what_to_do },
            "expr": alert.expr,
            "for": alert.lasts,
            "labels": { "severity": alert.severity.name() },
        })
    });
    json!({ "groups": [{ "name": "tidings", "rules": rules.collect::<Vec<_>>() }] })
}
