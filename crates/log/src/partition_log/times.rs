//! From timestamps to offsets.
//!
//! Every batch that decides an answer has been verified; the time index only says where to begin.

use std::sync::Arc;

use bytes::Bytes;

use super::epochs::Epochs;
use super::handles::Handles;
use super::segment::{MaxTime, Segment};
use crate::{Batch, ByTime, Fault, TimedOffset};

/// A search in segments, and then in one batch from memory.
#[derive(Debug)]
pub(crate) struct TimeWanted {
    pub(super) handles: Arc<Handles>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) by: ByTime,
    /// Records below it are not part of the log any more.
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) segments: Vec<Arc<Segment>>,
    /// The first batch in memory that can hold the answer if the segments do not.
    pub(super) tail: Option<(MaxTime, Bytes)>,
}

impl TimeWanted {
    pub(crate) fn run(&self) -> Result<Option<TimedOffset>, Fault> {
        let found = match self.by {
            ByTime::FirstFrom(timestamp) => self.first_from(timestamp)?,
            ByTime::Latest => self.latest()?,
        };
        Ok(found.filter(|found| found.offset < self.until))
    }

    fn first_from(&self, timestamp: i64) -> Result<Option<TimedOffset>, Fault> {
        for segment in &self.segments {
            let max = segment.max_time_below(&self.handles, self.until, &self.epochs)?;
            if max.timestamp < timestamp {
                continue;
            }
            let file = segment.open(&self.handles)?;
            let mut scan = segment.scan_near_time(&self.handles, &file, timestamp, &self.epochs)?;
            while let Some(found) = scan.next()? {
                if found.header.max_timestamp >= timestamp
                    && let Some(record) = first_record(scan.bytes_of(&found), |t| t >= timestamp)
                {
                    return Ok(Some(record));
                }
            }
        }
        Ok(self.tail.as_ref().and_then(|(_, bytes)| first_record(bytes, |t| t >= timestamp)))
    }

    fn latest(&self) -> Result<Option<TimedOffset>, Fault> {
        let mut best = MaxTime::NONE;
        let mut holder = None;
        for segment in &self.segments {
            let max = segment.max_time_below(&self.handles, self.until, &self.epochs)?;
            if max.timestamp > best.timestamp {
                (best, holder) = (max, Some(segment));
            }
        }
        if let Some((max, bytes)) = &self.tail
            && max.timestamp > best.timestamp
        {
            return Ok(first_record(bytes, |t| t == max.timestamp));
        }
        let Some(segment) = holder else { return Ok(None) };
        let file = segment.open(&self.handles)?;
        let mut scan = segment.scan_near(&self.handles, &file, best.last_offset, &self.epochs)?;
        while let Some(found) = scan.next()? {
            if found.header.last_offset() == best.last_offset {
                return Ok(first_record(scan.bytes_of(&found), |t| t == best.timestamp));
            }
        }
        Ok(None)
    }
}

/// The first record of a batch whose timestamp `matches`. A batch that arrived with a valid
/// checksum around records that do not decode counts as one record with its largest timestamp.
fn first_record(bytes: &[u8], matches: impl Fn(i64) -> bool) -> Option<TimedOffset> {
    let batch = Batch::parse(Bytes::copy_from_slice(bytes)).ok()?;
    let header = *batch.header();
    match batch.records() {
        Ok(records) => {
            let first = records.iter().find(|record| matches(record.timestamp))?;
            Some(TimedOffset { offset: first.offset, timestamp: first.timestamp })
        }
        Err(_) => Some(TimedOffset { offset: header.base_offset, timestamp: header.max_timestamp }),
    }
}
