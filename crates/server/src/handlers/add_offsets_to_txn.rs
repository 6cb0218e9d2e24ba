//! AddOffsetsToTxn, 0 to 4: the offsets that a group commits become part of a producer's transaction
//! (KIP-98); the answer comes when that is on disk.
//!
//! A producer that was fenced gets PRODUCER_FENCED, before version 2 INVALID_PRODUCER_EPOCH.

use tidings_broker::{AddOffsets, TransactionVersion};
use tidings_wire::RequestHeader;
use tidings_wire::add_offsets_to_txn::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::transaction_code;

const FENCED_SINCE: i16 = 2;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let add = AddOffsets {
            transactional_id: self.transactional_id,
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            version: TransactionVersion::One,
        };
        let refused = context.ask(add).await?.err();
        let code = refused.map(|refused| transaction_code(&refused, header.version, FENCED_SINCE));
        Ok(Self::refuse(code.unwrap_or(ErrorCode::NONE)).into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
