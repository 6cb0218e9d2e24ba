//! A data directory to look at, which a running node may have.
//!
//! Nothing is locked, made or changed: everything but reading is refused.

use std::any::Any;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_broker::log::{Disk, Entry, Fault, FaultKind, File, OpenMode};

use super::{fault, list};

/// The files below a directory, for reading.
#[derive(Clone, Debug)]
pub struct ReadOnlyDisk {
    root: PathBuf,
}

impl ReadOnlyDisk {
    /// The directory must be there.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Fault> {
        let root = dir.into();
        let shown = root.display().to_string();
        match fs::metadata(&root) {
            Ok(found) if found.is_dir() => Ok(Self { root }),
            Ok(_) => {
                Err(fault("open", &shown, None, &io::Error::from(io::ErrorKind::NotADirectory)))
            }
            Err(error) => Err(fault("open", &shown, None, &error)),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        debug_assert!(!path.starts_with('/') && path.split('/').all(|name| name != ".."), "{path}");
        self.root.join(path)
    }
}

fn refused<T>(operation: &'static str, path: &str) -> Result<T, Fault> {
    let kind = FaultKind::Io("opened for reading only".to_owned());
    Err(Fault { operation, path: path.to_owned(), offset: None, kind })
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        if mode != OpenMode::Existing {
            return refused("open", path);
        }
        let file = ReadOnlyFile::open(&self.at(path), path)
            .map_err(|error| fault("open", path, None, &error))?;
        Ok(Arc::new(file))
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        list(&self.at(dir), dir)
    }

    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        refused("create", dir)
    }

    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        refused("remove", path)
    }

    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        refused("remove", dir)
    }

    fn rename(&self, from: &str, _to: &str) -> Result<(), Fault> {
        refused("rename", from)
    }

    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        refused("sync", dir)
    }

    fn sync_all(&self) -> Result<(), Fault> {
        refused("sync", "")
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        refused("statvfs", "")
    }

    fn total_bytes(&self) -> Result<u64, Fault> {
        refused("statvfs", "")
    }
}

#[derive(Debug)]
struct ReadOnlyFile {
    file: fs::File,
    path: String,
}

impl ReadOnlyFile {
    fn open(at: &Path, path: &str) -> io::Result<Self> {
        Ok(Self { file: fs::File::open(at)?, path: path.to_owned() })
    }
}

impl File for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault("read", &self.path, Some(offset), &error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<(), Fault> {
        refused("write", &self.path)
    }

    fn write_vectored_at(&self, _parts: &[&[u8]], _offset: u64) -> Result<(), Fault> {
        refused("write", &self.path)
    }

    fn len(&self) -> Result<u64, Fault> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|error| fault("stat", &self.path, None, &error))?.len())
    }

    fn truncate(&self, _len: u64) -> Result<(), Fault> {
        refused("truncate", &self.path)
    }

    fn sync(&self) -> Result<(), Fault> {
        refused("sync", &self.path)
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileDisk;
    use super::*;

    #[test]
    fn it_reads_beside_the_holder_of_the_lock_and_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let holder = FileDisk::open(dir.path()).unwrap();
        holder.create_dir_all("t-0").unwrap();
        holder.open("t-0/a", OpenMode::Create).unwrap().write_at(b"hello", 0).unwrap();

        let disk = ReadOnlyDisk::open(dir.path()).unwrap();
        assert_eq!(disk.list("").unwrap(), holder.list("").unwrap());
        let file = disk.open("t-0/a", OpenMode::Existing).unwrap();
        let mut buffer = [0; 8];
        assert_eq!((file.len().unwrap(), file.read_at(&mut buffer, 1).unwrap()), (5, 4));
        assert_eq!(&buffer[..4], b"ello");

        let refusals = [
            file.write_at(b"x", 0),
            file.write_vectored_at(&[b"x"], 0),
            file.truncate(0),
            file.sync(),
            disk.open("t-0/b", OpenMode::Create).map(|_| ()),
            disk.open("t-0/b", OpenMode::Durable).map(|_| ()),
            disk.create_dir_all("u-0"),
            disk.remove_file("t-0/a"),
            disk.remove_dir_all("t-0"),
            disk.rename("t-0/a", "t-0/b"),
            disk.sync_dir(""),
            disk.sync_all(),
            disk.free_bytes().map(|_| ()),
            disk.total_bytes().map(|_| ()),
        ];
        for refusal in refusals {
            let kind = refusal.unwrap_err().kind;
            assert_eq!(kind, FaultKind::Io("opened for reading only".to_owned()));
        }
        assert_eq!(holder.list("t-0").unwrap().len(), 1);
        let missing = ReadOnlyDisk::open(dir.path().join("none")).unwrap_err();
        assert_eq!(missing.kind, FaultKind::NotFound);
    }
}
