//! What a log that failed, or a failed journal, leaves to the others.

use super::full::ring;
use super::*;
use crate::Disk as _;
use crate::store::work::Job;

#[test]
fn a_start_offset_in_the_journal_does_not_hide_the_batches_before_it() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    for text in ["a", "b", "c"] {
        node.append(&[text], 0);
    }
    assert_eq!(node.store.advance_start(LOG, 1), Ok(true));
    node.store.settle(NOW);
    let left = power_cut(&disk);
    let mut node = Node::open_with(&left, CONFIG, 2);
    assert_eq!(node.texts(), ["b", "c"]);
    // This log's files cannot be written, the other's can.
    left.create_dir_all("t-0/00000000000000000000.log").expect("made");
    node.accept(B, &["x"], 0);
    node.flush();
    assert!(node.log().failed().is_some());
    let left = power_cut(&left);
    left.remove_dir_all("t-0").ok();
    let node = Node::open_with(&left, CONFIG, 2);
    assert_eq!(node.texts(), ["b", "c"], "a log that fails keeps its frames");
}

#[test]
fn a_failed_journal_leaves_nothing_due_that_is_never_done() {
    let disk = MemoryDisk::new();
    let mut node = Node::open(&disk);
    node.append(&["a"], 0);
    node.store.flushing.urgent = true;
    let mut round = loop {
        match node.store.next_work(NOW) {
            Some(work) if matches!(work.job, Job::Round(_)) => break work,
            Some(mut work) => {
                work.run();
                node.store.work_done(NOW, work);
            }
            None => {}
        }
    };
    node.store.flushing.urgent = false;
    round.run();
    node.accept(LOG, &["b"], 0);
    let write = node.store.next_write().expect("a write");
    let fault = Fault {
        operation: "write",
        path: "journal/ring".to_owned(),
        offset: None,
        kind: FaultKind::Io("it broke".to_owned()),
    };
    node.store.write_done(write, Err(fault));
    node.store.work_done(NOW, round);
    for _ in 0..10 {
        assert!(node.store.next_work(at(9_000_000)).is_none());
    }
    let due = node.store.next_timeout_ms();
    assert!(due.is_none_or(|due| due > 9_000_000), "{due:?} is due for ever");
}

#[test]
fn a_log_that_failed_does_not_end_the_others() {
    let disk = MemoryDisk::new();
    let mut node = Node::try_open(&disk, ring(), CONFIG, 2).expect("it opens");
    node.append(&["a"], 0);
    disk.create_dir_all("t-0/00000000000000000000.log").expect("made");
    node.flush();
    assert!(node.log().failed().is_some());
    let batch = batch_of(&[&big()], 0);
    for n in 0..400 {
        let appended = node.store.append(B, &batch, AT);
        assert!(appended.is_ok(), "batch {n}: {appended:?}");
        turn(&mut node.store, 1_000_000 + n * 1000, 4);
    }
}

#[test]
fn unflushed_bytes_of_a_failed_log_do_not_congest_the_store() {
    let config = StoreConfig { unflushed_bytes_max: 100, flush_bytes: 100, ..small_store() };
    let disk = MemoryDisk::new();
    let mut node = Node::try_open(&disk, config, CONFIG, 2).expect("it opens");
    node.append(&[&"a".repeat(200)], 0);
    disk.create_dir_all("t-0/00000000000000000000.log").expect("made");
    turn(&mut node.store, 1_000_000, 20);
    assert!(node.log().failed().is_some());
    assert!(!node.store.congested(), "for ever");
}

#[test]
fn a_volatile_log_that_failed_needs_nothing_of_the_journal() {
    let disk = MemoryDisk::new();
    let (mut store, _) = Store::open(Arc::new(disk.clone()), ring()).expect("opens");
    store.open_log(LOG, key(LOG), &dir(LOG), VOLATILE).expect("opens");
    store.open_log(B, key(B), &dir(B), CONFIG).expect("opens");
    store.begin(false).expect("begins");
    disk.create_dir_all("t-0/00000000000000000000.log").expect("made");
    store.append(LOG, &batch_of(&["v"], 0), AT).expect("appended");
    store.flush_now(NOW);
    assert!(store.log(LOG).expect("open").failed().is_some());
    let batch = batch_of(&[&big()], 0);
    for n in 0..400 {
        let appended = store.append(B, &batch, AT);
        assert!(appended.is_ok(), "batch {n}: {appended:?}");
        turn(&mut store, 1_000_000 + n * 1000, 4);
    }
}
