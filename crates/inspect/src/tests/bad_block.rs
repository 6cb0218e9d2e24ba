//! A disk that cannot give one block.

use std::any::Any;
use std::sync::Arc;

use tidings_log::{BLOCK_BYTES, Disk, Entry, Fault, FaultKind, File, MemoryDisk, OpenMode};

use super::{END, FOLDER, SEGMENTS, look, partition, records};
use crate::files::path;
use crate::*;

/// Reads of the first block of one file fail.
#[derive(Debug)]
struct BadBlock {
    disk: MemoryDisk,
    path: String,
}

#[derive(Debug)]
struct BadFile {
    file: Arc<dyn File>,
}

impl Disk for BadBlock {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let file = self.disk.open(path, mode)?;
        Ok(if path == self.path { Arc::new(BadFile { file }) } else { file })
    }
    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.disk.create_dir_all(dir)
    }
    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        self.disk.remove_dir_all(dir)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        self.disk.sync_dir(dir)
    }
    fn sync_all(&self) -> Result<(), Fault> {
        self.disk.sync_all()
    }
    fn free_bytes(&self) -> Result<u64, Fault> {
        self.disk.free_bytes()
    }
}

impl File for BadFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        if offset < BLOCK_BYTES as u64 && !buffer.is_empty() {
            let kind = FaultKind::Io("a bad block".to_owned());
            let path = self.file.path().to_owned();
            return Err(Fault { operation: "read", path, offset: Some(offset), kind });
        }
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.file.write_at(bytes, offset)
    }
    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        self.file.write_vectored_at(parts, offset)
    }
    fn len(&self) -> Result<u64, Fault> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.file.truncate(len)
    }
    fn sync(&self) -> Result<(), Fault> {
        self.file.sync()
    }
    fn path(&self) -> &str {
        self.file.path()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_block_that_cannot_be_read_is_damage_like_any_other() {
    let (whole, claims) = partition();
    let before = records(&whole);
    for path in whole.files() {
        let disk = BadBlock { disk: whole.fork(), path: path.clone() };
        let found = verify(&disk, FOLDER, Some(&claims), Depth::Records, &mut |_| {}).unwrap();
        let told: Vec<&str> = found.damage.iter().map(|damage| &*damage.path).collect();
        assert_eq!(told, [&*path]);
        let done = repair(&disk, FOLDER, Some(&claims), Mode::Apply).unwrap();
        let lost = done.lost();
        let segment = SEGMENTS.iter().position(|&base| path == self::path(FOLDER, base, ".log"));
        let ends = [SEGMENTS[1], SEGMENTS[2], END];
        let expected: Vec<_> = segment.map(|at| (SEGMENTS[at], ends[at])).into_iter().collect();
        assert_eq!(lost, expected, "{path}");
        if let (Some(_), Some(damage)) = (segment, found.damage.first()) {
            assert_eq!(damage.what, "cannot be read: a bad block");
        }
        let claims = done.claims.as_ref().unwrap_or(&claims);
        let after = look(&disk.disk, Some(claims));
        assert_eq!((after.damage, after.end_offset), (Vec::new(), END), "{path}");
        let mut left = before.clone();
        left.retain(|offset, _| !lost.iter().any(|&(from, to)| (from..to).contains(offset)));
        assert_eq!(records(&disk.disk), left, "{path}");
    }
}
