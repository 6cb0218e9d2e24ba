//! Topics and records over the console's router, on an engine in memory.

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tidings_engine::{Engine, Header, NewTopic, SentRecord};
use tidings_gateway::{Console, ConsoleOptions, limits};
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

#[tokio::test]
async fn a_page_begins_where_its_url_says() {
    let shown = Shown::with_topic(2).await;
    let base = ago(100_000);
    let both =
        (0..10).flat_map(|n| [record(0, base + n * 10, "a"), record(1, base + n * 10 + 5, "b")]);
    shown.send(both.collect()).await;
    let newest = shown.json("/api/topics/t").await;
    let at = |row: &Value| (row["partition"].as_i64().unwrap(), row["offset"].as_i64().unwrap());
    let rows: Vec<_> = newest["page"].as_array().unwrap().iter().map(at).collect();
    assert_eq!((rows.len(), &rows[..4]), (20, &[(1, 9), (0, 9), (1, 8), (0, 8)][..]));
    assert_eq!((&newest["ended"], &newest["older"]), (&json!("complete"), &Value::Null));
    for (query, wanted) in [
        ("partition=1".to_owned(), (0..10).rev().collect::<Vec<i64>>()),
        ("partition=0&offset=3".to_owned(), vec![3, 2, 1, 0]),
        ("offset=1".to_owned(), vec![1, 0]),
        (format!("partition=0&since={}", base + 70), vec![9, 8, 7]),
        (format!("partition=0&until={}", base + 20), vec![1, 0]),
        (format!("since={}&until={}", base + 20, base + 31), vec![3, 2, 2]),
        (format!("key=k{}", base + 40), vec![4]),
        ("before=0:2,1:1".to_owned(), vec![1, 0, 0]),
        ("since=-1h&partition=0&offset=0".to_owned(), vec![0]),
        ("since=-1s".to_owned(), vec![]),
        ("q=&key=&since=&partition=0&offset=0".to_owned(), vec![0]),
    ] {
        let found = shown.json(&format!("/api/topics/t?{query}")).await;
        assert_eq!(offsets(&found), wanted, "{query}");
    }
    assert_eq!(shown.get("/topics/t?partition=7").await.status, 404);
    assert_eq!(shown.get("/api/topics/t?since=noon").await.status, 400);
}

#[tokio::test]
async fn filters_run_on_the_server_and_columns_come_from_paths() {
    let shown = Shown::with_topic(1).await;
    let base = ago(100_000);
    shown.send((0..40).map(|n| record(0, base + n, order(n))).collect()).await;
    for (query, wanted) in [
        ("q=ANN&offset=9", vec![8, 6, 4, 2, 0]),
        ("q=/order.:3%5B79%5D/", vec![39, 37]),
        ("json=$.order=7", vec![7]),
        ("json=$.lines%5B?@.qty%3E37%5D", vec![39, 38]),
        ("json=$.who=ann&json=order=6", vec![6]),
        ("cel=value.order%20%3E%2036%20%26%26%20value.who%20==%20'bob'", vec![39, 37]),
        ("cel=value.lines.exists(l,%20l.qty%20==%203)", vec![3]),
        ("q=ann&cel=offset%20%3C%203", vec![2, 0]),
    ] {
        let found = shown.json(&format!("/api/topics/t?{query}")).await;
        assert_eq!(offsets(&found), wanted, "{query}: {}", found["looked"]);
    }
    let found = shown.json("/api/topics/t?offset=1&col=who&col=$.lines%5B*%5D.qty&col=$.no").await;
    assert_eq!(found["columns"], json!(["who", "$.lines[*].qty", "$.no"]));
    assert_eq!(found["page"][0]["columns"], json!(["bob", "1", null]));
    let page = shown.get("/topics/t?offset=1&col=who&q=bob").await;
    assert!(page.text().contains(r#"<th class="column mono">who</th>"#), "{}", page.text());
    let odd = shown.json("/api/topics/t?cel=value.who%20%3E%203").await;
    assert_eq!((&odd["looked"]["failed"], odd["page"].as_array().unwrap().len()), (&json!(40), 0));
    for (query, title) in [
        ("cel=value.items.map(i,%20i)%20==%20%5B%5D", "map and filter are not there"),
        ("q=/(a%7B1000%7D)%7B1000%7D/", "it needs more than"),
        ("json=$..a..b..c", "at most 2"),
    ] {
        let answer = shown.get(&format!("/api/topics/t?{query}")).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["title"]),
            (400, &json!("The filter is not understood"))
        );
        assert!(problem["detail"].as_str().unwrap().contains(title), "{problem}");
        assert_eq!(shown.get(&format!("/topics/t?{query}")).await.status, 400);
    }
}

#[tokio::test]
async fn a_search_whose_budget_ends_goes_on_where_it_was() {
    let shown = Shown::with_topic(3).await;
    let base = ago(1_000_000);
    let count = i64::try_from(limits::SEARCH_PAGE.records).unwrap() + 100_000;
    for from in (0..count).step_by(20_000) {
        let some = (from..from + 20_000).map(|n| {
            let value = if n == 0 || n == count - 1 { "needle" } else { "hay" };
            record(i32::try_from(n % 3).unwrap(), base + n / 1_000, value)
        });
        shown.send(some.collect()).await;
    }
    let (mut url, mut found, mut looked, mut requests) = ("?q=needle".to_owned(), 0, 0, 0);
    loop {
        let answer = shown.json(&format!("/api/topics/t{url}")).await;
        found += answer["page"].as_array().unwrap().len();
        looked += answer["looked"]["records"].as_i64().unwrap();
        requests += 1;
        let Some(cursor) = answer["older"].as_str() else {
            assert_eq!(answer["ended"], "complete");
            break;
        };
        assert!(["records", "time"].contains(&answer["ended"].as_str().unwrap()), "{answer}");
        url = format!("?q=needle&before={cursor}");
    }
    assert_eq!(found, 2);
    assert!(requests > 1, "one request does not look at everything");
    assert!((count..count + count / 10).contains(&looked), "{looked} of {count}");
    // The page of the first request goes on by a stream, which finds the rest.
    let page = shown.get("/topics/t?q=needle").await;
    let stream = page.text().split("data-search=\"").nth(1).expect("it goes on");
    let stream = stream.split('"').next().unwrap().replace("&#38;", "&");
    let mut stream = shown.stream(&stream).await;
    let mut rows = 0;
    while let Some((_, message, _)) = stream.next().await {
        rows += message["rows"].as_str().map_or(0, |rows| rows.matches("<tr").count());
        if message["last"] == json!(true) {
            assert!(message["looked"].as_str().unwrap().contains("1 found"), "{message}");
        }
    }
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_search_streams_what_it_finds_with_a_cursor() {
    let shown = Shown::with_topic(1).await;
    let base = ago(100_000);
    let count = 600;
    shown.send((0..count).map(|n| record(0, base + n, order(n))).collect()).await;
    let mut stream = shown.stream("/api/topics/t/search?q=ann").await;
    let (name, first, _) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &first["offset"]), ("record", &json!(598)));
    let ended = stream.named("ended").await;
    assert_eq!((&ended["ended"], &ended["before"]), (&json!("complete"), &Value::Null));
    assert_eq!(ended["looked"]["found"], json!(300));
    assert!(stream.next().await.is_none());
    // One that found as many as it may goes on from its cursor.
    let mut stream = shown.stream("/api/topics/t/search").await;
    let ended = stream.named("ended").await;
    assert_eq!((&ended["ended"], &ended["before"]), (&json!("rows"), &json!("0:100")));
    let request = Request::get("/api/topics/t/search").header("last-event-id", "0:100");
    let response = shown.console.router().oneshot(request.body(Body::empty()).unwrap()).await;
    let body = response.unwrap().into_body().into_data_stream();
    let mut stream = Stream { body, text: String::new() };
    assert_eq!(stream.named("record").await["offset"], json!(99));
}

#[tokio::test]
async fn searches_at_once_are_few_and_end_with_their_clients() {
    let shown = Shown::with_topic(1).await;
    let base = ago(1_000);
    shown.send((0..1_000).map(|n| record(0, base, order(n))).collect()).await;
    let mut streams = Vec::new();
    for _ in 0..limits::SEARCHES_MAX {
        streams.push(shown.stream("/api/topics/t/search").await);
    }
    // None of them is read, and each holds its turn until its client is gone.
    let (waits, ()) = tokio::join!(shown.get("/api/topics/t?q=ann"), async { streams.clear() });
    assert_eq!(waits.status, 200);
}

#[tokio::test]
async fn a_record_opens_in_place_and_alone() {
    let shown = Shown::with_topic(1).await;
    let mut sent = record(0, ago(1_000), r#"{"a": 1.10,"b":[]}"#);
    sent.headers.push(Header::text("trace", "x"));
    shown.send(vec![sent, record(0, ago(500), "\0\0\0\0\u{7}{\"s\":1}")]).await;
    let page = shown.get("/topics/t?open=0/0").await;
    let text = page.text();
    assert!(text.contains(r##"aria-expanded="true" href="/topics/t#r-0-0""##), "{text}");
    assert!(text.contains("aria-expanded=\"false\" href=\"/topics/t?open=0%2F1#r-0-1\""), "{text}");
    assert!(text.contains(r#"<tr class="detail"><td colspan="6">"#), "{text}");
    assert!(text.contains("As it was written") && text.contains("{&quot;a&quot;: 1.10,"), "{text}");
    for line in [
        "curl http://127.0.0.1:8080/api/topics/t/0/0",
        "kcat -C -b 127.0.0.1:9092 -t t -p 0 -o 0 -c 1 -J",
        "tidings consume t -b 127.0.0.1:9092 -p 0 --offset 0 -n 1 -o json",
    ] {
        assert!(text.contains(line), "{line}");
    }
    let part = shown.get("/topics/t/0/0/part").await;
    assert!(!part.text().contains("<html") && part.text().contains("Headers"), "{}", part.text());
    let framed = shown.json("/api/topics/t/0/1").await;
    assert_eq!(
        framed["framing"],
        json!({ "schema_id": 7, "decoded": { "form": "json", "text": "{\"s\":1}" } })
    );
    assert!(shown.get("/topics/t/0/1").await.text().contains("schema 7"));
    assert_eq!(shown.json("/api/topics/t?open=0/1").await["open"]["offset"], json!(1));
    assert_eq!(shown.get("/topics/t?open=0/9").await.status, 404);
    let value = shown.get("/api/topics/t/0/0/value").await;
    assert_eq!(value.text(), r#"{"a": 1.10,"b":[]}"#);
    assert_eq!(value.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(value.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"t-0-0\"");
}

#[tokio::test]
async fn whatever_a_record_holds_the_pages_stand() {
    let shown = Shown::new().await;
    shown.topic("t", 1, &[("max.message.bytes", "67108864")]).await;
    let script = "<script>alert(1)</script>\"'><img src=x onerror=y>";
    let mut markup = record(0, ago(4_000), script);
    markup.key = Some(script.into());
    markup.headers = vec![Header::text(script, script), Header::text("ce_type", script)];
    let mut garbage = record(0, ago(3_000), vec![0xff_u8; 1_000]);
    garbage.key = Some(vec![0, 1, 254].into());
    garbage.headers = (0..500).map(|n| Header::text(format!("h{n}"), "v")).collect();
    let mut tombstone = record(0, ago(2_000), "");
    (tombstone.key, tombstone.value) = (None, None);
    let deep = record(0, ago(1_000), "[".repeat(100_000));
    shown.send(vec![markup, garbage, tombstone, deep]).await;
    for path in [
        "/topics/t",
        "/topics/t?open=0/0",
        "/topics/t?open=0/1",
        "/topics/t?open=0/2",
        "/topics/t?open=0/3",
        "/topics/t/0/0",
        "/topics/t/0/0/part",
        "/topics/t/0/1",
        "/topics/t/0/2",
        "/topics/t/0/3",
        "/topics/t?col=$.a&json=$.a",
        "/topics/t?q=%3Cscript%3E&key=%22%3E%3Cimg&cel=true&col=%5B'%3Cimg%3E'%5D&since=-1h",
        "/topics/t/produce?from=latest",
    ] {
        let page = shown.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(!page.text().contains("<script>alert"), "{path}");
        assert!(!page.text().contains("<img"), "{path}");
        assert!(!page.text().contains(" style=") && !page.text().contains(" onclick="), "{path}");
    }
    let mut stream = shown.stream("/topics/t/search?q=alert").await;
    let rows = stream.next().await.unwrap().1["rows"].as_str().unwrap().to_owned();
    assert!(rows.contains("&#60;script&#62;") && !rows.contains("<script"), "{rows}");
    let found = shown.json("/api/topics/t/0/1").await;
    assert_eq!(found["headers"].as_array().unwrap().len(), limits::HEADERS_SHOWN_MAX);
    assert_eq!(found["more_headers"], json!(300));
    assert_eq!(found["key_payload"]["form"], "binary");
    assert_eq!(shown.get("/api/topics/t/0/2/value").await.status, 404);
}

#[tokio::test]
async fn a_record_of_60_mb_is_cut_and_kept_whole() {
    let shown = Shown::new().await;
    shown.topic("t", 1, &[("max.message.bytes", "67108864")]).await;
    let large = vec![b'x'; 60_000_000];
    let sent = [record(0, ago(3), "before"), record(0, ago(2), large), record(0, ago(1), "after")];
    for one in sent {
        shown.send(vec![one]).await;
    }
    let page = shown.get("/topics/t").await;
    assert!(page.status == 200 && page.body.len() < 200_000, "{}", page.body.len());
    assert_eq!(shown.all("").await, [2, 1, 0]);
    for path in ["/topics/t?open=0/1", "/topics/t/0/1", "/api/topics/t/0/1"] {
        let page = shown.get(path).await;
        assert!(page.status == 200 && page.body.len() < 1_000_000, "{path}: {}", page.body.len());
    }
    assert!(shown.get("/topics/t/0/1").await.text().contains("the first 64 KiB are shown"));
    assert_eq!(shown.get("/api/topics/t/0/1/value").await.body.len(), 60_000_000);
    assert_eq!(shown.all("json=$.a&col=$.a").await, [0; 0]);
    let only = shown.json("/api/topics/t?json=$.a&before=0:2").await;
    assert_eq!(only["looked"]["too_large"], json!(1));
    assert_eq!(shown.all("q=xxx").await, [1]);
    let template = shown.json("/api/topics/t/template").await;
    assert_eq!(template["latest"]["value"], "after");
}

#[tokio::test]
async fn a_tail_shows_what_comes() {
    let shown = Shown::with_topic(2).await;
    shown.send(vec![record(0, ago(1_000), "old")]).await;
    let mut tail = shown.stream("/api/topics/t/tail?q=n").await;
    assert_eq!(tail.named("records").await["records"], json!([]));
    shown
        .send(vec![
            record(0, ago(2), "new 1"),
            record(1, ago(1), "other"),
            record(1, ago(0), "new 2"),
        ])
        .await;
    let (mut values, mut left_out) = (Vec::new(), 0);
    while values.len() < 2 {
        let came = tail.named("records").await;
        let rows = came["records"].as_array().unwrap();
        values.extend(rows.iter().map(|row| row["value"].as_str().unwrap().to_owned()));
        left_out += came["left_out"].as_i64().unwrap();
    }
    assert_eq!((values, left_out), (vec!["new 1".to_owned(), "new 2".to_owned()], 1));
    let page = shown.get("/topics/t?live=1").await;
    assert!(page.text().contains("data-tail=\"/topics/t/tail\""), "{}", page.text());
    assert_eq!(shown.get("/api/topics/t/tail?partition=9").await.status, 422);
    assert_eq!(shown.get("/api/topics/nobody/tail").await.status, 404);
}

#[tokio::test]
async fn live_tails_are_counted() {
    let shown = Shown::with_topic(1).await;
    let mut held = Vec::new();
    for _ in 0..limits::LIVE_STREAMS_MAX {
        held.push(shown.stream("/topics/t/tail").await);
    }
    assert_eq!(shown.get("/topics/t/tail").await.status, 503);
}

#[tokio::test]
async fn a_record_is_produced_by_form_and_by_json() {
    let shown = Shown::with_topic(2).await;
    const FORM: &str = "application/x-www-form-urlencoded";
    let body = "key=k&form=json&value=%7B%22n%22%3A%201.10%7D&headers=a%3A%20b&partition=1";
    let sent = shown.post("/topics/t/produce", FORM, body).await;
    assert_eq!(
        (sent.status, &sent.headers[header::LOCATION]),
        (303, &"/topics/t/1/0".parse().unwrap())
    );
    let record = shown.json("/api/topics/t/1/0").await;
    assert_eq!(record["value_payload"]["text"], "{\"n\": 1.10}");
    assert_eq!((&record["key"], &record["headers"][0]["name"]), (&json!("k"), &json!("a")));
    // What is refused is shown with what was typed.
    let refused =
        shown.post("/topics/t/produce", FORM, "form=json&value=%3Cb%3E%7B&key=kept").await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("the value is no JSON")
            && refused.text().contains("value=\"kept\"")
    );
    assert!(!refused.text().contains("<b>{"));
    let form = shown.get("/topics/t/produce?from=latest").await;
    assert!(form.text().contains("{&#34;n&#34;: 1.10}"), "{}", form.text());
    let made = shown
        .post("/api/topics/t/records", "application/json", r#"{"partition":0,"key":"k"}"#)
        .await;
    assert_eq!(
        (made.status, made.json()),
        (201, json!({ "topic": "t", "partition": 0, "offset": 0 }))
    );
    for (path, kind, body, wanted) in [
        ("/api/topics/t/records", "application/json", "{\"partition\":9}", 404),
        ("/api/topics/no/records", "application/json", "{}", 404),
        ("/api/topics/__consumer_offsets/records", "application/json", "{}", 403),
        ("/api/topics/t/records", "application/json", "{\"value\":\"a\",\"value_json\":1}", 422),
        ("/api/topics/t/records", "text/plain", "{}", 415),
        ("/topics/t/produce", FORM, "form=text&partition=9", 404),
    ] {
        assert_eq!(shown.post(path, kind, body).await.status, wanted, "{path} {body}");
    }
    assert_eq!(shown.get("/topics/__consumer_offsets/produce").await.status, 403);
    for path in ["/topics/t/produce", "/api/topics/t/records"] {
        let foreign = Request::post(path)
            .header("origin", "http://evil.example")
            .header("host", "127.0.0.1:8080")
            .header(header::CONTENT_TYPE, FORM);
        assert_eq!(
            shown.ask(foreign.body(Body::from("key=k")).unwrap()).await.status,
            403,
            "{path}"
        );
    }
    let topic = shown.engine.topic("t").await.unwrap();
    assert_eq!(
        topic.partitions.iter().map(|p| p.end_offset).sum::<i64>(),
        2,
        "nothing else was produced"
    );
}

#[tokio::test]
async fn a_registered_schema_is_a_template() {
    let shown = Shown::with_topic(1).await;
    let registry = tidings_gateway::registry(shown.engine.clone()).await.unwrap();
    let schema = json!({ "type": "object", "properties": { "order": { "type": "string" } } });
    let body = json!({ "schemaType": "JSON", "schema": schema.to_string() }).to_string();
    let request = Request::post("/subjects/t-value/versions")
        .header(header::CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")
        .body(Body::from(body))
        .unwrap();
    assert_eq!(registry.oneshot(request).await.unwrap().status().as_u16(), 200);
    let template = shown.json("/api/topics/t/template").await;
    assert_eq!(template["schema"]["value"], "{\n  \"order\": \"\"\n}");
    assert_eq!((&template["schema"]["version"], &template["latest"]), (&json!(1), &Value::Null));
    let form = shown.get("/topics/t/produce?from=schema").await;
    assert!(form.text().contains("&#34;order&#34;: &#34;&#34;"), "{}", form.text());
}

#[tokio::test]
async fn retention_and_a_skewed_partition_are_named() {
    let shown = Shown::new().await;
    shown.topic("t", 4, &[("retention.ms", "3600000")]).await;
    let base = ago(100_000);
    let most = (0..2_000).map(|n| record(if n % 10 == 0 { n / 10 % 4 } else { 3 }, base, "x"));
    shown.send(most.collect()).await;
    let found = timeout(DEADLINE, async {
        loop {
            shown.console.sampled().await;
            let topics = shown.json("/api/topics").await;
            let line = topics["topics"].as_array().unwrap()[0].clone();
            if !line["retention"].is_null() && !line["skew"].is_null() {
                return line;
            }
        }
    });
    let line = found.await.unwrap();
    assert_eq!(line["skew"], json!({ "partition": 3, "percent": 93 }));
    assert_eq!(line["retention"]["ms"], json!(3_600_000));
    let page = shown.get("/topics/t").await;
    assert!(page.text().contains("Partition 3 gets 93 % of the records"), "{}", page.text());
    assert!(page.text().contains("<dt>Kept</dt><dd class=\"words\">1 h</dd>"), "{}", page.text());
    let list = shown.get("/topics").await;
    assert!(list.text().contains("skewed: 3") && list.text().contains("1 h"), "{}", list.text());
}

#[tokio::test]
async fn an_engine_that_goes_away_is_explained() {
    let shown = Shown::with_topic(1).await;
    shown.send(vec![record(0, ago(1), "x")]).await;
    shown.console.sampled().await;
    let mut tail = shown.stream("/api/topics/t/tail").await;
    assert_eq!(tail.named("records").await["records"], json!([]));
    shown.engine.close().await.unwrap();
    for path in [
        "/topics/t",
        "/topics/t/0/0",
        "/api/topics/t",
        "/api/topics/t/search?q=x",
        "/topics/t/produce",
    ] {
        let answer = shown.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    let sent = shown
        .post("/topics/t/produce", "application/x-www-form-urlencoded", "form=text&value=kept")
        .await;
    assert_eq!(sent.status, 503);
    assert!(sent.text().contains("kept"), "what was typed is still there: {}", sent.text());
    let trouble = tail.named("trouble").await;
    assert_eq!(trouble["status"], json!(503));
    // What was sampled is still shown, and says that it is old.
    let list = shown.get("/topics").await;
    assert!(list.status == 200 && list.text().contains("/topics/t"), "{}", list.text());
}

/// How soon the first of 1,000,000 records is found, and what a whole search takes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p tidings-gateway --test topics searching -- --ignored --nocapture"]
async fn searching_1_000_000_records() {
    let shown = Shown::with_topic(4).await;
    let base = ago(2_000_000);
    for from in (0..1_000_000_i64).step_by(20_000) {
        let some = (from..from + 20_000)
            .map(|n| record(i32::try_from(n % 4).unwrap(), base + n, order(n)));
        shown.send(some.collect()).await;
    }
    for query in [
        "q=ann",
        "q=%22order%22:1234,",
        "q=/order.:12345%5B67%5D/",
        "json=$.order=1234",
        "json=$.lines%5B?@.qty==1234%5D",
        "cel=value.order%20==%201234",
        "cel=value.lines.exists(l,%20l.qty%20==%201234)",
        "q=nowhere",
    ] {
        let began = Instant::now();
        let mut stream = shown.stream(&format!("/api/topics/t/search?{query}")).await;
        let mut first = None;
        let ended = loop {
            let (name, data, _) = stream.next().await.unwrap();
            if name == "record" {
                first.get_or_insert(began.elapsed());
            }
            if name == "ended" {
                break data;
            }
        };
        println!("{query}: first {first:?}, all {:?}, {}", began.elapsed(), ended["looked"]);
    }
}
