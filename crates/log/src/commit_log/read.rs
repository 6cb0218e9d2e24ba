//! Reading: whole batches from the one that holds an offset, verified, in one piece of memory.
//!
//! The usual way follows the index, hops over batches by their headers and reads what is asked for
//! in one call. Whatever does not add up there is left to the slow way, which checks every batch
//! from a confirmed place on, goes on after damage where it can, and knows exactly which bytes and
//! offsets are bad.

use bytes::Bytes;

use super::scan::is_damage;
use super::segment::{Segment, corrupt};
use super::{CommitLog, ReadRefused};
use crate::limits::READ_BYTES_MAX;
use crate::{BatchHeader, Fault, File, HEADER_BYTES, batch};

/// Bytes read at a time while looking for the batch; covers Kafka's default index interval of
/// 4096 in one call.
const HOP_BYTES: usize = 8 * 1024;

impl CommitLog {
    /// Whole batches from the one that holds `from`, none starting at or past `until`, about
    /// `max_bytes` of them but at least one when there is one. Checksums are verified.
    pub fn read(&self, from: i64, until: i64, max_bytes: usize) -> Result<Bytes, ReadRefused> {
        let (first, next) = (self.start_offset, self.end_offset);
        if from < first || from > next {
            return Err(ReadRefused::OutOfRange { wanted: from, first, next });
        }
        let until = until.min(next);
        if from >= until {
            return Ok(Bytes::new());
        }
        let Some((segment, next_base)) = self.segment_of(from) else {
            return Err(self.missing(from).into());
        };
        let file = self.segment_file(segment)?;
        let max_bytes = max_bytes.min(READ_BYTES_MAX);
        if let Some(position) = self.hop_to(segment, &*file, from)?
            && let Some(bytes) =
                self.read_verified(segment, &*file, position, from, until, max_bytes)?
        {
            return Ok(bytes);
        }
        Ok(self.read_around_damage(segment, next_base, from, until, max_bytes)?)
    }

    /// The segment that holds `offset`, and the offset at which the next one begins.
    pub(super) fn segment_of(&self, offset: i64) -> Option<(&Segment, i64)> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let next = self.segments.get(after);
        Some((segment, next.map_or(self.end_offset, |next| next.base_offset)))
    }

    fn missing(&self, offset: i64) -> Fault {
        let first = self.segments.first().map_or(self.end_offset, |first| first.base_offset);
        let why = format!("offsets {offset}..{first} are missing");
        corrupt(&super::names::log(&self.dir, self.start_offset), 0, why)
    }

    /// Where the batch with `from` begins, by index and headers alone; none when they disagree.
    fn hop_to(&self, segment: &Segment, file: &dyn File, from: i64) -> Result<Option<u64>, Fault> {
        let base = segment.base_offset;
        let below = segment.offsets.floor(&*self.disk, |e| base + i64::from(e.relative) <= from);
        let mut confirm = below.map(|(_, entry)| base + i64::from(entry.relative));
        let mut expected = if confirm.is_some() { None } else { Some(base) };
        let start = below.map_or(0, |(_, entry)| entry.position);
        let Ok(mut position) = u64::try_from(start) else { return Ok(None) };
        let mut chunk = vec![0; HOP_BYTES];
        let mut chunk_at = position;
        let mut held = 0;
        while position < segment.size {
            let mut at = (position - chunk_at) as usize;
            if at + HEADER_BYTES > held {
                held = file.read_at(&mut chunk, position)?;
                (chunk_at, at) = (position, 0);
            }
            let header = chunk.get(at..held.max(at)).and_then(BatchHeader::read);
            let Some((header, bytes)) = header.and_then(|h| Some((h, h.total_bytes()?))) else {
                return Ok(None);
            };
            let last_offset = header.last_offset();
            let agrees = expected.is_none_or(|expected| header.base_offset == expected)
                && confirm.take().is_none_or(|confirmed| last_offset == confirmed)
                && last_offset >= header.base_offset;
            if !agrees {
                return Ok(None);
            }
            if last_offset >= from {
                return Ok((header.base_offset <= from).then_some(position));
            }
            expected = Some(last_offset + 1);
            position += bytes as u64;
        }
        Ok(None)
    }

    /// Batches from `position`, whose first must hold `from`; none when it is not valid.
    fn read_verified(
        &self,
        segment: &Segment,
        file: &dyn File,
        position: u64,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, Fault> {
        let left = usize::try_from(segment.size - position).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max_bytes.max(HEADER_BYTES).min(left)];
        let read = file.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        let first = BatchHeader::read(&bytes).and_then(|header| header.total_bytes());
        let Some(first) = first.filter(|&first| first <= left) else { return Ok(None) };
        if first > bytes.len() {
            bytes.resize(first, 0);
            let read = file.read_at(&mut bytes, position)?;
            bytes.truncate(read);
        }
        let mut end = 0;
        let mut expected = None;
        while let Some(rest) = bytes.get(end..)
            && let Ok((header, total)) = batch::check_first(rest)
        {
            let in_line = match expected {
                Some(expected) => header.base_offset == expected,
                None => header.base_offset <= from && header.last_offset() >= from,
            };
            let wanted = in_line
                && header.base_offset < until
                && self.epochs.allow(header.base_offset, header.leader_epoch);
            if !wanted {
                break;
            }
            expected = Some(header.last_offset() + 1);
            end += total;
        }
        bytes.truncate(end);
        Ok((end > 0).then(|| Bytes::from(bytes)))
    }

    fn read_around_damage(
        &self,
        segment: &Segment,
        next_base: i64,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Bytes, Fault> {
        let file = self.segment_file(segment)?;
        let mut scan = segment.scan_near(&*self.disk, &file, from, &self.epochs)?;
        let mut out = Vec::new();
        let mut damage = None;
        loop {
            let found = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(fault) if !is_damage(&fault) || !out.is_empty() => {
                    return if out.is_empty() { Err(fault) } else { Ok(Bytes::from(out)) };
                }
                Err(fault) => {
                    damage = Some(fault);
                    if segment.skip_damage(&*self.disk, &mut scan)? {
                        continue;
                    }
                    break;
                }
            };
            let header = found.header;
            if header.last_offset() < from {
                damage = None;
                continue;
            }
            let wanted =
                header.base_offset < until && (!out.is_empty() || header.base_offset <= from);
            if !wanted || (!out.is_empty() && out.len() + found.bytes > max_bytes) {
                break;
            }
            out.extend_from_slice(scan.bytes_of(&found));
        }
        if out.is_empty() {
            let why = || format!("offsets {}..{next_base} are missing", scan.expected());
            return Err(damage.unwrap_or_else(|| corrupt(&segment.path, segment.size, why())));
        }
        Ok(Bytes::from(out))
    }
}
