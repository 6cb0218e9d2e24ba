//! CloudEvents of HTTP as records: structured, batched and binary mode, and plain JSON.
//!
//! Data stays as it was written, byte for byte: numbers are not read. What a service of the SDK could not read
//! for its envelope's sake is refused here. An event without data is refused as well: its record would
//! be a tombstone, which deletes in a compacted topic.
//!
//! Source: CloudEvents 1.0, HTTP protocol binding, JSON format, Kafka protocol binding.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use tidings::{DecodeError, Envelope, Id};
use tidings_engine::{Header, Record, SentRecord};

use crate::limits::{ATTRIBUTES_MAX, EVENT_KEY_BYTES_MAX, EVENTS_BATCH_MAX};

/// Why something is no event: which of a batch, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoEvent {
    pub(super) number: usize,
    pub(super) why: String,
}

/// What the URL says of plain JSON, and of the key of whatever comes.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(super) struct SaidInUrl {
    pub(super) key: Option<String>,
    pub(super) r#type: Option<String>,
    pub(super) source: Option<String>,
    pub(super) id: Option<String>,
}

const JSON: &str = "application/json";

/// The records of a body with this media type, none of them for any topic yet.
pub(super) fn records(
    media: &str,
    headers: &HeaderMap,
    said: &SaidInUrl,
    body: &Bytes,
) -> Result<Vec<SentRecord>, NoEvent> {
    let alone = |record: Result<SentRecord, String>| match record {
        Ok(record) => Ok(vec![record]),
        Err(why) => Err(NoEvent { number: 0, why }),
    };
    match media {
        "application/cloudevents+json" => {
            let event = serde_json::from_slice(body).map_err(|error| error.to_string());
            alone(event.and_then(|event| structured(event, said)))
        }
        "application/cloudevents-batch+json" => batch(said, body),
        _ if headers.contains_key("ce-specversion") || headers.contains_key("ce-id") => {
            alone(binary(headers, said, body))
        }
        JSON => alone(plain(headers, said, body)),
        other => alone(Err(format!(
            "the content type is {other:?}, and there are no ce- headers that would make it data of an event"
        ))),
    }
}

type Object<'b> = BTreeMap<String, &'b RawValue>;

fn batch(said: &SaidInUrl, body: &Bytes) -> Result<Vec<SentRecord>, NoEvent> {
    let events: Vec<Object> = serde_json::from_slice(body)
        .map_err(|error| NoEvent { number: 0, why: error.to_string() })?;
    if events.is_empty() || events.len() > EVENTS_BATCH_MAX {
        let why = format!("a batch has 1 to {EVENTS_BATCH_MAX} events, this one {}", events.len());
        return Err(NoEvent { number: 0, why });
    }
    let records = events
        .into_iter()
        .enumerate()
        .map(|(number, event)| structured(event, said).map_err(|why| NoEvent { number, why }));
    records.collect()
}

fn structured(mut event: Object, said: &SaidInUrl) -> Result<SentRecord, String> {
    let (data, encoded) = (event.remove("data"), event.remove("data_base64"));
    let mut attributes = BTreeMap::new();
    for (name, value) in event {
        if let Some(text) = attribute(&name, value)? {
            attributes.insert(name, text);
        }
    }
    let content = attributes.remove("datacontenttype").unwrap_or_else(|| JSON.to_owned());
    if content.is_empty() {
        return Err("attribute datacontenttype is empty".to_owned());
    }
    let value = match (data, encoded) {
        (Some(_), Some(_)) => return Err("it has both data and data_base64".to_owned()),
        (None, None) => return Err(no_data()),
        (None, Some(encoded)) => {
            let text: String = serde_json::from_str(encoded.get())
                .map_err(|_| "data_base64 is no text".to_owned())?;
            let bytes = STANDARD.decode(text);
            Bytes::from(bytes.map_err(|error| format!("data_base64: {error}"))?)
        }
        (Some(data), None) => match serde_json::from_str::<String>(data.get()) {
            // Text of another type than JSON is the text itself.
            Ok(text) if !is_json(&content) => Bytes::from(text),
            _ => Bytes::copy_from_slice(data.get().as_bytes()),
        },
    };
    record(&attributes, &content, value, said)
}

fn no_data() -> String {
    "it has no data, and its record would be a tombstone; send null or {}".to_owned()
}

/// An attribute's text; none when it is null, which is the same as not there.
fn attribute(name: &str, value: &RawValue) -> Result<Option<String>, String> {
    let text = match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::Null) => return Ok(None),
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Bool(truth)) => truth.to_string(),
        Ok(serde_json::Value::Number(number)) if number.is_i64() => number.to_string(),
        _ => {
            return Err(format!(
                "attribute {name} is neither text, nor true or false, nor an integer"
            ));
        }
    };
    Ok(Some(text))
}

fn binary(headers: &HeaderMap, said: &SaidInUrl, body: &Bytes) -> Result<SentRecord, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let text = decoded(value.as_bytes())
            .ok_or_else(|| format!("header ce-{name} is not UTF-8 behind its percent signs"))?;
        if attributes.insert(name.to_owned(), text).is_some() {
            return Err(format!("header ce-{name} is there twice"));
        }
    }
    if attributes.contains_key("datacontenttype") {
        return Err("ce-datacontenttype is said by content-type".to_owned());
    }
    let content = content_type(headers).ok_or("it does not say the content type of its data")?;
    if body.is_empty() {
        return Err(no_data());
    }
    if is_json(&content) && !is_json_text(body) {
        return Err("its data is not JSON, as its content type says".to_owned());
    }
    let mut record = record(&attributes, &content, body.clone(), said)?;
    record.headers.extend(trace(headers));
    Ok(record)
}

/// JSON without attributes; an event where the URL says its type.
fn plain(headers: &HeaderMap, said: &SaidInUrl, body: &Bytes) -> Result<SentRecord, String> {
    if !is_json_text(body) {
        return Err("the body is not JSON".to_owned());
    }
    let Some(event_type) = &said.r#type else {
        if said.source.is_some() || said.id.is_some() {
            return Err("what has a source or an id is an event, and says its type".to_owned());
        }
        let mut headers: Vec<_> = trace(headers).collect();
        headers.insert(0, Header::text("content-type", JSON));
        let key = key_of(said, &BTreeMap::new())?;
        let value = Some(body.clone());
        return Ok(SentRecord { key, value, headers, ..SentRecord::default() });
    };
    let id = said.id.clone().unwrap_or_else(|| Id::fresh().to_string());
    let source = said.source.clone().unwrap_or_else(|| "http".to_owned());
    let said_so = [("specversion", "1.0".to_owned()), ("id", id), ("source", source)];
    let mut attributes: BTreeMap<_, _> =
        said_so.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    attributes.insert("type".to_owned(), event_type.clone());
    attributes.extend(said.key.clone().map(|key| ("subject".to_owned(), key)));
    let mut record = record(&attributes, JSON, body.clone(), said)?;
    record.headers.extend(trace(headers));
    Ok(record)
}

/// W3C trace context beside the envelope, where services look for it.
fn trace(headers: &HeaderMap) -> impl Iterator<Item = Header> {
    let said = headers.get("traceparent").and_then(|value| value.to_str().ok());
    said.filter(|said| said.len() == 55).map(|said| Header::text("traceparent", said)).into_iter()
}

fn record(
    attributes: &BTreeMap<String, String>,
    content: &str,
    value: Bytes,
    said: &SaidInUrl,
) -> Result<SentRecord, String> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("it has more than {ATTRIBUTES_MAX} attributes"));
    }
    let key = key_of(said, attributes)?;
    for (name, text) in attributes {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || !name.chars().all(named) {
            return Err(format!("attribute {name:?} is not made of lower-case letters and digits"));
        }
        if matches!(name.as_str(), "data" | "datacontenttype") {
            return Err(format!("{name} is no attribute of its own"));
        }
        if text.is_empty() {
            return Err(format!("attribute {name} is empty"));
        }
    }
    let named = attributes.iter().map(|(name, text)| Header::text(format!("ce_{name}"), text));
    let mut headers: Vec<_> = named.collect();
    // What the attributes must be, they must be of data of every type.
    let of_json = [&headers[..], &[Header::text("content-type", JSON)]].concat();
    headers.push(Header::text("content-type", content));
    let read = Record {
        topic: "".into(),
        partition: 0,
        offset: 0,
        timestamp: 0,
        key: None,
        value: None,
        headers: of_json,
    };
    match Envelope::from_record(&read) {
        Ok(_) => {}
        Err(DecodeError::Missing(header)) => {
            return Err(format!("it has no {}", header.trim_start_matches("ce_")));
        }
        Err(DecodeError::Header { name, found }) => {
            return Err(format!("its {} is {found:?}", name.trim_start_matches("ce_")));
        }
        Err(other) => return Err(other.to_string()),
    }
    Ok(SentRecord { key, value: Some(value), headers, ..SentRecord::default() })
}

fn key_of(
    said: &SaidInUrl,
    attributes: &BTreeMap<String, String>,
) -> Result<Option<Bytes>, String> {
    let key = said.key.as_ref().or_else(|| attributes.get("partitionkey"));
    let key = key.or_else(|| attributes.get("subject"));
    if key.is_some_and(|key| key.len() > EVENT_KEY_BYTES_MAX) {
        return Err(format!("its key has more than {EVENT_KEY_BYTES_MAX} bytes"));
    }
    Ok(key.map(|key| Bytes::copy_from_slice(key.as_bytes())))
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("content-type")?.to_str().ok()?.to_owned())
}

/// JSON by its media type, with whatever parameters.
pub(super) fn is_json(content: &str) -> bool {
    let media = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == JSON || media.ends_with("+json")
}

fn is_json_text(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Text behind percent signs; none when it is not UTF-8, or a sign has no number behind it.
fn decoded(said: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(said.len());
    let mut rest = said.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(said: &[(&'static str, &'static str)]) -> HeaderMap {
        let said = said.iter();
        said.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn one(media: &str, said: &SaidInUrl, body: &'static str) -> Result<SentRecord, String> {
        let read = records(media, &HeaderMap::new(), said, &Bytes::from_static(body.as_bytes()));
        read.map(|mut records| records.remove(0)).map_err(|no| format!("{}: {}", no.number, no.why))
    }

    fn text<'r>(record: &'r SentRecord, name: &str) -> Option<&'r str> {
        let header = record.headers.iter().find(|header| header.name == name)?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    }

    const STRUCTURED: &str = "application/cloudevents+json";

    #[test]
    fn a_structured_event_keeps_its_data_as_it_was_written() {
        let said = SaidInUrl::default();
        for (body, key, value) in [
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","data":{"a": 1.10, "b":12345678901234567890123}}"#,
                None,
                r#"{"a": 1.10, "b":12345678901234567890123}"#,
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","subject":"k","data":null}"#,
                Some("k"),
                "null",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","subject":"k","partitionkey":"p","data":"text"}"#,
                Some("p"),
                "\"text\"",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","datacontenttype":"text/plain","data":"text"}"#,
                None,
                "text",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","data_base64":"e30="}"#,
                None,
                "{}",
            ),
        ] {
            let record = one(STRUCTURED, &said, body).expect(body);
            assert_eq!(record.key.as_deref(), key.map(str::as_bytes), "{body}");
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()), "{body}");
            assert_eq!(text(&record, "ce_type"), Some("T"), "{body}");
        }
        let said = SaidInUrl { key: Some("u".into()), ..said };
        let body = r#"{"specversion":"1.0","id":"1","source":"s","type":"T","subject":"k","rank":7,"ok":true,"none":null,"data":1}"#;
        let record = one(STRUCTURED, &said, body).expect("an event");
        assert_eq!(record.key.as_deref(), Some(&b"u"[..]), "the URL's key goes before");
        assert_eq!(
            (text(&record, "ce_rank"), text(&record, "ce_ok"), text(&record, "ce_none")),
            (Some("7"), Some("true"), None)
        );
        assert_eq!(text(&record, "content-type"), Some("application/json"));
    }

    #[test]
    fn what_is_no_event_says_what_is_wrong() {
        for (media, body, wanted) in [
            (STRUCTURED, "{", "EOF"),
            (STRUCTURED, "[]", "expected a map"),
            (STRUCTURED, r#"{"id":"1","source":"s","type":"T","data":1}"#, "no specversion"),
            (
                STRUCTURED,
                r#"{"specversion":"0.3","id":"1","source":"s","type":"T","data":1}"#,
                "specversion is \"0.3\"",
            ),
            (STRUCTURED, r#"{"specversion":"1.0","source":"s","type":"T","data":1}"#, "no id"),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"","source":"s","type":"T","data":1}"#,
                "id is empty",
            ),
            (STRUCTURED, r#"{"specversion":"1.0","id":"1","source":"s","type":"T"}"#, "no data"),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","data":1,"data_base64":""}"#,
                "both",
            ),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","data_base64":"?"}"#,
                "data_base64",
            ),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","time":"noon","data":1}"#,
                "time is \"noon\"",
            ),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","Big":"x","data":1}"#,
                "lower-case",
            ),
            (
                STRUCTURED,
                r#"{"specversion":"1.0","id":"1","source":"s","type":"T","x":{},"data":1}"#,
                "attribute x",
            ),
            ("application/cloudevents-batch+json", "[]", "1 to"),
            (
                "application/cloudevents-batch+json",
                r#"[{"specversion":"1.0","id":"1","source":"s","type":"T","data":1},{}]"#,
                "1: it has no data",
            ),
            ("application/json", "{", "not JSON"),
            ("text/plain", "x", "no ce- headers"),
        ] {
            let why = one(media, &SaidInUrl::default(), body).expect_err(body);
            assert!(why.contains(wanted), "{body}: {why}");
        }
    }

    #[test]
    fn binary_mode_is_decoded_from_headers() {
        let good = [
            ("ce-specversion", "1.0"),
            ("ce-id", "e-1"),
            ("ce-type", "T"),
            ("ce-source", "Z%C3%BCrich%20%25"),
            ("ce-subject", "k"),
            ("content-type", "application/json; charset=utf-8"),
        ];
        let body = Bytes::from_static(b"{}");
        let said = SaidInUrl::default();
        let read = records("application/json", &headers(&good), &said, &body).expect("an event");
        assert_eq!(text(&read[0], "ce_source"), Some("Zürich %"));
        assert_eq!(text(&read[0], "content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]));
        for (name, value, wanted) in [
            ("ce-source", "%F", "percent"),
            ("ce-source", "%ff", "percent"),
            ("ce-datacontenttype", "text/plain", "content-type"),
            ("ce-time", "noon", "time is"),
        ] {
            let mut wrong = headers(&good);
            wrong.insert(name, HeaderValue::from_static(value));
            let no = records("application/json", &wrong, &said, &body).expect_err(name);
            assert!(no.why.contains(wanted), "{name}: {}", no.why);
        }
        let empty = records("application/json", &headers(&good), &said, &Bytes::new());
        assert!(empty.expect_err("a tombstone").why.contains("tombstone"));
    }

    #[test]
    fn plain_json_is_an_event_when_the_url_says_of_which_type() {
        let said = SaidInUrl { key: Some("k".into()), ..SaidInUrl::default() };
        let record = one("application/json", &said, "{}").expect("a record");
        assert_eq!((text(&record, "ce_type"), record.headers.len()), (None, 1));
        let said = SaidInUrl { r#type: Some("T".into()), id: Some("e-1".into()), ..said };
        let record = one("application/json", &said, "{}").expect("an event");
        assert_eq!(
            (text(&record, "ce_type"), text(&record, "ce_id"), text(&record, "ce_source")),
            (Some("T"), Some("e-1"), Some("http"))
        );
        assert_eq!(text(&record, "ce_subject"), Some("k"));
        let said = SaidInUrl { id: Some("e-1".into()), ..SaidInUrl::default() };
        assert!(one("application/json", &said, "{}").expect_err("no type").contains("type"));
    }
}
