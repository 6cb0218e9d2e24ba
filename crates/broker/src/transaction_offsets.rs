//! Offsets that groups commit in transactions: transactional batches of the producer in
//! `__consumer_offsets`, which count when its marker says so.

use tidings_coordinator::{Record, TransactionProducer, TransactionRefused, TransactionVersion};
use tidings_log::NewRecord;

use crate::broker::{Broker, Now, Ticket};
use crate::topic_name::CONSUMER_OFFSETS;
use crate::{
    Acks, AddOffsets, CommitInTransaction, CommitInTransactionRefused, CommittedPartition,
    GroupRefused, GroupTrouble, Reply,
};

/// The one partition of `__consumer_offsets`.
const OFFSETS_PARTITION: (&str, i32) = (CONSUMER_OFFSETS, 0);

impl Broker {
    pub(crate) fn add_offsets(&mut self, now: Now, ticket: Ticket, request: &AddOffsets) {
        let producer = TransactionProducer {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id,
            epoch: request.epoch,
        };
        let offsets = self.offsets_for_use(now);
        let offsets = offsets.map_err(|refused| TransactionRefused::Storage(refused.to_string()));
        let answer = offsets.and_then(|_| {
            self.transactions_for_use(now)?;
            let partitions = [OFFSETS_PARTITION].into_iter();
            self.add_to_transaction(now, producer, partitions, request.version)
        });
        let waits = if answer.is_ok() { self.wait_for_transactions() } else { Vec::new() };
        self.answer(ticket, Reply::AddOffsets(answer), &waits);
    }

    pub(crate) fn commit_in_transaction(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &CommitInTransaction,
    ) {
        let answer = self.append_in_transaction(now, request);
        let waits = match request.acks {
            Acks::Durable if answer.is_ok() => self.wait_for_offsets(0),
            Acks::Durable | Acks::None => Vec::new(),
        };
        self.answer(ticket, Reply::CommitInTransaction(answer), &waits);
    }

    fn append_in_transaction(
        &mut self,
        now: Now,
        request: &CommitInTransaction,
    ) -> Result<Vec<CommittedPartition>, CommitInTransactionRefused> {
        let log = self.offsets_for_use(now)?;
        self.transactions_for_use(now)?;
        let CommitInTransaction { transactional_id, producer_id, epoch, adds, commit, .. } =
            request;
        let (producer_id, epoch) = (*producer_id, *epoch);
        let producer = TransactionProducer { transactional_id, producer_id, epoch };
        let (topic, partition) = OFFSETS_PARTITION;
        match self.ledger.state.verify(producer, topic, partition) {
            Err(TransactionRefused::NotAdded) if *adds => {
                let partitions = [OFFSETS_PARTITION].into_iter();
                let version = TransactionVersion::Two;
                self.add_to_transaction(now, producer, partitions, version)?;
            }
            verified => verified?,
        }
        let decision = self.groups.decide_commit_in_transaction(now, commit)?;
        self.groups.take_memory(now, self.groups.grows_by_pending(commit))?;
        let encode = |record: &Record| {
            let (key, value) = record.encode();
            NewRecord { timestamp: now.wall_ms, key: Some(key), value, headers: Vec::new() }
        };
        let records: Vec<NewRecord> = decision.records.iter().map(encode).collect();
        let appended = self.logs.append_own_for(log, now.wall_ms, &records, (producer_id, epoch));
        if let Err(trouble) = appended {
            self.log_advanced(log);
            return Err(GroupRefused::Other(GroupTrouble::Storage(trouble)).into());
        }
        for record in decision.records {
            self.groups.apply_in_transaction(producer_id, record);
        }
        Ok(decision.answers)
    }
}
