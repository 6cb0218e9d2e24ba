//! Kafka's record batch, version 2: parsed once at the edge; a [`Batch`] is valid.
//!
//! Valid means, of any batch that a log may hold: the length field is that of the bytes, magic is 2,
//! the CRC-32C over attributes to end matches, the codec is one of five, a producer id comes with an
//! epoch, and the records fit the offsets: `0 <= record_count <= last_offset_delta + 1`. There are
//! fewer records than offsets when compaction removed some; it may leave a header alone. A producer
//! has stricter rules to keep: [`Batch::from_producer`]. The records stay encoded (and compressed)
//! until [`Batch::records`] is called.
//!
//! Limits: a batch is at most [`limits::BATCH_BYTES_MAX`]; parsing allocates nothing, decoding
//! at most [`limits::DECOMPRESSED_BYTES_MAX`] plus a small multiple of the bytes that are there.

use bytes::Bytes;

use crate::{Compression, Record, limits};

mod builder;
mod control;
mod records;
pub(crate) mod rewrite;
#[cfg(test)]
mod tests;
mod validate;
mod varint;

pub use builder::BatchBuilder;
pub use control::{EndMarker, Ending};
pub use validate::{BatchRefused, ProducerRules, RefusalKind, RefusedRecord};

/// Bytes before the records of a batch.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the field that `batch_length` counts from.
const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
/// Where the checksummed part begins.
const CRC_END: usize = 21;
pub(crate) const CHECKED_FROM: usize = CRC_END;

/// A batch whose length, magic, checksum, counts and attributes have been checked.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    /// -1 when the producer is not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
    pub(crate) const TRANSACTIONAL: i16 = 0x10;
    pub(crate) const CONTROL: i16 = 0x20;
    pub(crate) const DELETE_HORIZON: i16 = 0x40;

    /// The codec that the low three bits name; none when they name none.
    pub fn compression(self) -> Option<Compression> {
        match self.0 & 0x07 {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }
    pub fn log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }
    pub fn transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }
    pub fn control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
    /// The base timestamp is not a record's: it is when compaction may remove what it kept until
    /// then, tombstones and ends of transactions (KIP-534).
    pub fn delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("{have} bytes where a batch needs {need}")]
    Short { need: usize, have: usize },
    #[error("magic {0} is not supported, only 2")]
    Magic(i8),
    #[error("checksum {actual:#010x} does not match {stored:#010x}")]
    Checksum { stored: u32, actual: u32 },
    #[error("batch length {0} is outside {min}..={max}", min = HEADER_BYTES - LENGTH_END, max = limits::BATCH_BYTES_MAX - LENGTH_END)]
    Length(i32),
    #[error("{0}")]
    Invalid(String),
    #[error("unknown compression codec {0}")]
    Codec(i16),
    #[error("decompresses to more than {limit} bytes")]
    TooLarge { limit: usize },
}

impl BatchHeader {
    /// Reads the fields without judging them; `None` when there are fewer than
    /// [`HEADER_BYTES`].
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let mut fields = Fields { rest: head };
        let base_offset = i64::from_be_bytes(fields.take());
        let batch_length = i32::from_be_bytes(fields.take());
        let leader_epoch = i32::from_be_bytes(fields.take());
        let [_magic] = fields.take();
        Some(Self {
            base_offset,
            batch_length,
            leader_epoch,
            crc: u32::from_be_bytes(fields.take()),
            attributes: Attributes(i16::from_be_bytes(fields.take())),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: i64::from_be_bytes(fields.take()),
            max_timestamp: i64::from_be_bytes(fields.take()),
            producer_id: i64::from_be_bytes(fields.take()),
            producer_epoch: i16::from_be_bytes(fields.take()),
            base_sequence: i32::from_be_bytes(fields.take()),
            record_count: i32::from_be_bytes(fields.take()),
        })
    }

    /// The fields of what could be a batch, by its magic, its length and its counts.
    pub(crate) fn read_plausible(bytes: &[u8]) -> Option<Self> {
        if bytes.get(MAGIC_AT) != Some(&2) {
            return None;
        }
        let header = Self::read(bytes)?;
        let counts = (0..=header.last_offset_delta.checked_add(1)?).contains(&header.record_count);
        (counts && header.total_bytes().is_some()).then_some(header)
    }

    /// Bytes of the whole batch; none when the length field cannot be one.
    pub fn total_bytes(&self) -> Option<usize> {
        let total = usize::try_from(self.batch_length).ok()?.checked_add(LENGTH_END)?;
        (HEADER_BYTES..=limits::BATCH_BYTES_MAX).contains(&total).then_some(total)
    }

    /// The offset of the last record; saturates, as the field may be anything.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Whether the log follows this batch's producer and sequence.
    pub(crate) fn has_sequence(&self) -> bool {
        self.producer_id >= 0 && !self.attributes.control()
    }

    /// The largest timestamp of its records; -1 when compaction has left it none.
    pub fn newest_record_ms(&self) -> i64 {
        if self.record_count == 0 { -1 } else { self.max_timestamp }
    }

    /// When compaction may remove the tombstones and the end of a transaction that are in here.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.delete_horizon().then_some(self.base_timestamp)
    }
}

/// A cursor over the fixed header, whose length is known to cover every field taken.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.rest.split_first_chunk::<N>().expect("the header has 61 bytes");
        self.rest = rest;
        *head
    }
}

/// Checks the batch that `bytes` begin with; also tells how long it is. Bytes after it are not
/// looked at.
pub fn check_first(bytes: &[u8]) -> Result<(BatchHeader, usize), BatchError> {
    if let Some(&magic) = bytes.get(MAGIC_AT)
        && magic != 2
    {
        return Err(BatchError::Magic(magic.cast_signed()));
    }
    let short = |need| BatchError::Short { need, have: bytes.len() };
    let header = BatchHeader::read(bytes).ok_or(short(HEADER_BYTES))?;
    let Some(total) = header.total_bytes() else {
        return Err(BatchError::Length(header.batch_length));
    };
    let whole = bytes.get(..total).ok_or(short(total))?;
    let actual = crc32c::crc32c(whole.get(CRC_END..).ok_or(short(total))?);
    if actual != header.crc {
        return Err(BatchError::Checksum { stored: header.crc, actual });
    }
    check_fields(&header, total)?;
    Ok((header, total))
}

fn check_fields(header: &BatchHeader, total: usize) -> Result<(), BatchError> {
    let invalid = |why: String| Err(BatchError::Invalid(why));
    let Some(codec) = header.attributes.compression() else {
        return Err(BatchError::Codec(header.attributes.0 & 0x07));
    };
    let (count, delta) = (header.record_count, header.last_offset_delta);
    if count < 0 || delta < 0 || count - 1 > delta {
        return invalid(format!("{count} records with a last offset delta of {delta}"));
    }
    if header.base_offset.checked_add(i64::from(delta) + 1).is_none() || header.base_offset < 0 {
        return invalid(format!("base offset {}", header.base_offset));
    }
    let records_bytes = total - HEADER_BYTES;
    let fits = match usize::try_from(count) {
        Ok(0) => records_bytes == 0,
        Ok(count) => {
            codec != Compression::None || count <= records_bytes / records::RECORD_BYTES_MIN
        }
        Err(_) => false,
    };
    if !fits {
        return invalid(format!("{count} records in {records_bytes} bytes"));
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < -1) {
        return invalid(format!(
            "producer {} with epoch {} and sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        ));
    }
    Ok(())
}

impl Batch {
    /// Parses exactly one batch that fills `bytes`, verifying its checksum; records stay encoded.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let (header, total) = check_first(&bytes)?;
        if bytes.len() > total {
            return Err(BatchError::Invalid(format!(
                "{} bytes after the batch",
                bytes.len() - total
            )));
        }
        Ok(Self { header, bytes })
    }
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    pub fn last_offset(&self) -> i64 {
        self.header.base_offset + i64::from(self.header.last_offset_delta)
    }
    /// Decompresses and decodes the records; offsets and timestamps are absolute.
    pub fn records(&self) -> Result<Vec<Record>, BatchError> {
        records::decode(&self.header, &self.bytes)
    }
}

impl Batch {
    /// The batch as it is stored: with its place in the log, and with the log's time when that is set
    /// (which changes the checksum). In two parts, of which only the header is copied.
    pub(crate) fn placed_parts(
        &self,
        base_offset: i64,
        leader_epoch: i32,
        log_append_time_ms: Option<i64>,
    ) -> (BatchHeader, [Bytes; 2]) {
        let mut header = BatchHeader { base_offset, leader_epoch, ..self.header };
        let mut head = self.bytes.slice(..HEADER_BYTES).to_vec();
        let records = self.bytes.slice(HEADER_BYTES..);
        head[..8].copy_from_slice(&base_offset.to_be_bytes());
        head[LENGTH_END..MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
        if let Some(now_ms) = log_append_time_ms {
            header.attributes.0 |= Attributes::LOG_APPEND_TIME;
            header.max_timestamp = now_ms;
            head[21..23].copy_from_slice(&header.attributes.0.to_be_bytes());
            head[35..43].copy_from_slice(&now_ms.to_be_bytes());
            header.crc = crc32c::crc32c_append(crc32c::crc32c(&head[CRC_END..]), &records);
            head[17..21].copy_from_slice(&header.crc.to_be_bytes());
        }
        (header, [Bytes::from(head), records])
    }

    /// [`Self::placed_parts`] in one piece.
    #[cfg(test)]
    pub(crate) fn placed(
        &self,
        base_offset: i64,
        leader_epoch: i32,
        log_append_time_ms: Option<i64>,
    ) -> (BatchHeader, Vec<u8>) {
        let (header, parts) = self.placed_parts(base_offset, leader_epoch, log_append_time_ms);
        (header, parts.concat())
    }
}

/// Splits bytes that hold whole batches one after another (what a fetch or a read returns); a
/// partial batch at the end ends the iteration, and so does the first error.
pub fn split(bytes: Bytes) -> impl Iterator<Item = Result<Batch, BatchError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match check_first(&rest) {
            Ok((header, total)) => Some(Ok(Batch { header, bytes: rest.split_to(total) })),
            Err(BatchError::Short { .. }) => {
                rest.clear();
                None
            }
            Err(error) => {
                rest.clear();
                Some(Err(error))
            }
        }
    })
}
