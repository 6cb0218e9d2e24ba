//! The newest batches of a log, in memory: what is not in segments yet, and behind it what is kept for
//! readers.

use std::collections::VecDeque;

use bytes::Bytes;

use super::segment::Added;
use crate::BatchHeader;

#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    /// As it is stored.
    pub(crate) bytes: Bytes,
    /// What is let go of together; see the store's cache.
    pub(crate) unit: u64,
}

impl TailBatch {
    pub(crate) fn new(header: &BatchHeader, bytes: Bytes, unit: u64) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            bytes,
            unit,
        }
    }

    pub(crate) fn added(&self) -> Added {
        Added {
            base_offset: self.base_offset,
            last_offset: self.last_offset,
            max_timestamp: self.max_timestamp,
            // Only compaction leaves a batch without records.
            newest_record_ms: self.max_timestamp,
            bytes: self.bytes.len(),
        }
    }
}

/// Batches in order of their offsets. Damage that recovery found may have left gaps between them.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: TailBatch) {
        debug_assert!(self.batches.back().is_none_or(|last| last.last_offset < batch.base_offset));
        self.batches.push_back(batch);
    }

    /// The first offset that is in memory.
    pub(crate) fn first_offset(&self) -> Option<i64> {
        self.batches.front().map(|batch| batch.base_offset)
    }

    /// Batches from the one that holds `offset`, or the first after it.
    pub(crate) fn from(&self, offset: i64) -> impl Iterator<Item = &TailBatch> + Clone {
        self.batches.range(self.batches.partition_point(|batch| batch.last_offset < offset)..)
    }

    /// Batches from the one that holds `from`, up to the first gap; none when a gap holds it.
    pub(crate) fn read(&self, from: i64, until: i64, max_bytes: usize) -> Vec<Bytes> {
        let mut out = Vec::new();
        let mut bytes = 0;
        let mut expected = from;
        for batch in self.from(from) {
            let in_line = batch.base_offset <= expected && batch.base_offset < until;
            if !in_line || !out.is_empty() && bytes + batch.bytes.len() > max_bytes {
                break;
            }
            bytes += batch.bytes.len();
            expected = batch.last_offset + 1;
            out.push(batch.bytes.clone());
        }
        out
    }

    /// Lets go of the first batches, as far as they are of units up to `unit` and below `flushed`.
    pub(crate) fn evict(&mut self, unit: u64, flushed: i64) {
        while let Some(first) = self.batches.front()
            && first.unit <= unit
            && first.last_offset < flushed
        {
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            self.batches.shrink_to_fit();
        }
    }
}
