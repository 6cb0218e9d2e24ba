//! Taking batches in.

use bytes::Bytes;

use super::{LogId, Store};
use crate::journal::EntryKind;
use crate::partition_log::Admitted;
use crate::partition_log::tail::TailBatch;
use crate::{AppendAt, AppendRefused, Appended, Batch, BatchHeader, Fault, FaultKind};

/// An entry of the journal that is not in a sealed frame yet.
#[derive(Debug)]
pub(super) enum Pushed {
    Batch(LogId, BatchHeader),
    StartOffset(LogId, i64),
    /// A copy: its log has it already, and waits for nothing.
    Again,
}

impl Store {
    /// Assigns offsets, checks the producer's sequence and puts the batch into the journal's next
    /// frame.
    pub fn append(
        &mut self,
        id: LogId,
        batch: &Batch,
        at: AppendAt,
    ) -> Result<Appended, AppendRefused> {
        if self.failed().is_none() && !self.journal.has_room() {
            return Err(AppendRefused::Congested);
        }
        self.append_anyway(id, batch, at)
    }

    /// Whether a batch of so many bytes would have its place in the journal's ring at once. If not,
    /// the room is asked for; an owner that waits for it never has a full disk under what it accepted.
    pub fn makes_room(&mut self, bytes: usize) -> bool {
        self.journal.makes_room(bytes)
    }

    /// [`Self::append`], however much waits for its write already: for what the owner itself must keep,
    /// of which it bounds the amount.
    pub fn append_anyway(
        &mut self,
        id: LogId,
        batch: &Batch,
        at: AppendAt,
    ) -> Result<Appended, AppendRefused> {
        self.begun()?;
        let log = self.logs.get_mut(&id).ok_or_else(|| unknown("append to", id))?;
        let placed = match log.admit(batch, at)? {
            Admitted::New(placed) => placed,
            Admitted::Duplicate { base_offset, last_offset } => {
                return Ok(Appended::Duplicate { base_offset, last_offset });
            }
        };
        let bytes = batch.bytes().len();
        let header = placed.header;
        self.make_room_for_producer(id, &header)?;
        let log = self.logs.get_mut(&id).ok_or_else(|| unknown("append to", id))?;
        // Behind what waits for the journal everything does.
        if log.config().volatile && log.durable_offset() == log.end_offset() {
            log.accept(batch, &header, None);
            let unit = self.cache.loose_unit(id, bytes);
            log.keep(TailBatch::new(&header, Bytes::from(placed.parts.concat()), unit));
            log.made_durable(log.end_offset());
            self.dirty.insert(id);
            self.advanced.insert(id);
        } else {
            // Nothing may be durable here without what came before it.
            self.journal_loose(id);
            let log = self.logs.get_mut(&id).ok_or_else(|| unknown("append to", id))?;
            let sequence = self.journal.push(log.key(), EntryKind::Batch, &placed.parts);
            log.accept(batch, &header, Some(sequence));
            self.pushed.push_back(Pushed::Batch(id, header));
        }
        self.unflushed_bytes += bytes as u64;
        self.count_producers(id);
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        Ok(Appended::Written { base_offset, last_offset })
    }

    /// What a log has in memory only goes into the journal.
    pub(super) fn journal_loose(&mut self, id: LogId) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        for batch in log.take_loose() {
            let sequence = self.journal.push(log.key(), EntryKind::Batch, &[batch]);
            log.needs_frame(Some(sequence));
            self.pushed.push_back(Pushed::Again);
        }
    }

    /// Moves the log start offset up to `offset`, or to the durable offset if that is less; true when it
    /// moved. Kept once [`crate::PartitionLog::durable_start_offset`] says so; reads below it are refused at
    /// once.
    pub fn advance_start(&mut self, id: LogId, offset: i64) -> Result<bool, AppendRefused> {
        self.begun()?;
        let log = self.logs.get_mut(&id).ok_or_else(|| unknown("advance", id))?;
        if let Some(fault) = log.failed() {
            return Err(fault.clone().into());
        }
        let offset = offset.min(log.durable_offset());
        if offset <= log.start_offset() {
            return Ok(false);
        }
        if log.config().volatile {
            log.move_start(offset, None);
            self.dirty.insert(id);
            return Ok(true);
        }
        if !self.journal.has_room() {
            return Err(AppendRefused::Congested);
        }
        let bytes = Bytes::copy_from_slice(&offset.to_be_bytes());
        let sequence = self.journal.push(log.key(), EntryKind::StartOffset, &[bytes]);
        log.move_start(offset, Some(sequence));
        self.pushed.push_back(Pushed::StartOffset(id, offset));
        Ok(true)
    }

    /// Appends should wait: what was accepted is more than the disk has kept up with.
    pub fn congested(&self) -> bool {
        self.unflushed_bytes >= self.config.unflushed_bytes_max
            || self.unflushed_bytes > 0 && self.cache.bytes() >= self.tail_bytes_max()
            || self.journal.stalled()
            || !self.journal.has_room()
    }

    fn begun(&self) -> Result<(), Fault> {
        if self.begun {
            return Ok(());
        }
        let kind = FaultKind::Io("the store has not begun, or is closed".to_owned());
        Err(Fault { operation: "append to", path: "journal".to_owned(), offset: None, kind })
    }
}

/// The owner asks for a log that it has not opened.
pub(super) fn unknown(operation: &'static str, id: LogId) -> Fault {
    Fault { operation, path: format!("log {}", id.0), offset: None, kind: FaultKind::NotFound }
}
