//! AlterConfigs, 0 to 2: replaces all that is said of topics, groups and brokers, durable when answered.
//!
//! What is not named goes back to its default (KIP-133). A value that is not allowed gets
//! INVALID_CONFIG for a topic and a group and INVALID_REQUEST for a broker, as Kafka has it; a resource or a
//! config named twice, and a null value, INVALID_REQUEST. With `validate_only` nothing is changed.

use tidings_broker::{Alteration, ConfigResource, TopicRefused};
use tidings_wire::RequestHeader;
use tidings_wire::alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, Request, Response,
};

use super::describe_configs::{kind_and_name, named};
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
        let resources = self.resources.into_iter().map(replacement).collect();
        let validate_only = self.validate_only;
        let answers =
            context.ask(tidings_broker::AlterConfigs { resources, validate_only }).await?;
        let responses = answers.into_iter().map(respond).collect();
        Ok(Response { responses, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn replacement(asked: AlterConfigsResource) -> (ConfigResource, Alteration) {
    let configs = asked.configs.into_iter().map(|config| (config.name, config.value));
    let resource = named(asked.resource_type, asked.resource_name);
    (resource, Alteration::Replace(configs.collect()))
}

fn respond(
    (resource, outcome): (ConfigResource, Result<(), TopicRefused>),
) -> AlterConfigsResourceResponse {
    let (resource_type, resource_name) = kind_and_name(resource);
    AlterConfigsResourceResponse {
        error_code: code_of(&outcome),
        error_message: outcome.err().map(|refused| refused.text()),
        resource_type,
        resource_name,
    }
}
