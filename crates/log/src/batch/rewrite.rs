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
pub(crate) fn put_emptied(header: &BatchHeader, out: &mut Vec<u8>) -> BatchHeader {
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
