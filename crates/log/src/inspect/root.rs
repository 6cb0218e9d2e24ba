//! The files that a node keeps for all its partitions: journal and checkpoints.

use std::collections::BTreeMap;

use super::files::{self, FileKind, Wrong};
use super::partition::Claims;
use super::{Damage, DamageKind, RepairReport};
use crate::journal::{JournalDump, read_journal};
use crate::store::checkpoint::{Checkpoint, LogRecord};
use crate::{Disk, Fault, FaultKind};

/// Readings of a journal before what looks damaged is taken for it.
const READINGS: usize = 3;

/// What the files of the whole node say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// What the checkpoint says of each partition, by its folder.
    claims: BTreeMap<String, Claims>,
    /// There is a checkpoint, and all of it can be read.
    checkpointed: bool,
    /// None when nothing was ever written.
    pub journal: Option<JournalDump>,
    /// Files that were looked at.
    pub files: u64,
    pub damage: Vec<Damage>,
}

impl Root {
    /// What the checkpoint says of the partition in `folder`; none when nobody knows what it said. Of a
    /// partition that a readable checkpoint does not name nothing is in segments yet.
    pub fn claims(&self, folder: &str) -> Option<Claims> {
        let known = self.claims.get(folder).cloned();
        known.or_else(|| self.checkpointed.then(Claims::default))
    }

    /// Every partition that the checkpoint names, by its folder.
    pub fn all_claims(&self) -> impl Iterator<Item = (&str, &Claims)> {
        self.claims.iter().map(|(folder, claims)| (folder.as_str(), claims))
    }
}

/// Reads the journal and the checkpoints of a data directory. It may be written to meanwhile.
pub fn root(disk: &dyn Disk) -> Result<Root, Fault> {
    let mut root = Root::default();
    for entry in disk.list("")? {
        if files::file_kind(&entry.name).0 == FileKind::OffsetCheckpoint {
            let bytes = files::read_whole(disk, &entry.name)?;
            root.files += 1;
            if let Err(Wrong { at, what }) = files::partition_offsets(&bytes) {
                let bytes = (at, bytes.len() as u64);
                let (kind, path) = (DamageKind::Derived, entry.name);
                root.damage.push(Damage { kind, path, bytes, offsets: None, what });
            }
        }
    }
    let found = Checkpoint::read(disk)?;
    root.checkpointed = !found.lost;
    if root.checkpointed || found.damaged.is_some() {
        root.files += 1;
    }
    root.damage.extend(
        found.damaged.map(|fault| Damage { kind: DamageKind::Derived, ..of_journal(&fault) }),
    );
    let records = found.checkpoint.records.into_values();
    root.claims = records.map(|record| (record.dir.to_string(), claims_of(record))).collect();
    match journal(disk) {
        Err(fault) if fault.kind == FaultKind::NotFound => {}
        read => {
            let journal = read?;
            root.files += 2;
            root.damage.extend(journal.faults.iter().map(of_journal));
            root.journal = Some(journal);
        }
    }
    Ok(root)
}

/// The journal, with the faults that each of several readings finds: a frame that a running node is
/// writing at the moment looks damaged once.
fn journal(disk: &dyn Disk) -> Result<JournalDump, Fault> {
    let mut journal = read_journal(disk)?;
    for _ in 1..READINGS {
        if journal.faults.is_empty() {
            break;
        }
        let again = read_journal(disk)?;
        let faults = std::mem::replace(&mut journal, again).faults;
        journal.faults.retain(|fault| faults.contains(fault));
    }
    Ok(journal)
}

fn claims_of(record: LogRecord) -> Claims {
    Claims {
        start_offset: record.start_offset,
        recovery_offset: record.recovery_offset,
        segment_base: record.segment_base,
        position: record.position,
        sparse: record.sparse,
        leader_epochs: record.epochs,
    }
}

/// Writes a checkpoint that says what repairs have made true; the others' records stay as they are. A
/// damaged checkpoint keeps its other records, and the next start reads the segments of those that
/// are lost.
pub fn write_claims(disk: &dyn Disk, repaired: &[RepairReport]) -> Result<(), Fault> {
    let claims = repaired.iter().filter_map(|report| {
        let claims = report.claims.as_ref()?;
        Some((report.folder.as_str(), claims))
    });
    let claims: BTreeMap<&str, &Claims> = claims.collect();
    let mut found = Checkpoint::read(disk)?;
    if claims.is_empty() || found.lost {
        return Ok(());
    }
    for record in found.checkpoint.records.values_mut() {
        let Some(claims) = claims.get(&*record.dir) else { continue };
        record.sparse = claims.sparse;
        if (record.segment_base, record.position) != (claims.segment_base, claims.position) {
            let empty = LogRecord::nothing(record.dir.clone(), claims.segment_base);
            *record = LogRecord {
                start_offset: record.start_offset,
                recovery_offset: claims.recovery_offset,
                sparse: claims.sparse,
                snapshot_offset: record.snapshot_offset,
                cleaned_to: record.cleaned_to,
                epochs: std::mem::take(&mut record.epochs),
                ..empty
            };
        }
    }
    found.checkpoint.write(disk)
}

fn of_journal(fault: &Fault) -> Damage {
    let at = fault.offset.unwrap_or(0);
    let what = match &fault.kind {
        FaultKind::Corrupt(what) => what.clone(),
        other => other.to_string(),
    };
    let (kind, path) = (DamageKind::Records, fault.path.clone());
    Damage { kind, path, bytes: (at, at), offsets: None, what }
}
