//! Figures of the node and its server, for `/metrics`.

use tidings_console::{Family, Figure};
use tidings_node::Node;
use tidings_otlp::Counted;
use tidings_server::Server;

/// Of the node, then of its listener, in the order in which they are read.
pub(crate) static METRICS: [Family; 12] = [
    Family::counter("tidings_node_requests_total", "Requests the node has taken.", &[]),
    Family::counter(
        "tidings_node_produced_bytes_total",
        "Bytes of batches that were appended.",
        &[],
    ),
    Family::counter("tidings_node_fetched_bytes_total", "Bytes of batches that were read.", &[]),
    Family::counter("tidings_node_journal_writes_total", "Durable writes of the journal.", &[]),
    Family::counter(
        "tidings_node_damaged_total",
        "Ranges of offsets that were found damaged; the log names them.",
        &[],
    ),
    Family::gauge("tidings_node_unflushed_bytes", "Bytes accepted and not yet in segments.", &[]),
    Family::gauge("tidings_node_free_bytes", "Free bytes of the data's disk.", &[]),
    Family::gauge("tidings_kafka_connections", "Connections now.", &[]),
    Family::counter(
        "tidings_kafka_connections_accepted_total",
        "Connections that were accepted.",
        &[],
    ),
    Family::counter(
        "tidings_kafka_connections_refused_total",
        "Connections closed at once because a limit was reached.",
        &[],
    ),
    Family::counter("tidings_kafka_requests_total", "Requests on the wire.", &[]),
    Family::counter(
        "tidings_kafka_frames_refused_total",
        "Frames that were too long or malformed.",
        &[],
    ),
];

/// Of the exporter of spans, where there is one.
pub(crate) static OTLP: [Family; 3] = [
    Family::counter("tidings_otlp_spans_sent_total", "Spans that a collector has taken.", &[]),
    Family::counter(
        "tidings_otlp_spans_dropped_total",
        "Spans that were lost because the queue was full or the collector did not take them.",
        &[],
    ),
    Family::counter(
        "tidings_otlp_failures_total",
        "Requests to the collector that failed, repeated ones included.",
        &[],
    ),
];

pub(super) fn of_exporter(counted: Counted) -> Vec<Figure> {
    let Counted { sent, dropped, failures } = counted;
    let values = [sent, dropped, failures];
    OTLP.iter().zip(values).map(|(family, value)| family.is(value as f64)).collect()
}

pub(super) fn read(node: &Node, server: Option<&Server>) -> Vec<Figure> {
    let of_node = node.figures();
    let mut values = vec![
        of_node.requests,
        of_node.produced_bytes,
        of_node.fetched_bytes,
        of_node.journal_writes,
        of_node.damaged,
        of_node.unflushed_bytes,
        of_node.free_bytes,
    ];
    if let Some(server) = server {
        let of_server = server.figures();
        values.extend([
            of_server.connections,
            of_server.connections_accepted,
            of_server.connections_refused,
            of_server.requests,
            of_server.frames_refused,
        ]);
    }
    METRICS.iter().zip(values).map(|(family, value)| family.is(value as f64)).collect()
}
