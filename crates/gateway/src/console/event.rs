//! A record as the console shows it: one line among events, or alone with everything it carries.

use serde::Serialize;
use tidings::Envelope;
use tidings_engine::Record;

use super::dead::DeathView;
use super::payload::{Payload, shortened};
use super::quantity::{Bytes, Count, Moment};
use crate::limits::{HEADERS_SHOWN_MAX, PREVIEW_CHARS};

/// A record in a list. What the envelope says is missing where there is no envelope.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventLine {
    #[serde(rename = "time_ms")]
    pub(crate) time: Moment,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    #[serde(rename = "value_bytes")]
    pub(crate) size: Bytes,
}

impl EventLine {
    pub(crate) fn of(record: &Record) -> Self {
        let header = |name| record.header(name).map(|text| shortened(text, PREVIEW_CHARS));
        Self {
            time: Moment(record.timestamp),
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            id: header("ce_id"),
            r#type: header("ce_type"),
            source: header("ce_source"),
            correlation: header("ce_correlationid"),
            key: record.key.as_deref().map(|key| Payload::of(Some(key)).preview()),
            value: Payload::of(record.value.as_deref()).preview(),
            size: size(record.value.as_deref()),
        }
    }

    /// The type without what precedes its last dot; the topic where there is no type.
    pub(crate) fn short_type(&self) -> &str {
        match &self.r#type {
            Some(name) => name.rsplit('.').next().unwrap_or(name),
            None => "record",
        }
    }

    /// Enough of the correlation to tell orders apart.
    pub(crate) fn short_correlation(&self) -> &str {
        let id = self.correlation.as_deref().unwrap_or_default();
        id.char_indices().nth(8).map_or(id, |(end, _)| &id[..end])
    }

    /// The colour of the topic.
    pub(crate) fn hue(&self) -> &'static str {
        topic_hue(&self.topic)
    }

    /// Whether this text is in what the line says.
    pub(crate) fn mentions(&self, wanted: &str) -> bool {
        let fields = [&self.id, &self.r#type, &self.source, &self.correlation, &self.key];
        let said = fields.into_iter().flatten().chain([&self.topic, &self.value]);
        said.into_iter().any(|text| contains_ignoring_case(text, wanted))
    }
}

/// A topic's colour: one of eight, the same on every page.
pub(crate) fn topic_hue(topic: &str) -> &'static str {
    const HUES: [&str; 8] =
        ["hue-0", "hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6", "hue-7"];
    // FNV-1a, 32 bits.
    let hash = topic
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    HUES[hash as usize % HUES.len()]
}

pub(crate) fn contains_ignoring_case(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

/// A record alone.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordView {
    #[serde(flatten)]
    pub(crate) line: EventLine,
    /// Of a dead letter: why it is one.
    pub(crate) death: Option<DeathView>,
    pub(crate) key_payload: Payload,
    pub(crate) value_payload: Payload,
    /// Of a value in a registry's wire format.
    pub(crate) framing: Option<FramingView>,
    pub(crate) headers: Vec<HeaderView>,
    /// Headers beyond those.
    pub(crate) more_headers: Count,
    pub(crate) envelope: Option<EnvelopeView>,
    /// Why it is no event, where it has the headers of one.
    pub(crate) no_envelope: Option<String>,
}

/// A value that begins with a zero and the id of its schema, as serializers of a schema registry write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FramingView {
    pub(crate) schema_id: u32,
    /// What follows, where it is JSON.
    pub(crate) decoded: Option<Payload>,
}

impl FramingView {
    fn of(value: Option<&[u8]>) -> Option<Self> {
        let (id, rest) = value?.strip_prefix(&[0])?.split_first_chunk::<4>()?;
        let payload = Payload::of(Some(rest));
        let decoded = matches!(payload, Payload::Json(_)).then_some(payload);
        Some(Self { schema_id: u32::from_be_bytes(*id), decoded })
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeaderView {
    pub(crate) name: String,
    pub(crate) value: Payload,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct EnvelopeView {
    pub(crate) id: String,
    pub(crate) r#type: String,
    pub(crate) version: u32,
    pub(crate) source: String,
    pub(crate) subject: Option<String>,
    #[serde(rename = "time_ms")]
    pub(crate) time: Moment,
    pub(crate) correlation: Option<String>,
    pub(crate) causation: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) checksum: Option<String>,
}

impl From<Envelope> for EnvelopeView {
    fn from(envelope: Envelope) -> Self {
        Self {
            id: envelope.id.to_string(),
            r#type: envelope.r#type,
            version: envelope.version,
            source: envelope.source,
            subject: envelope.subject,
            time: Moment(envelope.time_ms),
            correlation: envelope.correlation.map(|id| id.to_string()),
            causation: envelope.causation.map(|id| id.to_string()),
            traceparent: envelope.traceparent,
            checksum: envelope.checksum,
        }
    }
}

impl RecordView {
    pub(crate) fn of(record: &Record) -> Self {
        let envelope = Envelope::from_record(record);
        let meant = record.headers.iter().any(|h| h.name.starts_with("ce_"));
        let headers = record.headers.iter();
        Self {
            line: EventLine::of(record),
            death: DeathView::of(record),
            key_payload: Payload::of(record.key.as_deref()),
            value_payload: Payload::of(record.value.as_deref()),
            framing: FramingView::of(record.value.as_deref()),
            more_headers: Count::of(record.headers.len().saturating_sub(HEADERS_SHOWN_MAX)),
            headers: headers
                .take(HEADERS_SHOWN_MAX)
                .map(|h| HeaderView {
                    name: h.name.to_string(),
                    value: Payload::of(h.value.as_deref()),
                })
                .collect(),
            no_envelope: envelope.as_ref().err().filter(|_| meant).map(ToString::to_string),
            envelope: envelope.ok().map(EnvelopeView::from),
        }
    }

    /// What the value says behind the id of its schema.
    pub(crate) fn decoded(&self) -> Option<&Payload> {
        self.framing.as_ref()?.decoded.as_ref()
    }

    /// Whether the value as it was written is anything else than what is shown.
    pub(crate) fn has_raw(&self) -> bool {
        self.decoded().is_some() || matches!(self.value_payload, Payload::Json(_))
    }

    /// Whether more bytes are there than are shown.
    pub(crate) fn cut(&self) -> bool {
        self.line.size.0 > crate::limits::PAYLOAD_SHOWN_BYTES as u64
    }
}

fn size(value: Option<&[u8]>) -> Bytes {
    Bytes(value.map_or(0, |value| value.len() as u64))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes as Buffer;
    use tidings_engine::Header;

    use super::*;

    fn record(headers: &[(&'static str, &str)]) -> Record {
        Record {
            topic: "shop.orders".into(),
            partition: 1,
            offset: 42,
            timestamp: 1_291_191_960_000,
            key: Some(Buffer::from_static(b"536365")),
            value: Some(Buffer::from_static(b"{\"pence\":5}")),
            headers: headers
                .iter()
                .map(|(name, value)| Header::text(name.to_string(), value))
                .collect(),
        }
    }

    #[test]
    fn a_line_says_what_the_envelope_says() {
        let line = EventLine::of(&record(&[
            ("ce_type", "shop.OrderPlaced"),
            ("ce_source", "till"),
            ("ce_correlationid", "0123456789abcdef"),
        ]));
        assert_eq!(line.short_type(), "OrderPlaced");
        assert_eq!(line.short_correlation(), "01234567");
        assert_eq!(line.key.as_deref(), Some("536365"));
        for (wanted, found) in
            [("orderplaced", true), ("53636", true), ("9abc", true), ("PENCE", true), ("x", false)]
        {
            assert_eq!(line.mentions(wanted), found, "{wanted}");
        }
        let bare = EventLine::of(&record(&[]));
        assert_eq!((bare.short_type(), bare.short_correlation()), ("record", ""));
    }

    #[test]
    fn the_wire_format_of_a_registry_is_recognized() {
        let decoded = |id, json: &str| {
            Some(FramingView { schema_id: id, decoded: Some(Payload::Json(json.into())) })
        };
        for (value, wanted) in [
            (Some(&b"\0\0\0\0\x07{\"a\":1}"[..]), decoded(7, "{\"a\":1}")),
            (Some(b"\0\0\0\x01\0\x02ab"), Some(FramingView { schema_id: 256, decoded: None })),
            (Some(b"\0\0\0"), None),
            (Some(b"{}"), None),
            (None, None),
        ] {
            assert_eq!(FramingView::of(value), wanted, "{value:?}");
        }
    }

    #[test]
    fn a_record_with_a_broken_envelope_says_why() {
        let plain = RecordView::of(&record(&[("x", "y")]));
        assert!(plain.envelope.is_none() && plain.no_envelope.is_none());
        let broken = RecordView::of(&record(&[("ce_specversion", "1.0")]));
        assert!(broken.envelope.is_none());
        assert!(broken.no_envelope.is_some_and(|why| why.contains("ce_")));
        let whole = RecordView::of(&record(&[
            ("ce_specversion", "1.0"),
            ("ce_id", "e-1"),
            ("ce_type", "shop.OrderPlaced"),
            ("ce_source", "till"),
            ("ce_time", "2010-12-01T08:26:00Z"),
        ]));
        let envelope = whole.envelope.expect("all four attributes are there");
        assert_eq!(envelope.id, "e-1");
        assert_eq!(envelope.time.to_string(), "2010-12-01 08:26:00.000");
    }
}
