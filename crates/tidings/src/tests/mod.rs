//! Services on the in-memory engine: what they promise, also when they crash.

mod crashes;
mod delivery;
mod failures;
mod instances;
mod keyed;
mod limits;
mod metrics;
mod order;
mod seeded;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "disk")]
mod standby;
mod state;
mod wiring;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_engine::{Engine, NewTopic, Offset, ReadLimit, Record};

pub(crate) use seeded::Seeded;

use crate::{
    Backoff, BreakerOptions, DeadLetter, Event, Figures, Id, Outgoing, Publisher, Running,
};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "payments", key = "order")]
struct PaymentCompleted {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "shipments", key = "order")]
struct Shipped {
    order: String,
}

const SOON: Duration = Duration::from_secs(30);

/// Tries three times, quickly.
const QUICK: Backoff =
    Backoff { first: Duration::from_millis(1), max: Duration::from_millis(4), attempts: 3 };

/// Asks often whether an outage is over.
const QUICK_PROBES: BreakerOptions = BreakerOptions { keys: 5, probe: QUICK };

async fn engine(partitions: i32) -> Engine {
    let engine = Engine::in_memory().await.expect("an engine");
    for name in ["orders", "payments", "shipments"] {
        let topic =
            NewTopic { name: name.into(), partitions: Some(partitions), configs: Vec::new() };
        engine.create_topic(topic).await.expect("a topic");
    }
    engine
}

async fn till(engine: &Engine) -> Publisher {
    Publisher::open(engine, "till").await.expect("a publisher")
}

fn order(order: &str) -> OrderPlaced {
    OrderPlaced { order: order.into(), pence: i64::try_from(order.len()).expect("short") }
}

/// An order whose event has an id of its own.
fn placed(name: &str) -> Outgoing {
    Outgoing::new(&order(name)).id(order_id(name))
}

fn order_id(name: &str) -> Id {
    Id::derived(&["order", name])
}

async fn place(engine: &Engine, orders: &[&str]) {
    let events = orders.iter().map(|name| placed(name)).collect();
    till(engine).await.publish(events).await.expect("published");
}

/// Waits for figures, but not for ever.
async fn until(running: &Running, wanted: impl FnMut(&Figures) -> bool) -> Figures {
    let waited = tokio::time::timeout(SOON, running.until(wanted)).await;
    waited.unwrap_or_else(|_| panic!("still {:?}", running.figures()))
}

/// Waits for a condition outside the figures.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("in time");
}

/// Every record of a topic, in order per partition.
async fn records(engine: &Engine, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for partition in engine.topic(topic).await.expect("a topic").partitions {
        let end = engine.offset(topic, partition.id, Offset::Latest).await.expect("an end");
        let mut next = partition.start_offset;
        while next < end {
            let limit = ReadLimit { records: 1000, bytes: 1 << 20, wait: Duration::ZERO };
            let read = engine.read(topic, partition.id, next, limit).await.expect("a read");
            assert!(read.next > next, "{topic} stands still at {next} of {end}");
            next = read.next;
            records.extend(read.records);
        }
    }
    records
}

/// How often each id is in a topic.
async fn ids(engine: &Engine, topic: &str) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    for record in records(engine, topic).await {
        *ids.entry(record.header("ce_id").expect("an id").to_owned()).or_default() += 1;
    }
    ids
}

async fn dead_letters(engine: &Engine, service: &str) -> Vec<DeadLetter> {
    let records = records(engine, &format!("{service}.dead")).await;
    records.iter().map(|r| DeadLetter::from_record(r).expect("a letter")).collect()
}

/// The group has committed every order there is.
async fn all_committed(engine: &Engine, group: &str) -> bool {
    let orders = engine.topic("orders").await.expect("a topic").partitions;
    let committed = engine.group(group).await.expect("a group").offsets;
    orders.iter().filter(|partition| partition.end_offset > 0).all(|partition| {
        let end = Some(partition.end_offset);
        committed
            .iter()
            .any(|o| (o.topic.as_str(), o.partition, o.committed) == ("orders", partition.id, end))
    })
}

/// Puts a group without members back to the beginning: everything is delivered again.
async fn deliver_again(engine: &Engine, group: &str) {
    let offsets = engine.group(group).await.expect("a group").offsets;
    let beginning: Vec<_> = offsets
        .into_iter()
        .map(|o| {
            let at = tidings_engine::TopicPartition { topic: o.topic, partition: o.partition };
            (at, 0, None)
        })
        .collect();
    assert!(!beginning.is_empty(), "{group} has committed nothing");
    engine.reset_group(group, &beginning).await.expect("reset");
}
