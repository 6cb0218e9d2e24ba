//! A frame: what one durable write puts into the ring.
//!
//! A frame is believed when its checksum holds, it names the place it was read from, and the journal,
//! epoch and sequence are the ones expected there; each of these alone is not enough, because the
//! ring is full of frames of earlier laps, and a batch may hold the copy of one.
//!
//! Nothing here trusts a number it has read: lengths are checked against the bytes there are.
//! `docs/log-format.md` has the layout.

use std::ops::Range;

use bytes::Bytes;

use super::{EntryKind, LogKey};
use crate::BLOCK_BYTES;
use crate::limits::BATCH_BYTES_MAX;

pub(super) const HEADER_BYTES: usize = 64;
const ENTRY_HEADER_BYTES: usize = 25;
/// A frame of the largest entry, in whole blocks.
pub(super) const FRAME_BYTES_MAX: u64 =
    in_blocks((HEADER_BYTES + ENTRY_HEADER_BYTES + BATCH_BYTES_MAX) as u64);
const MAGIC: [u8; 4] = *b"TDJF";
const VERSION: u16 = 1;
/// Sequences and epochs past this are not believed, so that counting on cannot overflow.
pub(super) const COUNT_MAX: u64 = 1 << 62;

const _: () = assert!(HEADER_BYTES <= BLOCK_BYTES);
const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as u64);

/// `bytes` rounded up to whole blocks.
pub(super) const fn in_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64) * BLOCK_BYTES as u64
}

/// A buffer that begins at a multiple of [`BLOCK_BYTES`] in memory.
#[derive(Debug)]
pub(super) struct BlockBuffer {
    bytes: Vec<u8>,
    skip: usize,
}

impl BlockBuffer {
    /// An empty buffer that takes up to `len` bytes.
    pub(super) fn with_capacity(len: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(len + BLOCK_BYTES - 1);
        let skip = bytes.as_ptr().align_offset(BLOCK_BYTES);
        assert!(skip < BLOCK_BYTES, "a byte pointer can always be aligned");
        bytes.resize(skip, 0);
        Self { bytes, skip }
    }

    pub(super) fn zeroed(len: usize) -> Self {
        let mut buffer = Self::with_capacity(len);
        buffer.pad_to(len);
        buffer
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.skip
    }

    /// More than the capacity would move the buffer in memory and lose its alignment.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        assert!(self.bytes.len() + bytes.len() <= self.bytes.capacity(), "within the capacity");
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn pad_to(&mut self, len: usize) {
        assert!(self.skip + len <= self.bytes.capacity(), "within the capacity");
        self.bytes.resize(self.skip + len, 0);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.skip..]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.skip..]
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from(self.bytes).slice(self.skip..)
    }
}

/// Entries on their way into a frame.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    entries: Vec<GatheredEntry>,
    /// Of all entries, one after another.
    parts: Vec<Bytes>,
    /// Of the entries, with their headers.
    bytes: usize,
}

#[derive(Debug)]
struct GatheredEntry {
    key: LogKey,
    kind: EntryKind,
    len: usize,
    parts: usize,
}

impl Gathered {
    /// What an entry of `len` bytes adds to a frame.
    pub(super) fn cost(len: usize) -> usize {
        ENTRY_HEADER_BYTES + len
    }

    pub(super) fn add(&mut self, key: LogKey, kind: EntryKind, parts: &[Bytes], len: usize) {
        self.entries.push(GatheredEntry { key, kind, len, parts: parts.len() });
        self.parts.extend_from_slice(parts);
        self.bytes += Self::cost(len);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Of the entries, with their headers.
    pub(super) fn entries_len(&self) -> usize {
        self.bytes
    }

    /// Of the frame, before it is padded.
    pub(super) fn frame_len(&self) -> usize {
        HEADER_BYTES + self.bytes
    }
}

/// Which frame it is, and what it says about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Of everything after it up to `len`.
    pub(super) crc: u32,
    /// Header and entries, without the padding to a whole block.
    pub(super) len: u32,
    pub(super) journal: u64,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// Its own place in the ring.
    pub(super) offset: u64,
    /// Every frame below this sequence was durable when this one was made.
    pub(super) durable: u64,
    /// The checksum of the frame before.
    pub(super) previous: u32,
    pub(super) entries: u32,
}

/// A frame's bytes, ready to be written.
pub(super) struct Sealed {
    pub(super) crc: u32,
    /// Whole blocks, aligned in memory.
    pub(super) bytes: Bytes,
    pub(super) entries: Vec<Range<usize>>,
}

impl FrameHeader {
    /// Lays the frame out; `crc`, `len` and `entries` of `self` are not looked at.
    pub(super) fn seal(&self, gathered: &Gathered) -> Sealed {
        let len = gathered.frame_len();
        let padded = in_blocks(len as u64) as usize;
        let mut buffer = BlockBuffer::with_capacity(padded);
        buffer.put(&[0; 4]);
        buffer.put(&MAGIC);
        buffer.put(&VERSION.to_be_bytes());
        buffer.put(&[0; 2]);
        buffer.put(&(len as u32).to_be_bytes());
        for number in [self.journal, self.epoch, self.sequence, self.offset, self.durable] {
            buffer.put(&number.to_be_bytes());
        }
        buffer.put(&self.previous.to_be_bytes());
        buffer.put(&(gathered.entries.len() as u32).to_be_bytes());
        let mut ranges = Vec::with_capacity(gathered.entries.len());
        let mut parts = gathered.parts.iter();
        for entry in &gathered.entries {
            buffer.put(&entry.key.0);
            buffer.put(&[entry.kind.code()]);
            buffer.put(&(entry.len as u32).to_be_bytes());
            let start = buffer.len();
            for part in parts.by_ref().take(entry.parts) {
                buffer.put(part);
            }
            ranges.push(start..buffer.len());
        }
        let crc = crc32c::crc32c(&buffer.as_slice()[4..]);
        buffer.as_mut_slice()[..4].copy_from_slice(&crc.to_be_bytes());
        buffer.pad_to(padded);
        Sealed { crc, bytes: buffer.into_bytes(), entries: ranges }
    }

    /// Reads a header that may be one: what is in it is only true if [`Self::holds`].
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        if block.get(4..8)? != MAGIC || u16_at(block, 8)? != VERSION {
            return None;
        }
        let header = Self {
            crc: u32_at(block, 0)?,
            len: u32_at(block, 12)?,
            journal: u64_at(block, 16)?,
            epoch: u64_at(block, 24)?,
            sequence: u64_at(block, 32)?,
            offset: u64_at(block, 40)?,
            durable: u64_at(block, 48)?,
            previous: u32_at(block, 56)?,
            entries: u32_at(block, 60)?,
        };
        let sound = header.len as usize >= HEADER_BYTES
            && header.epoch <= COUNT_MAX
            && header.sequence <= COUNT_MAX
            && header.durable <= header.sequence;
        sound.then_some(header)
    }

    /// Whether `bytes`, which begin with this header, are the frame as it was sealed.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        bytes.get(4..self.len as usize).is_some_and(|rest| crc32c::crc32c(rest) == self.crc)
    }

    /// Bytes that the frame takes in the ring.
    pub(super) fn ring_bytes(&self) -> u64 {
        in_blocks(u64::from(self.len))
    }

    /// One past its last byte in the ring.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.ring_bytes()
    }
}

/// An entry of a frame that was read.
#[derive(Clone, Debug)]
pub(super) struct FrameEntry {
    pub(super) key: LogKey,
    pub(super) kind: EntryKind,
    pub(super) bytes: Bytes,
}

/// The entries of a frame's bytes, without a copy; none if they are not what [`FrameHeader::seal`] makes.
pub(super) fn entries(header: &FrameHeader, frame: &Bytes) -> Option<Vec<FrameEntry>> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    for _ in 0..header.entries {
        let key = LogKey(frame.get(at..at + 20)?.try_into().ok()?);
        let kind = EntryKind::from_code(*frame.get(at + 20)?)?;
        let len = u32_at(frame, at + 21)? as usize;
        let start = at + ENTRY_HEADER_BYTES;
        let end = start.checked_add(len).filter(|&end| end <= frame.len())?;
        found.push(FrameEntry { key, kind, bytes: frame.slice(start..end) });
        at = end;
    }
    (at == header.len as usize).then_some(found)
}

impl EntryKind {
    fn code(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::StartOffset => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Batch, Self::StartOffset].into_iter().find(|kind| kind.code() == code)
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
