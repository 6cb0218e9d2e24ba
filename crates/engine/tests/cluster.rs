//! The engine of a cluster where the cluster is not what it should be: away, back again, refusing.
#![cfg(feature = "kafka")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{
    ConnectTrouble, Engine, Error, NewTopic, Polled, ReadLimit, Recourse, SentRecord,
    SubscribeOptions,
};
use tidings_node::{MemoryDisk, Node, NodeConfig};
use tidings_server::{Server, ServerConfig};
use tokio::net::TcpListener;

/// Far beyond what any of these takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(120);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("done before the deadline")
}

fn node() -> Node {
    let disk = Arc::new(MemoryDisk::default());
    Node::start(disk, NodeConfig::in_memory()).expect("a node in memory").0
}

/// The node behind this port, or any.
async fn serve(node: &Node, port: u16) -> (Server, u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    let port = listener.local_addr().expect("an address").port();
    let config = ServerConfig::new(("127.0.0.1".to_owned(), port));
    let server = tidings_server::start(node.clone(), vec![listener], config).await;
    (server.expect("a server"), port)
}

fn record(value: &str) -> SentRecord {
    SentRecord {
        topic: "t".into(),
        partition: Some(0),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..SentRecord::default()
    }
}

async fn refused(url: &str) -> Error {
    within(Engine::connect(url)).await.expect_err("nobody can be connected to there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_is_named_with_the_reason() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let address = format!("127.0.0.1:{closed}");
    let error = refused(&format!("kafka://{address}?connect_timeout=3s")).await;
    let Error::Connect { address: named, trouble: ConnectTrouble::Unreachable(why) } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(named, &address);
    assert!(why.contains("Connection refused"), "{why}");
    assert!(error.to_string().contains("check the address"), "{error}");
    assert_eq!(error.recourse(), Recourse::Retry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_passwords_denies_one() {
    let node = node();
    let (server, port) = serve(&node, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let url =
        format!("kafka://127.0.0.1:{port}?sasl=plain&user=me&password_file={}", password.display());
    let error = refused(&url).await;
    let denied = matches!(&error, Error::Connect { trouble: ConnectTrouble::Denied(_), .. });
    assert!(denied, "{error:?}");
    assert_eq!(error.recourse(), Recourse::Fatal);
    for shown in [format!("{error:?}"), error.to_string()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    server.stop().await;
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_build_without_tls_says_so() {
    for query in ["tls=true", "ca=/etc/ssl/ca.pem", "sasl=scram-sha-256&user=me&password_env=HOME"]
    {
        let error = refused(&format!("kafka://127.0.0.1:1?{query}")).await;
        let Error::Invalid(why) = &error else { panic!("{error:?}") };
        assert!(why.contains("feature `tls`"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_when_the_cluster_is_back() {
    let node = node();
    let (server, port) = serve(&node, 0).await;
    let engine = Engine::connect(&format!("kafka://127.0.0.1:{port}")).await.unwrap();
    let shown = format!("{engine:?}");
    assert!(shown.contains(&port.to_string()), "{shown}");
    engine.create_topic(NewTopic { partitions: Some(1), ..NewTopic::kept("t") }).await.unwrap();
    let producer = engine.producer().await.unwrap();
    let topics = ["t".to_owned()];
    let mut member = engine.subscribe("g", &topics, SubscribeOptions::default()).await.unwrap();
    let assigned = within(member.poll(1, DEADLINE)).await.unwrap();
    assert!(matches!(assigned, Polled::Assigned(_)), "{assigned:?}");
    producer.send(vec![record("before")]).await.unwrap();

    server.stop().await;
    // Sent while nobody is there, and answered when somebody is again.
    let away = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(vec![record("away")]).await }
    });
    let (server, _) = serve(&node, port).await;
    assert_eq!(within(away).await.unwrap().unwrap()[0].offset, 1);
    within(producer.send(vec![record("after")])).await.unwrap();
    let limit = ReadLimit { records: 10, bytes: 1 << 20, wait: Duration::ZERO };
    let read = within(engine.read("t", 0, 0, limit)).await.unwrap();
    assert_eq!(read.records.len(), 3, "none twice");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match within(member.poll(10, Duration::from_secs(1))).await.unwrap() {
            Polled::Records(records) => seen.extend(records.into_iter().map(|r| r.offset)),
            change => panic!("nobody else is in the group: {change:?}"),
        }
    }
    assert_eq!(seen, [0, 1, 2]);
    member.close().await.unwrap();

    engine.close().await.unwrap();
    let closed = Error::Unavailable("the engine is closed".to_owned());
    assert_eq!(engine.topics().await.unwrap_err(), closed);
    assert_eq!(producer.send(vec![record("late")]).await.unwrap_err(), closed);
    server.stop().await;
    node.stop().await.unwrap();
}

/// librdkafka takes 0 for none, and would write the time of now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_the_client_cannot_say_is_refused_and_not_replaced() {
    let node = node();
    let (_server, port) = serve(&node, 0).await;
    let engine = within(Engine::connect(&format!("kafka://127.0.0.1:{port}"))).await.unwrap();
    let topic = NewTopic { partitions: Some(1), ..NewTopic::kept("t") };
    within(engine.create_topic(topic)).await.unwrap();
    let producer = engine.producer().await.unwrap();
    let at = |timestamp| SentRecord { timestamp: Some(timestamp), ..record("x") };
    let refused = within(producer.send(vec![at(1), at(0)])).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("timestamp 0")), "{refused:?}");
    within(producer.send(vec![at(1)])).await.unwrap();
    let limit = ReadLimit { records: 9, bytes: 1 << 20, wait: Duration::ZERO };
    let read = within(engine.read("t", 0, 0, limit)).await.unwrap();
    assert_eq!(read.records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1]);
}
