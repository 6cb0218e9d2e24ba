//! The journal's writes: what goes out, and what their return makes durable.

use super::append::Pushed;
use super::{LogId, Store};
use crate::partition_log::tail::TailBatch;
use crate::{BLOCK_BYTES, Fault, JournalWrite};

/// A sealed frame that is not durable.
#[derive(Debug)]
pub(super) struct FrameOut {
    sequence: u64,
    /// What becomes durable of each log, in order.
    entries: Vec<(LogId, Reached)>,
}

#[derive(Clone, Copy, Debug)]
enum Reached {
    /// The offset after a batch.
    End(i64),
    StartOffset(i64),
}

impl Store {
    /// The next durable write, if one should go out now.
    pub fn next_write(&mut self) -> Option<JournalWrite> {
        let write = self.journal.next_write()?;
        let unit = self.cache.new_unit();
        let mut entries = Vec::with_capacity(write.entries.len());
        for range in &write.entries {
            let pushed = self.pushed.pop_front().expect("the store knows what it pushed");
            entries.push(match pushed {
                Pushed::Again => continue,
                Pushed::StartOffset(id, offset) => (id, Reached::StartOffset(offset)),
                Pushed::Batch(id, header) => {
                    // A log that was removed meanwhile needs nothing.
                    if let Some(log) = self.logs.get_mut(&id) {
                        let bytes = write.bytes.slice(range.clone());
                        log.keep(TailBatch::new(&header, bytes, unit));
                    }
                    (id, Reached::End(header.last_offset() + 1))
                }
            });
        }
        if !entries.is_empty() {
            let ids = entries.iter().map(|&(id, _)| id);
            // The memory of a frame is aligned within one block more.
            self.cache.add(unit, write.bytes.len() + BLOCK_BYTES, ids);
        }
        self.frames_out.push_back(FrameOut { sequence: write.sequence, entries });
        Some(write)
    }

    /// Takes a write's outcome, in whatever order they come.
    #[expect(clippy::needless_pass_by_value, reason = "the write is over, and its memory goes")]
    pub fn write_done(&mut self, write: JournalWrite, outcome: Result<(), Fault>) {
        self.journal.write_done(&write, outcome);
        if let Some(fault) = self.journal.failed() {
            if self.journal_fault.set(fault.clone()).is_ok() {
                self.advanced.extend(self.logs.keys().copied());
                self.pushed.clear();
            }
            return;
        }
        let durable = self.journal.durable();
        while let Some(frame) = self.frames_out.pop_front_if(|frame| frame.sequence < durable) {
            for (id, reached) in frame.entries {
                let Some(log) = self.logs.get_mut(&id) else { continue };
                match reached {
                    Reached::End(offset) => log.made_durable(offset),
                    Reached::StartOffset(offset) => {
                        log.made_start_durable(offset);
                        self.upkeep.schedule(id, 0);
                    }
                }
                self.dirty.insert(id);
                self.advanced.insert(id);
            }
        }
    }
}
