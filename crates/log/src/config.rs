//! What of a topic's and a node's configuration the log acts on.

use crate::limits::{COMPACTION_SLOTS_MAX, PRODUCERS_MAX};

/// A topic's configuration as far as its logs act on it; names and meanings are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it would grow past this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when a batch is this much newer than its first one.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment is closed before an index of it would grow past this.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: distance between two entries of the offset index.
    pub index_interval_bytes: u32,
    /// `cleanup.policy` has `delete`: segments go by age and size.
    pub delete: bool,
    /// `cleanup.policy` has `compact`: the last record of each key stays.
    pub compact: bool,
    /// `retention.ms`; -1: no bound.
    pub retention_ms: i64,
    /// `retention.bytes`; -1: no bound.
    pub retention_bytes: i64,
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub min_cleanable_dirty_millionths: u32,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `tidings.durability` is `memory`: batches skip the journal, are acknowledged at once and are
    /// lost with the process or the power as far as they have not been flushed.
    pub volatile: bool,
}

impl LogConfig {
    /// Kafka's defaults.
    pub const KAFKA: Self = Self {
        segment_bytes: 1 << 30,
        segment_ms: 7 * 24 * 3600 * 1000,
        segment_index_bytes: 10 * 1024 * 1024,
        index_interval_bytes: 4096,
        delete: true,
        compact: false,
        retention_ms: 7 * 24 * 3600 * 1000,
        retention_bytes: -1,
        min_cleanable_dirty_millionths: 500_000,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        delete_retention_ms: 24 * 3600 * 1000,
        volatile: false,
    };
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::KAFKA
    }
}

/// How much of memory and disk a store takes, and how it spreads its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Most bytes of the journal's ring; it grows to that by chunks as it is needed.
    pub journal_bytes: u64,
    /// Bytes of the ring that are pre-written at a time, so that a write into it changes no metadata.
    pub journal_chunk_bytes: u64,
    /// Makes a new journal's id differ from every other's: random, from whoever has randomness. A journal
    /// that exists keeps its id.
    pub journal_seed: u64,
    /// Durable writes to the journal that may be out at once.
    pub writes_in_flight_max: usize,
    /// Entries are gathered into one write up to about this; a larger batch has a write of its own.
    pub write_bytes_max: usize,
    /// Bytes accepted and not yet in segments above which a flush starts.
    pub flush_bytes: u64,
    /// A flush of several logs is divided into parts of at least so many bytes, done side by side.
    pub flush_part_bytes: u64,
    /// Bytes accepted and not yet in segments after which [`crate::Store::congested`] says that appends
    /// should wait.
    pub unflushed_bytes_max: u64,
    /// Milliseconds after which accepted bytes are flushed even if there are few.
    pub flush_after_ms: u64,
    /// Bytes of the newest batches kept in memory for readers, what is unflushed included.
    pub cache_bytes: u64,
    /// Places of 24 bytes for keys in a compaction's memory, a power of two; where more keys are dirty
    /// than three quarters of it, as many as fit are cleaned and the rest the next time.
    pub compaction_slots_max: usize,
    /// Files of segments kept open for readers.
    pub open_files_max: usize,
    /// Milliseconds between two looks at a log's retention and compaction.
    pub retention_check_ms: u64,
    /// [`PRODUCERS_MAX`], or others.
    pub producers_max: usize,
    /// `producer.id.expiration.ms`: an idle producer is forgotten after this.
    pub producer_expiry_ms: i64,
    /// Bytes per second that the scrubber re-reads; 0: it does not run.
    pub scrub_bytes_per_second: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            journal_bytes: 512 << 20,
            journal_chunk_bytes: 16 << 20,
            journal_seed: 0,
            writes_in_flight_max: 4,
            write_bytes_max: 1 << 20,
            flush_bytes: 64 << 20,
            flush_part_bytes: 4 << 20,
            unflushed_bytes_max: 320 << 20,
            flush_after_ms: 5_000,
            cache_bytes: 256 << 20,
            compaction_slots_max: COMPACTION_SLOTS_MAX,
            open_files_max: 1024,
            retention_check_ms: 300_000,
            producers_max: PRODUCERS_MAX,
            producer_expiry_ms: 24 * 3600 * 1000,
            scrub_bytes_per_second: 8 << 20,
        }
    }
}

impl StoreConfig {
    /// For a store whose disk is memory, or a test: little of everything.
    pub fn small() -> Self {
        Self {
            journal_bytes: 8 << 20,
            journal_chunk_bytes: 256 << 10,
            flush_bytes: 1 << 20,
            unflushed_bytes_max: 4 << 20,
            cache_bytes: 8 << 20,
            scrub_bytes_per_second: 0,
            ..Self::default()
        }
    }
}
