//! What opening makes of folders that lack something, and of logs that are opened late.

use super::*;
use crate::store::work::Job;
use crate::{Disk as _, EndMarker, Ending};

#[test]
fn a_log_that_is_opened_during_a_round_keeps_its_frames() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    node.append(&["a"], 0);
    node.accept(B, &["b"], 0);
    node.store.settle(NOW);
    let left = power_cut(&disk);
    // The second log's opening fails at first.
    let (mut store, _) = Store::open(Arc::new(left.clone()), small_store()).expect("opens");
    store.open_log(LOG, key(LOG), &dir(LOG), CONFIG).expect("opens");
    store.begin(true).expect("begins");
    store.flushing.urgent = true;
    let mut round = loop {
        match store.next_work(NOW) {
            Some(work) if matches!(work.job, Job::Round(_)) => break work,
            Some(mut work) => {
                work.run();
                store.work_done(NOW, work);
            }
            None => {}
        }
    };
    store.open_log(B, key(B), &dir(B), CONFIG).expect("opens now");
    assert_eq!(store.log(B).expect("open").durable_offset(), 1);
    round.run();
    store.work_done(NOW, round);
    let mut start = store.next_work(NOW).expect("the start moves");
    start.run();
    store.work_done(NOW, start);
    let node = Node::open_with(&power_cut(&left), CONFIG, 2);
    assert_eq!(node.texts(), ["a"]);
    assert_eq!(node.texts_of(B), ["b"], "acknowledged, served, and lost");
}

/// A folder as Kafka leaves it after compaction: a gap within a segment and between two.
#[test]
fn a_compacted_log_without_a_record_stays_a_compacted_log() {
    let disk = MemoryDisk::new();
    let mut node = Node::open_with(&disk, SMALL, 1);
    for n in 0..12 {
        node.append(&[&format!("v{n}")], n);
    }
    let disk = node.close();
    let segments: Vec<String> =
        disk.files().into_iter().filter(|path| path.ends_with(".log")).collect();
    let first = disk.read_raw(&segments[0]).expect("a segment");
    let len = batch_of(&["v0"], 0).bytes().len();
    assert!(first.len() >= 2 * len && segments.len() > 2);
    // Without its last batch, which ends just before the next segment.
    let cut = first.len() as u64 - len as u64;
    assert!(disk.truncate_raw(&segments[0], cut));
    for path in disk.files() {
        let derived = [".index", ".timeindex"].iter().any(|end| path.ends_with(end));
        if derived || path == "checkpoint" || path.starts_with("journal") {
            disk.remove_file(&path).expect("removed");
        }
    }
    let config = LogConfig { compact: true, delete: false, ..SMALL };
    let gap = (cut as usize / len) as i64;
    let read = |node: &Node| node.store.read_now(LOG, gap, 12, 1);
    let node = Node::open_with(&disk, config, 1);
    assert!(read(&node).is_ok(), "first opening: {:?}", read(&node));
    let node = Node::open_with(&node.close(), config, 1);
    assert!(read(&node).is_ok(), "second opening: {:?}", read(&node));
}

#[test]
fn a_lost_index_of_aborted_transactions_is_told_of() {
    let mut node = Node::open(&MemoryDisk::new());
    let mut builder = BatchBuilder::new().producer(9, 0, 0).transactional();
    builder.push(&NewRecord { value: Some(Bytes::from_static(b"t")), ..NewRecord::default() });
    node.store.append(LOG, &builder.build(), AT).expect("appended");
    let end = EndMarker { ending: Ending::Abort, coordinator_epoch: 0 }.batch(9, 0, 0);
    node.store.append(LOG, &end, AT).expect("appended");
    node.store.settle(NOW);
    assert_eq!(node.log().aborted(0, 2), [(9, 0)]);
    let disk = node.close();
    disk.remove_file("t-0/00000000000000000000.txnindex").expect("it was there");
    let node = Node::open(&disk);
    let told = !node.logs[0].damaged.is_empty();
    assert!(told || node.log().aborted(0, 2) == [(9, 0)], "aborted records are served in silence");
}

#[test]
fn a_segment_that_retention_removed_is_not_missed_where_the_checkpoint_failed() {
    let disk = MemoryDisk::with_crash_model();
    let config = LogConfig { delete: false, ..SMALL };
    let mut node = Node::open_with(&disk, config, 1);
    for n in 0..4 {
        node.append(&[&format!("v{n}")], n);
    }
    turn(&mut node.store, 1_000_000, 20);
    assert_eq!(node.store.unflushed_bytes(), 0);
    // No checkpoint can be written from here on.
    disk.create_dir_all("checkpoint.new").expect("made");
    for n in 4..12 {
        node.append(&[&format!("v{n}")], n);
    }
    turn(&mut node.store, 2_000_000, 20);
    assert_eq!(node.store.unflushed_bytes(), 0);
    assert!(node.store.flush_fault().is_some());
    assert_eq!(node.store.advance_start(LOG, 10), Ok(true));
    turn(&mut node.store, 3_000_000, 20);
    let left = disk.fork();
    left.remove_dir_all("checkpoint.new").expect("removed");
    let node = Node::open_with(&left, config, 1);
    assert_eq!(node.texts(), ["v10", "v11"]);
    assert_eq!(node.logs[0].damaged, [], "what retention removed is no damage");
}
