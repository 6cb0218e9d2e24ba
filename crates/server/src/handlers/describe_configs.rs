//! DescribeConfigs, 1 to 4: configuration of topics and of this broker.
//!
//! Every entry says where its value comes from; synonyms are the values it would fall back to, type
//! and documentation go out from version 3 (KIP-569). Other kinds of resources get INVALID_REQUEST.

use tidings_broker::{ConfigEntry, ConfigKind, ConfigResource, ConfigSource, DescribedConfigs};
use tidings_wire::RequestHeader;
use tidings_wire::describe_configs::{
    Config, Request, Resource, ResourceResponse, Response, Synonym,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let resources = self.resources.into_iter().map(resource).collect();
        let described = context.ask(tidings_broker::DescribeConfigs { resources }).await?;
        let shown =
            Shown { synonyms: self.include_synonyms, documentation: self.include_documentation };
        let results = described.into_iter().map(|d| respond(d, shown)).collect();
        Ok(Response { results, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

/// What the client wants to see of each entry.
#[derive(Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
}

fn resource(asked: Resource) -> (ConfigResource, Option<Vec<String>>) {
    let name = asked.resource_name;
    let resource = match asked.resource_type {
        TOPIC => ConfigResource::Topic(name),
        BROKER => ConfigResource::Broker(name),
        kind => ConfigResource::Other { kind, name },
    };
    (resource, asked.configuration_keys)
}

fn respond(described: DescribedConfigs, shown: Shown) -> ResourceResponse {
    let (resource_type, resource_name) = match described.resource {
        ConfigResource::Topic(name) => (TOPIC, name),
        ConfigResource::Broker(name) => (BROKER, name),
        ConfigResource::Other { kind, name } => (kind, name),
    };
    let error_code = code_of(&described.configs);
    let error_message = described.configs.as_ref().err().map(Refusal::text);
    let entries = described.configs.unwrap_or_default();
    ResourceResponse {
        error_code,
        error_message,
        resource_type,
        resource_name,
        configs: entries.into_iter().map(|entry| config(entry, shown)).collect(),
    }
}

fn config(entry: ConfigEntry, shown: Shown) -> Config {
    Config {
        name: entry.name.to_owned(),
        synonyms: if shown.synonyms { synonyms(&entry) } else { Vec::new() },
        value: entry.value,
        read_only: entry.read_only,
        config_source: source_code(entry.source),
        is_sensitive: false,
        config_type: kind_code(entry.kind),
        documentation: shown.documentation.then(|| entry.documentation.to_owned()),
    }
}

/// The value in force, then the default below it.
fn synonyms(entry: &ConfigEntry) -> Vec<Synonym> {
    let synonym = |value: &Option<String>, source| Synonym {
        name: entry.name.to_owned(),
        value: value.clone(),
        source: source_code(source),
    };
    let mut synonyms = vec![synonym(&entry.value, entry.source)];
    if entry.source != ConfigSource::Default && entry.default.is_some() {
        synonyms.push(synonym(&entry.default, ConfigSource::Default));
    }
    synonyms
}

/// Kafka's numbers of `ConfigEntry.ConfigSource`.
pub(super) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::StaticBroker => 4,
        ConfigSource::Default => 5,
    }
}

/// Kafka's numbers of `ConfigEntry.ConfigType`.
fn kind_code(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::String => 2,
        ConfigKind::Int => 3,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
    }
}
