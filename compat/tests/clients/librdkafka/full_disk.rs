//! A disk that really is full: produce is refused at once, everything else goes on, and producing
//! goes on by itself once there is room.

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tidings_compat::{Finished, Server, SmallDisk, binary, eventually, run};

use super::{Item, PATIENCE, Report, config, producer, read, reader, send, text};

/// The node keeps 64 MiB in reserve and takes 16 for its journal, which grows by what comes in between two
/// flushes, 64 at most here: with the filler there is room for 32 MiB of records in segments.
const DISK_MIB: u64 = 224;
const FILLER_MIB: u64 = 48;
const FILLER: &str = "filler";
/// More than a refusal takes, less than any client's timeout: what takes longer was not refused.
const PROMPT: Duration = Duration::from_secs(5);
const RECORD_BYTES: usize = 60_000;
/// Records of one round, which together take less than is free above the reserve at first.
const ROUND: usize = 20;
const FULL: KafkaError = KafkaError::MessageProduction(RDKafkaErrorCode::KafkaStorageError);

/// What came of a record, by the number in it: reports of refused and of taken ones may overtake each
/// other.
#[derive(Debug)]
struct Reported {
    number: usize,
    outcome: Result<(), KafkaError>,
    /// When it came: waiting for all of them takes a tenth of a second at least.
    at: Instant,
}

#[derive(Default)]
struct Reports(Mutex<Vec<Reported>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let at = Instant::now();
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(())),
            Err((error, message)) => (message, Err(error.clone())),
        };
        let number = text(message.payload().expect("a value")).parse().expect("a number");
        let reported = Reported { number, outcome, at };
        self.0.lock().expect("no test panics with the lock").push(reported);
    }
}

/// A producer that reports a refusal instead of trying again.
fn once(server: &Server) -> ThreadedProducer<Reports> {
    let mut config = config(server);
    config.set("retries", "0").set("linger.ms", "0");
    config.create_with_context(Reports::default()).expect("a producer")
}

fn large(number: usize) -> Item {
    Item::new("k", format!("{number:0RECORD_BYTES$}"))
}

/// What came of the records of some rounds.
#[derive(Debug, Default)]
struct Sent {
    records: usize,
    acknowledged: Vec<usize>,
    /// When the newest report came.
    answered: Option<Instant>,
}

impl Sent {
    /// Sends a round of the next records, and says how many of it were refused.
    fn round(&mut self, producer: &ThreadedProducer<Reports>, topic: &str) -> usize {
        self.send(ROUND, producer, topic)
    }

    /// The same with so many records.
    fn send(&mut self, count: usize, producer: &ThreadedProducer<Reports>, topic: &str) -> usize {
        for number in self.records..self.records + count {
            let value = large(number).value.expect("a value");
            let record = BaseRecord::<str, str>::to(topic).key("k").payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
        self.records += count;
        producer.flush(PATIENCE).expect("every record is answered");
        let mut reports = producer.context().0.lock().expect("no test panics with the lock");
        assert_eq!(reports.len(), count);
        let (taken, refused): (Vec<_>, Vec<_>) =
            reports.drain(..).partition(|reported| reported.outcome.is_ok());
        assert!(refused.iter().all(|reported| reported.outcome == Err(FULL)), "{refused:?}");
        self.answered = taken.iter().chain(&refused).map(|reported| reported.at).max();
        self.acknowledged.extend(taken.iter().map(|reported| reported.number));
        self.acknowledged.sort_unstable();
        refused.len()
    }

    /// Sends rounds until this many of one are refused.
    fn rounds_until(&mut self, refused: usize, producer: &ThreadedProducer<Reports>, topic: &str) {
        let ended = eventually(PATIENCE, || (self.round(producer, topic) == refused).then_some(()));
        assert!(ended.is_some(), "of {} records, {} were refused", self.records, self.refused());
    }

    fn refused(&self) -> usize {
        self.records - self.acknowledged.len()
    }
}

/// The numbers in a topic's only partition, which has this many records; sorted, as the requests
/// of a round may overtake each other.
fn numbers_read(server: &Server, topic: &str, count: usize) -> Vec<usize> {
    let read = read(&reader(server, topic, 1), count);
    let value = |item: Item| item.value.expect("a value");
    let mut numbers: Vec<usize> =
        read.into_iter().map(|read| value(read.item).parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

fn make_topic(server: &Server, topic: &str) {
    tidings(server, &["topic", "create", topic, "--partitions", "1"], "")
        .success()
        .expect("the topic is made");
}

fn tidings(server: &Server, arguments: &[&str], input: &str) -> Finished {
    let mut command = Command::new(binary().expect("the binary"));
    command.args(arguments).args(["--kafka", server.kafka()]);
    run(&mut command, input, PATIENCE).expect("it ends")
}

fn committed(server: &Server, topic: &str) -> TopicPartitionList {
    let consumer = group_member(server);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    consumer.committed_offsets(asked, PATIENCE).expect("the committed offset")
}

fn group_member(server: &Server) -> BaseConsumer {
    let mut config = config(server);
    config.set("group.id", "readers").set("enable.auto.commit", "false");
    config.create().expect("a consumer")
}

fn at(topic: &str, offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    list
}

async fn delete(server: &Server, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(server).create().expect("a client");
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let deleted = admin.delete_topics(&[topic], &options).await.expect("an answer");
    assert_eq!(deleted, [Ok(topic.to_owned())]);
}

#[tokio::test]
async fn produce_is_refused_at_once_and_nothing_else_is() {
    let disk = SmallDisk::mount(DISK_MIB).expect("a small disk");
    disk.fill(FILLER, FILLER_MIB).expect("a filler");
    let mut server = Server::start_on(&disk).expect("the server starts");
    make_topic(&server, "large");
    make_topic(&server, "unwanted");
    let producer = once(&server);
    let mut sent = Sent::default();
    sent.rounds_until(ROUND, &producer, "large");
    assert!(sent.acknowledged.len() >= ROUND, "only {} fit", sent.acknowledged.len());

    let started = Instant::now();
    assert_eq!(sent.round(&producer, "large"), ROUND);
    let mut refusals: Vec<Duration> = (0..ROUND)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(sent.send(1, &producer, "large"), 1);
            sent.answered.expect("a report") - asked
        })
        .collect();
    refusals.sort_unstable();
    let (median, slowest) = (refusals[ROUND / 2], refusals[ROUND - 1]);
    println!("full disk: refused after {median:?}, {slowest:?} at most of {ROUND}");
    let line = large(0).value.expect("a value") + "\n";
    let said = tidings(&server, &["produce", "large"], &line);
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("the disk is full"), "{}", said.stderr);

    assert_eq!(numbers_read(&server, "large", sent.acknowledged.len()), sent.acknowledged);
    let consumer = group_member(&server);
    consumer.commit(&at("large", 7), CommitMode::Sync).expect("a commit fits the reserve");
    assert_eq!(committed(&server, "large"), at("large", 7));
    delete(&server, "unwanted").await;

    disk.remove(FILLER).expect("the filler goes");
    let freed = Instant::now();
    sent.rounds_until(0, &producer, "large");
    println!("full disk: {ROUND} records were on disk {:?} after there was room", freed.elapsed());
    server.kill_and_restart().expect("the server starts again");
    assert_eq!(numbers_read(&server, "large", sent.acknowledged.len()), sent.acknowledged);
    assert_eq!(committed(&server, "large"), at("large", 7));
}

#[tokio::test]
async fn a_deleted_topic_makes_room_for_a_producer_that_kept_trying() {
    let disk = SmallDisk::mount(DISK_MIB).expect("a small disk");
    disk.fill(FILLER, FILLER_MIB).expect("a filler");
    let mut server = Server::start_on(&disk).expect("the server starts");
    make_topic(&server, "large");
    make_topic(&server, "patient");
    Sent::default().rounds_until(ROUND, &once(&server), "large");

    let patient = producer(&server, &[("retry.backoff.ms", "50")]);
    for number in 0..ROUND {
        send(&patient, "patient", &large(number));
    }
    delete(&server, "large").await;
    patient.flush(PATIENCE).expect("every record is answered");
    let places: Vec<Report> = (0..).take(ROUND).map(|offset| Ok((0, offset))).collect();
    assert_eq!(patient.context().all(), places);

    server.kill_and_restart().expect("the server starts again");
    let numbers: Vec<usize> = (0..ROUND).collect();
    assert_eq!(numbers_read(&server, "patient", ROUND), numbers);
}
