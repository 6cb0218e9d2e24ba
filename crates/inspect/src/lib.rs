//! Looks at a data directory without running it: is everything as it was written, what is in it, and
//! how to go on when it is not.
//!
//! - [`verify`] reads every file of a partition and reports each [`Damage`] with its bytes and the
//!   offsets that it takes. It writes nothing, so the node may be running.
//! - [`batches`] and the readers of the small files list what a file holds.
//! - [`repair`] makes a damaged partition sound: derived files are made anew, damaged bytes go to a
//!   file beside the segment, and the segment is written again without them. It needs a stopped
//!   node.
//!
//! Invariants:
//! 1. No bytes make it panic, and what it allocates is bounded by a batch, an index and a snapshot.
//! 2. A batch whose checksum holds is never lost by a repair, wherever the damage around it.
//! 3. Offsets are never given to other records: in the place of what is lost stands a batch without
//!    records.
//! 4. A repair that is interrupted can be run again.
//!
//! Segments and indexes are read apart from the code that writes them; `docs/log-format.md` is what
//! both go by.
#![forbid(unsafe_code)]

mod damage;
mod files;
mod indexes;
pub mod limits;
mod list;
mod partition;
mod repair;
mod root;
mod source;
#[cfg(test)]
mod tests;
mod walk;

pub use damage::{Damage, DamageKind};
pub use files::{
    AbortedEntry, FileKind, OffsetEntry, TimeEntry, Wrong, aborted_entries, file_kind,
    leader_epochs, offset_entries, partition_offsets, snapshot_entries, time_entries, topic_id,
};
pub use list::{Listed, batches};
pub use partition::{Depth, PartitionReport, partition_folders, verify};
pub use repair::{Action, Mode, RepairReport, repair};
pub use root::{Root, root, write_claims};
pub use tidings_log::format::{
    Claims, FrameState, JournalDump, JournalEntry, JournalFrame, read_journal,
};
