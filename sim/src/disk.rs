//! The disk that a simulated store sees: a memory disk that counts, fails, lies and is listened to.
//!
//! Clones share one disk. A *call* is one that changes the disk or makes it durable; calls are
//! numbered from 0.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tidings_log::{Disk, Entry, Fate, Fault, FaultKind, File, MemoryDisk, OpenMode, Unsynced};

use crate::sites::Sites;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Write,
    DurableWrite,
    Truncate,
    Sync,
    Rename,
    RemoveFile,
    RemoveDir,
    CreateDir,
    SyncDir,
    SyncAll,
}

impl Operation {
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Create, "create"),
        (Self::Write, "write"),
        (Self::DurableWrite, "durable write"),
        (Self::Truncate, "truncate"),
        (Self::Sync, "sync"),
        (Self::Rename, "rename"),
        (Self::RemoveFile, "remove file"),
        (Self::RemoveDir, "remove folder"),
        (Self::CreateDir, "create folder"),
        (Self::SyncDir, "sync folder"),
        (Self::SyncAll, "sync all"),
    ];
}

/// What a disk only pretends to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    FileSyncs,
    DirSyncs,
    CheckpointSyncs,
    DurableWrites,
    /// The last byte of a long write is damaged.
    LastByte,
}

/// A disk in memory that counts its calls and can be made to fail.
#[derive(Clone)]
pub struct SimDisk {
    memory: MemoryDisk,
    watch: Arc<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    lie: Option<Lie>,
    state: Mutex<State>,
    counts: [AtomicU64; Operation::ALL.len()],
}

#[derive(Debug, Default)]
struct State {
    /// From this call on nothing happens any more.
    cut_at: Option<u64>,
    /// The first call that touches this path is where the power is cut.
    cut_at_path: Option<String>,
    /// This one call fails.
    fails_at: Option<u64>,
    failed: bool,
    trace: u64,
    sites: Option<Arc<Sites>>,
}

impl SimDisk {
    pub fn new() -> Self {
        Self::over(MemoryDisk::with_crash_model())
    }

    pub fn over(memory: MemoryDisk) -> Self {
        Self { memory, watch: Arc::default() }
    }

    /// The same disk, with one thing that it only pretends to do.
    #[must_use]
    pub fn lying(self, lie: Option<Lie>) -> Self {
        Self { memory: self.memory, watch: Arc::new(Watch { lie, ..Watch::default() }) }
    }

    pub fn lie(&self) -> Option<Lie> {
        self.watch.lie
    }

    pub fn memory(&self) -> &MemoryDisk {
        &self.memory
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.memory.calls()
    }

    /// Cuts the power after so many more calls: the next one is in doubt, all after it fail.
    pub fn cut_after(&self, calls: u64) {
        self.state().cut_at = Some(self.calls() + calls);
        self.memory.fail_after(calls, FaultKind::Io("the power is cut".to_owned()));
    }

    /// Cuts the power at the next call for `path`.
    pub fn cut_at_path(&self, path: &str) {
        self.state().cut_at_path = Some(path.to_owned());
    }

    /// Ends the failing: nothing was cut but the process was killed, and what it wrote is there until the
    /// power is cut. The disk has room again.
    pub fn revive(&self) {
        self.state().cut_at = None;
        self.memory.heal();
        self.memory.set_capacity(u64::MAX);
    }

    pub fn is_cut(&self) -> bool {
        self.state().cut_at.is_some_and(|at| self.calls() > at)
    }

    /// Lets the one call after so many more fail. A failed sync forgets what it was to make durable, as
    /// a kernel does that marks the pages clean.
    pub fn fail_one_after(&self, calls: u64) {
        let mut state = self.state();
        state.fails_at = Some(self.calls() + calls);
        state.failed = false;
    }

    /// Whether the call that was to fail has failed.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Notes from which lines of the log calls come.
    pub fn listen(&self, sites: Arc<Sites>) {
        self.state().sites = Some(sites);
    }

    /// A number that two runs share only when they made the same calls with the same bytes.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// Calls by what they do, in the order of [`Operation::ALL`].
    pub fn counts(&self) -> [u64; Operation::ALL.len()] {
        std::array::from_fn(|at| self.watch.counts[at].load(Ordering::Relaxed))
    }

    /// What a power cut leaves; the disk after it lies as this one does.
    #[must_use]
    pub fn crash(&self, choose: &mut dyn FnMut(Unsynced<'_>) -> Fate) -> Self {
        Self::over(self.memory.crash(choose)).lying(self.watch.lie)
    }

    /// What a power cut leaves that takes everything that was not synced.
    #[must_use]
    pub fn crash_without_unsynced(&self) -> Self {
        self.crash(&mut |_| Fate::Lost)
    }

    /// An independent copy of everything as it is, all of it durable, without faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::over(self.memory.fork()).lying(self.watch.lie)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.watch.state.lock().expect("no holder of the disk's state panics")
    }

    fn pretends(&self, lie: Lie) -> bool {
        self.watch.lie == Some(lie)
    }

    /// Carries out a call that may turn out to be none, such as opening a file that is there.
    fn call<T>(
        &self,
        operation: Operation,
        path: &str,
        data: &[u8],
        offset: u64,
        act: impl FnOnce(&MemoryDisk) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let before = self.memory.calls();
        if self.state().cut_at_path.take_if(|cut_at| *cut_at == path).is_some() {
            self.cut_after(0);
        }
        let fails = self.state().fails_at == Some(before);
        if fails {
            self.memory.fail_after(0, FaultKind::Io("injected failure".to_owned()));
        }
        let outcome = act(&self.memory);
        if fails {
            self.memory.heal();
        }
        if self.memory.calls() == before {
            return outcome;
        }
        self.watch.counts[operation as usize].fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.failed |= fails;
        let mut hash = Hash(state.trace);
        hash.add(&[operation as u8]);
        hash.add(path.as_bytes());
        hash.add(&offset.to_be_bytes());
        hash.add(data);
        state.trace = hash.0;
        if let Some(sites) = &state.sites {
            sites.hit();
        }
        if fails && operation == Operation::Sync {
            self.memory.forget_unsynced(path);
        }
        outcome
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// FNV-1a.
#[derive(Clone, Copy, Debug)]
pub struct Hash(pub u64);

impl Hash {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let file = self.call(Operation::Create, path, &[], 0, |memory| memory.open(path, mode))?;
        let unsynced = match mode {
            OpenMode::Durable if self.pretends(Lie::DurableWrites) => {
                Some(self.memory.open(path, OpenMode::Existing)?)
            }
            _ => None,
        };
        let durable = mode == OpenMode::Durable;
        Ok(Arc::new(SimFile { file, unsynced, durable, disk: self.clone() }))
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        self.memory.list(dir)
    }

    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.call(Operation::CreateDir, dir, &[], 0, |memory| memory.create_dir_all(dir))
    }

    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        self.call(Operation::RemoveFile, path, &[], 0, |memory| memory.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.call(Operation::RemoveDir, dir, &[], 0, |memory| memory.remove_dir_all(dir))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.call(Operation::Rename, to, from.as_bytes(), 0, |memory| memory.rename(from, to))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        if self.pretends(Lie::DirSyncs) {
            return Ok(());
        }
        self.call(Operation::SyncDir, dir, &[], 0, |memory| memory.sync_dir(dir))
    }

    fn sync_all(&self) -> Result<(), Fault> {
        if self.pretends(Lie::FileSyncs) || self.pretends(Lie::DirSyncs) {
            return Ok(());
        }
        self.call(Operation::SyncAll, "", &[], 0, Disk::sync_all)
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        self.memory.free_bytes()
    }

    fn total_bytes(&self) -> Result<u64, Fault> {
        self.memory.total_bytes()
    }
}

struct SimFile {
    file: Arc<dyn File>,
    /// Where writes go that only pretend to be durable.
    unsynced: Option<Arc<dyn File>>,
    durable: bool,
    disk: SimDisk,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let mut damaged = Vec::new();
        let mut bytes = bytes;
        if self.disk.pretends(Lie::LastByte) && !self.durable && bytes.len() > 600 {
            damaged.extend_from_slice(bytes);
            if let Some(last) = damaged.last_mut() {
                *last ^= 1;
            }
            bytes = &damaged;
        }
        let operation = if self.durable { Operation::DurableWrite } else { Operation::Write };
        let file = self.unsynced.as_ref().unwrap_or(&self.file);
        self.disk.call(operation, self.path(), bytes, offset, |_| file.write_at(bytes, offset))
    }

    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        self.write_at(&parts.concat(), offset)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.file.len()
    }

    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.disk.call(Operation::Truncate, self.path(), &[], len, |_| self.file.truncate(len))
    }

    fn sync(&self) -> Result<(), Fault> {
        let pretends = self.disk.pretends(Lie::FileSyncs)
            || (self.disk.pretends(Lie::CheckpointSyncs) && self.path().contains("checkpoint"));
        if pretends {
            return Ok(());
        }
        self.disk.call(Operation::Sync, self.path(), &[], 0, |_| self.file.sync())
    }

    fn path(&self) -> &str {
        self.file.path()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
