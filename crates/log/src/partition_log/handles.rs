//! Open files of segments, for readers: a bounded number, the one used longest ago is closed first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::{Disk, Fault, File, OpenMode};

/// Which file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Log,
    OffsetIndex,
    TimeIndex,
}

type Key = (u64, Part);

#[derive(Debug)]
pub(crate) struct Handles {
    disk: Arc<dyn Disk>,
    files_max: usize,
    next_id: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: BTreeMap<Key, (Arc<dyn File>, u64)>,
    /// By the turn of their last use.
    by_use: BTreeMap<u64, Key>,
    turn: u64,
}

impl Open {
    fn take(&mut self, key: Key) -> Option<Arc<dyn File>> {
        let (file, used) = self.files.remove(&key)?;
        self.by_use.remove(&used);
        Some(file)
    }

    fn put(&mut self, key: Key, file: Arc<dyn File>) {
        self.turn += 1;
        self.by_use.insert(self.turn, key);
        self.files.insert(key, (file, self.turn));
    }
}

impl Handles {
    pub(crate) fn new(disk: Arc<dyn Disk>, files_max: usize) -> Self {
        let (next_id, open) = (AtomicU64::new(0), Mutex::default());
        Self { disk, files_max, next_id, open }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// A name for a segment's files that no other has.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The open file, opened if it is not; the lock is not held while it is.
    pub(crate) fn get(
        &self,
        id: u64,
        part: Part,
        path: impl Fn() -> String,
    ) -> Result<Arc<dyn File>, Fault> {
        let key = (id, part);
        {
            let mut open = self.open();
            if let Some(file) = open.take(key) {
                open.put(key, Arc::clone(&file));
                return Ok(file);
            }
        }
        let file = self.disk.open(&path(), OpenMode::Existing)?;
        let mut open = self.open();
        open.take(key);
        open.put(key, Arc::clone(&file));
        while open.files.len() > self.files_max.max(1) {
            if let Some((_, oldest)) = open.by_use.pop_first() {
                open.files.remove(&oldest);
            }
        }
        Ok(file)
    }

    /// Closes the files of a segment.
    pub(crate) fn forget(&self, id: u64) {
        let mut open = self.open();
        for part in [Part::Log, Part::OffsetIndex, Part::TimeIndex] {
            open.take((id, part));
        }
    }

    /// How many files are open.
    pub(crate) fn count(&self) -> usize {
        self.open().files.len()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of the open files panics")
    }
}
