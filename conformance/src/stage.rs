//! What a behaviour is given: an engine, names of its own, and words for what it does often.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_engine::{
    Engine, NewTopic, Polled, Position, Producer, Read, ReadLimit, Record, SentRecord,
    SubscribeOptions, Subscription, TopicPartition,
};
use tokio::sync::OnceCell;

/// Far beyond what any behaviour takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(120);
/// One step of a member's loop, so that several members can take turns.
const STEP: Duration = Duration::from_millis(20);

/// Fails a behaviour that hangs.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("done before the deadline")
}

/// What a behaviour is given.
pub struct Stage {
    pub(crate) engine: Engine,
    behaviour: &'static str,
    dir: Option<TempDir>,
    producer: OnceCell<Producer>,
}

impl Stage {
    /// A stage for the behaviour of that name.
    pub fn on(engine: Engine, behaviour: &'static str) -> Self {
        Self { engine, behaviour, dir: None, producer: OnceCell::new() }
    }

    /// The same whose engine is in this directory, which goes with the stage.
    pub fn in_directory(engine: Engine, behaviour: &'static str, dir: TempDir) -> Self {
        Self { dir: Some(dir), ..Self::on(engine, behaviour) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.as_ref().expect("a behaviour of an engine with a directory").path()
    }

    /// The same engine after a stop and a start; `stop` says how it ends.
    pub(crate) async fn restarted(self, stop: impl AsyncFnOnce(Engine)) -> Self {
        let Self { engine, behaviour, dir, producer } = self;
        drop(producer);
        stop(engine).await;
        let path = dir.as_ref().expect("an engine with a directory").path();
        let engine = Engine::open(path).await.expect("the directory was let go");
        Self { engine, behaviour, dir, producer: OnceCell::new() }
    }

    /// A topic or group name that no other behaviour uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.behaviour)
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> String {
        let name = self.name(name);
        let topic = NewTopic { name: name.clone(), partitions: Some(partitions), configs: vec![] };
        self.engine.create_topic(topic).await.expect("a new topic");
        name
    }

    /// One whose records stay whatever their timestamps.
    pub(crate) async fn kept_topic(&self, name: &str, partitions: i32) -> String {
        let name = self.name(name);
        let topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(&name) };
        self.engine.create_topic(topic).await.expect("a new topic");
        name
    }

    pub(crate) async fn send(&self, records: Vec<SentRecord>) -> Vec<Position> {
        let producer = self.producer.get_or_try_init(async || self.engine.producer().await);
        let producer = producer.await.expect("a producer");
        producer.send(records).await.expect("an append")
    }

    /// Sends values to one partition.
    pub(crate) async fn fill(&self, topic: &str, partition: i32, values: &[&str]) {
        self.send(values.iter().map(|value| to(topic, partition, value)).collect()).await;
    }

    /// Everything in a partition from an offset on.
    pub(crate) async fn read_all(&self, topic: &str, partition: i32, from: i64) -> Vec<Record> {
        let mut records = Vec::new();
        let mut next = from;
        loop {
            let read = self.engine.read(topic, partition, next, AT_ONCE).await.expect("a read");
            records.extend(read.records);
            next = read.next;
            if next >= read.high_watermark {
                return records;
            }
        }
    }

    pub(crate) async fn member(&self, group: &str, topics: &[&String]) -> Member {
        self.member_with(group, topics, SubscribeOptions::default()).await
    }

    pub(crate) async fn member_with(
        &self,
        group: &str,
        topics: &[&String],
        options: SubscribeOptions,
    ) -> Member {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).clone()).collect();
        let subscription = self.engine.subscribe(group, &topics, options).await;
        Member {
            subscription: subscription.expect("a subscription"),
            joined: false,
            assigned: Vec::new(),
            records: Vec::new(),
        }
    }
}

pub(crate) const AT_ONCE: ReadLimit =
    ReadLimit { records: 1000, bytes: 1 << 20, wait: Duration::ZERO };
pub(crate) const PATIENT: ReadLimit = ReadLimit { records: 1000, bytes: 1 << 20, wait: DEADLINE };

/// A value for a named partition.
pub(crate) fn to(topic: &str, partition: i32, value: &str) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..SentRecord::default()
    }
}

pub(crate) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub(crate) fn text(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().expect("a value")).expect("a text")
}

pub(crate) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(text).collect()
}

pub(crate) fn offsets(read: &Read) -> Vec<i64> {
    read.records.iter().map(|record| record.offset).collect()
}

/// A member of a group and what it has seen.
pub(crate) struct Member {
    pub(crate) subscription: Subscription,
    joined: bool,
    pub(crate) assigned: Vec<(TopicPartition, i64, Option<String>)>,
    pub(crate) records: Vec<Record>,
}

impl Member {
    /// One poll; what it brings is kept. A revocation is passed by.
    pub(crate) async fn step(&mut self) {
        match self.subscription.poll(100, STEP).await.expect("a poll") {
            Polled::Assigned(assigned) => {
                assert!(!self.joined, "assigned twice without a revocation");
                self.joined = true;
                self.assigned = assigned;
            }
            Polled::Revoked(partitions) => {
                let held: BTreeSet<_> = self.assigned.drain(..).map(|(at, ..)| at).collect();
                assert_eq!(BTreeSet::from_iter(partitions), held, "revoked what was assigned");
                self.joined = false;
            }
            Polled::Records(records) => {
                let mine = self.partitions();
                for record in records {
                    let from = at(&record.topic, record.partition);
                    assert!(mine.contains(&from), "{from} is not assigned");
                    self.records.push(record);
                }
            }
        }
    }

    pub(crate) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.assigned.iter().map(|(at, ..)| at.clone()).collect()
    }

    /// Polls until this many partitions are assigned.
    pub(crate) async fn assigned(&mut self, count: usize) {
        while self.assigned.len() != count {
            self.step().await;
        }
    }

    /// Polls until this many records have come.
    pub(crate) async fn received(&mut self, count: usize) {
        while self.records.len() < count {
            self.step().await;
        }
        assert_eq!(self.records.len(), count, "more records than were sent");
    }

    pub(crate) async fn commit(
        &mut self,
        at: &TopicPartition,
        offset: i64,
        metadata: Option<&str>,
    ) {
        let commit = [(at.clone(), offset, metadata.map(str::to_owned))];
        self.subscription.commit(&commit).await.expect("a commit");
    }

    pub(crate) async fn close(self) {
        self.subscription.close().await.expect("a member that leaves");
    }
}

/// Lets two members poll by turns until the condition holds.
pub(crate) async fn until(
    one: &mut Member,
    other: &mut Member,
    condition: impl Fn(&Member, &Member) -> bool,
) {
    while !condition(one, other) {
        tokio::join!(one.step(), other.step());
    }
}
