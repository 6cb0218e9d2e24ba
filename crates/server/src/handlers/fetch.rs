//! Fetch, 4 to 12: whole batches from the offset asked for, waiting for them if need be.
//!
//! The first batch is returned whatever its size (KIP-74) and may begin before the offset. Fetch
//! sessions (KIP-227) are not kept: the answer's session id is 0, which every client takes as
//! "send full requests"; a request that names a session gets FETCH_SESSION_ID_NOT_FOUND. A reader
//! of committed records gets what is below the last stable offset, and the aborted transactions in
//! it.

use tidings_broker::{FetchPartition, Fetched, FetchedData, Isolation};
use tidings_wire::RequestHeader;
use tidings_wire::fetch::{
    AbortedTransaction, PartitionResponse, Request, Response, Topic, TopicResponse,
};

use super::{by_topic, epoch, isolation};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::code_of;
use crate::limits::FETCH_WAIT_MAX;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        if self.session_id != 0 {
            return Ok(Self::refuse(ErrorCode::FETCH_SESSION_ID_NOT_FOUND).into());
        }
        if self.session_epoch > 0 {
            return Ok(Self::refuse(ErrorCode::INVALID_FETCH_SESSION_EPOCH).into());
        }
        // Requests that wait for a slot are not decoded further; a read has no place among writes.
        let mut reservation = context.fetches().begin().await;
        context.let_pass();
        let max_wait_ms = self.max_wait_ms.clamp(0, FETCH_WAIT_MAX.as_millis() as i32);
        let isolation = isolation(self.isolation_level);
        let fetch = tidings_broker::Fetch {
            isolation,
            max_wait_ms: max_wait_ms.unsigned_abs(),
            min_bytes: size(self.min_bytes),
            max_bytes: context.fetches().allowed(size(self.max_bytes)),
            partitions: self.topics.into_iter().flat_map(partitions_of).collect(),
        };
        let fetched = context.ask(fetch).await?;
        let batches = fetched.iter().filter_map(|partition| partition.outcome.as_ref().ok());
        reservation.hold(batches.map(FetchedData::bytes).sum());
        let respond = |p: Fetched| (p.topic.clone(), respond(p, isolation));
        let responses = by_topic(fetched.into_iter().map(respond))
            .into_iter()
            .map(|(topic, partitions)| TopicResponse { topic, partitions })
            .collect();
        let response = Response { responses, ..Response::default() };
        Ok(Answered { response, reserved: Some(reservation) })
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// A size as the wire says it; nothing below zero.
fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

fn partitions_of(topic: Topic) -> impl Iterator<Item = FetchPartition> {
    let Topic { topic, partitions } = topic;
    partitions.into_iter().map(move |partition| FetchPartition {
        topic: topic.clone(),
        partition: partition.partition,
        offset: partition.fetch_offset,
        max_bytes: size(partition.partition_max_bytes),
        current_leader_epoch: epoch(partition.current_leader_epoch),
    })
}

fn respond(fetched: Fetched, isolation: Isolation) -> PartitionResponse {
    let error_code = code_of(&fetched.outcome);
    let nothing = FetchedData {
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        batches: Vec::new(),
        aborted: Vec::new(),
    };
    let data = fetched.outcome.unwrap_or(nothing);
    let aborted = data.aborted.into_iter();
    let aborted =
        aborted.map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
    PartitionResponse {
        partition_index: fetched.partition,
        error_code,
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
        aborted_transactions: (isolation == Isolation::Committed).then(|| aborted.collect()),
        records: Some(data.batches.into()),
        ..PartitionResponse::default()
    }
}
