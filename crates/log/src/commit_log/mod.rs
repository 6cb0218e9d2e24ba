//! One partition's log: segments, offset index, time index, producer state, recovery.
//!
//! Invariants:
//! 1. Offsets are dense at append and never given twice, not even after damage.
//! 2. `start_offset <= durable_offset <= end_offset`; what is below `durable_offset` was synced.
//! 3. A refused append changes nothing. `NoSpace` may pass; after any other failed write, and
//!    after any failed sync, the log is poisoned: no more appends, `durable_offset` stays.
//! 4. Bytes that fail a check are never served.
//! 5. Only bytes above the recovery point of the checkpoint are ever cut.
//!
//! Limits: [`crate::limits`]. Not here: retention, compaction, transactions, memory of the newest
//! bytes.

use std::sync::Arc;

use checkpoint::{Checkpoint, CheckpointFile, Epochs};
use producers::{Producers, Verdict};
use segment::Segment;

use crate::limits::SEGMENT_BYTES_MAX;
use crate::{Batch, Disk, Fault, FaultKind, File, LogConfig, OpenMode};

mod aside;
mod checkpoint;
mod index;
mod names;
mod producers;
mod read;
mod recovery;
mod scan;
mod segment;
mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
mod times;

pub use producers::ProducerBatch;
pub use sync::SyncWork;

/// The moment and epoch of an append; the log has no clock.
#[derive(Clone, Copy, Debug)]
pub struct AppendAt {
    pub now_ms: i64,
    pub leader_epoch: i32,
    /// Set when the topic uses log append time: timestamps become `now_ms`.
    pub log_append_time: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Written, not yet durable: wait for `durable_offset` to pass `last_offset`.
    Written { base_offset: i64, last_offset: i64 },
    /// The producer sent this batch before; it is at these offsets.
    Duplicate { base_offset: i64, last_offset: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefused {
    #[error("sequence {got} of producer {producer_id} where {expected} was expected")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    #[error("epoch {got} of producer {producer_id} is older than {current}")]
    StaleEpoch { producer_id: i64, current: i16, got: i16 },
    /// The end of a transaction must have a newer epoch than its batches, or it may be an older one's.
    #[error(
        "the end of a transaction of producer {producer_id} has epoch {current}, as its batches"
    )]
    EpochNotRaised { producer_id: i64, current: i16 },
    #[error("coordinator epoch {got} for producer {producer_id} is older than {current}")]
    CoordinatorFenced { producer_id: i64, current: i32, got: i32 },
    #[error(
        "producer {producer_id} has a transaction open since offset {first_offset}, and sent a batch \
         that is not part of it"
    )]
    TransactionOpen { producer_id: i64, first_offset: i64 },
    #[error("{limit} transactions are open in this partition already")]
    TooManyTransactions { limit: usize },
    /// More has been accepted than the disk has kept up with; the same append may succeed later.
    #[error("the disk does not keep up with what has been accepted")]
    Congested,
    /// The disk would not take it; nothing was appended. With `FaultKind::NoSpace` a later append
    /// may succeed; any other fault has poisoned the log.
    #[error(transparent)]
    Fault(#[from] Fault),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    #[error("offset {wanted} is outside {first}..{next}")]
    OutOfRange { wanted: i64, first: i64, next: i64 },
    /// The bytes on disk from this offset on fail their check; they are not served.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes cut off the end because they were never whole; kept aside in the named file when any
    /// complete batch follows the damage.
    pub cut_bytes: u64,
    pub kept_aside: Option<String>,
    /// Index files that were rebuilt.
    pub rebuilt_indexes: u32,
    /// Damage that recovery leaves in place: reads of it are refused.
    pub damaged: Vec<Fault>,
}

/// An offset and the timestamp of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    pub offset: i64,
    pub timestamp: i64,
}

/// A partition's log. One owner; syncing may run elsewhere through [`SyncWork`].
#[derive(Debug)]
pub struct CommitLog {
    disk: Arc<dyn Disk>,
    dir: String,
    config: LogConfig,
    /// By base offset; never empty, the last one takes the appends.
    segments: Vec<Segment>,
    /// The last segment's file.
    file: Arc<dyn File>,
    /// A refused write left bytes past the last segment's size, and they could not be cut.
    torn_tail: bool,
    producers: Producers,
    /// Offsets of the producer snapshots on disk, oldest first.
    snapshots: Vec<i64>,
    epochs: Epochs,
    start_offset: i64,
    end_offset: i64,
    durable_offset: i64,
    checkpoint_file: CheckpointFile,
    /// What the checkpoint file says.
    checkpoint: Checkpoint,
    /// The epochs in memory are not those in the checkpoint file.
    epochs_unwritten: bool,
    unsynced: sync::Unsynced,
    poison: Option<Fault>,
}

impl CommitLog {
    /// Assigns offsets, checks the producer's sequence and writes the batch.
    pub fn append(&mut self, batch: &Batch, at: AppendAt) -> Result<Appended, AppendRefused> {
        if let Some(fault) = &self.poison {
            return Err(fault.clone().into());
        }
        match self.producers.check(batch.header())? {
            Verdict::New => {}
            Verdict::Duplicate { base_offset, last_offset } => {
                return Ok(Appended::Duplicate { base_offset, last_offset });
            }
        }
        let written = self.write(batch, at).map_err(|fault| self.refuse(fault))?;
        Ok(written)
    }

    fn write(&mut self, batch: &Batch, at: AppendAt) -> Result<Appended, Fault> {
        let base_offset = self.end_offset;
        let last_offset = self.last_offset_of(batch)?;
        if self.epochs_unwritten || self.epochs.differs(base_offset, at.leader_epoch) {
            self.begin_epoch(base_offset, at.leader_epoch)?;
        }
        self.cut_torn_tail()?;
        let bytes = batch.bytes().len();
        if self.active().size > 0 && !self.active().has_room(last_offset, bytes, self.config) {
            self.roll()?;
        }
        let log_append_time = at.log_append_time.then_some(at.now_ms);
        let (header, stored) = batch.placed(base_offset, at.leader_epoch, log_append_time);
        let position = self.active().size;
        if let Err(fault) = self.file.write_at(&stored, position) {
            self.torn_tail = true;
            if fault.kind == FaultKind::NoSpace {
                self.cut_torn_tail()?;
            }
            return Err(fault);
        }
        let config = self.config;
        self.active_mut().add(&header, stored.len(), config);
        self.producers.apply(&header);
        self.end_offset = last_offset + 1;
        self.unsynced.log_bytes += stored.len() as u64;
        self.flush_long_indexes()?;
        Ok(Appended::Written { base_offset, last_offset })
    }

    fn last_offset_of(&self, batch: &Batch) -> Result<i64, Fault> {
        let delta = i64::from(batch.header().last_offset_delta);
        // One past the last offset must be an offset too.
        match self.end_offset.checked_add(delta).filter(|&last| last < i64::MAX) {
            Some(last) => Ok(last),
            None => Err(Fault {
                operation: "append to",
                path: self.dir.clone(),
                offset: None,
                kind: FaultKind::Io("there are no offsets left".to_owned()),
            }),
        }
    }

    /// Makes the checkpoint file say that `epoch` begins here, before any batch does: recovery
    /// does not believe a batch whose epoch is not in it.
    fn begin_epoch(&mut self, offset: i64, epoch: i32) -> Result<(), Fault> {
        let mut epochs = self.epochs.clone();
        if epochs.differs(offset, epoch) {
            epochs.begin(offset, epoch);
        }
        let checkpoint = Checkpoint { epochs: epochs.clone(), ..self.checkpoint.clone() };
        // Should writing fail half way, the next append writes again.
        self.epochs_unwritten = true;
        self.write_checkpoint(checkpoint)?;
        self.epochs = epochs;
        self.epochs_unwritten = false;
        Ok(())
    }

    /// Removes what a refused write left, so that it cannot be taken for batches later.
    fn cut_torn_tail(&mut self) -> Result<(), Fault> {
        if self.torn_tail {
            self.file.truncate(self.active().size)?;
            self.torn_tail = false;
        }
        Ok(())
    }

    /// An append met a fault: whether more may come depends on its kind.
    fn refuse(&mut self, fault: Fault) -> AppendRefused {
        if fault.kind != FaultKind::NoSpace {
            self.poison.get_or_insert_with(|| fault.clone());
        }
        fault.into()
    }

    /// Begins a new segment. Everything of the old one is part of the next sync.
    fn roll(&mut self) -> Result<(), Fault> {
        self.sync_creation()?;
        self.active_mut().add_time_entry();
        self.flush_indexes()?;
        self.write_snapshot()?;
        let next = Segment::empty(&self.dir, self.end_offset);
        let file = self.disk.open(&next.path, OpenMode::Create)?;
        let old = std::mem::replace(&mut self.file, file);
        self.unsynced.files.push(old);
        self.unsynced.dir = true;
        self.unsynced.checkpoint_wanted = true;
        self.active_mut().offsets.seal();
        self.active_mut().times.seal();
        self.segments.push(next);
        Ok(())
    }

    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }
    /// The offset after the last one written.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }
    /// The offset after the last one that is on stable storage.
    pub fn durable_offset(&self) -> i64 {
        self.durable_offset
    }
    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }
    /// Applies from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config.bounded();
    }
    /// The fault after which this log takes no more appends.
    pub fn poisoned(&self) -> Option<&Fault> {
        self.poison.as_ref()
    }
    /// What is remembered of idempotent producers: by producer, the oldest batch first.
    pub fn producers(&self) -> Vec<ProducerBatch> {
        self.producers.batches().copied().collect()
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    fn segment_file(&self, segment: &Segment) -> Result<Arc<dyn File>, Fault> {
        if segment.base_offset == self.active().base_offset {
            return Ok(Arc::clone(&self.file));
        }
        segment.open(&*self.disk)
    }
}

impl LogConfig {
    /// With a segment size that Kafka's index can address.
    fn bounded(self) -> Self {
        Self { segment_bytes: self.segment_bytes.min(SEGMENT_BYTES_MAX), ..self }
    }
}
