//! InitProducerId, 0 to 5: the identity of an idempotent or transactional producer (KIP-98).
//!
//! From version 3 a producer may give its id and epoch to have the epoch raised (KIP-360). A
//! transactional id gets its producer id with a new epoch: the producer before it is fenced, and its
//! transaction, if one is ongoing, is aborted before the answer. Where a broker of Kafka says
//! CONCURRENT_TRANSACTIONS until that is done, this one does so only when a partition cannot be written.
//! A producer that was fenced gets PRODUCER_FENCED, before version 4 INVALID_PRODUCER_EPOCH.
//! While the node cannot record ids on disk: KAFKA_STORAGE_ERROR without a transactional id and
//! NOT_COORDINATOR with one, on which clients ask again.

use tidings_broker::{InitProducer, InitTransactions};
use tidings_wire::RequestHeader;
use tidings_wire::init_producer_id::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, transaction_code};

const FENCED_SINCE: i16 = 4;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let held = match (self.producer_id, self.producer_epoch) {
            (-1, -1) => None,
            (id, epoch) if id >= 0 && epoch >= 0 => Some((id, epoch)),
            _ => return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into()),
        };
        let identity = match self.transactional_id {
            None => {
                let init = InitProducer { resume: held };
                context.ask(init).await?.map_err(|refused| refused.code())
            }
            Some(transactional_id) => {
                let timeout_ms = self.transaction_timeout_ms;
                let init = InitTransactions { transactional_id, timeout_ms, expected: held };
                let began = context.ask(init).await?;
                began.map_err(|refused| transaction_code(&refused, header.version, FENCED_SINCE))
            }
        };
        Ok(match identity {
            Ok(identity) => Response {
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                ..Response::default()
            },
            Err(code) => Self::refuse(code),
        }
        .into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, producer_epoch: -1, ..Response::default() }
    }
}
