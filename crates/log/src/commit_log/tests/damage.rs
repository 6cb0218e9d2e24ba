//! Disks that change or lose bytes at rest.

use super::*;

/// 12 batches "b0" … "b11" over four segments, closed cleanly.
fn closed_log() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..12 {
        let batch =
            producer_batch(&[&format!("b{at}")], 100 + at, Some((at % 2, 0, at as i32 / 2)));
        log.append(&batch, NOW).unwrap();
    }
    log.close().unwrap();
    disk
}

/// Every record that is served, by offset; `None` where a read is refused as damaged.
fn served(log: &CommitLog) -> Vec<Option<String>> {
    let one = |offset| match log.read(offset, i64::MAX, 1) {
        Ok(bytes) => {
            let batch = split(bytes).next().expect("a batch").expect("a valid batch");
            assert_eq!(batch.header().base_offset, offset);
            let value = batch.records().expect("decodes").remove(0).value.expect("a value");
            Some(String::from_utf8_lossy(&value).into_owned())
        }
        Err(ReadRefused::Fault(fault)) => {
            assert!(matches!(fault.kind, FaultKind::Corrupt(_)), "{fault}");
            assert!(fault.path.ends_with(".log") && fault.offset.is_some(), "{fault}");
            None
        }
        Err(refused) => panic!("{refused}"),
    };
    (log.start_offset()..log.end_offset()).map(one).collect()
}

/// Nothing but what was written is served, in its place, and at most `lost` of it is not.
fn assert_sound(log: &CommitLog, lost: usize, context: &str) {
    let served = served(log);
    assert!(served.len() >= 12, "{context}: offsets are not forgotten");
    for (offset, text) in served.iter().take(12).enumerate() {
        assert!(text.as_deref().is_none_or(|text| text == format!("b{offset}")), "{context}");
    }
    let missing = served.iter().filter(|text| text.is_none()).count();
    assert!(missing <= lost, "{context}: {missing} batches are not served: {served:?}");
}

#[test]
fn every_flipped_bit_is_harmless_or_noticed() {
    let disk = closed_log();
    let whole = open_with(&disk.fork(), SMALL).0;
    let state = whole.producers();
    for path in disk.files() {
        let bytes = disk.read_raw(&path).unwrap();
        // The checkpoint's own test flips all of its bits.
        let step = if path.ends_with("checkpoint") { 211 } else { 1 };
        for bit in (0..bytes.len() as u64 * 8).step_by(step) {
            let disk = disk.fork();
            assert!(disk.flip_bit(&path, bit));
            let context = format!("bit {bit} of {path}");
            let opened = CommitLog::open(Arc::new(disk.clone()), DIR, SMALL);
            let (mut log, recovered) = opened.unwrap_or_else(|fault| panic!("{context}: {fault}"));
            assert_eq!(recovered.cut_bytes, 0, "{context}: durable bytes are never cut");
            let in_log = path.ends_with(".log");
            // One batch is damaged; when its length is, others up to the next indexed one go too.
            assert_sound(&log, if in_log { 3 } else { 0 }, &context);
            assert_eq!(log.producers(), state, "{context}");
            if !in_log {
                for time in [100, 104, 111] {
                    let found = log.offset_at_time(time, 12).map(|at| at.map(|at| at.offset));
                    assert_eq!(found, Ok(Some(time - 100)), "{context}");
                }
                let newest = log.offset_of_max_timestamp(12).map(|at| at.map(|at| at.offset));
                assert_eq!(newest, Ok(Some(11)), "{context}");
            }
            append(&mut log, &["after"], 0);
            sync(&mut log);
            assert_eq!(texts_from(&log, 12, 100).unwrap(), ["after"], "{context}");
            let (log, recovered) = open_with(&disk, SMALL);
            assert_eq!((log.end_offset(), recovered.cut_bytes), (13, 0), "{context}");
            assert_sound(&log, if in_log { 3 } else { 0 }, &context);
        }
    }
}

#[test]
fn every_truncation_is_harmless_or_reported() {
    let disk = closed_log();
    for path in disk.files() {
        let len = disk.read_raw(&path).unwrap().len() as u64;
        let step = if path.ends_with("checkpoint") { 61 } else { 1 };
        for cut in (0..len).step_by(step) {
            let disk = disk.fork();
            assert!(disk.truncate_raw(&path, cut));
            let context = format!("{path} cut at {cut} of {len}");
            let opened = CommitLog::open(Arc::new(disk.clone()), DIR, SMALL);
            let (mut log, recovered) = opened.unwrap_or_else(|fault| panic!("{context}: {fault}"));
            assert_eq!(recovered.cut_bytes, 0, "{context}");
            // Of an older segment, only a loss that reaches its index is seen without a scan.
            let seen = path.ends_with("9.log");
            assert!(!recovered.damaged.is_empty() || !seen, "{context}: {recovered:?}");
            let may_be_seen = path.ends_with(".log") || path.ends_with("checkpoint");
            assert!(recovered.damaged.is_empty() || may_be_seen, "{context}: {recovered:?}");
            assert_sound(&log, if path.ends_with(".log") { 3 } else { 0 }, &context);
            assert!(log.producers().len() >= 10 || path.ends_with(".log"), "{context}");
            let at = log.end_offset();
            assert_eq!(at, 12, "{context}: lost offsets are not given again");
            append(&mut log, &["after"], 0);
            sync(&mut log);
            let (log, _) = open_with(&disk, SMALL);
            assert_eq!(texts_from(&log, at, 100).unwrap(), ["after"], "{context}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    append(&mut log, &["a"], 0);
    let kept = log.size_bytes();
    append(&mut log, &["b"], 0);
    let whole = log.size_bytes();
    sync(&mut log);
    drop(log);
    for cut in kept..whole {
        let disk = disk.fork();
        assert!(disk.truncate_raw("t-0/00000000000000000000.log", cut));
        let (mut log, recovered) = open(&disk);
        let expected = Recovered { cut_bytes: cut - kept, ..Recovered::default() };
        assert_eq!(recovered, expected, "{cut}");
        append(&mut log, &["c"], 0);
        assert_eq!(texts(&log), ["a", "c"]);
    }
}

#[test]
fn what_is_cut_is_kept_aside_when_a_batch_is_in_it() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..9 {
        append(&mut log, &[&format!("b{at}")], at);
    }
    drop(log);
    let path = "t-0/00000000000000000000.log";
    let first = disk.read_raw(path).unwrap();
    let rest: Vec<u8> = disk
        .files()
        .iter()
        .filter(|path| path.ends_with(".log"))
        .flat_map(|path| disk.read_raw(path).unwrap())
        .skip(70)
        .collect();
    assert!(disk.flip_bit(path, 70 * 8 + 300));
    let (log, recovered) = open_with(&disk, SMALL);
    let aside = "t-0/00000000000000000000-70.cut";
    assert_eq!(recovered.kept_aside.as_deref(), Some(aside));
    assert_eq!(recovered.cut_bytes, rest.len() as u64);
    assert_eq!(texts(&log), ["b0"]);
    let kept = disk.read_raw(aside).unwrap();
    let differing = kept.iter().zip(&rest).filter(|(a, b)| a != b).count();
    assert_eq!((kept.len(), differing), (rest.len(), 1), "all of it, with its damage");
    assert_eq!(disk.read_raw(path).unwrap(), first[..70]);
    assert_eq!(open_with(&disk, SMALL).1, Recovered::default(), "once is enough");
}

#[test]
fn damage_is_served_around() {
    let disk = closed_log();
    let path = "t-0/00000000000000000003.log";
    let bytes = disk.read_raw(path).unwrap().len() as u64;
    assert!(disk.flip_bit(path, bytes / 2 * 8));
    let (log, recovered) = open_with(&disk, SMALL);
    assert_eq!(recovered, Recovered::default(), "an old segment is not scanned at open");
    let bad = served(&log).iter().position(Option::is_none).map(|at| at as i64);
    assert_eq!(bad, Some(4));
    let Err(ReadRefused::Fault(fault)) = log.read(4, 12, 1000) else { panic!("a fault") };
    assert_eq!((fault.path.as_str(), fault.offset), (path, Some(70)));
    let before = split(log.read(3, 12, 1000).unwrap()).count();
    assert_eq!(before, 1, "what lies before the damage is served without it");
    assert!(matches!(log.offset_at_time(106, 12), Ok(Some(_)) | Err(_)));
}

#[test]
fn a_lost_checkpoint_makes_everything_count_as_durable() {
    let disk = closed_log();
    for slot in [0, 4096] {
        assert!(disk.flip_bit("t-0/checkpoint", slot * 8 + 100));
    }
    assert!(disk.flip_bit("t-0/00000000000000000003.log", 70 * 8 + 300));
    let (log, recovered) = open_with(&disk, SMALL);
    let reported: Vec<String> = recovered
        .damaged
        .iter()
        .map(|fault| format!("{}@{:?}", fault.path, fault.offset))
        .collect();
    assert_eq!(reported, ["t-0/checkpoint@Some(0)", "t-0/00000000000000000003.log@Some(70)"]);
    assert_eq!((recovered.cut_bytes, log.end_offset()), (0, 12));
    assert_sound(&log, 1, "lost checkpoint");
}

#[test]
fn missing_segments_are_reported_and_their_offsets_stay_taken() {
    let disk = closed_log();
    let logs: Vec<String> = disk.files().into_iter().filter(|p| p.ends_with(".log")).collect();
    for path in &logs {
        let disk = disk.fork();
        disk.remove_file(path).unwrap();
        let (mut log, recovered) = open_with(&disk, SMALL);
        assert_eq!(recovered.cut_bytes, 0, "{path}");
        assert_eq!((log.start_offset(), log.end_offset()), (0, 12), "{path}");
        assert_sound(&log, 3, path);
        append(&mut log, &["after"], 0);
        assert_eq!(texts_from(&log, 12, 100).unwrap(), ["after"]);
        let ends = [logs.first(), logs.last()].contains(&Some(path));
        assert_eq!(recovered.damaged.len(), usize::from(ends), "{path}: {recovered:?}");
    }
}
