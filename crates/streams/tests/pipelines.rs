//! Pipelines on the in-memory engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings::{Either, Error, Event, Figures, Id, Outgoing, Publisher, decode};
use tidings_engine::{Engine, NewTopic, ReadLimit, Record};
use tidings_streams::Topology;

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct Order {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(topic = "large", key = "order")]
struct Large {
    order: String,
    pounds: i64,
}

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(topic = "small", key = "order")]
struct Small {
    order: String,
}

fn large(order: &Order) -> Large {
    Large { order: order.order.clone(), pounds: order.pence / 100 }
}

fn small(order: &Order) -> Small {
    Small { order: order.order.clone() }
}

/// An engine with orders of 100, 200, … pence; the first comes twice.
async fn orders(count: i64) -> Engine {
    let engine = Engine::in_memory().await.expect("an engine");
    for name in ["orders", "large", "small"] {
        let topic = NewTopic { name: name.into(), partitions: Some(1), configs: Vec::new() };
        engine.create_topic(topic).await.expect("a topic");
    }
    let event = |n: i64| {
        let order = Order { order: n.to_string(), pence: n * 100 };
        Outgoing::new(&order).id(Id::derived(&[&order.order]))
    };
    let events = (1..=count).chain([1]).map(event).collect();
    let till = Publisher::open(&engine, "till").await.expect("a publisher");
    till.publish(events).await.expect("published");
    engine
}

/// Runs until every pipeline has seen every order.
async fn run(topology: Topology, engine: &Engine, seen: u64) -> Figures {
    let running = topology.start(engine).await.expect("started");
    let wait = running.until(|f| f.processed + f.duplicates == seen);
    let figures = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time");
    running.stop().await.expect("stopped");
    figures
}

async fn records(engine: &Engine, topic: &str) -> Vec<Record> {
    let limit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };
    engine.read(topic, 0, 0, limit).await.expect("a read").records
}

async fn smalls(engine: &Engine) -> Vec<String> {
    let records = records(engine, "small").await;
    records.iter().map(|r| decode::<Small>(r).expect("decodes").order.clone()).collect()
}

async fn larges(engine: &Engine) -> Vec<i64> {
    let records = records(engine, "large").await;
    records.iter().map(|r| decode::<Large>(r).expect("decodes").pounds).collect()
}

#[tokio::test]
async fn filters_and_maps_apply_in_the_order_of_writing() {
    let engine = orders(6).await;
    let topology = Topology::new("large")
        .stream::<Order>()
        .filter(|order| order.pence > 100)
        .filter(|order| order.pence < 600)
        .map(|order: &Order| order.pence * 10)
        .filter(|pence| *pence != 3_000)
        .map(|pence| Large { order: pence.to_string(), pounds: pence / 100 })
        .to();
    let figures = run(topology, &engine, 7).await;
    assert_eq!((figures.emitted, figures.duplicates), (3, 1));
    assert_eq!(larges(&engine).await, [20, 40, 50]);
}

#[tokio::test]
async fn flat_maps_make_none_or_many() {
    let engine = orders(3).await;
    let topology = Topology::new("pieces")
        .stream::<Order>()
        .flat_map(|order| {
            vec![order.pence / 100; usize::try_from(order.pence / 100 - 1).unwrap_or(0)]
        })
        .flat_map(|n| (0..2).map(|half| format!("{n}.{half}")).collect::<Vec<_>>())
        .map(|piece| Small { order: piece.clone() })
        .to();
    let figures = run(topology, &engine, 4).await;
    assert_eq!(figures.emitted, 6);
    assert_eq!(smalls(&engine).await, ["2.0", "2.1", "3.0", "3.1", "3.0", "3.1"]);
}

#[tokio::test]
async fn a_pipeline_branches_and_pipelines_merge() {
    let engine = orders(4).await;
    let topology = Topology::new("sizes")
        .stream::<Order>()
        .map(|order| match order.pence {
            ..=200 => Either::Left(small(order)),
            _ => Either::Right(large(order)),
        })
        .to()
        .stream::<Order>()
        .filter(|order| order.pence == 400)
        .map(small)
        .to();
    let figures = run(topology, &engine, 10).await;
    assert_eq!((figures.emitted, figures.duplicates), (5, 2));
    assert_eq!(smalls(&engine).await, ["1", "2", "4"]);
    assert_eq!(larges(&engine).await, [3, 4]);
}

#[tokio::test]
async fn outputs_are_known_by_the_pipelines_two_ends_and_number() {
    let engine = orders(1).await;
    let topology = Topology::new("twice")
        .stream::<Order>()
        .map(small)
        .to()
        .stream::<Order>()
        .map(small)
        .to()
        .stream::<Order>()
        .map(small)
        .to_named("third");
    run(topology, &engine, 6).await;
    let records = records(&engine, "small").await;
    let ids: Vec<Id> = records.iter().flat_map(|r| r.header("ce_id")).map(Id::from).collect();
    let input = Id::derived(&["1"]);
    let expected = ["Order->small", "Order->small#2", "third"]
        .map(|name| Id::derived(&[input.as_str(), "twice", name, "0"]));
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_step_that_panics_is_a_failed_attempt() {
    let engine = orders(3).await;
    let topology = Topology::new("fragile")
        .retry(tidings::Backoff { attempts: 1, ..tidings::Backoff::default() })
        .stream::<Order>()
        .map(|order| {
            assert!(order.pence != 200, "not this one");
            small(order)
        })
        .to();
    let figures = run(topology, &engine, 4).await;
    assert_eq!((figures.emitted, figures.dead, figures.panics), (2, 1, 1));
    assert_eq!(smalls(&engine).await, ["1", "3"]);
}

#[tokio::test]
async fn a_topology_without_pipelines_does_not_start() {
    let engine = Engine::in_memory().await.expect("an engine");
    let error = Topology::new("empty").start(&engine).await.map(|_| ()).expect_err("refused");
    let problem = "no handler: write .on(handler)".into();
    assert_eq!(error, Error::Wiring { service: "empty".into(), problem });
}
