//! What a producer may send: stricter than what a log may hold.
//!
//! From the header alone, of every batch: it is the only one, with magic 2, its checksum and a known
//! codec; offsets from 0, one per record, and at least one record; no control batch, no log append
//! time, no delete horizon; with a producer id an epoch and a sequence, and a producer id in a
//! transaction.
//!
//! Records are decoded only for a rule that the header cannot answer: keys, in a topic that is
//! compacted; timestamps, when the topic bounds how old they may be or the batch's largest is too far
//! ahead. Then they must also be well-formed, as many as the header says and with offsets 0..n. Otherwise
//! the header's word is taken for the number of records, for their offsets and for the largest
//! timestamp, and a reader finds out: nothing in here relies on it for safety.
//!
//! Limits: a batch's size is the caller's to bound; what it decompresses to is by its size, see
//! [`decompressed_bytes_max`]; of the records that are refused [`REFUSED_RECORDS_MAX`] are named.
//!
//! Apache Kafka's `LogValidator` gives the same errors for the same batches, except that it always
//! decodes, and takes four things that are refused here: a delete horizon, with which the batch's
//! tombstones would go early; log append time where the topic has create time; a producer id without an
//! epoch; a transaction without a producer id.

use bytes::Bytes;

use super::{Batch, BatchError, BatchHeader, HEADER_BYTES, records};
use crate::limits::{REFUSED_RECORDS_MAX, decompressed_bytes_max};
use crate::{Compression, Record};

/// A record without a time, which no bound applies to.
const NO_TIMESTAMP: i64 = -1;

/// What a topic and a request's version ask of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerRules {
    pub now_ms: i64,
    /// `cleanup.policy` has `compact`: every record has a key.
    pub compacted: bool,
    /// `message.timestamp.type` is `LogAppendTime`: the producer's timestamps do not matter.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`; [`i64::MAX`]: no bound.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// The request's version knows zstd.
    pub zstd: bool,
}

/// A batch that is not taken; none of its records are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BatchRefused {
    pub kind: RefusalKind,
    pub message: String,
    /// The first few records that a rule refused, if it was a rule about records.
    pub records: Vec<RefusedRecord>,
}

/// What a producer can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The bytes are not those that were sent: send them again. `CORRUPT_MESSAGE`
    Corrupt,
    /// `INVALID_RECORD`
    InvalidRecord,
    /// `INVALID_TIMESTAMP`
    InvalidTimestamp,
    /// `UNSUPPORTED_COMPRESSION_TYPE`
    UnsupportedCompression,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Place in the batch, from 0.
    pub index: i32,
    pub message: String,
}

impl BatchRefused {
    fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), records: Vec::new() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::InvalidRecord, message)
    }
}

impl From<BatchError> for BatchRefused {
    fn from(error: BatchError) -> Self {
        let kind = match &error {
            BatchError::Checksum { .. } | BatchError::Length(_) => RefusalKind::Corrupt,
            // 0 and 1 are the message sets of clients before 0.11.
            BatchError::Magic(magic) if !(0..=1).contains(magic) => RefusalKind::Corrupt,
            BatchError::Codec(_) => RefusalKind::UnsupportedCompression,
            BatchError::Magic(_)
            | BatchError::Short { .. }
            | BatchError::Invalid(_)
            | BatchError::TooLarge { .. } => RefusalKind::InvalidRecord,
        };
        Self::new(kind, error.to_string())
    }
}

impl Batch {
    /// The batch that a producer sent for a partition, if all rules allow it.
    pub fn from_producer(bytes: Bytes, rules: &ProducerRules) -> Result<Self, BatchRefused> {
        let batch = Self::parse(bytes)?;
        check_header(&batch.header, rules)?;
        if rules.compacted || rules.may_refuse_times(&batch.header) {
            check_records(&batch, rules)?;
        }
        Ok(batch)
    }
}

fn check_header(header: &BatchHeader, rules: &ProducerRules) -> Result<(), BatchRefused> {
    let invalid = |message: String| Err(BatchRefused::invalid(message));
    let (attributes, count) = (header.attributes, header.record_count);
    if header.base_offset != 0 {
        return invalid(format!("the batch has base offset {}, not 0", header.base_offset));
    }
    if count < 1 || header.last_offset_delta != count - 1 {
        return invalid(format!(
            "the batch has {count} records and a last offset delta of {}",
            header.last_offset_delta
        ));
    }
    if attributes.control() {
        return invalid("control batches are written by the broker only".to_owned());
    }
    if attributes.delete_horizon() {
        return invalid("delete horizons are set by compaction only".to_owned());
    }
    if attributes.log_append_time() {
        return Err(BatchRefused::new(
            RefusalKind::InvalidTimestamp,
            "a producer may not set the timestamp type to log append time",
        ));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return invalid(format!("producer {} sent no sequence", header.producer_id));
    }
    if header.producer_id < 0 && attributes.transactional() {
        return invalid("a transactional batch needs a producer id".to_owned());
    }
    if attributes.compression() == Some(Compression::Zstd) && !rules.zstd {
        return Err(BatchRefused::new(
            RefusalKind::UnsupportedCompression,
            "zstd needs version 7 of the produce request",
        ));
    }
    Ok(())
}

impl ProducerRules {
    /// Whether a record's time may be out of bounds, as far as the header tells: it has the largest
    /// timestamp and not the smallest.
    fn may_refuse_times(&self, header: &BatchHeader) -> bool {
        let bounded_before = self.timestamp_before_max_ms < i64::MAX;
        !self.log_append_time && (bounded_before || !self.allows(header.max_timestamp))
    }

    fn allows(&self, timestamp: i64) -> bool {
        !self.too_old(timestamp) && !self.too_far_ahead(timestamp)
    }

    fn too_old(&self, timestamp: i64) -> bool {
        timestamp != NO_TIMESTAMP
            && self.now_ms.saturating_sub(timestamp) > self.timestamp_before_max_ms
    }

    fn too_far_ahead(&self, timestamp: i64) -> bool {
        timestamp.saturating_sub(self.now_ms) > self.timestamp_after_max_ms
    }

    fn judge(&self, record: &Record) -> Option<(RefusalKind, String)> {
        if self.compacted && record.key.is_none() {
            let message = "no key, and the topic is compacted".to_owned();
            return Some((RefusalKind::InvalidRecord, message));
        }
        if self.log_append_time {
            return None;
        }
        let timestamp = record.timestamp;
        let message = if self.too_old(timestamp) {
            let bound = self.timestamp_before_max_ms;
            format!("timestamp {timestamp} is more than {bound} ms old")
        } else if self.too_far_ahead(timestamp) {
            let bound = self.timestamp_after_max_ms;
            format!("timestamp {timestamp} is more than {bound} ms ahead")
        } else {
            return None;
        };
        Some((RefusalKind::InvalidTimestamp, message))
    }
}

fn check_records(batch: &Batch, rules: &ProducerRules) -> Result<(), BatchRefused> {
    let mut kind = RefusalKind::InvalidRecord;
    let mut refused = 0;
    let mut named = Vec::new();
    let most = decompressed_bytes_max(batch.bytes.len() - HEADER_BYTES);
    for (record, index) in records::Records::of(&batch.header, &batch.bytes, most)?.zip(0..) {
        let Some((why, message)) = rules.judge(&record?) else {
            continue;
        };
        refused += 1;
        if why == RefusalKind::InvalidTimestamp {
            kind = why;
        }
        if named.len() < REFUSED_RECORDS_MAX {
            named.push(RefusedRecord { index, message });
        }
    }
    if let Some(first) = named.first() {
        let count = batch.header.record_count;
        let message =
            format!("{refused} of {count} records refused; {}: {}", first.index, first.message);
        return Err(BatchRefused { kind, message, records: named });
    }
    let claimed = batch.header.max_timestamp;
    if !rules.log_append_time && !rules.allows(claimed) {
        let message = format!("no record has the batch's largest timestamp, {claimed}");
        return Err(BatchRefused::new(RefusalKind::InvalidTimestamp, message));
    }
    Ok(())
}

#[cfg(test)]
mod bombs;
#[cfg(test)]
mod tests;
