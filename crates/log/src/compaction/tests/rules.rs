//! What each kind of batch becomes.

use super::*;

type Line = (i64, &'static str, Option<&'static str>);

fn lines(disk: &MemoryDisk) -> Vec<(i64, String, Option<String>)> {
    contents(disk)
}

fn owned(expected: &[Line]) -> Vec<(i64, String, Option<String>)> {
    expected
        .iter()
        .map(|&(at, key, value)| (at, key.to_owned(), value.map(str::to_owned)))
        .collect()
}

fn plain() -> BatchBuilder {
    BatchBuilder::new()
}

#[test]
fn the_last_record_of_each_key_stays_in_its_place() {
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let disk = disk();
        let coded = || plain().compression(codec);
        let first = [
            batch(coded(), 0, &[record(1, "a", Some("1")), record(2, "b", Some("1"))]),
            batch(coded(), 2, &[record(3, "c", Some("1")), record(4, "c", Some("2"))]),
            batch(coded(), 4, &[record(9, "d", Some("1")), record(6, "e", Some("1"))]),
        ];
        let second = [
            batch(coded(), 6, &[record(7, "a", Some("2"))]),
            batch(coded(), 7, &[record(8, "d", Some("2"))]),
        ];
        let segments = [write_segment(&disk, &first), write_segment(&disk, &second)];
        let (cleaned, outcome) = run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
        let kept: &[Line] = &[
            (1, "b", Some("1")),
            (3, "c", Some("2")),
            (5, "e", Some("1")),
            (6, "a", Some("2")),
            (7, "d", Some("2")),
        ];
        assert_eq!(lines(&disk), owned(kept), "{codec:?}");
        let after = batches_in(&disk);
        for (before, after) in first.iter().zip(&after) {
            let (was, is) = (before.header(), after.header());
            assert_eq!((is.base_offset, is.last_offset_delta), (was.base_offset, 1));
            assert_eq!((is.base_timestamp, is.leader_epoch), (was.base_timestamp, 5));
            assert_eq!((is.record_count, is.attributes), (1, was.attributes));
        }
        assert_eq!(after[2].header().max_timestamp, 6, "of what stays");
        assert_eq!(after[3].bytes(), second[0].bytes(), "as it was");
        assert_eq!(cleaned.len(), 1);
        check_cleaned(&disk, &cleaned[0]);
        let figures = outcome.figures;
        assert_eq!((outcome.cleaned_to, outcome.damaged), (8, None));
        assert_eq!((figures.records_kept, figures.records_dropped), (5, 3));
        assert_eq!(figures.bytes_read, segments[0].bytes + segments[1].bytes);
        assert_eq!(figures.bytes_written, cleaned[0].size);
    }
}

#[test]
fn records_keep_their_timestamps_headers_and_bytes() {
    let disk = disk();
    let header = crate::Header { name: "h".into(), value: None };
    let kept = NewRecord { headers: vec![header], ..record(i64::MAX - 7, "b", Some("2")) };
    let tombstone = NewRecord { timestamp: 3, ..record(3, "t", None) };
    let before = batch(plain(), 0, &[record(7, "a", Some("1")), kept, tombstone]);
    let after = batch(plain(), 3, &[record(1, "a", Some("2"))]);
    let segments = [write_segment(&disk, &[before.clone(), after])];
    run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
    let cleaned = &batches_in(&disk)[0];
    assert_eq!(cleaned.records().unwrap(), before.records().unwrap()[1..]);
    assert_eq!(cleaned.header().delete_horizon_ms(), Some(1050));
    assert_eq!(cleaned.header().max_timestamp, i64::MAX - 7);
}

#[test]
fn log_append_time_stays() {
    let disk = disk();
    let built = batch(plain(), 0, &[record(1, "a", Some("1")), record(2, "b", Some("1"))]);
    let (_, bytes) = built.placed(0, 5, Some(77));
    let stamped = Batch::parse(Bytes::from(bytes)).unwrap();
    let later = batch(plain(), 2, &[record(1, "a", None)]);
    let segments = [write_segment(&disk, &[stamped, later])];
    run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
    let cleaned = &batches_in(&disk)[0];
    assert_eq!((cleaned.header().max_timestamp, cleaned.header().record_count), (77, 1));
    assert_eq!(cleaned.records().unwrap()[0].timestamp, 77);
}

#[test]
fn a_tombstone_goes_after_delete_retention_and_not_before() {
    let disk = disk();
    let first = [
        batch(plain(), 0, &[record(1, "a", Some("1")), record(1, "b", Some("1"))]),
        batch(plain(), 2, &[record(2, "a", None)]),
        batch(plain(), 3, &[record(2, "c", Some("1"))]),
    ];
    let mut segments = vec![write_segment(&disk, &first)];
    let mut cleaned_to = 0;
    let with: &[Line] = &[(1, "b", Some("1")), (2, "a", None), (3, "c", Some("1"))];
    let without: &[Line] = &[(1, "b", Some("1")), (3, "c", Some("1"))];
    let table = [(100, 1100, with), (1099, 1100, with), (1100, 1100, without)];
    for (at, (now, horizon, expected)) in table.into_iter().enumerate() {
        let (cleaned, outcome) = run(&disk, &mut job(&disk, plan_of(&segments, cleaned_to, now)));
        install(&mut segments, &cleaned);
        let now_there: Vec<_> = lines(&disk).into_iter().filter(|line| line.0 < 4).collect();
        assert_eq!(now_there, owned(expected), "at {now}");
        let tombstone = batches_in(&disk).into_iter().find(|b| b.header().base_offset == 2);
        let found = tombstone.and_then(|batch| batch.header().delete_horizon_ms());
        assert_eq!(found, (expected == with).then_some(horizon), "at {now}");
        // Something new, so that there is something to clean.
        let next = batch(plain(), 4 + at as i64, &[record(now, &format!("n{at}"), Some("1"))]);
        segments.push(write_segment(&disk, &[next]));
        cleaned_to = outcome.cleaned_to;
    }
}

#[test]
fn records_without_a_key_go() {
    let disk = disk();
    let keyless = NewRecord { key: None, ..record(1, "", Some("1")) };
    let batches = [batch(plain(), 0, &[keyless, record(1, "", Some("2"))])];
    let segments = [write_segment(&disk, &batches)];
    run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
    assert_eq!(lines(&disk), owned(&[(1, "", Some("2"))]));
}

#[test]
fn the_last_batch_of_a_group_stays_without_records_until_it_is_inside_one() {
    let disk = disk();
    let first = [
        batch(plain(), 0, &[record(1, "a", Some("1"))]),
        batch(plain(), 1, &[record(2, "b", Some("1")), record(2, "b", Some("2"))]),
    ];
    let second = [batch(plain(), 3, &[record(3, "b", Some("3"))])];
    let segments = [write_segment(&disk, &first), write_segment(&disk, &second)];
    let mut plan = plan_of(&segments, 0, 50);
    plan.groups = segments.iter().map(|segment| vec![*segment]).collect();
    let (cleaned, _) = run(&disk, &mut job(&disk, plan));
    assert_eq!(cleaned.len(), 1, "the second comes out as it went in");
    let emptied = batches_in(&disk)[1].header().to_owned();
    assert_eq!((emptied.base_offset, emptied.last_offset(), emptied.record_count), (1, 2, 0));
    assert_eq!((emptied.base_timestamp, emptied.max_timestamp), (-1, 2));
    check_cleaned(&disk, &cleaned[0]);
    let segments = [facts_of(&cleaned[0]), segments[1]];
    run(&disk, &mut job(&disk, plan_of(&segments, 3, 60)));
    assert_eq!(lines(&disk), owned(&[(0, "a", Some("1")), (3, "b", Some("3"))]));
    assert_eq!(batches_in(&disk).len(), 2);
}

#[test]
fn what_comes_out_as_it_went_in_is_not_written() {
    let disk = disk();
    let batches: Vec<Batch> =
        (0..9).map(|at| batch(plain(), at, &[record(1, &at.to_string(), Some("1"))])).collect();
    let segments = [write_segment(&disk, &batches)];
    let calls = disk.calls();
    let (cleaned, outcome) = run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
    assert_eq!((cleaned.len(), outcome.cleaned_to, disk.calls()), (0, 9, calls));
    assert_eq!(outcome.figures.records_kept, 9);
}

#[test]
fn a_full_map_cleans_up_to_there_and_goes_on_the_next_time() {
    let disk = disk();
    let keys = ["a", "b", "a", "c", "d", "b", "e", "a"];
    let mut batches = Vec::new();
    for (pair, keys) in keys.chunks(2).enumerate() {
        let records: Vec<NewRecord> = keys.iter().map(|key| record(1, key, Some("1"))).collect();
        batches.push(batch(plain(), pair as i64 * 2, &records));
    }
    let mut segments = vec![write_segment(&disk, &batches)];
    let (mut cleaned_to, mut stops) = (0, Vec::new());
    while cleaned_to < 8 {
        // Room for three keys.
        let mut job = job(&disk, plan_of(&segments, cleaned_to, 50)).with_limits(4, u64::MAX);
        let (cleaned, outcome) = run(&disk, &mut job);
        install(&mut segments, &cleaned);
        let offsets = lines(&disk).into_iter().map(|line| line.0).collect::<Vec<_>>();
        stops.push((outcome.cleaned_to, offsets));
        cleaned_to = outcome.cleaned_to;
    }
    let expected =
        vec![(4, vec![1, 2, 3, 4, 5, 6, 7]), (7, vec![2, 3, 4, 5, 6, 7]), (8, vec![3, 4, 5, 6, 7])];
    assert_eq!(stops, expected);
}

/// Batches of one transaction each, of producer 1: committed at 0, aborted at 3, committed at 6.
fn transactions() -> (Vec<Batch>, AbortedTransaction) {
    let of = |sequence| plain().producer(1, 0, sequence).transactional();
    let batches = vec![
        batch(of(0), 0, &[record(1, "a", Some("1")), record(1, "b", Some("1"))]),
        end(Ending::Commit, (1, 0), 2, 1),
        batch(of(2), 3, &[record(2, "a", None), record(2, "b", Some("aborted"))]),
        end(Ending::Abort, (1, 0), 5, 2),
        batch(of(4), 6, &[record(3, "a", Some("2"))]),
        end(Ending::Commit, (1, 0), 7, 3),
        batch(plain(), 8, &[record(3, "z", Some("1"))]),
    ];
    let aborted = AbortedTransaction {
        producer_id: 1,
        first_offset: 3,
        last_offset: 5,
        last_stable_offset: 6,
    };
    (batches, aborted)
}

#[test]
fn aborted_data_goes_and_ends_go_when_nothing_is_left_of_their_transaction() {
    let disk = disk();
    let (batches, aborted) = transactions();
    let mut segments = vec![write_segment(&disk, &batches)];
    let mut index = vec![aborted];
    let mut seen = Vec::new();
    for (now, cleaned_to) in [(100, 0), (200, 9), (1199, 10), (1200, 11)] {
        let plan = plan_of(&segments, cleaned_to, now);
        let live = LiveProducers::default();
        let mut job = job_with(&disk, plan, index.clone(), live);
        let (cleaned, _) = run(&disk, &mut job);
        if let Some(segment) = cleaned.first() {
            check_cleaned(&disk, segment);
            index.clone_from(&segment.aborted);
        }
        install(&mut segments, &cleaned);
        // Something new, so that there is something to clean.
        let next_offset = segments.last().unwrap().next_offset;
        let next = batch(plain(), next_offset, &[record(now, &now.to_string(), Some("1"))]);
        segments.push(write_segment(&disk, &[next]));
        let offsets: Vec<i64> = batches_in(&disk)
            .iter()
            .map(|batch| batch.header().base_offset)
            .filter(|&offset| offset < 8)
            .collect();
        seen.push((now, offsets, index.len()));
    }
    let expected = vec![
        // The aborted batch goes at once; its end, and the word of it, stay for who has read it.
        (100, vec![0, 2, 5, 6, 7], 1),
        (200, vec![0, 2, 5, 6, 7], 0),
        (1199, vec![0, 2, 5, 6, 7], 0),
        (1200, vec![0, 2, 6, 7], 0),
    ];
    assert_eq!(seen, expected);
    let kept: &[Line] = &[(1, "b", Some("1")), (6, "a", Some("2")), (8, "z", Some("1"))];
    assert_eq!(lines(&disk)[..3], owned(kept));
}

#[test]
fn what_a_live_producer_rests_on_stays() {
    let disk = disk();
    let sent = |sequence| plain().producer(1, 0, sequence);
    let batches = [
        batch(sent(0), 0, &[record(1, "a", Some("1"))]),
        batch(sent(1), 1, &[record(1, "a", Some("2")), record(1, "b", Some("2"))]),
        batch(sent(3), 3, &[record(1, "a", Some("3"))]),
        end(Ending::Commit, (2, 7), 4, 1),
        end(Ending::Commit, (3, 7), 5, 1),
        batch(plain(), 6, &[record(2, "a", Some("4")), record(2, "b", Some("4"))]),
    ];
    let segment = write_segment(&disk, &batches);
    let mut live = LiveProducers::default();
    live.add(1, 0, Some(2));
    live.add(1, 0, Some(3));
    live.add(2, 7, None);
    live.add(3, 8, None);
    let mut segments = vec![segment];
    for (now, dirty_from) in [(10, 0), (2000, 8)] {
        let plan = plan_of(&segments, dirty_from, now);
        let mut job = job_with(&disk, plan, Vec::new(), live.clone());
        let (cleaned, _) = run(&disk, &mut job);
        install(&mut segments, &cleaned);
        let next_offset = segments.last().unwrap().next_offset;
        let next = batch(plain(), next_offset, &[record(2, &now.to_string(), Some("1"))]);
        segments.push(write_segment(&disk, &[next]));
    }
    let left: Vec<(i64, i32, i32)> = batches_in(&disk)
        .iter()
        .map(|batch| batch.header())
        .map(|header| (header.last_offset(), header.base_sequence, header.record_count))
        .collect();
    assert_eq!(left, [(2, 1, 0), (3, 3, 0), (4, -1, 1), (7, -1, 2), (8, -1, 1), (9, -1, 1)]);
}

/// It holds no record of that time: nobody who asks for one is to be sent there.
#[test]
fn a_batch_that_is_left_without_records_has_no_time() {
    let disk = disk();
    let batches = [
        batch(plain().producer(1, 0, 0), 0, &[record(90, "a", Some("1"))]),
        batch(plain(), 1, &[record(20, "b", Some("1"))]),
        batch(plain(), 2, &[record(30, "a", Some("2"))]),
    ];
    let segments = [write_segment(&disk, &batches)];
    let mut live = LiveProducers::default();
    live.add(1, 0, Some(0));
    let mut job = job_with(&disk, plan_of(&segments, 0, 100), Vec::new(), live);
    let (cleaned, _) = run(&disk, &mut job);
    let bytes = disk.read_raw(&names::log(DIR, 0)).unwrap();
    let left: Vec<(i64, i32)> = split(Bytes::from(bytes))
        .map(|batch| *batch.unwrap().header())
        .map(|header| (header.base_offset, header.record_count))
        .collect();
    assert_eq!(left, [(0, 0), (1, 1), (2, 1)]);
    assert_eq!(cleaned[0].max_time, MaxTime { timestamp: 30, last_offset: 2 });
    check_cleaned(&disk, &cleaned[0]);
}

/// Three segments of one batch each, with the same keys, and a flipped bit in the one of that number.
fn damaged(number: usize) -> (MemoryDisk, Vec<SegmentFacts>) {
    let disk = disk();
    let segments: Vec<SegmentFacts> = (0..3)
        .map(|number| {
            let value = number.to_string();
            let records = [record(1, "a", Some(&value)), record(1, &value, Some("1"))];
            write_segment(&disk, &[batch(plain(), number * 2, &records)])
        })
        .collect();
    assert!(disk.flip_bit(&names::log(DIR, number as i64 * 2), 8 * 65));
    (disk, segments)
}

#[test]
fn damage_ends_the_job_before_its_segment() {
    // (damaged segment, dirty from, cleaned to, offsets dropped)
    let table = [
        (0, 0, 0, vec![]),
        (1, 0, 2, vec![]),
        (2, 0, 4, vec![0]),
        (0, 4, 4, vec![]),
        (1, 4, 4, vec![0]),
    ];
    for (number, dirty_from, cleaned_to, dropped) in table {
        let (disk, segments) = damaged(number);
        let before = disk.read_raw(&names::log(DIR, number as i64 * 2));
        let (_, outcome) = run(&disk, &mut job(&disk, plan_of(&segments, dirty_from, 50)));
        let name = format!("segment {number}, dirty from {dirty_from}");
        let (base_offset, fault) = outcome.damaged.expect(&name);
        assert_eq!(base_offset, number as i64 * 2, "{name}");
        assert!(matches!(fault.kind, crate::FaultKind::Corrupt(_)), "{name}: {fault}");
        assert_eq!(fault.offset, Some(0), "{name}");
        assert_eq!(outcome.cleaned_to, cleaned_to, "{name}");
        assert_eq!(disk.read_raw(&names::log(DIR, number as i64 * 2)), before, "{name}");
        disk.flip_bit(&names::log(DIR, number as i64 * 2), 8 * 65);
        let left: Vec<i64> = lines(&disk).into_iter().map(|line| line.0).collect();
        let expected: Vec<i64> = (0..6).filter(|offset| !dropped.contains(offset)).collect();
        assert_eq!(left, expected, "{name}");
        assert!(disk.files().iter().all(|file| !file.ends_with(names::CLEANED)), "{name}");
    }
}

#[test]
fn damage_behind_an_aborted_transaction_does_not_bring_it_back() {
    let disk = disk();
    let (mut batches, aborted) = transactions();
    let rotten = batches.pop().unwrap();
    let dirty = batch(plain(), 9, &[record(9, "z", Some("2"))]);
    let segments = [batches, vec![rotten], vec![dirty]].map(|of| write_segment(&disk, &of));
    assert!(disk.flip_bit(&names::log(DIR, 8), 8 * 65));
    let plan = plan_of(&segments, 9, 50);
    assert_eq!(plan.groups.len(), 1, "the damage is met when the first segment has been rewritten");
    let live = LiveProducers::default();
    let mut job = job_with(&disk, plan, vec![aborted], live);
    let (cleaned, outcome) = run(&disk, &mut job);
    assert_eq!(outcome.damaged.map(|(base_offset, _)| base_offset), Some(8));
    assert_eq!(cleaned.len(), 1);
    assert_eq!((cleaned[0].next_offset, &cleaned[0].aborted), (8, &vec![aborted]));
    check_cleaned(&disk, &cleaned[0]);
    let bytes = disk.read_raw(&names::log(DIR, 0)).unwrap();
    let left = split(Bytes::from(bytes)).map(|batch| batch.unwrap().header().base_offset);
    assert_eq!(left.collect::<Vec<_>>(), [0, 2, 5, 6, 7]);
    assert_eq!(outcome.figures.bytes_written, cleaned[0].size);
}

#[test]
fn a_fault_leaves_the_log_as_it_was() {
    let build = || {
        let disk = disk();
        let batches = [
            batch(plain(), 0, &[record(1, "a", Some("1"))]),
            batch(plain(), 1, &[record(1, "a", Some("2"))]),
        ];
        let segments = [write_segment(&disk, &batches)];
        (disk, segments)
    };
    let mut faults = 0;
    for calls in 0.. {
        let (disk, segments) = build();
        let (files, before) = (disk.files(), contents(&disk));
        disk.fail_after(calls, crate::FaultKind::NoSpace);
        let mut job = job(&disk, plan_of(&segments, 0, 50));
        match job.run() {
            Err(fault) => assert_eq!(fault.kind, crate::FaultKind::NoSpace),
            Ok(step) => {
                assert!(matches!(step, Step::Replaced(_)));
                break;
            }
        }
        faults += 1;
        assert!(matches!(job.run(), Ok(Step::Done(_))), "over");
        disk.heal();
        assert_eq!(contents(&disk), before);
        finish_swaps(&disk, DIR).unwrap();
        assert_eq!(disk.files(), files);
    }
    assert!(faults > 10, "{faults}");
}
