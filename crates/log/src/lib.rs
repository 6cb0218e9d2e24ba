//! A partition's commit log in Apache Kafka's file formats, on a disk that is passed in.
//!
//! Invariants: offsets are dense at append and never reused; a batch is stored byte for byte as it
//! came except for its base offset and leader epoch; what `durable_offset` covers has been synced.
//! This crate knows record batches (Kafka's v2 layout) and nothing of requests, topics or clocks.
#![forbid(unsafe_code)]

mod batch;
mod compaction;
mod compression;
mod config;
mod disk;
pub mod inspect;
mod journal;
pub mod limits;
mod partition_log;
mod record;
mod retention;
mod store;

pub use batch::{
    Attributes, Batch, BatchBuilder, BatchError, BatchHeader, BatchRefused, EndMarker, Ending,
    HEADER_BYTES, ProducerRules, RefusalKind, RefusedRecord, split,
};
pub use compression::Compression;
pub use config::{LogConfig, StoreConfig};
pub use disk::{
    BLOCK_BYTES, Disk, Entry, Fate, Fault, FaultKind, File, MemoryDisk, OpenMode, SECTOR_BYTES,
    Unsynced,
};
pub use journal::{
    FrameState, JournalDump, JournalEntry, JournalFrame, JournalWrite, LogKey, read_journal,
};
pub use partition_log::{
    AppendAt, AppendRefused, Appended, PartitionLog, ProducerEntry, ReadRefused, Recovered,
    TimedOffset, TransactionVersion,
};
pub use record::{Header, NewRecord, Record};
pub use store::{
    ByTime, ColdRead, ColdSearch, LogId, Moment, Reading, Rot, Store, StoreRecovered, TimeSearch,
    Work, WorkKind,
};
