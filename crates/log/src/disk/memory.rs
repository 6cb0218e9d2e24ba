//! A disk in memory.

use std::sync::Arc;

use super::{Disk, Entry, Fault, File, OpenMode};

/// A disk in memory that can tear, lose, corrupt and refuse.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {}

impl Disk for MemoryDisk {
    fn open(&self, _path: &str, _mode: OpenMode) -> Result<Arc<dyn File>, Fault> { todo!() }
    fn list(&self, _dir: &str) -> Result<Vec<Entry>, Fault> { todo!() }
    fn create_dir_all(&self, _dir: &str) -> Result<(), Fault> { todo!() }
    fn remove_file(&self, _path: &str) -> Result<(), Fault> { todo!() }
    fn remove_dir_all(&self, _dir: &str) -> Result<(), Fault> { todo!() }
    fn rename(&self, _from: &str, _to: &str) -> Result<(), Fault> { todo!() }
    fn sync_dir(&self, _dir: &str) -> Result<(), Fault> { todo!() }
    fn free_bytes(&self) -> Result<u64, Fault> { todo!() }
}
