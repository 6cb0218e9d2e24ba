//! The journal's promises on the memory disk, whatever a crash leaves and whatever bits flip.

use super::*;
use crate::{BLOCK_BYTES, FaultKind, MemoryDisk};

mod behaviour;
mod crash;
mod rot;
mod stale;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A ring of few blocks, so that tests come round it soon.
fn tiny() -> StoreConfig {
    StoreConfig {
        journal_chunk_bytes: 4 * BLOCK,
        write_bytes_max: 2 * BLOCK_BYTES,
        ..StoreConfig::small()
    }
}

fn key(number: u8) -> LogKey {
    LogKey([number; 20])
}

fn open(disk: &MemoryDisk) -> (Journal, JournalFound) {
    Journal::open(disk, &tiny()).unwrap()
}

/// Opens and begins.
fn start(disk: &MemoryDisk) -> (Journal, JournalFound) {
    let (mut journal, found) = open(disk);
    journal.begin().unwrap();
    (journal, found)
}

/// Carries out all that can be.
fn run(journal: &mut Journal) {
    loop {
        if let Some(write) = journal.next_write() {
            let outcome = write.run();
            journal.write_done(&write, outcome);
        } else if let Some(mut work) = journal.prepare() {
            work.run();
            journal.prepared(work);
        } else {
            return;
        }
    }
}

/// An entry that can be told from any other.
fn payload(number: u64, len: usize) -> Bytes {
    let mut bytes = vec![number as u8; len.max(8)];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Bytes::from(bytes)
}

/// Pushes an entry of its own frame and makes it durable.
fn put(journal: &mut Journal, number: u64, len: usize) -> u64 {
    let sequence = journal.push(key(1), EntryKind::Batch, &[payload(number, len)]);
    run(journal);
    sequence
}

fn numbers(found: &JournalFound) -> Vec<u64> {
    let number = |entry: &FoundEntry| u64::from_be_bytes(entry.bytes[..8].try_into().unwrap());
    found.entries.iter().map(number).collect()
}

fn moved(journal: &mut Journal, sequence: u64) {
    let mut work = journal.move_start(sequence);
    work.run();
    journal.start_moved(work);
}

/// The report of acknowledged frames that are missing.
fn lost(frames: &str, from: u64, bytes: &str) -> Fault {
    Fault {
        operation: "read",
        path: RING_FILE.to_owned(),
        offset: Some(from),
        kind: FaultKind::Corrupt(format!(
            "acknowledged frames {frames} are not readable, bytes {bytes}"
        )),
    }
}
