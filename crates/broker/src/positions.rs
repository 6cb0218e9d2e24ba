//! ListOffsets: where a partition begins, ends, and which record stands at a time.

use tidings_log::TimedOffset;

use crate::broker::Broker;
use crate::catalog::LogId;
use crate::fetch::{check_epoch, read_refusal};
use crate::partition::LEADER_EPOCH;
use crate::{FetchRefused, ListOffsets, ListOffsetsPartition, ListedOffset, OffsetAt, OffsetSpec};

impl Broker {
    pub(crate) fn list_offsets(&self, request: ListOffsets) -> Vec<ListedOffset> {
        let parts = request.partitions.into_iter();
        parts
            .map(|part| {
                let outcome = self.offset_at(&part);
                ListedOffset { topic: part.topic, partition: part.partition, outcome }
            })
            .collect()
    }

    fn offset_at(&self, part: &ListOffsetsPartition) -> Result<OffsetAt, FetchRefused> {
        let partition = self.partition_for_read(&part.topic, part.partition)?;
        check_epoch(part.current_leader_epoch)?;
        let log = partition.readable().map_err(FetchRefused::Storage)?;
        let high_watermark = partition.high_watermark(log, self.logs.durable(LogId::CATALOG));
        let edge = |offset| Ok(OffsetAt { offset, timestamp: -1, leader_epoch: LEADER_EPOCH });
        let found = match part.at {
            OffsetSpec::Earliest => return edge(log.start_offset()),
            OffsetSpec::Latest => return edge(high_watermark),
            OffsetSpec::MaxTimestamp => log.offset_of_max_timestamp(high_watermark),
            OffsetSpec::Timestamp(at_ms) => log.offset_at_time(at_ms, high_watermark),
        };
        let found = found.map_err(|fault| read_refusal(fault.into()))?;
        Ok(found.map_or(
            OffsetAt { offset: -1, timestamp: -1, leader_epoch: -1 },
            |TimedOffset { offset, timestamp }| OffsetAt {
                offset,
                timestamp,
                leader_epoch: LEADER_EPOCH,
            },
        ))
    }
}
