//! Flush rounds: what is durable in the journal goes into segments, then a checkpoint says so, then the
//! journal's start moves.
//!
//! 1. The owner takes from every dirty log what is durable and not in segments, some logs at a time.
//! 2. The round, on other threads, writes it and syncs it, in parts when it is a long one, then writes
//!    the checkpoint.
//! 3. The owner installs the new segments. Everything below the sequence that was durable when step 1
//!    began is in segments now, except for logs whose flush failed, so the journal's start moves there.
//!
//! A log whose flush fails takes no more appends, and its frames stay in the journal. A full disk, or no
//! room for one more open file, fails nothing: the round is tried again later, and until then its bytes stay
//! in memory and journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::again::Again;
use super::round::{Part, Round, Split};
use super::work::{Job, Work};
use super::{LogId, Moment, Store};
use crate::journal::{MoveStart, PrepareRing};
use crate::limits::{
    ANNOUNCE_AFTER_MS, FLUSH_RETRY_MS, KAFKA_FILES_EVERY_MS, PLAN_BATCHES_PER_STEP,
    PLAN_LOGS_PER_STEP,
};
use crate::partition_log::flush::LogFlush;
use crate::{Fault, LogKey};

/// Where the flushing of a store is.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// A work of kind flush is out.
    out: bool,
    /// Logs that the round being planned, or out, may touch.
    touched: BTreeSet<LogId>,
    planning: Option<Planning>,
    /// The round that is out, while its parts are.
    split: Option<Split>,
    /// Bytes that the round that is out has put into segments.
    written: Arc<AtomicU64>,
    /// The journal's start may move here.
    start: Option<u64>,
    /// When work was last asked for: what waits now may have come right after that.
    asked_ms: u64,
    /// Something has waited for a flush since.
    since_ms: Option<u64>,
    /// After a fault, not before.
    pub(super) retry_ms: u64,
    /// The ring could not be made larger when that was last tried; not again before that time.
    prepare_failing: bool,
    pub(super) prepare_retry_ms: u64,
    /// When the journal was first seen idle.
    pub(super) idle_since_ms: Option<u64>,
    /// The journal's first frame that each log needs which cannot be flushed.
    pub(super) holders: BTreeMap<LogId, u64>,
    /// Copies of what they need.
    pub(super) again: Option<Again>,
    /// Logs that were removed while a round had the checkpoint.
    pub(super) forgotten: Vec<LogKey>,
    /// When Kafka's checkpoints are written next, and whether they are older than ours.
    kafka_ms: u64,
    pub(super) kafka_stale: bool,
    /// Flush although little waits.
    pub(super) urgent: bool,
    /// Why the last round, or the move of the journal's start after it, did not come to its end.
    pub(super) fault: Option<Fault>,
    /// It is that the journal's start could not be moved.
    pub(super) start_failed: bool,
}

impl Flushing {
    pub(super) fn removed(&mut self, id: LogId, key: LogKey) {
        self.holders.remove(&id);
        if let Some(planning) = &mut self.planning {
            planning.left.remove(&id);
            planning.flushes.retain(|flush| flush.key != key);
        }
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Every log's batches may go into segments.
    pub(super) fn holds_nothing(&self) -> bool {
        self.holders.is_empty()
    }
}

/// A round that is being put together.
#[derive(Debug)]
struct Planning {
    left: BTreeSet<LogId>,
    flushes: Vec<LogFlush>,
    /// Durable when this began.
    durable: u64,
}

impl Store {
    pub(super) fn next_flush(&mut self, now: Moment) -> Option<Work> {
        if self.dirty.is_empty() && self.unflushed_bytes == 0 {
            self.flushing.since_ms = None;
        } else {
            self.flushing.since_ms.get_or_insert(self.flushing.asked_ms);
        }
        self.flushing.asked_ms = now.mono_ms;
        self.copy_what_holds();
        if self.flushing.split.is_some() {
            return self.next_of_split().map(|job| Work { job });
        }
        if self.flushing.out {
            return None;
        }
        let job = self.next_flush_job(now)?;
        self.flushing.out = true;
        Some(Work { job })
    }

    fn next_flush_job(&mut self, now: Moment) -> Option<Job> {
        if now.mono_ms >= self.flushing.retry_ms
            && self.journal.failed().is_none()
            && let Some(sequence) = self.flushing.start
        {
            return Some(Job::MoveStart(self.journal.move_start(sequence)));
        }
        if let Some(sequence) = self.start_past_what_nobody_needs(now) {
            self.flushing.start = Some(sequence);
            return Some(Job::MoveStart(self.journal.move_start(sequence)));
        }
        // Without room for more of the ring what is in it must go on to segments all the same.
        if !self.flushing.prepare_failing
            && let Some(prepare) = self.journal.prepare()
        {
            return Some(Job::Prepare(prepare));
        }
        if self.flushing.planning.is_none() && self.flush_is_due(now) {
            let left = std::mem::take(&mut self.dirty);
            let durable = self.journal.durable();
            self.flushing.planning = Some(Planning { left, flushes: Vec::new(), durable });
            // What is on its way to the journal has not waited long, unless the journal is full.
            if !self.journal.stalled() {
                self.flushing.since_ms = None;
            }
            self.cache.end_loose_unit();
        }
        if self.flushing.planning.is_some() {
            let round = Box::new(self.plan_round()?);
            if round.parts.len() <= 1 {
                return Some(Job::Round(round));
            }
            self.flushing.split = Some(Split::new(round));
            return self.next_of_split();
        }
        if !self.flushing.prepare_failing || now.mono_ms < self.flushing.prepare_retry_ms {
            return None;
        }
        self.journal.retry_prepare();
        self.journal.prepare().map(Job::Prepare)
    }

    /// A part of the round that is out; the round, when all of them are done.
    fn next_of_split(&mut self) -> Option<Job> {
        let mut split = self.flushing.split.take()?;
        if let Some(part) = split.next_part() {
            self.flushing.split = Some(split);
            return Some(Job::Part(Box::new(part)));
        }
        match split.into_round() {
            Ok(round) => Some(Job::Round(round)),
            Err(split) => {
                self.flushing.split = Some(split);
                None
            }
        }
    }

    pub(super) fn part_done(&mut self, part: Part) {
        if let Some(split) = &mut self.flushing.split {
            split.part_done(part);
        }
    }

    /// Where the start of a full journal may move although no log has anything to flush: its frames are of
    /// logs that were removed, or were flushed before a crash that came before the start had moved.
    fn start_past_what_nobody_needs(&self, now: Moment) -> Option<u64> {
        let is_idle = self.flushing.planning.is_none() && self.dirty.is_empty();
        if !is_idle || !self.journal.stalled() || now.mono_ms < self.flushing.retry_ms {
            return None;
        }
        let needed = self.journal_start(self.journal.durable());
        (needed > self.journal.start()).then_some(needed)
    }

    /// Where the journal may start when all logs but the dirty ones and those that hold it need nothing
    /// below `flushed`.
    fn journal_start(&self, flushed: u64) -> u64 {
        // Those that became dirty, or were opened, while a round was out were not part of it.
        let dirty = self.dirty.iter().filter_map(|id| self.logs.get(id)?.first_sequence());
        let held = self.flushing.holders.values().copied();
        dirty.chain(held).chain(self.unopened.first_sequence()).fold(flushed, u64::min)
    }

    fn flush_is_due(&self, now: Moment) -> bool {
        let (used, most) = self.journal.used_bytes();
        let waited = self
            .flushing
            .since_ms
            .is_some_and(|since| now.mono_ms.saturating_sub(since) >= self.config.flush_after_ms);
        let wanted = self.flushing.urgent
            || waited
            || self.unflushed_bytes >= self.config.flush_bytes
            || self.cache.bytes() >= self.tail_bytes_max() / 8 * 7
            || used >= most / 2
            || self.journal.stalled();
        wanted && !self.dirty.is_empty() && now.mono_ms >= self.flushing.retry_ms
    }

    /// Takes what some more logs have; the round, when all have been asked.
    fn plan_round(&mut self) -> Option<Round> {
        let planning = self.flushing.planning.as_mut()?;
        let (mut logs, mut batches) = (0, 0);
        while let Some(id) = planning.left.pop_first() {
            let Some(log) = self.logs.get_mut(&id) else { continue };
            logs += 1;
            let known = self.checkpoint.as_ref().and_then(|known| known.records.get(&log.key()));
            if let Some(flush) = log.flush(id, known) {
                batches += flush.batch_count();
                self.flushing.touched.insert(id);
                planning.flushes.push(flush);
            }
            if logs >= PLAN_LOGS_PER_STEP || batches >= PLAN_BATCHES_PER_STEP {
                break;
            }
        }
        if !planning.left.is_empty() {
            return None;
        }
        let checkpoint = self.checkpoint.take()?;
        let kafka_files = self.flushing.asked_ms >= self.flushing.kafka_ms;
        if kafka_files {
            self.flushing.kafka_ms = self.flushing.asked_ms + KAFKA_FILES_EVERY_MS;
        }
        self.flushing.kafka_stale = !kafka_files;
        let planning = self.flushing.planning.take()?;
        let (handles, written) = (&self.handles, &self.flushing.written);
        let part_bytes = self.config.flush_part_bytes;
        Some(Round {
            handles: Arc::clone(handles),
            parts: Part::divide(handles, planning.flushes, written, part_bytes),
            parts_done: Vec::new(),
            checkpoint,
            durable: planning.durable,
            kafka_files,
            checkpointed: Ok(()),
        })
    }

    pub(super) fn round_done(&mut self, now: Moment, mut round: Round) {
        self.flushing.out = false;
        self.flushing.touched.clear();
        self.flushing.written.store(0, Ordering::Relaxed);
        let flushes = round.take_flushes();
        let mut checkpoint = round.checkpoint;
        for key in self.flushing.forgotten.drain(..) {
            checkpoint.records.remove(&key);
        }
        self.checkpoint = Some(checkpoint);
        let checkpointed = round.checkpointed.is_ok();
        let mut start = round.durable;
        self.flushing.fault = round.checkpointed.err();
        self.flushing.start_failed = false;
        for mut flush in flushes {
            let Some(log) = self.logs.get_mut(&flush.id).filter(|log| log.key() == flush.key)
            else {
                continue;
            };
            match flush.outcome.take() {
                Some(Ok(flushed)) => {
                    let after = checkpointed.then_some(round.durable);
                    let start_before = log.durable_start_offset();
                    self.unflushed_bytes -= log.flushed(&flush, flushed, after);
                    if log.durable_start_offset() > start_before {
                        self.advanced.insert(flush.id);
                        self.upkeep.schedule(flush.id, 0);
                    }
                }
                Some(Err(fault)) if !fault.kind.passes() => {
                    // What it keeps in memory stays, and keeps nobody else waiting.
                    self.unflushed_bytes -= log.counted_bytes();
                    log.poison(fault);
                    if let Some(sequence) = log.first_sequence() {
                        self.flushing.holders.insert(flush.id, sequence);
                    }
                    self.advanced.insert(flush.id);
                    continue;
                }
                Some(Err(fault)) => self.flushing.fault = Some(fault),
                None => {}
            }
            if log.is_dirty() {
                self.dirty.insert(flush.id);
            } else {
                start = start.min(log.first_sequence().unwrap_or(start));
            }
        }
        if self.flushing.fault.is_some() {
            self.flushing.retry_ms = now.mono_ms + FLUSH_RETRY_MS;
        }
        if checkpointed {
            self.flushing.start = Some(self.journal_start(start));
        }
        self.trim_cache();
    }

    pub(super) fn ring_prepared(&mut self, now: Moment, prepare: PrepareRing) {
        self.flushing.out = false;
        self.journal.prepared(prepare);
        self.flushing.prepare_failing = self.journal.prepare_failed().is_some();
        self.flushing.prepare_retry_ms = now.mono_ms + FLUSH_RETRY_MS;
    }

    pub(super) fn start_moved(&mut self, now: Moment, start: MoveStart) {
        self.flushing.out = false;
        match &start.outcome {
            Some(Err(fault)) => {
                self.flushing.fault = Some(fault.clone());
                self.flushing.start_failed = true;
                self.flushing.retry_ms = now.mono_ms + FLUSH_RETRY_MS;
            }
            _ => {
                self.flushing.start = None;
                if std::mem::take(&mut self.flushing.start_failed) {
                    self.flushing.fault = None;
                }
            }
        }
        self.journal.start_moved(start);
    }

    /// Why accepted batches do not get into segments now, while nothing is lost: a full disk, or too many
    /// open files.
    pub fn flush_fault(&self) -> Option<&Fault> {
        self.flushing.fault.as_ref().or_else(|| self.journal.prepare_failed())
    }

    /// Whether work that is out may be at the files of this log, or of one of this name that was removed.
    pub fn touches(&self, id: LogId) -> bool {
        self.flushing.out && self.flushing.touched.contains(&id) || self.upkeep.is_at(id)
    }

    /// An idle journal says on disk how far it is durable.
    pub(super) fn note_idle(&mut self, now: Moment) {
        if self.journal.failed().is_some() {
            self.flushing.idle_since_ms = None;
            return;
        }
        if !self.frames_out.is_empty() || !self.pushed.is_empty() {
            self.flushing.idle_since_ms = Some(now.mono_ms);
            return;
        }
        if let Some(since) = self.flushing.idle_since_ms
            && now.mono_ms.saturating_sub(since) >= ANNOUNCE_AFTER_MS
        {
            self.journal.announce();
            self.flushing.idle_since_ms = None;
        }
    }

    pub(super) fn flush_due_ms(&self) -> Option<u64> {
        let flushing = &self.flushing;
        let idle = flushing.idle_since_ms.map(|since| since + ANNOUNCE_AFTER_MS);
        if flushing.out {
            let waits = flushing.split.as_ref().is_some_and(Split::is_waiting).then_some(0);
            return [idle, waits].into_iter().flatten().min();
        }
        let planning = flushing.planning.is_some().then_some(0);
        let works = self.journal.failed().is_none();
        let waits = match flushing.since_ms {
            None if works && self.unflushed_bytes > 0 => Some(0),
            _ if self.dirty.is_empty() => None,
            None => Some(0),
            Some(since) => Some(since + self.config.flush_after_ms),
        };
        let start = (works && flushing.start.is_some()).then_some(flushing.retry_ms);
        let prepare = (works && flushing.prepare_failing).then_some(flushing.prepare_retry_ms);
        let flush = waits.map(|at| at.max(flushing.retry_ms));
        [idle, planning, flush, start, prepare].into_iter().flatten().min()
    }

    /// Whether the owner has work of flushing that it has not given back.
    pub(super) fn flush_is_out(&self) -> bool {
        match &self.flushing.split {
            Some(split) => split.is_out(),
            None => self.flushing.out,
        }
    }

    /// Whether asking for work once more can bring some.
    pub(super) fn flush_has_more(&self) -> bool {
        self.flushing.planning.is_some()
    }
}
