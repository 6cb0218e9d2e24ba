//! DescribeTransactions, 0: producer, state, timeout and partitions of transactional ids (KIP-664).
//!
//! An id that is not known gets TRANSACTIONAL_ID_NOT_FOUND. A question asked twice is answered once.

use tidings_broker::{DescribedTransaction, Transaction};
use tidings_wire::RequestHeader;
use tidings_wire::describe_transactions::{Request, Response, TopicData, TransactionState};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let transactional_ids = self.transactional_ids;
        let asked = tidings_broker::DescribeTransactions { transactional_ids };
        let described = context.ask(asked).await?;
        let transaction_states = described.into_iter().map(respond).collect();
        Ok(Response { transaction_states, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(described: DescribedTransaction) -> TransactionState {
    let transactional_id = described.transactional_id;
    let held: Transaction = match described.outcome {
        Ok(held) => held,
        Err(refused) => {
            let error_code = refused.code().code;
            return TransactionState { transactional_id, error_code, ..Default::default() };
        }
    };
    let topics = held.partitions.into_iter().map(|(topic, partitions)| TopicData {
        topic,
        partitions: partitions.into_iter().collect(),
    });
    TransactionState {
        error_code: ErrorCode::NONE.code,
        transactional_id,
        transaction_state: held.state.name().to_owned(),
        transaction_timeout_ms: held.timeout_ms,
        transaction_start_time_ms: held.started_ms,
        producer_id: held.producer_id,
        producer_epoch: held.epoch,
        topics: topics.collect(),
    }
}
