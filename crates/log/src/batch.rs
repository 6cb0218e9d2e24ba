//! Kafka's record batch, version 2: parsed once at the edge; a [`Batch`] is valid.

use bytes::Bytes;

use crate::{Compression, NewRecord, Record};

/// Bytes before the records of a batch.
pub const HEADER_BYTES: usize = 61;

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
    pub fn compression(self) -> Option<Compression> { todo!() }
    pub fn log_append_time(self) -> bool { self.0 & 0x08 != 0 }
    pub fn transactional(self) -> bool { self.0 & 0x10 != 0 }
    pub fn control(self) -> bool { self.0 & 0x20 != 0 }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("{have} bytes where a batch needs {need}")]
    Short { need: usize, have: usize },
    #[error("magic {0} is not supported, only 2")]
    Magic(i8),
    #[error("checksum {actual:#010x} does not match {stored:#010x}")]
    Checksum { stored: u32, actual: u32 },
    #[error("{0}")]
    Invalid(String),
    #[error("unknown compression codec {0}")]
    Codec(i16),
    #[error("decompresses to more than {limit} bytes")]
    TooLarge { limit: usize },
}

impl Batch {
    /// Parses exactly one batch that fills `bytes`, verifying its checksum; records stay encoded.
    pub fn parse(_bytes: Bytes) -> Result<Self, BatchError> { todo!() }
    pub fn header(&self) -> &BatchHeader { &self.header }
    pub fn bytes(&self) -> &Bytes { &self.bytes }
    pub fn last_offset(&self) -> i64 {
        self.header.base_offset + i64::from(self.header.last_offset_delta)
    }
    /// Decompresses and decodes the records; offsets and timestamps are absolute.
    pub fn records(&self) -> Result<Vec<Record>, BatchError> { todo!() }
}

/// Splits bytes that hold whole batches one after another (what a fetch or a read returns); a
/// partial batch at the end ends the iteration.
pub fn split(bytes: Bytes) -> impl Iterator<Item = Result<Batch, BatchError>> {
    let _ = bytes;
    std::iter::empty()
}

/// Builds one batch with base offset 0 and leader epoch 0; the log assigns both at append.
#[derive(Debug, Default)]
pub struct BatchBuilder {}

impl BatchBuilder {
    pub fn new() -> Self { Self::default() }
    pub fn compression(self, _codec: Compression) -> Self { todo!() }
    /// Marks the batch as an idempotent producer's; `sequence` is that of its first record.
    pub fn producer(self, _id: i64, _epoch: i16, _sequence: i32) -> Self { todo!() }
    pub fn push(&mut self, _record: &NewRecord) { todo!() }
    /// Encoded size so far, before compression.
    pub fn size_bytes(&self) -> usize { todo!() }
    pub fn len(&self) -> usize { todo!() }
    pub fn is_empty(&self) -> bool { self.len() == 0 }
    /// The finished batch; an empty builder is a bug of the caller.
    pub fn build(self) -> Batch { todo!() }
}
