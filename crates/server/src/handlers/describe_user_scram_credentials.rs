//! DescribeUserScramCredentials, 0: no user has credentials (KIP-554).
//!
//! Each that is named gets RESOURCE_NOT_FOUND; of all users there are none.

use tidings_wire::RequestHeader;
use tidings_wire::describe_user_scram_credentials::{
    DescribeUserScramCredentialsResult, Request, Response, UserName,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let users = self.users.unwrap_or_default().into_iter();
        let results = users.map(unknown).collect();
        Ok(Response { results, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn unknown(user: UserName) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        error_code: ErrorCode::RESOURCE_NOT_FOUND.code,
        error_message: Some(format!("{} has no SCRAM credentials", user.name)),
        user: user.name,
        ..DescribeUserScramCredentialsResult::default()
    }
}
