//! OTLP's JSON: field names in lower camel case, ids in hexadecimal, 64-bit integers as text, enums as numbers.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::endpoint::Wanted;
use crate::metrics::{Metric, Points};
use crate::spans::{Span, Value};

const SCOPE: &str = "tidings";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `ExportTraceServiceRequest`: a resource for each service.
pub(crate) fn traces(wanted: &Wanted, spans: &[Span]) -> Json {
    let mut by_service: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for one in spans {
        let service = one.service().unwrap_or(&wanted.service);
        by_service.entry(service).or_default().push(span(one));
    }
    let of_service = |(service, spans): (&str, Vec<Json>)| {
        json!({
            "resource": resource(wanted, service),
            "scopeSpans": [{ "scope": { "name": SCOPE, "version": VERSION }, "spans": spans }],
        })
    };
    json!({ "resourceSpans": by_service.into_iter().map(of_service).collect::<Vec<_>>() })
}

fn resource(wanted: &Wanted, service: &str) -> Json {
    let own = [
        ("service.name", service),
        ("telemetry.sdk.name", SCOPE),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", VERSION),
    ];
    let said = wanted.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = own.into_iter().chain(said);
    let all = all.map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } }));
    json!({ "attributes": all.collect::<Vec<_>>() })
}

fn span(span: &Span) -> Json {
    let id = |id: u64| format!("{id:016x}");
    let trace = format!("{:032x}", span.trace);
    let attributes = span.attributes.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Integer(number) => json!({ "intValue": number.to_string() }),
            Value::Number(number) => json!({ "doubleValue": number }),
            Value::Truth(truth) => json!({ "boolValue": truth }),
        };
        json!({ "key": name, "value": value })
    });
    let mut out = json!({
        "traceId": trace,
        "spanId": id(span.id),
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": span.begun_ns.to_string(),
        "endTimeUnixNano": span.ended_ns.to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = json!(id(parent));
    }
    if let Some(link) = span.link {
        out["links"] = json!([{ "traceId": trace, "spanId": id(link) }]);
    }
    if span.failed {
        out["status"] = json!({ "code": 2 });
    }
    out
}

/// `ExportMetricsServiceRequest`. `begun_ns` is since when sums of this process count.
pub(crate) fn metrics(wanted: &Wanted, metrics: &[Metric<'_>], begun_ns: u64, now_ns: u64) -> Json {
    let metrics: Vec<Json> = metrics.iter().map(|of| metric(of, begun_ns, now_ns)).collect();
    json!({
        "resourceMetrics": [{
            "resource": resource(wanted, &wanted.service),
            "scopeMetrics": [{
                "scope": { "name": SCOPE, "version": VERSION },
                "metrics": metrics,
            }],
        }],
    })
}

/// Cumulative.
const TEMPORALITY: i32 = 2;

fn metric(metric: &Metric<'_>, begun_ns: u64, now_ns: u64) -> Json {
    let Metric { name, help, points } = metric;
    let unit = match name.trim_end_matches("_total") {
        base if base.ends_with("_bytes") => "By",
        base if base.ends_with("_seconds") => "s",
        _ => "1",
    };
    // An instance of a service may have begun long before this process: of its counts it is not known.
    let since = if name.starts_with("tidings_service_") { 0 } else { begun_ns };
    let mut out = json!({ "name": name, "description": help, "unit": unit });
    let point = |labels: &[(&str, String)], is_sum: bool| {
        let attributes = labels
            .iter()
            .map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } }));
        let mut point = json!({
            "attributes": attributes.collect::<Vec<_>>(),
            "timeUnixNano": now_ns.to_string(),
        });
        if is_sum && since > 0 {
            point["startTimeUnixNano"] = json!(since.to_string());
        }
        point
    };
    let numbers = |values: &[(Vec<(&str, String)>, f64)], is_sum: bool| {
        let points = values.iter().map(|(labels, value)| {
            let mut point = point(labels, is_sum);
            point["asDouble"] = json!(value);
            point
        });
        points.collect::<Vec<_>>()
    };
    match points {
        Points::Gauge(values) => out["gauge"] = json!({ "dataPoints": numbers(values, false) }),
        Points::Sum(values) => {
            out["sum"] = json!({
                "aggregationTemporality": TEMPORALITY,
                "isMonotonic": true,
                "dataPoints": numbers(values, true),
            });
        }
        Points::Histogram(histograms) => {
            let points = histograms.iter().map(|histogram| {
                let mut point = point(&histogram.labels, true);
                point["count"] = json!(histogram.counts.iter().sum::<u64>().to_string());
                point["sum"] = json!(histogram.sum);
                let counts = histogram.counts.iter().map(u64::to_string);
                point["bucketCounts"] = json!(counts.collect::<Vec<_>>());
                point["explicitBounds"] = json!(histogram.bounds);
                point
            });
            out["histogram"] = json!({
                "aggregationTemporality": TEMPORALITY,
                "dataPoints": points.collect::<Vec<_>>(),
            });
        }
    }
    out
}
