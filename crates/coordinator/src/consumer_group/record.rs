//! What the log keeps of a group of the consumer protocol, in Apache Kafka's records.
//!
//! Each record sets one thing of the group to a value, or takes it away (a tombstone); the last word
//! on each thing is what holds. Keys have the old layout, values the flexible one in version 0.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use crate::reader::{
    Reader, RecordError, put_compact_bytes, put_compact_string, put_count,
    put_optional_compact_string, put_string, put_tagged,
};
use crate::{Partitions, TopicId};

const EPOCH_KEY: i16 = 3;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;
const VALUE_VERSION: i16 = 0;
/// The tagged field of a group's epoch that holds the hash of its topics (KIP-1101).
const METADATA_HASH_TAG: u32 = 0;
/// The tagged field of a member that says how it takes part in the classic protocol.
const CLASSIC_TAG: u32 = 0;

/// One change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    Epoch(Option<GroupEpoch>),
    Member {
        id: String,
        about: Option<AboutMember>,
    },
    /// The group epoch for which the target assignment was made.
    TargetEpoch(Option<i32>),
    Target {
        id: String,
        partitions: Option<Partitions>,
    },
    Current {
        id: String,
        current: Option<CurrentAssignment>,
    },
    /// The topics that a regular expression stands for.
    Regex {
        regex: String,
        resolved: Option<ResolvedRegex>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    pub epoch: i32,
    /// Of the subscribed topics, their ids and numbers of partitions: differs when they have changed.
    pub metadata_hash: i64,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutMember {
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<String>,
    pub regex: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<String>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    pub session_timeout_ms: i32,
    /// Name and metadata, in the member's order of preference.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member has, and how far it is on its way to the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    pub epoch: i32,
    /// The epoch before: the answer that told of the present one may have been lost.
    pub previous_epoch: i32,
    pub state: MemberState,
    /// What the member may use.
    pub assigned: Partitions,
    /// What it must give up, and still owns until it has said so.
    pub revoking: Partitions,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    #[default]
    Stable,
    /// Partitions must be given up first.
    Unrevoked,
    /// Others must give up partitions first.
    Unreleased,
    /// A state of a later version of the format: the member must start over.
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<String>,
    /// Of the topics that were looked at, as Kafka counts; not used here.
    pub version: i64,
    pub timestamp_ms: i64,
}

impl MemberState {
    /// The number that Kafka's records have for it.
    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => i8::MAX,
        }
    }

    fn of(code: i8) -> Self {
        let known = [Self::Stable, Self::Unrevoked, Self::Unreleased];
        known.into_iter().find(|state| state.code() == code).unwrap_or(Self::Unknown)
    }
}

impl ConsumerRecord {
    pub(crate) fn encode(&self, group: &str) -> (Bytes, Option<Bytes>) {
        let (kind, member) = match self {
            Self::Epoch(_) => (EPOCH_KEY, None),
            Self::Member { id, .. } => (MEMBER_KEY, Some(id)),
            Self::TargetEpoch(_) => (TARGET_EPOCH_KEY, None),
            Self::Target { id, .. } => (TARGET_KEY, Some(id)),
            Self::Current { id, .. } => (CURRENT_KEY, Some(id)),
            Self::Regex { regex, .. } => (REGEX_KEY, Some(regex)),
        };
        let mut key = BytesMut::new();
        key.put_i16(kind);
        put_string(&mut key, group);
        if let Some(member) = member {
            put_string(&mut key, member);
        }
        (key.freeze(), self.encode_value())
    }

    fn encode_value(&self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        match self {
            Self::Epoch(value) => value.as_ref()?.encode(&mut out),
            Self::Member { about, .. } => about.as_ref()?.encode(&mut out),
            Self::TargetEpoch(epoch) => {
                out.put_i32((*epoch)?);
                put_tagged(&mut out, &[]);
            }
            Self::Target { partitions, .. } => {
                put_partitions(&mut out, partitions.as_ref()?);
                put_tagged(&mut out, &[]);
            }
            Self::Current { current, .. } => {
                let current = current.as_ref()?;
                out.put_i32(current.epoch);
                out.put_i32(current.previous_epoch);
                out.put_i8(current.state.code());
                put_partitions(&mut out, &current.assigned);
                put_partitions(&mut out, &current.revoking);
                put_tagged(&mut out, &[]);
            }
            Self::Regex { resolved, .. } => {
                let resolved = resolved.as_ref()?;
                put_names(&mut out, &resolved.topics);
                out.put_i64(resolved.version);
                out.put_i64(resolved.timestamp_ms);
                put_tagged(&mut out, &[]);
            }
        }
        Some(out.freeze())
    }

    /// The group and the record of a key of this kind, whose kind has been read already; none for a
    /// kind that is not of groups of consumers, or that is not used any more.
    pub(crate) fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(String, Self)>, RecordError> {
        let mut value = value.map(|bytes| Reader::new(bytes, "record of a consumer group"));
        if let Some(value) = &mut value
            && [EPOCH_KEY, MEMBER_KEY, TARGET_EPOCH_KEY, TARGET_KEY, CURRENT_KEY, REGEX_KEY]
                .contains(&kind)
        {
            value.version(VALUE_VERSION)?;
        }
        let from = value.as_mut();
        let group = |key: &mut Reader<'_>| key.string();
        let record = match kind {
            EPOCH_KEY => (group(key)?, Self::Epoch(from.map(GroupEpoch::decode).transpose()?)),
            MEMBER_KEY => {
                let (group, id) = (key.string()?, key.string()?);
                let about = from.map(AboutMember::decode).transpose()?;
                (group, Self::Member { id, about })
            }
            TARGET_EPOCH_KEY => (
                group(key)?,
                Self::TargetEpoch(from.map(|from| whole(from, |from| from.i32())).transpose()?),
            ),
            TARGET_KEY => {
                let (group, id) = (key.string()?, key.string()?);
                (
                    group,
                    Self::Target {
                        id,
                        partitions: from.map(|from| whole(from, partitions)).transpose()?,
                    },
                )
            }
            CURRENT_KEY => {
                let (group, id) = (key.string()?, key.string()?);
                let current =
                    from.map(|from| whole(from, CurrentAssignment::decode)).transpose()?;
                (group, Self::Current { id, current })
            }
            REGEX_KEY => {
                let (group, regex) = (key.string()?, key.string()?);
                let resolved = from.map(|from| whole(from, ResolvedRegex::decode)).transpose()?;
                (group, Self::Regex { regex, resolved })
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }
}

impl GroupEpoch {
    fn encode(self, out: &mut BytesMut) {
        out.put_i32(self.epoch);
        let mut hash = BytesMut::new();
        hash.put_i64(self.metadata_hash);
        let fields = [(METADATA_HASH_TAG, hash)];
        put_tagged(out, if self.metadata_hash == 0 { &[] } else { &fields });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut read = Self { epoch: from.i32()?, metadata_hash: 0 };
        from.tagged(|tag, field| {
            if tag == METADATA_HASH_TAG {
                read.metadata_hash = field.i64()?;
            }
            Ok(())
        })?;
        Ok(read)
    }
}

impl AboutMember {
    fn encode(&self, out: &mut BytesMut) {
        put_optional_compact_string(out, self.instance_id.as_deref());
        put_optional_compact_string(out, self.rack_id.as_deref());
        put_compact_string(out, &self.client_id);
        put_compact_string(out, &self.client_host);
        put_names(out, &self.topics);
        put_optional_compact_string(out, self.regex.as_deref());
        out.put_i32(self.rebalance_timeout_ms);
        put_optional_compact_string(out, self.assignor.as_deref());
        let classic = self.classic.as_ref().map(|classic| {
            let mut field = BytesMut::new();
            // A struct that may be null is preceded by whether it is.
            field.put_i8(1);
            field.put_i32(classic.session_timeout_ms);
            put_count(&mut field, classic.protocols.len());
            for (name, metadata) in &classic.protocols {
                put_compact_string(&mut field, name);
                put_compact_bytes(&mut field, metadata);
                put_tagged(&mut field, &[]);
            }
            put_tagged(&mut field, &[]);
            (CLASSIC_TAG, field)
        });
        put_tagged(out, classic.as_slice());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut about = Self {
            instance_id: from.optional_compact_string()?,
            rack_id: from.optional_compact_string()?,
            client_id: from.compact_string()?,
            client_host: from.compact_string()?,
            topics: names(from)?,
            regex: from.optional_compact_string()?.filter(|regex| !regex.is_empty()),
            rebalance_timeout_ms: from.i32()?,
            assignor: from.optional_compact_string()?,
            classic: None,
        };
        from.tagged(|tag, field| {
            if tag == CLASSIC_TAG && field.i8()? >= 0 {
                let session_timeout_ms = field.i32()?;
                let protocols = field.compact_list(|protocol| {
                    let offered = (protocol.compact_string()?, protocol.compact_bytes()?);
                    protocol.tagged(|_, _| Ok(()))?;
                    Ok(offered)
                })?;
                about.classic = Some(ClassicMember { session_timeout_ms, protocols });
            }
            Ok(())
        })?;
        Ok(about)
    }
}

impl CurrentAssignment {
    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            epoch: from.i32()?,
            previous_epoch: from.i32()?,
            state: MemberState::of(from.i8()?),
            assigned: partitions(from)?,
            revoking: partitions(from)?,
        })
    }
}

impl ResolvedRegex {
    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self { topics: names(from)?, version: from.i64()?, timestamp_ms: from.i64()? })
    }
}

/// A value and the tagged fields that later versions may have added.
fn whole<T>(
    from: &mut Reader<'_>,
    value: impl Fn(&mut Reader<'_>) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    let value = value(from)?;
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn put_names(out: &mut BytesMut, names: &BTreeSet<String>) {
    put_count(out, names.len());
    names.iter().for_each(|name| put_compact_string(out, name));
}

fn names(from: &mut Reader<'_>) -> Result<BTreeSet<String>, RecordError> {
    Ok(from.compact_list(Reader::compact_string)?.into_iter().collect())
}

fn put_partitions(out: &mut BytesMut, partitions: &Partitions) {
    put_count(out, partitions.by_topic().len());
    for (topic, numbers) in partitions.by_topic() {
        out.put_slice(topic);
        put_count(out, numbers.len());
        numbers.iter().for_each(|number| out.put_i32(*number));
        put_tagged(out, &[]);
    }
}

fn partitions(from: &mut Reader<'_>) -> Result<Partitions, RecordError> {
    let topics = from.compact_list(|topic| {
        let id: TopicId = topic.uuid()?;
        let numbers = topic.compact_list(Reader::i32)?;
        topic.tagged(|_, _| Ok(()))?;
        Ok((id, numbers))
    })?;
    let each = topics.into_iter().flat_map(|(id, all)| all.into_iter().map(move |at| (id, at)));
    Ok(each.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn member_states_have_kafkas_numbers() {
        let table = [
            (MemberState::Stable, 0),
            (MemberState::Unrevoked, 1),
            (MemberState::Unreleased, 2),
            (MemberState::Unknown, 127),
        ];
        for (state, code) in table {
            assert_eq!((state.code(), MemberState::of(code)), (code, state));
        }
        assert_eq!(MemberState::of(3), MemberState::Unknown);
    }

    fn some_of_each() -> Vec<ConsumerRecord> {
        let partitions: Partitions =
            [([7; 16], 0), ([7; 16], 2), ([9; 16], 1)].into_iter().collect();
        let about = AboutMember {
            instance_id: Some("i".into()),
            rack_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: ["a".to_owned(), "b".to_owned()].into(),
            regex: Some("x.*".into()),
            rebalance_timeout_ms: 60_000,
            assignor: Some("range".into()),
            classic: Some(ClassicMember {
                session_timeout_ms: 6_000,
                protocols: vec![("range".into(), Bytes::from_static(b"sub"))],
            }),
        };
        let current = CurrentAssignment {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::Unrevoked,
            assigned: partitions.clone(),
            revoking: Partitions::default(),
        };
        let topics = ["xa".to_owned()].into();
        let id = || "m".to_owned();
        vec![
            ConsumerRecord::Epoch(Some(GroupEpoch { epoch: 3, metadata_hash: -9 })),
            ConsumerRecord::Member { id: id(), about: Some(about) },
            ConsumerRecord::Member { id: id(), about: Some(AboutMember::default()) },
            ConsumerRecord::TargetEpoch(Some(3)),
            ConsumerRecord::Target { id: id(), partitions: Some(partitions) },
            ConsumerRecord::Current { id: id(), current: Some(current) },
            ConsumerRecord::Regex {
                regex: "x.*".into(),
                resolved: Some(ResolvedRegex { topics, version: 2, timestamp_ms: 1 }),
            },
            ConsumerRecord::Epoch(None),
            ConsumerRecord::Member { id: id(), about: None },
            ConsumerRecord::TargetEpoch(None),
            ConsumerRecord::Target { id: id(), partitions: None },
            ConsumerRecord::Current { id: id(), current: None },
            ConsumerRecord::Regex { regex: "x.*".into(), resolved: None },
        ]
    }

    #[test]
    fn every_record_reads_as_it_was_written_and_no_cut_panics() {
        for change in some_of_each() {
            let record = Record::Consumer { group: "g".into(), change };
            let (key, value) = record.encode();
            assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
            for cut in 0..key.len() {
                assert!(Record::decode(&key[..cut], value.as_deref()).is_err(), "key at {cut}");
            }
            for cut in 0..value.as_ref().map_or(0, Bytes::len) {
                let value = value.as_ref().map(|value| &value[..cut]);
                assert!(Record::decode(&key, value).is_err(), "value at {cut}");
            }
        }
    }

    /// ConsumerGroupMetadata, and ConsumerGroupCurrentMemberAssignment.
    #[test]
    fn records_have_kafkas_bytes() {
        let epoch = ConsumerRecord::Epoch(Some(GroupEpoch { epoch: 3, metadata_hash: 1 }));
        let (key, value) = epoch.encode("g");
        assert_eq!(key.as_ref(), b"\0\x03\0\x01g");
        let expected: &[u8] = b"\0\0\0\0\0\x03\x01\0\x08\0\0\0\0\0\0\0\x01";
        assert_eq!(value.as_deref(), Some(expected));
        let current = CurrentAssignment {
            epoch: 2,
            previous_epoch: 1,
            assigned: [([7; 16], 5)].into_iter().collect(),
            ..CurrentAssignment::default()
        };
        let current = ConsumerRecord::Current { id: "m".into(), current: Some(current) };
        let (key, value) = current.encode("g");
        assert_eq!(key.as_ref(), b"\0\x08\0\x01g\0\x01m");
        let mut expected = b"\0\0\0\0\0\x02\0\0\0\x01\0\x02".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(b"\x02\0\0\0\x05\0\x01\0");
        assert_eq!(value.as_deref(), Some(&expected[..]));
    }
}
