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
