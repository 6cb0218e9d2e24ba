//! The files that a node keeps for all its partitions: journal and checkpoints.

use std::collections::BTreeMap;

use super::files::{self, FileKind, Wrong};
use super::partition::Claims;
use super::{Damage, DamageKind};
use crate::journal::{JournalDump, read_journal};
use crate::{Disk, Fault, FaultKind};

/// What the files of the whole node say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// What the checkpoint says of each partition, by its folder.
    pub claims: BTreeMap<String, Claims>,
    /// None when nothing was ever written.
    pub journal: Option<JournalDump>,
    /// Files that were looked at.
    pub files: u64,
    pub damage: Vec<Damage>,
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
    match read_journal(disk) {
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

fn of_journal(fault: &Fault) -> Damage {
    let at = fault.offset.unwrap_or(0);
    let what = match &fault.kind {
        FaultKind::Corrupt(what) => what.clone(),
        other => other.to_string(),
    };
    let (kind, path) = (DamageKind::Records, fault.path.clone());
    Damage { kind, path, bytes: (at, at), offsets: None, what }
}
