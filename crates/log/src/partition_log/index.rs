//! The two indexes of a segment, in Kafka's formats: sorted, fixed-size, big-endian entries.
//!
//! Offset index (8 bytes): last offset of a batch relative to the segment's base, position of the
//! batch. Time index (12 bytes): the largest timestamp so far, last offset of the first batch
//! that has it, relative to the base. Both are derived from the log: an entry is believed only when
//! the batch it points to agrees, and an index that cannot be read costs a longer scan, never an
//! answer.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::{Disk, Fault, FaultKind, File, OpenMode};

/// An entry as it lies in the file.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Option<Self>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: i32,
    pub(crate) position: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative: i32,
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

/// Reads the first entries of an index file; where the file does not have them, there are none.
#[derive(Debug)]
pub(crate) struct IndexReader<E> {
    file: Option<Arc<dyn File>>,
    entries: u32,
    kind: PhantomData<E>,
}

impl<E: Entry> IndexReader<E> {
    pub(crate) fn new(file: Option<Arc<dyn File>>, entries: u32) -> Self {
        Self { file, entries, kind: PhantomData }
    }

    pub(crate) fn entry(&self, number: u32) -> Option<E> {
        let mut bytes = [0; 16];
        let bytes = bytes.get_mut(..E::BYTES)?;
        let at = u64::from(number) * E::BYTES as u64;
        let read = self.file.as_ref()?.read_at(bytes, at).ok()?;
        E::take(bytes.get(..read)?)
    }

    /// The last entry for which `below` holds, with its number; `below` holds for a first part.
    pub(crate) fn floor(&self, below: impl Fn(&E) -> bool) -> Option<(u32, E)> {
        let (mut low, mut high) = (0, self.entries);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle)?;
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
    pub(crate) fn from(&self, from: u32) -> impl Iterator<Item = E> {
        (from..self.entries).map_while(move |number| self.entry(number))
    }
}

/// How many entries an index file has; none when there is no file or its length is not whole entries.
pub(crate) fn stored<E: Entry>(disk: &dyn Disk, path: &str) -> Option<(u32, Option<E>)> {
    let file = disk.open(path, OpenMode::Existing).ok()?;
    let len = file.len().ok()?;
    if len % E::BYTES as u64 != 0 {
        return None;
    }
    let entries = u32::try_from(len / E::BYTES as u64).ok()?;
    if entries == 0 {
        return Some((0, None));
    }
    let last = IndexReader::<E>::new(Some(file), entries).entry(entries - 1)?;
    Some((entries, Some(last)))
}

/// Writes `added` behind the first `entries` entries and returns the file to sync.
pub(crate) fn append<E: Entry>(
    disk: &dyn Disk,
    path: &str,
    entries: u32,
    added: &[E],
) -> Result<Arc<dyn File>, Fault> {
    let file = disk.open(path, OpenMode::Create)?;
    let at = u64::from(entries) * E::BYTES as u64;
    if file.len()? > at {
        file.truncate(at)?;
    }
    if !added.is_empty() {
        let mut bytes = Vec::with_capacity(added.len() * E::BYTES);
        for entry in added {
            entry.put(&mut bytes);
        }
        file.write_at(&bytes, at)?;
    }
    Ok(file)
}

/// Keeps the first `entries` entries of a file that may not exist; tells whether it has as many.
pub(crate) fn truncate<E: Entry>(disk: &dyn Disk, path: &str, entries: u32) -> Result<bool, Fault> {
    let file = match disk.open(path, OpenMode::Existing) {
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(entries == 0),
        opened => opened?,
    };
    let (bytes, len) = (u64::from(entries) * E::BYTES as u64, file.len()?);
    if len > bytes {
        file.truncate(bytes)?;
    }
    Ok(len >= bytes)
}
