//! `/openapi.json`: what the HTTP API takes and answers, built from the tables of routes.
//!
//! Bodies of answers are described in docs/http.md; here they are objects. Source: OpenAPI 3.1.0.

use serde_json::{Map, Value, json};
use tidings_gateway::limits::{BODY_BYTES_MAX, EVENTS_BATCH_MAX};
use tidings_gateway::route::{Said, Verb, names};

use crate::limits::{BY_CHARS_MAX, PRODUCED_HEADERS_MAX, REASON_CHARS_MAX, REDRIVE_RATE_MAX};

/// The document for routes, each with what precedes its path.
pub(crate) fn document(version: &str, routes: &[(&'static str, Said)]) -> Value {
    let mut paths = Map::new();
    for (prefix, said) in routes {
        let path = paths.entry(format!("{prefix}{}", said.path)).or_insert_with(|| json!({}));
        let verb = match said.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        path[verb] = operation(said);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings",
            "version": version,
            "description": format!(
                "Bodies of requests have up to {BODY_BYTES_MAX} bytes. What is refused is a problem of RFC 9457: \
                 what (title), why (detail) and what to try (try). Requests of other sites' pages are refused, and where the \
                 server has accounts those without a token (Bearer), a password (Basic) or a session (401)."
            ),
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(said: &Said) -> Value {
    let in_path = names(said.path).map(|name| {
        json!({
            "name": name, "in": "path", "required": true, "description": meaning(name),
            "schema": { "type": if matches!(name, "partition" | "offset") { "integer" } else { "string" } },
        })
    });
    let others = said.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": parameter.place, "description": parameter.meaning,
            "schema": { "type": parameter.kind },
        })
    });
    let mut operation = json!({
        "summary": said.summary,
        "parameters": in_path.chain(others).collect::<Vec<_>>(),
        "responses": responses(said),
    });
    if !said.takes.is_empty() {
        let content = said
            .takes
            .iter()
            .map(|taken| (taken.media.to_owned(), json!({ "schema": reference(taken.schema) })));
        operation["requestBody"] =
            json!({ "required": true, "content": content.collect::<Map<_, _>>() });
    }
    operation
}

fn responses(said: &Said) -> Value {
    let answers = said.answers.iter().map(|answer| {
        let schema = match answer.media {
            "application/problem+json" => reference("Problem"),
            "application/json" => json!({ "type": "object" }),
            _ => json!({ "type": "string" }),
        };
        let said = json!({
            "description": answer.meaning,
            "content": { answer.media: { "schema": schema } },
        });
        (answer.status.to_string(), said)
    });
    let mut answers: Map<String, Value> = answers.collect();
    answers.entry("default").or_insert_with(|| {
        json!({
            "description": "It is refused, or failed.",
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        })
    });
    Value::Object(answers)
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn meaning(name: &str) -> &'static str {
    match name {
        "topic" => "A topic's name.",
        "partition" => "A partition's number, from 0.",
        "offset" => "A record's offset.",
        "group" => "A consumer group's name.",
        "service" => "The name of a service of the SDK.",
        "letter" => "The id of a dead letter of the key.",
        _ => "",
    }
}

fn reset() -> Value {
    json!({
        "type": "object",
        "required": ["to"],
        "properties": {
            "to": { "type": "string", "enum": ["start", "end", "offset", "time"] },
            "offset": { "type": "integer", "description": "Of offset: which." },
            "time": { "type": ["string", "integer"], "description": "Of time: in UTC, 2026-12-01T08:26, or milliseconds since the epoch." },
            "topic": { "type": "string", "description": "Only this topic's positions." },
            "partition": { "type": "integer", "description": "Only this partition's." },
            "plan": { "type": "string", "description": "That of a dry run, to be carried out as it is." },
            "dry_run": { "type": "boolean", "description": "Only say what would be set." },
        },
    })
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "Problem": {
            "type": "object",
            "required": ["title", "status", "detail"],
            "properties": {
                "title": { "type": "string", "description": "What." },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "Why." },
                "try": { "type": "string", "description": "What to try." },
            },
        },
        "Reset": reset(),
        "Command": {
            "type": "object",
            "required": ["act"],
            "additionalProperties": false,
            "description": "One of `letter`, `cause` and `all` says for which keys; `by` may only be left out in a dry run.",
            "properties": {
                "act": { "enum": ["redrive", "edit", "discard"] },
                "letter": text,
                "cause": text,
                "all": { "type": "boolean" },
                "value": { "type": "string", "description": "Of an edit: what the event says instead." },
                "rate": {
                    "type": "integer", "minimum": 1, "maximum": REDRIVE_RATE_MAX,
                    "description": "Of a redrive: keys a second, in each partition.",
                },
                "force": {
                    "type": "boolean",
                    "description": "Of a redrive: also keys that were redriven too often.",
                },
                "cut_off_ms": {
                    "type": "integer",
                    "description": "Only keys that were dead by then, in milliseconds since the epoch.",
                },
                "dry_run": { "type": "boolean", "description": "Say what it would do, and do nothing." },
                "by": { "type": "string", "maxLength": BY_CHARS_MAX },
                "reason": { "type": "string", "maxLength": REASON_CHARS_MAX },
            },
        },
        "NewRecord": new_record(),
        "CloudEvent": {
            "type": "object",
            "required": ["specversion", "id", "type", "source"],
            "description": "CloudEvents 1.0, JSON format; `data` or `data_base64` is required here.",
            "properties": {
                "specversion": { "const": "1.0" },
                "id": { "type": "string", "minLength": 1 },
                "type": { "type": "string", "minLength": 1 },
                "source": { "type": "string", "minLength": 1 },
                "subject": text,
                "time": { "type": "string", "format": "date-time" },
                "datacontenttype": text,
                "partitionkey": text,
                "data": {},
                "data_base64": { "type": "string", "contentEncoding": "base64" },
            },
        },
        "CloudEvents": {
            "type": "array", "minItems": 1, "maxItems": EVENTS_BATCH_MAX,
            "items": reference("CloudEvent"),
        },
        "Data": { "description": "Any JSON." },
        "Bytes": { "description": "Data of whatever content type, with the attributes in ce- headers." },
    })
}

fn new_record() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "At most one of `key` and `key_base64`, and of the values; without a value it is a tombstone.",
        "properties": {
            "partition": { "type": "integer", "description": "The key decides when it is not said." },
            "key": text,
            "key_base64": { "type": "string", "contentEncoding": "base64" },
            "value": { "type": "string", "description": "Text, as it is." },
            "value_json": { "description": "JSON, written as it is here." },
            "value_base64": { "type": "string", "contentEncoding": "base64" },
            "headers": {
                "type": "array", "maxItems": PRODUCED_HEADERS_MAX,
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": { "name": text, "value": text },
                },
            },
        },
    })
}
