//! ListOffsets: where a partition begins, ends, and which record stands at a time.

use tidings_log::{ByTime, ColdSearch, Fault, LogId, PartitionLog, TimeSearch, TimedOffset};

use crate::broker::{Broker, Completion, Ticket};
use crate::cold::{Cold, ColdAnswers, ColdRequest};
use crate::fetch::read_refusal;
use crate::{
    FetchRefused, Isolation, ListOffsets, ListOffsetsPartition, ListedOffset, OffsetAt, OffsetSpec,
    Reply,
};

/// No record answers the question.
const NOWHERE: OffsetAt = OffsetAt { offset: -1, timestamp: -1, leader_epoch: -1 };

/// The answer, or the search for it.
enum Sought {
    Found(OffsetAt),
    Cold(ColdSearch),
}

impl Broker {
    pub(crate) fn list_offsets(&mut self, ticket: Ticket, request: ListOffsets) {
        let mut answers = Vec::with_capacity(request.partitions.len());
        let mut missing = Vec::new();
        for part in request.partitions {
            let outcome = match self.offset_at(&part, request.isolation) {
                Ok(Sought::Found(at)) => Ok(at),
                Ok(Sought::Cold(search)) => {
                    missing.push((answers.len(), Cold::Search(search)));
                    Ok(NOWHERE)
                }
                Err(refused) => Err(refused),
            };
            let ListOffsetsPartition { topic, partition, .. } = part;
            answers.push(ListedOffset { topic, partition, outcome });
        }
        if missing.is_empty() {
            let reply = Reply::ListOffsets(answers);
            self.completions.push_back(Completion { ticket, reply });
        } else {
            let answers = ColdAnswers::ListOffsets { answers, missing };
            self.jobs.read(ColdRequest { ticket, answers });
        }
    }

    fn offset_at(
        &self,
        part: &ListOffsetsPartition,
        isolation: Isolation,
    ) -> Result<Sought, FetchRefused> {
        let (id, log) = self.log_for_read(&part.topic, part.partition)?;
        self.logs.check_epoch(id, part.current_leader_epoch)?;
        let until = self.logs.readable_until(id, log, isolation);
        let edge = |offset, leader_epoch| {
            Ok(Sought::Found(OffsetAt { offset, timestamp: -1, leader_epoch }))
        };
        let by = match part.at {
            OffsetSpec::Earliest => {
                let start = log.start_offset();
                return edge(start, self.logs.epoch_at(id, log, start));
            }
            OffsetSpec::Latest => return edge(until, self.logs.leader_epoch(id)),
            OffsetSpec::Tiered => return Ok(Sought::Found(NOWHERE)),
            OffsetSpec::MaxTimestamp => ByTime::Latest,
            OffsetSpec::Timestamp(at_ms) => ByTime::FirstFrom(at_ms),
        };
        match self.logs.store.search(id, by, until) {
            Ok(TimeSearch::Cold(search)) => Ok(Sought::Cold(search)),
            Ok(TimeSearch::Ready(found)) => {
                self.located(&part.topic, part.partition, Ok(found)).map(Sought::Found)
            }
            Err(fault) => Err(read_refusal(fault.into())),
        }
    }

    fn log_for_read(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(LogId, &PartitionLog), FetchRefused> {
        let id = self.catalog.log(topic, partition).ok_or(FetchRefused::UnknownPartition)?;
        Ok((id, self.logs.readable(id).map_err(FetchRefused::Storage)?))
    }

    /// The answer that a search has.
    pub(crate) fn located(
        &self,
        topic: &str,
        partition: i32,
        found: Result<Option<TimedOffset>, Fault>,
    ) -> Result<OffsetAt, FetchRefused> {
        let found = found.map_err(|fault| read_refusal(fault.into()))?;
        let Some(TimedOffset { offset, timestamp }) = found else { return Ok(NOWHERE) };
        let (id, log) = self.log_for_read(topic, partition)?;
        let leader_epoch = self.logs.epoch_at(id, log, offset);
        Ok(OffsetAt { offset, timestamp, leader_epoch })
    }
}
