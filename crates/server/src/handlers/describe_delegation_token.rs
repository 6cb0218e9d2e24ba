//! DescribeDelegationToken, 1 to 3: tokens need an authenticated client, and there are none (KIP-48):
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as on a listener without authentication of Kafka.

use tidings_wire::RequestHeader;
use tidings_wire::describe_delegation_token::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        Ok(Self::refuse(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED).into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
