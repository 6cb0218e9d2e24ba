//! Opening a log: what a clean stop, a crash or a damaged disk left is made into a log again.
//!
//! 1. The checkpoint says how far the log is in segments. Below that nothing is scanned, cut or
//!    rewritten: what is missing there is reported, and its offsets are not given again.
//! 2. Producer state is taken from the newest snapshot at or below that point and replayed to it.
//! 3. Bytes above it are copies of what the journal has. When the journal has all of it they are cut.
//!    When it does not, they are checked batch by batch and become part of the log again; the rest is
//!    cut, after a copy was put aside if any valid batch is in it.
//! 4. What the journal has above that becomes the newest part of the log, in memory.
//!
//! Without a checkpoint everything found in segments is checked and counts as durable. Every step can
//! be repeated, so a crash inside recovery needs no recovery of its own.

mod aborted;
mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::epochs::Epochs;
use super::flush::{Unsynced, ancestors, take_in};
use super::handles::Handles;
use super::index::{self, OffsetEntry, TimeEntry};
use super::producers::Producers;
use super::scan::is_damage;
use super::segment::{Added, Segment, SegmentWriter, corrupt};
use super::tail::TailBatch;
use super::transactions::AbortedTransaction;
use super::{PartitionLog, names, snapshot};
use crate::compaction::finish_swaps;
use crate::journal::{EntryKind, FoundEntry};
use crate::store::checkpoint::LogRecord;
use crate::{Batch, Disk, Entry, Fault, FaultKind, LogConfig, LogKey, OpenMode, Recovered};

/// What is known of a log that is to be opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) handles: Arc<Handles>,
    pub(crate) key: LogKey,
    pub(crate) dir: Arc<str>,
    pub(crate) config: LogConfig,
    pub(crate) record: Option<LogRecord>,
    /// There was a checkpoint, and it may have had a record of this log.
    pub(crate) record_lost: bool,
    /// Of this log, from the journal.
    pub(crate) entries: Vec<FoundEntry>,
    /// The journal has lost something that may have been of this log.
    pub(crate) journal_damaged: bool,
    pub(crate) journal_fault: Arc<OnceLock<Fault>>,
    /// For the cache.
    pub(crate) unit: u64,
}

impl Opening {
    pub(crate) fn open(self) -> Result<(PartitionLog, Recovered), Fault> {
        match finish_swaps(self.handles.disk(), &self.dir) {
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            finished => finished?,
        }
        let files = FilesFound::list(self.handles.disk(), &self.dir)?;
        let journal = Journaled::of(&self.entries);
        let mut recovery = Recovery::new(self, &files, journal)?;
        recovery.load_segments(&files)?;
        recovery.load_producers(&files)?;
        recovery.load_aborted()?;
        recovery.settle_rest(&files)?;
        recovery.sync()?;
        Ok(recovery.into_log())
    }
}

/// Offsets in the names of the files of one partition, in order.
#[derive(Debug, Default)]
struct FilesFound {
    logs: Vec<i64>,
    snapshots: Vec<i64>,
}

impl FilesFound {
    /// Lists the folder, and removes what is of no use to anybody: copies that a crash left
    /// unfinished and indexes without a segment.
    fn list(disk: &dyn Disk, dir: &str) -> Result<Self, Fault> {
        let entries = match disk.list(dir) {
            Err(fault) if fault.kind == FaultKind::NotFound => return Ok(Self::default()),
            listed => listed?,
        };
        let found = Self {
            logs: offsets_in(&entries, names::LOG),
            snapshots: offsets_in(&entries, names::SNAPSHOT),
        };
        for entry in &entries {
            let index = [names::OFFSET_INDEX, names::TIME_INDEX, names::TXN_INDEX]
                .iter()
                .find_map(|suffix| names::offset(&entry.name, suffix));
            let orphan = index.is_some_and(|base| found.logs.binary_search(&base).is_err());
            if orphan || entry.name.ends_with(names::KEPT_ASIDE_UNFINISHED) {
                disk.remove_file(&format!("{dir}/{}", entry.name))?;
            }
        }
        Ok(found)
    }
}

fn offsets_in(entries: &[Entry], suffix: &str) -> Vec<i64> {
    let found = entries.iter().filter_map(|entry| names::offset(&entry.name, suffix));
    let mut offsets: Vec<i64> = found.collect();
    offsets.sort_unstable();
    offsets
}

/// What the journal has of a log.
#[derive(Debug, Default)]
struct Journaled {
    /// By base offset.
    batches: BTreeMap<i64, (Batch, u64)>,
    start_offset: Option<(i64, u64)>,
    damaged: Vec<Fault>,
}

impl Journaled {
    fn of(entries: &[FoundEntry]) -> Self {
        let mut journaled = Self::default();
        for entry in entries {
            let sequence = entry.sequence;
            match entry.kind {
                EntryKind::Batch => match Batch::parse(entry.bytes.clone()) {
                    Ok(batch) => {
                        journaled.batches.insert(batch.header().base_offset, (batch, sequence));
                    }
                    Err(error) => {
                        journaled.damaged.push(corrupt("journal/ring", 0, error.to_string()));
                    }
                },
                EntryKind::StartOffset => {
                    let offset = entry.bytes.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
                    let moved = offset.map(|offset| (offset, sequence));
                    journaled.start_offset = journaled.start_offset.max(moved);
                }
            }
        }
        journaled
    }

    /// Whether it has everything from `offset` to its own end.
    fn covers(&self, offset: i64) -> bool {
        let mut expected = offset;
        self.batches.iter().filter(|(_, (batch, _))| batch.last_offset() >= offset).all(
            |(&base, (batch, _))| {
                let follows = base == expected;
                expected = batch.last_offset() + 1;
                follows
            },
        )
    }
}

/// A log that is being opened.
struct Recovery {
    handles: Arc<Handles>,
    opening: Opening,
    journal: Journaled,
    known: LogRecord,
    /// Everything in segments counts as durable.
    keep_all: bool,
    epochs: Epochs,
    segments: Vec<Segment>,
    producers: Producers,
    aborted: Vec<AbortedTransaction>,
    snapshots: Vec<i64>,
    /// All that were there.
    found_snapshots: Vec<i64>,
    snapshot_offset: Option<i64>,
    /// The offset after the last batch in segments.
    end_offset: i64,
    /// Names were removed, or more was found than the checkpoint says.
    dir_unsynced: bool,
    record_due: bool,
    unsynced: Unsynced,
    recovered: Recovered,
}

impl Recovery {
    fn new(mut opening: Opening, files: &FilesFound, journal: Journaled) -> Result<Self, Fault> {
        let first_journaled = journal.batches.first_key_value().map(|(&base, _)| base);
        let record = opening.record.take();
        let first_file = files.logs.first().copied();
        let in_journal = first_journaled
            .is_some_and(|first| first <= first_file.unwrap_or(i64::MAX) && journal.covers(first));
        let copies = !opening.journal_damaged && in_journal
            || !opening.record_lost && opening.config.volatile;
        let keep_all = record.is_none() && first_file.is_some() && !copies;
        let known = record.unwrap_or_else(|| {
            let base = if keep_all { first_file } else { None };
            let nothing = LogRecord::nothing(Arc::clone(&opening.dir), base.unwrap_or(0));
            // Compaction may have been here.
            LogRecord { sparse: keep_all && opening.config.compact, ..nothing }
        });
        let epochs = Epochs::restore(known.epochs.clone()).unwrap_or_default();
        let mut recovered = Recovered::default();
        recovered.damaged.extend(journal.damaged.iter().cloned());
        Ok(Self {
            handles: Arc::clone(&opening.handles),
            opening,
            journal,
            keep_all,
            epochs,
            segments: Vec::new(),
            producers: Producers::default(),
            aborted: Vec::new(),
            snapshots: Vec::new(),
            found_snapshots: files.snapshots.clone(),
            snapshot_offset: None,
            end_offset: known.recovery_offset,
            known,
            dir_unsynced: false,
            record_due: keep_all,
            unsynced: Unsynced::default(),
            recovered,
        })
    }

    fn dir(&self) -> &Arc<str> {
        &self.opening.dir
    }

    fn report(&mut self, fault: Fault) {
        if !self.recovered.damaged.contains(&fault) {
            self.recovered.damaged.push(fault);
        }
    }

    /// Step 1: segments, and indexes where the checkpoint or their looks say they are not good.
    fn load_segments(&mut self, files: &FilesFound) -> Result<(), Fault> {
        let dir = Arc::clone(self.dir());
        let claimed = self.known.segment_base;
        if self.keep_all {
            return Ok(());
        }
        let first = files.logs.first().copied().filter(|&first| first <= claimed);
        let journaled = self.journal.start_offset.map_or(0, |(offset, _)| offset);
        let start = self.known.start_offset.max(journaled);
        if first.unwrap_or(claimed) > start && claimed > start {
            let why = format!("offsets {start}..{} are missing", first.unwrap_or(claimed));
            self.report(recovery_damage(&names::log(&dir, start), 0, why));
        }
        for (number, &base_offset) in files.logs.iter().enumerate() {
            if base_offset >= claimed {
                break;
            }
            let next = files.logs.get(number + 1).map_or(claimed, |&next| next.min(claimed));
            let (mut segment, sane) = Segment::load(&self.handles, &dir, base_offset, next)?;
            segment.sparse = self.known.sparse;
            if !sane {
                self.rebuild_indexes(&mut segment)?;
            }
            self.segments.push(segment);
        }
        self.load_claimed(files.logs.binary_search(&claimed).is_ok())
    }

    /// The segment that the checkpoint ends in.
    fn load_claimed(&mut self, exists: bool) -> Result<(), Fault> {
        let (known, dir) = (self.known.clone(), Arc::clone(self.dir()));
        let path = names::log(&dir, known.segment_base);
        // The files of a segment below the start may be gone, and the record of before.
        let passed =
            self.journal.start_offset.is_some_and(|(start, _)| known.recovery_offset <= start);
        if known.position == 0 || passed && !exists {
            return Ok(());
        }
        let disk = Arc::clone(&self.handles);
        let disk = disk.disk();
        let bytes = if exists { disk.open(&path, OpenMode::Existing)?.len()? } else { 0 };
        if bytes < known.position {
            let why = format!("durable bytes {bytes}..{} are missing", known.position);
            self.report(recovery_damage(&path, bytes, why));
        }
        if !exists {
            return Ok(());
        }
        let mut segment = known.segment(&self.handles, &dir);
        let offsets = names::offset_index(&dir, known.segment_base);
        let times = names::time_index(&dir, known.segment_base);
        let sane = index::truncate::<OffsetEntry>(disk, &offsets, known.offset_entries)?
            & index::truncate::<TimeEntry>(disk, &times, known.time_entries)?;
        if bytes < known.position {
            segment.size = bytes;
            segment.sealed = true;
        }
        if !sane || bytes < known.position {
            self.rebuild_indexes(&mut segment)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Makes both indexes anew from the batches of a segment.
    fn rebuild_indexes(&mut self, segment: &mut Segment) -> Result<(), Fault> {
        self.recovered.rebuilt_indexes += 2;
        let whole = segment.clone();
        let file = whole.open(&self.handles)?;
        let mut empty = Segment::empty(&self.handles, whole.dir(), whole.base_offset);
        empty.file = Arc::clone(&whole.file);
        empty.sparse = whole.sparse;
        let mut writer = SegmentWriter::create(empty);
        let epochs = self.epochs.clone();
        let mut scan = whole.scan(&file, &epochs);
        loop {
            match scan.next() {
                Ok(Some(found)) => {
                    writer.segment.size = found.position;
                    let added = Added::of(&found.header, found.bytes);
                    writer.add(&added, &self.opening.config);
                }
                Ok(None) => break,
                Err(fault) if is_damage(&fault) => {
                    self.report(fault);
                    if !whole.skip_damage(&self.handles, &mut scan)? {
                        break;
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        if whole.sealed {
            writer.seal();
        }
        whole.forget_handles(&self.handles);
        let rebuilt = match writer.finish(self.handles.disk(), &mut self.unsynced.files) {
            // A full disk does not stop what is only there to make reading quick.
            Err(fault) if fault.kind == FaultKind::NoSpace => return Ok(()),
            finished => finished?.0,
        };
        self.dir_unsynced = true;
        self.record_due = true;
        *segment = Segment {
            next_offset: whole.next_offset,
            size: whole.size,
            sealed: whole.sealed,
            txn_entries: whole.txn_entries,
            ..rebuilt
        };
        Ok(())
    }

    /// Step 2.
    fn load_producers(&mut self, files: &FilesFound) -> Result<(), Fault> {
        let recovery_offset = self.known.recovery_offset;
        // A snapshot past the record's is of batches that a log in memory lost, and may have come back
        // with a folder that was not synced since: other batches have these offsets now.
        let last = if self.keep_all { Some(recovery_offset) } else { self.known.snapshot_offset };
        let mut from = None;
        for &offset in files.snapshots.iter().rev() {
            let path = names::snapshot(self.dir(), offset);
            let counts = offset <= recovery_offset && Some(offset) <= last;
            let loaded = if counts { self.load_snapshot(&path)? } else { None };
            match loaded {
                Some(producers) => {
                    if from.is_none() {
                        self.producers = producers;
                        from = Some(offset);
                    }
                    self.snapshots.insert(0, offset);
                }
                None => {
                    self.handles.disk().remove_file(&path)?;
                    self.dir_unsynced = true;
                }
            }
        }
        // The record says which snapshot still held, or that there was no producer.
        let exact = !self.keep_all && self.known.snapshot_offset == from;
        if exact {
            self.snapshot_offset = from;
            if from.is_none() {
                self.producers = Producers::default();
            }
            return Ok(());
        }
        if self.known.snapshot_offset.is_none() && !self.keep_all {
            self.producers = Producers::default();
            return Ok(());
        }
        self.record_due = true;
        self.replay(from.unwrap_or(i64::MIN), recovery_offset)
    }

    fn load_snapshot(&self, path: &str) -> Result<Option<Producers>, Fault> {
        let bytes = read_whole(self.handles.disk(), path, snapshot::SNAPSHOT_BYTES_MAX)?;
        Ok(bytes.as_deref().and_then(snapshot::decode).map(Producers::restore))
    }

    /// Folds the batches of `from..until` into the producer state.
    fn replay(&mut self, from: i64, until: i64) -> Result<(), Fault> {
        let mut damage = Vec::new();
        let after = self.segments.partition_point(|segment| segment.base_offset <= from);
        for segment in &self.segments[after.saturating_sub(1)..] {
            let file = segment.open(&self.handles)?;
            let mut scan = segment.scan_near(&self.handles, &file, from, &self.epochs)?;
            loop {
                match scan.next() {
                    Ok(Some(found)) if found.header.base_offset >= until => break,
                    Ok(Some(found)) if found.header.base_offset >= from => {
                        let bytes = copy(scan.bytes_of(&found));
                        take_in(&mut self.producers, &found.header, &bytes);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(fault) if is_damage(&fault) => {
                        damage.push(fault);
                        if !segment.skip_damage(&self.handles, &mut scan)? {
                            break;
                        }
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
        damage.into_iter().for_each(|fault| self.report(fault));
        Ok(())
    }

    /// Makes what was taken in from segments durable, before anybody is told of it.
    fn sync(&mut self) -> Result<(), Fault> {
        if self.unsynced.files.is_empty() {
            return Ok(());
        }
        for file in self.unsynced.files.drain(..) {
            file.sync()?;
        }
        let disk = self.handles.disk();
        disk.sync_dir(self.dir())?;
        ancestors(self.dir()).iter().try_for_each(|dir| disk.sync_dir(dir))
    }

    /// Step 4.
    fn into_log(mut self) -> (PartitionLog, Recovered) {
        let flushed_start_offset = self.known.start_offset;
        let journaled = self.journal.start_offset.map(|(offset, _)| offset);
        let start_offset = flushed_start_offset.max(journaled.unwrap_or(0));
        let end_offset = self.end_offset;
        let first_sequence = self.record_due.then_some(0);
        let segments: Vec<_> = self.segments.into_iter().map(Arc::new).collect();
        let mut log = PartitionLog {
            key: self.opening.key,
            dir: self.opening.dir,
            config: super::bounded(self.opening.config),
            flush_config: None,
            segments_bytes: segments.iter().map(|segment| segment.size).sum(),
            segments,
            sparse: self.known.sparse,
            cleaned_to: self.known.cleaned_to,
            roll_due: false,
            tail: super::Tail::default(),
            flushed_producers: Arc::new(self.producers.clone()),
            producers: self.producers,
            snapshots: self.snapshots,
            snapshot_offset: self.snapshot_offset,
            epochs: Arc::new(self.epochs),
            aborted: self.aborted,
            undecided: super::Undecided::default(),
            start_offset,
            durable_start_offset: start_offset,
            start_loose: false,
            flushed_start_offset,
            flushed_offset: end_offset,
            durable_offset: end_offset,
            end_offset,
            unflushed_bytes: 0,
            loose: 0..0,
            first_sequence,
            dir_unsynced: self.dir_unsynced,
            record_due: self.record_due,
            poison: None,
            removed: Arc::default(),
            journal_fault: self.opening.journal_fault,
        };
        if flushed_start_offset < start_offset {
            let sequence = self.journal.start_offset.map(|(_, sequence)| sequence);
            log.needs_frame(sequence);
        }
        let damaged = log.take_journaled(self.journal.batches, self.opening.unit);
        self.recovered.damaged.extend(damaged);
        (log, self.recovered)
    }
}

impl PartitionLog {
    /// Takes in what the journal has past the segments; returns what is missing of it.
    fn take_journaled(&mut self, batches: BTreeMap<i64, (Batch, u64)>, unit: u64) -> Vec<Fault> {
        let mut missing = Vec::new();
        for (batch, sequence) in batches.into_values() {
            let header = *batch.header();
            if batch.last_offset() < self.end_offset {
                continue;
            }
            if header.base_offset != self.end_offset {
                let (expected, found) = (self.end_offset, header.base_offset);
                let why = format!("offsets {expected}..{found} are missing");
                missing.push(recovery_damage(&names::log(&self.dir, expected), 0, why));
                if found < expected {
                    continue;
                }
                self.end_offset = found;
            }
            self.accept(&batch, &header, Some(sequence));
            self.keep(TailBatch::new(&header, batch.bytes().clone(), unit));
            self.made_durable(self.end_offset);
        }
        // What the start offset covers was there once.
        if self.end_offset < self.start_offset {
            let start = self.start_offset;
            (self.flushed_offset, self.durable_offset, self.end_offset) = (start, start, start);
        }
        missing
    }
}

fn read_whole(disk: &dyn Disk, path: &str, most: usize) -> Result<Option<Vec<u8>>, Fault> {
    let file = match disk.open(path, OpenMode::Existing) {
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if len > most {
        return Ok(None);
    }
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn recovery_damage(path: &str, position: u64, why: String) -> Fault {
    Fault { operation: "recover", ..corrupt(path, position, why) }
}
