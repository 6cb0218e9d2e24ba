//! Records of `__consumer_offsets` in Apache Kafka's own formats, so that its tools decode them.
//!
//! Written: offset commits (key version 1, value version 3), classic group metadata (key version 2,
//! value version 3) and what groups of the consumer protocol keep (see [`ConsumerRecord`]); a
//! tombstone is a key without a value. Keys of other kinds, which a Kafka broker may have written, are
//! passed over; a known key with a value of another version is an error.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ConsumerRecord;
use crate::reader::{Reader, RecordError, put_bytes, put_optional_string, put_string};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const GROUP_VALUE: i16 = 3;

/// One change of what a group keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A committed offset, or that there is none any more.
    Offset { group: String, topic: String, partition: i32, committed: Option<Committed> },
    /// A generation of a group, or that the group is gone.
    Group { group: String, snapshot: Option<GroupSnapshot> },
    /// A change of a group of the consumer protocol.
    Consumer { group: String, change: ConsumerRecord },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    /// -1 when the client did not say.
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_timestamp_ms: i64,
}

/// A group at the moment its generation was settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSnapshot {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub state_timestamp_ms: i64,
    pub members: Vec<MemberSnapshot>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSnapshot {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl Record {
    /// Key and value as they go to the log; no value is a tombstone.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let mut key = BytesMut::new();
        match self {
            Self::Offset { group, topic, partition, committed } => {
                key.put_i16(OFFSET_KEY);
                put_string(&mut key, group);
                put_string(&mut key, topic);
                key.put_i32(*partition);
                (key.freeze(), committed.as_ref().map(Committed::encode))
            }
            Self::Group { group, snapshot } => {
                key.put_i16(GROUP_KEY);
                put_string(&mut key, group);
                (key.freeze(), snapshot.as_ref().map(GroupSnapshot::encode))
            }
            Self::Consumer { group, change } => change.encode(group),
        }
    }

    /// The record, or none when the key is of a kind that is not used here.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let mut key = Reader::new(key, "record key");
        match key.i16()? {
            0 | OFFSET_KEY => Ok(Some(Self::Offset {
                group: key.string()?,
                topic: key.string()?,
                partition: key.i32()?,
                committed: value.map(Committed::decode).transpose()?,
            })),
            GROUP_KEY => Ok(Some(Self::Group {
                group: key.string()?,
                snapshot: value.map(GroupSnapshot::decode).transpose()?,
            })),
            kind => {
                let decoded = ConsumerRecord::decode(kind, &mut key, value)?;
                Ok(decoded.map(|(group, change)| Self::Consumer { group, change }))
            }
        }
    }
}

impl Committed {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(OFFSET_VALUE);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_string(&mut out, &self.metadata);
        out.put_i64(self.commit_timestamp_ms);
        out.freeze()
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Reader::new(bytes, "offset commit");
        from.version(OFFSET_VALUE)?;
        Ok(Self {
            offset: from.i64()?,
            leader_epoch: from.i32()?,
            metadata: from.string()?,
            commit_timestamp_ms: from.i64()?,
        })
    }
}

impl GroupSnapshot {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VALUE);
        put_string(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_optional_string(&mut out, self.protocol.as_deref());
        put_optional_string(&mut out, self.leader.as_deref());
        out.put_i64(self.state_timestamp_ms);
        out.put_i32(i32::try_from(self.members.len()).expect("members are limited"));
        for member in &self.members {
            put_string(&mut out, &member.member_id);
            put_optional_string(&mut out, member.instance_id.as_deref());
            put_string(&mut out, &member.client_id);
            put_string(&mut out, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Reader::new(bytes, "group metadata");
        from.version(GROUP_VALUE)?;
        let mut group = Self {
            protocol_type: from.string()?,
            generation: from.i32()?,
            protocol: from.optional_string()?,
            leader: from.optional_string()?,
            state_timestamp_ms: from.i64()?,
            members: Vec::new(),
        };
        for _ in 0..from.i32()? {
            group.members.push(MemberSnapshot {
                member_id: from.string()?,
                instance_id: from.optional_string()?,
                client_id: from.string()?,
                client_host: from.string()?,
                rebalance_timeout_ms: from.i32()?,
                session_timeout_ms: from.i32()?,
                subscription: from.bytes()?,
                assignment: from.bytes()?,
            });
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layouts are Kafka's: OffsetCommitKey v1 and OffsetCommitValue v3.
    #[test]
    fn an_offset_commit_has_kafkas_bytes() {
        let record = Record::Offset {
            group: "g".into(),
            topic: "to".into(),
            partition: 7,
            committed: Some(Committed {
                offset: 5,
                leader_epoch: -1,
                metadata: "m".into(),
                commit_timestamp_ms: 9,
            }),
        };
        let (key, value) = record.encode();
        assert_eq!(key.as_ref(), b"\x00\x01\x00\x01g\x00\x02to\x00\x00\x00\x07");
        assert_eq!(
            value.as_deref(),
            Some(
                b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\xff\xff\xff\xff\x00\x01m\
                  \x00\x00\x00\x00\x00\x00\x00\x09"
                    .as_slice()
            )
        );
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    }

    fn snapshot() -> GroupSnapshot {
        GroupSnapshot {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: None,
            state_timestamp_ms: 1,
            members: vec![MemberSnapshot {
                member_id: "a-1".into(),
                instance_id: Some("a".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout_ms: 60_000,
                session_timeout_ms: 6_000,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"as"),
            }],
        }
    }

    /// GroupMetadataKey v2 and GroupMetadataValue v3.
    #[test]
    fn a_group_has_kafkas_bytes() {
        let record = Record::Group { group: "g".into(), snapshot: Some(snapshot()) };
        let (key, value) = record.encode();
        assert_eq!(key.as_ref(), b"\x00\x02\x00\x01g");
        let expected: &[u8] = b"\x00\x03\x00\x08consumer\x00\x00\x00\x03\x00\x05range\xff\xff\
            \x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x03a-1\x00\x01a\x00\x01c\
            \x00\x0a/127.0.0.1\x00\x00\xea\x60\x00\x00\x17\x70\x00\x00\x00\x03sub\x00\x00\x00\x02as";
        assert_eq!(value.as_deref(), Some(expected));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn a_key_without_a_value_is_a_tombstone() {
        let gone = Record::Group { group: "g".into(), snapshot: None };
        let (key, value) = gone.encode();
        assert_eq!(value, None);
        assert_eq!(Record::decode(&key, None), Ok(Some(gone)));
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        assert_eq!(Record::decode(b"\x00\x63whatever", Some(b"x")), Ok(None));
    }

    #[test]
    fn every_cut_of_a_record_is_an_error_and_never_a_panic() {
        let (key, value) = Record::Group { group: "g".into(), snapshot: Some(snapshot()) }.encode();
        let value = value.unwrap();
        for cut in 0..key.len() {
            assert!(Record::decode(&key[..cut], Some(&value)).is_err(), "key cut at {cut}");
        }
        for cut in 0..value.len() {
            assert!(Record::decode(&key, Some(&value[..cut])).is_err(), "value cut at {cut}");
        }
        let newer = b"\x00\x04";
        assert_eq!(
            Record::decode(&key, Some(newer)),
            Err(RecordError::Version { what: "group metadata", version: 4 })
        );
    }
}
