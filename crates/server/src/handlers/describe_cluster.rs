//! DescribeCluster, 0 to 2: the cluster's id and its one broker, which is the controller.
//!
//! The endpoint type controllers (version 1, KIP-919) gets INVALID_REQUEST: they have no listener.

use tidings_wire::RequestHeader;
use tidings_wire::describe_cluster::{Broker, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

const BROKERS: i8 = 1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if self.endpoint_type != BROKERS {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        }
        let broker_id = context.node_id();
        let broker =
            Broker { broker_id, host: context.host(), port: context.port(), ..Broker::default() };
        let response = Response {
            cluster_id: context.cluster_id(),
            controller_id: broker_id,
            brokers: vec![broker],
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
