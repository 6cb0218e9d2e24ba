//! The control batches that end transactions in single partitions, and what partitions know of their
//! producers (KIP-664).

use tidings_coordinator::{TransactionEnd, TransactionMarker, TransactionVersion};
use tidings_log::{AppendAt, AppendRefused, EndMarker, Ending, LogId, PartitionLog, ProducerEntry};

use crate::broker::{Broker, Now, Ticket};
use crate::held::{Mark, Wait};
use crate::partition::{append_trouble, log_version};
use crate::topic_name::CONSUMER_OFFSETS;
use crate::{
    DescribeProducers, DescribedProducers, FetchRefused, MarkerRefused, Reply, WriteMarker,
    WriteMarkers, WrittenMarker,
};

/// The coordinator never moves to another node.
const COORDINATOR_EPOCH: i32 = 0;

impl Broker {
    /// Ends a transaction in one partition; false when that has to be tried again.
    pub(crate) fn end_in_partition(
        &mut self,
        now: Now,
        topic: &str,
        partition: i32,
        marker: TransactionMarker,
    ) -> bool {
        let appended = self.append_marker(now, topic, partition, marker, COORDINATOR_EPOCH);
        // What was ended there by hand, or with its topic, needs no other end.
        !matches!(appended, Err(MarkerRefused::Storage(_)))
    }

    pub(crate) fn write_markers(&mut self, now: Now, ticket: Ticket, request: &WriteMarkers) {
        let mut answers = Vec::with_capacity(request.markers.len());
        let mut waits = Vec::new();
        for asked in &request.markers {
            let WriteMarker { producer_id, epoch, end, coordinator_epoch, .. } = *asked;
            let version = TransactionVersion::One;
            let marker = TransactionMarker { producer_id, epoch, end, version };
            let appended =
                self.append_marker(now, &asked.topic, asked.partition, marker, coordinator_epoch);
            let outcome = appended.map(|(log, past)| {
                waits.push(Wait { log, mark: Mark::End, past, part: answers.len() });
            });
            answers.push(WrittenMarker { outcome });
        }
        self.answer(ticket, Reply::WriteMarkers(answers), &waits);
    }

    /// Appends a marker; returns the mark that makes it durable.
    fn append_marker(
        &mut self,
        now: Now,
        topic: &str,
        partition: i32,
        marker: TransactionMarker,
        coordinator_epoch: i32,
    ) -> Result<(LogId, i64), MarkerRefused> {
        let TransactionMarker { producer_id, epoch, end, version } = marker;
        if producer_id < 0 || epoch < 0 {
            let why = format!("no producer has id {producer_id} and epoch {epoch}");
            return Err(MarkerRefused::StaleEpoch(why));
        }
        let held = self.catalog.topic(topic).ok_or(MarkerRefused::UnknownPartition)?;
        let id = held.log(partition).ok_or(MarkerRefused::UnknownPartition)?;
        let log_append_time = held.settings.log_append_time;
        let now_ms = match log_append_time {
            true => self.logs.append_time(id, now.wall_ms),
            false => now.wall_ms,
        };
        let at = AppendAt {
            now_ms,
            leader_epoch: self.logs.leader_epoch(id),
            log_append_time,
            transactions: log_version(version),
        };
        let ending = match end {
            TransactionEnd::Commit => Ending::Commit,
            TransactionEnd::Abort => Ending::Abort,
        };
        let batch = EndMarker { ending, coordinator_epoch }.batch(producer_id, epoch, now_ms);
        self.logs.writable(id).map_err(MarkerRefused::Storage)?;
        let appended = self.logs.store.append_anyway(id, &batch, at);
        // Readers of a volatile log wait for no write.
        self.log_advanced(id);
        appended.map_err(|refused| match refused {
            AppendRefused::StaleEpoch { .. } | AppendRefused::EpochNotRaised { .. } => {
                MarkerRefused::StaleEpoch(refused.to_string())
            }
            AppendRefused::CoordinatorFenced { .. } => {
                MarkerRefused::CoordinatorFenced(refused.to_string())
            }
            other => MarkerRefused::Storage(append_trouble(&other)),
        })?;
        self.logs.count(id, batch.bytes().len());
        if topic == CONSUMER_OFFSETS {
            self.groups.end_transaction(now, producer_id, end);
        }
        Ok((id, self.logs.log(id).map_or(0, PartitionLog::end_offset)))
    }

    pub(crate) fn describe_producers(&self, request: DescribeProducers) -> Vec<DescribedProducers> {
        let partitions = crate::topics::distinct(request.partitions, |asked| asked);
        let each = partitions.into_iter().map(|(topic, partition)| {
            let outcome = self.producers_of(&topic, partition);
            DescribedProducers { topic, partition, outcome }
        });
        each.collect()
    }

    fn producers_of(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerEntry>, FetchRefused> {
        let id = self.catalog.log(topic, partition).ok_or(FetchRefused::UnknownPartition)?;
        let log = self.logs.readable(id).map_err(FetchRefused::Storage)?;
        let mut newest: Vec<ProducerEntry> = Vec::new();
        for entry in log.producers() {
            match newest.last_mut().filter(|last| last.producer_id == entry.producer_id) {
                Some(last) => *last = entry,
                None => newest.push(entry),
            }
        }
        Ok(newest)
    }
}
