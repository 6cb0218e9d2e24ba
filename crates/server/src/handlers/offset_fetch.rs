//! OffsetFetch, 1 to 8: what groups have committed.
//!
//! Null topics (from version 2) ask for everything; otherwise exactly the partitions asked for are
//! answered, with offset -1 where nothing is committed. Version 8 asks for several groups
//! (KIP-709), each with its own error; before, a refusal is the response's error, in version 1 each
//! partition's. Stable offsets (KIP-447) are all offsets, as there are no transactions.

use tidings_broker::{FetchOffsets, FetchedOffset, GroupRefused};
use tidings_wire::RequestHeader;
use tidings_wire::offset_fetch::{
    GroupResponse, PartitionResponse, Request, Response, Topic, TopicResponse,
};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;
use crate::limits::GROUPS_PER_OFFSET_FETCH_MAX;

const GROUPS_SINCE: i16 = 8;
const GROUP_ERROR_SINCE: i16 = 2;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if header.version < GROUPS_SINCE {
            let topics = self.topics.clone();
            let fetched = context.ask(question(self.group_id, self.topics)).await?;
            return Ok(respond_one(fetched, topics, header.version).into());
        }
        let mut groups = Vec::with_capacity(self.groups.len().min(GROUPS_PER_OFFSET_FETCH_MAX));
        for (place, group) in self.groups.into_iter().enumerate() {
            let group_id = group.group_id.clone();
            if place >= GROUPS_PER_OFFSET_FETCH_MAX {
                let error_code = ErrorCode::INVALID_REQUEST.code;
                groups.push(GroupResponse { group_id, error_code, ..GroupResponse::default() });
                continue;
            }
            let fetched = context.ask(question(group.group_id, group.topics)).await?;
            groups.push(match fetched {
                Ok(offsets) => GroupResponse { group_id, topics: respond(offsets), error_code: 0 },
                Err(refused) => {
                    let error_code = refused.code().code;
                    GroupResponse { group_id, error_code, ..GroupResponse::default() }
                }
            });
        }
        Ok(Response { groups, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn question(group: String, topics: Option<Vec<Topic>>) -> FetchOffsets {
    let partitions = topics.map(|topics| {
        let each = topics.into_iter().flat_map(|topic| {
            topic.partition_indexes.into_iter().map(move |index| (topic.name.clone(), index))
        });
        each.collect()
    });
    FetchOffsets { group, partitions }
}

fn respond_one(
    fetched: Result<Vec<FetchedOffset>, GroupRefused>,
    asked: Option<Vec<Topic>>,
    version: i16,
) -> Response {
    match fetched {
        Ok(offsets) => Response { topics: respond(offsets), ..Response::default() },
        Err(refused) if version >= GROUP_ERROR_SINCE => Request::refuse(refused.code()),
        Err(refused) => {
            let refused = |partition_index| PartitionResponse {
                partition_index,
                committed_offset: -1,
                error_code: refused.code().code,
                ..PartitionResponse::default()
            };
            let topics = asked.unwrap_or_default().into_iter().map(|topic| TopicResponse {
                partitions: topic.partition_indexes.into_iter().map(refused).collect(),
                name: topic.name,
            });
            Response { topics: topics.collect(), ..Response::default() }
        }
    }
}

fn respond(offsets: Vec<FetchedOffset>) -> Vec<TopicResponse> {
    let partitions = offsets.into_iter().map(|fetched| {
        let partition = PartitionResponse {
            partition_index: fetched.partition,
            committed_offset: fetched.offset,
            committed_leader_epoch: fetched.leader_epoch,
            // Older clients do not expect null.
            metadata: Some(fetched.metadata.unwrap_or_default()),
            error_code: ErrorCode::NONE.code,
        };
        (fetched.topic, partition)
    });
    by_topic(partitions)
        .into_iter()
        .map(|(name, partitions)| TopicResponse { name, partitions })
        .collect()
}
