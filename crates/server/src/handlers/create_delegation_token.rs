//! CreateDelegationToken, 1 to 3: tokens need an authenticated client, and there are none (KIP-48):
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as on a listener without authentication of Kafka.

use tidings_wire::RequestHeader;
use tidings_wire::create_delegation_token::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

/// Whoever is connected, as Kafka calls a client that has not said who it is.
const USER: &str = "User";
const ANONYMOUS: &str = "ANONYMOUS";

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        Ok(Self::refuse(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED).into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response {
            error_code: error.code,
            principal_type: USER.to_owned(),
            principal_name: ANONYMOUS.to_owned(),
            token_requester_principal_type: USER.to_owned(),
            token_requester_principal_name: ANONYMOUS.to_owned(),
            issue_timestamp_ms: -1,
            expiry_timestamp_ms: -1,
            max_timestamp_ms: -1,
            ..Response::default()
        }
    }
}
