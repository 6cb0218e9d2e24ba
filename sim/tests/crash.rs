//! The log keeps its word through power cuts, and the checker notices when a disk breaks its own.

use std::sync::Arc;

use tidings_log::{Disk, Entry, Fault, File, MemoryDisk, OpenMode};
use tidings_sim::crash::{Figures, explore, explore_on};
use tidings_sim::history::Wrap;

#[test]
fn no_power_cut_makes_the_log_break_its_word() {
    let mut figures = Figures::default();
    for seed in 1..=12 {
        if let Err(violation) = explore(seed, &mut figures) {
            panic!("{violation}");
        }
    }
    assert!(figures.crash_states > 5000 && figures.nested > 1000, "{figures:?}");
}

#[test]
fn a_seed_explores_the_same_states_twice() {
    let run = || {
        let mut figures = Figures::default();
        explore(3, &mut figures).expect("seed 3 is sound");
        figures
    };
    assert_eq!(run(), run());
}

#[test]
fn broken_disks_are_caught() {
    let table: [(&str, Wrap); 4] = [
        ("file syncs do nothing", |disk| Arc::new(Broken { disk, how: How::FileSyncs })),
        ("directory syncs do nothing", |disk| Arc::new(Broken { disk, how: How::DirSyncs })),
        ("checkpoint syncs do nothing", |disk| {
            Arc::new(Broken { disk, how: How::CheckpointSyncs })
        }),
        ("writes lose a bit", |disk| Arc::new(Broken { disk, how: How::Writes })),
    ];
    for (name, wrap) in table {
        let mut figures = Figures::default();
        let caught = (1..=10).find_map(|seed| explore_on(seed, wrap, &mut figures).err());
        let violation = caught.unwrap_or_else(|| panic!("{name}: not caught in {figures:?}"));
        println!("{name}: {violation}");
    }
}

/// What a disk only pretends to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    FileSyncs,
    DirSyncs,
    CheckpointSyncs,
    /// The last byte of a long write is damaged.
    Writes,
}

#[derive(Debug)]
struct Broken {
    disk: MemoryDisk,
    how: How,
}

impl Disk for Broken {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(BrokenFile { file, how: self.how }))
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
        if self.how == How::DirSyncs { Ok(()) } else { self.disk.sync_dir(dir) }
    }
    fn sync_all(&self) -> Result<(), Fault> {
        self.disk.sync_all()
    }
    fn free_bytes(&self) -> Result<u64, Fault> {
        self.disk.free_bytes()
    }
}

#[derive(Debug)]
struct BrokenFile {
    file: Arc<dyn File>,
    how: How,
}

impl File for BrokenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let mut bytes = bytes.to_vec();
        if self.how == How::Writes
            && bytes.len() > 600
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        self.file.write_at(&bytes, offset)
    }
    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        self.write_at(&parts.concat(), offset)
    }
    fn len(&self) -> Result<u64, Fault> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.file.truncate(len)
    }
    fn sync(&self) -> Result<(), Fault> {
        match self.how {
            How::FileSyncs => Ok(()),
            How::CheckpointSyncs if self.path().ends_with("checkpoint") => Ok(()),
            _ => self.file.sync(),
        }
    }
    fn path(&self) -> &str {
        self.file.path()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self.file.as_any()
    }
}
