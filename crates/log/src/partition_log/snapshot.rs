//! Producer snapshots in Kafka's `.snapshot` format, version 1.
//!
//! `version i16, crc u32, count i32`, then per entry `producer id i64, epoch i16, last sequence
//! i32, last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of
//! the open transaction i64`; the CRC-32C covers everything after itself. Kafka keeps one entry per
//! producer; here a producer has one entry per remembered batch, oldest first, which Kafka's tools
//! and loader read as well (the last entry counts there). Offset -1 is a producer that is known by
//! the end of a transaction only.

use super::producers::ProducerEntry;
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX};

const VERSION: i16 = 1;
const CRC_END: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_BYTES: usize = 46;
const NO_TRANSACTION: i64 = -1;
/// Largest snapshot there can be, about 3.6 MiB.
pub(super) const SNAPSHOT_BYTES_MAX: usize =
    ENTRIES_AT + PRODUCERS_PER_PARTITION_MAX * PRODUCER_BATCHES_MAX * ENTRY_BYTES;

pub fn encode(entries: impl Iterator<Item = ProducerEntry>) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.resize(ENTRIES_AT, 0);
    let mut count = 0_u32;
    for entry in entries {
        count += 1;
        let transaction_offset = entry.transaction_offset.unwrap_or(NO_TRANSACTION);
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&entry.last_offset.to_be_bytes());
        bytes.extend_from_slice(&entry.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&transaction_offset.to_be_bytes());
    }
    bytes[CRC_END..ENTRIES_AT].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The entries of a snapshot; none when it is not a whole, undamaged snapshot.
pub fn decode(bytes: &[u8]) -> Option<Vec<ProducerEntry>> {
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

fn take_entry(bytes: &[u8]) -> Option<ProducerEntry> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let transaction_offset = i64::from_be_bytes(*rest.first_chunk()?);
    Some(ProducerEntry {
        producer_id: i64::from_be_bytes(*producer_id),
        epoch: i16::from_be_bytes(*epoch),
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: i64::from_be_bytes(*last_offset),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: i64::from_be_bytes(*timestamp),
        coordinator_epoch: i32::from_be_bytes(*coordinator_epoch),
        transaction_offset: (transaction_offset >= 0).then_some(transaction_offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_700_000_000_000;

    fn entry(producer_id: i64, epoch: i16, last_offset: i64, timestamp: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id,
            epoch,
            last_sequence: 0,
            last_offset,
            offset_delta: 0,
            timestamp,
            coordinator_epoch: -1,
            transaction_offset: None,
        }
    }

    /// Written by `ProducerStateManager` of Kafka 4.2.0: a producer with a batch, one with an open
    /// transaction, one known by an abort only, one that committed.
    const OF_KAFKA: &str = "0001 485802c9 00000004 \
        0000000000000102 0003 00000008 0000000000000099 00000002 0000018bcfe56800 ffffffff \
        ffffffffffffffff \
        0000000000000103 0000 00000001 000000000000009b 00000001 0000018bcfe56801 ffffffff \
        000000000000009a \
        0000000000000104 0005 ffffffff ffffffffffffffff 00000000 0000018bcfe56802 00000009 \
        ffffffffffffffff \
        0000000000000105 0001 00000000 000000000000009d 00000000 0000018bcfe56804 00000007 \
        ffffffffffffffff";

    fn of_kafka() -> Vec<ProducerEntry> {
        vec![
            ProducerEntry { last_sequence: 8, offset_delta: 2, ..entry(258, 3, 153, T) },
            ProducerEntry {
                last_sequence: 1,
                offset_delta: 1,
                transaction_offset: Some(154),
                ..entry(259, 0, 155, T + 1)
            },
            ProducerEntry { last_sequence: -1, coordinator_epoch: 9, ..entry(260, 5, -1, T + 2) },
            ProducerEntry { coordinator_epoch: 7, ..entry(261, 1, 157, T + 4) },
        ]
    }

    #[test]
    fn the_format_is_kafkas() {
        let bytes = encode(of_kafka().into_iter());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, OF_KAFKA.replace(' ', ""));
        assert_eq!(decode(&bytes), Some(of_kafka()));
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = encode(of_kafka().into_iter());
        assert_eq!(decode(&encode([].into_iter())), Some(Vec::new()));
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
