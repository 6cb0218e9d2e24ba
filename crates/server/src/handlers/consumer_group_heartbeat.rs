//! ConsumerGroupHeartbeat, 0 to 1: a member of a group of the consumer protocol joins, stays and leaves
//! (KIP-848).
//!
//! Epoch 0 joins, -1 leaves, -2 leaves for a while (of a static member). From version 1 the member makes
//! its own id (KIP-1082) and may subscribe by a regular expression. The answer names partitions by topic id,
//! and only when they have changed or the request said everything. FENCED_MEMBER_EPOCH and
//! UNKNOWN_MEMBER_ID ask the member to join again without partitions.

use std::collections::BTreeMap;

use tidings_broker::{Beat, Partitions, TopicId};
use tidings_wire::RequestHeader;
use tidings_wire::consumer_group_heartbeat::{
    Assignment, Request, Response, TopicPartitions, TopicPartitionsResponse,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

const BRINGS_MEMBER_ID_SINCE: i16 = 1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let heartbeat = tidings_broker::ConsumerHeartbeat {
            group: self.group_id,
            member_id: self.member_id,
            brings_member_id: header.version >= BRINGS_MEMBER_ID_SINCE,
            epoch: self.member_epoch,
            instance_id: self.instance_id,
            rack_id: self.rack_id,
            rebalance_timeout_ms: Some(self.rebalance_timeout_ms).filter(|timeout| *timeout >= 0),
            topics: self.subscribed_topic_names,
            regex: self.subscribed_topic_regex,
            assignor: self.server_assignor,
            owned: self.topic_partitions.map(owned),
            client_id: header.client_id.clone().unwrap_or_default(),
            client_host: context.client_host(),
        };
        Ok(match context.ask(heartbeat).await? {
            Ok(beat) => respond(beat).into(),
            Err(refused) => {
                let error_message = Some(refused.text());
                Response { error_message, ..Self::refuse(refused.code()) }.into()
            }
        })
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn owned(topics: Vec<TopicPartitions>) -> Partitions {
    let each = topics.into_iter();
    each.flat_map(|topic| topic.partitions.into_iter().map(move |at| (topic.topic_id, at)))
        .collect()
}

fn respond(beat: Beat) -> Response {
    Response {
        member_id: Some(beat.member_id),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        assignment: beat.assignment.as_ref().map(assignment),
        ..Response::default()
    }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions.iter() {
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics.into_iter();
    let topic_partitions =
        topics.map(|(topic_id, partitions)| TopicPartitionsResponse { topic_id, partitions });
    Assignment { topic_partitions: topic_partitions.collect() }
}
