//! From timestamps to offsets.
//!
//! Every batch that decides an answer has been verified; the time index only says where to begin.

use bytes::Bytes;

use super::scan::{Found, Scan};
use super::segment::{MaxTime, Next, Segment};
use super::{CommitLog, TimedOffset};
use crate::{Batch, Fault};

impl CommitLog {
    /// First record at or after `timestamp` below `until`.
    pub fn offset_at_time(&self, timestamp: i64, until: i64) -> Result<Option<TimedOffset>, Fault> {
        let until = until.min(self.end_offset);
        for (segment, next) in self.segments_below(until) {
            let max = segment.max_time_below(&*self.disk, until, next, &self.epochs)?;
            if max.timestamp < timestamp {
                continue;
            }
            let file = self.segment_file(segment)?;
            let entry = segment.times.floor(&*self.disk, |entry| entry.timestamp <= timestamp);
            let entry = entry.map(|(_, entry)| entry);
            let mut scan = segment.scan_from_time(&*self.disk, &file, entry, &self.epochs)?;
            while let Some(found) = scan.next()? {
                if found.header.max_timestamp >= timestamp
                    && let Some(record) = first_record(&scan, &found, |t| t >= timestamp)
                {
                    return Ok(Some(record).filter(|record| record.offset < until));
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp below `until` (the first of them).
    pub fn offset_of_max_timestamp(&self, until: i64) -> Result<Option<TimedOffset>, Fault> {
        let until = until.min(self.end_offset);
        let mut best: Option<(usize, MaxTime)> = None;
        for (number, (segment, next)) in self.segments_below(until).enumerate() {
            let max = segment.max_time_below(&*self.disk, until, next, &self.epochs)?;
            if max.timestamp > best.map_or(-1, |(_, best)| best.timestamp) {
                best = Some((number, max));
            }
        }
        let Some((number, max)) = best else { return Ok(None) };
        let segment = &self.segments[number];
        let file = self.segment_file(segment)?;
        let mut scan = segment.scan_near(&*self.disk, &file, max.last_offset, &self.epochs)?;
        while let Some(found) = scan.next()? {
            if found.header.last_offset() == max.last_offset {
                return Ok(first_record(&scan, &found, |t| t == max.timestamp));
            }
        }
        Ok(None)
    }

    fn segments_below(&self, until: i64) -> impl Iterator<Item = (&Segment, Next)> {
        let next = self.segments.iter().skip(1).map(|next| Next::Segment(next.base_offset));
        let next = next.chain([Next::End(self.end_offset)]);
        self.segments.iter().zip(next).take_while(move |(segment, _)| segment.base_offset < until)
    }
}

/// The first record of a batch whose timestamp `matches`. A batch that arrived with a valid
/// checksum around records that do not decode counts as one record with its largest timestamp.
fn first_record(
    scan: &Scan<'_>,
    found: &Found,
    matches: impl Fn(i64) -> bool,
) -> Option<TimedOffset> {
    let bytes = Bytes::copy_from_slice(scan.bytes_of(found));
    let header = found.header;
    match Batch::parse(bytes).and_then(|batch| batch.records()) {
        Ok(records) => {
            let first = records.iter().find(|record| matches(record.timestamp))?;
            Some(TimedOffset { offset: first.offset, timestamp: first.timestamp })
        }
        Err(_) => Some(TimedOffset { offset: header.base_offset, timestamp: header.max_timestamp }),
    }
}
