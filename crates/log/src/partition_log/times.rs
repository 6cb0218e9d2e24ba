//! From timestamps to offsets.
//!
//! Every batch that decides an answer has been verified; the time index only says where to begin. An
//! answer is a record: of a batch in which the log starts, only what is past the start counts.

use std::sync::Arc;

use bytes::Bytes;

use super::epochs::Epochs;
use super::handles::Handles;
use super::scan::{Found, Scan, is_damage};
use super::segment::Segment;
use crate::{Batch, BatchHeader, ByTime, Fault, File, TimedOffset};

/// A search in segments, and then in batches from memory.
#[derive(Debug)]
pub(crate) struct TimeWanted {
    pub(super) handles: Arc<Handles>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) by: ByTime,
    /// The start of the log.
    pub(super) from: i64,
    /// No batch from here on counts.
    pub(super) until: i64,
    pub(super) segments: Vec<Arc<Segment>>,
    /// The batches in memory that can hold the answer if the segments do not, in order.
    pub(super) tail: Vec<Bytes>,
}

impl TimeWanted {
    pub(crate) fn run(&self) -> Result<Option<TimedOffset>, Fault> {
        match self.by {
            ByTime::FirstFrom(timestamp) => self.first_from(timestamp),
            ByTime::Latest => self.latest(),
        }
    }

    fn first_from(&self, timestamp: i64) -> Result<Option<TimedOffset>, Fault> {
        for segment in &self.segments {
            let max = match segment.known_max_time(self.until) {
                Some(known) => Some(known),
                // What is before the start of the log need not be readable.
                None if segment.base_offset < self.from => None,
                None => Some(segment.max_time_below(&self.handles, self.until, &self.epochs)?),
            };
            if max.is_some_and(|max| max.timestamp < timestamp) {
                continue;
            }
            let file = segment.open(&self.handles)?;
            let mut scan = self.scan_for(segment, &file, timestamp)?;
            while let Some(found) = self.next(segment, &mut scan)? {
                if found.header.newest_record_ms() >= timestamp
                    && let Some(record) = self.first_record(scan.bytes_of(&found), timestamp)
                {
                    return Ok(Some(record));
                }
            }
        }
        Ok(self.tail.iter().find_map(|bytes| self.first_record(bytes, timestamp)))
    }

    fn latest(&self) -> Result<Option<TimedOffset>, Fault> {
        let mut best = None;
        for segment in &self.segments {
            best = later(best, self.latest_in(segment)?);
        }
        for bytes in &self.tail {
            best = later(best, self.latest_record(bytes));
        }
        Ok(best)
    }

    /// A scan that comes by every batch of a segment that may be the first from a time on.
    fn scan_for<'a>(
        &'a self,
        segment: &Segment,
        file: &'a Arc<dyn File>,
        timestamp: i64,
    ) -> Result<Scan<'a>, Fault> {
        match segment.scan_near_time(&self.handles, file, timestamp, &self.epochs) {
            Ok(scan) if scan.expected() >= self.from => Ok(scan),
            Ok(_) => segment.scan_near(&self.handles, file, self.from, &self.epochs),
            Err(fault) if is_damage(&fault) => {
                segment.scan_near(&self.handles, file, self.from, &self.epochs)
            }
            Err(fault) => Err(fault),
        }
    }

    fn latest_in(&self, segment: &Segment) -> Result<Option<TimedOffset>, Fault> {
        let file = segment.open(&self.handles)?;
        if segment.base_offset >= self.from {
            let max = segment.max_time_below(&self.handles, self.until, &self.epochs)?;
            let mut scan =
                segment.scan_near(&self.handles, &file, max.last_offset, &self.epochs)?;
            while let Some(found) = self.next(segment, &mut scan)? {
                if found.header.last_offset() == max.last_offset {
                    return Ok(self.latest_record(scan.bytes_of(&found)));
                }
            }
            return Ok(None);
        }
        let mut best: Option<TimedOffset> = None;
        let mut scan = segment.scan_near(&self.handles, &file, self.from, &self.epochs)?;
        while let Some(found) = self.next(segment, &mut scan)? {
            if best.is_none_or(|best| found.header.newest_record_ms() > best.timestamp) {
                best = later(best, self.latest_record(scan.bytes_of(&found)));
            }
        }
        Ok(best)
    }

    /// The next batch that has something between start and end. Damage before the start is passed over.
    fn next(&self, segment: &Segment, scan: &mut Scan<'_>) -> Result<Option<Found>, Fault> {
        loop {
            let found = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                Err(fault) if is_damage(&fault) && scan.expected() < self.from => {
                    let skipped = segment.skip_damage(&self.handles, scan)?;
                    if !skipped || scan.expected() > self.from {
                        return Err(fault);
                    }
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            if found.header.base_offset >= self.until {
                return Ok(None);
            }
            if found.header.last_offset() >= self.from {
                return Ok(Some(found));
            }
        }
    }

    /// The first record of a batch that is at or after a time.
    fn first_record(&self, bytes: &[u8], timestamp: i64) -> Option<TimedOffset> {
        self.records(bytes).into_iter().find(|record| record.timestamp >= timestamp)
    }

    /// The first record of a batch that has its largest timestamp.
    fn latest_record(&self, bytes: &[u8]) -> Option<TimedOffset> {
        self.records(bytes).into_iter().fold(None, |best, record| later(best, Some(record)))
    }

    /// The records of a batch from the start of the log on. A batch that arrived with a valid checksum
    /// around records that do not decode counts as one record with its largest timestamp.
    fn records(&self, bytes: &[u8]) -> Vec<TimedOffset> {
        let Ok(batch) = Batch::parse(Bytes::copy_from_slice(bytes)) else { return Vec::new() };
        let BatchHeader { base_offset, max_timestamp, .. } = *batch.header();
        let mut found = match batch.records() {
            Ok(records) => records
                .iter()
                .map(|record| TimedOffset { offset: record.offset, timestamp: record.timestamp })
                .collect(),
            Err(_) => vec![TimedOffset { offset: base_offset, timestamp: max_timestamp }],
        };
        found.retain(|record| record.offset >= self.from);
        found
    }
}

/// The one with the larger timestamp, the first of equal ones.
fn later(first: Option<TimedOffset>, second: Option<TimedOffset>) -> Option<TimedOffset> {
    match (first, second) {
        (Some(a), Some(b)) => Some(if b.timestamp > a.timestamp { b } else { a }),
        (a, b) => a.or(b),
    }
}
