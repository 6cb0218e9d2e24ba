//! The month on the embedded engine, in memory: it adds up, and running it again changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tidings_engine::{Engine, NewTopic, ReadLimit, SentRecord};
use tidings_node::{MemoryDisk, Node, NodeConfig};
use tidings_shop::{Options, Reconciliation, Shop, Speed};

async fn run(engine: &Engine) -> Reconciliation {
    let mut shop = Shop::start(engine, Options { speed: Speed::Max }).await.unwrap();
    let reconciliation = shop.until_done().await.unwrap();
    shop.stop().await.unwrap();
    reconciliation
}

/// Where topics end; reports say how services do and not what happens.
async fn ends(engine: &Engine) -> Vec<(String, i64)> {
    let topics = engine.topics().await.unwrap();
    topics
        .into_iter()
        .filter(|t| !t.internal && t.name != tidings::REPORTS_TOPIC)
        .map(|t| (t.name, t.partitions.iter().map(|p| p.end_offset).sum()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_month_reconciles_and_a_second_start_changes_nothing() {
    let engine = Engine::in_memory().await.unwrap();
    let first = run(&engine).await;
    assert_eq!(first.problems, Vec::<String>::new());
    assert!(first.reconciled);
    assert_eq!(first.charged_pence, first.chargeable_pence);
    assert!(first.out_of_stock > 0 && first.units_returned > 0, "{first:?}");
    assert_eq!(first.units_left, first.units_open - first.units_shipped + first.units_returned);
    let before = ends(&engine).await;
    let second = run(&engine).await;
    assert_eq!(Reconciliation { seconds: 0.0, ..second }, Reconciliation { seconds: 0.0, ..first });
    assert_eq!(ends(&engine).await, before);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_stopped_in_the_middle_goes_on_where_it_was() {
    let engine = Engine::in_memory().await.unwrap();
    for _ in 0..3 {
        let mut shop = Shop::start(&engine, Options { speed: Speed::Max }).await.unwrap();
        let before: i64 = ends(&engine).await.iter().map(|(_, end)| end).sum();
        tokio::select! {
            _ = shop.until_done() => {}
            () = grown_by(&engine, before, 2_000) => {}
        }
        shop.stop().await.unwrap();
    }
    let last = run(&engine).await;
    assert_eq!(last.problems, Vec::<String>::new());
    assert!(last.reconciled);
    engine.close().await.unwrap();
}

async fn grown_by(engine: &Engine, before: i64, records: i64) {
    while ends(engine).await.iter().map(|(_, end)| end).sum::<i64>() < before + records {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_only_delays_the_month() {
    let disk = MemoryDisk::new();
    let config = NodeConfig::default();
    disk.set_capacity(config.disk_reserve_bytes + (2 << 20));
    let (node, _) = Node::start(Arc::new(disk.clone()), config).unwrap();
    let engine = Engine::embedded(node);
    let mut shop = Shop::start(&engine, Options { speed: Speed::Max }).await.unwrap();
    refused(&engine).await;
    disk.set_capacity(1 << 30);
    let reconciliation = shop.until_done().await.unwrap();
    assert_eq!(reconciliation.problems, Vec::<String>::new());
    assert!(reconciliation.reconciled);
    shop.stop().await.unwrap();
    engine.close().await.unwrap();
}

/// Waits until the log takes no more records.
async fn refused(engine: &Engine) {
    let producer = engine.producer().await.unwrap();
    let record = SentRecord { topic: "elsewhere".into(), ..SentRecord::default() };
    let elsewhere = NewTopic { name: record.topic.to_string(), ..NewTopic::default() };
    engine.create_topic(elsewhere).await.unwrap();
    while producer.send(vec![record.clone()]).await.is_ok() {}
}

/// The positive control: an audit that never fails proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_there_twice_is_found() {
    let engine = Engine::in_memory().await.unwrap();
    assert!(run(&engine).await.reconciled);
    for (topic, problem) in [
        ("shop.shipping", "reserved 1 times, shipped 2 times"),
        ("shop.payments", "is 2 times in shop.payments"),
        ("shop.invoices", "messages: 3114 where 3113 is right"),
        ("order.dead", "is there 2 times"),
    ] {
        copy_first_record(&engine, topic).await;
        let found = run(&engine).await;
        assert!(!found.reconciled, "{topic}");
        let named = found.problems.iter().any(|p| p.contains(problem));
        assert!(named, "{topic}: {:#?}", found.problems);
    }
    engine.close().await.unwrap();
}

async fn copy_first_record(engine: &Engine, topic: &str) {
    let limit = ReadLimit { records: 1, bytes: 1, wait: Duration::ZERO };
    for partition in engine.topic(topic).await.unwrap().partitions {
        let read = engine.read(topic, partition.id, 0, limit).await.unwrap();
        let Some(record) = read.records.into_iter().next() else { continue };
        let copy = SentRecord {
            topic: record.topic.to_string(),
            partition: Some(record.partition),
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp: None,
        };
        engine.producer().await.unwrap().send(vec![copy]).await.unwrap();
        return;
    }
    panic!("{topic} is empty");
}
