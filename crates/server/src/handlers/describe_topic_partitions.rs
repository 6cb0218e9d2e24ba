//! DescribeTopicPartitions, 0: topics by name, page by page (KIP-966).
//!
//! Topics come in the order of their names, all of them when none is named. A page has at most
//! [`PARTITIONS_PER_PAGE_MAX`] partitions, or fewer if the client says so, and at least one; the
//! cursor in the answer says where the next begins. A cursor at a topic that is not among those named,
//! or with a negative partition, gets INVALID_REQUEST for each topic. Eligible leader replicas are
//! none, and every operation is authorized: there is no authorizer.

use std::collections::BTreeSet;

use tidings_broker::{DescribeTopics, PartitionDescription, TopicAnswer, TopicName, Topics};
use tidings_wire::RequestHeader;
use tidings_wire::describe_topic_partitions::{
    Cursor, CursorResponse, DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as Topic, Request, Response,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::authorized;
use crate::context::Context;
use crate::error_code::code_of;
use crate::limits::PARTITIONS_PER_PAGE_MAX;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let named: BTreeSet<String> = self.topics.into_iter().map(|topic| topic.name).collect();
        let from = self.cursor.unwrap_or_default();
        let among = named.is_empty() || from.topic_name.is_empty();
        if from.partition_index < 0 || !(among || named.contains(&from.topic_name)) {
            return Ok(refuse_each(named).into());
        }
        let all = named.is_empty();
        let topics = if all {
            Topics::All
        } else {
            let wanted = named.into_iter().filter(|name| *name >= from.topic_name);
            Topics::These(wanted.map(TopicName::Name).collect())
        };
        let answers = context.ask(DescribeTopics { topics, auto_create: false }).await?;
        let most = usize::try_from(self.response_partition_limit).unwrap_or(0);
        let room = most.clamp(1, PARTITIONS_PER_PAGE_MAX);
        let answers = answers.into_iter().filter(|answer| !all || answer.topic.is_ok());
        Ok(page(answers, &from, room).into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn refuse_each(named: BTreeSet<String>) -> Response {
    let refused = |name| Topic {
        error_code: ErrorCode::INVALID_REQUEST.code,
        name: Some(name),
        ..Topic::default()
    };
    Response { topics: named.into_iter().map(refused).collect(), ..Response::default() }
}

/// As many partitions as there is room for, from the cursor on.
fn page(answers: impl Iterator<Item = TopicAnswer>, from: &Cursor, mut room: usize) -> Response {
    let mut response = Response::default();
    for answer in answers {
        let TopicAnswer { asked: TopicName::Name(name), .. } = &answer else { continue };
        if *name < from.topic_name {
            continue;
        }
        let is_first = *name == from.topic_name;
        let first = if is_first { usize::try_from(from.partition_index).unwrap_or(0) } else { 0 };
        let at = |partition: usize| CursorResponse {
            topic_name: name.clone(),
            partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        };
        if room == 0 {
            response.next_cursor = Some(at(0));
            break;
        }
        let partitions = answer.topic.as_ref().map_or(0, |topic| topic.partitions.len());
        let end = partitions.min(first.saturating_add(room));
        let next = (end < partitions).then(|| at(end));
        room -= end.saturating_sub(first);
        response.topics.push(describe(&answer, name, first..end));
        if next.is_some() {
            response.next_cursor = next;
            break;
        }
    }
    response
}

fn describe(answer: &TopicAnswer, name: &str, wanted: std::ops::Range<usize>) -> Topic {
    let topic = Topic {
        error_code: code_of(&answer.topic),
        name: Some(name.to_owned()),
        topic_authorized_operations: authorized::TOPIC.if_asked(true),
        ..Topic::default()
    };
    let Ok(described) = &answer.topic else { return topic };
    let partitions = described.partitions.iter().zip(0..).skip(wanted.start);
    let partition = |of: &PartitionDescription, partition_index| Partition {
        error_code: ErrorCode::NONE.code,
        partition_index,
        leader_id: of.leader().unwrap_or(-1),
        leader_epoch: of.leader_epoch,
        replica_nodes: of.replicas.clone(),
        isr_nodes: of.replicas.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    };
    Topic {
        topic_id: described.id,
        is_internal: described.internal,
        partitions: partitions
            .take(wanted.len())
            .map(|(described, index)| partition(described, index))
            .collect(),
        ..topic
    }
}
