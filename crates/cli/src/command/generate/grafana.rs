//! Dashboards for Grafana, one for each who looks: whoever asks whether all is well, whoever is on call, whoever
//! looks for a cause. The data source is Prometheus, and is chosen when a dashboard is imported.

use serde_json::{Value, json};

use super::metrics::{Kind, METRICS, Metric};

/// Of Grafana's grid.
const COLUMNS: usize = 24;
const PANEL_HEIGHT: usize = 8;

/// A panel before it has a place: title, expression, legend, unit, kind.
struct Panel {
    title: String,
    expr: String,
    legend: String,
    unit: &'static str,
    /// `stat` or `timeseries`.
    kind: &'static str,
}

fn stat(title: &str, expr: &str, unit: &'static str) -> Panel {
    let (title, expr) = (title.to_owned(), expr.to_owned());
    Panel { title, expr, legend: String::new(), unit, kind: "stat" }
}

fn series(title: &str, expr: &str, legend: &str, unit: &'static str) -> Panel {
    let (title, expr) = (title.to_owned(), expr.to_owned());
    Panel { title, expr, legend: legend.to_owned(), unit, kind: "timeseries" }
}

/// Is all well, in six numbers and two curves.
pub(super) fn executive() -> Value {
    dashboard(
        "Tidings: is all well",
        "tidings-executive",
        3,
        vec![
            stat("Up", "min(up{job=\"tidings\"})", "bool_yes_no"),
            stat("Records a second", "sum(tidings_topic_records_per_second)", "cps"),
            stat("Records held", "sum(tidings_topic_records)", "short"),
            stat("Groups that are stuck", "sum(tidings_group_stuck)", "short"),
            stat("Dead letters", "sum(tidings_dead_letters)", "short"),
            stat("Free disk", "min(tidings_node_free_bytes)", "bytes"),
            series(
                "Records a second",
                "sum(tidings_topic_records_per_second)",
                "all topics",
                "cps",
            ),
            series("Records behind", "sum(tidings_group_lag_records)", "all groups", "short"),
        ],
    )
}

/// What hurts, the worst first, by name.
pub(super) fn on_call() -> Value {
    dashboard(
        "Tidings: on call",
        "tidings-on-call",
        2,
        vec![
            series("Groups that are stuck", "tidings_group_stuck == 1", "{{group}}", "short"),
            series("Records behind", "topk(10, tidings_group_lag_records)", "{{group}}", "short"),
            series(
                "Records behind, gained a second",
                "topk(10, deriv(tidings_group_lag_records[10m]))",
                "{{group}}",
                "cps",
            ),
            series("Members", "tidings_group_members", "{{group}}", "short"),
            series("Dead letters", "tidings_dead_letters", "all topics", "short"),
            series("Ranges found damaged", "tidings_node_damaged_total", "node", "short"),
            series("Free disk", "tidings_node_free_bytes", "node", "bytes"),
            series(
                "Connections refused",
                "rate(tidings_kafka_connections_refused_total[5m])",
                "node",
                "cps",
            ),
        ],
    )
}

/// Every metric there is.
pub(super) fn debug() -> Value {
    let panel = |metric: &Metric| {
        let expr = match metric.kind {
            Kind::Gauge => metric.name.to_owned(),
            Kind::Counter => format!("rate({}[5m])", metric.name),
        };
        let legend = metric.by.map_or_else(|| "node".to_owned(), |by| format!("{{{{{by}}}}}"));
        series(metric.title, &expr, &legend, metric.unit)
    };
    dashboard("Tidings: every metric", "tidings-debug", 2, METRICS.iter().map(panel).collect())
}

/// `across` panels stand in a row.
fn dashboard(title: &str, uid: &str, across: usize, panels: Vec<Panel>) -> Value {
    let width = COLUMNS / across;
    let placed = panels.into_iter().enumerate().map(|(at, panel)| {
        json!({
            "id": at + 1,
            "title": panel.title,
            "type": panel.kind,
            "datasource": { "type": "prometheus", "uid": "${datasource}" },
            "gridPos": {
                "h": PANEL_HEIGHT,
                "w": width,
                "x": at % across * width,
                "y": at / across * PANEL_HEIGHT,
            },
            "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
            "targets": [{ "refId": "A", "expr": panel.expr, "legendFormat": panel.legend }],
        })
    });
    json!({
        "uid": uid,
        "title": title,
        "tags": ["tidings"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [{
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        }] },
        "panels": placed.collect::<Vec<_>>(),
    })
}
