//! Reading: from memory at once, from segments on whatever thread.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::append::unknown;
use super::{ByTime, LogId, Store};
use crate::limits::ROTS_REMEMBERED_MAX;
use crate::partition_log::ReadPlan;
use crate::partition_log::read::{Damage, SegmentRead};
use crate::partition_log::times::TimeWanted;
use crate::{Fault, FaultKind, ReadRefused, TimedOffset};

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
pub struct ColdRead {
    id: LogId,
    from: i64,
    read: SegmentRead,
    rots: Arc<Rots>,
}

impl ColdRead {
    /// The same answer that [`Store::read`] would have given; checksums are verified.
    pub fn run(self) -> Result<Vec<Bytes>, ReadRefused> {
        self.read.run().map_err(|Damage { fault, until }| {
            self.rots.report(self.id, (self.from, until), &fault);
            fault.into()
        })
    }
}

/// The answer to a question by time, or the search to do elsewhere.
#[derive(Debug)]
pub enum TimeSearch {
    Ready(Option<TimedOffset>),
    Cold(ColdSearch),
}

/// A search that any thread can do: in segments, or in a batch whose records must be decoded.
#[derive(Debug)]
pub struct ColdSearch {
    wanted: TimeWanted,
}

impl ColdSearch {
    pub fn run(self) -> Result<Option<TimedOffset>, Fault> {
        self.wanted.run()
    }
}

/// Something found on disk that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    pub id: LogId,
    /// Offsets that cannot be read because of it: first, and one past the last.
    pub offsets: (i64, i64),
    pub fault: Fault,
}

/// Where readers leave what they find. The same place is told of once.
#[derive(Debug, Default)]
pub(super) struct Rots {
    found: Mutex<FoundRots>,
}

#[derive(Debug, Default)]
struct FoundRots {
    new: Vec<Rot>,
    known: BTreeSet<(LogId, String, Option<u64>)>,
}

impl Rots {
    /// Bytes that could not be had are no rot.
    pub(super) fn report(&self, id: LogId, offsets: (i64, i64), fault: &Fault) {
        if !matches!(fault.kind, FaultKind::Corrupt(_)) {
            return;
        }
        let mut found = self.found();
        if found.known.len() >= ROTS_REMEMBERED_MAX {
            return;
        }
        if found.known.insert((id, fault.path.clone(), fault.offset)) {
            found.new.push(Rot { id, offsets, fault: fault.clone() });
        }
    }

    fn found(&self) -> MutexGuard<'_, FoundRots> {
        self.found.lock().expect("no holder of the rots panics")
    }
}

impl Store {
    /// Whole batches from the one that holds `from`, none starting at or past `until` nor past what is
    /// durable, about `max_bytes` of them but at least one when there is one.
    pub fn read(
        &self,
        id: LogId,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<Reading, ReadRefused> {
        let log = self.logs.get(&id).ok_or_else(|| unknown("read", id))?;
        Ok(match log.read(&self.handles, from, until, max_bytes)? {
            ReadPlan::Ready(batches) => Reading::Ready(batches),
            ReadPlan::Cold(read) => {
                Reading::Cold(ColdRead { id, from, read, rots: Arc::clone(&self.rots) })
            }
        })
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
        let log = self.logs.get(&id).ok_or_else(|| unknown("search", id))?;
        Ok(match log.search(&self.handles, by, until) {
            None => TimeSearch::Ready(None),
            Some(wanted) => TimeSearch::Cold(ColdSearch { wanted }),
        })
    }

    /// Files of segments that are open for readers, at most [`crate::StoreConfig::open_files_max`].
    pub fn open_files(&self) -> usize {
        self.handles.count()
    }

    /// Rot that was found since the last call, by the scrubber or by anybody's read.
    pub fn take_rot(&mut self) -> Vec<Rot> {
        std::mem::take(&mut self.rots.found().new)
    }
}
