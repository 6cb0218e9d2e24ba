//! What a new record of a topic could look like: as the latest one, and as the schema of its subject says.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_decode::Latest;
use tidings_engine::{Engine, Error, ReadLimit, Record, Topic};
use tidings_gateway::Trouble;
use tidings_schema::SchemaType;

use super::view::turn;
use crate::Shared;
use crate::limits::{
    EVENT_READ_BYTES, PRODUCED_HEADERS_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_DEPTH_MAX,
    TEMPLATE_RECORDS,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Template {
    /// The topic's latest record that has a value of text.
    pub(super) latest: Option<Example>,
    pub(super) schema: Option<SchemaExample>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Example {
    pub(super) key: Option<String>,
    pub(super) value: String,
    pub(super) is_json: bool,
    /// Name and value.
    pub(super) headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SchemaExample {
    pub(super) subject: String,
    pub(super) version: i32,
    pub(super) id: i32,
    pub(super) kind: &'static str,
    /// None where the schema is not JSON Schema: its records are not written as JSON.
    pub(super) value: Option<String>,
}

pub(super) async fn of(shared: &Shared, name: &str) -> Result<Template, Trouble> {
    let engine = &shared.engine;
    let topic = engine.topic(name).await?;
    let turn = turn(shared).await?;
    let latest = latest(engine, &topic).await?.as_ref().and_then(example);
    drop(turn);
    let subject = format!("{name}-value");
    let schema = shared.schemas.current().await.latest(&subject);
    Ok(Template { latest, schema: schema.map(|found| schema_example(subject, &found)) })
}

/// The newest of each partition's last records that can be edited. They are read one by one: however large the others
/// are, one is there at a time.
async fn latest(engine: &Engine, topic: &Topic) -> Result<Option<Record>, Error> {
    let count = i64::try_from(TEMPLATE_RECORDS).unwrap_or(i64::MAX);
    let mut latest: Option<Record> = None;
    for partition in &topic.partitions {
        let first = partition.start_offset.max(partition.end_offset - count);
        for offset in (first..partition.end_offset).rev() {
            let limit = ReadLimit { records: 1, bytes: EVENT_READ_BYTES, wait: Duration::ZERO };
            let read = engine.read(&topic.name, partition.id, offset, limit).await?;
            let there = read.records.into_iter().next().filter(|record| record.offset == offset);
            // Markers of transactions, for one, are no records.
            let Some(record) = there.filter(|record| example(record).is_some()) else { continue };
            if latest.as_ref().is_none_or(|latest| latest.timestamp < record.timestamp) {
                latest = Some(record);
            }
            break;
        }
    }
    Ok(latest)
}

/// None when it cannot be edited as text.
fn example(record: &Record) -> Option<Example> {
    let value = record.value.as_deref().filter(|value| value.len() <= TEMPLATE_BYTES_MAX)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let value = text(value).filter(|value| !value.contains('\0'))?;
    let json = serde_json::from_str::<&serde_json::value::RawValue>(&value).is_ok();
    // What stands in one line is easier to edit over several.
    let pretty = || serde_json::from_str::<Value>(&value).ok().and_then(|json| pretty(&json));
    let spread =
        if json && !value.contains('\n') && keeps_numbers(&value) { pretty() } else { None };
    // An id says which event it is, and a copy is another one.
    let own = |name: &str| matches!(name, "ce_id" | "ce_time" | "traceparent");
    let headers = record.headers.iter().filter(|header| !own(&header.name));
    let headers = headers
        .filter_map(|header| Some((header.name.to_string(), text(header.value.as_deref()?)?)))
        .filter(|(_, value)| !value.contains(['\n', '\r']));
    Some(Example {
        key: record.key.as_deref().and_then(text),
        is_json: json,
        headers: headers.take(PRODUCED_HEADERS_MAX).collect(),
        value: spread.unwrap_or(value),
    })
}

/// Whether reading and writing it again changes no number and no order.
fn keeps_numbers(json: &str) -> bool {
    let again = serde_json::from_str::<Value>(json).ok().map(|value| value.to_string());
    again.is_some_and(|again| again == json)
}

fn pretty(json: &Value) -> Option<String> {
    serde_json::to_string_pretty(json).ok()
}

fn schema_example(subject: String, found: &Latest) -> SchemaExample {
    let value = (found.kind == SchemaType::Json)
        .then(|| serde_json::from_str::<Value>(&found.text).ok())
        .flatten()
        .and_then(|schema| pretty(&of_schema(&schema, &schema, 0)));
    let (version, id, kind) = (found.version, found.id, found.kind.name());
    SchemaExample { subject, version, id, kind, value }
}

/// A value that a JSON Schema describes, as far as its plain words go.
fn of_schema(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth >= TEMPLATE_DEPTH_MAX {
        return Value::Null;
    }
    if let Some(at) = schema["$ref"].as_str().and_then(|at| at.strip_prefix('#')) {
        return root.pointer(at).map_or(Value::Null, |it| of_schema(it, root, depth + 1));
    }
    let said = ["const", "default"].iter().find_map(|word| schema.get(word));
    let said = said.or_else(|| schema["examples"].get(0)).or_else(|| schema["enum"].get(0));
    if let Some(said) = said {
        return said.clone();
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[word].get(0) {
            return of_schema(first, root, depth + 1);
        }
    }
    let kinds = &schema["type"];
    let kind = kinds.as_str().or_else(|| kinds.get(0)?.as_str());
    match kind {
        Some("string") => Value::from(""),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::from(false),
        Some("array") => Value::Array(Vec::new()),
        Some("null") => Value::Null,
        _ => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, its)| (name.clone(), of_schema(its, root, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_engine::Header;

    use super::*;

    #[test]
    fn a_schema_becomes_a_value() {
        let schema = json!({
            "type": "object",
            "properties": {
                "order": { "type": "string" },
                "pence": { "type": "integer" },
                "paid": { "type": ["boolean", "null"] },
                "currency": { "enum": ["GBP", "EUR"] },
                "lines": { "type": "array", "items": { "type": "string" } },
                "to": { "$ref": "#/definitions/address" },
                "self": { "$ref": "#" },
            },
            "definitions": { "address": { "properties": { "city": { "default": "York" } } } },
        });
        let value = of_schema(&schema, &schema, 0);
        assert_eq!(value["order"], json!(""));
        assert_eq!((&value["pence"], &value["paid"]), (&json!(0), &json!(false)));
        assert_eq!((&value["currency"], &value["lines"]), (&json!("GBP"), &json!([])));
        assert_eq!(value["to"], json!({ "city": "York" }));
        assert!(pretty(&value).unwrap().len() < 10_000, "what refers to itself ends");
    }

    #[test]
    fn an_example_is_no_copy_of_the_event() {
        let record = |value: &[u8]| Record {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp: 0,
            key: Some("k".into()),
            value: Some(value.to_vec().into()),
            headers: vec![Header::text("ce_id", "7"), Header::text("ce_type", "Placed")],
        };
        let example_of = |value: &[u8]| example(&record(value));
        let its = example_of(b"{\"a\":1}").unwrap();
        assert_eq!(its.value, "{\n  \"a\": 1\n}");
        assert_eq!(its.headers, [("ce_type".to_owned(), "Placed".to_owned())]);
        assert_eq!(example_of(b"{\"a\":1.10}").unwrap().value, "{\"a\":1.10}", "a number is kept");
        assert!(!example_of(b"plain").unwrap().is_json);
        assert_eq!(example_of(b"\xff"), None);
        assert_eq!(example_of(&vec![b'a'; TEMPLATE_BYTES_MAX + 1]), None);
    }
}
