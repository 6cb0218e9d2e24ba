//! Carries out the journal's durable writes away from the shard's thread, several at once.
//!
//! Invariants:
//! 1. A write that was submitted comes back once, with its outcome; if one does not, because a thread
//!    panicked, the executor says so.
//! 2. Writes end in any order.
//! 3. The bytes of a write live until the kernel has let go of them, whatever happens.
//! 4. Dropping the executor waits for the writes that have begun; others never begin.
//!
//! There are three ways, chosen by the disk and the kernel: io_uring, threads that write and wait,
//! and the caller itself for a disk that is memory. It deliberately knows nothing of frames.

mod uring;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tidings_broker::log::{Disk, Fault, JournalWrite, MemoryDisk};

use crate::pool::{Lost, Pool};
use crate::{DurableWrites, FileDisk};
use uring::Uring;

/// Which way is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalIoChoice {
    /// The fastest that disk and kernel allow.
    #[default]
    Auto,
    /// io_uring, or no start at all.
    Uring,
    Threads,
}

/// Which way it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalIoKind {
    Uring,
    Threads,
    /// [`JournalIo::submit`] writes before it returns.
    Caller,
}

impl fmt::Display for JournalIoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Threads => "threads",
            Self::Caller => "memory",
        })
    }
}

/// What an executor tells its owner.
#[derive(Debug)]
pub enum JournalIoEvent {
    /// A write has ended.
    Done(JournalWrite, Result<(), Fault>),
    /// A thread failed, for this reason: not every write that is out will come back.
    Lost(String),
}

type Tell = Arc<dyn Fn(JournalIoEvent) + Send + Sync>;

pub struct JournalIo {
    way: Way,
}

enum Way {
    Uring(Uring),
    Threads(Pool<JournalWrite>),
    Caller,
}

impl JournalIo {
    /// Starts what writes to `disk`, at most `writes_max` at once; `tell` is called from its threads
    /// and must not block.
    pub fn start(
        disk: &dyn Disk,
        choice: JournalIoChoice,
        writes_max: usize,
        tell: impl Fn(JournalIoEvent) + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let tell: Tell = Arc::new(tell);
        let way = match choice {
            JournalIoChoice::Auto => match fastest(disk) {
                JournalIoKind::Uring => Uring::start(writes_max, &tell).map(Way::Uring).ok(),
                JournalIoKind::Threads => None,
                JournalIoKind::Caller => Some(Way::Caller),
            },
            JournalIoChoice::Uring => Some(Way::Uring(Uring::start(writes_max, &tell)?)),
            JournalIoChoice::Threads => None,
        };
        let way = way.map_or_else(|| threads(writes_max, &tell).map(Way::Threads), Ok)?;
        Ok(Self { way })
    }

    pub fn kind(&self) -> JournalIoKind {
        match self.way {
            Way::Uring(_) => JournalIoKind::Uring,
            Way::Threads(_) => JournalIoKind::Threads,
            Way::Caller => JournalIoKind::Caller,
        }
    }

    /// Carries `write` out; its outcome is told, or returned where it has been carried out already. Of
    /// all that were submitted at most the number given at the start are under way.
    #[must_use = "a write that has ended is told to nobody else"]
    pub fn submit(&self, write: JournalWrite) -> Option<(JournalWrite, Result<(), Fault>)> {
        match &self.way {
            Way::Uring(uring) => uring.submit(write),
            Way::Threads(pool) => pool.push(write),
            Way::Caller => {
                let outcome = write.run();
                return Some((write, outcome));
            }
        }
        None
    }
}

/// What suits the disk. Through the page cache the kernel writes a file's parts one after another, which
/// threads do with less ado.
fn fastest(disk: &dyn Disk) -> JournalIoKind {
    let disk: &dyn Any = disk;
    if disk.is::<MemoryDisk>() {
        return JournalIoKind::Caller;
    }
    match disk.downcast_ref().map(FileDisk::durable_writes) {
        Some(DurableWrites::Direct) => JournalIoKind::Uring,
        Some(DurableWrites::Synced) | None => JournalIoKind::Threads,
    }
}

fn threads(writes_max: usize, tell: &Tell) -> Result<Pool<JournalWrite>, Fault> {
    let told = Arc::clone(tell);
    let lost: Lost = Arc::new(move |reason| told(JournalIoEvent::Lost(reason)));
    let tell = Arc::clone(tell);
    Pool::start("tidings-journal", writes_max, &lost, move |write: JournalWrite| {
        let outcome = write.run();
        tell(JournalIoEvent::Done(write, outcome));
    })
}

impl fmt::Debug for JournalIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalIo").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    use bytes::Bytes;
    use tidings_broker::log::{BLOCK_BYTES, FaultKind, File, OpenMode};

    use super::*;

    const WRITES_MAX: usize = 4;

    /// Both ways, where the kernel lets a process have io_uring; some containers do not.
    fn choices() -> Vec<JournalIoChoice> {
        let tell: Tell = Arc::new(|_| {});
        let uring = Uring::start(1, &tell).ok().map(|_| JournalIoChoice::Uring);
        uring.into_iter().chain([JournalIoChoice::Threads]).collect()
    }

    struct Bench {
        dir: tempfile::TempDir,
        disk: FileDisk,
        file: Arc<dyn File>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let disk = FileDisk::open(dir.path()).unwrap();
            let file = disk.open("ring", OpenMode::Durable).unwrap();
            Self { dir, disk, file }
        }

        fn start(&self, choice: JournalIoChoice) -> (JournalIo, mpsc::Receiver<JournalIoEvent>) {
            let (send, events) = mpsc::channel();
            let tell = move |event| send.send(event).unwrap();
            (JournalIo::start(&self.disk, choice, WRITES_MAX, tell).unwrap(), events)
        }

        fn write(&self, block: u64) -> JournalWrite {
            let offset = block * BLOCK_BYTES as u64;
            JournalWrite::loose(Arc::clone(&self.file), offset, block_of(block))
        }

        fn holds(&self, block: u64) -> bool {
            let mut buffer = vec![0; BLOCK_BYTES];
            self.file.read_at(&mut buffer, block * BLOCK_BYTES as u64).unwrap();
            buffer == block_of(block)
        }
    }

    /// A block that tells its number, aligned in memory unless the number is odd.
    fn block_of(number: u64) -> Bytes {
        let room = Bytes::from(vec![number as u8 + 1; 2 * BLOCK_BYTES + 1]);
        let start = room.as_ptr().align_offset(BLOCK_BYTES) + (number % 2) as usize;
        room.slice(start..start + BLOCK_BYTES)
    }

    fn hand_on(io: &JournalIo, write: JournalWrite) {
        assert!(io.submit(write).is_none(), "it is told later");
    }

    fn done(event: JournalIoEvent) -> (u64, Result<(), Fault>) {
        match event {
            JournalIoEvent::Done(write, outcome) => (write.offset / BLOCK_BYTES as u64, outcome),
            JournalIoEvent::Lost(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn every_write_comes_back_once_and_is_in_the_file() {
        for choice in choices() {
            let bench = Bench::new();
            let (io, events) = bench.start(choice);
            // Many more than may be under way, and of both kinds of place in memory.
            (0..64).for_each(|block| hand_on(&io, bench.write(block)));
            let mut ended: Vec<_> = events.iter().take(64).map(done).collect();
            ended.sort_by_key(|(block, _)| *block);
            assert_eq!(ended, (0..64).map(|block| (block, Ok(()))).collect::<Vec<_>>());
            assert!((0..64).all(|block| bench.holds(block)), "{choice:?}");
            drop(io);
            assert!(events.recv().is_err(), "nothing comes back twice");
        }
    }

    #[test]
    fn a_waiting_executor_takes_the_next_write() {
        for choice in choices() {
            let bench = Bench::new();
            let (io, events) = bench.start(choice);
            for block in 0..20 {
                hand_on(&io, bench.write(block));
                assert_eq!(done(events.recv().unwrap()), (block, Ok(())));
            }
        }
    }

    #[test]
    fn a_fault_comes_back_with_its_kind_and_others_go_on() {
        for choice in choices() {
            let bench = Bench::new();
            symlink("/dev/full", bench.dir.path().join("full")).unwrap();
            let full = bench.disk.open("full", OpenMode::Durable).unwrap();
            let (io, events) = bench.start(choice);
            let fault = |path: &str, offset, kind| {
                Err(Fault { operation: "write", path: path.into(), offset: Some(offset), kind })
            };
            hand_on(&io, JournalWrite::loose(full, 0, block_of(0)));
            let expected = fault("full", 0, FaultKind::NoSpace);
            assert_eq!(done(events.recv().unwrap()), (0, expected), "{choice:?}");
            // Past what any file may be long.
            let far = i64::MAX as u64 / BLOCK_BYTES as u64 - 1;
            hand_on(&io, bench.write(far));
            let (_, outcome) = done(events.recv().unwrap());
            let kind = FaultKind::Io("File too large (os error 27)".into());
            assert_eq!(outcome, fault("ring", far * BLOCK_BYTES as u64, kind), "{choice:?}");
            hand_on(&io, bench.write(3));
            assert_eq!(done(events.recv().unwrap()), (3, Ok(())));
        }
    }

    #[test]
    fn dropping_waits_for_what_is_under_way() {
        for choice in choices() {
            let bench = Bench::new();
            let (io, events) = bench.start(choice);
            (0..64).for_each(|block| hand_on(&io, bench.write(block)));
            drop(io);
            // The threads are gone, and the sender with them: the channel ends.
            let ended: Vec<_> = events.iter().map(done).collect();
            assert!(ended.iter().all(|(block, outcome)| outcome.is_ok() && bench.holds(*block)));
            assert!(ended.len() <= 64, "{choice:?}");
            assert_eq!(Arc::strong_count(&bench.file), 1, "{choice:?}: all writes are let go");
        }
    }

    #[test]
    fn a_panic_is_told() {
        for choice in choices() {
            let bench = Bench::new();
            let (send, reasons) = mpsc::channel();
            let tell = move |event| match event {
                JournalIoEvent::Done(..) => panic!("no more"),
                JournalIoEvent::Lost(reason) => send.send(reason).unwrap(),
            };
            let io = JournalIo::start(&bench.disk, choice, WRITES_MAX, tell).unwrap();
            hand_on(&io, bench.write(0));
            assert_eq!(reasons.recv().unwrap(), "no more");
            // Whether anybody takes it or not: nobody hangs.
            hand_on(&io, bench.write(1));
        }
    }

    #[test]
    fn the_way_is_chosen_by_disk_and_wish() {
        let bench = Bench::new();
        let kind = |disk: &dyn Disk, choice| {
            JournalIo::start(disk, choice, WRITES_MAX, |_| {}).unwrap().kind()
        };
        let memory = MemoryDisk::new();
        assert_eq!(kind(&memory, JournalIoChoice::Auto), JournalIoKind::Caller);
        assert_eq!(kind(&memory, JournalIoChoice::Threads), JournalIoKind::Threads);
        assert_eq!(kind(&bench.disk, JournalIoChoice::Threads), JournalIoKind::Threads);
        let direct = bench.disk.durable_writes() == DurableWrites::Direct;
        let uring = choices().contains(&JournalIoChoice::Uring);
        let auto = if direct && uring { JournalIoKind::Uring } else { JournalIoKind::Threads };
        assert_eq!(kind(&bench.disk, JournalIoChoice::Auto), auto);
    }

    #[test]
    fn a_disk_that_is_memory_is_written_before_submit_returns() {
        let disk = MemoryDisk::new();
        let file = disk.open("ring", OpenMode::Durable).unwrap();
        let tell = |event| panic!("{event:?} is told");
        let io = JournalIo::start(&disk, JournalIoChoice::Auto, WRITES_MAX, tell).unwrap();
        let ended = io.submit(JournalWrite::loose(file, 0, block_of(0)));
        assert_eq!(ended.map(|(write, outcome)| (write.offset, outcome)), Some((0, Ok(()))));
    }
}
