//! The consumer's embedded protocol: what consumers say inside a classic group's opaque metadata and
//! assignments. Read for the topics a group subscribes to, and to move members between the protocols.
//!
//! Subscriptions are read in versions 0 to 3, later ones as version 3 (fields are only ever added);
//! assignments are written in the version of the member's subscription. No input panics.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use crate::reader::{Reader, RecordError, put_string};
use crate::{Partitions, Topics};

/// The protocol type of groups of consumers.
pub(crate) const CONSUMER: &str = "consumer";
const ASSIGNMENT_VERSION_MAX: i16 = 3;

/// What a consumer says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) version: i16,
    pub(crate) topics: Vec<String>,
    pub(crate) owned: Vec<(String, Vec<i32>)>,
    pub(crate) rack_id: Option<String>,
}

/// What a consumer is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) partitions: Vec<(String, Vec<i32>)>,
    pub(crate) has_user_data: bool,
}

impl Subscription {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Reader::new(bytes, "subscription");
        let version = from.i16()?.max(0);
        let topics = from.list(Reader::string)?;
        from.optional_bytes()?;
        let owned = if version >= 1 { from.list(topic_partitions)? } else { Vec::new() };
        if version >= 2 {
            from.i32()?;
        }
        let rack_id = if version >= 3 { from.optional_string()? } else { None };
        Ok(Self { version, topics, owned, rack_id })
    }

    #[cfg(test)]
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(self.version);
        put_count(&mut out, self.topics.len());
        self.topics.iter().for_each(|topic| put_string(&mut out, topic));
        out.put_i32(-1);
        if self.version >= 1 {
            put_topics(&mut out, self.owned.iter().map(|(t, p)| (t.as_str(), p.iter().copied())));
        }
        if self.version >= 2 {
            out.put_i32(-1);
        }
        if self.version >= 3 {
            crate::reader::put_optional_string(&mut out, self.rack_id.as_deref());
        }
        out.freeze()
    }
}

/// The topics that a consumer subscribes to.
pub(crate) fn subscribed_topics(subscription: &[u8]) -> Result<Vec<String>, RecordError> {
    let mut from = Reader::new(subscription, "subscription");
    from.i16()?;
    from.list(Reader::string)
}

impl Assignment {
    /// No bytes are no partitions.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut from = Reader::new(bytes, "assignment");
        from.i16()?;
        let partitions = from.list(topic_partitions)?;
        let has_user_data = from.optional_bytes()?.is_some_and(|data| !data.is_empty());
        Ok(Self { partitions, has_user_data })
    }
}

/// An assignment in the layout of this version of the protocol; topics that are gone are left out.
pub(crate) fn encode_assignment(partitions: &Partitions, topics: &Topics, version: i16) -> Bytes {
    let named = |(id, numbers)| Some((topics.name_of(id)?.to_owned(), numbers));
    let named: BTreeMap<String, &BTreeSet<i32>> = partitions.by_topic().filter_map(named).collect();
    let mut out = BytesMut::new();
    out.put_i16(version.clamp(0, ASSIGNMENT_VERSION_MAX));
    put_topics(&mut out, named.iter().map(|(topic, all)| (topic.as_str(), all.iter().copied())));
    out.put_i32(-1);
    out.freeze()
}

/// By id; topics that are gone are left out.
pub(crate) fn by_id(named: &[(String, Vec<i32>)], topics: &Topics) -> Partitions {
    let mut partitions = Partitions::default();
    for (topic, numbers) in named {
        if let Some(facts) = topics.facts(topic) {
            partitions.extend(numbers.iter().map(|number| (facts.id, *number)));
        }
    }
    partitions
}

fn topic_partitions(from: &mut Reader<'_>) -> Result<(String, Vec<i32>), RecordError> {
    Ok((from.string()?, from.list(Reader::i32)?))
}

fn put_topics<'a, P>(out: &mut BytesMut, topics: impl ExactSizeIterator<Item = (&'a str, P)>)
where
    P: ExactSizeIterator<Item = i32>,
{
    put_count(out, topics.len());
    for (topic, partitions) in topics {
        put_string(out, topic);
        put_count(out, partitions.len());
        partitions.for_each(|partition| out.put_i32(partition));
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("topics and partitions are limited"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicFacts;

    #[test]
    fn every_version_of_a_subscription_reads_as_it_was_written_and_no_cut_panics() {
        for version in 0..=3 {
            let said = Subscription {
                version,
                topics: vec!["a".into(), "b".into()],
                owned: if version >= 1 { vec![("a".into(), vec![0, 2])] } else { Vec::new() },
                rack_id: (version >= 3).then(|| "r".into()),
            };
            let bytes = said.encode();
            assert_eq!(Subscription::decode(&bytes), Ok(said));
            for cut in 0..bytes.len() {
                assert!(Subscription::decode(&bytes[..cut]).is_err(), "v{version} cut at {cut}");
            }
        }
    }

    /// ConsumerProtocolAssignment version 1.
    #[test]
    fn an_assignment_has_kafkas_bytes() {
        let mut topics = Topics::default();
        topics.put("to", TopicFacts { id: [7; 16], partitions: 3 });
        let partitions: Partitions =
            [([7; 16], 0), ([7; 16], 2), ([9; 16], 1)].into_iter().collect();
        let bytes = encode_assignment(&partitions, &topics, 1);
        let expected: &[u8] =
            b"\0\x01\0\0\0\x01\0\x02to\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff";
        assert_eq!(&bytes[..], expected, "a topic that is gone is left out");
        let read = Assignment::decode(&bytes).unwrap();
        let named = vec![("to".to_owned(), vec![0, 2])];
        assert_eq!(read, Assignment { partitions: named.clone(), has_user_data: false });
        let there: Partitions = [([7; 16], 0), ([7; 16], 2)].into_iter().collect();
        assert_eq!(by_id(&named, &topics), there);
        assert_eq!(Assignment::decode(b""), Ok(Assignment::default()));
    }
}
