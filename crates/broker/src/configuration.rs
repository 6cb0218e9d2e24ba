//! Configuration as clients ask for it and change it (KIP-133, KIP-226, KIP-339, KIP-848, KIP-1142).
//!
//! A change is one record of the catalog with all that is said of the resource; it holds at once and
//! is answered when the record is on disk. Invariants: a resource is changed wholly or not at all;
//! the running logs have the settings that the catalog has; what would make the broker's own topics
//! forget is refused.

use std::collections::BTreeMap;

use tidings_coordinator::TransactionsConfig;

use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, CatalogRecord, Topic};
use crate::config::{
    Said, TopicSettings, altered, check_brokers, check_group, describe_broker, describe_cluster,
    describe_group, group_overrides,
};
use crate::held::{Mark, Wait};
use crate::random::base64;
use crate::topics::distinct;
use crate::{
    AlterConfigs, Alteration, BrokerConfig, ConfigEntry, ConfigResource, DescribeConfigs,
    DescribedConfigs, Reply, TopicRefused, limits, topic_name,
};

impl Broker {
    pub(crate) fn describe_configs(&self, request: DescribeConfigs) -> Vec<DescribedConfigs> {
        let mut answers = Vec::new();
        for (resource, names) in distinct(request.resources, |(resource, _)| resource) {
            let configs = self.configs_of(&resource).map(|mut entries| {
                entries.retain(|entry| {
                    names.as_ref().is_none_or(|names| names.iter().any(|name| name == entry.name))
                });
                entries
            });
            answers.push(DescribedConfigs { resource, configs });
        }
        answers
    }

    fn configs_of(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, TopicRefused> {
        let brokers = &self.catalog.brokers;
        match resource {
            ConfigResource::Topic(name) => {
                topic_name::check(name)?;
                let topic = self.catalog.topic(name).ok_or(TopicRefused::Unknown)?;
                Ok(topic.settings.describe(brokers))
            }
            ConfigResource::Broker(id) if id.is_empty() => Ok(describe_cluster(brokers)),
            ConfigResource::Broker(id) => {
                let node_id = self.check_broker(id)?;
                // A virtual broker is the node under another id.
                Ok(describe_broker(brokers, &BrokerConfig { node_id, ..self.config.clone() }))
            }
            ConfigResource::Group(group) if group.is_empty() => {
                Err(TopicRefused::InvalidRequest("Group name must not be empty".to_owned()))
            }
            ConfigResource::Group(group) => {
                let said = self.catalog.groups.get(group);
                Ok(describe_group(said.unwrap_or(&Said::new()), brokers))
            }
            ConfigResource::Other { kind, name } => Err(not_configured(*kind, name)),
        }
    }

    /// The broker that is meant; refuses one that there is not.
    fn check_broker(&self, id: &str) -> Result<i32, TopicRefused> {
        let this = self.config.node_id;
        match id.parse::<i32>() {
            Ok(id) if self.brokers().contains(id) => Ok(id),
            Ok(id) => Err(TopicRefused::InvalidRequest(format!(
                "Unexpected broker id, expected {this} or empty string, but received {id}"
            ))),
            Err(_) => Err(TopicRefused::InvalidRequest(format!(
                "Node id must be an integer, but it is: {id}"
            ))),
        }
    }

    pub(crate) fn list_config_resources(&self) -> Vec<ConfigResource> {
        let topics = self.catalog.topics().map(|topic| ConfigResource::Topic(topic.name.clone()));
        let brokers = self.brokers().ids().map(|id| ConfigResource::Broker(id.to_string()));
        let groups = self.catalog.groups.keys().cloned().map(ConfigResource::Group);
        topics.chain(brokers).chain(groups).collect()
    }

    // ---- alteration ----------------------------------------------------------------------------

    pub(crate) fn alter_configs(&mut self, now: Now, ticket: Ticket, request: AlterConfigs) {
        let AlterConfigs { resources, validate_only } = request;
        let mut times_named: BTreeMap<ConfigResource, usize> = BTreeMap::new();
        for (resource, _) in &resources {
            *times_named.entry(resource.clone()).or_default() += 1;
        }
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for (resource, alteration) in resources {
            let outcome = if times_named.get(&resource).is_some_and(|times| *times > 1) {
                let text = "Each resource must appear at most once.".to_owned();
                Err(TopicRefused::InvalidRequest(text))
            } else {
                self.alter(now, &resource, &alteration, validate_only)
            };
            if let Ok(Some(past)) = outcome {
                waits.push(Wait { log: CATALOG, mark: Mark::End, past, part: answers.len() });
            }
            answers.push((resource, outcome.map(|_| ())));
        }
        self.answer(ticket, Reply::AlterConfigs(answers), &waits);
    }

    /// Changes one resource; returns the mark of the catalog that makes it durable, if anything
    /// changed.
    fn alter(
        &mut self,
        now: Now,
        resource: &ConfigResource,
        alteration: &Alteration,
        validate_only: bool,
    ) -> Result<Option<i64>, TopicRefused> {
        let Some(record) = self.decide_alter(resource, alteration)? else { return Ok(None) };
        self.catalog.has_room_for(&record).map_err(TopicRefused::Full)?;
        if validate_only {
            return Ok(None);
        }
        let past = self.append_catalog(now, &record).map_err(TopicRefused::Storage)?;
        self.catalog.apply(record);
        match resource {
            ConfigResource::Topic(name) => self.configure_logs(|topic| topic.name == *name),
            ConfigResource::Group(group) => {
                let said = self.catalog.groups.get(group);
                let overrides = said.map(group_overrides).unwrap_or_default();
                self.groups.configure_group(group, overrides);
            }
            ConfigResource::Broker(_) | ConfigResource::Other { .. } => {
                self.configure_logs(|_| true);
                self.configure_node();
            }
        }
        Ok(Some(past))
    }

    /// The record of an alteration; none when it changes nothing.
    fn decide_alter(
        &self,
        resource: &ConfigResource,
        alteration: &Alteration,
    ) -> Result<Option<CatalogRecord>, TopicRefused> {
        match resource {
            ConfigResource::Topic(name) => {
                if name.is_empty() {
                    let text = "Default topic resources are not allowed.".to_owned();
                    return Err(TopicRefused::InvalidRequest(text));
                }
                topic_name::check(name)?;
                let topic = self.catalog.topic(name).ok_or(TopicRefused::Unknown)?;
                let before = topic.settings.said();
                let said = altered(resource, before, alteration)?;
                let settings = TopicSettings::checked(said, &self.catalog.brokers)?;
                keeps_its_records(topic, &settings)?;
                settings.check_replicas(self.replicas_of(topic, 0).len())?;
                Ok((settings.said() != before).then(|| CatalogRecord::TopicConfigured {
                    name: name.clone(),
                    id: base64(topic.id),
                    configs: settings.said().clone(),
                }))
            }
            ConfigResource::Broker(id) => {
                let before = if id.is_empty() {
                    &self.catalog.brokers.cluster
                } else {
                    self.check_broker(id)?;
                    &self.catalog.brokers.node
                };
                let said = altered(resource, before, alteration)?;
                check_brokers(&said)?;
                self.nothing_contradicts(id.is_empty(), &said)?;
                Ok((said != *before)
                    .then(|| CatalogRecord::BrokerConfigured { broker: id.clone(), configs: said }))
            }
            ConfigResource::Group(group) => {
                let before = self.catalog.groups.get(group);
                self.check_group_name(group, before.is_some())?;
                let none = Said::new();
                let before = before.unwrap_or(&none);
                let said = altered(resource, before, alteration)?;
                check_group(&said, &self.catalog.brokers)?;
                Ok((said != *before).then(|| CatalogRecord::GroupConfigured {
                    group: group.clone(),
                    configs: said,
                }))
            }
            ConfigResource::Other { kind, name } => Err(not_configured(*kind, name)),
        }
    }

    fn check_group_name(&self, group: &str, is_known: bool) -> Result<(), TopicRefused> {
        if group.is_empty() {
            let text = "Default group resources are not allowed.".to_owned();
            return Err(TopicRefused::InvalidRequest(text));
        }
        let (bytes, most) = (group.len(), limits::CONFIGURED_GROUP_NAME_BYTES_MAX);
        if bytes > most {
            return Err(TopicRefused::InvalidRequest(format!(
                "the name of a group with a configuration has at most {most} bytes, not {bytes}"
            )));
        }
        let most = limits::GROUPS_CONFIGURED_MAX;
        if !is_known && self.catalog.groups.len() >= most {
            return Err(TopicRefused::InvalidRequest(format!(
                "{most} groups have a configuration of their own, which is the most there may be"
            )));
        }
        Ok(())
    }

    /// Refuses what would contradict what else is said: a lag of compaction above the other in a topic,
    /// more replicas in sync than there are, a shortest session timeout above the longest.
    fn nothing_contradicts(&self, of_all: bool, said: &Said) -> Result<(), TopicRefused> {
        let mut brokers = self.catalog.brokers.clone();
        *(if of_all { &mut brokers.cluster } else { &mut brokers.node }) = said.clone();
        brokers.check_groups()?;
        let default = TopicSettings::checked(Said::new(), &brokers)?;
        default.check_replicas(self.config.brokers.unsigned_abs() as usize)?;
        for topic in self.catalog.topics() {
            let settings = TopicSettings::checked(topic.settings.said().clone(), &brokers)?;
            settings.check_replicas(self.replicas_of(topic, 0).len())?;
        }
        Ok(())
    }

    /// Hands the settings of these topics to their logs.
    fn configure_logs(&mut self, which: impl Fn(&Topic) -> bool) {
        for topic in self.catalog.topics().filter(|topic| which(topic)) {
            for (_, log) in topic.logs() {
                self.logs.store.configure(log, topic.settings.log);
            }
        }
    }

    /// Hands to the store, the groups and the transactions what brokers were told of them.
    pub(crate) fn configure_node(&mut self) {
        let brokers = &self.catalog.brokers;
        self.logs.store.set_producer_expiry_ms(brokers.producer_expiry_ms(&self.config));
        let kept = &self.config.kept;
        self.ledger.state.configure(TransactionsConfig {
            bytes_max: kept.transaction_bytes_max,
            ..brokers.transactions()
        });
        let mut groups = brokers.groups();
        groups.bytes_max = kept.group_bytes_max;
        let said = self.catalog.groups.iter();
        groups.overrides =
            said.map(|(group, said)| (group.clone(), group_overrides(said))).collect();
        self.configure_groups(groups);
    }
}

/// Refuses what would make one of the broker's own topics forget.
fn keeps_its_records(topic: &Topic, new: &TopicSettings) -> Result<(), TopicRefused> {
    let (before, after) = (&topic.settings.log, &new.log);
    let same = (before.delete, before.compact, before.volatile)
        == (after.delete, after.compact, after.volatile);
    if !topic.internal || same {
        return Ok(());
    }
    Err(TopicRefused::InvalidConfig(format!(
        "{} is the broker's own topic: its cleanup.policy and tidings.durability cannot change",
        topic.name
    )))
}

fn not_configured(kind: i8, name: &str) -> TopicRefused {
    const CLIENT_METRICS: i8 = 16;
    const BROKER_LOGGER: i8 = 8;
    TopicRefused::InvalidRequest(match kind {
        BROKER_LOGGER => "levels of loggers are said when the node starts".to_owned(),
        CLIENT_METRICS => "metrics of clients are not taken".to_owned(),
        _ => format!("resources of type {kind} ({name}) have no configuration here"),
    })
}
