//! What the log remembers of producers that have an id: the last batches of each, so that a batch
//! sent twice is stored once and one that comes out of turn is refused, and which of them have a
//! transaction open (KIP-98, KIP-360, KIP-890).
//!
//! Invariants:
//! 1. The state is a fold of the log's batches ([`Producers::apply`]), the same whether built by
//!    appends, by replay, or by replay on top of a snapshot; a refusal changes nothing.
//! 2. A producer with an open transaction is never forgotten.
//! 3. The batches of a producer are all of its current epoch.
//!
//! Limits: the last [`PRODUCER_BATCHES_MAX`] batches of [`PRODUCERS_PER_PARTITION_MAX`] producers,
//! about 350 bytes each; past that the one whose last batch has the oldest timestamp is forgotten, and
//! is then accepted with any sequence like one never seen. At most
//! [`OPEN_TRANSACTIONS_PER_PARTITION_MAX`] transactions are open at a time. What all partitions of a
//! store remember together is bounded too, in the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::limits::{
    OPEN_TRANSACTIONS_PER_PARTITION_MAX, PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX,
};
use crate::{AppendRefused, BatchHeader, EndMarker, Ending};

/// No batch, no sequence, no coordinator, no open transaction: what Kafka writes for each.
const NONE: i64 = -1;

/// One remembered batch of a producer, with what is known of the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1 when [`Self::last_offset`] is.
    pub last_sequence: i32,
    /// -1 when the producer is known by the end of a transaction only.
    pub last_offset: i64,
    /// Offsets of the batch, less one.
    pub offset_delta: i32,
    /// The batch's largest timestamp; of a producer's newest batch that of what it or its coordinator
    /// wrote last.
    pub timestamp: i64,
    /// Epoch of the coordinator that last ended a transaction of it here; -1: none did.
    pub coordinator_epoch: i32,
    /// First offset of the transaction that is open.
    pub transaction_offset: Option<i64>,
}

/// The rules that a producer's transactions follow: Kafka's feature `transaction.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionVersion {
    /// 0 and 1: the end of a transaction has the epoch of its batches, or a newer one.
    #[default]
    One,
    /// Each end of a transaction raises the epoch, and a producer that the log does not know begins
    /// at sequence 0 (KIP-890).
    Two,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Duplicate { base_offset: i64, last_offset: i64, timestamp: i64 },
}

/// A transaction that had batches in this log, and has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompletedTransaction {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    /// Of the control batch that ended it.
    pub(super) last_offset: i64,
    /// The first offset of the oldest transaction that was still open, or the offset after the
    /// control batch.
    pub(super) last_stable_offset: i64,
    pub(super) ending: Ending,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

impl Remembered {
    fn of(header: &BatchHeader) -> Self {
        Self {
            last_sequence: if header.base_sequence < 0 {
                header.base_sequence
            } else {
                advance(header.base_sequence, header.last_offset_delta)
            },
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }
}

/// Sequences count to 2^31-1 and go on at 0.
fn advance(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    transaction_offset: Option<i64>,
    /// Oldest first.
    batches: VecDeque<Remembered>,
    /// When [`Producers::expire`] first saw it as it is; not part of the fold.
    idle_since_ms: Option<u64>,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Self {
            epoch,
            coordinator_epoch: NONE as i32,
            last_timestamp: NONE,
            transaction_offset: None,
            batches: VecDeque::new(),
            idle_since_ms: None,
        }
    }

    fn is_kept_by(&self, producer_id: i64, others: &Producers) -> bool {
        self.transaction_offset.is_some() || others.by_id.contains_key(&producer_id)
    }

    /// The stored copy of a batch that was sent again.
    fn copy_of(&self, header: &BatchHeader) -> Option<Verdict> {
        if header.producer_epoch != self.epoch || header.base_sequence < 0 {
            return None;
        }
        let sent = Remembered::of(header);
        let stored = self.batches.iter().find(|stored| {
            stored.last_sequence == sent.last_sequence && stored.offset_delta == sent.offset_delta
        })?;
        Some(Verdict::Duplicate {
            base_offset: stored.last_offset.saturating_sub(i64::from(stored.offset_delta)),
            last_offset: stored.last_offset,
            timestamp: stored.timestamp,
        })
    }

    fn check_data(&self, header: &BatchHeader) -> Result<(), AppendRefused> {
        let (producer_id, got) = (header.producer_id, header.producer_epoch);
        if got < self.epoch {
            return Err(AppendRefused::StaleEpoch { producer_id, current: self.epoch, got });
        }
        let last = self.batches.back().map_or(NONE as i32, |last| last.last_sequence);
        let expected = if got > self.epoch { 0 } else { advance(last, 1) };
        // The group coordinator's transactional batches have no sequence.
        if header.base_sequence >= 0 && header.base_sequence != expected {
            return Err(out_of_order(header, expected));
        }
        match self.transaction_offset {
            Some(first_offset) if !header.attributes.transactional() => {
                Err(AppendRefused::TransactionOpen { producer_id, first_offset })
            }
            _ => Ok(()),
        }
    }

    /// With [`TransactionVersion::Two`] an end that has the current epoch is a repetition when no
    /// transaction is open, and the end of an older one when one is.
    fn check_end(
        &self,
        header: &BatchHeader,
        end: EndMarker,
        version: TransactionVersion,
    ) -> Result<(), AppendRefused> {
        let (producer_id, current, got) = (header.producer_id, self.epoch, header.producer_epoch);
        if got < current {
            return Err(AppendRefused::StaleEpoch { producer_id, current, got });
        }
        let raises = got > current || self.transaction_offset.is_none();
        if version == TransactionVersion::Two && !raises {
            return Err(AppendRefused::EpochNotRaised { producer_id, current });
        }
        let (current, got) = (self.coordinator_epoch, end.coordinator_epoch);
        if got < current {
            return Err(AppendRefused::CoordinatorFenced { producer_id, current, got });
        }
        Ok(())
    }

    fn remember(&mut self, batch: Remembered) {
        if self.batches.len() == PRODUCER_BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
        self.last_timestamp = batch.timestamp;
    }

    fn enter(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn entries(&self, producer_id: i64) -> impl Iterator<Item = ProducerEntry> {
        let without_batch = Remembered {
            last_sequence: NONE as i32,
            last_offset: NONE,
            offset_delta: 0,
            timestamp: self.last_timestamp,
        };
        let none = self.batches.is_empty().then_some(without_batch);
        self.batches.iter().copied().chain(none).map(move |batch| ProducerEntry {
            producer_id,
            epoch: self.epoch,
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: batch.offset_delta,
            timestamp: batch.timestamp,
            coordinator_epoch: self.coordinator_epoch,
            transaction_offset: self.transaction_offset,
        })
    }
}

fn out_of_order(header: &BatchHeader, expected: i32) -> AppendRefused {
    AppendRefused::OutOfOrderSequence {
        producer_id: header.producer_id,
        expected,
        got: header.base_sequence,
    }
}

/// How many producers a log remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerCounts {
    /// Those without an open transaction, which may be forgotten.
    pub(crate) idle: usize,
    /// Those with one.
    pub(crate) open: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// First offset and producer of each open transaction.
    open: BTreeSet<(i64, i64)>,
    /// Last timestamp and producer, of those without an open transaction: whom to forget.
    by_age: BTreeSet<(i64, i64)>,
}

impl Producers {
    /// Judges a batch that is about to be appended; `end` is what [`crate::Batch::end_marker`] says of
    /// it, and `version` is of the producer's transactions.
    pub(super) fn check(
        &self,
        header: &BatchHeader,
        end: Option<EndMarker>,
        version: TransactionVersion,
    ) -> Result<Verdict, AppendRefused> {
        if header.producer_id < 0 {
            return Ok(Verdict::New);
        }
        let known = self.by_id.get(&header.producer_id);
        if header.attributes.control() {
            if let (Some(known), Some(end)) = (known, end) {
                known.check_end(header, end, version)?;
            }
            return Ok(Verdict::New);
        }
        let transactional = header.attributes.transactional();
        match known {
            Some(known) => {
                if let Some(duplicate) = known.copy_of(header) {
                    return Ok(duplicate);
                }
                known.check_data(header)?;
            }
            None => {
                let from_zero = transactional && version == TransactionVersion::Two;
                if from_zero && header.base_sequence > 0 {
                    return Err(out_of_order(header, 0));
                }
            }
        }
        let open_already = self.has_open(header.producer_id);
        if transactional && !open_already && self.open.len() >= OPEN_TRANSACTIONS_PER_PARTITION_MAX
        {
            let limit = OPEN_TRANSACTIONS_PER_PARTITION_MAX;
            return Err(AppendRefused::TooManyTransactions { limit });
        }
        Ok(Verdict::New)
    }

    /// Takes in a batch that is in the log; tells of the transaction that it ended. The end of a
    /// transaction that had no batch here says nothing.
    pub(super) fn apply(
        &mut self,
        header: &BatchHeader,
        end: Option<EndMarker>,
    ) -> Option<CompletedTransaction> {
        if header.producer_id < 0 || (header.attributes.control() && end.is_none()) {
            return None;
        }
        let mut producer = self.take(header.producer_id, header.producer_epoch);
        producer.enter(header.producer_epoch);
        let completed = match end {
            Some(end) => self.end(&mut producer, header, end),
            None => {
                producer.remember(Remembered::of(header));
                if header.attributes.transactional() {
                    producer.transaction_offset.get_or_insert(header.base_offset);
                }
                None
            }
        };
        self.put(header.producer_id, producer);
        completed
    }

    fn end(
        &self,
        producer: &mut Producer,
        header: &BatchHeader,
        end: EndMarker,
    ) -> Option<CompletedTransaction> {
        producer.coordinator_epoch = end.coordinator_epoch;
        producer.last_timestamp = header.max_timestamp;
        if let Some(newest) = producer.batches.back_mut() {
            newest.timestamp = header.max_timestamp;
        }
        let last_offset = header.last_offset();
        Some(CompletedTransaction {
            producer_id: header.producer_id,
            first_offset: producer.transaction_offset.take()?,
            last_offset,
            last_stable_offset: self.first_open().unwrap_or(last_offset.saturating_add(1)),
            ending: end.ending,
        })
    }

    /// First offset of the oldest transaction that is open.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.first().map(|&(first_offset, _)| first_offset)
    }

    /// Forgets the producers that have written nothing for `expiry_ms` by a clock that never goes back, as
    /// far as calls of this function have seen: neither a timestamp that a client chose nor a wall
    /// clock that leaps shortens the time.
    pub(super) fn expire(&mut self, mono_ms: u64, expiry_ms: i64) {
        let expiry_ms = u64::try_from(expiry_ms).unwrap_or(0);
        let (by_id, by_age) = (&mut self.by_id, &mut self.by_age);
        by_id.retain(|&producer_id, producer| {
            let since = *producer.idle_since_ms.get_or_insert(mono_ms);
            let keep =
                producer.transaction_offset.is_some() || mono_ms.saturating_sub(since) < expiry_ms;
            if !keep {
                by_age.remove(&(producer.last_timestamp, producer_id));
            }
            keep
        });
    }

    /// How many there are.
    pub(super) fn counts(&self) -> ProducerCounts {
        ProducerCounts { idle: self.by_age.len(), open: self.open.len() }
    }

    pub(super) fn remembers(&self, producer_id: i64) -> bool {
        self.by_id.contains_key(&producer_id)
    }

    pub(super) fn has_open(&self, producer_id: i64) -> bool {
        let known = self.by_id.get(&producer_id);
        known.is_some_and(|known| known.transaction_offset.is_some())
    }

    /// Forgets so many of the producers without an open transaction, those that wrote longest ago.
    pub(super) fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.by_id.remove(&oldest);
        }
    }

    /// Whether [`Self::keep_those_of`] forgets any.
    pub(super) fn has_others_than(&self, others: &Self) -> bool {
        self.by_id.iter().any(|(&producer_id, producer)| !producer.is_kept_by(producer_id, others))
    }

    /// Forgets the producers that `others` does not know, unless a transaction of theirs is open here.
    pub(super) fn keep_those_of(&mut self, others: &Self) {
        let (by_id, by_age) = (&mut self.by_id, &mut self.by_age);
        by_id.retain(|&producer_id, producer| producer.is_kept_by(producer_id, others));
        by_age.retain(|(_, producer_id)| by_id.contains_key(producer_id));
    }

    /// Every remembered batch, by producer, oldest first; a producer known by the end of a transaction
    /// only has one entry too.
    pub(super) fn entries(&self) -> impl Iterator<Item = ProducerEntry> {
        self.by_id.iter().flat_map(|(&producer_id, producer)| producer.entries(producer_id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The state that [`Self::entries`] described; of a producer the last entry counts most.
    pub(super) fn restore(entries: impl IntoIterator<Item = ProducerEntry>) -> Self {
        let mut producers = Self::default();
        for entry in entries {
            let mut producer = producers.take(entry.producer_id, entry.epoch);
            producer.enter(entry.epoch);
            if entry.last_offset >= 0 {
                producer.remember(Remembered {
                    last_sequence: entry.last_sequence,
                    last_offset: entry.last_offset,
                    offset_delta: entry.offset_delta,
                    timestamp: entry.timestamp,
                });
            }
            producer.last_timestamp = entry.timestamp;
            producer.coordinator_epoch = entry.coordinator_epoch;
            producer.transaction_offset = entry.transaction_offset;
            producers.put(entry.producer_id, producer);
        }
        producers
    }

    /// Takes a producer out of every index, to be changed and given back with [`Self::put`].
    fn take(&mut self, producer_id: i64, epoch: i16) -> Producer {
        let Some(producer) = self.by_id.remove(&producer_id) else {
            return Producer::new(epoch);
        };
        match producer.transaction_offset {
            Some(first_offset) => self.open.remove(&(first_offset, producer_id)),
            None => self.by_age.remove(&(producer.last_timestamp, producer_id)),
        };
        Producer { idle_since_ms: None, ..producer }
    }

    /// Forgets another producer if this is one too many.
    fn put(&mut self, producer_id: i64, producer: Producer) {
        if self.by_id.len() >= PRODUCERS_PER_PARTITION_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_id.remove(&oldest);
        }
        match producer.transaction_offset {
            Some(first_offset) => self.open.insert((first_offset, producer_id)),
            None => self.by_age.insert((producer.last_timestamp, producer_id)),
        };
        self.by_id.insert(producer_id, producer);
    }
}

#[cfg(test)]
mod tests;
