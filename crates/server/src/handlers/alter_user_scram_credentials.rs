//! AlterUserScramCredentials, 0: nobody authenticates here, so credentials are not kept (KIP-554).
//!
//! Each that would be set gets UNSUPPORTED_SASL_MECHANISM, each that would be removed
//! RESOURCE_NOT_FOUND.

use std::collections::BTreeMap;

use tidings_wire::RequestHeader;
use tidings_wire::alter_user_scram_credentials::{
    AlterUserScramCredentialsResult, Request, Response,
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
        let removed = self.deletions.into_iter().map(|deletion| {
            (deletion.name, (ErrorCode::RESOURCE_NOT_FOUND, "the user has no SCRAM credentials"))
        });
        let set = self.upsertions.into_iter().map(|upsertion| {
            let said = "this listener has no authentication, so no credentials are kept";
            (upsertion.name, (ErrorCode::UNSUPPORTED_SASL_MECHANISM, said))
        });
        // One result for each user, as Kafka answers.
        let by_user: BTreeMap<_, _> = removed.chain(set).collect();
        let results = by_user.into_iter().map(|(user, (error, said))| {
            let (error_code, error_message) = (error.code, Some(said.to_owned()));
            AlterUserScramCredentialsResult { user, error_code, error_message }
        });
        Ok(Response { results: results.collect(), ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}
