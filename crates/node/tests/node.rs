//! Behaviours of a running node: shared writes, stopping, and what callers see when it fails.
//!
//! The disk is one in memory behind a gate: durable writes can be held back, failed or made to
//! panic, other writes too, and there can be no room for files to grow.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidings_node::broker::log::{Disk, Entry, Fault, FaultKind, File, OpenMode};
use tidings_node::broker::{
    Acks, CommitOffsets, CommitPartition, CreateTopics, Fetch, FetchOffsets, FetchPartition,
    InitProducer, Isolation, ListOffsets, ListOffsetsPartition, NewTopic, OffsetSpec, Produce,
    ProducePartition, ProduceRefused, ProducedAt, TopicName, WantedOffsets,
};
use tidings_node::{MemoryDisk, NewRecord, Node, NodeConfig, NodeError, StoreConfig, encode_batch};

/// Far beyond what any of these takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Willing,
    /// Durable writes wait until the mood changes.
    Holding,
    /// Durable writes fail.
    Failing,
    /// Durable writes panic.
    PanickingJournal,
    /// Other writes panic.
    PanickingFlush,
    /// No file can grow.
    Full,
}

#[derive(Debug, Default)]
struct Gate {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn write(&self, file: &GatedFile, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let held = |mood: &mut Mood| file.durable && *mood == Mood::Holding;
        let mood = *self.changed.wait_while(self.mood.lock().unwrap(), held).unwrap();
        let refused = |kind| {
            let path = file.path().to_owned();
            Err(Fault { operation: "write", path, offset: Some(offset), kind })
        };
        match mood {
            Mood::Failing if file.durable => refused(FaultKind::Io("told to".to_owned())),
            Mood::PanickingJournal if file.durable => panic!("told to panic in the journal"),
            Mood::PanickingFlush if !file.durable => panic!("told to panic in a flush"),
            Mood::Full if offset + bytes.len() as u64 > file.inner.len()? => {
                refused(FaultKind::NoSpace)
            }
            _ => file.inner.write_at(bytes, offset),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct GatedDisk {
    inner: MemoryDisk,
    gate: Arc<Gate>,
}

struct GatedFile {
    inner: Arc<dyn File>,
    gate: Arc<Gate>,
    durable: bool,
}

impl fmt::Debug for GatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Disk for GatedDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let inner = self.inner.open(path, mode)?;
        let durable = mode == OpenMode::Durable;
        Ok(Arc::new(GatedFile { inner, gate: Arc::clone(&self.gate), durable }))
    }
    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        self.inner.list(dir)
    }
    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.inner.create_dir_all(dir)
    }
    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.inner.remove_dir_all(dir)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.inner.rename(from, to)
    }
    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        self.inner.sync_dir(dir)
    }
    fn sync_all(&self) -> Result<(), Fault> {
        self.inner.sync_all()
    }
    fn free_bytes(&self) -> Result<u64, Fault> {
        match self.gate.mood() {
            Mood::Full => Ok(0),
            _ => Ok(1 << 40),
        }
    }
    fn total_bytes(&self) -> Result<u64, Fault> {
        Ok(1 << 41)
    }
}

impl File for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.gate.write(self, bytes, offset)
    }
    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        self.write_at(&parts.concat(), offset)
    }
    fn len(&self) -> Result<u64, Fault> {
        self.inner.len()
    }
    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.inner.truncate(len)
    }
    fn sync(&self) -> Result<(), Fault> {
        self.inner.sync()
    }
    fn path(&self) -> &str {
        self.inner.path()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self.inner.as_any()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("done before the deadline")
}

/// A node with the topic `t` of one partition.
async fn node() -> (Node, GatedDisk) {
    node_with(StoreConfig::small()).await
}

async fn node_with(store: StoreConfig) -> (Node, GatedDisk) {
    let disk = GatedDisk::default();
    let config = NodeConfig { store, ..NodeConfig::default() };
    let (node, report) = Node::start(Arc::new(disk.clone()), config).unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    let topic = NewTopic { name: "t".into(), partitions: Some(1), ..NewTopic::default() };
    let create = CreateTopics { topics: vec![topic], validate_only: false };
    let created = within(node.call(create)).await.unwrap();
    created[0].outcome.as_ref().expect("a new topic");
    (node, disk)
}

fn record(value: &str) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { timestamp: 1_000, key: None, value, headers: Vec::new() }
}

fn produce(batch: Bytes) -> Produce {
    let partition = ProducePartition { topic: "t".into(), partition: 0, batch };
    let partitions = vec![partition];
    Produce { acks: Acks::Durable, transaction: None, zstd_allowed: true, partitions }
}

fn plain(value: &str) -> Produce {
    produce(encode_batch([&record(value)], None))
}

fn fetch(offset: i64, max_wait: Duration) -> Fetch {
    let partition = FetchPartition {
        topic: "t".into(),
        partition: 0,
        offset,
        max_bytes: 1 << 20,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    };
    let max_wait_ms = u32::try_from(max_wait.as_millis()).unwrap();
    let isolation = Isolation::Uncommitted;
    Fetch { isolation, max_wait_ms, min_bytes: 1, max_bytes: 1 << 20, partitions: vec![partition] }
}

async fn outcome(node: &Node, request: Produce) -> Result<ProducedAt, ProduceRefused> {
    within(node.call(request)).await.unwrap().remove(0).outcome
}

async fn end_offset(node: &Node) -> i64 {
    let (topic, at) = ("t".to_owned(), OffsetSpec::Latest);
    let asked = ListOffsetsPartition { topic, partition: 0, at, current_leader_epoch: None };
    let listed = within(
        node.call(ListOffsets { isolation: Isolation::Uncommitted, partitions: vec![asked] }),
    )
    .await
    .unwrap();
    listed[0].outcome.as_ref().unwrap().offset
}

#[tokio::test]
async fn what_is_accepted_during_a_write_shares_the_next_one() {
    let store = StoreConfig { writes_in_flight_max: 1, ..StoreConfig::small() };
    let (node, disk) = node_with(store).await;
    let before = node.figures().journal_writes;
    disk.gate.set(Mood::Holding);
    let first = node.submit(plain("0")).await.unwrap();
    let mut rest = Vec::new();
    // The first is decided, and so its write is out, once a later request has been answered.
    assert_eq!(end_offset(&node).await, 0, "nothing is visible before it is durable");
    for n in 1..=64 {
        rest.push(node.submit(plain(&n.to_string())).await.unwrap());
    }
    assert_eq!(end_offset(&node).await, 0);
    disk.gate.set(Mood::Willing);
    assert_eq!(within(first).await.unwrap()[0].outcome.as_ref().unwrap().base_offset, 0);
    for (n, answer) in (1..).zip(rest) {
        assert_eq!(within(answer).await.unwrap()[0].outcome.as_ref().unwrap().base_offset, n);
    }
    // One for the first and one for all the others; the rest say that nothing more is to come.
    let writes = node.figures().journal_writes - before;
    assert!((2..=4).contains(&writes), "{writes} writes");
    node.stop().await.unwrap();
}

fn commit(offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: "g".into(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
        knows_epochs: false,
        partitions: vec![CommitPartition {
            topic: TopicName::Name("t".into()),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: None,
        }],
    }
}

/// A look at offsets may be decided where it is asked, a commit goes through the queue.
#[tokio::test]
async fn what_was_queued_is_decided_before_what_comes_after_it() {
    let (node, _) = node().await;
    for offset in 0..2_000 {
        let committed = node.submit(commit(offset)).await.unwrap();
        let wanted = WantedOffsets::These(vec![(TopicName::Name("t".into()), 0)]);
        let look = FetchOffsets { group: "g".into(), member: None, wanted };
        let seen = within(node.call(look)).await.unwrap().unwrap().remove(0);
        let seen = seen.outcome.unwrap().map(|committed| committed.offset);
        assert_eq!(seen, Some(offset));
        within(committed).await.unwrap().unwrap();
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_repeated_batch_is_appended_once() {
    let (node, _) = node().await;
    let identity = node.call(InitProducer { resume: None }).await.unwrap().unwrap();
    let batch = encode_batch([&record("a"), &record("b")], Some((identity, 0)));
    let first = outcome(&node, produce(batch.clone())).await.unwrap();
    let again = outcome(&node, produce(batch)).await.unwrap();
    assert_eq!((first.base_offset, again.base_offset), (0, 0));
    assert_eq!(end_offset(&node).await, 2);
    let gap = encode_batch([&record("c")], Some((identity, 5)));
    let refused = outcome(&node, produce(gap)).await.unwrap_err();
    assert!(matches!(refused, ProduceRefused::OutOfOrderSequence(_)), "{refused:?}");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_is_written_and_tells_who_waits() {
    let (node, disk) = node().await;
    disk.gate.set(Mood::Holding);
    let written = node.submit(plain("a")).await.unwrap();
    let parked = node.submit(fetch(0, DEADLINE)).await.unwrap();
    assert_eq!(end_offset(&node).await, 0);
    let stopping = tokio::spawn({
        let node = node.clone();
        async move { node.stop().await }
    });
    disk.gate.set(Mood::Willing);
    assert_eq!(within(written).await.unwrap()[0].outcome.as_ref().unwrap().base_offset, 0);
    // Woken by the record, or told: never left waiting.
    match within(parked).await {
        Ok(fetched) => assert!(!fetched[0].outcome.as_ref().unwrap().batches.is_empty()),
        Err(error) => assert_eq!(error, NodeError::Stopped),
    }
    within(stopping).await.unwrap().unwrap();
    assert_eq!(within(node.stop()).await, Ok(()), "stopping again says the same");
    assert_eq!(within(node.call(plain("b"))).await.unwrap_err(), NodeError::Stopped);

    let (node, _) = Node::start(Arc::new(disk), NodeConfig::in_memory()).unwrap();
    assert_eq!(end_offset(&node).await, 1);
}

#[tokio::test]
async fn a_panic_in_the_journal_stops_everyone() {
    let (node, disk) = node().await;
    let parked = node.submit(fetch(0, DEADLINE)).await.unwrap();
    disk.gate.set(Mood::PanickingJournal);
    assert_eq!(within(node.call(plain("a"))).await.unwrap_err(), NodeError::Stopped);
    assert_eq!(within(parked).await.unwrap_err(), NodeError::Stopped);
    assert_eq!(within(node.call(plain("b"))).await.unwrap_err(), NodeError::Stopped);
    assert_eq!(within(node.ended()).await.unwrap_err(), NodeError::Stopped);
    assert_eq!(within(node.stop()).await.unwrap_err(), NodeError::Stopped);
}

#[tokio::test]
async fn a_panic_in_a_flush_stops_everyone_and_loses_nothing() {
    let store = StoreConfig { flush_after_ms: 1, ..StoreConfig::small() };
    let (node, disk) = node_with(store).await;
    outcome(&node, plain("a")).await.expect("the journal has it");
    let parked = Fetch { min_bytes: 1 << 20, ..fetch(0, DEADLINE) };
    let parked = node.submit(parked).await.unwrap();
    disk.gate.set(Mood::PanickingFlush);
    // Nothing but the flush goes on; it may be quicker than the answer.
    let also = within(node.call(plain("b"))).await;
    assert_eq!(within(parked).await.unwrap_err(), NodeError::Stopped);
    assert_eq!(within(node.ended()).await.unwrap_err(), NodeError::Stopped);
    disk.gate.set(Mood::Willing);
    let (node, _) = Node::start(Arc::new(disk), NodeConfig::in_memory()).unwrap();
    let end = end_offset(&node).await;
    assert!(end == 2 || (end == 1 && also.is_err()), "{end}: {also:?}");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_write_is_never_acknowledged_and_nothing_after_it() {
    let (node, disk) = node().await;
    disk.gate.set(Mood::Failing);
    let refused = outcome(&node, plain("a")).await.unwrap_err();
    assert!(matches!(refused, ProduceRefused::Storage(_)), "{refused:?}");
    // The device works again; the journal does not trust it before a restart.
    disk.gate.set(Mood::Willing);
    let refused = outcome(&node, plain("b")).await.unwrap_err();
    assert!(matches!(refused, ProduceRefused::Storage(_)), "{refused:?}");
    assert_eq!(end_offset(&node).await, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (node, disk) = node().await;
    outcome(&node, plain("a")).await.unwrap();
    disk.gate.set(Mood::Full);
    // The journal has its room in advance: produce goes on until the node looks at the disk.
    let mut taken = 1;
    let refused = loop {
        match outcome(&node, plain("b")).await {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    let ProduceRefused::Storage(text) = refused else { panic!("{refused:?}") };
    assert!(text.starts_with("the disk is full: "), "{text}");
    let one = encode_batch([&record("a")], None).len() as u64;
    assert_eq!(node.figures().produced_bytes, one * taken);
    disk.gate.set(Mood::Willing);
    // A refusal makes the node look at the disk again, so it need not be waited for.
    let recovered = async { while outcome(&node, plain("b")).await.is_err() {} };
    within(recovered).await;
    assert_eq!(end_offset(&node).await, i64::try_from(taken).unwrap() + 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_last_handle_takes_the_node_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::open(dir.path(), NodeConfig::default()).unwrap();
    let id = node.cluster_id().to_owned();
    assert_eq!(id.len(), 22, "{id}");
    let clone = node.clone();
    drop(node);
    let locked = Node::open(dir.path(), NodeConfig::default()).unwrap_err();
    assert!(matches!(locked, NodeError::Locked { .. }), "{locked:?}");
    drop(clone);
    let (node, _) = Node::open(dir.path(), NodeConfig::default()).unwrap();
    assert_eq!(node.cluster_id(), id);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn figures_count_what_was_asked_and_moved() {
    let (node, _) = node().await;
    let before = node.figures();
    let batch = encode_batch([&record("abc")], None);
    let size = batch.len() as u64;
    outcome(&node, produce(batch)).await.unwrap();
    within(node.call(fetch(0, Duration::ZERO))).await.unwrap();
    let figures = node.figures();
    assert_eq!(figures.requests - before.requests, 2);
    assert_eq!(figures.produced_bytes - before.produced_bytes, size);
    assert_eq!(figures.fetched_bytes - before.fetched_bytes, size);
    assert_eq!((figures.free_bytes, figures.total_bytes), (1 << 40, 1 << 41));
    node.stop().await.unwrap();
}
