//! Transactions: the coordinator's decisions, written to `__transaction_state` and carried out.
//!
//! One journal orders everything, so an end is decided and carried out in one go: the record that decides
//! it, a marker in each of its partitions, the record that completes it. The answer waits for the last of
//! them, at the cost of one write. What a crash leaves is a prefix of that:
//! - nothing: the transaction goes on, and its producer asks again or its timeout aborts it;
//! - the decision, and some of the markers: opening the node writes the markers and the completion.
//!   A partition may then have its marker twice, which changes nothing;
//! - everything.
//!
//! A marker that its partition does not take, for its log has failed, leaves the transaction decided; it
//! is tried again every [`TRANSACTION_RETRY_MS`] and at the next start. Until then its transactional id takes
//! no other transaction. Partitions that are gone need no marker.
//!
//! Invariants: an answer waits until what it says is on disk; no batch of a transaction is appended before
//! the record that names its partition.

use std::collections::BTreeMap;

use tidings_coordinator::limits::TRANSACTION_RETRY_MS;
use tidings_coordinator::{
    Due, EndDecision, EndTransaction, InitDecision, InitTransactions, ListTransactions,
    TransactionPartitions, TransactionProducer, TransactionRecord, TransactionRefused,
    TransactionVersion, Transactions,
};
use tidings_log::{LogId, NewRecord, PartitionLog};

use crate::broker::{Broker, Now, Ticket};
use crate::held::{Mark, Wait};
use crate::topic_name::{self, TRANSACTION_STATE};
use crate::{
    AddMode, AddPartitions, AddRefused, AddedPartition, DescribeTransactions, DescribedTransaction,
    ListedTransactions, ProduceRefused, ProduceTransaction, ProducerIdentity, Reply, TopicRefused,
};

/// As Kafka configures the topic: the last word on each transactional id is what counts.
const TRANSACTION_TOPIC_CONFIGS: [(&str, &str); 2] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600")];

/// The level of `transaction.version` from which on the end of a transaction raises the epoch.
const EPOCH_PER_TRANSACTION: i16 = 2;

/// The state of all transactions, and what could not be written of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) state: Transactions,
    /// Why the state could not be loaded.
    pub(crate) trouble: Option<String>,
    /// Decided transactions, and the partitions that have no marker yet.
    unfinished: BTreeMap<String, TransactionPartitions>,
    retry_at_ms: u64,
}

impl Ledger {
    pub(crate) fn next_timeout_ms(&self) -> Option<u64> {
        let retry = (!self.unfinished.is_empty()).then_some(self.retry_at_ms);
        self.state.next_timeout_ms().into_iter().chain(retry).min()
    }

    fn is_loaded(&self) -> Result<(), TransactionRefused> {
        match &self.trouble {
            None => Ok(()),
            Some(trouble) => Err(TransactionRefused::Storage(trouble.clone())),
        }
    }
}

impl Broker {
    /// How the node itself aborts transactions, by the finalized feature.
    fn own_version(&self) -> TransactionVersion {
        match self.transaction_version() {
            ..EPOCH_PER_TRANSACTION => TransactionVersion::One,
            _ => TransactionVersion::Two,
        }
    }

    /// The log of `__transaction_state`, created on first use.
    pub(crate) fn transactions_log(&mut self, now: Now) -> Result<LogId, TopicRefused> {
        self.coordinators_log(now, TRANSACTION_STATE, &TRANSACTION_TOPIC_CONFIGS)
    }

    pub(crate) fn transactions_for_use(&mut self, now: Now) -> Result<(), TransactionRefused> {
        self.ledger.is_loaded()?;
        let log = self.transactions_log(now);
        log.map(|_| ()).map_err(|refused| TransactionRefused::Storage(refused.to_string()))
    }

    /// Writes a record and folds it into the state.
    fn keep_transaction(
        &mut self,
        now: Now,
        record: TransactionRecord,
    ) -> Result<(), TransactionRefused> {
        let storage = TransactionRefused::Storage;
        let log = self.transactions_log(now).map_err(|refused| storage(refused.to_string()))?;
        let (key, value) = record.encode();
        let new = NewRecord { timestamp: now.wall_ms, key: Some(key), value, headers: Vec::new() };
        self.append_own(now, log, &[new]).map_err(storage)?;
        self.producer_ids.take_if_used_by(&record);
        self.ledger.state.apply(now, record);
        Ok(())
    }

    /// What an answer about transactions waits for: everything decided so far, on disk.
    pub(crate) fn wait_for_transactions(&self) -> Vec<Wait> {
        let Some(log) = self.catalog.log(TRANSACTION_STATE, 0) else { return Vec::new() };
        let past = self.logs.log(log).map_or(0, PartitionLog::end_offset);
        let wait = Wait { log, mark: Mark::End, past, part: 0 };
        let unsynced = (past > self.logs.durable(log)).then_some(wait);
        let topic = self.catalog.topic(TRANSACTION_STATE);
        let settled = topic.and_then(|topic| self.wait_settled(topic, 0));
        unsynced.into_iter().chain(settled).collect()
    }

    // ---- producers and partitions --------------------------------------------------------------

    pub(crate) fn init_transactions(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &InitTransactions,
    ) {
        let answer = self.begin_producer(now, request);
        let waits = if answer.is_ok() { self.wait_for_transactions() } else { Vec::new() };
        self.answer(ticket, Reply::InitTransactions(answer), &waits);
    }

    fn begin_producer(
        &mut self,
        now: Now,
        request: &InitTransactions,
    ) -> Result<ProducerIdentity, TransactionRefused> {
        self.transactions_for_use(now)?;
        let version = self.own_version();
        loop {
            let fresh = self.fresh_producer_id(now).map_err(TransactionRefused::Storage)?;
            match self.ledger.state.decide_init(now, request, fresh, version)? {
                InitDecision::AbortFirst(record) => {
                    self.keep_transaction(now, record)?;
                    // Whether or not it is completed, it is not ongoing any more.
                    self.close_transaction(now, &request.transactional_id);
                }
                InitDecision::Begin(record) => {
                    self.keep_transaction(now, record)?;
                    let held = self.ledger.state.get(&request.transactional_id);
                    let held = held.expect("it has just been kept");
                    return Ok(ProducerIdentity { id: held.producer_id, epoch: held.epoch });
                }
            }
        }
    }

    pub(crate) fn add_partitions(&mut self, now: Now, ticket: Ticket, request: &AddPartitions) {
        let mut answers: Vec<AddedPartition> = request
            .partitions
            .iter()
            .map(|(topic, partition)| AddedPartition {
                topic: topic.clone(),
                partition: *partition,
                outcome: self.may_be_added(topic, *partition),
            })
            .collect();
        let mut waits = Vec::new();
        if answers.iter().any(|answer| answer.outcome.is_err()) {
            let taken = answers.iter_mut().filter(|answer| answer.outcome.is_ok());
            taken.for_each(|answer| answer.outcome = Err(AddRefused::NotAttempted));
        } else {
            match self.add_or_verify(now, request, &mut answers) {
                Ok(()) => waits = self.wait_for_transactions(),
                Err(refused) => {
                    let refused = Err(AddRefused::Transaction(refused));
                    answers.iter_mut().for_each(|answer| answer.outcome = refused.clone());
                }
            }
        }
        self.answer(ticket, Reply::AddPartitions(answers), &waits);
    }

    fn may_be_added(&self, topic: &str, partition: i32) -> Result<(), AddRefused> {
        if topic_name::is_internal(topic) {
            return Err(AddRefused::Internal);
        }
        let log = self.catalog.log(topic, partition);
        log.map(|_| ()).ok_or(AddRefused::UnknownPartition)
    }

    fn add_or_verify(
        &mut self,
        now: Now,
        request: &AddPartitions,
        answers: &mut [AddedPartition],
    ) -> Result<(), TransactionRefused> {
        self.transactions_for_use(now)?;
        let producer = TransactionProducer {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id,
            epoch: request.epoch,
        };
        let partitions = request.partitions.iter().map(|(topic, at)| (topic.as_str(), *at));
        match request.mode {
            AddMode::Add(version) => self.add_to_transaction(now, producer, partitions, version),
            AddMode::Verify => {
                for answer in answers {
                    let state = &self.ledger.state;
                    match state.verify(producer, &answer.topic, answer.partition) {
                        Err(TransactionRefused::NotAdded) => {
                            answer.outcome = Err(TransactionRefused::NotAdded.into());
                        }
                        verified => verified?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes partitions part of the producer's transaction, as far as they are not.
    pub(crate) fn add_to_transaction<'a>(
        &mut self,
        now: Now,
        producer: TransactionProducer<'_>,
        partitions: impl Iterator<Item = (&'a str, i32)> + Clone,
        version: TransactionVersion,
    ) -> Result<(), TransactionRefused> {
        match self.ledger.state.decide_add(now, producer, partitions, version)? {
            Some(record) => self.keep_transaction(now, record),
            None => Ok(()),
        }
    }

    /// Sees to it that a batch is part of its producer's transaction.
    pub(crate) fn join_transaction(
        &mut self,
        now: Now,
        of_request: Option<&ProduceTransaction>,
        (producer_id, epoch): (i64, i16),
        (topic, partition): (&str, i32),
    ) -> Result<TransactionVersion, ProduceRefused> {
        let Some(ProduceTransaction { transactional_id, adds }) = of_request else {
            return Err(ProduceRefused::NoTransactionalId);
        };
        self.ledger.is_loaded()?;
        let producer = TransactionProducer { transactional_id, producer_id, epoch };
        let version = if *adds { TransactionVersion::Two } else { TransactionVersion::One };
        match self.ledger.state.verify(producer, topic, partition) {
            Err(TransactionRefused::NotAdded) if *adds => {
                let this = [(topic, partition)];
                self.add_to_transaction(now, producer, this.into_iter(), version)?;
            }
            verified => verified?,
        }
        Ok(version)
    }

    // ---- ends ----------------------------------------------------------------------------------

    pub(crate) fn end_transaction(&mut self, now: Now, ticket: Ticket, request: &EndTransaction) {
        let answer = self.decide_and_close(now, request);
        let waits = if answer.is_ok() { self.wait_for_transactions() } else { Vec::new() };
        self.answer(ticket, Reply::EndTransaction(answer), &waits);
    }

    fn decide_and_close(
        &mut self,
        now: Now,
        request: &EndTransaction,
    ) -> Result<ProducerIdentity, TransactionRefused> {
        self.transactions_for_use(now)?;
        let fresh = self.fresh_producer_id(now).map_err(TransactionRefused::Storage)?;
        let (id, epoch) = match self.ledger.state.decide_end(now, request, fresh)? {
            EndDecision::Already { producer_id, epoch } => (producer_id, epoch),
            EndDecision::End(record) => {
                self.keep_transaction(now, record)?;
                let closing = self.ledger.state.closing(now, &request.transactional_id);
                let goes_on = closing.expect("it has just been decided").goes_on;
                self.close_transaction(now, &request.transactional_id);
                goes_on
            }
        };
        Ok(ProducerIdentity { id, epoch })
    }

    /// Carries out what is left of a decided transaction, as far as the logs take it.
    fn close_transaction(&mut self, now: Now, id: &str) {
        let Some(closing) = self.ledger.state.closing(now, id) else { return };
        let wanted = self.ledger.unfinished.remove(id).unwrap_or(closing.partitions);
        let mut left = TransactionPartitions::new();
        for (topic, partitions) in wanted {
            for partition in partitions {
                if !self.end_in_partition(now, &topic, partition, closing.marker) {
                    left.entry(topic.clone()).or_default().insert(partition);
                }
            }
        }
        if left.is_empty() && self.keep_transaction(now, closing.complete).is_ok() {
            return;
        }
        self.ledger.unfinished.insert(id.to_owned(), left);
        self.ledger.retry_at_ms = now.mono_ms + TRANSACTION_RETRY_MS;
    }

    /// Carries out every decided transaction: what a crash or a failed log has left.
    pub(crate) fn close_prepared(&mut self, now: Now) {
        let prepared: Vec<String> = self.ledger.state.prepared().map(str::to_owned).collect();
        prepared.iter().for_each(|id| self.close_transaction(now, id));
    }

    /// Aborts transactions that take too long, forgets ids that nobody uses, tries again what was left.
    pub(crate) fn tick_transactions(&mut self, now: Now) {
        let version = self.own_version();
        while let Some(due) = self.ledger.state.pop_due(now, version) {
            let (Due::TimedOut(record) | Due::Unused(record)) = due;
            let id = record.transactional_id.clone();
            // What is not kept is due again.
            if self.keep_transaction(now, record).is_ok() {
                self.close_transaction(now, &id);
            }
        }
        if !self.ledger.unfinished.is_empty() && self.ledger.retry_at_ms <= now.mono_ms {
            self.close_prepared(now);
        }
    }

    // ---- what they look like -------------------------------------------------------------------

    pub(crate) fn describe_transactions(
        &self,
        request: DescribeTransactions,
    ) -> Vec<DescribedTransaction> {
        let ids = crate::topics::distinct(request.transactional_ids, |id| id);
        ids.into_iter()
            .map(|id| {
                let held =
                    self.ledger.is_loaded().and_then(|()| match self.ledger.state.get(&id) {
                        _ if id.is_empty() => {
                            Err(TransactionRefused::InvalidRequest("the transactional id is empty"))
                        }
                        Some(held) => Ok(held.clone()),
                        None => Err(TransactionRefused::NotFound),
                    });
                DescribedTransaction { transactional_id: id, outcome: held }
            })
            .collect()
    }

    pub(crate) fn list_transactions(
        &self,
        now: Now,
        request: &ListTransactions,
    ) -> Result<ListedTransactions, TransactionRefused> {
        self.ledger.is_loaded()?;
        Ok(self.ledger.state.list(now, request))
    }
}
