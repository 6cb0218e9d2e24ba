//! Events from outside the services: tills, importers, tests.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tidings_engine::{
    Engine, Header, Position, Producer, Record, SentRecord, limits::BATCH_HEADER_BYTES,
};

use crate::{Error, Event, Id, envelope::Stamp, event::Emission, limits, topics::make_topic};

/// An event on its way, with what its envelope shall say.
#[derive(Clone, Debug)]
pub struct Outgoing {
    emission: Result<Emission, Error>,
    id: Option<Id>,
    time_ms: Option<i64>,
    correlation: Option<Id>,
    traceparent: Option<String>,
    headers: Vec<Header>,
}

impl Outgoing {
    /// An event with a fresh id, happening now.
    pub fn new<E: Event>(event: &E) -> Self {
        Self {
            emission: Emission::of(event),
            id: None,
            time_ms: None,
            correlation: None,
            traceparent: None,
            headers: Vec::new(),
        }
    }

    /// The event's id. Give what may be published twice an id that is derived from what it is
    /// ([`Id::derived`]): services then handle it once.
    #[must_use]
    pub fn id(mut self, id: impl Into<Id>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// When it happened, in milliseconds since the epoch. The record's own timestamp, by which
    /// retention goes, is still the time of publishing.
    #[must_use]
    pub fn time_ms(mut self, time_ms: i64) -> Self {
        self.time_ms = Some(time_ms);
        self
    }

    /// What it belongs to; its own id when not said.
    #[must_use]
    pub fn correlation(mut self, id: impl Into<Id>) -> Self {
        self.correlation = Some(id.into());
        self
    }

    /// The trace that it continues (W3C trace context); a new one when not said.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// One more header, after those of the envelope.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<str>) -> Self {
        self.headers.push(Header::text(name.into(), value));
        self
    }

    pub(crate) fn into_record(self, source: &str) -> Result<SentRecord, Error> {
        let emission = self.emission?;
        let id = self.id.unwrap_or_else(Id::fresh);
        let mut record = emission.into_record(&Stamp {
            id: &id,
            source,
            time_ms: self.time_ms.unwrap_or_else(now_ms),
            correlation: self.correlation.as_ref().unwrap_or(&id),
            causation: None,
            traceparent: self.traceparent.as_deref(),
        });
        record.headers.extend(self.headers);
        Ok(record)
    }
}

impl<E: Event> From<E> for Outgoing {
    fn from(event: E) -> Self {
        Self::new(&event)
    }
}

/// Appends events in the name of a source; clones share it.
#[derive(Clone, Debug)]
pub struct Publisher {
    engine: Engine,
    producer: Producer,
    source: String,
    known_topics: Arc<Mutex<HashSet<String>>>,
}

impl Publisher {
    /// A publisher whose events say `source` in their envelope.
    pub async fn open(engine: &Engine, source: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            engine: engine.clone(),
            producer: engine.producer().await?,
            source: source.into(),
            known_topics: Arc::default(),
        })
    }

    /// Appends one event with a fresh id; durable when this returns.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<Position, Error> {
        let mut positions = self.publish(vec![Outgoing::new(event)]).await?;
        positions.pop().ok_or_else(|| {
            tidings_engine::Error::Unavailable("the engine named no position".into()).into()
        })
    }

    /// Appends events in order (kept per key) and says where each went; durable when this returns.
    ///
    /// Makes a topic that does not exist. Nothing is appended when an event cannot be encoded. More
    /// than [`limits::INPUT_OUTPUT_BYTES_MAX`] goes in several appends, so an error may leave the
    /// first part appended: publishing again with the same ids is then the remedy.
    pub async fn publish(&self, events: Vec<Outgoing>) -> Result<Vec<Position>, Error> {
        let records = events
            .into_iter()
            .map(|event| event.into_record(&self.source))
            .collect::<Result<Vec<_>, _>>()?;
        self.make_topics(&records).await?;
        let mut positions = Vec::with_capacity(records.len());
        let (mut part, mut bytes) = (Vec::new(), 0);
        for record in records {
            let more = record_bytes(&record);
            if bytes + more > limits::INPUT_OUTPUT_BYTES_MAX && !part.is_empty() {
                positions.extend(self.producer.send(std::mem::take(&mut part)).await?);
                bytes = 0;
            }
            bytes += more;
            part.push(record);
        }
        if !part.is_empty() {
            positions.extend(self.producer.send(part).await?);
        }
        Ok(positions)
    }

    async fn make_topics(&self, records: &[SentRecord]) -> Result<(), Error> {
        let known = || self.known_topics.lock().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<&str> = {
            let known = known();
            records.iter().map(|r| r.topic.as_str()).filter(|t| !known.contains(*t)).collect()
        };
        for topic in new {
            make_topic(&self.engine, topic).await?;
            known().insert(topic.to_owned());
        }
        Ok(())
    }
}

/// The largest record, by [`record_bytes`], that the topic takes.
pub(crate) async fn record_bytes_max(
    engine: &Engine,
    topic: &str,
) -> Result<usize, tidings_engine::Error> {
    let configs = engine.topic_configs(topic).await?;
    let value = configs.into_iter().find(|config| config.name == "max.message.bytes");
    let bytes: Option<usize> = value.and_then(|config| config.value?.parse().ok());
    Ok(bytes.map_or(usize::MAX, |bytes| bytes.saturating_sub(BATCH_HEADER_BYTES)))
}

/// At least what a record takes in a batch of its own: its parts, and framing with room to spare.
pub(crate) fn record_bytes(record: &SentRecord) -> usize {
    parts_bytes(record.key.as_ref(), record.value.as_ref(), &record.headers)
}

/// The same of a record that was read.
pub(crate) fn record_bytes_of(record: &Record) -> usize {
    parts_bytes(record.key.as_ref(), record.value.as_ref(), &record.headers)
}

pub(crate) fn parts_bytes(key: Option<&Bytes>, value: Option<&Bytes>, headers: &[Header]) -> usize {
    let part = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    let headers: usize = headers.iter().map(|h| h.name.len() + part(h.value.as_ref()) + 8).sum();
    32 + part(key) + part(value) + headers
}

/// Milliseconds since the epoch; 0 on a clock before it.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
