//! Groups over the console's router, on an engine in memory: their page, their history, and setting positions.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::{
    Engine, NewTopic, Polled, ReadLimit, SentRecord, SubscribeOptions, Subscription, TopicPartition,
};
use tower::ServiceExt;

struct Answer {
    status: u16,
    location: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

async fn console(engine: &Engine) -> Console {
    let quick = Duration::from_millis(20);
    let options = ConsoleOptions {
        sample_interval: quick,
        history_interval: quick,
        ..ConsoleOptions::default()
    };
    Console::start(engine.clone(), options).await
}

async fn ask(console: &Console, request: Request<Body>) -> Answer {
    let response = console.router().oneshot(request).await.unwrap();
    let location = response.headers().get(header::LOCATION);
    let location = location.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, location, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn get(console: &Console, path: &str) -> Answer {
    ask(console, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn post(console: &Console, path: &str, kind: &str, body: &str) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, kind);
    ask(console, request.body(Body::from(body.to_owned())).unwrap()).await
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A topic `t` of two partitions with five records each, written a second apart, and a group that has read three of the first.
async fn engine() -> Engine {
    let engine = Engine::in_memory().await.unwrap();
    let topic = NewTopic { name: "t".into(), partitions: Some(2), configs: vec![] };
    engine.create_topic(topic).await.unwrap();
    for n in 0..5_i64 {
        let record = |partition| SentRecord {
            topic: "t".into(),
            partition: Some(partition),
            value: Some("x".into()),
            timestamp: Some(1_700_000_000_000 + n * 1_000),
            ..SentRecord::default()
        };
        engine.producer().await.unwrap().send(vec![record(0), record(1)]).await.unwrap();
    }
    let mut member = join(&engine, "reader").await;
    let at = TopicPartition { topic: "t".into(), partition: 0 };
    member.commit(&[(at, 3, None)]).await.unwrap();
    member.close().await.unwrap();
    engine
}

async fn join(engine: &Engine, client: &str) -> Subscription {
    let options = SubscribeOptions { client_id: client.into(), ..SubscribeOptions::default() };
    let mut member = engine.subscribe("g", &["t".into()], options).await.unwrap();
    while !matches!(member.poll(1, Duration::from_secs(10)).await.unwrap(), Polled::Assigned(_)) {}
    member
}

async fn positions(engine: &Engine) -> Vec<(i32, Option<i64>)> {
    let group = engine.group("g").await.unwrap();
    group.offsets.iter().map(|at| (at.partition, at.committed)).collect()
}

#[tokio::test]
async fn what_is_set_is_exactly_what_was_looked_at() {
    let engine = engine().await;
    let console = console(&engine).await;
    console.sampled().await;
    let empty = get(&console, "/groups/g/reset").await;
    assert_eq!(empty.status, 200);
    assert!(empty.body.contains("Say where to"), "{}", empty.body);

    let path = "/groups/g/reset?to=start&topic=t";
    let looked = get(&console, &format!("/api{path}")).await.json();
    assert_eq!(
        looked["positions"],
        json!([
            { "topic": "t", "partition": 0, "committed": 3, "to": 0 },
            { "topic": "t", "partition": 1, "committed": null, "to": 0 },
        ])
    );
    assert_eq!((&looked["again"], &looked["skipped"]), (&json!(3), &json!(0)));
    let page = get(&console, path).await;
    assert!(page.body.contains("Set 2 positions"), "{}", page.body);
    assert!(page.body.contains("t:0:3:0\nt:1:-:0"), "{}", page.body);
    assert_eq!(positions(&engine).await, [(0, Some(3))], "a look sets nothing");

    let set =
        post(&console, "/groups/g/reset", FORM, "plan=t%3A0%3A3%3A0%0D%0At%3A1%3A-%3A0").await;
    assert_eq!((set.status, set.location.as_str()), (303, "/groups/g?set=2"));
    assert_eq!(positions(&engine).await, [(0, Some(0)), (1, Some(0))]);
    assert!(get(&console, &set.location).await.body.contains("2 positions were set"));

    let stale = post(&console, "/groups/g/reset", FORM, "plan=t%3A0%3A3%3A1").await;
    assert_eq!(stale.status, 409);
    assert!(stale.body.contains("not where it was"), "{}", stale.body);
    assert_eq!(positions(&engine).await, [(0, Some(0)), (1, Some(0))]);
    assert_eq!(post(&console, "/groups/g/reset", FORM, "to=start").await.status, 400, "no look");
}

#[tokio::test]
async fn positions_go_to_an_offset_a_time_or_the_end() {
    let engine = engine().await;
    let console = console(&engine).await;
    for (body, wanted) in [
        (r#"{"to":"end"}"#, vec![(0, Some(5))]),
        (
            r#"{"to":"offset","offset":2,"topic":"t","partition":1}"#,
            vec![(0, Some(5)), (1, Some(2))],
        ),
        (r#"{"to":"offset","offset":99,"topic":"t"}"#, vec![(0, Some(5)), (1, Some(5))]),
        (r#"{"to":"time","time":1700000003500}"#, vec![(0, Some(4)), (1, Some(4))]),
        (r#"{"to":"time","time":"2023-11-14T22:13:21"}"#, vec![(0, Some(1)), (1, Some(1))]),
    ] {
        let dry = body.replace("{\"to", "{\"dry_run\":true,\"to");
        let before = positions(&engine).await;
        let looked = post(&console, "/api/groups/g/reset", JSON, &dry).await;
        assert_eq!(looked.status, 200, "{body}: {}", looked.body);
        assert_eq!(positions(&engine).await, before, "{body}");
        let set = post(&console, "/api/groups/g/reset", JSON, body).await;
        assert_eq!(set.status, 200, "{body}: {}", set.body);
        assert_eq!(set.json()["positions"], looked.json()["positions"], "{body}");
        assert_eq!(positions(&engine).await, wanted, "{body}");
    }
    for (body, status) in [
        (r#"{"to":"back"}"#, 400),
        (r#"{"to":"start","partition":1}"#, 400),
        (r#"{"to":"start","topic":"none"}"#, 404),
        (r#"{"to":"start","topic":"t","partition":7}"#, 404),
        (r#"{"to":"start","plan":"x"}"#, 400),
    ] {
        let refused = post(&console, "/api/groups/g/reset", JSON, body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.body);
        assert!(refused.json()["detail"].is_string());
    }
    let none = post(&console, "/api/groups/none/reset", JSON, r#"{"to":"start"}"#).await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn a_group_with_members_is_not_reset_and_no_foreign_page_resets_one() {
    let engine = engine().await;
    let console = console(&engine).await;
    let member = join(&engine, "reader").await;
    let page = get(&console, "/groups/g/reset?to=start").await;
    assert!(page.body.contains("It has 1 member"), "{}", page.body);
    assert!(!page.body.contains("Set 1 position"), "{}", page.body);
    let refused = post(&console, "/api/groups/g/reset", JSON, r#"{"to":"start"}"#).await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["try"].as_str().unwrap().contains("stop its members"));
    assert_eq!(post(&console, "/groups/g/reset", FORM, "plan=t%3A0%3A3%3A0").await.status, 409);
    member.close().await.unwrap();
    let foreign = Request::post("/groups/g/reset")
        .header(header::CONTENT_TYPE, FORM)
        .header(header::HOST, "localhost:8080")
        .header(header::ORIGIN, "http://evil.example")
        .body(Body::from("plan=t%3A0%3A3%3A0"));
    assert_eq!(ask(&console, foreign.unwrap()).await.status, 403);
    assert_eq!(positions(&engine).await, [(0, Some(3))]);
}

#[tokio::test]
async fn a_page_says_what_is_odd_about_a_group() {
    let engine = engine().await;
    let console = console(&engine).await;
    let mut members = Vec::new();
    for client in ["a", "b", "c"] {
        let options = SubscribeOptions { client_id: client.into(), ..SubscribeOptions::default() };
        members.push(engine.subscribe("g", &["t".into()], options).await.unwrap());
    }
    let many = (0..200).map(|_| SentRecord {
        topic: "t".into(),
        partition: Some(1),
        value: Some("x".into()),
        ..SentRecord::default()
    });
    engine.producer().await.unwrap().send(many.collect()).await.unwrap();
    let group = loop {
        for member in &mut members {
            member.poll(1, Duration::from_millis(5)).await.unwrap();
        }
        let group = get(&console, "/api/groups/g").await.json();
        if group["state"] == "Stable" && group["member_list"].as_array().unwrap().len() == 3 {
            break group;
        }
    };
    assert_eq!(group["hot"], json!([{ "topic": "t", "partition": 1 }]));
    let offsets = group["offsets"].as_array().unwrap();
    assert_eq!((&offsets[1]["hot"], &offsets[0]["hot"]), (&json!(true), &json!(false)));
    assert_eq!(offsets[1]["share"], 99);
    let idle: Vec<_> =
        group["member_list"].as_array().unwrap().iter().filter(|one| one["idle"] == true).collect();
    assert_eq!(idle.len(), 1, "{group}");
    console.sampled().await;
    let page = get(&console, "/groups/g").await.body;
    for part in ["Hot partition", "t-1 has far more lag", "1 idle member", "Time to drain", "<svg"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(" style="), "{page}");
}

fn points(group: &Value) -> Vec<(i64, i64)> {
    let points = group["history"]["points"].as_array().unwrap().iter();
    points.map(|p| (p["time_ms"].as_i64().unwrap(), p["lag"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn the_history_of_a_group_outlives_the_console() {
    let engine = engine().await;
    let first = console(&engine).await;
    first.kept().await;
    let before = points(&get(&first, "/api/groups/g").await.json());
    assert!(!before.is_empty());
    assert!(before.iter().all(|(_, lag)| *lag == 2), "{before:?}");
    drop(first);

    let second = console(&engine).await;
    second.kept().await;
    second.kept().await;
    let after = points(&get(&second, "/api/groups/g").await.json());
    assert!(before.iter().all(|point| after.contains(point)), "{before:?} in {after:?}");
    assert!(after.len() > before.len(), "{after:?}");
    let topics = get(&second, "/api/topics").await.json();
    let topics = topics["topics"].as_array().unwrap();
    let kept = topics.iter().find(|topic| topic["name"] == "tidings.groups").unwrap();
    assert_eq!(kept["internal"], true);
    assert!(!get(&second, "/events").await.body.contains("tidings.groups"));
    let configs = engine.topic_configs("tidings.groups").await.unwrap();
    let policy = configs.iter().find(|config| config.name == "cleanup.policy").unwrap();
    assert_eq!(policy.value.as_deref(), Some("compact,delete"));
    assert_eq!(get(&second, "/groups/g?range=24h").await.status, 200);
    assert_eq!(get(&second, "/groups/g?range=1y").await.status, 400);
}

#[tokio::test]
async fn two_consoles_keep_one_history() {
    let engine = engine().await;
    let (one, other) = (console(&engine).await, console(&engine).await);
    for _ in 0..3 {
        one.kept().await;
        other.kept().await;
    }
    one.stop();
    // What the first has written is read by the second before it writes again.
    other.kept().await;
    other.kept().await;
    let seen = points(&get(&other, "/api/groups/g").await.json());
    let limit = ReadLimit { records: 10_000, bytes: 1 << 20, wait: Duration::ZERO };
    let written = engine.read("tidings.groups", 0, 0, limit).await.unwrap().records;
    let mut keys = std::collections::BTreeSet::new();
    for record in &written {
        let key: (String, i64) = serde_json::from_slice(record.key.as_deref().unwrap()).unwrap();
        let point: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        assert_eq!((key.0.as_str(), &point["lag"]), ("g", &json!(2)));
        keys.insert(key.1);
    }
    let seen: std::collections::BTreeSet<i64> = seen.into_iter().map(|(ms, _)| ms).collect();
    let missing: Vec<_> = keys.difference(&seen).collect();
    // Written between the look at the page and the look at the topic.
    assert!(missing.len() <= 3, "{missing:?} of {}", keys.len());
}
