//! What the embedded engine does on the same file system. Every append is awaited until durable.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tidings_engine::{Engine, NewTopic, Producer, ReadLimit, SentRecord};
use tokio::task::JoinSet;

use crate::measured::{Heading, Limit, Measured};
use crate::physical;
use crate::suite::Round;

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

const LOADS: [Load; 6] = [
    Load { topic: "one", clients: 1, count: 1, size: 100 },
    Load { topic: "many", clients: 64, count: 1, size: 100 },
    Load { topic: "crowd", clients: 512, count: 1, size: 100 },
    Load { topic: "batches", clients: 1, count: 100, size: 1000 },
    Load { topic: VOLATILE, clients: 64, count: 100, size: 1000 },
    Load { topic: AS_VOLATILE, clients: 64, count: 100, size: 1000 },
];
/// The topic whose appends wait for no disk, and the one with the same load that is compared with it.
const VOLATILE: &str = "volatile";
const AS_VOLATILE: &str = "overlapping";
const DURABILITY_OFF: &str = ", durability off";
/// Of each topic. Clients take them in turn.
const PARTITIONS: i32 = 4;

const SMALL_SYNCS: &str = "raw: 4 KiB write + fdatasync, growing";
const LARGE_SYNCS: &str = "raw: 64 KiB write + fdatasync, growing";
const CACHED_READS: &str = "raw: 1 MiB reads, in the page cache";

/// Every load, and the last one's records read back.
pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let (dir, span) = (round.dir.clone(), round.span);
    let path = dir.join("growing");
    round.put(Heading::plain(SMALL_SYNCS), physical::synced_writes(&path, 4 << 10, span)?);
    round.put(Heading::plain(LARGE_SYNCS), physical::synced_writes(&path, 64 << 10, span)?);
    round.put(Heading::plain(CACHED_READS), physical::cached_reads(&path, Some(span))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = Engine::open(dir.join("engine")).await?;
        for load in LOADS {
            let partitions = Some(PARTITIONS);
            let topic =
                NewTopic { name: load.topic.to_owned(), partitions, configs: load.configs() };
            engine.create_topic(topic).await?;
            round.put(load.heading(), append(&engine, load, span).await?);
        }
        let read = read_back(&engine, LOADS[LOADS.len() - 1].topic, span).await?;
        let limit = Limit::Bytes(CACHED_READS.to_owned());
        round.put(Heading::against("read 1 KB records back", limit, ""), read);
        Ok(engine.close().await?)
    })
}

impl Load {
    fn configs(self) -> Vec<(String, String)> {
        let volatile = ("tidings.durability".to_owned(), "memory".to_owned());
        if self.topic == VOLATILE { vec![volatile] } else { Vec::new() }
    }

    fn heading(self) -> Heading {
        let Self { topic, clients, count, size } = self;
        let name = format!("append {count} x {size} B, {clients} clients");
        match topic {
            VOLATILE => Heading::plain(name + DURABILITY_OFF),
            AS_VOLATILE => {
                let limit = Limit::Bytes(name.clone() + DURABILITY_OFF);
                Heading::against(name, limit, ">= 90 %")
            }
            _ if count == 1 => {
                Heading::against(name, Limit::Operations(SMALL_SYNCS.to_owned()), "")
            }
            _ => Heading::against(name, Limit::Bytes(LARGE_SYNCS.to_owned()), ""),
        }
    }
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
