//! The nouns of the seam.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A record header; values may be null. Names that the program knows are not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Not unique within a record.
    pub name: Cow<'static, str>,
    /// Null or bytes.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a text value.
    pub fn text(name: impl Into<Cow<'static, str>>, value: impl AsRef<str>) -> Self {
        Self { name: name.into(), value: Some(Bytes::copy_from_slice(value.as_ref().as_bytes())) }
    }
}

/// A topic's name and a partition's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// From 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The transactional id of the partition's owner among those of a prefix:
    /// `<prefix><topic>-<partition>`. A member of a group that has several partitions uses that of any one
    /// of them, as long as it has it: no two members have the same.
    pub fn transactional_id(&self, prefix: &str) -> String {
        format!("{prefix}{self}")
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentRecord {
    /// Where to.
    pub topic: String,
    /// Named, or chosen from the key as Kafka's clients do (murmur2), or spread when keyless.
    pub partition: Option<i32>,
    /// Decides the partition unless one is named.
    pub key: Option<Bytes>,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    /// In order.
    pub headers: Vec<Header>,
    /// Milliseconds since the epoch; now when none. The client of a cluster cannot say 0, and refuses it.
    pub timestamp: Option<i64>,
}

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is; records that came together share it.
    pub topic: Arc<str>,
    /// Where it is.
    pub partition: i32,
    /// Where it is.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// May be null.
    pub key: Option<Bytes>,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    /// In order.
    pub headers: Vec<Header>,
}

impl Record {
    /// The text of the first header of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|h| h.name == name)?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    }

    /// Bytes of the key and the value.
    pub fn payload_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.value)
    }
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset, durable when this is returned.
    pub offset: i64,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// The first record there is.
    Earliest,
    /// After the last record.
    Latest,
    /// The first record at or after this many milliseconds since the epoch; the end if none.
    Timestamp(i64),
    /// This offset.
    At(i64),
}

/// Whether a reader is shown records of transactions that have not been committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed records; a transaction that is not decided hides all that follow it.
    #[default]
    Committed,
    /// Everything, also what will be or has been aborted.
    All,
}

/// How much a read may return and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Most records.
    pub records: usize,
    /// About how many bytes; at least one record is returned when there is one.
    pub bytes: usize,
    /// How long to wait for a first record; zero answers at once.
    pub wait: std::time::Duration,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Read {
    /// In offset order.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next: i64,
    /// The offset after the last record that may be read now.
    pub high_watermark: i64,
}

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Letters, digits, `.`, `_` and `-`, up to 249.
    pub name: String,
    /// The engine's default when none.
    pub partitions: Option<i32>,
    /// Kafka's topic configuration; what is not said has Kafka's default, so records go seven days
    /// after their timestamp unless `retention.ms` says otherwise.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic that keeps its records, whatever their timestamps, until it is deleted.
    pub fn kept(name: impl Into<String>) -> Self {
        let unbounded = |config: &str| (config.to_owned(), "-1".to_owned());
        let configs = vec![unbounded("retention.ms"), unbounded("retention.bytes")];
        Self { name: name.into(), partitions: None, configs }
    }
}

/// A topic as it is.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Kept by the engine for itself.
    pub internal: bool,
    /// Indexed by number.
    pub partitions: Vec<Partition>,
}

/// A partition as it is.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// From 0.
    pub id: i32,
    /// First offset there is.
    pub start_offset: i64,
    /// Offset of the next record.
    pub end_offset: i64,
    /// Bytes on disk; none where the engine cannot say.
    pub size_bytes: Option<u64>,
}

/// A consumer group in a list.
#[derive(Clone, Debug)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// Kafka's name of its state: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead.
    pub state: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
}

/// A consumer group with members and positions.
#[derive(Clone, Debug)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// See [`GroupSummary::state`].
    pub state: String,
    /// The assignor in use.
    pub protocol: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
    /// What it has committed, and how far behind that is.
    pub offsets: Vec<GroupOffset>,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub member_id: String,
    /// Said by the client.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it reads.
    pub assignment: Vec<TopicPartition>,
}

/// A group's position in one partition.
#[derive(Clone, Debug)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Committed offset: the next record to process; none when it has committed nothing.
    pub committed: Option<i64>,
    /// The partition's end.
    pub end_offset: i64,
    /// Records between the two.
    pub lag: i64,
    /// Said with the commit.
    pub metadata: Option<String>,
}

/// The cluster that an engine is connected to, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// `host:port` of the brokers that are asked first, as said.
    pub addresses: Vec<String>,
    /// How many brokers there were when it was connected to.
    pub brokers: usize,
    /// It is spoken to with TLS or a password.
    pub is_secured: bool,
}
