//! Figures of the node and its server, for `/metrics`.

use tidings_gateway::{Figure, FigureKind};
use tidings_node::Node;
use tidings_server::Server;

pub(super) fn read(node: &Node, server: Option<&Server>) -> Vec<Figure> {
    let counter = |name, help, value| figure(name, help, FigureKind::Counter, value);
    let gauge = |name, help, value| figure(name, help, FigureKind::Gauge, value);
    let of_node = node.figures();
    let mut figures = vec![
        counter("tidings_node_requests_total", "Requests the node has taken.", of_node.requests),
        counter(
            "tidings_node_produced_bytes_total",
            "Bytes of batches that were appended.",
            of_node.produced_bytes,
        ),
        counter(
            "tidings_node_fetched_bytes_total",
            "Bytes of batches that were read.",
            of_node.fetched_bytes,
        ),
        counter(
            "tidings_node_journal_writes_total",
            "Durable writes of the journal.",
            of_node.journal_writes,
        ),
        counter(
            "tidings_node_damaged_total",
            "Ranges of offsets that were found damaged; the log names them.",
            of_node.damaged,
        ),
        gauge(
            "tidings_node_unflushed_bytes",
            "Bytes accepted and not yet in segments.",
            of_node.unflushed_bytes,
        ),
        gauge("tidings_node_free_bytes", "Free bytes of the data's disk.", of_node.free_bytes),
    ];
    if let Some(server) = server {
        let of_server = server.figures();
        figures.extend([
            gauge("tidings_kafka_connections", "Connections now.", of_server.connections),
            counter(
                "tidings_kafka_connections_accepted_total",
                "Connections that were accepted.",
                of_server.connections_accepted,
            ),
            counter(
                "tidings_kafka_connections_refused_total",
                "Connections closed at once because a limit was reached.",
                of_server.connections_refused,
            ),
            counter("tidings_kafka_requests_total", "Requests on the wire.", of_server.requests),
            counter(
                "tidings_kafka_frames_refused_total",
                "Frames that were too long or malformed.",
                of_server.frames_refused,
            ),
        ]);
    }
    figures
}

fn figure(name: &'static str, help: &'static str, kind: FigureKind, value: u64) -> Figure {
    Figure { name, help, kind, labels: Vec::new(), value: value as f64 }
}
