//! What the owner carries out for the broker: durable writes of the journal, and jobs that block.
//!
//! Invariants: as many of the store's works are out as it hands out; at most
//! [`limits::READS_OUT_MAX`] reads are, and no more than there is room for what they read, but one at
//! least while none is held; a folder is removed only when no work is out that began
//! before its log was forgotten and may still write there.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_log::{Disk, Fault, JournalWrite, LogId, Moment, Rot, Work, WorkKind};

use crate::broker::{Broker, Now};
use crate::catalog::CATALOG;
use crate::cold::ColdRequest;
use crate::held::Mark;
use crate::limits;
use crate::partition::journal_trouble;
use crate::read_ahead::{AheadRead, ReadAhead};
use crate::topics::remove_folder;

/// Work that blocks: run it on another thread, then give it back with [`Broker::job_done`].
#[derive(Debug)]
pub struct Job {
    task: Task,
}

#[derive(Debug)]
enum Task {
    Store { number: u64, work: Work },
    Remove(Removing),
    Read(ColdRequest),
    Ahead(AheadRead),
}

/// What a [`Job`] should run beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// What appends wait for; at most [`FLUSH_PARTS_MAX`](tidings_log::limits::FLUSH_PARTS_MAX) are out.
    Flush,
    /// Retention, compaction, scrubbing; at most one is out.
    Upkeep,
    /// What a client waits for: a read of segments, the removal of a deleted topic's files.
    Request,
}

impl Job {
    pub fn kind(&self) -> JobKind {
        match &self.task {
            Task::Store { work, .. } => match work.kind() {
                WorkKind::Flush => JobKind::Flush,
                WorkKind::Upkeep => JobKind::Upkeep,
            },
            Task::Remove(_) | Task::Read(_) | Task::Ahead(_) => JobKind::Request,
        }
    }

    /// Blocks for as long as it takes; what comes of it, faults too, is kept inside.
    pub fn run(&mut self) {
        match &mut self.task {
            Task::Store { work, .. } => work.run(),
            Task::Remove(removing) => removing.run(),
            Task::Read(read) => read.run(),
            Task::Ahead(read) => read.run(),
        }
    }
}

const fn sends<T: Send>() {}
const _: () = sends::<Job>();
const _: () = sends::<JournalWrite>();

/// The folders of a deleted topic on their way out.
#[derive(Debug)]
pub(crate) struct Removing {
    pub(crate) topic: String,
    disk: Arc<dyn Disk>,
    folders: Vec<String>,
    outcome: Result<(), Fault>,
}

impl Removing {
    pub(crate) fn new(topic: String, disk: Arc<dyn Disk>, folders: Vec<String>) -> Self {
        Self { topic, disk, folders, outcome: Ok(()) }
    }

    fn run(&mut self) {
        let mut removed = self.folders.iter().try_for_each(|f| remove_folder(&*self.disk, f));
        if !self.folders.is_empty() {
            removed = removed.and_then(|()| self.disk.sync_dir(""));
        }
        self.outcome = removed;
    }
}

/// What is out, and what waits to be.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Works of the store taken so far.
    works: u64,
    works_out: BTreeSet<u64>,
    removals: VecDeque<Removing>,
    reads: VecDeque<ColdRequest>,
    /// At most one of a log.
    reads_ahead: VecDeque<AheadRead>,
    reads_out: usize,
    /// What the reads that are out may bring.
    reading_bytes: usize,
    /// What may be read, as the owner said last.
    room_bytes: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            works: 0,
            works_out: BTreeSet::new(),
            removals: VecDeque::new(),
            reads: VecDeque::new(),
            reads_ahead: VecDeque::new(),
            reads_out: 0,
            reading_bytes: 0,
            room_bytes: usize::MAX,
        }
    }
}

impl Jobs {
    /// A mark in the order of the store's works, for [`Self::have_ended_before`].
    pub(crate) fn mark(&self) -> u64 {
        self.works
    }

    /// Whether every work that was out at `mark` has come back.
    pub(crate) fn have_ended_before(&self, mark: u64) -> bool {
        self.works_out.first().is_none_or(|first| *first >= mark)
    }

    pub(crate) fn remove(&mut self, removing: Removing) {
        self.removals.push_back(removing);
    }

    pub(crate) fn read(&mut self, read: ColdRequest) {
        self.reads.push_back(read);
    }

    pub(crate) fn read_ahead(&mut self, read: AheadRead) {
        self.reads_ahead.push_back(read);
    }

    /// Whether so many bytes may be read now. One read that is larger than all the room there is goes
    /// when it would be the only one.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let taken = self.reading_bytes + bytes;
        taken <= self.room_bytes || (self.reads_out == 0 && self.room_bytes > 0)
    }

    fn next_read(&mut self, ahead: &mut ReadAhead) -> Option<ColdRequest> {
        let bytes = self.reads.front()?.bytes_max();
        if !self.has_room_for(ahead.bytes() + bytes) {
            ahead.make_room();
        }
        if self.reads_out >= limits::READS_OUT_MAX || !self.has_room_for(bytes) {
            return None;
        }
        self.reads_out += 1;
        self.reading_bytes += bytes;
        self.reads.pop_front()
    }
}

impl Broker {
    /// The next durable write, if one should go out now; several may be out.
    pub fn next_write(&mut self) -> Option<JournalWrite> {
        self.logs.store.next_write()
    }

    /// Takes back what [`Broker::next_write`] gave, in any order.
    pub fn write_done(&mut self, now: Now, write: JournalWrite, outcome: Result<(), Fault>) {
        self.logs.store.write_done(write, outcome);
        self.advance(now);
    }

    /// The next work to run on another thread, if any is due.
    pub fn next_job(&mut self, now: Now) -> Option<Job> {
        let jobs = &mut self.jobs;
        if let Some(work) = self.logs.store.next_work(moment(now)) {
            let number = jobs.works;
            jobs.works += 1;
            jobs.works_out.insert(number);
            return Some(Job { task: Task::Store { number, work } });
        }
        if let Some(removing) = jobs.removals.pop_front() {
            return Some(Job { task: Task::Remove(removing) });
        }
        self.ahead.expire(now.mono_ms);
        if let Some(read) = jobs.next_read(&mut self.ahead) {
            return Some(Job { task: Task::Read(read) });
        }
        jobs.reads_ahead.pop_front().map(|read| Job { task: Task::Ahead(read) })
    }

    /// Tells how many bytes may be read from segments, those of reads that are out included; until
    /// told, any number.
    pub fn set_room_for_reads(&mut self, bytes: usize) {
        self.jobs.room_bytes = bytes;
    }

    /// Whether a read waits for nothing but room.
    pub fn reads_want_room(&self) -> bool {
        let next = self.jobs.reads.front();
        next.is_some_and(|read| !self.jobs.has_room_for(read.bytes_max()))
    }

    /// Takes back what [`Broker::next_job`] gave, after [`Job::run`].
    pub fn job_done(&mut self, now: Now, job: Job) {
        match job.task {
            Task::Store { number, work } => {
                self.jobs.works_out.remove(&number);
                self.logs.store.work_done(moment(now), work);
            }
            Task::Remove(removing) => self.folders_removed(now, &removing.topic, removing.outcome),
            Task::Read(read) => {
                self.jobs.reads_out -= 1;
                self.jobs.reading_bytes -= read.bytes_max();
                self.answer_cold(now, read);
            }
            Task::Ahead(read) => self.read_ahead_done(now, read),
        }
        self.advance(now);
    }

    /// Acts on every log that moved: replies go, topics settle, deletions go on, fetches wake,
    /// produce requests that waited for room are taken.
    pub(crate) fn advance(&mut self, now: Now) {
        let mut moved: Vec<LogId> = self.logs.store.take_advanced().into_iter().collect();
        if self.logs.store.failed().is_some() && !self.journal_has_failed {
            self.journal_has_failed = true;
            moved.extend(self.held.logs());
        }
        for log in &moved {
            self.log_advanced(*log);
        }
        if moved.contains(&CATALOG) {
            let settled = self.settle_topics();
            moved.extend(settled);
        }
        self.carry_on_removals(now);
        self.wake_fetches(now, &moved);
        self.admit(now);
        self.note_rot();
    }

    /// A log's durable offsets may have moved, or the log has failed: replies go.
    pub(crate) fn log_advanced(&mut self, id: LogId) {
        let Some(log) = self.logs.log(id) else { return };
        self.held.release(id, Mark::End, log.durable_offset());
        self.held.release(id, Mark::Start, log.durable_start_offset());
        let Some(trouble) = self.logs.trouble(log) else { return };
        self.held.fail(id, &trouble);
        if id == CATALOG {
            self.fail_removals(&trouble);
        }
    }

    /// What ended the journal: nothing will be acknowledged any more until the node is restarted.
    pub fn journal_failed(&self) -> Option<String> {
        self.logs.store.failed().map(journal_trouble)
    }

    /// Keeps what was found damaged until the owner asks.
    fn note_rot(&mut self) {
        for Rot { id, offsets: (first, next), fault } in self.logs.store.take_rot() {
            let folder = self.logs.get(id).map_or("a deleted topic", |held| held.folder.as_str());
            self.damage.push_back(format!(
                "{folder}: offsets {first} to {} are damaged, reads of them are refused: {fault}",
                next - 1
            ));
            if self.damage.len() > limits::DAMAGE_KEPT_MAX {
                self.damage.pop_front();
            }
        }
    }

    /// The next damage that was found, one line for the operator.
    pub fn next_damage(&mut self) -> Option<String> {
        self.damage.pop_front()
    }
}

pub(crate) fn moment(now: Now) -> Moment {
    Moment { wall_ms: now.wall_ms, mono_ms: now.mono_ms }
}
