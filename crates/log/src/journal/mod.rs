//! The journal: one ring of durable frames for all logs of a node.
//!
//! Everything that is accepted is first an entry in a frame here, and is acknowledged when the
//! contiguous run of frames up to its own is on stable storage. Frames carry a checksum of their
//! own (a batch's covers neither its offset nor its epoch), a sequence, the epoch of this opening
//! of the journal, the checksum of the frame before, and how far everything was durable when they
//! were made; so recovery can tell a torn tail from damage to what was acknowledged.
//!
//! Pure: the journal hands out [`JournalWrite`]s, of which several may be out at once, and takes
//! their outcomes in any order. After one has failed nothing is durable any more, ever.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Disk, Fault, File, StoreConfig};

/// The name of a log in the journal: what of it must never be given to another log. The catalog's is
/// all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey(pub [u8; 20]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A record batch as it is stored, with its offset and leader epoch.
    Batch,
    /// The log start offset, i64 big-endian.
    StartOffset,
}

/// An entry that recovery found.
#[derive(Clone, Debug)]
pub(crate) struct FoundEntry {
    /// Of its frame.
    pub(crate) sequence: u64,
    pub(crate) key: LogKey,
    pub(crate) kind: EntryKind,
    pub(crate) bytes: Bytes,
}

/// What opening the journal found.
#[derive(Debug, Default)]
pub(crate) struct JournalFound {
    /// Every readable entry at or past the start, in order.
    pub(crate) entries: Vec<FoundEntry>,
    /// Damage to frames that had been acknowledged, each with its exact bytes in the ring. Entries after
    /// it are there all the same.
    pub(crate) damaged: Vec<Fault>,
    /// Frames after the first hole that nobody was told were durable: dropped.
    pub(crate) torn_frames: u64,
}

/// A durable write to carry out; give it back with its outcome.
#[derive(Debug)]
pub struct JournalWrite {
    /// Opened with `OpenMode::Durable`.
    pub file: Arc<dyn File>,
    pub offset: u64,
    /// Whole blocks, aligned in memory.
    pub bytes: Bytes,
    pub(crate) sequence: u64,
    /// Where in `bytes` each entry's own bytes are, in the order of [`Journal::push`].
    pub(crate) entries: Vec<Range<usize>>,
}

impl JournalWrite {
    /// A write that belongs to no frame, to try or to measure what carries writes out.
    pub fn loose(file: Arc<dyn File>, offset: u64, bytes: Bytes) -> Self {
        Self { file, offset, bytes, sequence: u64::MAX, entries: Vec::new() }
    }

    /// Carries the write out on the caller's thread.
    pub fn run(&self) -> Result<(), Fault> {
        self.file.write_at(&self.bytes, self.offset)
    }
}

/// Pre-writes more of the ring, away from the owner's thread.
#[derive(Debug)]
pub(crate) struct PrepareRing {
    pub(crate) outcome: Option<Result<(), Fault>>,
}

impl PrepareRing {
    pub(crate) fn run(&mut self) {
        todo!()
    }
}

/// Moves the journal's start, away from the owner's thread, once what is before it is in segments.
#[derive(Debug)]
pub(crate) struct MoveStart {
    pub(crate) outcome: Option<Result<(), Fault>>,
}

impl MoveStart {
    pub(crate) fn run(&mut self) {
        todo!()
    }
}

#[derive(Debug)]
pub(crate) struct Journal {}

impl Journal {
    /// Opens or creates the journal in folder `journal`, reads what is at or past its start, and makes
    /// what it read durable. Nothing may be pushed before [`Self::begin`].
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        config: &StoreConfig,
    ) -> Result<(Self, JournalFound), Fault> {
        let _ = (disk, config);
        todo!()
    }

    /// Begins a new epoch, durably: frames of older openings past the end can never be read again.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        todo!()
    }

    /// Whether an entry of so many bytes can be pushed now; if not, more of the ring must be released or
    /// prepared first.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let _ = bytes;
        todo!()
    }

    /// Adds an entry made of `parts` to the frame that is being gathered; returns the frame's sequence.
    pub(crate) fn push(&mut self, key: LogKey, kind: EntryKind, parts: &[Bytes]) -> u64 {
        let _ = (key, kind, parts);
        todo!()
    }

    /// The next write, when there is something to write and fewer than the allowed number are out.
    pub(crate) fn next_write(&mut self) -> Option<JournalWrite> {
        todo!()
    }

    pub(crate) fn write_done(&mut self, write: &JournalWrite, outcome: Result<(), Fault>) {
        let _ = (write, outcome);
        todo!()
    }

    /// Every frame below this sequence is durable.
    pub(crate) fn durable(&self) -> u64 {
        todo!()
    }

    /// The sequence of the frame that is being gathered, that is: one past the last frame sealed.
    pub(crate) fn gathering(&self) -> u64 {
        todo!()
    }

    /// What ended the journal.
    pub(crate) fn failed(&self) -> Option<&Fault> {
        todo!()
    }

    /// Makes an empty frame that tells how far everything is durable, when nothing else will and the
    /// last frame does not say it; so that damage to the last frames is told from a torn tail.
    pub(crate) fn announce(&mut self) {
        todo!()
    }

    /// Pre-writing that should be done now; one at a time.
    pub(crate) fn prepare(&mut self) -> Option<PrepareRing> {
        todo!()
    }

    pub(crate) fn prepared(&mut self, work: PrepareRing) {
        let _ = work;
        todo!()
    }

    /// Every entry in frames below `sequence` is durable in segments: the start may move there. The
    /// room is free after [`Self::start_moved`].
    pub(crate) fn move_start(&self, sequence: u64) -> MoveStart {
        let _ = sequence;
        todo!()
    }

    pub(crate) fn start_moved(&mut self, work: MoveStart) {
        let _ = work;
        todo!()
    }

    /// Bytes of the ring in use, and bytes there can be at most.
    pub(crate) fn used_bytes(&self) -> (u64, u64) {
        todo!()
    }
}
