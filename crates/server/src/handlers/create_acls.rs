//! CreateAcls, 1 to 3: there is no authorizer to obey a rule: each gets SECURITY_DISABLED.

use tidings_wire::RequestHeader;
use tidings_wire::create_acls::{AclCreationResult, Request, Response};

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
        let refused = AclCreationResult {
            error_code: ErrorCode::SECURITY_DISABLED.code,
            error_message: Some(NO_AUTHORIZER.to_owned()),
        };
        let results = vec![refused; self.creations.len()];
        Ok(Response { results, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}
