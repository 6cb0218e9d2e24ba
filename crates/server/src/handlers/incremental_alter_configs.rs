//! IncrementalAlterConfigs, 0 and 1: changes single configs of topics and brokers, durable when
//! answered (KIP-339).
//!
//! SET, DELETE (back to the default), APPEND and SUBTRACT (words of lists only). Refusals are those
//! of AlterConfigs; an operation that is none of these gets INVALID_REQUEST.

use tidings_broker::{Alteration, ConfigChange, ConfigOp, ConfigResource};
use tidings_wire::RequestHeader;
use tidings_wire::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, Request, Response,
};

use super::describe_configs::named;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut responses = Vec::with_capacity(self.resources.len());
        let mut resources = Vec::new();
        let mut places = Vec::new();
        for (place, asked) in self.resources.into_iter().enumerate() {
            let mut response = AlterConfigsResourceResponse {
                resource_type: asked.resource_type,
                resource_name: asked.resource_name.clone(),
                ..Default::default()
            };
            match alteration(asked) {
                Ok(alteration) => {
                    resources.push(alteration);
                    places.push(place);
                }
                Err(operation) => {
                    response.error_code = ErrorCode::INVALID_REQUEST.code;
                    response.error_message = Some(format!("Unknown operation type {operation}"));
                }
            }
            responses.push(response);
        }
        let validate_only = self.validate_only;
        let answers =
            context.ask(tidings_broker::AlterConfigs { resources, validate_only }).await?;
        for (place, (_, outcome)) in places.into_iter().zip(answers) {
            responses[place].error_code = code_of(&outcome);
            responses[place].error_message = outcome.err().map(|refused| refused.text());
        }
        Ok(Response { responses, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

/// What is asked of a resource, or the number of an operation that there is not.
fn alteration(asked: AlterConfigsResource) -> Result<(ConfigResource, Alteration), i8> {
    let changes: Result<Vec<_>, _> = asked.configs.into_iter().map(change).collect();
    let resource = named(asked.resource_type, asked.resource_name);
    Ok((resource, Alteration::Change(changes?)))
}

fn change(config: AlterableConfig) -> Result<ConfigChange, i8> {
    let op = match config.config_operation {
        0 => ConfigOp::Set,
        1 => ConfigOp::Delete,
        2 => ConfigOp::Append,
        3 => ConfigOp::Subtract,
        unknown => return Err(unknown),
    };
    Ok(ConfigChange { name: config.name, op, value: config.value })
}
