//! Which partitions a transaction has: added by request, or by the first batch that a producer of
//! [`TransactionVersion::Two`] sends.

use super::{
    EPOCH_MAX, Transaction, TransactionRecord, TransactionRefused, TransactionState,
    TransactionVersion, Transactions,
};
use crate::{Now, limits};

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub struct TransactionProducer<'a> {
    pub transactional_id: &'a str,
    pub producer_id: i64,
    pub epoch: i16,
}

impl Transactions {
    /// The record that makes partitions part of the producer's transaction, which begins with the first;
    /// none when they are already.
    pub fn decide_add<'a>(
        &self,
        now: Now,
        producer: TransactionProducer<'_>,
        partitions: impl Iterator<Item = (&'a str, i32)> + Clone,
        version: TransactionVersion,
    ) -> Result<Option<TransactionRecord>, TransactionRefused> {
        let held = self.open_for(producer)?;
        if held.epoch > EPOCH_MAX {
            return Err(TransactionRefused::Fenced);
        }
        let ongoing = held.state == TransactionState::Ongoing;
        if ongoing && partitions.clone().all(|(topic, partition)| held.has(topic, partition)) {
            return Ok(None);
        }
        let mut changed = held.changed(now);
        if !ongoing {
            changed.state = TransactionState::Ongoing;
            changed.started_ms = now.wall_ms;
        }
        changed.version = version;
        for (topic, partition) in partitions {
            match changed.partitions.get_mut(topic) {
                Some(of_topic) => of_topic.insert(partition),
                None => changed.partitions.entry(topic.to_owned()).or_default().insert(partition),
            };
        }
        let limit = limits::PARTITIONS_PER_TRANSACTION_MAX;
        if changed.partitions.values().map(|of_topic| of_topic.len()).sum::<usize>() > limit {
            return Err(TransactionRefused::Full { limit, what: "partitions per transaction" });
        }
        let record = TransactionRecord::new(producer.transactional_id.to_owned(), changed);
        self.has_room_for(&record)?;
        Ok(Some(record))
    }

    /// Whether a partition is part of the producer's transaction.
    pub fn verify(
        &self,
        producer: TransactionProducer<'_>,
        topic: &str,
        partition: i32,
    ) -> Result<(), TransactionRefused> {
        let held = self.open_for(producer)?;
        if held.has(topic, partition) { Ok(()) } else { Err(TransactionRefused::NotAdded) }
    }

    /// The id's transaction, if the producer is its current one and may write.
    fn open_for(
        &self,
        producer: TransactionProducer<'_>,
    ) -> Result<&Transaction, TransactionRefused> {
        if producer.transactional_id.is_empty() {
            return Err(TransactionRefused::InvalidRequest("the transactional id is empty"));
        }
        let held = self.get(producer.transactional_id);
        let held = held.ok_or(TransactionRefused::UnknownProducer)?;
        if held.producer_id != producer.producer_id {
            return Err(TransactionRefused::UnknownProducer);
        }
        if held.epoch != producer.epoch {
            return Err(TransactionRefused::Fenced);
        }
        if held.state.is_prepared() {
            return Err(TransactionRefused::Concurrent);
        }
        Ok(held)
    }
}

impl Transaction {
    fn has(&self, topic: &str, partition: i32) -> bool {
        self.partitions.get(topic).is_some_and(|of_topic| of_topic.contains(&partition))
    }
}
