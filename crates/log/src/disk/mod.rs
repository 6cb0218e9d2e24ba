//! The disk as the log sees it: what a real file system and a double implement.
//!
//! Paths are relative to the node's data directory, with `/` between names.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

mod memory;
pub use memory::{Fate, MemoryDisk, SECTOR_BYTES, Unsynced};

/// What a write to a file opened as [`OpenMode::Durable`] is a multiple of, in length, in its place in
/// the file and in its place in memory.
pub const BLOCK_BYTES: usize = 4096;

/// How [`Disk::open`] treats a file that is or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Read and write; the file must exist.
    Existing,
    /// Read and write; created empty when missing.
    Create,
    /// Like `Create`, and every write is on stable storage when it returns; writes are whole blocks
    /// of [`BLOCK_BYTES`]. The name itself still needs [`Disk::sync_dir`].
    Durable,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// A place to keep files. Implementations: the node's file system, [`MemoryDisk`]; who starts what
/// writes to a disk may ask which one it is, as [`Any`].
pub trait Disk: Any + Send + Sync + fmt::Debug {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault>;
    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault>;
    fn create_dir_all(&self, dir: &str) -> Result<(), Fault>;
    fn remove_file(&self, path: &str) -> Result<(), Fault>;
    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault>;
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> Result<(), Fault>;
    /// Makes everything written so far durable, in every file and every directory. Worth it where
    /// many files would be synced.
    fn sync_all(&self) -> Result<(), Fault>;
    /// Bytes an unprivileged writer may still write.
    fn free_bytes(&self) -> Result<u64, Fault>;
    /// Bytes of the whole file system; as large as can be where there is no end of it.
    fn total_bytes(&self) -> Result<u64, Fault>;
}

#[expect(clippy::len_without_is_empty, reason = "asking for the length is I/O that can fail")]
/// An open file. Reads and writes name their position; there is no cursor.
pub trait File: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `offset`; returns fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault>;
    /// Up to `len` bytes from `offset` on, fewer only at the end of the file, wherever in memory reading
    /// them costs least.
    fn read_bytes(&self, len: usize, offset: u64) -> Result<Bytes, Fault> {
        let mut bytes = vec![0; len];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
    /// Writes all of `bytes` at `offset`. After a fault any part of them may be in the file.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault>;
    /// Writes all of `parts` one after another at `offset`; otherwise as [`Self::write_at`].
    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault>;
    fn len(&self) -> Result<u64, Fault>;
    fn truncate(&self, len: u64) -> Result<(), Fault>;
    /// Returns once data and length are on stable storage (`fdatasync`).
    fn sync(&self) -> Result<(), Fault>;
    fn path(&self) -> &str;
    /// The implementation, for whoever made the disk and knows better ways to write to its files.
    fn as_any(&self) -> &dyn Any;
}

/// I/O that failed or bytes that cannot be what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}{}: {kind}", .offset.map(|o| format!(" at byte {o}")).unwrap_or_default())]
pub struct Fault {
    pub operation: &'static str,
    pub path: String,
    pub offset: Option<u64>,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    #[error("no space left on device")]
    NoSpace,
    /// The process, or the system, may not open one more; nothing was touched.
    #[error("too many files are open")]
    TooManyFiles,
    #[error("not found")]
    NotFound,
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("{0}")]
    Io(String),
    /// Records that were in memory only, as their topic has it, will never be in a file: these of this
    /// log, and some of so many others.
    #[error("offsets {first}..{end} were in memory only and are lost{}", of_others(*.others))]
    Lost { first: i64, end: i64, others: usize },
}

impl FaultKind {
    /// Whether this says nothing of what is on the disk: done again later, the same may succeed.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::NoSpace | Self::TooManyFiles)
    }
}

fn of_others(logs: usize) -> String {
    if logs == 0 { String::new() } else { format!(", and some of {logs} other logs") }
}
