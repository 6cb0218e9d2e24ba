//! One partition's log within a store: segments below, the newest batches in memory above.
//!
//! Invariants:
//! 1. Offsets are dense at append and never given twice, not even after damage.
//! 2. `start_offset <= durable_offset`, `flushed <= durable_offset <= end_offset`.
//! 3. A refused append changes nothing.
//! 4. Bytes that fail a check are never served.
//! 5. Nothing that may have been acknowledged is ever cut.
//!
//! A log has no open files and makes none before its first flush; 10,000 empty ones cost memory only,
//! about a kilobyte each.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use epochs::Epochs;
use producers::{CompletedTransaction, Producers, Verdict};
use segment::Segment;
use tail::{Tail, TailBatch};
use transactions::{AbortedTransaction, Undecided};

use crate::journal::EntryKind;
use crate::limits::{READ_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::{Batch, BatchHeader, ByTime, Ending, Fault, FaultKind, LogConfig, LogKey};

mod answers;
mod aside;
mod epochs;
pub(crate) mod flush;
pub(crate) mod handles;
mod index;
pub(crate) mod kafka_files;
pub(crate) mod names;
mod producers;
pub(crate) mod read;
pub(crate) mod recovery;
mod scan;
pub(crate) mod scrub;
pub(crate) mod segment;
pub(crate) mod snapshot;
pub(crate) mod tail;
pub(crate) mod times;
pub(crate) mod transactions;
pub(crate) mod upkeep;

pub use answers::{AppendAt, AppendRefused, Appended, ReadRefused, Recovered, TimedOffset};
pub(crate) use producers::ProducerCounts;
pub use producers::{ProducerEntry, TransactionVersion};

use handles::Handles;
use read::{PastGap, SegmentRead};
use segment::corrupt;
use times::TimeWanted;

/// A batch that was given its place in the log.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) header: BatchHeader,
    /// What is stored: the header with its place, and the records as they came.
    pub(crate) parts: [Bytes; 2],
}

/// What an append comes to.
#[derive(Debug)]
pub(crate) enum Admitted {
    New(Placed),
    Duplicate { base_offset: i64, last_offset: i64 },
}

/// What a read comes to.
#[derive(Debug)]
pub(crate) enum ReadPlan {
    Ready(Vec<Bytes>),
    Cold(SegmentRead),
}

/// What of a log is in memory only.
#[derive(Clone, Copy, Debug)]
struct TailFacts {
    base_offset: i64,
    end_offset: i64,
    bytes: u64,
    max_timestamp: i64,
}

/// One partition's log within a store.
#[derive(Debug)]
pub struct PartitionLog {
    key: LogKey,
    dir: Arc<str>,
    config: LogConfig,
    /// A flush was tried with this configuration and did not succeed: the next one must make the same
    /// segments.
    flush_config: Option<LogConfig>,
    /// By base offset; what is in them is durable and below `flushed_offset`.
    segments: Vec<Arc<Segment>>,
    segments_bytes: u64,
    /// Compaction may have taken batches out of this log.
    sparse: bool,
    /// Below it compaction has been.
    cleaned_to: i64,
    /// The last segment is to be sealed.
    roll_due: bool,
    tail: Tail,
    producers: Producers,
    /// As of `flushed_offset`.
    flushed_producers: Arc<Producers>,
    /// The producer snapshots on disk, oldest first.
    snapshots: Vec<i64>,
    /// Of the newest of them, when it still holds at `flushed_offset`.
    snapshot_offset: Option<i64>,
    epochs: Arc<Epochs>,
    /// By the offset of the control batch that ended them.
    aborted: Vec<AbortedTransaction>,
    undecided: Undecided,
    start_offset: i64,
    durable_start_offset: i64,
    /// The start offset is in no frame of the journal.
    start_loose: bool,
    /// What the checkpoint says.
    flushed_start_offset: i64,
    flushed_offset: i64,
    durable_offset: i64,
    end_offset: i64,
    /// Bytes accepted and not in segments.
    unflushed_bytes: u64,
    /// Batches in here that are not in segments are in no frame of the journal.
    loose: Range<i64>,
    /// Sequence of the journal's first frame with something of this log that is in no checkpoint.
    first_sequence: Option<u64>,
    /// Names in the folder may not be durable.
    dir_unsynced: bool,
    /// Recovery found more than the checkpoint says.
    record_due: bool,
    poison: Option<Fault>,
    /// Told to work that is out.
    removed: Arc<AtomicBool>,
    journal_fault: Arc<OnceLock<Fault>>,
}

impl PartitionLog {
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }
    /// The log start offset that a crash cannot take back.
    pub fn durable_start_offset(&self) -> i64 {
        self.durable_start_offset
    }
    /// The offset after the last one accepted.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }
    /// The offset after the last one that is on stable storage: Kafka's high watermark.
    pub fn durable_offset(&self) -> i64 {
        self.durable_offset
    }
    /// The first offset of the oldest transaction that is open or whose end is not durable, or the
    /// durable offset.
    pub fn last_stable_offset(&self) -> i64 {
        let open = self.producers.first_open();
        open.into_iter().chain(self.undecided.first()).fold(self.durable_offset, i64::min)
    }
    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments_bytes + self.unflushed_bytes
    }
    /// Why this log takes no more appends: its own failed flush, or the journal's failed write.
    pub fn failed(&self) -> Option<&Fault> {
        self.poison.as_ref().or_else(|| self.journal_fault.get())
    }
    /// Remembered batches of idempotent producers, by producer, oldest first.
    pub fn producers(&self) -> Vec<ProducerEntry> {
        self.producers.entries().collect()
    }
    /// Leader epochs with the first offset each wrote, oldest first.
    pub fn leader_epochs(&self) -> &[(i32, i64)] {
        self.epochs.starts()
    }
    /// Aborted transactions that a reader of `from..until` must know: producer and first offset, by
    /// first offset.
    pub fn aborted(&self, from: i64, until: i64) -> Vec<(i64, i64)> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let durable = |aborted: &&AbortedTransaction| aborted.last_offset < self.durable_offset;
        let known = self.aborted[first..].iter().take_while(durable);
        transactions::collect(known.copied(), from, until)
    }

    pub(crate) fn key(&self) -> LogKey {
        self.key
    }
    pub(crate) fn dir(&self) -> &Arc<str> {
        &self.dir
    }
    pub(crate) fn config(&self) -> &LogConfig {
        &self.config
    }
    pub(crate) fn configure(&mut self, config: LogConfig) {
        self.config = bounded(config);
    }
    /// Bytes that a flush will put into segments: none of a log that takes part in no flush any more.
    pub(crate) fn counted_bytes(&self) -> u64 {
        if self.is_poisoned() { 0 } else { self.unflushed_bytes }
    }
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }
    /// Sequence of the journal's first frame that is still needed for this log.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.first_sequence
    }
    pub(crate) fn poison(&mut self, fault: Fault) {
        self.poison.get_or_insert(fault);
    }

    /// Something durable is in no segment, or in no checkpoint.
    pub(crate) fn is_dirty(&self) -> bool {
        self.flushed_offset < self.durable_offset
            || self.flushed_start_offset < self.start_to_flush()
            || self.record_due
            || self.roll_due
    }

    /// The start offset that the next checkpoint may state.
    fn start_to_flush(&self) -> i64 {
        if self.start_loose { self.start_offset } else { self.durable_start_offset }
    }

    /// Judges a batch and gives it its place.
    pub(crate) fn admit(&self, batch: &Batch, at: AppendAt) -> Result<Admitted, AppendRefused> {
        if let Some(fault) = self.failed() {
            return Err(fault.clone().into());
        }
        let end = end_marker(batch)?;
        match self.producers.check(batch.header(), end, at.transactions)? {
            Verdict::Duplicate { base_offset, last_offset, .. } => {
                Ok(Admitted::Duplicate { base_offset, last_offset })
            }
            Verdict::New => {
                let base_offset = self.end_offset;
                let delta = i64::from(batch.header().last_offset_delta);
                if let Some(&(newest, _)) = self.epochs.starts().last()
                    && at.leader_epoch < newest
                {
                    let why = format!("leader epoch {} is older than {newest}", at.leader_epoch);
                    return Err(self.fault("append to", &why).into());
                }
                // One past the last offset must be an offset too.
                if base_offset.checked_add(delta).is_none_or(|last| last == i64::MAX) {
                    return Err(self.fault("append to", "there are no offsets left").into());
                }
                let time = at.log_append_time.then_some(at.now_ms);
                let (header, parts) = batch.placed_parts(base_offset, at.leader_epoch, time);
                Ok(Admitted::New(Placed { header, parts }))
            }
        }
    }

    /// Takes in a batch that was admitted; it is in the journal's frame `sequence`, if it is in one.
    pub(crate) fn accept(&mut self, batch: &Batch, header: &BatchHeader, sequence: Option<u64>) {
        debug_assert_eq!(header.base_offset, self.end_offset);
        if self.epochs.differs(header.base_offset, header.leader_epoch) {
            Arc::make_mut(&mut self.epochs).begin(header.base_offset, header.leader_epoch);
        }
        let end = end_marker(batch).ok().flatten();
        if let Some(completed) = self.producers.apply(header, end) {
            self.complete(completed);
        }
        self.end_offset = header.last_offset() + 1;
        self.unflushed_bytes += batch.bytes().len() as u64;
        if sequence.is_none() {
            if self.loose.end <= self.flushed_offset {
                self.loose.start = header.base_offset;
            }
            self.loose.end = self.end_offset;
        }
        self.needs_frame(sequence);
    }

    /// The batches that skipped the journal and are in no segment, oldest first: the caller puts them into
    /// the journal.
    pub(crate) fn take_loose(&mut self) -> Vec<Bytes> {
        let until = std::mem::take(&mut self.loose).end;
        let loose = self.tail.from(self.flushed_offset);
        loose.take_while(|batch| batch.base_offset < until).map(|b| b.bytes.clone()).collect()
    }

    /// Offsets of records that nobody deleted and that are neither in segments nor in the journal.
    pub(crate) fn only_in_memory(&self) -> Option<Range<i64>> {
        let first = self.loose.start.max(self.flushed_offset).max(self.start_offset);
        (first < self.loose.end).then_some(first..self.loose.end)
    }

    /// What of it is in the journal only.
    pub(crate) fn held(&self) -> Vec<(EntryKind, Bytes)> {
        let moved = self.flushed_start_offset < self.start_offset;
        let start = Bytes::copy_from_slice(&self.start_offset.to_be_bytes());
        let start = moved.then_some((EntryKind::StartOffset, start));
        let batches = self.tail.from(self.flushed_offset);
        start.into_iter().chain(batches.map(|b| (EntryKind::Batch, b.bytes.clone()))).collect()
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// Something of this log that is in no checkpoint is in the journal's frame `sequence`, if it is in one.
    pub(crate) fn needs_frame(&mut self, sequence: Option<u64>) {
        self.first_sequence = self.first_sequence.into_iter().chain(sequence).min();
    }

    fn complete(&mut self, completed: CompletedTransaction) {
        self.undecided.ended(&completed);
        if completed.ending == Ending::Abort {
            self.aborted.push(completed.into());
        }
    }

    /// A batch's bytes are where they stay; readers may have it once it is durable.
    pub(crate) fn keep(&mut self, batch: TailBatch) {
        self.tail.push(batch);
    }

    /// Everything below `offset` is durable.
    pub(crate) fn made_durable(&mut self, offset: i64) {
        self.durable_offset = self.durable_offset.max(offset);
        self.undecided.durable(self.durable_offset);
    }

    /// The start offset moves for readers; it is in the journal's frame `sequence`, if it is in one.
    pub(crate) fn move_start(&mut self, offset: i64, sequence: Option<u64>) {
        self.start_offset = self.start_offset.max(offset);
        self.needs_frame(sequence);
        self.start_loose |= sequence.is_none();
    }

    pub(crate) fn made_start_durable(&mut self, offset: i64) {
        self.durable_start_offset = self.durable_start_offset.max(offset);
    }

    /// Whether a batch of a unit up to `unit` is in no segment yet.
    pub(crate) fn needs_unit(&self, unit: u64) -> bool {
        self.tail.from(self.flushed_offset).next().is_some_and(|batch| batch.unit <= unit)
    }

    /// The log is no more: work that has not begun leaves its folder alone.
    pub(crate) fn removed(&self, handles: &Handles) {
        self.removed.store(true, Ordering::Release);
        self.segments.iter().for_each(|segment| segment.file.removed(handles));
    }

    /// Lets go of batches of units up to `unit`, as far as they are in segments.
    pub(crate) fn evict(&mut self, unit: u64) {
        self.tail.evict(unit, self.flushed_offset);
    }

    pub(crate) fn read(
        &self,
        handles: &Arc<Handles>,
        from: i64,
        until: i64,
        max_bytes: usize,
    ) -> Result<ReadPlan, ReadRefused> {
        let (first, next) = (self.start_offset, self.end_offset);
        if from < first || from > next {
            return Err(ReadRefused::OutOfRange { wanted: from, first, next });
        }
        let until = until.min(self.durable_offset);
        if from >= until {
            return Ok(ReadPlan::Ready(Vec::new()));
        }
        let max_bytes = max_bytes.min(READ_BYTES_MAX);
        if from >= self.flushed_offset || self.tail.first_offset().is_some_and(|held| held <= from)
        {
            let batches = self.tail.read(from, until, max_bytes);
            return if batches.is_empty() {
                Err(self.missing(from))
            } else {
                Ok(ReadPlan::Ready(batches))
            };
        }
        let after = self.segments.partition_point(|segment| segment.base_offset <= from);
        let holder = after.checked_sub(1).filter(|&at| self.segments[at].next_offset > from);
        let Some(at) = holder.or((self.sparse && after < self.segments.len()).then_some(after))
        else {
            return Err(self.missing(from));
        };
        Ok(ReadPlan::Cold(SegmentRead {
            handles: Arc::clone(handles),
            segment: Arc::clone(&self.segments[at]),
            epochs: Arc::clone(&self.epochs),
            from,
            until,
            max_bytes,
            past_gap: self.past_gap(at, until, max_bytes),
        }))
    }

    /// What follows the segment numbered `at`, which may hold nothing of what is asked for.
    fn past_gap(&self, at: usize, until: i64, max_bytes: usize) -> PastGap {
        if !self.sparse {
            return PastGap::NOTHING;
        }
        if let Some(next) = self.segments[at + 1..].iter().find(|segment| segment.size > 0) {
            return PastGap::Segment(Arc::clone(next));
        }
        let batches = self.tail.read(self.flushed_offset, until, max_bytes);
        if batches.is_empty() && self.flushed_offset < until {
            let (fault, lost_until) = self.lost(self.flushed_offset);
            return PastGap::Missing(fault, lost_until);
        }
        PastGap::Batches(batches)
    }

    fn missing(&self, from: i64) -> ReadRefused {
        self.lost(from).0.into()
    }

    /// The offsets from `from` on were lost to damage: the fault, and the first that were not.
    fn lost(&self, from: i64) -> (Fault, i64) {
        let segments = self.segments.iter().map(|segment| segment.base_offset);
        let held = segments.chain(self.tail.from(from).next().map(|batch| batch.base_offset));
        let until = held.filter(|&offset| offset > from).min().unwrap_or(self.end_offset);
        let why = format!("offsets {from}..{until} are missing");
        (corrupt(&names::log(&self.dir, from), 0, why), until)
    }

    /// What must be looked at to answer a question by time; none when the answer is none.
    pub(crate) fn search(
        &self,
        handles: &Arc<Handles>,
        by: ByTime,
        until: i64,
    ) -> Option<TimeWanted> {
        let until = until.min(self.durable_offset);
        let may_hold = |segment: &&Arc<Segment>| {
            let known = segment.known_max_time(until);
            let wanted = match by {
                ByTime::FirstFrom(timestamp) => known.is_none_or(|max| max.timestamp >= timestamp),
                ByTime::Latest => true,
            };
            segment.base_offset < until && segment.next_offset > self.start_offset && wanted
        };
        let segments: Vec<_> = self.segments.iter().filter(may_hold).cloned().collect();
        let tail = self.tail_by_time(by, until);
        if segments.is_empty() && tail.is_empty() {
            return None;
        }
        let (handles, epochs) = (Arc::clone(handles), Arc::clone(&self.epochs));
        Some(TimeWanted { handles, epochs, by, from: self.start_offset, until, segments, tail })
    }

    /// The batches that no segment has and that can answer: the one around the start of the log, and of
    /// the others the first that does.
    fn tail_by_time(&self, by: ByTime, until: i64) -> Vec<Bytes> {
        let from = self.flushed_offset.max(self.start_offset);
        let below = |batch: &&TailBatch| batch.base_offset < until;
        let around = |batch: &&TailBatch| batch.base_offset < self.start_offset;
        let batches = self.tail.from(from).take_while(below);
        let wanted = match by {
            ByTime::FirstFrom(timestamp) => timestamp,
            ByTime::Latest => {
                let whole = batches.clone().filter(|batch| !around(batch));
                whole.map(|batch| batch.max_timestamp).max().unwrap_or(i64::MAX)
            }
        };
        let first = batches.clone().find(|batch| !around(batch) && batch.max_timestamp >= wanted);
        batches.take_while(around).chain(first).map(|batch| batch.bytes.clone()).collect()
    }

    fn fault(&self, operation: &'static str, why: &str) -> Fault {
        let (path, kind) = (self.dir.to_string(), FaultKind::Io(why.to_owned()));
        Fault { operation, path, offset: None, kind }
    }
}

/// What a batch says of its producer's transaction; a control batch that cannot be read is refused.
fn end_marker(batch: &Batch) -> Result<Option<crate::EndMarker>, AppendRefused> {
    batch.end_marker().map_err(|error| {
        let kind = FaultKind::Corrupt(error.to_string());
        Fault { operation: "append", path: String::new(), offset: None, kind }.into()
    })
}

/// With a segment size that Kafka's index can address.
fn bounded(config: LogConfig) -> LogConfig {
    LogConfig { segment_bytes: config.segment_bytes.min(SEGMENT_BYTES_MAX), ..config }
}
