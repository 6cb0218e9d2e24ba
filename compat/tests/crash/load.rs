//! Producers that write down what was acknowledged, and the check of what is there.
//!
//! A record's value is `<producer> <number>`, so a record that is read names who sent it. Checked are:
//! every acknowledged record at the place that was acknowledged; nothing that was not sent; offsets without
//! gaps; and of idempotent producers nothing twice and nothing out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tidings_compat::eventually;

/// For everything one round waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const KEYS: u64 = 7;

/// A partition and an offset.
type Place = (i32, i64);

#[derive(Debug, Default)]
struct Written {
    acknowledged: BTreeMap<Place, (usize, u64)>,
    refused: Vec<String>,
}

/// What became of the records of all producers of one topic.
#[derive(Clone, Debug, Default)]
struct Reports(Arc<Mutex<Written>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<(usize, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        let mut written = self.0.lock().expect("no test panics with the lock");
        match result {
            Ok(message) => {
                let place = (message.partition(), message.offset());
                written.acknowledged.insert(place, *sent);
            }
            Err((error, _)) => written.refused.push(error.to_string()),
        }
    }
}

/// How a producer asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) idempotent: bool,
    /// Sends again what was refused and may be taken later.
    pub(crate) repeats: bool,
    pub(crate) batch: &'static str,
    pub(crate) codec: &'static str,
    pub(crate) value_bytes: usize,
}

/// One of each kind that differs to the log: small and large batches, compressed ones, with and
/// without sequences.
pub(crate) const MIXED: [Manner; 4] = [
    Manner { idempotent: true, repeats: true, batch: "1", codec: "none", value_bytes: 40 },
    Manner { idempotent: true, repeats: true, batch: "200", codec: "none", value_bytes: 1000 },
    Manner { idempotent: true, repeats: true, batch: "500", codec: "lz4", value_bytes: 300 },
    Manner { idempotent: false, repeats: true, batch: "50", codec: "none", value_bytes: 100 },
];

/// Producers at work on one topic.
pub(crate) struct Load {
    topic: String,
    producers: Vec<(Manner, ThreadedProducer<Reports>, u64)>,
    reports: Reports,
}

impl Load {
    pub(crate) fn new(kafka: &str, topic: &str, manners: &[Manner]) -> Self {
        let reports = Reports::default();
        let producer = |manner: &Manner| {
            let mut config = client(kafka);
            config.set("enable.idempotence", if manner.idempotent { "true" } else { "false" });
            config.set("acks", "all").set("linger.ms", "1").set("message.timeout.ms", "50000");
            if !manner.repeats {
                config.set("retries", "0");
            }
            config.set("batch.num.messages", manner.batch).set("compression.codec", manner.codec);
            let made = config.create_with_context(reports.clone()).expect("a producer");
            (*manner, made, 0)
        };
        let producers = manners.iter().map(producer).collect();
        Self { topic: topic.to_owned(), producers, reports }
    }

    /// Hands so many more records to each producer.
    pub(crate) fn send(&mut self, each: u64) {
        for _ in 0..each {
            for (who, (manner, producer, sent)) in self.producers.iter_mut().enumerate() {
                let value = format!("{who} {sent:<width$}", width = manner.value_bytes);
                let key = format!("k{}", *sent % KEYS);
                let record =
                    BaseRecord::<str, str, _>::with_opaque_to(&self.topic, Box::new((who, *sent)));
                let handed = producer.send(record.key(&key).payload(&value));
                handed.map_err(|(error, _)| error).expect("room in the producer's queue");
                *sent += 1;
            }
        }
    }

    /// Waits until so many records have been acknowledged in all; false when that takes too long.
    pub(crate) fn acknowledged(&self, at_least: usize) -> bool {
        eventually(PATIENCE, || (self.acknowledged_now() >= at_least).then_some(())).is_some()
    }

    pub(crate) fn acknowledged_now(&self) -> usize {
        self.reports.0.lock().expect("no test panics with the lock").acknowledged.len()
    }

    /// Waits until every record has been answered.
    pub(crate) fn finish(&self) {
        for (_, producer, _) in &self.producers {
            producer.flush(PATIENCE).expect("every record is answered");
        }
    }

    /// What producers were told when a record was not taken.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.reports.0.lock().expect("no test panics with the lock").refused.clone()
    }

    /// Reads the whole topic and compares it with what was acknowledged by now; returns how many
    /// acknowledged records are missing, which is 0 unless `may_lose`.
    pub(crate) fn check(&self, kafka: &str, partitions: i32, may_lose: bool) -> usize {
        let acknowledged =
            self.reports.0.lock().expect("no test panics with the lock").acknowledged.clone();
        let there = read_all(kafka, &self.topic, partitions);
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut seen: BTreeSet<(usize, u64)> = BTreeSet::new();
        let mut last: BTreeMap<(usize, i32), u64> = BTreeMap::new();
        for (&(partition, offset), &(who, number)) in &there {
            let expected = next.entry(partition).or_default();
            assert_eq!(offset, *expected, "{}-{partition} has a gap", self.topic);
            *expected += 1;
            let (manner, _, sent) = self.producers.get(who).expect("a record of somebody else");
            assert!(number < *sent, "record {number} of producer {who} was never sent");
            if manner.idempotent {
                assert!(seen.insert((who, number)), "record {number} of {who} is there twice");
                let before = last.insert((who, partition), number);
                assert!(before < Some(number), "{number} of {who} comes after {before:?}");
            }
        }
        let missing: Vec<_> =
            acknowledged.iter().filter(|(place, sent)| there.get(place) != Some(sent)).collect();
        let first = missing.first();
        assert!(may_lose || missing.is_empty(), "{} lost, first {first:?}", missing.len());
        missing.len()
    }
}

pub(crate) fn client(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka);
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "100");
    config
}

/// Makes a topic with these configurations.
pub(crate) fn create(kafka: &str, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(kafka).create().expect("an admin client");
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in configs {
        new = new.set(name, value);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answers = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()));
    assert_eq!(answers.expect("an answer"), [Ok(topic.to_owned())]);
}

/// Every record of the topic, by its place.
fn read_all(kafka: &str, topic: &str, partitions: i32) -> BTreeMap<Place, (usize, u64)> {
    let mut config = client(kafka);
    config.set("group.id", "not-joined").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut ends = BTreeMap::new();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        let marks = eventually(PATIENCE, || {
            consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)).ok()
        });
        ends.insert(partition, marks.expect("watermarks").1);
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    let wanted: i64 = ends.values().sum();
    consumer.assign(&all).expect("assigned");
    let mut there = BTreeMap::new();
    let complete = eventually(PATIENCE, || {
        while let Some(message) = consumer.poll(POLL) {
            let message = message.expect("a record");
            let value = std::str::from_utf8(message.payload().expect("a value")).expect("text");
            let mut words = value.split_whitespace().map(|word| word.parse().expect("a number"));
            let (who, number) = (words.next().expect("who"), words.next().expect("number"));
            there.insert((message.partition(), message.offset()), (who as usize, number));
            if there.len() as i64 == wanted {
                break;
            }
        }
        (there.len() as i64 >= wanted).then_some(())
    });
    assert!(complete.is_some(), "only {} of {wanted} records of {topic} came", there.len());
    there
}
