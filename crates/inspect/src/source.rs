//! A file's bytes for a walk: in chunks, and past blocks that the disk will not give.

use tidings_log::{BLOCK_BYTES, Fault, FaultKind, File};

use crate::limits::SCAN_CHUNK_BYTES;

/// Reads a file from its beginning to `end`. A block that cannot be read counts as zeros, which no
/// check takes for a batch, and is remembered.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: &'a dyn File,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
    unreadable: Vec<(u64, String)>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a dyn File, end: u64) -> Self {
        Self { file, end, chunk: Vec::new(), chunk_at: 0, unreadable: Vec::new() }
    }

    /// One past the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `wanted` bytes from `position` on, or as many as there are before the end.
    pub(crate) fn bytes(&mut self, position: u64, wanted: usize) -> Result<&[u8], Fault> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let held_to = self.chunk_at + self.chunk.len() as u64;
        if position < self.chunk_at || position + wanted as u64 > held_to {
            self.fill(position, wanted.max(SCAN_CHUNK_BYTES).min(left))?;
        }
        let from = usize::try_from(position - self.chunk_at).unwrap_or(usize::MAX);
        let held = self.chunk.get(from..).unwrap_or_default();
        Ok(held.get(..wanted).unwrap_or(held))
    }

    /// Why a block at or past `from` and before `to` could not be read.
    pub(crate) fn unreadable(&self, from: u64, to: u64) -> Option<&str> {
        let block = BLOCK_BYTES as u64;
        let touches = |&&(at, _): &&(u64, String)| at < to && at + block > from;
        self.unreadable.iter().find(touches).map(|(_, why)| why.as_str())
    }

    fn fill(&mut self, position: u64, wanted: usize) -> Result<(), Fault> {
        self.chunk.clear();
        self.chunk.resize(wanted, 0);
        self.chunk_at = position;
        let read = match self.file.read_at(&mut self.chunk, position) {
            Err(Fault { kind: FaultKind::Io(_), .. }) => self.fill_by_blocks(position)?,
            read => read?,
        };
        self.chunk.truncate(read);
        Ok(())
    }

    fn fill_by_blocks(&mut self, position: u64) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < self.chunk.len() {
            let at = position + filled as u64;
            let to_boundary = BLOCK_BYTES - usize::try_from(at % BLOCK_BYTES as u64).unwrap_or(0);
            let to = (filled + to_boundary).min(self.chunk.len());
            let Some(part) = self.chunk.get_mut(filled..to) else { break };
            match self.file.read_at(part, at) {
                Err(Fault { kind: FaultKind::Io(why), .. }) => {
                    part.fill(0);
                    if self.unreadable.last().is_none_or(|&(last, _)| last < at) {
                        self.unreadable.push((at, why));
                    }
                }
                Err(other) => return Err(other),
                Ok(read) if read < part.len() => return Ok(filled + read),
                Ok(_) => {}
            }
            filled = to;
        }
        Ok(filled)
    }
}
