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
//!
//! Invariants:
//! 1. A frame's bytes in the ring are written to again only when the control file says, durably,
//!    that the journal starts behind it.
//! 2. `durable()` counts only frames of which every one before them is durable too, and is never
//!    more than what a recovery of the same disk would find.
//! 3. Recovery gives out what was pushed, byte for byte and in order, or says which frames are
//!    missing; it never gives out anything else.
//! 4. What is on disk is never believed about a length, and never makes this panic.
//!
//! Limits: a frame has entries of about `write_bytes_max` together, or one entry of up to
//! `BATCH_BYTES_MAX`; the ring takes a frame of that however small `journal_bytes` is. What waits in
//! memory for its write is at most [`Journal::has_room`]'s bound. A read error while opening fails the
//! opening where what cannot be read may have been acknowledged.

mod control;
mod frame;
mod recovery;
mod ring;
mod walk;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use self::control::{Control, Place};
use self::frame::{FrameHeader, Gathered, HEADER_BYTES, in_blocks};
use self::recovery::RingReader;
use self::ring::{Growth, Placed, Ring};
pub use self::walk::{FrameState, JournalDump, JournalEntry, JournalFrame, read_journal};
use crate::limits::{BATCH_BYTES_MAX, JOURNAL_SPREAD_BYTES};
use crate::{BLOCK_BYTES, Disk, Fault, File, OpenMode, StoreConfig};

const DIR: &str = "journal";
const RING_FILE: &str = "journal/ring";
const CONTROL_FILE: &str = "journal/control";

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
    /// It was closed, with everything in segments and nothing lost.
    pub(crate) closed: bool,
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
    file: Arc<dyn File>,
    growth: Growth,
    pub(crate) outcome: Option<Result<(), Fault>>,
}

impl PrepareRing {
    pub(crate) fn run(&mut self) {
        self.outcome = Some(self.growth.run(&self.file));
    }
}

/// Moves the journal's start, away from the owner's thread, once what is before it is in segments.
#[derive(Debug)]
pub(crate) struct MoveStart {
    file: Arc<dyn File>,
    control: Control,
    pub(crate) outcome: Option<Result<(), Fault>>,
}

impl MoveStart {
    pub(crate) fn run(&mut self) {
        self.outcome = Some(self.control.write(&self.file));
    }
}

#[derive(Debug)]
pub(crate) struct Journal {
    ring: Ring,
    control_file: Arc<dyn File>,
    /// As it was last written.
    control: Control,
    /// Frames to be, in order; the last one takes more entries.
    gathered: VecDeque<Gathered>,
    gathered_bytes: usize,
    /// The sequence of the first of them.
    next: u64,
    /// The checksum of the frame before that.
    previous: u32,
    /// Every frame below this one is durable.
    durable: u64,
    /// Up to where the disk itself says so.
    told: u64,
    /// One past the last frame that has entries.
    entries_end: u64,
    writes_out: usize,
    writes_out_max: usize,
    write_bytes_max: usize,
    begun: bool,
    preparing: bool,
    prepare_failed: Option<Fault>,
    /// Bytes in the ring that somebody would push if there were a place for them.
    wanted: Option<u64>,
    failed: Option<Fault>,
}

impl Journal {
    /// Opens or creates the journal in folder `journal`, reads what is at or past its start, and makes
    /// what it read durable. Nothing may be pushed before [`Self::begin`].
    pub(crate) fn open(
        disk: &dyn Disk,
        config: &StoreConfig,
    ) -> Result<(Self, JournalFound), Fault> {
        disk.create_dir_all(DIR)?;
        let control_file = disk.open(CONTROL_FILE, OpenMode::Durable)?;
        let ring_file = disk.open(RING_FILE, OpenMode::Durable)?;
        let mut reader = RingReader::new(Arc::clone(&ring_file))?;
        let read = Control::read(&*control_file)?;
        if read.control.is_none() || reader.len == 0 {
            disk.sync_dir(DIR)?;
            disk.sync_dir("")?;
        }
        let mut damaged = read.damaged;
        let control = match read.control {
            Some(control) => control,
            None => match recovery::without_control(&mut reader)? {
                Some((control, fault)) => {
                    damaged.push(fault);
                    control
                }
                None => Control::new(journal_id(config.journal_seed, disk)),
            },
        };
        let recovered = recovery::recover(&mut reader, &control)?;
        // Of a node that was killed, what is found may be in the page cache only, and the length as well.
        if !recovered.frames.is_empty() || reader.len > control.ring_bytes {
            ring_file.sync()?;
        }
        damaged.extend(recovered.damaged);
        let found = JournalFound {
            entries: entries_of(&recovered.frames),
            damaged,
            closed: control.clean,
            torn_frames: recovered.torn_frames,
        };
        let frames: VecDeque<Placed> = recovered.frames.iter().map(|f| f.placed()).collect();
        let next = recovered.next;
        let journal = Self {
            previous: frames.back().map_or(control.previous, |last| last.crc),
            ring: Ring::new(ring_file, config, reader.len, next.offset, frames),
            control_file,
            control,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            next: next.sequence,
            durable: next.sequence,
            told: next.sequence,
            entries_end: next.sequence,
            writes_out: 0,
            writes_out_max: config.writes_in_flight_max.max(1),
            write_bytes_max: config.write_bytes_max,
            begun: false,
            preparing: false,
            prepare_failed: None,
            wanted: None,
            failed: None,
        };
        Ok((journal, found))
    }

    /// Begins a new epoch, durably: frames of older openings past the end can never be read again. A new
    /// ring gets its first piece, if there is room on the disk.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        assert!(!self.begun, "an opening begins once");
        Control::reserve(&self.control_file)?;
        if self.ring.prepared() == 0
            && let Some(mut first) = self.prepare()
        {
            first.run();
            self.prepared(first);
        }
        let next = Place { sequence: self.next, offset: self.ring.head() };
        let control = self.control.begun(next, self.ring.prepared());
        control.write(&self.control_file)?;
        self.control = control;
        self.begun = true;
        Ok(())
    }

    /// Whether an entry can be pushed now, of whatever size, so that many small ones do not starve a large
    /// one. If not, it can when what has been gathered is written: that is bounded by what may be out
    /// twice over, and one entry more. The ring being full does not count here but in [`Self::stalled`].
    pub(crate) fn has_room(&self) -> bool {
        self.gathered_bytes < 2 * self.writes_out_max * self.write_bytes_max
    }

    /// Whether an entry of so many bytes can be pushed now and its frame has a place in the ring already,
    /// so that no full disk can keep it waiting. If not, the room is asked for.
    pub(crate) fn makes_room(&mut self, bytes: usize) -> bool {
        if self.failed.is_some() {
            return true;
        }
        if !self.has_room() {
            return false;
        }
        // What is gathered may become as many frames more as writes may be out.
        let frames = (HEADER_BYTES + BLOCK_BYTES) * (self.gathered.len() + self.writes_out_max);
        let together = in_blocks((self.gathered_bytes + Gathered::cost(bytes) + frames) as u64);
        let fits = self.ring.place(together).is_some();
        self.wanted = if fits { None } else { self.wanted.max(Some(together)) };
        fits
    }

    /// Adds an entry made of `parts`, of at most [`BATCH_BYTES_MAX`] together, to the frame that is being
    /// gathered; returns the frame's sequence. A journal that failed keeps nothing of it.
    pub(crate) fn push(&mut self, key: LogKey, kind: EntryKind, parts: &[Bytes]) -> u64 {
        assert!(self.begun, "entries come after the beginning of an epoch and before the close");
        let len: usize = parts.iter().map(Bytes::len).sum();
        assert!(len <= BATCH_BYTES_MAX, "an entry of {len} bytes");
        if self.failed.is_some() {
            return self.gathering();
        }
        let cost = Gathered::cost(len);
        let idle = self.writes_out + self.gathered.len() < self.writes_out_max;
        let spread = JOURNAL_SPREAD_BYTES.min(self.write_bytes_max);
        let enough = if idle { spread } else { self.write_bytes_max };
        match self.gathered.back_mut() {
            Some(last) if last.frame_len() + cost <= enough => {
                last.add(key, kind, parts, len);
            }
            _ => {
                let mut frame = Gathered::default();
                frame.add(key, kind, parts, len);
                self.gathered.push_back(frame);
            }
        }
        self.gathered_bytes += cost;
        self.gathering()
    }

    /// The next write, when there is something to write, fewer than the allowed number are out, and the
    /// ring has room.
    pub(crate) fn next_write(&mut self) -> Option<JournalWrite> {
        if self.failed.is_some() || self.writes_out >= self.writes_out_max {
            return None;
        }
        let bytes = self.next_bytes()?;
        let offset = self.ring.place(bytes)?;
        let gathered = self.gathered.pop_front()?;
        self.gathered_bytes -= gathered.entries_len();
        let sealed = self.header(offset).seal(&gathered);
        let write = JournalWrite {
            file: Arc::clone(&self.ring.file),
            offset,
            bytes: sealed.bytes,
            sequence: self.next,
            entries: sealed.entries,
        };
        self.ring.take(Placed {
            sequence: self.next,
            offset,
            bytes,
            crc: sealed.crc,
            previous: self.previous,
            tells: self.durable,
            written: false,
        });
        self.next += 1;
        self.previous = sealed.crc;
        self.writes_out += 1;
        if !gathered.is_empty() {
            self.entries_end = self.next;
        }
        Some(write)
    }

    fn header(&self, offset: u64) -> FrameHeader {
        FrameHeader {
            crc: 0,
            len: 0,
            journal: self.control.journal,
            epoch: self.control.epoch(),
            sequence: self.next,
            offset,
            durable: self.durable,
            previous: self.previous,
            entries: 0,
        }
    }

    /// Takes a write's outcome, in whatever order they come.
    pub(crate) fn write_done(&mut self, write: &JournalWrite, outcome: Result<(), Fault>) {
        self.writes_out -= 1;
        if let Err(fault) = outcome {
            self.failed.get_or_insert(fault);
            self.gathered.clear();
            self.gathered_bytes = 0;
        }
        if self.failed.is_some() {
            return;
        }
        if let Some(frame) = self.ring.frame_mut(write.sequence) {
            frame.written = true;
        }
        while let Some(frame) = self.ring.frame(self.durable).filter(|frame| frame.written) {
            self.told = self.told.max(frame.tells);
            self.durable += 1;
        }
    }

    /// Every frame below this sequence is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// The sequence of the frame that takes the next entry, unless that one is full: frames below it
    /// take no more entries.
    pub(crate) fn gathering(&self) -> u64 {
        self.next + (self.gathered.len() as u64).saturating_sub(1)
    }

    /// Entries that are pushed from now on, or have been and are in no sealed frame, are in frames from this
    /// one on.
    pub(crate) fn unsealed(&self) -> u64 {
        self.next
    }

    /// What ended the journal.
    pub(crate) fn failed(&self) -> Option<&Fault> {
        self.failed.as_ref()
    }

    /// Makes an empty frame that tells how far everything is durable, when nothing else will and the
    /// last frame does not say it; so that damage to the last frames is told from a torn tail. Worth a
    /// write only when the journal has been idle for a while.
    pub(crate) fn announce(&mut self) {
        let idle = self.begun
            && self.failed.is_none()
            && self.gathered.is_empty()
            && self.writes_out == 0
            && self.durable == self.next;
        let needed = self.told < self.entries_end && self.control.start.sequence < self.entries_end;
        if idle && needed {
            self.gathered.push_back(Gathered::default());
        }
    }

    /// Whether the next frame, or what is wanted, waits for room in the ring: for [`Self::prepare`]'s work, or, when that has
    /// nothing to do, for the start to move.
    pub(crate) fn stalled(&self) -> bool {
        let has_no_place = |bytes: u64| self.ring.place(bytes).is_none();
        self.failed.is_none()
            && (self.next_bytes().is_some_and(has_no_place)
                || self.wanted.is_some_and(has_no_place))
    }

    /// Pre-writing that should be done now; one at a time.
    pub(crate) fn prepare(&mut self) -> Option<PrepareRing> {
        if self.preparing || self.prepare_failed.is_some() || self.failed.is_some() {
            return None;
        }
        let growth = self.ring.wants(self.next_bytes().max(self.wanted))?;
        self.preparing = true;
        Some(PrepareRing { file: Arc::clone(&self.ring.file), growth, outcome: None })
    }

    /// Takes the work back. If it failed the ring stays as it is, and nothing more is prepared until
    /// [`Self::retry_prepare`].
    pub(crate) fn prepared(&mut self, work: PrepareRing) {
        self.preparing = false;
        match work.outcome {
            Some(Ok(())) => self.ring.grown(work.growth),
            Some(Err(fault)) => {
                self.prepare_failed = Some(fault);
                // Whoever wanted it may be told, and others may want less.
                self.wanted = None;
            }
            None => {}
        }
    }

    /// Why the ring could not be made larger, for instance because the disk is full.
    pub(crate) fn prepare_failed(&self) -> Option<&Fault> {
        self.prepare_failed.as_ref()
    }

    /// Lets [`Self::prepare`] try again after a fault.
    pub(crate) fn retry_prepare(&mut self) {
        self.prepare_failed = None;
    }

    /// Every entry in frames below `sequence` is durable in segments: the start may move there, as far as
    /// frames are durable. The room is free after [`Self::start_moved`]. One at a time.
    pub(crate) fn move_start(&self, sequence: u64) -> MoveStart {
        let control = self.control_from(sequence.min(self.durable));
        MoveStart { file: Arc::clone(&self.control_file), control, outcome: None }
    }

    /// Takes the work back. If it failed the start has not moved; another one may be tried.
    pub(crate) fn start_moved(&mut self, work: MoveStart) {
        if matches!(work.outcome, Some(Ok(()))) {
            self.ring.release(work.control.start.sequence);
            self.told = self.told.max(work.control.durable.sequence);
            self.control = work.control;
        } else {
            self.control.revision = work.control.revision;
        }
    }

    /// Every entry is durable in segments: notes that the journal holds nothing, so that the next opening
    /// does not read the ring. Nothing may be gathered or out; nothing can be pushed afterwards. A journal
    /// that failed or has not begun is left as it is.
    pub(crate) fn close(&mut self) -> Result<(), Fault> {
        assert!(self.gathered.is_empty() && self.writes_out == 0, "closed when all is written");
        if self.failed.is_none() && self.begun {
            let control = Control { clean: true, ..self.control_from(self.next) };
            control.write(&self.control_file)?;
            self.ring.release(control.start.sequence);
            self.control = control;
        }
        self.begun = false;
        Ok(())
    }

    /// The sequence of the first frame that the disk says is still needed.
    pub(crate) fn start(&self) -> u64 {
        self.control.start.sequence
    }

    /// Bytes of the ring in use, and bytes there can be at most.
    pub(crate) fn used_bytes(&self) -> (u64, u64) {
        self.ring.used()
    }

    /// What the frame that is to be written next takes in the ring.
    fn next_bytes(&self) -> Option<u64> {
        self.gathered.front().map(|frame| in_blocks(frame.frame_len() as u64))
    }

    /// The control file with its start at `sequence`, or at the first frame there is after it.
    fn control_from(&self, sequence: u64) -> Control {
        let end = Place { sequence: self.next, offset: self.ring.head() };
        let place = |frame: &Placed| Place { sequence: frame.sequence, offset: frame.offset };
        let sequence = sequence.max(self.control.start.sequence);
        let (start, previous) = match self.ring.frame_from(sequence) {
            Some(frame) => (place(frame), frame.previous),
            None => (end, self.previous),
        };
        let durable = match self.ring.frame(self.durable) {
            Some(frame) => place(frame),
            None => end,
        };
        let control = self.control.moved(start, previous, durable);
        Control { ring_bytes: self.ring.prepared(), ..control }
    }
}

fn entries_of(frames: &[recovery::FoundFrame]) -> Vec<FoundEntry> {
    let mut found = Vec::new();
    for frame in frames {
        let sequence = frame.header.sequence;
        found.extend(frame.entries.iter().map(|entry| FoundEntry {
            sequence,
            key: entry.key,
            kind: entry.kind,
            bytes: entry.bytes.clone(),
        }));
    }
    found
}

/// An id for a new journal: the frames of another one, which the file system may have left in the ring's
/// blocks or somebody may have copied there, must not be taken for its own. It is as good as the seed.
fn journal_id(seed: u64, disk: &dyn Disk) -> u64 {
    // A disk that cannot say what is free adds nothing; the seed is what counts.
    let free = disk.free_bytes().unwrap_or(0);
    mix(seed ^ mix(free))
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
