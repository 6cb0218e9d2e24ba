//! Makes the next value of a segment: batches are added, index entries gathered, and written at the end.

use std::sync::{Arc, OnceLock};

use super::super::index::{self, OffsetEntry, TimeEntry};
use super::super::names;
use super::super::transactions::{AbortedTransaction, ENTRY_BYTES};
use super::{MaxTime, Segment};
use crate::{BatchHeader, Disk, Fault, File, LogConfig, OpenMode};

/// What a batch that is added looks like to its segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    /// -1 when there is no record of that time.
    pub(crate) newest_record_ms: i64,
    pub(crate) bytes: usize,
}

impl Added {
    pub(crate) fn of(header: &BatchHeader, bytes: usize) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            newest_record_ms: header.newest_record_ms(),
            bytes,
        }
    }
}

/// Makes the next value of a segment, with the index entries that go with it.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) segment: Segment,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// Encoded, and how many.
    txns: (Vec<u8>, u32),
    max_time: MaxTime,
    /// Its files are made.
    new: bool,
}

impl SegmentWriter {
    pub(crate) fn new(segment: Segment) -> Self {
        let max_time = segment.max_time.get().copied().unwrap_or(MaxTime::NONE);
        let (offsets, times, txns) = (Vec::new(), Vec::new(), (Vec::new(), 0));
        Self { segment, offsets, times, txns, max_time, new: false }
    }

    /// For a segment whose indexes are not there yet.
    pub(crate) fn create(segment: Segment) -> Self {
        Self { new: true, ..Self::new(segment) }
    }

    /// Whether a batch can be added, by Kafka's 32-bit relative offsets and the sizes and age wanted. The
    /// first one always can.
    pub(crate) fn has_room(&self, added: &Added, config: &LogConfig) -> bool {
        let segment = &self.segment;
        if segment.sealed || added.base_offset != segment.next_offset {
            return false;
        }
        let index_bytes = (segment.offset_entries as usize + self.offsets.len() + 1) * 8;
        // One entry is kept for the time that is noted when the segment is sealed.
        let time_bytes = (segment.time_entries as usize + self.times.len() + 2) * 12;
        let fits = segment.size + added.bytes as u64 <= u64::from(config.segment_bytes)
            && index_bytes.max(time_bytes) as u64 <= u64::from(config.segment_index_bytes);
        let age = added.max_timestamp.saturating_sub(segment.first_timestamp);
        let young = segment.first_timestamp < 0 || age <= config.segment_ms;
        let relative_fits = segment.relative(added.last_offset).is_some();
        segment.size == 0 || fits && young && relative_fits
    }

    /// Takes in the batch that is (to be) at [`Segment::size`].
    pub(crate) fn add(&mut self, added: &Added, config: &LogConfig) {
        let segment = &mut self.segment;
        self.max_time.take_in(added.newest_record_ms, added.last_offset);
        if segment.size == 0 {
            segment.first_timestamp = added.max_timestamp;
        }
        if segment.bytes_since_entry > u64::from(config.index_interval_bytes)
            && let Some(relative) = segment.relative(added.last_offset)
            && let Ok(position) = i32::try_from(segment.size)
        {
            self.offsets.push(OffsetEntry { relative, position });
            segment.bytes_since_entry = 0;
            self.add_time_entry();
        }
        let segment = &mut self.segment;
        segment.size += added.bytes as u64;
        segment.bytes_since_entry += added.bytes as u64;
        segment.next_offset = added.last_offset + 1;
    }

    /// Notes an entry of the index of aborted transactions.
    pub(crate) fn add_txn(&mut self, aborted: &AbortedTransaction) {
        aborted.put(&mut self.txns.0);
        self.txns.1 += 1;
    }

    /// Notes the largest timestamp so far, unless the last entry has it.
    fn add_time_entry(&mut self) {
        let max = self.max_time;
        if max.timestamp > self.segment.last_time_entry
            && let Some(relative) = self.segment.relative(max.last_offset)
        {
            self.times.push(TimeEntry { timestamp: max.timestamp, relative });
            self.segment.last_time_entry = max.timestamp;
        }
    }

    /// No more batches will come.
    pub(crate) fn seal(&mut self) {
        self.add_time_entry();
        self.segment.sealed = true;
    }

    /// Writes the index entries that were added and returns the segment, and whether a name was made;
    /// the files are to be synced.
    pub(crate) fn finish(
        self,
        disk: &dyn Disk,
        files: &mut Vec<Arc<dyn File>>,
    ) -> Result<(Segment, bool), Fault> {
        self.finish_named(disk, "", files)
    }

    /// [`Self::finish`] for files whose names end with `stage`; with one, each index has a file.
    pub(crate) fn finish_named(
        mut self,
        disk: &dyn Disk,
        stage: &str,
        files: &mut Vec<Arc<dyn File>>,
    ) -> Result<(Segment, bool), Fault> {
        let mut named = self.new;
        let segment = &mut self.segment;
        let (dir, base) = (Arc::clone(&segment.file.dir), segment.base_offset);
        if self.new || !self.offsets.is_empty() {
            let path = names::offset_index(&dir, base) + stage;
            files.push(index::append(disk, &path, segment.offset_entries, &self.offsets)?);
            segment.offset_entries += self.offsets.len() as u32;
        }
        if self.new || !self.times.is_empty() {
            let path = names::time_index(&dir, base) + stage;
            files.push(index::append(disk, &path, segment.time_entries, &self.times)?);
            segment.time_entries += self.times.len() as u32;
        }
        if self.txns.1 > 0 || !stage.is_empty() {
            let file = disk.open(&(names::txn_index(&dir, base) + stage), OpenMode::Create)?;
            let at = u64::from(segment.txn_entries) * ENTRY_BYTES as u64;
            if file.len()? > at {
                file.truncate(at)?;
            }
            file.write_at(&self.txns.0, at)?;
            files.push(file);
            named |= segment.txn_entries == 0;
            segment.txn_entries += self.txns.1;
            segment.txn_crc = crc32c::crc32c_append(segment.txn_crc, &self.txns.0);
        }
        segment.max_time = OnceLock::from(self.max_time);
        Ok((self.segment, named))
    }
}
