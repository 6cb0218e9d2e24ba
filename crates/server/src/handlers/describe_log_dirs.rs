//! DescribeLogDirs, 1 to 4: the data directory with the size of each partition (KIP-113).
//!
//! There is one directory, and no replica on its way to another. Version 4 says how large its file
//! system is and how much of that is free (KIP-827). A virtual broker answers with the partitions
//! that it is said to hold. Topics that are asked for and not there are left out, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};

use tidings_broker::{DescribeTopics, TopicDescription, TopicName, Topics};
use tidings_wire::RequestHeader;
use tidings_wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic, Request, Response,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let asked: Option<BTreeMap<String, BTreeSet<i32>>> = self.topics.map(|topics| {
            let topics = topics.into_iter();
            topics.map(|topic| (topic.topic, topic.partitions.into_iter().collect())).collect()
        });
        let topics = match &asked {
            None => Topics::All,
            Some(asked) => Topics::These(asked.keys().cloned().map(TopicName::Name).collect()),
        };
        let described = context.ask(DescribeTopics { topics, auto_create: false }).await?;
        let broker = context.broker_id();
        let topics = described.into_iter().filter_map(|answer| answer.topic.ok()).map(|topic| {
            let wanted = asked.as_ref().and_then(|asked| asked.get(&topic.name));
            on_broker(topic, broker, wanted)
        });
        let figures = context.node_figures();
        let result = DescribeLogDirsResult {
            error_code: ErrorCode::NONE.code,
            log_dir: context.log_dir(),
            topics: topics.filter(|topic| !topic.partitions.is_empty()).collect(),
            total_bytes: size(figures.total_bytes),
            usable_bytes: size(figures.free_bytes),
        };
        Ok(Response { results: vec![result], ..Response::default() }.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// A topic's partitions on a broker; those of them that are wanted, if any are named.
fn on_broker(
    topic: TopicDescription,
    broker: i32,
    wanted: Option<&BTreeSet<i32>>,
) -> DescribeLogDirsTopic {
    let numbered = (0..).zip(topic.partitions);
    let here = numbered.filter(|(index, partition)| {
        partition.replicas.contains(&broker) && wanted.is_none_or(|wanted| wanted.contains(index))
    });
    let partitions = here.map(|(partition_index, partition)| DescribeLogDirsPartition {
        partition_index,
        partition_size: size(partition.size_bytes),
        offset_lag: 0,
        is_future_key: false,
    });
    DescribeLogDirsTopic { partitions: partitions.collect(), name: topic.name }
}

/// -1 where there is no end of it.
fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(-1)
}
