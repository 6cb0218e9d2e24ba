//! `kafka-dump-log` over what the binary writes of a group of the consumer protocol (KIP-848): Kafka's decoder
//! reads every record, and finds what the group was.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use serde_json::Value;
use tidings_compat::{Server, eventually};

use super::PATIENCE;
use super::dump_log::dump_log;
use super::written::entries;
use crate::librdkafka::{Item, config_at, producer, send_all};

const POLL: std::time::Duration = std::time::Duration::from_millis(50);

/// A member of the consumer protocol that has read and committed the one record there is.
fn member(server: &Server, group: &str, subscription: &str) -> BaseConsumer {
    let mut config = config_at(server.kafka());
    config.set("group.id", group).set("group.protocol", "consumer");
    config.set("client.id", "reader").set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[subscription]).expect("subscribed");
    let read = eventually(PATIENCE, || {
        let message = consumer.poll(POLL)?.expect("a record");
        consumer.commit_message(&message, CommitMode::Sync).expect("committed");
        Some(())
    });
    read.expect("the member reads");
    consumer
}

/// A record as the decoder shows it: group, type of its key, key and value; no value is a tombstone.
#[derive(Debug)]
struct Decoded {
    group: String,
    kind: u8,
    key: Value,
    value: Option<Value>,
}

fn decoded(line: &str) -> Option<Decoded> {
    let (_, record) = line.split_once(" key: ")?;
    let (key, value) = record.split_once(" payload: ").expect("a payload");
    let key: Value = serde_json::from_str(key).expect("JSON");
    let data = &key["data"];
    let group = data["groupId"].as_str().or(data["group"].as_str()).expect("a group").to_owned();
    let kind = key["type"].as_str().and_then(|kind| kind.parse().ok()).expect("a type");
    let value = (value != "<DELETE>").then(|| serde_json::from_str(value).expect("JSON"));
    Some(Decoded { group, kind, key, value })
}

/// Everything in `__consumer_offsets` of a stopped server.
fn records(server: &Server) -> Vec<Decoded> {
    let folders = entries(server.data());
    let of_groups = folders.into_iter().filter(|folder| {
        folder.is_dir() && folder.to_string_lossy().contains("/__consumer_offsets-")
    });
    let mut logs: Vec<_> = of_groups.flat_map(|folder| entries(&folder)).collect();
    logs.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    let lines = dump_log(&["--offsets-decoder"], &logs);
    let undecoded: Vec<&String> = lines.iter().filter(|line| line.contains("skipping.")).collect();
    assert_eq!(undecoded, Vec::<&String>::new());
    lines.iter().filter_map(|line| decoded(line)).collect()
}

/// The names of Kafka's schemas, by the type of the key.
const OFFSET: u8 = 1;
const GROUP: u8 = 3;
const MEMBER: u8 = 5;
const TARGET: u8 = 6;
const TARGET_OF_MEMBER: u8 = 7;
const CURRENT: u8 = 8;
const EXPRESSION: u8 = 16;

#[test]
fn the_records_of_consumer_groups_are_as_kafka_wants_them() {
    let mut server = Server::start().expect("the server starts");
    send_all(&producer(&server, &[]), "read", &[Item::new("k", "v")]);
    let staying = member(&server, "staying", "read");
    let matching = member(&server, "matching", "^re.*");
    drop(member(&server, "left", "read"));
    server.stop().expect("it stops");
    drop((staying, matching));

    let mut kinds: BTreeMap<String, BTreeSet<u8>> = BTreeMap::new();
    let mut last: BTreeMap<(String, u8, String), Option<Value>> = BTreeMap::new();
    for record in records(&server) {
        kinds.entry(record.group.clone()).or_default().insert(record.kind);
        last.insert((record.group, record.kind, record.key.to_string()), record.value);
    }
    let of_group = [OFFSET, GROUP, MEMBER, TARGET, TARGET_OF_MEMBER, CURRENT];
    assert_eq!(kinds["staying"], BTreeSet::from(of_group));
    assert_eq!(kinds["left"], BTreeSet::from(of_group));
    assert!(kinds["matching"].contains(&EXPRESSION), "{kinds:?}");

    let now = |group: &str, kind: u8| -> Vec<Value> {
        let of = last.iter().filter(|((g, k, _), _)| g == group && *k == kind);
        of.filter_map(|(_, value)| Some(value.as_ref()?["data"].clone())).collect()
    };
    for kind in [MEMBER, TARGET_OF_MEMBER, CURRENT] {
        assert_eq!(now("left", kind), Vec::<Value>::new(), "a member that left");
    }
    let [member] = &now("staying", MEMBER)[..] else { panic!("one member") };
    assert_eq!(member["clientId"], "reader");
    assert_eq!(member["subscribedTopicNames"], serde_json::json!(["read"]));
    let epoch = now("staying", GROUP)[0]["epoch"].clone();
    assert_eq!(now("staying", TARGET)[0]["assignmentEpoch"], epoch);
    let current = &now("staying", CURRENT)[0];
    assert_eq!(current["memberEpoch"], epoch);
    assert_eq!(current["state"], 0);
    let partitions = |value: &Value| value[0]["partitions"].clone();
    assert_eq!(partitions(&current["assignedPartitions"]), serde_json::json!([0, 1, 2, 3]));
    let target = &now("staying", TARGET_OF_MEMBER)[0];
    assert_eq!(partitions(&target["topicPartitions"]), serde_json::json!([0, 1, 2, 3]));
    // librdkafka joins all patterns to one.
    assert_eq!(now("matching", MEMBER)[0]["subscribedTopicRegex"], "(^re.*)");
    assert_eq!(now("matching", EXPRESSION)[0]["topics"], serde_json::json!(["read"]));
}
