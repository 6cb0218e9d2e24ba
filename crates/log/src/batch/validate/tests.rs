//! Each rule with the error for it.

use proptest::prelude::*;

use super::super::{CRC_END, LENGTH_END};
use super::*;
use crate::limits::BATCH_BYTES_MAX;
use crate::{BatchBuilder, HEADER_BYTES, NewRecord};

pub(super) const NOW: i64 = 1_000_000;

/// A topic with Kafka's defaults.
const PLAIN: ProducerRules = ProducerRules {
    now_ms: NOW,
    compacted: false,
    log_append_time: false,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
    zstd: true,
};
pub(super) const COMPACTED: ProducerRules = ProducerRules { compacted: true, ..PLAIN };
const BOUNDED: ProducerRules =
    ProducerRules { timestamp_before_max_ms: 100, timestamp_after_max_ms: 10, ..PLAIN };

fn refused(kind: RefusalKind, message: &str) -> Option<BatchRefused> {
    Some(BatchRefused::new(kind, message))
}

pub(super) fn invalid(message: &str) -> Option<BatchRefused> {
    refused(RefusalKind::InvalidRecord, message)
}

fn at(timestamp: i64) -> NewRecord {
    NewRecord { timestamp, key: Some(Bytes::from_static(b"k")), ..NewRecord::default() }
}

fn keyless() -> NewRecord {
    NewRecord { timestamp: NOW, ..NewRecord::default() }
}

fn batch_of(mut builder: BatchBuilder, records: &[NewRecord]) -> Bytes {
    for record in records {
        builder.push(record);
    }
    builder.build().bytes().clone()
}

/// Two records of producer 7, changed, under a right checksum.
fn with(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let builder = BatchBuilder::new().producer(7, 0, 5);
    let mut bytes = batch_of(builder, &[at(NOW), at(NOW)]).to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[17..CRC_END].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn put(at: usize, field: &'static [u8]) -> Bytes {
    with(|bytes| bytes[at..at + field.len()].copy_from_slice(field))
}

fn check(table: impl IntoIterator<Item = (&'static str, Bytes, Option<BatchRefused>)>) {
    for (name, bytes, expected) in table {
        assert_eq!(Batch::from_producer(bytes, &PLAIN).err(), expected, "{name}");
    }
}

#[test]
fn bytes_that_are_no_batch_are_refused() {
    use RefusalKind::{Corrupt, UnsupportedCompression};
    let whole = with(|_| {});
    let length = whole.len();
    let mut flipped = whole.to_vec();
    flipped[length - 1] ^= 1;
    let stored = u32::from_be_bytes([whole[17], whole[18], whole[19], whole[20]]);
    let checksum =
        BatchError::Checksum { stored, actual: crc32c::crc32c(&flipped[CRC_END..]) }.to_string();
    let (min, max) = (HEADER_BYTES - LENGTH_END, BATCH_BYTES_MAX - LENGTH_END);
    let out_of_range = format!("batch length 48 is outside {min}..={max}");
    let two = format!("{length} bytes after the batch");
    check([
        ("sound", whole.clone(), None),
        ("empty", Bytes::new(), invalid("0 bytes where a batch needs 61")),
        (
            "cut",
            whole.slice(..length - 1),
            invalid(&format!("{} bytes where a batch needs {length}", length - 1)),
        ),
        ("two batches", Bytes::from([&whole[..], &whole[..]].concat()), invalid(&two)),
        ("too short a length", put(8, &[0, 0, 0, 48]), refused(Corrupt, &out_of_range)),
        ("an old message set", put(16, &[1]), invalid("magic 1 is not supported, only 2")),
        ("an unknown magic", put(16, &[3]), refused(Corrupt, "magic 3 is not supported, only 2")),
        ("a flipped bit", Bytes::from(flipped), refused(Corrupt, &checksum)),
        ("codec 5", put(22, &[5]), refused(UnsupportedCompression, "unknown compression codec 5")),
    ]);
}

#[test]
fn headers_that_a_producer_may_not_send_are_refused() {
    check([
        ("base offset", put(7, &[1]), invalid("the batch has base offset 1, not 0")),
        (
            "fewer records than offsets",
            put(57, &[0, 0, 0, 1]),
            invalid("the batch has 1 records and a last offset delta of 1"),
        ),
        (
            "no record",
            with(|bytes| {
                bytes.truncate(HEADER_BYTES);
                bytes[8..12].copy_from_slice(&[0, 0, 0, 49]);
                bytes[57..61].copy_from_slice(&[0; 4]);
            }),
            invalid("the batch has 0 records and a last offset delta of 1"),
        ),
        ("control", put(22, &[0x20]), invalid("control batches are written by the broker only")),
        ("delete horizon", put(22, &[0x40]), invalid("delete horizons are set by compaction only")),
        (
            "log append time",
            put(22, &[0x08]),
            refused(
                RefusalKind::InvalidTimestamp,
                "a producer may not set the timestamp type to log append time",
            ),
        ),
        (
            "a producer id without epoch",
            put(51, &[0xff; 2]),
            invalid("producer 7 with epoch -1 and sequence 5"),
        ),
        (
            "a producer id without sequence",
            put(53, &[0xff; 4]),
            invalid("producer 7 sent no sequence"),
        ),
        ("a transaction", put(22, &[0x10]), None),
        (
            "a transaction without producer id",
            with(|bytes| {
                bytes[22] = 0x10;
                bytes[43..57].copy_from_slice(&[0xff; 14]);
            }),
            invalid("a transactional batch needs a producer id"),
        ),
        ("bits without a meaning", put(21, &[0x01]), None),
    ]);
}

#[test]
fn zstd_needs_a_client_that_may_use_it() {
    let bytes = batch_of(BatchBuilder::new().compression(Compression::Zstd), &[at(NOW)]);
    let table = [
        (true, None),
        (
            false,
            refused(
                RefusalKind::UnsupportedCompression,
                "zstd needs version 7 of the produce request",
            ),
        ),
    ];
    for (zstd, expected) in table {
        let rules = ProducerRules { zstd, ..PLAIN };
        assert_eq!(Batch::from_producer(bytes.clone(), &rules).err(), expected, "zstd {zstd}");
    }
}

fn records(kind: RefusalKind, message: &str, records: &[(i32, &str)]) -> Option<BatchRefused> {
    let records = records
        .iter()
        .map(|&(index, message)| RefusedRecord { index, message: message.to_owned() })
        .collect();
    Some(BatchRefused { kind, message: message.to_owned(), records })
}

type RecordsTable = Vec<(&'static str, ProducerRules, Vec<NewRecord>, Option<BatchRefused>)>;

fn check_both_ways(table: RecordsTable) {
    for (name, rules, given, expected) in table {
        for codec in [Compression::None, Compression::Lz4] {
            let bytes = batch_of(BatchBuilder::new().compression(codec), &given);
            let found = Batch::from_producer(bytes, &rules).err();
            assert_eq!(found, expected, "{name}, {codec:?}");
        }
    }
}

const NO_KEY: &str = "no key, and the topic is compacted";

#[test]
fn in_a_compacted_topic_every_record_has_a_key() {
    let refused = |message: &str, named: &[i32]| {
        let named: Vec<_> = named.iter().map(|&index| (index, NO_KEY)).collect();
        records(RefusalKind::InvalidRecord, &format!("{message}: {NO_KEY}"), &named)
    };
    check_both_ways(vec![
        ("another topic", PLAIN, vec![keyless()], None),
        ("with keys", COMPACTED, vec![at(NOW), at(NOW)], None),
        (
            "one without",
            COMPACTED,
            vec![at(NOW), keyless()],
            refused("1 of 2 records refused; 1", &[1]),
        ),
        (
            "more than are named",
            COMPACTED,
            vec![keyless(), at(NOW), keyless(), keyless(), keyless()],
            refused("4 of 5 records refused; 0", &[0, 2, 3]),
        ),
    ]);
}

#[test]
fn timestamps_are_within_the_topics_bounds() {
    let append_time = ProducerRules { log_append_time: true, ..BOUNDED };
    let refused = |count: i32, index: i32, message: &str| {
        let whole = format!("1 of {count} records refused; {index}: {message}");
        records(RefusalKind::InvalidTimestamp, &whole, &[(index, message)])
    };
    let (early, late) = (NOW - 101, NOW + 11);
    let too_old = "timestamp 999899 is more than 100 ms old";
    let too_late = "timestamp 1000011 is more than 10 ms ahead";
    let hour_off = "timestamp 4600001 is more than 3600000 ms ahead";
    check_both_ways(vec![
        ("at the bounds", BOUNDED, vec![at(NOW - 100), at(NOW + 10)], None),
        ("without a time", BOUNDED, vec![at(-1)], None),
        ("old under new", BOUNDED, vec![at(NOW), at(early)], refused(2, 1, too_old)),
        ("from the future", BOUNDED, vec![at(late)], refused(1, 0, too_late)),
        ("no bound on age", PLAIN, vec![at(0)], None),
        (
            "an hour and a bit ahead",
            PLAIN,
            vec![at(NOW + 3_600_000), at(NOW + 3_600_001)],
            refused(2, 1, hour_off),
        ),
        ("times that do not matter", append_time, vec![at(early), at(late)], None),
        (
            "a time outweighs a key",
            ProducerRules { compacted: true, ..BOUNDED },
            vec![keyless(), at(late)],
            records(
                RefusalKind::InvalidTimestamp,
                &format!("2 of 2 records refused; 0: {NO_KEY}"),
                &[(0, NO_KEY), (1, too_late)],
            ),
        ),
    ]);
}

#[test]
fn a_largest_timestamp_that_no_record_has_is_refused_when_it_is_out_of_bounds() {
    let claiming =
        |timestamp: i64| with(|bytes| bytes[35..43].copy_from_slice(&timestamp.to_be_bytes()));
    let expected = refused(
        RefusalKind::InvalidTimestamp,
        "no record has the batch's largest timestamp, 9223372036854775807",
    );
    check([
        ("in bounds", claiming(NOW + 1), None),
        ("out of bounds", claiming(i64::MAX), expected),
    ]);
}

#[test]
fn records_are_decoded_only_where_a_rule_needs_them() {
    // The second record's key is longer than the record.
    let malformed = with(|bytes| {
        let second = HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2;
        bytes[second + 4] = 0x7e;
    });
    let expected = invalid("record 1 of 2 is malformed");
    let undecodable = with(|bytes| bytes[22] = 1);
    let table = [
        ("plain", &malformed, PLAIN, None),
        ("compacted", &malformed, COMPACTED, expected.clone()),
        ("with a bound on age", &malformed, BOUNDED, expected.clone()),
        (
            "ahead of time",
            &malformed,
            ProducerRules { now_ms: 0, timestamp_after_max_ms: 0, ..PLAIN },
            expected,
        ),
        ("log append time", &malformed, ProducerRules { log_append_time: true, ..BOUNDED }, None),
        ("compressed", &undecodable, PLAIN, None),
    ];
    for (name, bytes, rules, expected) in table {
        assert_eq!(Batch::from_producer(bytes.clone(), &rules).err(), expected, "{name}");
    }
    let found = Batch::from_producer(undecodable, &COMPACTED).unwrap_err();
    assert_eq!((found.kind, found.records), (RefusalKind::InvalidRecord, vec![]));
}

#[test]
fn a_batch_that_decompresses_to_too_much_is_refused_where_it_is_decoded() {
    let zeros = Bytes::from(vec![0; crate::limits::DECOMPRESSED_BYTES_MAX]);
    let record = NewRecord { value: Some(zeros), ..at(NOW) };
    let bytes = batch_of(BatchBuilder::new().compression(Compression::Zstd), &[record]);
    let expected = invalid("decompresses to more than 8388608 bytes");
    assert_eq!(Batch::from_producer(bytes.clone(), &COMPACTED).err(), expected);
    assert_eq!(Batch::from_producer(bytes, &PLAIN).err(), None);
}

proptest! {
    /// What was accepted with its records decoded is a dense run of records with keys.
    #[test]
    fn a_mutated_batch_is_refused_or_sound(
        codec in 0..3_usize,
        mutations in proptest::collection::vec((CRC_END..200, any::<u8>()), 1..4),
    ) {
        let codec = [Compression::None, Compression::Snappy, Compression::Zstd][codec];
        let builder = BatchBuilder::new().compression(codec).producer(7, 0, 5);
        let mut bytes = batch_of(builder, &[at(NOW), at(NOW + 1), at(NOW + 2)]).to_vec();
        for (at, value) in mutations {
            let at = CRC_END + at % (bytes.len() - CRC_END);
            bytes[at] = value;
        }
        let crc = crc32c::crc32c(&bytes[CRC_END..]);
        bytes[17..CRC_END].copy_from_slice(&crc.to_be_bytes());
        if let Ok(batch) = Batch::from_producer(Bytes::from(bytes), &COMPACTED) {
            let records = batch.records().unwrap();
            prop_assert!(records.iter().map(|record| record.offset).eq(0..=batch.last_offset()));
            prop_assert!(records.iter().all(|record| record.key.is_some()));
        }
    }
}
