//! Heartbeat, 0 to 4: keeps a membership alive; REBALANCE_IN_PROGRESS asks the member to join again.

use tidings_wire::RequestHeader;
use tidings_wire::heartbeat::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::code_of;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let heartbeat = tidings_broker::Heartbeat {
            group: self.group_id,
            generation: self.generation_id,
            member_id: self.member_id,
            instance_id: self.group_instance_id,
        };
        let error_code = code_of(&context.ask(heartbeat).await?);
        Ok(Response { error_code, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
