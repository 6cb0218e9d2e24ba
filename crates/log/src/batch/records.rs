//! The records inside a batch: `length, attributes, timestamp delta, offset delta, key, value,
//! headers`, all lengths and deltas as zigzag varints. Every count is checked against the bytes
//! that remain before anything is allocated for it.

use bytes::{Buf, Bytes};

use super::{BatchError, BatchHeader, HEADER_BYTES, varint};
use crate::{Compression, Header, NewRecord, Record, limits, record::header_name};

/// The smallest record: seven one-byte fields.
pub(super) const RECORD_BYTES_MIN: usize = 7;
/// The smallest header: an empty name and a null value.
const HEADER_FIELD_BYTES_MIN: usize = 2;

/// The records of a batch, decoded one after another; nothing comes after an error.
pub(super) struct Records<'a> {
    header: &'a BatchHeader,
    rest: Bytes,
    /// Of the next record.
    index: i32,
    /// The lowest that the next record may have.
    offset_delta: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// Decompresses the records of the batch that `bytes` are, to so many bytes at most.
    pub(super) fn of(
        header: &'a BatchHeader,
        bytes: &Bytes,
        decompressed_max: usize,
    ) -> Result<Self, BatchError> {
        let encoded = bytes.slice(HEADER_BYTES.min(bytes.len())..);
        let Some(codec) = header.attributes.compression() else {
            return Err(BatchError::Codec(header.attributes.0 & 0x07));
        };
        let rest = match codec {
            codec if codec == Compression::None || header.record_count == 0 => encoded,
            codec => Bytes::from(codec.decompress(&encoded, decompressed_max)?),
        };
        let count = usize::try_from(header.record_count)
            .map_err(|_| BatchError::Invalid(format!("record count {}", header.record_count)))?;
        if count > rest.len() / RECORD_BYTES_MIN {
            return Err(BatchError::Invalid(format!("{count} records in {} bytes", rest.len())));
        }
        Ok(Self { header, rest, index: 0, offset_delta: 0, failed: false })
    }

    /// The next record, which leaves an offset for each that follows it.
    fn take(&mut self) -> Option<Record> {
        let following = self.header.record_count - self.index - 1;
        let offset_delta_max = self.header.last_offset_delta.checked_sub(following)?;
        let (record, offset_delta) = take_record(&mut self.rest, self.header)?;
        if !(self.offset_delta..=offset_delta_max).contains(&offset_delta) {
            return None;
        }
        self.offset_delta = offset_delta.checked_add(1)?;
        Some(record)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let (index, count) = (self.index, self.header.record_count);
        if index >= count {
            let left = std::mem::take(&mut self.rest).len();
            return (left > 0)
                .then(|| Err(BatchError::Invalid(format!("{left} bytes after the last record"))));
        }
        let record = self
            .take()
            .ok_or_else(|| BatchError::Invalid(format!("record {index} of {count} is malformed")));
        self.index += 1;
        self.failed = record.is_err();
        Some(record)
    }
}

/// Decodes every record of the batch that `bytes` are.
pub(super) fn decode(header: &BatchHeader, bytes: &Bytes) -> Result<Vec<Record>, BatchError> {
    let decoding = Records::of(header, bytes, limits::DECOMPRESSED_BYTES_MAX)?;
    let mut records = Vec::with_capacity(header.record_count.max(0) as usize);
    for record in decoding {
        records.push(record?);
    }
    Ok(records)
}

/// A record and its offset delta.
fn take_record(rest: &mut Bytes, header: &BatchHeader) -> Option<(Record, i32)> {
    let length = usize::try_from(varint::take_i32(rest)?).ok()?;
    if length > rest.remaining() {
        return None;
    }
    let mut body = rest.split_to(length);
    if !body.has_remaining() {
        return None;
    }
    let _attributes = body.get_u8();
    let timestamp_delta = varint::take_i64(&mut body)?;
    let offset_delta = varint::take_i32(&mut body)?;
    let timestamp = if header.attributes.log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.checked_add(timestamp_delta)?
    };
    let key = take_nullable(&mut body)?;
    let value = take_nullable(&mut body)?;
    let headers = take_headers(&mut body)?;
    let offset = header.base_offset.checked_add(i64::from(offset_delta))?;
    let record = Record { offset, timestamp, key, value, headers };
    body.is_empty().then_some((record, offset_delta))
}

fn take_headers(body: &mut Bytes) -> Option<Vec<Header>> {
    let count = usize::try_from(varint::take_i32(body)?).ok()?;
    if count > body.len() / HEADER_FIELD_BYTES_MIN {
        return None;
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = header_name(&take_nullable(body)??);
        headers.push(Header { name, value: take_nullable(body)? });
    }
    Some(headers)
}

/// A length and that many bytes; length -1 is null. The outer none means malformed.
fn take_nullable(body: &mut Bytes) -> Option<Option<Bytes>> {
    match varint::take_i32(body)? {
        -1 => Some(None),
        length => {
            let length = usize::try_from(length).ok()?;
            (length <= body.len()).then(|| Some(body.split_to(length)))
        }
    }
}

/// Appends `record` as the `index`th of a batch whose first timestamp is `base_timestamp`.
pub(super) fn put(out: &mut Vec<u8>, record: &NewRecord, index: i32, base_timestamp: i64) {
    let delta = record.timestamp.wrapping_sub(base_timestamp);
    let length = 1
        + varint::size(delta)
        + varint::size(i64::from(index))
        + nullable_size(record.key.as_ref())
        + nullable_size(record.value.as_ref())
        + varint::size(record.headers.len() as i64)
        + record
            .headers
            .iter()
            .map(|header| {
                let name = header.name.len();
                varint::size(name as i64) + name + nullable_size(header.value.as_ref())
            })
            .sum::<usize>();
    varint::put(out, length as i64);
    out.push(0);
    varint::put(out, delta);
    varint::put(out, i64::from(index));
    put_nullable(out, record.key.as_deref());
    put_nullable(out, record.value.as_deref());
    varint::put(out, record.headers.len() as i64);
    for header in &record.headers {
        put_nullable(out, Some(header.name.as_bytes()));
        put_nullable(out, header.value.as_deref());
    }
}

fn nullable_size(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
