//! EndTxn, 0 to 5: a producer's transaction is committed or aborted (KIP-98); the answer comes when
//! that is on disk in every partition of it.
//!
//! From version 5 the end raises the producer's epoch, and the answer has the producer id and epoch to go
//! on with (KIP-890). A repeated request has the same answer. What does not fit the transaction's state
//! gets INVALID_TXN_STATE, a producer that was fenced PRODUCER_FENCED, before version 2
//! INVALID_PRODUCER_EPOCH.

use tidings_broker::{EndTransaction, TransactionEnd, TransactionVersion};
use tidings_wire::RequestHeader;
use tidings_wire::end_txn::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::transaction_code;

const FENCED_SINCE: i16 = 2;
const RAISES_EPOCH_SINCE: i16 = 5;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let end = EndTransaction {
            transactional_id: self.transactional_id,
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            end: match self.committed {
                true => TransactionEnd::Commit,
                false => TransactionEnd::Abort,
            },
            version: match header.version {
                ..RAISES_EPOCH_SINCE => TransactionVersion::One,
                _ => TransactionVersion::Two,
            },
        };
        Ok(match context.ask(end).await? {
            Ok(goes_on) => Response {
                producer_id: goes_on.id,
                producer_epoch: goes_on.epoch,
                ..Response::default()
            },
            Err(refused) => Self::refuse(transaction_code(&refused, header.version, FENCED_SINCE)),
        }
        .into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response {
            error_code: error.code,
            producer_id: -1,
            producer_epoch: -1,
            ..Response::default()
        }
    }
}
