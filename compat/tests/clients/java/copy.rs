//! `tidings copy` from a running node to a real Apache Kafka cluster and back into a data directory, as
//! docs/operations.md tells it: killed on the way, verified, with the registry, positions and compaction.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tidings_compat::{Server, binary, eventually};
use tidings_engine::{Engine, NewTopic, Offset, ReadLimit, Record, SentRecord, TopicPartition};

use super::PATIENCE;
use super::cluster::Cluster;

const AT_ONCE: ReadLimit = ReadLimit { records: 50_000, bytes: 1 << 20, wait: Duration::ZERO };
const PARTITIONS: i32 = 3;
const RECORDS: usize = 120_000;
/// Kills before the copy is left to finish.
const KILLS: u64 = 6;

fn copy(from: &str, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new(binary().expect("the binary"));
    command.args(["copy", "--from", from, "--to", to]).args(more);
    command
}

fn finished(mut command: Command) -> Value {
    let output: Output = command.args(["-o", "json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{answer}\n{said}");
    serde_json::from_str(&answer).expect("JSON")
}

fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> NewTopic {
    let mut topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(name) };
    let said = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    topic.configs.extend(said);
    topic
}

fn record(topic: &str, partition: i32, key: &str, value: String) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: Some(key.to_owned().into()),
        value: Some(value.into()),
        ..SentRecord::default()
    }
}

async fn all(engine: &Engine, topic: &str, partition: i32) -> Vec<Record> {
    let mut next = engine.offset(topic, partition, Offset::Earliest).await.expect("a beginning");
    let end = engine.offset(topic, partition, Offset::Latest).await.expect("an end");
    let mut records = Vec::new();
    while next < end {
        let read = engine.read(topic, partition, next, AT_ONCE).await.expect("records");
        next = read.next;
        records.extend(read.records);
    }
    records
}

async fn orders(engine: &Engine) -> BTreeMap<i32, Vec<Record>> {
    let mut records = BTreeMap::new();
    for partition in 0..PARTITIONS {
        records.insert(partition, all(engine, "orders", partition).await);
    }
    records
}

fn assert_same(source: &BTreeMap<i32, Vec<Record>>, target: &BTreeMap<i32, Vec<Record>>) {
    for (partition, records) in source {
        let target = &target[partition];
        assert_eq!(records.len(), target.len(), "partition {partition}");
        for (a, b) in records.iter().zip(target) {
            let same = (a.timestamp, &a.key, &a.value, &a.headers)
                == (b.timestamp, &b.key, &b.value, &b.headers);
            assert!(same, "{a:?} {b:?}");
        }
    }
}

/// Orders of several transactions and by themselves, and a compacted topic with few keys.
async fn fill(engine: &Engine) {
    engine.create_topic(topic("orders", PARTITIONS, &[])).await.expect("made");
    let memory = [("tidings.durability", "memory")];
    engine.create_topic(topic("passing", 1, &memory)).await.expect("made");
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    engine.create_topic(topic("stock", 1, &compacted)).await.expect("made");
    let producer = engine.producer().await.expect("a producer");
    let value = |n: usize| format!("{n} {}", "x".repeat(n % 200));
    let order = |n: usize| {
        let partition = i32::try_from(n % 3).expect("small");
        record("orders", partition, &format!("o{}", n % 1000), value(n))
    };
    for chunk in 0..12 {
        let numbers = (chunk * RECORDS / 12)..((chunk + 1) * RECORDS / 12);
        producer.send(numbers.map(order).collect()).await.expect("sent");
    }
    let transactions = engine.transactional_producer("shop", Default::default()).await;
    let transactions = transactions.expect("a transactional id");
    for n in 0..6 {
        let mut transaction = transactions.begin().await.expect("begun");
        transaction.append((0..9).map(order).collect()).await.expect("appended");
        if n % 2 == 0 {
            transaction.commit().await.expect("committed");
        } else {
            transaction.abort().await.expect("aborted");
        }
    }
    let large = "x".repeat(200_000);
    for n in 0..40 {
        let stock = record("stock", 0, ["a", "b", "c"][n % 3], format!("{n} {large}"));
        producer.send(vec![stock]).await.expect("sent");
    }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

/// The value of the next record of a group in a partition.
async fn next_of(engine: &Engine, group: &str, partition: i32) -> Option<bytes::Bytes> {
    let offsets = engine.group(group).await.expect("a group").offsets;
    let held = offsets.iter().find(|held| held.partition == partition).expect("a position");
    let committed = held.committed.expect("committed");
    let next = engine.read("orders", partition, committed, AT_ONCE).await.expect("read").records;
    next.into_iter().next().and_then(|record| record.value)
}

#[test]
fn a_node_moves_to_a_cluster_and_back() {
    let server = Server::start().expect("the server starts");
    let cluster = Cluster::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (from, to) = (format!("kafka://{}", server.kafka()), cluster.url());
    let node = runtime.block_on(async {
        let node = Engine::connect(&from).await.expect("the node answers");
        fill(&node).await;
        let (first, middle) = (at("orders", 0), at("orders", 1));
        let positions = [(first, 10, Some("said".to_owned())), (middle, 20_001, None)];
        node.reset_group("billing", &positions).await.expect("set");
        let end = node.offset("orders", 2, Offset::Latest).await.expect("an end");
        node.reset_group("done", &[(at("orders", 2), end, None)]).await.expect("set");
        node
    });
    let schema = r#"{"schema":"{\"type\":\"string\"}"}"#;
    let id = post(server.registry(), "/subjects/orders-value/versions", schema);

    killed(&from, &to);
    let answer = finished(copy(&from, &to, &[]));
    assert_eq!(answer["verified"], true);
    let left = answer["configs_left"].as_array().expect("a list");
    let names: Vec<_> = left.iter().map(|left| left["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["tidings.durability"], "{left:?}");
    let source = runtime.block_on(orders(&node));
    let kafka = runtime.block_on(async {
        let kafka = Engine::connect(&to).await.expect("the cluster answers");
        assert_same(&source, &orders(&kafka).await);
        for partition in [0, 1] {
            let (a, b) = (
                next_of(&node, "billing", partition).await,
                next_of(&kafka, "billing", partition).await,
            );
            assert_eq!(a, b);
        }
        let done = kafka.group("done").await.expect("a group").offsets;
        assert_eq!((done.len(), done[0].lag), (1, 0));
        let held = kafka.group("billing").await.expect("a group").offsets;
        assert_eq!(held[0].metadata.as_deref(), Some("said"));
        kafka
    });

    // What comes until the producers are stopped is brought by one more run.
    runtime.block_on(async {
        let producer = node.producer().await.expect("a producer");
        let more = (0..100).map(|n| record("orders", n % 3, "late", format!("late {n}")));
        producer.send(more.collect()).await.expect("sent");
    });
    let answer = finished(copy(&from, &to, &["--topic", "orders"]));
    let records = answer["copied"].as_array().expect("a list").iter();
    assert_eq!(records.map(|p| p["records"].as_u64().expect("a number")).sum::<u64>(), 100);

    compaction_is_no_difference(&runtime, &kafka, &from, &to);

    // Back, into a directory; the registry's ids are what they were.
    let folder = tempfile::TempDir::new().expect("a folder");
    let back = folder.path().join("data");
    let answer = finished(copy(&to, &back.display().to_string(), &[]));
    assert_eq!(answer["verified"], true);
    runtime.block_on(async {
        let engine = Engine::open(&back).await.expect("opened");
        assert_same(&orders(&node).await, &orders(&engine).await);
        engine.close().await.expect("closed");
    });
    assert_eq!(schema_of(folder.path(), &id), r#"{"schema":"\"string\""}"#);
}

/// Kills copies at several moments, each later than the one before.
fn killed(from: &str, to: &str) {
    for n in 0..KILLS {
        let mut child = copy(from, to, &[]).spawn().expect("it runs");
        let patience = Duration::from_millis(300 + 350 * n);
        if eventually(patience, || child.try_wait().expect("waited for")).is_some() {
            return;
        }
        child.kill().expect("killed");
        child.wait().expect("waited for");
    }
}

/// The cluster compacts what was copied; the comparison knows whose right that is.
fn compaction_is_no_difference(
    runtime: &tokio::runtime::Runtime,
    kafka: &Engine,
    from: &str,
    to: &str,
) {
    let fewer = eventually(PATIENCE, || {
        let left = runtime.block_on(all(kafka, "stock", 0)).len();
        (left < 40).then_some(left)
    });
    assert!(fewer.is_some(), "the cluster does not compact");
    let answer = finished(copy(from, to, &["--verify-only"]));
    let partitions = answer["partitions"].as_array().expect("a list");
    let stock = partitions.iter().find(|one| one["topic"] == "stock").expect("compared");
    assert!(stock["gone_at_target"].as_u64() > Some(0), "{stock}");
}

fn post(registry: &str, path: &str, body: &str) -> String {
    curl(&["-s", "-X", "POST", "-H", "Content-Type: application/json", "-d", body], registry, path)
}

fn curl(arguments: &[&str], address: &str, path: &str) -> String {
    let mut command = Command::new("curl");
    command.args(arguments).arg(format!("http://{address}{path}"));
    let output = command.output().expect("curl runs");
    String::from_utf8(output.stdout).expect("text")
}

/// The schema that a registry over the data below this folder has under the id.
fn schema_of(folder: &Path, id: &str) -> String {
    let id: Value = serde_json::from_str(id).expect("an id");
    let server = Server::start_below(folder).expect("it starts on what was copied");
    curl(&["-s"], server.registry(), &format!("/schemas/ids/{}", id["id"]))
}
