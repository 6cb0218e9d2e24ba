//! AddPartitionsToTxn, 0 to 5: partitions become part of a producer's transaction (KIP-98); the answer
//! comes when that is on disk.
//!
//! Where one partition does not exist (UNKNOWN_TOPIC_OR_PARTITION) or is the broker's own
//! (TOPIC_AUTHORIZATION_FAILED), none is added and the others get OPERATION_NOT_ATTEMPTED. Another
//! refusal goes to every partition; a fenced producer's is PRODUCER_FENCED, before version 2
//! INVALID_PRODUCER_EPOCH. From version 4, which brokers send, it is about several transactions, and may
//! only ask whether the partitions are part of them (KIP-890): TRANSACTION_ABORTABLE where they are not.

use tidings_broker::{AddMode, AddPartitions, AddRefused, AddedPartition, TransactionVersion};
use tidings_wire::RequestHeader;
use tidings_wire::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction, Request, Response,
};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::transaction_code;
use crate::limits::TRANSACTIONS_PER_REQUEST_MAX;

const SEVERAL_SINCE: i16 = 4;
const FENCED_SINCE: i16 = 2;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if header.version < SEVERAL_SINCE {
            let add = AddPartitions {
                transactional_id: self.v3_and_below_transactional_id,
                producer_id: self.v3_and_below_producer_id,
                epoch: self.v3_and_below_producer_epoch,
                partitions: partitions_of(self.v3_and_below_topics),
                mode: AddMode::Add(TransactionVersion::One),
            };
            let added = context.ask(add).await?;
            let results_by_topic_v3_and_below = results(added, header.version);
            return Ok(Response { results_by_topic_v3_and_below, ..Response::default() }.into());
        }
        if self.transactions.len() > TRANSACTIONS_PER_REQUEST_MAX {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        }
        let mut results_by_transaction = Vec::with_capacity(self.transactions.len());
        for transaction in self.transactions {
            let transactional_id = transaction.transactional_id.clone();
            let added = context.ask(question(transaction)).await?;
            let topic_results = results(added, header.version);
            results_by_transaction
                .push(AddPartitionsToTxnResult { transactional_id, topic_results });
        }
        Ok(Response { results_by_transaction, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn question(transaction: AddPartitionsToTxnTransaction) -> AddPartitions {
    AddPartitions {
        transactional_id: transaction.transactional_id,
        producer_id: transaction.producer_id,
        epoch: transaction.producer_epoch,
        partitions: partitions_of(transaction.topics),
        mode: match transaction.verify_only {
            true => AddMode::Verify,
            false => AddMode::Add(TransactionVersion::Two),
        },
    }
}

fn partitions_of(topics: Vec<AddPartitionsToTxnTopic>) -> Vec<(String, i32)> {
    let each = topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| (topic.name.clone(), partition))
    });
    each.collect()
}

fn results(added: Vec<AddedPartition>, version: i16) -> Vec<AddPartitionsToTxnTopicResult> {
    let each = added.into_iter().map(|added| {
        let code = match &added.outcome {
            Ok(()) => ErrorCode::NONE,
            Err(AddRefused::UnknownPartition) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(AddRefused::Internal) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Err(AddRefused::NotAttempted) => ErrorCode::OPERATION_NOT_ATTEMPTED,
            Err(AddRefused::Transaction(refused)) => {
                transaction_code(refused, version, FENCED_SINCE)
            }
        };
        let result = AddPartitionsToTxnPartitionResult {
            partition_index: added.partition,
            partition_error_code: code.code,
        };
        (added.topic, result)
    });
    by_topic(each)
        .into_iter()
        .map(|(name, results_by_partition)| AddPartitionsToTxnTopicResult {
            name,
            results_by_partition,
        })
        .collect()
}
