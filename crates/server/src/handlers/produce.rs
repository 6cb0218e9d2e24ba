//! Produce, 3 to 13: appends one batch per partition; the answer comes when they are on disk.
//!
//! acks=1 and acks=all mean the same (one node has no followers). acks=0 gets no answer, and a
//! refusal closes the connection, as in Kafka. zstd needs version 7 (KIP-110), record errors and
//! texts go out from version 8 (KIP-467). The client's timeout does not matter: nothing is
//! acknowledged before it is durable, and a disk that fails refuses. From version 13 topics are named
//! by their ids (KIP-516). Version 10's hints where a leader went are never needed.
//! A transactional batch must be part of its producer's transaction; from version 12 its partition becomes
//! so with it (KIP-890).
//! Versions 0 to 2 are refused per partition with UNSUPPORTED_VERSION in their own layout.

use bytes::Bytes;
use tidings_broker::log::{BatchRefused, RefusedRecord};
use tidings_broker::{
    Acks, ProducePartition, ProduceRefused, ProduceTransaction, Produced, TransactionRefused,
};
use tidings_wire::produce::{
    PartitionResponse, RecordError, Request, Response, TopicData, TopicResponse,
};
use tidings_wire::{DecodeError, EncodeError, Prefix, Reader, RequestHeader, Wire, Writer};

use super::{by_topic, id_or_empty, name_or_empty, topic_of};
use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, batch_code};

const ZSTD_SINCE: i16 = 7;
const ABORTABLE_SINCE: i16 = 11;
const ADDS_SINCE: i16 = 12;
const IDS_SINCE: i16 = 13;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let acks = match self.acks {
            0 => Acks::None,
            1 | -1 => Acks::Durable,
            _ => {
                let text = format!("acks {} is none of -1, 0 and 1", self.acks);
                let error = ErrorCode::INVALID_REQUIRED_ACKS;
                return Ok(refuse_each(self.topic_data, error, &text).into());
            }
        };
        let by_id = header.version >= IDS_SINCE;
        let topics = self.topic_data.into_iter();
        let partitions = topics.flat_map(|topic| partitions_of(topic, by_id)).collect();
        let produce = tidings_broker::Produce {
            acks,
            transaction: self.transactional_id.map(|transactional_id| ProduceTransaction {
                transactional_id,
                adds: header.version >= ADDS_SINCE,
            }),
            zstd_allowed: header.version >= ZSTD_SINCE,
            partitions,
        };
        let produced = context.ask(produce).await?;
        if acks == Acks::None {
            let refused = produced.iter().find_map(|p| p.outcome.as_ref().err());
            let refused = refused.map(|refused| code(refused, header.version));
            return Err(refused.map_or(NoAnswer::NotWanted, NoAnswer::Refused));
        }
        let responses =
            by_topic(produced.into_iter().map(|p| (p.topic.clone(), respond(p, header.version))));
        let responses = responses
            .into_iter()
            .map(|(topic, partition_responses)| {
                let topic_id = id_or_empty(&topic);
                TopicResponse { name: name_or_empty(topic), topic_id, partition_responses }
            })
            .collect();
        Ok(Response { responses, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn partitions_of(topic: TopicData, by_id: bool) -> impl Iterator<Item = ProducePartition> {
    let TopicData { name, topic_id, partition_data } = topic;
    let topic = topic_of(by_id, name, topic_id);
    partition_data.into_iter().map(move |data| ProducePartition {
        topic: topic.clone(),
        partition: data.index,
        batch: data.records.unwrap_or_default(),
    })
}

/// What a transaction's batch is refused with depends on what the version knows (KIP-890).
fn code(refused: &ProduceRefused, version: i16) -> ErrorCode {
    match refused {
        ProduceRefused::Transaction(TransactionRefused::Concurrent) if version < ADDS_SINCE => {
            ErrorCode::NOT_ENOUGH_REPLICAS
        }
        ProduceRefused::Transaction(refused) => batch_code(refused, version >= ABORTABLE_SINCE),
        other => other.code(),
    }
}

fn respond(produced: Produced, version: i16) -> PartitionResponse {
    let error_code = produced.outcome.as_ref().err().map_or(ErrorCode::NONE, |r| code(r, version));
    let error_code = error_code.code;
    let refused = |refused: ProduceRefused| PartitionResponse {
        index: produced.partition,
        error_code,
        base_offset: -1,
        log_start_offset: produced.refused_from.unwrap_or(-1),
        record_errors: record_errors(&refused),
        error_message: Some(refused.text()),
        ..PartitionResponse::default()
    };
    produced.outcome.map_or_else(refused, |at| PartitionResponse {
        index: produced.partition,
        base_offset: at.base_offset,
        log_append_time_ms: at.log_append_time_ms.unwrap_or(-1),
        log_start_offset: at.log_start_offset,
        ..PartitionResponse::default()
    })
}

/// The records that a rule refused, as far as they are named.
fn record_errors(refused: &ProduceRefused) -> Vec<RecordError> {
    let ProduceRefused::Batch(BatchRefused { records, .. }) = refused else { return Vec::new() };
    let error = |record: &RefusedRecord| RecordError {
        batch_index: record.index,
        batch_index_error_message: Some(record.message.clone()),
    };
    records.iter().map(error).collect()
}

fn refuse_each(topics: Vec<TopicData>, error: ErrorCode, text: &str) -> Response {
    let refused = |index| PartitionResponse {
        index,
        error_code: error.code,
        base_offset: -1,
        error_message: Some(text.to_owned()),
        ..PartitionResponse::default()
    };
    let responses = topics.into_iter().map(|topic| TopicResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic.partition_data.iter().map(|p| refused(p.index)).collect(),
    });
    Response { responses: responses.collect(), ..Response::default() }
}

/// Refuses a request of version 0, 1 or 2; none when it wants no answer (acks=0). Their layout is
/// that of version 3 without the transactional id; responses gain the throttle time in version 1
/// and the append time in version 2.
pub(crate) fn refuse_old(
    prefix: Prefix,
    frame: Bytes,
) -> Result<Option<Result<Vec<Bytes>, EncodeError>>, DecodeError> {
    const LAYOUT: i16 = 3;
    let mut r = Reader::new(frame, false);
    let _prefix = r.i64()?;
    let _client_id = r.nullable_string()?;
    let acks = r.i16()?;
    let _timeout_ms = r.i32()?;
    let topics: Vec<TopicData> = r.list(LAYOUT)?;
    r.finish()?;
    if acks == 0 {
        return Ok(None);
    }
    let text = "versions below 3 are not served";
    let response = refuse_each(topics, ErrorCode::UNSUPPORTED_VERSION, text);
    let mut w = Writer::frame();
    w.i32(prefix.correlation_id);
    if prefix.version == 2 {
        response.encode(&mut w, LAYOUT);
        return Ok(Some(w.finish_frame()));
    }
    w.i32(response.responses.len() as i32);
    for topic in &response.responses {
        w.string(&topic.name);
        w.i32(topic.partition_responses.len() as i32);
        for partition in &topic.partition_responses {
            w.i32(partition.index);
            w.i16(partition.error_code);
            w.i64(partition.base_offset);
        }
    }
    if prefix.version == 1 {
        w.i32(response.throttle_time_ms);
    }
    Ok(Some(w.finish_frame()))
}
