//! What the embedded engine does on the same file system. Every append is awaited until durable.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tidings_engine::{Engine, NewTopic, Producer, ReadLimit, SentRecord};
use tokio::task::JoinSet;

use crate::Measured;

/// Most bytes that one measurement appends, whatever the disk could take.
pub(crate) const BYTES_MAX: u64 = 2_000_000_000;

/// Records of `size` bytes, `count` at a time, from `clients` at once.
#[derive(Clone, Copy)]
struct Load {
    topic: &'static str,
    clients: usize,
    count: usize,
    size: usize,
}

const LOADS: [Load; 4] = [
    Load { topic: "one", clients: 1, count: 1, size: 100 },
    Load { topic: "many", clients: 64, count: 1, size: 100 },
    Load { topic: "batches", clients: 1, count: 100, size: 1000 },
    Load { topic: "overlapping", clients: 8, count: 100, size: 1000 },
];
/// Of each topic. Clients take them in turn.
const PARTITIONS: i32 = 4;

/// The four loads, and the last one's records read back.
pub(crate) async fn measure(dir: &Path, span: Duration) -> anyhow::Result<[Measured; 5]> {
    let engine = Engine::open(dir).await?;
    let mut measured = Vec::new();
    for load in LOADS {
        let partitions = Some(PARTITIONS);
        let topic = NewTopic { name: load.topic.to_owned(), partitions, configs: Vec::new() };
        engine.create_topic(topic).await?;
        measured.push(append(&engine, load, span).await?);
    }
    let last = LOADS[LOADS.len() - 1];
    let read = read_back(&engine, last.topic, span).await?;
    engine.close().await?;
    let [one, many, batches, overlapping] = measured[..] else { unreachable!("one per load") };
    Ok([one, many, batches, overlapping, read])
}

async fn append(engine: &Engine, load: Load, span: Duration) -> anyhow::Result<Measured> {
    let mut clients = JoinSet::new();
    let start = Instant::now();
    for partition in (0..PARTITIONS).cycle().take(load.clients) {
        let producer = engine.producer().await?;
        clients.spawn(append_in_turn(producer, load, partition, span));
    }
    let mut latencies = Vec::new();
    while let Some(client) = clients.join_next().await {
        latencies.extend(client??);
    }
    let bytes = (latencies.len() * load.count * load.size) as u64;
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

async fn append_in_turn(
    producer: Producer,
    load: Load,
    partition: i32,
    span: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let record = SentRecord {
        topic: load.topic.to_owned(),
        partition: Some(partition),
        value: Some(vec![0x5a; load.size].into()),
        ..SentRecord::default()
    };
    let sends_max = BYTES_MAX / (load.clients * load.count * load.size) as u64;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < span && (latencies.len() as u64) < sends_max {
        let begun = Instant::now();
        producer.send(vec![record.clone(); load.count]).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

/// Reads the topic's partitions over and over, record by record as a consumer gets them.
async fn read_back(engine: &Engine, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let limit = ReadLimit { records: usize::MAX, bytes: 1024 * 1024, wait: Duration::ZERO };
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    let start = Instant::now();
    'span: loop {
        for partition in 0..PARTITIONS {
            let mut next = 0;
            loop {
                let begun = Instant::now();
                let read = engine.read(topic, partition, next, limit).await?;
                latencies.push(begun.elapsed());
                let values = read.records.iter().filter_map(|record| record.value.as_ref());
                bytes += values.map(|value| value.len() as u64).sum::<u64>();
                next = read.next;
                if start.elapsed() >= span {
                    break 'span;
                }
                if next == read.high_watermark {
                    break;
                }
                ensure!(!read.records.is_empty(), "{topic}-{partition} stops at {next}");
            }
        }
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}
