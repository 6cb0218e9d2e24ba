//! Reading a log's segments again, a piece at a time.

use std::sync::Arc;

use super::PartitionLog;
use super::epochs::Epochs;
use super::handles::Handles;
use super::scan::{Scan, is_damage};
use super::segment::Segment;
use crate::Fault;

/// How far the segments of a log have been read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScrubAt {
    /// In the segment that holds this offset, or the first after it.
    offset: i64,
    /// Where the batch with it begins, in the segment with this base offset.
    position: Option<(i64, u64)>,
}

/// A piece to read again.
#[derive(Debug)]
pub(crate) struct Scrub {
    segment: Arc<Segment>,
    epochs: Arc<Epochs>,
    at: ScrubAt,
    read: u64,
}

impl PartitionLog {
    /// The piece that comes next; none when all has been read.
    pub(crate) fn scrub(&self, at: ScrubAt) -> Option<Scrub> {
        let first = self.segments.partition_point(|segment| segment.next_offset <= at.offset);
        let segment = Arc::clone(self.segments.get(first)?);
        Some(Scrub { segment, epochs: Arc::clone(&self.epochs), at, read: 0 })
    }
}

impl Scrub {
    /// Reads about `bytes`; returns what is not as it was written, with the offsets that are lost to it.
    pub(crate) fn run(&mut self, handles: &Handles, bytes: u64) -> Vec<((i64, i64), Fault)> {
        let mut found = Vec::new();
        if let Err(fault) = self.read(handles, bytes, &mut found) {
            // What cannot be had now is tried in the next round.
            self.at = ScrubAt { offset: self.segment.next_offset, position: None };
            if is_damage(&fault) {
                found.push(((self.segment.base_offset, self.segment.next_offset), fault));
            }
        }
        found
    }

    fn read(
        &mut self,
        handles: &Handles,
        bytes: u64,
        found: &mut Vec<((i64, i64), Fault)>,
    ) -> Result<(), Fault> {
        let segment = Arc::clone(&self.segment);
        let file = segment.open(handles)?;
        let mut scan = match self.at.position {
            Some((base, position)) if base == segment.base_offset => {
                Scan::new(&file, position, segment.size, self.at.offset, &self.epochs)
                    .sparse(segment.sparse)
            }
            _ => segment.scan(&file, &self.epochs),
        };
        let start = scan.position();
        let mut damaged: Option<(i64, Fault)> = None;
        loop {
            self.read = scan.position() - start;
            if self.read >= bytes && damaged.is_none() {
                let position = Some((segment.base_offset, scan.position()));
                self.at = ScrubAt { offset: scan.expected(), position };
                return Ok(());
            }
            match scan.next() {
                Ok(Some(batch)) => {
                    if let Some((from, fault)) = damaged.take() {
                        found.push(((from, batch.header.base_offset), fault));
                    }
                }
                Ok(None) => break,
                Err(fault) if is_damage(&fault) => {
                    damaged.get_or_insert((scan.expected(), fault));
                    if !segment.skip_damage(handles, &mut scan)? {
                        break;
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        if let Some((from, fault)) = damaged {
            found.push(((from, segment.next_offset), fault));
        }
        self.at = ScrubAt { offset: segment.next_offset, position: None };
        Ok(())
    }

    pub(crate) fn at(&self) -> ScrubAt {
        self.at
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }
}
