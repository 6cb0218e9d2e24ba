//! Records to batches and back, for callers in this process.

use std::collections::HashSet;

use bytes::Bytes;
use tidings_broker::ProducerIdentity;
use tidings_broker::log::{Batch, BatchBuilder, BatchError, Ending, NewRecord, Record, split};

use crate::limits::RECORDS_EXPECTED_MAX;

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

/// The same as a part of the producer's transaction.
pub fn encode_transactional_batch<'a>(
    records: impl IntoIterator<Item = &'a NewRecord>,
    identity: ProducerIdentity,
    sequence: i32,
) -> Bytes {
    let builder = BatchBuilder::new().producer(identity.id, identity.epoch, sequence);
    let mut builder = builder.transactional();
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
    decode_unless(pieces, from, |_| Ok(false), |record| record)
}

/// The same without records of aborted transactions: `aborted` names the producer and the first offset
/// of each among the batches, by first offset, as a fetch of committed records answers. `to` makes of each record
/// what the caller keeps.
pub fn decode_committed<T>(
    pieces: impl IntoIterator<Item = Bytes>,
    from: i64,
    aborted: &[(i64, i64)],
    to: impl FnMut(Record) -> T,
) -> Result<(Vec<T>, i64), BatchError> {
    let mut to_come = aborted.iter().peekable();
    let mut under_way: HashSet<i64> = HashSet::new();
    let left_out = |batch: &Batch| {
        while let Some((producer, _)) = to_come.next_if(|(_, first)| *first <= batch.last_offset())
        {
            under_way.insert(*producer);
        }
        let header = batch.header();
        if header.attributes.control() {
            let marker = batch.end_marker()?;
            if marker.is_some_and(|marker| marker.ending == Ending::Abort) {
                under_way.remove(&header.producer_id);
            }
        }
        Ok(header.attributes.transactional() && under_way.contains(&header.producer_id))
    };
    decode_unless(pieces, from, left_out, to)
}

/// What stands before a batch that cannot be decoded is returned; whoever reads on from there meets the batch first.
fn decode_unless<T>(
    pieces: impl IntoIterator<Item = Bytes>,
    from: i64,
    mut left_out: impl FnMut(&Batch) -> Result<bool, BatchError>,
    mut to: impl FnMut(Record) -> T,
) -> Result<(Vec<T>, i64), BatchError> {
    let mut records = Vec::new();
    let mut next = from;
    for piece in pieces {
        let size = piece.len();
        for batch in split(piece) {
            let decoded = batch.and_then(|batch| {
                let is_wanted = !left_out(&batch)? && !batch.header().attributes.control();
                let all = if is_wanted { batch.records()? } else { Vec::new() };
                Ok((batch, all))
            });
            let (batch, all) = match decoded {
                Err(_) if next > from => return Ok((records, next)),
                decoded => decoded?,
            };
            if records.capacity() == 0 {
                records.reserve(expected(all.len(), batch.bytes().len(), size));
            }
            let wanted = all.into_iter().filter(|record| record.offset >= from);
            records.extend(wanted.map(&mut to));
            next = next.max(batch.last_offset() + 1);
        }
    }
    Ok((records, next))
}

/// Records of a piece of so many bytes, if all its batches are as the first, up to what may be more than there are.
fn expected(records: usize, bytes: usize, of: usize) -> usize {
    let more = RECORDS_EXPECTED_MAX.min(records.saturating_mul(of) / bytes.max(1));
    records.max(more)
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
    fn what_stands_before_a_broken_batch_is_read_and_then_it_is_met() {
        let whole = encode_batch(&records(3), None);
        let mut broken = encode_batch(&records(1), None).to_vec();
        *broken.last_mut().unwrap() ^= 1;
        broken[..8].copy_from_slice(&3_i64.to_be_bytes());
        let pieces = || [whole.clone(), Bytes::from(broken.clone())];
        let (before, next) = decode_batches(pieces(), 0).unwrap();
        assert_eq!((values(&before), next), (vec![b"0" as &[u8], b"1", b"2"], 3));
        let met = decode_batches([Bytes::from(broken.clone())], 3);
        assert!(matches!(met, Err(BatchError::Checksum { .. })), "{met:?}");
    }

    #[test]
    fn room_is_made_for_what_a_piece_may_hold_and_no_more_than_is_named() {
        for (records, bytes, of, room) in [
            (100, 1_000, 10_000, 1_000),
            (100, 1_000, 1_000, 100),
            // Compressed to next to nothing, before much that is not.
            (9_000, 80, 8_000_000, 9_000),
            (50, 80, 8_000_000, RECORDS_EXPECTED_MAX),
            (0, 0, 0, 0),
        ] {
            assert_eq!(expected(records, bytes, of), room, "{records} of {bytes} in {of}");
        }
    }

    #[test]
    fn nothing_decodes_to_nothing() {
        assert_eq!(decode_batches([Bytes::new()], 7).unwrap(), (Vec::new(), 7));
    }

    #[test]
    fn records_of_aborted_transactions_are_left_out() {
        use tidings_broker::log::EndMarker;

        let value = |n: i64| format!("{n}");
        let batch = |offset: i64, producer: i64| {
            let record = NewRecord { value: Some(value(offset).into()), ..NewRecord::default() };
            let identity = ProducerIdentity { id: producer, epoch: 0 };
            at(&encode_transactional_batch([&record], identity, 0), offset)
        };
        let end = |offset: i64, producer: i64, ending| {
            let marker = EndMarker { ending, coordinator_epoch: 0 };
            at(marker.batch(producer, 0, 0).bytes(), offset)
        };
        let log = [
            batch(0, 7),
            batch(1, 8),
            end(2, 7, Ending::Abort),
            end(3, 8, Ending::Commit),
            batch(4, 7),
            end(5, 7, Ending::Commit),
            batch(6, 7),
            batch(7, 9),
            end(8, 7, Ending::Abort),
        ];
        let aborted = [(7, 0), (7, 6)];
        let (seen, next) = decode_committed(log.clone(), 0, &aborted, |record| record).unwrap();
        assert_eq!((values(&seen), next), (vec![b"1" as &[u8], b"4", b"7"], 9));
        // A fetch that begins inside an aborted transaction names where that began.
        let (seen, _) = decode_committed(log[6..].to_vec(), 6, &[(7, 5)], |record| record).unwrap();
        assert_eq!(values(&seen), [b"7"]);
    }

    /// The batch as the log keeps it: its base offset is not covered by its checksum.
    fn at(batch: &Bytes, offset: i64) -> Bytes {
        let mut bytes = batch.to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes.into()
    }

    #[test]
    fn a_producer_is_written_into_the_batch() {
        let identity = ProducerIdentity { id: 42, epoch: 3 };
        let bytes = encode_batch(&records(2), Some((identity, 17)));
        let batch = Batch::parse(bytes).unwrap();
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
