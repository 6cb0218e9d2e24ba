//! `kill -9` at random moments, under producers, a group that commits, and topics that come and go.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tidings_compat::{Server, eventually};
use tokio::runtime::Runtime;

use crate::dice::Dice;
use crate::load::{Load, MIXED, PATIENCE};
use crate::rounds;

/// Records of each producer in one round.
const EACH: u64 = 1500;
const PARTITIONS: i32 = 3;
/// How often a round is killed, at most.
const KILLS_MAX: u64 = 3;

#[test]
fn what_was_acknowledged_survives_any_kill() {
    let mut dice = Dice::new("kill");
    let mut server = Server::start().expect("the server starts");
    let mut watch = Bystander::new(server.kafka());
    let (mut kills, mut records) = (0, 0);
    for round in 0..rounds() {
        let topic = format!("load-{round}");
        watch.create(&topic, PARTITIONS);
        let mut load = Load::new(server.kafka(), &topic, &MIXED);
        load.send(EACH);
        let all = EACH as usize * MIXED.len();
        for _ in 0..=dice.below(KILLS_MAX) {
            let left = all - load.acknowledged_now().min(all - 1);
            let until = load.acknowledged_now() + dice.below(left as u64) as usize / 2;
            assert!(load.acknowledged(until), "only {} records came", load.acknowledged_now());
            watch.commit(kills);
            server.kill_and_restart().expect("the server starts again");
            watch.check(kills);
            kills += 1;
        }
        load.finish();
        assert_eq!(load.refused(), Vec::<String>::new());
        load.check(server.kafka(), PARTITIONS, false);
        records += load.acknowledged_now();
        // A producer that is still there asks for its topic again, which would make it anew.
        drop(load);
        if dice.below(3) == 0 {
            watch.delete(&topic);
        }
    }
    println!(
        "kill: {kills} kills, {records} records acknowledged, 0 lost, 0 repeated, 0 reordered"
    );
}

/// Commits offsets, makes and deletes topics, and remembers what was confirmed.
struct Bystander {
    runtime: Runtime,
    admin: AdminClient<DefaultClientContext>,
    consumer: BaseConsumer,
    deleted: Vec<String>,
    created: Vec<String>,
}

impl Bystander {
    fn new(kafka: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka).set("reconnect.backoff.max.ms", "100");
        config.set("group.id", "bystander").set("enable.auto.commit", "false");
        Self {
            runtime: Runtime::new().expect("a runtime"),
            admin: config.create().expect("an admin client"),
            consumer: config.create().expect("a consumer"),
            deleted: Vec::new(),
            created: Vec::new(),
        }
    }

    fn create(&mut self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let answer = self.admin.create_topics([&new], &AdminOptions::new());
        let answers = self.runtime.block_on(answer).expect("an answer");
        assert_eq!(answers, [Ok(topic.to_owned())]);
        self.created.push(topic.to_owned());
    }

    fn delete(&mut self, topic: &str) {
        let answer = self.admin.delete_topics(&[topic], &AdminOptions::new());
        let answers = self.runtime.block_on(answer).expect("an answer");
        assert_eq!(answers, [Ok(topic.to_owned())]);
        self.created.retain(|created| created != topic);
        self.deleted.push(topic.to_owned());
    }

    fn place(&self, offset: Offset) -> TopicPartitionList {
        let topic = self.created.last().expect("a topic was made");
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, 0, offset).expect("an offset");
        place
    }

    fn commit(&self, number: u64) {
        let place = self.place(Offset::Offset(number as i64));
        self.consumer.commit(&place, CommitMode::Sync).expect("committed");
    }

    fn check(&self, number: u64) {
        let asked = self.place(Offset::Invalid);
        let committed =
            eventually(PATIENCE, || self.consumer.committed_offsets(asked.clone(), PATIENCE).ok());
        let committed = committed.expect("committed offsets");
        assert_eq!(committed.elements()[0].offset(), Offset::Offset(number as i64));
        let known = self.consumer.fetch_metadata(None, PATIENCE).expect("metadata");
        let known: Vec<&str> = known.topics().iter().map(|topic| topic.name()).collect();
        for topic in &self.created {
            assert!(known.contains(&topic.as_str()), "{topic} is gone");
        }
        for topic in &self.deleted {
            assert!(!known.contains(&topic.as_str()), "{topic} is back");
        }
    }
}
