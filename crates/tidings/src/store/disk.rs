//! Values in a store on disk, which an instance has to itself.
//!
//! One keyspace for each state and partition. What a handler sets is in memory until the log has it, and is written then,
//! with how far the state's topic is known, in one batch: after whatever crash the store is a state of the topic that
//! there was, and the rest is read from there on. Nothing is flushed to the platter; what an operating system loses
//! of a store it loses from the end.
//!
//! A store is written by whoever serves its partition ([`Folder::values`]), and while nobody does by whoever keeps a copy
//! ([`Folder::unserved`]).
//!
//! Reading is synchronous: a value that is not in the cache is a read of the disk within the handler's turn.
//!
//! Limits: [`limits::STORE_CACHE_BYTES`] of memory for all keyspaces together, [`limits::STORE_WRITE_BUFFER_BYTES`] for
//! each; [`limits::PENDING_BYTES_MAX`] of values that are not committed.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use serde::{Deserialize, Serialize};
use tidings_engine::{Position, Record, TopicPartition};

use super::StoreError;
use crate::{limits, publisher::now_ms};

/// Why a folder is not opened that somebody else has open.
pub(crate) const IN_USE: &str = "another instance uses the folder: give each one of its own";
/// How far the topic is known; a value's key has another first byte.
const MARK: &[u8] = b"m";
const VALUE: u8 = b'v';

/// The stores of an instance.
pub(crate) struct Folder {
    database: Database,
    folder: String,
    /// Of the cluster whose topics they copy.
    cluster: String,
    turns: Arc<Mutex<Turns>>,
}

/// By partition, how often it has been somebody's to serve, and whether it is.
type Turns = BTreeMap<TopicPartition, Turn>;

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    number: u64,
    is_on: bool,
}

/// A partition's store is somebody's as long as there is this.
struct Served {
    at: TopicPartition,
    turns: Arc<Mutex<Turns>>,
}

fn lock(turns: &Mutex<Turns>) -> MutexGuard<'_, Turns> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(turn) = lock(&self.turns).get_mut(&self.at) {
            turn.is_on = false;
        }
    }
}

/// Up to where a store has its topic, and when that was all there was, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) next: i64,
    pub(crate) at_ms: i64,
}

/// What a store knows of its topic.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    cluster: String,
    topic: String,
    partition: i32,
    /// Everything before that offset is in it.
    next: i64,
    /// When that was all there was, in milliseconds since the epoch.
    at_ms: i64,
}

/// The values of one state and partition.
pub(crate) struct Disk {
    database: Database,
    keyspace: Keyspace,
    folder: String,
    mark: Mark,
    /// A tombstone is in the topic for so long at least, in milliseconds.
    tombstones_ms: i64,
    /// Set, and not committed.
    set: HashMap<Bytes, Option<Bytes>>,
    /// Read, and not written.
    read: Vec<(Bytes, Option<Bytes>)>,
    read_bytes: usize,
    trouble: Option<StoreError>,
    turn: u64,
    /// None of a copy.
    _served: Option<Served>,
}

impl Folder {
    /// Opens it; nobody else may.
    pub(crate) fn open(folder: &Path, cluster: String) -> Result<Self, StoreError> {
        let name = folder.display().to_string();
        let opened = Database::builder(folder).cache_size(limits::STORE_CACHE_BYTES as u64).open();
        let database = opened.map_err(|error| {
            let cause = match error {
                fjall::Error::Locked => IN_USE.to_owned(),
                error => {
                    format!("{error}; the folder can be deleted, it is read anew from the log")
                }
            };
            StoreError { at: "all states".to_owned(), folder: name.clone(), cause }
        })?;
        Ok(Self { database, folder: name, cluster, turns: Arc::default() })
    }

    /// The values in that partition of a state's topic, which keeps tombstones so long; of whoever has them only.
    pub(crate) fn values(
        &self,
        of: &TopicPartition,
        tombstones_ms: i64,
    ) -> Result<Disk, StoreError> {
        let mut turns = lock(&self.turns);
        let turn = turns.entry(of.clone()).or_default();
        let disk = self.disk(of, tombstones_ms, turn.number + 1)?;
        *turn = Turn { number: disk.turn, is_on: true };
        let served = Served { at: of.clone(), turns: Arc::clone(&self.turns) };
        Ok(Disk { _served: Some(served), ..disk })
    }

    /// What `with` makes of the values in such a partition that nobody serves; nobody begins to meanwhile.
    pub(crate) fn unserved<T>(
        &self,
        of: &TopicPartition,
        tombstones_ms: i64,
        with: impl FnOnce(&mut Disk) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let turns = lock(&self.turns);
        let turn = turns.get(of).copied().unwrap_or_default();
        if turn.is_on {
            return Ok(None);
        }
        with(&mut self.disk(of, tombstones_ms, turn.number)?).map(Some)
    }

    fn disk(&self, of: &TopicPartition, tombstones_ms: i64, turn: u64) -> Result<Disk, StoreError> {
        let name = format!("{}-{}", of.topic, of.partition);
        let trouble =
            |cause: String| StoreError { at: of.to_string(), folder: self.folder.clone(), cause };
        let options = || {
            let most = limits::STORE_WRITE_BUFFER_BYTES as u64;
            KeyspaceCreateOptions::default().max_memtable_size(most)
        };
        let keyspace = self.database.keyspace(&name, options);
        let keyspace = keyspace.map_err(|error| trouble(error.to_string()))?;
        let held = keyspace.get(MARK).map_err(|error| trouble(error.to_string()))?;
        let none = Mark {
            cluster: self.cluster.clone(),
            topic: of.topic.clone(),
            partition: of.partition,
            next: 0,
            at_ms: 0,
        };
        // One of another cluster, or of a format that is not known, is of no use.
        let read = held.and_then(|held| serde_json::from_slice::<Mark>(&held).ok());
        let same = |mark: &Mark| {
            (&mark.cluster, &mark.topic, mark.partition) == (&none.cluster, &of.topic, of.partition)
        };
        let mark = read.filter(same).unwrap_or(none);
        Ok(Disk {
            database: self.database.clone(),
            keyspace,
            folder: self.folder.clone(),
            mark,
            tombstones_ms,
            set: HashMap::new(),
            read: Vec::new(),
            read_bytes: 0,
            trouble: None,
            turn,
            _served: None,
        })
    }
}

impl Disk {
    fn trouble(&self, error: &fjall::Error) -> StoreError {
        let Mark { topic, partition, .. } = &self.mark;
        let (at, folder) = (format!("{topic}-{partition}"), self.folder.clone());
        StoreError { at, folder, cause: error.to_string() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(set) = self.set.get(key) {
            return Ok(set.clone());
        }
        let held = self.keyspace.get(stored(key)).map_err(|error| self.trouble(&error))?;
        Ok(held.map(Bytes::from))
    }

    pub(super) fn set(&mut self, key: &Bytes, value: Option<&Bytes>) {
        self.set.insert(key.clone(), value.cloned());
    }

    /// How often it has been somebody's to serve: what was copied in between is complete while this is the same.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// How many offsets of a topic that ends there are to be read for a copy to be complete, and to stay young enough to
    /// be of use; none when nothing is to be done.
    pub(crate) fn lacks(&self, end: i64) -> Option<u64> {
        let Mark { next, at_ms, .. } = self.mark;
        let is_young = now_ms().abs_diff(at_ms) < self.tombstones_ms.unsigned_abs() / 8;
        let is_complete = next == end && is_young;
        (end > 0 && !is_complete).then(|| u64::try_from(end - next).unwrap_or_default())
    }

    /// Where to read the topic from. What was deleted while this store was not kept up may be gone from the topic
    /// without a trace once tombstones are, so an old store begins anew with half of their time to spare.
    pub(crate) fn restores_from(&mut self, end: i64) -> Result<i64, StoreError> {
        let Mark { next, at_ms, .. } = self.mark;
        let is_old = now_ms().saturating_sub(at_ms) > self.tombstones_ms / 2;
        // A clock that was set back says nothing.
        let is_ahead = next > end || at_ms > now_ms();
        if next > 0 && !is_old && !is_ahead {
            return Ok(next);
        }
        self.keyspace.clear().map_err(|error| self.trouble(&error))?;
        self.mark.next = 0;
        Ok(0)
    }

    pub(super) fn restore(&mut self, key: &Bytes, value: Option<&Bytes>) {
        self.read_bytes += key.len() + value.map_or(0, Bytes::len);
        self.read.push((key.clone(), value.cloned()));
        // A part that is written without its mark is read again.
        if self.read_bytes >= limits::STORE_RESTORE_BYTES && self.trouble.is_none() {
            let read = std::mem::take(&mut self.read);
            self.read_bytes = 0;
            self.trouble = self.write(read, None).err();
        }
    }

    pub(super) fn restored(&mut self, next: i64) -> Result<(), StoreError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let read = std::mem::take(&mut self.read);
        self.read_bytes = 0;
        self.write(read, Some(Reached { next, at_ms: now_ms() }))
    }

    /// A part of what is read for a copy, which has no mark of its own.
    pub(crate) fn copy(&mut self, part: &[Record]) -> Result<(), StoreError> {
        let keyed =
            part.iter().filter_map(|record| Some((record.key.clone()?, record.value.clone())));
        self.write(keyed, None)
    }

    /// A copy is complete up to there.
    pub(crate) fn copied(&mut self, reached: Reached) -> Result<(), StoreError> {
        self.write([], Some(reached))
    }

    pub(super) fn committed(&mut self, positions: &[Position]) -> Result<(), StoreError> {
        if self.set.is_empty() {
            return Ok(());
        }
        let Mark { topic, partition, .. } = &self.mark;
        let own = positions.iter().filter(|at| at.topic == *topic && at.partition == *partition);
        let Some(last) = own.map(|at| at.offset).max() else { return Ok(()) };
        let set = std::mem::take(&mut self.set);
        self.write(set, Some(Reached { next: last + 1, at_ms: now_ms() }))
    }

    /// Values and how far the topic is known with them, or neither.
    fn write(
        &mut self,
        values: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
        reached: Option<Reached>,
    ) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for (key, value) in values {
            match value {
                Some(value) => batch.insert(&self.keyspace, stored(&key), value),
                None => batch.remove(&self.keyspace, stored(&key)),
            }
        }
        if let Some(Reached { next, at_ms }) = reached {
            (self.mark.next, self.mark.at_ms) = (next, at_ms);
            let mark = serde_json::to_vec(&self.mark).expect("plain data is JSON");
            batch.insert(&self.keyspace, MARK, mark);
        }
        batch.commit().map_err(|error| self.trouble(&error))
    }
}

/// The key that a value has in the store.
fn stored(key: &[u8]) -> Vec<u8> {
    [&[VALUE], key].concat()
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("mark", &self.mark).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at() -> TopicPartition {
        TopicPartition { topic: "s.state.account".into(), partition: 3 }
    }

    fn position(offset: i64) -> Position {
        Position { topic: at().topic, partition: 3, offset }
    }

    fn open(folder: &Path, cluster: &str) -> Disk {
        let folder = Folder::open(folder, cluster.to_owned()).expect("opened");
        folder.values(&at(), 2 * HOUR_MS).expect("values")
    }

    fn text(disk: &Disk, key: &str) -> Option<String> {
        let held = disk.get(key.as_bytes()).expect("read");
        held.map(|held| String::from_utf8(held.to_vec()).expect("text"))
    }

    #[test]
    fn what_was_committed_is_there_again_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut disk = open(folder.path(), "c");
        assert_eq!(disk.restores_from(9), Ok(0));
        disk.restore(&"a".into(), Some(&"1".into()));
        disk.restore(&"b".into(), Some(&"1".into()));
        disk.restore(&"b".into(), None);
        disk.restored(9).expect("written");
        disk.set(&"c".into(), Some(&"1".into()));
        disk.set(&"a".into(), None);
        assert_eq!((text(&disk, "a"), text(&disk, "c")), (None, Some("1".into())));
        let elsewhere = Position { partition: 4, ..position(90) };
        disk.committed(&[position(10), elsewhere, position(11)]).expect("written");
        disk.set(&"c".into(), Some(&"2".into()));
        drop(disk);

        let mut disk = open(folder.path(), "c");
        assert_eq!(disk.restores_from(12), Ok(12), "it has all before");
        let held = ["a", "b", "c"].map(|key| text(&disk, key));
        assert_eq!(held, [None, None, Some("1".to_owned())]);
    }

    #[test]
    fn what_is_in_doubt_is_read_from_the_beginning() {
        for (cluster, end, age_ms, from) in [
            ("c", 20, 0, 10),
            ("c", 10, HOUR_MS - 10_000, 10),
            // The topic is another one, or has lost its end.
            ("c", 9, 0, 0),
            ("other", 20, 0, 0),
            // Tombstones may be gone.
            ("c", 20, HOUR_MS + 1, 0),
            // Written by a clock that is ahead.
            ("c", 20, -HOUR_MS, 0),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut disk = open(folder.path(), "c");
            disk.restore(&"a".into(), Some(&"1".into()));
            disk.restored(10).expect("written");
            disk.mark.at_ms -= age_ms;
            let mark = serde_json::to_vec(&disk.mark).expect("JSON");
            disk.keyspace.insert(MARK, mark).expect("written");
            drop(disk);
            let mut disk = open(folder.path(), cluster);
            assert_eq!(disk.restores_from(end), Ok(from), "{cluster} {end} {age_ms}");
            assert_eq!(text(&disk, "a").is_some(), from > 0, "{cluster} {end} {age_ms}");
        }
    }

    #[test]
    fn a_reading_that_was_interrupted_begins_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut disk = open(folder.path(), "c");
        let large = Bytes::from(vec![0; limits::STORE_RESTORE_BYTES]);
        disk.restore(&"a".into(), Some(&large));
        drop(disk);
        assert_eq!(open(folder.path(), "c").restores_from(10), Ok(0));
    }

    #[test]
    fn a_folder_belongs_to_one_instance() {
        let folder = tempfile::tempdir().expect("a folder");
        let _first = Folder::open(folder.path(), "c".into()).expect("opened");
        let error = Folder::open(folder.path(), "c".into()).expect_err("it is in use");
        assert!(error.to_string().ends_with("give each one of its own"), "{error}");
    }

    fn record(offset: i64, key: &str, value: Option<&str>) -> Record {
        Record {
            topic: at().topic.into(),
            partition: 3,
            offset,
            timestamp: 0,
            key: Some(key.to_owned().into()),
            value: value.map(|value| value.to_owned().into()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_store_is_copied_to_while_nobody_serves_it() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(place.path(), "c".to_owned()).expect("opened");
        let turn = |store: &mut Disk| Ok(store.turn());
        assert_eq!(folder.unserved(&at(), 2 * HOUR_MS, turn), Ok(Some(0)));
        let served = folder.values(&at(), 2 * HOUR_MS).expect("values");
        assert_eq!(folder.unserved(&at(), 2 * HOUR_MS, turn), Ok(None));
        let other = TopicPartition { partition: 4, ..at() };
        assert_eq!(folder.unserved(&other, 2 * HOUR_MS, turn), Ok(Some(0)));
        drop(served);
        // What was copied before is not gone on with.
        assert_eq!(folder.unserved(&at(), 2 * HOUR_MS, turn), Ok(Some(1)));
    }

    #[test]
    fn a_copy_is_a_store_that_is_read_on_from_its_mark() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(place.path(), "c".to_owned()).expect("opened");
        let mut copy = folder.disk(&at(), 8 * HOUR_MS, 0).expect("values");
        assert_eq!((copy.lacks(0), copy.lacks(9)), (None, Some(9)));
        assert_eq!(copy.restores_from(9), Ok(0));
        let part = [record(0, "a", Some("1")), record(1, "b", Some("1")), record(2, "a", None)];
        copy.copy(&part).expect("written");
        // Without its mark it is as good as not there.
        let mut again = folder.disk(&at(), 8 * HOUR_MS, 0).expect("values");
        assert_eq!((again.lacks(9), again.restores_from(9)), (Some(9), Ok(0)));
        again.copy(&part).expect("written");
        again.copied(Reached { next: 9, at_ms: now_ms() - 10_000 }).expect("written");
        assert_eq!((again.lacks(9), again.lacks(12)), (None, Some(3)));
        // In time for its mark to be renewed, with nothing to read.
        again.copied(Reached { next: 9, at_ms: now_ms() - HOUR_MS }).expect("written");
        assert_eq!((again.lacks(9), again.restores_from(9)), (Some(0), Ok(9)));
        drop((copy, again));
        let mut served = folder.values(&at(), 8 * HOUR_MS).expect("values");
        assert_eq!(served.restores_from(12), Ok(9));
        assert_eq!(["a", "b"].map(|key| text(&served, key)), [None, Some("1".to_owned())]);
    }
}
