//! The console over its router, on an engine in memory.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::Value;
use tidings_console::{
    Addresses, Console, ConsoleOptions, Family, FigureSource, LogAddress, limits,
};
use tidings_engine::{
    Engine, Header, NewTopic, Polled, SentRecord, SubscribeOptions, TopicPartition,
    TransactionOptions,
};
use tokio_stream::StreamExt;
use tower::ServiceExt;

struct Shown {
    engine: Engine,
    console: Console,
}

struct Page {
    status: u16,
    kind: String,
    policy: String,
    body: String,
}

impl Shown {
    async fn new() -> Self {
        let engine = Engine::in_memory().await.unwrap();
        let figures = FigureSource::new(|| {
            static TEST: Family = Family::counter("tidings_test_total", "A test.", &[]);
            vec![TEST.is(7.0)]
        });
        let options = ConsoleOptions {
            addresses: Addresses {
                log: LogAddress::Node("127.0.0.1:9092".into()),
                ..Addresses::default()
            },
            figures,
            sample_interval: Duration::from_millis(20),
            ..ConsoleOptions::default()
        };
        let console = Console::start(engine.clone(), options).await;
        Self { engine, console }
    }

    async fn get(&self, path: &str) -> Page {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.console.router().oneshot(request).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (kind, policy) = (text(header::CONTENT_TYPE), text(header::CONTENT_SECURITY_POLICY));
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Page { status, kind, policy, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn json(&self, path: &str) -> Value {
        let page = self.get(path).await;
        assert_eq!((page.status, page.kind.as_str()), (200, "application/json"), "{path}");
        serde_json::from_str(&page.body).unwrap()
    }

    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs: vec![] };
        self.engine.create_topic(topic).await.unwrap();
    }

    async fn send(&self, records: Vec<SentRecord>) {
        self.engine.producer().await.unwrap().send(records).await.unwrap();
    }
}

fn record(topic: &str, partition: i32, value: &str) -> SentRecord {
    SentRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: Some("k-1".into()),
        value: Some(value.to_owned().into()),
        ..SentRecord::default()
    }
}

fn event(topic: &str, name: &str, correlation: &str) -> SentRecord {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-1"),
        ("ce_type", name),
        ("ce_source", "till"),
        ("ce_correlationid", correlation),
    ];
    SentRecord {
        headers: headers.map(|(name, value)| Header::text(name, value)).to_vec(),
        ..record(topic, 0, r#"{"pence":250}"#)
    }
}

fn letter(topic: &str, cause: &str) -> SentRecord {
    let mut letter = event(topic, "shop.OrderPlaced", "c-1");
    letter.headers.push(Header::text("tidings-dead-cause", cause));
    letter.headers.push(Header::text("tidings-dead-service", "order"));
    letter
}

const PAGES: [&str; 9] =
    ["/", "/topics", "/groups", "/services", "/slos", "/events", "/trace", "/map", "/dead"];

#[tokio::test]
async fn an_empty_node_has_all_its_pages() {
    let shown = Shown::new().await;
    shown.console.sampled().await;
    for path in PAGES {
        let page = shown.get(path).await;
        assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.policy.contains("script-src 'self'"), "{path}: {}", page.policy);
        assert!(!page.policy.contains("unsafe"), "{path}: {}", page.policy);
        assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="), "{path}");
    }
    let overview = shown.get("/").await.body;
    assert!(overview.contains("Nothing is wrong"), "{overview}");
    assert!(overview.contains("127.0.0.1:9092"), "{overview}");
    for path in
        ["/assets/console.css", "/assets/views.css", "/assets/console.js", "/assets/icon.svg"]
    {
        let asset = shown.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(!asset.body.contains("http://") || path.ends_with(".svg"), "{path}");
    }
}

#[tokio::test]
async fn the_overview_shows_what_is_wrong_first_and_what_moves() {
    let shown = Shown::new().await;
    shown.topic("shop.orders", 2).await;
    shown.topic("order.dead", 1).await;
    shown
        .send((0..3).map(|n| event("shop.orders", "shop.OrderPlaced", &format!("c-{n}"))).collect())
        .await;
    shown
        .send(vec![
            letter("order.dead", "line 1 has quantity -2"),
            letter("order.dead", "line 7 has quantity -1"),
            letter("order.dead", "nothing to match"),
        ])
        .await;
    shown.console.sampled().await;

    let overview = shown.json("/api/overview").await;
    assert_eq!(overview["problems"][0]["what"], "3 dead letters");
    assert_eq!(overview["problems"][0]["severity"], "bad");
    assert_eq!(overview["totals"]["records"], 6);
    assert_eq!(overview["totals"]["dead_letters"], 3);
    let topics = overview["topics"].as_array().unwrap();
    let names: Vec<_> = topics.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop.orders", "order.dead"], "dead letters last");
    assert_eq!(topics[0]["records"], 3);
    assert!(topics[0]["bytes"].as_u64().unwrap() > 0);

    let events = shown.json("/api/events").await;
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "dead letters are not among the events");
    assert_eq!((&events[0]["type"], &events[0]["offset"]), (&"shop.OrderPlaced".into(), &2.into()));
    let found = shown.json("/api/events?q=C-1").await;
    assert_eq!(found["events"].as_array().unwrap().len(), 1);

    let dead = shown.json("/api/dead").await;
    assert_eq!((&dead["total"], &dead["unread"]), (&3.into(), &0.into()));
    assert_eq!(dead["causes"][0]["cause"], "line # has quantity #");
    assert_eq!(dead["causes"][0]["count"], 2);

    let page = shown.get("/").await.body;
    let (problem, table) = (page.find("3 dead letters"), page.find("<table"));
    assert!(problem.is_some() && problem < table, "what is wrong comes first");
    for part in ["OrderPlaced", "line # has quantity #", "href=\"/topics/shop.orders/0/2\""] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn records_are_paged_newest_first_over_all_partitions() {
    let shown = Shown::new().await;
    shown.topic("t", 3).await;
    let count = limits::PAGE_RECORDS * 2 + 10;
    for n in 0..count {
        let partition = i32::try_from(n % 3).unwrap();
        let timestamp = Some(i64::try_from(n).unwrap() * 1000);
        shown
            .send(vec![SentRecord { timestamp, ..record("t", partition, &format!("v{n}")) }])
            .await;
    }
    let mut values = Vec::new();
    let mut before = String::new();
    loop {
        let page = shown.json(&format!("/api/topics/t?before={before}")).await;
        let records = page["page"].as_array().unwrap();
        values.extend(records.iter().map(|r| r["value"].as_str().unwrap().to_owned()));
        assert_eq!(page["records"], count);
        match page["older"].as_str() {
            Some(older) => before = older.to_owned(),
            None => break,
        }
    }
    let wanted: Vec<_> = (0..count).rev().map(|n| format!("v{n}")).collect();
    assert_eq!(values, wanted);
    let one = shown.json("/api/topics/t?partition=1&before=1:2").await;
    let offsets: Vec<_> = one["page"].as_array().unwrap().iter().map(|r| &r["offset"]).collect();
    assert_eq!(offsets, [1, 0]);
    let page = shown.get("/topics/t").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(">Older</a>"), "{}", page.body);
}

#[tokio::test]
async fn one_record_shows_everything_it_carries() {
    let shown = Shown::new().await;
    shown.topic("t", 1).await;
    let mut sent = event("t", "shop.OrderPlaced", "c-9");
    sent.headers.push(Header { name: "raw".into(), value: Some(vec![0, 255].into()) });
    shown.send(vec![sent]).await;
    let page = shown.get("/topics/t/0/0").await;
    assert_eq!(page.status, 200);
    for part in ["shop.OrderPlaced", "c-9", "k-1", "0x00ff", "&quot;pence&quot;", "j-number"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let twin = shown.json("/api/topics/t/0/0").await;
    assert_eq!(twin["envelope"]["correlation"], "c-9");
    assert_eq!(twin["value_payload"]["text"], r#"{"pence":250}"#);
}

#[tokio::test]
async fn markers_of_transactions_are_no_dead_letters() {
    let shown = Shown::new().await;
    shown.topic("order.dead", 1).await;
    let options = TransactionOptions::default();
    let producer = shown.engine.transactional_producer("order", options).await.unwrap();
    for cause in ["one", "two"] {
        let mut transaction = producer.begin().await.unwrap();
        transaction.append(vec![letter("order.dead", cause)]).await.unwrap();
        transaction.commit().await.unwrap();
    }
    shown.console.sampled().await;
    let dead = shown.json("/api/dead").await;
    assert_eq!((&dead["total"], &dead["unread"]), (&2.into(), &0.into()));
}

#[tokio::test]
async fn the_page_of_a_dead_letter_says_why_it_died_and_where_it_was() {
    let shown = Shown::new().await;
    shown.topic("shop.orders", 1).await;
    shown.topic("order.dead", 1).await;
    let original = |offset: i64| {
        let raw = |name: &'static str, value: &[u8]| Header {
            name: name.into(),
            value: Some(value.to_vec().into()),
        };
        [
            raw("kafka_dlt-original-topic", b"shop.orders"),
            raw("kafka_dlt-original-partition", &0_i32.to_be_bytes()),
            raw("kafka_dlt-original-offset", &offset.to_be_bytes()),
        ]
    };
    let mut ours = letter("order.dead", "line 1 has quantity <-2>");
    ours.headers.push(Header::text("tidings-dead-kind", "rejected"));
    ours.headers.push(Header::text("tidings-dead-attempts", "3"));
    ours.headers.extend(original(0));
    let mut springs = event("order.dead", "shop.OrderPlaced", "c-1");
    springs.headers.push(Header::text("kafka_dlt-exception-fqcn", "java.lang.Error"));
    springs.headers.extend(original(7));
    shown.send(vec![event("shop.orders", "shop.OrderPlaced", "c-1"), ours, springs]).await;

    let page = shown.get("/topics/order.dead/0/0").await.body;
    let card = page.split("Dead letter</h2>").nth(1).unwrap().split("</section>").next().unwrap();
    for part in [
        "<b>line 1 has quantity &#60;-2&#62;</b>",
        "<dt>Kind</dt><dd>rejected</dd>",
        "<dt>Service</dt><dd>order</dd>",
        "<dt>Attempts</dt><dd>3</dd>",
        "href=\"/topics/shop.orders/0/0\">shop.orders/0/0</a>",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(page.find("Dead letter</h2>") < page.find("<h2>Value</h2>"), "it comes first");
    let was = shown.get("/topics/shop.orders/0/0").await;
    assert_eq!(was.status, 200);
    assert!(!was.body.contains("Dead letter</h2>"), "the original is none");

    let springs = shown.json("/api/topics/order.dead/0/1").await;
    assert_eq!(springs["death"]["original"]["offset"], 7);
    assert_eq!(springs["death"]["exception"], "java.lang.Error");
    assert_eq!(springs["death"]["attempts"], Value::Null);
}

#[tokio::test]
async fn the_badge_says_what_it_counts() {
    let shown = Shown::new().await;
    shown.topic("order.dead", 1).await;
    shown.console.sampled().await;
    assert!(!shown.get("/topics").await.body.contains("badge"), "nothing to count");
    shown.send(vec![letter("order.dead", "refused"), letter("order.dead", "refused")]).await;
    shown.console.sampled().await;
    let page = shown.get("/topics").await.body;
    let badge = "<b class=\"badge\" title=\"1 thing to look at: 2 dead letters\">1</b>";
    assert!(page.contains(badge), "{page}");
}

#[tokio::test]
async fn markup_in_names_keys_and_values_stays_text() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x>";
    let shown = Shown::new().await;
    shown.topic("t", 1).await;
    shown.topic("t.dead", 1).await;
    let evil = |topic| SentRecord {
        key: Some(EVIL.into()),
        value: Some(format!("{{\"a\":{}}}", Value::from(EVIL)).into()),
        headers: ["ce_type", "ce_source", "ce_correlationid", "tidings-dead-cause", EVIL]
            .map(|name| Header::text(name, EVIL))
            .to_vec(),
        ..record(topic, 0, "")
    };
    shown.send(vec![evil("t"), evil("t.dead")]).await;
    let options = SubscribeOptions { client_id: EVIL.into(), ..SubscribeOptions::default() };
    let mut member = shown.engine.subscribe(EVIL, &["t".into()], options).await.unwrap();
    let assigned = member.poll(1, Duration::from_secs(10)).await.unwrap();
    assert!(matches!(assigned, Polled::Assigned(_)), "{assigned:?}");
    shown.console.sampled().await;
    let group = "/groups/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%3E";
    let search = "/events?q=%3Cscript%3E";
    for path in PAGES.into_iter().chain(["/topics/t", "/topics/t/0/0", search, group]) {
        let page = shown.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>alert"), "{path}");
        assert!(!page.body.contains("<img"), "{path}");
    }
    assert!(shown.get("/topics/t/0/0").await.body.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn groups_show_members_positions_and_lag() {
    let shown = Shown::new().await;
    shown.topic("t", 2).await;
    shown.send((0..5).map(|n| record("t", 0, &n.to_string())).collect()).await;
    let options = SubscribeOptions { client_id: "reader".into(), ..SubscribeOptions::default() };
    let mut member = shown.engine.subscribe("g", &["t".into()], options).await.unwrap();
    while !matches!(member.poll(1, Duration::from_secs(10)).await.unwrap(), Polled::Assigned(_)) {}
    let at = TopicPartition { topic: "t".into(), partition: 0 };
    member.commit(&[(at, 2, None)]).await.unwrap();
    shown.console.sampled().await;

    let groups = shown.json("/api/groups").await;
    assert_eq!(groups["groups"][0]["name"], "g");
    assert_eq!(groups["groups"][0]["lag"], 3);
    let group = shown.json("/api/groups/g").await;
    assert_eq!(group["state"], "Stable");
    assert_eq!(group["offsets"][0]["committed"], 2);
    assert_eq!(group["member_list"][0]["client_id"], "reader");
    assert_eq!(group["member_list"][0]["assignment"], Value::from(vec!["t[0,1]"]));
    let page = shown.get("/groups/g").await;
    assert_eq!(page.status, 200);
    for part in ["reader", ">t[0,1]<"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }

    member.close().await.unwrap();
    shown.console.sampled().await;
    let overview = shown.json("/api/overview").await;
    assert_eq!(overview["problems"][0]["what"], "Group g has no members");
    assert_eq!(overview["problems"][0]["severity"], "warn");
}

#[tokio::test]
async fn what_is_not_there_is_a_page_or_a_problem() {
    let shown = Shown::new().await;
    shown.topic("t", 1).await;
    for (path, status) in [
        ("/nothing", 404),
        ("/topics/none", 404),
        ("/topics/t?partition=7", 404),
        ("/topics/t?before=x", 400),
        ("/topics/t?partition=x", 400),
        ("/topics/t/0/0", 404),
        ("/topics/t/9/0", 404),
        ("/topics/t/x/0", 400),
        ("/groups/none", 404),
    ] {
        let page = shown.get(path).await;
        assert_eq!(
            (page.status, page.kind.as_str()),
            (status, "text/html; charset=utf-8"),
            "{path}"
        );
        let twin = shown.get(&format!("/api{path}")).await;
        assert_eq!(
            (twin.status, twin.kind.as_str()),
            (status, "application/problem+json"),
            "{path}"
        );
        let problem: Value = serde_json::from_str(&twin.body).unwrap();
        assert_eq!(problem["status"], status, "{path}");
    }
}

#[tokio::test]
async fn health_and_figures_are_told() {
    let shown = Shown::new().await;
    shown.topic("t", 1).await;
    shown.send(vec![record("t", 0, "x")]).await;
    shown.console.sampled().await;
    assert_eq!(shown.get("/livez").await.status, 200);
    assert_eq!(shown.get("/readyz").await.status, 200);
    let metrics = shown.get("/metrics").await;
    assert_eq!(metrics.kind, "text/plain; version=0.0.4");
    for line in
        ["tidings_topic_records{topic=\"t\"} 1", "tidings_test_total 7", "tidings_dead_letters 0"]
    {
        assert!(metrics.body.lines().any(|l| l == line), "{line}: {}", metrics.body);
    }
    shown.engine.close().await.unwrap();
    shown.console.sampled().await;
    assert_eq!(shown.get("/livez").await.status, 200);
    assert_eq!(shown.get("/readyz").await.status, 503);
    let overview = shown.json("/api/overview").await;
    assert!(overview["problems"][0]["what"].as_str().unwrap().contains("does not answer"));
    assert!(shown.json("/api/dead").await["services_unread"].is_string());
    assert!(shown.get("/dead").await.body.contains("cannot be read"));
}

#[tokio::test]
async fn the_live_stream_sends_what_has_changed() {
    let shown = Shown::new().await;
    shown.topic("t", 1).await;
    shown.console.sampled().await;
    let request = Request::get("/live").body(Body::empty()).unwrap();
    let response = shown.console.router().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut next = async || -> Value {
        let chunk = stream.next().await.unwrap().unwrap();
        let text = std::str::from_utf8(&chunk).unwrap();
        serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap()
    };
    let all = next().await;
    let names: Vec<_> = all.as_object().unwrap().keys().collect();
    assert_eq!(names, ["dead", "events", "groups", "problems", "topics", "totals"]);
    shown.send(vec![event("t", "shop.OrderPlaced", "c-1")]).await;
    let changed = loop {
        let changed = next().await;
        if changed.get("events").is_some() {
            break changed;
        }
    };
    assert!(changed["events"].as_str().unwrap().contains("OrderPlaced"), "{changed}");
    assert!(changed.get("dead").is_none(), "what is the same is not sent again: {changed}");
    shown.console.stop();
    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
    }
}

#[tokio::test]
async fn live_streams_are_counted() {
    let shown = Shown::new().await;
    shown.console.sampled().await;
    let mut streams = Vec::new();
    let mut open = async || {
        let request = Request::get("/live").body(Body::empty()).unwrap();
        let response = shown.console.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        streams.push(response);
        status
    };
    for _ in 0..limits::LIVE_STREAMS_MAX {
        assert_eq!(open().await, 200);
    }
    assert_eq!(open().await, 503);
}

#[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
}

async fn charge(_: tidings::Received<OrderPlaced>) -> tidings::Outcome<()> {
    tidings::done(())
}

#[tokio::test]
async fn services_that_report_are_in_the_metrics_and_the_api_until_they_stop() {
    let shown = Shown::new().await;
    let nothing = serde_json::json!({ "services": [], "by_service": [] });
    assert_eq!(shown.json("/api/services").await, nothing);
    assert!(!shown.get("/metrics").await.body.contains("tidings_service_"));
    let service = tidings::Service::new("payment").on(charge);
    let running = service.start(&shown.engine).await.unwrap();
    let listed = loop {
        shown.console.sampled().await;
        let listed = shown.json("/api/services").await;
        if listed["services"] != serde_json::json!([]) {
            break listed;
        }
    };
    let report = &listed["services"][0];
    assert_eq!(
        (&report["service"], &report["instance"]),
        (&"payment".into(), &running.instance().into())
    );
    assert_eq!(report["handlers"][0]["event"], "OrderPlaced");
    assert_eq!(report["metrics"]["lag_seconds"], 0.0);
    let metrics = shown.get("/metrics").await.body;
    let instance = running.instance();
    for line in [
        format!("tidings_service_breaker_open{{service=\"payment\",instance=\"{instance}\"}} 0\n"),
        format!(
            "tidings_service_processed_total{{service=\"payment\",instance=\"{instance}\",handler=\"charge\"}} 0\n"
        ),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    assert!(!shown.get("/events").await.body.contains("tidings.services"));
    running.stop().await.unwrap();
    shown.console.sampled().await;
    assert_eq!(shown.json("/api/services").await["services"], serde_json::json!([]));
}
