//! A journal that is full.

use super::*;

#[test]
fn a_journal_full_of_what_nobody_needs_is_freed() {
    let disk = MemoryDisk::new();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    node.accept(LogId(2), &["of a log that goes"], 1);
    node.store.settle(NOW);
    node.store.remove_log(LogId(2));
    let prepared = disk.read_raw("journal/ring").expect("it is there").len();
    disk.set_capacity(disk.used_bytes());
    // Nothing is dirty, one block is in use, and the ring cannot grow: this needs all of it.
    let text = "x".repeat(prepared - 1_000);
    node.accept(LOG, &[&text], 2);
    node.store.settle(NOW);
    assert!(node.texts() == [text], "it is durable");
}

pub(super) fn ring() -> StoreConfig {
    // The ring is 64 MiB and a block, whatever is asked for.
    StoreConfig {
        journal_bytes: 1 << 20,
        journal_chunk_bytes: 16 << 20,
        flush_bytes: 1 << 40,
        unflushed_bytes_max: 1 << 40,
        flush_after_ms: 1 << 40,
        ..StoreConfig::small()
    }
}

/// Fills the ring until the next frame does not fit, without a flush.
fn fill(store: &mut Store, id: LogId) -> usize {
    let batch = batch_of(&[&big()], 0);
    let mut count = 0;
    loop {
        store.append(id, &batch, AT).expect("appended");
        count += 1;
        loop {
            while let Some(write) = store.next_write() {
                let outcome = write.run();
                store.write_done(write, outcome);
            }
            // Only what grows the ring.
            match store.journal.prepare() {
                Some(mut prepare) => {
                    prepare.run();
                    store.journal.prepared(prepare);
                }
                None => break,
            }
        }
        if store.journal.stalled() {
            return count;
        }
    }
}

#[test]
fn a_full_ring_is_released() {
    let mut node = Node::try_open(&MemoryDisk::new(), ring(), CONFIG, 2).expect("it opens");
    fill(&mut node.store, LOG);
    turn(&mut node.store, 1_000_000, 50);
    assert!(!node.store.congested());
}

#[test]
fn a_full_ring_whose_log_is_removed_is_released() {
    let mut node = Node::try_open(&MemoryDisk::new(), ring(), CONFIG, 2).expect("it opens");
    fill(&mut node.store, LOG);
    node.store.remove_log(LOG);
    turn(&mut node.store, 1_000_000, 50);
    let appended = node.store.append(B, &batch_of(&["b"], 0), AT);
    turn(&mut node.store, 2_000_000, 50);
    assert!(appended.is_ok() && !node.store.congested(), "{appended:?}: stalled for ever");
}

/// A full ring whose flush round came to its end; the power went before the journal's start moved.
fn filled_and_cut() -> MemoryDisk {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::try_open(&disk, ring(), CONFIG, 1).expect("it opens");
    fill(&mut node.store, LOG);
    let mut round = next_round(&mut node.store);
    round.run();
    node.store.work_done(at(1_000_000), round);
    power_cut(&disk)
}

/// Asks for work until there is some.
fn next_round(store: &mut Store) -> Work {
    loop {
        if let Some(work) = store.next_work(at(1_000_000)) {
            return work;
        }
    }
}

#[test]
fn what_a_flush_has_written_is_not_waiting_for_room_any_more() {
    let mut node = Node::open(&MemoryDisk::new());
    node.append(&["a"], 0);
    let bytes = node.store.unflushed_bytes();
    assert_eq!(node.store.unwritten_bytes(), bytes);
    // The ring may be prepared first.
    let round = loop {
        let mut work = next_round(&mut node.store);
        work.run();
        if node.store.unwritten_bytes() == 0 {
            break work;
        }
        node.store.work_done(at(1_000_000), work);
    };
    assert_eq!(node.store.unflushed_bytes(), bytes);
    node.append(&["b"], 0);
    let more = node.store.unwritten_bytes();
    node.store.work_done(at(1_000_000), round);
    assert_eq!((node.store.unflushed_bytes(), node.store.unwritten_bytes()), (more, more));
}

#[test]
fn a_ring_that_is_full_of_what_is_in_segments_is_released_after_a_crash() {
    let left = filled_and_cut();
    let mut node = Node::try_open(&left, ring(), CONFIG, 1).expect("it opens");
    node.store.append(LOG, &batch_of(&[&big()], 0), AT).expect("appended");
    turn(&mut node.store, 1_000_000, 50);
    let log = node.store.log(LOG).expect("it is open");
    assert_eq!(log.durable_offset(), log.end_offset(), "stalled for ever");
}

#[test]
fn a_ring_that_cannot_grow_does_not_keep_flushes_from_running() {
    let disk = MemoryDisk::new();
    let mut node = Node::open(&disk);
    node.append(&["a"], 0);
    // Room for the segment and the checkpoint, not for another 64 KiB of the ring.
    disk.set_capacity(disk.used_bytes() + 32 * 1024);
    node.append(&["b"], 0);
    turn(&mut node.store, 1_000_000, 100);
    assert_eq!(node.store.unflushed_bytes(), 0, "{:?}", node.store.flush_fault());
}

#[test]
fn closing_says_so_when_it_could_not_write_everything() {
    let left = filled_and_cut();
    for life in 0..3 {
        let mut node = Node::try_open(&left, ring(), CONFIG, 1).expect("it opens");
        node.store.append(LOG, &batch_of(&[&big()], 0), AT).expect("appended");
        turn(&mut node.store, 1_000_000, 50);
        let log = node.store.log(LOG).expect("it is open");
        let all = log.durable_offset() == log.end_offset();
        let closed = node.store.close();
        assert!(all || closed.is_err(), "life {life}: an accepted batch was dropped, {closed:?}");
    }
}
