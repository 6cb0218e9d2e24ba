//! Spans and log lines: what of an event is in them, and what never is.
//!
//! In a process of their own and one after another: `tracing` decides once per place in the code whether anybody
//! listens, and a test beside these that does not may decide it at the wrong moment.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{
    Event, Id, Outcome, Outgoing, Publisher, Received, Service, done, outage, reject, retry,
};
use tidings_engine::Engine;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::format::FmtSpan;

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "order")]
struct PaymentCompleted {
    order: String,
    pence: i64,
}

fn order_id(name: &str) -> Id {
    Id::derived(&["order", name])
}

fn placed(name: &str) -> Outgoing {
    Outgoing::new(&OrderPlaced { order: name.into(), pence: 9 }).id(order_id(name))
}

async fn publish(engine: &Engine, event: Outgoing) {
    let till = Publisher::open(engine, "till").await.expect("a publisher");
    till.publish(vec![event]).await.expect("published");
}

/// What was logged, as JSON lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Takes down what this thread logs, and each span at its end.
    fn listen() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("text")
    }

    /// The lines with this message.
    fn with(&self, message: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.filter(|line: &Value| line["fields"]["message"] == message).collect()
    }

    /// Waits until so many spans of this name have ended, but not for ever.
    async fn until(&self, name: &str, spans: usize) -> Vec<Value> {
        let ended = async {
            while self.spans(name).len() < spans {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.spans(name)
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), ended).await;
        waited.unwrap_or_else(|_| panic!("no {spans} spans {name} in {}", self.text()))
    }

    /// The fields of each span of this name, at its end.
    fn spans(&self, name: &str) -> Vec<Value> {
        let spans = self.with("close").into_iter().map(|mut line| line["span"].take());
        spans.filter(|span| span["name"] == name).collect()
    }
}

/// The same word is key and payload.
const SECRET: &str = "4111-1111";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    tracing::info!("charging");
    match event.order.as_str() {
        "rejected" => reject("no"),
        "failing" => retry("not yet"),
        "error" => {
            let _pence: i64 = event.order.parse()?;
            retry("unreachable")
        }
        "panicking" => panic!("a bug"),
        "outage" => outage("down"),
        _ => done(PaymentCompleted { order: event.order.clone(), pence: event.pence }),
    }
}

#[tokio::test]
async fn the_span_of_handling_links_to_the_span_of_writing_and_neither_has_the_payload() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (lines, _listening) = Lines::listen();
    let engine = Engine::in_memory().await.expect("an engine");
    let event = placed(SECRET).traceparent(PARENT).correlation("basket-7");
    publish(&engine, event).await;
    let running = Service::new("payment").on(charge).start(&engine).await.expect("started");
    let written = lines.until("create", 2).await;
    running.stop().await.expect("stopped");
    let processed = lines.spans("process").remove(0);
    let (id, trace) = (order_id(SECRET).to_string(), "0af7651916cd43dd8448eb211c80319c");
    let expected = json!({
        "name": "process",
        "otel.name": "process orders",
        "otel.kind": "consumer",
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": processed["messaging.destination.partition.id"],
        "messaging.consumer.group.name": "payment",
        "messaging.kafka.offset": 0,
        "messaging.message.id": id,
        "messaging.message.conversation_id": "basket-7",
        "messaging.message.body.size": processed["messaging.message.body.size"],
        "cloudevents.event_id": id,
        "cloudevents.event_source": "till",
        "cloudevents.event_type": "OrderPlaced",
        "tidings.kind": "domain",
        "tidings.handler": "charge",
        "tidings.outcome": "done",
        "trace_id": trace,
        "link.span_id": written[0]["span_id"],
    });
    assert_eq!(processed, expected);
    assert_eq!(written[0]["parent_span_id"], "b7ad6b7169203331");
    assert_eq!(written[1]["trace_id"], trace);
    assert_eq!(written[1]["parent_span_id"], written[0]["span_id"], "the input's span");
    assert_eq!(written[1]["tidings.causation_id"], id);
    assert_eq!(written[1]["otel.name"], "create payments");

    let line = lines.with("charging").remove(0);
    assert_eq!(line["span"]["messaging.message.id"], id, "a handler's lines say the event's id");
    assert_eq!(line["span"]["trace_id"], trace);
    let text = lines.text();
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_span_says_how_the_attempt_ended() {
    let _alone = ONE_AT_A_TIME.lock().await;
    for (order, outcome, class) in [
        ("fine", "done", None),
        ("rejected", "rejected", None),
        ("failing", "failed", Some("failed")),
        ("error", "failed", Some("core::num::error::ParseIntError")),
        ("panicking", "unfinished", Some("unfinished")),
        ("outage", "outage", Some("outage")),
    ] {
        let (lines, _listening) = Lines::listen();
        let engine = Engine::in_memory().await.expect("an engine");
        publish(&engine, placed(order)).await;
        let service = Service::new("payment").on(charge);
        let running = service.start(&engine).await.expect("started");
        let span = lines.until("process", 1).await.remove(0);
        running.stop().await.expect("stopped");
        assert_eq!(span["tidings.outcome"], outcome, "{order}");
        assert_eq!(span.get("error.type"), class.map(|c| json!(c)).as_ref(), "{order}");
        let status = class.map(|_| json!("ERROR"));
        assert_eq!(span.get("otel.status_code"), status.as_ref(), "{order}");
    }
}
