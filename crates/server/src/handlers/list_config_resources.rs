//! ListConfigResources, 0 and 1: what has a configuration (KIP-1142).
//!
//! Version 0 means clients' metrics, of which there are none; version 1 names types, or none for
//! all. Every topic, this broker and the groups of which something is said are listed. A type that is not Kafka's gets UNSUPPORTED_VERSION.

use tidings_wire::RequestHeader;
use tidings_wire::list_config_resources::{ConfigResource, Request, Response};

use super::describe_configs::kind_and_name;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

/// Topics, brokers, loggers, clients' metrics, groups.
const TYPES: [i8; 5] = [2, 4, 8, 16, 32];
const CLIENT_METRICS: i8 = 16;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let wanted = match header.version {
            0 => vec![CLIENT_METRICS],
            _ if self.resource_types.is_empty() => TYPES.to_vec(),
            _ => self.resource_types,
        };
        if wanted.iter().any(|wanted| !TYPES.contains(wanted)) {
            return Ok(Self::refuse(ErrorCode::UNSUPPORTED_VERSION).into());
        }
        let listed = context.ask(tidings_broker::ListConfigResources).await?;
        let named = listed.into_iter().map(kind_and_name);
        let config_resources = named
            .filter(|(kind, _)| wanted.contains(kind))
            .map(|(resource_type, resource_name)| ConfigResource { resource_name, resource_type });
        let config_resources = config_resources.collect();
        Ok(Response { config_resources, ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}
