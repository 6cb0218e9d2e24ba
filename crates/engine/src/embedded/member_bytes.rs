//! What members of a consumer group tell each other: Kafka's `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment`, written as version 1 and read in any version (later ones only add
//! fields at the end). Foreign clients share groups through these bytes.
//!
//! The bytes come from other clients: lengths are checked against what is left before anything is
//! allocated, and lists against [`MEMBER_LIST_MAX`].

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::TopicPartition;
use crate::limits::MEMBER_LIST_MAX;

const VERSION: i16 = 1;

/// The bytes are not what a consumer writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed group member bytes: {0}")]
pub(super) struct Malformed(&'static str);

/// A subscription to these topics by a member that owns nothing yet.
pub(super) fn encode_subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, topics.len());
    for topic in topics {
        put_name(&mut out, topic);
    }
    out.put_i32(-1);
    out.put_i32(0);
    out.freeze()
}

/// The topics of a subscription.
pub(super) fn decode_subscription(bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut input = Input { rest: bytes };
    input.version()?;
    (0..input.count()?).map(|_| input.name()).collect()
}

/// An assignment, grouped by topic.
pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, topics.len());
    for (topic, partitions) in topics {
        put_name(&mut out, topic);
        put_count(&mut out, partitions.len());
        for partition in partitions {
            out.put_i32(partition);
        }
    }
    out.put_i32(-1);
    out.freeze()
}

/// The partitions of an assignment; no bytes at all is an empty one.
pub(super) fn decode_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, Malformed> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut input = Input { rest: bytes };
    input.version()?;
    let mut partitions = Vec::new();
    for _ in 0..input.count()? {
        let topic = input.name()?;
        for _ in 0..input.count()? {
            let partition = i32::from_be_bytes(input.take()?);
            partitions.push(TopicPartition { topic: topic.clone(), partition });
        }
    }
    Ok(partitions)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("lists of topics and partitions fit an i32"));
}

fn put_name(out: &mut BytesMut, name: &str) {
    out.put_i16(i16::try_from(name.len()).expect("topic names have at most 249 bytes"));
    out.put_slice(name.as_bytes());
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("too short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn version(&mut self) -> Result<(), Malformed> {
        match i16::from_be_bytes(self.take()?) {
            0.. => Ok(()),
            _ => Err(Malformed("negative version")),
        }
    }

    /// Every entry takes at least two bytes, so a count that the rest cannot hold is refused here.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = i32::from_be_bytes(self.take()?);
        let count = usize::try_from(count).map_err(|_| Malformed("negative count"))?;
        if count > MEMBER_LIST_MAX || count > self.rest.len() / 2 {
            return Err(Malformed("count larger than what follows"));
        }
        Ok(count)
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let length = i16::from_be_bytes(self.take()?);
        let length = usize::try_from(length).map_err(|_| Malformed("negative length"))?;
        let (name, rest) = self.rest.split_at_checked(length).ok_or(Malformed("too short"))?;
        self.rest = rest;
        let name = std::str::from_utf8(name).map_err(|_| Malformed("name is not UTF-8"))?;
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.to_owned(), partition }
    }

    #[test]
    fn subscriptions_are_written_as_kafka_does() {
        let bytes = encode_subscription(&["t".to_owned(), "up".to_owned()]);
        let expected: &[u8] = b"\0\x01\0\0\0\x02\0\x01t\0\x02up\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(bytes, expected);
        assert_eq!(decode_subscription(&bytes).unwrap(), ["t", "up"]);
    }

    #[test]
    fn assignments_are_written_as_kafka_does() {
        let bytes = encode_assignment(&[at("t", 0), at("u", 7), at("t", 2)]);
        let expected: &[u8] = b"\0\x01\0\0\0\x02\
            \0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x02\
            \0\x01u\0\0\0\x01\0\0\0\x07\
            \xff\xff\xff\xff";
        assert_eq!(bytes, expected);
        assert_eq!(decode_assignment(&bytes).unwrap(), [at("t", 0), at("t", 2), at("u", 7)]);
        assert_eq!(decode_assignment(b"").unwrap(), []);
    }

    #[test]
    fn later_versions_only_add_at_the_end() {
        // Version 3 of a subscription: owned partitions, generation, rack.
        let bytes = b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\xff\xff";
        assert_eq!(decode_subscription(bytes).unwrap(), ["t"]);
    }

    #[test]
    fn foreign_bytes_never_panic_or_promise_more_than_they_hold() {
        let whole = encode_assignment(&[at("topic", 1), at("other", 2)]);
        for cut in 1..whole.len() - 4 {
            assert!(decode_assignment(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bytes in [
            b"\0\x01\x7f\xff\xff\xff".as_slice(),
            b"\0\x01\xff\xff\xff\xff",
            b"\xff\xff\0\0\0\0",
            b"\0\x01\0\0\0\x01\xff\xff",
            b"\0\x01\0\0\0\x01\0\x01\xff",
        ] {
            assert!(decode_assignment(bytes).is_err(), "{bytes:?}");
            assert!(decode_subscription(bytes).is_err(), "{bytes:?}");
        }
    }
}
