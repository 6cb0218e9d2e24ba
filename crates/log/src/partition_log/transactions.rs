//! Aborted transactions, in Kafka's `.txnindex` format, and when a transaction that has ended counts.
//!
//! A `.txnindex` belongs to the segment that holds the control batches which aborted its
//! transactions: per transaction `version i16 = 0, producer id i64, first offset i64, last offset i64
//! (of the control batch), last stable offset i64 (after the abort)`, 34 bytes, by last offset. It has no
//! checksum; whoever keeps it says elsewhere how many bytes of it count and what their checksum is.

use std::collections::{BTreeSet, VecDeque};

use super::producers::CompletedTransaction;

const VERSION: i16 = 0;
pub(super) const ENTRY_BYTES: usize = 34;

/// An entry of a `.txnindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Of the control batch that aborted it.
    pub(crate) last_offset: i64,
    /// At the abort: no reader of committed records goes on from here without the entries after this
    /// one.
    pub(crate) last_stable_offset: i64,
}

impl From<CompletedTransaction> for AbortedTransaction {
    fn from(completed: CompletedTransaction) -> Self {
        Self {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: completed.last_stable_offset,
        }
    }
}

impl AbortedTransaction {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.producer_id.to_be_bytes());
        out.extend_from_slice(&self.first_offset.to_be_bytes());
        out.extend_from_slice(&self.last_offset.to_be_bytes());
        out.extend_from_slice(&self.last_stable_offset.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (producer_id, rest) = rest.split_first_chunk()?;
        let (first_offset, rest) = rest.split_first_chunk()?;
        let (last_offset, rest) = rest.split_first_chunk()?;
        let last_stable_offset = rest.first_chunk()?;
        (i16::from_be_bytes(*version) == VERSION).then_some(Self {
            producer_id: i64::from_be_bytes(*producer_id),
            first_offset: i64::from_be_bytes(*first_offset),
            last_offset: i64::from_be_bytes(*last_offset),
            last_stable_offset: i64::from_be_bytes(*last_stable_offset),
        })
    }

    /// Whether a transaction can have been aborted like this within `base..end`, after one that
    /// was aborted at `before`.
    fn fits(&self, base: i64, end: i64, before: Option<i64>) -> bool {
        self.producer_id >= 0
            && (0..self.last_offset).contains(&self.first_offset)
            && (base..end).contains(&self.last_offset)
            && before.is_none_or(|before| before < self.last_offset)
            && (0..=self.last_offset + 1).contains(&self.last_stable_offset)
    }
}

pub(crate) fn encode<'a>(entries: impl IntoIterator<Item = &'a AbortedTransaction>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        entry.put(&mut bytes);
    }
    bytes
}

/// The entries of the `.txnindex` of the segment that holds the offsets `base..end`; none when it is
/// not whole, or an entry cannot be true.
pub(super) fn decode(bytes: &[u8], base: i64, end: i64) -> Option<Vec<AbortedTransaction>> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        let entry = AbortedTransaction::take(entry)?;
        let before = entries.last().map(|before| before.last_offset);
        if !entry.fits(base, end, before) {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// Producer and first offset of the transactions that a reader of `from..until` must leave out, by
/// first offset. `entries` are those of the segment that holds `from` and of all after it, in order;
/// no more of them are taken than are needed.
pub(super) fn collect(
    entries: impl IntoIterator<Item = AbortedTransaction>,
    from: i64,
    until: i64,
) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for entry in entries {
        if entry.last_offset >= from && entry.first_offset < until {
            found.push((entry.producer_id, entry.first_offset));
        }
        // What is aborted after this one began at or past its last stable offset.
        if entry.last_stable_offset >= until {
            break;
        }
    }
    found.sort_unstable_by_key(|&(producer_id, first_offset)| (first_offset, producer_id));
    found
}

/// Transactions that have ended in memory and not yet for sure: until the control batch is durable
/// a crash may open them again, so readers of committed records still wait before them.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// Offset of the control batch and first offset of the transaction, as they came.
    ended: VecDeque<(i64, i64)>,
    first_offsets: BTreeSet<i64>,
}

impl Undecided {
    pub(super) fn ended(&mut self, transaction: &CompletedTransaction) {
        self.ended.push_back((transaction.last_offset, transaction.first_offset));
        self.first_offsets.insert(transaction.first_offset);
    }

    /// Everything below `durable_offset` is durable.
    pub(super) fn durable(&mut self, durable_offset: i64) {
        while let Some(&(last_offset, first_offset)) = self.ended.front()
            && last_offset < durable_offset
        {
            self.ended.pop_front();
            self.first_offsets.remove(&first_offset);
        }
    }

    /// First offset of the oldest one.
    pub(super) fn first(&self) -> Option<i64> {
        self.first_offsets.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ending;

    fn aborted(
        producer_id: i64,
        first_offset: i64,
        last_offset: i64,
        last_stable_offset: i64,
    ) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset }
    }

    fn two() -> [AbortedTransaction; 2] {
        [aborted(258, 90, 120, 121), aborted(259, 95, 130, 110)]
    }

    #[test]
    fn the_format_is_kafkas() {
        // Written by `TransactionIndex` of Kafka 4.2.0.
        let of_kafka = "\
            0000 0000000000000102 000000000000005a 0000000000000078 0000000000000079 \
            0000 0000000000000103 000000000000005f 0000000000000082 000000000000006e";
        let bytes = encode(&two());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, of_kafka.replace(' ', ""));
        assert_eq!(decode(&bytes, 100, 131), Some(two().to_vec()));
        assert_eq!(decode(&[], 100, 131), Some(Vec::new()));
    }

    #[test]
    fn entries_that_cannot_be_true_are_refused() {
        let sound = two();
        let table = [
            ("of another segment", encode(&sound), 121, 131),
            ("past the log's end", encode(&sound), 100, 130),
            ("out of order", encode(&[sound[1], sound[0]]), 100, 131),
            ("twice", encode(&[sound[0], sound[0]]), 100, 131),
            ("no producer", encode(&[aborted(-1, 90, 120, 121)]), 100, 131),
            ("ends where it begins", encode(&[aborted(1, 120, 120, 121)]), 100, 131),
            ("a negative offset", encode(&[aborted(1, -1, 120, 121)]), 100, 131),
            ("stable past its end", encode(&[aborted(1, 90, 120, 122)]), 100, 131),
            ("another version", [&[0, 1], &encode(&sound)[2..]].concat(), 100, 131),
            ("cut", encode(&sound)[..67].to_vec(), 100, 131),
        ];
        for (name, bytes, base, end) in table {
            assert_eq!(decode(&bytes, base, end), None, "{name}");
        }
    }

    #[test]
    fn a_reader_is_told_of_the_aborts_that_overlap_what_it_reads() {
        // 1 is 10..=20; 2 is 5..=30, under it 3 is 12..=40; 4 is 50..=60.
        let entries = [
            aborted(1, 10, 20, 5),
            aborted(2, 5, 30, 12),
            aborted(3, 12, 40, 41),
            aborted(4, 50, 60, 61),
        ];
        type Found = &'static [(i64, i64)];
        let table: &[(i64, i64, Found)] = &[
            (0, 5, &[]),
            (0, 6, &[(2, 5)]),
            (0, 11, &[(2, 5), (1, 10)]),
            (0, 100, &[(2, 5), (1, 10), (3, 12), (4, 50)]),
            (20, 21, &[(2, 5), (1, 10), (3, 12)]),
            (21, 22, &[(2, 5), (3, 12)]),
            (31, 50, &[(3, 12)]),
            (41, 50, &[]),
            (60, 61, &[(4, 50)]),
            (61, 99, &[]),
        ];
        for &(from, until, expected) in table {
            assert_eq!(collect(entries, from, until), expected, "{from}..{until}");
        }
    }

    #[test]
    fn collecting_takes_no_more_entries_than_it_needs() {
        let mut taken = 0;
        let entries = (1..100).map(|n| {
            taken += 1;
            aborted(1, 10 * n, 10 * n + 5, 10 * n + 6)
        });
        assert_eq!(collect(entries, 0, 26), [(1, 10), (1, 20)]);
        assert_eq!(taken, 2);
    }

    #[test]
    fn a_transaction_counts_as_ended_when_its_control_batch_is_durable() {
        let ended = |first_offset, last_offset| CompletedTransaction {
            producer_id: 1,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
            ending: Ending::Commit,
        };
        let mut undecided = Undecided::default();
        assert_eq!(undecided.first(), None);
        undecided.ended(&ended(10, 20));
        undecided.ended(&ended(5, 21));
        undecided.ended(&ended(15, 22));
        for (durable_offset, first) in
            [(20, Some(5)), (21, Some(5)), (22, Some(15)), (23, None), (23, None)]
        {
            undecided.durable(durable_offset);
            assert_eq!(undecided.first(), first, "durable to {durable_offset}");
        }
    }
}
