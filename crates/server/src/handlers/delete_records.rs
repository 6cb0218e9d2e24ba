//! DeleteRecords, 0 to 2: moves the start of partitions (KIP-107); the answer comes when that is on
//! disk.
//!
//! -1 means the high watermark. An offset past that gets OFFSET_OUT_OF_RANGE, one below the present
//! start changes nothing. Topics that are only compacted get POLICY_VIOLATION, the broker's own
//! INVALID_TOPIC_EXCEPTION, as in Kafka.

use tidings_broker::{DeleteRecordsPartition, DeletedRecords};
use tidings_wire::RequestHeader;
use tidings_wire::delete_records::{PartitionResponse, Request, Response, TopicResponse};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::code_of;

const HIGH_WATERMARK: i64 = -1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut asked = Vec::new();
        for topic in self.topics {
            asked.extend(topic.partitions.into_iter().map(|partition| DeleteRecordsPartition {
                topic: topic.name.clone(),
                partition: partition.partition_index,
                before: (partition.offset != HIGH_WATERMARK).then_some(partition.offset),
            }));
        }
        let deleted = context.ask(tidings_broker::DeleteRecords { partitions: asked }).await?;
        let topics = by_topic(deleted.into_iter().map(|d| (d.topic.clone(), respond(&d))))
            .into_iter()
            .map(|(name, partitions)| TopicResponse { name, partitions })
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(deleted: &DeletedRecords) -> PartitionResponse {
    PartitionResponse {
        partition_index: deleted.partition,
        low_watermark: *deleted.outcome.as_ref().unwrap_or(&-1),
        error_code: code_of(&deleted.outcome),
    }
}
