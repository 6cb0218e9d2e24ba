//! `kafka-dump-log` over what only a coordinator or time writes: transactions and their index, markers,
//! producers with open transactions, leader epochs, the transaction state, compacted segments. What it
//! prints is what was written.

use std::path::PathBuf;

use tidings_log::{Ending, LogConfig};

use super::dump_log::{checkpoints, dump_log, field, number, says_nothing_but_their_names, tool};
use super::stored::{By, COMPACTED, Record, SMALL, START_MS, Stored, Writing};

const A: i64 = 7;
const B: i64 = 8;
const IDEMPOTENT: i64 = 9;
const UNENDED: i64 = 10;
const MARKER_ONLY: i64 = 11;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What the tool prints of a batch, without its place, its sizes and its checksum.
fn batch(line: &str) -> String {
    assert!(line.ends_with(" isvalid: true"), "{line}");
    let of = |name| number(line, name);
    let mut said = format!("{}..={}", of("baseOffset: "), of(" lastOffset: "));
    let count = of(" lastOffset: ") - of("baseOffset: ") + 1;
    if of(" count: ") != count {
        said += &format!(" holds {}", of(" count: "));
    }
    if of(" producerId: ") >= 0 {
        let (first, last) = (of(" baseSequence: "), of(" lastSequence: "));
        said += &format!(" producer {} {first}..={last}", of(" producerId: "));
        assert_eq!(of(" producerEpoch: "), 0, "{line}");
    }
    if of(" partitionLeaderEpoch: ") > 0 {
        said += &format!(" epoch {}", of(" partitionLeaderEpoch: "));
    }
    for (name, word) in [(" isTransactional: ", " transactional"), (" isControl: ", " control")] {
        match field(line, name) {
            "true" => said += word,
            other => assert_eq!(other, "false", "{line}"),
        }
    }
    match field(line, " deleteHorizonMs: ") {
        "OptionalLong.empty" => {}
        horizon => {
            let ms = horizon.trim_start_matches("OptionalLong[").trim_end_matches(']');
            let ms: i64 = ms.parse().unwrap_or_else(|_| panic!("no number in {horizon}"));
            said += &format!(" until {}", ms - START_MS);
        }
    }
    said
}

/// A record's offset, with the end of the transaction that it is.
fn record(line: &str) -> String {
    let offset = number(line, "| offset: ");
    match line.split_once(" endTxnMarker: ") {
        Some((_, end)) => format!("  {offset} {end}"),
        None => format!("  {offset}"),
    }
}

/// What the tool prints of `.log` files, batch by batch, with the records when it was asked for them.
fn log(lines: &[String]) -> Vec<String> {
    let (mut said, mut position) = (Vec::new(), 0);
    for line in lines {
        if line.starts_with("Dumping ") {
            position = 0;
        } else if line.starts_with("| ") {
            said.push(record(line));
        } else if !line.starts_with("Log starting offset: ") {
            assert_eq!(number(line, " position: "), position, "{line}");
            position += number(line, " size: ");
            said.push(batch(line));
        }
    }
    said
}

/// What the tool prints of the newest snapshot: each producer's batches, its transaction, its coordinator.
fn producers(stored: &Stored, name: &str) -> Vec<String> {
    let newest = stored.files(name, ".snapshot").pop().expect("a snapshot");
    let producer = |line: &String| {
        let mut said = format!("{}", number(line, "producerId: "));
        if line.contains(" firstSequence: ") {
            let of = |name| number(line, name);
            let last = of(" lastOffset: ");
            let (from, to) = (of(" firstSequence: "), of(" lastSequence: "));
            said += &format!(" {from}..={to} at {}..={last}", last - of(" offsetDelta: "));
        }
        if number(line, " coordinatorEpoch: ") >= 0 {
            said += &format!(" coordinator {}", number(line, " coordinatorEpoch: "));
        }
        match field(line, " currentTxnFirstOffset: ") {
            "OptionalLong.empty" => {}
            open => said += &format!(" open {open}"),
        }
        said
    };
    dump_log(&[], &[newest]).iter().skip(1).map(producer).collect()
}

/// What the tool prints of each index of transactions, with the first offset in its file's name.
fn aborted(stored: &Stored, name: &str) -> Vec<(i64, Vec<String>)> {
    let of = |file: PathBuf| {
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut lines = dump_log(&[], &[file]);
        lines.remove(0);
        (stem.parse().expect("an offset"), lines)
    };
    stored.files(name, ".txnindex").into_iter().map(of).collect()
}

/// Every index of a log passes both of the tool's checks, and there is one of each kind to a segment.
fn indexes_are_sound(stored: &Stored, name: &str) {
    let segments = stored.files(name, ".log").len();
    for suffix in [".index", ".timeindex"] {
        let files = stored.files(name, suffix);
        assert_eq!(files.len(), segments, "{name} {suffix}");
        let passes = dump_log(&["--index-sanity-check"], &files);
        let told = passes
            .iter()
            .filter(|line| line.ends_with(" passed sanity check.") || line.ends_with(" is empty."));
        assert_eq!((told.count(), passes.len()), (segments, 2 * segments), "{passes:?}");
        says_nothing_but_their_names(&["--verify-index-only"], &files);
    }
}

#[test]
fn transactions_their_index_and_their_producers_are_as_kafka_wants_them() {
    let stored = payments();
    let name = "payments-0";
    let files = stored.files(name, ".log");
    let deep = log(&dump_log(&["--deep-iteration"], &files));
    let wanted = [
        "0..=1 producer 7 0..=1 transactional",
        "  0",
        "  1",
        "2..=2 producer 8 0..=0 transactional",
        "  2",
        "3..=4 producer 9 0..=1",
        "  3",
        "  4",
        "5..=5 producer 7 -1..=-1 transactional control",
        "  5 ABORT coordinatorEpoch: 3",
        "6..=7 producer 8 1..=2 transactional",
        "  6",
        "  7",
        "8..=8 producer 8 -1..=-1 transactional control",
        "  8 COMMIT coordinatorEpoch: 3",
        "9..=10 producer 10 0..=1 epoch 4 transactional",
        "  9",
        "  10",
        "11..=11 producer 7 2..=2 epoch 4 transactional",
        "  11",
        "12..=12 producer 7 -1..=-1 epoch 4 transactional control",
        "  12 ABORT coordinatorEpoch: 3",
        "13..=13 producer 11 -1..=-1 epoch 4 transactional control",
        "  13 ABORT coordinatorEpoch: 3",
        "14..=15 producer 9 2..=3 epoch 4",
        "  14",
        "  15",
        "16..=16 epoch 4",
        "  16",
    ];
    assert_eq!(deep, wanted);
    let batches: Vec<String> = deep.into_iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(log(&dump_log(&[], &files)), batches);

    let of_a = |first: i64, last: i64, stable: i64| {
        format!(
            "version: 0 producerId: {A} firstOffset: {first} lastOffset: {last} \
             lastStableOffset: {stable}"
        )
    };
    // B was open at the first abort, and the one that never ended at the second.
    let wanted = [(5, vec![of_a(0, 5, 2)]), (9, vec![of_a(11, 12, 9)])];
    assert_eq!(aborted(&stored, name), wanted);
    let wanted = [
        "7 0..=1 at 0..=1 coordinator 3",
        "7 2..=2 at 11..=11 coordinator 3",
        "8 0..=0 at 2..=2 coordinator 3",
        "8 1..=2 at 6..=7 coordinator 3",
        "9 0..=1 at 3..=4",
        "9 2..=3 at 14..=15",
        "10 0..=1 at 9..=10 open OptionalLong[9]",
        "11 coordinator 3",
    ];
    assert_eq!(producers(&stored, name), wanted);
    let epochs = stored.files(name, "leader-epoch-checkpoint");
    assert_eq!(checkpoints(&epochs)[&epochs[0]], ["0 0", "4 9"]);
    indexes_are_sound(&stored, name);
}

/// Two producers whose transactions overlap, and one whose transaction never ends; an idempotent one; one of
/// which only the end of a transaction came here. Between them the leader changes.
fn payments() -> Stored {
    let mut writing = Writing::begin(&[("payments-0", SMALL)]);
    let (one, two) = ([Record::new("k", "v")], [Record::new("k", "v"); 2]);
    writing.batch(0, By::Transactional(A, 0), 0, &two);
    writing.batch(0, By::Transactional(B, 0), 0, &one);
    writing.batch(0, By::Idempotent(IDEMPOTENT, 0), 0, &two);
    writing.end(0, A, Ending::Abort, 0);
    writing.batch(0, By::Transactional(B, 1), 0, &two);
    writing.end(0, B, Ending::Commit, 0);
    writing.flush();
    writing.batch(0, By::Transactional(UNENDED, 0), 4, &two);
    writing.batch(0, By::Transactional(A, 2), 4, &one);
    writing.end(0, A, Ending::Abort, 4);
    writing.end(0, MARKER_ONLY, Ending::Abort, 4);
    writing.batch(0, By::Idempotent(IDEMPOTENT, 2), 4, &two);
    writing.batch(0, By::Anyone, 4, &one);
    writing.flush();
    writing.close()
}

/// Of what [`compacted`] wrote, what the first cleaning leaves is the same in each log: the aborted batch
/// without its record, and its end, because the producer's sequence rests on it.
const CLEANED: [&str; 3] = [
    "5..=6 producer 9 0..=1",
    "7..=7 holds 0 producer 8 0..=0 transactional",
    "8..=8 producer 8 -1..=-1 transactional control",
];

/// The last of these has the last value of its key; the others are there for their sequences.
const SEQUENCES: [&str; 6] = [
    "11..=11 holds 0 producer 7 1..=1 transactional",
    "12..=12 holds 0 producer 7 2..=2 transactional",
    "13..=13 holds 0 producer 7 3..=3 transactional",
    "14..=14 holds 0 producer 7 4..=4 transactional",
    "15..=15 producer 7 5..=5 transactional",
    "16..=16 producer 7 -1..=-1 transactional control",
];

const NEWEST: [&str; 5] = ["23..=25 holds 1", "32..=34", "35..=37", "38..=40", "41..=43"];

/// Cleaned three times: a tombstone, and the end of a transaction of which nothing else is left, stay for
/// `delete.retention.ms`, which is a day, or no time at all.
#[test]
fn compacted_segments_are_as_kafka_wants_them() {
    let kept = LogConfig { delete_retention_ms: DAY_MS, ..COMPACTED };
    let gone = LogConfig { delete_retention_ms: 0, ..COMPACTED };
    let stored = compacted(&[("kept-0", kept), ("gone-0", gone)]);
    let marker = "4..=4 producer 7 -1..=-1 transactional control until 86461000";
    let tables = [
        ("kept-0", &[marker][..], "9..=10 until 86406000"),
        ("gone-0", &[], "9..=10 holds 1 until 7000"),
    ];
    for (name, ended, tombstone) in tables {
        let files = stored.files(name, ".log");
        let wanted = [ended, &CLEANED, &[tombstone], &SEQUENCES, &NEWEST].concat();
        let batches = log(&dump_log(&[], &files));
        assert_eq!(batches, wanted, "{name}");
        let deep = tool(&["--deep-iteration"], &files);
        assert!(deep.status.success(), "{}", deep.status);
        let is_batch = |line: &String| !line.starts_with(' ');
        let deeper: Vec<String> = log(&deep.stdout).into_iter().filter(is_batch).collect();
        assert_eq!(deeper, wanted, "{name}");
        // Gaps are all it remarks, within a segment.
        let mut gaps: Vec<&str> = deep.stderr.lines().filter(|l| l.starts_with(' ')).collect();
        gaps.sort_unstable();
        assert_eq!(gaps, ["  16 is followed by 25", "  6 is followed by 8"], "{name}");
        assert_eq!(
            deep.stderr.matches("Non-consecutive offsets in ").count(),
            2,
            "{}",
            deep.stderr
        );
        assert_eq!(deep.stderr.lines().count(), 4, "{}", deep.stderr);

        let of_b =
            format!("version: 0 producerId: {B} firstOffset: 7 lastOffset: 8 lastStableOffset: 9");
        let none = Vec::new;
        let wanted = [(0, vec![of_b]), (9, none()), (14, none()), (26, none())];
        assert_eq!(aborted(&stored, name), wanted, "{name}");
        let wanted = [
            "7 1..=1 at 11..=11 coordinator 3",
            "7 2..=2 at 12..=12 coordinator 3",
            "7 3..=3 at 13..=13 coordinator 3",
            "7 4..=4 at 14..=14 coordinator 3",
            "7 5..=5 at 15..=15 coordinator 3",
            "8 0..=0 at 7..=7 coordinator 3",
            "9 0..=1 at 5..=6",
        ];
        assert_eq!(producers(&stored, name), wanted, "{name}");
        indexes_are_sound(&stored, name);
    }
}

/// The same batches in each log, cleaned, then twice more of them, each time cleaned again a minute later.
fn compacted(logs: &[(&str, LogConfig)]) -> Stored {
    let mut writing = Writing::begin(logs);
    let all = || 0..logs.len() as u64;
    let value = |key| Record::new(key, "v");
    for log in all() {
        writing.batch(log, By::Anyone, 0, &["a", "b", "c"].map(value));
        writing.batch(log, By::Transactional(A, 0), 0, &[value("a")]);
        writing.end(log, A, Ending::Commit, 0);
        writing.batch(log, By::Idempotent(IDEMPOTENT, 0), 0, &["b", "d"].map(value));
        writing.batch(log, By::Transactional(B, 0), 0, &[value("x")]);
        writing.end(log, B, Ending::Abort, 0);
        writing.batch(log, By::Anyone, 0, &[Record::tombstone("c"), value("a")]);
        // So many that the first is not remembered any more.
        for sequence in 1..=5 {
            writing.batch(log, By::Transactional(A, sequence), 0, &[value("t")]);
        }
        writing.end(log, A, Ending::Commit, 0);
    }
    for newest in ["h", "i", "j"] {
        for log in all() {
            for _ in 0..3 {
                writing.batch(log, By::Anyone, 0, &["e", "f", newest].map(value));
            }
        }
        writing.flush();
        writing.minute();
    }
    writing.close()
}

#[test]
fn the_transaction_state_is_as_kafka_wants_it() {
    let stored = transaction_state();
    let name = "__transaction_state-0";
    let lines = dump_log(&["--transaction-log-decoder"], &stored.files(name, ".log"));
    let records: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once(" key: "))
        .map(|(_, record)| record)
        .collect();
    let key = |id: &str| format!(r#"{{"type":"0","data":{{"transactionalId":"{id}"}}}}"#);
    let value = |version: u8, previous: &str, status: u8, client: &str| {
        format!(r#"{{"version":"{version}","data":{{"producerId":7,{previous}"producerEpoch":5,"#,)
            + &format!(r#""transactionTimeoutMs":60000,"transactionStatus":{status},"#)
            + r#""transactionPartitions":[{"topic":"payments","partitionIds":[0,3]}],"#
            + r#""transactionLastUpdateTimestampMs":1700000000002,"#
            + &format!(r#""transactionStartTimestampMs":1700000000001{client}}}}}"#)
    };
    let tagged = [r#""previousProducerId":6,"#, r#","clientTransactionVersion":2"#];
    let wanted = [
        format!("{} payload: {}", key("old"), value(0, "", 1, "")),
        format!("{} payload: {}", key("new"), value(1, tagged[0], 1, tagged[1])),
        format!("{} payload: {}", key("new"), value(1, tagged[0], 4, tagged[1])),
        format!("{} payload: <DELETE>", key("old")),
    ];
    assert_eq!(records, wanted);
    indexes_are_sound(&stored, name);
}

/// A transactional id's key: version 0.
fn state_key(transactional_id: &str) -> Vec<u8> {
    [&[0, 0], &short_string(transactional_id)[..]].concat()
}

fn short_string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// The numbers of a transaction's state: producer 7 in epoch 5, a timeout of a minute.
fn state_numbers(status: u8) -> Vec<u8> {
    [&7_i64.to_be_bytes()[..], &5_i16.to_be_bytes(), &60_000_i32.to_be_bytes(), &[status]].concat()
}

/// When it was last updated, and when it began.
fn state_times() -> Vec<u8> {
    [(START_MS + 2).to_be_bytes(), (START_MS + 1).to_be_bytes()].concat()
}

/// `TransactionLogValue` in version 0, with two partitions of `payments`.
fn state_0(status: u8) -> Vec<u8> {
    let ids = [0_i32, 3].map(i32::to_be_bytes).concat();
    let count = |count: i32| count.to_be_bytes();
    let topic = short_string("payments");
    [&[0, 0], &state_numbers(status)[..], &count(1), &topic, &count(2), &ids, &state_times()]
        .concat()
}

/// The same in version 1, which has tagged fields: the previous producer id 6, and the client's
/// transaction version 2.
fn state_1(status: u8) -> Vec<u8> {
    let ids = [0_i32, 3].map(i32::to_be_bytes).concat();
    let topic = [&[9], "payments".as_bytes()].concat();
    let partitions = [&[2], &topic[..], &[3], &ids, &[0]].concat();
    let tagged = [&[2, 0, 8], &6_i64.to_be_bytes()[..], &[2, 2], &2_i16.to_be_bytes()].concat();
    [&[0, 1], &state_numbers(status)[..], &partitions, &state_times(), &tagged].concat()
}

fn transaction_state() -> Stored {
    let mut writing = Writing::begin(&[("__transaction_state-0", COMPACTED)]);
    let (old, new) = (state_key("old"), state_key("new"));
    for (key, value) in
        [(&old, Some(state_0(1))), (&new, Some(state_1(1))), (&new, Some(state_1(4))), (&old, None)]
    {
        writing.batch(0, By::Anyone, 0, &[Record { key, value: value.as_deref() }]);
    }
    writing.flush();
    writing.close()
}
