//! A flush round whose parts are done side by side.

use super::*;
use crate::limits::{FLUSH_PARTS_MAX, FLUSH_SYNC_ALL_FILES};
use crate::{Disk as _, OpenMode};

const LOGS: u64 = 20;

/// Twenty logs with a batch each, which are durable; every log is a part as far as there may be so many.
fn divided(disk: &MemoryDisk) -> Node {
    let store = StoreConfig { flush_part_bytes: 1, ..small_store() };
    let mut node = Node::try_open(disk, store, CONFIG, LOGS).expect("it opens");
    for id in 1..=LOGS {
        let batch = producer_batch(&[&format!("of {id}")], 0, Some((1, 0, 0)));
        node.store.append(LogId(id), &batch, AT).expect("appended");
    }
    write(&mut node.store);
    node
}

fn write(store: &mut Store) {
    while let Some(write) = store.next_write() {
        let outcome = write.run();
        store.write_done(write, outcome);
    }
}

/// Everything that can be out at once when a round is, some time after `from_ms`.
fn parts(store: &mut Store, from_ms: u64) -> Vec<Work> {
    for step in 0..100 {
        let now = at(from_ms + step * 1000);
        let mut works: Vec<Work> = std::iter::from_fn(|| store.next_flush(now)).collect();
        if works.len() > 1 {
            return works;
        }
        for mut alone in works.drain(..) {
            alone.run();
            store.work_done(now, alone);
        }
    }
    panic!("no round with several parts");
}

fn all_texts(node: &Node) -> Vec<String> {
    (1..=LOGS).flat_map(|id| node.texts_of(LogId(id))).collect()
}

fn expected() -> Vec<String> {
    (1..=LOGS).map(|id| format!("of {id}")).collect()
}

#[test]
fn parts_run_in_any_order_and_count_when_all_are_done() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = divided(&disk);
    let mut works = parts(&mut node.store, 1_000_000);
    assert!((2..=FLUSH_PARTS_MAX).contains(&works.len()), "{} parts", works.len());
    works.iter_mut().rev().for_each(Work::run);
    let before = node.store.unflushed_bytes();
    while let Some(work) = works.pop() {
        assert!(node.store.next_flush(NOW).is_none(), "a part is out");
        node.store.work_done(NOW, work);
    }
    assert_eq!(node.store.unflushed_bytes(), before, "no checkpoint says so yet");
    assert_eq!(node.store.flush_due_ms(), Some(0));
    let mut round = node.store.next_flush(NOW).expect("the rest of the round");
    round.run();
    node.store.work_done(NOW, round);
    assert_eq!(node.store.unflushed_bytes(), 0);
    let node = Node::try_open(&power_cut(&disk), small_store(), CONFIG, LOGS).expect("it opens");
    assert_eq!(all_texts(&node), expected());
}

#[test]
fn a_store_is_closed_between_the_parts_of_a_round() {
    for done in 1..FLUSH_PARTS_MAX {
        let disk = MemoryDisk::new();
        let mut node = divided(&disk);
        let works = std::iter::from_fn(|| {
            let mut work = node.store.next_flush(NOW)?;
            work.run();
            Some(work)
        });
        let works: Vec<Work> = works.take(done).collect();
        for work in works {
            node.store.work_done(NOW, work);
        }
        node.store.close().expect("it closes");
        let node = Node::try_open(&disk, small_store(), CONFIG, LOGS).expect("it opens");
        assert_eq!(node.recovered.journal_entries, 0, "closed after {done} parts");
        assert_eq!(all_texts(&node), expected(), "closed after {done} parts");
    }
}

#[test]
fn the_rest_of_a_round_leaves_a_removed_log_s_folder_alone() {
    let disk = MemoryDisk::new();
    let mut node = divided(&disk);
    // A third snapshot makes the first one go.
    for sequence in 1..3 {
        node.flush();
        let batch = producer_batch(&["more"], 0, Some((1, 0, sequence)));
        node.store.append(LOG, &batch, AT).expect("appended");
        for id in 2..=LOGS {
            node.accept(LogId(id), &["more"], 0);
        }
        write(&mut node.store);
    }
    let mut works = parts(&mut node.store, 2_000_000);
    works.iter_mut().for_each(Work::run);
    node.store.remove_log(LOG);
    let others = format!("{}/{}", dir(LOG), "00000000000000000001.snapshot");
    disk.open(&others, OpenMode::Create).expect("of a log with the same name");
    for work in works {
        node.store.work_done(NOW, work);
    }
    turn(&mut node.store, 3_000_000, 5);
    assert!(disk.read_raw(&others).is_some(), "it is somebody else's");
}

#[test]
fn what_many_files_hold_outlasts_the_power() {
    for flush_part_bytes in [1, u64::MAX] {
        let disk = MemoryDisk::with_crash_model();
        let store = StoreConfig { flush_part_bytes, ..small_store() };
        let logs = 4 * FLUSH_SYNC_ALL_FILES as u64 * FLUSH_PARTS_MAX as u64;
        let mut node = Node::try_open(&disk, store, CONFIG, logs).expect("it opens");
        for id in 1..=logs {
            node.accept(LogId(id), &["kept"], 0);
        }
        node.flush();
        assert_eq!(node.store.unflushed_bytes(), 0);
        let left = power_cut(&disk);
        let node = Node::try_open(&left, store, CONFIG, logs).expect("it opens");
        assert_eq!(node.recovered.journal_entries, 0, "segments alone have it");
        assert!((1..=logs).all(|id| node.texts_of(LogId(id)) == ["kept"]));
    }
}
