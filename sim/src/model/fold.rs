//! What a log's batches add up to: producers, transactions, leader epochs. Said in the simplest way.

use std::collections::BTreeMap;

use tidings_log::{Batch, Ending, ProducerEntry};

/// Batches remembered per producer.
const PRODUCER_BATCHES: usize = 5;

/// What is known of a producer.
#[derive(Clone, Debug)]
pub struct ProducerModel {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    /// First offset of the transaction that is open.
    pub open: Option<i64>,
    /// Last sequence, last offset, offset delta, timestamp; oldest first.
    batches: Vec<(i32, i64, i32, i64)>,
}

impl ProducerModel {
    /// The sequence that comes next.
    pub fn next_sequence(&self) -> i32 {
        self.batches.last().map_or(0, |(last, ..)| last + 1)
    }
}

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first: i64,
    /// Of its marker.
    pub last: i64,
}

/// The sum of a log's batches.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    pub producers: BTreeMap<i64, ProducerModel>,
    pub aborted: Vec<Aborted>,
    /// Each epoch with the first offset it wrote.
    pub epochs: Vec<(i32, i64)>,
}

impl Fold {
    pub fn add(&mut self, batch: &Batch) {
        let header = batch.header();
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch != header.leader_epoch) {
            self.epochs.push((header.leader_epoch, header.base_offset));
        }
        if header.producer_id < 0 {
            return;
        }
        let end = batch.end_marker().expect("the model makes valid control batches");
        let known = self.producers.entry(header.producer_id).or_insert(ProducerModel {
            epoch: header.producer_epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            open: None,
            batches: Vec::new(),
        });
        if known.epoch != header.producer_epoch {
            known.batches.clear();
            known.epoch = header.producer_epoch;
        }
        known.last_timestamp = header.max_timestamp;
        let Some(end) = end else {
            let last_sequence = header.base_sequence + header.last_offset_delta;
            let delta = header.last_offset_delta;
            known.batches.push((last_sequence, batch.last_offset(), delta, header.max_timestamp));
            if known.batches.len() > PRODUCER_BATCHES {
                known.batches.remove(0);
            }
            if header.attributes.transactional() && known.open.is_none() {
                known.open = Some(header.base_offset);
            }
            return;
        };
        known.coordinator_epoch = end.coordinator_epoch;
        if let Some(newest) = known.batches.last_mut() {
            newest.3 = header.max_timestamp;
        }
        if let (Some(first), Ending::Abort) = (known.open.take(), end.ending) {
            let (producer_id, last) = (header.producer_id, batch.last_offset());
            self.aborted.push(Aborted { producer_id, first, last });
        }
    }

    /// First offset of the oldest transaction that is open.
    pub fn first_open(&self) -> Option<i64> {
        self.producers.values().filter_map(|producer| producer.open).min()
    }

    /// As a log tells it.
    pub fn entries(&self) -> Vec<ProducerEntry> {
        let mut entries = Vec::new();
        for (&producer_id, known) in &self.producers {
            let none = known.batches.is_empty().then_some((-1, -1, 0, known.last_timestamp));
            for (last_sequence, last_offset, offset_delta, timestamp) in
                known.batches.iter().copied().chain(none)
            {
                entries.push(ProducerEntry {
                    producer_id,
                    epoch: known.epoch,
                    last_sequence,
                    last_offset,
                    offset_delta,
                    timestamp,
                    coordinator_epoch: known.coordinator_epoch,
                    transaction_offset: known.open,
                });
            }
        }
        entries
    }
}
