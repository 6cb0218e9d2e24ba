//! InitProducerId, 0 to 4: the identity of an idempotent producer (KIP-98).
//!
//! From version 3 a producer may give its id and epoch to have the epoch raised (KIP-360).
//! A transactional id gets INVALID_REQUEST, which clients take as final: there are no transactions.
//! While the node cannot record ids on disk: KAFKA_STORAGE_ERROR, on which clients ask again.

use tidings_broker::InitProducer;
use tidings_wire::RequestHeader;
use tidings_wire::init_producer_id::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if self.transactional_id.is_some() {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        }
        let resume = match (self.producer_id, self.producer_epoch) {
            (-1, -1) => None,
            (id, epoch) if id >= 0 && epoch >= 0 => Some((id, epoch)),
            _ => return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into()),
        };
        let identity = match context.ask(InitProducer { resume }).await? {
            Ok(identity) => identity,
            Err(refused) => return Ok(Self::refuse(refused.code()).into()),
        };
        let response = Response {
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, producer_epoch: -1, ..Response::default() }
    }
}
