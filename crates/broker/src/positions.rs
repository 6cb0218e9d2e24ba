//! ListOffsets: where a partition begins, ends, and which record stands at a time.

use tidings_log::{ByTime, ColdSearch, Fault, TimeSearch, TimedOffset};

use crate::broker::{Broker, Completion, Ticket};
use crate::cold::{Cold, ColdAnswers, ColdRequest};
use crate::fetch::{check_epoch, read_refusal};
use crate::partition::LEADER_EPOCH;
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
        check_epoch(part.current_leader_epoch)?;
        let until = self.logs.readable_until(id, log, isolation);
        let edge = |offset| OffsetAt { offset, timestamp: -1, leader_epoch: LEADER_EPOCH };
        let by = match part.at {
            OffsetSpec::Earliest => return Ok(Sought::Found(edge(log.start_offset()))),
            OffsetSpec::Latest => return Ok(Sought::Found(edge(until))),
            OffsetSpec::MaxTimestamp => ByTime::Latest,
            OffsetSpec::Timestamp(at_ms) => ByTime::FirstFrom(at_ms),
        };
        match self.logs.store.search(id, by, until) {
            Ok(TimeSearch::Cold(search)) => Ok(Sought::Cold(search)),
            Ok(TimeSearch::Ready(found)) => Ok(Sought::Found(located(Ok(found))?)),
            Err(fault) => Err(read_refusal(fault.into())),
        }
    }
}

pub(crate) fn located(found: Result<Option<TimedOffset>, Fault>) -> Result<OffsetAt, FetchRefused> {
    let found = found.map_err(|fault| read_refusal(fault.into()))?;
    Ok(found.map_or(NOWHERE, |TimedOffset { offset, timestamp }| OffsetAt {
        offset,
        timestamp,
        leader_epoch: LEADER_EPOCH,
    }))
}
