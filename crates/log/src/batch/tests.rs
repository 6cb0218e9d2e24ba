//! Batches as real clients made them, as we make them, and as nobody should.

use proptest::prelude::*;

use super::*;
use crate::{Header, NewRecord};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn unhex(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("hex digits are ASCII");
        u8::from_str_radix(text, 16).expect("pairs of hex digits")
    };
    digits.chunks(2).map(byte).collect()
}

fn record(offset: i64, timestamp: i64, value: &str) -> Record {
    let header = Header { name: "foo".into(), value: Some(Bytes::from_static(b"bar")) };
    Record {
        offset,
        timestamp,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![header],
    }
}

/// What kcat 1.7.1 (librdkafka 2.0.2) and the Java client 4.2.0 sent to a node, read from its log.
#[test]
fn batches_captured_from_real_clients_decode() {
    let text = "tidings ".repeat(12);
    let table = [
        (
            "librdkafka, gzip",
            "0000000000000000 00000060 00000000 02 d366fc55 0001 00000000 000001a1fb2f63e2
             000001a1fb2f63e2 ffffffffffffffff ffff ffffffff 00000001
             1f8b0800000000000003bbc7c8c0c0c07880b1243325332fbd58815634135b5a7e3e5b526211
             003189c02871000000",
            vec![record(0, 1_795_215_549_410, &text)],
        ),
        (
            "librdkafka, lz4",
            "0000000000000000 0000005f 00000000 02 0a1fc463 0003 00000000 000001a1fb2f63ee
             000001a1fb2f63ee ffffffffffffffff ffff ffffffff 00000001
             04224d186040821f000000ff01de0100000001c001746964696e677320080045900206666f6f
             0662617200000000",
            vec![record(0, 1_795_215_549_422, &text)],
        ),
        (
            "librdkafka, snappy in one raw block",
            "0000000000000000 00000053 00000000 02 69c783f6 0002 00000000 000001a1fb2f63f9
             000001a1fb2f63f9 ffffffffffffffff ffff ffffffff 00000001
             713cde0100000001c001746964696e677320fe08005e0800200206666f6f06626172",
            vec![record(0, 1_795_215_549_433, &text)],
        ),
        (
            "librdkafka, zstd",
            "0000000000000000 0000005a 00000000 02 de5cf585 0004 00000000 000001a1fb2f6404
             000001a1fb2f6404 ffffffffffffffff ffff ffffffff 00000001
             28b52ffd0058050100c8de0100000001c001746964696e6773200206666f6f0662617201006a
             535902",
            vec![record(0, 1_795_215_549_444, &text)],
        ),
        (
            "the Java client, snappy in xerial framing",
            "0000000000000000 00000082 00000000 02 09455a11 0002 00000001 000001a1fb2f6829
             000001a1fb2f6887 0000000000000000 0000 00000000 00000002
             82534e415050590000000001000000010000003d8b013cde0100000001c001746964696e6773
             20fe08005e0800880206666f6f066261723200bc01020114736f6d652076616c75650206666f
             6f06626172",
            vec![record(0, 1_795_215_550_505, &text), record(1, 1_795_215_550_599, "some value")],
        ),
    ];
    for (name, hex, expected) in table {
        let batch = Batch::parse(unhex(hex)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(batch.records(), Ok(expected), "{name}");
    }
}

/// A batch with the given fields and whatever checksum they need.
fn batch_with(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut builder = BatchBuilder::new().producer(7, 1, 5);
    for timestamp in [100, 130, 120] {
        builder.push(&NewRecord { timestamp, ..NewRecord::default() });
    }
    let mut bytes = builder.build().bytes().to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(bytes.get(CRC_END..).unwrap_or_default());
    if let Some(stored) = bytes.get_mut(17..CRC_END) {
        stored.copy_from_slice(&crc.to_be_bytes());
    }
    Bytes::from(bytes)
}

/// What compaction leaves when it removed every record.
fn emptied(batch: &mut Vec<u8>) {
    batch.truncate(HEADER_BYTES);
    batch[8..12].copy_from_slice(&((HEADER_BYTES - LENGTH_END) as u32).to_be_bytes());
    batch[57..61].copy_from_slice(&[0; 4]);
}

#[test]
fn compacted_batches_keep_their_offsets() {
    // Of the three records the first is gone, and the last.
    let middle = batch_with(|batch| {
        batch.truncate(HEADER_BYTES + 14);
        batch.drain(HEADER_BYTES..HEADER_BYTES + 7);
        batch[8..12].copy_from_slice(&((HEADER_BYTES - LENGTH_END + 7) as u32).to_be_bytes());
        batch[57..61].copy_from_slice(&[0, 0, 0, 1]);
    });
    let batch = Batch::parse(middle).unwrap();
    let found = batch.records().unwrap();
    assert_eq!(found.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(), [(1, 130)]);
    assert_eq!(batch.last_offset(), 2);

    let empty = Batch::parse(batch_with(emptied)).unwrap();
    assert_eq!((empty.records(), empty.last_offset()), (Ok(vec![]), 2));
    // `DefaultRecordBatch.writeEmptyHeader` of Kafka 4.2.0, for offsets 40..=44 of a transaction.
    let of_kafka = unhex(
        "0000000000000028 00000031 00000006 02 38a8d05e 0010 00000004 ffffffffffffffff
         0000018bcfe56800 0000000000000007 0003 00000005 00000000",
    );
    let batch = Batch::parse(of_kafka).unwrap();
    assert_eq!((batch.records(), batch.last_offset()), (Ok(vec![]), 44));
    assert_eq!((batch.header().base_sequence, batch.header().delete_horizon_ms()), (5, None));
}

#[test]
fn a_delete_horizon_takes_the_place_of_the_base_timestamp() {
    let batch = Batch::parse(batch_with(|batch| batch[22] |= 0x40)).unwrap();
    assert_eq!(batch.header().delete_horizon_ms(), Some(100));
    let times: Vec<i64> = batch.records().unwrap().iter().map(|r| r.timestamp).collect();
    assert_eq!(times, [100, 130, 120]);
}

#[test]
fn parsing_says_what_is_wrong() {
    let invalid = |why: &str| Some(BatchError::Invalid(why.to_owned()));
    let put = |at: usize, bytes: &'static [u8]| {
        batch_with(|batch| batch[at..at + bytes.len()].copy_from_slice(bytes))
    };
    let whole = batch_with(|_| {}).len();
    let table: Vec<(&str, Bytes, Option<BatchError>)> = vec![
        ("sound", batch_with(|_| {}), None),
        ("empty", Bytes::new(), Some(BatchError::Short { need: 61, have: 0 })),
        (
            "one byte short",
            batch_with(|batch| batch.truncate(whole - 1)),
            Some(BatchError::Short { need: whole, have: whole - 1 }),
        ),
        (
            "one byte long",
            Bytes::from([&batch_with(|_| {})[..], &[0]].concat()),
            invalid("1 bytes after the batch"),
        ),
        ("magic 1", put(16, &[1]), Some(BatchError::Magic(1))),
        ("negative length", put(8, &[0xff; 4]), Some(BatchError::Length(-1))),
        ("codec 5", put(22, &[5]), Some(BatchError::Codec(5))),
        ("no records", put(57, &[0, 0, 0, 0]), invalid("0 records in 21 bytes")),
        ("compacted: a record less", put(57, &[0, 0, 0, 2]), None),
        ("compacted: no record", batch_with(emptied), None),
        (
            "a record more",
            put(57, &[0, 0, 0, 4]),
            invalid("4 records with a last offset delta of 2"),
        ),
        (
            "fewer than no records",
            put(57, &[0xff; 4]),
            invalid("-1 records with a last offset delta of 2"),
        ),
        (
            "a negative last offset",
            batch_with(|batch| {
                emptied(batch);
                batch[23..27].copy_from_slice(&[0xff; 4]);
            }),
            invalid("0 records with a last offset delta of -1"),
        ),
        (
            "more records than bytes",
            batch_with(|batch| {
                batch[23..27].copy_from_slice(&[0, 0, 0, 3]);
                batch[57..61].copy_from_slice(&[0, 0, 0, 4]);
            }),
            invalid("4 records in 21 bytes"),
        ),
        ("negative base offset", put(0, &[0x80]), invalid(&format!("base offset {}", i64::MIN))),
        ("a coordinator's, without sequence", put(53, &[0xff; 4]), None),
        (
            "a producer without epoch",
            put(51, &[0xff; 2]),
            invalid("producer 7 with epoch -1 and sequence 5"),
        ),
    ];
    for (name, bytes, expected) in table {
        assert_eq!(Batch::parse(bytes).err(), expected, "{name}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_outside_the_checksum() {
    let sound = batch_with(|_| {});
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // The log rewrites base offset and leader epoch, so the checksum leaves them out.
        let rewritten = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        let negative_offset = bit == 7;
        let accepted = Batch::parse(Bytes::from(bytes)).is_ok();
        assert_eq!(accepted, rewritten && !negative_offset, "bit {bit}");
    }
}

#[test]
fn records_that_do_not_fit_their_batch_are_refused() {
    let at_records = |change: fn(&mut [u8])| batch_with(|batch| change(&mut batch[61..]));
    let table = [
        ("a record longer than the rest", at_records(|r| r[0] = 0x7e)),
        ("a record of length 0", at_records(|r| r[0] = 0)),
        ("a negative record length", at_records(|r| r[0] = 1)),
        ("an offset delta out of turn", at_records(|r| r[3] = 2)),
        ("a key longer than the record", at_records(|r| r[4] = 0x20)),
        ("a key of length -2", at_records(|r| r[4] = 3)),
        ("headers that are not there", at_records(|r| r[6] = 2)),
        ("a negative header count", at_records(|r| r[6] = 1)),
    ];
    for (name, bytes) in table {
        let records = Batch::parse(bytes).expect("the checksum is right").records();
        let expected = BatchError::Invalid("record 0 of 3 is malformed".to_owned());
        assert_eq!(records, Err(expected), "{name}");
    }
}

#[test]
fn log_append_time_counts_for_every_record() {
    let batch = Batch::parse(batch_with(|_| {})).unwrap();
    let times = |batch: &Batch| -> Vec<i64> {
        batch.records().unwrap().iter().map(|record| record.timestamp).collect()
    };
    assert_eq!(times(&batch), [100, 130, 120]);
    assert_eq!(batch.header().max_timestamp, 130);
    let (header, stored) = batch.placed(40, 6, Some(5000));
    let stored = Batch::parse(Bytes::from(stored)).unwrap();
    assert_eq!(stored.header(), &header);
    assert_eq!((header.base_offset, header.leader_epoch, stored.last_offset()), (40, 6, 42));
    assert!(header.attributes.log_append_time());
    assert_eq!(times(&stored), [5000, 5000, 5000]);
}

#[test]
fn placing_changes_offset_and_epoch_and_nothing_else() {
    let batch = Batch::parse(batch_with(|_| {})).unwrap();
    let (_, stored) = batch.placed(40, 6, None);
    let changed: Vec<usize> =
        (0..stored.len()).filter(|&at| stored[at] != batch.bytes()[at]).collect();
    assert_eq!(changed, [7, 15]);
    assert_eq!(Batch::parse(Bytes::from(stored)).unwrap().header().crc, batch.header().crc);
}

#[test]
fn splitting_ends_at_a_partial_batch_and_at_damage() {
    let one = batch_with(|_| {});
    let offsets = |bytes: Vec<u8>| -> Vec<Result<i64, BatchError>> {
        split(Bytes::from(bytes)).map(|batch| batch.map(|b| b.last_offset())).collect()
    };
    assert_eq!(offsets(Vec::new()), []);
    assert_eq!(offsets([&one[..], &one[..], &one[..70]].concat()), [Ok(2), Ok(2)]);
    let mut damaged = one.to_vec();
    damaged[16] = 9;
    assert_eq!(
        offsets([&one[..], &damaged[..], &one[..]].concat()),
        [Ok(2), Err(BatchError::Magic(9))]
    );
}

fn any_record() -> impl Strategy<Value = NewRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let header = ("[a-z]{0,8}", bytes()).prop_map(|(name, value): (String, _)| Header {
        name: name.into(),
        value: value.map(Bytes::from),
    });
    let headers = proptest::collection::vec(header, 0..3);
    (0..2_000_000_000_000_i64, bytes(), bytes(), headers).prop_map(
        |(timestamp, key, value, headers)| NewRecord {
            timestamp,
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers,
        },
    )
}

fn build(records: &[NewRecord], codec: Compression) -> Batch {
    let mut builder = BatchBuilder::new().compression(codec).producer(3, 0, 9);
    for record in records {
        builder.push(record);
    }
    assert_eq!(builder.len(), records.len());
    let size = builder.size_bytes();
    let batch = builder.build();
    if codec == Compression::None {
        assert_eq!(batch.bytes().len(), size);
    }
    batch
}

proptest! {
    #[test]
    fn what_was_built_is_read(records in proptest::collection::vec(any_record(), 1..20)) {
        for codec in CODECS {
            let batch = Batch::parse(build(&records, codec).bytes().clone()).unwrap();
            let found = batch.records().unwrap();
            prop_assert_eq!(found.len(), records.len());
            for (offset, (found, given)) in (0..).zip(found.iter().zip(&records)) {
                prop_assert_eq!(found.offset, offset);
                prop_assert_eq!(found.timestamp, given.timestamp);
                prop_assert_eq!(&found.key, &given.key);
                prop_assert_eq!(&found.value, &given.value);
                prop_assert_eq!(&found.headers, &given.headers);
            }
        }
    }

    /// The kafka-protocol crate reads what is built here, with every codec.
    #[test]
    fn another_implementation_agrees(records in proptest::collection::vec(any_record(), 1..10)) {
        for codec in CODECS {
            let mut bytes = build(&records, codec).bytes().clone();
            let theirs = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap();
            prop_assert_eq!(theirs.records.len(), records.len());
            for (at, (their, given)) in theirs.records.iter().zip(&records).enumerate() {
                prop_assert_eq!(their.offset, at as i64);
                prop_assert_eq!(their.sequence, 9 + at as i32);
                prop_assert_eq!(their.producer_id, 3);
                prop_assert_eq!(their.timestamp, given.timestamp);
                prop_assert_eq!(&their.key, &given.key);
                prop_assert_eq!(&their.value, &given.value);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(batch) = Batch::parse(Bytes::from(bytes)) {
            drop(batch.records());
        }
    }

    /// Mutated bytes under a right checksum reach the record decoder and the decompressors.
    #[test]
    fn mutated_batches_never_panic(
        records in proptest::collection::vec(any_record(), 1..6),
        codec in 0..CODECS.len(),
        mutations in proptest::collection::vec((21_usize..400, any::<u8>()), 1..6),
    ) {
        let mut bytes = build(&records, CODECS[codec]).bytes().to_vec();
        for (at, value) in mutations {
            let at = at % bytes.len();
            if at >= CRC_END {
                bytes[at] = value;
            }
        }
        let crc = crc32c::crc32c(&bytes[CRC_END..]);
        bytes[17..CRC_END].copy_from_slice(&crc.to_be_bytes());
        if let Ok(batch) = Batch::parse(Bytes::from(bytes)) {
            drop(batch.records());
        }
    }
}
