//! Which partition a key goes to: murmur2 as in Kafka's `DefaultPartitioner`, so that producers of
//! every client agree.

use std::collections::HashMap;

use crate::{Error, SentRecord};

/// The partition of `key` among `count`, which is at least 1, as every Kafka client chooses it.
pub fn partition_of(key: &[u8], count: i32) -> i32 {
    // Kafka's `toPositive` clears the sign bit; it does not take the absolute value.
    (murmur2(key) & 0x7fff_ffff) % count
}

/// The partitions of keyless records: those of one send go to one partition of a topic, those of the
/// next send to the next.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    topics: HashMap<String, Keyless>,
    send: u64,
}

#[derive(Debug)]
struct Keyless {
    partition: i32,
    /// The send that has it.
    send: u64,
}

impl Spread {
    pub(crate) fn next_send(&mut self) {
        self.send += 1;
    }

    /// Where the record goes in a topic of so many partitions.
    pub(crate) fn partition(&mut self, record: &SentRecord, count: i32) -> Result<i32, Error> {
        let topic = &record.topic;
        match (record.partition, &record.key) {
            (Some(named), _) if (0..count).contains(&named) => Ok(named),
            (Some(named), _) => Err(Error::UnknownTopic(format!("{topic}-{named}"))),
            (None, Some(key)) => Ok(partition_of(key, count)),
            (None, None) => Ok(self.keyless(topic, count)),
        }
    }

    fn keyless(&mut self, topic: &str, count: i32) -> i32 {
        match self.topics.get_mut(topic) {
            Some(last) => {
                if last.send != self.send {
                    *last = Keyless { partition: last.partition + 1, send: self.send };
                }
                last.partition %= count;
                last.partition
            }
            None => {
                let first = Keyless { partition: 0, send: self.send };
                self.topics.insert(topic.to_owned(), first);
                0
            }
        }
    }
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka's arrays are no longer than `i32::MAX`, and neither are a batch's keys.
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest`.
    #[test]
    fn hashes_are_kafkas() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn partitions_come_from_the_positive_hash() {
        assert_eq!(partition_of(b"abc", 10), 479_470_107 % 10);
        assert_eq!(partition_of(b"21", 10), (-973_932_308 & 0x7fff_ffff) % 10);
        assert_eq!(partition_of(b"", 1), 0);
    }
}
