//! SaslAuthenticate, 0 to 2: nobody has to authenticate here: ILLEGAL_SASL_STATE.

use tidings_wire::RequestHeader;
use tidings_wire::sasl_authenticate::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut response = Self::refuse(ErrorCode::ILLEGAL_SASL_STATE);
        response.error_message = Some("this listener has no authentication".to_owned());
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
