//! What the seam costs: the embedded engine beside calls to its node, and the engine of a cluster beside librdkafka
//! with the same settings, against the same node's Kafka port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tidings_engine::{Engine, NewTopic, Polled, ReadLimit, SentRecord, SubscribeOptions};
use tidings_node::broker::{
    Acks, Fetch, FetchPartition, InitProducer, Isolation, Produce, ProducePartition,
};
use tidings_node::{MemoryDisk, NewRecord, Node, NodeConfig, decode_batches, encode_batch};
use tidings_server::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::measured::{Heading, Limit, Measured};
use crate::suite::Round;

/// Records of a send, and their bytes.
const COUNT: usize = 100;
const SIZE: usize = 1000;
/// Most sends of one measurement: what a node in memory holds.
const SENDS_MAX: usize = 2_000;
/// Bytes asked for by one read.
const READ_BYTES: usize = 1024 * 1024;
const WANTED: &str = ">= 90 %";
const TOPIC: &str = "seam";
const PATIENCE: Duration = Duration::from_secs(30);

/// All four pairs, on a node in memory: no disk is in the way of what is compared.
pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let span = round.span;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (node, _) = Node::start(Arc::new(MemoryDisk::default()), NodeConfig::default())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let config = ServerConfig::new((address.ip().to_string(), address.port()));
        let server = tidings_server::start(node.clone(), vec![listener], config).await?;
        let embedded = Engine::embedded(node.clone());
        let cluster = Engine::connect(&format!("kafka://{address}")).await?;

        let name = format!("append {COUNT} x {SIZE} B");
        let direct = format!("{name}, the node");
        let topic = fresh(&embedded).await?;
        round.put(Heading::plain(&direct), node_appends(&node, &topic, span).await?);
        let topic = fresh(&embedded).await?;
        let sent = appends(&embedded, &topic, span).await?;
        let limit = Limit::Operations(direct);
        round.put(Heading::against(format!("{name}, embedded engine"), limit, WANTED), sent);

        let bare = format!("{name}, librdkafka");
        let topic = fresh(&embedded).await?;
        round.put(Heading::plain(&bare), kafka_appends(&address.to_string(), &topic, span).await?);
        let topic = fresh(&embedded).await?;
        let sent = appends(&cluster, &topic, span).await?;
        // One send after the other is a question of how long each takes. Their sum is one of luck: librdkafka
        // keeps a core busy while a batch is out, and on two cores others wait for it, 4 ms at times.
        let limit = Limit::Latency(bare);
        round.put(Heading::against(format!("{name}, engine of a cluster"), limit, "<= 1.1"), sent);

        let (direct, bare) = ("read back, the node", "read back, librdkafka");
        round.put(Heading::plain(direct), node_reads(&node, &topic, span).await?);
        let limit = Limit::Bytes(direct.to_owned());
        let read = reads(&embedded, &topic, span).await?;
        round.put(Heading::against("read back, embedded engine", limit, WANTED), read);
        let end = embedded.topic(&topic).await?.partitions[0].end_offset;
        let kafka = address.to_string();
        let (mut bare_passes, mut passes) = (Passes::default(), Passes::default());
        while passes.took() < span {
            let (kafka, bare_topic) = (kafka.clone(), topic.clone());
            let pass = move || kafka_reads(&kafka, &bare_topic, end);
            bare_passes.add(tokio::task::spawn_blocking(pass).await??);
            passes.add(polls(&cluster, &topic, end).await?);
        }
        round.put(Heading::plain(bare), bare_passes.measured(end));
        let limit = Limit::Bytes(bare.to_owned());
        let read = passes.measured(end);
        round.put(Heading::against("read back, engine of a cluster", limit, WANTED), read);
        cluster.close().await?;
        server.stop().await;
        Ok(embedded.close().await?)
    })
}

/// The topic, emptied.
async fn fresh(engine: &Engine) -> anyhow::Result<String> {
    if engine.topic(TOPIC).await.is_ok() {
        engine.delete_topic(TOPIC).await?;
    }
    engine.create_topic(NewTopic { partitions: Some(1), ..NewTopic::kept(TOPIC) }).await?;
    Ok(TOPIC.to_owned())
}

fn value() -> Bytes {
    Bytes::from(vec![0x5a; SIZE])
}

fn of(latencies: Vec<Duration>, start: Instant) -> Measured {
    let bytes = (latencies.len() * COUNT * SIZE) as u64;
    Measured::of(latencies, bytes, start.elapsed())
}

fn goes_on(start: Instant, span: Duration, sends: usize) -> bool {
    start.elapsed() < span && sends < SENDS_MAX
}

async fn node_appends(node: &Node, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let identity = node.call(InitProducer { resume: None }).await??;
    let (mut latencies, mut sequence) = (Vec::new(), 0);
    let start = Instant::now();
    while goes_on(start, span, latencies.len()) {
        let begun = Instant::now();
        let record = || NewRecord { timestamp: 1, value: Some(value()), ..NewRecord::default() };
        let records: Vec<NewRecord> = (0..COUNT).map(|_| record()).collect();
        let batch = encode_batch(&records, Some((identity, sequence)));
        sequence += i32::try_from(COUNT)?;
        let partition = ProducePartition { topic: topic.into(), partition: 0, batch };
        let (acks, partitions) = (Acks::Durable, vec![partition]);
        let produce = Produce { acks, transaction: None, zstd_allowed: true, partitions };
        let produced = node.call(produce).await?.pop().context("an answer")?;
        produced.outcome?;
        latencies.push(begun.elapsed());
    }
    Ok(of(latencies, start))
}

async fn appends(engine: &Engine, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let producer = engine.producer().await?;
    let record = || SentRecord {
        topic: topic.to_owned(),
        partition: Some(0),
        value: Some(value()),
        timestamp: Some(1),
        ..SentRecord::default()
    };
    // What is learnt of the topic is learnt once.
    producer.send(vec![record()]).await?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while goes_on(start, span, latencies.len()) {
        let begun = Instant::now();
        producer.send((0..COUNT).map(|_| record()).collect()).await?;
        latencies.push(begun.elapsed());
    }
    Ok(of(latencies, start))
}

/// Counts what is acknowledged.
struct Deliveries {
    open: Arc<AtomicUsize>,
    none: Arc<Notify>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() && self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_one();
        }
    }
}

/// The settings of the engine's own producers.
async fn kafka_appends(address: &str, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let (open, none) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let context = Deliveries { open: Arc::clone(&open), none: Arc::clone(&none) };
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "50000")
        .set("queue.buffering.max.kbytes", "65536")
        .create_with_context(context)?;
    let send = async |count: usize| -> anyhow::Result<()> {
        open.store(count, Ordering::Release);
        for _ in 0..count {
            let value = value();
            let record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(topic).partition(0).timestamp(1).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        tokio::time::timeout(PATIENCE, none.notified()).await?;
        Ok(())
    };
    send(1).await?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while goes_on(start, span, latencies.len()) {
        let begun = Instant::now();
        send(COUNT).await?;
        latencies.push(begun.elapsed());
    }
    Ok(of(latencies, start))
}

async fn node_reads(node: &Node, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let (mut latencies, mut bytes, mut next) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        let partition = FetchPartition {
            topic: topic.into(),
            partition: 0,
            offset: next,
            max_bytes: READ_BYTES,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let fetch = Fetch {
            isolation: Isolation::Committed,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: READ_BYTES,
            partitions: vec![partition],
        };
        let fetched = node.call(fetch).await?.pop().context("an answer")?.outcome?;
        let end = fetched.last_stable_offset;
        let (records, after) = decode_batches(fetched.batches, next)?;
        latencies.push(begun.elapsed());
        bytes += (records.len() * SIZE) as u64;
        next = if after == end { 0 } else { after };
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

async fn reads(engine: &Engine, topic: &str, span: Duration) -> anyhow::Result<Measured> {
    let limit = ReadLimit { records: usize::MAX, bytes: READ_BYTES, wait: Duration::ZERO };
    let (mut latencies, mut bytes, mut next) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        let read = engine.read(topic, 0, next, limit).await?;
        latencies.push(begun.elapsed());
        bytes += (read.records.len() * SIZE) as u64;
        next = if read.next == read.high_watermark { 0 } else { read.next };
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

/// How long it took to read everything, time after time.
#[derive(Default)]
struct Passes(Vec<Duration>);

impl Passes {
    fn add(&mut self, pass: Duration) {
        self.0.push(pass);
    }

    fn took(&self) -> Duration {
        self.0.iter().sum()
    }

    fn measured(self, end: i64) -> Measured {
        let (took, bytes) = (self.took(), end.unsigned_abs() * SIZE as u64);
        let all = bytes * self.0.len() as u64;
        Measured::of(self.0, all, took)
    }
}

/// Everything once, from the first record on; each record's value is copied, as the engine hands out what it
/// keeps.
fn kafka_reads(address: &str, topic: &str, end: i64) -> anyhow::Result<Duration> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "seam-bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(0))?;
    consumer.assign(&list)?;
    let (mut taken, mut start) = (0, Instant::now());
    while taken < end {
        let Some(message) = consumer.poll(PATIENCE) else { continue };
        let message = message?;
        if taken == 0 {
            start = Instant::now();
        }
        taken += 1;
        let value = Bytes::copy_from_slice(message.payload().context("a value")?);
        ensure!(value.len() == SIZE, "a value of {} bytes", value.len());
    }
    Ok(start.elapsed())
}

async fn polls(engine: &Engine, topic: &str, end: i64) -> anyhow::Result<Duration> {
    let options = SubscribeOptions::default();
    let mut member = engine.subscribe("seam", &[topic.to_owned()], options).await?;
    let (mut taken, mut start) = (0, Instant::now());
    while taken < end {
        let Polled::Records(records) = member.poll(10_000, PATIENCE).await? else { continue };
        ensure!(!records.is_empty(), "nothing comes after {taken} records");
        if taken == 0 {
            start = Instant::now();
        }
        taken += i64::try_from(records.len())?;
    }
    let took = start.elapsed();
    member.close().await?;
    Ok(took)
}
