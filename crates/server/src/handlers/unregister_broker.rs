//! UnregisterBroker, 0: the brokers here are this process, so none can be forgotten.
//!
//! A broker that is not there gets BROKER_ID_NOT_REGISTERED, one that is INVALID_REQUEST.

use tidings_wire::RequestHeader;
use tidings_wire::unregister_broker::{Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let id = self.broker_id;
        let (error, said) = match context.brokers().any(|broker| broker.id == id) {
            true => (ErrorCode::INVALID_REQUEST, format!("broker {id} is running: stop it")),
            false => (ErrorCode::BROKER_ID_NOT_REGISTERED, format!("there is no broker {id}")),
        };
        let mut response = Self::refuse(error);
        response.error_message = Some(said);
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
