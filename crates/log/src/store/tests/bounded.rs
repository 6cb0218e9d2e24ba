//! What stays in memory, however much is written to however many logs.

use super::*;

const LOGS: u64 = 300;
const BATCH_BYTES: usize = 16 << 10;
const BATCHES: u64 = 3_000;

/// Each log has something of the newest, and each frame holds batches of many logs.
#[test]
fn tails_and_what_is_not_flushed_stay_within_their_limits() {
    let config = StoreConfig {
        cache_bytes: 1 << 20,
        unflushed_bytes_max: 2 << 20,
        flush_bytes: 512 << 10,
        journal_bytes: 8 << 20,
        ..small_store()
    };
    let disk = MemoryDisk::new();
    let mut node = Node::try_open(&disk, config, CONFIG, LOGS).expect("the store opens");
    let value = "x".repeat(BATCH_BYTES);
    let (mut most_unflushed, mut most_kept) = (0, 0);
    for number in 0..BATCHES {
        while node.store.congested() {
            node.flush();
        }
        node.accept(LogId(1 + number % LOGS), &[&value], 1);
        if number % 16 == 0 {
            node.store.settle(NOW);
        }
        most_unflushed = most_unflushed.max(node.store.unflushed_bytes());
        most_kept = most_kept.max(node.store.cache.bytes());
    }
    let batch = BATCH_BYTES as u64 + 100;
    assert!(most_unflushed <= config.unflushed_bytes_max + batch, "{most_unflushed}");
    // What is not in segments yet has nowhere else to be.
    assert!(most_kept <= config.unflushed_bytes_max + batch, "{most_kept}");
    node.flush();
    assert!(node.store.cache.bytes() <= config.cache_bytes, "{}", node.store.cache.bytes());
    let written: i64 =
        (1..=LOGS).filter_map(|id| node.store.log(LogId(id))).map(PartitionLog::end_offset).sum();
    assert_eq!(written, i64::try_from(BATCHES).expect("not so many"));
}

/// Each batch is alone in its frame, of which it keeps the whole block.
#[test]
fn small_batches_are_flushed_for_the_memory_they_take() {
    let config = StoreConfig {
        cache_bytes: 256 << 10,
        unflushed_bytes_max: 1 << 20,
        flush_bytes: 512 << 10,
        ..small_store()
    };
    let mut node = Node::try_open(&MemoryDisk::new(), config, CONFIG, 1).expect("the store opens");
    let (mut most_kept, mut flushes) = (0, 0);
    for _ in 0..2_000 {
        while node.store.congested() {
            node.flush();
            flushes += 1;
        }
        node.append(&["x"], 1);
        most_kept = most_kept.max(node.store.cache.bytes());
    }
    let frame = 3 * crate::BLOCK_BYTES as u64;
    assert!(most_kept <= config.unflushed_bytes_max + frame, "{most_kept}");
    assert!((1..=100).contains(&flushes), "{flushes} flushes");
}
