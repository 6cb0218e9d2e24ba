//! Work that the owner runs on other threads, and when there is some.

use super::round::{Part, Round};
use super::upkeep::UpkeepJob;
use super::{Moment, Store};
use crate::journal::{MoveStart, PrepareRing};

/// What the owner should run a [`Work`] beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// Moves accepted batches into segments, or prepares the journal: what appends wait for.
    Flush,
    /// Retention, compaction, scrubbing: what nobody waits for.
    Upkeep,
}

/// Work to run away from the owner's thread; then give it back with [`Store::work_done`], in any order. At
/// most one of upkeep is out, and one of flushing or the parts of one round:
/// [`FLUSH_PARTS_MAX`](crate::limits::FLUSH_PARTS_MAX).
#[derive(Debug)]
pub struct Work {
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) enum Job {
    Prepare(PrepareRing),
    Part(Box<Part>),
    Round(Box<Round>),
    MoveStart(MoveStart),
    Upkeep(UpkeepJob),
}

impl Work {
    pub fn kind(&self) -> WorkKind {
        match self.job {
            Job::Prepare(_) | Job::Part(_) | Job::Round(_) | Job::MoveStart(_) => WorkKind::Flush,
            Job::Upkeep(_) => WorkKind::Upkeep,
        }
    }

    /// Blocks for as long as it takes; outcomes, faults too, are kept inside.
    pub fn run(&mut self) {
        match &mut self.job {
            Job::Prepare(prepare) => prepare.run(),
            Job::Part(part) => part.run(),
            Job::Round(round) => round.run(),
            Job::MoveStart(start) => start.run(),
            Job::Upkeep(job) => job.run(),
        }
    }
}

impl Store {
    /// The next work, if any is due. Looks at a bounded number of logs, so it may have to be asked several
    /// times until a flush is put together: see [`Self::next_timeout_ms`].
    pub fn next_work(&mut self, now: Moment) -> Option<Work> {
        self.note_idle(now);
        self.next_flush(now).or_else(|| self.next_upkeep(now))
    }

    /// Takes work back.
    pub fn work_done(&mut self, now: Moment, work: Work) {
        match work.job {
            Job::Prepare(prepare) => self.ring_prepared(now, prepare),
            Job::Part(part) => self.part_done(*part),
            Job::Round(round) => self.round_done(now, *round),
            Job::MoveStart(start) => self.start_moved(now, start),
            Job::Upkeep(job) => self.upkeep_done(now, job),
        }
    }

    /// When [`Self::next_work`] should be asked again, in `mono_ms`, if nothing happens before.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        [self.flush_due_ms(), self.upkeep_due_ms()].into_iter().flatten().min()
    }
}
