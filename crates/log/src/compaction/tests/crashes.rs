//! A power cut at every call of a cleaning, with every fate of what was not synced, and again inside the
//! recovery from it: the folder is all of the sources or all of the result.

use std::collections::BTreeMap;

use super::*;
use crate::{Fate, FaultKind, Unsynced};

/// Up to so many changes, every combination of fates is tried; above, a seeded choice of them.
const EXHAUSTIVE_MAX: usize = 8;
const CHOSEN: u64 = 24;

type Files = BTreeMap<String, Vec<u8>>;

fn files(disk: &MemoryDisk) -> Files {
    disk.files().into_iter().map(|path| (path.clone(), disk.read_raw(&path).unwrap())).collect()
}

/// Three segments that become one, with files that are none of a segment's.
fn before() -> (MemoryDisk, Vec<SegmentFacts>) {
    let disk = MemoryDisk::with_crash_model();
    disk.create_dir_all(DIR).unwrap();
    let mut segments = Vec::new();
    for number in 0..3 {
        let value = "v".repeat(900);
        let records = [record(1, "a", Some(&value)), record(1, &number.to_string(), Some(&value))];
        segments.push(write_segment(&disk, &[batch(BatchBuilder::new(), number * 2, &records)]));
    }
    let active = batch(BatchBuilder::new(), 6, &[record(1, "a", Some("active"))]);
    write_segment(&disk, &[active]);
    for other in ["00000000000000000002.snapshot", "partition.metadata"] {
        let file = disk.open(&format!("{DIR}/{other}"), OpenMode::Create).unwrap();
        file.write_at(b"other", 0).unwrap();
    }
    let old_txns = names::path(DIR, 0, ".txnindex", "");
    disk.open(&old_txns, OpenMode::Create).unwrap().write_at(&[7; 34], 0).unwrap();
    (disk.fork(), segments)
}

/// All of it, as far as it gets.
fn clean(disk: &MemoryDisk, segments: &[SegmentFacts]) -> Result<(), Fault> {
    let mut job = job(disk, plan_of(segments, 0, 50));
    while let Step::Replaced(replacement) = job.run()? {
        replacement.swap(disk)?;
    }
    Ok(())
}

/// Disks that a power cut now may leave.
fn crashed(disk: &MemoryDisk, mut visit: impl FnMut(MemoryDisk)) {
    let mut changes = 0;
    drop(disk.crash(&mut |_| {
        changes += 1;
        Fate::Lost
    }));
    let combinations = 1_u64 << changes.min(EXHAUSTIVE_MAX);
    let chosen = if changes > EXHAUSTIVE_MAX { CHOSEN } else { combinations };
    let mut state = 7_u64;
    for number in 0..chosen {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The first two choices are: all is lost, all is kept.
        let bits = match number {
            _ if changes <= EXHAUSTIVE_MAX => number,
            0 => 0,
            1 => u64::MAX,
            _ => state >> 7,
        };
        let mut at = 0;
        visit(disk.crash(&mut |change| {
            let kept = bits >> (at % 57) & 1 == 1;
            at += 1;
            match change {
                _ if kept => Fate::Kept,
                Unsynced::Write { .. } => Fate::Torn { sectors: bits.rotate_left(at) },
                Unsynced::Truncate { .. } | Unsynced::Name { .. } => Fate::Lost,
            }
        }));
    }
}

#[derive(Default)]
struct Seen {
    old: u64,
    new: u64,
    images: u64,
}

impl Seen {
    /// Recovers from `disk`, and from a crash at every call of that.
    fn check(&mut self, disk: &MemoryDisk, old: &Files, new: &Files, nested: bool) {
        self.images += 1;
        for calls in 0..if nested { u64::MAX } else { 0 } {
            let again = disk.fork();
            again.fail_after(calls, FaultKind::Io("power".to_owned()));
            if finish_swaps(&again, DIR).is_ok() {
                break;
            }
            crashed(&again, |image| self.check(&image, old, new, false));
        }
        finish_swaps(disk, DIR).unwrap();
        let found = files(disk);
        assert!(found == *old || found == *new, "a mix: {:?}", found.keys());
        self.old += u64::from(found == *old);
        self.new += u64::from(found == *new);
        let calls = disk.calls();
        finish_swaps(disk, DIR).unwrap();
        assert_eq!(disk.calls(), calls, "the second time there is nothing to do");
    }
}

#[test]
fn a_crash_leaves_all_of_the_old_or_all_of_the_new() {
    let (disk, segments) = before();
    let old = files(&disk);
    clean(&disk, &segments).unwrap();
    let new = files(&disk);
    let lines: Vec<i64> = contents(&disk).into_iter().map(|line| line.0).collect();
    assert_eq!(lines, [1, 3, 4, 5, 6]);
    let (mut seen, mut turned_at) = (Seen::default(), 0);
    for calls in 0.. {
        let (disk, segments) = before();
        disk.fail_after(calls, FaultKind::Io("power".to_owned()));
        let finished = clean(&disk, &segments).is_ok();
        crashed(&disk, |image| seen.check(&image, &old, &new, true));
        if seen.new == 0 {
            turned_at = calls;
        }
        if finished {
            break;
        }
    }
    assert!(turned_at > 10 && seen.old > 500 && seen.new > 500, "{} {}", seen.old, seen.new);
    println!("{} images: {} old, {} new", seen.images, seen.old, seen.new);
}

#[test]
fn a_swap_that_failed_can_be_repeated() {
    let (disk, segments) = before();
    clean(&disk, &segments).unwrap();
    let new = files(&disk);
    for calls in 0.. {
        let (disk, segments) = before();
        let mut job = job(&disk, plan_of(&segments, 0, 50));
        let Step::Replaced(replacement) = job.run().unwrap() else { panic!("one group") };
        disk.fail_after(calls, FaultKind::Io("for once".to_owned()));
        let failed = replacement.swap(&disk).is_err();
        disk.heal();
        replacement.swap(&disk).unwrap();
        assert_eq!(files(&disk), new, "after {calls} calls");
        if !failed {
            assert!(calls > 8, "{calls}");
            break;
        }
    }
}

#[test]
fn an_abandoned_result_leaves_the_sources() {
    let (disk, segments) = before();
    let old = files(&disk);
    let mut job = job(&disk, plan_of(&segments, 0, 50));
    let Step::Replaced(replacement) = job.run().unwrap() else { panic!("one group") };
    replacement.abandon(&disk).unwrap();
    assert_eq!(files(&disk), old);
}

#[test]
fn a_swap_that_cannot_be_read_removes_nothing() {
    let (disk, segments) = before();
    let mut job = job(&disk, plan_of(&segments, 0, 50));
    let Step::Replaced(replacement) = job.run().unwrap() else { panic!("one group") };
    let cleaned = names::path(DIR, 0, names::LOG, names::CLEANED);
    let swap = names::path(DIR, 0, names::LOG, names::SWAP);
    disk.rename(&cleaned, &swap).unwrap();
    assert!(disk.flip_bit(&swap, 8 * 100));
    let before = files(&disk);
    let fault = finish_swaps(&disk, DIR).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Corrupt(_)), "{fault}");
    assert_eq!((fault.path, files(&disk)), (swap, before));
    drop(replacement);
}
