//! Limits of the exporter, with what each protects.

use std::time::Duration;

/// Spans that wait for a collector; more are dropped. One takes about 2 KiB.
pub const QUEUE_SPANS: usize = 8_192;
/// Spans of one request.
pub const BATCH_SPANS: usize = 512;
/// How long the first span of a batch waits for others.
pub const SPANS_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the metrics, unless `OTEL_METRIC_EXPORT_INTERVAL` says otherwise.
pub const METRICS_EVERY: Duration = Duration::from_secs(60);
/// How long a collector may take to answer, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at one request.
pub const ATTEMPTS: u32 = 5;
/// First and longest pause between two; it doubles.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// See [`PAUSE_FIRST`].
pub const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long the last spans may take when the process stops.
pub const STOP_WITHIN: Duration = Duration::from_secs(3);
/// Characters of a span's attribute; the rest is cut off.
pub const ATTRIBUTE_CHARS_MAX: usize = 1_000;
/// Points of metrics in one request; more are left out.
pub const POINTS_MAX: usize = 20_000;

const _: () = assert!(PAUSE_FIRST.as_millis() <= PAUSE_MAX.as_millis());
const _: () = assert!(BATCH_SPANS <= QUEUE_SPANS);
