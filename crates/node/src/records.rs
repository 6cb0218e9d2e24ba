//! Records to batches and back, for callers in this process.

use bytes::Bytes;
use tidings_broker::log::{BatchError, NewRecord, Record};
use tidings_broker::ProducerIdentity;

/// Encodes records as one batch; with a producer, as its batch starting at `sequence`.
pub fn encode_batch(_records: &[NewRecord], _producer: Option<(ProducerIdentity, i32)>) -> Bytes { todo!() }

/// Decodes the whole batches in `bytes`, leaving out records before `from` and control batches.
/// Also returns the offset after the last batch.
pub fn decode_batches(_bytes: Bytes, _from: i64) -> Result<(Vec<Record>, i64), BatchError> { todo!() }
