//! Walks a segment batch by batch, believing nothing: length, magic, checksum, offset and leader
//! epoch of each are checked before it is handed out.

use std::sync::Arc;

use super::epochs::Epochs;
use super::segment::corrupt;
use crate::limits::{BATCH_BYTES_MAX, CHECKED_ENDS_MAX, SCAN_CHUNK_BYTES};
use crate::{BatchError, BatchHeader, Fault, FaultKind, File, HEADER_BYTES, batch};

/// A valid batch and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) header: BatchHeader,
    pub(super) position: u64,
    pub(super) bytes: usize,
}

/// A place in a segment, with the offset that the batch there must have.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    file: &'a Arc<dyn File>,
    epochs: &'a Epochs,
    position: u64,
    end: u64,
    expected: i64,
    /// Offsets may be left out: compaction has been here.
    sparse: bool,
    /// Bytes of the file from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl<'a> Scan<'a> {
    /// From `position`, where the batch with offset `expected` begins, to `end`.
    pub(super) fn new(
        file: &'a Arc<dyn File>,
        position: u64,
        end: u64,
        expected: i64,
        epochs: &'a Epochs,
    ) -> Self {
        let chunk = Vec::new();
        Self { file, epochs, position, end, expected, sparse: false, chunk, chunk_at: 0 }
    }

    /// Lets batches begin past the offset that is expected.
    pub(super) fn sparse(self, sparse: bool) -> Self {
        Self { sparse, ..self }
    }

    /// From `position`, if a valid batch that `confirms` begins there.
    pub(super) fn at_batch(
        file: &'a Arc<dyn File>,
        position: u64,
        end: u64,
        epochs: &'a Epochs,
        confirms: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<Self>, Fault> {
        let mut scan = Self::new(file, position, end, 0, epochs);
        Ok(scan.try_at(position, confirms)?.then_some(scan))
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn expected(&self) -> i64 {
        self.expected
    }

    pub(super) fn go_to(&mut self, position: u64, expected: i64) {
        self.position = position;
        self.expected = expected;
    }

    /// The next batch; none at the end. On a fault the scan stays where it is, and
    /// [`is_damage`] tells bytes that are wrong from bytes that cannot be had.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Fault> {
        if self.position >= self.end {
            return Ok(None);
        }
        let (header, bytes) = self.check(self.position)?.map_err(|error| self.damage(&error))?;
        let in_line = header.base_offset == self.expected
            || self.sparse && header.base_offset > self.expected;
        if !in_line {
            let (found, expected) = (header.base_offset, self.expected);
            let why = format!("base offset {found} where {expected} was expected");
            return Err(corrupt(self.file.path(), self.position, why));
        }
        if !self.epochs.allow(header.base_offset, header.leader_epoch) {
            let why = format!("leader epoch {} at this offset", header.leader_epoch);
            return Err(corrupt(self.file.path(), self.position, why));
        }
        let found = Found { header, position: self.position, bytes };
        self.go_to(self.position + bytes as u64, header.last_offset() + 1);
        Ok(Some(found))
    }

    /// The bytes of the batch that [`Self::next`] just returned.
    pub(super) fn bytes_of(&self, found: &Found) -> &[u8] {
        let start = (found.position - self.chunk_at) as usize;
        &self.chunk[start..start + found.bytes]
    }

    /// Goes to `position` if a valid batch that `confirms` begins there; the offset it states is
    /// then the one expected.
    pub(super) fn try_at(
        &mut self,
        position: u64,
        confirms: impl Fn(&BatchHeader) -> bool,
    ) -> Result<bool, Fault> {
        if position >= self.end {
            return Ok(false);
        }
        let Ok((header, _)) = self.check(position)? else { return Ok(false) };
        let valid = confirms(&header) && self.epochs.allow(header.base_offset, header.leader_epoch);
        if valid {
            self.go_to(position, header.base_offset);
        }
        Ok(valid)
    }

    /// Where the batch here ends by its own length field, if that is inside the segment.
    pub(super) fn stated_end(&mut self) -> Result<Option<u64>, Fault> {
        let head = self.load(self.position, HEADER_BYTES)?;
        let total = BatchHeader::read(head).and_then(|header| header.total_bytes());
        let end = total.map(|total| self.position + total as u64);
        Ok(end.filter(|&end| end <= self.end))
    }

    /// Where the batch here ends if nothing but its length is wrong: where what its checksum covers
    /// agrees with it, and a batch with a later offset or nothing follows. Of the places where one seems
    /// to follow, the first [`CHECKED_ENDS_MAX`] are tried.
    pub(super) fn checked_end(&mut self) -> Result<Option<u64>, Fault> {
        let (start, expected) = (self.position, self.expected);
        let head = self.load(start, HEADER_BYTES)?;
        let Some(header) = BatchHeader::read(head) else { return Ok(None) };
        let last = self.end.min(start + BATCH_BYTES_MAX as u64);
        let mut crc = 0;
        let mut covered = start + batch::CHECKED_FROM as u64;
        let mut end = start + HEADER_BYTES as u64;
        let mut tried = 0;
        while end <= last && tried < CHECKED_ENDS_MAX {
            let window = self.load(end, SCAN_CHUNK_BYTES)?;
            let held = window.len() as u64;
            let follows = (0..).zip(window.windows(HEADER_BYTES)).find_map(|(at, next)| {
                let next = BatchHeader::read_plausible(next)?;
                (next.base_offset > expected).then_some(end + at)
            });
            let until = match follows {
                Some(at) => at,
                None if end + held >= last => last,
                None => end + held - HEADER_BYTES as u64 + 1,
            };
            while covered < until {
                let bytes = self.load(covered, SCAN_CHUNK_BYTES)?;
                let wanted = bytes.len().min((until - covered) as usize);
                crc = crc32c::crc32c_append(crc, &bytes[..wanted]);
                covered += wanted as u64;
                if wanted == 0 {
                    return Ok(None);
                }
            }
            if crc == header.crc && (follows.is_some() || until == self.end) {
                return Ok(Some(until));
            }
            tried += usize::from(follows.is_some());
            end = until + 1;
        }
        Ok(None)
    }

    fn check(&mut self, position: u64) -> Result<Result<(BatchHeader, usize), BatchError>, Fault> {
        let left = self.end - position;
        let head = self.load(position, HEADER_BYTES)?;
        let total = BatchHeader::read(head).and_then(|header| header.total_bytes());
        let wanted = match total {
            Some(total) if total as u64 <= left => total,
            _ => HEADER_BYTES,
        };
        Ok(batch::check_first(self.load(position, wanted)?))
    }

    /// The bytes from `position` on, at least `wanted` of them unless the segment ends before.
    fn load(&mut self, position: u64, wanted: usize) -> Result<&[u8], Fault> {
        let wanted = wanted.min(usize::try_from(self.end - position).unwrap_or(usize::MAX));
        let chunk_end = self.chunk_at + self.chunk.len() as u64;
        if position < self.chunk_at || position + wanted as u64 > chunk_end {
            let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            self.chunk.resize(wanted.max(SCAN_CHUNK_BYTES).min(left), 0);
            self.chunk_at = position;
            let read = self.file.read_at(&mut self.chunk, position)?;
            self.chunk.truncate(read);
        }
        Ok(&self.chunk[(position - self.chunk_at) as usize..])
    }

    fn damage(&self, error: &BatchError) -> Fault {
        corrupt(self.file.path(), self.position, error.to_string())
    }
}

/// Whether a fault says that the bytes are wrong, rather than that reading failed.
pub(super) fn is_damage(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Corrupt(_))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Batch, BatchBuilder, Disk as _, MemoryDisk, NewRecord, OpenMode};

    fn batch_at(base_offset: i64, value: Vec<u8>) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(&NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() });
        let batch: Batch = builder.build();
        batch.placed(base_offset, 0, None).1
    }

    #[test]
    fn a_batch_whose_length_is_wrong_ends_at_one_of_the_first_places_that_look_like_it() {
        for (decoys, found) in [(0, true), (CHECKED_ENDS_MAX - 1, true), (CHECKED_ENDS_MAX, false)]
        {
            let mut bytes = batch_at(0, batch_at(9, Vec::new()).repeat(decoys));
            let end = bytes.len() as u64;
            bytes[8..12].fill(0);
            bytes.extend(batch_at(1, Vec::new()));
            let file = MemoryDisk::new().open("s", OpenMode::Create).unwrap();
            file.write_at(&bytes, 0).unwrap();
            let epochs = Epochs::learning();
            let mut scan = Scan::new(&file, 0, bytes.len() as u64, 0, &epochs);
            assert_eq!(scan.checked_end(), Ok(found.then_some(end)), "{decoys} decoys");
        }
    }
}
