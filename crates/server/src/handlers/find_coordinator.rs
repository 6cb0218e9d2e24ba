//! FindCoordinator, 0 to 6: this node coordinates every group and every transactional id.
//!
//! Version 4 asks for several keys, each with its own error (KIP-699). Other key types get
//! INVALID_REQUEST, which clients take as final.

use tidings_wire::RequestHeader;
use tidings_wire::find_coordinator::{Coordinator, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const KEYS_SINCE: i16 = 4;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let coordinator = |key| match self.key_type {
            GROUP | TRANSACTION => Coordinator {
                key,
                node_id: context.node_id(),
                host: context.host(),
                port: context.port(),
                ..Coordinator::default()
            },
            _ => Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code: ErrorCode::INVALID_REQUEST.code,
                error_message: Some(
                    "only groups and transactional ids have coordinators here".into(),
                ),
                ..Coordinator::default()
            },
        };
        if header.version >= KEYS_SINCE {
            let coordinators = self.coordinator_keys.into_iter().map(coordinator).collect();
            return Ok(Response { coordinators, ..Response::default() }.into());
        }
        let Coordinator { node_id, host, port, error_code, error_message, .. } =
            coordinator(self.key);
        let response =
            Response { error_code, error_message, node_id, host, port, ..Response::default() };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, node_id: -1, port: -1, ..Response::default() }
    }
}
