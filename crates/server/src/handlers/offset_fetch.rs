//! OffsetFetch, 1 to 10: what groups have committed.
//!
//! Null topics (from version 2) ask for everything; otherwise exactly the partitions asked for are
//! answered, with offset -1 where nothing is committed. Version 8 asks for several groups
//! (KIP-709), each with its own error; before, a refusal is the response's error, in version 1 each
//! partition's. From version 9 a member of the consumer protocol says who it is (KIP-848); version 10
//! names topics by id. Who requires stable offsets (KIP-447, from version 7) gets UNSTABLE_OFFSET_COMMIT
//! for a partition in which a transaction that is not decided has committed one.

use tidings_broker::{FetchOffsets, FetchedOffset, GroupRefused, TopicName, WantedOffsets};
use tidings_wire::RequestHeader;
use tidings_wire::offset_fetch::{
    Group, GroupResponse, GroupTopicResponse, PartitionResponse, Request, Response, Topic,
    TopicResponse,
};

use super::{by_topic, id_or_empty, name_or_empty};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};
use crate::limits::GROUPS_PER_OFFSET_FETCH_MAX;

const GROUPS_SINCE: i16 = 8;
const GROUP_ERROR_SINCE: i16 = 2;
const TOPIC_IDS_SINCE: i16 = 10;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if header.version < GROUPS_SINCE {
            let topics = self.topics.clone();
            let fetched = context.ask(question(self.group_id, self.topics)).await?;
            let fetched = as_required(fetched, self.require_stable);
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
            let fetched = context.ask(question_of_group(group, header.version)).await?;
            let fetched = as_required(fetched, self.require_stable);
            let error_code = code_of(&fetched);
            let topics = fetched.map(respond_group).unwrap_or_default();
            groups.push(GroupResponse { group_id, topics, error_code });
        }
        Ok(Response { groups, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn as_required(
    fetched: Result<Vec<FetchedOffset>, GroupRefused>,
    stable: bool,
) -> Result<Vec<FetchedOffset>, GroupRefused> {
    match stable {
        true => fetched.map(|offsets| offsets.into_iter().map(FetchedOffset::stable).collect()),
        false => fetched,
    }
}

fn question(group: String, topics: Option<Vec<Topic>>) -> FetchOffsets {
    let wanted = topics.map_or(WantedOffsets::All, |topics| {
        let each = topics.into_iter().flat_map(|topic| {
            let indexes = topic.partition_indexes.into_iter();
            indexes.map(move |index| (TopicName::Name(topic.name.clone()), index))
        });
        WantedOffsets::These(each.collect())
    });
    FetchOffsets { group, member: None, wanted }
}

fn question_of_group(group: Group, version: i16) -> FetchOffsets {
    let by_id = version >= TOPIC_IDS_SINCE;
    let wanted = match group.topics {
        None if by_id => WantedOffsets::AllById,
        None => WantedOffsets::All,
        Some(topics) => {
            let each = topics.into_iter().flat_map(|topic| {
                let named =
                    if by_id { TopicName::Id(topic.topic_id) } else { TopicName::Name(topic.name) };
                topic.partition_indexes.into_iter().map(move |index| (named.clone(), index))
            });
            WantedOffsets::These(each.collect())
        }
    };
    let epoch = group.member_epoch;
    let member = match group.member_id {
        None if epoch < 0 => None,
        id => Some((id.unwrap_or_default(), epoch)),
    };
    FetchOffsets { group: group.group_id, member, wanted }
}

fn respond_one(
    fetched: Result<Vec<FetchedOffset>, GroupRefused>,
    asked: Option<Vec<Topic>>,
    version: i16,
) -> Response {
    match fetched {
        Ok(offsets) => {
            let topics = by_topic(offsets.into_iter().map(respond)).into_iter().map(
                |(topic, partitions)| TopicResponse { name: name_or_empty(topic), partitions },
            );
            Response { topics: topics.collect(), ..Response::default() }
        }
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

fn respond_group(offsets: Vec<FetchedOffset>) -> Vec<GroupTopicResponse> {
    let topics = by_topic(offsets.into_iter().map(respond)).into_iter();
    topics
        .map(|(topic, partitions)| GroupTopicResponse {
            topic_id: id_or_empty(&topic),
            name: name_or_empty(topic),
            partitions,
        })
        .collect()
}

fn respond(fetched: FetchedOffset) -> (TopicName, PartitionResponse) {
    let error_code = code_of(&fetched.outcome);
    let held = fetched.outcome.ok().flatten();
    let partition = PartitionResponse {
        partition_index: fetched.partition,
        committed_offset: held.as_ref().map_or(-1, |held| held.offset),
        committed_leader_epoch: held.as_ref().map_or(-1, |held| held.leader_epoch),
        // Older clients do not expect null.
        metadata: Some(held.map(|held| held.metadata).unwrap_or_default()),
        error_code,
    };
    (fetched.topic, partition)
}
