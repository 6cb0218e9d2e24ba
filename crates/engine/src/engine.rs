//! The engine's handle: topics, append, read, offsets, groups.

use std::path::Path;

use crate::embedded::{Embedded, EmbeddedProducer, EmbeddedSubscription};
use crate::{
    Error, GroupDescription, GroupSummary, NewTopic, Offset, Position, Read, ReadLimit, SentRecord,
    SubscribeOptions, Subscription, Topic, TopicPartition,
};

/// A handle to an engine; clones share it.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), tidings_engine::Error> {
/// use tidings_engine::{Engine, NewTopic, ReadLimit, SentRecord};
///
/// let engine = Engine::in_memory().await?;
/// engine.create_topic(NewTopic { name: "orders".into(), ..NewTopic::default() }).await?;
/// let order = SentRecord {
///     topic: "orders".into(),
///     partition: Some(0),
///     value: Some("tea".into()),
///     ..SentRecord::default()
/// };
/// engine.producer().await?.send(vec![order]).await?;
/// let limit = ReadLimit { records: 10, bytes: 1 << 20, wait: std::time::Duration::ZERO };
/// let read = engine.read("orders", 0, 0, limit).await?;
/// assert_eq!(read.records[0].value.as_deref(), Some(b"tea".as_slice()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    embedded: Embedded,
}

impl Engine {
    /// Opens the embedded log in a directory, creating it when missing; one process at a time.
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { embedded: Embedded::open(dir.as_ref()).await? })
    }

    /// The embedded log on a disk in memory: the same code, gone with the last handle.
    #[expect(clippy::unused_async, reason = "opening is asynchronous on every other engine")]
    pub async fn in_memory() -> Result<Self, Error> {
        Ok(Self { embedded: Embedded::in_memory()? })
    }

    /// The embedded engine on a node that the caller runs (and also serves over the network).
    pub fn embedded(node: tidings_node::Node) -> Self {
        Self { embedded: Embedded::on(node) }
    }

    /// Makes a topic; durable when this returns.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<(), Error> {
        self.embedded.create_topic(topic).await
    }

    /// Deletes a topic with its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.embedded.delete_topic(name).await
    }

    /// Every topic with its partitions' offsets and sizes, sorted by name.
    pub async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.embedded.topics().await
    }

    /// One topic. [`Error::UnknownTopic`] when there is none; never creates.
    pub async fn topic(&self, name: &str) -> Result<Topic, Error> {
        self.embedded.topic(name).await
    }

    /// A topic's configuration: name, value.
    pub async fn topic_configs(&self, name: &str) -> Result<Vec<(String, Option<String>)>, Error> {
        self.embedded.topic_configs(name).await
    }

    /// A producer whose appends are idempotent and ordered per partition.
    pub async fn producer(&self) -> Result<Producer, Error> {
        Ok(Producer { embedded: EmbeddedProducer::open(&self.embedded).await? })
    }

    /// Records from an offset on, without a group. At the end it waits as `limit` says; beyond the
    /// end, or before the beginning, it is [`Error::OffsetOutOfRange`].
    pub async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        self.embedded.read(topic, partition, from, limit).await
    }

    /// The number behind a place in a partition.
    pub async fn offset(&self, topic: &str, partition: i32, at: Offset) -> Result<i64, Error> {
        self.embedded.offset(topic, partition, at).await
    }

    /// Joins a group on these topics (which must exist, or come to exist). Joining goes on in the
    /// background; the first assignment comes from [`Subscription::poll`].
    #[expect(clippy::unused_async, reason = "subscribing is asynchronous on every other engine")]
    pub async fn subscribe(
        &self,
        group: &str,
        topics: &[String],
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        let embedded = EmbeddedSubscription::join(&self.embedded, group, topics, options)?;
        Ok(Subscription::of(embedded))
    }

    /// Every group, sorted by name.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        self.embedded.groups().await
    }

    /// A group with members, positions and lag; state `Dead` when there is none.
    pub async fn group(&self, name: &str) -> Result<GroupDescription, Error> {
        self.embedded.group(name).await
    }

    /// Sets positions of a group that has no members; [`Error::Invalid`] when it has some.
    pub async fn reset_group(
        &self,
        name: &str,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), Error> {
        self.embedded.reset_group(name, offsets).await
    }

    /// Stops the embedded node cleanly, also one that was passed to [`Engine::embedded`]. Every
    /// other call is [`Error::Unavailable`] afterwards.
    pub async fn close(&self) -> Result<(), Error> {
        self.embedded.close().await
    }
}

/// Appends records; one owner, or share it behind clones: order is kept per partition.
#[derive(Clone, Debug)]
pub struct Producer {
    embedded: EmbeddedProducer,
}

impl Producer {
    /// Appends the records in order, one batch per partition, and returns where each went once all
    /// are durable, in the order of the records.
    ///
    /// A partition's records are appended all or none when they fit one batch
    /// ([`crate::limits::BATCH_RECORDS_BYTES_MAX`], or less where the topic takes less); more are
    /// split into several, of which the first ones may be appended when a later one is refused.
    /// On an error, other partitions may have taken their records.
    ///
    /// Sends of one task follow each other; those of concurrent tasks share group commits.
    pub async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        self.embedded.send(records).await
    }
}
