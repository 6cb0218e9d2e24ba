//! SaslHandshake, 0 to 1: a listener without authentication has no mechanisms: ILLEGAL_SASL_STATE.

use tidings_wire::RequestHeader;
use tidings_wire::sasl_handshake::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        Ok(Self::refuse(ErrorCode::ILLEGAL_SASL_STATE).into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
