//! What a journal that is opened still holds.
//!
//! 1. From the start on, follow the frames: each where the one before ended, or at byte 0, with the
//!    next sequence, the checksum of the one before, and the epoch that owns the sequence.
//! 2. Where that ends, look at every other block for frames of a higher sequence.
//! 3. `acknowledged` is the highest claim about what is durable, of the control file and of all these
//!    frames. Frames below it that are missing are damage: reported, with their bytes. Those that
//!    are there are all taken. From it on only the contiguous run is taken, for what follows a hole
//!    there is the rest of writes that were out together, of which nobody was told.
//!
//! A journal that was closed clean holds nothing and is not read.
//!
//! A block that cannot be read fails the opening if the run leads to it, or if anything is missing: it
//! may have held that, and may be readable the next time. Elsewhere it is passed over and reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::control::{Control, Place};
use super::frame::{self, BlockBuffer, FrameEntry, FrameHeader, in_blocks};
use super::ring::Placed;
use super::{CONTROL_FILE, RING_FILE};
use crate::limits::JOURNAL_READ_BYTES;
use crate::{BLOCK_BYTES, Fault, FaultKind, File};

const BLOCK: u64 = BLOCK_BYTES as u64;

const _: () = assert!(JOURNAL_READ_BYTES >= BLOCK_BYTES);

/// A frame that was read and is whole.
#[derive(Clone, Debug)]
pub(super) struct FoundFrame {
    pub(super) header: FrameHeader,
    pub(super) entries: Vec<FrameEntry>,
}

impl FoundFrame {
    pub(super) fn placed(&self) -> Placed {
        Placed {
            sequence: self.header.sequence,
            offset: self.header.offset,
            bytes: self.header.ring_bytes(),
            crc: self.header.crc,
            previous: self.header.previous,
            tells: self.header.durable,
            written: true,
        }
    }
}

/// What is in the ring.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) frames: Vec<FoundFrame>,
    pub(super) damaged: Vec<Fault>,
    /// Whole frames that were dropped.
    pub(super) torn_frames: u64,
    /// The frame to be written next, and where it may go.
    pub(super) next: Place,
}

/// Reads the ring a piece at a time, in whole blocks.
pub(super) struct RingReader {
    file: Arc<dyn File>,
    /// Bytes of the file that are whole blocks.
    pub(super) len: u64,
    window: BlockBuffer,
    window_at: u64,
    window_len: usize,
}

impl RingReader {
    pub(super) fn new(file: Arc<dyn File>) -> Result<Self, Fault> {
        let len = file.len()? / BLOCK * BLOCK;
        let window = BlockBuffer::zeroed(JOURNAL_READ_BYTES.min(len as usize));
        Ok(Self { file, len, window, window_at: 0, window_len: 0 })
    }

    /// `len` bytes at `offset`, which is a block's; fewer at the end of the ring, and where the file
    /// turns out to be shorter.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Fault> {
        let wanted = offset + (len as u64).min(self.len.saturating_sub(offset));
        if offset < self.window_at || wanted > self.window_at + self.window_len as u64 {
            let space = (self.len.saturating_sub(offset)).min(self.window.len() as u64) as usize;
            self.window_at = offset;
            self.window_len = 0;
            self.window_len = self.fill(offset, space, (wanted - offset) as usize)?;
        }
        let start = (offset - self.window_at) as usize;
        let end = self.window_len.min(start + len);
        Ok(self.window.as_slice().get(start..end).unwrap_or_default())
    }

    /// Reads `space` bytes at `offset` into the window, or those before a block that cannot be read if
    /// they are `needed` bytes.
    fn fill(&mut self, offset: u64, space: usize, needed: usize) -> Result<usize, Fault> {
        let window = &mut self.window.as_mut_slice()[..space];
        match self.file.read_at(window, offset) {
            Err(Fault { kind: FaultKind::Io(_), .. }) => {}
            read => return read,
        }
        let mut filled = 0;
        for block in window.chunks_mut(BLOCK_BYTES) {
            match self.file.read_at(block, offset + filled as u64) {
                Err(fault) if filled < needed => return Err(fault),
                Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        Ok(filled)
    }

    /// The header at `offset`, if a frame that names this place and fits the ring may be there.
    fn header(&mut self, offset: u64) -> Result<Option<FrameHeader>, Fault> {
        let len = self.len;
        let header = FrameHeader::parse(self.bytes(offset, BLOCK_BYTES)?);
        Ok(header.filter(|header| {
            header.offset == offset && header.ring_bytes() <= len.saturating_sub(offset)
        }))
    }

    /// The frame of a header, if it is whole.
    fn frame(&mut self, header: FrameHeader) -> Result<Option<FoundFrame>, Fault> {
        let len = header.len as usize;
        let bytes = if in_blocks(len as u64) <= self.window.len() as u64 {
            let bytes = self.bytes(header.offset, len)?;
            if bytes.len() < len || !header.holds(bytes) {
                return Ok(None);
            }
            Bytes::copy_from_slice(bytes)
        } else {
            let mut buffer = BlockBuffer::zeroed(header.ring_bytes() as usize);
            let read = self.file.read_at(buffer.as_mut_slice(), header.offset)?;
            if read < len || !header.holds(buffer.as_slice()) {
                return Ok(None);
            }
            buffer.into_bytes().slice(..len)
        };
        Ok(frame::entries(&header, &bytes).map(|entries| FoundFrame { header, entries }))
    }

    /// The whole frame at `offset`, if there is one that `wanted` says is of interest.
    pub(super) fn frame_at(
        &mut self,
        offset: u64,
        wanted: &dyn Fn(&FrameHeader) -> bool,
    ) -> Result<Option<FoundFrame>, Fault> {
        match self.header(offset)? {
            Some(header) if wanted(&header) => self.frame(header),
            _ => Ok(None),
        }
    }

    /// Visits all whole frames of interest that begin in `from..until`, none of which is inside another.
    /// `unreadable` says whether to go on behind a block that cannot be read.
    pub(super) fn scan(
        &mut self,
        from: u64,
        until: u64,
        wanted: &dyn Fn(&FrameHeader) -> bool,
        found: &mut dyn FnMut(FoundFrame),
        unreadable: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut at = from;
        while at < until.min(self.len) {
            match self.frame_at(at, wanted) {
                Ok(Some(frame)) => {
                    at = frame.header.end();
                    found(frame);
                    continue;
                }
                Ok(None) => {}
                Err(fault) => unreadable(fault)?,
            }
            at += BLOCK;
        }
        Ok(())
    }
}

/// Finds what is at or past the control's start.
pub(super) fn recover(reader: &mut RingReader, control: &Control) -> Result<Recovered, Fault> {
    if control.clean {
        let next = control.start;
        return Ok(Recovered { frames: Vec::new(), damaged: Vec::new(), torn_frames: 0, next });
    }
    let run = follow(reader, control)?;
    let hole = run.last().map_or(control.start, after);
    let wanted = |header: &FrameHeader| header.sequence >= hole.sequence && control.owns(header);
    let mut later = BTreeMap::new();
    let mut find = |frame: FoundFrame| {
        later.insert(frame.header.sequence, frame);
    };
    let mut unread = Vec::new();
    let mut pass = |fault| pass_over(fault, &mut unread);
    // What is in use goes, in ring order, from the run's first byte to the hole.
    let used_from = run.first().map(|first| first.header.offset);
    match used_from {
        Some(start) if hole.offset <= start => {
            reader.scan(hole.offset, start, &wanted, &mut find, &mut pass)?;
        }
        start => {
            reader.scan(hole.offset, reader.len, &wanted, &mut find, &mut pass)?;
            reader.scan(0, start.unwrap_or(hole.offset), &wanted, &mut find, &mut pass)?;
        }
    }
    // The frame that should have been at the hole was refused there.
    later.remove(&hole.sequence);
    let told = run.iter().chain(later.values()).map(|frame| frame.header.durable).max();
    let acknowledged = control.durable.sequence.max(told.unwrap_or(0));
    if let Some(fault) = unread.first().filter(|_| acknowledged > hole.sequence) {
        return Err(fault.clone());
    }
    let mut recovered = settle(reader.len, control, run, later, acknowledged);
    recovered.damaged.extend(unread);
    Ok(recovered)
}

/// Notes a block that cannot be read; other faults stay faults.
pub(super) fn pass_over(fault: Fault, noted: &mut Vec<Fault>) -> Result<(), Fault> {
    if !matches!(fault.kind, FaultKind::Io(_)) {
        return Err(fault);
    }
    noted.push(fault);
    Ok(())
}

fn after(frame: &FoundFrame) -> Place {
    Place { sequence: frame.header.sequence + 1, offset: frame.header.end() }
}

/// The contiguous frames from the control's start on.
fn follow(reader: &mut RingReader, control: &Control) -> Result<Vec<FoundFrame>, Fault> {
    let mut run: Vec<FoundFrame> = Vec::new();
    let (mut expected, mut previous) = (control.start, control.previous);
    loop {
        let wanted = |header: &FrameHeader| {
            header.sequence == expected.sequence
                && header.previous == previous
                && control.owns(header)
        };
        let mut found = reader.frame_at(expected.offset, &wanted)?;
        if found.is_none() {
            found = reader.frame_at(0, &wanted)?;
        }
        let Some(frame) = found else { return Ok(run) };
        expected = after(&frame);
        previous = frame.header.crc;
        run.push(frame);
    }
}

/// Decides about the frames that were found after the first hole.
fn settle(
    ring_len: u64,
    control: &Control,
    run: Vec<FoundFrame>,
    later: BTreeMap<u64, FoundFrame>,
    acknowledged: u64,
) -> Recovered {
    let mut damaged = Vec::new();
    if ring_len < control.ring_bytes {
        let missing = format!("ends at byte {ring_len} instead of {}", control.ring_bytes);
        damaged.push(corrupt(RING_FILE, Some(ring_len), missing));
    }
    let mut recovered = Recovered {
        next: run.last().map_or(control.start, after),
        frames: run,
        damaged,
        torn_frames: 0,
    };
    for (sequence, frame) in later {
        let next = recovered.next;
        if sequence < acknowledged && sequence > next.sequence {
            let until = Place { sequence, offset: frame.header.offset };
            recovered.damaged.push(lost(next, until, ring_len));
        } else if sequence >= acknowledged && next.sequence < acknowledged {
            // Only the control file knows the exact place, if it is its claim.
            let until = match control.durable {
                place if place.sequence == acknowledged => place,
                _ => Place { sequence: acknowledged, offset: frame.header.offset },
            };
            recovered.damaged.push(lost(next, until, ring_len));
            recovered.next = until;
        }
        if sequence < acknowledged || sequence == recovered.next.sequence {
            recovered.next = after(&frame);
            recovered.frames.push(frame);
        } else {
            recovered.torn_frames += 1;
        }
    }
    if recovered.next.sequence < acknowledged {
        // No frame is left that tells; so the control file did.
        recovered.damaged.push(lost(recovered.next, control.durable, ring_len));
        recovered.next = control.durable;
    }
    recovered
}

/// Says which acknowledged frames are missing, and in which bytes of the ring they were.
fn lost(from: Place, until: Place, ring_len: u64) -> Fault {
    let bytes = match until.offset {
        0 => format!("{}..{ring_len}", from.offset),
        end if from.offset < end => format!("{}..{end}", from.offset),
        end => format!("{}..{ring_len} and 0..{end}", from.offset),
    };
    let frames = format!("{}..{}", from.sequence, until.sequence);
    let what = format!("acknowledged frames {frames} are not readable, bytes {bytes}");
    corrupt(RING_FILE, Some(from.offset), what)
}

fn corrupt(path: &str, offset: Option<u64>, what: String) -> Fault {
    Fault { operation: "read", path: path.to_owned(), offset, kind: FaultKind::Corrupt(what) }
}

/// What a journal without a readable control file must have been like, judged by its frames; none if
/// there are none.
pub(super) fn without_control(reader: &mut RingReader) -> Result<Option<(Control, Fault)>, Fault> {
    let mut all = Vec::new();
    reader.scan(0, reader.len, &|_| true, &mut |frame| all.push(frame), &mut Err)?;
    all.sort_by_key(|frame| (frame.header.epoch, frame.header.sequence));
    let Some(newest) = all.last().map(|frame| frame.header) else { return Ok(None) };
    all.retain(|frame| frame.header.journal == newest.journal);
    // A later opening has dropped what earlier ones wrote from its first sequence on.
    let mut epochs: Vec<(u64, u64)> = Vec::new();
    let mut first = newest;
    for frame in all.iter().rev().map(|frame| frame.header) {
        if frame.epoch == first.epoch || frame.sequence < first.sequence {
            first = frame;
            match epochs.last_mut() {
                Some(last) if last.0 == frame.epoch => last.1 = frame.sequence,
                _ => epochs.push((frame.epoch, frame.sequence)),
            }
        }
    }
    epochs.reverse();
    let start = Place { sequence: first.sequence, offset: first.offset };
    let mut control = Control::new(newest.journal);
    control.epochs = epochs;
    let control = control.moved(start, first.previous, start);
    let what = format!("no readable slot; the ring's frames from {} on are taken", first.sequence);
    Ok(Some((control, corrupt(CONTROL_FILE, None, what))))
}
