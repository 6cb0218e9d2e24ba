//! Makes a damaged partition sound.
//!
//! Per segment, each step durable before the next, so that after a crash the whole can be run again:
//! 1. damaged bytes are copied to `<base>.damaged-<position>`;
//! 2. what can be read is written to `<base>.log.repaired`, batch after batch with its own offsets;
//! 3. that takes the segment's name;
//! 4. its indexes are made anew.
//!
//! An index that no longer fits in between only makes look-ups slower: entries are followed when their
//! batch confirms them. Where the end of the log was lost, an empty segment that begins at the first
//! offset never given keeps lost offsets from being given again.

use super::damage::DamageKind;
use super::files::path;
use super::partition::{Claims, Depth, Inventory, known, verify};
use super::source::Source;
use super::walk::{Piece, UNCOVERED_BYTES, Walk};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::{BatchHeader, Disk, Fault, FaultKind, File, LogConfig, OpenMode};

/// Whether to repair, or to say what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plan,
    Apply,
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Damaged bytes are kept in a file beside the segment; these offsets are lost.
    SetAside { path: String, bytes: (u64, u64), offsets: (i64, i64), into: String },
    /// These offsets are lost, and there are no bytes of them.
    Lost { path: String, offsets: (i64, i64) },
    /// A field outside a batch's checksum is put right; nothing is lost.
    Restored { path: String, bytes: (u64, u64), offsets: (i64, i64), what: String },
    /// A derived file is made anew.
    Rebuilt { path: String },
    /// A derived file is removed; the next start makes do without.
    Removed { path: String },
    /// An empty segment, so that lost offsets before it are not given again.
    EndKept { path: String, offset: i64 },
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    pub folder: String,
    pub actions: Vec<Action>,
    /// What the checkpoint must say of the partition from now on; none when that is what it says.
    pub claims: Option<Claims>,
}

impl RepairReport {
    /// Offsets that are lost: first, and one past the last.
    pub fn lost(&self) -> Vec<(i64, i64)> {
        let lost = self.actions.iter().filter_map(|action| match action {
            Action::SetAside { offsets, .. } | Action::Lost { offsets, .. } => Some(*offsets),
            _ => None,
        });
        lost.filter(|(from, to)| from < to).collect()
    }
}

/// Repairs the partition in `folder`, or plans to.
pub fn repair(
    disk: &dyn Disk,
    folder: &str,
    claims: Option<&Claims>,
    mode: Mode,
) -> Result<RepairReport, Fault> {
    let found = verify(disk, folder, claims, Depth::Batches, &mut |_| {})?;
    let mut repair = Repair {
        disk,
        mode,
        inventory: Inventory::take(disk, folder)?,
        claims: claims.cloned(),
        report: RepairReport { folder: folder.to_owned(), ..RepairReport::default() },
    };
    let mut sound_end = found.start_offset;
    for base in repair.inventory.logs.clone() {
        let path = path(folder, base, ".log");
        let damaged = |kinds: &[DamageKind], path: &str| {
            found.damage.iter().any(|d| kinds.contains(&d.kind) && d.path == path)
        };
        if damaged(&[DamageKind::Records, DamageKind::Field], &path) {
            repair.segment(base)?;
        } else {
            let stale = [".index", ".timeindex", ".txnindex"]
                .into_iter()
                .any(|suffix| damaged(&[DamageKind::Derived], &super::files::path(folder, base, suffix)));
            if stale {
                repair.indexes(base)?;
            }
        }
        sound_end = sound_end.max(repair.end_of(base)?);
    }
    for damage in &found.damage {
        match damage.kind {
            DamageKind::Derived if !is_index(&damage.path) => repair.remove(&damage.path)?,
            DamageKind::Records if damage.bytes.0 == damage.bytes.1 => {
                repair.lost(&damage.path, damage.offsets)?;
            }
            _ => {}
        }
    }
    if sound_end < found.end_offset {
        repair.keep_end(found.end_offset)?;
    }
    if repair.claims.as_ref() != claims {
        repair.report.claims = repair.claims;
    }
    Ok(repair.report)
}
