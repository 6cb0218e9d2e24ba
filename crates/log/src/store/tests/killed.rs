//! A node that was killed, and what its next start finds.

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

#[test]
fn a_checkpoint_of_a_later_version_is_refused_and_left_as_it_is() {
    let mut node = Node::open(&MemoryDisk::new());
    node.append(&["a"], 1);
    let disk = node.close();
    let mut bytes = disk.read_raw("checkpoint").expect("it was written");
    bytes[9] += 1;
    let version = bytes[9];
    let open = |bytes: &[u8]| {
        disk.open("checkpoint", OpenMode::Existing).unwrap().write_at(bytes, 0).unwrap();
        Store::open(Arc::new(disk.clone()), small_store()).map(|(_, recovered)| recovered)
    };
    // Without its checksum it is damage, as ever.
    assert_eq!(open(&bytes).expect("it opens").damaged.len(), 1);
    let crc = crc32c::crc32c(&bytes[4..24]);
    bytes[..4].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(
        open(&bytes).unwrap_err().to_string(),
        format!("read checkpoint at byte 0: corrupt: format version {version} is not known here")
    );
    assert_eq!(disk.read_raw("checkpoint"), Some(bytes));
}
