//! Producer snapshots in Kafka's `.snapshot` format, version 1.
//!
//! `version i16, crc u32, count i32`, then per entry `producer id i64, epoch i16, last sequence
//! i32, last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of
//! the open transaction i64`; the CRC-32C covers everything after itself. Kafka keeps one entry per
//! producer; here a producer has one entry per remembered batch, oldest first, which Kafka's tools
//! and loader read as well (the last entry counts there).

use super::producers::ProducerBatch;
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX};

const VERSION: i16 = 1;
const CRC_END: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_BYTES: usize = 46;
/// No transaction is open, and no coordinator has written here.
const NONE_I32: i32 = -1;
const NONE_I64: i64 = -1;
/// Largest snapshot there can be, about 3.6 MiB.
pub(super) const SNAPSHOT_BYTES_MAX: usize =
    ENTRIES_AT + PRODUCERS_PER_PARTITION_MAX * PRODUCER_BATCHES_MAX * ENTRY_BYTES;

pub(super) fn encode<'a>(batches: impl Iterator<Item = &'a ProducerBatch>) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.resize(ENTRIES_AT, 0);
    let mut count = 0_u32;
    for batch in batches {
        count += 1;
        bytes.extend_from_slice(&batch.producer_id.to_be_bytes());
        bytes.extend_from_slice(&batch.epoch.to_be_bytes());
        bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&batch.last_offset.to_be_bytes());
        bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&batch.timestamp.to_be_bytes());
        bytes.extend_from_slice(&NONE_I32.to_be_bytes());
        bytes.extend_from_slice(&NONE_I64.to_be_bytes());
    }
    bytes[CRC_END..ENTRIES_AT].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The batches of a snapshot; none when it is not a whole, undamaged snapshot.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<ProducerBatch>> {
    let (version, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    if i16::from_be_bytes(*version) != VERSION || u32::from_be_bytes(*crc) != crc32c::crc32c(rest) {
        return None;
    }
    let (count, entries) = rest.split_first_chunk()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    if entries.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    entries.chunks_exact(ENTRY_BYTES).map(take_entry).collect()
}

fn take_entry(bytes: &[u8]) -> Option<ProducerBatch> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let timestamp = rest.first_chunk()?;
    Some(ProducerBatch {
        producer_id: i64::from_be_bytes(*producer_id),
        epoch: i16::from_be_bytes(*epoch),
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: i64::from_be_bytes(*last_offset),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: i64::from_be_bytes(*timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(producer_id: i64, last_offset: i64) -> ProducerBatch {
        ProducerBatch {
            producer_id,
            epoch: 3,
            last_sequence: 8,
            last_offset,
            offset_delta: 2,
            timestamp: 1_700_000_000_000,
        }
    }

    #[test]
    fn the_layout_is_kafkas() {
        let bytes = encode([batch(0x0102, 0x99)].iter());
        let hex: String = bytes[CRC_END..].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "00000001\
             0000000000000102 0003 00000008 0000000000000099 00000002 0000018bcfe56800 \
             ffffffff ffffffffffffffff";
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(&bytes[..2], [0, 1]);
    }

    #[test]
    fn snapshots_come_back_and_damage_is_noticed() {
        let batches = vec![batch(1, 5), batch(1, 8), batch(2, 11)];
        let bytes = encode(batches.iter());
        assert_eq!(decode(&bytes), Some(batches));
        assert_eq!(decode(&encode([].iter())), Some(Vec::new()));
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged), None, "bit {bit} of byte {at}");
            }
        }
    }
}
