//! The segment that a compaction writes: `.cleaned` files beside the sources.
//!
//! As long as a group of one segment comes out as it went in, nothing is written at all; at the first
//! difference what was the same is copied.

use std::sync::Arc;

use super::names::{self, CLEANED, INDEXES, LOG};
use crate::limits::COMPACTION_CHUNK_BYTES;
use crate::partition_log::handles::Handles;
use crate::partition_log::segment::{Added, Segment, SegmentWriter};
use crate::partition_log::transactions::AbortedTransaction;
use crate::{BatchHeader, Disk, Fault, FaultKind, File, LogConfig, OpenMode};

#[derive(Debug)]
pub(super) struct Output {
    dir: Arc<str>,
    base_offset: i64,
    config: LogConfig,
    /// None while everything is as in the only source.
    file: Option<Arc<dyn File>>,
    /// Bytes not yet in the file, which has `written` before them.
    buffer: Vec<u8>,
    written: u64,
    writer: SegmentWriter,
    aborted: Vec<AbortedTransaction>,
}

impl Output {
    /// For a group that begins at `base_offset`; `buffer` is memory to gather bytes in.
    pub(super) fn new(
        handles: &Handles,
        dir: &Arc<str>,
        base_offset: i64,
        config: &LogConfig,
        mut buffer: Vec<u8>,
    ) -> Self {
        buffer.clear();
        let segment = Segment { sparse: true, ..Segment::empty(handles, dir, base_offset) };
        Self {
            dir: Arc::clone(dir),
            base_offset,
            config: *config,
            file: None,
            buffer,
            written: 0,
            writer: SegmentWriter::create(segment),
            aborted: Vec::new(),
        }
    }

    /// Begins to write, first what was the same in `source`. What is in the buffer comes after that.
    pub(super) fn diverge(&mut self, disk: &dyn Disk, source: &dyn File) -> Result<(), Fault> {
        if self.file.is_some() {
            return Ok(());
        }
        let path = names::path(&self.dir, self.base_offset, LOG, CLEANED);
        let file = disk.open(&path, OpenMode::Create)?;
        file.truncate(0)?;
        let mut left = self.writer.segment.size;
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
        self.writer.add(&Added::of(header, bytes.len()), &self.config);
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
        let bytes = header.total_bytes().unwrap_or_default();
        self.writer.add(&Added::of(header, bytes), &self.config);
        self.write_if_full()
    }

    pub(super) fn aborted(&mut self, aborted: AbortedTransaction) {
        self.writer.add_txn(&aborted);
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

    /// Makes the segment durable under its `.cleaned` names; `next_offset` is the group's.
    pub(super) fn finish(mut self, disk: &dyn Disk, next_offset: i64) -> Result<Finished, Fault> {
        let (dir, base_offset) = (Arc::clone(&self.dir), self.base_offset);
        let written = self.write();
        let Self { file, writer, aborted, written: bytes, buffer, .. } = self;
        let segment = match file {
            Some(file) => written.and_then(|()| seal(disk, &*file, writer)).map(Some),
            None => written.map(|()| None),
        };
        if segment.is_err() {
            discard(disk, &dir, base_offset);
        }
        let segment = segment?.map(|segment| (Segment { next_offset, ..segment }, aborted));
        Ok(Finished { segment, written: bytes, buffer })
    }

    /// Removes what was written.
    pub(super) fn discard(self, disk: &dyn Disk) {
        discard(disk, &self.dir, self.base_offset);
    }
}

/// What came of an [`Output`].
#[derive(Debug)]
pub(super) struct Finished {
    /// With what is in its `.txnindex`; none if it is what its only source is.
    pub(super) segment: Option<(Segment, Vec<AbortedTransaction>)>,
    pub(super) written: u64,
    /// Its memory, for another.
    pub(super) buffer: Vec<u8>,
}

fn seal(disk: &dyn Disk, file: &dyn File, mut writer: SegmentWriter) -> Result<Segment, Fault> {
    file.sync()?;
    writer.seal();
    let mut files = Vec::new();
    let (segment, _) = writer.finish_named(disk, CLEANED, &mut files)?;
    for file in files {
        file.sync()?;
    }
    Ok(segment)
}

/// What cannot be removed now, the next open removes.
fn discard(disk: &dyn Disk, dir: &str, base_offset: i64) {
    for file in [LOG].iter().chain(&INDEXES) {
        drop(disk.remove_file(&names::path(dir, base_offset, file, CLEANED)));
    }
}
