//! A node that was killed, and a power cut after its next start.

use super::*;
use crate::{Disk as _, OpenMode};

#[test]
fn a_checkpoint_that_was_renamed_only_is_durable_once_it_was_read() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open(&disk);
    node.append(&["a"], 1);
    node.flush();
    let older = disk.read_raw("checkpoint").expect("it was written");
    node.append(&["b"], 2);
    node.flush();
    let newer = disk.read_raw("checkpoint").expect("it was written");
    assert_ne!(older, newer);

    disk.rename("checkpoint", "checkpoint.new").unwrap();
    let file = disk.open("checkpoint", OpenMode::Create).unwrap();
    file.write_at(&older, 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    disk.rename("checkpoint.new", "checkpoint").unwrap();
    assert_eq!(power_cut(&disk).read_raw("checkpoint"), Some(older));
    Store::open(Arc::new(disk.clone()), small_store()).unwrap();
    assert_eq!(power_cut(&disk).read_raw("checkpoint"), Some(newer));
}
