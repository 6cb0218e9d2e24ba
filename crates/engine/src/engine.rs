//! The engine's handle: topics, append, read, offsets, groups.

use std::path::Path;

use crate::{
    Error, GroupDescription, GroupSummary, NewTopic, Offset, Position, Read, ReadLimit, SentRecord,
    SubscribeOptions, Subscription, Topic,
};

/// A handle to an engine; clones share it.
#[derive(Clone, Debug)]
pub struct Engine {}

impl Engine {
    /// Opens the embedded log in a directory, creating it when missing; one process at a time.
    pub async fn open(_dir: impl AsRef<Path>) -> Result<Self, Error> { todo!() }
    /// The embedded log on a disk in memory: the same code, gone with the last handle.
    pub async fn in_memory() -> Result<Self, Error> { todo!() }
    /// The embedded engine on a node that the caller runs (and also serves over the network).
    pub fn embedded(_node: tidings_node::Node) -> Self { todo!() }

    /// Makes a topic; durable when this returns.
    pub async fn create_topic(&self, _topic: NewTopic) -> Result<(), Error> { todo!() }
    /// Deletes a topic with its records.
    pub async fn delete_topic(&self, _name: &str) -> Result<(), Error> { todo!() }
    /// Every topic with its partitions' offsets and sizes, sorted by name.
    pub async fn topics(&self) -> Result<Vec<Topic>, Error> { todo!() }
    /// One topic. [`Error::UnknownTopic`] when there is none; never creates.
    pub async fn topic(&self, _name: &str) -> Result<Topic, Error> { todo!() }
    /// A topic's configuration: name, value.
    pub async fn topic_configs(&self, _name: &str) -> Result<Vec<(String, Option<String>)>, Error> { todo!() }

    /// A producer whose appends are idempotent and ordered per partition.
    pub async fn producer(&self) -> Result<Producer, Error> { todo!() }
    /// Records from an offset on, without a group.
    pub async fn read(&self, _topic: &str, _partition: i32, _from: i64, _limit: ReadLimit) -> Result<Read, Error> { todo!() }
    /// The number behind a place in a partition.
    pub async fn offset(&self, _topic: &str, _partition: i32, _at: Offset) -> Result<i64, Error> { todo!() }

    /// Joins a group on these topics (which must exist, or come to exist).
    pub async fn subscribe(&self, _group: &str, _topics: &[String], _options: SubscribeOptions) -> Result<Subscription, Error> { todo!() }

    /// Every group, sorted by name.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, Error> { todo!() }
    /// A group with members, positions and lag; state `Dead` when there is none.
    pub async fn group(&self, _name: &str) -> Result<GroupDescription, Error> { todo!() }
    /// Sets positions of a group that has no members.
    pub async fn reset_group(&self, _name: &str, _offsets: &[(crate::TopicPartition, i64)]) -> Result<(), Error> { todo!() }

    /// Stops the embedded node cleanly.
    pub async fn close(&self) -> Result<(), Error> { todo!() }
}

/// Appends records; one owner, or share it behind clones: order is kept per partition.
#[derive(Clone, Debug)]
pub struct Producer {}

impl Producer {
    /// Appends the records in order, one batch per partition, and returns where each went once all
    /// are durable. Records of one partition are appended all or none (up to the batch limit).
    pub async fn send(&self, _records: Vec<SentRecord>) -> Result<Vec<Position>, Error> { todo!() }
}
