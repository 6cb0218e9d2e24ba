//! Control batches that end a transaction: one record, whose key is `version i16 = 0, type i16`
//! (0 abort, 1 commit) and whose value is `version i16 = 0, coordinator epoch i32` (KIP-98).
//!
//! A control batch takes one offset and is never given to users. Control records of other types
//! (Kafka's controllers write some) are no end of a transaction; neither is a control batch whose
//! record compaction has removed.

use bytes::Bytes;

use super::{Batch, BatchBuilder, BatchError};
use crate::NewRecord;

const VERSION: [u8; 2] = [0, 0];
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Abort,
    Commit,
}

/// What a transaction's coordinator writes into each partition when it ends the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    pub ending: Ending,
    /// Epoch of the coordinator that wrote it; an older one is fenced.
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// The control batch that ends the transaction of `producer_id`.
    pub fn batch(self, producer_id: i64, producer_epoch: i16, now_ms: i64) -> Batch {
        let kind = match self.ending {
            Ending::Abort => ABORT,
            Ending::Commit => COMMIT,
        };
        let mut builder =
            BatchBuilder::new().producer(producer_id, producer_epoch, -1).transactional().control();
        builder.push(&NewRecord {
            timestamp: now_ms,
            key: Some(Bytes::from([VERSION, kind.to_be_bytes()].concat())),
            value: Some(Bytes::from(
                [&VERSION[..], &self.coordinator_epoch.to_be_bytes()].concat(),
            )),
            headers: Vec::new(),
        });
        builder.build()
    }

    /// Newer versions may add fields, which are left aside.
    fn read(key: &[u8], value: &[u8]) -> Option<Option<Self>> {
        let (version, key) = key.split_first_chunk()?;
        let kind = i16::from_be_bytes(*key.first_chunk()?);
        if i16::from_be_bytes(*version) < 0 {
            return None;
        }
        let ending = match kind {
            ABORT => Ending::Abort,
            COMMIT => Ending::Commit,
            _ => return Some(None),
        };
        let (version, value) = value.split_first_chunk()?;
        let coordinator_epoch = i32::from_be_bytes(*value.first_chunk()?);
        (i16::from_be_bytes(*version) >= 0).then_some(Some(Self { ending, coordinator_epoch }))
    }
}

impl Batch {
    /// The end of a transaction, if this is the control batch of one.
    pub fn end_marker(&self) -> Result<Option<EndMarker>, BatchError> {
        if !self.header.attributes.control() {
            return Ok(None);
        }
        let records = self.records()?;
        let Some(record) = records.first() else {
            return Ok(None);
        };
        let key = record.key.as_deref().unwrap_or_default();
        let value = record.value.as_deref().unwrap_or_default();
        EndMarker::read(key, value)
            .ok_or_else(|| BatchError::Invalid("the control record is malformed".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those of `MemoryRecords.withEndTransactionMarker` of Kafka 4.2.0.
    #[test]
    fn a_marker_is_what_kafka_writes() {
        let table = [
            (
                EndMarker { ending: Ending::Commit, coordinator_epoch: 258 },
                "0000000000000028 00000042 00000006 02 1921ad26 0030 00000000 0000018bcfe56800 \
                 0000018bcfe56800 0000000000000007 0003 ffffffff 00000001 \
                 20 00 00 00 08 00000001 0c 000000000102 00",
            ),
            (
                EndMarker { ending: Ending::Abort, coordinator_epoch: 0 },
                "0000000000000028 00000042 00000006 02 6f1bd9fe 0030 00000000 0000018bcfe56800 \
                 0000018bcfe56800 0000000000000007 0003 ffffffff 00000001 \
                 20 00 00 00 08 00000000 0c 000000000000 00",
            ),
        ];
        for (marker, of_kafka) in table {
            let (_, bytes) = marker.batch(7, 3, 1_700_000_000_000).placed(40, 6, None);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, of_kafka.replace(' ', ""), "{marker:?}");
            assert_eq!(Batch::parse(Bytes::from(bytes)).unwrap().end_marker(), Ok(Some(marker)));
        }
    }

    #[test]
    fn control_records_are_read_or_refused() {
        let malformed = Err(BatchError::Invalid("the control record is malformed".to_owned()));
        let abort = Ok(Some(EndMarker { ending: Ending::Abort, coordinator_epoch: 5 }));
        type Read = Result<Option<EndMarker>, BatchError>;
        let table: [(&str, &[u8], &[u8], Read); 8] = [
            ("abort", &[0, 0, 0, 0], &[0, 0, 0, 0, 0, 5], abort.clone()),
            ("newer versions", &[0, 1, 0, 0, 9], &[0, 1, 0, 0, 0, 5, 9], abort),
            ("a leader change", &[0, 0, 0, 2], &[], Ok(None)),
            ("no key", &[], &[0, 0, 0, 0, 0, 5], malformed.clone()),
            ("a short key", &[0, 0, 0], &[0, 0, 0, 0, 0, 5], malformed.clone()),
            ("a short value", &[0, 0, 0, 1], &[0, 0, 0, 0, 0], malformed.clone()),
            ("a negative key version", &[0xff, 0xff, 0, 1], &[0, 0, 0, 0, 0, 5], malformed.clone()),
            ("a negative value version", &[0, 0, 0, 1], &[0xff, 0xff, 0, 0, 0, 5], malformed),
        ];
        for (name, key, value, expected) in table {
            let mut builder = BatchBuilder::new().producer(7, 3, -1).transactional().control();
            builder.push(&NewRecord {
                timestamp: 1,
                key: Some(Bytes::copy_from_slice(key)),
                value: Some(Bytes::copy_from_slice(value)),
                headers: Vec::new(),
            });
            assert_eq!(builder.build().end_marker(), expected, "{name}");
        }
    }

    #[test]
    fn a_batch_of_data_ends_nothing() {
        let mut builder = BatchBuilder::new().producer(7, 3, 0).transactional();
        builder.push(&NewRecord { key: Some(Bytes::from_static(&[0; 4])), ..NewRecord::default() });
        assert_eq!(builder.build().end_marker(), Ok(None));
    }
}
