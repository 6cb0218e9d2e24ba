//! DescribeProducers, 0: what partitions remember of their producers, and since which offset a
//! transaction of theirs is open (KIP-664).

use tidings_broker::DescribedProducers;
use tidings_broker::log::ProducerEntry;
use tidings_wire::RequestHeader;
use tidings_wire::describe_producers::{
    PartitionResponse, ProducerState, Request, Response, TopicResponse,
};

use super::by_topic;
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
        let partitions = self.topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic.partition_indexes.into_iter().map(move |partition| (name.clone(), partition))
        });
        let asked = tidings_broker::DescribeProducers { partitions: partitions.collect() };
        let described = context.ask(asked).await?;
        let topics = by_topic(described.into_iter().map(respond))
            .into_iter()
            .map(|(name, partitions)| TopicResponse { name, partitions })
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(described: DescribedProducers) -> (String, PartitionResponse) {
    let partition_index = described.partition;
    let response = match described.outcome {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.into_iter().map(producer).collect(),
            ..PartitionResponse::default()
        },
        Err(refused) => PartitionResponse {
            partition_index,
            error_code: refused.code().code,
            error_message: Some(refused.text()),
            ..PartitionResponse::default()
        },
    };
    (described.topic, response)
}

fn producer(entry: ProducerEntry) -> ProducerState {
    ProducerState {
        producer_id: entry.producer_id,
        producer_epoch: i32::from(entry.epoch),
        last_sequence: entry.last_sequence,
        last_timestamp: entry.timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.transaction_offset.unwrap_or(-1),
    }
}
