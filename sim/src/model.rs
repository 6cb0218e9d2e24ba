//! What a partition's log must be, said in the simplest way: a list of batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_log::{Batch, CommitLog, ProducerBatch, TimedOffset, split};

/// Batches remembered per producer.
const PRODUCER_BATCHES: usize = 5;

/// The log as a list of batches, and how far the log has promised it to be durable.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// As they must be stored, in order.
    pub batches: Vec<Bytes>,
    /// The batch of an append that met the power cut: it may be there or not.
    pub in_doubt: Option<Bytes>,
    pub durable_offset: i64,
    pub end_offset: i64,
}

impl Model {
    /// How `batch` is stored next.
    pub fn stored(&self, batch: &Batch, leader_epoch: i32) -> Bytes {
        let mut bytes = batch.bytes().to_vec();
        bytes[..8].copy_from_slice(&self.end_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        Bytes::from(bytes)
    }

    pub fn append(&mut self, stored: Bytes) {
        let batch = Batch::parse(stored.clone()).expect("the model makes valid batches");
        self.end_offset = batch.last_offset() + 1;
        self.batches.push(stored);
    }

    /// Checks a log that has been recovered; on success the model has become what it is, all of
    /// it durable.
    pub fn check(&mut self, log: &CommitLog) -> Result<(), String> {
        let found = read_all(log)?;
        let mut allowed = self.batches.clone();
        allowed.extend(self.in_doubt.take());
        for (number, stored) in found.iter().enumerate() {
            match allowed.get(number) {
                Some(expected) if expected == stored.bytes() => {}
                Some(expected) => {
                    let expected = Batch::parse(expected.clone()).map(|batch| *batch.header());
                    let header = stored.header();
                    return Err(format!("batch {number} is {header:?} and not {expected:?}"));
                }
                None => return Err(format!("batch {number} was never appended")),
            }
        }
        let end = found.last().map_or(0, |batch| batch.last_offset() + 1);
        if end != log.end_offset() || end != log.durable_offset() {
            let (says, durable) = (log.end_offset(), log.durable_offset());
            return Err(format!("ends at {says}, durable to {durable}, but holds {end}"));
        }
        if end < self.durable_offset {
            return Err(format!("durable to {} but only {end} is left", self.durable_offset));
        }
        let expected = producers(&found);
        if log.producers() != expected {
            return Err(format!("producers {:?} instead of {expected:?}", log.producers()));
        }
        check_times(log, &found)?;
        allowed.truncate(found.len());
        self.batches = allowed;
        self.durable_offset = end;
        self.end_offset = end;
        Ok(())
    }
}

/// Every batch, by reads of different sizes.
fn read_all(log: &CommitLog) -> Result<Vec<Batch>, String> {
    let mut found = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let bytes = 1 + 300 * (found.len() % 4);
        let read = log.read(from, i64::MAX, bytes).map_err(|refused| format!("read: {refused}"))?;
        let before = found.len();
        for batch in split(read) {
            let batch = batch.map_err(|error| format!("read returned {error}"))?;
            if batch.header().base_offset != from {
                let base = batch.header().base_offset;
                return Err(format!("offset {base} was read where {from} comes next"));
            }
            from = batch.last_offset() + 1;
            found.push(batch);
        }
        if found.len() == before {
            return Err(format!("nothing was read at {from}"));
        }
    }
    Ok(found)
}

/// The producer state that the batches add up to.
fn producers(batches: &[Batch]) -> Vec<ProducerBatch> {
    let mut state: BTreeMap<i64, Vec<ProducerBatch>> = BTreeMap::new();
    for batch in batches {
        let header = batch.header();
        if header.producer_id < 0 {
            continue;
        }
        let known = state.entry(header.producer_id).or_default();
        known.retain(|before| before.epoch == header.producer_epoch);
        known.push(ProducerBatch {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            last_sequence: header.base_sequence + header.last_offset_delta,
            last_offset: batch.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if known.len() > PRODUCER_BATCHES {
            known.remove(0);
        }
    }
    state.into_values().flatten().collect()
}

/// Look-ups by time, against looking at every record.
fn check_times(log: &CommitLog, batches: &[Batch]) -> Result<(), String> {
    let mut records = Vec::new();
    for batch in batches {
        records.extend(batch.records().map_err(|error| error.to_string())?);
    }
    let timed = |record: &tidings_log::Record| TimedOffset {
        offset: record.offset,
        timestamp: record.timestamp,
    };
    let newest = records.iter().map(|record| record.timestamp).max();
    let expected = records.iter().find(|record| Some(record.timestamp) == newest).map(timed);
    let found = log.offset_of_max_timestamp(i64::MAX).map_err(|fault| fault.to_string())?;
    if found != expected {
        return Err(format!("largest timestamp at {found:?} instead of {expected:?}"));
    }
    for wanted in [0, newest.unwrap_or(0) / 2, newest.unwrap_or(0), i64::MAX] {
        let expected = records.iter().find(|record| record.timestamp >= wanted).map(timed);
        let found = log.offset_at_time(wanted, i64::MAX).map_err(|fault| fault.to_string())?;
        if found != expected {
            return Err(format!("time {wanted} is at {found:?} instead of {expected:?}"));
        }
    }
    Ok(())
}
