//! What becomes of old records: the topic's configuration, as it is seen through the broker.

use tidings_broker::log::{BatchBuilder, MemoryDisk, NewRecord, StoreConfig};
use tidings_broker::{
    AlterConfigs, Alteration, BrokerConfig, ConfigResource, DescribeTopics, NewTopic, TopicName,
    Topics,
};

use bytes::Bytes;

use crate::rig::{Rig, WALL_MS, config};

const CHECK_MS: u64 = 1_000;
const HOUR_MS: i64 = 3_600_000;

fn rig() -> Rig {
    let store = StoreConfig { retention_check_ms: CHECK_MS, ..StoreConfig::small() };
    Rig::with(MemoryDisk::new(), BrokerConfig { store, ..config() })
}

type Configs<'a> = &'a [(&'a str, &'a str)];

fn configured(rig: &mut Rig, configs: Configs) {
    let said = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
    let configs = configs.iter().map(said).collect();
    rig.create(NewTopic { name: "a".into(), partitions: Some(1), configs, ..NewTopic::default() })
        .expect("a new topic");
}

fn record(age_ms: i64, key: &str, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord {
        timestamp: WALL_MS - age_ms,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    });
    builder.build().bytes().clone()
}

fn start_offset(rig: &mut Rig) -> i64 {
    let topics = Topics::These(vec![TopicName::Name("a".into())]);
    let topic = rig.call(DescribeTopics { topics, auto_create: false }).remove(0).topic.unwrap();
    topic.partitions[0].start_offset
}

/// Lets flushes, checks and what follows from them happen.
fn some_time_passes(rig: &mut Rig) {
    for _ in 0..20 {
        rig.pass(CHECK_MS);
        rig.settle();
    }
}

#[test]
fn records_go_when_their_topic_says_so() {
    let week_ago = 8 * 24 * HOUR_MS;
    let cases: [(Configs, i64, i64); 5] = [
        (&[], HOUR_MS, 0),
        (&[], week_ago, 1),
        (&[("retention.ms", "-1")], week_ago, 0),
        (&[("retention.ms", "60000")], HOUR_MS, 1),
        (&[("cleanup.policy", "compact")], week_ago, 0),
    ];
    for (configs, age_ms, expected) in cases {
        let mut rig = rig();
        configured(&mut rig, configs);
        rig.produce("a", 0, record(age_ms, "k", "v")).unwrap();
        some_time_passes(&mut rig);
        assert_eq!(start_offset(&mut rig), expected, "{configs:?}, {age_ms} ms old");
        let next = rig.produce("a", 0, record(0, "k", "w")).unwrap();
        assert_eq!((next.base_offset, next.log_start_offset), (1, expected), "{configs:?}");
    }
}

#[test]
fn records_go_when_their_topic_is_told_later() {
    let mut rig = rig();
    configured(&mut rig, &[]);
    rig.produce("a", 0, record(HOUR_MS, "k", "v")).unwrap();
    some_time_passes(&mut rig);
    assert_eq!(start_offset(&mut rig), 0);
    for (resource, name, value, expected) in [
        (ConfigResource::Broker(String::new()), "log.retention.ms", "7200000", 0),
        (ConfigResource::Topic("a".into()), "retention.ms", "60000", 1),
    ] {
        let change = Alteration::Replace(vec![(name.into(), Some(value.into()))]);
        let resources = vec![(resource, change)];
        rig.call(AlterConfigs { resources, validate_only: false }).remove(0).1.unwrap();
        some_time_passes(&mut rig);
        assert_eq!(start_offset(&mut rig), expected, "{name}={value}");
    }
}

#[test]
fn of_a_compacted_topic_the_last_record_of_each_key_stays() {
    let mut rig = rig();
    configured(
        &mut rig,
        &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "1"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
    );
    // Each record a segment of its own.
    let records = [("x", "1"), ("y", "2"), ("x", "3"), ("y", "4"), ("z", "5")];
    for ((key, value), age_ms) in records.into_iter().zip([50, 40, 30, 20, 10]) {
        rig.produce("a", 0, record(age_ms, key, value)).unwrap();
        some_time_passes(&mut rig);
    }
    // Memory may show what segments do not have any more.
    let mut rig = rig.restart();
    assert_eq!(rig.values("a", 0, 0), ["3", "4", "5"]);
    assert_eq!(start_offset(&mut rig), 0, "offsets stay as they were");
}

#[test]
fn a_topic_of_memory_is_answered_at_once_and_may_be_lost() {
    let mut rig = rig();
    configured(&mut rig, &[("tidings.durability", "memory")]);
    rig.settle();
    let disk = rig.disk.fork();
    let ticket = rig.submit(crate::rig::produce("a", 0, record(0, "k", "v")));
    assert!(rig.is_answered(ticket));
    assert_eq!(rig.values("a", 0, 0), ["v"]);
    assert_eq!(Rig::on(disk).values("a", 0, 0), Vec::<String>::new());
    assert_eq!(rig.restart().values("a", 0, 0), ["v"], "a clean stop keeps it");
}
