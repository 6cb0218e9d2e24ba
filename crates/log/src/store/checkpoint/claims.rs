//! What the checkpoint says of each partition's segments, for those who look at a data directory without
//! opening it: what they may take for granted, and how a repair changes it.

use std::collections::BTreeMap;

use super::{Checkpoint, LogRecord};
use crate::{Disk, Fault};

/// What the node's checkpoint says of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub start_offset: i64,
    /// Everything below this offset is in the segments.
    pub recovery_offset: i64,
    /// The segment and the byte in it where that offset is. What is past it is a stale copy of what the
    /// journal has, or nothing.
    pub segment_base: i64,
    pub position: u64,
    /// Compaction or a repair has taken batches out: offsets without batches are no damage.
    pub sparse: bool,
    /// Leader epochs with the first offset of each.
    pub leader_epochs: Vec<(i32, i64)>,
}

/// What the checkpoint says of all partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllClaims {
    pub by_folder: BTreeMap<String, Claims>,
    /// There is no checkpoint: everything that segments hold counts.
    pub missing: bool,
    /// What it says of some partitions cannot be read.
    pub damaged: Option<Fault>,
}

/// Reads the checkpoint. One of a later format version is refused.
pub fn read_claims(disk: &dyn Disk) -> Result<AllClaims, Fault> {
    let found = Checkpoint::read(disk)?;
    let records = found.checkpoint.records.into_values();
    Ok(AllClaims {
        by_folder: records.map(|record| (record.dir.to_string(), Claims::from(record))).collect(),
        missing: found.missing,
        damaged: found.damaged,
    })
}

/// Writes a checkpoint that says `claims` of these folders, and of the others what it said; durable when
/// this returns without a fault. One that is missing or damaged stays as it is: the next start reads
/// the segments of the partitions that it does not know. No store may be open.
pub fn write_claims(disk: &dyn Disk, claims: &BTreeMap<&str, &Claims>) -> Result<(), Fault> {
    let mut found = Checkpoint::read(disk)?;
    if claims.is_empty() || found.lost {
        return Ok(());
    }
    for record in found.checkpoint.records.values_mut() {
        if let Some(claims) = claims.get(&*record.dir) {
            record.claim(claims);
        }
    }
    found.checkpoint.write(disk)
}

impl From<LogRecord> for Claims {
    fn from(record: LogRecord) -> Self {
        Self {
            start_offset: record.start_offset,
            recovery_offset: record.recovery_offset,
            segment_base: record.segment_base,
            position: record.position,
            sparse: record.sparse,
            leader_epochs: record.epochs,
        }
    }
}

impl LogRecord {
    /// What it says of a segment's indexes holds only for the segment it speaks of.
    fn claim(&mut self, claims: &Claims) {
        self.sparse = claims.sparse;
        if (self.segment_base, self.position) == (claims.segment_base, claims.position) {
            return;
        }
        let empty = Self::nothing(self.dir.clone(), claims.segment_base);
        *self = Self {
            start_offset: self.start_offset,
            recovery_offset: claims.recovery_offset,
            sparse: claims.sparse,
            snapshot_offset: self.snapshot_offset,
            cleaned_to: self.cleaned_to,
            epochs: std::mem::take(&mut self.epochs),
            ..empty
        };
    }
}
