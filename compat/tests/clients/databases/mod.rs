//! Outbox and inbox in real servers: the same scenarios for each database, and `kill -9` of all that uses it.

mod gone;
mod kill;
mod mariadb;
mod outbox;
mod postgres;
mod server;
mod sql;
mod sqlite;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings::{Event, Figures, Relay, Relayed, Running};
use tidings_engine::{Engine, NewTopic, Offset, ReadLimit, Record};

/// For whatever is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "sales", key = "till")]
struct Sale {
    till: String,
    n: i64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "booked", key = "till")]
struct Booked {
    till: String,
    n: i64,
}

/// An engine in memory with a topic of two partitions.
async fn engine() -> Engine {
    let engine = Engine::in_memory().await.expect("an engine");
    let topic = NewTopic { partitions: Some(2), ..NewTopic::kept("sales") };
    engine.create_topic(topic).await.expect("a topic");
    engine
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

/// The events of a topic, in order per partition.
async fn events<E: Event>(engine: &Engine, topic: &str) -> Vec<E> {
    let records = records(engine, topic).await;
    let event = |record| tidings::decode::<E>(record).expect("an event").into_event();
    records.iter().map(event).collect()
}

async fn relayed(relay: &Relay, wanted: impl FnMut(&Relayed) -> bool) -> Relayed {
    let waited = tokio::time::timeout(PATIENCE, relay.until(wanted)).await;
    waited.unwrap_or_else(|_| panic!("still {:?}", relay.figures()))
}

async fn until(running: &Running, wanted: impl FnMut(&Figures) -> bool) -> Figures {
    let waited = tokio::time::timeout(PATIENCE, running.until(wanted)).await;
    waited.unwrap_or_else(|_| panic!("still {:?}", running.figures()))
}

/// Looks until it is so.
async fn eventually(mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < PATIENCE, "it never was so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
