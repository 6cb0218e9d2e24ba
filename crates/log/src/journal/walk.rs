//! What is in a journal, for people: reads everything and changes nothing on disk.

use std::collections::BTreeSet;

use super::control::Control;
use super::frame::{FrameEntry, u64_at};
use super::recovery::{self, FoundFrame, RingReader};
use super::{CONTROL_FILE, EntryKind, LogKey, RING_FILE};
use crate::{Disk, Fault, OpenMode};

/// A journal as [`read_journal`] found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalDump {
    /// Tells this journal's frames from those of any other.
    pub journal: u64,
    /// How often it has been opened for writing.
    pub epoch: u64,
    /// The first sequence that the next opening reads.
    pub start: u64,
    /// The sequence that the next frame would get.
    pub next: u64,
    /// It was closed with everything in segments; the next opening does not read the ring.
    pub clean: bool,
    pub ring_bytes: u64,
    /// Every whole frame in the ring, by its place.
    pub frames: Vec<JournalFrame>,
    /// Damage that the next opening would report, and blocks of the ring that cannot be read.
    pub faults: Vec<Fault>,
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFrame {
    pub sequence: u64,
    pub epoch: u64,
    /// Its place in the ring.
    pub offset: u64,
    /// Without the padding to a whole block.
    pub len: u32,
    /// Every frame below this sequence was durable when this one was made.
    pub durable: u64,
    pub state: FrameState,
    pub entries: Vec<JournalEntry>,
}

/// What the next opening would do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameState {
    /// Read it.
    Live,
    /// Drop it: it follows a hole, and nobody was told that it was durable.
    Torn,
    /// Nothing: it is of an earlier lap, of an opening's dropped end, or of another journal.
    Old,
}

/// An entry of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEntry {
    /// A record batch of `bytes` bytes whose first record has `offset`.
    Batch { key: LogKey, offset: i64, bytes: usize },
    /// The log's start offset.
    StartOffset { key: LogKey, offset: i64 },
}

/// Reads the journal of a data directory, as it is, also while a node writes to it: then the newest frames
/// may be missing and may look torn. `NotFound` if there is none.
pub fn read_journal(disk: &dyn Disk) -> Result<JournalDump, Fault> {
    let control_file = disk.open(CONTROL_FILE, OpenMode::Existing)?;
    let mut reader = RingReader::new(disk.open(RING_FILE, OpenMode::Existing)?)?;
    let read = Control::read(&*control_file)?;
    let mut dump =
        JournalDump { ring_bytes: reader.len, faults: read.damaged, ..JournalDump::default() };
    let control = match read.control {
        Some(control) => control,
        None => match recovery::without_control(&mut reader)? {
            Some((control, fault)) => {
                dump.faults.push(fault);
                control
            }
            None => return Ok(dump),
        },
    };
    let recovered = recovery::recover(&mut reader, &control)?;
    let live: BTreeSet<(u64, u64)> =
        recovered.frames.iter().map(|frame| (frame.header.epoch, frame.header.sequence)).collect();
    let state = |frame: &FoundFrame| {
        let header = &frame.header;
        if live.contains(&(header.epoch, header.sequence)) && control.owns(header) {
            FrameState::Live
        } else if header.sequence >= recovered.next.sequence && control.owns(header) {
            FrameState::Torn
        } else {
            FrameState::Old
        }
    };
    let mut unread = Vec::new();
    let mut find = |frame| dump.frames.push(describe(&frame, state(&frame)));
    let mut pass = |fault| recovery::pass_over(fault, &mut unread);
    reader.scan(0, reader.len, &|_| true, &mut find, &mut pass)?;
    unread.retain(|fault| !recovered.damaged.contains(fault));
    dump.faults.extend(recovered.damaged.into_iter().chain(unread));
    Ok(JournalDump {
        journal: control.journal,
        epoch: control.epoch(),
        start: control.start.sequence,
        next: recovered.next.sequence,
        clean: control.clean,
        ..dump
    })
}

fn describe(frame: &FoundFrame, state: FrameState) -> JournalFrame {
    JournalFrame {
        sequence: frame.header.sequence,
        epoch: frame.header.epoch,
        offset: frame.header.offset,
        len: frame.header.len,
        durable: frame.header.durable,
        state,
        entries: frame.entries.iter().map(entry).collect(),
    }
}

/// Both kinds begin with an offset; bytes too short to hold one say -1.
fn entry(entry: &FrameEntry) -> JournalEntry {
    let key = entry.key;
    let offset = u64_at(&entry.bytes, 0).map_or(-1, u64::cast_signed);
    match entry.kind {
        EntryKind::Batch => JournalEntry::Batch { key, offset, bytes: entry.bytes.len() },
        EntryKind::StartOffset => JournalEntry::StartOffset { key, offset },
    }
}
