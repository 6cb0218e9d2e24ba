//! The seam between applications and the log that serves them, in Kafka's own vocabulary.
//!
//! Everything here can be done by librdkafka against an Apache Kafka cluster too; nothing that
//! cannot may be added. There are two engines: the embedded node (feature `embedded`), on disk
//! (`Engine::open`) or in memory (`Engine::in_memory`), and a cluster that speaks the Kafka protocol
//! (feature `kafka`, `Engine::connect`).
#![warn(missing_docs)]

#[cfg(not(any(feature = "embedded", feature = "kafka")))]
compile_error!("tidings-engine needs an engine: feature `embedded` or `kafka`");

mod cluster;
#[cfg(feature = "embedded")]
mod embedded;
mod engine;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
pub mod limits;
mod model;
mod partitioner;
mod permission;
mod producer;
mod subscription;
mod transaction;

pub use cluster::{Broker, Cluster, Config, Placement};
pub use engine::Engine;
pub use error::{ConnectTrouble, Error, Recourse};
pub use model::{
    Connection, GroupDescription, GroupMember, GroupOffset, GroupSummary, Header, Isolation,
    NewTopic, Offset, Partition, Position, Read, ReadLimit, Record, SentRecord, Topic,
    TopicPartition,
};
pub use partitioner::partition_of;
pub use permission::{Operation, Permission, Resource};
pub use producer::Producer;
pub use subscription::{Polled, Start, SubscribeOptions, Subscription};
pub use transaction::{Transaction, TransactionOptions, TransactionalProducer};
