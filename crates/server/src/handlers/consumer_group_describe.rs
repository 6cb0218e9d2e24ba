//! ConsumerGroupDescribe, 0 to 1: groups of the consumer protocol with their members (KIP-848).
//!
//! A group of another kind, or none, is GROUP_ID_NOT_FOUND: clients then ask DescribeGroups. From version 1
//! each member says which protocol it speaks (KIP-1099).

use tidings_broker::{ConsumerMember, DescribedConsumerGroup, GroupRefused, NamedPartitions};
use tidings_wire::RequestHeader;
use tidings_wire::consumer_group_describe::{
    Assignment, DescribedGroup, Member, Request, Response, TopicPartitions,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized;
use crate::context::Context;
use crate::error_code::Refusal;

const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let describe = tidings_broker::DescribeConsumerGroups { groups: self.group_ids };
        let described = context.ask(describe).await?.into_iter();
        let operations = authorized::GROUP.if_asked(self.include_authorized_operations);
        let groups = described.map(|group| respond(group, operations)).collect();
        Ok(Response { groups, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(
    (group_id, described): (String, Result<DescribedConsumerGroup, GroupRefused>),
    authorized_operations: i32,
) -> DescribedGroup {
    match described {
        Ok(described) => DescribedGroup {
            group_id,
            group_state: described.state.to_owned(),
            group_epoch: described.epoch,
            assignment_epoch: described.target_epoch,
            assignor_name: described.assignor.to_owned(),
            members: described.members.into_iter().map(member).collect(),
            authorized_operations,
            ..DescribedGroup::default()
        },
        Err(refused) => DescribedGroup {
            group_id,
            error_code: refused.code().code,
            error_message: Some(refused.text()),
            ..DescribedGroup::default()
        },
    }
}

fn member(member: ConsumerMember) -> Member {
    let about = member.about;
    Member {
        member_id: member.member_id,
        instance_id: about.instance_id,
        rack_id: about.rack_id,
        member_epoch: member.epoch,
        client_id: about.client_id,
        client_host: about.client_host,
        subscribed_topic_names: about.topics.into_iter().collect(),
        // Not null, as KIP-848 has it: Kafka answers empty, and clients have only ever seen that.
        subscribed_topic_regex: Some(about.regex.unwrap_or_default()),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        member_type: if about.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn assignment(partitions: NamedPartitions) -> Assignment {
    let topics = partitions.into_iter();
    let topic_partitions = topics.map(|(topic_id, topic_name, partitions)| TopicPartitions {
        topic_id,
        topic_name,
        partitions,
    });
    Assignment { topic_partitions: topic_partitions.collect() }
}
