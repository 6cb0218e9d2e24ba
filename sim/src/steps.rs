//! The steps of a history: each is one thing that an owner does, or has somebody do.

use tidings_log::{AppendAt, AppendRefused, Appended, Batch, TransactionVersion};

use crate::batches;
use crate::books::{Kind, Slot, Stage};
use crate::history::{Ended, OutWork, OutWrite, Owner};
use crate::model::LogModel;

/// Bytes that are left on a disk that is said to be full, at most.
const NEARLY_FULL_BYTES: u64 = 24_000;

/// A name, and what the owner does.
pub(crate) type Step = (&'static str, fn(&mut Owner) -> Result<(), Ended>);

/// What the owner does next, each as often as it is named.
pub(crate) const STEPS: [Step; 38] = {
    const APPEND: Step = ("append", Owner::append);
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

impl Owner {
    pub(crate) fn append(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn append_batch(&mut self, at: usize, batch: &Batch) -> Result<(), Ended> {
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

    pub(crate) fn append_at(&self, at: usize) -> AppendAt {
        AppendAt {
            now_ms: self.books.now.wall_ms,
            leader_epoch: self.books.leader_epoch,
            log_append_time: self.books.slots[at].kind == Kind::BySize,
            transactions: TransactionVersion::One,
        }
    }

    /// Sends a producer's last batch again, which must be known, or one out of turn, which must be
    /// refused.
    pub(crate) fn resend(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn advance_start(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn take_writes(&mut self) -> Result<(), Ended> {
        while let Some(write) = self.store().next_write() {
            self.writes.push(OutWrite { write, outcome: None });
            if self.random.once_in(2) {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn run_a_write(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn give_a_write_back(&mut self) -> Result<(), Ended> {
        let ran: Vec<usize> =
            (0..self.writes.len()).filter(|&at| self.writes[at].outcome.is_some()).collect();
        let chosen = self.random.below(ran.len().max(1) as u64) as usize;
        if let Some(&at) = ran.get(chosen) {
            self.give_back(at);
        }
        Ok(())
    }

    pub(crate) fn give_back(&mut self, at: usize) {
        let OutWrite { write, outcome } = self.writes.swap_remove(at);
        let outcome = outcome.expect("only writes that ran are given back");
        self.store().write_done(write, outcome);
    }

    pub(crate) fn finish_writes(&mut self) {
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

    pub(crate) fn take_work(&mut self) -> Result<(), Ended> {
        let now = self.books.now;
        if let Some(work) = self.store().next_work(now) {
            self.works.push(OutWork { work, ran: false });
        }
        Ok(())
    }

    pub(crate) fn run_a_work(&mut self) -> Result<(), Ended> {
        let Some(at) = self.works.iter().position(|out| !out.ran) else { return Ok(()) };
        self.works[at].work.run();
        self.works[at].ran = true;
        if self.random.once_in(2) {
            self.give_work_back(at);
        }
        Ok(())
    }

    pub(crate) fn give_a_work_back(&mut self) -> Result<(), Ended> {
        if let Some(at) = self.works.iter().position(|out| out.ran) {
            self.give_work_back(at);
        }
        Ok(())
    }

    pub(crate) fn give_work_back(&mut self, at: usize) {
        let OutWork { work, .. } = self.works.swap_remove(at);
        let now = self.books.now;
        self.store().work_done(now, work);
    }

    pub(crate) fn finish_works(&mut self) {
        while let Some(at) = self.works.len().checked_sub(1) {
            if !self.works[at].ran {
                self.works[at].work.run();
            }
            self.give_work_back(at);
        }
    }

    pub(crate) fn tick(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn note_time(&mut self) {
        for slot in &mut self.books.slots {
            slot.model.now_ms = slot.model.now_ms.max(self.books.now.wall_ms);
        }
    }

    pub(crate) fn ask_one(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let store = self.store.as_ref().expect("the owner keeps its store open");
        let slot = &self.books.slots[at];
        slot.model.check(store, slot.id).map_err(Ended::Violation)?;
        Ok(())
    }

    pub(crate) fn configure(&mut self) -> Result<(), Ended> {
        let Some(at) = self.pick(Stage::Live) else { return Ok(()) };
        let mut config = self.books.slots[at].kind.config(&mut self.random);
        config.delete_retention_ms = self.books.slots[at].model.config.delete_retention_ms;
        self.books.slots[at].model.config = config;
        let id = self.books.slots[at].id;
        self.store().configure(id, config);
        Ok(())
    }

    /// Removes a log, or creates again one that was removed, under another key.
    pub(crate) fn remove_or_create(&mut self) -> Result<(), Ended> {
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

    pub(crate) fn fill_or_free(&mut self) -> Result<(), Ended> {
        let room = self.random.below(NEARLY_FULL_BYTES);
        let bytes = if self.is_full { u64::MAX } else { self.disk.memory().used_bytes() + room };
        self.disk.memory().set_capacity(bytes);
        self.is_full = !self.is_full;
        Ok(())
    }
}
