//! A transactional producer of the embedded engine, under the second protocol (KIP-890): a partition
//! becomes part of the transaction with its first batch, and each end raises the producer's epoch.
//!
//! Invariants: sequences begin at 0 in each transaction, as its epoch is new to every log; after a
//! refusal the caller aborts, so no sequence is ever skipped and used later. Only the end waits for the disk: it is in
//! the journal behind all that the transaction holds, so nothing of that is less durable than it.

use std::collections::HashMap;
use std::time::Duration;

use tidings_node::broker::{
    Acks, CommitInTransaction, CommitInTransactionRefused, CommitOffsets, EndTransaction,
    InitTransactions, Produce, ProducePartition, ProduceRefused, ProduceTransaction,
    ProducerIdentity, TopicName, TransactionEnd, TransactionRefused, TransactionVersion,
};
use tidings_node::encode_transactional_batch;
use tokio::time::Instant;

use super::placing::{KnownTopics, Queued, mark, sequence_after};
use super::subscription::EmbeddedSubscription;
use super::{Embedded, refusals};
use crate::limits::{TRANSACTION_OPEN_WAIT, TRANSACTION_RETRY_PAUSE};
use crate::{Error, Position, SentRecord, TopicPartition};

#[derive(Debug)]
pub(crate) struct EmbeddedTransactions {
    engine: Embedded,
    id: String,
    identity: ProducerIdentity,
    /// The next sequence of each partition of the transaction.
    sequences: HashMap<TopicPartition, i32>,
    /// The coordinator knows of the transaction.
    begun: bool,
    topics: KnownTopics,
}

impl EmbeddedTransactions {
    pub(crate) async fn open(
        engine: &Embedded,
        id: &str,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let request = InitTransactions {
            transactional_id: id.to_owned(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            expected: None,
        };
        let deadline = Instant::now() + TRANSACTION_OPEN_WAIT;
        let identity = loop {
            match engine.node.call(request.clone()).await? {
                Ok(identity) => break identity,
                Err(TransactionRefused::Concurrent) if Instant::now() < deadline => {
                    tokio::time::sleep(TRANSACTION_RETRY_PAUSE).await;
                }
                Err(refused) => return Err(refusals::transaction(id, refused)),
            }
        };
        Ok(Self {
            engine: engine.clone(),
            id: id.to_owned(),
            identity,
            sequences: HashMap::new(),
            begun: false,
            topics: KnownTopics::default(),
        })
    }

    pub(crate) async fn append(
        &mut self,
        records: Vec<SentRecord>,
    ) -> Result<Vec<Position>, Error> {
        let mut positions: Vec<Option<Position>> = vec![None; records.len()];
        let queued = self.topics.place(&self.engine, records).await?;
        let mut answers = Vec::new();
        for round in self.topics.rounds(queued) {
            let partitions = round.iter().map(|(at, batch)| self.next_batch(at, batch)).collect();
            let adds = ProduceTransaction { transactional_id: self.id.clone(), adds: true };
            let produce = Produce {
                acks: Acks::None,
                transaction: Some(adds),
                zstd_allowed: true,
                partitions,
            };
            self.begun = true;
            answers.push((round, self.engine.node.submit(produce).await?));
        }
        for (round, answer) in answers {
            let outcomes: HashMap<_, _> = answer
                .await?
                .into_iter()
                .map(|produced| ((produced.topic, produced.partition), produced.outcome))
                .collect();
            for (at, batch) in round {
                let asked = (TopicName::Name(at.topic.clone()), at.partition);
                let outcome = outcomes.get(&asked).cloned();
                match outcome.unwrap_or(Err(ProduceRefused::UnknownPartition)) {
                    Ok(placed) => mark(&at, &batch, placed.base_offset, &mut positions),
                    Err(refused) => return Err(self.refused(&at, refused)),
                }
            }
        }
        let placed = positions.into_iter();
        Ok(placed
            .map(|position| position.expect("every record was in an answered batch"))
            .collect())
    }

    fn next_batch(&mut self, at: &TopicPartition, batch: &[Queued]) -> ProducePartition {
        let next = self.sequences.entry(at.clone()).or_insert(0);
        let sequence = *next;
        *next = sequence_after(sequence, batch.len());
        let records = batch.iter().map(|queued| &queued.record);
        let batch = encode_transactional_batch(records, self.identity, sequence);
        let TopicPartition { topic, partition } = at.clone();
        ProducePartition { topic: topic.into(), partition, batch }
    }

    fn refused(&mut self, at: &TopicPartition, refused: ProduceRefused) -> Error {
        match refused {
            ProduceRefused::StaleEpoch(_) => {
                refusals::transaction(&self.id, TransactionRefused::Fenced)
            }
            ProduceRefused::Transaction(refused) => refusals::transaction(&self.id, refused),
            ProduceRefused::TooLarge { limit, .. } => {
                self.topics.learn_limit(&at.topic, limit);
                refusals::produce(at, refused)
            }
            ProduceRefused::UnknownPartition => {
                self.topics.forget(&at.topic);
                refusals::produce(at, refused)
            }
            other => refusals::produce(at, other),
        }
    }

    pub(crate) async fn commit_offsets(
        &mut self,
        subscription: &EmbeddedSubscription,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        let commit: CommitOffsets = subscription.commit_request(offsets)?;
        let group = commit.group.clone();
        let request = CommitInTransaction {
            transactional_id: self.id.clone(),
            producer_id: self.identity.id,
            epoch: self.identity.epoch,
            adds: true,
            acks: Acks::None,
            commit: CommitOffsets { knows_epochs: true, ..commit },
        };
        self.begun = true;
        let committed = self.engine.node.call(request).await?.map_err(|refused| match refused {
            CommitInTransactionRefused::Transaction(refused) => {
                refusals::transaction(&self.id, refused)
            }
            CommitInTransactionRefused::Group(refused) => refusals::group(&group, refused),
        })?;
        for partition in committed {
            partition.outcome.map_err(|refused| refusals::group(&group, refused))?;
        }
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.end(TransactionEnd::Commit).await
    }

    pub(crate) async fn abort(&mut self) -> Result<(), Error> {
        self.end(TransactionEnd::Abort).await
    }

    /// Nothing to do for a transaction that the coordinator never heard of.
    async fn end(&mut self, end: TransactionEnd) -> Result<(), Error> {
        if !self.begun {
            return Ok(());
        }
        let request = EndTransaction {
            transactional_id: self.id.clone(),
            producer_id: self.identity.id,
            epoch: self.identity.epoch,
            end,
            version: TransactionVersion::Two,
        };
        let ended = self.engine.node.call(request).await?;
        self.identity = match ended {
            Ok(identity) => identity,
            // Everything that it was told was refused before it began.
            Err(TransactionRefused::InvalidState { .. }) if end == TransactionEnd::Abort => {
                self.identity
            }
            Err(refused) => return Err(refusals::transaction(&self.id, refused)),
        };
        self.sequences.clear();
        self.begun = false;
        Ok(())
    }
}
