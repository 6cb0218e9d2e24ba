//! Reading a segment: whole batches from the one that holds an offset, verified, in one piece of
//! memory. Where compaction left none from that offset on, the next batches of the log.
//!
//! The usual way follows the index, hops over batches by their headers and reads what is asked for
//! in one call. Whatever does not add up there is left to the slow way, which checks every batch
//! from a confirmed place on, goes on after damage where it can, and knows exactly which bytes and
//! offsets are bad.

use std::sync::Arc;

use bytes::Bytes;

use super::epochs::Epochs;
use super::handles::Handles;
use super::scan::is_damage;
use super::segment::{Segment, corrupt};
use crate::{BatchHeader, Fault, File, HEADER_BYTES, batch};

/// Bytes read at a time while looking for the batch; covers Kafka's default index interval of
/// 4096 in one call.
const HOP_BYTES: usize = 8 * 1024;

/// A read of one segment.
#[derive(Debug)]
pub(crate) struct SegmentRead {
    pub(super) handles: Arc<Handles>,
    pub(super) segment: Arc<Segment>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) max_bytes: usize,
    pub(super) past_gap: PastGap,
}

/// What comes next where compaction has left nothing in a segment from the first offset on.
#[derive(Clone, Debug)]
pub(super) enum PastGap {
    /// The next one that holds a batch.
    Segment(Arc<Segment>),
    /// From memory: no later segment holds a batch.
    Batches(Vec<Bytes>),
    /// What should be in memory was lost, up to that offset.
    Missing(Fault, i64),
}

impl PastGap {
    pub(super) const NOTHING: Self = Self::Batches(Vec::new());
}

/// Why a segment cannot be read from an offset on, and the first offset past that which can.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) fault: Fault,
    pub(crate) until: i64,
}

impl SegmentRead {
    /// Batches from the one that holds the first offset, or, where compaction has been, from the first
    /// one after it; empty when there is none below the limit.
    pub(crate) fn run(self) -> Result<Vec<Bytes>, Damage> {
        let bytes = self.read_segment()?;
        if !bytes.is_empty() {
            return Ok(vec![bytes]);
        }
        match self.past_gap {
            PastGap::Segment(segment) => Self { segment, past_gap: PastGap::NOTHING, ..self }.run(),
            PastGap::Batches(batches) => Ok(batches),
            PastGap::Missing(fault, until) => Err(Damage { fault, until }),
        }
    }

    fn read_segment(&self) -> Result<Bytes, Damage> {
        let unreadable = |fault| Damage { fault, until: self.segment.next_offset };
        let file = self.segment.open(&self.handles).map_err(unreadable)?;
        if let Some(position) = self.hop(&*file).map_err(unreadable)?
            && let Some(bytes) = self.read_verified(&*file, position).map_err(unreadable)?
        {
            return Ok(bytes);
        }
        self.read_around_damage(&file)
    }

    /// Where the batch with the first offset begins, by index and headers alone; none when they
    /// disagree.
    fn hop(&self, file: &dyn File) -> Result<Option<u64>, Fault> {
        let segment = &self.segment;
        let base = segment.base_offset;
        let below = segment.entry_near(&self.handles, self.from);
        let mut confirm = below.map(|entry| base + i64::from(entry.relative));
        let mut expected = if confirm.is_some() { None } else { Some(base) };
        let start = below.map_or(0, |entry| entry.position);
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
            let agrees = expected.is_none_or(|expected| self.follows(expected, &header))
                && confirm.take().is_none_or(|confirmed| last_offset == confirmed)
                && last_offset >= header.base_offset;
            if !agrees {
                return Ok(None);
            }
            if last_offset >= self.from {
                return Ok(self.begins(&header).then_some(position));
            }
            expected = Some(last_offset + 1);
            position += bytes as u64;
        }
        Ok(None)
    }

    /// Whether a batch may come where `expected` is the next offset.
    fn follows(&self, expected: i64, header: &BatchHeader) -> bool {
        let base = header.base_offset;
        base == expected
            || self.segment.sparse && base > expected && base < self.segment.next_offset
    }

    /// Whether a batch that does not end before the first offset is the one to begin with.
    fn begins(&self, header: &BatchHeader) -> bool {
        header.base_offset <= self.from || self.segment.sparse
    }

    /// Batches from `position`, whose first must be the one to begin with; none when it is not valid.
    fn read_verified(&self, file: &dyn File, position: u64) -> Result<Option<Bytes>, Fault> {
        let left = usize::try_from(self.segment.size - position).unwrap_or(usize::MAX);
        let mut bytes = file.read_bytes(self.max_bytes.max(HEADER_BYTES).min(left), position)?;
        let first = BatchHeader::read(&bytes).and_then(|header| header.total_bytes());
        let Some(first) = first.filter(|&first| first <= left) else { return Ok(None) };
        if first > bytes.len() {
            bytes = file.read_bytes(first, position)?;
        }
        let mut end = 0;
        let mut expected = None;
        while let Some(rest) = bytes.get(end..)
            && let Ok((header, total)) = batch::check_first(rest)
        {
            let in_line = match expected {
                Some(expected) => self.follows(expected, &header),
                None => self.begins(&header) && header.last_offset() >= self.from,
            };
            let wanted = in_line
                && header.base_offset < self.until
                && self.epochs.allow(header.base_offset, header.leader_epoch);
            if !wanted {
                break;
            }
            expected = Some(header.last_offset() + 1);
            end += total;
        }
        Ok((end > 0).then(|| bytes.slice(..end)))
    }

    fn read_around_damage(&self, file: &Arc<dyn File>) -> Result<Bytes, Damage> {
        let segment = &self.segment;
        let unreadable = |fault| Damage { fault, until: segment.next_offset };
        let mut scan =
            segment.scan_near(&self.handles, file, self.from, &self.epochs).map_err(unreadable)?;
        let mut out = Vec::new();
        let mut damage = None;
        loop {
            let found = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) if !out.is_empty() => break,
                Err(fault) if !is_damage(&fault) => return Err(unreadable(fault)),
                Err(fault) => {
                    damage.get_or_insert(fault);
                    if segment.skip_damage(&self.handles, &mut scan).map_err(unreadable)? {
                        continue;
                    }
                    break;
                }
            };
            let header = found.header;
            if header.last_offset() < self.from {
                damage = None;
                continue;
            }
            if out.is_empty() && !(self.begins(&header) && damage.is_none()) {
                let fault = damage.unwrap_or_else(|| self.missing(header.base_offset));
                return Err(Damage { fault, until: header.base_offset });
            }
            let full = !out.is_empty() && out.len() + found.bytes > self.max_bytes;
            if full || header.base_offset >= self.until {
                break;
            }
            out.extend_from_slice(scan.bytes_of(&found));
        }
        match damage {
            Some(fault) if out.is_empty() => Err(unreadable(fault)),
            None if out.is_empty() && !segment.sparse => {
                Err(unreadable(self.missing(segment.next_offset)))
            }
            _ => Ok(Bytes::from(out)),
        }
    }

    fn missing(&self, until: i64) -> Fault {
        let why = format!("offsets {}..{until} are missing", self.from);
        corrupt(&self.segment.path(), self.segment.size, why)
    }
}
