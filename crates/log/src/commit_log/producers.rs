//! What the log remembers of idempotent producers: the last batches of each, so that a batch sent
//! twice is stored once and one that comes out of turn is refused (KIP-98).
//!
//! Invariants: the state is a fold of the log's batches ([`Producers::apply`]), the same whether
//! built by appends or by replay; a refusal changes nothing. Limits: the last
//! [`PRODUCER_BATCHES_MAX`] batches of at most [`PRODUCERS_PER_PARTITION_MAX`] producers, about
//! 300 bytes each; past that the producer whose last batch has the oldest timestamp is forgotten,
//! and is then accepted with any sequence like one never seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::AppendRefused;
use crate::BatchHeader;
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX};

/// One remembered batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Records in the batch, less one.
    pub offset_delta: i32,
    /// The batch's largest timestamp.
    pub timestamp: i64,
}

impl ProducerBatch {
    fn of(header: &BatchHeader) -> Self {
        Self {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            last_sequence: advance(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// Sequences count to 2^31-1 and go on at 0.
fn advance(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Duplicate { base_offset: i64, last_offset: i64 },
}

#[derive(Debug, Default)]
pub(super) struct Producers {
    /// Per producer its batches of one epoch, oldest first, never empty.
    entries: BTreeMap<i64, VecDeque<ProducerBatch>>,
    /// (timestamp of the last batch, producer), to find whom to forget.
    by_age: BTreeSet<(i64, i64)>,
}

impl Producers {
    /// Judges a batch that is about to be appended.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Verdict, AppendRefused> {
        if !header.has_sequence() {
            return Ok(Verdict::New);
        }
        let producer_id = header.producer_id;
        let known = self.entries.get(&producer_id);
        let Some((known, last)) = known.and_then(|known| Some((known, known.back()?))) else {
            return Ok(Verdict::New);
        };
        let got = header.producer_epoch;
        if got < last.epoch {
            return Err(AppendRefused::StaleEpoch { producer_id, current: last.epoch, got });
        }
        let expected = if got > last.epoch { 0 } else { advance(last.last_sequence, 1) };
        if header.base_sequence == expected {
            return Ok(Verdict::New);
        }
        let sent = ProducerBatch::of(header);
        let duplicate = known.iter().find(|stored| {
            stored.epoch == sent.epoch
                && stored.last_sequence == sent.last_sequence
                && stored.offset_delta == sent.offset_delta
        });
        match duplicate {
            Some(stored) => Ok(Verdict::Duplicate {
                base_offset: stored.first_offset(),
                last_offset: stored.last_offset,
            }),
            None => Err(AppendRefused::OutOfOrderSequence {
                producer_id,
                expected,
                got: header.base_sequence,
            }),
        }
    }

    /// Takes in a batch that is in the log.
    pub(super) fn apply(&mut self, header: &BatchHeader) {
        if header.has_sequence() {
            self.remember(ProducerBatch::of(header));
        }
    }

    fn remember(&mut self, batch: ProducerBatch) {
        let known = self.entries.entry(batch.producer_id).or_default();
        if let Some(last) = known.back() {
            self.by_age.remove(&(last.timestamp, batch.producer_id));
            if last.epoch != batch.epoch {
                known.clear();
            }
        }
        if known.len() == PRODUCER_BATCHES_MAX {
            known.pop_front();
        }
        known.push_back(batch);
        self.by_age.insert((batch.timestamp, batch.producer_id));
        if self.entries.len() > PRODUCERS_PER_PARTITION_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Every remembered batch, by producer, oldest first.
    pub(super) fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.entries.values().flatten()
    }

    /// The state that [`Self::batches`] described.
    pub(super) fn restore(batches: impl IntoIterator<Item = ProducerBatch>) -> Self {
        let mut producers = Self::default();
        for batch in batches {
            producers.remember(batch);
        }
        producers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, NewRecord};

    fn header(id: i64, epoch: i16, sequence: i32, records: usize, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().producer(id, epoch, sequence);
        for _ in 0..records {
            builder.push(&NewRecord { timestamp: offset, ..NewRecord::default() });
        }
        BatchHeader { base_offset: offset, ..*builder.build().header() }
    }

    /// Producer 7, epoch 2: sequences 0..=2, 3, 4, 5, 6, 7 at offsets 10..=12, 13, 14, 15, 16, 17.
    fn six_batches() -> Producers {
        let mut producers = Producers::default();
        producers.apply(&header(7, 2, 0, 3, 10));
        for next in 3..=7 {
            producers.apply(&header(7, 2, next, 1, 10 + i64::from(next)));
        }
        producers
    }

    #[test]
    fn a_batch_is_new_a_duplicate_or_refused() {
        let out_of_order = |expected, got| {
            Err(AppendRefused::OutOfOrderSequence { producer_id: 7, expected, got })
        };
        let duplicate = |at| Ok(Verdict::Duplicate { base_offset: at, last_offset: at });
        let stale = Err(AppendRefused::StaleEpoch { producer_id: 7, current: 2, got: 1 });
        let table = [
            ("next in line", header(7, 2, 8, 4, 0), Ok(Verdict::New)),
            ("the last again", header(7, 2, 7, 1, 0), duplicate(17)),
            ("the fifth last again", header(7, 2, 3, 1, 0), duplicate(13)),
            ("the sixth last is forgotten", header(7, 2, 0, 3, 0), out_of_order(8, 0)),
            ("same first, other last", header(7, 2, 7, 2, 0), out_of_order(8, 7)),
            ("a gap", header(7, 2, 9, 1, 0), out_of_order(8, 9)),
            ("older epoch", header(7, 1, 8, 1, 0), stale),
            ("newer epoch from 0", header(7, 3, 0, 1, 0), Ok(Verdict::New)),
            ("newer epoch not from 0", header(7, 3, 8, 1, 0), out_of_order(0, 8)),
            ("unknown producer", header(8, 0, 1234, 1, 0), Ok(Verdict::New)),
            ("no producer", header(-1, -1, -1, 1, 0), Ok(Verdict::New)),
        ];
        let producers = six_batches();
        for (name, header, expected) in table {
            assert_eq!(producers.check(&header), expected, "{name}");
        }
    }

    #[test]
    fn a_duplicate_of_several_records_names_all_its_offsets() {
        let mut producers = Producers::default();
        producers.apply(&header(7, 0, 5, 3, 100));
        assert_eq!(
            producers.check(&header(7, 0, 5, 3, 0)),
            Ok(Verdict::Duplicate { base_offset: 100, last_offset: 102 })
        );
    }

    #[test]
    fn a_newer_epoch_forgets_the_batches_of_the_older() {
        let mut producers = six_batches();
        producers.apply(&header(7, 3, 0, 1, 18));
        assert_eq!(producers.batches().map(|batch| batch.last_offset).collect::<Vec<_>>(), [18]);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 1, 3), 1);
        let mut producers = Producers::default();
        producers.apply(&header(7, 0, i32::MAX - 1, 3, 0));
        assert_eq!(producers.check(&header(7, 0, 1, 1, 0)), Ok(Verdict::New));
        assert_eq!(
            producers.check(&header(7, 0, i32::MAX - 1, 3, 0)),
            Ok(Verdict::Duplicate { base_offset: 0, last_offset: 2 })
        );
    }

    #[test]
    fn the_producer_that_wrote_longest_ago_is_forgotten() {
        let mut producers = Producers::default();
        let count = PRODUCERS_PER_PARTITION_MAX as i64;
        for id in 0..count {
            producers.apply(&header(id, 0, 0, 1, id));
        }
        producers.apply(&header(0, 0, 1, 1, count));
        producers.apply(&header(count, 0, 0, 1, count + 1));
        let known: Vec<i64> = producers.entries.keys().copied().collect();
        assert_eq!(known.len() as i64, count);
        assert_eq!((known[0], known[1], known[known.len() - 1]), (0, 2, count));
        assert_eq!(producers.by_age.len(), known.len());
    }
}
