//! Seeded histories of a store: what its owner does, step by step.
//!
//! The owner appends, carries out the store's writes and work in any order and late, moves starts,
//! removes and re-creates logs, fills the disk, stops cleanly and not, and notes in the model
//! what was promised. Everything follows from the seed.

use std::sync::Arc;

use tidings_log::limits::ANNOUNCE_AFTER_MS;
use tidings_log::{Disk, Fault, FaultKind, JournalWrite, Store, StoreRecovered, Work};

use crate::batches::{self, Values};
use crate::books::{Books, Slot, Stage};
use crate::disk::SimDisk;
use crate::model::{Answers, LogModel};
use crate::random::Random;
use crate::steps::STEPS;

const STEPS_MIN: u64 = 25;
const STEPS_MAX: u64 = 90;
/// Work done one after another when all of it is asked for; more means that it never ends.
const WORK_MAX: usize = 100;

/// Why a history ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The disk failed, as it was told to.
    Power,
    /// The store did what it must not.
    Violation(String),
}

/// What may happen to the disk besides power cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// One call fails.
    OneFailure,
}

pub(crate) struct OutWrite {
    pub(crate) write: JournalWrite,
    pub(crate) outcome: Option<Result<(), Fault>>,
}

pub(crate) struct OutWork {
    pub(crate) work: Work,
    pub(crate) ran: bool,
}

/// What a flush round makes once everything is in segments.
const UNFINISHED_CHECKPOINT: &str = "checkpoint.new";

/// How a data directory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Clean,
    /// With batches that are in the journal only.
    Unclean,
    /// With batches in the journal and in segments, and a checkpoint that does not say so.
    InFlush,
}

/// A store with its owner.
pub struct Owner {
    pub(crate) disk: SimDisk,
    pub(crate) random: Random,
    pub books: Books,
    pub(crate) trouble: Trouble,
    pub(crate) store: Option<Store>,
    pub(crate) writes: Vec<OutWrite>,
    pub(crate) works: Vec<OutWork>,
    pub(crate) is_full: bool,
    /// Prints each step and what the logs promise after it.
    pub tells: bool,
}

impl Owner {
    pub fn new(disk: SimDisk, seed: u64, books: Books, trouble: Trouble) -> Self {
        Self {
            disk,
            random: Random::new(seed),
            books,
            trouble,
            store: None,
            writes: Vec::new(),
            works: Vec::new(),
            is_full: false,
            tells: false,
        }
    }

    /// The owner of an empty directory that is to have little of everything.
    pub fn small_directory(disk: SimDisk, seed: u64) -> Self {
        Self::new(disk, seed, Books::small(seed), Trouble::None)
    }

    /// The owner of a directory that is there.
    pub fn of_books(disk: SimDisk, books: Books) -> Self {
        Self::new(disk, 0, books, Trouble::None)
    }

    /// Fills every log with a few segments and leaves some batches in the journal; stops.
    pub fn fill_directory(&mut self, stop: Stop) -> Result<(), Ended> {
        self.open()?;
        for round in 0..4 {
            for at in 0..self.books.slots.len() {
                for _ in 0..3 {
                    let now_ms = self.books.now.wall_ms;
                    let model = &self.books.slots[at].model;
                    let batch = batches::next(&mut self.random, model, now_ms, Values::Small);
                    self.append_batch(at, &batch)?;
                }
            }
            self.settle()?;
            self.books.leader_epoch = round;
            if round < 3 {
                self.flush_everything()?;
                self.advance_start()?;
            }
        }
        self.note()?;
        match stop {
            Stop::Clean => self.close(),
            Stop::Unclean => self.fall_idle(),
            Stop::InFlush => {
                self.fall_idle()?;
                self.stop_in_flush()
            }
        }
    }

    /// Ends when a flush round has made everything durable in segments, before its checkpoint says so.
    fn stop_in_flush(&mut self) -> Result<(), Ended> {
        self.books.now.mono_ms += self.books.config.flush_after_ms;
        self.disk.cut_at_path(UNFINISHED_CHECKPOINT);
        self.work_until_idle()?;
        if !self.disk.is_cut() {
            return Err(Ended::Violation("a flush round without a checkpoint".to_owned()));
        }
        self.disk.revive();
        Ok(())
    }

    /// Waits until the journal has told on disk that its last frames are durable.
    fn fall_idle(&mut self) -> Result<(), Ended> {
        let now_ms = self.books.now.wall_ms;
        let model = &self.books.slots[0].model;
        let last = batches::next(&mut self.random, model, now_ms, Values::Small);
        self.append_batch(0, &last)?;
        // The owner asks for work while the frame is on its way.
        self.take_work()?;
        self.work_until_idle()?;
        self.books.now.mono_ms += ANNOUNCE_AFTER_MS;
        self.work_until_idle()?;
        self.finish_writes();
        self.note()
    }

    /// Runs the seed's whole history, or until the power is cut.
    pub fn run(&mut self) -> Result<(), Ended> {
        self.open()?;
        let steps = STEPS_MIN + self.random.below(STEPS_MAX - STEPS_MIN);
        self.steps(steps)
    }

    /// Carries out so many steps on an open store.
    pub fn steps(&mut self, steps: u64) -> Result<(), Ended> {
        for _ in 0..steps {
            let outcome = self.step();
            self.note()?;
            outcome?;
            if self.disk.is_cut() {
                return Err(Ended::Power);
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Ended> {
        let (name, act) = STEPS[self.random.below(STEPS.len() as u64) as usize];
        let outcome = act(self);
        self.tell(name);
        outcome
    }

    fn tell(&self, what: &str) {
        if !self.tells {
            return;
        }
        let mut logs = String::new();
        for slot in &self.books.slots {
            match self.store.as_ref().and_then(|store| store.log(slot.id)) {
                Some(log) => {
                    let (start, durable_start) = (log.start_offset(), log.durable_start_offset());
                    let (durable, end) = (log.durable_offset(), log.end_offset());
                    let dir = &slot.model.dir;
                    logs += &format!(" {dir} {durable_start}/{start}..{durable}/{end}");
                }
                None => logs += &format!(" {} {:?}", slot.model.dir, slot.stage),
            }
        }
        eprintln!("call {:4} {what:18}{logs}", self.disk.calls());
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the owner keeps its store open")
    }

    /// What a fault means here: the power cut, trouble that was asked for, or a violation.
    pub(crate) fn ended(&self, what: &str, fault: &Fault) -> Ended {
        if self.disk.is_cut() || self.is_excused(fault) {
            return Ended::Power;
        }
        Ended::Violation(format!("{what} failed without a cause: {fault}"))
    }

    pub(crate) fn is_excused(&self, fault: &Fault) -> bool {
        (self.is_full && matches!(fault.kind, FaultKind::NoSpace | FaultKind::Lost { .. }))
            || (self.trouble == Trouble::OneFailure && self.disk.has_failed())
    }

    /// Opens the store and every log, and holds each to its model.
    pub fn open(&mut self) -> Result<(), Ended> {
        self.store = None;
        (self.writes, self.works) = (Vec::new(), Vec::new());
        match self.open_once() {
            Err(Ended::Power) if self.trouble == Trouble::OneFailure && !self.disk.is_cut() => {
                self.open_once()
            }
            outcome => outcome,
        }
    }

    fn open_once(&mut self) -> Result<(), Ended> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let (mut store, recovered) =
            Store::open(disk, self.books.config).map_err(|fault| self.ended("open", &fault))?;
        let StoreRecovered { damaged, closed, .. } = recovered;
        if !damaged.is_empty() {
            return Err(Ended::Violation(format!("a crash was taken for damage: {damaged:?}")));
        }
        for at in 0..self.books.slots.len() {
            let slot = &self.books.slots[at];
            if slot.stage != Stage::Live {
                continue;
            }
            let LogModel { key, dir, config, .. } = &slot.model;
            let recovered = store
                .open_log(slot.id, *key, dir, *config)
                .map_err(|fault| self.ended("open_log", &fault))?;
            if !recovered.damaged.is_empty() {
                let damaged = recovered.damaged;
                return Err(Ended::Violation(format!("{dir}: taken for damage: {damaged:?}")));
            }
        }
        let orphans = store.begin(false).map_err(|fault| self.ended("begin", &fault))?;
        for (key, entries) in orphans {
            let is_live = |slot: &Slot| slot.model.key == key && slot.stage == Stage::Live;
            if self.books.slots.iter().any(is_live) {
                return Err(Ended::Violation(format!("{key:?} lost {entries} journal entries")));
            }
        }
        for slot in self.books.slots.iter_mut().filter(|slot| slot.stage == Stage::Live) {
            let log = store.log(slot.id).expect("it was opened above");
            slot.model.adopt(log, closed).map_err(Ended::Violation)?;
        }
        self.store = Some(store);
        self.finish_removals()
    }

    /// Notes what the store promises now.
    pub fn note(&mut self) -> Result<(), Ended> {
        let Some(store) = &self.store else { return Ok(()) };
        for slot in self.books.slots.iter_mut().filter(|slot| slot.stage == Stage::Live) {
            let Some(log) = store.log(slot.id) else { continue };
            slot.model.note(log).map_err(Ended::Violation)?;
        }
        Ok(())
    }

    /// Everything that can be asked of every log, held to the model.
    pub fn ask_all(&self) -> Result<Vec<Answers>, String> {
        let store = self.store.as_ref().expect("the owner keeps its store open");
        let live = self.books.slots.iter().filter(|slot| slot.stage == Stage::Live);
        live.map(|slot| slot.model.check(store, slot.id)).collect()
    }

    pub(crate) fn pick(&mut self, stage: Stage) -> Option<usize> {
        let of_stage: Vec<usize> =
            (0..self.books.slots.len()).filter(|&at| self.books.slots[at].stage == stage).collect();
        let at = self.random.below(of_stage.len().max(1) as u64) as usize;
        of_stage.get(at).copied()
    }

    /// Makes everything durable, at once.
    pub fn settle(&mut self) -> Result<(), Ended> {
        self.finish_writes();
        self.finish_works();
        let now = self.books.now;
        self.store().settle(now);
        // After a full disk nothing is tried again for a while.
        let waits = self.store().flush_fault().is_some();
        if self.disk.is_cut() || self.is_full || self.disk.has_failed() || waits {
            return Ok(());
        }
        let store = self.store.as_ref().expect("the owner keeps its store open");
        for slot in self.books.slots.iter().filter(|slot| slot.stage == Stage::Live) {
            let log = store.log(slot.id).expect("live logs are open");
            if log.durable_offset() != slot.model.end {
                let (durable, end) = (log.durable_offset(), slot.model.end);
                let dir = &slot.model.dir;
                return Err(Ended::Violation(format!("{dir}: settled, {durable} of {end}")));
            }
        }
        Ok(())
    }

    /// Does all work that is due, now and when the time has passed after which everything is flushed.
    pub(crate) fn flush_everything(&mut self) -> Result<(), Ended> {
        self.work_until_idle()?;
        self.books.now.mono_ms += self.books.config.flush_after_ms;
        self.books.now.wall_ms += self.books.config.flush_after_ms as i64;
        self.note_time();
        self.work_until_idle()?;
        self.note_kept()
    }

    fn work_until_idle(&mut self) -> Result<(), Ended> {
        self.finish_writes();
        self.finish_works();
        let now = self.books.now;
        for _ in 0..WORK_MAX {
            self.finish_writes();
            let Some(mut work) = self.store().next_work(now) else { return Ok(()) };
            work.run();
            if self.tells {
                eprintln!("call {:4} {work:?}", self.disk.calls());
            }
            self.store().work_done(now, work);
            if self.disk.is_cut() {
                return Ok(());
            }
        }
        if self.is_full || self.disk.has_failed() {
            return Ok(());
        }
        Err(Ended::Violation(format!("more than {WORK_MAX} pieces of work at one moment")))
    }

    /// When nothing is left to be flushed, logs in memory keep what they have.
    fn note_kept(&mut self) -> Result<(), Ended> {
        if self.store().unflushed_bytes() > 0 {
            let waits = self.store().flush_fault().is_some();
            if self.is_full || self.disk.has_failed() || self.disk.is_cut() || waits {
                return Ok(());
            }
            let left = self.store().unflushed_bytes();
            return Err(Ended::Violation(format!("{left} bytes were not flushed in time")));
        }
        let checkpointed = self.store().flush_fault().is_none();
        if checkpointed && !self.disk.has_failed() && !self.disk.is_cut() {
            for slot in &mut self.books.slots {
                slot.model.kept = slot.model.end;
            }
        }
        Ok(())
    }

    /// Removes the folders of logs that were removed and that no work is at.
    pub(crate) fn finish_removals(&mut self) -> Result<(), Ended> {
        for at in 0..self.books.slots.len() {
            let id = self.books.slots[at].id;
            if self.books.slots[at].stage != Stage::Removed || self.store().touches(id) {
                continue;
            }
            let dir = self.books.slots[at].model.dir.clone();
            let removed = match self.disk.remove_dir_all(&dir) {
                Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
                outcome => outcome,
            };
            removed
                .and_then(|()| self.disk.sync_dir(""))
                .map_err(|fault| self.ended("removal of a folder", &fault))?;
            self.books.slots[at].stage = Stage::Gone;
        }
        Ok(())
    }

    /// Ends the process, cleanly or not, and starts it again; the page cache outlives it.
    pub(crate) fn stop_and_open(&mut self) -> Result<(), Ended> {
        if !self.random.once_in(3) {
            self.close()?;
        }
        self.note()?;
        self.open()
    }

    fn close(&mut self) -> Result<(), Ended> {
        self.finish_writes();
        self.finish_works();
        match self.store().close() {
            Ok(()) => {
                let all_in_segments =
                    self.store().unflushed_bytes() == 0 && self.store().flush_fault().is_none();
                // A log whose flush failed is left as it is.
                let all_kept = all_in_segments && !self.disk.has_failed();
                for slot in self.books.slots.iter_mut().filter(|_| all_kept) {
                    slot.model.durable = slot.model.end;
                    slot.model.kept = slot.model.end;
                }
                Ok(())
            }
            Err(fault) if self.is_excused(&fault) && !self.disk.is_cut() => Ok(()),
            Err(fault) => Err(self.ended("close", &fault)),
        }
    }
}
