//! The registry's state and its topic: one writer that appends, reads back and folds.
//!
//! Invariant: the state is the fold of `_schemas` up to `Writer::next`. A write first folds
//! whatever the topic has gained, decides on that, appends, and folds what it reads back. From its
//! decision on a write runs in a task of its own: a client that goes away does not let the next
//! write decide before it is known what is in the topic.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{Engine, Error, NewTopic, Producer, ReadLimit, SentRecord};
use tidings_schema::{Change, Refused, Registry};
use tokio::sync::Mutex;
use tracing::warn;

use super::answer::Trouble;
use crate::limits::{BODY_BYTES_MAX, REGISTRY_READ_RECORDS};

const TOPIC: &str = "_schemas";

pub(super) struct Store {
    engine: Engine,
    writer: Arc<Mutex<Writer>>,
    state: RwLock<Registry>,
}

#[derive(Default)]
struct Writer {
    /// Made by the first write.
    producer: Option<Producer>,
    /// The first offset that is not folded yet.
    next: i64,
}

impl Store {
    pub(super) async fn open(engine: Engine) -> Result<Self, Error> {
        let mut writer = Writer::default();
        let mut store = Self { engine, writer: Arc::default(), state: RwLock::default() };
        match store.catch_up(&mut writer).await {
            Ok(()) | Err(Error::UnknownTopic(_)) => {}
            Err(e) => return Err(e),
        }
        store.writer = Arc::new(Mutex::new(writer));
        Ok(store)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Registry> {
        // A fold cannot fail half way: the state behind a poisoned lock is whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on the newest state and makes the changes durable before it answers.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl FnOnce(&Registry) -> Result<(T, Vec<Change>), Refused> + Send + 'static,
    ) -> Result<T, Trouble> {
        let mut writer = self.writer.clone().lock_owned().await;
        let store = Arc::clone(self);
        let written = tokio::spawn(async move { store.write_as(&mut writer, decide).await });
        written.await.map_err(|e| Trouble { code: 50001, message: e.to_string() })?
    }

    async fn write_as<T>(
        &self,
        writer: &mut Writer,
        decide: impl FnOnce(&Registry) -> Result<(T, Vec<Change>), Refused>,
    ) -> Result<T, Trouble> {
        match self.catch_up(writer).await {
            Ok(()) | Err(Error::UnknownTopic(_)) => {}
            Err(e) => return Err(e.into()),
        }
        let (answer, changes) = decide(&self.read())?;
        if !changes.is_empty() {
            self.append(writer, &changes).await?;
            self.catch_up(writer).await?;
        }
        Ok(answer)
    }

    async fn append(&self, writer: &mut Writer, changes: &[Change]) -> Result<(), Error> {
        let producer = match writer.producer.take() {
            Some(producer) => producer,
            None => {
                self.create_topic().await?;
                self.engine.producer().await?
            }
        };
        let records = changes.iter().map(|change| {
            let (key, value) = change.to_record();
            SentRecord {
                topic: TOPIC.to_owned(),
                partition: Some(0),
                key: Some(Bytes::from(key)),
                value: value.map(Bytes::from),
                ..SentRecord::default()
            }
        });
        producer.send(records.collect()).await?;
        writer.producer = Some(producer);
        Ok(())
    }

    async fn create_topic(&self) -> Result<(), Error> {
        // The registry is the whole of its topic.
        let topic = NewTopic { partitions: Some(1), ..NewTopic::kept(TOPIC) };
        match self.engine.create_topic(topic).await {
            Ok(()) | Err(Error::TopicExists(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn catch_up(&self, writer: &mut Writer) -> Result<(), Error> {
        let limit = ReadLimit {
            records: REGISTRY_READ_RECORDS,
            bytes: BODY_BYTES_MAX,
            wait: Duration::ZERO,
        };
        loop {
            let read = self.engine.read(TOPIC, 0, writer.next, limit).await?;
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for record in &read.records {
                match Change::from_record(record.key.as_deref(), record.value.as_deref()) {
                    Ok(Some(change)) => state.apply(change),
                    Ok(None) => {}
                    Err(e) => warn!(offset = record.offset, "{TOPIC}: {e}; passed over"),
                }
            }
            let stuck = read.next <= writer.next;
            writer.next = writer.next.max(read.next);
            if stuck || read.next >= read.high_watermark {
                return Ok(());
            }
        }
    }
}
