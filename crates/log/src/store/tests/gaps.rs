//! What compaction leaves: offsets that no segment has any more, read and searched past.

use super::*;
use crate::{Disk, TimedOffset};

const COMPACTED: LogConfig = LogConfig { compact: true, delete: false, ..SMALL };
const RECORDS: i64 = 14;
/// The first record that is in the journal only.
const JOURNALED: i64 = 12;

/// The disk of a compacted log with a record `v0`, `v1`... at each offset and time, its first twelve in
/// sealed segments; and the base offsets of these, with the end.
fn compacted_log() -> (MemoryDisk, Vec<i64>) {
    let mut node = Node::open_with(&MemoryDisk::new(), COMPACTED, 1);
    for n in 0..JOURNALED {
        node.append(&[&format!("v{n}")], n);
    }
    let log = node.store.logs.get_mut(&LOG).expect("it is open");
    assert!(!log.may_have_gaps(), "the next checkpoint says so");
    node.flush();
    node.store.logs.get_mut(&LOG).expect("it is open").roll();
    node.store.dirty.insert(LOG);
    node.flush();
    let log = node.log();
    let mut bases: Vec<i64> =
        log.sealed_segments().iter().map(|segment| segment.base_offset).collect();
    assert!(log.sealed_segments().iter().all(|segment| segment.sealed) && bases.len() > 3);
    bases.push(JOURNALED);
    for n in JOURNALED..RECORDS {
        node.append(&[&format!("v{n}")], n);
    }
    (node.disk, bases)
}

/// Takes the last `batches` out of the segment at `base`, and its indexes.
fn cut(disk: &MemoryDisk, base: i64, batches: usize) {
    let path = |suffix: &str| format!("t-0/{base:020}{suffix}");
    let bytes = disk.read_raw(&path(".log")).expect("a segment");
    let sizes: Vec<usize> = split(Bytes::from(bytes.clone()))
        .map(|batch| batch.expect("a valid batch").bytes().len())
        .collect();
    let gone: usize = sizes.iter().rev().take(batches).sum();
    assert!(disk.truncate_raw(&path(".log"), (bytes.len() - gone) as u64));
    for suffix in [".index", ".timeindex"] {
        disk.remove_file(&path(suffix)).expect("removed");
    }
}

fn search(store: &Store, by: ByTime, until: i64) -> Result<Option<TimedOffset>, Fault> {
    match store.search(LOG, by, until)? {
        TimeSearch::Ready(found) => Ok(found),
        TimeSearch::Cold(cold) => cold.run(),
    }
}

/// From every offset, what is left from there on, in one go and limited to what is durable; and by time.
fn check(node: &Node, gone: &dyn Fn(i64) -> bool, what: &str) {
    for from in 0..RECORDS {
        let expected = (from..RECORDS).find(|&offset| !gone(offset));
        for until in [RECORDS, i64::MAX] {
            let read = node.store.read_now(LOG, from, until, 1).expect("readable");
            let first = read.into_iter().next().and_then(|bytes| split(bytes).next());
            let first = first.map(|batch| batch.expect("a valid batch").header().base_offset);
            assert_eq!(first, expected, "{what}: read from {from} below {until}");
        }
        if let Some(expected) = expected {
            let nothing = node.store.read_now(LOG, from, expected, 1);
            assert_eq!(nothing, Ok(Vec::new()), "{what}: read from {from} below {expected}");
        }
        let found = search(&node.store, ByTime::FirstFrom(from), RECORDS);
        let timed = expected.map(|offset| TimedOffset { offset, timestamp: offset });
        assert_eq!(found, Ok(timed), "{what}: search from {from}");
    }
    let last = (0..RECORDS).rev().find(|&offset| !gone(offset));
    let timed = last.map(|offset| TimedOffset { offset, timestamp: offset });
    assert_eq!(search(&node.store, ByTime::Latest, RECORDS), Ok(timed), "{what}: latest");
}

#[test]
fn a_read_from_a_gap_goes_on_with_the_next_batch_wherever_that_is() {
    let (_, bases) = compacted_log();
    let last = bases.len() - 2;
    let many = usize::MAX;
    // Which segments, by number, lose how many of their last batches.
    let cases: [(&str, Vec<(usize, usize)>); 6] = [
        ("the end of the first", vec![(0, 1)]),
        ("one that is empty", vec![(1, many)]),
        ("several that are empty", vec![(0, 1), (1, many), (2, many)]),
        ("the end of the last", vec![(last, 1)]),
        ("the last is empty", vec![(last, many)]),
        ("all are empty", (0..=last).map(|number| (number, many)).collect()),
    ];
    for (what, cuts) in cases {
        let (disk, bases) = compacted_log();
        for &(number, batches) in &cuts {
            cut(&disk, bases[number], batches);
        }
        let gone = |offset: i64| {
            cuts.iter().any(|&(number, batches)| {
                let (base, end) = (bases[number], bases[number + 1]);
                let kept = end - i64::try_from(batches).unwrap_or(i64::MAX).min(end - base);
                (kept..end).contains(&offset)
            })
        };
        let node = Node::open_with(&disk, COMPACTED, 1);
        assert_eq!(node.logs[0].damaged, [], "{what}");
        check(&node, &gone, what);
    }
}

#[test]
fn a_gap_between_two_segments_is_read_past() {
    let (disk, bases) = compacted_log();
    let disk = Node::open_with(&disk, COMPACTED, 1).close();
    cut(&disk, bases[0], 1);
    cut(&disk, bases[1], usize::MAX);
    for path in disk.files() {
        if path == "checkpoint" || path.starts_with("journal") {
            disk.remove_file(&path).expect("removed");
        }
    }
    let node = Node::open_with(&disk, COMPACTED, 1);
    let segments = node.log().sealed_segments();
    assert!(segments[0].next_offset < bases[1], "the first ends with its last batch");
    check(&node, &|offset| (bases[1] - 1..bases[2]).contains(&offset), "found again");
}
