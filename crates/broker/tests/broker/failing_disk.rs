//! Disks that fill up, fail and lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_broker::log::{Disk, Entry, Fault, FaultKind, File, MemoryDisk, OpenMode, StoreConfig};
use tidings_broker::{
    Broker, BrokerConfig, CreateTopics, DeleteTopics, DescribeTopics, DescribeTransactions,
    EndTransaction, FetchRefused, GroupRefused, GroupTrouble, InitProducer, NewTopic, Now, Produce,
    ProduceRefused, TopicName, TopicRefused, Topics, TransactionEnd, TransactionRefused,
    TransactionState, TransactionVersion,
};

use crate::groups::{all_of, commit, join};
use crate::rig::{Rig, WALL_MS, batch, config, fetch, produce};
use crate::transactions::{committed_values, end, init, send, transactional};

fn is_writable(rig: &mut Rig, topic: &str) -> Vec<bool> {
    let topics = Topics::These(vec![TopicName::Name(topic.into())]);
    let topic = rig.call(DescribeTopics { topics, auto_create: false }).remove(0).topic.unwrap();
    topic.partitions.iter().map(|partition| partition.writable).collect()
}

fn broken() -> FaultKind {
    FaultKind::Io("broken".into())
}

#[test]
fn a_failed_journal_acknowledges_nothing_more_and_still_serves() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["kept"])).unwrap();
    assert_eq!(rig.broker.journal_failed(), None);
    let lost = rig.submit(produce("a", 0, batch(&["lost"])));
    rig.disk.fail_after(0, broken());
    rig.sync();
    let Err(ProduceRefused::Storage(text)) = rig.answer::<Produce>(lost).unwrap().remove(0).outcome
    else {
        panic!("what is not on disk is not acknowledged")
    };
    assert!(text.starts_with("the journal failed (write journal/ring at byte "), "{text}");
    assert!(text.contains("look at the disk and restart the node"), "{text}");
    assert_eq!(rig.broker.journal_failed(), Some(text.clone()));
    // The device works again; the journal does not trust it before a restart.
    rig.disk.heal();
    for partition in [0, 1] {
        let refused = rig.produce("a", partition, batch(&["refused"]));
        assert_eq!(refused.unwrap_err(), ProduceRefused::Storage(text.clone()));
    }
    assert_eq!(is_writable(&mut rig, "a"), [false, false]);
    assert_eq!(rig.values("a", 0, 0), ["kept"]);
    let mut rig = Rig::on(rig.disk.fork());
    let values = rig.values("a", 0, 0);
    assert!(values == ["kept"] || values == ["kept", "lost"], "{values:?}");
    assert_eq!(is_writable(&mut rig, "a"), [true, true]);
}

#[test]
fn a_failed_journal_answers_those_who_wait_and_refuses_what_must_be_kept() {
    let mut rig = Rig::new();
    rig.topic("a");
    let topics = vec![NewTopic { name: "b".into(), ..NewTopic::default() }];
    let created = rig.submit(CreateTopics { topics, validate_only: false });
    let produced = rig.submit(produce("b", 0, batch(&["early"])));
    let producer = rig.submit(InitProducer { resume: None });
    rig.disk.fail_after(0, broken());
    rig.sync();
    rig.disk.heal();
    let answer = rig.answer::<CreateTopics>(created).expect("answered").remove(0);
    assert!(matches!(answer.outcome, Err(TopicRefused::Storage(_))));
    let answer = rig.answer::<Produce>(produced).expect("answered").remove(0);
    assert!(matches!(answer.outcome, Err(ProduceRefused::Storage(_))));
    let answer = rig.answer::<InitProducer>(producer).expect("answered");
    assert!(matches!(answer, Err(ProduceRefused::Storage(_))), "{answer:?}");
    let later = rig.call(InitProducer { resume: None });
    assert!(matches!(later, Err(ProduceRefused::Storage(_))), "{later:?}");
    let late = rig.produce("b", 1, batch(&["never settled"]));
    assert!(matches!(late, Err(ProduceRefused::Storage(_))), "{late:?}");
}

#[test]
fn a_failed_flush_ends_its_own_partition_and_loses_nothing() {
    let (inner, folder) = (MemoryDisk::new(), "a-0/");
    let broken = Arc::new(AtomicBool::new(false));
    let disk = Breakable { inner: inner.clone(), folder, broken: Arc::clone(&broken) };
    let store = StoreConfig { flush_after_ms: 1, ..StoreConfig::small() };
    let mut rig = Rig::with(inner, BrokerConfig { store, ..config() });
    let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
    rig.broker.close().unwrap();
    let opened = Broker::open(Arc::new(disk), BrokerConfig { store, ..config() }, now);
    (rig.broker, rig.report) = opened.unwrap();
    rig.topic("a");
    broken.store(true, Ordering::Relaxed);
    for partition in [0, 1] {
        rig.produce("a", partition, batch(&["in the journal"])).unwrap();
    }
    rig.pass(10);
    rig.settle();
    assert_eq!(is_writable(&mut rig, "a"), [false, true]);
    let Err(ProduceRefused::Storage(text)) = rig.produce("a", 0, batch(&["refused"])) else {
        panic!("the partition takes no more")
    };
    assert!(text.contains("this partition takes no more writes"), "{text}");
    rig.produce("a", 1, batch(&["fine"])).unwrap();
    assert_eq!(rig.values("a", 0, 0), ["in the journal"]);
    assert_eq!(rig.broker.journal_failed(), None);
    let mut rig = Rig::on(rig.disk.fork());
    assert_eq!(rig.values("a", 0, 0), ["in the journal"]);
    assert_eq!(rig.values("a", 1, 0), ["in the journal", "fine"]);
}

#[test]
fn offsets_that_cannot_be_written_are_refused() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 1)).unwrap();
    let lost = rig.submit(commit("g", 0, 2));
    rig.disk.fail_after(0, broken());
    rig.sync();
    rig.disk.heal();
    let refused = rig.answer::<tidings_broker::CommitOffsets>(lost).unwrap().unwrap_err();
    assert!(matches!(refused, GroupRefused::Other(GroupTrouble::Storage(_))));
    let asked = all_of("g");
    let unsure = rig.call(asked).unwrap_err();
    assert!(matches!(unsure, GroupRefused::Other(GroupTrouble::Storage(_))), "which one counts?");
    let member = rig.call(join("g", "")).unwrap().member_id;
    let sync = tidings_broker::SyncGroup {
        group: "g".into(),
        generation: 1,
        member_id: member,
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    let refused = rig.call(sync).unwrap_err();
    assert!(matches!(refused, GroupRefused::Other(GroupTrouble::Storage(_))));
}

#[test]
fn damage_in_one_partition_is_refused_there_and_nowhere_else() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    for partition in [0, 1] {
        rig.produce("a", partition, batch(&["some record"])).unwrap();
    }
    let mut rig = rig.restart();
    let file = "a-0/00000000000000000000.log";
    assert!(rig.disk.flip_bit(file, 65 * 8), "the segment is there");
    let damaged = rig.fetch_now(fetch("a", 0, 0)).remove(0).outcome.unwrap_err();
    assert!(matches!(damaged, FetchRefused::Corrupt(_)), "{damaged:?}");
    let told = rig.broker.next_damage().expect("the operator is told");
    assert!(told.starts_with("a-0: offsets 0 to 0 are damaged, "), "{told}");
    assert_eq!(rig.values("a", 1, 0), ["some record"]);
}

#[test]
fn a_partition_that_cannot_be_opened_does_not_stop_the_node() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    for partition in [0, 1] {
        rig.produce("a", partition, batch(&["some record"])).unwrap();
    }
    rig.broker.close().unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    let disk = Breakable { inner: rig.disk.fork(), folder: "a-0/", broken };
    let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
    let (broker, report) = Broker::open(Arc::new(disk), config(), now).unwrap();
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert!(report.findings[0].starts_with("a-0: could not be opened: "));
    rig.broker = broker;
    assert_eq!(is_writable(&mut rig, "a"), [false, true]);
    let refused = rig.produce("a", 0, batch(&["x"])).unwrap_err();
    let ProduceRefused::Storage(text) = refused else {
        panic!("the disk is to blame: {refused:?}")
    };
    assert!(text.starts_with("a-0 could not be opened: "), "{text}");
    let refused = rig.fetch_now(fetch("a", 0, 0)).remove(0).outcome.unwrap_err();
    assert!(matches!(refused, FetchRefused::Storage(_)));
    assert_eq!(rig.values("a", 1, 0), ["some record"]);
}

/// A disk on which one folder's files cannot be opened while it is broken.
#[derive(Debug)]
struct Breakable {
    inner: MemoryDisk,
    folder: &'static str,
    broken: Arc<AtomicBool>,
}

impl Disk for Breakable {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        if path.starts_with(self.folder) && self.broken.load(Ordering::Relaxed) {
            let (path, kind) = (path.to_owned(), FaultKind::Io("permission denied".into()));
            return Err(Fault { operation: "open", path, offset: None, kind });
        }
        self.inner.open(path, mode)
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
        self.inner.free_bytes()
    }
    fn total_bytes(&self) -> Result<u64, Fault> {
        self.inner.total_bytes()
    }
}

fn plant(disk: &MemoryDisk, path: &str) {
    disk.create_dir_all(path.split('/').next().unwrap()).unwrap();
    disk.open(path, OpenMode::Create).unwrap().write_at(b"x", 0).unwrap();
}

/// Where a finding says that a folder was moved to.
fn moved_to<'a>(finding: &'a str, folder: &str) -> &'a str {
    let rest = finding.strip_prefix(folder).expect(finding);
    let kept = rest.strip_prefix(": belongs to no topic; kept as ").expect(finding);
    kept.strip_suffix(", for the catalog may be wrong").expect(finding)
}

#[test]
fn folders_of_deleted_topics_are_removed_and_unknown_ones_moved_aside() {
    let mut rig = Rig::on(MemoryDisk::new());
    for name in ["a", "gone"] {
        rig.topic(name);
        rig.produce(name, 0, batch(&["x"])).unwrap();
    }
    rig.call(DeleteTopics { topics: vec![TopicName::Name("gone".into())] });
    rig.broker.close().unwrap();
    for path in ["gone-0/00000000000000000000.log", "ghost-3/00000000000000000000.log"] {
        plant(&rig.disk, path);
    }
    plant(&rig.disk, "empty-0/leader-epoch-checkpoint");
    plant(&rig.disk, "lost+found/x");
    let rig = Rig::on(rig.disk.fork());
    let [empty, ghost, gone] = &rig.report.findings[..] else {
        panic!("{:?}", rig.report.findings)
    };
    assert_eq!(empty, "empty-0: removed, it belongs to no topic");
    assert_eq!(gone, "gone-0: removed, it belongs to no topic");
    let kept = format!("{}/00000000000000000000.log", moved_to(ghost, "ghost-3"));
    let left = rig.disk.files();
    assert!(left.contains(&kept) && left.iter().any(|file| file == "lost+found/x"), "{left:?}");
    assert!(!left.iter().any(|file| file.starts_with("gone") || file.starts_with("empty")));
}

#[test]
fn without_its_catalog_a_partition_is_moved_aside() {
    let disk = MemoryDisk::new();
    plant(&disk, "a-0/00000000000000000000.log");
    let mut rig = Rig::on(disk);
    let [finding] = &rig.report.findings[..] else { panic!("{:?}", rig.report.findings) };
    let kept = format!("{}/00000000000000000000.log", moved_to(finding, "a-0"));
    assert!(rig.disk.files().contains(&kept));
    rig.topic("a");
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new());
    assert_eq!(rig.restart().report.findings, Vec::<String>::new());
}

#[test]
fn a_damaged_catalog_stops_the_start_and_costs_nothing() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    rig.produce("a", 0, batch(&["kept"])).unwrap();
    rig.broker.close().unwrap();
    let catalog = "__tidings_catalog-0/00000000000000000000.log";
    let bits = rig.disk.read_raw(catalog).unwrap().len() as u64 * 8;
    let disk = rig.disk.fork();
    assert!(disk.flip_bit(catalog, bits - 9));
    let before = disk.read_raw("a-0/00000000000000000000.log").unwrap();
    let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
    let fault = Broker::open(Arc::new(disk.clone()), config(), now).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Corrupt(_)), "{fault}");
    assert_eq!(disk.read_raw("a-0/00000000000000000000.log").unwrap(), before);
    assert!(disk.flip_bit(catalog, bits - 9), "as if from a copy");
    assert_eq!(Rig::on(disk).values("a", 0, 0), ["kept"]);
}

/// What group g has committed in a new topic of the name "a"; nothing where none can be made.
fn committed_in_a_new_topic(rig: &mut Rig) -> Option<usize> {
    let topic = || NewTopic { name: "a".into(), ..NewTopic::default() };
    // The first try may only have finished the deletion.
    rig.create(topic()).or_else(|_| rig.create(topic())).ok()?;
    let mut rig = Rig::on(rig.disk.fork());
    let asked = all_of("g");
    Some(rig.call(asked).unwrap().len())
}

#[test]
fn offsets_of_a_deleted_topic_never_show_in_a_new_one_wherever_its_deletion_failed() {
    let (mut reused, mut reused_after_restart) = (0, 0);
    for calls in 0..16 {
        let mut rig = Rig::on(MemoryDisk::new());
        rig.topic("a");
        rig.call(commit("g", 0, 5)).unwrap();
        let topics = vec![TopicName::Name("a".into())];
        let delete = rig.submit(DeleteTopics { topics });
        rig.disk.fail_after(calls, FaultKind::Io("broken".into()));
        rig.settle();
        rig.disk.heal();
        let failed = rig.answer::<DeleteTopics>(delete).expect("answered").remove(0).outcome;
        let disk = rig.disk.fork();
        if let Some(left) = committed_in_a_new_topic(&mut rig) {
            assert_eq!(left, 0, "{calls} calls: {failed:?}");
            reused += 1;
        }
        // And the other way: a restart in which there is no room to forget them.
        disk.set_capacity(disk.used_bytes());
        let mut rig = Rig::on(disk);
        rig.disk.set_capacity(u64::MAX);
        if rig.report.topics == 0 {
            let left = committed_in_a_new_topic(&mut rig).expect("the disk is healthy");
            assert_eq!(left, 0, "{calls} calls, restarted: {failed:?}");
            reused_after_restart += 1;
        }
    }
    assert!(reused > 8 && reused_after_restart > 8, "{reused} and {reused_after_restart}");
}

#[test]
fn a_decided_transaction_is_carried_out_when_its_partitions_can_be_written() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    for partition in [0, 1] {
        let batch = transactional(who, 0, &["x"]);
        let sent = rig.call(send("t", "a", partition, batch, true)).remove(0);
        assert!(sent.outcome.is_ok());
    }
    rig.broker.close().unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    let disk = Breakable { inner: rig.disk.clone(), folder: "a-1", broken };
    let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
    let (broker, report) = Broker::open(Arc::new(disk), config(), now).expect("the rest is fine");
    assert!(report.findings[0].starts_with("a-1: could not be opened"), "{:?}", report.findings);
    rig.broker = broker;
    let commit = end("t", who, TransactionEnd::Commit, TransactionVersion::Two);
    let goes_on = rig.call(commit.clone()).expect("it is decided");
    assert_eq!(committed_values(&mut rig, "a", 0), ["x"]);
    let state = |rig: &mut Rig| {
        let asked = DescribeTransactions { transactional_ids: vec!["t".into()] };
        rig.call(asked).remove(0).outcome.expect("it is known").state
    };
    rig.pass(3_000);
    assert_eq!(state(&mut rig), TransactionState::PrepareCommit);
    let concurrent = TransactionRefused::Concurrent;
    assert_eq!(rig.call(commit.clone()), Err(concurrent.clone()));
    assert_eq!(rig.call(init("t")), Err(concurrent.clone()));
    let sent = rig.call(send("t", "a", 0, transactional(goes_on, 0, &["y"]), true)).remove(0);
    assert_eq!(sent.outcome, Err(ProduceRefused::Transaction(concurrent)));
    rig.broker.close().unwrap();
    let mut rig = Rig::on(rig.disk.clone());
    assert_eq!(state(&mut rig), TransactionState::CompleteCommit);
    for partition in [0, 1] {
        assert_eq!(committed_values(&mut rig, "a", partition), ["x"], "partition {partition}");
    }
    assert_eq!(rig.call(commit), Ok(goes_on));
}

#[test]
fn a_failed_journal_ends_no_transaction_and_the_next_start_knows_which_did() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    let sent = rig.call(send("t", "a", 0, transactional(who, 0, &["x"]), true)).remove(0);
    assert!(sent.outcome.is_ok());
    let commit = end("t", who, TransactionEnd::Commit, TransactionVersion::Two);
    let lost = rig.submit(commit.clone());
    rig.disk.fail_after(0, broken());
    rig.sync();
    let refused = rig.answer::<EndTransaction>(lost).expect("answered");
    assert!(matches!(refused, Err(TransactionRefused::Storage(_))), "{refused:?}");
    assert!(matches!(rig.call(init("t")), Err(TransactionRefused::Storage(_))));
    assert_eq!(committed_values(&mut rig, "a", 0), Vec::<String>::new());
    rig.disk.heal();
    let mut rig = Rig::on(rig.disk.fork());
    let goes_on = rig.call(commit).expect("ended now, or then");
    assert_eq!(goes_on.epoch, who.epoch + 1);
    assert_eq!(committed_values(&mut rig, "a", 0), ["x"]);
}
