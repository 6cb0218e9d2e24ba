//! Batches with fewer records than they came with, as compaction makes them.
//!
//! What stays as it was: base and last offset, leader epoch, producer id, epoch and base sequence (so
//! that a producer's state replays the same), timestamp type, transactional and control bits, codec, and
//! every kept record's offset, timestamp and bytes. What changes: record count, length, checksum, the
//! largest timestamp (of those kept), and with a delete horizon (KIP-534) the base timestamp, which
//! then *is* the horizon, and with it each record's timestamp delta.
//!
//! Records are found without being decoded further than their keys; one that is kept is copied.

use std::borrow::Cow;

use super::{Attributes, BatchError, BatchHeader, CRC_END, HEADER_BYTES, LENGTH_END, varint};
use crate::{Compression, limits};

/// A record where it lies in its batch's records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) has_value: bool,
    attributes: u8,
    timestamp_delta: i64,
    /// From the length to the end.
    whole: &'a [u8],
    /// From the offset delta to the end.
    after_timestamp: &'a [u8],
}

/// The records of a batch as one piece, decompressed if need be.
pub(crate) fn payload<'a>(
    header: &BatchHeader,
    bytes: &'a [u8],
) -> Result<Cow<'a, [u8]>, BatchError> {
    let short = BatchError::Short { need: HEADER_BYTES, have: bytes.len() };
    let encoded = bytes.get(HEADER_BYTES..).ok_or(short)?;
    match header.attributes.compression() {
        None => Err(BatchError::Codec(header.attributes.0 & 0x07)),
        Some(Compression::None) => Ok(Cow::Borrowed(encoded)),
        Some(codec) => codec.decompress(encoded, limits::DECOMPRESSED_BYTES_MAX).map(Cow::Owned),
    }
}

/// The records in `payload`, in order; ends after the first that is malformed.
pub(crate) fn raw_records<'a>(header: &BatchHeader, payload: &'a [u8]) -> RawRecords<'a> {
    RawRecords { header: *header, rest: payload, taken: 0, failed: false }
}

/// See [`raw_records`].
#[derive(Debug)]
pub(crate) struct RawRecords<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    taken: i32,
    failed: bool,
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.taken >= self.header.record_count {
            self.failed = !self.rest.is_empty();
            let left = self.rest.len();
            return self
                .failed
                .then(|| Err(BatchError::Invalid(format!("{left} bytes after the last record"))));
        }
        let record = self.take();
        self.taken += 1;
        self.failed = record.is_none();
        let (number, of) = (self.taken, self.header.record_count);
        Some(
            record.ok_or_else(|| {
                BatchError::Invalid(format!("record {number} of {of} is malformed"))
            }),
        )
    }
}

impl<'a> RawRecords<'a> {
    fn take(&mut self) -> Option<RawRecord<'a>> {
        let start = self.rest;
        let length = usize::try_from(varint::take_i32(&mut self.rest)?).ok()?;
        let (body, rest) = self.rest.split_at_checked(length)?;
        let whole = start.get(..start.len() - rest.len())?;
        self.rest = rest;
        let (&attributes, mut body) = body.split_first()?;
        let timestamp_delta = varint::take_i64(&mut body)?;
        let after_timestamp = body;
        let offset_delta = varint::take_i32(&mut body)?;
        if !(0..=self.header.last_offset_delta).contains(&offset_delta) {
            return None;
        }
        let key = match varint::take_i32(&mut body)? {
            -1 => None,
            length => {
                let (key, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
                body = rest;
                Some(key)
            }
        };
        let has_value = match varint::take_i32(&mut body)? {
            -1 => false,
            length => {
                let length = usize::try_from(length).ok()?;
                body.get(..length).map(|_| true)?
            }
        };
        Some(RawRecord {
            offset: self.header.base_offset.checked_add(i64::from(offset_delta))?,
            key,
            has_value,
            attributes,
            timestamp_delta,
            whole,
            after_timestamp,
        })
    }
}

/// Appends to `out` the batch of `header` with only `kept` of its records, at least one, and, if
/// given, with a delete horizon. Refuses, and appends nothing, when it came out larger than a batch may
/// be, which a codec at another level can do.
pub(crate) fn put_with<'a>(
    header: &BatchHeader,
    kept: impl Iterator<Item = RawRecord<'a>>,
    horizon_ms: Option<i64>,
    out: &mut Vec<u8>,
) -> Result<BatchHeader, BatchError> {
    let mut records = Vec::new();
    let mut after = BatchHeader { record_count: 0, ..*header };
    if !header.attributes.log_append_time() {
        after.max_timestamp = -1;
    }
    if let Some(horizon_ms) = horizon_ms {
        after.attributes.0 |= Attributes::DELETE_HORIZON;
        after.base_timestamp = horizon_ms;
    }
    for record in kept {
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        after.record_count += 1;
        if !header.attributes.log_append_time() {
            after.max_timestamp = after.max_timestamp.max(timestamp);
        }
        if horizon_ms.is_none() {
            records.extend_from_slice(record.whole);
            continue;
        }
        let delta = timestamp.wrapping_sub(after.base_timestamp);
        let length = 1 + varint::size(delta) + record.after_timestamp.len();
        varint::put(&mut records, length as i64);
        records.push(record.attributes);
        varint::put(&mut records, delta);
        records.extend_from_slice(record.after_timestamp);
    }
    let records = match header.attributes.compression() {
        Some(Compression::None) | None => records,
        Some(codec) => codec.compress(&records),
    };
    if HEADER_BYTES + records.len() > limits::BATCH_BYTES_MAX {
        return Err(BatchError::TooLarge { limit: limits::BATCH_BYTES_MAX });
    }
    Ok(put(after, &records, out))
}

/// Appends to `out` the batch of `header` without records, as Kafka writes it: no codec, no base
/// timestamp, no horizon.
pub fn put_emptied(header: &BatchHeader, out: &mut Vec<u8>) -> BatchHeader {
    let kept = Attributes::LOG_APPEND_TIME | Attributes::TRANSACTIONAL | Attributes::CONTROL;
    let after = BatchHeader {
        attributes: Attributes(header.attributes.0 & kept),
        base_timestamp: -1,
        record_count: 0,
        ..*header
    };
    put(after, &[], out)
}

/// Fills in length and checksum.
fn put(mut header: BatchHeader, records: &[u8], out: &mut Vec<u8>) -> BatchHeader {
    let start = out.len();
    header.batch_length = (HEADER_BYTES - LENGTH_END + records.len()) as i32;
    header.put(out);
    out.extend_from_slice(records);
    header.crc = crc32c::crc32c(&out[start + CRC_END..]);
    out[start + CRC_END - 4..start + CRC_END].copy_from_slice(&header.crc.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{Batch, BatchBuilder, Header, NewRecord, Record};

    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    fn build(codec: Compression) -> Batch {
        let mut builder =
            BatchBuilder::new().compression(codec).producer(9, 2, 100).transactional();
        for at in 0..5_i64 {
            builder.push(&NewRecord {
                timestamp: 3000 - at * 300,
                key: (at != 1).then(|| Bytes::from(vec![b'k'; at as usize * 50])),
                value: (at != 2).then(|| Bytes::from(vec![b'v'; at as usize])),
                headers: vec![Header { name: "h".into(), value: None }],
            });
        }
        let (_, bytes) = builder.build().placed(500, 4, None);
        Batch::parse(Bytes::from(bytes)).unwrap()
    }

    /// The batch with the records whose offsets are in `kept`.
    fn with(batch: &Batch, kept: &[i64], horizon_ms: Option<i64>) -> Batch {
        let payload = payload(batch.header(), batch.bytes()).unwrap();
        let records = raw_records(batch.header(), &payload).map(Result::unwrap);
        let records = records.filter(|record| kept.contains(&record.offset));
        let mut out = b"before".to_vec();
        let header = put_with(batch.header(), records, horizon_ms, &mut out).unwrap();
        let batch = Batch::parse(Bytes::from(out.split_off(6))).unwrap();
        assert_eq!(*batch.header(), header);
        batch
    }

    #[test]
    fn kept_records_are_as_they_were_in_every_codec_with_and_without_a_horizon() {
        let kept_sets: [&[i64]; 4] = [&[500], &[504], &[501, 502], &[500, 501, 502, 503, 504]];
        for codec in CODECS {
            let before = build(codec);
            for kept in kept_sets {
                for horizon_ms in [None, Some(0), Some(i64::MAX), Some(77)] {
                    let after = with(&before, kept, horizon_ms);
                    let expected: Vec<Record> = before
                        .records()
                        .unwrap()
                        .into_iter()
                        .filter(|record| kept.contains(&record.offset))
                        .collect();
                    let max_timestamp = expected.iter().map(|record| record.timestamp).max();
                    assert_eq!(after.records().unwrap(), expected, "{codec:?} {kept:?}");
                    let header = after.header();
                    assert_eq!(header.delete_horizon_ms(), horizon_ms);
                    let same = BatchHeader {
                        attributes: Attributes(header.attributes.0 & !Attributes::DELETE_HORIZON),
                        base_timestamp: 3000,
                        ..*header
                    };
                    let expected = BatchHeader {
                        batch_length: header.batch_length,
                        crc: header.crc,
                        record_count: kept.len() as i32,
                        max_timestamp: max_timestamp.unwrap(),
                        ..*before.header()
                    };
                    assert_eq!(same, expected, "{codec:?} {kept:?}");
                }
            }
        }
    }

    #[test]
    fn a_batch_that_keeps_everything_comes_out_byte_for_byte() {
        let before = build(Compression::None);
        let all: Vec<i64> = (500..505).collect();
        assert_eq!(with(&before, &all, None).bytes(), before.bytes());
    }

    #[test]
    fn a_horizon_stays_when_more_records_go() {
        let first = with(&build(Compression::Zstd), &[500, 501, 503], Some(77));
        let second = with(&first, &[503], None);
        assert_eq!(second.header().delete_horizon_ms(), Some(77));
        assert_eq!(second.records().unwrap(), build(Compression::None).records().unwrap()[3..4]);
    }

    #[test]
    fn an_emptied_batch_is_a_header_that_says_as_much_of_its_producer() {
        for codec in CODECS {
            let before = build(codec);
            let mut out = Vec::new();
            put_emptied(before.header(), &mut out);
            let after = Batch::parse(Bytes::from(out)).unwrap();
            assert_eq!((after.bytes().len(), after.records()), (HEADER_BYTES, Ok(vec![])));
            let expected = BatchHeader {
                batch_length: 49,
                crc: after.header().crc,
                attributes: Attributes(Attributes::TRANSACTIONAL),
                base_timestamp: -1,
                record_count: 0,
                ..*before.header()
            };
            assert_eq!(*after.header(), expected, "{codec:?}");
        }
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let header = BatchHeader { record_count: 1, ..*build(Compression::None).header() };
        // length, attributes, timestamp delta, offset delta, key length, key, value length, headers
        let table: [(&str, &[u8]); 9] = [
            ("nothing", &[]),
            ("a negative length", &[1, 0, 0, 0, 1, 1, 0]),
            ("longer than there is", &[14, 0, 0, 0, 1, 1, 0]),
            ("no body", &[0]),
            ("an offset past the last", &[12, 0, 0, 10, 1, 1, 0]),
            ("a negative offset", &[12, 0, 0, 1, 1, 1, 0]),
            ("a key past the end", &[12, 0, 0, 0, 8, 1, 0]),
            ("a key of length -2", &[12, 0, 0, 0, 3, 1, 0]),
            ("a value past the end", &[12, 0, 0, 0, 1, 4, 0]),
        ];
        for (name, payload) in table {
            let found: Vec<_> = raw_records(&header, payload).collect();
            assert!(matches!(found[..], [Err(BatchError::Invalid(_))]), "{name}: {found:?}");
        }
        let and_more = [12, 0, 0, 0, 1, 1, 0, 9];
        let found: Vec<_> = raw_records(&header, &and_more).map(|record| record.is_ok()).collect();
        assert_eq!(found, [true, false], "bytes after the last record");
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let header = BatchHeader { record_count: 50, ..*build(Compression::None).header() };
            let records = raw_records(&header, &bytes);
            prop_assert!(records.count() <= 51);
        }
    }
}
