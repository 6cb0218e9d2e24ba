//! Reads without a group.
//!
//! A reader is a consumer with one partition, which it fetches ahead; the next read from where the last one
//! ended finds it there. Some are kept; a read elsewhere turns one of them around. A reader that has come to the
//! end for a read that does not wait is let go of its partition: nobody fetches what nobody waits for.
//!
//! What a reader is told comes in order, so after the end of the partition is told there is nothing
//! before that offset: records of aborted transactions, markers and compacted ones included.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset as Spec, TopicPartitionList};
use tokio::time::{Instant, timeout_at};

use super::native::{ConsumerQueue, LastTopic, News};
use super::refusals::needing_topic;
use super::topics::{add, ends_of, unless_unknown};
use super::{Kafka, Looker, QUEUE_GROUP, blocking, refusals};
use crate::limits::{
    CLUSTER_FETCH_WAIT, CLUSTER_FETCH_WAIT_BRIEF, FETCHED_AHEAD_KILOBYTES_MAX, READERS_KEPT_MAX,
};
use crate::{Error, Isolation, Operation, Read, ReadLimit, Record, TopicPartition};

#[derive(Default)]
pub(super) struct Readers {
    /// The one that was used last is last.
    kept: Mutex<VecDeque<Reader>>,
}

pub(super) struct Reader {
    /// None once it is dropped.
    queue: Option<ConsumerQueue>,
    topic: LastTopic,
    kind: Kind,
    /// What it fetches, from where on it has something to tell.
    at: Option<(TopicPartition, i64)>,
    /// Where readable records ended when that was last asked.
    end: i64,
}

/// What a reader was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    isolation: Isolation,
    /// It waits for records that are not there yet.
    waits: bool,
}

const KEPT: &str = "it is taken when the reader is dropped";

impl Reader {
    fn queue(&self) -> &ConsumerQueue {
        self.queue.as_ref().expect(KEPT)
    }

    fn next(&mut self) -> Option<News> {
        self.queue.as_ref().expect(KEPT).next(&mut self.topic)
    }
}

impl Drop for Reader {
    /// Ending a client waits for its threads, and a read may be dropped anywhere.
    fn drop(&mut self) {
        let queue = self.queue.take();
        std::thread::spawn(move || drop(queue));
    }
}

impl Readers {
    /// The reader that is there already, or else one that may be turned around: one without a partition,
    /// or any when there are enough.
    fn take(&self, at: &TopicPartition, from: i64, kind: Kind) -> Option<Reader> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = || kept.iter().enumerate().filter(|(_, reader)| reader.kind == kind);
        let is_there = |reader: &Reader| {
            reader.at.as_ref().is_some_and(|(its, next)| its == at && *next == from)
        };
        let there = of_kind().find(|(_, reader)| is_there(reader));
        let free = || of_kind().find(|(_, reader)| reader.at.is_none());
        let any = || of_kind().next().filter(|_| of_kind().count() >= READERS_KEPT_MAX);
        let taken = there.or_else(free).or_else(any).map(|(place, _)| place)?;
        kept.remove(taken)
    }

    /// Keeps a reader, and drops one that is too many.
    fn keep(&self, reader: Reader) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = reader.kind;
        kept.push_back(reader);
        if kept.iter().filter(|reader| reader.kind == kind).count() > READERS_KEPT_MAX
            && let Some(oldest) = kept.iter().position(|reader| reader.kind == kind)
        {
            kept.remove(oldest);
        }
    }

    pub(super) fn drop_all(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Kafka {
    pub(crate) async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
        isolation: Isolation,
    ) -> Result<Read, Error> {
        self.open()?;
        let at = TopicPartition { topic: topic.to_owned(), partition };
        let deadline = Instant::now().checked_add(limit.wait);
        let kind = Kind { isolation, waits: !limit.wait.is_zero() };
        let reader = match self.shared.readers.take(&at, from, kind) {
            Some(reader) => reader,
            None => self.reader(kind)?,
        };
        // A read that is dropped half way takes its reader with it.
        let mut reading = Reading { kafka: self, reader, at, next: from };
        let read = match reading.read(limit, deadline).await {
            Ok(read) => reading.rest().await.map(|()| read),
            Err(error) => Err(error),
        };
        let reader = reading.reader;
        if read.is_ok() {
            self.shared.readers.keep(reader);
        }
        read
    }

    fn reader(&self, kind: Kind) -> Result<Reader, Error> {
        let wait = if kind.waits { CLUSTER_FETCH_WAIT } else { CLUSTER_FETCH_WAIT_BRIEF };
        let consumer: Looker = self.client(
            |config| {
                config
                    .set("group.id", QUEUE_GROUP)
                    .set("isolation.level", isolation_level(kind.isolation))
                    .set("enable.partition.eof", "true")
                    .set("enable.auto.commit", "false")
                    .set("enable.auto.offset.store", "false")
                    .set("auto.offset.reset", "error")
                    .set("fetch.wait.max.ms", wait.as_millis().to_string())
                    .set("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS)
                    .set("queued.max.messages.kbytes", FETCHED_AHEAD_KILOBYTES_MAX.to_string());
            },
            self.watch(),
        )?;
        let queue = ConsumerQueue::of(consumer)?;
        Ok(Reader { queue: Some(queue), topic: LastTopic::default(), kind, at: None, end: 0 })
    }
}

/// How soon a partition is fetched again after its consumer had enough.
pub(super) const FETCH_QUEUE_BACKOFF_MS: &str = "10";

pub(super) fn isolation_level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Committed => "read_committed",
        Isolation::All => "read_uncommitted",
    }
}

struct Reading<'k> {
    kafka: &'k Kafka,
    reader: Reader,
    at: TopicPartition,
    next: i64,
}

impl Reading<'_> {
    async fn read(&mut self, limit: ReadLimit, deadline: Option<Instant>) -> Result<Read, Error> {
        let there =
            self.reader.at.as_ref().is_some_and(|(at, next)| *at == self.at && *next == self.next);
        if !there || self.next >= self.reader.end {
            self.look_at_the_ends().await?;
        }
        let mut records = Vec::new();
        if limit.records > 0 {
            if !there {
                self.turn().await?;
            }
            records = self.gather(limit, deadline).await?;
        }
        let high_watermark = self.reader.end.max(self.next);
        Ok(Read { records, next: self.next, high_watermark })
    }

    /// Asks where the partition begins and where what may be read ends, and checks the offset.
    async fn look_at_the_ends(&mut self) -> Result<(), Error> {
        let (at, isolation) = (self.at.clone(), self.reader.kind.isolation);
        let ends = async |isolation| {
            let ends = self.kafka.ask_of(at.clone(), move |looker, at| {
                if at.partition < 0 {
                    return Err(Error::UnknownTopic(at.to_string()));
                }
                let ends = ends_of(looker, std::slice::from_ref(at), isolation)
                    .map_err(|error| unless_unknown(looker, at, error))?;
                ends.get(at).copied().ok_or_else(|| Error::UnknownTopic(at.to_string()))
            });
            ends.await
        };
        let (first, end) = ends(isolation).await?;
        let wanted = self.next;
        if wanted < first || wanted > end {
            let (first, next) = ends(Isolation::All).await?;
            if wanted < first || wanted > next {
                return Err(Error::OffsetOutOfRange { wanted, first, next });
            }
        }
        self.reader.end = end;
        Ok(())
    }

    /// Makes the reader fetch from here on.
    async fn turn(&mut self) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(1);
        add(&mut list, &self.at, Spec::Offset(self.next))?;
        let consumer = Arc::clone(self.reader.queue().consumer());
        self.reader.at = None;
        let topic = self.at.topic.clone();
        let turned = blocking(move || {
            // librdkafka looks for the leaders of a topic that it does not know once a second; asked for, they
            // are known at once. Should this fail, that look will do.
            let timeout = consumer.context().answer_timeout();
            if let Err(error) = consumer.fetch_metadata(Some(&topic), timeout) {
                tracing::debug!(topic, %error, "the leaders for a reader");
            }
            consumer.assign(&list)
        })
        .await?;
        turned
            .map_err(|error| refusals::of_error(&self.at.to_string(), &error))
            .map_err(needing_topic(Operation::Read, &self.at.topic))?;
        self.reader.at = Some((self.at.clone(), self.next));
        Ok(())
    }

    /// Fetches no more after the end, unless somebody waits there.
    async fn rest(&mut self) -> Result<(), Error> {
        if self.reader.kind.waits || self.reader.at.is_none() || self.next < self.reader.end {
            return Ok(());
        }
        let consumer = Arc::clone(self.reader.queue().consumer());
        self.reader.at = None;
        let let_go = blocking(move || consumer.unassign()).await?;
        let_go.map_err(|error| refusals::of_error(&self.at.to_string(), &error))
    }

    async fn gather(
        &mut self,
        limit: ReadLimit,
        deadline: Option<Instant>,
    ) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(news) = self.reader.next() {
                let Some(record) = self.take(news)? else { continue };
                bytes += record.payload_bytes();
                if records.is_empty() {
                    records.reserve(limit.records.min(1 + self.reader.queue().len()));
                }
                records.push(record);
                if records.len() >= limit.records || bytes >= limit.bytes {
                    return Ok(records);
                }
            }
            if !records.is_empty() {
                return Ok(records);
            }
            let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if over && self.next >= self.reader.end {
                return Ok(records);
            }
            // What is known to be there is waited for, for as long as a question may take.
            let patience = match deadline {
                Some(deadline) if self.next >= self.reader.end => Some(deadline),
                Some(_) => Some(Instant::now() + self.kafka.settings().request_timeout),
                None => None,
            };
            let filled = self.reader.queue().filled();
            match patience {
                None => filled.await,
                Some(patience) => {
                    let in_time = timeout_at(patience, filled).await.is_ok();
                    if !in_time && self.next < self.reader.end {
                        let at = &self.at;
                        return Err(Error::Unavailable(format!(
                            "{at}: no answer in time; is the partition's leader reachable?"
                        )));
                    }
                }
            }
        }
    }

    fn take(&mut self, news: News) -> Result<Option<Record>, Error> {
        match news {
            News::Record(record) if record.offset >= self.next && self.is_here(&record) => {
                self.pass(record.offset + 1);
                Ok(Some(record))
            }
            News::End(at, offset) if at == self.at => {
                self.pass(offset);
                Ok(None)
            }
            News::Trouble { code: Code::AutoOffsetReset | Code::OffsetOutOfRange, .. } => {
                // Retention has been faster than this reader.
                let (first, next) =
                    super::native::watermarks(self.reader.queue().consumer(), &self.at)
                        .unwrap_or((self.next, self.next));
                Err(Error::OffsetOutOfRange { wanted: self.next, first, next })
            }
            // The group is nothing to a reader, nor that it may not join it.
            News::Trouble { code: Code::GroupAuthorizationFailed, .. } => Ok(None),
            News::Trouble { code, .. } if is_passing(code) => Ok(None),
            News::Trouble { code, .. } => {
                let refused = refusals::of_code(&self.at.to_string(), code);
                Err(needing_topic(Operation::Read, &self.at.topic)(refused))
            }
            _ => Ok(None),
        }
    }

    fn is_here(&self, record: &Record) -> bool {
        *record.topic == *self.at.topic && record.partition == self.at.partition
    }

    fn pass(&mut self, next: i64) {
        self.next = self.next.max(next);
        if let Some((_, its)) = &mut self.reader.at {
            *its = self.next;
        }
    }
}

/// librdkafka goes on by itself after these.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        // librdkafka asks for more when an answer holds no record, up to 1 GiB, and then says that a record
        // must be larger than that. Brokers answer with a whole batch at least (KIP-74): what holds no
        // record is what compaction has left, and it has been passed.
        Code::MessageSizeTooLarge
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::NetworkException
            | Code::RequestTimedOut
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::CoordinatorLoadInProgress
    )
}
