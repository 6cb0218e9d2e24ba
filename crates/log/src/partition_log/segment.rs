//! One segment: a run of batches in one `.log` file, with its indexes.
//!
//! A [`Segment`] is a value that never changes: whoever adds batches makes the next one, with a
//! [`SegmentWriter`], and readers keep the one they have. Several values share a [`SegmentFile`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

mod writer;

pub(crate) use writer::{Added, SegmentWriter};

use super::epochs::Epochs;
use super::handles::{Handles, Part};
use super::index::{self, Entry as _, IndexReader, OffsetEntry, TimeEntry};
use super::names;
use super::scan::Scan;
use crate::retention::SegmentFacts;
use crate::store::checkpoint::TxnRecord;
use crate::{BatchHeader, Disk, Fault, FaultKind, File, OpenMode};

/// The largest timestamp of a run of batches, and the last offset of the first batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxTime {
    pub(crate) timestamp: i64,
    pub(crate) last_offset: i64,
}

impl MaxTime {
    /// Of no batches, or of batches without timestamps.
    pub(crate) const NONE: Self = Self { timestamp: -1, last_offset: -1 };

    pub(crate) fn take_in(&mut self, timestamp: i64, last_offset: i64) {
        if timestamp > self.timestamp {
            *self = Self { timestamp, last_offset };
        }
    }
}

/// Where a segment lies.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    /// Names the file in [`Handles`], also when another takes its path.
    id: u64,
    dir: Arc<str>,
    base_offset: i64,
    /// The open file, once its name is about to go: whoever still reads keeps reading it.
    pinned: OnceLock<Arc<dyn File>>,
    /// The log was removed, and the path may be somebody else's.
    removed: AtomicBool,
}

impl SegmentFile {
    pub(crate) fn new(handles: &Handles, dir: &Arc<str>, base_offset: i64) -> Arc<Self> {
        let (id, dir) = (handles.new_id(), Arc::clone(dir));
        let (pinned, removed) = (OnceLock::new(), AtomicBool::new(false));
        Arc::new(Self { id, dir, base_offset, pinned, removed })
    }

    /// Must be called before the file's folder is given to another log.
    pub(crate) fn removed(&self, handles: &Handles) {
        self.removed.store(true, Ordering::Release);
        handles.forget(self.id);
    }

    /// Must be called before the file is removed or replaced.
    pub(crate) fn pin(&self, disk: &dyn Disk) -> Result<(), Fault> {
        let file = disk.open(&names::log(&self.dir, self.base_offset), OpenMode::Existing)?;
        self.pinned.get_or_init(|| file);
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) base_offset: i64,
    /// The offset after its last batch.
    pub(crate) next_offset: i64,
    /// Bytes of the batches it holds.
    pub(crate) size: u64,
    /// No batch will be added.
    pub(crate) sealed: bool,
    /// Compaction may have taken batches out of it.
    pub(crate) sparse: bool,
    pub(crate) offset_entries: u32,
    pub(crate) time_entries: u32,
    pub(crate) txn_entries: u32,
    /// Checksum of the index of aborted transactions.
    pub(crate) txn_crc: u32,
    /// Timestamp in the last entry of the time index; -1: there is none.
    pub(crate) last_time_entry: i64,
    pub(crate) bytes_since_entry: u64,
    /// Largest timestamp of the first batch, from which `segment.ms` counts; -1: unknown.
    pub(crate) first_timestamp: i64,
    /// Of all batches; of a sealed segment once somebody asked.
    pub(crate) max_time: OnceLock<MaxTime>,
}

impl Segment {
    pub(crate) fn empty(handles: &Handles, dir: &Arc<str>, base_offset: i64) -> Self {
        Self {
            file: SegmentFile::new(handles, dir, base_offset),
            base_offset,
            next_offset: base_offset,
            size: 0,
            sealed: false,
            sparse: false,
            offset_entries: 0,
            time_entries: 0,
            txn_entries: 0,
            txn_crc: 0,
            last_time_entry: -1,
            bytes_since_entry: 0,
            first_timestamp: -1,
            max_time: OnceLock::from(MaxTime::NONE),
        }
    }

    /// A segment that no batch is added to, as its files have it, and whether its indexes can be used.
    pub(crate) fn load(
        handles: &Handles,
        dir: &Arc<str>,
        base_offset: i64,
        next_offset: i64,
    ) -> Result<(Self, bool), Fault> {
        let mut segment = Self::empty(handles, dir, base_offset);
        let disk = handles.disk();
        segment.size = disk.open(&segment.path(), OpenMode::Existing)?.len()?;
        segment.next_offset = next_offset;
        segment.sealed = true;
        segment.max_time = OnceLock::new();
        let sane = segment.load_indexes(disk);
        Ok((segment, sane))
    }

    /// Takes figures of the indexes from their files; tells whether these can be used.
    fn load_indexes(&mut self, disk: &dyn Disk) -> bool {
        let offsets = index::stored(disk, &names::offset_index(&self.file.dir, self.base_offset));
        let times = index::stored(disk, &names::time_index(&self.file.dir, self.base_offset));
        let (Some((offset_entries, last_offset)), Some((time_entries, last_time))) =
            (offsets, times)
        else {
            return false;
        };
        let sane = last_offset.is_none_or(|last: OffsetEntry| {
            let inside = u64::try_from(last.position).is_ok_and(|at| at < self.size);
            inside && last.relative >= 0
        }) && last_time.is_none_or(|last: TimeEntry| last.relative >= 0);
        if sane {
            self.offset_entries = offset_entries;
            self.time_entries = time_entries;
            self.last_time_entry = last_time.map_or(-1, |last: TimeEntry| last.timestamp);
        }
        sane
    }

    /// What the checkpoint says of its index of aborted transactions, if it has one.
    pub(super) fn txn_record(&self) -> Option<TxnRecord> {
        let (base_offset, entries, crc) = (self.base_offset, self.txn_entries, self.txn_crc);
        (entries > 0).then_some(TxnRecord { base_offset, entries, crc })
    }

    pub(crate) fn path(&self) -> String {
        names::log(&self.file.dir, self.base_offset)
    }

    pub(crate) fn dir(&self) -> &Arc<str> {
        &self.file.dir
    }

    pub(crate) fn open(&self, handles: &Handles) -> Result<Arc<dyn File>, Fault> {
        if let Some(pinned) = self.file.pinned.get() {
            return Ok(Arc::clone(pinned));
        }
        let opened = handles.get(self.file.id, Part::Log, || self.path());
        // The name may have gone to another file meanwhile; then this one was pinned before.
        match self.file.pinned.get() {
            Some(pinned) => Ok(Arc::clone(pinned)),
            // What was opened may be another log's.
            None if self.file.removed.load(Ordering::Acquire) => {
                self.forget_handles(handles);
                let (path, kind) = (self.path(), FaultKind::NotFound);
                Err(Fault { operation: "open", path, offset: None, kind })
            }
            None => opened,
        }
    }

    pub(crate) fn forget_handles(&self, handles: &Handles) {
        handles.forget(self.file.id);
    }

    fn offsets(&self, handles: &Handles) -> IndexReader<OffsetEntry> {
        if self.offset_entries == 0 {
            return IndexReader::new(None, 0);
        }
        let path = || names::offset_index(&self.file.dir, self.base_offset);
        let file = handles.get(self.file.id, Part::OffsetIndex, path).ok();
        IndexReader::new(file, self.offset_entries)
    }

    fn times(&self, handles: &Handles) -> IndexReader<TimeEntry> {
        if self.time_entries == 0 {
            return IndexReader::new(None, 0);
        }
        let path = || names::time_index(&self.file.dir, self.base_offset);
        let file = handles.get(self.file.id, Part::TimeIndex, path).ok();
        IndexReader::new(file, self.time_entries)
    }

    fn relative(&self, offset: i64) -> Option<i32> {
        i32::try_from(offset - self.base_offset).ok()
    }

    /// All of it, batch by batch.
    pub(super) fn scan<'a>(&self, file: &'a Arc<dyn File>, epochs: &'a Epochs) -> Scan<'a> {
        Scan::new(file, 0, self.size, self.base_offset, epochs).sparse(self.sparse)
    }

    /// The nearest indexed batch that is not past the one with `offset`.
    pub(super) fn entry_near(&self, handles: &Handles, offset: i64) -> Option<OffsetEntry> {
        let base = self.base_offset;
        let entry = self.offsets(handles).floor(|e| base + i64::from(e.relative) <= offset);
        entry.map(|(_, entry)| entry)
    }

    /// The last offset of the last batch that the offset index has.
    pub(super) fn last_indexed_offset(&self, handles: &Handles) -> Option<i64> {
        let last = self.offsets(handles).entry(self.offset_entries.checked_sub(1)?)?;
        Some(self.base_offset + i64::from(last.relative))
    }

    /// A scan from the nearest indexed batch that is not past the one with `offset`, or from the
    /// segment's beginning. Only an entry that its batch confirms is followed.
    pub(super) fn scan_near<'a>(
        &self,
        handles: &Handles,
        file: &'a Arc<dyn File>,
        offset: i64,
        epochs: &'a Epochs,
    ) -> Result<Scan<'a>, Fault> {
        if let Some(entry) = self.entry_near(handles, offset)
            && let Some(scan) = self.scan_at_entry(file, entry, epochs)?
        {
            return Ok(scan);
        }
        Ok(self.scan(file, epochs))
    }

    /// A scan from the batch that `entry` points to, when there is a valid one.
    fn scan_at_entry<'a>(
        &self,
        file: &'a Arc<dyn File>,
        entry: OffsetEntry,
        epochs: &'a Epochs,
    ) -> Result<Option<Scan<'a>>, Fault> {
        let Ok(position) = u64::try_from(entry.position) else { return Ok(None) };
        let last_offset = self.base_offset + i64::from(entry.relative);
        let scan = Scan::at_batch(file, position, self.size, epochs, |header| {
            header.last_offset() == last_offset
        })?;
        Ok(scan.map(|scan| scan.sparse(self.sparse)))
    }

    /// Goes on after the damage that `scan` stands before: by the damaged batch's length when that
    /// leads to a valid batch, by its checksum when only the length is wrong, else at the next indexed
    /// batch. Tells whether there was a way; if
    /// not, the rest of the segment cannot be read. Bytes are never searched for batches, because a
    /// record's value may hold what looks like one.
    pub(super) fn skip_damage(
        &self,
        handles: &Handles,
        scan: &mut Scan<'_>,
    ) -> Result<bool, Fault> {
        let (damaged_at, expected) = (scan.position(), scan.expected());
        if let Some(next) = scan.stated_end()? {
            if next == self.size {
                scan.go_to(next, expected);
                return Ok(true);
            }
            let further = |header: &BatchHeader| header.base_offset > expected;
            if scan.try_at(next, further)? {
                return Ok(true);
            }
        }
        if let Some(next) = scan.checked_end()? {
            let further = |header: &BatchHeader| header.base_offset > expected;
            if next == self.size {
                scan.go_to(next, expected);
                return Ok(true);
            }
            if scan.try_at(next, further)? {
                return Ok(true);
            }
        }
        let offsets = self.offsets(handles);
        let at_damage = |e: &OffsetEntry| u64::try_from(e.position).is_ok_and(|p| p <= damaged_at);
        let first = offsets.floor(at_damage).map_or(0, |(number, _)| number + 1);
        for entry in offsets.from(first) {
            let last_offset = self.base_offset + i64::from(entry.relative);
            let confirms = |header: &BatchHeader| {
                header.last_offset() == last_offset && header.base_offset > expected
            };
            let Ok(position) = u64::try_from(entry.position) else { continue };
            if position > damaged_at && scan.try_at(position, confirms)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What retention and compaction must know of it.
    pub(super) fn facts(&self, handles: &Handles, epochs: &Epochs) -> Result<SegmentFacts, Fault> {
        let max_time = self.max_time_below(handles, self.next_offset, epochs)?;
        let first_timestamp = match self.first_timestamp {
            // Not known of a segment that was sealed when the log was opened.
            -1 if self.size > 0 => {
                let file = self.open(handles)?;
                let first = self.scan(&file, epochs).next()?;
                first.map_or(-1, |found| found.header.max_timestamp)
            }
            known => known,
        };
        Ok(self.facts_with_times(first_timestamp, max_time.timestamp))
    }

    pub(super) fn facts_with_times(
        &self,
        first_timestamp: i64,
        max_timestamp: i64,
    ) -> SegmentFacts {
        SegmentFacts {
            base_offset: self.base_offset,
            next_offset: self.next_offset,
            bytes: self.size,
            offset_index_bytes: u64::from(self.offset_entries) * OffsetEntry::BYTES as u64,
            time_index_bytes: u64::from(self.time_entries) * TimeEntry::BYTES as u64,
            first_timestamp,
            max_timestamp,
        }
    }

    /// Removes its files; whoever reads it keeps it open.
    pub(crate) fn remove_files(&self, handles: &Handles) -> Result<(), Fault> {
        let (disk, dir) = (handles.disk(), &self.file.dir);
        match self.file.pin(disk) {
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            pinned => pinned?,
        }
        self.forget_handles(handles);
        // The `.log` last: without it the others mean nothing.
        let paths = [
            names::offset_index(dir, self.base_offset),
            names::time_index(dir, self.base_offset),
            names::txn_index(dir, self.base_offset),
            self.path(),
        ];
        for path in paths {
            match disk.remove_file(&path) {
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The largest timestamp of the batches below `until`, when it is known without reading.
    pub(crate) fn known_max_time(&self, until: i64) -> Option<MaxTime> {
        self.max_time.get().copied().filter(|_| until >= self.next_offset)
    }

    /// The largest timestamp of the batches below `until`.
    ///
    /// Starts at the last confirmed time entry below `until` and looks at every batch after it, so
    /// a time index that lost entries makes this slower, not wrong.
    pub(super) fn max_time_below(
        &self,
        handles: &Handles,
        until: i64,
        epochs: &Epochs,
    ) -> Result<MaxTime, Fault> {
        if let Some(max_time) = self.known_max_time(until) {
            return Ok(max_time);
        }
        let file = self.open(handles)?;
        let base = self.base_offset;
        let entry = self.times(handles).floor(|e| base + i64::from(e.relative) < until);
        let mut scan =
            self.scan_from_time(handles, &file, entry.map(|(_, entry)| entry), epochs)?;
        let mut max_time = MaxTime::NONE;
        while let Some(found) = scan.next()? {
            if found.header.base_offset >= until {
                break;
            }
            max_time.take_in(found.header.newest_record_ms(), found.header.last_offset());
        }
        if until >= self.next_offset {
            // Another caller may have been first, with the same answer.
            return Ok(*self.max_time.get_or_init(|| max_time));
        }
        Ok(max_time)
    }

    /// A scan from the last batch that the time index has at or before `timestamp`.
    pub(super) fn scan_near_time<'a>(
        &self,
        handles: &Handles,
        file: &'a Arc<dyn File>,
        timestamp: i64,
        epochs: &'a Epochs,
    ) -> Result<Scan<'a>, Fault> {
        let entry = self.times(handles).floor(|entry| entry.timestamp <= timestamp);
        self.scan_from_time(handles, file, entry.map(|(_, entry)| entry), epochs)
    }

    /// A scan from the batch of `entry` when that batch confirms it, else from the beginning.
    fn scan_from_time<'a>(
        &self,
        handles: &Handles,
        file: &'a Arc<dyn File>,
        entry: Option<TimeEntry>,
        epochs: &'a Epochs,
    ) -> Result<Scan<'a>, Fault> {
        let Some(entry) = entry else {
            return Ok(self.scan(file, epochs));
        };
        let offset = self.base_offset + i64::from(entry.relative);
        let mut scan = self.scan_near(handles, file, offset, epochs)?;
        loop {
            let (position, expected) = (scan.position(), scan.expected());
            let Some(found) = scan.next()? else { break };
            let header = found.header;
            if header.last_offset() == offset && header.newest_record_ms() == entry.timestamp {
                scan.go_to(position, expected);
                return Ok(scan);
            }
            if header.last_offset() >= offset {
                break;
            }
        }
        Ok(self.scan(file, epochs))
    }
}

/// A fault that says which bytes cannot be what was written.
pub(crate) fn corrupt(path: &str, position: u64, why: String) -> Fault {
    Fault {
        operation: "read",
        path: path.to_owned(),
        offset: Some(position),
        kind: FaultKind::Corrupt(why),
    }
}
