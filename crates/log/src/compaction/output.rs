//! The segment that a compaction writes: `.cleaned` files beside the sources.
//!
//! As long as a group of one segment comes out as it went in, nothing is written at all; at the first
//! difference what was the same is copied.

use std::sync::Arc;

use super::CleanedSegment;
use super::names::{self, CLEANED, INDEXES, LOG};
use crate::limits::COMPACTION_CHUNK_BYTES;
use crate::partition_log::transactions::{self, AbortedTransaction};
use crate::{BatchHeader, Disk, Fault, FaultKind, File, OpenMode};

#[derive(Debug)]
pub(super) struct Output {
    dir: String,
    /// None while everything is as in the only source.
    file: Option<Arc<dyn File>>,
    /// Bytes not yet in the file, which has `written` before them.
    buffer: Vec<u8>,
    pub(super) written: u64,
    index: Indexing,
    aborted: Vec<AbortedTransaction>,
}

impl Output {
    /// For a group that begins at `base_offset`; `buffer` is memory to gather bytes in.
    pub(super) fn new(dir: &str, base_offset: i64, interval: u32, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        let index = Indexing::new(base_offset, interval);
        let aborted = Vec::new();
        Self { dir: dir.to_owned(), file: None, buffer, written: 0, index, aborted }
    }

    /// Begins to write, first what was the same in `source`. What is in the buffer comes after that.
    pub(super) fn diverge(&mut self, disk: &dyn Disk, source: &dyn File) -> Result<(), Fault> {
        if self.file.is_some() {
            return Ok(());
        }
        let path = names::path(&self.dir, self.index.segment.base_offset, LOG, CLEANED);
        let file = disk.open(&path, OpenMode::Create)?;
        file.truncate(0)?;
        let mut left = self.index.segment.bytes;
        let mut chunk = Vec::new();
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(COMPACTION_CHUNK_BYTES);
            chunk.resize(wanted, 0);
            if source.read_at(&mut chunk, self.written)? < wanted {
                return Err(Fault {
                    operation: "compact",
                    path: source.path().to_owned(),
                    offset: Some(self.written),
                    kind: FaultKind::Corrupt("shorter than it was".to_owned()),
                });
            }
            file.write_at(&chunk, self.written)?;
            self.written += wanted as u64;
            left -= wanted as u64;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Takes in a batch as it is in the source.
    pub(super) fn same(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), Fault> {
        self.index.add(header, bytes.len());
        if self.file.is_none() {
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        self.write_if_full()
    }

    /// Where a changed batch is appended to, before [`Self::changed`] takes it in.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn changed(&mut self, header: &BatchHeader) -> Result<(), Fault> {
        self.index.add(header, header.total_bytes().unwrap_or_default());
        self.write_if_full()
    }

    pub(super) fn aborted(&mut self, aborted: AbortedTransaction) {
        self.aborted.push(aborted);
    }

    fn write_if_full(&mut self) -> Result<(), Fault> {
        if self.buffer.len() >= COMPACTION_CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Fault> {
        if let Some(file) = &self.file {
            file.write_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes the segment durable under its `.cleaned` names; none if it is what its only source is.
    /// `next_offset` is the group's.
    pub(super) fn finish(
        &mut self,
        disk: &dyn Disk,
        next_offset: i64,
    ) -> Result<Option<CleanedSegment>, Fault> {
        self.write()?;
        let Some(file) = &self.file else { return Ok(None) };
        file.sync()?;
        self.index.seal();
        let txns = transactions::encode(&self.aborted);
        for (name, bytes) in INDEXES.iter().zip([&self.index.offsets, &self.index.times, &txns]) {
            let path = names::path(&self.dir, self.index.segment.base_offset, name, CLEANED);
            let file = disk.open(&path, OpenMode::Create)?;
            file.truncate(0)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
        }
        let aborted = self.aborted.clone();
        Ok(Some(CleanedSegment { next_offset, aborted, ..self.index.segment.clone() }))
    }

    /// Its memory, for another.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Removes what was written. What cannot be removed now, the next open removes.
    pub(super) fn discard(&self, disk: &dyn Disk) {
        for file in [LOG].iter().chain(&INDEXES) {
            let path = names::path(&self.dir, self.index.segment.base_offset, file, CLEANED);
            drop(disk.remove_file(&path));
        }
    }
}

/// The indexes of the segment, and the facts of it, batch by batch.
#[derive(Debug)]
struct Indexing {
    segment: CleanedSegment,
    interval: u32,
    bytes_since_entry: u64,
    last_time_entry: i64,
    offsets: Vec<u8>,
    times: Vec<u8>,
}

impl Indexing {
    fn new(base_offset: i64, interval: u32) -> Self {
        let segment = CleanedSegment {
            base_offset,
            next_offset: base_offset,
            bytes: 0,
            first_timestamp: -1,
            max_timestamp: -1,
            max_timestamp_offset: -1,
            offset_entries: 0,
            time_entries: 0,
            aborted: Vec::new(),
        };
        let (offsets, times) = (Vec::new(), Vec::new());
        Self { segment, interval, bytes_since_entry: 0, last_time_entry: -1, offsets, times }
    }

    fn add(&mut self, header: &BatchHeader, bytes: usize) {
        let segment = &mut self.segment;
        if segment.bytes == 0 {
            segment.first_timestamp = header.max_timestamp;
        }
        if header.max_timestamp > segment.max_timestamp {
            segment.max_timestamp = header.max_timestamp;
            segment.max_timestamp_offset = header.last_offset();
        }
        if self.bytes_since_entry > u64::from(self.interval)
            && let Ok(relative) = i32::try_from(header.last_offset() - segment.base_offset)
            && let Ok(position) = i32::try_from(segment.bytes)
        {
            self.offsets.extend_from_slice(&relative.to_be_bytes());
            self.offsets.extend_from_slice(&position.to_be_bytes());
            segment.offset_entries += 1;
            self.bytes_since_entry = 0;
            self.seal();
        }
        self.segment.bytes += bytes as u64;
        self.bytes_since_entry += bytes as u64;
    }

    fn seal(&mut self) {
        let segment = &mut self.segment;
        if segment.max_timestamp > self.last_time_entry
            && let Ok(relative) = i32::try_from(segment.max_timestamp_offset - segment.base_offset)
        {
            self.times.extend_from_slice(&segment.max_timestamp.to_be_bytes());
            self.times.extend_from_slice(&relative.to_be_bytes());
            segment.time_entries += 1;
            self.last_time_entry = segment.max_timestamp;
        }
    }
}
