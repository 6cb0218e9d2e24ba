//! One record, produced by hand: from the console's form or as JSON.
//!
//! The engine's own topics are refused, and so is a partition that the topic has not. A value that is said to be JSON is
//! checked to be some. Only pages of this server and programs get here (`origin.rs`).

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_engine::{Error, Header, SentRecord};
use tidings_gateway::Trouble;
use tidings_gateway::events::refuse_internal;
use tidings_gateway::limits::EVENT_KEY_BYTES_MAX;

use crate::Shared;
use crate::limits::PRODUCED_HEADERS_MAX;

/// A record as JSON. Without a value it is a tombstone.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRecord {
    #[serde(default)]
    pub(super) partition: Option<i32>,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) key_base64: Option<String>,
    /// A text.
    #[serde(default)]
    pub(super) value: Option<String>,
    /// JSON, written as it is here.
    #[serde(default)]
    pub(super) value_json: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) value_base64: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<NewHeader>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHeader {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: Option<String>,
}

/// Where it went.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Produced {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

fn refused(why: impl Into<String>) -> Trouble {
    Trouble::unprocessable(why).titled("This is not taken as a record").hint("nothing was produced")
}

/// The record that is meant.
pub(super) fn meant(topic: &str, new: NewRecord) -> Result<SentRecord, Trouble> {
    let decoded = |name: &str, text: String| {
        let bytes = STANDARD.decode(text.trim());
        bytes.map(Bytes::from).map_err(|error| refused(format!("{name}: {error}")))
    };
    let key = match (new.key, new.key_base64) {
        (Some(_), Some(_)) => return Err(refused("it has both key and key_base64")),
        (Some(text), None) => Some(Bytes::from(text)),
        (None, Some(encoded)) => Some(decoded("key_base64", encoded)?),
        (None, None) => None,
    };
    if key.as_ref().is_some_and(|key| key.len() > EVENT_KEY_BYTES_MAX) {
        return Err(refused(format!("its key has more than {EVENT_KEY_BYTES_MAX} bytes")));
    }
    let value = match (new.value, new.value_json, new.value_base64) {
        (Some(text), None, None) => Some(Bytes::from(text)),
        (None, Some(json), None) => Some(Bytes::copy_from_slice(json.get().as_bytes())),
        (None, None, Some(encoded)) => Some(decoded("value_base64", encoded)?),
        (None, None, None) => None,
        _ => return Err(refused("it has more than one of value, value_json and value_base64")),
    };
    if new.headers.len() > PRODUCED_HEADERS_MAX {
        return Err(refused(format!("it has more than {PRODUCED_HEADERS_MAX} headers")));
    }
    if new.headers.iter().any(|header| header.name.is_empty()) {
        return Err(refused("a header has no name"));
    }
    let headers = new
        .headers
        .into_iter()
        .map(|header| Header { name: header.name.into(), value: header.value.map(Bytes::from) });
    let (topic, headers) = (topic.to_owned(), headers.collect());
    Ok(SentRecord { topic, partition: new.partition, key, value, headers, timestamp: None })
}

pub(super) async fn produce(
    shared: &Shared,
    topic: &str,
    new: NewRecord,
) -> Result<Produced, Trouble> {
    refuse_internal(topic)?;
    let record = meant(topic, new)?;
    let there = shared.engine.topic(topic).await?.partitions.len();
    if let Some(partition) = record.partition {
        let known = usize::try_from(partition).is_ok_and(|partition| partition < there);
        if !known {
            let why = format!("topic {topic} has no partition {partition}");
            return Err(Trouble::not_found(why).hint("leave it out, and the key decides"));
        }
    }
    let producer = shared.events.producer().await?;
    match producer.send(vec![record]).await {
        Ok(positions) => {
            let at = positions.into_iter().next().ok_or_else(|| {
                Trouble::internal("the engine does not say where the record went")
            })?;
            Ok(Produced { topic: at.topic, partition: at.partition, offset: at.offset })
        }
        Err(error) => {
            if matches!(error, Error::Fenced(_)) {
                shared.events.forget_producer().await;
            }
            Err(error.into())
        }
    }
}

/// The form's fields, as they are sent and shown again.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Form {
    #[serde(default)]
    pub(super) partition: String,
    #[serde(default)]
    pub(super) key: String,
    /// `json`, `text`, or `null`.
    #[serde(default)]
    pub(super) form: String,
    #[serde(default)]
    pub(super) value: String,
    /// `name: value`, one in a line.
    #[serde(default)]
    pub(super) headers: String,
}

impl Form {
    pub(super) fn meant(&self) -> Result<NewRecord, Trouble> {
        let partition = match self.partition.trim() {
            "" => None,
            said => Some(said.parse().map_err(|_| refused(format!("{said:?} is no partition")))?),
        };
        let (mut value, mut value_json) = (None, None);
        match self.form.as_str() {
            "null" => {}
            "text" => value = Some(self.value.clone()),
            // Browsers end lines with two characters, and JSON is as it was typed but for them.
            _ => {
                let json =
                    RawValue::from_string(self.value.replace("\r\n", "\n").trim().to_owned());
                let json =
                    json.map_err(|error| refused(format!("the value is no JSON: {error}")))?;
                value_json = Some(json);
            }
        }
        let lines = self.headers.lines().map(str::trim).filter(|line| !line.is_empty());
        let headers = lines.map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| refused(format!("{line:?} is no header of the form name: value")))?;
            Ok(NewHeader { name: name.trim().to_owned(), value: Some(value.trim().to_owned()) })
        });
        let headers = headers.collect::<Result<_, Trouble>>()?;
        let key = (!self.key.is_empty()).then(|| self.key.clone());
        Ok(NewRecord { partition, key, value, value_json, headers, ..NewRecord::default() })
    }

    /// The same trouble on every try is no reason to lose what was typed.
    pub(super) fn keeps(status: StatusCode) -> bool {
        matches!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::NOT_FOUND
                | StatusCode::BAD_REQUEST
                | StatusCode::SERVICE_UNAVAILABLE
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_record() {
        let form = |form: &str, value: &str, headers: &str| Form {
            key: "k".into(),
            form: form.into(),
            value: value.into(),
            headers: headers.into(),
            ..Form::default()
        };
        let record = |form: Form| meant("t", form.meant()?);
        let taken =
            record(form("json", " {\"n\": 1.10,\r\n\"b\":2}\r\n", "a: b: c\r\n\r\nd:")).unwrap();
        assert_eq!(taken.value.as_deref(), Some(&b"{\"n\": 1.10,\n\"b\":2}"[..]));
        assert_eq!(taken.headers, [Header::text("a", "b: c"), Header::text("d", "")]);
        assert_eq!(record(form("text", "a\nb", "")).unwrap().value.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(record(form("null", "x", "")).unwrap().value, None);
        for (form, wanted) in [
            (form("json", "{", ""), "the value is no JSON"),
            (form("text", "", "no header"), "no header of the form"),
            (form("text", "", ": x"), "a header has no name"),
            (Form { partition: "x".into(), ..form("text", "", "") }, "is no partition"),
            (Form { key: "k".repeat(10_000), ..form("text", "", "") }, "its key has more than"),
        ] {
            let trouble = record(form).expect_err(wanted);
            assert_eq!(trouble.status.as_u16(), 422, "{wanted}");
            assert!(trouble.detail.contains(wanted), "{}", trouble.detail);
        }
    }

    #[test]
    fn json_says_which_bytes_are_meant() {
        let record = |json: &str| {
            let new = serde_json::from_str(json).map_err(|e| refused(e.to_string()))?;
            meant("t", new)
        };
        for (json, value) in [
            ("{}", None),
            (r#"{"value":"a"}"#, Some(&b"a"[..])),
            (r#"{"value_json":{"n": 1.10}}"#, Some(br#"{"n": 1.10}"#)),
            (r#"{"value_base64":"AP8="}"#, Some(&[0, 255])),
        ] {
            assert_eq!(record(json).unwrap().value.as_deref(), value, "{json}");
        }
        for json in [
            r#"{"value":"a","value_json":1}"#,
            r#"{"key":"a","key_base64":"AA=="}"#,
            r#"{"value_base64":"?"}"#,
            r#"{"velue":"a"}"#,
        ] {
            assert!(record(json).is_err(), "{json}");
        }
    }
}
