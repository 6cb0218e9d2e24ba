//! Configuration of topics, brokers and groups: one table per kind of resource, with Kafka's names,
//! defaults and meanings.
//!
//! A value is looked for in this order: what was said of the resource, what was said of this
//! broker, what was said of all brokers, what the node was started with, the default. Invariants:
//! only values that their rule allows are kept; a config that Kafka acts on and this node does not
//! is listed with what holds here, or refused with the reason, so that nobody relies on it.

mod alter;
mod broker_row;
mod broker_table;
mod brokers;
mod groups;
mod rule;
mod topic_table;
mod topics;

use std::collections::BTreeMap;

pub(crate) use alter::altered;
pub use alter::{Alteration, ConfigChange, ConfigOp};
pub use brokers::broker_configs;
pub(crate) use brokers::{BrokerSaid, check_brokers, describe_broker, describe_cluster};
pub use groups::group_configs;
pub(crate) use groups::{check_group, describe_group, group_overrides};
pub(crate) use topics::TopicSettings;
pub use topics::topic_configs;

/// What was said of a resource, by name.
pub(crate) type Said = BTreeMap<String, String>;

/// The type of a value, as Kafka names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Said of the topic.
    Topic,
    /// Said of the group.
    Group,
    /// Said of this broker while it runs.
    Broker,
    /// Said of all brokers while they run.
    Cluster,
    /// What the node was started with.
    StaticBroker,
    Default,
}

/// One configuration as described to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: &'static str,
    /// None where there is no value, and where it is not to be shown.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub kind: ConfigKind,
    pub read_only: bool,
    pub sensitive: bool,
    pub documentation: &'static str,
    /// The value in force, then what would hold without it, and so on down to the default.
    pub synonyms: Vec<ConfigSynonym>,
    default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// A topic's value may come from a broker's config of another name.
    pub name: &'static str,
    pub value: String,
    pub source: ConfigSource,
}

impl ConfigEntry {
    /// With the first synonym's value and source.
    fn new(
        name: &'static str,
        kind: ConfigKind,
        documentation: &'static str,
        synonyms: Vec<ConfigSynonym>,
    ) -> Self {
        let first = synonyms.first();
        let last = synonyms.last().filter(|synonym| synonym.source == ConfigSource::Default);
        Self {
            name,
            value: first.map(|synonym| synonym.value.clone()),
            source: first.map_or(ConfigSource::Default, |synonym| synonym.source),
            kind,
            read_only: false,
            sensitive: kind == ConfigKind::Password,
            documentation,
            default: last.map(|synonym| synonym.value.clone()),
            synonyms,
        }
    }

    /// The value that holds when nobody says anything.
    pub fn default_value(&self) -> Option<&str> {
        self.default.as_deref()
    }
}
