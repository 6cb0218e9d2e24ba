//! `tidings copy` between data directories and running nodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_engine::{
    Engine, Header, NewTopic, Offset, ReadLimit, Record, SentRecord, TopicPartition,
};

use crate::node::{Node, tidings};

const AT_ONCE: ReadLimit = ReadLimit { records: 50_000, bytes: 1 << 20, wait: Duration::ZERO };

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(what)
}

/// `tidings copy` between two directories.
fn copy(from: &Path, to: &Path, more: &[&str]) -> Output {
    let mut all = vec!["copy", "--from", from.to_str().unwrap(), "--to", to.to_str().unwrap()];
    all.extend(more);
    tidings(&all).output().unwrap()
}

/// The answer of one that must succeed.
fn copied(from: &Path, to: &Path, more: &[&str]) -> Value {
    let output = copy(from, to, &[more, &["-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The refusal of one that must fail with this code.
fn refused(from: &Path, to: &Path, more: &[&str], code: i32) -> String {
    let output = copy(from, to, more);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stderr).to_owned()
}

fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> NewTopic {
    let mut topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(name) };
    let said = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    topic.configs.extend(said);
    topic
}

fn record(topic: &str, partition: i32, value: &str) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: Some("k".into()),
        value: Some(value.to_owned().into()),
        ..SentRecord::default()
    }
}

async fn all(engine: &Engine, topic: &str, partition: i32) -> Vec<Record> {
    let mut next = engine.offset(topic, partition, Offset::Earliest).await.unwrap();
    let end = engine.offset(topic, partition, Offset::Latest).await.unwrap();
    let mut records = Vec::new();
    while next < end {
        let read = engine.read(topic, partition, next, AT_ONCE).await.unwrap();
        next = read.next;
        records.extend(read.records);
    }
    records
}

type Content<'r> = (i64, Option<&'r [u8]>, Option<&'r [u8]>, &'r [Header]);

/// Everything of a record but where it is.
fn content(records: &[Record]) -> Vec<Content<'_>> {
    let each = records.iter();
    each.map(|r| (r.timestamp, r.key.as_deref(), r.value.as_deref(), r.headers.as_slice()))
        .collect()
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

/// Runs it on the engine of a directory and closes that.
fn within<T>(dir: &Path, what: impl AsyncFnOnce(&Engine) -> T) -> T {
    block_on(async {
        let engine = Engine::open(dir).await.unwrap();
        let done = what(&engine).await;
        engine.close().await.unwrap();
        done
    })
}

/// Topics of several kinds; `orders-1` with all that a record can have, and with offsets that have holes:
/// markers, and a transaction that was aborted. A group stands at each of its offsets.
async fn fill(engine: &Engine) {
    engine.create_topic(topic("orders", 3, &[("segment.ms", "86400000")])).await.unwrap();
    engine.create_topic(topic("_schemas", 1, &[("cleanup.policy", "compact")])).await.unwrap();
    engine.create_topic(topic("empty", 2, &[])).await.unwrap();
    let producer = engine.producer().await.unwrap();
    let odd = SentRecord {
        key: None,
        value: None,
        timestamp: Some(1_290_000_000_123),
        headers: vec![
            Header::text("a", "ä"),
            Header { name: "a".into(), value: None },
            Header { name: "".into(), value: Some("".into()) },
        ],
        ..record("orders", 1, "")
    };
    let empty = SentRecord { key: Some("".into()), value: Some("".into()), ..odd.clone() };
    producer.send(vec![odd, empty, record("_schemas", 0, "1")]).await.unwrap();
    let transactions = engine.transactional_producer("x", Default::default()).await.unwrap();
    for (n, commits) in [(0, true), (1, false), (2, true), (3, true)] {
        let mut transaction = transactions.begin().await.unwrap();
        let records = (0..3).map(|m| record("orders", 1, &format!("{n}.{m}"))).collect();
        transaction.append(records).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
    }
    let end = engine.offset("orders", 1, Offset::Latest).await.unwrap();
    for offset in 0..=end {
        let said = Some(format!("said {offset}"));
        let group = format!("g{offset:02}");
        engine.reset_group(&group, &[(at("orders", 1), offset, said)]).await.unwrap();
    }
}

async fn config(engine: &Engine, topic: &str, name: &str) -> Option<String> {
    let configs = engine.topic_configs(topic).await.unwrap();
    configs.into_iter().find(|config| config.name == name).and_then(|config| config.value)
}

#[test]
fn everything_of_a_record_is_copied_and_positions_point_to_the_same_records() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let value_at = |records: &[Record], offset: i64| {
        let next = records.iter().find(|record| record.offset >= offset);
        next.map(|record| record.value.clone())
    };
    let source = within(&from, async |engine| {
        fill(engine).await;
        all(engine, "orders", 1).await
    });

    let answer = copied(&from, &to, &[]);
    assert_eq!(answer["verified"], true);
    assert_eq!(answer["configs_left"], json!([]));
    let count = source.len();
    within(&to, async |engine| {
        let target = all(engine, "orders", 1).await;
        assert_eq!(content(&target), content(&source));
        assert_eq!(engine.topic("empty").await.unwrap().partitions.len(), 2);
        assert_eq!(all(engine, "_schemas", 0).await.len(), 1);
        assert_eq!(config(engine, "orders", "segment.ms").await.as_deref(), Some("86400000"));
        assert_eq!(config(engine, "_schemas", "cleanup.policy").await.as_deref(), Some("compact"));
        let end = source.last().unwrap().offset + 2;
        for offset in 0..=end {
            let group = engine.group(&format!("g{offset:02}")).await.unwrap();
            let [held] = group.offsets.as_slice() else { panic!("{group:?}") };
            let committed = held.committed.unwrap();
            assert_eq!(value_at(&target, committed), value_at(&source, offset), "{offset}");
            let before = target.iter().filter(|record| record.offset < committed).count();
            let wanted = source.iter().filter(|record| record.offset < offset).count();
            assert_eq!(before, wanted, "{offset}");
            assert_eq!(held.metadata, Some(format!("said {offset}")));
            assert!(before < count || held.lag == 0, "{held:?}");
        }
    });

    // Again: there is nothing to do, and nothing is done.
    let answer = copied(&from, &to, &[]);
    let records: u64 =
        answer["copied"].as_array().unwrap().iter().map(|p| p["records"].as_u64().unwrap()).sum();
    assert_eq!(records, 0);
    for group in answer["groups"].as_array().unwrap() {
        assert_eq!((&group["set"], &group["same"]), (&json!(0), &json!(1)), "{group}");
    }
    let answer = copied(&from, &to, &["--verify-only"]);
    assert_eq!(answer["verified"], true);
}

#[test]
fn what_came_since_is_brought_by_the_next_run_and_positions_follow() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let committed = |dir: &Path, group: &str| {
        within(dir, async |engine| engine.group(group).await.unwrap().offsets[0].committed.unwrap())
    };
    within(&from, async |engine| {
        engine.create_topic(topic("orders", 1, &[])).await.unwrap();
        engine.producer().await.unwrap().send(vec![record("orders", 0, "1")]).await.unwrap();
        engine.reset_group("g", &[(at("orders", 0), 1, None)]).await.unwrap();
    });
    copied(&from, &to, &[]);
    // Behind the marker, before whatever comes.
    assert_eq!(committed(&to, "g"), 2);
    within(&from, async |engine| {
        engine.grow_topic("orders", 2).await.unwrap();
        let more =
            vec![record("orders", 0, "2"), record("orders", 0, "3"), record("orders", 1, "4")];
        engine.producer().await.unwrap().send(more).await.unwrap();
        engine.reset_group("g", &[(at("orders", 0), 2, None)]).await.unwrap();
        engine.create_topic(topic("later", 1, &[])).await.unwrap();
    });
    let names = copy(&from, &to, &["--dry-run", "-o", "name"]);
    let plan = copied(&from, &to, &["--dry-run"]);
    let planned = plan["plan"].as_array().unwrap().iter().map(|topic| topic["topic"].as_str());
    let planned: Vec<_> = planned.map(Option::unwrap).collect();
    assert_eq!(text(&names.stdout).lines().collect::<Vec<_>>(), planned);
    let of_orders = plan["plan"].as_array().unwrap().iter().find(|t| t["topic"] == "orders");
    assert_eq!(
        of_orders.unwrap()["partitions"],
        json!([
            {"partition": 0, "from_offset": 1, "end_offset": 3},
            {"partition": 1, "from_offset": 0, "end_offset": 1},
        ])
    );
    copied(&from, &to, &[]);
    within(&to, async |engine| {
        let values = |records: &[Record]| {
            let values = records.iter().map(|r| text(r.value.as_ref().unwrap()).to_owned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(values(&all(engine, "orders", 0).await), ["1", "2", "3"]);
        assert_eq!(values(&all(engine, "orders", 1).await), ["4"]);
        assert!(engine.topic("later").await.is_ok());
    });
    // At the third record.
    assert_eq!(committed(&to, "g"), 3);
}

#[test]
fn what_would_not_be_a_copy_is_refused_before_anything_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    within(&from, async |engine| {
        for name in ["a", "b"] {
            engine.create_topic(topic(name, 2, &[])).await.unwrap();
            engine.producer().await.unwrap().send(vec![record(name, 1, "1")]).await.unwrap();
        }
    });
    within(&to, async |engine| {
        engine.create_topic(topic("b", 2, &[])).await.unwrap();
        engine.producer().await.unwrap().send(vec![record("b", 1, "mine")]).await.unwrap();
    });
    let said = refused(&from, &to, &[], 4);
    assert!(
        said.starts_with("error: b-1 has other records at the target\nwhy:   the one at offset 0")
    );
    within(&to, async |engine| assert!(engine.topic("a").await.is_err()));

    // As it says, without that topic; then with it, once it is gone there.
    copied(&from, &to, &["--topic", "a"]);
    within(&to, async |engine| engine.delete_topic("b").await.unwrap());
    copied(&from, &to, &[]);

    // Somebody writes to the target.
    within(&to, async |engine| {
        engine.producer().await.unwrap().send(vec![record("a", 1, "new")]).await.unwrap();
    });
    assert!(
        refused(&from, &to, &[], 4).starts_with("error: a-1 has other records at the target\n")
    );

    // Deleted at the target, a topic is copied from its beginning; made anew it is not what was copied to.
    within(&to, async |engine| {
        engine.delete_topic("a").await.unwrap();
        engine.create_topic(topic("a", 2, &[])).await.unwrap();
    });
    assert!(
        refused(&from, &to, &[], 4).starts_with("error: a is not the topic that was copied to\n")
    );
    within(&to, async |engine| engine.delete_topic("a").await.unwrap());
    copied(&from, &to, &[]);
    within(&to, async |engine| assert_eq!(all(engine, "a", 1).await.len(), 1));

    within(&to, async |engine| {
        engine.delete_topic("b").await.unwrap();
        engine.create_topic(topic("b", 3, &[])).await.unwrap();
    });
    assert!(
        refused(&from, &to, &[], 4).starts_with("error: b has more partitions at the target\n")
    );
    within(&from, async |engine| {
        engine.delete_topic("a").await.unwrap();
        engine.create_topic(topic("a", 2, &[])).await.unwrap();
    });
    let said = refused(&from, &to, &["--topic", "a"], 4);
    assert!(said.starts_with("error: a-1 is not what it was when it was copied\n"), "{said}");
}

#[test]
fn places_that_are_none_are_refused_with_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    assert!(refused(&from, &to, &[], 3).starts_with("error: there is no "));
    std::fs::create_dir(&from).unwrap();
    assert!(refused(&from, &to, &[], 3).contains(" is no data directory\n"));
    let node = Node::start(&from);
    let said = refused(&from, &to, &[], 4);
    let holder = format!("why:   process {} (tidings) has it open\n", node.pid());
    assert!(said.contains(&holder) && said.contains("kafka://127.0.0.1:9092"), "{said}");
    let url = format!("kafka://{}", node.kafka);
    let output = tidings(&["copy", "--from", &url, "--to", to.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("error: the source has no topics\n"));
    assert_eq!(node.stop().status.code(), Some(0));
    assert!(
        refused(&from, &from, &[], 2).starts_with("error: source and target are the same log\n")
    );
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert!(refused(&from, dir.path(), &[], 4).contains(" holds something else\n"));
    within(&from, async |engine| engine.create_topic(topic("t", 1, &[])).await.unwrap());
    assert!(refused(&from, &to, &["--topic", "u*"], 3).contains("the source has no topic u*\n"));
    assert!(
        refused(&from, &from.join("new"), &["--verify-only"], 3).starts_with("error: there is no")
    );
    within(&to, async |_| {});
    assert!(refused(&from, &to, &["--verify-only"], 3).contains("has been copied"));
    assert!(
        refused(&from, &to, &["--verify-only", "--dry-run"], 2).contains("cannot be used with")
    );
}

#[test]
fn a_difference_is_told_and_is_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let id = within(&from, async |engine| {
        engine.create_topic(topic("t", 1, &[])).await.unwrap();
        let records = vec![record("t", 0, "1"), record("t", 0, "2"), record("t", 0, "3")];
        engine.producer().await.unwrap().send(records).await.unwrap();
        engine.cluster().await.unwrap().id
    });
    within(&to, async |engine| {
        let notes = format!("tidings.copy.{id}");
        engine.create_topic(topic("t", 1, &[])).await.unwrap();
        engine.create_topic(topic(&notes, 1, &[])).await.unwrap();
        let sent = all_of(&["1", "x"]);
        let note =
            json!({"step": {"topic": "t", "partition": 0, "source": [0, 3], "target": [0, 3]}});
        let note = record(&notes, 0, &note.to_string());
        engine.producer().await.unwrap().send([sent, vec![note]].concat()).await.unwrap();
    });
    let output = copy(&from, &to, &["--verify-only"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    for wanted in [
        "  3 DIFFER\n",
        "\nt-0: source offset 0 is not target offset 0\n",
        "\nt-0: source offset 2: not at target offset 2\n1 of 1 partitions differ\n",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}

/// Records of `t` with a time of their own, so that none is as the source has it.
fn all_of(values: &[&str]) -> Vec<SentRecord> {
    let records = values.iter().map(|value| record("t", 0, value));
    records.map(|record| SentRecord { timestamp: Some(1), ..record }).collect()
}

const RECORDS: usize = 200_000;
const PARTITIONS: i32 = 4;

/// Kills at moments that a generator with this seed chooses.
#[test]
fn a_copy_that_is_killed_again_and_again_loses_nothing_and_copies_nothing_twice() {
    const SEED: u64 = 7;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    within(&from, async |engine| {
        engine.create_topic(topic("t", PARTITIONS, &[])).await.unwrap();
        let producer = engine.producer().await.unwrap();
        for chunk in 0..20 {
            let numbers = (chunk * RECORDS / 20)..((chunk + 1) * RECORDS / 20);
            let partition = |n: usize| i32::try_from(n % 4).unwrap();
            let records = numbers.map(|n| record("t", partition(n), &n.to_string()));
            producer.send(records.collect()).await.unwrap();
        }
    });
    let (mut random, mut kills) = (SEED, 0);
    let arguments = ["copy", "--from", from.to_str().unwrap(), "--to", to.to_str().unwrap()];
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let patience = Duration::from_millis(20 + (random >> 33) % 400 * (1 + kills / 10));
        let mut child = tidings(&arguments);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + patience;
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::yield_now(),
            }
        };
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(0), "after {kills} kills");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    let source = within(&from, async |engine| everything(engine).await);
    let target = within(&to, async |engine| everything(engine).await);
    assert_eq!(source.values().map(Vec::len).sum::<usize>(), RECORDS);
    for (partition, records) in &source {
        let same = content(records) == content(&target[partition]);
        assert!(same, "partition {partition} after {kills} kills");
    }
}

async fn everything(engine: &Engine) -> BTreeMap<i32, Vec<Record>> {
    let mut records = BTreeMap::new();
    for partition in 0..PARTITIONS {
        records.insert(partition, all(engine, "t", partition).await);
    }
    records
}

#[test]
fn of_two_copies_at_once_one_is_fenced_and_the_next_run_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let (source, target) = (Node::start(&from), Node::start(&to));
    let (source_url, target_url) =
        (format!("kafka://{}", source.kafka), format!("kafka://{}", target.kafka));
    block_on(async {
        let engine = Engine::connect(&source_url).await.unwrap();
        engine.create_topic(topic("t", PARTITIONS, &[])).await.unwrap();
        let producer = engine.producer().await.unwrap();
        for n in 0..10 {
            let partition = |m: usize| i32::try_from(m % 4).unwrap();
            let records = (0..10_000).map(|m| record("t", partition(m), &format!("{n}.{m}")));
            producer.send(records.collect()).await.unwrap();
        }
    });
    let arguments = ["copy", "--from", &source_url, "--to", &target_url];
    let both = [0, 1].map(|_| {
        let mut command = tidings(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in both {
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => {}
            Some(4) => {
                let said = text(&output.stderr);
                assert!(said.contains("fenced") && said.contains("another copy"), "{said}");
            }
            other => panic!("{other:?} {}", text(&output.stderr)),
        }
    }
    let last = tidings(&arguments).output().unwrap();
    assert_eq!(last.status.code(), Some(0), "{}{}", text(&last.stdout), text(&last.stderr));
    let (source, target) = block_on(async {
        let engines = (Engine::connect(&source_url).await, Engine::connect(&target_url).await);
        (everything(&engines.0.unwrap()).await, everything(&engines.1.unwrap()).await)
    });
    for (partition, records) in &source {
        assert!(content(records) == content(&target[partition]), "partition {partition}");
    }
}
