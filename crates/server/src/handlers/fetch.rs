//! Fetch, 4 to 18: whole batches from the offset asked for, waiting for them if need be.
//!
//! The first batch is returned whatever its size (KIP-74) and may begin before the offset. From
//! version 7 a fetch may begin a session, in which only what has changed is said (KIP-227), from 13
//! topics are named by their ids (KIP-516). A reader of committed records gets what is below the last
//! stable offset, and the aborted transactions in it. A client whose last record has another epoch than
//! the log's (version 12) is told where they part. There are no replicas: a fetch that says it is from
//! one is refused with NOT_LEADER_OR_FOLLOWER, as Kafka does with a broker that it does not know.

use tidings_broker::{
    FetchInSession, FetchPartition, FetchRefused, Fetched, Isolation, SessionFetched, SessionStep,
    TopicName,
};
use tidings_wire::RequestHeader;
use tidings_wire::fetch::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, PartitionResponse, Request,
    Response, Topic, TopicResponse,
};

use super::{by_topic, epoch, id_or_empty, isolation, name_or_empty, topic_of};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};
use crate::limits::FETCH_WAIT_MAX;

const IDS_SINCE: i16 = 13;
const LEADERS_SINCE: i16 = 16;
/// The epochs of a first fetch, and of one outside any session.
const FIRST: i32 = 0;
const OUTSIDE: i32 = -1;

impl Handler for Request {
    async fn answer(
        mut self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let by_id = header.version >= IDS_SINCE;
        if self.replica_id >= 0 || self.replica_state.replica_id >= 0 {
            return Ok(refuse_replica(self.topics, by_id).into());
        }
        // Requests that wait for a slot are not decoded further; a read has no place among writes.
        let reservation = context.fetches().begin().await;
        context.let_pass();
        let isolation = isolation(self.isolation_level);
        let max_wait_ms = self.max_wait_ms.clamp(0, FETCH_WAIT_MAX.as_millis() as i32);
        let topics = std::mem::take(&mut self.topics).into_iter();
        let fetch = tidings_broker::Fetch {
            isolation,
            max_wait_ms: max_wait_ms.unsigned_abs(),
            min_bytes: size(self.min_bytes),
            max_bytes: context.fetch_bytes(size(self.max_bytes)),
            partitions: topics.flat_map(|topic| partitions_of(topic, by_id)).collect(),
        };
        let fetched = match self.step() {
            None => {
                let partitions = context.ask(fetch).await?;
                SessionFetched { session_id: 0, partitions }
            }
            Some(step) => {
                let forgotten = self.forgotten(by_id);
                match context.ask(FetchInSession { step, by_id, fetch, forgotten }).await? {
                    Ok(fetched) => fetched,
                    Err(refused) => return Ok(Self::refuse(refused.code()).into()),
                }
            }
        };
        let leader = (header.version >= LEADERS_SINCE).then(|| context.node_id());
        let mut response = respond(fetched, isolation, leader);
        if leader.is_some() {
            response.node_endpoints = endpoints(&response, context);
        }
        Ok(Answered { response, reserved: Some(reservation) })
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// What the request is in a session; none when it has to do with none.
trait InSession {
    fn step(&self) -> Option<SessionStep>;
    fn forgotten(self, by_id: bool) -> Vec<(TopicName, i32)>;
}

impl InSession for Request {
    fn step(&self) -> Option<SessionStep> {
        let (id, epoch) = (self.session_id, self.session_epoch);
        match epoch {
            OUTSIDE if id == 0 => None,
            OUTSIDE => Some(SessionStep::End { ends: id }),
            FIRST => Some(SessionStep::Begin { ends: id }),
            epoch => Some(SessionStep::Next { id, epoch }),
        }
    }

    fn forgotten(self, by_id: bool) -> Vec<(TopicName, i32)> {
        let topics = self.forgotten_topics_data.into_iter();
        let partitions = topics.flat_map(|forgotten| {
            let topic = topic_of(by_id, forgotten.topic, forgotten.topic_id);
            forgotten.partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        partitions.collect()
    }
}

/// A size as the wire says it; nothing below zero.
fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

fn partitions_of(topic: Topic, by_id: bool) -> impl Iterator<Item = FetchPartition> {
    let Topic { topic, topic_id, partitions } = topic;
    let topic = topic_of(by_id, topic, topic_id);
    partitions.into_iter().map(move |partition| FetchPartition {
        topic: topic.clone(),
        partition: partition.partition,
        offset: partition.fetch_offset,
        max_bytes: size(partition.partition_max_bytes),
        current_leader_epoch: epoch(partition.current_leader_epoch),
        last_fetched_epoch: epoch(partition.last_fetched_epoch),
    })
}

/// `leader` is set where the version says who leads a partition that was asked for with an old epoch.
fn respond(fetched: SessionFetched, isolation: Isolation, leader: Option<i32>) -> Response {
    let respond = |p: Fetched| (p.topic.clone(), respond_partition(p, isolation, leader));
    let responses = by_topic(fetched.partitions.into_iter().map(respond));
    Response {
        session_id: fetched.session_id,
        responses: responses.into_iter().map(topic_response).collect(),
        ..Response::default()
    }
}

fn respond_partition(
    fetched: Fetched,
    isolation: Isolation,
    leader: Option<i32>,
) -> PartitionResponse {
    // Kafka's difference, which shows in clients' logs: empty where nothing is known of the partition.
    let unknown = matches!(
        fetched.outcome,
        Err(FetchRefused::UnknownPartition
            | FetchRefused::UnknownId
            | FetchRefused::InconsistentId)
    );
    let refused = PartitionResponse {
        partition_index: fetched.partition,
        error_code: code_of(&fetched.outcome),
        high_watermark: -1,
        aborted_transactions: unknown.then(Vec::new),
        records: Some(Vec::new().into()),
        ..PartitionResponse::default()
    };
    let data = match fetched.outcome {
        Ok(data) => data,
        Err(FetchRefused::FencedEpoch { current, .. }) => {
            let current_leader =
                leader.map(|leader_id| LeaderIdAndEpoch { leader_id, leader_epoch: current });
            return PartitionResponse {
                current_leader: current_leader.unwrap_or_default(),
                ..refused
            };
        }
        Err(_) => return refused,
    };
    let aborted = data.aborted.into_iter();
    let aborted =
        aborted.map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
    let parted = data.diverging;
    let diverging_epoch =
        parted.map(|end| EpochEndOffset { epoch: end.epoch, end_offset: end.end_offset });
    PartitionResponse {
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
        diverging_epoch: diverging_epoch.unwrap_or_default(),
        aborted_transactions: (isolation == Isolation::Committed).then(|| aborted.collect()),
        records: Some(data.batches.into()),
        ..refused
    }
}

/// This node's, where the response names it as a leader.
fn endpoints(response: &Response, context: &Context) -> Vec<NodeEndpoint> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let named = partitions.into_iter().any(|partition| partition.current_leader.leader_id >= 0);
    let node_id = context.node_id();
    let this = NodeEndpoint { node_id, host: context.host(), port: context.port(), rack: None };
    named.then_some(this).into_iter().collect()
}

fn refuse_replica(topics: Vec<Topic>, by_id: bool) -> Response {
    let refused = |part: FetchPartition| {
        let partition = PartitionResponse {
            partition_index: part.partition,
            error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER.code,
            high_watermark: -1,
            records: Some(Vec::new().into()),
            ..PartitionResponse::default()
        };
        (part.topic, partition)
    };
    let partitions = topics.into_iter().flat_map(|topic| partitions_of(topic, by_id));
    let responses = by_topic(partitions.map(refused)).into_iter().map(topic_response);
    Response { responses: responses.collect(), ..Response::default() }
}

fn topic_response((topic, partitions): (TopicName, Vec<PartitionResponse>)) -> TopicResponse {
    let topic_id = id_or_empty(&topic);
    TopicResponse { topic: name_or_empty(topic), topic_id, partitions }
}
