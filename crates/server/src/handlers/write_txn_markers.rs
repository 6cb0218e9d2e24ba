//! WriteTxnMarkers, 1: ends a transaction in single partitions, whatever its coordinator says; the
//! answer comes when that is on disk.
//!
//! It is how an operator ends a transaction that hangs (`Admin.abortTransaction`, KIP-664). A marker of an
//! older producer epoch gets INVALID_PRODUCER_EPOCH, of an older coordinator's
//! TRANSACTION_COORDINATOR_FENCED.

use tidings_broker::{MarkerRefused, TransactionEnd, WriteMarker, WriteMarkers, WrittenMarker};
use tidings_wire::RequestHeader;
use tidings_wire::write_txn_markers::{
    Request, Response, WritableTxnMarker, WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
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
        let markers = self.markers.iter().flat_map(markers_of).collect();
        let mut written = context.ask(WriteMarkers { markers }).await?.into_iter();
        let markers = self.markers.into_iter().map(|marker| respond(marker, &mut written));
        Ok(Response { markers: markers.collect() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn markers_of(marker: &WritableTxnMarker) -> impl Iterator<Item = WriteMarker> {
    marker.topics.iter().flat_map(|topic| {
        topic.partition_indexes.iter().map(|partition| WriteMarker {
            producer_id: marker.producer_id,
            epoch: marker.producer_epoch,
            end: match marker.transaction_result {
                true => TransactionEnd::Commit,
                false => TransactionEnd::Abort,
            },
            coordinator_epoch: marker.coordinator_epoch,
            topic: topic.name.clone(),
            partition: *partition,
        })
    })
}

/// Takes the marker's answers, which are in the order of its partitions.
fn respond(
    marker: WritableTxnMarker,
    written: &mut impl Iterator<Item = WrittenMarker>,
) -> WritableTxnMarkerResult {
    let mut topics = Vec::with_capacity(marker.topics.len());
    for topic in marker.topics {
        let answers = topic.partition_indexes.iter().zip(&mut *written);
        let partitions = answers.map(|(partition_index, written)| {
            let code = written.outcome.as_ref().err().map_or(ErrorCode::NONE, code);
            WritableTxnMarkerPartitionResult {
                partition_index: *partition_index,
                error_code: code.code,
            }
        });
        let partitions = partitions.collect();
        topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
    }
    WritableTxnMarkerResult { producer_id: marker.producer_id, topics }
}

fn code(refused: &MarkerRefused) -> ErrorCode {
    match refused {
        MarkerRefused::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        MarkerRefused::StaleEpoch(_) => ErrorCode::INVALID_PRODUCER_EPOCH,
        MarkerRefused::CoordinatorFenced(_) => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        MarkerRefused::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}
