//! The [`Disk`] of a real file system, below one data directory.
//!
//! Invariants: while a `FileDisk` lives, no other process (and no second `FileDisk`) has the same
//! directory; every path stays below the directory; an error names the path as the caller said it.
//! The lock is advisory (`flock`) and goes with the process, so a crash leaves nothing to clean up.
//! Handles are not cached: the log keeps its own.

mod aligned;
mod open_file;
mod page_cache;
mod past_cache;
mod read_only;

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_broker::log::{BLOCK_BYTES, Disk, Entry, Fault, FaultKind, File, OpenMode};

use crate::NodeError;
use aligned::AlignedBuffer;
use open_file::DIRECT_FLAGS;
pub(crate) use open_file::OpenFile;
pub use read_only::ReadOnlyDisk;

/// Holds the pid of the process that has the directory; not part of what [`Disk::list`] shows.
const LOCK_FILE: &str = ".lock";

/// How the file system of a [`FileDisk`] takes durable writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurableWrites {
    /// Past the page cache; several at once do not wait for each other.
    Direct,
    /// Through the page cache, each followed by a sync.
    Synced,
}

impl fmt::Display for DurableWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Synced => "through the page cache",
        })
    }
}

/// Files below a data directory that this process has locked for itself.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    /// The lock lasts as long as this handle.
    _lock: fs::File,
    /// The directory, open from the start: so that [`Disk::sync_all`] is told of every failed
    /// writeback of this file system since then.
    dir: fs::File,
    durable_writes: DurableWrites,
}

impl FileDisk {
    /// Creates the directory when it is missing and locks it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, NodeError> {
        let root = dir.into();
        let shown = root.display().to_string();
        fs::create_dir_all(&root).map_err(|error| fault("create", &shown, None, &error))?;
        let lock = lock(&root)?;
        let durable_writes = durable_writes(&root)?;
        let dir = fs::File::open(&root).map_err(|error| fault("open", &shown, None, &error))?;
        Ok(Self { root, _lock: lock, dir, durable_writes })
    }

    /// How files opened as [`OpenMode::Durable`] are written.
    pub fn durable_writes(&self) -> DurableWrites {
        self.durable_writes
    }

    fn at(&self, path: &str) -> PathBuf {
        debug_assert!(!path.starts_with('/') && path.split('/').all(|name| name != ".."), "{path}");
        self.root.join(path)
    }
}

fn lock(root: &Path) -> Result<fs::File, NodeError> {
    let path = root.join(LOCK_FILE);
    let shown = path.display().to_string();
    let failed = |error: &io::Error| fault("lock", &shown, None, error);
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(|error| failed(&error))?;
            let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
            return Err(NodeError::Locked { path: root.to_path_buf(), pid: pid.to_owned() });
        }
        Err(fs::TryLockError::Error(error)) => return Err(failed(&error).into()),
    }
    let write_pid = |file: &mut fs::File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    match write_pid(&mut file) {
        Ok(()) => Ok(file),
        // The lock itself is held; on a full disk a node must still start, to be read from.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(file),
        Err(error) => Err(failed(&error).into()),
    }
}

/// Asks the file system, by a read of the lock file: that writes nothing, and so works on a full disk.
fn durable_writes(root: &Path) -> Result<DurableWrites, Fault> {
    let path = root.join(LOCK_FILE);
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    match fs::File::options()
        .read(true)
        .custom_flags(DIRECT_FLAGS)
        .open(&path)
        .and_then(|file| file.read_at(&mut block, 0))
    {
        Ok(_) => Ok(DurableWrites::Direct),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(DurableWrites::Synced),
        Err(error) => Err(fault("probe", &path.display().to_string(), None, &error)),
    }
}

impl Disk for FileDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let file = OpenFile::open(&self.at(path), path, mode)
            .map_err(|error| fault("open", path, None, &error))?;
        Ok(Arc::new(file))
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        list(&self.at(dir), dir)
    }

    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        fs::create_dir_all(self.at(dir)).map_err(|error| fault("create", dir, None, &error))
    }

    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        fs::remove_file(self.at(path)).map_err(|error| fault("remove", path, None, &error))
    }

    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        fs::remove_dir_all(self.at(dir)).map_err(|error| fault("remove", dir, None, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        fs::rename(self.at(from), self.at(to)).map_err(|error| fault("rename", from, None, &error))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        fs::File::open(self.at(dir))
            .and_then(|dir| dir.sync_all())
            .map_err(|error| fault("sync", dir, None, &error))
    }

    fn sync_all(&self) -> Result<(), Fault> {
        sync_all(&self.dir).map_err(|error| fault("sync", "", None, &error))
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let figures = space(&self.root).map_err(|error| fault("statvfs", "", None, &error))?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    fn total_bytes(&self) -> Result<u64, Fault> {
        let figures = space(&self.root).map_err(|error| fault("statvfs", "", None, &error))?;
        Ok(figures.f_blocks.saturating_mul(figures.f_frsize))
    }
}

/// The names in folder `at`, which the caller calls `dir`.
fn list(at: &Path, dir: &str) -> Result<Vec<Entry>, Fault> {
    let failed = |error: &io::Error| fault("list", dir, None, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(at).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let is_dir = entry.file_type().map_err(|error| failed(&error))?.is_dir();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let kind = FaultKind::Corrupt(format!("{name:?} is not a name of ours"));
            return Err(Fault { operation: "list", path: dir.to_owned(), offset: None, kind });
        };
        if !(dir.is_empty() && name == LOCK_FILE) {
            entries.push(Entry { name: name.to_owned(), is_dir });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Makes everything on the file system of `dir` durable.
fn sync_all(dir: &fs::File) -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no syncfs")]
    // SAFETY: the descriptor is open until the call has returned.
    let outcome = unsafe { libc::syncfs(dir.as_raw_fd()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes that an unprivileged writer may still write below `dir`.
fn space(dir: &Path) -> io::Result<libc::statvfs> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let mut figures = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    #[expect(unsafe_code, reason = "std has no statvfs")]
    // SAFETY: `dir` ends in a NUL and outlives the call; `figures` has room for one `statvfs`,
    // which the call has filled in when it returns 0.
    let figures = unsafe {
        if libc::statvfs(dir.as_ptr(), figures.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        figures.assume_init()
    };
    Ok(figures)
}

pub(crate) fn fault(
    operation: &'static str,
    path: &str,
    offset: Option<u64>,
    error: &io::Error,
) -> Fault {
    let kind = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => FaultKind::NoSpace,
        (io::ErrorKind::NotFound, _) => FaultKind::NotFound,
        (_, Some(libc::EMFILE | libc::ENFILE)) => FaultKind::TooManyFiles,
        _ => FaultKind::Io(error.to_string()),
    };
    let path = if path.is_empty() { "." } else { path };
    Fault { operation, path: path.to_owned(), offset, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FileDisk) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = FileDisk::open(dir.path()).expect("an unlocked directory");
        (dir, disk)
    }

    #[test]
    fn reads_stop_at_the_end_of_the_file() {
        let (_dir, disk) = disk();
        let file = disk.open("a", OpenMode::Create).unwrap();
        file.write_at(b"hello", 3).unwrap();
        let mut buffer = [9; 16];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0\0hello");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
        file.truncate(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        file.sync().unwrap();
        assert_eq!(file.path(), "a");
    }

    #[test]
    fn faults_name_operation_and_path() {
        let (_dir, disk) = disk();
        let missing = Fault {
            operation: "open",
            path: "x/y".into(),
            offset: None,
            kind: FaultKind::NotFound,
        };
        assert_eq!(disk.open("x/y", OpenMode::Existing).unwrap_err(), missing);
        assert_eq!(disk.open("x/y", OpenMode::Create).unwrap_err(), missing);
        assert_eq!(disk.remove_file("z").unwrap_err().kind, FaultKind::NotFound);
        assert_eq!(disk.list("z").unwrap_err().operation, "list");
    }

    #[test]
    fn names_are_listed_renamed_and_removed_without_the_lock_file() {
        let (_dir, disk) = disk();
        disk.create_dir_all("t-0/deep").unwrap();
        disk.open("t-0/a", OpenMode::Create).unwrap();
        disk.rename("t-0/a", "t-0/b").unwrap();
        disk.sync_dir("t-0").unwrap();
        disk.sync_dir("").unwrap();
        let entry = |name: &str, is_dir| Entry { name: name.into(), is_dir };
        assert_eq!(disk.list("").unwrap(), [entry("t-0", true)]);
        assert_eq!(disk.list("t-0").unwrap(), [entry("b", false), entry("deep", true)]);
        disk.remove_dir_all("t-0").unwrap();
        assert_eq!(disk.list("").unwrap(), []);
        assert!(disk.free_bytes().unwrap() > 0);
    }

    #[test]
    fn a_locked_directory_names_its_holder_until_it_is_let_go() {
        let (dir, disk) = disk();
        let locked = FileDisk::open(dir.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert_eq!(locked, NodeError::Locked { path: dir.path().to_path_buf(), pid });
        drop(disk);
        FileDisk::open(dir.path()).expect("the lock went with its holder");
    }

    #[test]
    fn what_passes_is_told_apart() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        assert_eq!(fault("write", "a", Some(7), &full).kind, FaultKind::NoSpace);
        for number in [libc::EMFILE, libc::ENFILE] {
            let many = io::Error::from_raw_os_error(number);
            assert_eq!(fault("open", "a", None, &many).kind, FaultKind::TooManyFiles);
        }
        let broken = io::Error::from_raw_os_error(libc::EIO);
        assert!(matches!(fault("write", "a", Some(7), &broken).kind, FaultKind::Io(_)));
    }
}
