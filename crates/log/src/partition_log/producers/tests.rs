//! Producers' batches and transactions, as tables and as folds.

use proptest::prelude::*;

use super::TransactionVersion::{One, Two};
use super::*;
use crate::{Batch, BatchBuilder, NewRecord};

fn placed(batch: &Batch, offset: i64) -> BatchHeader {
    BatchHeader { base_offset: offset, ..*batch.header() }
}

fn with_records(mut builder: BatchBuilder, records: usize, offset: i64) -> BatchHeader {
    for _ in 0..records {
        builder.push(&NewRecord { timestamp: offset, ..NewRecord::default() });
    }
    placed(&builder.build(), offset)
}

fn data(id: i64, epoch: i16, sequence: i32, records: usize, offset: i64) -> BatchHeader {
    with_records(BatchBuilder::new().producer(id, epoch, sequence), records, offset)
}

fn transactional(id: i64, epoch: i16, sequence: i32, records: usize, offset: i64) -> BatchHeader {
    let builder = BatchBuilder::new().producer(id, epoch, sequence).transactional();
    with_records(builder, records, offset)
}

const COMMIT: EndMarker = EndMarker { ending: Ending::Commit, coordinator_epoch: 1 };
const ABORT: EndMarker = EndMarker { ending: Ending::Abort, coordinator_epoch: 1 };

fn end(id: i64, epoch: i16, marker: EndMarker, offset: i64) -> (BatchHeader, Option<EndMarker>) {
    (placed(&marker.batch(id, epoch, offset), offset), Some(marker))
}

fn fold(batches: impl IntoIterator<Item = (BatchHeader, Option<EndMarker>)>) -> Producers {
    let mut producers = Producers::default();
    for (header, end) in batches {
        producers.apply(&header, end);
    }
    producers
}

fn out_of_order(expected: i32, got: i32) -> Result<Verdict, AppendRefused> {
    Err(AppendRefused::OutOfOrderSequence { producer_id: 7, expected, got })
}

fn duplicate(base_offset: i64, last_offset: i64) -> Result<Verdict, AppendRefused> {
    // Batches of these tests have their base offset as timestamp.
    Ok(Verdict::Duplicate { base_offset, last_offset, timestamp: base_offset })
}

/// Producer 7, epoch 2: sequences 0..=2, 3, 4, 5, 6, 7 at offsets 10..=12, 13, 14, 15, 16, 17.
fn six_batches() -> Producers {
    let mut producers = fold([(data(7, 2, 0, 3, 10), None)]);
    for next in 3..=7 {
        producers.apply(&data(7, 2, next, 1, 10 + i64::from(next)), None);
    }
    producers
}

#[test]
fn a_batch_is_new_a_duplicate_or_refused() {
    let stale = Err(AppendRefused::StaleEpoch { producer_id: 7, current: 2, got: 1 });
    let table = [
        ("next in line", data(7, 2, 8, 4, 0), Ok(Verdict::New)),
        ("the last again", data(7, 2, 7, 1, 0), duplicate(17, 17)),
        ("the fifth last again", data(7, 2, 3, 1, 0), duplicate(13, 13)),
        ("the sixth last is forgotten", data(7, 2, 0, 3, 0), out_of_order(8, 0)),
        ("same first, other last", data(7, 2, 7, 2, 0), out_of_order(8, 7)),
        ("a gap", data(7, 2, 9, 1, 0), out_of_order(8, 9)),
        ("older epoch", data(7, 1, 8, 1, 0), stale.clone()),
        ("older epoch, known sequence", data(7, 1, 7, 1, 0), stale),
        ("newer epoch from 0", data(7, 3, 0, 1, 0), Ok(Verdict::New)),
        ("newer epoch not from 0", data(7, 3, 8, 1, 0), out_of_order(0, 8)),
        ("a coordinator's, without sequence", data(7, 2, -1, 1, 0), Ok(Verdict::New)),
        ("unknown producer", data(8, 0, 1234, 1, 0), Ok(Verdict::New)),
        ("no producer", data(-1, -1, -1, 1, 0), Ok(Verdict::New)),
    ];
    let producers = six_batches();
    for (name, header, expected) in table {
        assert_eq!(producers.check(&header, None, One), expected, "{name}");
    }
}

#[test]
fn a_duplicate_of_several_records_names_all_its_offsets() {
    let producers = fold([(data(7, 0, 5, 3, 100), None)]);
    assert_eq!(producers.check(&data(7, 0, 5, 3, 0), None, One), duplicate(100, 102));
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(advance(i32::MAX, 1), 0);
    assert_eq!(advance(i32::MAX - 1, 3), 1);
    let producers = fold([(data(7, 0, i32::MAX - 1, 3, 0), None)]);
    let table = [
        (data(7, 0, 1, 1, 0), Ok(Verdict::New)),
        (data(7, 0, i32::MAX - 1, 3, 0), duplicate(0, 2)),
        (data(7, 0, 0, 1, 0), out_of_order(1, 0)),
    ];
    for (header, expected) in table {
        assert_eq!(producers.check(&header, None, One), expected);
    }
    let at_the_end = fold([(data(7, 0, i32::MAX, 1, 0), None)]);
    assert_eq!(at_the_end.check(&data(7, 0, 0, 1, 1), None, One), Ok(Verdict::New));
}

/// Producer 7 has a transaction of epoch 2 open since 10, by the coordinator of epoch 4.
fn open_transaction() -> Producers {
    let older = EndMarker { coordinator_epoch: 4, ..COMMIT };
    fold([end(7, 2, older, 5), (transactional(7, 2, 0, 2, 10), None)])
}

#[test]
fn while_a_transaction_is_open_its_producer_writes_nothing_else() {
    let producers = open_transaction();
    let open = Err(AppendRefused::TransactionOpen { producer_id: 7, first_offset: 10 });
    let table = [
        ("more of it", transactional(7, 2, 2, 1, 0), Ok(Verdict::New)),
        ("its first batch again", transactional(7, 2, 0, 2, 0), duplicate(10, 11)),
        ("a batch outside of it", data(7, 2, 2, 1, 0), open.clone()),
        ("a batch outside of it in a new epoch", data(7, 3, 0, 1, 0), open),
        ("out of turn comes first", data(7, 2, 3, 1, 0), out_of_order(2, 3)),
        ("another producer", data(8, 0, 0, 1, 0), Ok(Verdict::New)),
    ];
    for (name, header, expected) in table {
        assert_eq!(producers.check(&header, None, One), expected, "{name}");
    }
}

#[test]
fn the_end_of_a_transaction_may_not_come_from_the_past() {
    let mark =
        |epoch, coordinator_epoch| end(7, epoch, EndMarker { coordinator_epoch, ..ABORT }, 0);
    let stale = Err(AppendRefused::StaleEpoch { producer_id: 7, current: 2, got: 1 });
    let fenced = Err(AppendRefused::CoordinatorFenced { producer_id: 7, current: 4, got: 3 });
    let not_raised = Err(AppendRefused::EpochNotRaised { producer_id: 7, current: 2 });
    let (open, closed) = (open_transaction(), fold([mark(2, 4)]));
    let table = [
        ("the transaction's epoch", &open, mark(2, 4), One, Ok(Verdict::New)),
        ("a newer epoch", &open, mark(3, 4), One, Ok(Verdict::New)),
        ("an older epoch", &open, mark(1, 4), One, stale.clone()),
        ("a newer coordinator", &open, mark(2, 5), One, Ok(Verdict::New)),
        ("an older coordinator", &open, mark(2, 3), One, fenced.clone()),
        ("version 2, not raised", &open, mark(2, 4), Two, not_raised),
        ("version 2, raised", &open, mark(3, 4), Two, Ok(Verdict::New)),
        ("version 2, older", &open, mark(1, 4), Two, stale),
        ("version 2, again", &closed, mark(2, 4), Two, Ok(Verdict::New)),
        ("version 2, by an older coordinator", &closed, mark(3, 3), Two, fenced),
        ("unknown producer", &Producers::default(), mark(0, 0), Two, Ok(Verdict::New)),
    ];
    for (name, producers, (header, marker), version, expected) in table {
        assert_eq!(producers.check(&header, marker, version), expected, "{name}");
    }
}

#[test]
fn what_follows_the_end_of_a_transaction_continues_its_epoch() {
    let same_epoch = fold([(transactional(7, 2, 0, 2, 10), None), end(7, 2, COMMIT, 12)]);
    let raised = fold([(transactional(7, 2, 0, 2, 10), None), end(7, 3, COMMIT, 12)]);
    let stale = Err(AppendRefused::StaleEpoch { producer_id: 7, current: 3, got: 2 });
    let table = [
        ("next in line", &same_epoch, transactional(7, 2, 2, 1, 13), Ok(Verdict::New)),
        ("outside of a transaction", &same_epoch, data(7, 2, 2, 1, 13), Ok(Verdict::New)),
        ("a late batch", &raised, transactional(7, 2, 2, 1, 13), stale),
        ("raised, from 0", &raised, transactional(7, 3, 0, 1, 13), Ok(Verdict::New)),
        ("raised, not from 0", &raised, transactional(7, 3, 2, 1, 13), out_of_order(0, 2)),
    ];
    for (name, producers, header, expected) in table {
        assert_eq!(producers.check(&header, None, One), expected, "{name}");
    }
}

#[test]
fn with_version_2_an_unknown_producer_begins_a_transaction_at_0() {
    let producers = Producers::default();
    let table = [
        ("from 0", transactional(7, 0, 0, 1, 0), Two, Ok(Verdict::New)),
        ("not from 0", transactional(7, 0, 5, 1, 0), Two, out_of_order(0, 5)),
        ("outside of a transaction", data(7, 0, 5, 1, 0), Two, Ok(Verdict::New)),
        ("version 1", transactional(7, 0, 5, 1, 0), One, Ok(Verdict::New)),
    ];
    for (name, header, version, expected) in table {
        assert_eq!(producers.check(&header, None, version), expected, "{name}");
    }
}

#[test]
fn a_completed_transaction_is_told_with_the_last_stable_offset() {
    let mut producers = Producers::default();
    assert_eq!(producers.first_open(), None);
    let completed = |producer_id, first_offset, last_offset, last_stable_offset, ending| {
        Some(CompletedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
            ending,
        })
    };
    let (abort_1, abort_2) = (end(1, 0, ABORT, 4), end(2, 0, ABORT, 7));
    let (empty, commit_1) = (end(1, 0, ABORT, 5), end(1, 0, COMMIT, 8));
    let steps = [
        ("1 begins", (transactional(1, 0, 0, 2, 0), None), None, Some(0)),
        ("2 begins", (transactional(2, 0, 0, 1, 2), None), None, Some(0)),
        ("1 goes on", (transactional(1, 0, 2, 1, 3), None), None, Some(0)),
        ("1 aborts under 2", abort_1, completed(1, 0, 4, 2, Ending::Abort), Some(2)),
        ("1 aborts nothing", empty, None, Some(2)),
        ("1 begins again", (transactional(1, 0, 3, 1, 6), None), None, Some(2)),
        ("2 aborts under 1", abort_2, completed(2, 2, 7, 6, Ending::Abort), Some(6)),
        ("1 commits", commit_1, completed(1, 6, 8, 9, Ending::Commit), None),
    ];
    for (name, (header, marker), expected, first_open) in steps {
        assert_eq!(producers.apply(&header, marker), expected, "{name}");
        assert_eq!(producers.first_open(), first_open, "{name}");
    }
}

#[test]
fn an_emptied_control_batch_and_a_batch_without_producer_change_nothing() {
    let (marker, _) = end(7, 9, ABORT, 20);
    let mut producers = open_transaction();
    let before: Vec<ProducerEntry> = producers.entries().collect();
    assert_eq!(producers.apply(&marker, None), None);
    assert_eq!(producers.apply(&data(-1, -1, -1, 1, 21), None), None);
    assert_eq!(producers.entries().collect::<Vec<_>>(), before);
}

#[test]
fn a_newer_epoch_forgets_the_batches_of_the_older() {
    let mut producers = six_batches();
    producers.apply(&data(7, 3, 0, 1, 18), None);
    assert_eq!(producers.entries().map(|entry| entry.last_offset).collect::<Vec<_>>(), [18]);
}

#[test]
fn the_producer_that_wrote_longest_ago_is_forgotten_unless_its_transaction_is_open() {
    let count = PRODUCERS_PER_PARTITION_MAX as i64;
    let mut producers = fold([(transactional(0, 0, 0, 1, 0), None)]);
    for id in 1..count {
        producers.apply(&data(id, 0, 0, 1, id), None);
    }
    producers.apply(&data(1, 0, 1, 1, count), None);
    producers.apply(&data(count, 0, 0, 1, count + 1), None);
    // An old timestamp does not make a producer that writes now the one to be forgotten.
    let backfill = BatchHeader { max_timestamp: -1, ..data(count + 1, 0, 0, 1, count + 2) };
    producers.apply(&backfill, None);
    let known: Vec<i64> = producers.by_id.keys().copied().collect();
    assert_eq!(known.len() as i64, count);
    assert_eq!((known[..3].to_vec(), known[known.len() - 1]), (vec![0, 1, 4], count + 1));
    assert_eq!(producers.by_age.len() + producers.open.len(), known.len());
}

#[test]
fn transactions_open_at_a_time_are_bounded() {
    let limit = OPEN_TRANSACTIONS_PER_PARTITION_MAX;
    let mut producers = Producers::default();
    for id in 0..limit as i64 {
        assert_eq!(producers.check(&transactional(id, 0, 0, 1, id), None, Two), Ok(Verdict::New));
        producers.apply(&transactional(id, 0, 0, 1, id), None);
    }
    let next = transactional(limit as i64, 0, 0, 1, 0);
    let refused = Err(AppendRefused::TooManyTransactions { limit });
    assert_eq!(producers.check(&next, None, Two), refused);
    assert_eq!(producers.check(&transactional(0, 0, 1, 1, 0), None, Two), Ok(Verdict::New));
    assert_eq!(producers.check(&data(-1, -1, -1, 1, 0), None, Two), Ok(Verdict::New));
    let (header, marker) = end(0, 0, COMMIT, 9_000);
    producers.apply(&header, marker);
    assert_eq!(producers.check(&next, None, Two), Ok(Verdict::New));
}

#[test]
fn producers_expire_when_nothing_came_for_long_enough_and_no_transaction_is_open() {
    let mut producers = fold([
        (data(1, 0, 0, 1, 10), None),
        (data(2, 0, 0, 1, 11), None),
        (transactional(3, 0, 0, 1, 12), None),
        end(4, 0, COMMIT, 13),
    ]);
    let known = |producers: &Producers| producers.by_id.keys().copied().collect::<Vec<_>>();
    let (start, days) = (1_000_000, |count: u64| count * 24 * 3600 * 1000);
    let expiry = 24 * 3600 * 1000;
    producers.expire(start, expiry);
    assert_eq!(known(&producers), [1, 2, 3, 4]);
    producers.expire(start + days(1) - 1, expiry);
    assert_eq!(known(&producers), [1, 2, 3, 4]);
    producers.apply(&data(1, 0, 1, 1, 14), None);
    producers.expire(start + days(1), expiry);
    assert_eq!(known(&producers), [1, 3]);
    producers.expire(start + days(3), expiry);
    assert_eq!(known(&producers), [3]);
    assert!(producers.by_age.is_empty());
    let (header, marker) = end(3, 0, ABORT, 15);
    producers.apply(&header, marker);
    producers.expire(start + days(4), expiry);
    producers.expire(start + days(5), expiry);
    assert!(producers.is_empty());
}

/// One step of a log: who, whether in a transaction, records, or else an end that may raise the epoch.
fn any_step() -> impl Strategy<Value = (i64, u8, usize)> {
    (0..4_i64, 0..6_u8, 1..4_usize)
}

/// A log that every check passed, of at most `steps` batches.
fn checked_log(steps: &[(i64, u8, usize)]) -> Vec<(BatchHeader, Option<EndMarker>)> {
    let mut producers = Producers::default();
    let mut log = Vec::new();
    let mut offset = 0;
    for &(id, kind, records) in steps {
        let newest = producers.entries().filter(|entry| entry.producer_id == id).last();
        let epoch = newest.map_or(0, |entry| entry.epoch);
        let next = newest.map_or(0, |entry| advance(entry.last_sequence, 1));
        let (header, marker) = match kind {
            0 => (data(id, epoch, next, records, offset), None),
            1..=3 => (transactional(id, epoch, next, records, offset), None),
            4 => end(id, epoch, COMMIT, offset),
            _ => end(id, epoch + 1, ABORT, offset),
        };
        if producers.check(&header, marker, One) == Ok(Verdict::New) {
            producers.apply(&header, marker);
            offset = header.last_offset() + 1;
            log.push((header, marker));
        }
    }
    log
}

proptest! {
    /// Invariant 1, with the snapshot at any place, and against the obvious definition of the oldest
    /// open transaction.
    #[test]
    fn replay_on_a_snapshot_is_replay(
        steps in proptest::collection::vec(any_step(), 1..60),
        cut in 0..60_usize,
    ) {
        let log = checked_log(&steps);
        let cut = cut.min(log.len());
        let whole = fold(log.iter().copied());
        let mut from_snapshot = Producers::restore(fold(log[..cut].iter().copied()).entries());
        let mut open = BTreeMap::new();
        for (at, (header, marker)) in log.iter().enumerate() {
            if at >= cut {
                from_snapshot.apply(header, *marker);
            }
            match marker {
                Some(_) => drop(open.remove(&header.producer_id)),
                None if header.attributes.transactional() => {
                    open.entry(header.producer_id).or_insert(header.base_offset);
                }
                None => {}
            }
        }
        prop_assert!(whole.entries().eq(from_snapshot.entries()));
        prop_assert_eq!(&whole.open, &from_snapshot.open);
        prop_assert_eq!(&whole.by_age, &from_snapshot.by_age);
        prop_assert_eq!(whole.first_open(), open.values().min().copied());
    }
}
