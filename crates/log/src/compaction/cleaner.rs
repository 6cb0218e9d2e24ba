//! What becomes of one batch, and of each record in it.
//!
//! A record stays when keys are not known as far as its offset, or when it is its key's last one and,
//! being a tombstone, its batch's delete horizon has not passed. Records without a key go. A batch of
//! an aborted transaction goes whole. The end of a transaction goes when nothing else of the
//! transaction is left and its horizon has passed. A horizon is set, `delete.retention.ms` from now,
//! the first time that a tombstone is found to be its key's last record, or the end of a transaction to
//! be all that is left of it.

use std::collections::{HashMap, HashSet};

use super::Figures;
use super::key_map::KeyMap;
use super::transactions::{Ended, Transactions};
use crate::batch::rewrite;
use crate::partition_log::transactions::AbortedTransaction;
use crate::{Batch, BatchError, BatchHeader, Ending};

/// What the log remembers of its producers, so that compaction leaves what it rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveProducers {
    /// Last offsets of remembered batches.
    batches: HashSet<i64>,
    /// Epochs of producers that are known by the end of a transaction only.
    ended: HashMap<i64, i16>,
}

impl LiveProducers {
    /// A remembered batch of a producer; without a batch the producer is known by the end of a
    /// transaction only.
    pub(crate) fn add(&mut self, producer_id: i64, epoch: i16, last_offset: Option<i64>) {
        match last_offset {
            Some(last_offset) => {
                self.batches.insert(last_offset);
            }
            None => {
                self.ended.insert(producer_id, epoch);
            }
        }
    }

    fn rest_on_batch(&self, header: &BatchHeader) -> bool {
        header.has_sequence() && self.batches.contains(&header.last_offset())
    }

    fn rest_on_end(&self, header: &BatchHeader) -> bool {
        self.ended.get(&header.producer_id) == Some(&header.producer_epoch)
    }
}

/// What is known when a segment is rewritten.
#[derive(Debug)]
pub(super) struct Cleaner {
    pub(super) keys: KeyMap,
    /// The keys of all records below this offset, and from the dirty part's beginning, are known.
    pub(super) keys_until: i64,
    pub(super) transactions: Transactions,
    pub(super) live: LiveProducers,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// Which records of the batch at hand stay.
    keep: Vec<bool>,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Gone,
    /// As it is.
    Whole,
    /// In the form that was appended to the buffer.
    Changed(BatchHeader),
}

impl Cleaner {
    pub(super) fn new(
        keys: KeyMap,
        keys_until: i64,
        aborted: Vec<AbortedTransaction>,
        live: LiveProducers,
        (now_ms, delete_retention_ms): (i64, i64),
    ) -> Self {
        let transactions = Transactions::new(aborted);
        let keep = Vec::new();
        Self { keys, keys_until, transactions, live, now_ms, delete_retention_ms, keep }
    }

    /// Decides on a batch, which is `last` in its group or not; a changed one is appended to `changed`.
    /// Also returns the aborted transaction that ends with it and that readers must go on being told of.
    pub(super) fn clean(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        last: bool,
        figures: &mut Figures,
        changed: &mut Vec<u8>,
    ) -> Result<(Fate, Option<AbortedTransaction>), BatchError> {
        let records_before = header.record_count.unsigned_abs().into();
        let start = changed.len();
        let (fate, aborted) = if header.attributes.control() {
            self.control(header, bytes, last, changed)?
        } else {
            (self.data(header, bytes, last, changed)?, None)
        };
        let kept: u64 = match &fate {
            Fate::Gone => 0,
            Fate::Whole => records_before,
            Fate::Changed(header) => header.record_count.unsigned_abs().into(),
        };
        figures.records_kept += kept;
        figures.records_dropped += records_before - kept;
        debug_assert!(matches!(fate, Fate::Changed(_)) == (changed.len() > start), "as told");
        Ok((fate, aborted))
    }

    fn control(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        last: bool,
        changed: &mut Vec<u8>,
    ) -> Result<(Fate, Option<AbortedTransaction>), BatchError> {
        let Ended { empty, aborted } = self.transactions.control(header, ending(header, bytes));
        let fate = if header.record_count == 0 {
            if last { Fate::Whole } else { Fate::Gone }
        } else if !empty || header.base_offset >= self.keys_until {
            Fate::Whole
        } else {
            match header.delete_horizon_ms() {
                None => self.with_horizon(header, bytes, changed)?,
                Some(horizon) if self.now_ms < horizon => Fate::Whole,
                Some(_) if self.live.rest_on_end(header) => Fate::Whole,
                Some(_) => self.without_records(header, last, changed),
            }
        };
        Ok((fate, aborted))
    }

    fn data(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        last: bool,
        changed: &mut Vec<u8>,
    ) -> Result<Fate, BatchError> {
        let aborted = self.transactions.data(header);
        if header.base_offset >= self.keys_until {
            return Ok(Fate::Whole);
        }
        let known = header.last_offset() < self.keys_until;
        if header.record_count == 0 {
            let stays = last || self.live.rest_on_batch(header);
            return Ok(if stays { Fate::Whole } else { Fate::Gone });
        }
        if aborted {
            return Ok(if known {
                self.without_records(header, last, changed)
            } else {
                Fate::Whole
            });
        }
        let Ok(payload) = rewrite::payload(header, bytes) else { return Ok(Fate::Whole) };
        let Some(tombstones) = self.choose(header, &payload) else { return Ok(Fate::Whole) };
        let kept = self.keep.iter().filter(|&&keep| keep).count();
        if kept == 0 {
            return Ok(self.without_records(header, last, changed));
        }
        let wants_horizon = tombstones && known && header.delete_horizon_ms().is_none();
        if kept == self.keep.len() && !wants_horizon {
            return Ok(Fate::Whole);
        }
        let horizon = wants_horizon.then(|| self.horizon());
        let records = rewrite::raw_records(header, &payload).zip(&self.keep);
        let records = records.filter(|(_, keep)| **keep).filter_map(|(record, _)| record.ok());
        rewrite::put_with(header, records, horizon, changed).map(Fate::Changed)
    }

    /// Fills in which records stay and tells whether a tombstone is among them; none when the records
    /// cannot be read.
    fn choose(&mut self, header: &BatchHeader, payload: &[u8]) -> Option<bool> {
        let tombstones_go =
            header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
        let mut tombstones = false;
        self.keep.clear();
        for record in rewrite::raw_records(header, payload) {
            let record = record.ok()?;
            let known = record.offset < self.keys_until;
            let newest = record
                .key
                .is_some_and(|key| self.keys.get(key).is_none_or(|newest| record.offset >= newest));
            let keep = !known || newest && (record.has_value || !tombstones_go);
            tombstones |= keep && !record.has_value;
            self.keep.push(keep);
        }
        Some(tombstones)
    }

    fn with_horizon(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        changed: &mut Vec<u8>,
    ) -> Result<Fate, BatchError> {
        let Ok(payload) = rewrite::payload(header, bytes) else { return Ok(Fate::Whole) };
        let records: Result<Vec<_>, BatchError> = rewrite::raw_records(header, &payload).collect();
        let Ok(records) = records else { return Ok(Fate::Whole) };
        let horizon = Some(self.horizon());
        rewrite::put_with(header, records.into_iter(), horizon, changed).map(Fate::Changed)
    }

    /// Nothing of the batch, or its header if that is needed.
    fn without_records(&self, header: &BatchHeader, last: bool, changed: &mut Vec<u8>) -> Fate {
        if last || self.live.rest_on_batch(header) {
            Fate::Changed(rewrite::put_emptied(header, changed))
        } else {
            Fate::Gone
        }
    }

    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// Which end of a transaction a control batch is; none of another kind, without its record, or with one
/// that cannot be read.
pub(super) fn ending(header: &BatchHeader, bytes: &[u8]) -> Option<Ending> {
    if header.record_count == 0 {
        return None;
    }
    let batch = Batch::parse(bytes::Bytes::copy_from_slice(bytes)).ok()?;
    batch.end_marker().ok()?.map(|marker| marker.ending)
}
