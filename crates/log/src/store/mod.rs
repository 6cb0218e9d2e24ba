//! All logs of a node, with the journal they share.
//!
//! The life of a batch: [`Store::append`] gives it its offsets and puts it into the journal's next
//! frame; the frame's write makes it durable and readable, from memory; a flush copies it, with
//! whatever else its log has gathered, into the log's segment; a checkpoint notes that; then the
//! journal's ring may be written over.
//!
//! The owner's loop: carry out [`Store::next_write`] (several may be out) and [`Store::next_work`]
//! on other threads, give each back, ask [`Store::take_advanced`] which logs moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use crate::journal::Journal;
use crate::partition_log::PartitionLog;
use crate::partition_log::handles::Handles;
use crate::{Fault, LogConfig, LogKey, StoreConfig};

mod again;
mod append;
mod cache;
mod census;
pub(crate) mod checkpoint;
mod close;
mod flush;
mod io;
mod kafka;
mod open;
mod read;
mod round;
mod scrub;
#[cfg(test)]
mod tests;
mod upkeep;
mod work;

pub use read::{ColdRead, ColdSearch, Reading, Rot, TimeSearch};
pub use work::{Work, WorkKind};

use append::Pushed;
use cache::Cache;
use census::Census;
use checkpoint::Checkpoint;
use flush::Flushing;
use io::FrameOut;
use open::Unopened;
use read::Rots;
use upkeep::Upkeep;

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
    /// The store was closed and everything was in segments: logs that skip the journal have lost nothing.
    /// Otherwise they may have lost what was not flushed.
    pub closed: bool,
    /// Damage to the journal or the checkpoint.
    pub damaged: Vec<Fault>,
}

/// Which record of a log is asked for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByTime {
    /// The first at or after this timestamp.
    FirstFrom(i64),
    /// The first that has the largest timestamp.
    Latest,
}

/// All logs of a node, with the journal they share. One owner.
#[derive(Debug)]
pub struct Store {
    handles: Arc<Handles>,
    config: StoreConfig,
    journal: Journal,
    /// What ended the journal, where every log sees it.
    journal_fault: Arc<OnceLock<Fault>>,
    logs: BTreeMap<LogId, PartitionLog>,
    ids: BTreeMap<LogKey, LogId>,
    /// What is on disk of logs that nobody has opened.
    unopened: Unopened,
    begun: bool,
    /// In the journal, in frames that are not sealed, in order.
    pushed: VecDeque<Pushed>,
    /// Sealed, and not durable.
    frames_out: VecDeque<FrameOut>,
    cache: Cache,
    /// Accepted, and not in segments.
    unflushed_bytes: u64,
    /// Logs with something durable that is not in segments.
    dirty: BTreeSet<LogId>,
    flushing: Flushing,
    upkeep: Upkeep,
    census: Census,
    /// None while a flush has it.
    checkpoint: Option<Checkpoint>,
    advanced: BTreeSet<LogId>,
    rots: Arc<Rots>,
}

impl Store {
    pub fn log(&self, id: LogId) -> Option<&PartitionLog> {
        self.logs.get(&id)
    }

    /// Applies from the next append and the next flush on. What a log that begins to use the journal has in
    /// memory only goes there at once.
    pub fn configure(&mut self, id: LogId, config: LogConfig) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let begins = log.config().volatile && !config.volatile;
        log.configure(config);
        if begins && self.begun {
            self.journal_loose(id);
        }
    }

    /// `producer.id.expiration.ms` from the next look at a log on.
    pub fn set_producer_expiry_ms(&mut self, expiry_ms: i64) {
        self.config.producer_expiry_ms = expiry_ms;
    }

    /// What ended the journal: nothing will be durable any more in this life of the store.
    pub fn failed(&self) -> Option<&Fault> {
        self.journal.failed()
    }

    /// Logs whose durable offset, durable start offset or last stable offset moved, or which failed, since
    /// the last call.
    pub fn take_advanced(&mut self) -> BTreeSet<LogId> {
        std::mem::take(&mut self.advanced)
    }

    /// Bytes accepted and not yet in segments.
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// Those of them that the disk has no space set aside for yet: a flush that is out has written the rest.
    pub fn unwritten_bytes(&self) -> u64 {
        self.unflushed_bytes.saturating_sub(self.flushing.written_bytes())
    }
}
