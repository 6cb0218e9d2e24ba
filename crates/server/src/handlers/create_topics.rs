//! CreateTopics, 2 to 7: topics with their partitions and configuration, durable when answered.
//!
//! -1 partitions or replicas leave the number to the broker or to the assignment (KIP-464; accepted
//! in every version). Version 5 returns the configuration (KIP-525), version 7 the topic id. From version 6
//! a client that has used its quota up gets THROTTLING_QUOTA_EXCEEDED (KIP-599); before, it is slowed down.

use tidings_broker::{ConfigEntry, CreatedTopic, NewTopic, TopicCreation};
use tidings_wire::RequestHeader;
use tidings_wire::create_topics::{ConfigResponse, Request, Response, Topic, TopicResponse};

use super::describe_configs::source_code;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::{Context, over_quota};
use crate::error_code::Refusal;

const REFUSED_FOR_QUOTA_SINCE: i16 = 6;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let topics = self.topics.into_iter().map(new_topic).collect();
        let create = tidings_broker::CreateTopics { topics, validate_only: self.validate_only };
        let topics = context
            .ask_within(over_quota(header.version, REFUSED_FOR_QUOTA_SINCE), create)
            .await?
            .into_iter()
            .map(respond)
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn new_topic(topic: Topic) -> NewTopic {
    let assignment = topic.assignments.into_iter().map(|a| (a.partition_index, a.broker_ids));
    NewTopic {
        name: topic.name,
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignment: assignment.collect(),
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    }
}

fn respond(created: CreatedTopic) -> TopicResponse {
    let name = created.name;
    match created.outcome {
        Ok(TopicCreation { id, partitions, replicas, configs }) => TopicResponse {
            name,
            topic_id: id,
            num_partitions: partitions,
            replication_factor: replicas,
            configs: Some(configs.into_iter().map(config).collect()),
            ..TopicResponse::default()
        },
        Err(refused) => TopicResponse {
            name,
            error_code: refused.code().code,
            error_message: Some(refused.text()),
            configs: Some(Vec::new()),
            ..TopicResponse::default()
        },
    }
}

fn config(entry: ConfigEntry) -> ConfigResponse {
    ConfigResponse {
        name: entry.name.to_owned(),
        value: entry.value,
        read_only: entry.read_only,
        config_source: source_code(entry.source),
        is_sensitive: false,
    }
}
