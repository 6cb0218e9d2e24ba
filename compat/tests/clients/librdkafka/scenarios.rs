//! librdkafka plays the scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic as Topic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::producer::{Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::{Deliveries, Item, POLL, config_at, read, read_item, reader_of, send_to};
use crate::scenarios;
use crate::scenarios::calls::{
    Answer, At, Client, Described, Isolation, NewTopic, PATIENCE, Place, Producer, Producing,
    Protocol, Record, Refusal,
};
use crate::scenarios::sharing::Member;

#[test]
fn librdkafka_sees_what_kafka_shows() {
    scenarios::play_here("rdkafka", Librdkafka::new);
}

pub(crate) struct Librdkafka {
    address: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: Runtime,
}

impl Librdkafka {
    pub(crate) fn new(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Self {
            address: address.to_owned(),
            admin: config_at(address).create().expect("an admin client"),
            runtime: runtime.expect("a runtime"),
        }
    }

    fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = config_at(&self.address);
        config.set("enable.auto.commit", "false");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().expect("a consumer")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn refusal(error: &KafkaError) -> Refusal {
    // What librdkafka has no code of Kafka's for is below zero.
    match error.rdkafka_error_code().map(|code| code as i32) {
        Some(code) if code > 0 => Refusal::Kafka(code),
        _ => Refusal::other(error),
    }
}

/// Of each topic or group its name, with the error where there is one.
type Outcomes = Vec<Result<String, (String, RDKafkaErrorCode)>>;

/// The outcome of a request for one thing.
fn only(answers: Result<Outcomes, KafkaError>) -> Answer<()> {
    let mut answers = answers.map_err(|error| refusal(&error))?;
    match answers.remove(0) {
        Ok(_) => Ok(()),
        Err((_, code)) => Err(Refusal::Kafka(code as i32)),
    }
}

fn places(place: Place<'_>, offset: Offset) -> TopicPartitionList {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(place.topic, place.partition, offset).expect("an offset");
    places
}

fn first_offset(places: &TopicPartitionList) -> Offset {
    places.elements().first().map_or(Offset::Invalid, TopicPartitionListElem::offset)
}

struct Sender {
    producer: ThreadedProducer<Deliveries>,
    address: String,
}

impl Producer for Sender {
    fn send(&mut self, topic: &str, records: &[Record]) -> Answer<()> {
        let before = self.producer.context().all().len();
        for record in records {
            let item = Item {
                key: Some(record.key.clone()),
                value: record.value.clone(),
                headers: vec![("h".to_owned(), Some(record.header.clone()))],
                timestamp: record.timestamp.unwrap_or(0),
            };
            send_to(&self.producer, topic, record.partition, &item);
        }
        self.producer.flush(PATIENCE).map_err(Refusal::other)?;
        let reports = self.producer.context().all().split_off(before);
        assert_eq!(reports.len(), records.len());
        let refused = reports.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |error| Err(refusal(&error)))
    }

    fn begin(&mut self) -> Answer<()> {
        self.producer.begin_transaction().map_err(Refusal::other)
    }

    fn commit(&mut self) -> Answer<()> {
        self.producer.commit_transaction(PATIENCE).map_err(Refusal::other)
    }

    fn abort(&mut self) -> Answer<()> {
        self.producer.abort_transaction(PATIENCE).map_err(Refusal::other)
    }

    fn send_offset(&mut self, group: &str, place: Place<'_>, offset: i64) -> Answer<()> {
        let consumer: BaseConsumer =
            config_at(&self.address).set("group.id", group).create().expect("a consumer");
        let metadata = consumer.group_metadata().expect("a group");
        let places = places(place, Offset::Offset(offset));
        self.producer
            .send_offsets_to_transaction(&places, &metadata, PATIENCE)
            .map_err(Refusal::other)
    }
}

/// Tells of what a member of a group is given and what is taken from it.
struct Hears(Arc<Member>);

impl ClientContext for Hears {}

fn numbers(places: &TopicPartitionList) -> Vec<i32> {
    places.elements().iter().map(TopicPartitionListElem::partition).collect()
}

impl ConsumerContext for Hears {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(places) = rebalance {
            match consumer.commit_consumer_state(CommitMode::Sync) {
                Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
                Err(error) => panic!("not committed: {error}"),
            }
            self.0.revoked(numbers(places));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(places) = rebalance {
            self.0.assigned(numbers(places));
        }
    }
}

impl Client for Librdkafka {
    fn producer(&self, how: Producing<'_>) -> Box<dyn Producer> {
        let mut config = config_at(&self.address);
        config.set("linger.ms", "0").set("partitioner", "murmur2");
        match how {
            Producing::With { codec } => config.set("compression.type", codec),
            Producing::Idempotent => {
                config.set("enable.idempotence", "true").set("batch.num.messages", "10")
            }
            Producing::Transactional { id } => config.set("transactional.id", id),
        };
        let producer: ThreadedProducer<Deliveries> =
            config.create_with_context(Deliveries::default()).expect("a producer");
        if matches!(how, Producing::Transactional { .. }) {
            producer.init_transactions(PATIENCE).expect("the name is taken");
        }
        Box::new(Sender { producer, address: self.address.clone() })
    }

    fn read(&self, topic: &str, partitions: i32, count: usize, of: Isolation) -> Vec<Record> {
        let consumer = reader_of(of, &self.address, topic, partitions);
        let record = |read: super::ReadItem| {
            let headers: BTreeMap<String, Option<String>> = read.item.headers.into_iter().collect();
            Record {
                key: read.item.key.expect("a key"),
                value: read.item.value,
                header: headers.get("h").cloned().flatten().unwrap_or_default(),
                partition: Some(read.partition),
                timestamp: Some(read.item.timestamp),
            }
        };
        read(&consumer, count).into_iter().map(record).collect()
    }

    fn member(&self, group: &str, topic: &str, how: Protocol, hears: &Arc<Member>) -> Answer<()> {
        let mut config = config_at(&self.address);
        config.set("group.id", group).set("auto.offset.reset", "earliest");
        config.set("enable.auto.commit", "false");
        let strategy = match how {
            Protocol::Eager => Some("range"),
            Protocol::Cooperative => Some("cooperative-sticky"),
            Protocol::Consumer => None,
        };
        match strategy {
            Some(strategy) => config
                .set("partition.assignment.strategy", strategy)
                .set("heartbeat.interval.ms", "200")
                .set("session.timeout.ms", "10000"),
            None => config.set("group.protocol", "consumer"),
        };
        let consumer: BaseConsumer<Hears> =
            config.create_with_context(Hears(Arc::clone(hears))).expect("a consumer");
        consumer.subscribe(&[topic]).map_err(Refusal::other)?;
        while !hears.leaving() {
            if let Some(message) = consumer.poll(POLL) {
                let read = read_item(&message.map_err(Refusal::other)?);
                hears.saw(read.partition, read.item.value.expect("a value"));
            }
        }
        Ok(())
    }

    fn create_topic(&self, topic: NewTopic<'_>) -> Answer<()> {
        let new = Topic::new(topic.name, topic.partitions, TopicReplication::Fixed(topic.replicas));
        let new = topic.config.into_iter().fold(new, |new, (name, value)| new.set(name, value));
        only(self.runtime.block_on(self.admin.create_topics([&new], &options())))
    }

    fn partitions(&self, topic: &str) -> Option<usize> {
        let metadata = self.admin.inner().fetch_metadata(None, PATIENCE).expect("metadata");
        let found = metadata.topics().iter().find(|found| found.name() == topic)?;
        Some(found.partitions().len())
    }

    fn list_offset(&self, place: Place<'_>, at: At, of: Isolation) -> Answer<i64> {
        let asked = match at {
            At::Earliest => Offset::Beginning,
            At::Latest => Offset::End,
            At::Time(ms) => Offset::Offset(ms),
        };
        let consumer = self.consumer(&[("isolation.level", of.level())]);
        let found = consumer
            .offsets_for_times(places(place, asked), PATIENCE)
            .map_err(|error| refusal(&error))?;
        Ok(first_offset(&found).to_raw().expect("an offset"))
    }

    fn grow_topic(&self, name: &str, partitions: i32) -> Answer<()> {
        let wanted = usize::try_from(partitions).map_err(Refusal::other)?;
        let grown = NewPartitions::new(name, wanted);
        only(self.runtime.block_on(self.admin.create_partitions([&grown], &options())))
    }

    fn delete_topic(&self, name: &str) -> Answer<()> {
        only(self.runtime.block_on(self.admin.delete_topics(&[name], &options())))
    }

    fn config(&self, topic: &str, name: &str) -> Answer<String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let described = self.admin.describe_configs(&asked, &options());
        let mut described = self.runtime.block_on(described).map_err(|error| refusal(&error))?;
        let resource = described.remove(0).map_err(|code| Refusal::Kafka(code as i32))?;
        let entry = resource.get(name).ok_or_else(|| Refusal::other("no such entry"))?;
        entry.value.clone().ok_or_else(|| Refusal::other("an entry without a value"))
    }

    fn delete_records(&self, place: Place<'_>, before: i64) -> Answer<i64> {
        let wanted = places(place, Offset::Offset(before));
        let deleted = self.runtime.block_on(self.admin.delete_records(&wanted, &options()));
        let deleted = deleted.map_err(|error| refusal(&error))?;
        for element in deleted.elements() {
            element.error().map_err(|error| refusal(&error))?;
        }
        Ok(first_offset(&deleted).to_raw().expect("an offset"))
    }

    fn list_groups(&self) -> Answer<Vec<String>> {
        let listed = self.admin.inner().fetch_group_list(None, PATIENCE);
        let listed = listed.map_err(|error| refusal(&error))?;
        Ok(listed.groups().iter().map(|group| group.name().to_owned()).collect())
    }

    fn describe_group(&self, group: &str) -> Answer<Described> {
        let listed = self.admin.inner().fetch_group_list(Some(group), PATIENCE);
        let listed = listed.map_err(|error| refusal(&error))?;
        let found = listed.groups().first().ok_or_else(|| Refusal::other("no such group"))?;
        Ok(Described { state: found.state().to_owned(), members: found.members().len() })
    }

    fn delete_group(&self, group: &str) -> Answer<()> {
        only(self.runtime.block_on(self.admin.delete_groups(&[group], &options())))
    }

    fn committed(&self, group: &str, place: Place<'_>) -> Answer<i64> {
        let consumer = self.consumer(&[("group.id", group)]);
        let found = consumer
            .committed_offsets(places(place, Offset::Invalid), PATIENCE)
            .map_err(|error| refusal(&error))?;
        match first_offset(&found) {
            Offset::Offset(offset) => Ok(offset),
            _ => Ok(-1),
        }
    }

    fn commit(&self, group: &str, place: Place<'_>, offset: i64) -> Answer<()> {
        let consumer = self.consumer(&[("group.id", group)]);
        let wanted = places(place, Offset::Offset(offset));
        consumer.commit(&wanted, CommitMode::Sync).map_err(|error| refusal(&error))
    }
}
