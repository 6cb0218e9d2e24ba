//! The CloudEvents envelope around an event, in Kafka's binary mode: attributes are headers.
//!
//! Written: `ce_specversion ce_id ce_type ce_source ce_subject ce_time content-type`, the extensions
//! `ce_dataversion ce_kind ce_correlationid ce_causationid ce_traceparent ce_checksum` (SHA-256 of the
//! payload, hex) and a plain `traceparent`. Read: the first four are required, the rest may be
//! missing, so events of other producers are welcome. Structured mode is refused, not guessed at.
//!
//! Source: CloudEvents 1.0, Kafka protocol binding, section 3.2; W3C Trace Context, section 3.2.

use std::{
    fmt::{self, Write as _},
    ops::Deref,
    sync::Arc,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidings_engine::{Header, Record, SentRecord};

use crate::{
    Event, Id, Kind,
    event::Emission,
    rfc3339,
    trace::{self, TraceParent},
    version,
};

const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const CONTENT_TYPE: &str = "content-type";
const DATA_VERSION: &str = "ce_dataversion";
const KIND: &str = "ce_kind";
const CORRELATION: &str = "ce_correlationid";
const CAUSATION: &str = "ce_causationid";
const TRACE_PARENT: &str = "ce_traceparent";
const TRACE_PARENT_PLAIN: &str = "traceparent";
pub(crate) const CHECKSUM: &str = "ce_checksum";

const JSON: &str = "application/json";

/// Why a record is not the event it should be. A service dead-letters such a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A required header is not there, or not text.
    #[error("header {0} is missing or not UTF-8")]
    Missing(&'static str),
    /// A header says something that it cannot.
    #[error("header {name} is {found:?}")]
    Header {
        /// The header.
        name: &'static str,
        /// What it says.
        found: String,
    },
    /// The payload is not JSON, or the event is in structured mode.
    #[error("content type {0:?} is not {JSON}")]
    ContentType(String),
    /// A tombstone.
    #[error("the record has no value")]
    NoValue,
    /// The event has a key and the record has none, so nothing keeps its order.
    #[error("the record has no key, {event_type} is keyed by `{key}`")]
    NoKey {
        /// [`Event::TYPE`].
        event_type: &'static str,
        /// [`Event::KEY`].
        key: &'static str,
    },
    /// The payload is not what its producer wrote.
    #[error("checksum is {found}, the producer said {said}")]
    Checksum {
        /// In the header.
        said: String,
        /// Of the payload.
        found: String,
    },
    /// Another event than the one asked for.
    #[error("type is {found:?}, not {wanted:?}")]
    Type {
        /// Asked for.
        wanted: &'static str,
        /// In the header.
        found: String,
    },
    /// Written by a newer program than this one.
    #[error("version {found} is newer than {supported}, the newest known here")]
    Version {
        /// [`Event::VERSION`].
        supported: u32,
        /// In the header.
        found: u32,
    },
    /// Written by an older program, in a shape from which nothing leads to today's.
    #[error("version {found} has no upcaster to {supported}, the version known here")]
    Outdated {
        /// [`Event::VERSION`].
        supported: u32,
        /// In the header.
        found: u32,
    },
    /// The payload does not have the event's shape.
    #[error("{0}")]
    Json(String),
}

/// What is known of an event besides its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Unique per source; the same when the same event is delivered again.
    pub id: Id,
    /// [`Event::TYPE`].
    pub r#type: String,
    /// [`Event::VERSION`] of its producer; 1 when it did not say.
    pub version: u32,
    /// [`Event::KIND`] of its producer; domain when it did not say.
    pub kind: Kind,
    /// The service or publisher that produced it.
    pub source: String,
    /// The key as text.
    pub subject: Option<String>,
    /// When it happened, in milliseconds since the epoch; the record's timestamp when not said.
    pub time_ms: i64,
    /// The id of the event that began it all.
    pub correlation: Option<Id>,
    /// The id of the event whose handling produced this one.
    pub causation: Option<Id>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// SHA-256 of the payload, in lower-case hexadecimal.
    pub checksum: Option<String>,
}

impl Envelope {
    /// Reads the headers; looks at the payload not at all.
    pub fn from_record(record: &Record) -> Result<Self, DecodeError> {
        let required = |name| record.header(name).ok_or(DecodeError::Missing(name));
        let optional = |name| record.header(name).map(str::to_owned);
        let wrong = |name, found: &str| DecodeError::Header { name, found: found.to_owned() };
        let spec = required(SPEC_VERSION)?;
        if !spec.starts_with("1.") {
            return Err(wrong(SPEC_VERSION, spec));
        }
        let content = record.header(CONTENT_TYPE).unwrap_or(JSON);
        let media = content.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case(JSON) {
            return Err(DecodeError::ContentType(content.to_owned()));
        }
        let time_ms = match record.header(TIME) {
            Some(text) => rfc3339::parse(text).ok_or_else(|| wrong(TIME, text))?,
            None => record.timestamp,
        };
        let version = match record.header(DATA_VERSION) {
            Some(text) => text.parse().map_err(|_| wrong(DATA_VERSION, text))?,
            None => 1,
        };
        let kind = match record.header(KIND) {
            Some(text) => Kind::named(text).ok_or_else(|| wrong(KIND, text))?,
            None => Kind::Domain,
        };
        Ok(Self {
            id: required(ID)?.into(),
            r#type: required(TYPE)?.to_owned(),
            version,
            kind,
            source: required(SOURCE)?.to_owned(),
            subject: optional(SUBJECT),
            time_ms,
            correlation: optional(CORRELATION).map(Id::from),
            causation: optional(CAUSATION).map(Id::from),
            traceparent: optional(TRACE_PARENT_PLAIN).or_else(|| optional(TRACE_PARENT)),
            checksum: optional(CHECKSUM),
        })
    }

    /// Compares the payload with the checksum, when there is one, and returns the payload.
    pub(crate) fn payload<'r>(&self, record: &'r Record) -> Result<&'r [u8], DecodeError> {
        let payload = record.value.as_deref().ok_or(DecodeError::NoValue)?;
        match &self.checksum {
            Some(said) if !is_hex_of(said, &Sha256::digest(payload)) => {
                Err(DecodeError::Checksum { said: said.clone(), found: checksum(payload) })
            }
            _ => Ok(payload),
        }
    }

    /// Decodes a payload whose checksum has been compared.
    pub(crate) fn event<E: Event>(
        &self,
        record: &Record,
        payload: &[u8],
    ) -> Result<E, DecodeError> {
        if self.r#type != E::TYPE {
            return Err(DecodeError::Type { wanted: E::TYPE, found: self.r#type.clone() });
        }
        if record.key.is_none() {
            return Err(DecodeError::NoKey { event_type: E::TYPE, key: E::KEY });
        }
        version::read(self.version, payload)
    }
}

/// Reads an event with its envelope out of a record, comparing type, key, version and checksum; an
/// older version comes as the event of today.
pub fn decode<E: Event>(record: &Record) -> Result<Received<E>, DecodeError> {
    let envelope = Arc::new(Envelope::from_record(record)?);
    let event = envelope.event(record, envelope.payload(record)?)?;
    Ok(Received::new(event, envelope, record))
}

/// An event as it was delivered.
#[derive(Clone, Debug)]
pub struct Received<E> {
    event: E,
    envelope: Arc<Envelope>,
    topic: String,
    partition: i32,
    offset: i64,
}

impl<E> Received<E> {
    pub(crate) fn new(event: E, envelope: Arc<Envelope>, record: &Record) -> Self {
        let Record { topic, partition, offset, .. } = record;
        Self { event, envelope, topic: topic.to_string(), partition: *partition, offset: *offset }
    }

    /// What is known of it besides its payload.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Topic, partition and offset.
    pub fn position(&self) -> (&str, i32, i64) {
        (&self.topic, self.partition, self.offset)
    }

    /// The event alone.
    pub fn into_event(self) -> E {
        self.event
    }
}

impl<E> Deref for Received<E> {
    type Target = E;
    fn deref(&self) -> &E {
        &self.event
    }
}

/// What an envelope says beyond the event itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp<'a> {
    pub(crate) id: &'a Id,
    pub(crate) source: &'a str,
    pub(crate) time_ms: i64,
    pub(crate) correlation: &'a Id,
    pub(crate) causation: Option<&'a Id>,
    /// Of the cause: continued, or begun when it has none.
    pub(crate) traceparent: Option<&'a str>,
}

impl Emission {
    /// The record of this event; the partition is chosen from the key.
    pub(crate) fn into_record(self, stamp: &Stamp) -> SentRecord {
        let trace = TraceParent::of(stamp);
        trace::create(&self, stamp, trace);
        let key = Bytes::from(self.key);
        let fixed = |name: &'static str, value: &'static str| {
            let value = Some(Bytes::from_static(value.as_bytes()));
            Header { name: name.into(), value }
        };
        let mut texts = Texts::default();
        texts.add(ID, format_args!("{}", stamp.id));
        texts.add(SOURCE, format_args!("{}", stamp.source));
        texts.add(TIME, format_args!("{}", rfc3339::format(stamp.time_ms)));
        texts.add(DATA_VERSION, format_args!("{}", self.version));
        texts.add(CORRELATION, format_args!("{}", stamp.correlation));
        if let Some(causation) = stamp.causation {
            texts.add(CAUSATION, format_args!("{causation}"));
        }
        texts.add(TRACE_PARENT, format_args!("{trace}"));
        texts.add(CHECKSUM, format_args!("{:x}", Sha256::digest(&self.payload)));
        let mut headers = Vec::with_capacity(HEADERS_EXPECTED);
        headers.extend([
            fixed(SPEC_VERSION, "1.0"),
            fixed(TYPE, self.event_type),
            fixed(CONTENT_TYPE, JSON),
            fixed(KIND, self.kind.as_str()),
            Header { name: SUBJECT.into(), value: Some(key.clone()) },
        ]);
        texts.into_headers(&mut headers);
        let plain = headers.iter().find(|header| header.name == TRACE_PARENT);
        let plain = plain.and_then(|header| header.value.clone());
        headers.push(Header { name: TRACE_PARENT_PLAIN.into(), value: plain });
        SentRecord {
            topic: self.topic.to_owned(),
            partition: None,
            key: Some(key),
            value: Some(self.payload),
            headers,
            timestamp: None,
        }
    }
}

/// What an event has, and what a service adds.
const HEADERS_EXPECTED: usize = 16;
/// Their texts, about.
const TEXT_BYTES_EXPECTED: usize = 384;

/// Texts of a record's headers, in one piece of memory.
struct Texts {
    all: String,
    /// Where each ends.
    ends: Vec<(&'static str, usize)>,
}

impl Default for Texts {
    fn default() -> Self {
        let all = String::with_capacity(TEXT_BYTES_EXPECTED);
        Self { all, ends: Vec::with_capacity(HEADERS_EXPECTED) }
    }
}

impl Texts {
    fn add(&mut self, name: &'static str, text: fmt::Arguments) {
        self.all.write_fmt(text).expect("writing into a string does not fail");
        self.ends.push((name, self.all.len()));
    }

    fn into_headers(self, headers: &mut Vec<Header>) {
        let (mut all, mut from) = (Bytes::from(self.all), 0);
        for (name, end) in self.ends {
            let value = Some(all.split_to(end - from));
            from = end;
            headers.push(Header { name: name.into(), value });
        }
    }
}

/// Whether the text is these bytes in hexadecimal, of either case.
fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.eq(text.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// SHA-256 in lower-case hexadecimal.
fn checksum(payload: &[u8]) -> String {
    format!("{:x}", Sha256::digest(payload))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[event(topic = "shop.orders", key = "order", version = 2, since = 1, kind = "integration")]
    struct OrderPlaced {
        order: String,
        pence: i64,
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sent(causation: Option<&Id>, traceparent: Option<&str>) -> SentRecord {
        let event = OrderPlaced { order: "536365".into(), pence: 13_912 };
        let stamp = Stamp {
            id: &"e-2".into(),
            source: "till",
            time_ms: 1_291_191_960_000,
            correlation: &"e-0".into(),
            causation,
            traceparent,
        };
        Emission::of(&event).expect("encodes").into_record(&stamp)
    }

    fn read(sent: SentRecord) -> Record {
        let SentRecord { topic, key, value, headers, .. } = sent;
        Record { topic: topic.into(), partition: 1, offset: 7, timestamp: 5, key, value, headers }
    }

    fn with(mut record: Record, name: &'static str, value: Option<&str>) -> Record {
        record.headers.retain(|h| h.name != name);
        record.headers.extend(value.map(|v| Header::text(name, v)));
        record
    }

    #[test]
    fn an_event_survives_the_record() {
        let record = read(sent(Some(&"e-1".into()), Some(PARENT)));
        assert_eq!(record.key.as_deref(), Some(&b"536365"[..]));
        assert_eq!(record.header("content-type"), Some("application/json"));
        assert_eq!(record.header("ce_time"), Some("2010-12-01T08:26:00.000Z"));
        assert_eq!(record.header("ce_traceparent"), record.header("traceparent"));
        let received = decode::<OrderPlaced>(&record).expect("decodes");
        assert_eq!(*received, OrderPlaced { order: "536365".into(), pence: 13_912 });
        assert_eq!(received.position(), ("shop.orders", 1, 7));
        let envelope = received.envelope();
        assert_eq!(envelope.checksum.as_ref().map(String::len), Some(64));
        let expected = Envelope {
            id: "e-2".into(),
            r#type: "OrderPlaced".into(),
            version: 2,
            kind: Kind::Integration,
            source: "till".into(),
            subject: Some("536365".into()),
            time_ms: 1_291_191_960_000,
            correlation: Some("e-0".into()),
            causation: Some("e-1".into()),
            traceparent: envelope.traceparent.clone(),
            checksum: envelope.checksum.clone(),
        };
        assert_eq!(*envelope, expected);
    }

    #[test]
    fn a_trace_is_continued_or_begun() {
        let trace = |parent| {
            let record = read(sent(None, parent));
            record.header("traceparent").expect("a trace").to_owned()
        };
        let continued = trace(Some(PARENT));
        assert_eq!(continued[..36], PARENT[..36]);
        assert_ne!(continued, PARENT);
        assert!(TraceParent::parse(&continued).is_some(), "{continued}");
        let begun = trace(None);
        assert!(TraceParent::parse(&begun).is_some(), "{begun}");
        for unusable in ["", "00-00-00-00", &PARENT.to_uppercase(), &PARENT.replace("00-", "ff-")] {
            assert_eq!(trace(Some(unusable)), begun, "{unusable}");
        }
    }

    #[test]
    fn records_of_other_producers_need_four_attributes() {
        let mut record = read(sent(None, None));
        record
            .headers
            .retain(|h| ["ce_specversion", "ce_id", "ce_type", "ce_source"].contains(&&*h.name));
        let received = decode::<OrderPlaced>(&record).expect("decodes");
        let envelope = received.envelope();
        assert_eq!((envelope.version, envelope.kind, envelope.time_ms), (1, Kind::Domain, 5));
        assert_eq!((&envelope.checksum, &envelope.correlation), (&None, &None));
    }

    #[test]
    fn what_is_not_the_event_is_named() {
        use DecodeError as D;
        let good = || read(sent(None, None));
        let header = |name, found: &str| D::Header { name, found: found.into() };
        let sum = checksum(&good().value.expect("a value"));
        let said = "0".repeat(64);
        for (record, expected) in [
            (with(good(), "ce_id", None), D::Missing("ce_id")),
            (with(good(), "ce_source", None), D::Missing("ce_source")),
            (with(good(), "ce_specversion", Some("0.3")), header("ce_specversion", "0.3")),
            (with(good(), "ce_time", Some("noon")), header("ce_time", "noon")),
            (with(good(), "ce_dataversion", Some("-1")), header("ce_dataversion", "-1")),
            (with(good(), "ce_kind", Some("rumour")), header("ce_kind", "rumour")),
            (
                with(good(), "content-type", Some("application/cloudevents+json")),
                D::ContentType("application/cloudevents+json".into()),
            ),
            (
                with(good(), "ce_type", Some("Other")),
                D::Type { wanted: "OrderPlaced", found: "Other".into() },
            ),
            (with(good(), "ce_dataversion", Some("3")), D::Version { supported: 2, found: 3 }),
            (with(good(), "ce_checksum", Some(&said)), D::Checksum { said, found: sum }),
            (with(good(), "ce_dataversion", Some("0")), D::Outdated { supported: 2, found: 0 }),
            (Record { value: None, ..good() }, D::NoValue),
            (Record { key: None, ..good() }, D::NoKey { event_type: "OrderPlaced", key: "order" }),
            (
                with(Record { value: Some("{}".into()), ..good() }, "ce_checksum", None),
                D::Json("missing field `order` at line 1 column 2".into()),
            ),
        ] {
            assert_eq!(decode::<OrderPlaced>(&record).expect_err("refused"), expected);
        }
    }
}
