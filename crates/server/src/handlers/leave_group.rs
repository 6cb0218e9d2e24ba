//! LeaveGroup, 0 to 5: takes members out of a group at once.
//!
//! From version 3 several members, by member id or by instance id alone, each with its own error
//! (KIP-345); before, one member whose refusal is the response's error.

use tidings_broker::LeftMember;
use tidings_wire::RequestHeader;
use tidings_wire::leave_group::{MemberResponse, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

const MEMBERS_SINCE: i16 = 3;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let several = header.version >= MEMBERS_SINCE;
        let members = if several {
            self.members.into_iter().map(|m| (m.member_id, m.group_instance_id)).collect()
        } else {
            vec![(self.member_id, None)]
        };
        let leave = tidings_broker::LeaveGroup { group: self.group_id, members };
        Ok(match context.ask(leave).await? {
            Ok(left) if several => {
                let members = left.into_iter().map(respond).collect();
                Response { members, ..Response::default() }.into()
            }
            Ok(left) => {
                let error_code = left.first().map_or(0, |member| code_of(&member.outcome));
                Response { error_code, ..Response::default() }.into()
            }
            Err(refused) => Self::refuse(refused.code()).into(),
        })
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn respond(left: LeftMember) -> MemberResponse {
    MemberResponse {
        error_code: code_of(&left.outcome),
        member_id: left.member_id,
        group_instance_id: left.instance_id,
    }
}
