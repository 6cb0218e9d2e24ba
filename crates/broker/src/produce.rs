//! Produce: one batch per partition, checked, appended, acknowledged when it is on disk. When there
//! is too little room it waits first ([`crate::admission`]).
//!
//! The rules of a batch are [`ProducerRules`]; records are decoded only where a topic's configuration
//! asks for it. Beyond them: the topic is no one of the broker's own, the batch is not larger than the
//! topic takes, a producer's id, epoch and sequence follow on, and a transactional batch belongs to a
//! transaction that is open for its producer and has its partition ([`crate::transactions`]).

use tidings_log::{AppendAt, AppendRefused, Appended, Batch, BatchHeader, LogId, ProducerRules};

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::held::{Mark, Wait};
use crate::partition::{log_version, storage_trouble};
use crate::{
    Acks, Produce, ProducePartition, ProduceRefused, Produced, ProducedAt, Reply, TopicName,
};

/// A request on its way: some of its partitions may have been decided.
#[derive(Debug)]
pub(crate) struct Producing {
    pub(crate) ticket: Ticket,
    pub(crate) request: Produce,
    answers: Vec<Produced>,
    waits: Vec<Wait>,
}

impl Producing {
    pub(crate) fn new(ticket: Ticket, request: Produce) -> Self {
        let answers = Vec::with_capacity(request.partitions.len());
        Self { ticket, request, answers, waits: Vec::new() }
    }

    /// Bytes of the batches.
    pub(crate) fn bytes(&self) -> u64 {
        self.request.partitions.iter().map(|part| part.batch.len() as u64).sum()
    }

    fn decide(
        &mut self,
        outcome: Result<(ProducedAt, LogId, i64), ProduceRefused>,
        refused_from: Option<i64>,
        settled: Option<Wait>,
    ) {
        let part = self.answers.len();
        let ProducePartition { topic, partition, .. } = &self.request.partitions[part];
        let (topic, partition) = (topic.clone(), *partition);
        let outcome = outcome.map(|(at, log, past)| {
            self.waits.push(Wait { log, mark: Mark::End, past, part });
            self.waits.extend(settled);
            at
        });
        self.answers.push(Produced { topic, partition, outcome, refused_from });
    }
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// The journal takes no more just now: the rest of the partitions wait.
    Congested,
}

impl Broker {
    /// Decides the partitions of a request that are left, as far as there is room, and answers when
    /// all are.
    pub(crate) fn produce_now(&mut self, now: Now, producing: &mut Producing) -> Progress {
        while let Some(part) = producing.request.partitions.get(producing.answers.len()) {
            let request = &producing.request;
            let outcome = match self.produce_batch(now, part, request) {
                Err(Untaken::Congested) => return Progress::Congested,
                Err(Untaken::Refused(refused)) => Err(refused),
                Ok(taken) => Ok(taken),
            };
            let topic = self.catalog.find(&part.topic);
            let settled = topic.and_then(|topic| self.wait_settled(topic, producing.answers.len()));
            let refused_from = outcome.as_ref().err().filter(|refused| refused.knows_the_log());
            let refused_from = refused_from.and_then(|_| self.log_start(part));
            producing.decide(outcome, refused_from, settled);
        }
        self.answer_produce(producing);
        Progress::Done
    }

    /// Refuses the partitions of a request that are left, and answers.
    pub(crate) fn refuse_rest(&mut self, mut producing: Producing, trouble: &str) {
        while producing.answers.len() < producing.request.partitions.len() {
            producing.decide(Err(ProduceRefused::Storage(trouble.to_owned())), None, None);
        }
        self.answer_produce(&mut producing);
    }

    fn answer_produce(&mut self, producing: &mut Producing) {
        let ticket = producing.ticket;
        let reply = Reply::Produce(std::mem::take(&mut producing.answers));
        match producing.request.acks {
            Acks::Durable => self.answer(ticket, reply, &producing.waits),
            Acks::None => self.completions.push_back(Completion { ticket, reply }),
        }
    }

    fn log_start(&self, part: &ProducePartition) -> Option<i64> {
        let id = self.catalog.find(&part.topic)?.log(part.partition)?;
        Some(self.logs.readable(id).ok()?.start_offset())
    }

    /// Appends one batch; returns what to answer and the mark that must be durable first.
    fn produce_batch(
        &mut self,
        now: Now,
        part: &ProducePartition,
        request: &Produce,
    ) -> Result<(ProducedAt, LogId, i64), Untaken> {
        let topic = self.catalog.find(&part.topic).ok_or(match part.topic {
            TopicName::Name(_) => ProduceRefused::UnknownPartition,
            TopicName::Id(_) => ProduceRefused::UnknownId,
        })?;
        let id = topic.log(part.partition).ok_or(ProduceRefused::UnknownPartition)?;
        if topic.internal {
            return Err(ProduceRefused::Internal(topic.name.clone()).into());
        }
        let (size, limit) = (part.batch.len(), topic.settings.max_message_bytes);
        if size > limit {
            return Err(ProduceRefused::TooLarge { size, limit }.into());
        }
        let log_append_time = topic.settings.log_append_time;
        let rules = ProducerRules {
            now_ms: now.wall_ms,
            compacted: topic.settings.log.compact,
            log_append_time,
            timestamp_before_max_ms: topic.settings.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.settings.timestamp_after_max_ms,
            zstd: request.zstd_allowed,
        };
        let batch =
            Batch::from_producer(part.batch.clone(), &rules).map_err(ProduceRefused::Batch)?;
        self.check_room(size as u64).map_err(ProduceRefused::Storage)?;
        let now_ms = match log_append_time {
            true => self.logs.append_time(id, now.wall_ms),
            false => now.wall_ms,
        };
        let log = self.logs.writable(id).map_err(ProduceRefused::Storage)?;
        let log_start_offset = log.start_offset();
        if !self.logs.store.makes_room(size) {
            return Err(Untaken::Congested);
        }
        let transactions = self.check_transaction(now, part, batch.header(), request)?;
        let at = AppendAt {
            now_ms,
            leader_epoch: self.logs.leader_epoch(id),
            log_append_time,
            transactions,
        };
        let appended = self.logs.store.append(id, &batch, at);
        let (base_offset, last_offset, log_append_time_ms) = match appended {
            Ok(Appended::Written { base_offset, last_offset }) => {
                // Until the disk is looked at again.
                self.free_bytes = self.free_bytes.saturating_sub(size as u64);
                self.logs.count(id, size);
                (base_offset, last_offset, log_append_time.then_some(now_ms))
            }
            // When the first copy was appended is not known any more.
            Ok(Appended::Duplicate { base_offset, last_offset }) => {
                (base_offset, last_offset, None)
            }
            Err(AppendRefused::Congested) => return Err(Untaken::Congested),
            Err(refused) => {
                // A fault may have ended the log under replies that wait for it.
                self.log_advanced(id);
                return Err(refusal_of_append(&refused).into());
            }
        };
        if self.logs.durable(id) > last_offset {
            // It waits for no write, so none will tell.
            self.log_advanced(id);
            self.wake_fetches(now, &[id]);
        }
        Ok((ProducedAt { base_offset, log_start_offset, log_append_time_ms }, id, last_offset + 1))
    }

    /// The rules of the batch's transaction, to which its partition belongs now.
    fn check_transaction(
        &mut self,
        now: Now,
        part: &ProducePartition,
        header: &BatchHeader,
        request: &Produce,
    ) -> Result<tidings_log::TransactionVersion, ProduceRefused> {
        if !header.attributes.transactional() {
            return Ok(tidings_log::TransactionVersion::One);
        }
        let producer = (header.producer_id, header.producer_epoch);
        let topic = self.catalog.find(&part.topic).ok_or(ProduceRefused::UnknownPartition)?;
        let name = topic.name.clone();
        let partition = (name.as_str(), part.partition);
        let version =
            self.join_transaction(now, request.transaction.as_ref(), producer, partition)?;
        Ok(log_version(version))
    }
}

/// Why a batch was not appended.
enum Untaken {
    /// It may be, once the journal has written what it holds.
    Congested,
    Refused(ProduceRefused),
}

impl From<ProduceRefused> for Untaken {
    fn from(refused: ProduceRefused) -> Self {
        Self::Refused(refused)
    }
}

fn refusal_of_append(refused: &AppendRefused) -> ProduceRefused {
    match refused {
        AppendRefused::OutOfOrderSequence { .. } => {
            ProduceRefused::OutOfOrderSequence(refused.to_string())
        }
        AppendRefused::StaleEpoch { .. } | AppendRefused::EpochNotRaised { .. } => {
            ProduceRefused::StaleEpoch(refused.to_string())
        }
        AppendRefused::TransactionOpen { .. }
        | AppendRefused::TooManyTransactions { .. }
        | AppendRefused::CoordinatorFenced { .. } => {
            ProduceRefused::InvalidTransaction(refused.to_string())
        }
        AppendRefused::Congested => ProduceRefused::Storage(refused.to_string()),
        AppendRefused::Fault(fault) => ProduceRefused::Storage(storage_trouble(fault)),
    }
}
