//! The seam between applications and the log that serves them, in Kafka's own vocabulary.
//!
//! Everything here can be done by librdkafka against an Apache Kafka cluster too; nothing that
//! cannot may be added. Today there is one engine, the embedded node: on disk
//! ([`Engine::open`]) or in memory ([`Engine::in_memory`]).
#![warn(missing_docs)]

mod embedded;
mod engine;
mod error;
pub mod limits;
mod model;
mod subscription;

pub use embedded::partition_of;
pub use engine::{Engine, Producer};
pub use error::Error;
pub use model::{
    GroupDescription, GroupMember, GroupOffset, GroupSummary, Header, NewTopic, Offset, Partition,
    Position, Read, ReadLimit, Record, SentRecord, Topic, TopicPartition,
};
pub use subscription::{Polled, Start, SubscribeOptions, Subscription};
