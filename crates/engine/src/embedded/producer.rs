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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidings_node::broker::{
    Acks, InitProducer, Produce, ProducePartition, ProduceRefused, Produced, ProducerIdentity,
    TopicName,
};
use tidings_node::{Answer, encode_batch};
use tokio::sync::Mutex;

use super::placing::{ByPartition, KnownTopics, Queued, mark, sequence_after};
use super::{Embedded, refusals};
use crate::limits::SEND_ATTEMPTS_MAX;
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
    topics: KnownTopics,
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

impl EmbeddedProducer {
    pub(crate) async fn open(engine: &Embedded) -> Result<Self, Error> {
        let identity = new_identity(engine).await?;
        let state = State {
            identity: Some(identity),
            sequences: HashMap::new(),
            acquainted: HashSet::new(),
            topics: KnownTopics::default(),
        };
        Ok(Self { engine: engine.clone(), state: Arc::new(Mutex::new(state)) })
    }

    pub(crate) async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        let mut positions: Vec<Option<Position>> = vec![None; records.len()];
        let mut queued = self.state.lock().await.topics.place(&self.engine, records).await?;
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
        let mut rounds = state.topics.rounds(queued);
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
                        mark(&flight.at, &flight.batch, at.base_offset, positions);
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
                state.topics.learn_limit(&flight.at.topic, *limit);
                true
            }
            ProduceRefused::UnknownPartition => {
                state.topics.forget(&flight.at.topic);
                false
            }
            _ => false,
        }
    }
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

async fn new_identity(engine: &Embedded) -> Result<ProducerIdentity, Error> {
    let given = engine.node.call(InitProducer { resume: None }).await?;
    given.map_err(|refused| Error::Storage(refused.to_string()))
}

fn encode(batch: &[Queued], identity: ProducerIdentity, sequence: i32) -> Bytes {
    encode_batch(batch.iter().map(|queued| &queued.record), Some((identity, sequence)))
}

#[cfg(test)]
mod tests {
    use tidings_node::NewRecord;

    use super::*;

    fn queued(index: usize, size: usize) -> Queued {
        Queued { index, record: NewRecord::default(), size }
    }

    #[test]
    fn a_partition_that_does_not_know_the_producer_gets_its_first_batch_alone() {
        let at = |partition| TopicPartition { topic: "t".into(), partition };
        let three = |from: usize| (from..from + 3).map(|index| queued(index, 10)).collect();
        let queued = ByPartition::from([(at(0), three(0)), (at(1), three(3))]);
        let indexes = |batch: &[Queued]| batch.iter().map(|q| q.index).collect::<Vec<_>>();
        let mut rounds = super::super::placing::rounds(queued, |_| 10);
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
}
