//! Produce: one batch per partition, checked, appended, acknowledged when it is on disk.
//!
//! Checked without decoding records: size, magic, checksum, counts, codec, that the batch is no
//! control or transactional batch, and a producer's id, epoch and sequence. The offsets and
//! timestamps inside the records are stored as the client encoded them.

use tidings_log::{AppendAt, AppendRefused, Appended, Batch, BatchError, BatchHeader, Compression};

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::catalog::LogId;
use crate::held::Wait;
use crate::partition::{LEADER_EPOCH, below_reserve, storage_trouble};
use crate::{Acks, Produce, ProducePartition, ProduceRefused, Produced, ProducedAt, Reply};

impl Broker {
    pub(crate) fn produce(&mut self, now: Now, ticket: Ticket, request: &Produce) {
        let mut answers = Vec::with_capacity(request.partitions.len());
        let mut waits = Vec::new();
        for part in &request.partitions {
            let index = answers.len();
            let outcome = if request.transactional {
                Err(no_transactions())
            } else {
                self.produce_batch(now, part, request.zstd_allowed)
            };
            let outcome = outcome.map(|(at, log, past)| {
                waits.push(Wait { log, past, part: index });
                waits.extend(self.wait_settled(&part.topic, index));
                at
            });
            let (topic, partition) = (part.topic.clone(), part.partition);
            answers.push(Produced { topic, partition, outcome });
        }
        let reply = Reply::Produce(answers);
        match request.acks {
            Acks::Durable => self.answer(ticket, reply, &waits),
            Acks::None => self.completions.push_back(Completion { ticket, reply }),
        }
    }

    /// Appends one batch; returns what to answer and the mark that must be durable first.
    fn produce_batch(
        &mut self,
        now: Now,
        part: &ProducePartition,
        zstd_allowed: bool,
    ) -> Result<(ProducedAt, LogId, i64), ProduceRefused> {
        let topic = self.catalog.topic(&part.topic).ok_or(ProduceRefused::UnknownPartition)?;
        let id = topic.log(part.partition).ok_or(ProduceRefused::UnknownPartition)?;
        if topic.internal {
            return Err(ProduceRefused::InvalidRecord(format!(
                "{} is written by the broker only",
                part.topic
            )));
        }
        let (size, limit) = (part.batch.len(), topic.settings.max_message_bytes);
        if size > limit {
            return Err(ProduceRefused::TooLarge { size, limit });
        }
        let batch = Batch::parse(part.batch.clone()).map_err(|error| refusal_of(&error))?;
        check_header(batch.header(), zstd_allowed)?;
        let (free, reserve) = (self.free_bytes, self.config.disk_reserve_bytes);
        if free.saturating_sub(size as u64) < reserve {
            return Err(ProduceRefused::Storage(below_reserve(free, reserve)));
        }
        let log_append_time = topic.settings.log_append_time;
        let at = AppendAt { now_ms: now.wall_ms, leader_epoch: LEADER_EPOCH, log_append_time };
        let partition = self.logs.get_mut(id).ok_or(ProduceRefused::UnknownPartition)?;
        let log = partition.writable().map_err(ProduceRefused::Storage)?;
        let log_start_offset = log.start_offset();
        let outcome = log.append(&batch, at);
        self.dirty.insert(id);
        let (base_offset, last_offset, log_append_time_ms) = match outcome {
            Ok(Appended::Written { base_offset, last_offset }) => {
                // Until the disk is looked at again.
                self.free_bytes = free.saturating_sub(size as u64);
                (base_offset, last_offset, log_append_time.then_some(now.wall_ms))
            }
            // When the first copy was appended is not known any more.
            Ok(Appended::Duplicate { base_offset, last_offset }) => {
                (base_offset, last_offset, None)
            }
            Err(refused) => {
                // A fault may have poisoned the log under replies that wait for it.
                self.log_advanced(id);
                return Err(refusal_of_append(&refused));
            }
        };
        if self.logs.durable(id) > last_offset {
            self.log_advanced(id);
        }
        Ok((ProducedAt { base_offset, log_start_offset, log_append_time_ms }, id, last_offset + 1))
    }
}

fn no_transactions() -> ProduceRefused {
    ProduceRefused::InvalidTransaction("transactions are not supported".into())
}

fn check_header(header: &BatchHeader, zstd_allowed: bool) -> Result<(), ProduceRefused> {
    let invalid = |why: String| Err(ProduceRefused::InvalidRecord(why));
    let attributes = header.attributes;
    if attributes.control() {
        return invalid("control batches are written by the broker only".into());
    }
    if attributes.transactional() {
        return Err(no_transactions());
    }
    if attributes.log_append_time() {
        return invalid("a producer may not set the log append time type".into());
    }
    if header.record_count < 1
        || i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count)
    {
        return invalid(format!(
            "the batch has {} records and a last offset delta of {}",
            header.record_count, header.last_offset_delta
        ));
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return invalid(format!(
            "producer {} sent epoch {} and sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        ));
    }
    if attributes.compression() == Some(Compression::Zstd) && !zstd_allowed {
        return Err(ProduceRefused::UnsupportedCompression(
            "zstd needs version 7 of the produce request".into(),
        ));
    }
    Ok(())
}

fn refusal_of(error: &BatchError) -> ProduceRefused {
    let text = error.to_string();
    match error {
        BatchError::Checksum { .. } | BatchError::Short { .. } | BatchError::Length(_) => {
            ProduceRefused::Corrupt(text)
        }
        BatchError::Codec(_) => ProduceRefused::UnsupportedCompression(text),
        BatchError::Magic(_) | BatchError::Invalid(_) => ProduceRefused::InvalidRecord(text),
        BatchError::TooLarge { .. } => ProduceRefused::InvalidRecord(text),
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
