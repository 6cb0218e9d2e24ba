//! A record as a stream tells it: one line of JSON.
//!
//! A CloudEvent is an `event` in CloudEvents' JSON format; any other record has `headers` and a `value`.
//! Data that is JSON stands there as it was written; text is text; other bytes are in `…_base64`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tidings::{DecodeError, Envelope};
use tidings_engine::Record;

use super::cloud::is_json;

#[derive(Serialize)]
struct Line<'r> {
    topic: &'r str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(flatten)]
    rest: Rest<'r>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'r> {
    Event { event: Event<'r> },
    Record(Plain<'r>),
}

#[derive(Serialize)]
struct Event<'r> {
    #[serde(flatten)]
    attributes: BTreeMap<&'r str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

#[derive(Serialize)]
struct Plain<'r> {
    headers: Vec<HeaderLine<'r>>,
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Serialize)]
struct HeaderLine<'r> {
    name: &'r str,
    value: Option<String>,
}

/// The line of a record.
pub(super) fn of(record: &Record) -> String {
    let is_event =
        matches!(Envelope::from_record(record), Ok(_) | Err(DecodeError::ContentType(_)));
    let rest =
        if is_event { Rest::Event { event: event(record) } } else { Rest::Record(plain(record)) };
    let key = record.key.as_deref();
    let text = key.and_then(|key| std::str::from_utf8(key).ok());
    let line = Line {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp,
        key: text,
        key_base64: key.filter(|_| text.is_none()).map(|key| STANDARD.encode(key)),
        rest,
    };
    serde_json::to_string(&line).expect("plain data is JSON")
}

fn event(record: &Record) -> Event<'_> {
    let mut attributes = BTreeMap::new();
    for header in &record.headers {
        let Some(name) = header.name.strip_prefix("ce_") else { continue };
        attributes.entry(name).or_insert_with(|| lossy(header.value.as_deref()));
    }
    let content = record.header("content-type");
    if let Some(content) = content {
        attributes.insert("datacontenttype", content.to_owned());
    }
    let value = record.value.as_deref().unwrap_or_default();
    let (data, data_base64) = data(value, content.is_none_or(is_json));
    Event { attributes, data: data.filter(|_| record.value.is_some()), data_base64 }
}

fn plain(record: &Record) -> Plain<'_> {
    let headers = record.headers.iter().map(|header| HeaderLine {
        name: &header.name,
        value: header.value.as_deref().map(|value| lossy(Some(value))),
    });
    let Some(value) = record.value.as_deref() else {
        return Plain { headers: headers.collect(), value: None, value_base64: None };
    };
    let (value, value_base64) = data(value, true);
    Plain { headers: headers.collect(), value, value_base64 }
}

/// JSON as it is, where it may be; else text; else base64.
fn data(bytes: &[u8], may_be_json: bool) -> (Option<Box<RawValue>>, Option<String>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return (None, Some(STANDARD.encode(bytes))) };
    // What spans lines would span them in a message too.
    let one_line = !text.contains(['\n', '\r']);
    let raw = |text: String| RawValue::from_string(text).ok();
    let json = if may_be_json && one_line {
        raw(text.trim().to_owned())
    } else if may_be_json {
        serde_json::from_str::<&RawValue>(text).ok().and_then(|json| raw(without_lines(json.get())))
    } else {
        None
    };
    let text = || serde_json::value::to_raw_value(text).ok();
    (json.or_else(text), None)
}

/// JSON without its line breaks, which are white space: inside text they are escaped.
fn without_lines(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn lossy(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use tidings_engine::Header;

    use super::*;

    fn record(
        headers: &[(&str, &str)],
        key: Option<&'static [u8]>,
        value: Option<&'static [u8]>,
    ) -> Record {
        Record {
            topic: "t".into(),
            partition: 1,
            offset: 2,
            timestamp: 3,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: headers
                .iter()
                .map(|(name, value)| Header::text(name.to_string(), value))
                .collect(),
        }
    }

    const ENVELOPE: [(&str, &str); 4] =
        [("ce_specversion", "1.0"), ("ce_id", "e"), ("ce_type", "T"), ("ce_source", "s")];

    #[test]
    fn records_are_told_as_what_they_are() {
        const AT: &str = r#"{"topic":"t","partition":1,"offset":2,"timestamp_ms":3,"#;
        const OF: &str = r#""id":"e","source":"s","specversion":"1.0","type":"T""#;
        let text = [&ENVELOPE[..], &[("content-type", "text/plain")]].concat();
        for (record, wanted) in [
            (
                record(&ENVELOPE, Some(b"k"), Some(b"{\"n\": 1.10}")),
                format!(r#""key":"k","event":{{{OF},"data":{{"n": 1.10}}}}}}"#),
            ),
            (
                record(&ENVELOPE, None, Some(b"{\n  \"n\": 1\r\n}")),
                format!(r#""event":{{{OF},"data":{{   "n": 1  }}}}}}"#),
            ),
            (
                record(&text, None, Some(b"{}\n")),
                format!(
                    r#""event":{{"datacontenttype":"text/plain",{OF},"data":"{{}}\n"}}}}"#
                ),
            ),
            (record(&ENVELOPE, None, None), format!(r#""event":{{{OF}}}}}"#)),
            (
                record(&[("h", "v")], Some(&[0xff]), Some(&[0xfe])),
                r#""key_base64":"/w==","headers":[{"name":"h","value":"v"}],"value":null,"value_base64":"/g=="}"#.to_owned(),
            ),
            (record(&[], None, None), r#""headers":[],"value":null}"#.to_owned()),
            (record(&[], None, Some(b"plain")), r#""headers":[],"value":"plain"}"#.to_owned()),
        ] {
            assert_eq!(of(&record), format!("{AT}{wanted}"));
        }
    }
}
