//! Topics: list, describe, create, delete, offsets, configuration.

use std::collections::BTreeMap;

use serde::Serialize;
use tidings_terminal::failure::Failure;
use tidings_wire::{
    create_topics, delete_records, delete_topics, describe_configs, list_offsets, metadata,
};

use super::{Client, ErrorCode};

const TIMEOUT_MS: i32 = 30_000;

/// A topic in a list; this is also its JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopicView {
    pub(crate) name: String,
    pub(crate) internal: bool,
    pub(crate) records: i64,
    pub(crate) partitions: Vec<PartitionView>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PartitionView {
    pub(crate) id: i32,
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConfigView {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    /// Not set on the topic itself.
    pub(crate) default: bool,
}

/// Kafka's number of the source "set on this topic".
const SOURCE_TOPIC: i8 = 1;
/// Kafka's number of the resource type topic.
const RESOURCE_TOPIC: i8 = 2;

/// Where in a partition an offset is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
    /// The first record of this time or later; -1 is the answer where there is none.
    Time(i64),
}

impl Edge {
    /// Kafka asks for all of them by a time.
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::Time(time_ms) => time_ms.max(0),
        }
    }
}

impl Client {
    /// All topics, by name.
    pub(crate) async fn topics(&mut self) -> Result<Vec<TopicView>, Failure> {
        let response = self.metadata(None, false).await?;
        self.described(response).await
    }

    /// The names alone, in one exchange.
    pub(crate) async fn topic_names(&mut self) -> Result<Vec<String>, Failure> {
        let topics = self.metadata(None, false).await?.topics;
        let mut names: Vec<_> = topics.into_iter().filter_map(|topic| topic.name).collect();
        names.sort();
        Ok(names)
    }

    /// One topic.
    pub(crate) async fn topic(&mut self, name: &str) -> Result<TopicView, Failure> {
        let response = self.metadata(Some(vec![name.to_owned()]), false).await?;
        let code =
            response.topics.first().map_or(ErrorCode::UNKNOWN_TOPIC, |t| ErrorCode(t.error_code));
        let mut described = match code {
            ErrorCode::NONE => self.described(response).await?,
            code => return Err(code.topic_failure(name, None)),
        };
        described.pop().ok_or_else(|| ErrorCode::UNKNOWN_TOPIC.topic_failure(name, None))
    }

    async fn described(&mut self, response: metadata::Response) -> Result<Vec<TopicView>, Failure> {
        let sound = response.topics.into_iter().filter(|topic| topic.error_code == 0);
        let mut topics: Vec<_> = sound.map(topic_view).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let wanted = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|p| (topic.name.clone(), p.id, p.leader))
        });
        let wanted: Vec<_> = wanted.collect();
        let starts = self.edges(&wanted, Edge::Start).await?;
        let ends = self.edges(&wanted, Edge::End).await?;
        for topic in &mut topics {
            for partition in &mut topic.partitions {
                let name = (topic.name.clone(), partition.id);
                partition.start_offset = starts.get(&name).copied().unwrap_or(0);
                partition.end_offset = ends.get(&name).copied().unwrap_or(0);
            }
            topic.records = topic.partitions.iter().map(|p| p.end_offset - p.start_offset).sum();
        }
        Ok(topics)
    }

    /// First or next offsets of partitions, each asked of its leader; partitions without one, or
    /// whose leader does not answer for them, are left out.
    pub(super) async fn edges(
        &mut self,
        partitions: &[(String, i32, i32)],
        edge: Edge,
    ) -> Result<BTreeMap<(String, i32), i64>, Failure> {
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<list_offsets::Partition>>> =
            BTreeMap::new();
        for (topic, partition, leader) in partitions.iter().filter(|(_, _, leader)| *leader >= 0) {
            let asked = list_offsets::Partition {
                partition_index: *partition,
                timestamp: edge.timestamp(),
                ..Default::default()
            };
            by_leader.entry(*leader).or_default().entry(topic).or_default().push(asked);
        }
        let mut found = BTreeMap::new();
        for (leader, topics) in by_leader {
            let topics = topics.into_iter().map(|(name, partitions)| list_offsets::Topic {
                name: name.to_owned(),
                partitions,
            });
            let request = list_offsets::Request {
                replica_id: -1,
                topics: topics.collect(),
                ..Default::default()
            };
            for topic in self.call_node(leader, &request).await?.topics {
                for partition in topic.partitions.iter().filter(|p| p.error_code == 0) {
                    let name = (topic.name.clone(), partition.partition_index);
                    found.insert(name, partition.offset);
                }
            }
        }
        Ok(found)
    }

    /// Makes a topic; numbers below zero mean the broker's default.
    pub(crate) async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication: i16,
        configs: &[(String, String)],
    ) -> Result<(), Failure> {
        let configs = configs.iter().map(|(name, value)| create_topics::Config {
            name: name.clone(),
            value: Some(value.clone()),
        });
        let topic = create_topics::Topic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: replication,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = create_topics::Request {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        let response = self.call_controller(&request).await?;
        let answer = response.topics.into_iter().next().unwrap_or_default();
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => Ok(()),
            code => Err(code.not_created(name, answer.error_message)),
        }
    }

    /// The same for one that is to be deleted.
    pub(crate) async fn topic_to_delete(&mut self, name: &str) -> Result<TopicView, Failure> {
        let response = self.metadata(Some(vec![name.to_owned()]), false).await?;
        match response.topics.first().map(|topic| ErrorCode(topic.error_code)) {
            Some(ErrorCode::NONE) => self.topic(name).await,
            Some(code) => Err(code.not_deleted(name, None)),
            None => Err(ErrorCode::UNKNOWN_TOPIC.not_deleted(name, None)),
        }
    }

    /// Lets partitions begin at these offsets; what lies before goes for good.
    pub(crate) async fn delete_records(
        &mut self,
        topic: &str,
        leaders: &[i32],
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<(), Failure> {
        let mut by_leader: BTreeMap<i32, Vec<delete_records::Partition>> = BTreeMap::new();
        for (id, offset) in offsets {
            let leader = usize::try_from(*id).ok().and_then(|id| leaders.get(id));
            by_leader
                .entry(leader.copied().unwrap_or(-1))
                .or_default()
                .push(delete_records::Partition { partition_index: *id, offset: *offset });
        }
        for (leader, partitions) in by_leader {
            let request = delete_records::Request {
                topics: vec![delete_records::Topic { name: topic.to_owned(), partitions }],
                timeout_ms: TIMEOUT_MS,
            };
            let response = self.call_node(leader, &request).await?;
            for answer in response.topics.into_iter().flat_map(|topic| topic.partitions) {
                let code = ErrorCode(answer.error_code);
                if code != ErrorCode::NONE {
                    let what = format!("{topic}-{} was not trimmed", answer.partition_index);
                    return Err(code.failure(what, None));
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn delete_topic(&mut self, name: &str) -> Result<(), Failure> {
        let request = delete_topics::Request {
            topics: vec![delete_topics::Topic {
                name: Some(name.to_owned()),
                ..Default::default()
            }],
            topic_names: vec![name.to_owned()],
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.call_controller(&request).await?;
        let answer = response.responses.into_iter().next().unwrap_or_default();
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => Ok(()),
            code => Err(code.not_deleted(name, answer.error_message)),
        }
    }

    /// Asks the controller, which is where topics are made and deleted.
    async fn call_controller<R: tidings_wire::Request>(
        &mut self,
        request: &R,
    ) -> Result<R::Response, Failure> {
        let controller = self.metadata(Some(Vec::new()), false).await?.controller_id;
        self.call_node(controller, request).await
    }

    /// A topic's configuration, by name.
    pub(crate) async fn topic_configs(&mut self, name: &str) -> Result<Vec<ConfigView>, Failure> {
        let request = describe_configs::Request {
            resources: vec![describe_configs::Resource {
                resource_type: RESOURCE_TOPIC,
                resource_name: name.to_owned(),
                configuration_keys: None,
            }],
            ..Default::default()
        };
        let response = self.call(&request).await?;
        let Some(answer) = response.results.into_iter().next() else { return Ok(Vec::new()) };
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => {}
            code => return Err(code.topic_failure(name, answer.error_message)),
        }
        let configs = answer.configs.into_iter();
        let mut configs: Vec<_> = configs
            .map(|config| ConfigView {
                name: config.name,
                value: config.value,
                default: config.config_source != SOURCE_TOPIC,
            })
            .collect();
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(configs)
    }
}

fn topic_view(topic: metadata::Topic) -> TopicView {
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionView {
            id: partition.partition_index,
            leader: partition.leader_id,
            replicas: partition.replica_nodes,
            in_sync: partition.isr_nodes,
            start_offset: 0,
            end_offset: 0,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.id);
    TopicView {
        name: topic.name.unwrap_or_default(),
        internal: topic.is_internal,
        records: 0,
        partitions,
    }
}
