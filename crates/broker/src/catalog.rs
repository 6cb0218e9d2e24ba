//! What the node has promised to keep: cluster id, topics, configuration, quotas, reserved
//! producer ids, features. A fold of the records in `__tidings_catalog-0`.
//!
//! Invariants: a name has at most one topic; a topic id is never given out twice; reserved producer
//! ids only grow. Records are JSON, one object per record, so that Kafka's tools show them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_log::{LogId, LogKey, NewRecord};

use crate::config::{BrokerSaid, Said, TopicSettings};
use crate::features::Finalized;
use crate::limits::{self, KeptLimits};
use crate::partition::FIRST_EPOCH;
use crate::quotas::{Parts, Quotas};
use crate::random::{base64, from_base64};
use crate::topic_name::is_internal;
use crate::{TopicId, TopicName, TopicRefused};

/// One change of the catalog, as it is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CatalogRecord {
    ClusterNamed {
        cluster_id: String,
    },
    TopicCreated {
        name: String,
        /// In Kafka's base64.
        id: String,
        partitions: i32,
        configs: Said,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replicas: Vec<Vec<i32>>,
    },
    /// The partitions of a topic as they are from now on. They only become more.
    PartitionsChanged {
        name: String,
        id: String,
        partitions: i32,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replicas: Vec<Vec<i32>>,
    },
    TopicDeleted {
        name: String,
        id: String,
    },
    /// All that is said of a topic from now on.
    TopicConfigured {
        name: String,
        id: String,
        configs: Said,
    },
    /// All that is said of a broker, or of all of them where `broker` is empty, from now on.
    BrokerConfigured {
        broker: String,
        configs: Said,
    },
    /// All that is said of a group from now on; without any it is gone.
    GroupConfigured {
        group: String,
        configs: Said,
    },
    /// All rates of those whom a quota is for, as text, from now on; without any it is gone.
    QuotaSet {
        entity: Parts,
        rates: BTreeMap<String, String>,
    },
    /// Every producer id below `next` may have been given out.
    ProducerIdsReserved {
        next: i64,
    },
    /// Every partition there is has this leader epoch from now on, and every new one.
    LeaderEpochsRaised {
        to: i32,
    },
    /// All that was ever said of features, by name.
    FeaturesFinalized {
        epoch: i64,
        levels: BTreeMap<String, i16>,
    },
}

impl CatalogRecord {
    pub(crate) fn encode(&self, now_ms: i64) -> NewRecord {
        let key = match self {
            Self::ClusterNamed { .. } => "cluster".to_owned(),
            Self::TopicCreated { name, .. } | Self::TopicDeleted { name, .. } => {
                format!("topic/{name}")
            }
            // Not the topic's own key: of each key compaction keeps the last record only.
            Self::TopicConfigured { name, .. } => format!("topic-configs/{name}"),
            Self::BrokerConfigured { broker, .. } => format!("broker-configs/{broker}"),
            Self::GroupConfigured { group, .. } => format!("group-configs/{group}"),
            Self::PartitionsChanged { name, .. } => format!("topic-partitions/{name}"),
            Self::QuotaSet { entity, .. } => {
                let entity = serde_json::to_string(entity).expect("text has a JSON form");
                format!("quota/{entity}")
            }
            Self::ProducerIdsReserved { .. } => "producer-ids".to_owned(),
            Self::LeaderEpochsRaised { .. } => "leader-epochs".to_owned(),
            Self::FeaturesFinalized { .. } => "features".to_owned(),
        };
        let value = serde_json::to_vec(self).expect("strings and numbers have a JSON form");
        NewRecord {
            timestamp: now_ms,
            key: Some(key.into()),
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    pub(crate) fn decode(value: Option<&Bytes>) -> Result<Self, String> {
        let value = value.ok_or("a catalog record has no value")?;
        serde_json::from_slice(value).map_err(|e| format!("a catalog record is not valid: {e}"))
    }
}

/// A topic's name as it is in metrics.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}

/// The catalog's own log.
pub(crate) const CATALOG: LogId = LogId(0);

/// What the journal knows a partition's log by: the catalog's is all zeros, and no other is, for a
/// topic id is a version 4 UUID.
pub(crate) fn log_key(topic: &TopicId, partition: i32) -> LogKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(topic);
    key[16..].copy_from_slice(&partition.to_be_bytes());
    LogKey(key)
}

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    pub(crate) internal: bool,
    pub(crate) partitions: i32,
    pub(crate) settings: TopicSettings,
    /// The brokers that each partition was assigned to, as far as anything was said.
    pub(crate) replicas: Vec<Vec<i32>>,
    /// Indexed by partition.
    logs: Vec<LogId>,
}

impl Topic {
    pub(crate) fn log(&self, partition: i32) -> Option<LogId> {
        self.logs.get(usize::try_from(partition).ok()?).copied()
    }

    /// Every partition with its log.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (i32, LogId)> + use<> {
        (0..).zip(self.logs.clone())
    }
}

#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) cluster_id: Option<String>,
    topics: BTreeMap<String, Topic>,
    by_id: BTreeMap<TopicId, String>,
    /// Names as they are in metrics, where a dot is an underscore.
    by_plain_name: BTreeMap<String, String>,
    partitions: usize,
    /// What all that was said of anything takes of memory.
    said_bytes: usize,
    limits: KeptLimits,
    /// The leader epoch of every partition, unless its log has a newer one.
    pub(crate) leader_epoch: i32,
    /// The first producer id that is not reserved.
    pub(crate) producer_ids_end: i64,
    pub(crate) features: Finalized,
    /// What was said of brokers; topics that say nothing take their values from it.
    pub(crate) brokers: BrokerSaid,
    /// What was said of groups, of those of which anything was said.
    pub(crate) groups: BTreeMap<String, Said>,
    pub(crate) quotas: Quotas,
    next_log: u64,
    /// Topics that are new, gone or otherwise than before, until those who must know ask.
    changed: BTreeSet<String>,
}

impl Catalog {
    pub(crate) fn new(limits: KeptLimits) -> Self {
        Self {
            cluster_id: None,
            topics: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_plain_name: BTreeMap::new(),
            partitions: 0,
            said_bytes: 0,
            limits,
            leader_epoch: FIRST_EPOCH,
            producer_ids_end: 0,
            features: Finalized::default(),
            brokers: BrokerSaid::default(),
            groups: BTreeMap::new(),
            quotas: Quotas::default(),
            next_log: CATALOG.0 + 1,
            changed: BTreeSet::new(),
        }
    }

    /// The names of topics that have changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(crate) fn find(&self, topic: &TopicName) -> Option<&Topic> {
        match topic {
            TopicName::Name(name) => self.topic(name),
            TopicName::Id(id) => self.topic(self.name_of(id)?),
        }
    }

    pub(crate) fn name_of(&self, id: &TopicId) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    pub(crate) fn log(&self, topic: &str, partition: i32) -> Option<LogId> {
        self.topics.get(topic)?.log(partition)
    }

    /// The log that the first partition of the next topic gets.
    pub(crate) fn next_log(&self) -> u64 {
        self.next_log
    }

    /// A log id that no partition has, for other things to wait for.
    pub(crate) fn fresh_log(&mut self) -> LogId {
        self.next_log += 1;
        LogId(self.next_log - 1)
    }

    /// Whether such a topic may be created; changes nothing.
    pub(crate) fn decide_create(
        &self,
        name: &str,
        id: TopicId,
        partitions: i32,
        replicas: Vec<Vec<i32>>,
        settings: &TopicSettings,
    ) -> Result<CatalogRecord, TopicRefused> {
        if self.topics.contains_key(name) {
            return Err(TopicRefused::Exists);
        }
        if let Some(other) = self.by_plain_name.get(&plain(name)) {
            return Err(TopicRefused::InvalidName(format!(
                "topic name {name} collides with topic {other}: in names of metrics '.' and '_' \
                 are the same"
            )));
        }
        // Of the broker's own there are few, and without them no groups and no transactions.
        if !is_internal(name) {
            self.room_for(partitions, partitions)?;
        }
        let configs = settings.said().clone();
        let record = CatalogRecord::TopicCreated {
            name: name.to_owned(),
            id: base64(id),
            partitions,
            configs,
            replicas,
        };
        self.has_room_for(&record).map_err(TopicRefused::Full)?;
        Ok(record)
    }

    /// Whether a topic may have so many partitions in all, of which so many are new.
    pub(crate) fn room_for(&self, partitions: i32, new: i32) -> Result<(), TopicRefused> {
        let most = limits::PARTITIONS_PER_TOPIC_MAX;
        if !(1..=most).contains(&partitions) {
            return Err(TopicRefused::InvalidPartitions(format!(
                "{partitions} partitions are not between 1 and {most}"
            )));
        }
        let most = self.limits.partitions_max;
        if usize::try_from(new).is_ok_and(|wanted| wanted > most.saturating_sub(self.partitions)) {
            return Err(TopicRefused::Full(format!(
                "the node holds {} of {most} partitions; there is no room for {new} more",
                self.partitions
            )));
        }
        Ok(())
    }

    /// Whether there is room for what a record keeps beyond what it replaces; says why not.
    pub(crate) fn has_room_for(&self, record: &CatalogRecord) -> Result<(), String> {
        let (before, after) = self.weigh(record);
        let most = self.limits.said_bytes_max;
        if after <= before || self.said_bytes - before + after <= most {
            return Ok(());
        }
        Err(format!(
            "the configurations, assignments and quotas of this node take {} of {most} bytes; there is no \
             room for {} more",
            self.said_bytes,
            after - before
        ))
    }

    /// What is there beyond what there is room for: it came when there was more.
    pub(crate) fn exceeds(&self) -> Vec<String> {
        let counted = [
            ("partitions", self.partitions, self.limits.partitions_max),
            ("bytes of configurations and quotas", self.said_bytes, self.limits.said_bytes_max),
        ];
        let more = counted.into_iter().filter(|(_, there, most)| there > most);
        more.map(|(what, there, most)| format!("memory: {there} {what} are more than {most}"))
            .collect()
    }

    /// Bytes of what a record of something said replaces, and of what it keeps.
    fn weigh(&self, record: &CatalogRecord) -> (usize, usize) {
        let of_topic =
            |name: &str, id: &str| self.topics.get(name).filter(|topic| base64(topic.id) == id);
        match record {
            CatalogRecord::TopicCreated { configs, replicas, .. } => {
                (0, said_bytes(configs) + assignment_bytes(replicas))
            }
            CatalogRecord::TopicDeleted { name, .. } => {
                let topic = self.topics.get(name);
                let held = |topic: &Topic| {
                    said_bytes(topic.settings.said()) + assignment_bytes(&topic.replicas)
                };
                (topic.map_or(0, held), 0)
            }
            CatalogRecord::TopicConfigured { name, id, configs } => match of_topic(name, id) {
                Some(topic) => (said_bytes(topic.settings.said()), said_bytes(configs)),
                None => (0, 0),
            },
            CatalogRecord::PartitionsChanged { name, id, replicas, .. } => match of_topic(name, id)
            {
                Some(topic) => (assignment_bytes(&topic.replicas), assignment_bytes(replicas)),
                None => (0, 0),
            },
            CatalogRecord::BrokerConfigured { broker, configs } => {
                (said_bytes(self.brokers.said(broker)), said_bytes(configs))
            }
            CatalogRecord::GroupConfigured { group, configs } => {
                let bytes = |configs: &Said| match configs.is_empty() {
                    true => 0,
                    false => limits::SAID_OF_BYTES + 2 * group.len() + said_bytes(configs),
                };
                (self.groups.get(group).map_or(0, bytes), bytes(configs))
            }
            CatalogRecord::QuotaSet { entity, rates } => {
                let names = entity
                    .iter()
                    .map(|(kind, name)| kind.len() + name.as_ref().map_or(0, String::len));
                let bytes = limits::SAID_OF_BYTES + 2 * names.sum::<usize>();
                let before = if self.quotas.has(entity) { bytes } else { 0 };
                (before, if rates.is_empty() { 0 } else { bytes })
            }
            CatalogRecord::ClusterNamed { .. }
            | CatalogRecord::ProducerIdsReserved { .. }
            | CatalogRecord::LeaderEpochsRaised { .. }
            | CatalogRecord::FeaturesFinalized { .. } => (0, 0),
        }
    }

    /// Partitions of all topics.
    pub(crate) fn partitions_in_all(&self) -> usize {
        self.partitions
    }

    pub(crate) fn decide_delete(&self, name: &str) -> Result<CatalogRecord, TopicRefused> {
        let topic = self.topics.get(name).ok_or(TopicRefused::Unknown)?;
        if topic.internal {
            return Err(TopicRefused::InvalidRequest(format!("{name} is the broker's own topic")));
        }
        Ok(CatalogRecord::TopicDeleted { name: name.to_owned(), id: base64(topic.id) })
    }

    pub(crate) fn has_id(&self, id: &TopicId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Log ids for so many new partitions.
    fn take_logs(&mut self, partitions: i32) -> Vec<LogId> {
        let first = self.next_log;
        self.next_log += u64::try_from(partitions).unwrap_or(0);
        (first..self.next_log).map(LogId).collect()
    }

    fn apply_partitions(
        &mut self,
        name: String,
        id: &str,
        partitions: i32,
        replicas: Vec<Vec<i32>>,
    ) {
        // What was said of a former topic of this name says nothing of this one.
        let known = self.topics.get(&name).filter(|topic| base64(topic.id) == id);
        let Some(present) = known.map(|topic| topic.partitions) else { return };
        debug_assert!(partitions >= present, "partitions only become more");
        let more = self.take_logs(partitions - present);
        self.partitions += more.len();
        if let Some(topic) = self.topics.get_mut(&name) {
            topic.partitions = partitions.max(present);
            topic.replicas = replicas;
            topic.logs.extend(more);
            self.changed.insert(name);
        }
    }

    pub(crate) fn apply(&mut self, record: CatalogRecord) {
        let (before, after) = self.weigh(&record);
        self.said_bytes = self.said_bytes.saturating_sub(before) + after;
        match record {
            CatalogRecord::ClusterNamed { cluster_id } => self.cluster_id = Some(cluster_id),
            CatalogRecord::LeaderEpochsRaised { to } => {
                self.leader_epoch = self.leader_epoch.max(to);
            }
            CatalogRecord::ProducerIdsReserved { next } => {
                self.producer_ids_end = self.producer_ids_end.max(next);
            }
            CatalogRecord::FeaturesFinalized { epoch, levels } => {
                self.features.apply(epoch, levels);
            }
            CatalogRecord::TopicCreated { name, id, partitions, configs, replicas } => {
                let topic = Topic {
                    internal: is_internal(&name),
                    id: from_base64(&id).unwrap_or_default(),
                    partitions,
                    settings: TopicSettings::new(configs, &self.brokers),
                    replicas,
                    logs: self.take_logs(partitions),
                    name: name.clone(),
                };
                self.partitions += topic.logs.len();
                self.by_id.insert(topic.id, name.clone());
                self.changed.insert(name.clone());
                self.by_plain_name.insert(plain(&name), name.clone());
                self.topics.insert(name, topic);
            }
            CatalogRecord::TopicConfigured { name, id, configs } => {
                // Of a former topic of that name compaction may keep the last word.
                let topic = self.topics.get_mut(&name).filter(|topic| base64(topic.id) == id);
                if let Some(topic) = topic {
                    topic.settings = TopicSettings::new(configs, &self.brokers);
                }
            }
            CatalogRecord::BrokerConfigured { broker, configs } => {
                let said = if broker.is_empty() {
                    &mut self.brokers.cluster
                } else {
                    &mut self.brokers.node
                };
                *said = configs;
                for topic in self.topics.values_mut() {
                    let said = topic.settings.said().clone();
                    topic.settings = TopicSettings::new(said, &self.brokers);
                }
            }
            CatalogRecord::PartitionsChanged { name, id, partitions, replicas } => {
                self.apply_partitions(name, &id, partitions, replicas);
            }
            CatalogRecord::GroupConfigured { group, configs } if configs.is_empty() => {
                self.groups.remove(&group);
            }
            CatalogRecord::GroupConfigured { group, configs } => {
                self.groups.insert(group, configs);
            }
            CatalogRecord::QuotaSet { entity, rates } => self.quotas.apply(entity, &rates),
            CatalogRecord::TopicDeleted { name, .. } => {
                if let Some(topic) = self.topics.remove(&name) {
                    self.by_id.remove(&topic.id);
                    let plain = plain(&name);
                    if self.by_plain_name.get(&plain) == Some(&name) {
                        self.by_plain_name.remove(&plain);
                    }
                    self.partitions -= topic.logs.len();
                    self.changed.insert(name);
                }
            }
        }
    }
}

fn said_bytes(configs: &Said) -> usize {
    let each = configs.iter().map(|(name, value)| limits::CONFIG_BYTES + name.len() + value.len());
    if configs.is_empty() { 0 } else { limits::CONFIGS_BYTES + each.sum::<usize>() }
}

fn assignment_bytes(replicas: &[Vec<i32>]) -> usize {
    replicas.iter().map(|brokers| limits::ASSIGNMENT_BYTES + size_of_val(&**brokers)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogs_of_earlier_releases_are_read() {
        let id = base64([7; 16]);
        let records = [
            r#"{"cluster_named":{"cluster_id":"c"}}"#.to_owned(),
            format!(
                r#"{{"topic_created":{{"name":"a","id":"{id}","partitions":2,"configs":{{}}}}}}"#
            ),
            r#"{"producer_ids_reserved":{"next":1000}}"#.to_owned(),
        ];
        let mut catalog = Catalog::new(KeptLimits::default());
        for record in records {
            catalog.apply(CatalogRecord::decode(Some(&record.into())).unwrap());
        }
        let topic = catalog.topic("a").unwrap();
        assert_eq!((topic.partitions, topic.id, topic.replicas.len()), (2, [7; 16], 0));
        assert_eq!(
            (topic.log(0), topic.log(1), topic.log(2)),
            (Some(LogId(1)), Some(LogId(2)), None)
        );
        assert_eq!(catalog.producer_ids_end, 1000);
    }

    #[test]
    fn what_is_said_of_partitions_counts_for_the_topic_of_that_id_alone() {
        let changed = |id: u8, partitions| CatalogRecord::PartitionsChanged {
            name: "a".to_owned(),
            id: base64([id; 16]),
            partitions,
            replicas: Vec::new(),
        };
        let settings = TopicSettings::new(Said::new(), &BrokerSaid::default());
        let mut catalog = Catalog::new(KeptLimits::default());
        // Compaction leaves the record of a topic that is gone before the next one's creation.
        catalog.apply(changed(1, 9));
        catalog.apply(catalog.decide_create("a", [2; 16], 1, Vec::new(), &settings).unwrap());
        catalog.apply(changed(1, 9));
        assert_eq!(catalog.topic("a").unwrap().partitions, 1);
        catalog.apply(changed(2, 3));
        let topic = catalog.topic("a").unwrap();
        assert_eq!((topic.partitions, topic.logs().count()), (3, 3));
        assert_eq!(catalog.partitions_in_all(), 3);
    }
}
