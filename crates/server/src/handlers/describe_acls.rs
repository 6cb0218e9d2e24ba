//! DescribeAcls, 1 to 3: there is no authorizer, so there are no rules: SECURITY_DISABLED.

use tidings_wire::RequestHeader;
use tidings_wire::describe_acls::{Request, Response};

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
        let mut response = Self::refuse(ErrorCode::SECURITY_DISABLED);
        response.error_message = Some(NO_AUTHORIZER.to_owned());
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
