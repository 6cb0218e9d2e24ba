//! A member of a group in a cluster.
//!
//! Invariants: a change of assignment that librdkafka tells is answered only when the caller has been told
//! and polls again, and until then the old partitions are this member's; a poll that is dropped half way
//! loses nothing, as what it was about to do is kept in `step` and done by the next one; records come out of
//! librdkafka's queue only as they are returned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset as Spec, TopicPartitionList};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::asking::passes;
use super::native::{self, ConsumerQueue, LastTopic, News};
use super::reader::{FETCH_QUEUE_BACKOFF_MS, is_passing, isolation_level};
use super::topics::{add, ends_of};
use super::transactions::KafkaTransactions;
use super::{Kafka, Looker, blocking, blocking_within, refusals};
use crate::limits::{
    CLUSTER_FENCES_AT_ONCE, CLUSTER_FETCH_WAIT, CLUSTER_HEARTBEAT_INTERVAL,
    CLUSTER_POLL_INTERVAL_MAX, COMMIT_RETRY_PAUSE, FETCHED_AHEAD_KILOBYTES_MAX, POLL_BYTES_MAX,
    POLL_RECORDS_MAX, TRANSACTION_TIMEOUT,
};
use crate::{
    Error, Isolation, Operation, Polled, Record, Resource, Start, SubscribeOptions, TopicPartition,
};

#[derive(Debug)]
pub(crate) struct KafkaSubscription {
    kafka: Kafka,
    group: String,
    topics: Vec<String>,
    start: Start,
    isolation: Isolation,
    fences: Option<String>,
    /// None once it is being closed.
    queue: Option<ConsumerQueue>,
    topic: LastTopic,
    /// Looks round when a broker was lost.
    following: JoinHandle<()>,
    step: Step,
    /// Under way in [`Step::Take`].
    taking: Option<JoinHandle<Result<Vec<Given>, Error>>>,
    partitions: BTreeMap<TopicPartition, Reading>,
}

/// Where the queue is while there is a subscription.
const KEPT: &str = "it is taken when the subscription ends";

/// A partition given to this member.
#[derive(Debug)]
struct Given {
    at: TopicPartition,
    /// Where to go on.
    offset: i64,
    metadata: Option<String>,
    end_offset: i64,
}

/// What the next poll does first.
#[derive(Debug, PartialEq)]
enum Step {
    Read,
    /// The caller has to be told that its partitions go.
    Revoke,
    /// The caller was told; give them up.
    GiveUp,
    /// Find out where to go on in these, and begin.
    Take(Vec<TopicPartition>),
    /// Of no use any more.
    Failed(Error),
}

/// Why a member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Closed,
    /// As after an error.
    Dropped,
}

#[derive(Debug)]
struct Reading {
    /// The next offset to return.
    position: i64,
    end_offset: i64,
}

impl KafkaSubscription {
    pub(crate) fn join(
        kafka: &Kafka,
        group: &str,
        topics: &[String],
        options: &SubscribeOptions,
    ) -> Result<Self, Error> {
        if topics.is_empty() {
            return Err(Error::Invalid("a subscription needs at least one topic".to_owned()));
        }
        let session = options.session_timeout.max(Duration::from_millis(1));
        let heartbeat = (session / 3).min(CLUSTER_HEARTBEAT_INTERVAL);
        let start = match options.start {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        };
        let ms = |time: Duration| time.as_millis().max(1).to_string();
        let consumer: Looker = kafka.client(
            |config| {
                config
                    .set("group.id", group)
                    .set("client.id", &options.client_id)
                    .set("partition.assignment.strategy", "range")
                    .set("session.timeout.ms", ms(session))
                    .set("heartbeat.interval.ms", ms(heartbeat))
                    .set("max.poll.interval.ms", ms(CLUSTER_POLL_INTERVAL_MAX.max(session)))
                    .set("auto.offset.reset", start)
                    .set("isolation.level", isolation_level(options.isolation))
                    .set("enable.partition.eof", "true")
                    .set("enable.auto.commit", "false")
                    .set("enable.auto.offset.store", "false")
                    .set("fetch.wait.max.ms", ms(CLUSTER_FETCH_WAIT))
                    .set("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS)
                    .set("queued.max.messages.kbytes", FETCHED_AHEAD_KILOBYTES_MAX.to_string());
            },
            kafka.watch(),
        )?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let refused = |error| refusals::of_error(&format!("group {group}"), &error);
        consumer.subscribe(&names).map_err(refused)?;
        let queue = ConsumerQueue::of(consumer)?;
        let following = kafka.following(queue.consumer());
        Ok(Self {
            kafka: kafka.clone(),
            group: group.to_owned(),
            topics: topics.to_vec(),
            start: options.start,
            isolation: options.isolation,
            fences: options.fences.clone(),
            queue: Some(queue),
            topic: LastTopic::default(),
            following,
            step: Step::Read,
            taking: None,
            partitions: BTreeMap::new(),
        })
    }

    fn queue(&self) -> &ConsumerQueue {
        self.queue.as_ref().expect(KEPT)
    }

    fn consumer(&self) -> &Arc<Looker> {
        self.queue().consumer()
    }

    pub(crate) async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, Error> {
        let max = max.clamp(1, POLL_RECORDS_MAX);
        let deadline = Instant::now().checked_add(wait);
        loop {
            self.kafka.open()?;
            match &self.step {
                Step::Read => {}
                Step::Revoke => {
                    self.step = Step::GiveUp;
                    return Ok(Polled::Revoked(self.partitions.keys().cloned().collect()));
                }
                Step::GiveUp => self.give_up().await?,
                Step::Take(partitions) => {
                    let partitions = partitions.clone();
                    let taken = self.take(partitions, deadline).await?;
                    return Ok(taken.unwrap_or_else(|| Polled::Records(Vec::new())));
                }
                Step::Failed(error) => return Err(error.clone()),
            }
            let records = self.take_records(max)?;
            if !records.is_empty() {
                return Ok(Polled::Records(records));
            }
            if self.step != Step::Read {
                continue;
            }
            let filled = self.queue().filled();
            let in_time = match deadline {
                Some(deadline) => timeout_at(deadline, filled).await.is_ok(),
                None => {
                    filled.await;
                    true
                }
            };
            if !in_time {
                return Ok(Polled::Records(Vec::new()));
            }
        }
    }

    /// Takes what librdkafka has, up to a change of assignment.
    fn take_records(&mut self, max: usize) -> Result<Vec<Record>, Error> {
        let (mut records, mut bytes) = (Vec::with_capacity(max.min(self.queue().len())), 0);
        let mut run: Option<TopicPartition> = None;
        while records.len() < max && bytes < POLL_BYTES_MAX && self.step == Step::Read {
            let queue = self.queue.as_ref().expect(KEPT);
            let Some(news) = queue.next(&mut self.topic) else { break };
            match news {
                News::Record(record) => {
                    // Records come in runs of one partition: its name is made once in each.
                    let here = |at: &&TopicPartition| {
                        at.partition == record.partition && *at.topic == *record.topic
                    };
                    if run.as_ref().filter(here).is_none() {
                        let (topic, partition) = (record.topic.to_string(), record.partition);
                        run = Some(TopicPartition { topic, partition });
                    }
                    let reading = run.as_ref().and_then(|at| self.partitions.get_mut(at));
                    if let Some(reading) = reading {
                        reading.position = record.offset + 1;
                        bytes += record.payload_bytes();
                        records.push(record);
                    }
                }
                News::End(at, offset) => {
                    if let Some(reading) = self.partitions.get_mut(&at) {
                        reading.position = reading.position.max(offset);
                        reading.end_offset = offset;
                    }
                }
                News::Assigned(partitions) => self.step = Step::Take(partitions),
                News::Revoked if self.partitions.is_empty() => self.step = Step::GiveUp,
                News::Revoked => self.step = Step::Revoke,
                News::Trouble { code, text, is_fatal } => {
                    if is_fatal {
                        self.step = Step::Failed(self.refused(code, &text));
                    } else if !is_passing(code) && records.is_empty() && !matters_not(code) {
                        return Err(self.refused(code, &text));
                    }
                }
                News::Other => {}
            }
        }
        Ok(records)
    }

    fn refused(&self, code: Code, text: &str) -> Error {
        match code {
            Code::TopicAuthorizationFailed => {
                // librdkafka names the topic in its text alone.
                let named = self.topics.iter().find(|topic| text.contains(topic.as_str()));
                let topic = named.cloned().unwrap_or_else(|| self.topics.join(", "));
                refusals::denied(Operation::Read, Resource::Topic(topic))
            }
            code if refusals::is_denial(code) => {
                refusals::denied(Operation::Read, Resource::Group(self.group.clone()))
            }
            code => refusals::of_code(&format!("group {}: {text}", self.group), code),
        }
    }

    async fn give_up(&mut self) -> Result<(), Error> {
        let consumer = Arc::clone(self.consumer());
        let (what, limit) =
            (format!("group {}", self.group), self.kafka.settings().request_timeout);
        let gone = blocking_within(limit, &what, move || consumer.unassign()).await?;
        gone.map_err(|error| refusals::of_error(&what, &error))?;
        self.partitions.clear();
        self.step = Step::Read;
        Ok(())
    }

    /// Begins to read what this member was given, if that is done by the deadline.
    async fn take(
        &mut self,
        partitions: Vec<TopicPartition>,
        deadline: Option<Instant>,
    ) -> Result<Option<Polled>, Error> {
        if self.taking.is_none() {
            let taking = Taking {
                kafka: self.kafka.clone(),
                consumer: Arc::clone(self.consumer()),
                group: format!("group {}", self.group),
                start: self.start,
                isolation: self.isolation,
                fences: self.fences.clone(),
            };
            self.taking = Some(tokio::spawn(taking.take(partitions)));
        }
        let Some(taking) = &mut self.taking else { return Ok(None) };
        let taken = match deadline {
            // Nobody waits longer than they said; the next poll goes on waiting.
            Some(deadline) => match timeout_at(deadline, taking).await {
                Ok(taken) => taken,
                Err(_) => return Ok(None),
            },
            None => taking.await,
        };
        self.taking = None;
        let given = taken.map_err(|stop| Error::Unavailable(stop.to_string()))??;
        self.step = Step::Read;
        let reading = |given: &Given| {
            let reading = Reading { position: given.offset, end_offset: given.end_offset };
            (given.at.clone(), reading)
        };
        self.partitions = given.iter().map(reading).collect();
        let given = given.into_iter().map(|given| (given.at, given.offset, given.metadata));
        Ok(Some(Polled::Assigned(given.collect())))
    }

    pub(crate) async fn commit(
        &mut self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.kafka.open()?;
        let list = self.commit_list(offsets)?;
        let deadline = Instant::now() + self.kafka.settings().request_timeout;
        loop {
            let (consumer, list) = (Arc::clone(self.consumer()), list.clone());
            let what = format!("group {}, positions", self.group);
            let limit = self.kafka.settings().request_timeout;
            let commit = move || consumer.commit(&list, CommitMode::Sync);
            let Err(error) = blocking_within(limit, &what, commit).await? else {
                return Ok(());
            };
            // A group whose coordinator is gone gets another, which takes the same positions from the same
            // member. One that has to join again waits until its former self is taken for dead.
            let may_pass = error.rdkafka_error_code().is_some_and(passes);
            if !may_pass || deadline <= Instant::now() {
                return Err(refusals::of_error(&format!("group {}", self.group), &error));
            }
            tokio::time::sleep(COMMIT_RETRY_PAUSE).await;
        }
    }

    /// Positions for a transaction, and who this member is.
    pub(super) fn commit_request(
        &self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(TopicPartitionList, ConsumerGroupMetadata), Error> {
        let list = self.commit_list(offsets)?;
        let who = self.consumer().group_metadata();
        let nobody = || Error::Fenced(format!("group {}: not a member", self.group));
        Ok((list, who.ok_or_else(nobody)?))
    }

    fn commit_list(
        &self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<TopicPartitionList, Error> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (at, offset, metadata) in offsets {
            if !self.partitions.contains_key(at) {
                let group = &self.group;
                return Err(Error::Fenced(format!("group {group}: {at} is not this member's")));
            }
            add(&mut list, at, Spec::Offset(*offset))?;
            if let Some(metadata) = metadata
                && let Some(mut element) = list.find_partition(&at.topic, at.partition)
            {
                element.set_metadata(metadata);
            }
        }
        Ok(list)
    }

    pub(crate) fn pause(&mut self, partitions: &[TopicPartition]) {
        self.each(partitions, |consumer, list| consumer.pause(list));
    }

    pub(crate) fn resume(&mut self, partitions: &[TopicPartition]) {
        self.each(partitions, |consumer, list| consumer.resume(list));
    }

    /// Of the partitions that are this member's.
    fn each(
        &self,
        partitions: &[TopicPartition],
        act: impl FnOnce(&Looker, &TopicPartitionList) -> Result<(), rdkafka::error::KafkaError>,
    ) {
        let mut list = TopicPartitionList::new();
        for at in partitions.iter().filter(|at| self.partitions.contains_key(at)) {
            list.add_partition(&at.topic, at.partition);
        }
        if let Err(error) = act(self.consumer(), &list) {
            tracing::warn!(group = %self.group, %error, "pause or resume");
        }
    }

    pub(crate) fn seek(&mut self, at: &TopicPartition, offset: i64) {
        let Some(reading) = self.partitions.get_mut(at) else { return };
        reading.position = offset;
        let sought =
            self.consumer().seek(&at.topic, at.partition, Spec::Offset(offset), Duration::ZERO);
        if let Err(error) = sought {
            tracing::warn!(group = %self.group, %at, %error, "seek");
        }
    }

    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition).map(|reading| reading.position)
    }

    pub(crate) fn lag(&self) -> i64 {
        let behind = |(at, reading): (&TopicPartition, &Reading)| {
            let known = native::watermarks(self.consumer(), at).map_or(0, |(_, high)| high);
            (reading.end_offset.max(known) - reading.position).max(0)
        };
        self.partitions.iter().map(behind).sum()
    }

    pub(crate) async fn close(mut self) -> Result<(), Error> {
        let leaving = self.leaving(Why::Closed);
        blocking(leaving).await
    }

    /// Leaves the group; blocks. Who does not do so of its own will looks first where to.
    fn leaving(&mut self, why: Why) -> impl FnOnce() + Send + 'static {
        let queue = self.queue.take();
        let unanswered = self.step != Step::Read;
        let (kafka, topic) = (self.kafka.clone(), self.topics.first().cloned());
        let looks = why == Why::Dropped || kafka.has_lost_one();
        move || {
            let Some(queue) = queue else { return };
            let consumer = Arc::clone(queue.consumer());
            if let Some(topic) = topic.filter(|_| looks) {
                kafka.find_coordinator(&consumer, &topic);
            }
            // A change that was not answered would be waited for.
            if unanswered && let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "a member that leaves");
            }
            drop(queue);
            drop(consumer);
        }
    }
}

/// Finds out where to go on, and tells librdkafka. In a task of its own, because a transaction that is about to
/// change the group's positions is waited for.
struct Taking {
    kafka: Kafka,
    consumer: Arc<Looker>,
    group: String,
    start: Start,
    isolation: Isolation,
    fences: Option<String>,
}

impl Taking {
    async fn take(self, partitions: Vec<TopicPartition>) -> Result<Vec<Given>, Error> {
        self.fence(&partitions).await?;
        let committed = self.committed(&partitions).await?;
        let (isolation, wanted) = (self.isolation, partitions.clone());
        let ends = self.kafka.ask(move |looker| ends_of(looker, &wanted, isolation)).await??;
        let mut given = Vec::with_capacity(partitions.len());
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            let (first, end_offset) = ends.get(&at).copied().unwrap_or((0, 0));
            let held = committed.find_partition(&at.topic, at.partition);
            let held = held.and_then(|held| match held.offset() {
                Spec::Offset(offset) => Some((offset, held.metadata().to_owned())),
                _ => None,
            });
            let (offset, metadata) = held.unzip();
            let offset = offset.unwrap_or(match self.start {
                Start::Earliest => first,
                Start::Latest => end_offset,
            });
            add(&mut list, &at, Spec::Offset(offset))?;
            let metadata = metadata.filter(|text| !text.is_empty());
            given.push(Given { at, offset, metadata, end_offset });
        }
        let Self { consumer, group, .. } = self;
        // What was paused before may be another's by now, or this member's again.
        let taken = blocking(move || consumer.assign(&list).and_then(|()| consumer.resume(&list)));
        taken.await?.map_err(|error| refusals::of_error(&group, &error))?;
        given.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(given)
    }

    /// Ends what former owners have left open, if that is asked for: several at a time, as each takes a
    /// client of its own.
    async fn fence(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let Some(prefix) = &self.fences else { return Ok(()) };
        for some in partitions.chunks(CLUSTER_FENCES_AT_ONCE) {
            let mut fencing = JoinSet::new();
            for at in some {
                let (kafka, id) = (self.kafka.clone(), at.transactional_id(prefix));
                fencing.spawn(async move {
                    KafkaTransactions::open(&kafka, &id, TRANSACTION_TIMEOUT).await
                });
            }
            while let Some(fenced) = fencing.join_next().await {
                fenced.map_err(|stop| Error::Unavailable(stop.to_string()))??;
            }
        }
        Ok(())
    }

    async fn committed(&self, partitions: &[TopicPartition]) -> Result<TopicPartitionList, Error> {
        loop {
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for at in partitions {
                add(&mut asked, at, Spec::Invalid)?;
            }
            let consumer = Arc::clone(&self.consumer);
            let timeout = consumer.context().request_timeout();
            match blocking(move || consumer.committed_offsets(asked, timeout)).await? {
                Ok(committed) => return Ok(committed),
                // librdkafka asks until they are stable, and gives up when its time is over.
                Err(error)
                    if error.rdkafka_error_code().is_some_and(|code| {
                        matches!(code, Code::OperationTimedOut | Code::UnstableOffsetCommit)
                    }) => {}
                Err(error) => return Err(refusals::of_error(&self.group, &error)),
            }
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.following.abort();
        if self.queue.is_some() {
            std::thread::spawn(self.leaving(Why::Dropped));
        }
    }
}

/// What goes on without the caller: the group finds itself anew, or a topic is not there yet.
fn matters_not(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::PollExceeded
            | Code::AutoOffsetReset
            | Code::OffsetOutOfRange
    )
}
