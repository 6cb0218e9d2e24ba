//! The ring file and who has which of its bytes.
//!
//! Invariants: frames do not overlap, are in ring order, and are written only within the prepared
//! part, which is bytes that have been written before, so that no write into it needs room on the
//! disk or changes metadata. A frame that does not fit before the prepared end goes to byte 0.
//!
//! The ring grows by a chunk when what is free ahead runs short and wrapping would leave it no
//! more than half of itself; so it stays about twice as large as what flushing leaves in it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::{BlockBuffer, FRAME_BYTES_MAX, in_blocks};
use crate::limits::JOURNAL_PREPARE_BYTES;
use crate::{BLOCK_BYTES, Fault, File, StoreConfig};

/// A frame that is in the ring, or on its way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) sequence: u64,
    pub(super) offset: u64,
    /// In whole blocks.
    pub(super) bytes: u64,
    pub(super) crc: u32,
    /// The checksum of the frame before.
    pub(super) previous: u32,
    /// How far everything was durable when it was made.
    pub(super) tells: u64,
    pub(super) written: bool,
}

#[derive(Debug)]
pub(super) struct Ring {
    pub(super) file: Arc<dyn File>,
    /// Bytes that may be written to.
    prepared: u64,
    /// Most that `prepared` may become.
    bytes_max: u64,
    chunk_bytes: u64,
    /// Where the next frame goes if it fits there.
    head: u64,
    /// By sequence. Damage leaves gaps.
    frames: VecDeque<Placed>,
}

/// Room for one frame of the largest batch there must be, whatever the setting says.
fn bytes_max(config: &StoreConfig) -> u64 {
    let blocks = config.journal_bytes / BLOCK_BYTES as u64;
    (blocks * BLOCK_BYTES as u64).max(FRAME_BYTES_MAX)
}

impl Ring {
    pub(super) fn new(
        file: Arc<dyn File>,
        config: &StoreConfig,
        prepared: u64,
        head: u64,
        frames: VecDeque<Placed>,
    ) -> Self {
        Self {
            file,
            prepared,
            bytes_max: bytes_max(config).max(prepared),
            chunk_bytes: in_blocks(config.journal_chunk_bytes.max(1)),
            head,
            frames,
        }
    }

    pub(super) fn prepared(&self) -> u64 {
        self.prepared
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn frame(&self, sequence: u64) -> Option<&Placed> {
        self.frames.get(self.frames.binary_search_by_key(&sequence, |f| f.sequence).ok()?)
    }

    pub(super) fn frame_mut(&mut self, sequence: u64) -> Option<&mut Placed> {
        let at = self.frames.binary_search_by_key(&sequence, |f| f.sequence).ok()?;
        self.frames.get_mut(at)
    }

    /// The first frame at or past `sequence`.
    pub(super) fn frame_from(&self, sequence: u64) -> Option<&Placed> {
        self.frames.get(self.frames.partition_point(|frame| frame.sequence < sequence))
    }

    /// The first byte in use; the head when none is.
    fn tail(&self) -> u64 {
        self.frames.front().map_or(self.head, |frame| frame.offset)
    }

    /// Whether what is in use goes past the end and on at byte 0.
    fn wrapped(&self) -> bool {
        !self.frames.is_empty() && self.head <= self.tail()
    }

    /// Where a frame of `bytes` can go now.
    pub(super) fn place(&self, bytes: u64) -> Option<u64> {
        if self.wrapped() {
            return (self.head + bytes <= self.tail()).then_some(self.head);
        }
        let free_at_zero = if self.frames.is_empty() { self.prepared } else { self.tail() };
        if self.head + bytes <= self.prepared {
            Some(self.head)
        } else if bytes <= free_at_zero {
            Some(0)
        } else {
            None
        }
    }

    /// Takes the room that [`Self::place`] found.
    pub(super) fn take(&mut self, frame: Placed) {
        assert!(frame.offset + frame.bytes <= self.prepared, "only prepared bytes are written to");
        assert!(self.frames.back().is_none_or(|last| last.sequence < frame.sequence), "in order");
        self.head = frame.offset + frame.bytes;
        self.frames.push_back(frame);
    }

    /// Frees the room of all frames below `sequence`.
    pub(super) fn release(&mut self, sequence: u64) {
        let before = self.frames.partition_point(|frame| frame.sequence < sequence);
        self.frames.drain(..before);
    }

    /// Bytes in use, gaps included, and bytes there can be at most.
    pub(super) fn used(&self) -> (u64, u64) {
        let used = match self.wrapped() {
            true => self.prepared - self.tail() + self.head,
            false => self.head - self.tail(),
        };
        (used, self.bytes_max)
    }

    /// How much more of the ring to prepare now, given the frame that is to go next.
    pub(super) fn wants(&self, next_bytes: Option<u64>) -> Option<Growth> {
        // What is in use lies behind the head then: only a move of the start makes room.
        if self.wrapped() {
            return None;
        }
        let stuck = next_bytes.is_some_and(|bytes| self.place(bytes).is_none());
        // Of a ring that was cut, the head may be past the end.
        let short = self.prepared.saturating_sub(self.head) < self.chunk_bytes
            && self.tail() < self.prepared / 2;
        // A new node does not wait for a whole chunk before it takes its first record.
        let is_new = self.prepared == 0;
        let piece = if is_new { JOURNAL_PREPARE_BYTES as u64 } else { self.chunk_bytes };
        let bytes = piece.min(self.chunk_bytes).min(self.bytes_max - self.prepared);
        (bytes > 0 && (stuck || short || is_new)).then_some(Growth { offset: self.prepared, bytes })
    }

    pub(super) fn grown(&mut self, growth: Growth) {
        assert!(growth.offset == self.prepared, "grown at its end, by one at a time");
        self.prepared += growth.bytes;
    }
}

/// Bytes at the ring's end to be written with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Growth {
    /// Writes the zeros. After a fault, which is a full disk mostly, the room that they took is given back.
    pub(super) fn run(&self, file: &Arc<dyn File>) -> Result<(), Fault> {
        let written = self.write_zeros(file);
        if written.is_err() {
            // What stays there is not used.
            drop(file.truncate(self.offset));
        }
        written
    }

    fn write_zeros(&self, file: &Arc<dyn File>) -> Result<(), Fault> {
        let zeros = BlockBuffer::zeroed(self.bytes.min(JOURNAL_PREPARE_BYTES as u64) as usize);
        let end = self.offset + self.bytes;
        let mut at = self.offset;
        while at < end {
            let piece = (end - at).min(zeros.len() as u64);
            file.write_at(&zeros.as_slice()[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }
}
