//! SyncGroup, 0 to 5: the leader's assignments go to the members, byte for byte.
//!
//! From version 5 the protocol's type and name are checked and returned (KIP-559).

use tidings_wire::RequestHeader;
use tidings_wire::sync_group::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let assignments = self.assignments.into_iter().map(|a| (a.member_id, a.assignment));
        let sync = tidings_broker::SyncGroup {
            group: self.group_id,
            generation: self.generation_id,
            member_id: self.member_id,
            instance_id: self.group_instance_id,
            protocol_type: self.protocol_type,
            protocol: self.protocol_name,
            assignments: assignments.collect(),
        };
        Ok(match context.ask(sync).await? {
            Ok(synced) => Response {
                protocol_type: Some(synced.protocol_type),
                protocol_name: Some(synced.protocol),
                assignment: synced.assignment,
                ..Response::default()
            }
            .into(),
            Err(refused) => Self::refuse(refused.code()).into(),
        })
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
