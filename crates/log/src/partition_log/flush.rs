//! Copying the newest batches of a log from memory into its segments, away from the owner's thread.
//!
//! A flush can be repeated: it begins where the segments end, cuts what an earlier try left there, and
//! writes the same bytes again. Nothing of it counts before a checkpoint says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::epochs::Epochs;
use super::handles::Handles;
use super::producers::Producers;
use super::segment::{Segment, SegmentWriter};
use super::snapshot;
use super::tail::TailBatch;
use super::transactions::AbortedTransaction;
use super::{PartitionLog, end_marker};
use super::{kafka_files, names};
use crate::limits::SNAPSHOTS_KEPT;
use crate::store::checkpoint::{LogRecord, TxnRecord};
use crate::{Batch, BatchHeader, Disk, Ending, Fault, File, LogConfig, LogId, LogKey, OpenMode};

/// What of one log goes into its segments.
#[derive(Debug)]
pub(crate) struct LogFlush {
    pub(crate) id: LogId,
    pub(crate) key: LogKey,
    dir: Arc<str>,
    config: LogConfig,
    /// The last segment.
    last: Option<Arc<Segment>>,
    sparse: bool,
    cleaned_to: i64,
    /// The last segment takes no more.
    roll: bool,
    /// The indexes of aborted transactions of all segments but the last.
    txns: Vec<TxnRecord>,
    batches: Vec<TailBatch>,
    producers: Arc<Producers>,
    snapshots: Vec<i64>,
    snapshot_offset: Option<i64>,
    epochs: Arc<Epochs>,
    /// They are in the file already.
    epochs_known: bool,
    start_offset: i64,
    /// The offset after the last batch.
    until: i64,
    dir_unsynced: bool,
    /// The log was removed, and its folder is somebody else's.
    removed: Arc<AtomicBool>,
    pub(crate) outcome: Option<Result<Flushed, Fault>>,
}

/// The log's segments after a flush.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// Instead of the last segment, and after it.
    segments: Vec<Arc<Segment>>,
    producers: Arc<Producers>,
    snapshots: Vec<i64>,
    snapshot_offset: Option<i64>,
    /// Snapshots that no recovery will need.
    old_snapshots: Vec<i64>,
    pub(crate) record: LogRecord,
}

/// What must be synced for what was written to last.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pub(crate) files: Vec<Arc<dyn File>>,
    pub(crate) dirs: Vec<String>,
}

impl PartitionLog {
    /// What is durable and not in segments, or none when that is nothing. `known` is the log's record as it
    /// was checkpointed.
    pub(crate) fn flush(&mut self, id: LogId, known: Option<&LogRecord>) -> Option<LogFlush> {
        if !self.is_dirty() || self.poison.is_some() {
            return None;
        }
        let config = *self.flush_config.get_or_insert(self.config);
        let (from, until) = (self.flushed_offset, self.durable_offset);
        let durable = |batch: &&TailBatch| batch.base_offset < until;
        let batches: Vec<TailBatch> = self.tail.from(from).take_while(durable).cloned().collect();
        let mut epochs = Arc::clone(&self.epochs);
        if epochs.starts().last().is_some_and(|&(_, first)| first >= until) {
            Arc::make_mut(&mut epochs).truncate(until);
        }
        Some(LogFlush {
            id,
            key: self.key,
            dir: Arc::clone(&self.dir),
            config,
            last: self.segments.last().cloned(),
            sparse: self.sparse,
            cleaned_to: self.cleaned_to,
            roll: self.roll_due,
            txns: self.segments.iter().rev().skip(1).rev().filter_map(|s| s.txn_record()).collect(),
            batches,
            producers: Arc::clone(&self.flushed_producers),
            snapshots: self.snapshots.clone(),
            snapshot_offset: self.snapshot_offset,
            epochs_known: known.is_some_and(|known| known.epochs == epochs.starts()),
            epochs,
            start_offset: self.start_to_flush(),
            until,
            dir_unsynced: self.dir_unsynced,
            removed: Arc::clone(&self.removed),
            outcome: None,
        })
    }

    /// Takes in a flush that is durable; returns the bytes that are now in segments. When a checkpoint
    /// says so too, `checkpointed` is the journal's first frame that was not part of it.
    pub(crate) fn flushed(
        &mut self,
        flush: &LogFlush,
        done: Flushed,
        checkpointed: Option<u64>,
    ) -> u64 {
        self.flush_config = None;
        let last = self.segments.last().map(|segment| segment.base_offset);
        if last.is_some() && last == done.segments.first().map(|segment| segment.base_offset) {
            self.segments.pop();
        }
        self.segments.extend(done.segments);
        self.segments_bytes = self.segments.iter().map(|segment| segment.size).sum();
        self.flushed_producers = done.producers;
        self.forget_flushed_producers();
        self.snapshots = done.snapshots;
        self.snapshot_offset = done.snapshot_offset;
        self.flushed_offset = flush.until;
        self.dir_unsynced = false;
        let bytes = flush.batch_bytes();
        self.unflushed_bytes -= bytes;
        self.roll_due &= !flush.roll;
        let changed = self.sparse != flush.sparse || self.cleaned_to != flush.cleaned_to;
        self.record_due = checkpointed.is_none() || changed;
        if let Some(sequence) = checkpointed {
            self.flushed_start_offset = flush.start_offset;
            self.made_start_durable(flush.start_offset);
            self.start_loose &= flush.start_offset < self.start_offset;
            let left = self.flushed_offset < self.end_offset
                || self.flushed_start_offset < self.start_offset;
            self.first_sequence = left.then_some(sequence);
        }
        bytes
    }
}

impl LogFlush {
    /// Writes everything, and leaves in `unsynced` what must be synced before it counts.
    /// `written` counts the bytes of batches.
    pub(crate) fn write(
        &mut self,
        handles: &Handles,
        unsynced: &mut Unsynced,
        written: &AtomicU64,
    ) {
        if !self.removed.load(Ordering::Acquire) {
            self.outcome = Some(self.write_all(handles, unsynced, written));
        }
    }

    fn write_all(
        &self,
        handles: &Handles,
        unsynced: &mut Unsynced,
        written: &AtomicU64,
    ) -> Result<Flushed, Fault> {
        let disk = handles.disk();
        let mut made_names = self.dir_unsynced;
        if self.last.is_none() && !self.batches.is_empty() {
            disk.create_dir_all(&self.dir)?;
            unsynced.dirs.extend(ancestors(&self.dir));
            made_names = true;
        }
        let mut producers = None;
        let mut segments = Vec::new();
        let mut rest = &self.batches[..];
        let mut writer = match (&self.last, rest.first()) {
            (Some(last), None) if self.roll && !last.sealed => {
                Some(SegmentWriter::new(Segment::clone(last)))
            }
            (_, None) => None,
            (Some(last), _) if !last.sealed => Some(SegmentWriter::new(Segment::clone(last))),
            (_, Some(first)) => Some(self.new_segment(handles, first)),
        };
        while let Some(mut current) = writer.take() {
            let start = current.segment.size;
            let count = self.fill(&mut current, rest, &mut producers);
            let (filled, left) = rest.split_at(count);
            rest = left;
            if let Some(next) = rest.first() {
                current.seal();
                writer = Some(self.new_segment(handles, next));
            } else if self.roll {
                current.seal();
            }
            unsynced.files.push(write_batches(disk, &current.segment.path(), start, filled)?);
            written.fetch_add(current.segment.size - start, Ordering::Relaxed);
            let (segment, named) = current.finish(disk, &mut unsynced.files)?;
            made_names |= named;
            segments.push(Arc::new(segment));
        }
        let producers = producers.map_or_else(|| Arc::clone(&self.producers), Arc::new);
        let mut flushed = Flushed {
            segments,
            snapshots: self.snapshots.clone(),
            snapshot_offset: self.snapshot_offset,
            old_snapshots: Vec::new(),
            record: LogRecord::nothing(Arc::clone(&self.dir), self.until),
            producers,
        };
        made_names |= self.write_snapshot(disk, &mut flushed, unsynced)?;
        made_names |= self.write_epochs(disk, unsynced)?;
        flushed.record = self.record(&flushed);
        if made_names {
            unsynced.dirs.push(self.dir.to_string());
        }
        Ok(flushed)
    }

    fn new_segment(&self, handles: &Handles, first: &TailBatch) -> SegmentWriter {
        let mut segment = Segment::empty(handles, &self.dir, first.base_offset);
        segment.sparse = self.sparse;
        SegmentWriter::create(segment)
    }

    /// Adds the batches that the segment has room for; returns how many.
    fn fill(
        &self,
        writer: &mut SegmentWriter,
        batches: &[TailBatch],
        producers: &mut Option<Producers>,
    ) -> usize {
        for (number, batch) in batches.iter().enumerate() {
            let added = batch.added();
            if !writer.has_room(&added, &self.config) {
                return number;
            }
            writer.add(&added, &self.config);
            let header = BatchHeader::read(&batch.bytes);
            let Some(header) = header.filter(|header| header.producer_id >= 0) else { continue };
            let producers = producers.get_or_insert_with(|| Producers::clone(&self.producers));
            if let Some(aborted) = take_in(producers, &header, &batch.bytes) {
                writer.add_txn(&aborted);
            }
        }
        batches.len()
    }

    /// Writes the producers' state, unless it is there; tells whether a name was made.
    fn write_snapshot(
        &self,
        disk: &dyn Disk,
        flushed: &mut Flushed,
        unsynced: &mut Unsynced,
    ) -> Result<bool, Fault> {
        let changed = !Arc::ptr_eq(&flushed.producers, &self.producers);
        if !changed && (flushed.snapshot_offset.is_some() || flushed.producers.is_empty()) {
            return Ok(false);
        }
        let file = disk.open(&names::snapshot(&self.dir, self.until), OpenMode::Create)?;
        let bytes = snapshot::encode(flushed.producers.entries());
        file.truncate(0)?;
        file.write_at(&bytes, 0)?;
        unsynced.files.push(file);
        flushed.snapshots.retain(|&at| at != self.until);
        flushed.snapshots.push(self.until);
        flushed.snapshot_offset = Some(self.until);
        let old = flushed.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
        flushed.old_snapshots = flushed.snapshots.drain(..old).collect();
        Ok(true)
    }

    /// Writes Kafka's file of leader epochs when they have changed; tells whether a name was made.
    fn write_epochs(&self, disk: &dyn Disk, unsynced: &mut Unsynced) -> Result<bool, Fault> {
        let has_folder = self.last.is_some() || !self.batches.is_empty();
        if !has_folder || self.epochs_known {
            return Ok(false);
        }
        let path = format!("{}/{}", self.dir, kafka_files::LEADER_EPOCHS_FILE);
        let file = disk.open(&path, OpenMode::Create)?;
        file.truncate(0)?;
        file.write_at(kafka_files::encode_leader_epochs(self.epochs.starts()).as_bytes(), 0)?;
        unsynced.files.push(file);
        Ok(true)
    }

    /// What the checkpoint will say of this log.
    fn record(&self, flushed: &Flushed) -> LogRecord {
        let last = flushed.segments.last().or(self.last.as_ref());
        LogRecord {
            start_offset: self.start_offset,
            sparse: self.sparse,
            cleaned_to: self.cleaned_to,
            snapshot_offset: flushed.snapshot_offset,
            txns: self.txn_records(flushed),
            epochs: self.epochs.starts().to_vec(),
            ..LogRecord::ending(Arc::clone(&self.dir), self.until, last.map(|last| &**last))
        }
    }

    /// Something that all of the round needs has failed.
    pub(crate) fn fail(&mut self, fault: &Fault) {
        if matches!(self.outcome, Some(Ok(_))) {
            self.outcome = Some(Err(fault.clone()));
        }
    }

    pub(crate) fn batch_count(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn batch_bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes.len() as u64).sum()
    }

    fn txn_records(&self, flushed: &Flushed) -> Vec<TxnRecord> {
        let replaced = flushed.segments.first().map(|segment| segment.base_offset);
        let last = self.last.iter().filter(|last| Some(last.base_offset) != replaced);
        let newest = last.chain(&flushed.segments).filter_map(|segment| segment.txn_record());
        self.txns.iter().copied().chain(newest).collect()
    }

    /// The checkpoint that makes the flush count is durable.
    pub(crate) fn drop_old_snapshots(&self, disk: &dyn Disk) {
        let Some(Ok(flushed)) = &self.outcome else { return };
        if self.removed.load(Ordering::Acquire) {
            return;
        }
        for &offset in &flushed.old_snapshots {
            // One that stays behind costs its bytes until the next open and nothing else.
            drop(disk.remove_file(&names::snapshot(&self.dir, offset)));
        }
    }
}

/// Takes a batch into the producers' state; tells of the transaction that it aborted.
pub(super) fn take_in(
    producers: &mut Producers,
    header: &BatchHeader,
    bytes: &bytes::Bytes,
) -> Option<AbortedTransaction> {
    let end = if header.attributes.control() {
        let batch = Batch::parse(bytes.clone()).ok()?;
        end_marker(&batch).ok().flatten()
    } else {
        None
    };
    let completed = producers.apply(header, end)?;
    (completed.ending == Ending::Abort).then(|| completed.into())
}

/// Writes batches from `start` on, where the file ends then.
fn write_batches(
    disk: &dyn Disk,
    path: &str,
    start: u64,
    batches: &[TailBatch],
) -> Result<Arc<dyn File>, Fault> {
    let file = disk.open(path, OpenMode::Create)?;
    if file.len()? > start {
        file.truncate(start)?;
    }
    let parts: Vec<&[u8]> = batches.iter().map(|batch| &batch.bytes[..]).collect();
    if !parts.is_empty() {
        file.write_vectored_at(&parts, start)?;
    }
    Ok(file)
}

/// The folders above `dir`, nearest first, ending with the root.
pub(super) fn ancestors(dir: &str) -> Vec<String> {
    let mut ancestors = Vec::new();
    let mut rest = dir;
    while let Some((above, _)) = rest.rsplit_once('/') {
        ancestors.push(above.to_owned());
        rest = above;
    }
    ancestors.push(String::new());
    ancestors
}
