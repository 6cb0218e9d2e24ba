//! DescribeGroups, 0 to 6: groups with their members. One that is not there is Dead, and from version 6
//! GROUP_ID_NOT_FOUND (KIP-1043).

use tidings_broker::{DescribedGroup, GroupMember};
use tidings_wire::RequestHeader;
use tidings_wire::describe_groups::{Group, Member, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized;
use crate::context::Context;

const NOT_FOUND_SINCE: i16 = 6;
/// The state of a group that is not there.
const DEAD: &str = "Dead";

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let describe = tidings_broker::DescribeGroups { groups: self.groups };
        let described = context.ask(describe).await?.into_iter();
        let operations = authorized::GROUP.if_asked(self.include_authorized_operations);
        let groups = described.map(|group| respond(group, header.version, operations)).collect();
        Ok(Response { groups, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(described: DescribedGroup, version: i16, operations: i32) -> Group {
    let missing = described.state == DEAD && version >= NOT_FOUND_SINCE;
    let error = if missing { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE };
    Group {
        error_code: error.code,
        error_message: missing.then(|| error.meaning.to_owned()),
        group_id: described.group,
        group_state: described.state.to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: described.members.into_iter().map(member).collect(),
        authorized_operations: if missing { i32::MIN } else { operations },
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
