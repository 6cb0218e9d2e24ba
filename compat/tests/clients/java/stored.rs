//! A data directory that a store alone has written, and closed: transactions that ended and one that did
//! not, leader epochs, compaction at chosen times. A broker takes no such batches from a client.
//!
//! Time is what the test says it is, so every byte that depends on it is known.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tidings_log::{
    AppendAt, Appended, Batch, BatchBuilder, EndMarker, Ending, LogConfig, LogId, LogKey, Moment,
    NewRecord, Store, StoreConfig, TransactionVersion,
};
use tidings_node::FileDisk;

/// The first moment: a Tuesday in November 2023.
pub(super) const START_MS: i64 = 1_700_000_000_000;
/// A look at retention and compaction each second.
const STEP_MS: u64 = 1_000;
/// Enough for every log to be looked at, compacted and looked at again.
const STEPS: usize = 60;
const COORDINATOR_EPOCH: i32 = 3;

/// Two or three small batches to a segment, an index entry for each batch.
pub(super) const SMALL: LogConfig =
    LogConfig { segment_bytes: 300, index_interval_bytes: 1, retention_ms: -1, ..LogConfig::KAFKA };

/// The same, and compacted whenever something is dirty.
pub(super) const COMPACTED: LogConfig =
    LogConfig { delete: false, compact: true, min_cleanable_dirty_millionths: 0, ..SMALL };

/// Who writes a batch: id and, of the first record, sequence. Every producer is in epoch 0.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// No producer id.
    Anyone,
    Idempotent(i64, i32),
    Transactional(i64, i32),
}

/// A store on a real disk, with logs that are numbered from 0.
pub(super) struct Writing {
    folder: TempDir,
    store: Store,
    now: Moment,
}

impl Writing {
    /// Opens a new directory with these logs, by their folders.
    pub(super) fn begin(logs: &[(&str, LogConfig)]) -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let disk = FileDisk::open(folder.path()).expect("a disk");
        let config = StoreConfig { retention_check_ms: STEP_MS, ..StoreConfig::small() };
        let (mut store, _) = Store::open(Arc::new(disk), config).expect("the store opens");
        for (id, (name, config)) in (0_u64..).zip(logs) {
            let mut key = [0; 20];
            key[12..].copy_from_slice(&(id + 1).to_be_bytes());
            store.open_log(LogId(id), LogKey(key), name, *config).expect("the log opens");
        }
        store.begin(false).expect("the store begins");
        Self { folder, store, now: Moment { wall_ms: START_MS, mono_ms: 0 } }
    }

    /// Appends records with these keys and values, which have the time of now.
    pub(super) fn batch(&mut self, log: u64, by: By, leader_epoch: i32, of: &[Record<'_>]) {
        let mut builder = match by {
            By::Anyone => BatchBuilder::new(),
            By::Idempotent(id, sequence) => BatchBuilder::new().producer(id, 0, sequence),
            By::Transactional(id, sequence) => {
                BatchBuilder::new().producer(id, 0, sequence).transactional()
            }
        };
        for record in of {
            let bytes = |bytes: &[u8]| bytes.to_vec().into();
            builder.push(&NewRecord {
                timestamp: self.now.wall_ms,
                key: Some(bytes(record.key)),
                value: record.value.map(bytes),
                ..NewRecord::default()
            });
        }
        self.append(log, &builder.build(), leader_epoch);
    }

    /// Appends the end of a producer's transaction.
    pub(super) fn end(&mut self, log: u64, producer_id: i64, ending: Ending, leader_epoch: i32) {
        let marker = EndMarker { ending, coordinator_epoch: COORDINATOR_EPOCH };
        self.append(log, &marker.batch(producer_id, 0, self.now.wall_ms), leader_epoch);
    }

    fn append(&mut self, log: u64, batch: &Batch, leader_epoch: i32) {
        let transactions = TransactionVersion::One;
        let now_ms = self.now.wall_ms;
        let at = AppendAt { now_ms, leader_epoch, log_append_time: false, transactions };
        let appended = self.store.append(LogId(log), batch, at).expect("a batch in its turn");
        assert!(matches!(appended, Appended::Written { .. }), "{appended:?}");
        self.store.settle(self.now);
    }

    /// Puts everything into segments, and closes the one that takes appends if it is full.
    pub(super) fn flush(&mut self) {
        self.store.flush_now(self.now);
    }

    /// Lets a minute pass in which the store does what it has to do.
    pub(super) fn minute(&mut self) {
        for _ in 0..STEPS {
            self.pass(STEP_MS);
            while let Some(mut work) = self.store.next_work(self.now) {
                work.run();
                self.store.work_done(self.now, work);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += i64::try_from(ms).expect("a short time");
    }

    /// Stops cleanly; the directory is left.
    pub(super) fn close(mut self) -> Stored {
        self.store.close().expect("the store closes");
        Stored { folder: self.folder }
    }
}

/// A record; without a value it is a tombstone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    pub(super) fn new(key: &'a str, value: &'a str) -> Self {
        Self { key: key.as_bytes(), value: Some(value.as_bytes()) }
    }

    pub(super) fn tombstone(key: &'a str) -> Self {
        Self { key: key.as_bytes(), value: None }
    }
}

/// A closed store's directory; goes when it is dropped.
pub(super) struct Stored {
    folder: TempDir,
}

impl Stored {
    pub(super) fn folder(&self, log: &str) -> PathBuf {
        self.folder.path().join(log)
    }

    /// The files of a log that end so, by their offsets.
    pub(super) fn files(&self, log: &str, suffix: &str) -> Vec<PathBuf> {
        let ends_so = |path: &PathBuf| path.to_string_lossy().ends_with(suffix);
        let mut files: Vec<PathBuf> =
            super::written::entries(&self.folder(log)).into_iter().filter(ends_so).collect();
        files.sort();
        files
    }
}
