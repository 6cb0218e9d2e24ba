//! Records as they read: a key or value that names a schema of the registry is its JSON, all else stays what it is.
//!
//! Whoever shows, filters or searches records takes them from here, so that all see the same.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use tidings_decode::{Decoded, Decoder, Part, Side};
use tidings_engine::{Error, Record};

use crate::limits::DECODE_LIST_TIME;

/// Reads records by the schemas of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    decoder: Arc<Decoder>,
    /// When it stops to decode.
    until: Option<Instant>,
}

/// A record, its key and value as they read.
#[derive(Clone, Debug)]
pub(crate) struct Reading<'r> {
    pub(crate) record: Cow<'r, Record>,
    /// Bytes of the value as it was written.
    pub(crate) value_bytes: usize,
    /// Of a value that was decoded.
    pub(crate) schema_id: Option<i32>,
}

impl<'r> From<&'r Record> for Reading<'r> {
    /// As it was written.
    fn from(record: &'r Record) -> Self {
        let value_bytes = record.value.as_ref().map_or(0, bytes::Bytes::len);
        Self { record: Cow::Borrowed(record), value_bytes, schema_id: None }
    }
}

impl Reading<'_> {
    pub(crate) fn into_record(reading: &Reading<'_>) -> Record {
        reading.record.clone().into_owned()
    }
}

impl Reader {
    /// Decodes whatever it is given, for who has a limit of his own.
    pub(crate) fn new(decoder: Arc<Decoder>) -> Self {
        Self { decoder, until: None }
    }

    /// Decodes for [`DECODE_LIST_TIME`].
    pub(crate) fn of_list(decoder: Arc<Decoder>) -> Self {
        Self { decoder, until: Some(Instant::now() + DECODE_LIST_TIME) }
    }

    pub(crate) fn read<'r>(&self, record: &'r Record) -> Reading<'r> {
        let mut reading = Reading::from(record);
        if !is_framed(record) || self.until.is_some_and(|until| Instant::now() >= until) {
            return reading;
        }
        let (key, value) = (self.decoded(record, Side::Key), self.decoded(record, Side::Value));
        if let Some(text) = key.as_ref().and_then(Decoded::plain) {
            reading.record.to_mut().key = Some(text.into_owned().into());
        }
        if let Some(decoded) = value
            && let Ok(json) = decoded.json
        {
            reading.schema_id = decoded.id;
            reading.record.to_mut().value = Some(json.into());
        }
        reading
    }

    /// What is known of a key or value; none of one that names no schema.
    pub(crate) fn decoded(&self, record: &Record, side: Side) -> Option<Decoded> {
        let bytes = match side {
            Side::Key => record.key.as_deref()?,
            Side::Value => record.value.as_deref()?,
        };
        let header = header(record, side);
        self.decoder.decode(Part { side, topic: &record.topic, bytes, header })
    }

    /// What is made of each. Decoding is done where it keeps nobody waiting.
    pub(crate) async fn each<T: Send + 'static>(
        &self,
        records: Vec<Record>,
        of: impl Fn(&Reading<'_>) -> T + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        if !records.iter().any(is_framed) {
            return Ok(records.iter().map(|record| of(&Reading::from(record))).collect());
        }
        let reader = self.clone();
        let reading = move || records.iter().map(|record| of(&reader.read(record))).collect();
        let read = tokio::task::spawn_blocking(reading).await;
        read.map_err(|error| Error::Unavailable(error.to_string()))
    }
}

/// Whether key or value can be meant to name a schema.
pub(crate) fn is_framed(record: &Record) -> bool {
    let begins = |bytes: Option<&[u8]>| matches!(bytes, Some([0 | 1, ..]));
    begins(record.value.as_deref())
        || begins(record.key.as_deref())
        || header(record, Side::Value).is_some()
        || header(record, Side::Key).is_some()
}

fn header(record: &Record, side: Side) -> Option<&[u8]> {
    let named = record.headers.iter().rfind(|header| header.name == side.header());
    named?.value.as_deref()
}
