//! Carries out the journal's durable writes away from the shard's thread, several at once.
//!
//! Invariants:
//! 1. A write that was submitted comes back once, with its outcome, from a thread of this module; or
//!    the executor says that it is lost, and then nothing comes back any more.
//! 2. Writes end in any order.
//! 3. The bytes of a write live until the kernel has let go of them, whatever happens.
//! 4. Dropping the executor waits for the writes that have begun; others never begin.
//!
//! There are three ways, chosen by the disk and the kernel: io_uring, threads that write and wait,
//! and the caller itself for a disk that is memory. It deliberately knows nothing of frames.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tidings_broker::log::{Disk, Fault, JournalWrite, MemoryDisk};

use crate::pool::{Lost, Pool};

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
    /// A thread panicked, for this reason; writes that are out will not come back.
    Lost(String),
}

type Tell = Arc<dyn Fn(JournalIoEvent) + Send + Sync>;

pub struct JournalIo {
    way: Way,
}

enum Way {
    Threads(Pool<JournalWrite>),
    Caller(Tell),
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
        let any: &dyn Any = disk;
        if any.is::<MemoryDisk>() && choice == JournalIoChoice::Auto {
            return Ok(Self { way: Way::Caller(tell) });
        }
        Ok(Self { way: Way::Threads(threads(writes_max, &tell)?) })
    }

    pub fn kind(&self) -> JournalIoKind {
        match self.way {
            Way::Threads(_) => JournalIoKind::Threads,
            Way::Caller(_) => JournalIoKind::Caller,
        }
    }

    /// Carries `write` out; its outcome is told. Of all that were submitted at most the number given at
    /// the start are under way.
    pub fn submit(&self, write: JournalWrite) {
        match &self.way {
            Way::Threads(pool) => pool.push(write),
            Way::Caller(tell) => {
                let outcome = write.run();
                tell(JournalIoEvent::Done(write, outcome));
            }
        }
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
