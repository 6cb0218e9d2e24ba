//! The threads for what would block the shard: some that flush, one for upkeep, some that read what is
//! no longer in memory.
//!
//! A job sends its own result to whoever waits for it. A job that panics sends nothing; the panic is
//! reported instead. Jobs that have not begun when the workers are dropped never do.

use std::fmt;
use std::sync::Arc;

use tidings_broker::log::Fault;
use tidings_broker::log::limits::FLUSH_PARTS_MAX;

use crate::limits::COLD_READERS;
use crate::pool::{Lost, Pool};

/// Which threads a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Moves accepted batches into segments; [`FLUSH_PARTS_MAX`] at a time.
    Flush,
    /// Retention, compaction, scrubbing; one job at a time.
    Upkeep,
    /// Reads and searches in segments; [`COLD_READERS`] at a time.
    Read,
}

type Job = Box<dyn FnOnce() + Send>;

/// The running threads.
pub struct Workers {
    flush: Pool<Job>,
    upkeep: Pool<Job>,
    read: Pool<Job>,
}

impl Workers {
    /// `lost` is told the reason of every panic of a job.
    pub fn start(lost: impl Fn(String) + Send + Sync + 'static) -> Result<Self, Fault> {
        let lost: Lost = Arc::new(lost);
        let start = |name, threads| Pool::start(name, threads, &lost, |job: Job| job());
        Ok(Self {
            flush: start("tidings-flush", FLUSH_PARTS_MAX)?,
            upkeep: start("tidings-upkeep", 1)?,
            read: start("tidings-read", COLD_READERS)?,
        })
    }

    /// Runs `job` once a thread of its lane is free.
    pub fn run(&self, lane: Lane, job: impl FnOnce() + Send + 'static) {
        let pool = match lane {
            Lane::Flush => &self.flush,
            Lane::Upkeep => &self.upkeep,
            Lane::Read => &self.read,
        };
        pool.push(Box::new(job));
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn each_lane_has_threads_of_its_own() {
        let workers = Workers::start(|reason| panic!("{reason}")).unwrap();
        let (send, names) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let sender = send.clone();
        let job = move |sender: mpsc::Sender<String>| {
            sender.send(thread::current().name().unwrap_or_default().to_owned()).unwrap();
        };
        // A flush that takes its time holds up nothing but flushes.
        workers.run(Lane::Flush, move || {
            gate.recv().unwrap();
            job(sender);
        });
        for (lane, name) in [(Lane::Upkeep, "tidings-upkeep"), (Lane::Read, "tidings-read")] {
            let sender = send.clone();
            workers.run(lane, move || job(sender));
            assert_eq!(names.recv().unwrap(), name);
        }
        go.send(()).unwrap();
        assert_eq!(names.recv().unwrap(), "tidings-flush");
    }

    #[test]
    fn a_panic_is_reported() {
        let (send, reasons) = mpsc::channel();
        let workers = Workers::start(move |reason| send.send(reason).unwrap()).unwrap();
        workers.run(Lane::Read, || panic!("cannot"));
        assert_eq!(reasons.recv().unwrap(), "cannot");
    }
}
