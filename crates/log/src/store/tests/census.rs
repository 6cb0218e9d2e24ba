//! Producers of all logs together.

use super::*;
use crate::AppendRefused;
use crate::limits::OPEN_TRANSACTIONS_SHARE;

const MOST: usize = 16;

fn open(disk: &MemoryDisk, logs: u64) -> Node {
    let config = StoreConfig { producers_max: MOST, ..small_store() };
    Node::try_open(disk, config, CONFIG, logs).expect("the store opens")
}

fn write(node: &mut Node, id: LogId, producer: i64, sequence: i32) -> Result<(), AppendRefused> {
    let batch = producer_batch(&["x"], producer, Some((producer, 0, sequence)));
    node.store.append(id, &batch, AT).map(|_| ())
}

fn begin(node: &mut Node, id: LogId, producer: i64) -> Result<(), AppendRefused> {
    let mut builder = BatchBuilder::new().producer(producer, 0, 0).transactional();
    builder.push(&NewRecord { timestamp: producer, ..NewRecord::default() });
    node.store.append(id, &builder.build(), AT).map(|_| ())
}

fn known(node: &Node, id: LogId) -> Vec<i64> {
    let entries = node.store.log(id).expect("it is open").producers();
    let mut ids: Vec<i64> = entries.iter().map(|entry| entry.producer_id).collect();
    ids.dedup();
    ids
}

#[test]
fn the_log_with_most_producers_forgets_those_that_wrote_longest_ago() {
    let mut node = open(&MemoryDisk::with_crash_model(), 2);
    for producer in [1, 2] {
        write(&mut node, B, producer, 0).expect("appended");
    }
    for producer in 10..30 {
        write(&mut node, LOG, producer, 0).expect("appended");
        assert!(node.store.producers() <= MOST);
    }
    assert_eq!(known(&node, B), [1, 2], "they had their room before the others came");
    assert_eq!(known(&node, LOG), (16..30).collect::<Vec<_>>());
    // One that is known takes nobody's place.
    write(&mut node, LOG, 20, 1).expect("appended");
    assert_eq!((known(&node, B).len(), node.store.producers()), (2, MOST));
    // Who was forgotten is taken with any sequence, like one never seen.
    write(&mut node, LOG, 10, 7).expect("appended");
}

#[test]
fn no_producer_with_an_open_transaction_is_forgotten_and_others_have_room() {
    let mut node = open(&MemoryDisk::with_crash_model(), 2);
    let limit = MOST / OPEN_TRANSACTIONS_SHARE;
    let open: Vec<i64> = (0..limit as i64).collect();
    for producer in &open {
        begin(&mut node, LOG, *producer).expect("appended");
    }
    let refused = Err(AppendRefused::TooManyTransactions { limit });
    for id in [LOG, B] {
        assert_eq!(begin(&mut node, id, 99), refused, "in any log");
    }
    for producer in 100..200 {
        write(&mut node, B, producer, 0).expect("appended");
    }
    assert_eq!((known(&node, LOG), node.store.producers()), (open, MOST));
    assert!(known(&node, B).contains(&199), "who writes now is known");
}

#[test]
fn a_store_that_may_remember_fewer_than_there_are_forgets_the_rest_when_it_opens() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, CONFIG, 2);
    for producer in 0..MOST as i64 {
        write(&mut node, LOG, producer, 0).expect("appended");
        write(&mut node, B, 100 + producer, 0).expect("appended");
    }
    let node = open(&node.close(), 2);
    assert_eq!(node.store.producers(), MOST);
    assert!(known(&node, LOG).contains(&15) && known(&node, B).contains(&115));
}

#[test]
fn a_log_that_goes_makes_room() {
    let mut node = open(&MemoryDisk::with_crash_model(), 2);
    for producer in 0..MOST as i64 {
        write(&mut node, B, producer, 0).expect("appended");
    }
    node.store.remove_log(B);
    assert_eq!(node.store.producers(), 0);
    write(&mut node, LOG, 1, 0).expect("appended");
    assert_eq!(node.store.producers(), 1);
}
