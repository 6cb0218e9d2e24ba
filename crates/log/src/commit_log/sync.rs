//! Making what was written durable: group commit, checkpoints, snapshots, close.
//!
//! A checkpoint takes two syncs: the first makes durable what it will claim (batches, index
//! entries, producer snapshot), and only then is the claim written, to be synced by the second.
//! A crash in between leaves the older claim, which is true as well.

use std::sync::Arc;

use super::CommitLog;
use super::checkpoint::Checkpoint;
use super::{names, snapshot};
use crate::limits::{CHECKPOINT_INTERVAL_BYTES, SNAPSHOTS_KEPT};
use crate::{Disk, Fault, FaultKind, File, OpenMode};

/// What is written and not synced, apart from the last segment itself.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Bytes appended since the last [`CommitLog::sync_begin`].
    pub(super) log_bytes: u64,
    /// Sealed segments, indexes and snapshots.
    pub(super) files: Vec<Arc<dyn File>>,
    /// Names were made in the log's folder.
    pub(super) dir: bool,
    /// Folders above it, while the log is new and no sync has made its names durable.
    pub(super) parents: Vec<String>,
    pub(super) checkpoint_file: bool,
    /// A segment was begun, so the recovery point should move into it.
    pub(super) checkpoint_wanted: bool,
    bytes_since_checkpoint: u64,
    /// The sync that is out.
    out: bool,
    /// What became durable and is not yet claimed.
    claimable: Option<Checkpoint>,
}

impl Unsynced {
    fn pending(&self) -> bool {
        self.log_bytes > 0 || self.dir || !self.files.is_empty() || !self.parents.is_empty()
    }
}

/// A sync to run away from the owner's thread; then tell the log with [`CommitLog::sync_end`].
#[derive(Debug)]
pub struct SyncWork {
    disk: Arc<dyn Disk>,
    files: Vec<Arc<dyn File>>,
    dirs: Vec<String>,
    /// Everything below this offset is durable once this has run.
    until: i64,
    claimable: Option<Checkpoint>,
    claims: bool,
    /// What belongs to this sync could not be written, so it is bound to fail.
    fault: Option<Fault>,
}

impl SyncWork {
    /// Syncs files, then folders; stops at the first that fails.
    pub fn run(&self) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        for file in &self.files {
            file.sync()?;
        }
        for dir in &self.dirs {
            self.disk.sync_dir(dir)?;
        }
        Ok(())
    }
}

impl CommitLog {
    /// What must be synced to make everything written durable; none when nothing is pending or a
    /// sync is out.
    pub fn sync_begin(&mut self) -> Option<SyncWork> {
        if !self.unsynced.pending() || self.unsynced.out || self.poison.is_some() {
            return None;
        }
        let prepared = self.prepare_checkpoint();
        let fault = prepared.as_ref().err().cloned();
        Some(SyncWork { fault, ..self.take_work(prepared.ok().flatten()) })
    }

    /// Takes the outcome of `work`: moves `durable_offset`, or poisons the log.
    pub fn sync_end(&mut self, work: &SyncWork, result: Result<(), Fault>) {
        self.unsynced.out = false;
        match result {
            Ok(()) if self.poison.is_none() => {
                self.durable_offset = self.durable_offset.max(work.until);
                self.unsynced.parents.clear();
                if work.claims {
                    self.drop_old_snapshots();
                }
                if let Some(claimable) = &work.claimable {
                    self.unsynced.claimable = Some(claimable.clone());
                }
            }
            Ok(()) => {}
            Err(fault) => {
                self.poison.get_or_insert(fault);
            }
        }
    }

    /// Syncs and writes indexes and producer snapshot, so that the next open need not scan. On a
    /// full disk the batches are made durable all the same and the next open scans. Refused while
    /// a sync is out.
    pub fn close(&mut self) -> Result<(), Fault> {
        if let Some(fault) = &self.poison {
            return Err(fault.clone());
        }
        if self.unsynced.out {
            // Its failure could be reported to its own call alone, so nothing can be claimed.
            let kind = FaultKind::Io("a sync has not been ended".to_owned());
            return Err(Fault { operation: "close", path: self.dir.clone(), offset: None, kind });
        }
        let done = self.settle();
        if let Err(fault) = &done {
            self.poison = Some(fault.clone());
        }
        done
    }

    /// Makes everything durable and claims it.
    pub(super) fn settle(&mut self) -> Result<(), Fault> {
        self.cut_torn_tail()?;
        let claimed = self.checkpoint.names_durable
            && self.checkpoint.recovery_offset == self.end_offset
            && self.checkpoint.segment_base == self.active().base_offset;
        if claimed && !self.unsynced.pending() && self.unsynced.claimable.is_none() {
            return Ok(());
        }
        let claimable = if claimed { None } else { unless_full(self.prepare_claim())? };
        let work = self.take_work(claimable);
        work.run()?;
        self.sync_end(&work, Ok(()));
        if unless_full(self.write_claim())?.is_some() {
            self.checkpoint_file.file().sync()?;
            self.unsynced.checkpoint_file = false;
            self.drop_old_snapshots();
        }
        Ok(())
    }

    fn take_work(&mut self, claimable: Option<Checkpoint>) -> SyncWork {
        let mut files = std::mem::take(&mut self.unsynced.files);
        if self.unsynced.log_bytes > 0 {
            files.push(Arc::clone(&self.file));
        }
        let claims = std::mem::take(&mut self.unsynced.checkpoint_file);
        if claims {
            files.push(Arc::clone(self.checkpoint_file.file()));
        }
        let mut dirs = Vec::new();
        if std::mem::take(&mut self.unsynced.dir) {
            dirs.push(self.dir.clone());
        }
        dirs.extend(self.unsynced.parents.iter().cloned());
        self.unsynced.bytes_since_checkpoint += std::mem::take(&mut self.unsynced.log_bytes);
        self.unsynced.out = true;
        let disk = Arc::clone(&self.disk);
        SyncWork { disk, files, dirs, until: self.end_offset, claimable, claims, fault: None }
    }

    /// Writes a claim that has become true, and prepares the next one when it is due.
    fn prepare_checkpoint(&mut self) -> Result<Option<Checkpoint>, Fault> {
        unless_full(self.write_claim())?;
        let bytes = self.unsynced.bytes_since_checkpoint + self.unsynced.log_bytes;
        if bytes < CHECKPOINT_INTERVAL_BYTES && !self.unsynced.checkpoint_wanted {
            return Ok(None);
        }
        unless_full(self.prepare_claim())
    }

    /// Writes what a checkpoint at the end of the log relies on; none claims it before a sync.
    fn prepare_claim(&mut self) -> Result<Option<Checkpoint>, Fault> {
        self.unsynced.checkpoint_wanted = false;
        self.unsynced.bytes_since_checkpoint = 0;
        self.active_mut().add_time_entry();
        self.flush_indexes()?;
        self.write_snapshot()?;
        let active = self.active();
        Ok(Some(Checkpoint {
            names_durable: true,
            start_offset: self.start_offset,
            recovery_offset: self.end_offset,
            segment_base: active.base_offset,
            position: active.size,
            offset_entries: active.offsets.stored(),
            time_entries: active.times.stored(),
            max_time: active.max_time,
            epochs: self.epochs.clone(),
        }))
    }

    /// Writes what has become durable since the last claim, if anything.
    fn write_claim(&mut self) -> Result<Option<()>, Fault> {
        let Some(claimable) = self.unsynced.claimable.take() else { return Ok(None) };
        // Epochs may have begun since the claim was prepared.
        self.write_checkpoint(Checkpoint { epochs: self.epochs.clone(), ..claimable })?;
        Ok(Some(()))
    }

    pub(super) fn write_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.checkpoint_file.write(&checkpoint)?;
        self.unsynced.checkpoint_file = true;
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Makes the folder and the checkpoint of a new log durable. Without it a crash could leave a
    /// second segment but neither the first nor the checkpoint that tells of it.
    pub(super) fn sync_creation(&mut self) -> Result<(), Fault> {
        if self.unsynced.parents.is_empty() {
            return Ok(());
        }
        self.checkpoint_file.file().sync()?;
        self.disk.sync_dir(&self.dir)?;
        for dir in &self.unsynced.parents {
            self.disk.sync_dir(dir)?;
        }
        self.unsynced.parents.clear();
        Ok(())
    }

    /// Writes the buffered index entries of the last segment, to be synced with the next work.
    pub(super) fn flush_indexes(&mut self) -> Result<(), Fault> {
        let disk = Arc::clone(&self.disk);
        let active = self.active_mut();
        let files = [active.offsets.flush(&*disk)?, active.times.flush(&*disk)?];
        self.unsynced.files.extend(files);
        self.unsynced.dir = true;
        Ok(())
    }

    /// Bounds the index entries in memory, except on a full disk. Their files are synced with a
    /// checkpoint.
    pub(super) fn flush_long_indexes(&mut self) -> Result<(), Fault> {
        if self.active().offsets.wants_flush() {
            let disk = Arc::clone(&self.disk);
            let active = self.active_mut();
            unless_full(active.offsets.flush(&*disk).map(Some))?;
            unless_full(active.times.flush(&*disk).map(Some))?;
        }
        Ok(())
    }

    /// Writes the producer state as of the end of the log, unless it is there.
    pub(super) fn write_snapshot(&mut self) -> Result<(), Fault> {
        if self.snapshots.last() == Some(&self.end_offset) {
            return Ok(());
        }
        let path = names::snapshot(&self.dir, self.end_offset);
        let file = self.disk.open(&path, OpenMode::Create)?;
        file.truncate(0)?;
        file.write_at(&snapshot::encode(self.producers.batches()), 0)?;
        self.unsynced.files.push(file);
        self.unsynced.dir = true;
        self.snapshots.push(self.end_offset);
        Ok(())
    }

    /// Removes snapshots that no recovery needs: of those the durable checkpoint can start from,
    /// all but the newest [`SNAPSHOTS_KEPT`].
    fn drop_old_snapshots(&mut self) {
        let usable = self.snapshots.partition_point(|&at| at <= self.checkpoint.recovery_offset);
        for offset in self.snapshots.drain(..usable.saturating_sub(SNAPSHOTS_KEPT)) {
            // One that stays behind costs its bytes until the next open and nothing else.
            drop(self.disk.remove_file(&names::snapshot(&self.dir, offset)));
        }
    }
}

/// Lets a full disk stop what is only there to make the next open quick.
pub(super) fn unless_full<T>(done: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match done {
        Err(fault) if fault.kind == FaultKind::NoSpace => Ok(None),
        other => other,
    }
}
