//! Opening: checkpoint and journal first, then each log, then a new epoch of the journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::cache::Cache;
use super::census::Census;
use super::checkpoint::{Checkpoint, LogRecord};
use super::flush::Flushing;
use super::read::Rots;
use super::upkeep::Upkeep;
use super::{LogId, Store, StoreRecovered};
use crate::journal::{EntryKind, FoundEntry, Journal};
use crate::partition_log::handles::Handles;
use crate::partition_log::recovery::Opening;
use crate::{Disk, Fault, FaultKind, LogConfig, LogKey, Recovered, StoreConfig};

/// What is on disk of logs that nobody has opened yet.
#[derive(Debug, Default)]
pub(super) struct Unopened {
    records: BTreeMap<LogKey, LogRecord>,
    entries: BTreeMap<LogKey, Vec<FoundEntry>>,
    /// Their opening failed, so what there is of them stays.
    failed: BTreeSet<LogKey>,
    /// Logs without a record may have had one.
    records_lost: bool,
    no_checkpoint: bool,
    journal_damaged: bool,
}

impl Unopened {
    /// The journal's first frame with something of them.
    pub(super) fn first_sequence(&self) -> Option<u64> {
        let first = |entries: &Vec<FoundEntry>| entries.first().map(|entry| entry.sequence);
        self.entries.values().filter_map(first).min()
    }

    pub(super) fn entry_bytes(&self) -> u64 {
        self.entries.values().flatten().map(|entry| entry.bytes.len() as u64).sum()
    }

    /// Everything of them that is in the journal.
    pub(super) fn held(&self) -> Vec<(LogKey, Vec<(EntryKind, Bytes)>)> {
        let held = |entries: &Vec<FoundEntry>| {
            entries.iter().map(|entry| (entry.kind, entry.bytes.clone())).collect()
        };
        self.entries.iter().map(|(&key, entries)| (key, held(entries))).collect()
    }

    /// Each entry is in the frame of these, as well.
    pub(super) fn copied(&mut self, frames: &BTreeMap<LogKey, Vec<u64>>) {
        for (key, sequences) in frames {
            for (entry, sequence) in self.entries.entry(*key).or_default().iter_mut().zip(sequences)
            {
                entry.sequence = *sequence;
            }
        }
        self.entries.retain(|_, entries| !entries.is_empty());
    }
}

impl Store {
    /// Reads checkpoint and journal. Then the owner opens every log it knows, and says [`Self::begin`].
    pub fn open(disk: Arc<dyn Disk>, config: StoreConfig) -> Result<(Self, StoreRecovered), Fault> {
        let found = Checkpoint::read(&*disk)?;
        // A node that was killed may have renamed the checkpoint and not made that durable. What follows
        // relies on it.
        disk.sync_dir("")?;
        let (journal, journaled) = Journal::open(&*disk, &config)?;
        let recovered = StoreRecovered {
            journal_entries: journaled.entries.len() as u64,
            torn_frames: journaled.torn_frames,
            closed: journaled.closed,
            damaged: journaled.damaged.iter().cloned().chain(found.damaged).collect(),
        };
        let mut unopened = Unopened {
            records: found.checkpoint.records.clone(),
            records_lost: found.lost,
            no_checkpoint: found.missing,
            journal_damaged: !journaled.damaged.is_empty(),
            ..Unopened::default()
        };
        for entry in journaled.entries {
            unopened.entries.entry(entry.key).or_default().push(entry);
        }
        let store = Self {
            handles: Arc::new(Handles::new(disk, config.open_files_max)),
            config,
            journal,
            journal_fault: Arc::new(OnceLock::new()),
            logs: BTreeMap::new(),
            ids: BTreeMap::new(),
            unopened,
            begun: false,
            pushed: VecDeque::new(),
            frames_out: VecDeque::new(),
            cache: Cache::default(),
            unflushed_bytes: 0,
            dirty: BTreeSet::new(),
            flushing: Flushing::default(),
            upkeep: Upkeep::default(),
            census: Census::default(),
            checkpoint: Some(found.checkpoint),
            advanced: BTreeSet::new(),
            rots: Arc::new(Rots::default()),
        };
        Ok((store, recovered))
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
        if self.logs.contains_key(&id) || self.ids.contains_key(&key) {
            let kind = FaultKind::Io("the log is open already".to_owned());
            return Err(Fault { operation: "open", path: dir.to_owned(), offset: None, kind });
        }
        let unit = self.cache.new_unit();
        let entries = self.unopened.entries.get(&key).cloned().unwrap_or_default();
        let opening = Opening {
            handles: Arc::clone(&self.handles),
            key,
            dir: Arc::from(dir),
            config,
            record: self.unopened.records.get(&key).cloned(),
            record_lost: self.unopened.records_lost,
            entries,
            journal_damaged: self.unopened.journal_damaged,
            journal_fault: Arc::clone(&self.journal_fault),
            unit,
        };
        let (log, recovered) = match opening.open() {
            Ok(opened) => opened,
            Err(fault) => {
                self.unopened.failed.insert(key);
                return Err(fault);
            }
        };
        self.unopened.records.remove(&key);
        self.unopened.entries.remove(&key);
        self.unopened.failed.remove(&key);
        let held = log.counted_bytes();
        self.unflushed_bytes += held;
        if held > 0 {
            self.cache.add(unit, usize::try_from(held).unwrap_or(usize::MAX), [id].into_iter());
        }
        if log.is_dirty() {
            self.dirty.insert(id);
        }
        self.ids.insert(key, id);
        self.upkeep.schedule(id, 0);
        self.logs.insert(id, log);
        self.count_producers(id);
        Ok(recovered)
    }

    /// Every log has been opened: appends may begin. Returns the keys of journal entries that no log took,
    /// with how many; they are forgotten, unless `keep` says that the owner is not sure of its list, or
    /// opening their log failed.
    pub fn begin(&mut self, keep: bool) -> Result<Vec<(LogKey, u64)>, Fault> {
        self.journal.begin()?;
        self.begun = true;
        if self.unopened.no_checkpoint
            && let Some(checkpoint) = &self.checkpoint
        {
            // From now on a missing checkpoint is a lost one. Without room it comes with the first round.
            match checkpoint.write(self.handles.disk()) {
                Err(fault) if fault.kind != FaultKind::NoSpace => return Err(fault),
                _ => {}
            }
        }
        let unopened = &mut self.unopened;
        let left = unopened.entries.iter().filter(|(key, _)| !unopened.failed.contains(key));
        let left = left.map(|(&key, entries)| (key, entries.len() as u64)).collect();
        if !keep {
            unopened.entries.retain(|key, _| unopened.failed.contains(key));
            unopened.records.retain(|key, _| unopened.failed.contains(key));
            if let Some(checkpoint) = &mut self.checkpoint {
                let (ids, failed) = (&self.ids, &unopened.failed);
                checkpoint.records.retain(|key, _| ids.contains_key(key) || failed.contains(key));
            }
        }
        Ok(left)
    }

    /// Forgets a log. Its files are the owner's to remove, after this and once [`Self::touches`] says
    /// that no work is at them; their removal must be durable before another log gets their folder's name,
    /// or a power cut may bring them back into it.
    pub fn remove_log(&mut self, id: LogId) {
        let Some(log) = self.logs.remove(&id) else { return };
        self.ids.remove(&log.key());
        self.unflushed_bytes -= log.counted_bytes();
        self.dirty.remove(&id);
        self.advanced.remove(&id);
        log.removed(&self.handles);
        self.flushing.removed(id, log.key());
        self.upkeep.removed(id);
        self.census.removed(id);
        match &mut self.checkpoint {
            Some(checkpoint) => {
                checkpoint.records.remove(&log.key());
            }
            None => self.flushing.forgotten.push(log.key()),
        }
    }
}
