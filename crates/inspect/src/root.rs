//! The files that a node keeps for all its partitions: journal and checkpoints.

use std::collections::BTreeMap;

use tidings_log::format::{self, Claims, JournalDump, read_claims, read_journal};
use tidings_log::{Disk, Fault, FaultKind};

use crate::files::{self, FileKind, Wrong};
use crate::limits::JOURNAL_READINGS_MAX;
use crate::{Damage, DamageKind, RepairReport};

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
    let claims = read_claims(disk)?;
    root.checkpointed = !claims.missing && claims.damaged.is_none();
    root.claims = claims.by_folder;
    root.files += u64::from(!claims.missing);
    root.damage.extend(
        claims.damaged.map(|fault| Damage { kind: DamageKind::Derived, ..of_journal(&fault) }),
    );
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
    for _ in 1..JOURNAL_READINGS_MAX {
        if journal.faults.is_empty() {
            break;
        }
        let again = read_journal(disk)?;
        let faults = std::mem::replace(&mut journal, again).faults;
        journal.faults.retain(|fault| faults.contains(fault));
    }
    Ok(journal)
}

/// Writes a checkpoint that says what repairs have made true; the others' records stay as they are. A
/// damaged checkpoint stays, and the next start reads the segments of those it does not know.
pub fn write_claims(disk: &dyn Disk, repaired: &[RepairReport]) -> Result<(), Fault> {
    let claims = repaired.iter().filter_map(|report| {
        let claims = report.claims.as_ref()?;
        Some((report.folder.as_str(), claims))
    });
    format::write_claims(disk, &claims.collect())
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
