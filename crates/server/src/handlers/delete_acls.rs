//! DeleteAcls, 1 to 3: there is no authorizer, so there are no rules: each filter gets
//! SECURITY_DISABLED.

use tidings_wire::RequestHeader;
use tidings_wire::delete_acls::{DeleteAclsFilterResult, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized::NO_AUTHORIZER;
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let refused = DeleteAclsFilterResult {
            error_code: ErrorCode::SECURITY_DISABLED.code,
            error_message: Some(NO_AUTHORIZER.to_owned()),
            matching_acls: Vec::new(),
        };
        let filter_results = vec![refused; self.filters.len()];
        Ok(Response { filter_results, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}
