//! All logs of a node, with the journal they share.
//!
//! The life of a batch: [`Store::append`] gives it its offsets and puts it into the journal's next
//! frame; the frame's write makes it durable and readable, from memory; a flush copies it, with
//! whatever else its log has gathered, into the log's segment; a checkpoint notes that; then the
//! journal's ring may be written over.
//!
//! The owner's loop: carry out [`Store::next_write`] (several may be out) and [`Store::next_work`]
//! on other threads, give each back, ask [`Store::take_advanced`] which logs moved.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::partition_log::PartitionLog;
use crate::{
    AppendAt, AppendRefused, Appended, Batch, Disk, Fault, JournalWrite, LogConfig, LogKey,
    ReadRefused, Recovered, StoreConfig, TimedOffset,
};

/// Names one log of a store for as long as the store is open; chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// The owner's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970; may jump.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never goes back.
    pub mono_ms: u64,
}

/// What opening the store found, before any log is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreRecovered {
    /// Entries of the journal that logs will take in.
    pub journal_entries: u64,
    /// Frames nobody was told were durable, dropped.
    pub torn_frames: u64,
    /// Damage to the journal or the checkpoint.
    pub damaged: Vec<Fault>,
}

/// What the owner should run a [`Work`] beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// Moves accepted batches into segments, or prepares the journal: what appends wait for.
    Flush,
    /// Retention, compaction, scrubbing: what nobody waits for.
    Upkeep,
}

/// Work to run away from the owner's thread; then give it back with [`Store::work_done`]. At most one
/// of each kind is out.
#[derive(Debug)]
pub struct Work {}

impl Work {
    pub fn kind(&self) -> WorkKind {
        todo!()
    }
    /// Blocks for as long as it takes; outcomes, faults too, are kept inside.
    pub fn run(&mut self) {
        todo!()
    }
}

/// Bytes to read, or the reading to do elsewhere.
#[derive(Debug)]
pub enum Reading {
    /// Whole batches in order, from memory, without a copy; empty when there is nothing at or past the
    /// wanted offset.
    Ready(Vec<Bytes>),
    /// In segments: [`ColdRead::run`] on another thread.
    Cold(ColdRead),
}

/// A read of segments that any thread can do; what it reads stays readable whatever happens to the log.
#[derive(Debug)]
pub struct ColdRead {}

impl ColdRead {
    /// The same answer that [`Store::read`] would have given; checksums are verified.
    pub fn run(self) -> Result<Vec<Bytes>, ReadRefused> {
        todo!()
    }
}

/// The answer to a question by time, or the search to do elsewhere.
#[derive(Debug)]
pub enum TimeSearch {
    Ready(Option<TimedOffset>),
    Cold(ColdSearch),
}

#[derive(Debug)]
pub struct ColdSearch {}

impl ColdSearch {
    pub fn run(self) -> Result<Option<TimedOffset>, Fault> {
        todo!()
    }
}

/// Which record of a log is asked for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByTime {
    /// The first at or after this timestamp.
    FirstFrom(i64),
    /// The first that has the largest timestamp.
    Latest,
}

/// Something found on disk that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    pub id: LogId,
    /// Offsets that cannot be read because of it: first, and one past the last.
    pub offsets: (i64, i64),
    pub fault: Fault,
}

#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Reads checkpoint and journal. Then the owner opens every log it knows, and says [`Self::begin`].
    pub fn open(disk: Arc<dyn Disk>, config: StoreConfig) -> Result<(Self, StoreRecovered), Fault> {
        let _ = (disk, config);
        todo!()
    }

    /// Opens or creates the log in folder `dir`: from its segments up to the checkpoint and from the
    /// journal after it. Makes no file for a log that has nothing.
    pub fn open_log(
        &mut self,
        id: LogId,
        key: LogKey,
        dir: &str,
        config: LogConfig,
    ) -> Result<Recovered, Fault> {
        let _ = (id, key, dir, config);
        todo!()
    }

    /// Every log has been opened: appends may begin. Returns the keys of journal entries that no log took,
    /// with how many; they are forgotten, unless `keep` says that the owner is not sure of its list.
    pub fn begin(&mut self, keep: bool) -> Result<Vec<(LogKey, u64)>, Fault> {
        let _ = keep;
        todo!()
    }

    /// Flushes everything, writes the checkpoint and Kafka's checkpoint files. Needs that no write and no
    /// work is out.
    pub fn close(&mut self) -> Result<(), Fault> {
        todo!()
    }

    /// Forgets a log. Its files are the owner's to remove, after this.
    pub fn remove_log(&mut self, id: LogId) {
        let _ = id;
        todo!()
    }

    pub fn configure(&mut self, id: LogId, config: LogConfig) {
        let _ = (id, config);
        todo!()
    }

    pub fn log(&self, id: LogId) -> Option<&PartitionLog> {
        let _ = id;
        todo!()
    }

    /// Assigns offsets, checks the producer's sequence and puts the batch into the journal's next
    /// frame.
    pub fn append(
        &mut self,
        id: LogId,
        batch: &Batch,
        at: AppendAt,
    ) -> Result<Appended, AppendRefused> {
        let _ = (id, batch, at);
        todo!()
    }

    /// Moves the log start offset up to `offset`, which is at most the durable offset; true when it moved.
    /// Kept once [`PartitionLog::durable_start_offset`] says so; reads below it are refused at once.
    pub fn advance_start(&mut self, id: LogId, offset: i64) -> Result<bool, AppendRefused> {
        let _ = (id, offset);
        todo!()
    }

    /// Appends should wait: the disk does not keep up with flushing.
    pub fn congested(&self) -> bool {
        todo!()
    }

    /// What ended the journal: nothing will be durable any more in this life of the store.
    pub fn failed(&self) -> Option<&Fault> {
        todo!()
    }

    /// Whole batches from the one that holds `from`, none starting at or past `until` nor past what is
    /// durable, about `max_bytes` of them but at least one when there is one.
    pub fn read(
        &self,
        id: LogId,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Reading, ReadRefused> {
        let _ = (id, from, until, max_bytes);
        todo!()
    }

    /// [`Self::read`], done here and now.
    pub fn read_now(
        &self,
        id: LogId,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, ReadRefused> {
        match self.read(id, from, until, max_bytes)? {
            Reading::Ready(batches) => Ok(batches),
            Reading::Cold(cold) => cold.run(),
        }
    }

    /// A record by its time, among those below `until`.
    pub fn search(&self, id: LogId, by: ByTime, until: i64) -> Result<TimeSearch, Fault> {
        let _ = (id, by, until);
        todo!()
    }

    /// The next durable write, if one should go out now.
    pub fn next_write(&mut self) -> Option<JournalWrite> {
        todo!()
    }

    pub fn write_done(&mut self, write: JournalWrite, outcome: Result<(), Fault>) {
        let _ = (write, outcome);
        todo!()
    }

    /// The next work, if any is due.
    pub fn next_work(&mut self, now: Moment) -> Option<Work> {
        let _ = now;
        todo!()
    }

    pub fn work_done(&mut self, now: Moment, work: Work) {
        let _ = (now, work);
        todo!()
    }

    /// When [`Self::next_work`] should be asked again, in `mono_ms`, if nothing happens before.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        todo!()
    }

    /// Logs whose durable offset, durable start offset or last stable offset moved, or which failed, since
    /// the last call.
    pub fn take_advanced(&mut self) -> BTreeSet<LogId> {
        todo!()
    }

    /// Rot that was found since the last call, by the scrubber or by anybody's read.
    pub fn take_rot(&mut self) -> Vec<Rot> {
        todo!()
    }

    /// Runs writes and flushes here and now until everything appended is durable.
    pub fn settle(&mut self, now: Moment) {
        let _ = now;
        todo!()
    }

    /// Bytes accepted and not yet in segments.
    pub fn unflushed_bytes(&self) -> u64 {
        todo!()
    }
}
