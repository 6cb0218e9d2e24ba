//! Dashboards for Grafana, one for each who looks: whoever asks whether all is well, whoever is on call, whoever
//! looks for a cause. The data source is Prometheus, and is chosen when a dashboard is imported.
//!
//! Series that could be many are the highest [`SERIES`]; services, groups and topics are chosen at the head of the
//! dashboards that are for looking closer.

use serde_json::{Value, json};

use super::metrics::{Kind, Metric, Of, metrics};

/// Of Grafana's grid.
const COLUMNS: usize = 24;
const PANEL_HEIGHT: usize = 8;
const STAT_HEIGHT: usize = 4;
/// Series in one panel.
const SERIES: usize = 20;

/// A panel before it has a place.
struct Panel {
    title: String,
    description: String,
    /// Expressions, each with its legend.
    queries: Vec<(String, String)>,
    unit: &'static str,
    look: Look,
    width: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// A number; red from this value on, if one is said.
    Stat(Option<&'static str>),
    /// A number; red below this value.
    Floor(&'static str),
    Series,
    /// What is there now, a row each.
    Table,
    /// A heading over what follows.
    Row,
}

fn stat(title: &str, expr: &str, unit: &'static str, red: Option<&'static str>) -> Panel {
    let queries = vec![(expr.to_owned(), String::new())];
    let (title, description) = (title.to_owned(), String::new());
    Panel { title, description, queries, unit, look: Look::Stat(red), width: 4 }
}

fn series(title: &str, expr: &str, legend: &str, unit: &'static str) -> Panel {
    let queries = vec![(expr.to_owned(), legend.to_owned())];
    let (title, description) = (title.to_owned(), String::new());
    Panel { title, description, queries, unit, look: Look::Series, width: 12 }
}

fn row(title: &str) -> Panel {
    let (title, description) = (title.to_owned(), String::new());
    Panel { title, description, queries: Vec::new(), unit: "none", look: Look::Row, width: COLUMNS }
}

impl Panel {
    fn says(self, description: &str) -> Self {
        Self { description: description.to_owned(), ..self }
    }

    fn wide(self, width: usize) -> Self {
        Self { width, ..self }
    }

    fn and(mut self, expr: &str, legend: &str) -> Self {
        self.queries.push((expr.to_owned(), legend.to_owned()));
        self
    }

    fn height(&self) -> usize {
        match self.look {
            Look::Stat(_) | Look::Floor(_) => STAT_HEIGHT,
            Look::Series | Look::Table => PANEL_HEIGHT,
            Look::Row => 1,
        }
    }
}

/// Is all well, in a row of numbers and four curves.
pub(super) fn executive() -> Value {
    let free = stat("Free disk", "min(tidings_node_free_bytes)", "bytes", None);
    dashboard(
        "Tidings: is all well",
        "tidings-executive",
        &[],
        &[
            Panel {
                look: Look::Floor("1"),
                ..stat("Up", "min(up{job=\"tidings\"})", "bool_yes_no", None)
            },
            stat(
                "Alerts",
                "count(ALERTS{alertstate=\"firing\", alertname=~\"Tidings.*\"}) or vector(0)",
                "short",
                Some("1"),
            )
            .says("Rules of `tidings generate prometheus` that fire now."),
            stat("Groups that are stuck", "sum(tidings_groups_stuck)", "short", Some("1")),
            stat(
                "Services in an outage",
                "sum(max by (service) (tidings_service_breaker_open)) or vector(0)",
                "short",
                Some("1"),
            ),
            stat("Dead letters", "sum(tidings_dead_letters)", "short", Some("1")),
            Panel { look: Look::Floor("2e9"), ..free },
            series(
                "Records a second",
                "sum(tidings_topics_records_per_second)",
                "all topics",
                "cps",
            ),
            series(
                "Events handled a second",
                "sum by (service) (rate(tidings_service_processed_total[5m]))",
                "{{service}}",
                "cps",
            ),
            series(
                "From happening to done, 99 of 100 within",
                "histogram_quantile(0.99, sum by (service, le) (rate(tidings_service_end_to_end_seconds_bucket[5m])))",
                "{{service}}",
                "s",
            ),
            series("Records behind", "sum(tidings_groups_lag_records)", "all groups", "short"),
        ],
    )
}

/// What hurts, the worst first, by name.
pub(super) fn on_call() -> Value {
    let firing = "ALERTS{alertstate=\"firing\", alertname=~\"Tidings.*\"}";
    let alerts = series("What fires", firing, "", "short").wide(COLUMNS);
    dashboard(
        "Tidings: on call",
        "tidings-on-call",
        &[("service", "tidings_service_processed_total")],
        &[
            Panel { look: Look::Table, ..alerts },
            row("Services"),
            series("Outages", "max by (service) (tidings_service_breaker_open{service=~\"$service\"})", "{{service}}", "bool_yes_no")
                .says("1 while a service takes its failures for those of a dependency."),
            series("Keys that wait for a person", "sum by (service) (tidings_service_dead_keys{service=~\"$service\"})", "{{service}}", "short")
                .and("sum by (service) (tidings_service_parked{service=~\"$service\"})", "{{service}}: events put aside"),
            series("Age of the oldest event not done", "max by (service) (tidings_service_lag_seconds{service=~\"$service\"})", "{{service}}", "s"),
            series(
                "Failures, by handler",
                "topk(20, sum by (service, handler) (rate(tidings_service_failed_total{service=~\"$service\"}[5m])))",
                "{{service}} {{handler}}",
                "cps",
            )
            .and(
                "topk(20, sum by (service, handler) (rate(tidings_service_rejected_total{service=~\"$service\"}[5m])))",
                "{{service}} {{handler}}: rejected",
            ),
            row("Groups"),
            series("Groups that are stuck", "tidings_group_stuck == 1", "{{group}}", "short"),
            series("Records behind", "topk(20, tidings_group_lag_records)", "{{group}}", "short"),
            series("Records behind, gained a second", "topk(20, deriv(tidings_group_lag_records[10m]))", "{{group}}", "cps"),
            series("Members", "topk(20, tidings_group_members)", "{{group}}", "short"),
            row("Node"),
            series("Dead letters", "tidings_dead_letters", "all topics", "short"),
            series("Free disk", "tidings_node_free_bytes", "node", "bytes"),
            series("Ranges found damaged", "tidings_node_damaged_total", "node", "short"),
            series("Refused a second", "rate(tidings_kafka_connections_refused_total[5m])", "connections", "cps")
                .and("rate(tidings_kafka_frames_refused_total[5m])", "frames"),
        ],
    )
}

/// Every metric there is.
pub(super) fn debug() -> Value {
    let mut panels = Vec::new();
    let mut last = None;
    for metric in metrics() {
        let of = metric.of();
        if last != Some(of) {
            last = Some(of);
            panels.push(row(match of {
                Of::Services => "Services",
                Of::Groups => "Groups",
                Of::Topics => "Topics",
                Of::Node => "Node",
            }));
        }
        panels.push(of_metric(&metric));
    }
    let choices = [
        ("service", "tidings_service_processed_total"),
        ("group", "tidings_group_lag_records"),
        ("topic", "tidings_topic_records"),
    ];
    dashboard("Tidings: every metric", "tidings-debug", &choices, &panels)
}

fn of_metric(metric: &Metric) -> Panel {
    let Metric { name, help, labels, .. } = metric;
    let chosen =
        labels.iter().filter(|label| ["service", "group", "topic"].contains(&label.as_str()));
    let chosen =
        chosen.map(|label| format!("{label}=~\"${label}\"")).collect::<Vec<_>>().join(", ");
    let chosen = if chosen.is_empty() { String::new() } else { format!("{{{chosen}}}") };
    let by = labels.join(", ");
    let legend =
        labels.iter().map(|label| format!("{{{{{label}}}}}")).collect::<Vec<_>>().join(" ");
    let legend = if legend.is_empty() { "node".to_owned() } else { legend };
    let quantile = |q: &str| {
        format!(
            "topk({SERIES}, histogram_quantile({q}, sum by ({by}, le) (rate({name}_bucket{chosen}[5m]))))"
        )
    };
    let panel = match metric.kind {
        Kind::Gauge => {
            series(name, &format!("topk({SERIES}, {name}{chosen})"), &legend, metric.unit())
        }
        Kind::Counter => {
            let expr = format!("topk({SERIES}, sum by ({by}) (rate({name}{chosen}[5m])))");
            series(name, &expr, &legend, metric.unit())
        }
        Kind::Histogram => {
            series(name, &quantile("0.5"), &format!("{legend}: half"), metric.unit())
                .and(&quantile("0.99"), &format!("{legend}: 99 of 100"))
        }
    };
    panel.says(help)
}

/// `choices` are labels that are chosen at its head, each with a metric that has all their values.
fn dashboard(title: &str, uid: &str, choices: &[(&str, &str)], panels: &[Panel]) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let (mut x, mut y, mut line) = (0, 0, 0);
    let mut placed = Vec::new();
    for (at, panel) in panels.iter().enumerate() {
        if x + panel.width > COLUMNS {
            (x, y, line) = (0, y + line, 0);
        }
        placed.push(json_of(panel, at + 1, (x, y), &source));
        (x, line) = (x + panel.width, line.max(panel.height()));
    }
    let mut variables = vec![json!({
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    })];
    variables.extend(choices.iter().map(|(label, metric)| {
        json!({
            "name": label,
            "type": "query",
            "datasource": source,
            "query": { "query": format!("label_values({metric}, {label})"), "refId": label },
            "refresh": 2,
            "sort": 1,
            "multi": true,
            "includeAll": true,
            "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
        })
    }));
    json!({
        "uid": uid,
        "title": title,
        "tags": ["tidings"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": variables },
        "panels": placed,
    })
}

fn json_of(panel: &Panel, id: usize, (x, y): (usize, usize), source: &Value) -> Value {
    let place = json!({ "h": panel.height(), "w": panel.width, "x": x, "y": y });
    let (kind, instant) = match panel.look {
        Look::Stat(_) | Look::Floor(_) => ("stat", false),
        Look::Series => ("timeseries", false),
        Look::Table => ("table", true),
        Look::Row => {
            return json!({
                "id": id,
                "title": panel.title,
                "type": "row",
                "collapsed": false,
                "gridPos": place,
                "panels": [],
            });
        }
    };
    let queries = panel.queries.iter().zip('A'..).map(|((expr, legend), name)| {
        let mut query = json!({ "refId": name, "expr": expr, "legendFormat": legend });
        if instant {
            (query["instant"], query["format"]) = (json!(true), json!("table"));
        }
        query
    });
    let number = |said: &str| said.parse::<f64>().unwrap_or_default();
    let steps = match panel.look {
        Look::Stat(Some(red)) => json!([
            { "color": "green", "value": null }, { "color": "red", "value": number(red) },
        ]),
        Look::Floor(least) => json!([
            { "color": "red", "value": null }, { "color": "green", "value": number(least) },
        ]),
        _ => json!([{ "color": "green", "value": null }]),
    };
    let thresholds = json!({ "mode": "absolute", "steps": steps });
    json!({
        "id": id,
        "title": panel.title,
        "description": panel.description,
        "type": kind,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {
            "defaults": { "unit": panel.unit, "thresholds": thresholds },
            "overrides": [],
        },
        "targets": queries.collect::<Vec<_>>(),
    })
}
