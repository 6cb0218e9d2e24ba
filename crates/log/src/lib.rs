//! All logs of a node on a disk that is passed in: one journal that makes batches durable, and for each
//! partition segments in Apache Kafka's file formats.
//!
//! [`Store`] is the whole; its owner carries out the writes and the work that it hands out, and tells it
//! the time with each call ([`Moment`]).
//!
//! Invariants:
//! 1. Offsets are dense at append and never given twice.
//! 2. A batch is stored byte for byte as it came, except for its base offset and leader epoch, and for
//!    its timestamp where the topic has the log's; compaction alone takes records out.
//! 3. What is below a log's durable offset outlives a power cut, and nothing above it is served.
//! 4. No bytes from the disk make it panic; what fails its checksum is reported and not served.
//!
//! Limits are in [`limits`], formats in [`format`](mod@format) and `docs/log-format.md`. This crate knows
//! record batches (Kafka's v2 layout) and nothing of requests, topics, threads or the system's clock.
#![forbid(unsafe_code)]

mod batch;
mod compaction;
mod compression;
mod config;
mod disk;
pub mod format;
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
pub use journal::{JournalWrite, LogKey};
pub use partition_log::{
    AppendAt, AppendRefused, Appended, PartitionLog, ProducerEntry, ReadRefused, Recovered,
    TimedOffset, TransactionVersion,
};
pub use record::{Header, NewRecord, Record};
pub use store::{
    ByTime, ColdRead, ColdSearch, LogId, Moment, Reading, Rot, Store, StoreRecovered, TimeSearch,
    Work, WorkKind,
};
