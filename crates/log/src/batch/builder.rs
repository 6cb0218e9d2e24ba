//! Builds batches: records in, one checksummed batch out.

use bytes::Bytes;

use super::{Attributes, Batch, BatchHeader, CRC_END, HEADER_BYTES, LENGTH_END, records};
use crate::{Compression, NewRecord, limits};

/// Builds one batch with base offset 0 and leader epoch 0; the log assigns both at append.
///
/// Bounding the size is the caller's part: a finished batch over
/// [`limits::BATCH_BYTES_MAX`] is a bug.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Compression,
    /// Other bits than the codec's.
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    records: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self {
            codec: Compression::None,
            attributes: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            records: Vec::new(),
        }
    }
    #[must_use]
    pub fn compression(mut self, codec: Compression) -> Self {
        self.codec = codec;
        self
    }
    /// Marks the batch as an idempotent producer's; `sequence` is that of its first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = sequence;
        self
    }
    /// Makes the batch part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= Attributes::TRANSACTIONAL;
        self
    }
    #[must_use]
    pub(super) fn control(mut self) -> Self {
        self.attributes |= Attributes::CONTROL;
        self
    }
    pub fn push(&mut self, record: &NewRecord) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        records::put(&mut self.records, record, self.count, self.base_timestamp);
        self.count += 1;
    }
    /// Encoded size so far, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }
    pub fn len(&self) -> usize {
        self.count as usize
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The finished batch; an empty builder is a bug of the caller.
    pub fn build(self) -> Batch {
        assert!(self.count > 0, "a batch has at least one record");
        let records = match self.codec {
            Compression::None => self.records,
            codec => codec.compress(&self.records),
        };
        let total = HEADER_BYTES + records.len();
        assert!(total <= limits::BATCH_BYTES_MAX, "a batch of {total} bytes");
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length: (total - LENGTH_END) as i32,
            leader_epoch: 0,
            crc: 0,
            attributes: Attributes(self.codec.id() | self.attributes),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        let mut bytes = Vec::with_capacity(total);
        header.put(&mut bytes);
        bytes.extend_from_slice(&records);
        header.crc = crc32c::crc32c(&bytes[CRC_END..]);
        bytes[CRC_END - 4..CRC_END].copy_from_slice(&header.crc.to_be_bytes());
        Batch { header, bytes: Bytes::from(bytes) }
    }
}

impl BatchHeader {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.base_offset.to_be_bytes());
        out.extend_from_slice(&self.batch_length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&self.crc.to_be_bytes());
        out.extend_from_slice(&self.attributes.0.to_be_bytes());
        out.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&self.producer_id.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.record_count.to_be_bytes());
    }
}
