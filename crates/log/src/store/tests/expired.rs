//! Producers that write nothing for long.

use super::*;
use crate::AppendRefused;

const EXPIRY_MS: i64 = 1_000;

fn expire(node: &mut Node, mono_ms: u64) {
    let log = node.store.logs.get_mut(&LOG).expect("it is open");
    log.expire_producers(mono_ms, EXPIRY_MS);
}

fn send(node: &mut Node, sequence: i32) -> Result<Appended, AppendRefused> {
    let appended = node.store.append(LOG, &producer_batch(&["x"], 0, Some((7, 0, sequence))), AT);
    node.store.settle(NOW);
    appended
}

#[test]
fn a_producer_whose_newest_batch_is_not_flushed_is_known_as_well_after_a_crash() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open(&disk);
    send(&mut node, 0).expect("appended");
    node.flush();
    expire(&mut node, 0);
    send(&mut node, 1).expect("appended");
    // What is in segments is old enough to be forgotten; the producer is not.
    expire(&mut node, 1_000);
    node.flush();
    let mut node = Node::open(&power_cut(&disk));
    let again = Appended::Duplicate { base_offset: 0, last_offset: 0 };
    assert_eq!(send(&mut node, 0), Ok(again));
}

#[test]
fn an_expired_producer_is_forgotten_in_what_is_flushed_too() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open(&disk);
    send(&mut node, 0).expect("appended");
    node.flush();
    expire(&mut node, 0);
    expire(&mut node, 1_000);
    // Makes the next snapshot.
    node.store.append(LOG, &producer_batch(&["y"], 0, Some((8, 0, 0))), AT).expect("appended");
    node.flush();
    let mut node = Node::open(&power_cut(&disk));
    assert_eq!(send(&mut node, 0), Ok(Appended::Written { base_offset: 2, last_offset: 2 }));
}

#[test]
fn a_producer_that_expires_under_a_flush_is_forgotten_by_the_next_one() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open(&disk);
    send(&mut node, 0).expect("appended");
    node.flush();
    expire(&mut node, 0);
    node.accept(LOG, &["makes a flush"], 0);
    node.store.settle(NOW);
    let mut moments = (0..10).map(|step| at(2_000_000 + step * 1_000));
    let mut round = moments.find_map(|now| node.store.next_flush(now)).expect("a flush is due");
    round.run();
    expire(&mut node, 1_000);
    node.store.work_done(at(3_000_000), round);
    node.flush();
    expire(&mut node, 2_000);
    node.store.append(LOG, &producer_batch(&["y"], 0, Some((8, 0, 0))), AT).expect("appended");
    node.flush();
    let mut node = Node::open(&power_cut(&disk));
    assert_eq!(send(&mut node, 0), Ok(Appended::Written { base_offset: 3, last_offset: 3 }));
}
