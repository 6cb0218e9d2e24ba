//! Events over HTTP: over the console's router, and where it takes a connection, over a real one.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{Event, Received};
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::{Engine, NewTopic, ReadLimit, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tower::ServiceExt;

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct Placed {
    order: String,
    pence: i64,
}

/// Far beyond what any of these takes.
const DEADLINE: Duration = Duration::from_secs(60);

struct Gateway {
    engine: Engine,
    console: Console,
}

struct Answer {
    status: u16,
    kind: String,
    body: Value,
}

impl Gateway {
    async fn new(partitions: i32) -> Self {
        let engine = Engine::in_memory().await.unwrap();
        let topic =
            NewTopic { name: "orders".into(), partitions: Some(partitions), configs: vec![] };
        engine.create_topic(topic).await.unwrap();
        let console = Console::start(engine.clone(), ConsoleOptions::default()).await;
        Self { engine, console }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.console.router().oneshot(request).await.unwrap();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, kind, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(body.into()).unwrap()).await
    }

    async fn publish(&self, key: &str, pence: i64) {
        let path = format!("/api/topics/orders/events?key={key}&type=Placed");
        let body = json!({ "order": key, "pence": pence }).to_string();
        let answer = self.post(&path, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    async fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for partition in self.engine.topic("orders").await.unwrap().partitions {
            let limit = ReadLimit { records: 1_000, bytes: 1 << 20, wait: Duration::ZERO };
            records
                .extend(self.engine.read("orders", partition.id, 0, limit).await.unwrap().records);
        }
        records
    }

    async fn follow(&self, query: &str, last: Option<&str>) -> Followed {
        let mut request = Request::get(format!("/api/topics/orders/events?{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response =
            self.console.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Followed { body: response.into_body().into_data_stream(), text: String::new(), last: None }
    }
}

/// A stream of server-sent events, read as a browser does.
struct Followed {
    body: BodyDataStream,
    text: String,
    /// The id of the last message.
    last: Option<String>,
}

impl Followed {
    /// The name and data of the next message that has data; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                self.last = field("id: ").or(self.last.take());
                if let Some(data) = field("data: ") {
                    let name = field("event: ").unwrap_or_else(|| "message".to_owned());
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
            }
            let chunk = timeout(DEADLINE, self.body.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn record(&mut self) -> Value {
        let (name, record) = self.next().await.unwrap();
        assert_eq!(name, "message", "{record}");
        record
    }

    /// Reads up to a message without data, which says where the stream is.
    async fn beginning(&mut self) -> String {
        while self.last.is_none() {
            let chunk = timeout(DEADLINE, self.body.next()).await.unwrap().unwrap().unwrap();
            let text = std::str::from_utf8(&chunk).unwrap();
            assert!(!text.contains("data:"), "{text}");
            self.last = text.lines().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
        }
        self.last.clone().unwrap()
    }
}

fn placed(record: &Record) -> Received<Placed> {
    tidings::decode::<Placed>(record).unwrap()
}

#[tokio::test]
async fn bodies_that_hardly_come_hold_up_nobody() {
    let gateway = Gateway::new(1).await;
    let console = gateway.console.router();
    let mut slow = Vec::new();
    for _ in 0..tidings_gateway::limits::PUBLISHERS_MAX * 2 {
        let (parts, body) = tokio::sync::mpsc::channel(1);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body));
        let head = Request::post("/api/topics/orders/events?key=slow&type=Placed");
        let request = head.header("content-type", "application/json").body(body).unwrap();
        let asked = tokio::spawn(console.clone().oneshot(request));
        // Taken by the server, which then waits for the rest.
        parts.send(Ok::<_, std::io::Error>("{")).await.unwrap();
        parts.reserve().await.unwrap().send(Ok(""));
        slow.push((parts, asked));
    }
    gateway.publish("quick", 1).await;
    for (parts, asked) in slow {
        parts.send(Ok("}")).await.unwrap();
        drop(parts);
        assert_eq!(asked.await.unwrap().unwrap().status().as_u16(), 202);
    }
}

#[tokio::test]
async fn events_of_every_mode_are_read_by_services() {
    let gateway = Gateway::new(1).await;
    let path = "/api/topics/orders/events";
    let event = |id: &str| {
        json!({
            "specversion": "1.0", "id": id, "type": "Placed", "source": "till", "subject": "o-1",
            "time": "2010-12-01T08:26:00Z", "correlationid": "c-1",
            "data": { "order": "o-1", "pence": 250 },
        })
    };
    let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let one = gateway.post(path, &structured, event("e-0").to_string()).await;
    let at = |offset: i64, id: &str| json!({ "topic": "orders", "partition": 0, "offset": offset, "id": id });
    assert_eq!((one.status, &one.body), (202, &json!({ "events": [at(0, "e-0")] })));

    let batch = json!([event("e-1"), event("e-2")]).to_string();
    let two =
        gateway.post(path, &[("content-type", "application/cloudevents-batch+json")], batch).await;
    assert_eq!((two.status, &two.body), (202, &json!({ "events": [at(1, "e-1"), at(2, "e-2")] })));

    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e-3"),
        ("ce-type", "Placed"),
        ("ce-source", "till%20%C3%BC"),
        ("ce-subject", "o-1"),
        ("ce-correlationid", "c-1"),
    ];
    let data = r#"{"order":"o-1","pence":250}"#;
    assert_eq!(gateway.post(path, &binary, data).await.body, json!({ "events": [at(3, "e-3")] }));
    let plain = [("content-type", "application/json")];
    let said = format!("{path}?key=o-1&type=Placed&id=e-4&source=till");
    assert_eq!(gateway.post(&said, &plain, data).await.body, json!({ "events": [at(4, "e-4")] }));

    let records = gateway.records().await;
    for (record, id) in records.iter().zip(["e-0", "e-1", "e-2", "e-3", "e-4"]) {
        let event = placed(record);
        assert_eq!(*event, Placed { order: "o-1".into(), pence: 250 }, "{id}");
        assert_eq!(event.envelope().id.as_str(), id);
        assert_eq!(record.key.as_deref(), Some(&b"o-1"[..]), "{id}");
    }
    assert_eq!(placed(&records[0]).envelope().time_ms, 1_291_191_960_000);
    assert_eq!(placed(&records[3]).envelope().source, "till ü");

    let bare = gateway.post(&format!("{path}?key=o-1"), &plain, "[1]").await;
    assert_eq!(bare.body["events"][0]["id"], Value::Null);
    assert_eq!(gateway.records().await[5].value.as_deref(), Some(&b"[1]"[..]));
}

/// Data of another type than JSON does not make the rest optional.
const NO_ID: &str = r#"{"specversion":"1.0","datacontenttype":"text/plain","data":"x"}"#;
const NO_TIME: &str = r#"{"specversion":"1.0","id":"1","type":"T","source":"s","time":"noon","datacontenttype":"text/plain","data":"x"}"#;
const NO_TYPE_OF_DATA: &str =
    r#"{"specversion":"1.0","id":"1","type":"T","source":"s","datacontenttype":"","data":"x"}"#;

#[tokio::test]
async fn what_is_not_taken_is_a_problem_and_nothing_is_published() {
    let gateway = Gateway::new(1).await;
    let large = "x".repeat(tidings_gateway::limits::BODY_BYTES_MAX + 1);
    let many =
        Value::from(vec![json!({}); tidings_gateway::limits::EVENTS_BATCH_MAX + 1]).to_string();
    for (path, kind, body, status) in [
        ("/api/topics/none/events", "application/json", "{}", 404),
        ("/api/topics/__consumer_offsets/events", "application/json", "{}", 403),
        ("/api/topics/orders/events", "application/json", "{", 422),
        ("/api/topics/orders/events", "text/plain", "x", 422),
        ("/api/topics/orders/events", "application/cloudevents+json", "{}", 422),
        ("/api/topics/orders/events", "application/cloudevents+json", NO_ID, 422),
        ("/api/topics/orders/events", "application/cloudevents+json", NO_TIME, 422),
        ("/api/topics/orders/events", "application/cloudevents+json", NO_TYPE_OF_DATA, 422),
        ("/api/topics/orders/events", "application/cloudevents-batch+json", "[{}]", 422),
        ("/api/topics/orders/events", "application/cloudevents-batch+json", many.as_str(), 422),
        ("/api/topics/orders/events", "application/json", large.as_str(), 413),
    ] {
        let answer = gateway.post(path, &[("content-type", kind)], body.to_owned()).await;
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (status, "application/problem+json"),
            "{path} {kind}: {}",
            answer.body
        );
        assert_eq!(answer.body["status"], status);
    }
    let foreign =
        [("content-type", "text/plain"), ("origin", "http://evil.example"), ("ce-id", "1")];
    assert_eq!(gateway.post("/api/topics/orders/events", &foreign, "x").await.status, 403);
    assert!(gateway.records().await.is_empty());
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was() {
    let gateway = Gateway::new(3).await;
    for n in 0..6 {
        gateway.publish(&format!("o-{n}"), n).await;
    }
    let mut stream = gateway.follow("from=earliest", None).await;
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let record = stream.record().await;
        assert_eq!(record["event"]["type"], "Placed");
        assert!(seen.insert(record["event"]["data"]["pence"].as_i64().unwrap()));
    }
    let cursor = stream.last.clone().unwrap();
    drop(stream);
    gateway.publish("o-6", 6).await;
    // Its URL still says where it began, as an EventSource's does.
    let mut stream = gateway.follow("from=earliest", Some(&cursor)).await;
    for _ in 0..3 {
        let record = stream.record().await;
        let pence = record["event"]["data"]["pence"].as_i64().unwrap();
        assert!(seen.insert(pence), "{pence} comes twice");
    }
    assert_eq!(seen, (0..7).collect());
    gateway.publish("o-7", 7).await;
    assert_eq!(stream.record().await["key"], "o-7", "it is told what comes");
    gateway.console.stop();
    assert_eq!(stream.next().await, None, "a stop ends the stream");
}

#[tokio::test]
async fn a_stream_begins_where_it_is_asked_to_and_shows_what_is_asked_for() {
    let gateway = Gateway::new(1).await;
    gateway.publish("a", 0).await;
    gateway.publish("b", 1).await;
    let time_ms = gateway.records().await[1].timestamp;
    let mut latest = gateway.follow("", None).await;
    assert_eq!(latest.beginning().await, "0:2", "where it is, before anything comes");
    let mut only_a = gateway.follow("from=earliest&key=a", None).await;
    let mut of_time = gateway.follow(&format!("from={}", time_ms + 60_000), None).await;
    assert_eq!(of_time.beginning().await, "0:2");
    gateway.publish("b", 2).await;
    gateway.publish("a", 3).await;
    assert_eq!(latest.record().await["offset"], 2);
    assert_eq!(of_time.record().await["offset"], 2);
    assert_eq!(
        (only_a.record().await["offset"].clone(), only_a.record().await["offset"].clone()),
        (json!(0), json!(3))
    );
    assert_eq!(only_a.last.as_deref(), Some("0:4"));

    for (query, status) in [
        ("from=yesterday", 400),
        ("cursor=x", 400),
        ("cursor=7:0", 400),
        ("cursor=0:99", 410),
        ("partition=4", 404),
    ] {
        let refused = gateway.get(&format!("/api/topics/orders/events?{query}")).await;
        assert_eq!(
            (refused.status, refused.kind.as_str()),
            (status, "application/problem+json"),
            "{query}"
        );
    }
    assert_eq!(gateway.get("/api/topics/none/events").await.status, 404);
    assert_eq!(gateway.get("/api/topics/__consumer_offsets/events").await.status, 403);
}

#[tokio::test]
async fn a_stream_of_a_topic_that_goes_says_why_it_ends() {
    let gateway = Gateway::new(1).await;
    let mut stream = gateway.follow("", None).await;
    stream.beginning().await;
    gateway.engine.delete_topic("orders").await.unwrap();
    let (name, problem) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &problem["status"]), ("closed", &json!(404)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn streams_are_counted() {
    let gateway = Gateway::new(1).await;
    let mut streams = Vec::new();
    for _ in 0..tidings_gateway::limits::EVENT_STREAMS_MAX {
        streams.push(gateway.follow("from=earliest", None).await);
    }
    let refused = gateway.get("/api/topics/orders/events").await;
    assert_eq!((refused.status, refused.body["try"].is_string()), (503, true));
    drop(streams);
    // Refusals never wait, and who is to make room has to have its turn.
    let room = async {
        while gateway.get("/api/topics/orders/events?cursor=x").await.status == 503 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, room).await.unwrap();
}

/// A WebSocket as RFC 6455 has it, as far as these tests need: short text messages from the server.
struct Socket(TcpStream);

impl Socket {
    async fn connect(address: std::net::SocketAddr, query: &str, origin: &str) -> (Self, String) {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /api/topics/orders/events/socket?{query} HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tcp.read_u8().await.unwrap());
        }
        (Self(tcp), String::from_utf8(answer).unwrap())
    }

    /// The opcode and payload of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let frame = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first & 0x0f, payload)
        };
        timeout(DEADLINE, frame).await.unwrap()
    }

    async fn text(&mut self) -> Value {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, 1, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }
}

#[tokio::test]
async fn a_socket_is_a_stream_with_the_same_cursor() {
    let gateway = Gateway::new(1).await;
    gateway.publish("a", 0).await;
    gateway.publish("b", 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap() };
    let served =
        tokio::spawn(tidings_gateway::serve(listener, gateway.console.router(), 8, stopped));
    let own = format!("http://{address}");

    let (mut socket, head) = Socket::connect(address, "from=earliest", &own).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(socket.text().await, json!({ "cursor": "0:0" }));
    let first = socket.text().await;
    assert_eq!((&first["cursor"], &first["record"]["key"]), (&json!("0:1"), &json!("a")));
    drop(socket);
    let (mut socket, _) = Socket::connect(address, "cursor=0:1", &own).await;
    assert_eq!(socket.text().await, json!({ "cursor": "0:1" }));
    assert_eq!(socket.text().await["record"]["event"]["data"]["pence"], 1);

    let (mut closing, _) = Socket::connect(address, "", &own).await;
    assert_eq!(closing.text().await, json!({ "cursor": "0:2" }));
    // 1000, masked with zeros.
    closing.0.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
    assert_eq!(closing.frame().await, (8, vec![0x03, 0xe8]), "a close is answered");

    let (_, head) = Socket::connect(address, "", "http://evil.example").await;
    assert!(head.starts_with("HTTP/1.1 403"), "a foreign page opens no socket: {head}");
    let plain = gateway.get("/api/topics/orders/events/socket").await;
    assert_eq!((plain.status, plain.kind.as_str()), (400, "application/problem+json"));

    gateway.console.stop();
    loop {
        match socket.frame().await {
            (8, payload) => {
                assert_eq!(payload[..2], 1001_u16.to_be_bytes());
                assert_eq!(&payload[2..], b"the server stops");
                break;
            }
            // A heartbeat on its way.
            (opcode, _) => assert_eq!(opcode, 1),
        }
    }
    stop.send(()).unwrap();
    drop(socket);
    timeout(DEADLINE, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_path_answers() {
    let gateway = Gateway::new(1).await;
    gateway.publish("a", 0).await;
    let document = gateway.get("/openapi.json").await;
    assert_eq!((document.status, &document.body["openapi"]), (200, &json!("3.1.0")));
    let paths = document.body["paths"].as_object().unwrap();
    let mut answered = 0;
    for (path, verbs) in paths {
        let names: Vec<&str> =
            path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        for (verb, operation) in verbs.as_object().unwrap() {
            let told = operation["parameters"].as_array().unwrap().iter();
            let in_path: Vec<_> = told.filter(|p| p["in"] == "path").map(|p| &p["name"]).collect();
            assert_eq!(in_path, names, "{path}");
            assert!(
                operation["summary"].as_str().is_some_and(|text| text.ends_with('.')),
                "{path}"
            );
            let asked = path
                .replace("{topic}", "orders")
                .replace("{partition}", "0")
                .replace("{offset}", "0")
                .replace("{group}", "none")
                .replace("{service}", "none")
                .replace("{letter}", "none");
            let request = Request::builder()
                .method(verb.to_uppercase().as_str())
                .uri(&asked)
                .header("content-type", "application/json")
                .body(Body::from("{}"))
                .unwrap();
            let response = gateway.console.router().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            // What is not there is told by the route, in its own words, and not by the fallback.
            assert!(status != 405 && status < 500, "{verb} {path}: {status}");
            if status == 404 {
                let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_ne!(body["detail"], "there is no such resource", "{verb} {path}");
            }
            answered += 1;
        }
    }
    assert!(answered >= 20, "{answered}");
    assert!(
        paths["/api/topics/{topic}/events"]["post"]["requestBody"]["content"]
            .as_object()
            .unwrap()
            .contains_key("application/cloudevents+json")
    );
    let schemas = document.body["components"]["schemas"].as_object().unwrap();
    let text = document.body.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn what_the_documentation_asks_for_is_there() {
    let gateway = Gateway::new(1).await;
    let document = gateway.get("/openapi.json").await.body;
    let paths = document["paths"].as_object().unwrap();
    let fits = |template: &str, asked: &str| {
        let (template, asked): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), asked.split('/').collect());
        let fits = |(said, part): (&&str, &&str)| said.starts_with('{') || said == part;
        template.len() == asked.len() && template.iter().zip(&asked).all(fits)
    };
    let text = include_str!("../../../docs/http.md");
    let mut asked = 0;
    for line in text.lines().filter(|line| line.starts_with("curl ")) {
        let url = line.split("localhost:8080").nth(1).and_then(|rest| rest.split(' ').next());
        let url = url.unwrap_or_else(|| panic!("{line}")).replace('\\', "");
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let verb = if line.contains(" -d ") { "post" } else { "get" };
        let found = paths
            .iter()
            .find(|(template, verbs)| fits(template, path) && verbs.get(verb).is_some());
        let (_, verbs) = found.unwrap_or_else(|| panic!("{verb} {path} is no route"));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap();
            let mut told = verbs[verb]["parameters"].as_array().unwrap().iter();
            assert!(told.any(|parameter| parameter["name"] == name), "{name} of {path}");
        }
        asked += 1;
    }
    assert!(asked >= 12, "{asked}");
}
