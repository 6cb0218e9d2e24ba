//! A flush round away from the owner's thread: parts that are done side by side, then the checkpoint.
//!
//! Nothing of a round counts before its checkpoint is durable, and that is written when every part has
//! synced the files that it wrote and the round the folders, or everything at once where there are many.
//! A folder is synced once in a round: after a failure the system may not tell the next one who asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::checkpoint::Checkpoint;
use super::kafka;
use crate::Fault;
use crate::limits::{FLUSH_PARTS_MAX, FLUSH_SYNC_ALL_FILES};
use crate::partition_log::flush::{LogFlush, Unsynced};
use crate::partition_log::handles::Handles;

/// Weighs what a log costs apart from its bytes when a round is divided.
const LOG_WEIGHT_BYTES: u64 = 16 * 1024;

/// A flush of many logs.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) handles: Arc<Handles>,
    /// Those that have not run.
    pub(super) parts: Vec<Part>,
    pub(super) parts_done: Vec<Part>,
    pub(super) checkpoint: Checkpoint,
    /// What was durable when the round was begun.
    pub(super) durable: u64,
    /// Kafka's checkpoints are to be written too.
    pub(super) kafka_files: bool,
    pub(super) checkpointed: Result<(), Fault>,
}

/// Some of a round's logs.
#[derive(Debug)]
pub(super) struct Part {
    handles: Arc<Handles>,
    flushes: Vec<LogFlush>,
    /// Bytes of batches, of all parts.
    written: Arc<AtomicU64>,
    /// Folders, by flush; none when no file is synced either.
    dirs: Option<Vec<Vec<String>>>,
}

impl Part {
    /// Divides `flushes` into parts of about as many bytes, `bytes` at least, at most [`FLUSH_PARTS_MAX`].
    pub(super) fn divide(
        handles: &Arc<Handles>,
        flushes: Vec<LogFlush>,
        written: &Arc<AtomicU64>,
        bytes: u64,
    ) -> Vec<Self> {
        let weight = |flush: &LogFlush| flush.batch_bytes() + LOG_WEIGHT_BYTES;
        let all: u64 = flushes.iter().map(weight).sum();
        let share = all.div_ceil(FLUSH_PARTS_MAX as u64).max(bytes);
        let mut parts: Vec<Self> = Vec::new();
        let mut room = 0;
        for flush in flushes {
            let weight = weight(&flush);
            match parts.last_mut().filter(|_| room > 0) {
                Some(part) => part.flushes.push(flush),
                None => {
                    let (handles, written) = (Arc::clone(handles), Arc::clone(written));
                    parts.push(Self { handles, flushes: vec![flush], written, dirs: None });
                    room = share;
                }
            }
            room = room.saturating_sub(weight);
        }
        parts
    }

    pub(super) fn run(&mut self) {
        // By flush; none once there are so many that everything is synced at once, so that no more files
        // are open than that.
        let mut unsynced = Some(Vec::new());
        let mut calls = 0;
        for flush in &mut self.flushes {
            let mut to_sync = Unsynced::default();
            flush.write(&self.handles, &mut to_sync, &self.written);
            calls += to_sync.files.len() + to_sync.dirs.len();
            unsynced = unsynced.filter(|_| calls <= FLUSH_SYNC_ALL_FILES);
            if let Some(unsynced) = &mut unsynced {
                unsynced.push(to_sync);
            }
        }
        self.dirs = unsynced.map(|unsynced| self.sync_files(unsynced));
    }

    /// Each file by itself; `unsynced` is in the order of the flushes. Returns their folders.
    fn sync_files(&mut self, unsynced: Vec<Unsynced>) -> Vec<Vec<String>> {
        let mut dirs = Vec::new();
        for (flush, unsynced) in self.flushes.iter_mut().zip(unsynced) {
            if let Err(fault) = unsynced.files.iter().try_for_each(|file| file.sync()) {
                flush.fail(&fault);
            }
            dirs.push(unsynced.dirs);
        }
        dirs
    }
}

impl Round {
    /// Runs the parts that have not run, and what comes after them.
    pub(super) fn run(&mut self) {
        for mut part in self.parts.drain(..) {
            part.run();
            self.parts_done.push(part);
        }
        self.sync_dirs();
        self.sync_disk();
        for flush in self.parts_done.iter().flat_map(|part| &part.flushes) {
            if let Some(Ok(flushed)) = &flush.outcome {
                self.checkpoint.records.insert(flush.key, flushed.record.clone());
            }
        }
        self.checkpointed = self.checkpoint.write(self.handles.disk());
        if self.checkpointed.is_ok() {
            for flush in self.parts_done.iter().flat_map(|part| &part.flushes) {
                flush.drop_old_snapshots(self.handles.disk());
            }
            if self.kafka_files {
                // Older ones cost nothing here.
                drop(kafka::write(self.handles.disk(), &self.checkpoint));
            }
        }
    }

    fn sync_dirs(&mut self) {
        let mut synced: BTreeMap<&str, Result<(), Fault>> = BTreeMap::new();
        for part in &mut self.parts_done {
            let Some(dirs) = &part.dirs else { continue };
            for (flush, dirs) in part.flushes.iter_mut().zip(dirs) {
                for dir in dirs {
                    let sync = || self.handles.disk().sync_dir(dir);
                    if let Err(fault) = synced.entry(dir).or_insert_with(sync) {
                        flush.fail(fault);
                    }
                }
            }
        }
    }

    /// For the parts that have left everything to this.
    fn sync_disk(&mut self) {
        let mut parts = self.parts_done.iter_mut().filter(|part| part.dirs.is_none()).peekable();
        if parts.peek().is_some()
            && let Err(fault) = self.handles.disk().sync_all()
        {
            parts.flat_map(|part| &mut part.flushes).for_each(|flush| flush.fail(&fault));
        }
    }

    /// What was flushed, or was to be.
    pub(super) fn take_flushes(&mut self) -> impl Iterator<Item = LogFlush> + use<> {
        std::mem::take(&mut self.parts_done).into_iter().flat_map(|part| part.flushes)
    }
}

/// A round whose parts are handed out one by one.
#[derive(Debug)]
pub(super) struct Split {
    round: Box<Round>,
    parts_out: usize,
}

impl Split {
    pub(super) fn new(round: Box<Round>) -> Self {
        Self { round, parts_out: 0 }
    }

    pub(super) fn next_part(&mut self) -> Option<Part> {
        let part = self.round.parts.pop()?;
        self.parts_out += 1;
        Some(part)
    }

    pub(super) fn part_done(&mut self, part: Part) {
        self.parts_out -= 1;
        self.round.parts_done.push(part);
    }

    pub(super) fn is_out(&self) -> bool {
        self.parts_out > 0
    }

    /// There is something to hand out.
    pub(super) fn is_waiting(&self) -> bool {
        !self.round.parts.is_empty() || self.parts_out == 0
    }

    /// The round, when all its parts are done.
    pub(super) fn into_round(self) -> Result<Box<Round>, Self> {
        let is_done = self.round.parts.is_empty() && self.parts_out == 0;
        if is_done { Ok(self.round) } else { Err(self) }
    }
}
