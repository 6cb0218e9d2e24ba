//! librdkafka through the rdkafka crate: the C, C++, Go, Python and .NET family of clients.

mod consume;
mod full_disk;
mod large;
mod produce;
mod restart;
pub(crate) mod scenarios;
mod scrub;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers as _, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tidings_compat::{Server, eventually};

use crate::scenarios::calls::Isolation;

/// For everything one test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A record as sent or read: everything that must come back as it went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, Option<String>)>,
    pub(crate) timestamp: i64,
}

impl Item {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), headers: Vec::new(), timestamp: 1 }
    }
}

/// A record that was read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadItem {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) item: Item,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the tests send text")
}

fn read_item(message: &BorrowedMessage<'_>) -> ReadItem {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.map(text))
        };
        headers.iter().map(pair).collect()
    });
    ReadItem {
        partition: message.partition(),
        offset: message.offset(),
        item: Item {
            key: message.key().map(text),
            value: message.payload().map(text),
            headers,
            timestamp: message.timestamp().to_millis().expect("a timestamp"),
        },
    }
}

fn config(server: &Server) -> ClientConfig {
    config_at(server.kafka())
}

pub(crate) fn config_at(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka).set("reconnect.backoff.max.ms", "500");
    config
}

/// Partition and offset of a record that was delivered, or why one was not.
type Report = Result<(i32, i64), KafkaError>;

/// Delivery reports in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Deliveries(Arc<Mutex<Vec<Report>>>);

impl Deliveries {
    fn all(&self) -> Vec<Report> {
        self.0.lock().expect("no test panics with the lock").clone()
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().expect("no test panics with the lock").push(report);
    }
}

/// An idempotent producer that keeps its delivery reports.
pub(crate) fn producer(server: &Server, settings: &[(&str, &str)]) -> ThreadedProducer<Deliveries> {
    let mut config = config(server);
    config.set("enable.idempotence", "true").set("message.timeout.ms", "60000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create_with_context(Deliveries::default()).expect("a producer")
}

fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, item: &Item) {
    send_to(producer, topic, None, item);
}

/// The same; without a partition its key decides.
fn send_to(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    partition: Option<i32>,
    item: &Item,
) {
    let mut record = BaseRecord::<str, str>::to(topic).timestamp(item.timestamp);
    if let Some(partition) = partition {
        record = record.partition(partition);
    }
    if let Some(key) = &item.key {
        record = record.key(key);
    }
    if let Some(value) = &item.value {
        record = record.payload(value);
    }
    let mut headers = rdkafka::message::OwnedHeaders::new();
    for (key, value) in &item.headers {
        headers = headers.insert(rdkafka::message::Header { key, value: value.as_ref() });
    }
    if !item.headers.is_empty() {
        record = record.headers(headers);
    }
    producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
}

/// Sends everything and waits for every delivery; a record that was not delivered is a failure.
pub(crate) fn send_all(producer: &ThreadedProducer<Deliveries>, topic: &str, items: &[Item]) {
    let before = producer.context().all().len();
    for item in items {
        send(producer, topic, item);
    }
    producer.flush(PATIENCE).expect("everything is delivered");
    let reports = producer.context().all().split_off(before);
    assert_eq!(reports.len(), items.len());
    for report in reports {
        report.expect("delivered");
    }
}

/// A consumer without a group's help, at the beginning of these partitions.
fn reader(server: &Server, topic: &str, partitions: i32) -> BaseConsumer {
    reader_at(server.kafka(), topic, partitions)
}

pub(crate) fn reader_at(kafka: &str, topic: &str, partitions: i32) -> BaseConsumer {
    reader_of(Isolation::Committed, kafka, topic, partitions)
}

fn reader_of(of: Isolation, kafka: &str, topic: &str, partitions: i32) -> BaseConsumer {
    let mut config = config_at(kafka);
    config.set("group.id", "not-joined").set("enable.auto.commit", "false");
    config.set("isolation.level", of.level());
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    consumer
}

/// Polls until `count` records are there, and once more to see that there is no other.
pub(crate) fn read(consumer: &BaseConsumer, count: usize) -> Vec<ReadItem> {
    let mut items = Vec::new();
    let complete = eventually(PATIENCE, || {
        while let Some(message) = consumer.poll(POLL) {
            items.push(read_item(&message.expect("a record")));
        }
        (items.len() >= count).then_some(())
    });
    assert!(complete.is_some(), "only {} of {count} records came", items.len());
    assert_eq!(items.len(), count);
    items
}

/// Offsets within each partition go up by one from zero.
fn assert_dense(items: &[ReadItem], partitions: i32) {
    for partition in 0..partitions {
        let offsets: Vec<i64> = items
            .iter()
            .filter(|item| item.partition == partition)
            .map(|item| item.offset)
            .collect();
        let expected: Vec<i64> = (0..).take(offsets.len()).collect();
        assert_eq!(offsets, expected, "partition {partition}");
    }
}
