//! OffsetDelete, 0: forgets single committed offsets (KIP-496).
//!
//! Refused for topics that the group's members subscribe to, and as a whole for a group with members
//! whose subscriptions are not known.

use tidings_broker::DeleteOffsets;
use tidings_wire::RequestHeader;
use tidings_wire::offset_delete::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic, Request, Response,
};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let each = self.topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |p| (topic.name.clone(), p.partition_index))
        });
        let delete = DeleteOffsets { group: self.group_id, partitions: each.collect() };
        let deleted = match context.ask(delete).await? {
            Ok(deleted) => deleted,
            Err(refused) => return Ok(Self::refuse(refused.code()).into()),
        };
        let partitions = deleted.into_iter().map(|deleted| {
            let error_code = code_of(&deleted.outcome);
            let partition_index = deleted.partition;
            (deleted.topic, OffsetDeleteResponsePartition { partition_index, error_code })
        });
        let topics = by_topic(partitions)
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteResponseTopic { name, partitions });
        Ok(Response { topics: topics.collect(), ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
