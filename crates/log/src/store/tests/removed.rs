//! Logs that are removed while somebody is at them.

use super::*;
use crate::Disk as _;

#[test]
fn a_cold_read_of_a_removed_log_gives_nothing_of_its_successor() {
    let disk = MemoryDisk::new();
    let config = StoreConfig { cache_bytes: 0, ..small_store() };
    let mut node = Node::try_open(&disk, config, CONFIG, 1).expect("it opens");
    node.append(&["old"], 0);
    node.flush();
    let Reading::Cold(read) = node.store.read(LOG, 0, 9, 1000).expect("readable") else {
        panic!("it is in segments")
    };
    node.store.remove_log(LOG);
    assert!(!node.store.touches(LOG));
    disk.remove_dir_all("t-0").expect("removed");
    let again = LogId(7);
    node.store.open_log(again, key(again), "t-0", CONFIG).expect("opens");
    node.accept(again, &["new"], 0);
    node.flush();
    let found = read.run().map(|read| read.concat());
    let text = found.map(|bytes| String::from_utf8_lossy(&bytes).contains("new"));
    assert_ne!(text, Ok(true), "records of another topic");
}
