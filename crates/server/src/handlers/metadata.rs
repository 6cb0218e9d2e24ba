//! Metadata, 0 to 13: the brokers, and topics with their partitions.
//!
//! All topics are asked for with null, in version 0 with an empty list. A named topic that is
//! missing is created where the client (from version 4; always before) and the broker allow it;
//! an invalid name gets INVALID_TOPIC_EXCEPTION. Lookup by id needs version 12 (KIP-516), and then
//! an id counts more than a name: Java's client sends an empty name beside it. Below, a topic with
//! an id or without a name gets INVALID_REQUEST.
//! Authorized operations (KIP-430) are all that there are, for want of an authorizer.

use tidings_broker::{
    DescribeTopics, PartitionDescription, TopicAnswer, TopicDescription, TopicId, TopicName, Topics,
};
use tidings_wire::RequestHeader;
use tidings_wire::metadata::{Broker, Partition, Request, RequestTopic, Response, Topic};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized;
use crate::context::Context;
use crate::error_code::Refusal;

const LOOKUP_BY_ID_SINCE: i16 = 12;
const NO_ID: TopicId = [0; 16];

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut by_id_too_early = Vec::new();
        let topics = match self.topics {
            Some(mut topics) if header.version > 0 || !topics.is_empty() => {
                if header.version < LOOKUP_BY_ID_SINCE {
                    let wants_id = |topic: &mut RequestTopic| topic.name.is_none() || has_id(topic);
                    by_id_too_early = topics.extract_if(.., wants_id).collect();
                }
                Topics::These(topics.into_iter().map(name_of).collect())
            }
            _ => Topics::All,
        };
        let auto_create = self.allow_auto_topic_creation && matches!(topics, Topics::These(_));
        let answers = context.ask(DescribeTopics { topics, auto_create }).await?;
        let node_id = context.node_id();
        let brokers = context.brokers().map(|broker| Broker {
            node_id: broker.id,
            host: broker.host.to_owned(),
            port: i32::from(broker.port),
            rack: None,
        });
        let topic_operations = authorized::TOPIC.if_asked(self.include_topic_authorized_operations);
        let response = Response {
            brokers: brokers.collect(),
            cluster_id: Some(context.cluster_id()),
            controller_id: node_id,
            topics: answers
                .into_iter()
                .map(|answer| respond(answer, topic_operations))
                .chain(by_id_too_early.into_iter().map(refuse_lookup_by_id))
                .collect(),
            cluster_authorized_operations: authorized::CLUSTER
                .if_asked(self.include_cluster_authorized_operations),
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// Below version 12 a response's name is never null.
fn refuse_lookup_by_id(topic: RequestTopic) -> Topic {
    Topic {
        error_code: ErrorCode::INVALID_REQUEST.code,
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Topic::default()
    }
}

fn has_id(topic: &RequestTopic) -> bool {
    topic.topic_id != NO_ID
}

fn name_of(topic: RequestTopic) -> TopicName {
    match topic.name {
        Some(name) if topic.topic_id == NO_ID => TopicName::Name(name),
        _ => TopicName::Id(topic.topic_id),
    }
}

fn respond(answer: TopicAnswer, topic_authorized_operations: i32) -> Topic {
    match (answer.topic, answer.asked) {
        (Ok(TopicDescription { name, id, internal, partitions }), _) => Topic {
            name: Some(name),
            topic_id: id,
            is_internal: internal,
            partitions: partitions
                .iter()
                .enumerate()
                .map(|(index, partition)| describe(index, partition))
                .collect(),
            topic_authorized_operations,
            ..Topic::default()
        },
        (Err(refused), TopicName::Name(name)) => {
            Topic { error_code: refused.code().code, name: Some(name), ..Topic::default() }
        }
        (Err(refused), TopicName::Id(topic_id)) => {
            Topic { error_code: refused.code().code, topic_id, ..Topic::default() }
        }
    }
}

fn describe(index: usize, partition: &PartitionDescription) -> Partition {
    Partition {
        error_code: ErrorCode::NONE.code,
        partition_index: index as i32,
        leader_id: partition.leader().unwrap_or(-1),
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.replicas.clone(),
        offline_replicas: Vec::new(),
    }
}
