//! The two indexes of a segment, in Kafka's formats: sorted, fixed-size, big-endian entries.
//!
//! Offset index (8 bytes): last offset of a batch relative to the segment's base, position of the
//! batch. Time index (12 bytes): the largest timestamp so far, last offset of the first batch
//! that has it, relative to the base. Both are derived from the log: entries are written behind
//! it, an entry is believed only when the batch it points to agrees, and an index that cannot be
//! read costs a longer scan, never an answer.

use std::sync::Arc;

use crate::limits::INDEX_ENTRIES_BUFFERED_MAX;
use crate::{Disk, Fault, FaultKind, File, OpenMode};

/// An entry as it lies in the file.
pub(super) trait Entry: Copy + std::fmt::Debug {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Option<Self>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub(super) relative: i32,
    pub(super) position: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) relative: i32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
    fn take(bytes: &[u8]) -> Option<Self> {
        let (relative, rest) = bytes.split_first_chunk()?;
        let position = i32::from_be_bytes(*rest.first_chunk()?);
        Some(Self { relative: i32::from_be_bytes(*relative), position })
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative.to_be_bytes());
    }
    fn take(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let relative = i32::from_be_bytes(*rest.first_chunk()?);
        Some(Self { timestamp: i64::from_be_bytes(*timestamp), relative })
    }
}

/// One index file and the entries not yet in it.
#[derive(Debug)]
pub(super) struct Index<E> {
    path: String,
    /// Kept open while entries are being added.
    file: Option<Arc<dyn File>>,
    stored: u32,
    pending: Vec<E>,
    last: Option<E>,
}

impl<E: Entry> Index<E> {
    /// An index with no entries; its file is made when the first ones are written.
    pub(super) fn empty(path: String) -> Self {
        Self { path, file: None, stored: 0, pending: Vec::new(), last: None }
    }

    /// The index as its file has it; none when there is no file or its length is not whole
    /// entries.
    pub(super) fn load(disk: &dyn Disk, path: String) -> Option<Self> {
        let file = disk.open(&path, OpenMode::Existing).ok()?;
        let len = file.len().ok()?;
        if len % E::BYTES as u64 != 0 {
            return None;
        }
        let stored = u32::try_from(len / E::BYTES as u64).ok()?;
        let mut index = Self { path, file: None, stored, pending: Vec::new(), last: None };
        if stored > 0 {
            index.last = Some(read(&*file, stored - 1)?);
        }
        Some(index)
    }

    pub(super) fn stored(&self) -> u32 {
        self.stored
    }

    pub(super) fn last(&self) -> Option<E> {
        self.last
    }

    pub(super) fn push(&mut self, entry: E) {
        self.last = Some(entry);
        self.pending.push(entry);
    }

    pub(super) fn wants_flush(&self) -> bool {
        self.pending.len() >= INDEX_ENTRIES_BUFFERED_MAX
    }

    /// Writes the buffered entries, if any, and returns the file to sync. After a fault the
    /// entries stay buffered.
    pub(super) fn flush(&mut self, disk: &dyn Disk) -> Result<Arc<dyn File>, Fault> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => disk.open(&self.path, OpenMode::Create)?,
        };
        if !self.pending.is_empty() {
            let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
            for entry in &self.pending {
                entry.put(&mut bytes);
            }
            file.write_at(&bytes, u64::from(self.stored) * E::BYTES as u64)?;
            self.stored += self.pending.len() as u32;
            self.pending.clear();
        }
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Lets go of the file: no more entries will come.
    pub(super) fn seal(&mut self) {
        self.file = None;
        self.pending.shrink_to_fit();
    }

    /// Keeps the first `entries` of the file, which has at least as many, and forgets the rest.
    pub(super) fn truncate(&mut self, disk: &dyn Disk, entries: u32) -> Result<(), Fault> {
        *self = Self::empty(std::mem::take(&mut self.path));
        let file = match disk.open(&self.path, OpenMode::Existing) {
            Err(fault) if fault.kind == FaultKind::NotFound && entries == 0 => return Ok(()),
            opened => opened?,
        };
        self.stored = entries;
        let bytes = u64::from(entries) * E::BYTES as u64;
        if file.len()? != bytes {
            file.truncate(bytes)?;
        }
        self.last = entries.checked_sub(1).and_then(|last| read(&*file, last));
        self.file = Some(file);
        Ok(())
    }

    /// The last entry for which `below` holds, with its number; `below` holds for a first part.
    pub(super) fn floor(&self, disk: &dyn Disk, below: impl Fn(&E) -> bool) -> Option<(u32, E)> {
        let (mut low, mut high) = (0, self.stored + self.pending.len() as u32);
        let file = self.reader(disk);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(file.as_deref(), middle)?;
            if below(&entry) {
                found = Some((middle, entry));
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        found
    }

    /// The entries from number `from` on.
    pub(super) fn from(&self, disk: &dyn Disk, from: u32) -> impl Iterator<Item = E> {
        let file = self.reader(disk);
        let end = self.stored + self.pending.len() as u32;
        (from..end).map_while(move |number| self.entry(file.as_deref(), number))
    }

    fn reader(&self, disk: &dyn Disk) -> Option<Arc<dyn File>> {
        if self.stored == 0 {
            return None;
        }
        self.file.clone().or_else(|| disk.open(&self.path, OpenMode::Existing).ok())
    }

    fn entry(&self, file: Option<&dyn File>, number: u32) -> Option<E> {
        match number.checked_sub(self.stored) {
            Some(pending) => self.pending.get(pending as usize).copied(),
            None => read(file?, number),
        }
    }
}

fn read<E: Entry>(file: &dyn File, number: u32) -> Option<E> {
    let mut bytes = [0; 16];
    let bytes = bytes.get_mut(..E::BYTES)?;
    let read = file.read_at(bytes, u64::from(number) * E::BYTES as u64).ok()?;
    E::take(bytes.get(..read)?)
}
