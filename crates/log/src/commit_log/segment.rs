//! One segment: a run of batches in one `.log` file, with its two indexes.

use std::sync::{Arc, OnceLock};

use super::checkpoint::Epochs;
use super::index::{Index, OffsetEntry, TimeEntry};
use super::names;
use super::scan::Scan;
use crate::{BatchHeader, Disk, Fault, FaultKind, File, LogConfig, OpenMode};

/// The largest timestamp of a run of batches, and the last offset of the first batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxTime {
    pub(super) timestamp: i64,
    pub(super) last_offset: i64,
}

impl MaxTime {
    /// Of no batches, or of batches without timestamps.
    pub(super) const NONE: Self = Self { timestamp: -1, last_offset: -1 };

    pub(super) fn take_in(&mut self, header: &BatchHeader) {
        if header.max_timestamp > self.timestamp {
            *self = Self { timestamp: header.max_timestamp, last_offset: header.last_offset() };
        }
    }
}

/// What follows a segment, with the offset where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another segment; this one is sealed.
    Segment(i64),
    /// The end of the log.
    End(i64),
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) path: String,
    /// Bytes of the batches it holds; while batches are added the file may have a torn rest.
    pub(super) size: u64,
    pub(super) offsets: Index<OffsetEntry>,
    pub(super) times: Index<TimeEntry>,
    bytes_since_entry: u64,
    /// Of all batches so far; kept by the one who adds them.
    pub(super) max_time: MaxTime,
    /// The same of a segment that is no longer added to, once somebody asked.
    sealed_max_time: OnceLock<MaxTime>,
}

impl Segment {
    pub(super) fn empty(dir: &str, base_offset: i64) -> Self {
        Self {
            base_offset,
            path: names::log(dir, base_offset),
            size: 0,
            offsets: Index::empty(names::offset_index(dir, base_offset)),
            times: Index::empty(names::time_index(dir, base_offset)),
            bytes_since_entry: 0,
            max_time: MaxTime::NONE,
            sealed_max_time: OnceLock::new(),
        }
    }

    /// The segment as its files have it, and whether its indexes can be used; all of the `.log`
    /// file counts as batches.
    pub(super) fn load(
        disk: &dyn Disk,
        dir: &str,
        base_offset: i64,
    ) -> Result<(Self, bool), Fault> {
        let mut segment = Self::empty(dir, base_offset);
        segment.size = segment.open(disk)?.len()?;
        let offsets = Index::load(disk, names::offset_index(dir, base_offset));
        let times = Index::load(disk, names::time_index(dir, base_offset));
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok((segment, false)) };
        let sane = offsets.last().is_none_or(|last: OffsetEntry| {
            let inside = u64::try_from(last.position).is_ok_and(|at| at < segment.size);
            inside && last.relative >= 0
        }) && times.last().is_none_or(|last: TimeEntry| last.relative >= 0);
        if sane {
            (segment.offsets, segment.times) = (offsets, times);
        }
        Ok((segment, sane))
    }

    /// Forgets what the indexes and figures say, to [`Self::add`] all batches again.
    pub(super) fn clear(&mut self, disk: &dyn Disk) -> Result<(), Fault> {
        self.size = 0;
        self.bytes_since_entry = 0;
        self.max_time = MaxTime::NONE;
        self.offsets.truncate(disk, 0)?;
        self.times.truncate(disk, 0)
    }

    pub(super) fn open(&self, disk: &dyn Disk) -> Result<Arc<dyn File>, Fault> {
        disk.open(&self.path, OpenMode::Existing)
    }

    /// Whether `batch` can be added, by Kafka's 32-bit relative offsets and the size wanted.
    pub(super) fn has_room(&self, last_offset: i64, bytes: usize, config: LogConfig) -> bool {
        let fits = self.size + bytes as u64 <= u64::from(config.segment_bytes);
        fits && i32::try_from(last_offset - self.base_offset).is_ok()
    }

    /// Takes in the batch that was written (or found) at [`Self::size`].
    pub(super) fn add(&mut self, header: &BatchHeader, bytes: usize, config: LogConfig) {
        self.max_time.take_in(header);
        if self.bytes_since_entry > u64::from(config.index_interval_bytes)
            && let Some(relative) = self.relative(header.last_offset())
            && let Ok(position) = i32::try_from(self.size)
        {
            self.offsets.push(OffsetEntry { relative, position });
            self.add_time_entry();
            self.bytes_since_entry = 0;
        }
        self.size += bytes as u64;
        self.bytes_since_entry += bytes as u64;
    }

    /// Notes the largest timestamp so far, unless the last entry has it.
    pub(super) fn add_time_entry(&mut self) {
        let max = self.max_time;
        if max.timestamp > self.times.last().map_or(-1, |last| last.timestamp)
            && let Some(relative) = self.relative(max.last_offset)
        {
            self.times.push(TimeEntry { timestamp: max.timestamp, relative });
        }
    }

    fn relative(&self, offset: i64) -> Option<i32> {
        i32::try_from(offset - self.base_offset).ok()
    }

    /// A scan from the nearest indexed batch that is not past the one with `offset`, or from the
    /// segment's beginning. Only an entry that its batch confirms is followed.
    pub(super) fn scan_near<'a>(
        &'a self,
        disk: &dyn Disk,
        file: &'a Arc<dyn File>,
        offset: i64,
        epochs: &'a Epochs,
    ) -> Result<Scan<'a>, Fault> {
        let base = self.base_offset;
        let entry = self.offsets.floor(disk, |e| base + i64::from(e.relative) <= offset);
        if let Some((_, entry)) = entry
            && let Some(scan) = self.scan_at_entry(file, entry, epochs)?
        {
            return Ok(scan);
        }
        Ok(Scan::new(file, 0, self.size, base, epochs))
    }

    /// A scan from the batch that `entry` points to, when there is a valid one.
    pub(super) fn scan_at_entry<'a>(
        &self,
        file: &'a Arc<dyn File>,
        entry: OffsetEntry,
        epochs: &'a Epochs,
    ) -> Result<Option<Scan<'a>>, Fault> {
        let Ok(position) = u64::try_from(entry.position) else { return Ok(None) };
        let last_offset = self.base_offset + i64::from(entry.relative);
        Scan::at_batch(file, position, self.size, epochs, |header| {
            header.last_offset() == last_offset
        })
    }

    /// Goes on after the damage that `scan` stands before: by the damaged batch's length when that
    /// leads to a valid batch, else at the next indexed batch. Tells whether there was a way; if
    /// not, the rest of the segment cannot be read. Bytes are never searched for batches, because a
    /// record's value may hold what looks like one.
    pub(super) fn skip_damage(&self, disk: &dyn Disk, scan: &mut Scan<'_>) -> Result<bool, Fault> {
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
        let at_damage = |e: &OffsetEntry| u64::try_from(e.position).is_ok_and(|p| p <= damaged_at);
        let first = self.offsets.floor(disk, at_damage).map_or(0, |(number, _)| number + 1);
        for entry in self.offsets.from(disk, first) {
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

    /// The largest timestamp of the batches below `until`, of a segment that may be `sealed`.
    ///
    /// Starts at the last confirmed time entry below `until` and looks at every batch after it, so
    /// a time index that lost entries makes this slower, not wrong.
    pub(super) fn max_time_below(
        &self,
        disk: &dyn Disk,
        until: i64,
        next: Next,
        epochs: &Epochs,
    ) -> Result<MaxTime, Fault> {
        let whole = match next {
            Next::End(end) if until >= end => return Ok(self.max_time),
            Next::End(_) => false,
            Next::Segment(base) => until >= base,
        };
        if whole && let Some(&max_time) = self.sealed_max_time.get() {
            return Ok(max_time);
        }
        let file = self.open(disk)?;
        let base = self.base_offset;
        let entry = self.times.floor(disk, |e| base + i64::from(e.relative) < until);
        let mut scan = self.scan_from_time(disk, &file, entry.map(|(_, entry)| entry), epochs)?;
        let mut max_time = MaxTime::NONE;
        while let Some(found) = scan.next()? {
            if found.header.base_offset >= until {
                break;
            }
            max_time.take_in(&found.header);
        }
        if whole {
            // Another caller may have been first, with the same answer.
            return Ok(*self.sealed_max_time.get_or_init(|| max_time));
        }
        Ok(max_time)
    }

    /// A scan from the batch of `entry` when that batch confirms it, else from the beginning.
    pub(super) fn scan_from_time<'a>(
        &'a self,
        disk: &dyn Disk,
        file: &'a Arc<dyn File>,
        entry: Option<TimeEntry>,
        epochs: &'a Epochs,
    ) -> Result<Scan<'a>, Fault> {
        let Some(entry) = entry else {
            return Ok(Scan::new(file, 0, self.size, self.base_offset, epochs));
        };
        let offset = self.base_offset + i64::from(entry.relative);
        let mut scan = self.scan_near(disk, file, offset, epochs)?;
        loop {
            let (position, expected) = (scan.position(), scan.expected());
            let Some(found) = scan.next()? else { break };
            let header = found.header;
            if header.last_offset() == offset && header.max_timestamp == entry.timestamp {
                scan.go_to(position, expected);
                return Ok(scan);
            }
            if header.last_offset() >= offset {
                break;
            }
        }
        Ok(Scan::new(file, 0, self.size, self.base_offset, epochs))
    }
}

/// A fault that says which bytes cannot be what was written.
pub(super) fn corrupt(path: &str, position: u64, why: String) -> Fault {
    Fault {
        operation: "read",
        path: path.to_owned(),
        offset: Some(position),
        kind: FaultKind::Corrupt(why),
    }
}
