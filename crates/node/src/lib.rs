//! A broker with threads, a clock and a disk; the in-process API.
//!
//! One shard owns the [`tidings_broker::Broker`]; what would block it runs elsewhere: the journal's
//! writes ([`JournalIo`]), flushes, upkeep and cold reads ([`Workers`]). A caller's request is a message
//! to the shard's thread, or decided on the spot when it is brief and the shard is free; its reply is a
//! future. Knows nothing of sockets or the wire.

mod fetched;
mod file_disk;
mod inbox;
mod journal_io;
pub mod limits;
mod node;
mod open_files;
mod pool;
mod records;
mod shard;
mod workers;

pub use file_disk::{DurableWrites, FileDisk, ReadOnlyDisk};
pub use journal_io::{JournalIo, JournalIoChoice, JournalIoEvent, JournalIoKind};
pub use node::{Answer, Node, NodeConfig, NodeError, NodeFigures};
pub use open_files::{open_files, raise_open_files};
pub use records::{decode_batches, decode_committed, encode_batch, encode_transactional_batch};
pub use tidings_broker as broker;
pub use tidings_broker::log::{
    Fault, FaultKind, Header, MemoryDisk, NewRecord, Record, StoreConfig,
};
pub use workers::{Lane, Workers};
