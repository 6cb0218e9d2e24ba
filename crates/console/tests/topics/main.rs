//! Topics and records over the console's router, on an engine in memory.

mod decoded;
mod produce;
mod records;
mod search;

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::{Engine, NewTopic, SentRecord};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tower::ServiceExt;

/// Far beyond what any of these takes.
const DEADLINE: Duration = Duration::from_secs(120);

struct Shown {
    engine: Engine,
    console: Console,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }
}

impl Shown {
    async fn new() -> Self {
        let engine = Engine::in_memory().await.unwrap();
        let options = ConsoleOptions {
            sample_interval: Duration::from_millis(20),
            ..ConsoleOptions::default()
        };
        let console = Console::start(engine.clone(), options).await;
        Self { engine, console }
    }

    async fn with_topic(partitions: i32) -> Self {
        let shown = Self::new().await;
        shown.topic("t", partitions, &[]).await;
        shown
    }

    async fn topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let configs = configs.collect();
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs };
        self.engine.create_topic(topic).await.unwrap();
    }

    async fn send(&self, records: Vec<SentRecord>) {
        self.engine.producer().await.unwrap().send(records).await.unwrap();
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.console.router().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Offsets over all pages: how many there are depends on how long reading takes.
    async fn all(&self, query: &str) -> Vec<i64> {
        let (mut found, mut before) = (Vec::new(), String::new());
        loop {
            let page = self.json(&format!("/api/topics/t?{query}&before={before}")).await;
            found.extend(offsets(&page));
            match page["older"].as_str() {
                Some(older) => before = older.to_owned(),
                None => return found,
            }
        }
    }

    async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, kind);
        self.ask(request.body(body.into()).unwrap()).await
    }

    async fn stream(&self, path: &str) -> Stream {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.console.router().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        Stream { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    /// The name, data and id of the next message; none at the end.
    async fn next(&mut self) -> Option<(String, Value, Option<String>)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let Some(data) = field("data: ") else { continue };
                let name = field("event: ").unwrap_or_default();
                return Some((name, serde_json::from_str(&data).unwrap(), field("id: ")));
            }
            let chunk = timeout(DEADLINE, self.body.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn named(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data, _) = self.next().await.expect("the stream goes on");
            if name == wanted {
                return data;
            }
        }
    }
}

fn record(partition: i32, timestamp: i64, value: impl Into<Bytes>) -> SentRecord {
    SentRecord {
        topic: "t".into(),
        partition: Some(partition),
        key: Some(format!("k{timestamp}").into()),
        value: Some(value.into()),
        timestamp: Some(timestamp),
        ..SentRecord::default()
    }
}

/// Now, less so many milliseconds: nothing of a test is older than what is kept.
fn ago(ms: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() - ms
}

fn order(n: i64) -> String {
    json!({ "order": n, "who": if n % 2 == 0 { "ann" } else { "bob" }, "lines": [{ "qty": n }] })
        .to_string()
}

fn offsets(answer: &Value) -> Vec<i64> {
    answer["page"].as_array().unwrap().iter().map(|row| row["offset"].as_i64().unwrap()).collect()
}
