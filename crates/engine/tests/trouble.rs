//! What an application sees of a disk in trouble.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{
    Engine, Error, NewTopic, Polled, Producer, ReadLimit, SentRecord, SubscribeOptions,
};
use tidings_node::{FaultKind, MemoryDisk, Node, NodeConfig};
use tokio::task::JoinSet;

/// Far beyond what any of these takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(60);
const LIMIT: ReadLimit = ReadLimit { records: 10_000, bytes: 1 << 24, wait: Duration::ZERO };

async fn engine() -> (MemoryDisk, Engine) {
    let disk = MemoryDisk::new();
    let (node, _) = Node::start(Arc::new(disk.clone()), NodeConfig::in_memory()).unwrap();
    let engine = Engine::embedded(node);
    let topic = NewTopic { name: "t".into(), partitions: Some(1), configs: vec![] };
    engine.create_topic(topic).await.unwrap();
    (disk, engine)
}

fn record(value: String) -> SentRecord {
    SentRecord {
        topic: "t".into(),
        partition: Some(0),
        value: Some(Bytes::from(value)),
        ..SentRecord::default()
    }
}

async fn values(engine: &Engine) -> Vec<String> {
    let read = engine.read("t", 0, 0, LIMIT).await.unwrap();
    let values = read.records.into_iter().map(|record| record.value.unwrap().to_vec());
    values.map(|value| String::from_utf8(value).unwrap()).collect()
}

/// Sends numbers one after the other until told to stop; returns what was acknowledged.
async fn send_on(producer: Producer, sender: usize, sends: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0..sends {
        let value = format!("{sender} {n}");
        match producer.send(vec![record(value.clone())]).await {
            Ok(_) => acknowledged.push(value),
            Err(Error::Storage(_) | Error::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_acknowledged_and_keeps_nothing_refused() {
    let (disk, engine) = engine().await;
    let producer = engine.producer().await.unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let producer = producer.clone();
        senders.spawn(async move { (sender, send_on(producer, sender, 300).await) });
    }
    // Space goes and comes back while they send.
    let trouble = async {
        for _ in 0..20 {
            disk.set_capacity(disk.used_bytes() + 500);
            while producer.send(vec![record("probe".into())]).await.is_ok() {}
            disk.set_capacity(u64::MAX);
            while producer.send(vec![record("probe".into())]).await.is_err() {}
        }
    };
    tokio::time::timeout(DEADLINE, trouble).await.unwrap();
    let finished = tokio::time::timeout(DEADLINE, senders.join_all()).await.unwrap();
    let found = values(&engine).await;
    for (sender, acknowledged) in finished {
        let prefix = format!("{sender} ");
        let found: Vec<_> = found.iter().filter(|v| v.starts_with(&prefix)).cloned().collect();
        assert_eq!(found, acknowledged, "sender {sender}");
    }
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_disk_refuses_with_its_reason() {
    let (disk, engine) = engine().await;
    let producer = engine.producer().await.unwrap();
    disk.fail_after(0, FaultKind::Io("broken".into()));
    let refused = producer.send(vec![record("a".into())]).await.unwrap_err();
    let Error::Storage(text) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("the journal failed") && text.contains("broken"), "{text}");
    disk.heal();
    let refused = producer.send(vec![record("b".into())]).await.unwrap_err();
    assert!(matches!(refused, Error::Storage(_)), "{refused:?}");
    assert_eq!(values(&engine).await, Vec::<String>::new());
}

#[tokio::test]
async fn damaged_bytes_are_reported_and_not_served() {
    let (disk, engine) = engine().await;
    let producer = engine.producer().await.unwrap();
    for value in ["first", "second", "third"] {
        producer.send(vec![record(value.into())]).await.unwrap();
    }
    // Into segments, and out of memory.
    engine.close().await.unwrap();
    let (node, _) = Node::start(Arc::new(disk.clone()), NodeConfig::in_memory()).unwrap();
    let engine = Engine::embedded(node);
    let mut files = disk.files().into_iter();
    let log = files.find(|file| file.contains("t-0") && file.ends_with(".log")).unwrap();
    let bytes = disk.read_raw(&log).unwrap();
    let place = bytes.windows(6).position(|window| window == b"second").unwrap();
    assert!(disk.flip_bit(&log, place as u64 * 8));

    let refused = engine.read("t", 0, 1, LIMIT).await.unwrap_err();
    assert!(matches!(&refused, Error::Corrupt(text) if text.contains("t-0")), "{refused:?}");
    let third = engine.read("t", 0, 2, LIMIT).await.unwrap();
    assert_eq!(third.records[0].value.as_deref(), Some(b"third".as_slice()));

    let options = SubscribeOptions::default();
    let mut member = engine.subscribe("g", &["t".to_owned()], options).await.unwrap();
    let mut seen = Vec::new();
    let refused = loop {
        match tokio::time::timeout(DEADLINE, member.poll(10, DEADLINE)).await.unwrap() {
            Ok(Polled::Records(records)) => seen.extend(records),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Corrupt(_)), "{refused:?}");
    assert!(seen.iter().all(|record| record.value.as_deref() == Some(b"first")), "{seen:?}");
    member.close().await.unwrap();
    engine.close().await.unwrap();
}
