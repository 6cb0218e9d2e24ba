//! A folder of which nothing is known, with an end that is no batch: the log ends before it, and what is cut
//! is kept aside.

use super::*;
use crate::{Disk as _, OpenMode};

const LOG_FILE: &str = "t-0/00000000000000000000.log";
const CUT: &str = "never a batch";

/// The `.log` file alone of a log of three records, with bytes behind them that are no batch, and a batch
/// behind those.
fn foreign() -> (MemoryDisk, u64, Vec<u8>) {
    let mut node = Node::open(&MemoryDisk::new());
    for text in ["a", "b", "c"] {
        node.append(&[text], 1);
    }
    let segment = node.close().read_raw(LOG_FILE).expect("a segment");
    let mut behind = CUT.as_bytes().to_vec();
    behind.extend_from_slice(batch_of(&["lost"], 2).bytes());
    let disk = MemoryDisk::new();
    disk.create_dir_all("t-0").expect("made");
    let file = disk.open(LOG_FILE, OpenMode::Create).expect("made");
    file.write_at(&[segment.as_slice(), &behind].concat(), 0).expect("written");
    (disk, segment.len() as u64, behind)
}

#[test]
fn what_is_cut_off_a_foreign_log_is_kept_aside() {
    let (disk, end, behind) = foreign();
    let node = Node::open(&disk);
    let aside = format!("t-0/00000000000000000000-{end}.cut");
    assert_eq!(node.logs[0].kept_aside.as_deref(), Some(aside.as_str()));
    assert_eq!(node.logs[0].cut_bytes, behind.len() as u64);
    assert_eq!(disk.read_raw(&aside), Some(behind));
    assert_eq!(disk.read_raw(LOG_FILE).map(|bytes| bytes.len() as u64), Some(end));
    assert_eq!(node.texts(), ["a", "b", "c"]);
}

#[test]
fn without_room_to_keep_it_aside_nothing_is_cut() {
    let (disk, end, behind) = foreign();
    // Room for the journal, and not for the copy.
    drop(Node::open_with(&disk, CONFIG, 0));
    disk.set_capacity(disk.used_bytes() + 20);
    let (mut store, _) = Store::open(Arc::new(disk.clone()), small_store()).expect("opens");
    let refused = store.open_log(LOG, key(LOG), &dir(LOG), CONFIG).expect_err("no room");
    assert_eq!(refused.kind, FaultKind::NoSpace);
    assert_eq!(disk.read_raw(LOG_FILE).map(|b| b.len()), Some(end as usize + behind.len()));
    assert_eq!(disk.files().iter().filter(|path| path.contains(".cut")).count(), 0);
}

#[test]
fn an_index_of_transactions_that_never_were_is_not_believed() {
    let (disk, end, _) = foreign();
    assert!(disk.truncate_raw(LOG_FILE, end));
    let stale = "t-0/00000000000000000000.txnindex";
    disk.open(stale, OpenMode::Create).expect("made").write_at(&[7; 34], 0).expect("written");
    let node = Node::open(&disk);
    assert_eq!(node.log().aborted(0, 3), []);
    assert_eq!(node.texts(), ["a", "b", "c"]);
}
