//! OffsetForLeaderEpoch, 2 to 4: where leader epochs end (KIP-320).
//!
//! The answer is the largest epoch that is not larger than the one asked about, with the offset after
//! its last; -1 for both when no such epoch is known. A present epoch that the client names and that
//! is not gets FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH. A replica is answered as a client is.

use tidings_broker::{EndOfEpoch, EndsOfEpochs, EpochPartition};
use tidings_wire::RequestHeader;
use tidings_wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderTopicResult, Request, Response,
};

use super::{by_topic, epoch};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::code_of;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut partitions = Vec::new();
        for topic in self.topics {
            partitions.extend(topic.partitions.into_iter().map(|partition| EpochPartition {
                topic: topic.topic.clone(),
                partition: partition.partition,
                current_leader_epoch: epoch(partition.current_leader_epoch),
                epoch: partition.leader_epoch,
            }));
        }
        let ends = context.ask(EndsOfEpochs { partitions }).await?;
        let topics = by_topic(ends.into_iter().map(|end| (end.topic.clone(), respond(&end))))
            .into_iter()
            .map(|(topic, partitions)| OffsetForLeaderTopicResult { topic, partitions })
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn respond(end: &EndOfEpoch) -> EpochEndOffset {
    let refused = EpochEndOffset {
        error_code: code_of(&end.outcome),
        partition: end.partition,
        ..EpochEndOffset::default()
    };
    match &end.outcome {
        Ok(Some(found)) => {
            EpochEndOffset { leader_epoch: found.epoch, end_offset: found.end_offset, ..refused }
        }
        _ => refused,
    }
}
