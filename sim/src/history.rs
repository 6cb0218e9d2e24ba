//! Seeded histories of a store: what its owner does, step by step.
//!
//! The owner appends, carries out the store's writes and work in any order and late, moves starts,
//! removes and re-creates logs, fills the disk, stops cleanly and not, and notes in the model
//! what was promised. Everything follows from the seed.

use std::sync::Arc;

use tidings_log::{
    AppendAt, AppendRefused, Appended, Batch, Disk, Fault, FaultKind, JournalWrite, LogConfig,
    LogId, LogKey, Moment, Store, StoreConfig, StoreRecovered, Work,
};

use crate::batches::{self, Values};
use crate::disk::SimDisk;
use crate::model::{Answers, LogModel};
use crate::random::Random;

const STEPS_MIN: u64 = 25;
const STEPS_MAX: u64 = 90;
/// Work done one after another when all of it is asked for; more means that it never ends.
const WORK_MAX: usize = 100;
/// Bytes that are left on a disk that is said to be full, at most.
const NEARLY_FULL_BYTES: u64 = 24_000;
/// Any time that is not near 0.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// What a log of a history is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Compacted,
    BySize,
    ByTime,
    InMemory,
}

impl Kind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Plain, "orders-0"),
        (Self::Compacted, "stock-0"),
        (Self::BySize, "clicks-0"),
        (Self::ByTime, "audit-1"),
        (Self::InMemory, "metrics-0"),
    ];

    /// Small segments with many index entries, so that a history rolls several times.
    fn config(self, random: &mut Random) -> LogConfig {
        let plain = LogConfig {
            segment_bytes: [400, 1_500, 4_500][random.below(3) as usize],
            index_interval_bytes: [150, 600][random.below(2) as usize],
            segment_index_bytes: [64, 10_000][random.below(2) as usize],
            retention_ms: -1,
            ..LogConfig::KAFKA
        };
        match self {
            Self::Plain => plain,
            Self::Compacted => LogConfig {
                delete: false,
                compact: true,
                min_cleanable_dirty_millionths: [0, 300_000][random.below(2) as usize],
                delete_retention_ms: [0, 1 << 40][random.below(2) as usize],
                ..plain
            },
            Self::BySize => LogConfig { retention_bytes: 3_000, ..plain },
            Self::ByTime => LogConfig { retention_ms: 60_000, ..plain },
            Self::InMemory => LogConfig { volatile: true, ..plain },
        }
    }
}

/// A log with its place in the owner's books.
#[derive(Clone, Debug)]
pub struct Slot {
    pub id: LogId,
    pub kind: Kind,
    pub stage: Stage,
    pub model: LogModel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Live,
    /// Removal was decided, durably; the folder may be there.
    Removed,
    Gone,
}

/// What outlives a crash besides the disk: the owner's books and what was promised.
#[derive(Clone, Debug)]
pub struct Books {
    pub slots: Vec<Slot>,
    pub config: StoreConfig,
    now: Moment,
    leader_epoch: i32,
    keys_made: u8,
    values: Values,
}

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

struct OutWrite {
    write: JournalWrite,
    outcome: Option<Result<(), Fault>>,
}

struct OutWork {
    work: Work,
    ran: bool,
}

/// How a data directory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Clean,
    /// With batches that are in the journal only.
    Unclean,
}

/// What the owner does next, each as often as it is named.
const STEPS: [(&str, fn(&mut Owner) -> Result<(), Ended>); 38] = {
    const APPEND: (&str, fn(&mut Owner) -> Result<(), Ended>) = ("append", Owner::append);
    [
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        APPEND,
        ("take writes", Owner::take_writes),
        ("take writes", Owner::take_writes),
        ("take writes", Owner::take_writes),
        ("run a write", Owner::run_a_write),
        ("run a write", Owner::run_a_write),
        ("run a write", Owner::run_a_write),
        ("give a write back", Owner::give_a_write_back),
        ("give a write back", Owner::give_a_write_back),
        ("take work", Owner::take_work),
        ("take work", Owner::take_work),
        ("take work", Owner::take_work),
        ("run a work", Owner::run_a_work),
        ("run a work", Owner::run_a_work),
        ("give a work back", Owner::give_a_work_back),
        ("give a work back", Owner::give_a_work_back),
        ("settle", Owner::settle),
        ("tick", Owner::tick),
        ("tick", Owner::tick),
        ("flush everything", Owner::flush_everything),
        ("send again", Owner::resend),
        ("advance a start", Owner::advance_start),
        ("ask", Owner::ask_one),
        ("configure", Owner::configure),
        ("remove or create", Owner::remove_or_create),
        ("fill or free", Owner::fill_or_free),
        ("stop and open", Owner::stop_and_open),
    ]
};

/// A store with its owner.
pub struct Owner {
    disk: SimDisk,
    random: Random,
    pub books: Books,
    trouble: Trouble,
    store: Option<Store>,
    writes: Vec<OutWrite>,
    works: Vec<OutWork>,
    is_full: bool,
    /// Prints each step and what the logs promise after it.
    pub tells: bool,
}

impl Books {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xb00c);
        let config = StoreConfig {
            journal_bytes: [65_536, 98_304][random.below(2) as usize],
            journal_chunk_bytes: 16_384,
            journal_seed: seed,
            writes_in_flight_max: 1 + random.below(4) as usize,
            write_bytes_max: [4_096, 8_192][random.below(2) as usize],
            flush_bytes: [4_000, 16_000][random.below(2) as usize],
            unflushed_bytes_max: 40_000,
            flush_after_ms: 500,
            open_files_max: [1, 8][random.below(2) as usize],
            cache_bytes: [0, 6_000, 60_000][random.below(3) as usize],
            retention_check_ms: 400,
            producer_expiry_ms: i64::MAX,
            scrub_bytes_per_second: [0, 10_000][random.below(2) as usize],
        };
        let mut books = Self {
            slots: Vec::new(),
            config,
            now: Moment { wall_ms: BEGIN_MS, mono_ms: 1_000 },
            leader_epoch: 0,
            keys_made: 0,
            values: Values::Any,
        };
        let first = random.below(5) as usize;
        for (kind, dir) in (0..4).map(|at| Kind::ALL[(first + at) % 5]) {
            let config = kind.config(&mut random);
            books.create(kind, dir, config);
        }
        books
    }

    /// Few bytes of everything, for a directory of which every bit is flipped.
    fn small(seed: u64) -> Self {
        let mut books = Self::new(seed);
        books.values = Values::Small;
        books.config.journal_bytes = 32_768;
        books.config.journal_chunk_bytes = 8_192;
        books.config.cache_bytes = 0;
        books.config.scrub_bytes_per_second = 0;
        books
    }

    fn create(&mut self, kind: Kind, dir: &str, config: LogConfig) -> usize {
        self.keys_made += 1;
        let mut model = LogModel::new(LogKey([self.keys_made; 20]), dir, config);
        model.now_ms = self.now.wall_ms;
        let id = LogId(u64::from(self.keys_made));
        self.slots.push(Slot { id, kind, stage: Stage::Live, model });
        self.slots.len() - 1
    }
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
        if stop == Stop::Clean {
            self.close()?;
        }
        Ok(())
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

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the owner keeps its store open")
    }

    /// What a fault means here: the power cut, trouble that was asked for, or a violation.
    fn ended(&self, what: &str, fault: &Fault) -> Ended {
        if self.disk.is_cut() || self.is_excused(fault) {
            return Ended::Power;
        }
        Ended::Violation(format!("{what} failed without a cause: {fault}"))
    }

    fn is_excused(&self, fault: &Fault) -> bool {
        (self.is_full && fault.kind == FaultKind::NoSpace)
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
        let StoreRecovered { damaged, .. } = recovered;
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
            slot.model.adopt(log).map_err(Ended::Violation)?;
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

    fn pick(&mut self, stage: Stage) -> Option<usize> {
        let of_stage: Vec<usize> =
            (0..self.books.slots.len()).filter(|&at| self.books.slots[at].stage == stage).collect();
        let at = self.random.below(of_stage.len().max(1) as u64) as usize;
        of_stage.get(at).copied()
    }

    fn append(&mut self) -> Result<(), Ended> {
        self.finish_removals()?;
        let Some(mut at) = self.pick(Stage::Live) else { return Ok(()) };
        // Compaction needs many segments to have a choice.
        let is_compacted = |slot: &Slot| slot.kind == Kind::Compacted && slot.stage == Stage::Live;
        if self.random.once_in(4) {
            at = self.books.slots.iter().position(is_compacted).unwrap_or(at);
        }
        let now_ms = self.books.now.wall_ms;
        let slot = &self.books.slots[at];
        let batch = batches::next(&mut self.random, &slot.model, now_ms, self.books.values);
        if self.store().congested() {
            return Ok(());
        }
        self.append_batch(at, &batch)
    }

    fn append_batch(&mut self, at: usize, batch: &Batch) -> Result<(), Ended> {
        let when = self.append_at(at);
        let (id, expected) = (self.books.slots[at].id, self.books.slots[at].model.end);
        match self.store().append(id, batch, when) {
            Ok(Appended::Written { base_offset, .. }) if base_offset == expected => {
                let log_append_time = when.log_append_time.then_some(when.now_ms);
                let model = &mut self.books.slots[at].model;
                model.append(batch, when.leader_epoch, log_append_time);
                Ok(())
            }
            Err(AppendRefused::Congested) => Ok(()),
            Err(AppendRefused::Fault(fault)) if self.is_excused(&fault) => Ok(()),
            Err(AppendRefused::Fault(fault)) => Err(self.ended("append", &fault)),
            other => {
                Err(Ended::Violation(format!("append at {expected} of {id:?} gave {other:?}")))
            }
        }
    }

    fn append_at(&self, at: usize) -> AppendAt {
        AppendAt {
            now_ms: self.books.now.wall_ms,
            leader_epoch: self.books.leader_epoch,
            log_append_time: self.books.slots[at].kind == Kind::BySize,
        }
    }

    /// Sends a producer's last batch again, which must be known, or one out of turn, which must be
    /// refused.
    fn resend(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let model = &self.books.slots[at].model;
        let Some(entry) = model.all.entries().into_iter().rfind(|entry| entry.last_offset >= 0)
        else {
            return Ok(());
        };
        let sent = model.batches.iter().find(|batch| batch.last_offset() == entry.last_offset);
        let sent = sent.expect("the model has every batch").clone();
        let (id, when) = (self.books.slots[at].id, self.append_at(at));
        match self.store().append(id, &sent, when) {
            Ok(Appended::Duplicate { last_offset, .. }) if last_offset == entry.last_offset => {
                Ok(())
            }
            Err(AppendRefused::Congested) => Ok(()),
            Err(AppendRefused::Fault(fault)) if self.is_excused(&fault) => Ok(()),
            Err(AppendRefused::Fault(fault)) => Err(self.ended("append", &fault)),
            other => Err(Ended::Violation(format!(
                "batch {} of {id:?}, sent again, gave {other:?}",
                entry.last_offset
            ))),
        }
    }

    fn advance_start(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let id = self.books.slots[at].id;
        let (start, stable) = {
            let log = self.store().log(id).expect("live logs are open");
            (log.start_offset(), log.last_stable_offset())
        };
        if stable <= start {
            return Ok(());
        }
        let wanted = start + self.random.below((stable - start) as u64 + 1) as i64;
        match self.store().advance_start(id, wanted) {
            Ok(moved) if moved == (wanted > start) => {
                self.books.slots[at].model.start = wanted;
                Ok(())
            }
            Err(AppendRefused::Congested) => Ok(()),
            Err(AppendRefused::Fault(fault)) if self.is_excused(&fault) => Ok(()),
            Err(AppendRefused::Fault(fault)) => Err(self.ended("advance_start", &fault)),
            other => Err(Ended::Violation(format!("start {start} to {wanted} gave {other:?}"))),
        }
    }

    fn take_writes(&mut self) -> Result<(), Ended> {
        while let Some(write) = self.store().next_write() {
            self.writes.push(OutWrite { write, outcome: None });
            if self.random.once_in(2) {
                break;
            }
        }
        Ok(())
    }

    fn run_a_write(&mut self) -> Result<(), Ended> {
        let waiting: Vec<usize> =
            (0..self.writes.len()).filter(|&at| self.writes[at].outcome.is_none()).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let at = waiting[self.random.below(waiting.len() as u64) as usize];
        self.writes[at].outcome = Some(self.writes[at].write.run());
        if self.random.once_in(2) {
            self.give_back(at);
        }
        Ok(())
    }

    fn give_a_write_back(&mut self) -> Result<(), Ended> {
        let ran: Vec<usize> =
            (0..self.writes.len()).filter(|&at| self.writes[at].outcome.is_some()).collect();
        let chosen = self.random.below(ran.len().max(1) as u64) as usize;
        if let Some(&at) = ran.get(chosen) {
            self.give_back(at);
        }
        Ok(())
    }

    fn give_back(&mut self, at: usize) {
        let OutWrite { write, outcome } = self.writes.swap_remove(at);
        let outcome = outcome.expect("only writes that ran are given back");
        self.store().write_done(write, outcome);
    }

    fn finish_writes(&mut self) {
        loop {
            while let Some(at) = self.writes.len().checked_sub(1) {
                if self.writes[at].outcome.is_none() {
                    self.writes[at].outcome = Some(self.writes[at].write.run());
                }
                self.give_back(at);
            }
            match self.store().next_write() {
                Some(write) => self.writes.push(OutWrite { write, outcome: None }),
                None => return,
            }
        }
    }

    fn take_work(&mut self) -> Result<(), Ended> {
        let now = self.books.now;
        if let Some(work) = self.store().next_work(now) {
            self.works.push(OutWork { work, ran: false });
        }
        Ok(())
    }

    fn run_a_work(&mut self) -> Result<(), Ended> {
        let Some(at) = self.works.iter().position(|out| !out.ran) else { return Ok(()) };
        self.works[at].work.run();
        self.works[at].ran = true;
        if self.random.once_in(2) {
            self.give_work_back(at);
        }
        Ok(())
    }

    fn give_a_work_back(&mut self) -> Result<(), Ended> {
        if let Some(at) = self.works.iter().position(|out| out.ran) {
            self.give_work_back(at);
        }
        Ok(())
    }

    fn give_work_back(&mut self, at: usize) {
        let OutWork { work, .. } = self.works.swap_remove(at);
        let now = self.books.now;
        self.store().work_done(now, work);
    }

    fn finish_works(&mut self) {
        while let Some(at) = self.works.len().checked_sub(1) {
            if !self.works[at].ran {
                self.works[at].work.run();
            }
            self.give_work_back(at);
        }
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
    fn flush_everything(&mut self) -> Result<(), Ended> {
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

    fn tick(&mut self) -> Result<(), Ended> {
        let passed = 50 + self.random.below(700);
        self.books.now.mono_ms += passed;
        self.books.now.wall_ms += match self.random.below(8) {
            0 => 120_000,
            1 => -3_600_000,
            _ => passed as i64,
        };
        self.note_time();
        self.books.leader_epoch += i32::from(self.random.once_in(3));
        Ok(())
    }

    fn note_time(&mut self) {
        for slot in &mut self.books.slots {
            slot.model.now_ms = slot.model.now_ms.max(self.books.now.wall_ms);
        }
    }

    fn ask_one(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let store = self.store.as_ref().expect("the owner keeps its store open");
        let slot = &self.books.slots[at];
        slot.model.check(store, slot.id).map_err(Ended::Violation)?;
        Ok(())
    }

    fn configure(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let mut config = self.books.slots[at].kind.config(&mut self.random);
        config.delete_retention_ms = self.books.slots[at].model.config.delete_retention_ms;
        self.books.slots[at].model.config = config;
        let id = self.books.slots[at].id;
        self.store().configure(id, config);
        Ok(())
    }

    /// Removes a log, or creates again one that was removed, under another key.
    fn remove_or_create(&mut self) -> Result<(), Ended> {
        if let Some(at) = self.pick(Stage::Gone) {
            let Slot { kind, model: LogModel { dir, .. }, .. } = self.books.slots.remove(at);
            let config = kind.config(&mut self.random);
            let at = self.books.create(kind, &dir, config);
            let (id, key) = (self.books.slots[at].id, self.books.slots[at].model.key);
            let opened = self.store().open_log(id, key, &dir, config);
            let recovered = opened.map_err(|fault| self.ended("open_log", &fault))?;
            if !recovered.damaged.is_empty() || recovered.cut_bytes > 0 {
                return Err(Ended::Violation(format!("{dir}: created with {recovered:?}")));
            }
            return Ok(());
        }
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        self.books.slots[at].stage = Stage::Removed;
        let id = self.books.slots[at].id;
        self.store().remove_log(id);
        self.finish_removals()
    }

    /// Removes the folders of logs that were removed and that no work is at.
    fn finish_removals(&mut self) -> Result<(), Ended> {
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

    fn fill_or_free(&mut self) -> Result<(), Ended> {
        let room = self.random.below(NEARLY_FULL_BYTES);
        let bytes = if self.is_full { u64::MAX } else { self.disk.memory().used_bytes() + room };
        self.disk.memory().set_capacity(bytes);
        self.is_full = !self.is_full;
        Ok(())
    }

    /// Ends the process, cleanly or not, and starts it again; the page cache outlives it.
    fn stop_and_open(&mut self) -> Result<(), Ended> {
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
                for slot in self.books.slots.iter_mut().filter(|_| all_in_segments) {
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
