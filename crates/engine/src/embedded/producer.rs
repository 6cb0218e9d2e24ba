//! The idempotent producer.
//!
//! Invariants: sequences of a partition are handed out and its batches submitted under one lock, so
//! they reach the log in sequence; the lock is not held while the disk is waited for, so concurrent
//! senders share group commits. A batch is sent again only when the broker has said that it did not
//! append it; after such a refusal the sequences handed out since are void, and the producer takes a
//! new identity whose sequences begin at 0. A log takes any sequence of an identity that it does not
//! know, so a partition's second batch is not submitted before its first one under the identity is
//! acknowledged: were the first refused, the second would get ahead of it.
//!
//! One send does, until every record is placed or one cannot be:
//! 1. choose each record's partition, once;
//! 2. cut each partition's records into batches below the limit;
//! 3. under the lock: take sequences, submit round by round (the n-th batch of each partition);
//! 4. wait for the answers; what was refused for its sequence, or for being too large, and what had
//!    to wait for the first batch, goes to 2.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidings_node::broker::{
    Acks, InitProducer, Produce, ProducePartition, ProduceRefused, Produced, ProducerIdentity,
    TopicName,
};
use tidings_node::{Answer, NewRecord, encode_batch};
use tokio::sync::Mutex;

use super::{Embedded, now_ms, partitioner, refusals};
use crate::limits::{
    BATCH_HEADER_BYTES, BATCH_RECORDS_BYTES_MAX, BATCH_RECORDS_MAX, METADATA_AGE_MAX,
    SEND_ATTEMPTS_MAX,
};
use crate::{Error, Position, SentRecord, TopicPartition};

#[derive(Clone, Debug)]
pub(crate) struct EmbeddedProducer {
    engine: Embedded,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// None when the last one's sequences are void.
    identity: Option<ProducerIdentity>,
    /// The next sequence of each partition under this identity.
    sequences: HashMap<TopicPartition, i32>,
    /// Partitions whose log knows this identity.
    acquainted: HashSet<TopicPartition>,
    topics: HashMap<String, KnownTopic>,
}

#[derive(Debug)]
struct KnownTopic {
    partitions: i32,
    asked: Instant,
    /// Keyless records of one send go to one partition, those of the next send to the next.
    keyless: i32,
    records_bytes_max: usize,
}

/// A record on its way: its place in the send, and what is written.
struct Queued {
    index: usize,
    record: NewRecord,
    size: usize,
}

/// A batch that is out.
struct Flight {
    at: TopicPartition,
    batch: Vec<Queued>,
    identity: ProducerIdentity,
    /// The partition's log did not know the identity when this was submitted.
    is_first: bool,
}

/// What one pass has submitted, with the answers to come, and what waits for them.
#[derive(Default)]
struct Submitted {
    answers: Vec<(Vec<Flight>, Answer<Produce>)>,
    later: ByPartition,
}

/// Records by where they go, in the order of the send.
type ByPartition = BTreeMap<TopicPartition, Vec<Queued>>;

impl EmbeddedProducer {
    pub(crate) async fn open(engine: &Embedded) -> Result<Self, Error> {
        let identity = new_identity(engine).await?;
        let state = State {
            identity: Some(identity),
            sequences: HashMap::new(),
            acquainted: HashSet::new(),
            topics: HashMap::new(),
        };
        Ok(Self { engine: engine.clone(), state: Arc::new(Mutex::new(state)) })
    }

    pub(crate) async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        let mut positions: Vec<Option<Position>> = vec![None; records.len()];
        let mut queued = self.place(records).await?;
        let mut refusals = 0;
        while refusals < SEND_ATTEMPTS_MAX {
            let Submitted { answers, later } = self.submit(queued).await?;
            queued = self.land(answers, &mut positions).await?;
            refusals += u32::from(!queued.is_empty());
            for (at, mut batch) in later {
                queued.entry(at).or_default().append(&mut batch);
            }
            if queued.is_empty() {
                let placed = positions.into_iter().map(|position| {
                    position.expect("every record is queued, placed, or the send has failed")
                });
                return Ok(placed.collect());
            }
        }
        let at = queued.keys().next().map(ToString::to_string).unwrap_or_default();
        Err(Error::Unavailable(format!("{at}: refused {SEND_ATTEMPTS_MAX} times in a row")))
    }

    /// Chooses partitions; refuses the send as a whole when a topic or partition is not there.
    async fn place(&self, records: Vec<SentRecord>) -> Result<ByPartition, Error> {
        let now = now_ms();
        let mut state = self.state.lock().await;
        let mut keyless: HashMap<String, i32> = HashMap::new();
        let mut queued = ByPartition::new();
        for (index, record) in records.into_iter().enumerate() {
            let SentRecord { topic, partition, key, value, headers, timestamp } = record;
            let known = state.topic(&self.engine, &topic).await?;
            let partition = match (partition, &key) {
                (Some(named), _) if (0..known.partitions).contains(&named) => named,
                (Some(named), _) => return Err(Error::UnknownTopic(format!("{topic}-{named}"))),
                (None, Some(key)) => partitioner::partition_of(key, known.partitions),
                (None, None) => match keyless.get(&topic) {
                    Some(partition) => *partition,
                    None => {
                        let partition = known.next_keyless();
                        keyless.insert(topic.clone(), partition);
                        partition
                    }
                },
            };
            let headers = headers.into_iter();
            let headers = headers.map(|h| tidings_node::Header { name: h.name, value: h.value });
            let timestamp = timestamp.unwrap_or(now);
            let record = NewRecord { timestamp, key, value, headers: headers.collect() };
            let size = encoded_size_max(&record);
            let at = TopicPartition { topic, partition };
            queued.entry(at).or_default().push(Queued { index, record, size });
        }
        Ok(queued)
    }

    /// Submits everything in order; under the lock only the node's admission is awaited.
    async fn submit(&self, queued: ByPartition) -> Result<Submitted, Error> {
        let mut state = self.state.lock().await;
        let identity = match state.identity {
            Some(identity) => identity,
            None => {
                let identity = new_identity(&self.engine).await?;
                state.sequences.clear();
                state.acquainted.clear();
                *state.identity.insert(identity)
            }
        };
        let mut rounds = rounds(queued, |topic| state.records_bytes_max(topic));
        let later = hold_back(&mut rounds, &state.acquainted);
        let mut answers = Vec::new();
        for round in rounds {
            let mut after = Vec::with_capacity(round.len());
            let mut partitions = Vec::with_capacity(round.len());
            let mut flights = Vec::with_capacity(round.len());
            for (at, batch) in round {
                let sequence = state.sequences.get(&at).copied().unwrap_or(0);
                after.push((at.clone(), sequence_after(sequence, batch.len())));
                let bytes = encode(&batch, identity, sequence);
                let TopicPartition { topic, partition } = at.clone();
                let topic = topic.into();
                partitions.push(ProducePartition { topic, partition, batch: bytes });
                let is_first = !state.acquainted.contains(&at);
                flights.push(Flight { at, batch, identity, is_first });
            }
            let acks = Acks::Durable;
            let produce = Produce { acks, transaction: None, zstd_allowed: true, partitions };
            let answer = self.engine.node.submit(produce).await?;
            // Only now are the sequences used: a send that is dropped while it waits for admission
            // has asked nothing.
            state.sequences.extend(after);
            answers.push((flights, answer));
        }
        Ok(Submitted { answers, later })
    }

    /// Takes the answers; returns what has to be sent again, or the first failure.
    async fn land(
        &self,
        answers: Vec<(Vec<Flight>, Answer<Produce>)>,
        positions: &mut [Option<Position>],
    ) -> Result<ByPartition, Error> {
        let mut again = ByPartition::new();
        let mut failure = None;
        for (flights, answer) in answers {
            let mut outcomes: HashMap<TopicPartition, _> = answer
                .await?
                .into_iter()
                .filter_map(|Produced { topic, partition, outcome, .. }| match topic {
                    TopicName::Name(topic) => Some((TopicPartition { topic, partition }, outcome)),
                    TopicName::Id(_) => None,
                })
                .collect();
            for flight in flights {
                let outcome = outcomes.remove(&flight.at);
                let outcome = outcome.unwrap_or(Err(ProduceRefused::UnknownPartition));
                match outcome {
                    Ok(at) => {
                        if flight.is_first {
                            self.acquaint(&flight).await;
                        }
                        flight.mark(at.base_offset, positions);
                    }
                    Err(refused) => {
                        let may_go_again = self.refused(&flight, &refused).await;
                        if may_go_again && failure.is_none() {
                            again.entry(flight.at).or_default().extend(flight.batch);
                        } else if failure.is_none() {
                            failure = Some(refusals::produce(&flight.at, refused));
                        }
                    }
                }
            }
        }
        failure.map_or(Ok(again), Err)
    }

    async fn acquaint(&self, flight: &Flight) {
        let mut state = self.state.lock().await;
        if state.identity == Some(flight.identity) {
            state.acquainted.insert(flight.at.clone());
        }
    }

    /// Voids what the refusal makes void, and says whether the batch may go again.
    async fn refused(&self, flight: &Flight, refused: &ProduceRefused) -> bool {
        let mut state = self.state.lock().await;
        if state.identity == Some(flight.identity) {
            state.identity = None;
        }
        match refused {
            ProduceRefused::OutOfOrderSequence(_) | ProduceRefused::StaleEpoch(_) => true,
            ProduceRefused::TooLarge { limit, .. } if flight.batch.len() > 1 => {
                if let Some(known) = state.topics.get_mut(&flight.at.topic) {
                    known.records_bytes_max = records_bytes_max(*limit);
                }
                true
            }
            ProduceRefused::UnknownPartition => {
                state.topics.remove(&flight.at.topic);
                false
            }
            _ => false,
        }
    }
}

impl State {
    async fn topic(&mut self, engine: &Embedded, name: &str) -> Result<&mut KnownTopic, Error> {
        let fresh = self.topics.get(name).is_some_and(|t| t.asked.elapsed() < METADATA_AGE_MAX);
        if !fresh {
            let described = engine.describe(name).await?;
            let partitions = i32::try_from(described.partitions.len()).unwrap_or(i32::MAX);
            if partitions == 0 {
                return Err(Error::UnknownTopic(name.to_owned()));
            }
            let batch_bytes_max = engine.max_message_bytes(name).await?;
            let keyless = self.topics.get(name).map_or(0, |known| known.keyless);
            let known = KnownTopic {
                partitions,
                asked: Instant::now(),
                keyless,
                records_bytes_max: records_bytes_max(batch_bytes_max),
            };
            self.topics.insert(name.to_owned(), known);
        }
        self.topics.get_mut(name).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    fn records_bytes_max(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(BATCH_RECORDS_BYTES_MAX, |known| known.records_bytes_max)
    }
}

impl KnownTopic {
    fn next_keyless(&mut self) -> i32 {
        let partition = self.keyless % self.partitions;
        self.keyless = partition + 1;
        partition
    }
}

impl Flight {
    /// The batch begins at this offset.
    fn mark(self, base_offset: i64, positions: &mut [Option<Position>]) {
        for (offset, queued) in (base_offset..).zip(&self.batch) {
            let TopicPartition { topic, partition } = self.at.clone();
            positions[queued.index] = Some(Position { topic, partition, offset });
        }
    }
}

/// The n-th round holds the n-th batch of each partition that has as many.
fn rounds(
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

/// Takes out all but the first batch of each partition that is not in `acquainted`.
fn hold_back(
    rounds: &mut Vec<Vec<(TopicPartition, Vec<Queued>)>>,
    acquainted: &HashSet<TopicPartition>,
) -> ByPartition {
    let mut later = ByPartition::new();
    for round in rounds.iter_mut().skip(1) {
        for (at, mut batch) in round.extract_if(.., |(at, _)| !acquainted.contains(at)) {
            later.entry(at).or_default().append(&mut batch);
        }
    }
    rounds.retain(|round| !round.is_empty());
    later
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

async fn new_identity(engine: &Embedded) -> Result<ProducerIdentity, Error> {
    let given = engine.node.call(InitProducer { resume: None }).await?;
    given.map_err(|refused| Error::Storage(refused.to_string()))
}

fn encode(batch: &[Queued], identity: ProducerIdentity, sequence: i32) -> Bytes {
    encode_batch(batch.iter().map(|queued| &queued.record), Some((identity, sequence)))
}

/// Most bytes that the record may take inside a batch: its bytes, and every number at its longest.
fn encoded_size_max(record: &NewRecord) -> usize {
    const NUMBERS: usize = 36;
    const HEADER_NUMBERS: usize = 10;
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| HEADER_NUMBERS + header.name.len() + length(&header.value));
    NUMBERS + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// Sequences go from `i32::MAX` to 0.
fn sequence_after(sequence: i32, records: usize) -> i32 {
    let records = i64::try_from(records).expect("a batch has at most BATCH_RECORDS_MAX records");
    let after = (i64::from(sequence) + records) & i64::from(i32::MAX);
    i32::try_from(after).expect("masked to 31 bits")
}

#[cfg(test)]
mod tests {
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
    fn a_partition_that_does_not_know_the_producer_gets_its_first_batch_alone() {
        let at = |partition| TopicPartition { topic: "t".into(), partition };
        let three = |from: usize| (from..from + 3).map(|index| queued(index, 10)).collect();
        let queued = ByPartition::from([(at(0), three(0)), (at(1), three(3))]);
        let indexes = |batch: &[Queued]| batch.iter().map(|q| q.index).collect::<Vec<_>>();
        let mut rounds = rounds(queued, |_| 10);
        let later = hold_back(&mut rounds, &HashSet::from([at(1)]));
        let now: Vec<Vec<usize>> = rounds
            .iter()
            .map(|round| round.iter().flat_map(|(_, batch)| indexes(batch)).collect())
            .collect();
        assert_eq!(now, [vec![0, 3], vec![4], vec![5]]);
        let later: Vec<_> =
            later.iter().map(|(at, batch)| (at.partition, indexes(batch))).collect();
        assert_eq!(later, [(0, vec![1, 2])]);
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
        assert_eq!(BATCH_HEADER_BYTES, tidings_node::broker::log::HEADER_BYTES);
        let record = NewRecord {
            timestamp: i64::MAX,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![0; 1000])),
            headers: vec![tidings_node::Header { name: "name".into(), value: None }],
        };
        let encoded = encode_batch([&record], None).len() - BATCH_HEADER_BYTES;
        assert!(encoded <= encoded_size_max(&record), "{encoded}");
    }
}
