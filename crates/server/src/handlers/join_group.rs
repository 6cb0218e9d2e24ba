//! JoinGroup, 0 to 9: enters a group; the answer comes with the next generation.
//!
//! From version 4 a first join without an instance id is refused with MEMBER_ID_REQUIRED and the
//! id to join with (KIP-394). Static members exist from version 5 (KIP-345). Version 0 has no
//! rebalance timeout: it is the session timeout. Only the leader gets the members. A static leader that
//! comes back to a stable group leads on and is told to assign nothing (version 9, KIP-814).

use tidings_wire::RequestHeader;
use tidings_wire::join_group::{Member, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;
use tidings_broker::{GroupRefused, Joined};

const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// Before, a refusal's protocol is an empty name.
const NULL_PROTOCOL_SINCE: i16 = 7;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let protocols = self.protocols.into_iter().map(|p| (p.name, p.metadata)).collect();
        let member_id = self.member_id.clone();
        let join = tidings_broker::JoinGroup {
            group: self.group_id,
            member_id: self.member_id,
            instance_id: self.group_instance_id,
            client_id: header.client_id.clone().unwrap_or_default(),
            client_host: context.client_host(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: match self.rebalance_timeout_ms {
                -1 => self.session_timeout_ms,
                timeout => timeout,
            },
            protocol_type: self.protocol_type,
            protocols,
            require_known_member_id: header.version >= MEMBER_ID_REQUIRED_SINCE,
            can_skip_assignment: header.version >= SKIP_ASSIGNMENT_SINCE,
        };
        Ok(match context.ask(join).await? {
            Ok(joined) => respond(joined).into(),
            Err(refused) => refuse_member(&refused, member_id, header.version).into(),
        })
    }

    fn refuse(error: ErrorCode) -> Response {
        let protocol_name = Some(String::new());
        Response { error_code: error.code, protocol_name, ..Response::default() }
    }
}

fn respond(joined: Joined) -> Response {
    let members = joined.members.into_iter().map(|(member_id, group_instance_id, metadata)| {
        Member { member_id, group_instance_id, metadata }
    });
    Response {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..Response::default()
    }
}

fn refuse_member(refused: &GroupRefused, asked: String, version: i16) -> Response {
    let member_id = match refused {
        GroupRefused::MemberIdRequired { member_id } => member_id.clone(),
        _ => asked,
    };
    Response {
        error_code: refused.code().code,
        protocol_name: (version < NULL_PROTOCOL_SINCE).then(String::new),
        member_id,
        ..Response::default()
    }
}
