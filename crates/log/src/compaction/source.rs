//! Reads a sealed segment from its beginning, batch by batch, each checked before it is handed out.

use std::sync::Arc;

use super::names;
use crate::limits::COMPACTION_CHUNK_BYTES;
use crate::retention::SegmentFacts;
use crate::{BatchHeader, Disk, Fault, FaultKind, File, HEADER_BYTES, OpenMode, batch};

#[derive(Debug)]
pub(super) struct Source {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    /// The next batch begins at or past this offset, and the last one ends before `next_offset`.
    expected: i64,
    next_offset: i64,
    /// Bytes of the file from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl Source {
    /// `chunk` is memory to read into.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &str,
        segment: &SegmentFacts,
        chunk: Vec<u8>,
    ) -> Result<Self, Fault> {
        let file = disk.open(&names::log(dir, segment.base_offset), OpenMode::Existing)?;
        Ok(Self::new(file, segment, chunk))
    }

    pub(super) fn new(file: Arc<dyn File>, segment: &SegmentFacts, mut chunk: Vec<u8>) -> Self {
        chunk.clear();
        Self {
            file,
            position: 0,
            end: segment.bytes,
            expected: segment.base_offset,
            next_offset: segment.next_offset,
            chunk,
            chunk_at: 0,
        }
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Its memory, for another; nothing can be read afterwards.
    pub(super) fn take_chunk(&mut self) -> Vec<u8> {
        self.position = self.end;
        std::mem::take(&mut self.chunk)
    }

    /// The next batch; none at the end. A fault of kind [`FaultKind::Corrupt`] says that there is none
    /// that passes its checks; the source then stays where it is.
    pub(super) fn next(&mut self) -> Result<Option<(BatchHeader, &[u8])>, Fault> {
        if self.position >= self.end {
            return Ok(None);
        }
        let stated = BatchHeader::read(self.load(HEADER_BYTES)?);
        let stated = stated.and_then(|header| header.total_bytes()).unwrap_or(HEADER_BYTES);
        let checked = batch::check_first(self.load(stated)?);
        let (header, total) = checked.map_err(|error| self.damage(error.to_string()))?;
        let last_offset = header.last_offset();
        if header.base_offset < self.expected || last_offset >= self.next_offset {
            let (from, until) = (self.expected, self.next_offset);
            let why = format!("offsets {}..={last_offset}", header.base_offset);
            return Err(self.damage(format!("{why} where {from}..{until} are possible")));
        }
        let start = (self.position - self.chunk_at) as usize;
        self.position += total as u64;
        self.expected = last_offset + 1;
        Ok(self.chunk.get(start..start + total).map(|bytes| (header, bytes)))
    }

    /// The bytes from here on, at least `wanted` of them unless the segment ends before.
    fn load(&mut self, wanted: usize) -> Result<&[u8], Fault> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        if self.position + wanted as u64 > self.chunk_at + self.chunk.len() as u64 {
            self.chunk.resize(wanted.max(COMPACTION_CHUNK_BYTES).min(left), 0);
            self.chunk_at = self.position;
            let read = self.file.read_at(&mut self.chunk, self.position)?;
            self.chunk.truncate(read);
        }
        let start = (self.position - self.chunk_at) as usize;
        Ok(self.chunk.get(start..).unwrap_or_default())
    }

    fn damage(&self, why: String) -> Fault {
        Fault {
            operation: "compact",
            path: self.file.path().to_owned(),
            offset: Some(self.position),
            kind: FaultKind::Corrupt(why),
        }
    }
}
