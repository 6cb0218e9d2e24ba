//! Traces and metrics by OTLP, as a collector receives them.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::{Node, get, up};

/// For whatever is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stand-in: takes whatever is posted, and hands over path and body.
struct Collector {
    address: String,
    received: Receiver<(String, Value)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, received) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                take(socket.unwrap(), &sender);
            }
        });
        Self { address, received }
    }
}

fn take(socket: TcpStream, received: &Sender<(String, Value)>) {
    let mut reader = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let of = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert_eq!(of("content-type"), Some("application/json"));
    assert_eq!(of("x-scope"), Some("shop"), "headers of the environment are sent");
    let length = of("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    // The test may have seen enough.
    let _heard = received.send((path, serde_json::from_slice(&body).unwrap()));
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}";
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
}

/// Every span, by its id, with the service that it is of.
#[derive(Default)]
struct Spans(HashMap<String, (String, Value)>);

impl Spans {
    fn add(&mut self, body: &Value) {
        for resource in body["resourceSpans"].as_array().unwrap() {
            let service = text(&resource["resource"]["attributes"], "service.name").to_owned();
            for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                let id = span["spanId"].as_str().unwrap().to_owned();
                assert_eq!((id.len(), span["traceId"].as_str().unwrap().len()), (16, 32));
                self.0.insert(id, (service.clone(), span.clone()));
            }
        }
    }

    /// The span of this service and name whose parent is this one.
    fn child(&self, of: &Value, service: &str, name: &str) -> Option<&Value> {
        let is_child =
            |span: &Value| span["parentSpanId"] == of["spanId"] && span["traceId"] == of["traceId"];
        let found = self
            .0
            .values()
            .find(|(its, span)| its == service && span["name"] == name && is_child(span));
        found.map(|(_, span)| span)
    }

    /// An order from the till to the parcel, across four services, in one trace.
    fn order(&self) -> Option<[&Value; 5]> {
        let created = |span: &Value| span["name"] == "create shop.orders";
        self.0.values().filter(|(_, span)| created(span)).find_map(|(_, placed)| {
            let charged = self.child(placed, "payment", "process shop.orders")?;
            let paid = self.child(placed, "payment", "create shop.payments")?;
            let reserved = self.child(paid, "inventory", "process shop.payments")?;
            let stock = self.child(paid, "inventory", "create shop.stock")?;
            let shipped = self.child(stock, "shipping", "process shop.stock")?;
            Some([placed, charged, paid, reserved, shipped])
        })
    }
}

fn text<'a>(attributes: &'a Value, name: &str) -> &'a str {
    let found = attributes.as_array().unwrap().iter().find(|one| one["key"] == name);
    found.map_or("", |one| one["value"]["stringValue"].as_str().unwrap())
}

#[test]
fn an_order_is_one_trace_across_services_and_metrics_come_beside_it() {
    let collector = Collector::start();
    let data = tempfile::tempdir().unwrap();
    let mut command = up(data.path());
    command.args(["--demo", "shop", "--otlp-endpoint", &format!("http://{}", collector.address)]);
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "500");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "X-Scope=shop");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let node = Node::spawn(command);

    let mut spans = Spans::default();
    let mut metrics = HashMap::new();
    let begun = Instant::now();
    let is_told = |metrics: &HashMap<String, Value>| {
        [
            "tidings_topic_records",
            "tidings_service_end_to_end_seconds",
            "tidings_node_requests_total",
        ]
        .iter()
        .all(|name| metrics.contains_key(*name))
    };
    while spans.order().is_none() || !is_told(&metrics) {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let (path, body) = collector.received.recv_timeout(left).expect("spans and metrics come");
        match path.as_str() {
            "/v1/traces" => spans.add(&body),
            "/v1/metrics" => {
                let resource = &body["resourceMetrics"][0];
                assert_eq!(text(&resource["resource"]["attributes"], "service.name"), "tidings");
                let listed = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
                let named =
                    listed.iter().map(|m| (m["name"].as_str().unwrap().to_owned(), m.clone()));
                metrics.extend(named);
            }
            other => panic!("{other} is no path of OTLP"),
        }
    }

    let [placed, charged, paid, _, shipped] = spans.order().unwrap();
    assert_eq!((&placed["kind"], &charged["kind"]), (&4.into(), &5.into()), "producer, consumer");
    assert_eq!(charged["links"][0]["spanId"], placed["spanId"], "a consumer links to the creation");
    assert_eq!(charged["links"][0]["traceId"], placed["traceId"]);
    assert_eq!(shipped["traceId"], placed["traceId"]);
    let attributes = &charged["attributes"];
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.destination.name", "shop.orders"),
        ("messaging.consumer.group.name", "payment"),
    ] {
        assert_eq!(text(attributes, name), value);
    }
    assert_eq!(
        text(attributes, "messaging.message.id"),
        text(&placed["attributes"], "messaging.message.id")
    );
    assert_eq!(text(&paid["attributes"], "cloudevents.event_source"), "payment");
    let ns = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(ns(charged, "startTimeUnixNano") <= ns(charged, "endTimeUnixNano"));

    let gauge = &metrics["tidings_topic_records"]["gauge"]["dataPoints"];
    let topics = gauge.as_array().unwrap().iter().map(|point| text(&point["attributes"], "topic"));
    assert!(topics.into_iter().any(|topic| topic == "shop.orders"), "{gauge}");
    let sum = &metrics["tidings_node_requests_total"]["sum"];
    assert_eq!((&sum["isMonotonic"], &sum["aggregationTemporality"]), (&true.into(), &2.into()));
    let times = &metrics["tidings_service_end_to_end_seconds"]["histogram"]["dataPoints"][0];
    let buckets = times["bucketCounts"].as_array().unwrap();
    assert_eq!(buckets.len(), times["explicitBounds"].as_array().unwrap().len() + 1);
    let count: u64 = buckets.iter().map(|n| n.as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(times["count"], count.to_string());

    let ended = node.stop();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_collector_that_is_down_holds_nobody_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut command = up(data.path());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{nobody}"));
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "50");
    command.args(["--demo", "shop", "--speed", "max"]);
    let node = Node::spawn(command);
    let http = node.ready["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let begun = Instant::now();
    loop {
        let text = get(&http, "/metrics");
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap().parse::<f64>().unwrap()
        };
        assert_eq!(of("tidings_otlp_spans_sent_total"), 0.0);
        if of("tidings_otlp_failures_total") > 0.0 && of("tidings_otlp_spans_dropped_total") > 0.0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was dropped: {text}");
    }
    let ended = node.stop();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(said.matches("the collector does not take").count(), 1, "it is said once: {said}");
}

#[test]
fn what_is_no_collector_is_refused_before_anything_starts() {
    let data = tempfile::tempdir().unwrap();
    for url in ["https://collector:4318", "collector:4318"] {
        let ended = up(data.path()).args(["--otlp-endpoint", url]).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{url}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("--otlp-endpoint") && said.contains("try:"), "{said}");
    }
}
