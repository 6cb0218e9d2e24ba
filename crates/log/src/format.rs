//! What is on disk, for those who read a data directory without opening it as a [`Store`](crate::Store):
//! the same functions that the log itself reads and writes it with. `docs/log-format.md` says it byte by
//! byte.
//!
//! Bytes never make any of these panic, and what they allocate is bounded by the bytes that are there.
//! Indexes are left out on purpose: who checks them reads them apart from the code that writes them.

pub use crate::batch::check_first;
pub use crate::batch::rewrite::put_emptied;
pub use crate::journal::{FrameState, JournalDump, JournalEntry, JournalFrame, read_journal};
pub use crate::partition_log::kafka_files::{
    HIGH_WATERMARKS_FILE, LEADER_EPOCHS_FILE, METADATA_FILE, PartitionOffset, RECOVERY_POINTS_FILE,
    START_OFFSETS_FILE, Unreadable, decode_leader_epochs, decode_metadata, decode_offsets,
};
pub use crate::partition_log::snapshot::{decode as decode_snapshot, encode as encode_snapshot};
pub use crate::store::checkpoint::claims::{AllClaims, Claims, read_claims, write_claims};
