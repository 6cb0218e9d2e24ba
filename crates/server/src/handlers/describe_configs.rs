//! DescribeConfigs, 1 to 4: configuration of topics, of groups, of this broker and of all brokers ("").
//!
//! Every entry says where its value comes from; synonyms are the values it would fall back to, type
//! and documentation go out from version 3 (KIP-569). Of a broker the server adds what the node does
//! not know: addresses, the data directory and limits of connections. Other kinds of resources get INVALID_REQUEST.

use tidings_broker::{
    ConfigEntry, ConfigKind, ConfigResource, ConfigSource, ConfigSynonym, DescribedConfigs,
};
use tidings_wire::RequestHeader;
use tidings_wire::describe_configs::{
    Config, Request, Resource, ResourceResponse, Response, Synonym,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};
use crate::limits;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

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
        let results = described.into_iter().map(|mut described| {
            if let (ConfigResource::Broker(id), Ok(entries)) =
                (&described.resource, &mut described.configs)
                && !id.is_empty()
            {
                entries.iter_mut().for_each(|entry| add_ours(entry, context));
            }
            respond(described, shown)
        });
        let results = results.collect();
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

/// A config's value as the server knows it.
type Known = fn(&Context) -> String;

/// The configs that the server acts on.
const OURS: &[(&str, Known)] = &[
    ("advertised.listeners", |context| {
        format!("PLAINTEXT://{}:{}", context.host(), context.port())
    }),
    ("connections.max.idle.ms", |context| context.limits().idle_max.as_millis().to_string()),
    ("fetch.max.bytes", |_| limits::FETCH_BYTES_MAX.to_string()),
    ("listeners", |context| format!("PLAINTEXT://{}", context.listener())),
    ("log.dirs", Context::log_dir),
    ("max.connections", |context| context.limits().connections_max.to_string()),
    ("max.connections.per.ip", |context| context.limits().connections_per_address_max.to_string()),
    ("queued.max.request.bytes", |context| {
        context.limits().request_bytes_in_flight_max.to_string()
    }),
    ("queued.max.requests", |_| limits::REQUESTS_PER_CONNECTION_MAX.to_string()),
    ("socket.request.max.bytes", |context| context.limits().request_bytes_max.to_string()),
];

/// Whether the server has the value of a broker's config.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|(ours, _)| *ours == name)
}

fn add_ours(entry: &mut ConfigEntry, context: &Context) {
    let Some((_, known)) = OURS.iter().find(|(ours, _)| *ours == entry.name) else { return };
    let (value, source) = (known(context), ConfigSource::StaticBroker);
    entry.synonyms = vec![ConfigSynonym { name: entry.name, value: value.clone(), source }];
    (entry.value, entry.source) = (Some(value), source);
}

/// A resource as the protocol names it.
pub(super) fn named(kind: i8, name: String) -> ConfigResource {
    match kind {
        TOPIC => ConfigResource::Topic(name),
        BROKER => ConfigResource::Broker(name),
        GROUP => ConfigResource::Group(name),
        kind => ConfigResource::Other { kind, name },
    }
}

/// Type and name of a resource in the protocol.
pub(super) fn kind_and_name(resource: ConfigResource) -> (i8, String) {
    match resource {
        ConfigResource::Topic(name) => (TOPIC, name),
        ConfigResource::Broker(name) => (BROKER, name),
        ConfigResource::Group(name) => (GROUP, name),
        ConfigResource::Other { kind, name } => (kind, name),
    }
}

fn resource(asked: Resource) -> (ConfigResource, Option<Vec<String>>) {
    (named(asked.resource_type, asked.resource_name), asked.configuration_keys)
}

fn respond(described: DescribedConfigs, shown: Shown) -> ResourceResponse {
    let (resource_type, resource_name) = kind_and_name(described.resource);
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
    let synonyms = if shown.synonyms { entry.synonyms } else { Vec::new() };
    Config {
        name: entry.name.to_owned(),
        synonyms: synonyms.into_iter().map(synonym).collect(),
        value: entry.value,
        read_only: entry.read_only,
        config_source: source_code(entry.source),
        is_sensitive: entry.sensitive,
        config_type: kind_code(entry.kind),
        documentation: shown.documentation.then(|| entry.documentation.to_owned()),
    }
}

fn synonym(synonym: ConfigSynonym) -> Synonym {
    Synonym {
        name: synonym.name.to_owned(),
        value: Some(synonym.value),
        source: source_code(synonym.source),
    }
}

/// Kafka's numbers of `ConfigEntry.ConfigSource`.
pub(super) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Group => 8,
        ConfigSource::Broker => 2,
        ConfigSource::Cluster => 3,
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
        ConfigKind::Short => 4,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
        ConfigKind::Class => 8,
        ConfigKind::Password => 9,
    }
}
