//! Leader epochs: what tells a client that the log it has read from lost records since (KIP-320).
//!
//! One node never changes leaders, so epochs grow only when records that were acknowledged may be
//! gone: when opening finds damage, or that a node with topics in memory was not stopped, every partition
//! gets the next one, and the catalog keeps it. Which log lost something is not always known, and a
//! partition that lost nothing only has its readers ask once more. Batches carry the epoch they were written in; the log keeps the first offset of
//! each, also in Kafka's `leader-epoch-checkpoint`.
//!
//! Invariants: a partition's epoch is at least that of every batch in its log; an epoch that a client
//! was told is never taken back.

use tidings_log::{LogId, PartitionLog};

use crate::broker::{Broker, Completion, Now, OpenReport, Ticket};
use crate::catalog::{CATALOG, CatalogRecord};
use crate::jobs::moment;
use crate::partition::Logs;
use crate::{EndOfEpoch, EndsOfEpochs, EpochEnd, EpochPartition, FetchRefused, Reply};

impl Broker {
    /// Records may be gone: from now on every partition is in an epoch that none was in before.
    pub(crate) fn raise_epochs(&mut self, now: Now, report: &mut OpenReport) {
        let epochs = self.logs.by_id.iter().filter(|(id, _)| **id != CATALOG);
        let Some(newest) = epochs.map(|(_, partition)| partition.leader_epoch).max() else {
            return;
        };
        let to = newest.max(self.catalog.leader_epoch).saturating_add(1);
        let record = CatalogRecord::LeaderEpochsRaised { to };
        let recorded = self.append_catalog(now, &record).and_then(|past| {
            self.logs.store.settle(moment(now));
            let durable = self.logs.durable(CATALOG) >= past;
            if durable { Ok(()) } else { Err("the catalog is not on disk".to_owned()) }
        });
        if let Err(trouble) = recorded {
            let finding = format!("readers are not told that records may be gone: {trouble}");
            return report.findings.push(finding);
        }
        self.catalog.apply(record);
        for (id, partition) in &mut self.logs.by_id {
            if *id != CATALOG {
                partition.leader_epoch = to;
            }
        }
        report.findings.push(format!("leader epoch {to} tells readers that records may be gone"));
    }

    pub(crate) fn ends_of_epochs(&mut self, ticket: Ticket, request: EndsOfEpochs) {
        let answer = |part: EpochPartition| {
            let outcome = self.end_of_epoch(&part);
            EndOfEpoch { topic: part.topic, partition: part.partition, outcome }
        };
        let answers = request.partitions.into_iter().map(answer).collect();
        self.completions.push_back(Completion { ticket, reply: Reply::EndsOfEpochs(answers) });
    }

    fn end_of_epoch(&self, part: &EpochPartition) -> Result<Option<EpochEnd>, FetchRefused> {
        let id = self.catalog.log(&part.topic, part.partition);
        let id = id.ok_or(FetchRefused::UnknownPartition)?;
        let log = self.logs.readable(id).map_err(FetchRefused::Storage)?;
        self.logs.check_epoch(id, part.current_leader_epoch)?;
        Ok(self.logs.epoch_end(id, log, part.epoch))
    }
}

impl Logs {
    /// Whether the client's idea of the leader's epoch is the present one; -1 and nothing are no
    /// idea.
    pub(crate) fn check_epoch(&self, id: LogId, said: Option<i32>) -> Result<(), FetchRefused> {
        let current = self.leader_epoch(id);
        match said {
            Some(got) if got > current => Err(FetchRefused::UnknownEpoch { got, current }),
            Some(got) if (0..current).contains(&got) => {
                Err(FetchRefused::FencedEpoch { got, current })
            }
            _ => Ok(()),
        }
    }

    /// Where an epoch ends, or the largest one before it; none when nothing is known of it.
    pub(crate) fn epoch_end(&self, id: LogId, log: &PartitionLog, epoch: i32) -> Option<EpochEnd> {
        let now = (self.leader_epoch(id), log.end_offset());
        end_of(log.leader_epochs(), now, self.high_watermark(id, log), epoch)
    }

    /// The epoch that wrote the record at an offset, or will.
    pub(crate) fn epoch_at(&self, id: LogId, log: &PartitionLog, offset: i64) -> i32 {
        let starts = log.leader_epochs();
        let wrote = starts.iter().rev().find(|(_, start)| *start <= offset);
        match wrote.or(starts.first()) {
            Some((epoch, _)) if offset < log.end_offset() => *epoch,
            _ => self.leader_epoch(id),
        }
    }

    /// The epoch of a partition that was just opened: that of the catalog, or of its batches.
    pub(crate) fn opened_epoch(&self, id: LogId, recorded: i32) -> i32 {
        let newest = self.log(id).and_then(|log| Some(log.leader_epochs().last()?.0));
        newest.unwrap_or(recorded).max(recorded)
    }
}

/// `starts` are the epochs that wrote something, `now` is the present one and where it goes on,
/// `readable` is how far the log may be shown.
fn end_of(starts: &[(i32, i64)], now: (i32, i64), readable: i64, epoch: i32) -> Option<EpochEnd> {
    let (current, end) = now;
    if epoch == current {
        return Some(EpochEnd { epoch, end_offset: readable });
    }
    let after = starts.partition_point(|(known, _)| *known <= epoch);
    let next = starts.get(after).map(|(_, start)| *start);
    let next = next.or((epoch < current).then_some(end))?;
    let floor = after.checked_sub(1).map_or(epoch, |before| starts[before].0);
    (epoch >= 0).then_some(EpochEnd { epoch: floor, end_offset: next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let starts = [(1, 5), (3, 20), (6, 40)];
        let cases = [
            // Asked about, present epoch, its end, and what is answered.
            (6, (6, 50), Some((6, 48))),
            (7, (6, 50), None),
            (5, (6, 50), Some((3, 40))),
            (3, (6, 50), Some((3, 40))),
            (2, (6, 50), Some((1, 20))),
            (1, (6, 50), Some((1, 20))),
            (0, (6, 50), Some((0, 5))),
            (-1, (6, 50), None),
            // The present epoch has written nothing.
            (8, (8, 50), Some((8, 48))),
            (7, (8, 50), Some((6, 50))),
            (6, (8, 50), Some((6, 50))),
            (9, (8, 50), None),
        ];
        for (epoch, now, expected) in cases {
            let expected = expected.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
            assert_eq!(end_of(&starts, now, 48, epoch), expected, "epoch {epoch} in {now:?}");
        }
    }

    #[test]
    fn a_log_without_records_has_its_present_epoch_alone() {
        assert_eq!(end_of(&[], (2, 0), 0, 2), Some(EpochEnd { epoch: 2, end_offset: 0 }));
        assert_eq!(end_of(&[], (2, 0), 0, 1), Some(EpochEnd { epoch: 1, end_offset: 0 }));
        assert_eq!(end_of(&[], (2, 0), 0, 3), None);
    }
}
