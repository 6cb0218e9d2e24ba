//! Disks that are full, fail, or lose bytes at rest.

use super::*;
use crate::Disk as _;
use crate::{AppendRefused, OpenMode};

fn broken() -> FaultKind {
    FaultKind::Io("broken".to_owned())
}

/// 12 batches "b0" … "b11" over four segments, closed cleanly.
fn closed_log() -> MemoryDisk {
    let mut node = Node::open_with(&MemoryDisk::new(), SMALL, 1);
    for at in 0..12 {
        let producer = Some((at % 2, 0, at as i32 / 2));
        let batch = producer_batch(&[&format!("b{at}")], 100 + at, producer);
        node.store.append(LOG, &batch, AT).expect("appended");
    }
    node.close()
}

/// What is served of each offset; `None` where a read is refused as damaged.
fn served(node: &Node) -> Vec<Option<String>> {
    let one = |offset| match node.store.read_now(LOG, offset, i64::MAX, 1) {
        Ok(read) => {
            let batch = split(read[0].clone()).next().expect("a batch").expect("a valid batch");
            let value = batch.records().expect("decodes").remove(0).value.expect("a value");
            Some(String::from_utf8_lossy(&value).into_owned())
        }
        Err(ReadRefused::Fault(fault)) => {
            assert!(matches!(fault.kind, FaultKind::Corrupt(_)), "{fault}");
            None
        }
        Err(refused) => panic!("{refused}"),
    };
    (node.log().start_offset()..node.log().end_offset()).map(one).collect()
}

#[test]
fn a_failed_journal_write_ends_all_appends_and_no_reads() {
    let disk = MemoryDisk::new();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    node.append(&["a"], 0);
    node.accept(LOG, &["b"], 0);
    disk.fail_after(0, broken());
    node.store.settle(NOW);
    disk.heal();
    let says = "write journal/ring at byte 4096: broken";
    assert_eq!(node.store.failed().map(ToString::to_string).as_deref(), Some(says));
    for id in [LOG, LogId(2)] {
        let refused = node.store.append(id, &batch_of(&["c"], 0), AT).unwrap_err();
        assert_eq!(refused.to_string(), says);
    }
    assert_eq!((node.log().durable_offset(), node.log().end_offset()), (1, 2));
    assert_eq!(node.texts(), ["a"]);
    assert_eq!(node.store.take_advanced(), BTreeSet::from([LOG, LogId(2)]));
}

#[test]
fn a_failed_flush_ends_the_appends_of_its_log_only() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    node.append(&["a"], 0);
    disk.create_dir_all("t-0/00000000000000000000.log").expect("in the way of the segment");
    node.accept(LogId(2), &["x"], 0);
    node.flush();
    let fault = node.log().failed().expect("it failed").to_string();
    assert_eq!(fault, "open t-0/00000000000000000000.log: is a directory");
    assert!(matches!(
        node.store.append(LOG, &batch_of(&["b"], 0), AT),
        Err(AppendRefused::Fault(_))
    ));
    node.accept(LogId(2), &["y"], 0);
    node.flush();
    assert_eq!(
        (node.texts(), node.texts_of(LogId(2)).concat()),
        (vec!["a".to_owned()], "xy".into())
    );
    // What could not be flushed is still in the journal.
    disk.remove_dir_all("t-0").expect("out of the way");
    let node = Node::open_with(&power_cut(&disk), CONFIG, 2);
    assert_eq!(
        (node.texts().concat(), node.texts_of(LogId(2)).concat()),
        ("a".into(), "xy".into())
    );
}

#[test]
fn a_full_disk_delays_the_flush_and_loses_nothing() {
    for spare in (0..600).step_by(7) {
        let disk = MemoryDisk::new();
        let mut node = Node::open_with(&disk, SMALL, 1);
        for at in 0..9 {
            node.append(&[&format!("b{at}")], at);
        }
        disk.set_capacity(disk.used_bytes() + spare);
        node.flush();
        let all: Vec<String> = (0..9).map(|at| format!("b{at}")).collect();
        assert_eq!((node.texts(), node.log().failed()), (all.clone(), None), "{spare}");
        let reopened = Node::open_with(&disk.fork(), SMALL, 1);
        assert_eq!(reopened.texts(), all, "{spare}");
        disk.set_capacity(u64::MAX);
        node.append(&["after"], 9);
        let disk = node.close();
        let node = Node::open_with(&disk, SMALL, 1);
        assert_eq!((node.texts().len(), &node.logs[0]), (10, &Recovered::default()), "{spare}");
    }
}

#[test]
fn too_many_open_files_delay_the_flush_and_lose_nothing() {
    for calls in 0..12 {
        let disk = MemoryDisk::new();
        let mut node = Node::open_with(&disk, SMALL, 1);
        for at in 0..9 {
            node.append(&[&format!("b{at}")], at);
        }
        disk.fail_after(calls, FaultKind::TooManyFiles);
        node.flush();
        disk.heal();
        assert_eq!((node.texts().len(), node.log().failed()), (9, None), "{calls}");
        node.append(&["after"], 9);
        let disk = node.close();
        let node = Node::open_with(&disk, SMALL, 1);
        assert_eq!((node.texts().len(), &node.logs[0]), (10, &Recovered::default()), "{calls}");
    }
}

#[test]
fn damage_is_served_around_and_told_of_once() {
    let disk = closed_log();
    let path = "t-0/00000000000000000003.log";
    let bytes = disk.read_raw(path).expect("a segment").len() as u64;
    assert!(disk.flip_bit(path, bytes / 2 * 8));
    let mut node = Node::open_with(&disk, SMALL, 1);
    assert_eq!(node.logs, [Recovered::default()], "an old segment is not scanned at open");
    let expected: Vec<_> = (0..12).map(|at| (at != 4).then(|| format!("b{at}"))).collect();
    assert_eq!(served(&node), expected);
    assert_eq!(served(&node), expected);
    let rots = node.store.take_rot();
    let told: Vec<_> = rots.iter().map(|rot| (rot.id, rot.offsets, rot.fault.offset)).collect();
    assert_eq!(told, [(LOG, (4, 5), Some(70))]);
}

#[test]
fn the_scrubber_finds_what_nobody_reads() {
    let disk = closed_log();
    assert!(disk.flip_bit("t-0/00000000000000000003.log", 300));
    let config = StoreConfig { scrub_bytes_per_second: 1 << 20, ..small_store() };
    let mut node = Node::try_open(&disk, config, SMALL, 1).expect("it opens");
    let mut now = NOW;
    for _ in 0..40 {
        now.mono_ms += 100;
        while let Some(mut work) = node.store.next_work(now) {
            work.run();
            node.store.work_done(now, work);
        }
    }
    let rots = node.store.take_rot();
    let told: Vec<_> = rots.iter().map(|rot| (rot.id, rot.offsets)).collect();
    assert_eq!(told, [(LOG, (3, 4))]);
}

#[test]
fn a_lost_checkpoint_makes_everything_count_as_durable() {
    let disk = closed_log();
    assert!(disk.flip_bit("checkpoint", 100));
    assert!(disk.flip_bit("t-0/00000000000000000003.log", 70 * 8 + 300));
    let node = Node::open_with(&disk, SMALL, 1);
    assert_eq!(node.recovered.damaged.len(), 1);
    let reported: Vec<_> =
        node.logs[0].damaged.iter().map(|fault| (fault.path.as_str(), fault.offset)).collect();
    assert_eq!(reported, [("t-0/00000000000000000003.log", Some(70))]);
    assert_eq!((node.logs[0].cut_bytes, node.log().end_offset()), (0, 12));
    assert_eq!(served(&node).iter().filter(|text| text.is_none()).count(), 1);
}

#[test]
fn missing_segments_are_reported_and_their_offsets_stay_taken() {
    let whole = closed_log();
    for path in whole.files().into_iter().filter(|path| path.ends_with(".log")) {
        let disk = whole.fork();
        disk.remove_file(&path).expect("it was there");
        let mut node = Node::open_with(&disk, SMALL, 1);
        assert_eq!((node.log().start_offset(), node.log().end_offset()), (0, 12), "{path}");
        assert_eq!(served(&node).iter().filter(|text| text.is_none()).count(), 3, "{path}");
        node.append(&["after"], 0);
        assert_eq!(node.texts_from(LOG, 12, 100).expect("sound"), ["after"]);
    }
}

#[test]
fn keys_that_no_log_takes_are_told_and_kept_or_forgotten() {
    let disk = MemoryDisk::new();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    node.accept(LogId(2), &["x"], 0);
    node.store.settle(NOW);
    drop(node);
    for keep in [true, false] {
        let (mut store, _) = Store::open(Arc::new(disk.clone()), small_store()).expect("opens");
        store.open_log(LOG, key(LOG), &dir(LOG), CONFIG).expect("opens");
        assert_eq!(store.begin(keep), Ok(vec![(key(LogId(2)), 1)]), "keep: {keep}");
        store.close().expect("it closes");
    }
    let node = Node::open_with(&disk, CONFIG, 2);
    assert_eq!((node.unclaimed.len(), node.texts_of(LogId(2)).len()), (0, 0));
}

#[test]
fn producers_are_remembered_through_flushes_stops_and_lost_snapshots() {
    let disk = closed_log();
    let state = Node::open_with(&disk, SMALL, 1).log().producers();
    assert_eq!(state.len(), 10, "five batches of two producers");
    let newest = disk.files().into_iter().rfind(|path| path.ends_with(".snapshot"));
    assert!(disk.flip_bit(&newest.expect("a snapshot"), 100));
    let mut node = Node::open_with(&disk, SMALL, 1);
    assert_eq!(node.log().producers(), state);
    let again = producer_batch(&["b11"], 111, Some((1, 0, 5)));
    let duplicate = Appended::Duplicate { base_offset: 11, last_offset: 11 };
    assert_eq!(node.store.append(LOG, &again, AT), Ok(duplicate));
}

#[test]
fn readers_keep_what_retention_removes() {
    let disk = MemoryDisk::new();
    let config = StoreConfig { cache_bytes: 0, ..small_store() };
    let mut node = Node::try_open(&disk, config, SMALL, 1).expect("it opens");
    for at in 0..12 {
        node.append(&[&format!("b{at}")], at);
    }
    node.flush();
    let Ok(Reading::Cold(cold)) = node.store.read(LOG, 0, 12, 1000) else { panic!("a cold read") };
    assert_eq!(node.store.advance_start(LOG, 6), Ok(true));
    node.store.settle(NOW);
    while let Some(mut work) = node.store.next_work(NOW) {
        work.run();
        node.store.work_done(NOW, work);
    }
    assert!(disk.open("t-0/00000000000000000000.log", OpenMode::Existing).is_err(), "it is gone");
    assert!(!cold.run().expect("readable all the same").is_empty());
    assert_eq!(node.texts(), ["b6", "b7", "b8", "b9", "b10", "b11"]);
}

#[test]
fn files_open_for_readers_are_bounded() {
    let disk = closed_log();
    let config = StoreConfig { open_files_max: 3, cache_bytes: 0, ..small_store() };
    let node = Node::try_open(&disk, config, SMALL, 1).expect("it opens");
    for _ in 0..2 {
        assert_eq!(node.texts().len(), 12);
        assert_eq!(node.store.open_files(), 3);
    }
}

#[test]
fn a_start_of_the_journal_that_could_not_be_moved_is_told_of_until_it_was() {
    let disk = MemoryDisk::new();
    let mut node = Node::open(&disk);
    node.append(&["a"], 1);
    let store = &mut node.store;
    store.flushing.urgent = true;
    let mut work = loop {
        let mut work = store.next_work(NOW).expect("the start moves after the round");
        if matches!(work.job, work::Job::MoveStart(_)) {
            break work;
        }
        work.run();
        store.work_done(NOW, work);
    };
    store.flushing.urgent = false;
    disk.fail_after(0, FaultKind::Io("broken".to_owned()));
    work.run();
    store.work_done(NOW, work);
    assert!(store.flush_fault().is_some());
    disk.heal();
    turn(store, NOW.mono_ms + 10_000, 3);
    assert_eq!(store.flush_fault(), None);
}
