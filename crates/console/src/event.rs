//! A record as the console shows it: one line among events, or alone with everything it carries.

use serde::Serialize;
use tidings::Envelope;
use tidings_decode::{Decoded, SchemaRef, Side, Used};
use tidings_engine::Record;
use tidings_gateway::url_encoded;
use tidings_schema::SchemaType;

use super::dead::DeathView;
use super::payload::{Payload, shortened};
use super::quantity::{Bytes, Count, Moment};
use super::reading::{Reader, Reading};
use crate::limits::{HEADERS_SHOWN_MAX, PAYLOAD_SHOWN_BYTES, PREVIEW_CHARS};

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
    /// Of a value that was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema_id: Option<i32>,
}

impl EventLine {
    pub(crate) fn of(reading: &Reading<'_>) -> Self {
        let record = reading.record.as_ref();
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
            size: Bytes(reading.value_bytes as u64),
            schema_id: reading.schema_id,
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
    /// Of a key that names a schema.
    pub(crate) key_framing: Option<FramingView>,
    /// Of a value that does.
    pub(crate) framing: Option<FramingView>,
    pub(crate) headers: Vec<HeaderView>,
    /// Headers beyond those.
    pub(crate) more_headers: Count,
    pub(crate) envelope: Option<EnvelopeView>,
    /// Why it is no event, where it has the headers of one.
    pub(crate) no_envelope: Option<String>,
}

/// A key or value that names its schema, as serializers of a schema registry write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FramingView {
    /// None where the record names another thing, which the registry does not have.
    pub(crate) schema_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema_guid: Option<String>,
    /// Where the registry has it: in the subject of the topic, or else in the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<i32>,
    /// AVRO, JSON or PROTOBUF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema_type: Option<&'static str>,
    /// The record or message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) type_name: Option<String>,
    /// Of a message, fields that the schema does not have.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) unknown_fields: Count,
    pub(crate) decoded: Option<Payload>,
    /// Why it was not decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// What the registry says of the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The JSON is longer than what is shown of it.
    #[serde(skip)]
    pub(crate) cut: bool,
}

fn is_none(count: &Count) -> bool {
    count.0 == 0
}

impl FramingView {
    /// `registry` is the URL of the registry, where there is one.
    fn of(decoded: Decoded, registry: Option<&str>) -> Self {
        let (schema_id, schema_guid) = match (decoded.schema, decoded.id) {
            (SchemaRef::Id(id), _) => (Some(id.into()), None),
            (guid @ SchemaRef::Guid(_), id) => (id.map(Into::into), Some(guid.to_string())),
        };
        let url = registry.zip(decoded.id).map(|(registry, id)| match &decoded.used {
            Some(Used { subject, version }) => {
                format!("{registry}/subjects/{}/versions/{version}", url_encoded(subject))
            }
            None => format!("{registry}/schemas/ids/{id}"),
        });
        let (subject, version) = decoded.used.map(|used| (used.subject, used.version)).unzip();
        let (json, refused) = match decoded.json {
            Ok(json) => (Some(json), None),
            Err(refused) => (None, Some(refused.to_string())),
        };
        Self {
            schema_id,
            schema_guid,
            subject,
            version,
            schema_type: decoded.kind.map(SchemaType::name),
            type_name: decoded.type_name,
            unknown_fields: Count::of(decoded.unknown_fields),
            cut: json.as_ref().is_some_and(|json| json.len() > PAYLOAD_SHOWN_BYTES),
            decoded: json.map(|json| Payload::of(Some(json.as_bytes()))),
            refused,
            url,
        }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        match (&self.subject, self.version, self.schema_id, &self.schema_guid) {
            (Some(subject), Some(version), ..) => format!("{subject} version {version}"),
            (_, _, Some(id), _) => id.to_string(),
            (_, _, None, guid) => guid.clone().unwrap_or_default(),
        }
    }

    /// How bytes within the JSON are written; of Avro, where it has such.
    pub(crate) fn bytes_are(&self) -> Option<&'static str> {
        let Some(Payload::Json(text)) = &self.decoded else { return None };
        match self.schema_type? {
            "AVRO" if text.contains("\"0x") => Some("bytes in hexadecimal"),
            "PROTOBUF" => Some("bytes in base64"),
            _ => None,
        }
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
    /// `registry` is the URL of the registry, where there is one.
    pub(crate) fn of(record: &Record, reader: &Reader, registry: Option<&str>) -> Self {
        let framing = |side| reader.decoded(record, side).map(|of| FramingView::of(of, registry));
        let envelope = Envelope::from_record(record);
        let meant = record.headers.iter().any(|h| h.name.starts_with("ce_"));
        let headers = record.headers.iter();
        Self {
            line: EventLine::of(&reader.read(record)),
            death: DeathView::of(record),
            key_payload: Payload::of(record.key.as_deref()),
            value_payload: Payload::of(record.value.as_deref()),
            key_framing: framing(Side::Key),
            framing: framing(Side::Value),
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

    /// What the value says by its schema.
    pub(crate) fn decoded(&self) -> Option<&Payload> {
        self.framing.as_ref()?.decoded.as_ref()
    }

    /// Whether the value as it was written is anything else than what is shown.
    pub(crate) fn has_raw(&self) -> bool {
        self.decoded().is_some() || matches!(self.value_payload, Payload::Json(_))
    }

    /// Of the key, the same.
    pub(crate) fn decoded_key(&self) -> Option<&Payload> {
        self.key_framing.as_ref()?.decoded.as_ref()
    }

    /// Whether more is there than is shown.
    pub(crate) fn cut(&self) -> bool {
        match self.framing.as_ref().filter(|framing| framing.decoded.is_some()) {
            Some(framing) => framing.cut,
            None => self.line.size.0 > PAYLOAD_SHOWN_BYTES as u64,
        }
    }
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

    fn line(record: &Record) -> EventLine {
        EventLine::of(&Reading::from(record))
    }

    fn view(record: &Record) -> RecordView {
        RecordView::of(record, &Reader::new(std::sync::Arc::default()), None)
    }

    #[test]
    fn a_line_says_what_the_envelope_says() {
        let placed = line(&record(&[
            ("ce_type", "shop.OrderPlaced"),
            ("ce_source", "till"),
            ("ce_correlationid", "0123456789abcdef"),
        ]));
        assert_eq!(placed.short_type(), "OrderPlaced");
        assert_eq!(placed.short_correlation(), "01234567");
        assert_eq!(placed.key.as_deref(), Some("536365"));
        for (wanted, found) in
            [("orderplaced", true), ("53636", true), ("9abc", true), ("PENCE", true), ("x", false)]
        {
            assert_eq!(placed.mentions(wanted), found, "{wanted}");
        }
        let bare = line(&record(&[]));
        assert_eq!((bare.short_type(), bare.short_correlation()), ("record", ""));
    }

    #[test]
    fn a_record_with_a_broken_envelope_says_why() {
        let plain = view(&record(&[("x", "y")]));
        assert!(plain.envelope.is_none() && plain.no_envelope.is_none());
        let broken = view(&record(&[("ce_specversion", "1.0")]));
        assert!(broken.envelope.is_none());
        assert!(broken.no_envelope.is_some_and(|why| why.contains("ce_")));
        let whole = view(&record(&[
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
