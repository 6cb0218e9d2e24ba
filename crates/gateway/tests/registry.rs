//! The registry over its router, on an engine in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::task::Poll;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tidings_engine::{Engine, NewTopic, ReadLimit};
use tidings_gateway::registry;
use tower::ServiceExt;

const JSON: &str = "application/vnd.schemaregistry.v1+json";

struct Registry {
    engine: Engine,
    router: Router,
}

impl Registry {
    async fn new() -> Self {
        Self::on(Engine::in_memory().await.unwrap()).await
    }

    async fn on(engine: Engine) -> Self {
        let router = registry(engine.clone()).await.unwrap();
        Self { engine, router }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, JSON).body(body.to_string().into()),
            None => request.body(Body::empty()),
        };
        let (status, kind, body) = self.send(request.unwrap()).await;
        assert_eq!(kind, JSON, "{path}: {body}");
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    async fn text(&self, path: &str) -> String {
        let (status, _, body) = self.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, 200, "{path}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        self.ask(Method::DELETE, path, None).await
    }

    async fn register(&self, subject: &str, schema: &str) -> (u16, Value) {
        self.post(&format!("/subjects/{subject}/versions"), json!({ "schema": schema })).await
    }
}

fn code((status, body): &(u16, Value)) -> (u16, i64) {
    (*status, body["error_code"].as_i64().unwrap_or_default())
}

#[tokio::test]
async fn a_schema_is_registered_looked_up_and_listed() {
    let registry = Registry::new().await;
    assert_eq!(registry.get("/").await, (200, json!({})));
    assert_eq!(registry.get("/subjects").await, (200, json!([])));
    assert_eq!(registry.register("a-value", r#"{"type":"string"}"#).await, (200, json!({"id": 1})));
    assert_eq!(registry.register("a-value", r#""string""#).await, (200, json!({"id": 1})));
    assert_eq!(registry.register("a-value", r#""long""#).await, (200, json!({"id": 2})));
    let body = json!({
        "schema": r#"{"type":"object"}"#, "schemaType": "JSON", "references": [],
        "metadata": null, "ruleSet": null, "somethingNew": 1,
    });
    assert_eq!(
        registry.post("/subjects/b-value/versions", body.clone()).await,
        (200, json!({"id": 3}))
    );

    assert_eq!(registry.get("/subjects").await, (200, json!(["a-value", "b-value"])));
    assert_eq!(registry.get("/subjects?subjectPrefix=b").await, (200, json!(["b-value"])));
    assert_eq!(registry.get("/subjects?offset=1&limit=1").await, (200, json!(["b-value"])));
    assert_eq!(registry.get("/subjects/a-value/versions").await, (200, json!([1, 2])));
    let first = json!({"subject": "a-value", "version": 1, "id": 1, "schema": "\"string\""});
    assert_eq!(registry.get("/subjects/a-value/versions/1").await, (200, first.clone()));
    let look_up = registry.post("/subjects/a-value", json!({"schema": r#"{"type":"string"}"#}));
    assert_eq!(look_up.await, (200, first));
    for latest in ["latest", "-1", "2"] {
        let path = format!("/subjects/a-value/versions/{latest}");
        let (_, found) = registry.get(&path).await;
        assert_eq!((&found["version"], &found["schema"]), (&json!(2), &json!("\"long\"")));
    }
    assert_eq!(registry.text("/subjects/a-value/versions/latest/schema").await, "\"long\"");
    assert_eq!(registry.get("/schemas/ids/1").await, (200, json!({"schema": "\"string\""})));
    let third = json!({"schema": r#"{"type":"object"}"#, "schemaType": "JSON"});
    assert_eq!(registry.get("/schemas/ids/3").await, (200, third));
    assert_eq!(registry.text("/schemas/ids/3/schema").await, r#"{"type":"object"}"#);
    assert_eq!(registry.get("/schemas/ids/3/subjects").await, (200, json!(["b-value"])));
    let uses = json!([{"subject": "b-value", "version": 1}]);
    assert_eq!(registry.get("/schemas/ids/3/versions").await, (200, uses));
    assert_eq!(registry.get("/schemas/types").await, (200, json!(["JSON", "AVRO"])));
    assert_eq!(registry.get("/mode").await, (200, json!({"mode": "READWRITE"})));
    assert_eq!(registry.get("/contexts").await, (200, json!(["."])));
}

#[tokio::test]
async fn what_is_missing_or_wrong_has_confluents_code() {
    let registry = Registry::new().await;
    registry.register("a", "\"int\"").await;
    for (path, wanted) in [
        ("/subjects/b/versions", (404, 40401)),
        ("/subjects/b/versions/1", (404, 40401)),
        ("/subjects/a/versions/2", (404, 40402)),
        ("/subjects/a/versions/0", (422, 42202)),
        ("/subjects/a/versions/one", (422, 42202)),
        ("/schemas/ids/2", (404, 40403)),
        ("/schemas/ids/x", (404, 40403)),
        ("/config/a", (404, 40408)),
        ("/nothing/here", (404, 404)),
    ] {
        assert_eq!(code(&registry.get(path).await), wanted, "{path}");
    }
    for (body, wanted, part) in [
        (json!({"schema": "{"}), (422, 42201), "AVRO"),
        (json!({"schema": "\"strin\""}), (422, 42201), "strin"),
        (json!({"schema": "x", "schemaType": "PROTOBUF"}), (422, 42201), "not supported yet"),
        (json!({"schema": "x", "schemaType": "XML"}), (422, 42201), "XML"),
        (json!({"schema": "\"int\"", "metadata": {"tags": {}}}), (422, 42201), "not supported yet"),
        (
            json!({"schema": "\"int\"", "references": [{"name": "n", "subject": "s", "version": 1}]}),
            (422, 42201),
            "references",
        ),
        (json!({"schemaType": "AVRO"}), (400, 400), "schema"),
    ] {
        let answer = registry.post("/subjects/a/versions", body.clone()).await;
        assert_eq!(code(&answer), wanted, "{body}");
        assert!(answer.1["message"].as_str().unwrap().contains(part), "{answer:?}");
    }
    let look_up = |subject| registry.post(subject, json!({"schema": "\"long\""}));
    assert_eq!(code(&look_up("/subjects/a").await), (404, 40403));
    assert_eq!(code(&look_up("/subjects/b").await), (404, 40401));
    assert_eq!(code(&registry.delete("/subjects/b").await), (404, 40401));
    assert_eq!(code(&registry.put("/mode", json!({})).await), (405, 405));
    let foreign = Request::post("/subjects/a/versions").header(header::CONTENT_TYPE, "text/plain");
    let (status, ..) = registry.send(foreign.body(r#"{"schema":"\"int\""}"#.into()).unwrap()).await;
    assert_eq!(status, 415, "a page elsewhere can send text, but not JSON, through a browser");
    let long = Request::post("/subjects/a/versions").header(header::CONTENT_TYPE, JSON);
    let (status, ..) = registry.send(long.body(vec![b' '; 2 * 1024 * 1024].into()).unwrap()).await;
    assert_eq!(status, 413);
    assert_eq!(registry.get("/subjects/a/versions").await, (200, json!([1])), "nothing changed");
}

#[tokio::test]
async fn deletion_is_soft_first() {
    let registry = Registry::new().await;
    registry.register("a", "\"int\"").await;
    registry.register("a", "\"long\"").await;
    let permanent = "/subjects/a/versions/1?permanent=true";
    assert_eq!(code(&registry.delete(permanent).await), (404, 40407));
    assert_eq!(registry.delete("/subjects/a/versions/1").await, (200, json!(1)));
    assert_eq!(code(&registry.delete("/subjects/a/versions/1").await), (404, 40406));
    assert_eq!(registry.get("/subjects/a/versions").await, (200, json!([2])));
    assert_eq!(registry.get("/subjects/a/versions?deleted=true").await, (200, json!([1, 2])));
    assert_eq!(registry.delete(permanent).await, (200, json!(1)));
    assert_eq!(code(&registry.get("/schemas/ids/1").await), (404, 40403));
    assert_eq!(code(&registry.delete("/subjects/a?permanent=true").await), (404, 40405));
    assert_eq!(registry.delete("/subjects/a").await, (200, json!([2])));
    assert_eq!(code(&registry.delete("/subjects/a").await), (404, 40404));
    assert_eq!(registry.get("/subjects").await, (200, json!([])));
    assert_eq!(registry.get("/subjects?deleted=true").await, (200, json!(["a"])));
    assert_eq!(registry.delete("/subjects/a?permanent=true").await, (200, json!([2])));
    assert_eq!(registry.get("/subjects?deleted=true").await, (200, json!([])));
}

#[tokio::test]
async fn only_the_level_none_can_be_set() {
    let registry = Registry::new().await;
    let none = json!({"compatibilityLevel": "NONE"});
    assert_eq!(registry.get("/config").await, (200, none.clone()));
    assert_eq!(registry.get("/config/").await, (200, none.clone()));
    assert_eq!(registry.get("/config/a?defaultToGlobal=true").await, (200, none.clone()));
    for path in ["/config", "/config/a"] {
        let set = registry.put(path, json!({"compatibility": "NONE"})).await;
        assert_eq!(set, (200, json!({"compatibility": "NONE"})));
        let refused = registry.put(path, json!({"compatibility": "FULL"})).await;
        assert_eq!(code(&refused), (422, 42203));
        assert!(
            refused.1["message"].as_str().unwrap().contains("not supported yet"),
            "{refused:?}"
        );
    }
    assert_eq!(registry.get("/config/a").await, (200, none.clone()));
    assert_eq!(registry.delete("/config/a").await, (200, none));
    assert_eq!(code(&registry.get("/config/a").await), (404, 40408));
    registry.register("a", "\"int\"").await;
    for (path, wanted) in [
        ("/compatibility/subjects/a/versions/latest", json!({"is_compatible": true})),
        ("/compatibility/subjects/new/versions/latest", json!({"is_compatible": true})),
        (
            "/compatibility/subjects/a/versions?verbose=true",
            json!({"is_compatible": true, "messages": []}),
        ),
    ] {
        assert_eq!(registry.post(path, json!({"schema": "\"long\""})).await, (200, wanted));
    }
    let path = "/compatibility/subjects/a/versions/9";
    assert_eq!(code(&registry.post(path, json!({"schema": "\"long\""})).await), (404, 40402));
    let path = "/compatibility/subjects/a/versions/latest";
    assert_eq!(code(&registry.post(path, json!({"schema": "\"lon\""})).await), (422, 42201));
}

#[tokio::test]
async fn a_registry_is_what_its_topic_says() {
    let first = Registry::new().await;
    first.register("a", "\"int\"").await;
    first.register("a", "\"long\"").await;
    first.delete("/subjects/a/versions/1").await;
    let second = Registry::on(first.engine.clone()).await;
    assert_eq!(second.get("/subjects/a/versions?deleted=true").await, (200, json!([1, 2])));
    assert_eq!(second.get("/subjects/a/versions").await, (200, json!([2])));
    assert_eq!(second.register("b", "\"bytes\"").await, (200, json!({"id": 3})));
    let again = first.register("c", "\"float\"").await;
    assert_eq!(again, (200, json!({"id": 4})), "a write begins with what others have written");
    let limit = ReadLimit { records: 1, bytes: 1, wait: std::time::Duration::ZERO };
    let read = first.engine.read("_schemas", 0, 0, limit).await.unwrap();
    let key = read.records[0].key.as_deref().unwrap();
    assert_eq!(key, br#"{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}"#);
    assert_eq!(first.engine.topic("_schemas").await.unwrap().partitions.len(), 1);
}

#[tokio::test]
async fn foreign_records_in_the_topic_are_passed_over() {
    let engine = Engine::in_memory().await.unwrap();
    let topic = NewTopic { name: "_schemas".into(), partitions: Some(1), configs: vec![] };
    engine.create_topic(topic).await.unwrap();
    let producer = engine.producer().await.unwrap();
    let record = tidings_engine::SentRecord {
        topic: "_schemas".into(),
        value: Some("hello".into()),
        ..Default::default()
    };
    producer.send(vec![record]).await.unwrap();
    let registry = Registry::on(engine).await;
    assert_eq!(registry.register("a", "\"int\"").await, (200, json!({"id": 1})));
}

#[tokio::test]
async fn concurrent_registrations_get_distinct_ids() {
    let registry = Registry::new().await;
    let schemas: Vec<_> =
        (0..20).map(|n| format!(r#"{{"type":"fixed","name":"F{n}","size":{n}}}"#)).collect();
    let all = tokio::task::JoinSet::from_iter(schemas.into_iter().map(|schema| {
        let registry =
            Registry { engine: registry.engine.clone(), router: registry.router.clone() };
        async move { registry.register("a", &schema).await.1["id"].as_i64().unwrap() }
    }));
    let mut ids = all.join_all().await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    assert_eq!(registry.get("/subjects/a/versions").await.1.as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn registries_on_one_topic_give_away_distinct_ids_and_know_each_others() {
    let engine = Engine::in_memory().await.unwrap();
    let both = [Registry::on(engine.clone()).await, Registry::on(engine.clone()).await];
    let schema = |n: i64| format!(r#"{{"type":"fixed","name":"F{n}","size":{n}}}"#);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..30 {
        let its = &both[usize::try_from(n).unwrap() % 2];
        let registry = Registry { engine: engine.clone(), router: its.router.clone() };
        running.spawn(async move {
            let (status, body) = registry.register("a", &schema(n)).await;
            assert_eq!(status, 200, "{body}");
            (body["id"].as_i64().unwrap(), schema(n))
        });
    }
    let registered = running.join_all().await;
    let ids: BTreeSet<i64> = registered.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=30).collect());
    for registry in &both {
        for (id, schema) in &registered {
            let (status, found) = registry.get(&format!("/schemas/ids/{id}")).await;
            assert_eq!(status, 200, "{found}");
            let found: Value = serde_json::from_str(found["schema"].as_str().unwrap()).unwrap();
            assert_eq!(found, serde_json::from_str::<Value>(schema).unwrap());
        }
    }
}

#[tokio::test]
async fn what_another_registry_has_written_is_found_at_once() {
    let engine = Engine::in_memory().await.unwrap();
    let [one, other] = [Registry::on(engine.clone()).await, Registry::on(engine).await];
    for n in 1..=20 {
        let schema = format!(r#"{{"type":"fixed","name":"F{n}","size":{n}}}"#);
        assert_eq!(one.register("a", &schema).await, (200, json!({ "id": n })));
        assert_eq!(other.get(&format!("/schemas/ids/{n}")).await.0, 200);
    }
}

#[tokio::test]
async fn a_registration_whose_client_goes_away_shares_its_id_with_no_other() {
    let registry = Registry::new().await;
    let schema = |n: u32| format!(r#"{{"type":"fixed","name":"F{n}","size":{n}}}"#);
    registry.register("a", &schema(0)).await;
    for n in 1..=200 {
        // Gone after n % 10 steps: before, while and after its record is on the way to the disk.
        let (first, second) = (schema(2 * n), schema(2 * n + 1));
        let mut gone = Box::pin(registry.register("a", &first));
        let mut steps = 0;
        poll_fn(|context| match gone.as_mut().poll(context) {
            Poll::Pending if steps < n % 10 => {
                steps += 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
        drop(gone);
        assert_eq!(registry.register("a", &second).await.0, 200);
    }
    let limit = ReadLimit { records: 10_000, bytes: 1 << 24, wait: std::time::Duration::ZERO };
    let read = registry.engine.read("_schemas", 0, 0, limit).await.unwrap();
    let mut schemas: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for record in read.records {
        let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        let text = value["schema"].as_str().unwrap().to_owned();
        schemas.entry(value["id"].as_i64().unwrap()).or_default().insert(text);
    }
    assert!(schemas.len() > 200, "{}", schemas.len());
    let shared: Vec<_> = schemas.iter().filter(|(_, schemas)| schemas.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let registry = Registry::new().await;
    let never = tokio_stream::pending::<Result<String, std::io::Error>>();
    let request = Request::post("/subjects/a/versions").header(header::CONTENT_TYPE, JSON);
    let request = request.body(Body::from_stream(never)).unwrap();
    let (status, _, _) = registry.send(request).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}
