//! ListOffsets, 1 to 11: the offset at a time, or at either end.
//!
//! -1 is the latest, -2 the earliest, -3 the record with the largest timestamp (version 7,
//! KIP-734). There is no tiered storage: -4, the earliest on this disk (version 8), is the earliest;
//! -5, the latest that is elsewhere (version 9), and -6, the earliest that is still to go there
//! (version 11), are nowhere, and version 10's timeout has nothing to end. Other negative timestamps,
//! and those of later versions, get UNSUPPORTED_VERSION, a partition that is asked for more than once gets
//! INVALID_REQUEST. For a reader of committed records the end is
//! the last stable offset.

use std::collections::{HashMap, HashSet};

use tidings_broker::{ListOffsetsPartition, OffsetAt, OffsetSpec};
use tidings_wire::RequestHeader;
use tidings_wire::list_offsets::{PartitionResponse, Request, Response, TopicResponse};

use super::{by_topic, epoch, isolation};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const MAX_TIMESTAMP_SINCE: i16 = 7;
const EARLIEST_LOCAL: i64 = -4;
const EARLIEST_LOCAL_SINCE: i16 = 8;
const LATEST_TIERED: i64 = -5;
const LATEST_TIERED_SINCE: i16 = 9;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const EARLIEST_PENDING_UPLOAD_SINCE: i16 = 11;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut asked = Vec::new();
        let mut refused = Vec::new();
        let mut repeated = repeated(&self);
        for topic in self.topics {
            for partition in topic.partitions {
                let (topic, index) = (topic.name.clone(), partition.partition_index);
                if let Some(answered) = repeated.get_mut(&(topic.clone(), index)) {
                    if !std::mem::replace(answered, true) {
                        refused.push((topic, respond(index, Err(ErrorCode::INVALID_REQUEST))));
                    }
                    continue;
                }
                match meaning(partition.timestamp, header.version) {
                    Some(at) => asked.push(ListOffsetsPartition {
                        topic,
                        partition: index,
                        at,
                        current_leader_epoch: epoch(partition.current_leader_epoch),
                    }),
                    None => {
                        let error = ErrorCode::UNSUPPORTED_VERSION;
                        refused.push((topic, respond(index, Err(error))));
                    }
                }
            }
        }
        let isolation = isolation(self.isolation_level);
        let ask = tidings_broker::ListOffsets { isolation, partitions: asked };
        let listed = context.ask(ask).await?;
        let listed = listed.into_iter().map(|listed| {
            let outcome = listed.outcome.map_err(|refused| refused.code());
            (listed.topic, respond(listed.partition, outcome))
        });
        let topics = by_topic(listed.chain(refused))
            .into_iter()
            .map(|(name, partitions)| TopicResponse { name, partitions })
            .collect();
        Ok(Response { topics, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn meaning(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        LATEST => Some(OffsetSpec::Latest),
        EARLIEST => Some(OffsetSpec::Earliest),
        MAX_TIMESTAMP if version >= MAX_TIMESTAMP_SINCE => Some(OffsetSpec::MaxTimestamp),
        EARLIEST_LOCAL if version >= EARLIEST_LOCAL_SINCE => Some(OffsetSpec::Earliest),
        LATEST_TIERED if version >= LATEST_TIERED_SINCE => Some(OffsetSpec::Tiered),
        EARLIEST_PENDING_UPLOAD if version >= EARLIEST_PENDING_UPLOAD_SINCE => {
            Some(OffsetSpec::Tiered)
        }
        0.. => Some(OffsetSpec::Timestamp(timestamp)),
        _ => None,
    }
}

/// The partitions that are asked for more than once, none of them answered yet.
fn repeated(request: &Request) -> HashMap<(String, i32), bool> {
    let mut seen = HashSet::new();
    let all = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    all.filter(|partition| !seen.insert(*partition))
        .map(|(topic, index)| ((topic.to_owned(), index), false))
        .collect()
}

fn respond(partition_index: i32, outcome: Result<OffsetAt, ErrorCode>) -> PartitionResponse {
    match outcome {
        Ok(OffsetAt { offset, timestamp, leader_epoch }) => PartitionResponse {
            partition_index,
            error_code: ErrorCode::NONE.code,
            timestamp,
            offset,
            leader_epoch,
        },
        Err(error) => PartitionResponse {
            partition_index,
            error_code: error.code,
            ..PartitionResponse::default()
        },
    }
}
