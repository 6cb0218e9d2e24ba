//! The log's behaviour on the memory disk. Power cuts are explored in `sim`.

use bytes::Bytes;

use super::*;
use crate::{BatchBuilder, BatchHeader, MemoryDisk, NewRecord, split};

mod damage;
mod files;
mod trouble;

const CONFIG: LogConfig =
    LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 200, ..LogConfig::KAFKA };
/// Two or three batches of [`batch_of`] to a segment.
const SMALL: LogConfig =
    LogConfig { segment_bytes: 250, index_interval_bytes: 100, ..LogConfig::KAFKA };
const DIR: &str = "t-0";
const NOW: AppendAt = AppendAt { now_ms: 0, leader_epoch: 0, log_append_time: false };

fn open(disk: &MemoryDisk) -> (CommitLog, Recovered) {
    open_with(disk, CONFIG)
}

fn open_with(disk: &MemoryDisk, config: LogConfig) -> (CommitLog, Recovered) {
    CommitLog::open(Arc::new(disk.clone()), DIR, config).expect("the log opens")
}

/// One record a text.
fn batch_of(texts: &[&str], timestamp: i64) -> Batch {
    producer_batch(texts, timestamp, None)
}

fn producer_batch(texts: &[&str], timestamp: i64, producer: Option<(i64, i16, i32)>) -> Batch {
    let mut builder = BatchBuilder::new();
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for text in texts {
        let value = Some(Bytes::copy_from_slice(text.as_bytes()));
        builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
    }
    builder.build()
}

fn append(log: &mut CommitLog, texts: &[&str], timestamp: i64) {
    let base_offset = log.end_offset();
    let last_offset = base_offset + texts.len() as i64 - 1;
    let appended = log.append(&batch_of(texts, timestamp), NOW);
    assert_eq!(appended, Ok(Appended::Written { base_offset, last_offset }));
}

fn sync(log: &mut CommitLog) {
    if let Some(work) = log.sync_begin() {
        log.sync_end(&work, work.run());
    }
}

/// The values of the records from `from` on, read in pieces of about `max_bytes`.
fn texts_from(
    log: &CommitLog,
    mut from: i64,
    max_bytes: usize,
) -> Result<Vec<String>, ReadRefused> {
    let mut texts = Vec::new();
    while from < log.end_offset() {
        for batch in split(log.read(from, i64::MAX, max_bytes)?) {
            for record in batch.expect("reads return valid batches").records().expect("decodes") {
                if record.offset >= from {
                    assert_eq!(record.offset, from, "no offset is left out");
                    let value = record.value.expect("a value");
                    texts.push(String::from_utf8_lossy(&value).into_owned());
                    from += 1;
                }
            }
        }
    }
    Ok(texts)
}

fn texts(log: &CommitLog) -> Vec<String> {
    texts_from(log, log.start_offset(), 1000).expect("the log is sound")
}

#[test]
fn what_was_appended_is_read_and_survives_a_clean_stop() {
    let disk = MemoryDisk::new();
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered::default());
    append(&mut log, &["a", "b"], 5);
    append(&mut log, &["c"], 6);
    assert_eq!((log.durable_offset(), log.end_offset()), (0, 3));
    sync(&mut log);
    assert_eq!(log.durable_offset(), 3);
    assert_eq!(texts(&log), ["a", "b", "c"]);
    log.close().unwrap();
    let calls = disk.calls();
    let (log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered::default());
    assert_eq!((log.durable_offset(), log.end_offset()), (3, 3));
    assert_eq!(texts(&log), ["a", "b", "c"]);
    assert_eq!(disk.calls(), calls, "opening after a clean stop changes nothing");
}

#[test]
fn an_empty_log_is_opened_again_without_a_trace() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    log.close().unwrap();
    let calls = disk.calls();
    let (mut log, recovered) = open(&disk);
    log.close().unwrap();
    assert_eq!((recovered, disk.calls()), (Recovered::default(), calls));
}

#[test]
fn batches_are_stored_as_they_came_but_for_offset_and_epoch() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    append(&mut log, &["before"], 1);
    let batch = producer_batch(&["x", "y"], 7, Some((9, 0, 0)));
    log.append(&batch, AppendAt { leader_epoch: 4, ..NOW }).unwrap();
    let stored = log.read(1, 3, 1).unwrap();
    let (given, found) = (batch.bytes(), BatchHeader::read(&stored).unwrap());
    assert_eq!((found.base_offset, found.leader_epoch), (1, 4));
    assert_eq!((&stored[8..12], &stored[16..]), (&given[8..12], &given[16..]));
}

#[test]
fn log_append_time_is_put_into_the_batch() {
    let (mut log, _) = open(&MemoryDisk::new());
    let at = AppendAt { now_ms: 777, leader_epoch: 0, log_append_time: true };
    log.append(&batch_of(&["x", "y"], 5), at).unwrap();
    let batch = Batch::parse(log.read(0, 2, 1).unwrap()).unwrap();
    let times: Vec<i64> = batch.records().unwrap().iter().map(|r| r.timestamp).collect();
    assert_eq!((times, batch.header().max_timestamp), (vec![777, 777], 777));
    assert_eq!(log.offset_at_time(700, 2), Ok(Some(TimedOffset { offset: 0, timestamp: 777 })));
}

#[test]
fn reads_return_whole_batches_within_bounds() {
    let (mut log, _) = open_with(&MemoryDisk::new(), SMALL);
    for at in 0..40 {
        append(&mut log, &[&format!("a{at}"), &format!("b{at}")], at);
    }
    let spans = |from, until, max_bytes| -> Vec<(i64, i64)> {
        split(log.read(from, until, max_bytes).unwrap())
            .map(|batch| batch.map(|b| (b.header().base_offset, b.last_offset())).unwrap())
            .collect()
    };
    assert_eq!(spans(0, 80, 0), [(0, 1)], "at least one batch");
    assert_eq!(
        spans(1, 80, 1000),
        [(0, 1), (2, 3), (4, 5)],
        "from inside a batch to the segment's end"
    );
    assert_eq!(spans(3, 3, 1000), []);
    assert_eq!(spans(2, 3, 1000), [(2, 3)], "a batch that begins below the bound");
    assert_eq!(spans(80, 99, 1000), []);
    for (from, next) in [(81, 80), (-1, 80)] {
        let refused = ReadRefused::OutOfRange { wanted: from, first: 0, next };
        assert_eq!(log.read(from, 99, 1), Err(refused));
    }
    let all: Vec<String> = (0..40).flat_map(|at| [format!("a{at}"), format!("b{at}")]).collect();
    for max_bytes in [1, 150, 100_000] {
        for from in 0..80 {
            let found = texts_from(&log, from, max_bytes).unwrap();
            assert_eq!(found, all[from as usize..], "from {from} by {max_bytes}");
        }
    }
}

#[test]
fn producers_are_remembered_through_rolls_stops_and_lost_snapshots() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..30 {
        let batch = producer_batch(&["x"], at.into(), Some((i64::from(at % 3), 0, at / 3)));
        log.append(&batch, NOW).unwrap();
    }
    let state = log.producers();
    assert_eq!(state.len(), 15, "five batches of three producers");
    sync(&mut log);

    let (mut log, recovered) = open_with(&disk, SMALL);
    assert_eq!((log.producers(), recovered.damaged), (state.clone(), vec![]), "without close");
    log.close().unwrap();
    let (mut log, _) = open_with(&disk, SMALL);
    assert_eq!(log.producers(), state, "after close");
    let again = producer_batch(&["x"], 29, Some((2, 0, 9)));
    let duplicate = Appended::Duplicate { base_offset: 29, last_offset: 29 };
    assert_eq!(log.append(&again, NOW), Ok(duplicate));
    let gap = producer_batch(&["x"], 29, Some((2, 0, 11)));
    let refused = AppendRefused::OutOfOrderSequence { producer_id: 2, expected: 10, got: 11 };
    assert_eq!(log.append(&gap, NOW), Err(refused));
    assert_eq!(log.end_offset(), 30);
    drop(log);

    let snapshots = |disk: &MemoryDisk| -> Vec<String> {
        disk.files().into_iter().filter(|path| path.ends_with(".snapshot")).collect()
    };
    while let Some(newest) = snapshots(&disk).pop() {
        assert!(disk.flip_bit(&newest, 100));
        let (log, _) = open_with(&disk, SMALL);
        assert_eq!(log.producers(), state, "with {newest} damaged");
        assert!(!snapshots(&disk).contains(&newest));
    }
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let (mut log, _) = open(&MemoryDisk::with_crash_model());
    append(&mut log, &["a"], 0);
    let first = log.sync_begin().expect("a batch to sync");
    append(&mut log, &["b"], 0);
    append(&mut log, &["c"], 0);
    assert!(log.sync_begin().is_none(), "one sync at a time");
    assert_eq!(log.close().unwrap_err().to_string(), "close t-0: a sync has not been ended");
    log.sync_end(&first, first.run());
    assert_eq!((log.durable_offset(), log.end_offset()), (1, 3));
    let second = log.sync_begin().expect("two more batches to sync");
    log.sync_end(&second, second.run());
    assert_eq!(log.durable_offset(), 3);
    assert!(log.sync_begin().is_none(), "nothing is pending");
}

#[test]
fn sync_work_can_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<SyncWork>();
    is_send::<CommitLog>();
}

#[test]
fn times_find_offsets_across_segments() {
    let (mut log, _) = open_with(&MemoryDisk::new(), SMALL);
    let times = [10, 30, 20, 30, 5, 40, 40, 15, 60, 50, 55, 1];
    for time in times {
        append(&mut log, &["x", "y"], time);
    }
    let timed = |offset, timestamp| Some(TimedOffset { offset, timestamp });
    let table = [
        (0, 24, timed(0, 10)),
        (10, 24, timed(0, 10)),
        (11, 24, timed(2, 30)),
        (31, 24, timed(10, 40)),
        (41, 24, timed(16, 60)),
        (61, 24, None),
        (41, 17, timed(16, 60)),
        (41, 16, None),
    ];
    for (timestamp, until, expected) in table {
        assert_eq!(log.offset_at_time(timestamp, until), Ok(expected), "{timestamp} below {until}");
    }
    let table = [
        (24, timed(16, 60)),
        (16, timed(10, 40)),
        (10, timed(2, 30)),
        (1, timed(0, 10)),
        (0, None),
    ];
    for (until, expected) in table {
        assert_eq!(log.offset_of_max_timestamp(until), Ok(expected), "below {until}");
    }
}

#[test]
fn the_leader_epoch_of_every_batch_is_known() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    for (text, leader_epoch) in [("a", 0), ("b", 0), ("c", 5), ("d", 6)] {
        log.append(&batch_of(&[text], 0), AppendAt { leader_epoch, ..NOW }).unwrap();
    }
    sync(&mut log);
    let (log, recovered) = open(&disk);
    assert_eq!((texts(&log).concat(), recovered.cut_bytes), ("abcd".to_owned(), 0));
}
