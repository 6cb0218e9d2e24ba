//! The embedded engine beside other clients of its node: their batches, their group members.

use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{Engine, NewTopic, Polled, ReadLimit, SubscribeOptions, TopicPartition};
use tidings_node::broker::log::{BatchBuilder, Compression};
use tidings_node::broker::{Acks, JoinGroup, LeaveGroup, Produce, ProducePartition, SyncGroup};
use tidings_node::{MemoryDisk, NewRecord, Node, NodeConfig};

/// Far beyond what any of these takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("done before the deadline")
}

async fn engine(partitions: i32) -> (Node, Engine) {
    let disk = std::sync::Arc::new(MemoryDisk::default());
    let (node, _) = Node::start(disk, NodeConfig::in_memory()).unwrap();
    let engine = Engine::embedded(node.clone());
    let topic = NewTopic { name: "t".into(), partitions: Some(partitions), configs: vec![] };
    engine.create_topic(topic).await.unwrap();
    (node, engine)
}

#[tokio::test]
async fn batches_of_every_codec_are_read() {
    let (node, engine) = engine(1).await;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let value = |codec| format!("{codec:?} ").repeat(200);
    for codec in codecs {
        let mut builder = BatchBuilder::new().compression(codec);
        for _ in 0..2 {
            let value = Some(Bytes::from(value(codec)));
            builder.push(&NewRecord { timestamp: 1, value, ..NewRecord::default() });
        }
        let batch = builder.build().bytes().clone();
        let partition = ProducePartition { topic: "t".into(), partition: 0, batch };
        let (acks, partitions) = (Acks::Durable, vec![partition]);
        let produce = Produce { acks, transaction: None, zstd_allowed: true, partitions };
        within(node.call(produce)).await.unwrap().remove(0).outcome.unwrap();
    }
    // From the second record on, so inside a compressed batch.
    let limit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };
    let read = engine.read("t", 0, 1, limit).await.unwrap();
    let values = read.records.iter().map(|record| record.value.clone().unwrap());
    let expected = codecs.iter().flat_map(|codec| [value(*codec), value(*codec)]).skip(1);
    assert_eq!(values.collect::<Vec<_>>(), expected.map(Bytes::from).collect::<Vec<_>>());
    engine.close().await.unwrap();
}

/// Joins as kafka-python does: version 0 of the subscription, two assignors.
fn foreign_join() -> JoinGroup {
    let subscription = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
    JoinGroup {
        group: "g".into(),
        member_id: String::new(),
        instance_id: None,
        client_id: "kafka-python".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![
            ("range".into(), subscription.clone()),
            ("roundrobin".into(), subscription),
        ],
        require_known_member_id: false,
        can_skip_assignment: false,
    }
}

#[tokio::test]
async fn a_foreign_member_shares_the_group() {
    let (node, engine) = engine(4).await;
    let options = SubscribeOptions::default();
    let mut ours = engine.subscribe("g", &["t".to_owned()], options).await.unwrap();
    let at = |partition| TopicPartition { topic: "t".into(), partition };
    let mut assigned = async || loop {
        if let Polled::Assigned(given) = within(ours.poll(1, DEADLINE)).await.unwrap() {
            return given.into_iter().map(|(at, ..)| at).collect::<Vec<_>>();
        }
    };
    assert_eq!(assigned().await, [0, 1, 2, 3].map(at));

    let joining = node.submit(foreign_join()).await.unwrap();
    let (joined, second) = tokio::join!(
        async {
            let joined = within(joining).await.unwrap().unwrap();
            let sync = SyncGroup {
                group: "g".into(),
                generation: joined.generation,
                member_id: joined.member_id.clone(),
                instance_id: None,
                protocol_type: None,
                protocol: None,
                assignments: Vec::new(),
            };
            (within(node.call(sync)).await.unwrap().unwrap(), joined)
        },
        assigned()
    );
    let (synced, joined) = joined;
    assert_eq!(joined.protocol, "range");
    // Members are sorted by id, which begins with the client's: kafka-python before tidings.
    let first_half: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
    assert_eq!(synced.assignment, first_half);
    assert_eq!(second, [2, 3].map(at));

    let described = engine.group("g").await.unwrap();
    let foreign = described.members.iter().find(|m| m.client_id == "kafka-python").unwrap();
    assert_eq!(foreign.assignment, [0, 1].map(at));

    let leave = LeaveGroup { group: "g".into(), members: vec![(joined.member_id, None)] };
    within(node.call(leave)).await.unwrap().unwrap();
    assert_eq!(assigned().await, [0, 1, 2, 3].map(at));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_member_that_does_not_poll_stays_one() {
    let (node, engine) = engine(1).await;
    let options = SubscribeOptions::default();
    let mut member = engine.subscribe("g", &["t".to_owned()], options).await.unwrap();
    let assigned = within(member.poll(1, DEADLINE)).await.unwrap();
    assert!(matches!(assigned, Polled::Assigned(_)), "{assigned:?}");
    // Nobody else asks anything of this node, so what it counts are the member's heartbeats.
    let before = node.figures().requests;
    let beating = async {
        while node.figures().requests < before + 4 {
            tokio::task::yield_now().await;
        }
    };
    within(beating).await;
    assert_eq!(engine.group("g").await.unwrap().state, "Stable");
    member.close().await.unwrap();
    assert_eq!(engine.group("g").await.unwrap().members.len(), 0);
    engine.close().await.unwrap();
}
