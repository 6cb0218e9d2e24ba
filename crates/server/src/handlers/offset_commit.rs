//! OffsetCommit, 2 to 10: a group's positions, durable when answered.
//!
//! Generation or member epoch -1 commits from outside the membership (tools, manual assignment).
//! Retention times per commit (versions 2 to 4) are not kept. A refusal of the group goes to every
//! partition: from version 9 GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH among them (KIP-848). Version 10
//! names topics by id.

use tidings_broker::{CommitOffsets, CommitPartition, TopicName};
use tidings_wire::RequestHeader;
use tidings_wire::offset_commit::{PartitionResponse, Request, Response, TopicResponse};

use super::{by_topic, id_or_empty, name_or_empty};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

const EPOCHS_SINCE: i16 = 9;
const TOPIC_IDS_SINCE: i16 = 10;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let partitions: Vec<_> = self
            .topics
            .into_iter()
            .flat_map(|topic| {
                let named = if header.version >= TOPIC_IDS_SINCE {
                    TopicName::Id(topic.topic_id)
                } else {
                    TopicName::Name(topic.name)
                };
                topic.partitions.into_iter().map(move |partition| CommitPartition {
                    topic: named.clone(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata,
                })
            })
            .collect();
        let asked: Vec<_> = partitions.iter().map(|p| (p.topic.clone(), p.partition)).collect();
        let commit = CommitOffsets {
            group: self.group_id,
            generation: self.generation_id_or_member_epoch,
            member_id: self.member_id,
            instance_id: self.group_instance_id,
            knows_epochs: header.version >= EPOCHS_SINCE,
            partitions,
        };
        let answered: Vec<(TopicName, PartitionResponse)> = match context.ask(commit).await? {
            Ok(committed) => committed
                .into_iter()
                .map(|p| (p.topic, respond(p.partition, code_of(&p.outcome))))
                .collect(),
            Err(refused) => {
                let code = refused.code().code;
                asked.into_iter().map(|(topic, p)| (topic, respond(p, code))).collect()
            }
        };
        let topics = by_topic(answered)
            .into_iter()
            .map(|(topic, partitions)| TopicResponse {
                topic_id: id_or_empty(&topic),
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

fn respond(partition_index: i32, error_code: i16) -> PartitionResponse {
    PartitionResponse { partition_index, error_code }
}
