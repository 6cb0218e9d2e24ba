//! DescribeCluster, 0 to 2: the cluster's id and its one broker, which is the controller.
//!
//! The endpoint type controllers (version 1, KIP-919) gets MISMATCHED_ENDPOINT_TYPE: they have no listener.
//! Another gets UNSUPPORTED_ENDPOINT_TYPE.

use tidings_wire::RequestHeader;
use tidings_wire::describe_cluster::{Broker, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// Everything that may be done to a cluster, as bits (KIP-430): without an authorizer anyone may.
const EVERY_OPERATION: i32 = 8096;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        match self.endpoint_type {
            BROKERS => {}
            CONTROLLERS => return Ok(Self::refuse(ErrorCode::MISMATCHED_ENDPOINT_TYPE).into()),
            _ => return Ok(Self::refuse(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE).into()),
        }
        let broker_id = context.node_id();
        let broker =
            Broker { broker_id, host: context.host(), port: context.port(), ..Broker::default() };
        let cluster_authorized_operations = if self.include_cluster_authorized_operations {
            EVERY_OPERATION
        } else {
            Response::default().cluster_authorized_operations
        };
        let response = Response {
            cluster_authorized_operations,
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
