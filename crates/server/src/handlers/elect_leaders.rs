//! ElectLeaders, 0 to 2: no partition ever needs an election (KIP-460).
//!
//! The first replica leads always. A partition that is named gets ELECTION_NOT_NEEDED; for all
//! partitions (null) each topic is answered with those that need an election, which are none.
//! A type of election that is none refuses the request and each partition of it.

use tidings_broker::{DescribeTopics, TopicName, Topics};
use tidings_wire::RequestHeader;
use tidings_wire::elect_leaders::{
    PartitionResult, ReplicaElectionResult, Request, Response, TopicPartitions,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

/// Preferred and unclean.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if !ELECTION_TYPES.contains(&self.election_type) {
            let error = ErrorCode::INVALID_REQUEST;
            let asked = self.topic_partitions.unwrap_or_default().into_iter();
            let results = asked.map(|topic| refuse_topic(topic, error)).collect();
            return Ok(Response { replica_election_results: results, ..Self::refuse(error) }.into());
        }
        let Some(asked) = self.topic_partitions else {
            let describe = DescribeTopics { topics: Topics::All, auto_create: false };
            let topics = context.ask(describe).await?.into_iter();
            let topics = topics.filter_map(|answer| answer.topic.ok());
            let results = topics.map(|topic| nothing_needed(topic.name)).collect();
            return Ok(Response { replica_election_results: results, ..Response::default() }.into());
        };
        let names = asked.iter().map(|topic| TopicName::Name(topic.topic.clone())).collect();
        let describe = DescribeTopics { topics: Topics::These(names), auto_create: false };
        let described = context.ask(describe).await?;
        let counts = described.into_iter().map(|answer| {
            let count = answer.topic.map(|topic| topic.partitions.len());
            (answer.asked, count.map_err(|refused| refused.code()))
        });
        let counts: std::collections::BTreeMap<_, _> = counts.collect();
        let results = asked.into_iter().map(|topic| {
            let count = counts.get(&TopicName::Name(topic.topic.clone()));
            respond(topic, *count.unwrap_or(&Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)))
        });
        Ok(Response { replica_election_results: results.collect(), ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn nothing_needed(topic: String) -> ReplicaElectionResult {
    ReplicaElectionResult { topic, partition_result: Vec::new() }
}

fn refuse_topic(asked: TopicPartitions, error: ErrorCode) -> ReplicaElectionResult {
    let refused = |partition_id| PartitionResult {
        partition_id,
        error_code: error.code,
        error_message: Some(error.meaning.to_owned()),
    };
    let partition_result = asked.partitions.into_iter().map(refused).collect();
    ReplicaElectionResult { topic: asked.topic, partition_result }
}

/// `count`: how many partitions the topic has.
fn respond(asked: TopicPartitions, count: Result<usize, ErrorCode>) -> ReplicaElectionResult {
    let outcome = |partition_id: i32| {
        let exists = |count| usize::try_from(partition_id).is_ok_and(|index| index < count);
        let (error, said) = match count {
            Err(error) => (error, "the topic cannot be described"),
            Ok(count) if exists(count) => {
                (ErrorCode::ELECTION_NOT_NEEDED, "the first replica leads the partition already")
            }
            Ok(_) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "the topic has no such partition"),
        };
        PartitionResult {
            partition_id,
            error_code: error.code,
            error_message: Some(said.to_owned()),
        }
    };
    let partition_result = asked.partitions.into_iter().map(outcome).collect();
    ReplicaElectionResult { topic: asked.topic, partition_result }
}
