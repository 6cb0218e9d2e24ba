//! DescribeCluster, 0 to 2: the cluster's id and its brokers, of which the first is the controller.
//!
//! The endpoint type controllers (version 1, KIP-919) gets MISMATCHED_ENDPOINT_TYPE: they have no
//! listener; another gets UNSUPPORTED_ENDPOINT_TYPE. No broker is ever fenced (version 2). Authorized operations (KIP-430) are all that
//! there are, for want of an authorizer.

use tidings_wire::RequestHeader;
use tidings_wire::describe_cluster::{Broker, Request, Response};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized;
use crate::context::Context;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        match self.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                return Ok(Self::refuse(ErrorCode::MISMATCHED_ENDPOINT_TYPE).into());
            }
            _ => return Ok(Self::refuse(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE).into()),
        }
        let brokers = context.brokers().map(|broker| Broker {
            broker_id: broker.id,
            host: broker.host.to_owned(),
            port: i32::from(broker.port),
            ..Broker::default()
        });
        let response = Response {
            cluster_id: context.cluster_id(),
            controller_id: context.node_id(),
            brokers: brokers.collect(),
            cluster_authorized_operations: authorized::CLUSTER
                .if_asked(self.include_cluster_authorized_operations),
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        let said = error.meaning.to_owned();
        Response { error_code: error.code, error_message: Some(said), ..Response::default() }
    }
}
