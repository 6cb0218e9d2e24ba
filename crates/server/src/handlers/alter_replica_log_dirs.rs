//! AlterReplicaLogDirs, 1 to 2: a partition is in the one data directory already (KIP-113).
//!
//! Another directory gets LOG_DIR_NOT_FOUND, a partition that is not on this broker
//! REPLICA_NOT_AVAILABLE.

use std::collections::BTreeSet;

use tidings_broker::{DescribeTopics, TopicAnswer, TopicName, Topics};
use tidings_wire::RequestHeader;
use tidings_wire::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, Request, Response,
};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let topics = self.dirs.iter().flat_map(|dir| &dir.topics);
        let names = topics.map(|topic| TopicName::Name(topic.name.clone())).collect();
        let describe = DescribeTopics { topics: Topics::These(names), auto_create: false };
        let here = on_broker(context.ask(describe).await?, context.broker_id());
        let own = context.log_dir();
        let mut outcomes = Vec::new();
        for dir in self.dirs {
            for topic in dir.topics {
                outcomes.extend(topic.partitions.into_iter().map(|partition_index| {
                    let error = if dir.path != own {
                        ErrorCode::LOG_DIR_NOT_FOUND
                    } else if here.contains(&(topic.name.clone(), partition_index)) {
                        ErrorCode::NONE
                    } else {
                        ErrorCode::REPLICA_NOT_AVAILABLE
                    };
                    let error_code = error.code;
                    let result = AlterReplicaLogDirPartitionResult { partition_index, error_code };
                    (topic.name.clone(), result)
                }));
            }
        }
        let results = by_topic(outcomes)
            .into_iter()
            .map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
                topic_name,
                partitions,
            })
            .collect();
        Ok(Response { results, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn on_broker(answers: Vec<TopicAnswer>, broker: i32) -> BTreeSet<(String, i32)> {
    let topics = answers.into_iter().filter_map(|answer| answer.topic.ok());
    topics
        .flat_map(|topic| {
            let numbered = (0..).zip(topic.partitions);
            numbered.filter_map(move |(index, partition)| {
                partition.replicas.contains(&broker).then(|| (topic.name.clone(), index))
            })
        })
        .collect()
}
