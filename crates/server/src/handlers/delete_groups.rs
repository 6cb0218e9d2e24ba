//! DeleteGroups, 0 to 2: forgets groups without members, with what they committed.

use tidings_wire::RequestHeader;
use tidings_wire::delete_groups::{GroupResponse, Request, Response};

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
        let delete = tidings_broker::DeleteGroups { groups: self.groups_names };
        let results = context
            .ask(delete)
            .await?
            .into_iter()
            .map(|(group_id, outcome)| GroupResponse { group_id, error_code: code_of(&outcome) });
        Ok(Response { results: results.collect(), ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}
