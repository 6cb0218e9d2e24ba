//! Records of `__transaction_state` in Apache Kafka's own format, so that its tools decode them:
//! TransactionLogKey version 0, TransactionLogValue version 1 (flexible). Values of version 0 are read.
//!
//! One tagged field is our own, [`LAST_EPOCH`]: with it a repeated InitProducerId has the same answer
//! after a restart too. Kafka passes over tags that it does not know.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    NO_EPOCH, NONE, Transaction, TransactionPartitions, TransactionState, TransactionVersion,
};
use crate::RecordError;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;

const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;
/// Far from the numbers that Kafka counts up.
const LAST_EPOCH: u32 = 10_000;

/// What Kafka writes for [`TransactionVersion::Two`]; it writes 0 for the others.
const VERSION_TWO: i16 = 2;

/// What is kept of a transactional id, or that there is nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    pub transactional_id: String,
    pub transaction: Option<Transaction>,
}

impl TransactionRecord {
    pub(super) fn new(transactional_id: String, transaction: Transaction) -> Self {
        Self { transactional_id, transaction: Some(transaction) }
    }

    pub(super) fn forgets(transactional_id: String) -> Self {
        Self { transactional_id, transaction: None }
    }

    /// Whether the record makes use of this producer id.
    pub fn uses(&self, producer_id: i64) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| {
            transaction.producer_id == producer_id || transaction.next_producer_id == producer_id
        })
    }

    /// Key and value as they go to the log; no value is a tombstone.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let mut key = BytesMut::new();
        key.put_i16(KEY_VERSION);
        let length = i16::try_from(self.transactional_id.len());
        key.put_i16(length.expect("ids are limited to NAME_BYTES_MAX"));
        key.put_slice(self.transactional_id.as_bytes());
        (key.freeze(), self.transaction.as_ref().map(Transaction::encode))
    }

    /// The record, or none when the key is of a kind that is not known.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let mut key = Fields { rest: key, what: "transaction key" };
        if key.i16()? != KEY_VERSION {
            return Ok(None);
        }
        let length = usize::try_from(key.i16()?);
        let length = length.map_err(|_| RecordError::Invalid { what: key.what })?;
        Ok(Some(Self {
            transactional_id: key.text(length)?,
            transaction: value.map(Transaction::decode).transpose()?,
        }))
    }
}

impl TransactionState {
    fn code(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }
}

impl Transaction {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        out.put_i64(self.producer_id);
        out.put_i16(self.epoch);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.state.code());
        if self.state == TransactionState::Empty {
            put_varint(&mut out, 0);
        } else {
            put_length(&mut out, self.partitions.len());
            for (topic, partitions) in &self.partitions {
                put_length(&mut out, topic.len());
                out.put_slice(topic.as_bytes());
                put_length(&mut out, partitions.len());
                partitions.iter().for_each(|partition| out.put_i32(*partition));
                put_varint(&mut out, 0);
            }
        }
        out.put_i64(self.updated_ms);
        out.put_i64(self.started_ms);
        self.put_tags(&mut out);
        out.freeze()
    }

    /// Only what differs from its default.
    fn put_tags(&self, out: &mut BytesMut) {
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        if self.previous_producer_id != NONE {
            tags.push((PREVIOUS_PRODUCER_ID, self.previous_producer_id.to_be_bytes().to_vec()));
        }
        if self.next_producer_id != NONE {
            tags.push((NEXT_PRODUCER_ID, self.next_producer_id.to_be_bytes().to_vec()));
        }
        if self.version == TransactionVersion::Two {
            tags.push((CLIENT_VERSION, VERSION_TWO.to_be_bytes().to_vec()));
        }
        if self.last_epoch != NO_EPOCH {
            tags.push((LAST_EPOCH, self.last_epoch.to_be_bytes().to_vec()));
        }
        put_varint(out, tags.len() as u32);
        for (tag, bytes) in tags {
            put_varint(out, tag);
            put_varint(out, bytes.len() as u32);
            out.put_slice(&bytes);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Fields { rest: bytes, what: "transaction" };
        let version = from.i16()?;
        let flexible = match version {
            0 => false,
            VALUE_VERSION => true,
            _ => return Err(RecordError::Version { what: from.what, version }),
        };
        let mut transaction = Self {
            producer_id: from.i64()?,
            previous_producer_id: NONE,
            next_producer_id: NONE,
            epoch: from.i16()?,
            last_epoch: NO_EPOCH,
            timeout_ms: from.i32()?,
            state: from.state()?,
            partitions: from.partitions(flexible)?,
            updated_ms: from.i64()?,
            started_ms: from.i64()?,
            version: TransactionVersion::One,
        };
        if flexible {
            from.tags(|tag, field| {
                match tag {
                    PREVIOUS_PRODUCER_ID => transaction.previous_producer_id = field.i64()?,
                    NEXT_PRODUCER_ID => transaction.next_producer_id = field.i64()?,
                    LAST_EPOCH => transaction.last_epoch = field.i16()?,
                    CLIENT_VERSION if field.i16()? >= VERSION_TWO => {
                        transaction.version = TransactionVersion::Two;
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(transaction)
    }
}

/// A compact length: one more than there are, as zero is null.
fn put_length(out: &mut BytesMut, length: usize) {
    put_varint(out, u32::try_from(length + 1).expect("partitions are limited"));
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Reads fields from the front; every length is checked against what remains.
struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    fn take(&mut self, need: usize) -> Result<&'a [u8], RecordError> {
        let Some((front, rest)) = self.rest.split_at_checked(need) else {
            return Err(RecordError::Short { what: self.what, need, have: self.rest.len() });
        };
        self.rest = rest;
        Ok(front)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(self.take(2)?.get_i16())
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(self.take(4)?.get_i32())
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(self.take(8)?.get_i64())
    }

    fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?.get_u8();
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.invalid())
    }

    fn text(&mut self, length: usize) -> Result<String, RecordError> {
        let invalid = self.invalid();
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| invalid)
    }

    fn state(&mut self) -> Result<TransactionState, RecordError> {
        let code = self.take(1)?.get_i8();
        let state = TransactionState::ALL.into_iter().find(|state| state.code() == code);
        state.ok_or(self.invalid())
    }

    /// A length, or none for null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, RecordError> {
        let length = match flexible {
            true => i64::from(self.varint()?) - 1,
            false => i64::from(self.i32()?),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| self.invalid()),
        }
    }

    fn partitions(&mut self, flexible: bool) -> Result<TransactionPartitions, RecordError> {
        let mut partitions = TransactionPartitions::new();
        for _ in 0..self.length(flexible)?.unwrap_or(0) {
            let length = match flexible {
                true => self.length(true)?,
                false => usize::try_from(self.i16()?).ok(),
            };
            let length = length.ok_or(self.invalid())?;
            let topic = self.text(length)?;
            let of_topic = partitions.entry(topic).or_default();
            for _ in 0..self.length(flexible)?.ok_or(self.invalid())? {
                of_topic.insert(self.i32()?);
            }
            if flexible {
                self.tags(|_, _| Ok(()))?;
            }
        }
        Ok(partitions)
    }

    fn tags(
        &mut self,
        mut take: impl FnMut(u32, &mut Self) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = usize::try_from(self.varint()?).map_err(|_| self.invalid())?;
            let mut field = Fields { rest: self.take(length)?, what: self.what };
            take(tag, &mut field)?;
        }
        Ok(())
    }

    fn invalid(&self) -> RecordError {
        RecordError::Invalid { what: self.what }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ongoing() -> Transaction {
        Transaction {
            producer_id: 7,
            previous_producer_id: 7,
            next_producer_id: NONE,
            epoch: 3,
            last_epoch: NO_EPOCH,
            timeout_ms: 60_000,
            state: TransactionState::Ongoing,
            partitions: [("to".to_owned(), BTreeSet::from([0, 5]))].into(),
            updated_ms: 9,
            started_ms: 8,
            version: TransactionVersion::Two,
        }
    }

    /// TransactionLogKey v0 and TransactionLogValue v1.
    #[test]
    fn a_transaction_has_kafkas_bytes() {
        let record = TransactionRecord::new("id".to_owned(), ongoing());
        let (key, value) = record.encode();
        assert_eq!(key.as_ref(), b"\x00\x00\x00\x02id");
        let expected: &[u8] =
            b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00\x00\xea\x60\x01\
            \x02\x03to\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\
            \x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x08\
            \x02\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07\x02\x02\x00\x02";
        assert_eq!(value.as_deref(), Some(expected));
        assert_eq!(TransactionRecord::decode(&key, value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn every_state_and_tag_comes_back() {
        for state in TransactionState::ALL {
            let partitions = match state {
                TransactionState::Empty => TransactionPartitions::new(),
                _ => ongoing().partitions,
            };
            for (next_producer_id, last_epoch) in [(NONE, NO_EPOCH), (8, 32_766)] {
                let transaction = Transaction {
                    state,
                    partitions: partitions.clone(),
                    next_producer_id,
                    last_epoch,
                    ..ongoing()
                };
                let record = TransactionRecord::new("id".to_owned(), transaction);
                let (key, value) = record.encode();
                assert_eq!(TransactionRecord::decode(&key, value.as_deref()), Ok(Some(record)));
            }
        }
    }

    #[test]
    fn version_0_and_unknown_tags_are_read() {
        let key = b"\x00\x00\x00\x02id";
        let old = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00\x00\xea\x60\x01\
            \x00\x00\x00\x01\x00\x02to\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\
            \x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x08";
        let read = TransactionRecord::decode(key, Some(old)).unwrap().unwrap().transaction;
        let expected = Transaction {
            previous_producer_id: NONE,
            version: TransactionVersion::One,
            ..ongoing()
        };
        assert_eq!(read, Some(expected));
        let null = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00\x00\xea\x60\x00\
            \xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x09\xff\xff\xff\xff\xff\xff\xff\xff";
        let read = TransactionRecord::decode(key, Some(null)).unwrap().unwrap().transaction;
        assert_eq!(read.map(|t| (t.state, t.started_ms)), Some((TransactionState::Empty, NONE)));

        let (_, value) = TransactionRecord::new("id".to_owned(), ongoing()).encode();
        let mut value = value.unwrap().to_vec();
        let tags = value.len() - 15;
        assert_eq!(value[tags], 2);
        value[tags] = 3;
        value.extend_from_slice(b"\x09\x01x");
        let read = TransactionRecord::decode(key, Some(&value)).unwrap().unwrap().transaction;
        assert_eq!(read, Some(ongoing()));
    }

    #[test]
    fn a_key_without_a_value_forgets_the_id() {
        let gone = TransactionRecord::forgets("id".to_owned());
        let (key, value) = gone.encode();
        assert_eq!(value, None);
        assert_eq!(TransactionRecord::decode(&key, None), Ok(Some(gone)));
        assert_eq!(TransactionRecord::decode(b"\x00\x01x", None), Ok(None));
    }

    #[test]
    fn every_cut_of_a_record_is_an_error_and_never_a_panic() {
        let (key, value) = TransactionRecord::new("id".to_owned(), ongoing()).encode();
        let value = value.unwrap();
        for cut in 0..key.len() {
            assert!(TransactionRecord::decode(&key[..cut], Some(&value)).is_err(), "key at {cut}");
        }
        for cut in 0..value.len() {
            assert!(TransactionRecord::decode(&key, Some(&value[..cut])).is_err(), "at {cut}");
        }
        assert_eq!(
            TransactionRecord::decode(&key, Some(b"\x00\x02")),
            Err(RecordError::Version { what: "transaction", version: 2 })
        );
        let mut huge = value.to_vec();
        huge.splice(17..18, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert!(TransactionRecord::decode(&key, Some(&huge)).is_err(), "a length of 2^32");
    }
}
