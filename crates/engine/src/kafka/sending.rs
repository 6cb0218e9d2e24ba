//! Records on their way to a cluster: what plain and transactional producers have in common.
//!
//! A send puts its records into librdkafka's queue in order and waits until each has been acknowledged or has
//! failed. While the queue is full it waits, so neither memory grows nor a record is lost. librdkafka
//! makes batches by itself; where a topic takes smaller ones than it would make, records go in portions
//! that fit, one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::timeout;

use super::context::Watch;
use super::known::Known;
use super::refusals::needing_topic;
use super::replication::replication_of;
use super::{Kafka, refusals};
use crate::limits::{
    BATCH_HEADER_BYTES, BATCH_RECORDS_BYTES_MAX, BATCH_RECORDS_MAX, HELD_UP_AFTER,
    LOOK_ROUND_PAUSE, LOOKS_ROUND_MAX, SENDING_KILOBYTES_MAX, SENDING_RECORDS_MAX,
};
use crate::partitioner::Spread;
use crate::producer::encoded_size_max;
use crate::{Error, Operation, Position, Resource, SentRecord, TopicPartition};

pub(super) type Client = ThreadedProducer<Deliveries>;

/// Settings of every producer. No `linger.ms`: a send is a batch already, and what comes while batches are
/// out is gathered anyway.
pub(super) fn configure(config: &mut ClientConfig) {
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("batch.size", BATCH_RECORDS_BYTES_MAX.to_string())
        .set("batch.num.messages", BATCH_RECORDS_MAX.to_string())
        // How large a record may be is the topic's to say; but what the queue can never hold is refused.
        .set("message.max.bytes", (SENDING_KILOBYTES_MAX * 1024).to_string())
        .set("queue.buffering.max.messages", SENDING_RECORDS_MAX.to_string())
        .set("queue.buffering.max.kbytes", SENDING_KILOBYTES_MAX.to_string());
}

/// Hears what became of records.
pub(super) struct Deliveries {
    watch: Watch,
    room: Arc<Room>,
}

/// Who waits until there is room in the queue again.
#[derive(Default)]
struct Room {
    waiting: AtomicUsize,
    left: Notify,
}

/// Somebody waits; a send may be dropped while it does.
struct Waiting<'r>(&'r Room);

impl<'r> Waiting<'r> {
    fn of(room: &'r Room) -> Self {
        room.waiting.fetch_add(1, Ordering::SeqCst);
        Self(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One send, until everything in it has been decided.
#[derive(Debug)]
struct Sent {
    state: Mutex<State>,
    decided: Notify,
}

#[derive(Debug)]
struct State {
    places: Vec<(i32, i64)>,
    open: usize,
    failed: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    at: TopicPartition,
    code: Code,
    error: KafkaError,
}

/// The place of a record in its send.
pub(super) struct Expected {
    sent: Arc<Sent>,
    index: usize,
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Expected>;

    fn delivery(&self, result: &DeliveryResult<'_>, expected: Box<Expected>) {
        let Expected { sent, index } = *expected;
        let mut state = sent.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => state.places[index] = (message.partition(), message.offset()),
            Err((error, message)) => {
                let failure = || Failure {
                    at: TopicPartition {
                        topic: message.topic().to_owned(),
                        partition: message.partition(),
                    },
                    code: error.rdkafka_error_code().unwrap_or(Code::Unknown),
                    error: error.clone(),
                };
                // The first one tells why; those behind it may only say that it failed.
                state.failed.get_or_insert_with(failure);
            }
        }
        state.open -= 1;
        if state.open == 0 {
            sent.decided.notify_one();
        }
        drop(state);
        if self.room.waiting.load(Ordering::SeqCst) > 0 {
            self.room.left.notify_waiters();
        }
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn stats(&self, _statistics: rdkafka::Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        self.watch.generate_oauth_token(config)
    }
}

/// A client with what it knows of topics.
pub(super) struct Sender {
    kafka: Kafka,
    client: Option<Client>,
    room: Arc<Room>,
    known: AsyncMutex<KnownTopics>,
    /// Somebody looks round whose records are held up.
    looks: Arc<AtomicBool>,
    /// Held while records go to a topic that takes less than librdkafka's batches.
    portions: AsyncMutex<()>,
}

#[derive(Default)]
struct KnownTopics {
    topics: HashMap<String, Known<KnownTopic>>,
    spread: Spread,
}

#[derive(Clone, Copy, Debug)]
struct KnownTopic {
    partitions: i32,
    records_bytes_max: usize,
}

/// A record with its partition.
struct Placed {
    record: SentRecord,
    partition: i32,
    records_bytes_max: usize,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

impl Drop for Sender {
    /// Ending a client waits for its threads, and for what is on its way.
    fn drop(&mut self) {
        let client = self.client.take();
        std::thread::spawn(move || drop(client));
    }
}

impl Sender {
    pub(super) fn open(kafka: &Kafka, set: impl FnOnce(&mut ClientConfig)) -> Result<Self, Error> {
        let room = Arc::new(Room::default());
        let context = Deliveries { watch: kafka.watch(), room: Arc::clone(&room) };
        let client = kafka.client(
            |config| {
                configure(config);
                set(config);
            },
            context,
        )?;
        Ok(Self {
            kafka: kafka.clone(),
            client: Some(client),
            room,
            known: AsyncMutex::default(),
            looks: Arc::default(),
            portions: AsyncMutex::default(),
        })
    }

    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("it is taken when the sender is dropped")
    }

    pub(super) async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        self.kafka.open()?;
        let placed = self.place(records).await?;
        let small = placed.iter().any(|placed| placed.records_bytes_max < BATCH_RECORDS_BYTES_MAX);
        if !small {
            return self.deliver(placed).await;
        }
        let _alone = self.portions.lock().await;
        let mut positions = Vec::with_capacity(placed.len());
        for portion in portions(placed) {
            positions.extend(self.deliver(portion).await?);
        }
        Ok(positions)
    }

    async fn place(&self, records: Vec<SentRecord>) -> Result<Vec<Placed>, Error> {
        let mut known = self.known.lock().await;
        known.spread.next_send();
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let mut topic = self.known(&mut known, &record.topic).await?;
            if record.partition.is_some_and(|named| named >= topic.partitions) {
                // The topic may have grown since.
                known.topics.remove(&record.topic);
                topic = self.known(&mut known, &record.topic).await?;
            }
            let partition = known.spread.partition(&record, topic.partitions)?;
            if record.timestamp == Some(0) {
                // librdkafka takes it for none, and would write the time of now.
                return Err(Error::Invalid(format!(
                    "{}-{partition}: a record with the timestamp 0 cannot be sent to a cluster",
                    record.topic
                )));
            }
            placed.push(Placed { record, partition, records_bytes_max: topic.records_bytes_max });
        }
        Ok(placed)
    }

    async fn known(&self, known: &mut KnownTopics, name: &str) -> Result<KnownTopic, Error> {
        if let Some(topic) = known.topics.get(name).and_then(Known::fresh) {
            return Ok(topic);
        }
        let (kafka, asked) = (self.kafka.clone(), name.to_owned());
        known.topics.entry(name.to_owned()).or_default().look(|| asked_of(kafka, asked)).await
    }

    /// Queues the records in order and waits until each has been decided.
    async fn deliver(&self, placed: Vec<Placed>) -> Result<Vec<Position>, Error> {
        if placed.is_empty() {
            return Ok(Vec::new());
        }
        let state = State { places: vec![(0, 0); placed.len()], open: placed.len(), failed: None };
        let sent = Arc::new(Sent { state: Mutex::new(state), decided: Notify::new() });
        for (index, placed) in placed.iter().enumerate() {
            let expected = Box::new(Expected { sent: Arc::clone(&sent), index });
            if let Err(refused) = self.queue(placed, expected).await {
                // The records before it are on their way; what becomes of them is theirs.
                return Err(self.why(Failure::of(placed, refused)).await);
            }
        }
        self.until_decided(&sent).await;
        let (failed, places) = {
            let mut state = sent.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.failed.take(), std::mem::take(&mut state.places))
        };
        if let Some(failure) = failed {
            return Err(self.why(failure).await);
        }
        let topics = placed.into_iter().map(|placed| placed.record.topic);
        let positions = topics.zip(places);
        Ok(positions
            .map(|(topic, (partition, offset))| Position { topic, partition, offset })
            .collect())
    }

    /// Who is held up looks round: a client whose broker is cut off may ask nobody else by itself.
    async fn until_decided(&self, sent: &Sent) {
        let decided = sent.decided.notified();
        tokio::pin!(decided);
        let mut patience = HELD_UP_AFTER;
        for _ in 0..LOOKS_ROUND_MAX {
            if timeout(patience, &mut decided).await.is_ok() {
                return;
            }
            patience = LOOK_ROUND_PAUSE;
            if !self.looks.swap(true, Ordering::AcqRel) {
                let (kafka, client) = (self.kafka.clone(), self.client().clone());
                let looks = Arc::clone(&self.looks);
                tokio::spawn(async move {
                    kafka.look_round(client).await;
                    looks.store(false, Ordering::Release);
                });
            }
        }
        decided.await;
    }

    /// Waits for room in the queue.
    async fn queue(&self, placed: &Placed, expected: Box<Expected>) -> Result<(), KafkaError> {
        let mut expected = expected;
        let mut looked = false;
        loop {
            match self.client().send(to_kafka(placed, expected)) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    expected = back.delivery_opaque;
                    self.wait_for_room().await;
                }
                // It exists: the topic has grown since librdkafka looked at it.
                Err((error, back))
                    if !looked && error.rdkafka_error_code() == Some(Code::UnknownPartition) =>
                {
                    expected = back.delivery_opaque;
                    looked = true;
                    self.look_at(&placed.record.topic).await?;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Until a record has left the queue, or none is in it.
    async fn wait_for_room(&self) {
        let room = self.room.left.notified();
        tokio::pin!(room);
        // From here on no news is missed.
        room.as_mut().enable();
        let _waiting = Waiting::of(&self.room);
        // What left before this began to wait told nobody.
        if self.client().in_flight_count() > 0 {
            room.await;
        }
    }

    /// Why records were not appended, with a closer look where librdkafka does not say.
    async fn why(&self, failure: Failure) -> Error {
        let Failure { at, code, error } = failure;
        // A client that is of no use any more throws its records away; its own state tells why.
        let fatal = self.client().client().fatal_error().map(|(code, _)| code);
        match fatal.filter(|code| refusals::is_denial(*code)).unwrap_or(code) {
            Code::MessageTimedOut
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend => {
                let asked = at.topic.clone();
                let looked = self.kafka.ask(move |looker| replication_of(looker, &asked)).await;
                let why = match looked {
                    Ok(Ok(replication)) => replication.why_late(at.partition),
                    Ok(Err(error)) | Err(error) => error.to_string(),
                };
                Error::Unavailable(format!(
                    "{at}: not acknowledged in time, though it may have been appended: {why}"
                ))
            }
            // Of the cluster: who may not write to any topic gets no identity as a producer.
            Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed => {
                refusals::denied(Operation::Write, Resource::Topic(at.topic))
            }
            _ => refusals::of_error(&at.to_string(), &error),
        }
    }

    /// Makes librdkafka ask for the topic's partitions again.
    async fn look_at(&self, topic: &str) -> Result<(), KafkaError> {
        let (client, topic) = (self.client().clone(), topic.to_owned());
        let timeout = self.kafka.settings().request_timeout;
        let looked = super::blocking(move || {
            client.client().fetch_metadata(Some(&topic), timeout).map(drop)
        });
        looked.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

/// What whoever writes to a topic must know of it.
async fn asked_of(kafka: Kafka, name: String) -> Result<KnownTopic, Error> {
    let asked = name.clone();
    let looked = kafka.ask(move |looker| replication_of(looker, &asked)).await?;
    let replication = looked.map_err(needing_topic(Operation::Write, &name))?;
    replication.check(&name)?;
    let records_bytes_max =
        replication.max_message_bytes.map_or(BATCH_RECORDS_BYTES_MAX, |limit| {
            limit.saturating_sub(BATCH_HEADER_BYTES).min(BATCH_RECORDS_BYTES_MAX)
        });
    Ok(KnownTopic { partitions: replication.partitions(), records_bytes_max })
}

impl Failure {
    fn of(placed: &Placed, error: KafkaError) -> Self {
        let at = TopicPartition { topic: placed.record.topic.clone(), partition: placed.partition };
        Self { at, code: error.rdkafka_error_code().unwrap_or(Code::Unknown), error }
    }
}

fn to_kafka(placed: &Placed, expected: Box<Expected>) -> BaseRecord<'_, [u8], [u8], Box<Expected>> {
    let Placed { record, partition, .. } = placed;
    let mut kafka = BaseRecord::with_opaque_to(&record.topic, expected).partition(*partition);
    kafka.key = record.key.as_deref();
    kafka.payload = record.value.as_deref();
    kafka.timestamp = record.timestamp;
    if !record.headers.is_empty() {
        let none = OwnedHeaders::new_with_capacity(record.headers.len());
        kafka.headers = Some(record.headers.iter().fold(none, |headers, header| {
            headers.insert(Header { key: &header.name, value: header.value.as_deref() })
        }));
    }
    kafka
}

/// Cuts the records where one partition's would not fit one batch any more.
fn portions(placed: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut portions: Vec<Vec<Placed>> = Vec::new();
    let mut sizes: HashMap<(String, i32), usize> = HashMap::new();
    for placed in placed {
        let at = (placed.record.topic.clone(), placed.partition);
        let size = encoded_size_max(&placed.record);
        let held = sizes.get(&at).copied().unwrap_or(0);
        if portions.is_empty() || (held > 0 && held + size > placed.records_bytes_max) {
            portions.push(Vec::new());
            sizes.clear();
        }
        *sizes.entry(at).or_default() += size;
        if let Some(portion) = portions.last_mut() {
            portion.push(placed);
        }
    }
    portions
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_portion_fits_one_batch_of_each_partition() {
        let placed = |(partition, bytes): &(i32, usize)| Placed {
            record: SentRecord {
                value: Some(Bytes::from(vec![0; *bytes])),
                ..SentRecord::default()
            },
            partition: *partition,
            records_bytes_max: 1000,
        };
        let check = |records: &[(i32, usize)], expected: &[usize]| {
            let cut = portions(records.iter().map(placed).collect());
            let counts: Vec<usize> = cut.iter().map(Vec::len).collect();
            assert_eq!(counts, expected, "{records:?}");
        };
        check(&[], &[]);
        check(&[(0, 400), (0, 400), (0, 400)], &[2, 1]);
        check(&[(0, 400), (1, 400), (0, 400), (1, 400)], &[4]);
        check(&[(0, 5000), (0, 10), (0, 10)], &[1, 2]);
    }
}
