//! Opening a log: what a clean stop, a crash or a damaged disk left is made into a log again.
//!
//! 1. The checkpoint says how far the log is known to be durable. Below that nothing is scanned,
//!    cut or rewritten: what is missing there is reported, and its offsets are not given again.
//! 2. Producer state is taken from the newest snapshot at or below that point and replayed to it.
//! 3. Above it every batch is checked. At the first that is not whole and valid the log ends: the
//!    rest is cut, after a copy was put aside if any valid batch is in it.
//! 4. What was found is synced, and only then claimed by a new checkpoint and served.
//!
//! Every step can be repeated, so a crash inside recovery needs no recovery of its own. A full
//! disk stops none of it but the copy of step 3: without room for that, opening fails.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, CheckpointFile, Epochs, Loaded};
use super::producers::Producers;
use super::scan::{Scan, is_damage};
use super::segment::{Segment, corrupt};
use super::sync::{Unsynced, unless_full};
use super::{CommitLog, Recovered, aside, names, snapshot};
use crate::{BatchHeader, Disk, Fault, FaultKind, LogConfig, OpenMode};

impl CommitLog {
    /// Opens or creates the log in folder `dir`, recovering it; what it recovered is durable when
    /// this returns.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        config: LogConfig,
    ) -> Result<(Self, Recovered), Fault> {
        let config = config.bounded();
        disk.create_dir_all(dir)?;
        let files = FilesFound::list(&*disk, dir)?;
        let (checkpoint_file, loaded) = CheckpointFile::open(&*disk, dir)?;
        let mut recovery = Recovery::new(disk, dir, config, &files, &checkpoint_file, loaded);
        recovery.load_segments(&files)?;
        recovery.report_missing();
        recovery.load_producers(&files)?;
        recovery.read_tail()?;
        recovery.into_log(checkpoint_file)
    }
}

/// Offsets in the names of the files of one partition, in order.
struct FilesFound {
    logs: Vec<i64>,
    snapshots: Vec<i64>,
}

impl FilesFound {
    /// Lists the folder, and removes what is of no use to anybody: copies that a crash left
    /// unfinished and indexes without a segment.
    fn list(disk: &dyn Disk, dir: &str) -> Result<Self, Fault> {
        let entries = disk.list(dir)?;
        let with = |suffix: &str| {
            let offsets = entries.iter().filter_map(|entry| names::offset(&entry.name, suffix));
            let mut offsets: Vec<i64> = offsets.collect();
            offsets.sort_unstable();
            offsets
        };
        let found = Self { logs: with(names::LOG), snapshots: with(names::SNAPSHOT) };
        for entry in &entries {
            let index = names::offset(&entry.name, names::OFFSET_INDEX)
                .or_else(|| names::offset(&entry.name, names::TIME_INDEX));
            let orphan = index.is_some_and(|base| found.logs.binary_search(&base).is_err());
            if orphan || entry.name.ends_with(names::KEPT_ASIDE_UNFINISHED) {
                disk.remove_file(&format!("{dir}/{}", entry.name))?;
            }
        }
        Ok(found)
    }
}

/// A log that is being opened.
struct Recovery {
    disk: Arc<dyn Disk>,
    dir: String,
    config: LogConfig,
    checkpoint: Checkpoint,
    /// The checkpoint was lost to damage, so everything found counts as durable.
    keep_all: bool,
    epochs: Epochs,
    segments: Vec<Segment>,
    producers: Producers,
    snapshots: Vec<i64>,
    /// The offset after the last batch found.
    end_offset: i64,
    /// Something is there that the checkpoint does not claim, or something was changed.
    unclean: bool,
    unsynced: Unsynced,
    recovered: Recovered,
}

impl Recovery {
    fn new(
        disk: Arc<dyn Disk>,
        dir: &str,
        config: LogConfig,
        files: &FilesFound,
        checkpoint_file: &CheckpointFile,
        loaded: Loaded,
    ) -> Self {
        let keep_all = loaded == Loaded::Damaged;
        let first = files.logs.first().copied().unwrap_or(0);
        let checkpoint = match loaded {
            Loaded::Known { checkpoint, .. } => checkpoint,
            Loaded::Absent | Loaded::Damaged => Checkpoint::nothing(first, Epochs::learning()),
        };
        let mut recovered = Recovered::default();
        if keep_all {
            recovered.damaged.push(checkpoint_file.damage());
        }
        Self {
            disk,
            dir: dir.to_owned(),
            config,
            keep_all,
            epochs: checkpoint.epochs.clone(),
            segments: Vec::new(),
            producers: Producers::default(),
            snapshots: Vec::new(),
            end_offset: checkpoint.recovery_offset,
            unclean: !checkpoint.names_durable && !files.logs.is_empty(),
            checkpoint,
            unsynced: Unsynced::default(),
            recovered,
        }
    }

    fn report(&mut self, fault: Fault) {
        if !self.recovered.damaged.contains(&fault) {
            self.recovered.damaged.push(fault);
        }
    }

    /// Step 1: segments, and indexes where the checkpoint or their looks say they are not good.
    fn load_segments(&mut self, files: &FilesFound) -> Result<(), Fault> {
        for &base_offset in &files.logs {
            let (mut segment, mut sane) = Segment::load(&*self.disk, &self.dir, base_offset)?;
            let file_bytes = segment.size;
            let known = &self.checkpoint;
            let claimed = base_offset == known.segment_base;
            if base_offset > known.segment_base {
                // Its indexes are made anew from its batches.
                segment.clear(&*self.disk)?;
                segment.size = file_bytes;
                sane = true;
            } else if claimed {
                let entries = (known.offset_entries, known.time_entries);
                segment.size = file_bytes.min(known.position);
                sane = entries == (0, 0)
                    || sane
                        && segment.offsets.stored() >= entries.0
                        && segment.times.stored() >= entries.1;
                if sane {
                    segment.offsets.truncate(&*self.disk, entries.0)?;
                    segment.times.truncate(&*self.disk, entries.1)?;
                    segment.max_time = known.max_time;
                }
            }
            if !sane {
                self.rebuild_indexes(&mut segment)?;
            }
            if claimed {
                segment.size = file_bytes;
            }
            self.segments.push(segment);
        }
        Ok(())
    }

    /// Makes both indexes anew from the batches of the first `segment.size` bytes.
    fn rebuild_indexes(&mut self, segment: &mut Segment) -> Result<(), Fault> {
        self.recovered.rebuilt_indexes += 2;
        self.unclean = true;
        let bytes = segment.size;
        segment.clear(&*self.disk)?;
        let file = segment.open(&*self.disk)?;
        let epochs = self.epochs.clone();
        let mut scan = Scan::new(&file, 0, bytes, segment.base_offset, &epochs);
        loop {
            match scan.next() {
                Ok(Some(found)) => segment.add(&found.header, found.bytes, self.config),
                Ok(None) => break,
                Err(fault) if is_damage(&fault) => {
                    self.report(fault);
                    segment.size = bytes;
                    if !segment.skip_damage(&*self.disk, &mut scan)? {
                        break;
                    }
                    segment.size = scan.position();
                }
                Err(fault) => return Err(fault),
            }
        }
        segment.size = bytes;
        segment.add_time_entry();
        let offsets = unless_full(segment.offsets.flush(&*self.disk).map(Some))?;
        let times = unless_full(segment.times.flush(&*self.disk).map(Some))?;
        self.unsynced.files.extend(offsets.into_iter().chain(times));
        Ok(())
    }

    /// What the checkpoint claims and the folder does not have.
    fn report_missing(&mut self) {
        let known = self.checkpoint.clone();
        let first = self.segments.first().map_or(known.segment_base, |first| first.base_offset);
        if first > known.start_offset && known.segment_base > known.start_offset {
            let why = format!("offsets {}..{first} are missing", known.start_offset);
            self.report(recovery_damage(&names::log(&self.dir, known.start_offset), 0, why));
        }
        let claimed = self.segments.iter().find(|s| s.base_offset == known.segment_base);
        let bytes = claimed.map_or(0, |segment| segment.size);
        if bytes < known.position {
            let why = format!("durable bytes {bytes}..{} are missing", known.position);
            self.report(recovery_damage(&names::log(&self.dir, known.segment_base), bytes, why));
        }
    }

    /// Step 2.
    fn load_producers(&mut self, files: &FilesFound) -> Result<(), Fault> {
        let recovery_offset = self.checkpoint.recovery_offset;
        let mut from = self.checkpoint.start_offset;
        for &offset in files.snapshots.iter().rev() {
            let path = names::snapshot(&self.dir, offset);
            let loaded = if offset > recovery_offset { None } else { self.load_snapshot(&path)? };
            match loaded {
                Some(producers) => {
                    if self.snapshots.is_empty() {
                        self.producers = producers;
                        from = offset;
                    }
                    self.snapshots.insert(0, offset);
                }
                None => self.disk.remove_file(&path)?,
            }
        }
        self.replay(from, recovery_offset)
    }

    fn load_snapshot(&self, path: &str) -> Result<Option<Producers>, Fault> {
        let file = self.disk.open(path, OpenMode::Existing)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        if len > snapshot::SNAPSHOT_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        Ok(bytes.get(..read).and_then(snapshot::decode).map(Producers::restore))
    }

    /// Folds the batches of `from..until` into the producer state.
    fn replay(&mut self, from: i64, until: i64) -> Result<(), Fault> {
        let mut damage = Vec::new();
        let after = self.segments.partition_point(|segment| segment.base_offset <= from);
        for segment in &self.segments[after.saturating_sub(1)..] {
            if segment.base_offset >= until {
                break;
            }
            let file = segment.open(&*self.disk)?;
            let mut scan = segment.scan_near(&*self.disk, &file, from, &self.epochs)?;
            loop {
                match scan.next() {
                    Ok(Some(found)) if found.header.base_offset >= until => break,
                    Ok(Some(found)) if found.header.base_offset >= from => {
                        self.producers.apply(&found.header);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(fault) if is_damage(&fault) => {
                        let above = segment.base_offset == self.checkpoint.segment_base
                            && scan.position() >= self.checkpoint.position;
                        if above {
                            break;
                        }
                        damage.push(fault);
                        if !segment.skip_damage(&*self.disk, &mut scan)? {
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

    /// Step 3.
    fn read_tail(&mut self) -> Result<(), Fault> {
        let known = &self.checkpoint;
        let (claimed, position) = (known.segment_base, known.position);
        let mut number = self.segments.partition_point(|s| s.base_offset < claimed);
        while number < self.segments.len() {
            let (base_offset, size) =
                (self.segments[number].base_offset, self.segments[number].size);
            let in_claimed = base_offset == claimed;
            if in_claimed && size < position {
                // Reported as missing; appends go on in a new segment.
                number += 1;
                continue;
            }
            let from = if in_claimed { position } else { 0 };
            self.unclean |= from < size || !in_claimed;
            let gap = !in_claimed && base_offset != self.end_offset;
            if gap && self.keep_all && base_offset > self.end_offset {
                let why = format!("offsets {}..{base_offset} are missing", self.end_offset);
                self.report(recovery_damage(&self.segments[number].path, 0, why));
                self.end_offset = base_offset;
            } else if gap {
                return self.cut(number, 0);
            }
            if let Some(cut_at) = self.read_segment(number, from)? {
                return self.cut(number, cut_at);
            }
            number += 1;
        }
        Ok(())
    }

    /// Takes in the batches of a segment from `position` on; returns where the log must be cut.
    fn read_segment(&mut self, number: usize, position: u64) -> Result<Option<u64>, Fault> {
        let mut segment = std::mem::replace(
            &mut self.segments[number],
            Segment::empty(&self.dir, self.end_offset),
        );
        let outcome = self.read_batches(&mut segment, position);
        self.segments[number] = segment;
        outcome
    }

    fn read_batches(&mut self, segment: &mut Segment, position: u64) -> Result<Option<u64>, Fault> {
        let file = segment.open(&*self.disk)?;
        let file_bytes = segment.size;
        let believed = self.epochs.clone();
        let mut scan = Scan::new(&file, position, file_bytes, self.end_offset, &believed);
        segment.size = position;
        loop {
            match scan.next() {
                Ok(Some(found)) => {
                    segment.add(&found.header, found.bytes, self.config);
                    self.take_in(&found.header);
                }
                Ok(None) => return Ok(None),
                Err(fault) if is_damage(&fault) => {
                    let damaged_at = scan.position();
                    segment.size = file_bytes;
                    let goes_on = self.keep_all
                        && segment.skip_damage(&*self.disk, &mut scan)?
                        && scan.position() < file_bytes;
                    if !goes_on {
                        return Ok(Some(damaged_at));
                    }
                    segment.size = scan.position();
                    self.report(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn take_in(&mut self, header: &BatchHeader) {
        self.epochs.learn(header.base_offset, header.leader_epoch);
        self.producers.apply(header);
        self.end_offset = header.last_offset() + 1;
    }

    /// Ends the log at `position` of a segment. A copy is made first if a valid batch would go.
    fn cut(&mut self, number: usize, position: u64) -> Result<(), Fault> {
        let later = self.segments.split_off(number + 1);
        let segment = &self.segments[number];
        let file = segment.open(&*self.disk)?;
        let mut parts = vec![aside::Part { from: position, to: file.len()?, file }];
        for segment in &later {
            let file = segment.open(&*self.disk)?;
            parts.push(aside::Part { from: 0, to: file.len()?, file });
        }
        let cut_bytes: u64 = parts.iter().map(|part| part.to - part.from).sum();
        if self.keep_all && cut_bytes > 0 || aside::any_batch(&parts, self.end_offset)? {
            let name = aside::keep(&*self.disk, &self.dir, segment.base_offset, position, &parts)?;
            self.recovered.kept_aside = Some(name);
        }
        for segment in later.iter().rev() {
            self.remove_segment(segment.base_offset)?;
        }
        let segment = &mut self.segments[number];
        if position == 0 && segment.base_offset != self.end_offset {
            let base_offset = segment.base_offset;
            self.segments.truncate(number);
            self.remove_segment(base_offset)?;
        } else {
            parts[0].file.truncate(position)?;
            segment.size = position;
        }
        self.recovered.cut_bytes = cut_bytes;
        self.unclean = true;
        Ok(())
    }

    fn remove_segment(&self, base_offset: i64) -> Result<(), Fault> {
        let dir = &self.dir;
        for derived in [names::offset_index(dir, base_offset), names::time_index(dir, base_offset)]
        {
            match self.disk.remove_file(&derived) {
                Err(fault) if fault.kind != FaultKind::NotFound => return Err(fault),
                _ => {}
            }
        }
        self.disk.remove_file(&names::log(dir, base_offset))
    }

    /// Step 4.
    fn into_log(
        mut self,
        checkpoint_file: CheckpointFile,
    ) -> Result<(CommitLog, Recovered), Fault> {
        let known = &self.checkpoint;
        let takes_appends = self.segments.last().is_some_and(|last| {
            // The claimed segment does not when durable bytes are missing from it.
            last.base_offset >= known.segment_base
                && (last.base_offset > known.segment_base || last.size >= known.position)
        });
        let fresh = self.segments.is_empty() && self.end_offset == 0;
        if !takes_appends {
            let segment = Segment::empty(&self.dir, self.end_offset);
            self.disk.open(&segment.path, OpenMode::Create)?;
            self.segments.push(segment);
            self.unsynced.dir = true;
            self.unclean |= !fresh;
        }
        let claimed = self.segments.partition_point(|s| s.base_offset < known.segment_base);
        if self.unclean || fresh {
            for segment in &self.segments[claimed..] {
                self.unsynced.files.push(segment.open(&*self.disk)?);
            }
            self.unsynced.dir = true;
            self.unsynced.parents = ancestors(&self.dir);
        }
        // Another process may have written it and died before the sync.
        self.unsynced.checkpoint_file = true;
        self.epochs.learnt();
        let epochs_unwritten = self.epochs.truncate(self.end_offset);
        let last = self.segments.last().expect("one was made if there was none");
        let file = last.open(&*self.disk)?;
        let mut log = CommitLog {
            file,
            disk: self.disk,
            dir: self.dir,
            config: self.config,
            segments: self.segments,
            torn_tail: false,
            producers: self.producers,
            snapshots: self.snapshots,
            epochs: self.epochs,
            start_offset: self.checkpoint.start_offset,
            end_offset: self.end_offset,
            durable_offset: self.end_offset,
            checkpoint_file,
            checkpoint: self.checkpoint,
            epochs_unwritten,
            unsynced: self.unsynced,
            poison: None,
        };
        if fresh {
            log.write_checkpoint(log.checkpoint.clone())?;
        } else if self.unclean {
            log.settle()?;
        }
        Ok((log, self.recovered))
    }
}

fn recovery_damage(path: &str, position: u64, why: String) -> Fault {
    Fault { operation: "recover", ..corrupt(path, position, why) }
}

/// The folders above `dir`, nearest first, ending with the root.
fn ancestors(dir: &str) -> Vec<String> {
    let mut ancestors = Vec::new();
    let mut rest = dir;
    while let Some((above, _)) = rest.rsplit_once('/') {
        ancestors.push(above.to_owned());
        rest = above;
    }
    ancestors.push(String::new());
    ancestors
}
