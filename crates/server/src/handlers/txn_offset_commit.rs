//! TxnOffsetCommit, 0 to 5: a group's positions, which count when the producer's transaction is
//! committed (KIP-98).
//!
//! The offsets must be part of the transaction (AddOffsetsToTxn); from version 5 they become so with
//! this (KIP-890). From version 3 the producer says for which member it works, and is refused as the
//! member would be (KIP-447). A refusal goes to every partition; a fenced producer's is
//! INVALID_PRODUCER_EPOCH, and offsets that are not part of the transaction get TRANSACTION_ABORTABLE,
//! before version 4 INVALID_TXN_STATE.

use tidings_broker::{
    Acks, CommitInTransaction, CommitInTransactionRefused, CommitOffsets, CommitPartition,
    TopicName, TransactionRefused,
};
use tidings_wire::RequestHeader;
use tidings_wire::txn_offset_commit::{
    Request, Response, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use super::{by_topic, name_or_empty};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, batch_code, code_of};

const ABORTABLE_SINCE: i16 = 4;
const ADDS_SINCE: i16 = 5;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let partitions = partitions_of(self.topics);
        let asked: Vec<_> = partitions.iter().map(|p| (p.topic.clone(), p.partition)).collect();
        let commit = CommitInTransaction {
            acks: Acks::Durable,
            transactional_id: self.transactional_id,
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            adds: header.version >= ADDS_SINCE,
            commit: CommitOffsets {
                group: self.group_id,
                generation: self.generation_id,
                member_id: self.member_id,
                instance_id: self.group_instance_id,
                knows_epochs: true,
                partitions,
            },
        };
        let answered: Vec<_> = match context.ask(commit).await? {
            Ok(committed) => committed
                .into_iter()
                .map(|p| (p.topic, respond(p.partition, code_of(&p.outcome))))
                .collect(),
            Err(refused) => {
                let code = code(&refused, header.version).code;
                asked.into_iter().map(|(topic, at)| (topic, respond(at, code))).collect()
            }
        };
        let topics = by_topic(answered)
            .into_iter()
            .map(|(topic, partitions)| TxnOffsetCommitResponseTopic {
                name: name_or_empty(topic),
                partitions,
            })
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn partitions_of(topics: Vec<TxnOffsetCommitRequestTopic>) -> Vec<CommitPartition> {
    let each = topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| CommitPartition {
            topic: TopicName::Name(topic.name.clone()),
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata,
        })
    });
    each.collect()
}

fn code(refused: &CommitInTransactionRefused, version: i16) -> ErrorCode {
    match refused {
        CommitInTransactionRefused::Group(refused) => refused.code(),
        // Unlike the one of a produce request, this answer may say that the node is not ready.
        CommitInTransactionRefused::Transaction(
            refused @ (TransactionRefused::Storage(_) | TransactionRefused::Concurrent),
        ) => refused.code(),
        CommitInTransactionRefused::Transaction(refused) => {
            batch_code(refused, version >= ABORTABLE_SINCE)
        }
    }
}

fn respond(partition_index: i32, error_code: i16) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition { partition_index, error_code }
}
