//! Keys and values of schemas: lists, filters, pages and their JSON have what they say, beside what was written.

use serde_json::{Value, json};
use tidings_console::limits;
use tidings_engine::{NewTopic, SentRecord};
use tidings_schema::{Change, SchemaType};

use crate::{Shown, ago, offsets, record};

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},{"name":"who","type":"string"},{"name":"raw","type":"bytes"}]}"#;
const NOTE: &str = "syntax = \"proto3\"; package shop; message Other {} message Note { int64 id = 1; string who = 2; }";

/// A topic `t`, and the schemas 1 to 4 in a registry's topic.
async fn shown() -> Shown {
    let shown = Shown::new().await;
    shown.topic("t", 1, &[("max.message.bytes", "4194304")]).await;
    let topic = NewTopic { name: "_schemas".into(), partitions: Some(1), configs: Vec::new() };
    shown.engine.create_topic(topic).await.unwrap();
    for (id, subject, kind, schema) in [
        (1, "t-key", SchemaType::Avro, "\"string\""),
        (2, "t-value", SchemaType::Avro, ORDER),
        (3, "notes", SchemaType::Protobuf, NOTE),
        (4, "plain", SchemaType::Json, "{\"type\":\"object\"}"),
    ] {
        register(&shown, id, subject, kind, schema).await;
    }
    shown
}

async fn register(shown: &Shown, id: i32, subject: &str, kind: SchemaType, schema: &str) {
    let (subject, schema) = (subject.to_owned(), schema.to_owned());
    let references = Vec::new();
    let change =
        Change::Version { subject, version: 1, id, kind, references, schema, deleted: false };
    let (key, value) = change.to_record();
    let sent = SentRecord {
        topic: "_schemas".into(),
        key: Some(key.into()),
        value: value.map(Into::into),
        ..SentRecord::default()
    };
    shown.send(vec![sent]).await;
}

fn framed(id: u32, rest: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), rest].concat()
}

/// An Avro order under an Avro key, a note in Protobuf, an object in JSON.
fn three(ms: i64) -> Vec<SentRecord> {
    let mut order = record(0, ago(ms), framed(2, b"\x0e\x06Ann\x04\0\xff"));
    order.key = Some(framed(1, b"\x06A-7").into());
    let note = record(0, ago(ms - 1), framed(3, b"\x02\x02\x08\x08\x12\x03Bob"));
    vec![order, note, record(0, ago(ms - 2), framed(4, b"{\"id\":9,\"who\":\"Cid\"}"))]
}

#[tokio::test]
async fn values_of_all_three_kinds_are_listed_found_and_opened_decoded() {
    let shown = shown().await;
    shown.send(three(1_000)).await;
    let list = shown.json("/api/topics/t?col=$.who").await;
    let row = |at: usize, name: &str| list["page"][at][name].clone();
    assert_eq!(row(2, "value"), r#"{"id":7,"who":"Ann","raw":"0x00ff"}"#);
    assert_eq!((row(2, "key"), row(2, "schema_id")), (json!("A-7"), json!(2)));
    assert_eq!(
        (row(1, "value"), row(1, "schema_id")),
        (json!(r#"{"id":8,"who":"Bob"}"#), json!(3))
    );
    assert_eq!((row(0, "columns"), row(1, "columns")), (json!(["Cid"]), json!(["Bob"])));
    // What was written counts, not what it reads as.
    assert_eq!(row(2, "value_bytes"), json!(13));
    for (query, found) in [
        ("q=Ann", vec![0]),
        ("q=%2FB.b%2F", vec![1]),
        ("json=$.id=9", vec![2]),
        ("json=$.who", vec![2, 1, 0]),
        ("cel=value.id%20%3C%209", vec![1, 0]),
        ("key=A-7", vec![0]),
        ("q=0x00ff", vec![0]),
    ] {
        assert_eq!(shown.all(query).await, found, "{query}");
    }
    let mut search = shown.stream("/api/topics/t/search?json=$.who=Bob").await;
    assert_eq!(search.named("record").await["offset"], json!(1));
    let page = shown.get("/topics/t?open=0/0").await;
    for wanted in [
        "t-value version 1",
        "id 2",
        "AVRO",
        "shop.Order",
        "bytes in hexadecimal",
        "As it was written",
    ] {
        assert!(page.text().contains(wanted), "{wanted}: {}", page.text());
    }
    let order = shown.json("/api/topics/t/0/0").await;
    assert_eq!(
        order["framing"],
        json!({
            "schema_id": 2, "subject": "t-value", "version": 1, "schema_type": "AVRO",
            "type_name": "shop.Order",
            "decoded": { "form": "json", "text": "{\"id\":7,\"who\":\"Ann\",\"raw\":\"0x00ff\"}" },
        })
    );
    assert_eq!(order["value_payload"]["form"], "binary");
    assert_eq!(order["key_framing"]["subject"], "t-key");
    let note = shown.json("/api/topics/t/0/1").await;
    assert_eq!(
        (&note["framing"]["type_name"], &note["key_framing"]),
        (&json!("shop.Note"), &Value::Null)
    );
    // The value itself stays what was written.
    assert_eq!(shown.get("/api/topics/t/0/1/value").await.body, three(1)[1].value.clone().unwrap());
}

#[tokio::test]
async fn a_tail_and_a_trace_see_what_is_decoded() {
    let shown = shown().await;
    let mut tail = shown.stream("/api/topics/t/tail?json=$.who=Bob").await;
    assert_eq!(tail.named("records").await["records"], json!([]));
    shown.send(three(1_000)).await;
    let came = loop {
        let came = tail.named("records").await["records"].clone();
        if came != json!([]) {
            break came;
        }
    };
    assert_eq!(
        (&came[0]["offset"], &came[0]["value"]),
        (&json!(1), &json!(r#"{"id":8,"who":"Bob"}"#))
    );
    let trace = shown.json("/api/trace?q=Bob").await;
    assert!(trace.to_string().contains(r#""offset":1"#), "{trace}");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_shown_as_it_is_with_the_reason() {
    let shown = shown().await;
    register(&shown, 5, "broken", SchemaType::Avro, "{\"type\":\"record\"}").await;
    let huge = format!(
        "{{\"type\":\"fixed\",\"name\":\"F\",\"size\":1,\"doc\":\"{}\"}}",
        "x".repeat(tidings_decode::limits::SCHEMA_BYTES_MAX / 3)
    );
    register(&shown, 6, "huge", SchemaType::Avro, &huge).await;
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    register(&shown, 7, "list", SchemaType::Avro, list).await;
    let sent = [
        framed(2, b"\x0e\x06An"),
        framed(3, b"\x02\x02\x08"),
        framed(4, b"{\"id\":"),
        framed(5, b"\0"),
        framed(7, &[2; 100_000]),
        framed(99, b"\xff"),
        framed(2, &vec![0; tidings_decode::limits::VALUE_BYTES_MAX - 1]),
    ];
    for value in sent.clone() {
        shown.send(vec![record(0, ago(1_000), value)]).await;
    }
    let wanted = [
        "the bytes do not fit the schema: ",
        "the bytes do not fit the schema: ",
        "the bytes do not fit the schema: they are no JSON",
        "the schema cannot be used: ",
        "it nests more than 100 deep",
        "the registry has no schema 99",
        "at most 1048576 are decoded",
    ];
    assert_eq!(shown.all("").await.len(), sent.len());
    for (offset, wanted) in wanted.iter().enumerate() {
        let found = shown.json(&format!("/api/topics/t/0/{offset}")).await;
        let refused = found["framing"]["refused"].as_str().unwrap();
        assert!(refused.contains(wanted), "{offset}: {refused}");
        assert_eq!(found["framing"]["decoded"], Value::Null);
        let page = shown.get(&format!("/topics/t?open=0/{offset}")).await;
        assert!(page.text().contains("Not decoded"), "{offset}: {}", page.text());
        assert!(
            page.body.len() < 16 * limits::PAYLOAD_SHOWN_BYTES,
            "{offset}: {}",
            page.body.len()
        );
    }
    // Bytes that only begin with zeros are not meant to name a schema.
    shown.send(vec![record(0, ago(900), vec![0, 0, 0, 0, 0, 0, 0, 7])]).await;
    assert_eq!(shown.json("/api/topics/t/0/7").await["framing"], Value::Null);
}

#[tokio::test]
async fn schemas_that_come_later_are_known_with_the_next_page() {
    let shown = shown().await;
    shown.send(vec![record(0, ago(1_000), framed(8, b"\x0e"))]).await;
    let page = shown.json("/api/topics/t").await;
    assert_eq!((offsets(&page), &page["page"][0]["schema_id"]), (vec![0], &Value::Null));
    register(&shown, 8, "late", SchemaType::Avro, "\"long\"").await;
    let page = shown.json("/api/topics/t").await;
    assert_eq!(
        (&page["page"][0]["value"], &page["page"][0]["schema_id"]),
        (&json!("7"), &json!(8))
    );
}
