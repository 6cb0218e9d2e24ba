//! Logs that skip the journal.

use super::*;
use crate::store::work::Job;
use crate::{Disk as _, OpenMode};

#[test]
fn a_volatile_log_that_trickles_does_not_keep_the_cache_from_shrinking() {
    let config = StoreConfig { cache_bytes: 64 << 10, ..small_store() };
    let disk = MemoryDisk::new();
    let (mut store, _) = Store::open(Arc::new(disk), config).expect("opens");
    store.open_log(LOG, key(LOG), &dir(LOG), CONFIG).expect("opens");
    store.open_log(B, key(B), &dir(B), VOLATILE).expect("opens");
    store.begin(false).expect("begins");
    let value = "x".repeat(10_000);
    store.append(B, &batch_of(&["v"], 0), AT).expect("appended");
    for step in 0..400_u64 {
        store.append(LOG, &batch_of(&[&value], 0), AT).expect("appended");
        store.settle(NOW);
        store.flushing.urgent = true;
        let now = at(1_000_000 + step);
        while let Some(mut work) = store.next_work(now) {
            work.run();
            // A small batch arrives while the round is out.
            if matches!(work.job, Job::Round(_)) {
                store.append(B, &batch_of(&["v"], 0), AT).expect("appended");
                store.flushing.urgent = false;
            }
            store.work_done(now, work);
        }
    }
    let held = store.cache.bytes();
    assert!(held <= 128 << 10, "{held} bytes are held where 65536 are allowed");
}

#[test]
fn a_log_that_ceases_to_be_volatile_reports_no_damage_after_a_power_cut() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, VOLATILE, 1);
    node.accept(LOG, &["v"], 0);
    node.store.configure(LOG, CONFIG);
    node.append(&["d"], 0);
    let left = Node::open_with(&power_cut(&disk), CONFIG, 1);
    assert_eq!(left.logs[0].damaged, [], "a power cut is no damage");
}

#[test]
fn what_a_log_has_in_memory_is_durable_soon_after_it_ceases_to_be_volatile() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, VOLATILE, 1);
    node.accept(LOG, &["v", "w"], 0);
    node.store.configure(LOG, CONFIG);
    node.store.settle(NOW);
    let left = Node::open_with(&power_cut(&disk), CONFIG, 1);
    assert_eq!(left.texts(), ["v", "w"]);
}

#[test]
fn closing_says_what_was_in_memory_only_and_is_lost() {
    type Case = (&'static str, fn(&MemoryDisk), Option<(i64, i64)>);
    let table: [Case; 3] = [
        ("all is well", |_| {}, None),
        (
            "the flush of the log fails",
            |disk| disk.create_dir_all("t-0/00000000000000000000.log").expect("made"),
            Some((1, 4)),
        ),
        ("the disk is full", |disk| disk.set_capacity(disk.used_bytes()), Some((1, 4))),
    ];
    for (what, trouble, lost) in table {
        let disk = MemoryDisk::new();
        let (mut store, _) = Store::open(Arc::new(disk.clone()), small_store()).expect("opens");
        store.open_log(LOG, key(LOG), &dir(LOG), CONFIG).expect("opens");
        store.open_log(B, key(B), &dir(B), CONFIG).expect("opens");
        store.begin(false).expect("begins");
        // The journal has the first batch; those after it skip it.
        store.append(LOG, &batch_of(&["kept"], 0), AT).expect("appended");
        store.append(B, &batch_of(&["kept"], 0), AT).expect("appended");
        store.settle(NOW);
        store.configure(LOG, VOLATILE);
        store.append(LOG, &batch_of(&["x"], 0), AT).expect("appended");
        store.append(LOG, &batch_of(&["y", "z"], 0), AT).expect("appended");
        trouble(&disk);
        let said = lost.map(|(first, end)| Fault {
            operation: "close",
            path: "t-0".to_owned(),
            offset: None,
            kind: FaultKind::Lost { first, end, others: 0 },
        });
        assert_eq!(store.close().err(), said, "{what}");
        drop(store);
        disk.set_capacity(u64::MAX);
        disk.remove_dir_all("t-0/00000000000000000000.log").ok();
        let node = Node::open_with(&disk, CONFIG, 2);
        assert_eq!(node.recovered.closed, lost.is_none(), "{what}");
        let left = if lost.is_some() { vec!["kept"] } else { vec!["kept", "x", "y", "z"] };
        assert_eq!(node.texts_of(LOG), left, "{what}");
        assert_eq!(node.texts_of(B), ["kept"], "{what}");
    }
}

#[test]
fn a_snapshot_of_batches_that_were_lost_is_not_believed_when_it_comes_back() {
    let producers_of = |log: &PartitionLog| -> Vec<i64> {
        log.producers().iter().map(|entry| entry.producer_id).collect()
    };
    let snapshot = "t-0/00000000000000000003.snapshot";
    let begin = |disk: &MemoryDisk| {
        let mut node = Node::open_with(disk, VOLATILE, 1);
        let first = producer_batch(&["a"], 0, Some((2, 0, 0)));
        node.store.append(LOG, &first, AT).expect("appended");
        node.flush();
        node
    };
    // A life in which a producer has written the last two records.
    let mut lost = begin(&MemoryDisk::new());
    let second = producer_batch(&["b", "c"], 0, Some((12, 0, 0)));
    lost.store.append(LOG, &second, AT).expect("appended");
    lost.flush();
    let stale = lost.disk.read_raw(snapshot).expect("a snapshot");
    // And one in which the same offsets are nobody's.
    let mut node = begin(&MemoryDisk::new());
    node.accept(LOG, &["d", "e"], 0);
    node.flush();
    let disk = node.close();
    let file = disk.open(snapshot, OpenMode::Create).expect("created");
    file.write_at(&stale, 0).expect("written");

    let node = Node::open_with(&disk, VOLATILE, 1);
    assert_eq!(node.texts(), ["a", "d", "e"]);
    assert_eq!(producers_of(node.log()), [2]);
}
