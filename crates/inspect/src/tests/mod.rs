//! A small partition with everything in it, damaged in every way: verify tells, repair keeps what can
//! be read.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_log::format::{LEADER_EPOCHS_FILE, METADATA_FILE, encode_snapshot};
use tidings_log::{
    Batch, BatchBuilder, BatchHeader, Compression, Disk, EndMarker, Ending, FaultKind, MemoryDisk,
    NewRecord, OpenMode, ProducerEntry,
};

use crate::files::path;
use crate::*;

mod bad_block;
mod with_store;

const FOLDER: &str = "orders-0";
/// Base offsets of the segments that [`partition`] makes.
const SEGMENTS: [i64; 3] = [10, 19, 26];
const END: i64 = 32;

/// Offset and value of every record.
type Records = BTreeMap<i64, Option<Bytes>>;

fn builder(values: &[&[u8]], first: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for (value, n) in values.iter().zip(first..) {
        builder.push(&NewRecord {
            timestamp: 1_700_000_000_000 + n,
            key: Some(Bytes::from(format!("k{n}"))),
            value: Some(Bytes::copy_from_slice(value)),
            headers: Vec::new(),
        });
    }
    builder
}

/// Batches as they are stored, one after another.
struct Log {
    next: i64,
    bytes: Vec<u8>,
    index: Vec<u8>,
    times: Vec<u8>,
    base: i64,
}

impl Log {
    fn new(base: i64) -> Self {
        Self { next: base, bytes: Vec::new(), index: Vec::new(), times: Vec::new(), base }
    }

    /// Adds a batch, with entries in both indexes when it is asked for.
    fn add(&mut self, batch: &Batch, epoch: i32, indexed: bool) {
        let header = BatchHeader { base_offset: self.next, ..*batch.header() };
        let mut bytes = batch.bytes().to_vec();
        bytes[..8].copy_from_slice(&self.next.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        if indexed {
            let relative = i32::try_from(header.last_offset() - self.base).unwrap();
            self.index.extend(relative.to_be_bytes());
            self.index.extend(u32::try_from(self.bytes.len()).unwrap().to_be_bytes());
            self.times.extend(header.max_timestamp.to_be_bytes());
            self.times.extend(relative.to_be_bytes());
        }
        self.bytes.extend(bytes);
        self.next = header.last_offset() + 1;
    }

    /// Writes the files; the time index has one more entry at the end, as that of a sealed segment has.
    fn write(&mut self, disk: &MemoryDisk) {
        let last = self.next - 1;
        self.times.extend((1_700_000_000_000 + last).to_be_bytes());
        self.times.extend(i32::try_from(last - self.base).unwrap().to_be_bytes());
        put(disk, &path(FOLDER, self.base, ".log"), &self.bytes);
        put(disk, &path(FOLDER, self.base, ".index"), &self.index);
        put(disk, &path(FOLDER, self.base, ".timeindex"), &self.times);
    }
}

fn put(disk: &MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.truncate(0).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn of_producer(values: &[&[u8]], log: &Log, sequence: i32) -> BatchBuilder {
    builder(values, log.next).producer(7, 0, sequence)
}

/// Three segments: plain and compressed batches, a producer's, a transaction that is aborted; two
/// leader epochs, every index and small file.
fn partition() -> (MemoryDisk, Claims) {
    let disk = MemoryDisk::new();
    disk.create_dir_all(FOLDER).unwrap();
    let mut first = Log::new(SEGMENTS[0]);
    first.add(&builder(&[b"one", b"two"], first.next).build(), 0, false);
    first.add(&of_producer(&[b"a", b"b", b"c"], &first, 0).build(), 0, true);
    let long = b"long long long long long".repeat(3);
    let zstd = builder(&[&long, &long], first.next).compression(Compression::Zstd);
    first.add(&zstd.build(), 0, false);
    first.add(&builder(&[b"x", b"y"], first.next).build(), 0, false);
    assert_eq!(first.next, SEGMENTS[1]);
    first.write(&disk);

    let mut second = Log::new(SEGMENTS[1]);
    second.add(&of_producer(&[b"t1", b"t2"], &second, 3).transactional().build(), 0, false);
    second.add(&builder(&[b"between"], second.next).build(), 1, true);
    let abort = EndMarker { ending: Ending::Abort, coordinator_epoch: 0 };
    second.add(&abort.batch(7, 0, 1_700_000_000_000), 1, false);
    second.add(&builder(&[b"p", b"q", b"r"], second.next).build(), 1, false);
    assert_eq!(second.next, SEGMENTS[2]);
    second.write(&disk);
    let aborted =
        AbortedEntry { producer_id: 7, first_offset: 19, last_offset: 22, last_stable_offset: 23 };
    put(&disk, &path(FOLDER, SEGMENTS[1], ".txnindex"), &aborted.bytes());

    let mut last = Log::new(SEGMENTS[2]);
    last.add(&builder(&[b"1", b"2"], last.next).build(), 1, false);
    last.add(&builder(&[b"3", b"4"], last.next).build(), 1, true);
    last.add(&builder(&[b"5", b"6"], last.next).build(), 1, false);
    assert_eq!(last.next, END);
    last.write(&disk);

    let producer = ProducerEntry {
        producer_id: 7,
        epoch: 0,
        last_sequence: 4,
        last_offset: 20,
        offset_delta: 1,
        timestamp: 1_700_000_000_100,
        coordinator_epoch: 0,
        transaction_offset: None,
    };
    let snapshot = encode_snapshot([producer].into_iter());
    put(&disk, &path(FOLDER, END, ".snapshot"), &snapshot);
    let leader_epochs = vec![(0, 10), (1, 21)];
    put(&disk, "orders-0/leader-epoch-checkpoint", b"0\n2\n0 10\n1 21\n");
    let metadata = b"version: 0\ntopic_id: MkU3OEVBNTcwNTJENDM2Qk";
    put(&disk, "orders-0/partition.metadata", metadata);
    let position = last.bytes.len() as u64;
    let claims = Claims {
        start_offset: SEGMENTS[0],
        recovery_offset: END,
        segment_base: SEGMENTS[2],
        position,
        sparse: false,
        leader_epochs,
    };
    (disk, claims)
}

fn look(disk: &MemoryDisk, claims: Option<&Claims>) -> PartitionReport {
    verify(disk, FOLDER, claims, Depth::Records, &mut |_| {}).unwrap()
}

/// Every record of the sound batches, by its offset.
fn records(disk: &MemoryDisk) -> Records {
    let mut records = Records::new();
    for file in disk.files().iter().filter(|file| file.ends_with(".log")) {
        batches(disk, file, &mut |listed| {
            if let Listed::Batch { bytes, .. } = listed {
                for record in Batch::parse(bytes).unwrap().records().unwrap() {
                    assert_eq!(records.insert(record.offset, record.value), None);
                }
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    records
}

#[test]
fn a_sound_partition_is_told_with_its_figures() {
    let (disk, claims) = partition();
    let bytes: usize = SEGMENTS
        .iter()
        .map(|&base| disk.read_raw(&path(FOLDER, base, ".log")).unwrap().len())
        .sum();
    let expected = PartitionReport {
        folder: FOLDER.to_owned(),
        segments: 3,
        batches: 11,
        records: 22,
        bytes: bytes as u64,
        files: 13,
        start_offset: 10,
        end_offset: END,
        ..PartitionReport::default()
    };
    let mut walked = 0;
    let report = verify(&disk, FOLDER, Some(&claims), Depth::Records, &mut |n| walked += n);
    assert_eq!(report.unwrap(), expected);
    assert_eq!(walked, bytes as u64);
    let without_checkpoint = verify(&disk, FOLDER, None, Depth::Batches, &mut |_| {});
    assert_eq!(without_checkpoint.unwrap(), expected);
    let nothing = RepairReport { folder: FOLDER.to_owned(), ..RepairReport::default() };
    assert_eq!(repair(&disk, FOLDER, Some(&claims), Mode::Apply).unwrap(), nothing);
    assert_eq!(records(&disk).keys().copied().collect::<Vec<_>>(), (10..END).collect::<Vec<_>>());
}

/// Repairs and checks that the result is sound, that what is not said to be lost is there, and that no
/// offset is given again. Returns what was lost.
fn check_repair(
    disk: &MemoryDisk,
    claims: &Claims,
    before: &Records,
    what: &str,
) -> Vec<(i64, i64)> {
    let planned = repair(disk, FOLDER, Some(claims), Mode::Plan).unwrap();
    let files = disk.files();
    let done = repair(disk, FOLDER, Some(claims), Mode::Apply).unwrap();
    assert_eq!(done, planned, "{what}");
    assert!(planned.actions.is_empty() || disk.files().len() + 5 >= files.len());
    let claims = done.claims.as_ref().unwrap_or(claims);
    let after = look(disk, Some(claims));
    assert_eq!(after.damage, [], "{what}: {done:?}");
    assert_eq!(after.end_offset, END, "{what}");
    let lost = done.lost();
    let is_lost = |offset: i64| lost.iter().any(|&(from, to)| (from..to).contains(&offset));
    let mut left = before.clone();
    left.retain(|&offset, _| !is_lost(offset));
    assert_eq!(after.gaps, [], "{what}");
    assert_eq!(records(disk), left, "{what}");
    lost
}

#[test]
fn every_flipped_bit_is_told_and_repair_loses_at_most_its_batch() {
    let (disk, claims) = partition();
    let before = records(&disk);
    let metadata = format!("{FOLDER}/{METADATA_FILE}");
    let epochs = format!("{FOLDER}/{LEADER_EPOCHS_FILE}");
    for file in disk.files() {
        let bits = disk.read_raw(&file).unwrap().len() as u64 * 8;
        for bit in 0..bits {
            let what = format!("bit {bit} of {file}");
            let disk = disk.fork();
            assert!(disk.flip_bit(&file, bit));
            let found = look(&disk, Some(&claims)).damage;
            // These two are text without a checksum: what is still of the right form passes.
            let told = file == metadata || file == epochs || !found.is_empty();
            assert!(told, "{what} was not noticed");
            assert!(found.iter().all(|damage| damage.path == file), "{what}: {found:?}");
            let lost = check_repair(&disk, &claims, &before, &what);
            let records: i64 = lost.iter().map(|(from, to)| to - from).sum();
            let allowed = if file.ends_with(".log") { 3 } else { 0 };
            assert!(records <= allowed && lost.len() <= 1, "{what} cost {lost:?}");
        }
    }
}

#[test]
fn every_truncation_is_told_and_repair_keeps_the_end() {
    let (disk, claims) = partition();
    let before = records(&disk);
    for base in SEGMENTS {
        let file = path(FOLDER, base, ".log");
        let len = disk.read_raw(&file).unwrap().len() as u64;
        for cut in 0..len {
            let what = format!("{file} cut at {cut}");
            let disk = disk.fork();
            assert!(disk.truncate_raw(&file, cut));
            let found = look(&disk, Some(&claims)).damage;
            assert!(!found.is_empty(), "{what} was not noticed");
            check_repair(&disk, &claims, &before, &what);
        }
    }
}

/// A repair that ends anywhere is run again, and nothing more is lost.
#[test]
fn an_interrupted_repair_can_be_run_again() {
    let (disk, claims) = partition();
    let before = records(&disk);
    // One batch in the middle, and the end of the log.
    assert!(disk.flip_bit(&path(FOLDER, SEGMENTS[1], ".log"), 8 * 130));
    assert!(disk.truncate_raw(&path(FOLDER, SEGMENTS[2], ".log"), claims.position - 5));
    let whole = disk.fork();
    let lost = check_repair(&whole, &claims, &before, "uninterrupted");
    assert_eq!(lost, [(21, 22), (30, 32)]);
    let calls = whole.calls();
    assert!(calls > 20, "{calls}");
    for after in 0..calls {
        let disk = disk.fork();
        disk.fail_after(after, FaultKind::NoSpace);
        let ended = repair(&disk, FOLDER, Some(&claims), Mode::Apply);
        disk.heal();
        if ended.is_ok() {
            continue;
        }
        let done = repair(&disk, FOLDER, Some(&claims), Mode::Apply).unwrap();
        let claims = done.claims.as_ref().unwrap_or(&claims);
        let report = look(&disk, Some(claims));
        assert_eq!((report.damage, report.end_offset), (Vec::new(), END), "ended after {after}");
        let mut left = before.clone();
        left.retain(|offset, _| !lost.iter().any(|&(from, to)| (from..to).contains(offset)));
        assert_eq!(records(&disk), left, "ended after {after}");
    }
}

/// A record's value may be a whole segment; damage around it does not bring it to light.
#[test]
fn a_batch_inside_a_damaged_batch_is_not_served() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(FOLDER).unwrap();
    let mut inner = Log::new(1);
    inner.add(&builder(&[b"not", b"ours"], 1).build(), 0, false);
    inner.add(&builder(&[b"nor this"], 3).build(), 0, false);
    let mut log = Log::new(0);
    log.add(&builder(&[&inner.bytes], 0).build(), 0, false);
    log.add(&builder(&[b"after"], 1).build(), 0, false);
    log.write(&disk);
    let file = path(FOLDER, 0, ".log");
    let first_batch = log.bytes.len() as u64 - 78;
    // Its checksum, its length, and both; then also the batch after it.
    for damaged in [&[17_u64][..], &[9], &[9, 17], &[10, 17, first_batch + 70]] {
        let disk = disk.fork();
        for byte in damaged {
            assert!(disk.flip_bit(&file, byte * 8));
        }
        let values: Vec<_> = records(&disk).into_values().flatten().collect();
        let allowed: [&[u8]; 2] = [&inner.bytes, b"after"];
        assert!(values.iter().all(|value| allowed.contains(&&**value)), "{damaged:?}: {values:?}");
    }
}

#[test]
fn what_is_missing_is_told_by_what_speaks_of_it() {
    let log = |base| path(FOLDER, base, ".log");
    type Case = (&'static str, fn(&MemoryDisk), Option<(i64, i64)>);
    let table: [Case; 5] = [
        (
            "the first segment",
            |disk| disk.remove_file(&path(FOLDER, 10, ".log")).unwrap(),
            Some((10, 19)),
        ),
        ("a segment", |disk| disk.remove_file(&path(FOLDER, 19, ".log")).unwrap(), Some((19, 26))),
        (
            "the last segment",
            |disk| disk.remove_file(&path(FOLDER, 26, ".log")).unwrap(),
            Some((26, 32)),
        ),
        ("a snapshot", |disk| disk.remove_file(&path(FOLDER, 32, ".snapshot")).unwrap(), None),
        ("an index", |disk| disk.remove_file(&path(FOLDER, 19, ".index")).unwrap(), None),
    ];
    for (what, damage, lost) in table {
        let (disk, claims) = partition();
        let before = records(&disk);
        damage(&disk);
        let found = look(&disk, Some(&claims)).damage;
        let wanted: Vec<_> = lost.into_iter().map(|range| (log(range.0), Some(range))).collect();
        let told: Vec<_> = found.into_iter().map(|damage| (damage.path, damage.offsets)).collect();
        assert_eq!(told, wanted, "{what}");
        let lost: Vec<_> = lost.into_iter().collect();
        assert_eq!(check_repair(&disk, &claims, &before, what), lost, "{what}");
    }
}

#[test]
fn blocks_in_each_others_place_are_told() {
    let (disk, claims) = partition();
    let before = records(&disk);
    let file = path(FOLDER, SEGMENTS[1], ".log");
    let bytes = disk.read_raw(&file).unwrap();
    for block in [16, 64, 100] {
        let mut swapped = bytes.clone();
        let (first, rest) = swapped.split_at_mut(block);
        first.swap_with_slice(&mut rest[..block]);
        let disk = disk.fork();
        put(&disk, &file, &swapped);
        assert_ne!(look(&disk, Some(&claims)).damage, [], "{block}");
        check_repair(&disk, &claims, &before, &format!("blocks of {block}"));
    }
}
