//! ListPartitionReassignments, 0: each reassignment ends at once, so none is under way (KIP-455).

use tidings_wire::RequestHeader;
use tidings_wire::list_partition_reassignments::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        Ok(Response::default().into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
