//! The files are Kafka's.

use super::*;

fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.files().iter().map(|path| path.trim_start_matches("t-0/").to_owned()).collect()
}

fn words<const N: usize>(bytes: &[u8]) -> Vec<[u8; N]> {
    bytes.chunks_exact(N).map(|chunk| chunk.try_into().expect("an exact chunk")).collect()
}

#[test]
fn a_segment_is_a_log_an_index_and_a_time_index() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..5 {
        append(&mut log, &["x", "y"], 100 + at);
    }
    log.close().unwrap();
    assert_eq!(
        names(&disk),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000006.index",
            "00000000000000000006.log",
            "00000000000000000006.snapshot",
            "00000000000000000006.timeindex",
            "00000000000000000010.snapshot",
            "checkpoint",
        ]
    );
    let log = disk.read_raw("t-0/00000000000000000000.log").unwrap();
    assert_eq!(log.len(), 3 * 77, "three batches of 61 + 2 * 8 bytes");

    // The third batch (offsets 4 and 5 at byte 154) is the first after more than 100 bytes.
    let index = disk.read_raw("t-0/00000000000000000000.index").unwrap();
    assert_eq!(words::<8>(&index), [[0, 0, 0, 5, 0, 0, 0, 154]]);
    let times = disk.read_raw("t-0/00000000000000000000.timeindex").unwrap();
    assert_eq!(words::<12>(&times), [[0, 0, 0, 0, 0, 0, 0, 102, 0, 0, 0, 5]]);
    // The second segment has no room for an indexed batch; its largest time is noted at the end.
    let times = disk.read_raw("t-0/00000000000000000006.timeindex").unwrap();
    assert_eq!(words::<12>(&times), [[0, 0, 0, 0, 0, 0, 0, 104, 0, 0, 0, 3]]);
}

#[test]
fn a_batch_larger_than_a_segment_has_one_for_itself() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    let long = "l".repeat(1000);
    append(&mut log, &["a"], 0);
    append(&mut log, &[&long], 0);
    append(&mut log, &["b"], 0);
    let logs: Vec<String> = names(&disk).into_iter().filter(|n| n.ends_with(".log")).collect();
    assert_eq!(logs.len(), 3);
    assert_eq!(texts(&log), ["a", &long, "b"]);
    assert_eq!(log.size_bytes(), 69 + 1070 + 69);
}

#[test]
fn two_snapshots_are_kept() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..60 {
        append(&mut log, &["x", "y"], at);
        sync(&mut log);
    }
    log.close().unwrap();
    let kept = names(&disk).into_iter().filter(|name| name.ends_with(".snapshot"));
    let expected = ["00000000000000000116.snapshot", "00000000000000000120.snapshot"];
    assert_eq!(kept.collect::<Vec<_>>(), expected);
}

#[test]
fn a_folder_without_checkpoint_is_taken_over() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..20 {
        append(&mut log, &["x", "y"], at);
    }
    log.close().unwrap();
    for path in disk.files() {
        // What a broker that keeps its checkpoints elsewhere leaves; the oldest segment expired.
        if path.ends_with("checkpoint") || path.contains("/00000000000000000000.") {
            disk.remove_file(&path).unwrap();
        }
    }
    let (log, recovered) = open_with(&disk, SMALL);
    assert_eq!((recovered.cut_bytes, recovered.damaged), (0, vec![]));
    assert_eq!((log.start_offset(), log.end_offset()), (6, 40));
    assert_eq!(texts(&log).len(), 34);
}
