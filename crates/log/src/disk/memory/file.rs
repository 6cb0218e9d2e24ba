//! A file of the memory disk: what readers see, what is durable, and what happened in between.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Fault, FaultKind, File, OpenMode, Shared, fault};
use crate::disk::BLOCK_BYTES;

/// A file's content, apart from its names.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) id: u64,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    /// Shared with copies of the disk until one of them is written to.
    pub(super) current: Arc<Vec<u8>>,
    /// With the crash model: the content as of the last sync, and the changes since.
    pub(super) durable: Arc<Vec<u8>>,
    pub(super) unsynced: Vec<Change>,
    /// No name leads here any more, so its bytes no longer count as used.
    unlinked: bool,
}

impl Content {
    /// Every change so far is durable.
    pub(super) fn settle(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(Arc::make_mut(&mut self.durable));
        }
    }
}

impl Content {
    /// What no sync covered will never be durable.
    pub(super) fn forget_unsynced(&mut self) {
        for change in self.unsynced.drain(..) {
            if matches!(change, Change::Lasting { .. }) {
                change.apply(Arc::make_mut(&mut self.durable));
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Written {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Durable at once, but after changes that are not: a write whose fault left its bytes in doubt, for one.
    Lasting {
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncated {
        len: u64,
    },
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Written { offset, bytes } | Self::Lasting { offset, bytes } => {
                put(content, bytes, *offset);
            }
            Self::Truncated { len } => content.resize(*len as usize, 0),
        }
    }
}

/// Writes at `offset`, filling a gap before it with zeros as a sparse file reads.
pub(super) fn put(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let start = offset as usize;
    let end = start + bytes.len();
    if start == content.len() {
        content.extend_from_slice(bytes);
        return;
    }
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

impl Inode {
    pub(super) fn new(id: u64) -> Self {
        Self { id, content: Mutex::default() }
    }

    /// A file whose content is all durable.
    pub(super) fn settled(id: u64, bytes: Arc<Vec<u8>>) -> Self {
        let content = Content { durable: Arc::clone(&bytes), current: bytes, ..Content::default() };
        Self { id, content: Mutex::new(content) }
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no holder of a file's content panics")
    }

    /// Takes the file out of the disk's books; returns the bytes that frees.
    pub(super) fn unlink(&self) -> u64 {
        let mut content = self.content();
        content.unlinked = true;
        content.current.len() as u64
    }
}

#[derive(Debug)]
pub(super) struct OpenFile {
    shared: Arc<Shared>,
    inode: Arc<Inode>,
    path: String,
    durable: bool,
}

impl OpenFile {
    pub(super) fn new(shared: Arc<Shared>, inode: Arc<Inode>, path: &str, mode: OpenMode) -> Self {
        Self { shared, inode, path: path.to_owned(), durable: mode == OpenMode::Durable }
    }

    /// Of `wanted` more bytes, how many the disk has room for; those are taken.
    fn take_room(&self, wanted: u64, linked: bool) -> u64 {
        if !linked {
            return wanted;
        }
        let mut trouble = self.shared.trouble();
        let free = match trouble.capacity_bytes {
            Some(capacity) => capacity.saturating_sub(trouble.used_bytes),
            None => u64::MAX,
        };
        let taken = wanted.min(free);
        trouble.used_bytes += taken;
        taken
    }

    /// Puts bytes down; `lasts` when they are durable at once.
    fn write(&self, bytes: &[u8], offset: u64, lasts: bool) -> Result<(), Fault> {
        let mut content = self.inode.content();
        let end = offset + bytes.len() as u64;
        let grown = end.saturating_sub(content.current.len() as u64);
        let room = self.take_room(grown, !content.unlinked);
        let missing = (grown - room).min(bytes.len() as u64) as usize;
        let fitting = &bytes[..bytes.len() - missing];
        put(Arc::make_mut(&mut content.current), fitting, offset);
        if self.shared.crash_model && lasts {
            // Only what was written, not what else is in the file, becomes durable.
            if content.unsynced.is_empty() {
                put(Arc::make_mut(&mut content.durable), fitting, offset);
            } else {
                content.unsynced.push(Change::Lasting { offset, bytes: fitting.to_vec() });
            }
        } else if self.shared.crash_model {
            content.unsynced.push(Change::Written { offset, bytes: fitting.to_vec() });
        }
        if room < grown {
            return Err(Fault {
                offset: Some(offset),
                ..fault("write", &self.path, FaultKind::NoSpace)
            });
        }
        Ok(())
    }
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        if self.shared.trouble().fails_read(&self.path, offset, buffer.len()) {
            let kind = FaultKind::Io("read failed".to_owned());
            return Err(Fault { offset: Some(offset), ..fault("read", &self.path, kind) });
        }
        let content = self.inode.content();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.current.len());
        let rest = &content.current[start..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        Ok(taken)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        if self.durable {
            let whole = bytes.len().is_multiple_of(BLOCK_BYTES)
                && offset.is_multiple_of(BLOCK_BYTES as u64);
            assert!(whole, "a durable write is whole blocks: {} at {offset}", bytes.len());
        }
        match self.shared.enter("write", &self.path) {
            Ok(()) => self.write(bytes, offset, self.durable),
            Err(fault) => {
                // What was written is in doubt like any unsynced write: all of a write that was to
                // be durable, so that a crash can keep it, lose it or tear it anywhere.
                let written = if self.durable { bytes } else { &bytes[..bytes.len() / 2] };
                self.write(written, offset, false)?;
                Err(Fault { offset: Some(offset), ..fault })
            }
        }
    }

    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        self.write_at(&parts.concat(), offset)
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.inode.content().current.len() as u64)
    }

    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.shared.enter("truncate", &self.path)?;
        let mut content = self.inode.content();
        let before = content.current.len() as u64;
        if !content.unlinked {
            let mut trouble = self.shared.trouble();
            trouble.used_bytes = (trouble.used_bytes + len).saturating_sub(before);
        }
        Arc::make_mut(&mut content.current).resize(len as usize, 0);
        if self.shared.crash_model {
            content.unsynced.push(Change::Truncated { len });
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Fault> {
        self.shared.enter_sync(&self.path)?;
        if self.shared.crash_model {
            self.inode.content().settle();
        }
        Ok(())
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
