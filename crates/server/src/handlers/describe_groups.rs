//! DescribeGroups, 0 to 5: groups with their members; one that is not there is Dead.

use tidings_broker::{DescribedGroup, GroupMember};
use tidings_wire::RequestHeader;
use tidings_wire::describe_groups::{Group, Member, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let describe = tidings_broker::DescribeGroups { groups: self.groups };
        let groups = context.ask(describe).await?.into_iter().map(respond).collect();
        Ok(Response { groups, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(described: DescribedGroup) -> Group {
    Group {
        group_id: described.group,
        group_state: described.state.to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: described.members.into_iter().map(member).collect(),
        ..Group::default()
    }
}

fn member(member: GroupMember) -> Member {
    Member {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
