//! Disks that fill up, fail and lie.

use tidings_broker::log::{Fault, FaultKind, MemoryDisk};
use tidings_broker::{
    Broker, CreateTopics, DeleteTopics, DescribeTopics, FetchRefused, GroupRefused, GroupTrouble,
    InitProducer, NewTopic, Now, Produce, ProduceRefused, TopicName, TopicRefused, Topics,
};

use crate::groups::{commit, join};
use crate::rig::{Rig, WALL_MS, batch, config, fetch, produce};

fn is_writable(rig: &mut Rig, topic: &str) -> Vec<bool> {
    let topics = Topics::These(vec![TopicName::Name(topic.into())]);
    let topic = rig.call(DescribeTopics { topics, auto_create: false }).remove(0).topic.unwrap();
    topic.partitions.iter().map(|partition| partition.writable).collect()
}

#[test]
fn a_full_disk_refuses_and_recovers_when_there_is_room_again() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    rig.produce("a", 0, batch(&["before"])).unwrap();
    rig.disk.set_capacity(rig.disk.used_bytes() + 30);
    let Err(ProduceRefused::Storage(text)) = rig.produce("a", 0, batch(&["refused"])) else {
        panic!("there is no room")
    };
    assert!(text.starts_with("the disk is full: no space is left for this write"), "{text}");
    let topic = NewTopic { name: "b".into(), ..NewTopic::default() };
    assert!(matches!(rig.create(topic), Err(TopicRefused::Storage(_))));
    rig.disk.set_capacity(u64::MAX);
    rig.produce("a", 0, batch(&["after"])).unwrap();
    assert_eq!(rig.values("a", 0, 0), ["before", "after"]);
    rig.topic("b");
}

#[test]
fn a_failed_sync_fails_what_waits_for_it_and_poisons_only_that_log() {
    let mut rig = Rig::new();
    rig.topic("a");
    let lost = rig.submit(produce("a", 0, batch(&["lost"])));
    rig.disk.fail_syncs();
    rig.sync();
    let Err(ProduceRefused::Storage(text)) = rig.answer::<Produce>(lost).unwrap().remove(0).outcome
    else {
        panic!("what is not on disk is not acknowledged")
    };
    assert!(text.ends_with("a restart of the node recovers what is on disk"), "{text}");
    rig.disk.heal();
    let refused = rig.produce("a", 0, batch(&["refused"]));
    assert!(matches!(refused, Err(ProduceRefused::Storage(_))), "{refused:?}");
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new(), "nor is it shown");
    rig.produce("a", 1, batch(&["fine"])).unwrap();
    assert_eq!(is_writable(&mut rig, "a"), [false, true]);
}

#[test]
fn a_catalog_that_fails_refuses_new_topics_and_answers_those_who_wait() {
    let mut rig = Rig::new();
    rig.topic("a");
    let topics = vec![NewTopic { name: "b".into(), ..NewTopic::default() }];
    let created = rig.submit(CreateTopics { topics, validate_only: false });
    let produced = rig.submit(produce("b", 0, batch(&["early"])));
    let producer = rig.submit(InitProducer { resume: None });
    rig.disk.fail_syncs();
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
    rig.produce("a", 0, batch(&["still works"])).unwrap();
}

#[test]
fn offsets_that_cannot_be_written_are_refused() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 1)).unwrap();
    let lost = rig.submit(commit("g", 0, 2));
    rig.disk.fail_syncs();
    rig.sync();
    rig.disk.heal();
    let refused = rig.answer::<tidings_broker::CommitOffsets>(lost).unwrap().unwrap_err();
    assert!(matches!(refused, GroupRefused::Other(GroupTrouble::Storage(_))));
    let asked = tidings_broker::FetchOffsets { group: "g".into(), partitions: None };
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
    let file = "a-0/00000000000000000000.log";
    assert!(rig.disk.flip_bit(file, 65 * 8), "the segment is there");
    let damaged = rig.fetch_now(fetch("a", 0, 0)).remove(0).outcome.unwrap_err();
    assert!(matches!(damaged, FetchRefused::Corrupt(_)), "{damaged:?}");
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
    let disk = Unopenable { inner: rig.disk.fork(), folder: "a-0/" };
    let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
    let (broker, report) = Broker::open(std::sync::Arc::new(disk), config(), now).unwrap();
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

/// A disk on which one folder's files cannot be opened.
#[derive(Debug)]
struct Unopenable {
    inner: MemoryDisk,
    folder: &'static str,
}

impl tidings_broker::log::Disk for Unopenable {
    fn open(
        &self,
        path: &str,
        mode: tidings_broker::log::OpenMode,
    ) -> Result<std::sync::Arc<dyn tidings_broker::log::File>, Fault> {
        if path.starts_with(self.folder) {
            let (path, kind) = (path.to_owned(), FaultKind::Io("permission denied".into()));
            return Err(Fault { operation: "open", path, offset: None, kind });
        }
        self.inner.open(path, mode)
    }
    fn list(&self, dir: &str) -> Result<Vec<tidings_broker::log::Entry>, Fault> {
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
}

#[test]
fn folders_without_a_topic_are_removed_or_moved_aside_when_the_catalog_is_new() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    rig.produce("a", 0, batch(&["x"])).unwrap();
    rig.broker.close().unwrap();
    let plant = |disk: &MemoryDisk, path: &str| {
        use tidings_broker::log::{Disk as _, OpenMode};
        disk.create_dir_all(path.split('/').next().unwrap()).unwrap();
        disk.open(path, OpenMode::Create).unwrap().write_at(b"x", 0).unwrap();
    };
    plant(&rig.disk, "ghost-3/00000000000000000000.log");
    plant(&rig.disk, "lost+found/x");
    let rig = Rig::on(rig.disk.fork());
    assert_eq!(rig.report.findings, ["ghost-3: removed, it belongs to no topic"]);
    let left = rig.disk.files();
    assert!(
        left.iter().any(|f| f == "lost+found/x") && !left.iter().any(|f| f.starts_with("ghost"))
    );

    // The same folders without their catalog: whose fault it is, is not for the broker to say.
    let disk = MemoryDisk::new();
    plant(&disk, "a-0/00000000000000000000.log");
    let mut rig = Rig::on(disk);
    let [finding] = &rig.report.findings[..] else { panic!("{:?}", rig.report.findings) };
    let kept = finding.strip_prefix("a-0: belongs to no topic; kept as ").expect(finding);
    let kept = kept.strip_suffix(", for the catalog is new, cut or damaged").expect(finding);
    assert!(rig.disk.files().contains(&format!("{kept}/00000000000000000000.log")));
    rig.topic("a");
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new());
    assert_eq!(rig.restart().report.findings, Vec::<String>::new());
}

#[test]
fn a_damaged_last_record_of_the_catalog_does_not_cost_the_topic_its_data() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    rig.produce("a", 0, batch(&["kept"])).unwrap();
    let catalog = "__tidings_catalog-0/00000000000000000000.log";
    let bits = rig.disk.read_raw(catalog).unwrap().len() as u64 * 8;
    let data = rig.disk.read_raw("a-0/00000000000000000000.log").unwrap();
    let disk = rig.disk.fork();
    assert!(disk.flip_bit(catalog, bits - 9));
    let rig = Rig::on(disk);
    assert_eq!(rig.report.topics, 0, "{:?}", rig.report.findings);
    let kept: Vec<String> = rig
        .disk
        .files()
        .into_iter()
        .filter(|file| file.ends_with("-stray/00000000000000000000.log"))
        .collect();
    let [file] = &kept[..] else { panic!("only a-0 has data: {kept:?}") };
    assert!(file.starts_with("a-0."), "{file}");
    assert_eq!(rig.disk.read_raw(file).unwrap(), data);
}

/// What group g has committed in a new topic of the name "a"; nothing where none can be made.
fn committed_in_a_new_topic(rig: &mut Rig) -> Option<usize> {
    let topic = || NewTopic { name: "a".into(), ..NewTopic::default() };
    // The first try may only have finished the deletion.
    rig.create(topic()).or_else(|_| rig.create(topic())).ok()?;
    let mut rig = Rig::on(rig.disk.fork());
    let asked = tidings_broker::FetchOffsets { group: "g".into(), partitions: None };
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
