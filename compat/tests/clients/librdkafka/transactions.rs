//! Transactions: the facts of the matrix, as librdkafka shows them.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tidings_compat::clients::facts_of;
use tidings_compat::{Server, eventually};

use super::{PATIENCE, POLL, config};

/// Records of one transaction.
const EACH: usize = 5;

const TOPIC: &str = "moved";

struct Transactions {
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Transactions {
    fn named(server: &Server, id: &str) -> Self {
        let mut config = config(server);
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.set("transactional.id", id).create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("the name is taken");
        Self { producer }
    }

    fn send(&self, tag: &str) {
        self.producer.begin_transaction().expect("begun");
        for n in 0..EACH {
            let value = format!("{tag} {n}");
            let record = BaseRecord::<str, str>::to(TOPIC).key("k").payload(&value).partition(0);
            self.producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
        self.producer.flush(PATIENCE).expect("sent");
    }

    fn send_offset(&self, server: &Server, group: &str, offset: i64) {
        let consumer = reader(server, group, "read_committed");
        let metadata = consumer.group_metadata().expect("a group");
        self.producer.begin_transaction().expect("begun");
        self.producer
            .send_offsets_to_transaction(&place(Offset::Offset(offset)), &metadata, PATIENCE)
            .expect("sent");
    }

    fn commit(&self) {
        self.producer.commit_transaction(PATIENCE).expect("committed");
    }

    fn abort(&self) {
        self.producer.abort_transaction(PATIENCE).expect("aborted");
    }
}

fn place(offset: Offset) -> TopicPartitionList {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(TOPIC, 0, offset).expect("an offset");
    places
}

fn reader(server: &Server, group: &str, isolation: &str) -> BaseConsumer {
    let mut config = config(server);
    config.set("group.id", group).set("isolation.level", isolation);
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.create().expect("a consumer")
}

/// How many records of each tag are read up to the end, in order: "a5 c5".
fn tags(server: &Server, isolation: &str) -> String {
    let consumer = reader(server, "not-joined", isolation);
    consumer.assign(&place(Offset::Beginning)).expect("assigned");
    let mut tags: Vec<(String, usize)> = Vec::new();
    let ended = eventually(PATIENCE, || match consumer.poll(POLL)? {
        Ok(message) => {
            let value = super::read_item(&message).item.value.expect("a value");
            let tag = value.split(' ').next().expect("a tag").to_owned();
            match tags.last_mut() {
                Some((last, count)) if *last == tag => *count += 1,
                _ => tags.push((tag, 1)),
            }
            None
        }
        Err(end) => Some(end),
    });
    assert!(
        matches!(ended, Some(rdkafka::error::KafkaError::PartitionEOF(0))),
        "ended with {ended:?}"
    );
    let words: Vec<String> = tags.iter().map(|(tag, count)| format!("{tag}{count}")).collect();
    words.join(" ")
}

fn latest(server: &Server, isolation: &str) -> i64 {
    let consumer = reader(server, "not-joined", isolation);
    let listed = consumer.offsets_for_times(place(Offset::End), PATIENCE).expect("offsets");
    listed.elements()[0].offset().to_raw().expect("an offset")
}

/// -1 where nothing is committed.
fn committed(server: &Server, group: &str) -> i64 {
    let consumer = reader(server, group, "read_committed");
    let found = consumer.committed_offsets(place(Offset::Invalid), PATIENCE).expect("offsets");
    match found.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => -1,
    }
}

#[test]
fn transactions_show_what_kafka_shows() {
    let server = Server::start().expect("the server starts");
    let first = Transactions::named(&server, "mover");
    for tag in ["a", "b", "c"] {
        first.send(tag);
        if tag == "b" { first.abort() } else { first.commit() }
    }
    let mut saw = json!({
        "committed": tags(&server, "read_committed"),
        "uncommitted": tags(&server, "read_uncommitted"),
    });
    first.send("d");
    saw["stable while open"] = latest(&server, "read_committed").into();
    saw["latest while open"] = latest(&server, "read_uncommitted").into();
    first.abort();

    first.send_offset(&server, "moved-by", 3);
    first.abort();
    saw["offset after abort"] = committed(&server, "moved-by").into();
    first.send_offset(&server, "moved-by", 5);
    first.commit();
    saw["offset after commit"] = committed(&server, "moved-by").into();

    first.send("e");
    let second = Transactions::named(&server, "mover");
    second.send("f");
    saw["fenced"] = first.producer.commit_transaction(PATIENCE).is_err().into();
    second.commit();
    saw["after fencing"] = tags(&server, "read_committed").into();
    let must: Value = facts_of("transactions");
    assert_eq!(saw, must);
}
