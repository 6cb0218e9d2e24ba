//! What retention removes.

use super::*;

/// Retention by size of a log with a rotten batch in an old segment.
fn retained(rotten: bool) -> i64 {
    let disk = MemoryDisk::new();
    let config = LogConfig { delete: false, ..SMALL };
    let mut node = Node::open_with(&disk, config, 1);
    for n in 0..40 {
        node.append(&[&format!("v{n}")], n);
    }
    let disk = node.close();
    let mut segments: Vec<String> =
        disk.files().into_iter().filter(|path| path.ends_with(".log")).collect();
    segments.sort();
    if rotten {
        assert!(disk.flip_bit(&segments[5], 8 * 40), "a bit of its first batch");
    }
    let config = LogConfig { retention_bytes: 500, retention_ms: -1, ..SMALL };
    let mut node = Node::open_with(&disk, config, 1);
    turn(&mut node.store, 1_000_000, 2000);
    node.log().start_offset()
}

#[test]
fn retention_without_rot() {
    assert!(retained(false) > 20);
}

#[test]
fn rot_does_not_end_retention() {
    assert!(retained(true) > 20, "nothing of this log is ever removed again");
}
