//! DeleteRecords: the log start offset moved by a client (KIP-107).
//!
//! The answer comes when the new start offset is on disk; records below it are refused from the
//! moment of the request on. Files follow later, by the log's upkeep.

use tidings_log::LogId;

use crate::broker::{Broker, Ticket};
use crate::held::{Mark, Wait};
use crate::partition::append_trouble;
use crate::{DeleteRecords, DeleteRecordsPartition, DeleteRecordsRefused, DeletedRecords, Reply};

impl Broker {
    pub(crate) fn delete_records(&mut self, ticket: Ticket, request: DeleteRecords) {
        let mut answers = Vec::with_capacity(request.partitions.len());
        let mut waits = Vec::new();
        for part in request.partitions {
            let outcome = self.advance_start(&part).map(|(log, start)| {
                self.sessions.note(log);
                waits.push(Wait { log, mark: Mark::Start, past: start, part: answers.len() });
                start
            });
            let DeleteRecordsPartition { topic, partition, .. } = part;
            answers.push(DeletedRecords { topic, partition, outcome });
        }
        self.answer(ticket, Reply::DeleteRecords(answers), &waits);
    }

    /// Moves the start of one log; returns where it is now.
    fn advance_start(
        &mut self,
        part: &DeleteRecordsPartition,
    ) -> Result<(LogId, i64), DeleteRecordsRefused> {
        let unknown = DeleteRecordsRefused::UnknownPartition;
        let topic = self.catalog.topic(&part.topic).ok_or(unknown.clone())?;
        let id = topic.log(part.partition).ok_or(unknown)?;
        if topic.internal {
            return Err(DeleteRecordsRefused::Internal(part.topic.clone()));
        }
        if topic.settings.log.compact && !topic.settings.log.delete {
            return Err(DeleteRecordsRefused::Compacted(part.topic.clone()));
        }
        let log = self.logs.writable(id).map_err(DeleteRecordsRefused::Storage)?;
        let high_watermark = self.logs.high_watermark(id, log);
        let wanted = part.before.unwrap_or(high_watermark);
        if !(0..=high_watermark).contains(&wanted) {
            return Err(DeleteRecordsRefused::OutOfRange { wanted, high_watermark });
        }
        let moved = self.logs.store.advance_start(id, wanted);
        moved.map_err(|refused| DeleteRecordsRefused::Storage(append_trouble(&refused)))?;
        let log = self.logs.readable(id).map_err(DeleteRecordsRefused::Storage)?;
        Ok((id, log.start_offset()))
    }
}
