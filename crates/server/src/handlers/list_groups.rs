//! ListGroups, 0 to 5: every group, from version 4 those in given states (KIP-518), from version 5 those
//! of given types (KIP-848).

use tidings_wire::RequestHeader;
use tidings_wire::list_groups::{Group, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let list =
            tidings_broker::ListGroups { states: self.states_filter, types: self.types_filter };
        let groups = context.ask(list).await?.into_iter().map(|listed| Group {
            group_id: listed.group,
            protocol_type: listed.protocol_type,
            group_state: listed.state.to_owned(),
            group_type: listed.group_type.to_owned(),
        });
        Ok(Response { groups: groups.collect(), ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
