//! CreatePartitions, 0 to 3: more partitions for topics that exist, durable when answered (KIP-195).
//!
//! A number that is not larger than the present one gets INVALID_PARTITIONS; replicas that the
//! client chose for fewer or more partitions than are added, or for brokers that there are not,
//! INVALID_REPLICA_ASSIGNMENT. A topic that is named twice gets INVALID_REQUEST. From version 3 a
//! client that has used its quota up gets THROTTLING_QUOTA_EXCEEDED (KIP-599); before, it is slowed down.

use std::collections::BTreeMap;

use tidings_broker::{GrownTopic, MorePartitions};
use tidings_wire::RequestHeader;
use tidings_wire::create_partitions::{
    CreatePartitionsTopic, CreatePartitionsTopicResult, Request, Response,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::{Context, over_quota};
use crate::error_code::{Refusal, code_of};

const REFUSED_FOR_QUOTA_SINCE: i16 = 3;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut times_named: BTreeMap<String, usize> = BTreeMap::new();
        for topic in &self.topics {
            *times_named.entry(topic.name.clone()).or_default() += 1;
        }
        let topics = self.topics.into_iter().filter(|topic| times_named[&topic.name] == 1);
        let create = tidings_broker::CreatePartitions {
            topics: topics.map(more_partitions).collect(),
            validate_only: self.validate_only,
        };
        let grown =
            context.ask_within(over_quota(header.version, REFUSED_FOR_QUOTA_SINCE), create).await?;
        let twice = times_named.into_iter().filter(|(_, times)| *times > 1);
        let results =
            twice.map(|(name, _)| refuse_twice(name)).chain(grown.into_iter().map(respond));
        Ok(Response { results: results.collect(), ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn more_partitions(topic: CreatePartitionsTopic) -> MorePartitions {
    let CreatePartitionsTopic { name, count, assignments } = topic;
    let assignment =
        assignments.map(|lists| lists.into_iter().map(|list| list.broker_ids).collect());
    MorePartitions { topic: name, count, assignment }
}

fn refuse_twice(name: String) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        error_code: ErrorCode::INVALID_REQUEST.code,
        error_message: Some(format!("{name} is named more than once")),
        name,
    }
}

fn respond(grown: GrownTopic) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        error_code: code_of(&grown.outcome),
        error_message: grown.outcome.err().map(|refused| refused.text()),
        name: grown.topic,
    }
}
