//! DescribeQuorum, 0 to 2: this node alone keeps the metadata (KIP-595, KIP-836).
//!
//! The partition to ask for is `__cluster_metadata-0`; others get UNKNOWN_TOPIC_OR_PARTITION. What
//! is answered is the log of the node's own metadata. Virtual brokers observe it, and are always
//! there where the node is.

use tidings_broker::{DescribeMetadataLog, MetadataLog};
use tidings_wire::RequestHeader;
use tidings_wire::describe_quorum::{
    Listener, Node, PartitionData, PartitionDataResponse, ReplicaState, Request, Response,
    TopicDataResponse,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::{AdvertisedBroker, Context};

const METADATA_TOPIC: &str = "__cluster_metadata";

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let log = context.ask(DescribeMetadataLog).await?;
        let voter = context.node_id();
        let describe = |topic: &str, asked: &PartitionData| {
            if topic != METADATA_TOPIC || asked.partition_index != 0 {
                return PartitionDataResponse {
                    partition_index: asked.partition_index,
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code,
                    error_message: Some(format!("{METADATA_TOPIC}-0 alone has a quorum")),
                    ..PartitionDataResponse::default()
                };
            }
            let others = context.brokers().filter(|broker| broker.id != voter);
            PartitionDataResponse {
                leader_id: voter,
                leader_epoch: log.leader_epoch,
                high_watermark: log.high_watermark,
                current_voters: vec![replica(voter, &log)],
                observers: others.map(|broker| replica(broker.id, &log)).collect(),
                ..PartitionDataResponse::default()
            }
        };
        let topics = self.topics.iter().map(|topic| TopicDataResponse {
            topic_name: topic.topic_name.clone(),
            partitions: topic.partitions.iter().map(|p| describe(&topic.topic_name, p)).collect(),
        });
        let nodes = context.brokers().filter(|broker| broker.id == voter).map(node);
        let response =
            Response { topics: topics.collect(), nodes: nodes.collect(), ..Response::default() };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// There is one copy of the log, so everybody has just read all of it.
fn replica(replica_id: i32, log: &MetadataLog) -> ReplicaState {
    ReplicaState {
        replica_id,
        log_end_offset: log.end_offset,
        last_fetch_timestamp: log.now_ms,
        last_caught_up_timestamp: log.now_ms,
        ..ReplicaState::default()
    }
}

fn node(broker: AdvertisedBroker<'_>) -> Node {
    let AdvertisedBroker { id, host, port } = broker;
    let listener = Listener { name: "PLAINTEXT".to_owned(), host: host.to_owned(), port };
    Node { node_id: id, listeners: vec![listener] }
}
