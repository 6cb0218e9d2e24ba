//! What the scenarios ask of a client of Rust's or of a program that is driven call by call.

use std::sync::Arc;
use std::time::Duration;

use super::sharing::Member;

/// For one call, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What must come back as it was sent; no value is a tombstone, no partition goes by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    pub(crate) header: String,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
}

impl Record {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), Some(value.into()));
        Self { key, value, header: String::new(), partition: None, timestamp: None }
    }
}

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The client has no such call.
    NotOffered,
    /// Kafka's error.
    Kafka(i32),
    Other(String),
}

impl Refusal {
    pub(crate) fn other(why: impl std::fmt::Debug) -> Self {
        Self::Other(format!("{why:?}"))
    }
}

pub(crate) type Answer<T> = Result<T, Refusal>;

/// The ways in which a group shares its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Eager,
    Cooperative,
    /// KIP-848.
    Consumer,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Producing<'a> {
    With {
        codec: &'a str,
    },
    /// In small batches.
    Idempotent,
    Transactional {
        id: &'a str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Uncommitted,
    Committed,
}

impl Isolation {
    /// The value of `isolation.level`.
    pub(crate) fn level(self) -> &'static str {
        match self {
            Self::Uncommitted => "read_uncommitted",
            Self::Committed => "read_committed",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Earliest,
    Latest,
    Time(i64),
}

/// One partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replicas: i32,
    pub(crate) config: Option<(&'a str, &'a str)>,
}

/// A group as it is described.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) state: String,
    pub(crate) members: usize,
}

/// A client; what it has no call for is [`Refusal::NotOffered`].
pub(crate) trait Client: Sync {
    fn producer(&self, how: Producing<'_>) -> Box<dyn Producer>;
    /// Reads every partition from its beginning until `count` records came.
    fn read(&self, topic: &str, partitions: i32, count: usize, of: Isolation) -> Vec<Record>;
    /// Asks for records at an offset, whatever it is.
    fn fetch_at(&self, _place: Place<'_>, _offset: i64) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    /// Consumes in a group until it is told to leave; what was read is committed before it is given up.
    fn member(&self, group: &str, topic: &str, how: Protocol, hears: &Arc<Member>) -> Answer<()>;

    fn create_topic(&self, topic: NewTopic<'_>) -> Answer<()>;
    /// None when there is no such topic.
    fn partitions(&self, topic: &str) -> Option<usize>;
    fn list_offset(&self, place: Place<'_>, at: At, of: Isolation) -> Answer<i64>;

    fn grow_topic(&self, _name: &str, _partitions: i32) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn delete_topic(&self, _name: &str) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn config(&self, _topic: &str, _name: &str) -> Answer<String> {
        Err(Refusal::NotOffered)
    }
    /// The new start.
    fn delete_records(&self, _place: Place<'_>, _before: i64) -> Answer<i64> {
        Err(Refusal::NotOffered)
    }
    fn list_groups(&self) -> Answer<Vec<String>> {
        Err(Refusal::NotOffered)
    }
    fn describe_group(&self, _group: &str) -> Answer<Described> {
        Err(Refusal::NotOffered)
    }
    fn delete_group(&self, _group: &str) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    /// -1 where nothing is committed.
    fn committed(&self, _group: &str, _place: Place<'_>) -> Answer<i64> {
        Err(Refusal::NotOffered)
    }
    fn commit(&self, _group: &str, _place: Place<'_>, _offset: i64) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
}

pub(crate) trait Producer: Send {
    /// Returns when every record is acknowledged.
    fn send(&mut self, topic: &str, records: &[Record]) -> Answer<()>;
    fn begin(&mut self) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn commit(&mut self) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    fn abort(&mut self) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
    /// Makes the group's offset part of the transaction.
    fn send_offset(&mut self, _group: &str, _place: Place<'_>, _offset: i64) -> Answer<()> {
        Err(Refusal::NotOffered)
    }
}
