//! AlterPartitionReassignments, 0 to 1: partitions on other brokers, durable when answered (KIP-455).
//!
//! No data moves, so each reassignment ends at once: cancelling one gets
//! NO_REASSIGNMENT_IN_PROGRESS. Replicas that are named twice, or are no brokers here, get
//! INVALID_REPLICA_ASSIGNMENT; another number of them, where the client does not allow that
//! (version 1), INVALID_REPLICATION_FACTOR.

use tidings_broker::{Reassign, Reassigned, Reassignment};
use tidings_wire::RequestHeader;
use tidings_wire::alter_partition_reassignments::{
    ReassignablePartitionResponse, ReassignableTopicResponse, Request, Response,
};

use super::by_topic;
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut partitions = Vec::new();
        for topic in self.topics {
            partitions.extend(topic.partitions.into_iter().map(|partition| Reassignment {
                topic: topic.name.clone(),
                partition: partition.partition_index,
                replicas: partition.replicas,
            }));
        }
        let replication_may_change = self.allow_replication_factor_change;
        let answers = context.ask(Reassign { replication_may_change, partitions }).await?;
        let responses = by_topic(answers.into_iter().map(respond))
            .into_iter()
            .map(|(name, partitions)| ReassignableTopicResponse { name, partitions })
            .collect();
        let response = Response {
            allow_replication_factor_change: replication_may_change,
            responses,
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

fn respond(answer: Reassigned) -> (String, ReassignablePartitionResponse) {
    let response = ReassignablePartitionResponse {
        partition_index: answer.partition,
        error_code: code_of(&answer.outcome),
        error_message: answer.outcome.err().map(|refused| refused.text()),
    };
    (answer.topic, response)
}
