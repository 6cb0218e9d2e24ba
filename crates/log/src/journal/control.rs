//! The control file: where the journal's live part begins and which epochs wrote it.
//!
//! Two slots with equal content, written one after the other, each durable before the next: a
//! crash leaves one of them as it was, and one flipped bit cannot lose the newest. A slot is one
//! sector and so is written whole or not at all: one that is not valid and not empty is damage.
//! The file has its full size from the first write on, so a full disk does not stop it.
//! `docs/log-format.md` has the layout.

use std::sync::Arc;

use super::CONTROL_FILE;
use super::frame::{BlockBuffer, COUNT_MAX, FrameHeader, u16_at, u32_at, u64_at};
use crate::limits::JOURNAL_EPOCHS_MAX;
use crate::{BLOCK_BYTES, Fault, FaultKind, File, SECTOR_BYTES};

const SLOT_BYTES: usize = 512;
const SLOTS_AT: [u64; 2] = [0, BLOCK_BYTES as u64];
const MAGIC: [u8; 4] = *b"TDJC";
const VERSION: u16 = 1;
const FLAG_CLEAN: u16 = 1;
const EPOCHS_AT: usize = 80;
const EPOCH_BYTES: usize = 16;

const _: () = assert!(EPOCHS_AT + JOURNAL_EPOCHS_MAX * EPOCH_BYTES <= SLOT_BYTES);
const _: () = assert!(SLOT_BYTES as u64 <= SECTOR_BYTES);

/// A frame's sequence, and where in the ring it is or will be tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) offset: u64,
}

/// What the control file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// Plus one each time it is written.
    pub(super) revision: u64,
    pub(super) journal: u64,
    /// The first frame that is still needed.
    pub(super) start: Place,
    /// The checksum of the frame before that.
    pub(super) previous: u32,
    /// Every frame below this one is durable.
    pub(super) durable: Place,
    /// Bytes that the ring file has at least.
    pub(super) ring_bytes: u64,
    /// No frame at or past `start` was ever written.
    pub(super) clean: bool,
    /// Openings of the journal with the first sequence each may have used, oldest first; those whose
    /// frames are all before `start` are left out, and the oldest when there are too many.
    pub(super) epochs: Vec<(u64, u64)>,
}

/// The valid slot that counts, and what is wrong with the others.
pub(super) struct ControlRead {
    pub(super) control: Option<Control>,
    pub(super) damaged: Vec<Fault>,
}

impl Control {
    /// Of a journal that has never been written to.
    pub(super) fn new(journal: u64) -> Self {
        let first = Place { sequence: 1, offset: 0 };
        Self {
            revision: 0,
            journal,
            start: first,
            previous: 0,
            durable: first,
            ring_bytes: 0,
            clean: false,
            epochs: Vec::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epochs.last().map_or(0, |&(epoch, _)| epoch)
    }

    /// Whether a frame of this journal was written by the opening that its sequence belongs to. Another
    /// opening may have written one of the same sequence, which was then dropped.
    pub(super) fn owns(&self, frame: &FrameHeader) -> bool {
        let owner = self.epochs.iter().rev().find(|&&(_, first)| first <= frame.sequence);
        frame.journal == self.journal
            && match owner {
                Some(&(epoch, _)) => frame.epoch == epoch,
                None => self.epochs.first().is_some_and(|&(oldest, _)| frame.epoch < oldest),
            }
    }

    /// The next opening, which writes from `next` on.
    pub(super) fn begun(&self, next: Place, ring_bytes: u64) -> Self {
        let revision = self.revision + 1;
        let mut control =
            Self { revision, durable: next, ring_bytes, clean: false, ..self.clone() };
        control.epochs.retain(|&(_, first)| first < next.sequence);
        control.epochs.push((self.epoch() + 1, next.sequence));
        control.forget_epochs();
        control
    }

    /// With a new start.
    pub(super) fn moved(&self, start: Place, previous: u32, durable: Place) -> Self {
        let revision = self.revision + 1;
        let mut control = Self { revision, start, previous, durable, ..self.clone() };
        control.forget_epochs();
        control
    }

    /// Forgets openings whose frames are all before the start, and the oldest when there are too many.
    fn forget_epochs(&mut self) {
        let ended = |window: &[(u64, u64)]| window[1].1 <= self.start.sequence;
        let before = self.epochs.windows(2).take_while(|window| ended(window)).count();
        self.epochs.drain(..before.max(self.epochs.len().saturating_sub(JOURNAL_EPOCHS_MAX)));
    }

    /// Reads both slots.
    pub(super) fn read(file: &dyn File) -> Result<ControlRead, Fault> {
        let mut block = BlockBuffer::zeroed(2 * BLOCK_BYTES);
        let len = file.read_at(block.as_mut_slice(), 0)?;
        let mut read = ControlRead { control: None, damaged: Vec::new() };
        for at in SLOTS_AT {
            let slot = &block.as_slice()[at as usize..][..SLOT_BYTES];
            let missing = len < at as usize + SLOT_BYTES;
            if missing || slot.iter().all(|&byte| byte == 0) {
                continue;
            }
            match Self::decode(slot) {
                Ok(control) => {
                    if read.control.as_ref().is_none_or(|best| best.revision < control.revision) {
                        read.control = Some(control);
                    }
                }
                Err(Slot::Newer(version)) => {
                    return Err(fault(at, format!("format version {version} is not known here")));
                }
                Err(Slot::Damaged) => read.damaged.push(fault(at, "slot is damaged".to_owned())),
            }
        }
        Ok(read)
    }

    /// Takes the room that the file needs, before anything else can take it.
    pub(super) fn reserve(file: &Arc<dyn File>) -> Result<(), Fault> {
        if file.len()? > 0 {
            return Ok(());
        }
        file.write_at(BlockBuffer::zeroed(2 * BLOCK_BYTES).as_slice(), 0)
    }

    /// Writes both slots, each durable before the next.
    pub(super) fn write(&self, file: &Arc<dyn File>) -> Result<(), Fault> {
        let mut block = BlockBuffer::zeroed(BLOCK_BYTES);
        block.as_mut_slice()[..SLOT_BYTES].copy_from_slice(&self.encode());
        let block = block.into_bytes();
        SLOTS_AT.iter().try_for_each(|&at| file.write_at(&block, at))
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        let flags = if self.clean { FLAG_CLEAN } else { 0 };
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&(self.epochs.len() as u32).to_be_bytes());
        let numbers = [self.revision, self.journal, self.start.sequence, self.start.offset];
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend_from_slice(&self.previous.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.durable.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.durable.offset.to_be_bytes());
        bytes.extend_from_slice(&self.ring_bytes.to_be_bytes());
        bytes.resize(EPOCHS_AT, 0);
        for &(epoch, first) in &self.epochs {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            bytes.extend_from_slice(&first.to_be_bytes());
        }
        let mut slot = [0; SLOT_BYTES];
        slot[..bytes.len()].copy_from_slice(&bytes);
        let crc = crc32c::crc32c(&slot[4..]);
        slot[..4].copy_from_slice(&crc.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8]) -> Result<Self, Slot> {
        let sound =
            slot.get(4..8) == Some(&MAGIC) && Some(crc32c::crc32c(&slot[4..])) == u32_at(slot, 0);
        if !sound {
            return Err(Slot::Damaged);
        }
        match u16_at(slot, 8) {
            Some(VERSION) => Self::decode_sound(slot).ok_or(Slot::Damaged),
            version => Err(Slot::Newer(version.unwrap_or_default())),
        }
    }

    /// A slot whose checksum holds; its numbers are checked all the same, for they are counted on from.
    fn decode_sound(slot: &[u8]) -> Option<Self> {
        let count = u32_at(slot, 12)? as usize;
        let mut epochs = Vec::new();
        for at in (EPOCHS_AT..).step_by(EPOCH_BYTES).take(count.min(JOURNAL_EPOCHS_MAX + 1)) {
            epochs.push((u64_at(slot, at)?, u64_at(slot, at + 8)?));
        }
        let control = Self {
            revision: u64_at(slot, 16)?,
            journal: u64_at(slot, 24)?,
            start: Place { sequence: u64_at(slot, 32)?, offset: u64_at(slot, 40)? },
            previous: u32_at(slot, 48)?,
            durable: Place { sequence: u64_at(slot, 56)?, offset: u64_at(slot, 64)? },
            ring_bytes: u64_at(slot, 72)?,
            clean: u16_at(slot, 10)? & FLAG_CLEAN != 0,
            epochs,
        };
        let aligned = |place: Place| {
            place.offset.is_multiple_of(BLOCK_BYTES as u64)
                && place.offset <= COUNT_MAX
                && place.sequence <= COUNT_MAX
        };
        let rising = |w: &[(u64, u64)]| w[0].0 < w[1].0 && w[0].1 < w[1].1;
        let sound = aligned(control.start)
            && aligned(control.durable)
            && control.start.sequence <= control.durable.sequence
            && control.revision <= COUNT_MAX
            && (1..=JOURNAL_EPOCHS_MAX).contains(&count)
            && control.epochs.windows(2).all(rising)
            && control
                .epochs
                .iter()
                .all(|&(epoch, first)| epoch <= COUNT_MAX && first <= COUNT_MAX);
        sound.then_some(control)
    }
}

/// Why a slot that is not empty cannot be used.
enum Slot {
    Damaged,
    Newer(u16),
}

fn fault(offset: u64, what: String) -> Fault {
    Fault {
        operation: "read",
        path: CONTROL_FILE.to_owned(),
        offset: Some(offset),
        kind: FaultKind::Corrupt(what),
    }
}
