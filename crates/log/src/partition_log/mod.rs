//! One partition's log within a store: segments below, the newest batches in memory above.
//!
//! Invariants:
//! 1. Offsets are dense at append and never given twice, not even after damage.
//! 2. `start_offset <= flushed <= durable_offset <= end_offset`.
//! 3. A refused append changes nothing.
//! 4. Bytes that fail a check are never served.
//! 5. Nothing that may have been acknowledged is ever cut.

use crate::Fault;

#[cfg_attr(not(test), expect(dead_code, reason = "taken into use by the partition's log"))]
mod epochs;
#[expect(dead_code, reason = "taken into use by the partition's log")]
pub(crate) mod kafka_files;
#[cfg_attr(not(test), expect(dead_code, reason = "taken into use by the partition's log"))]
mod producers;
#[expect(dead_code, reason = "taken into use by the partition's log")]
pub(crate) mod snapshot;
#[cfg_attr(not(test), expect(dead_code, reason = "taken into use by the partition's log"))]
pub(crate) mod transactions;

pub use producers::{ProducerEntry, TransactionVersion};

#[derive(Debug)]
pub struct PartitionLog {}

impl PartitionLog {
    pub fn start_offset(&self) -> i64 {
        todo!()
    }
    /// The log start offset that a crash cannot take back.
    pub fn durable_start_offset(&self) -> i64 {
        todo!()
    }
    /// The offset after the last one accepted.
    pub fn end_offset(&self) -> i64 {
        todo!()
    }
    /// The offset after the last one that is on stable storage: Kafka's high watermark.
    pub fn durable_offset(&self) -> i64 {
        todo!()
    }
    /// The first offset of the oldest open transaction, or the durable offset.
    pub fn last_stable_offset(&self) -> i64 {
        todo!()
    }
    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }
    /// Why this log takes no more appends: its own failed flush, or the journal's failed write.
    pub fn failed(&self) -> Option<&Fault> {
        todo!()
    }
    /// Remembered batches of idempotent producers, by producer, oldest first.
    pub fn producers(&self) -> Vec<ProducerEntry> {
        todo!()
    }
    /// Leader epochs with the first offset each wrote, oldest first.
    pub fn leader_epochs(&self) -> &[(i32, i64)] {
        todo!()
    }
    /// Aborted transactions that a reader of `from..until` must know: producer and first offset, by
    /// first offset.
    pub fn aborted(&self, from: i64, until: i64) -> Vec<(i64, i64)> {
        let _ = (from, until);
        todo!()
    }
}
