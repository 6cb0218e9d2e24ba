//! Where the records of a send go: the partition of each, and the batches of each partition.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tidings_node::NewRecord;

use super::{Embedded, now_ms};
use crate::limits::{
    BATCH_HEADER_BYTES, BATCH_RECORDS_BYTES_MAX, BATCH_RECORDS_MAX, METADATA_AGE_MAX,
};
use crate::partitioner::Spread;
use crate::producer::encoded_size_max;
use crate::{Error, Position, SentRecord, TopicPartition};

/// A record on its way: its place in the send, and what is written.
pub(super) struct Queued {
    pub(super) index: usize,
    pub(super) record: NewRecord,
    pub(super) size: usize,
}

/// Records by where they go, in the order of the send.
pub(super) type ByPartition = BTreeMap<TopicPartition, Vec<Queued>>;

/// What a producer knows of the topics that it sends to.
#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    topics: HashMap<String, KnownTopic>,
    spread: Spread,
}

#[derive(Debug)]
struct KnownTopic {
    partitions: i32,
    asked: Instant,
    records_bytes_max: usize,
}

impl KnownTopics {
    /// Chooses partitions; refuses the send as a whole when a topic or partition is not there.
    pub(super) async fn place(
        &mut self,
        engine: &Embedded,
        records: Vec<SentRecord>,
    ) -> Result<ByPartition, Error> {
        let now = now_ms();
        let mut queued = ByPartition::new();
        self.spread.next_send();
        for (index, record) in records.into_iter().enumerate() {
            let mut count = self.known(engine, &record.topic).await?.partitions;
            if record.partition.is_some_and(|named| named >= count) {
                // The topic may have grown since.
                self.forget(&record.topic);
                count = self.known(engine, &record.topic).await?.partitions;
            }
            let partition = self.spread.partition(&record, count)?;
            let size = encoded_size_max(&record);
            let SentRecord { topic, key, value, headers, timestamp, .. } = record;
            let headers = headers.into_iter();
            let headers = headers.map(|h| tidings_node::Header { name: h.name, value: h.value });
            let timestamp = timestamp.unwrap_or(now);
            let record = NewRecord { timestamp, key, value, headers: headers.collect() };
            let at = TopicPartition { topic, partition };
            queued.entry(at).or_default().push(Queued { index, record, size });
        }
        Ok(queued)
    }

    async fn known(&mut self, engine: &Embedded, name: &str) -> Result<&KnownTopic, Error> {
        let fresh = self.topics.get(name).is_some_and(|t| t.asked.elapsed() < METADATA_AGE_MAX);
        if !fresh {
            let described = engine.describe(name).await?;
            let partitions = i32::try_from(described.partitions.len()).unwrap_or(i32::MAX);
            if partitions == 0 {
                return Err(Error::UnknownTopic(name.to_owned()));
            }
            let batch_bytes_max = engine.max_message_bytes(name).await?;
            let known = KnownTopic {
                partitions,
                asked: Instant::now(),
                records_bytes_max: records_bytes_max(batch_bytes_max),
            };
            self.topics.insert(name.to_owned(), known);
        }
        self.topics.get(name).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    /// The topic takes no larger batches than this.
    pub(super) fn learn_limit(&mut self, topic: &str, batch_bytes_max: usize) {
        if let Some(known) = self.topics.get_mut(topic) {
            known.records_bytes_max = records_bytes_max(batch_bytes_max);
        }
    }

    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// The n-th round holds the n-th batch of each partition that has as many.
    pub(super) fn rounds(&self, queued: ByPartition) -> Vec<Vec<(TopicPartition, Vec<Queued>)>> {
        rounds(queued, |topic| {
            self.topics.get(topic).map_or(BATCH_RECORDS_BYTES_MAX, |known| known.records_bytes_max)
        })
    }
}

/// The batch begins at this offset.
pub(super) fn mark(
    at: &TopicPartition,
    batch: &[Queued],
    base_offset: i64,
    positions: &mut [Option<Position>],
) {
    for (offset, queued) in (base_offset..).zip(batch) {
        let TopicPartition { topic, partition } = at.clone();
        positions[queued.index] = Some(Position { topic, partition, offset });
    }
}

pub(super) fn rounds(
    queued: ByPartition,
    records_bytes_max: impl Fn(&str) -> usize,
) -> Vec<Vec<(TopicPartition, Vec<Queued>)>> {
    let mut rounds: Vec<Vec<(TopicPartition, Vec<Queued>)>> = Vec::new();
    for (at, records) in queued {
        let limit = records_bytes_max(&at.topic);
        for (round, batch) in batches(records, limit).into_iter().enumerate() {
            if rounds.len() == round {
                rounds.push(Vec::new());
            }
            rounds[round].push((at.clone(), batch));
        }
    }
    rounds
}

/// Bytes of records in a batch that a topic with this `max.message.bytes` takes.
fn records_bytes_max(batch_bytes_max: usize) -> usize {
    batch_bytes_max.saturating_sub(BATCH_HEADER_BYTES).min(BATCH_RECORDS_BYTES_MAX)
}

/// Cuts records into batches of at most `bytes_max`; a larger record goes alone.
fn batches(records: Vec<Queued>, bytes_max: usize) -> Vec<Vec<Queued>> {
    let mut batches: Vec<Vec<Queued>> = Vec::new();
    let mut size = 0;
    for queued in records {
        size += queued.size;
        match batches.last_mut() {
            Some(batch) if size <= bytes_max && batch.len() < BATCH_RECORDS_MAX => {
                batch.push(queued);
            }
            _ => {
                size = queued.size;
                batches.push(vec![queued]);
            }
        }
    }
    batches
}

/// Sequences go from `i32::MAX` to 0.
pub(super) fn sequence_after(sequence: i32, records: usize) -> i32 {
    let records = i64::try_from(records).expect("a batch has at most BATCH_RECORDS_MAX records");
    let after = (i64::from(sequence) + records) & i64::from(i32::MAX);
    i32::try_from(after).expect("masked to 31 bits")
}

#[cfg(test)]
mod tests {
    use tidings_node::encode_batch;

    use super::*;

    fn queued(index: usize, size: usize) -> Queued {
        Queued { index, record: NewRecord::default(), size }
    }

    #[test]
    fn batches_are_cut_below_the_limit_and_keep_their_order() {
        let check = |sizes: &[usize], expected: &[&[usize]]| {
            let records = sizes.iter().enumerate().map(|(index, size)| queued(index, *size));
            let cut: Vec<Vec<usize>> = batches(records.collect(), 10)
                .iter()
                .map(|batch| batch.iter().map(|queued| queued.index).collect())
                .collect();
            assert_eq!(cut, expected, "{sizes:?}");
        };
        check(&[], &[]);
        check(&[4, 6], &[&[0, 1]]);
        check(&[4, 6, 1], &[&[0, 1], &[2]]);
        check(&[4, 30, 1, 9, 1], &[&[0], &[1], &[2, 3], &[4]]);
    }

    #[test]
    fn each_round_has_one_batch_of_a_partition() {
        let at = |partition| TopicPartition { topic: "t".into(), partition };
        let long = (0..3).map(|index| queued(index, 10)).collect();
        let short = vec![queued(3, 10)];
        let rounds = rounds(ByPartition::from([(at(0), long), (at(1), short)]), |_| 10);
        let indexes: Vec<Vec<usize>> = rounds
            .iter()
            .map(|round| {
                round.iter().flat_map(|(_, batch)| batch.iter().map(|q| q.index)).collect()
            })
            .collect();
        assert_eq!(indexes, [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(0, 3), 3);
        assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
    }

    #[test]
    fn the_size_bound_holds() {
        use bytes::Bytes;

        assert_eq!(BATCH_HEADER_BYTES, tidings_node::broker::log::HEADER_BYTES);
        let (key, value) = (Some(Bytes::from_static(b"key")), Some(Bytes::from(vec![0; 1000])));
        let header = ("name".to_owned(), None);
        let sent = SentRecord {
            key: key.clone(),
            value: value.clone(),
            headers: vec![crate::Header { name: header.0.clone().into(), value: header.1.clone() }],
            ..SentRecord::default()
        };
        let headers = vec![tidings_node::Header { name: header.0.into(), value: header.1 }];
        let record = NewRecord { timestamp: i64::MAX, key, value, headers };
        let encoded = encode_batch([&record], None).len() - BATCH_HEADER_BYTES;
        assert!(encoded <= encoded_size_max(&sent), "{encoded}");
    }
}
