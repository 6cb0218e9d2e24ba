//! Retention, compaction and the expiry of producers: one log at a time, one step at a time.
//!
//! A log is looked at every `retention_check_ms`, or when its start offset became durable. The look, on
//! another thread because it may have to read timestamps, comes to one of:
//! 1. segments below the durable start offset go: the log lets go of them, then a worker removes the
//!    files; readers that have begun keep theirs open;
//! 2. the start offset moves, through the journal like any other; 1 follows when it is durable;
//! 3. the active segment is sealed with the next flush, then the log is looked at again;
//! 4. a compaction, once a checkpoint says that the log may have gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::work::{Job, Work};
use super::{LogId, Moment, Store};
use crate::Fault;
use crate::compaction::{CompactJob, CompactPlan, Replacement, Step};
use crate::limits::{PLAN_LOGS_PER_STEP, UPKEEP_SOON_MS};
use crate::partition_log::handles::Handles;
use crate::partition_log::segment::Segment;
use crate::partition_log::upkeep::Look;
use crate::retention::{PlausibleClock, Retention};

/// One kind of upkeep's next step, if it is due, at a moment and its plausible wall-clock time.
type NextUpkeep = fn(&mut Store, Moment, i64) -> Option<UpkeepJob>;

/// Where the upkeep of a store is.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    out: bool,
    /// When each log is looked at next, in monotonic milliseconds.
    due: BTreeSet<(u64, LogId)>,
    due_of: BTreeMap<LogId, u64>,
    clock: Option<PlausibleClock>,
    /// The log whose compaction has more steps.
    compacting: Option<(LogId, Box<CompactJob>)>,
    /// A compaction goes before everything else, this time.
    turn: bool,
    /// The log that the work which is out is at.
    at: Option<LogId>,
    pub(super) scrubbing: super::scrub::Scrubbing,
}

impl Upkeep {
    /// The log is to be looked at when that time has come, if not before.
    pub(super) fn schedule(&mut self, id: LogId, at_ms: u64) {
        match self.due_of.get(&id) {
            Some(&before) if before <= at_ms => return,
            Some(&before) => {
                self.due.remove(&(before, id));
            }
            None => {}
        }
        self.due.insert((at_ms, id));
        self.due_of.insert(id, at_ms);
    }

    pub(super) fn removed(&mut self, id: LogId) {
        if let Some(at) = self.due_of.remove(&id) {
            self.due.remove(&(at, id));
        }
        self.compacting.take_if(|(compacted, _)| *compacted == id);
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<LogId> {
        let &(at, id) = self.due.first().filter(|&&(at, _)| at <= now_ms)?;
        self.due.remove(&(at, id));
        self.due_of.remove(&id);
        Some(id)
    }

    pub(super) fn is_at(&self, id: LogId) -> bool {
        self.at == Some(id)
    }
}

/// A step of upkeep of one log.
#[derive(Debug)]
pub(super) enum UpkeepJob {
    Look(Box<Look>),
    /// Segments that the log has let go of.
    Remove(Box<Removal>),
    Compact(Box<Compacting>),
    Scrub(Box<super::scrub::ScrubJob>),
}

/// Files to remove, unless the log is removed with all it has.
#[derive(Debug)]
pub(super) struct Removal {
    handles: Arc<Handles>,
    segments: Vec<Arc<Segment>>,
    removed: Arc<AtomicBool>,
    outcome: Result<(), Fault>,
}

/// A step of a compaction.
#[derive(Debug)]
pub(super) struct Compacting {
    id: LogId,
    handles: Arc<Handles>,
    job: Box<CompactJob>,
    /// Those that may be replaced.
    segments: Vec<Arc<Segment>>,
    removed: Arc<AtomicBool>,
    outcome: Option<Result<Step, Fault>>,
}

impl UpkeepJob {
    pub(super) fn run(&mut self) {
        match self {
            Self::Look(look) => look.run(),
            Self::Remove(removal) => removal.outcome = removal.run(),
            Self::Compact(compacting) => compacting.run(),
            Self::Scrub(scrub) => scrub.run(),
        }
    }
}

impl Compacting {
    fn run(&mut self) {
        if self.removed.load(Ordering::Acquire) {
            return;
        }
        self.outcome = Some(self.job.run().and_then(|step| match step {
            Step::Replaced(replacement) => self.swap(replacement).map(Step::Replaced),
            other => Ok(other),
        }));
    }

    /// Whoever has begun to read a source goes on with its open file.
    fn swap(&self, replacement: Replacement) -> Result<Replacement, Fault> {
        let disk = self.handles.disk();
        let is_source =
            |segment: &&Arc<Segment>| replacement.sources.contains(&segment.base_offset);
        let mut sources = self.segments.iter().filter(is_source);
        if let Err(fault) = sources.try_for_each(|segment| segment.file.pin(disk)) {
            replacement.abandon(disk)?;
            return Err(fault);
        }
        replacement.swap(disk)?;
        Ok(replacement)
    }
}

impl Removal {
    fn run(&self) -> Result<(), Fault> {
        if self.removed.load(Ordering::Acquire) {
            self.segments.iter().for_each(|segment| segment.file.removed(&self.handles));
            return Ok(());
        }
        self.segments.iter().try_for_each(|segment| segment.remove_files(&self.handles))
    }
}

impl Store {
    pub(super) fn next_upkeep(&mut self, now: Moment) -> Option<Work> {
        if self.upkeep.out || !self.begun {
            return None;
        }
        let clock = self.upkeep.clock.get_or_insert_with(|| PlausibleClock::new(now));
        let wall_ms = clock.plausible_now(now);
        let job = self.next_upkeep_job(now, wall_ms)?;
        self.upkeep.out = true;
        Some(Work { job: Job::Upkeep(job) })
    }

    fn next_upkeep_job(&mut self, now: Moment, wall_ms: i64) -> Option<UpkeepJob> {
        // A long compaction takes turns with everything else.
        self.upkeep.turn = !self.upkeep.turn;
        let (first, second): (NextUpkeep, NextUpkeep) = match self.upkeep.turn {
            true => (Self::next_compaction, Self::next_look),
            false => (Self::next_look, Self::next_compaction),
        };
        first(self, now, wall_ms).or_else(|| second(self, now, wall_ms))
    }

    fn next_compaction(&mut self, _now: Moment, _wall_ms: i64) -> Option<UpkeepJob> {
        let (id, job) = self.upkeep.compacting.take()?;
        let log = self.logs.get(&id)?;
        self.upkeep.at = Some(id);
        Some(UpkeepJob::Compact(Box::new(Compacting {
            id,
            handles: Arc::clone(&self.handles),
            job,
            segments: log.sealed_segments().to_vec(),
            removed: log.removed_flag(),
            outcome: None,
        })))
    }

    fn next_look(&mut self, now: Moment, wall_ms: i64) -> Option<UpkeepJob> {
        let compacted = self.upkeep.compacting.as_ref().map(|&(id, _)| id);
        for _ in 0..PLAN_LOGS_PER_STEP {
            let Some(id) = self.upkeep.pop_due(now.mono_ms) else { break };
            let Some(log) = self.logs.get_mut(&id) else { continue };
            self.upkeep.schedule(id, now.mono_ms + self.config.retention_check_ms.max(1));
            log.expire_producers(now.mono_ms, self.config.producer_expiry_ms);
            self.count_producers(id);
            let Some(log) = self.logs.get_mut(&id) else { continue };
            if compacted == Some(id) {
                // Its segments are not to go while they are read.
                self.upkeep.schedule(id, now.mono_ms + UPKEEP_SOON_MS);
                continue;
            }
            if log.failed().is_some() {
                continue;
            }
            let gone = log.let_go_of_passed();
            if !gone.is_empty() {
                // There may be more to do, which is seen when these are gone.
                self.upkeep.schedule(id, now.mono_ms);
                self.upkeep.at = Some(id);
                return Some(UpkeepJob::Remove(Box::new(Removal {
                    handles: Arc::clone(&self.handles),
                    segments: gone,
                    removed: log.removed_flag(),
                    outcome: Ok(()),
                })));
            }
            if let Some(look) = log.look(id, &self.handles, wall_ms) {
                return Some(UpkeepJob::Look(Box::new(look)));
            }
        }
        self.next_scrub(now).map(|scrub| UpkeepJob::Scrub(Box::new(scrub)))
    }

    pub(super) fn upkeep_done(&mut self, now: Moment, job: UpkeepJob) {
        self.upkeep.out = false;
        let at = self.upkeep.at.take();
        match job {
            UpkeepJob::Look(look) => self.looked(now, &look),
            UpkeepJob::Remove(removal) => {
                // Files that could not be removed are below the log's start: the next open lets go of
                // them again.
                if removal.outcome.is_err()
                    && let Some(log) = at.and_then(|id| self.logs.get_mut(&id))
                {
                    log.take_back(removal.segments);
                }
            }
            UpkeepJob::Compact(compacting) => self.compacted(now, *compacting),
            UpkeepJob::Scrub(scrub) => self.scrubbed(now, &scrub),
        }
    }

    fn looked(&mut self, now: Moment, look: &Look) {
        let id = look.id;
        let Some(log) = self.logs.get_mut(&id) else { return };
        match look.retention {
            Retention::Keep => {}
            Retention::RollFirst => {
                log.roll();
                self.dirty.insert(id);
                self.upkeep.schedule(id, now.mono_ms + UPKEEP_SOON_MS);
                return;
            }
            Retention::Drop { new_start, .. } => {
                // Without room in the journal the next look tries again; a failed log keeps all it has.
                if let Ok(true) = self.advance_start(id, new_start) {
                    return;
                }
            }
        }
        if let Some(plan) = &look.compaction {
            self.compact(now, id, plan);
        }
    }

    fn compact(&mut self, now: Moment, id: LogId, plan: &CompactPlan) {
        if self.upkeep.compacting.is_some() {
            // One log at a time.
            self.upkeep.schedule(id, now.mono_ms + UPKEEP_SOON_MS);
            return;
        }
        let Some(log) = self.logs.get_mut(&id) else { return };
        if !log.may_have_gaps() {
            self.dirty.insert(id);
            self.upkeep.schedule(id, now.mono_ms + UPKEEP_SOON_MS);
            return;
        }
        let (aborted, live) = log.facts_for_compaction(plan.until);
        let (handles, dir) = (Arc::clone(&self.handles), Arc::clone(log.dir()));
        let slots_max = self.config.compaction_slots_max;
        let job = CompactJob::new(handles, &dir, plan.clone(), aborted, live, slots_max);
        self.upkeep.compacting = Some((id, Box::new(job)));
    }

    fn compacted(&mut self, now: Moment, compacting: Compacting) {
        let Compacting { id, job, outcome, .. } = compacting;
        let Some(log) = self.logs.get_mut(&id) else { return };
        match outcome {
            Some(Ok(Step::More)) => self.upkeep.compacting = Some((id, job)),
            Some(Ok(Step::Replaced(replacement))) => {
                log.replace(replacement, &self.handles);
                self.upkeep.compacting = Some((id, job));
            }
            Some(Ok(Step::Done(outcome))) => {
                if let Some((base_offset, fault)) = &outcome.damaged {
                    let next = log.segment_end(*base_offset);
                    self.rots.report(id, (*base_offset, next), fault);
                }
                log.cleaned(&outcome);
                self.dirty.insert(id);
            }
            // The files that a swap left in between are brought to one side when the log is opened; until
            // then its sources stay what is read.
            Some(Err(_)) | None => {
                self.upkeep.schedule(id, now.mono_ms + self.config.retention_check_ms);
            }
        }
    }

    pub(super) fn upkeep_due_ms(&self) -> Option<u64> {
        if self.upkeep.out || !self.begun {
            return None;
        }
        let compacting = self.upkeep.compacting.is_some().then_some(0);
        let look = self.upkeep.due.first().map(|&(at, _)| at);
        [compacting, look, self.scrub_due_ms()].into_iter().flatten().min()
    }

    pub(super) fn upkeep_is_out(&self) -> bool {
        self.upkeep.out
    }
}
