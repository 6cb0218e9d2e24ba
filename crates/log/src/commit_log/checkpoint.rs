//! The checkpoint: how far the log is known to be durable, in a file of two equal slots.
//!
//! Opening trusts everything below the recovery point and scans only above it; damage below it is
//! damage to durable data, and is reported instead of cut. The checkpoint also holds the leader
//! epochs, because a batch's checksum does not cover its epoch.
//!
//! Invariants: a slot is one sector and so is written whole or not at all; both slots are written
//! each time, so that one flipped bit cannot lose the newest; the file never grows after it was
//! made, so that a full disk does not stop a checkpoint. `docs/log-format.md` has the layout.

use std::sync::Arc;

use super::segment::MaxTime;
use crate::limits::LEADER_EPOCHS_MAX;
use crate::{Disk, Fault, FaultKind, File, OpenMode};

pub(super) const CHECKPOINT_FILE: &str = "checkpoint";
const SLOT_BYTES: usize = 512;
const SLOTS_AT: [u64; 2] = [0, 4096];
const MAGIC: [u8; 4] = *b"TDCP";
const VERSION: u16 = 1;
const EPOCHS_AT: usize = 80;
const EPOCH_BYTES: usize = 12;

const _: () = assert!(EPOCHS_AT + LEADER_EPOCHS_MAX * EPOCH_BYTES <= SLOT_BYTES);
const _: () = assert!(SLOT_BYTES as u64 <= crate::SECTOR_BYTES);

/// Which leader epoch wrote which offsets: each epoch with the first offset it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: Vec<(i32, i64)>,
    /// There is no checkpoint to believe, so the batches' word is taken.
    learning: bool,
}

impl Epochs {
    /// Epochs to be learnt from the log itself, with [`Self::learn`] for each batch.
    pub(super) fn learning() -> Self {
        Self { starts: Vec::new(), learning: true }
    }

    pub(super) fn learn(&mut self, offset: i64, epoch: i32) {
        if self.learning && self.starts.last().is_none_or(|&(last, _)| last != epoch) {
            self.begin(offset, epoch);
        }
    }

    /// From now on only what is known is allowed.
    pub(super) fn learnt(&mut self) {
        self.learning = false;
    }

    /// Whether a batch at `offset` may carry `epoch`.
    pub(super) fn allow(&self, offset: i64, epoch: i32) -> bool {
        if self.learning {
            return true;
        }
        match self.starts.iter().rev().find(|&&(_, start)| start <= offset) {
            Some(&(expected, _)) => epoch == expected,
            // Older than what is remembered. Where nothing is remembered nothing was acknowledged:
            // the checkpoint that names a batch's epoch is durable before the batch's answer goes.
            None => self.starts.first().is_some_and(|&(first, _)| epoch < first),
        }
    }

    /// Whether appending at `offset` in `epoch` needs [`Self::begin`] first.
    pub(super) fn differs(&self, offset: i64, epoch: i32) -> bool {
        self.starts.is_empty() || !self.allow(offset, epoch)
    }

    /// From `offset` on, batches carry `epoch`.
    pub(super) fn begin(&mut self, offset: i64, epoch: i32) {
        self.truncate(offset);
        self.starts.push((epoch, offset));
        if self.starts.len() > LEADER_EPOCHS_MAX {
            self.starts.remove(0);
        }
    }

    /// Forgets epochs that begin at or past `end`; tells whether there were any.
    pub(super) fn truncate(&mut self, end: i64) -> bool {
        let before = self.starts.len();
        self.starts.retain(|&(_, start)| start < end);
        self.starts.len() < before
    }
}

/// What is known to be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The names of the log's folder and first files are on stable storage.
    pub(super) names_durable: bool,
    pub(super) start_offset: i64,
    /// Every batch below this offset is on stable storage.
    pub(super) recovery_offset: i64,
    /// The segment and the byte in it where that offset is.
    pub(super) segment_base: i64,
    pub(super) position: u64,
    /// Entries of that segment's indexes which are on stable storage.
    pub(super) offset_entries: u32,
    pub(super) time_entries: u32,
    /// Of that segment's batches below the recovery point.
    pub(super) max_time: MaxTime,
    pub(super) epochs: Epochs,
}

impl Checkpoint {
    /// Of a log that begins at `base` and of which nothing is known to be durable.
    pub(super) fn nothing(base: i64, epochs: Epochs) -> Self {
        Self {
            names_durable: false,
            start_offset: base,
            recovery_offset: base,
            segment_base: base,
            position: 0,
            offset_entries: 0,
            time_entries: 0,
            max_time: MaxTime::NONE,
            epochs,
        }
    }
}

/// What the checkpoint file said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// Nothing was ever made durable here.
    Absent,
    /// There was a checkpoint, and neither slot can be read.
    Damaged,
    Known {
        checkpoint: Checkpoint,
        sequence: u64,
    },
}

/// The open checkpoint file.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    file: Arc<dyn File>,
    sequence: u64,
}

impl CheckpointFile {
    pub(super) fn open(disk: &dyn Disk, dir: &str) -> Result<(Self, Loaded), Fault> {
        let file = disk.open(&format!("{dir}/{CHECKPOINT_FILE}"), OpenMode::Create)?;
        let mut loaded = Loaded::Absent;
        for at in SLOTS_AT {
            let mut slot = [0; SLOT_BYTES];
            let read = file.read_at(&mut slot, at)?;
            match decode(&slot) {
                Some((checkpoint, sequence)) => match &loaded {
                    Loaded::Known { sequence: newest, .. } if *newest >= sequence => {}
                    _ => loaded = Loaded::Known { checkpoint, sequence },
                },
                None => {
                    let written = slot[..read].iter().any(|&byte| byte != 0);
                    if written && loaded == Loaded::Absent {
                        loaded = Loaded::Damaged;
                    }
                }
            }
        }
        let sequence = match &loaded {
            Loaded::Known { sequence, .. } => *sequence,
            Loaded::Absent | Loaded::Damaged => 0,
        };
        Ok((Self { file, sequence }, loaded))
    }

    /// Writes both slots; durable after a sync of [`Self::file`].
    pub(super) fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        self.sequence += 1;
        let slot = encode(checkpoint, self.sequence);
        for at in SLOTS_AT {
            self.file.write_at(&slot, at)?;
        }
        Ok(())
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    pub(super) fn damage(&self) -> Fault {
        Fault {
            operation: "recover",
            path: self.file.path().to_owned(),
            offset: Some(0),
            kind: FaultKind::Corrupt("neither slot of the checkpoint is valid".to_owned()),
        }
    }
}

fn encode(checkpoint: &Checkpoint, sequence: u64) -> [u8; SLOT_BYTES] {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&[0; 4]);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&VERSION.to_be_bytes());
    slot.extend_from_slice(&(checkpoint.epochs.starts.len() as u16).to_be_bytes());
    slot.extend_from_slice(&u32::from(checkpoint.names_durable).to_be_bytes());
    slot.extend_from_slice(&sequence.to_be_bytes());
    slot.extend_from_slice(&checkpoint.start_offset.to_be_bytes());
    slot.extend_from_slice(&checkpoint.recovery_offset.to_be_bytes());
    slot.extend_from_slice(&checkpoint.segment_base.to_be_bytes());
    slot.extend_from_slice(&checkpoint.position.to_be_bytes());
    slot.extend_from_slice(&checkpoint.offset_entries.to_be_bytes());
    slot.extend_from_slice(&checkpoint.time_entries.to_be_bytes());
    slot.extend_from_slice(&checkpoint.max_time.timestamp.to_be_bytes());
    slot.extend_from_slice(&checkpoint.max_time.last_offset.to_be_bytes());
    for (epoch, start) in &checkpoint.epochs.starts {
        slot.extend_from_slice(&epoch.to_be_bytes());
        slot.extend_from_slice(&start.to_be_bytes());
    }
    slot.resize(SLOT_BYTES, 0);
    let crc = crc32c::crc32c(&slot[4..]);
    slot[..4].copy_from_slice(&crc.to_be_bytes());
    slot.try_into().expect("resized to a slot")
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(Checkpoint, u64)> {
    let crc = u32::from_be_bytes(*slot.first_chunk()?);
    if crc32c::crc32c(&slot[4..]) != crc || slot[4..8] != MAGIC || u16_at(slot, 8)? != VERSION {
        return None;
    }
    let count = usize::from(u16_at(slot, 10)?);
    let mut starts = Vec::new();
    for entry in slot[EPOCHS_AT..].chunks_exact(EPOCH_BYTES).take(count) {
        let (epoch, start) = entry.split_first_chunk()?;
        starts.push((i32::from_be_bytes(*epoch), i64::from_be_bytes(start.try_into().ok()?)));
    }
    let checkpoint = Checkpoint {
        names_durable: (u64_at(slot, 8)? & 1) == 1,
        start_offset: u64_at(slot, 24)?.cast_signed(),
        recovery_offset: u64_at(slot, 32)?.cast_signed(),
        segment_base: u64_at(slot, 40)?.cast_signed(),
        position: u64_at(slot, 48)?,
        offset_entries: (u64_at(slot, 56)? >> 32) as u32,
        time_entries: u64_at(slot, 56)? as u32,
        max_time: MaxTime {
            timestamp: u64_at(slot, 64)?.cast_signed(),
            last_offset: u64_at(slot, 72)?.cast_signed(),
        },
        epochs: Epochs { starts, learning: false },
    };
    Some((checkpoint, u64_at(slot, 16)?))
}

fn u16_at(slot: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*slot.get(at..)?.first_chunk()?))
}

fn u64_at(slot: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*slot.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    fn sample() -> Checkpoint {
        let mut epochs = Epochs::default();
        epochs.begin(0, 3);
        epochs.begin(77, 4);
        Checkpoint {
            names_durable: true,
            start_offset: 1,
            recovery_offset: 99,
            segment_base: 50,
            position: 4321,
            offset_entries: 7,
            time_entries: 6,
            max_time: MaxTime { timestamp: 1_700_000_000_000, last_offset: 98 },
            epochs,
        }
    }

    fn load(disk: &MemoryDisk) -> Loaded {
        CheckpointFile::open(disk, "p").unwrap().1
    }

    #[test]
    fn a_checkpoint_survives_any_one_flipped_bit() {
        let disk = MemoryDisk::new();
        disk.create_dir_all("p").unwrap();
        let (mut file, loaded) = CheckpointFile::open(&disk, "p").unwrap();
        assert_eq!(loaded, Loaded::Absent);
        file.write(&sample()).unwrap();
        let bits = disk.read_raw("p/checkpoint").unwrap().len() as u64 * 8;
        for bit in 0..bits {
            let disk = disk.fork();
            assert!(disk.flip_bit("p/checkpoint", bit));
            let expected = Loaded::Known { checkpoint: sample(), sequence: 1 };
            assert_eq!(load(&disk), expected, "bit {bit}");
        }
        for slot in [0, 4096] {
            assert!(disk.flip_bit("p/checkpoint", slot * 8 + 40));
        }
        assert_eq!(load(&disk), Loaded::Damaged);
    }

    #[test]
    fn the_newer_slot_counts() {
        let disk = MemoryDisk::with_crash_model();
        disk.create_dir_all("p").unwrap();
        let (mut file, _) = CheckpointFile::open(&disk, "p").unwrap();
        file.write(&sample()).unwrap();
        file.file().sync().unwrap();
        disk.sync_dir("p").unwrap();
        disk.sync_dir("").unwrap();
        let newer = Checkpoint { recovery_offset: 120, ..sample() };
        file.write(&newer).unwrap();
        for (first, second, sequence) in [(true, false, 2), (false, true, 2), (false, false, 1)] {
            let mut kept = [first, second].into_iter();
            let left = disk.crash(&mut |_| match kept.next() {
                Some(true) => crate::Fate::Kept,
                _ => crate::Fate::Lost,
            });
            let checkpoint = if sequence == 2 { newer.clone() } else { sample() };
            assert_eq!(load(&left), Loaded::Known { checkpoint, sequence });
        }
    }

    #[test]
    fn epochs_say_what_a_batch_may_carry() {
        let mut epochs = Epochs::default();
        assert!(!epochs.allow(0, 9) && epochs.differs(0, 9));
        epochs.begin(10, 3);
        epochs.begin(20, 5);
        let table = [
            (10, 3, true),
            (19, 3, true),
            (19, 5, false),
            (20, 5, true),
            (20, 3, false),
            (9, 2, true),
            (9, 3, false),
        ];
        for (offset, epoch, allowed) in table {
            assert_eq!(epochs.allow(offset, epoch), allowed, "epoch {epoch} at {offset}");
        }
        assert!(!epochs.truncate(21));
        assert!(epochs.truncate(20));
        assert!(epochs.allow(25, 3));
    }
}
