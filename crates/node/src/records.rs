//! Records to batches and back, for callers in this process.

use bytes::Bytes;
use tidings_broker::ProducerIdentity;
use tidings_broker::log::{BatchBuilder, BatchError, NewRecord, Record, split};

/// Encodes records as one uncompressed batch; with a producer, as its batch starting at `sequence`.
/// No records at all is a bug of the caller.
pub fn encode_batch<'a>(
    records: impl IntoIterator<Item = &'a NewRecord>,
    producer: Option<(ProducerIdentity, i32)>,
) -> Bytes {
    let mut builder = BatchBuilder::new();
    if let Some((identity, sequence)) = producer {
        builder = builder.producer(identity.id, identity.epoch, sequence);
    }
    for record in records {
        builder.push(record);
    }
    builder.build().bytes().clone()
}

/// Decodes the whole batches in `pieces`, leaving out records before `from` and control batches.
/// Also returns the offset after the last batch, or `from` when there is none.
pub fn decode_batches(
    pieces: impl IntoIterator<Item = Bytes>,
    from: i64,
) -> Result<(Vec<Record>, i64), BatchError> {
    let mut records = Vec::new();
    let mut next = from;
    for batch in pieces.into_iter().flat_map(split) {
        let batch = batch?;
        next = next.max(batch.last_offset() + 1);
        if !batch.header().attributes.control() {
            records.extend(batch.records()?.into_iter().filter(|record| record.offset >= from));
        }
    }
    Ok((records, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Vec<NewRecord> {
        (0..count)
            .map(|n| NewRecord {
                timestamp: 1000,
                key: None,
                value: Some(Bytes::from(n.to_string())),
                headers: Vec::new(),
            })
            .collect()
    }

    fn values(records: &[Record]) -> Vec<&[u8]> {
        records.iter().map(|record| record.value.as_deref().unwrap_or_default()).collect()
    }

    #[test]
    fn records_before_the_wanted_offset_are_left_out() {
        let bytes = encode_batch(&records(3), None);
        let (all, next) = decode_batches([bytes.clone()], 0).unwrap();
        assert_eq!((values(&all), next), (vec![b"0" as &[u8], b"1", b"2"], 3));
        let (last, next) = decode_batches([bytes], 2).unwrap();
        assert_eq!((values(&last), next), (vec![b"2" as &[u8]], 3));
    }

    #[test]
    fn nothing_decodes_to_nothing() {
        assert_eq!(decode_batches([Bytes::new()], 7).unwrap(), (Vec::new(), 7));
    }

    #[test]
    fn a_producer_is_written_into_the_batch() {
        let identity = ProducerIdentity { id: 42, epoch: 3 };
        let bytes = encode_batch(&records(2), Some((identity, 17)));
        let batch = tidings_broker::log::Batch::parse(bytes).unwrap();
        let header = batch.header();
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence, header.record_count),
            (42, 3, 17, 2)
        );
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let mut bytes = encode_batch(&records(1), None).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(decode_batches([bytes.into()], 0), Err(BatchError::Checksum { .. })));
    }
}
