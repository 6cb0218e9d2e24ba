//! `tidings log`: verify, dump and repair the files of a data directory, without a node.

mod dump;
mod repair;
mod verify;

use std::path::Path;

use serde_json::{Map, Value, json};
use tidings_inspect::{Damage, Root, partition_folders};
use tidings_node::ReadOnlyDisk;
use tidings_node::broker::log::{Disk, Fault, FaultKind};
use tidings_terminal::failure::{Exit, Failure};

use crate::args::{Log, Which};

pub(crate) fn log(command: Log) -> Result<(), Failure> {
    match command {
        Log::Verify { dir, which, deep, output } => verify::verify(&dir, &which, deep, output),
        Log::Dump { path, records, output } => dump::dump(&path, records, output),
        Log::Repair { dir, which, consent, output } => {
            repair::repair(&dir, &which, consent, output)
        }
    }
}

fn not_readable(fault: &Fault) -> Failure {
    Failure::failed("the data cannot be read").why(fault)
}

fn open(dir: &Path) -> Result<ReadOnlyDisk, Failure> {
    ReadOnlyDisk::open(dir).map_err(|fault| not_there(dir, &fault))
}

fn not_there(dir: &Path, fault: &Fault) -> Failure {
    match fault.kind {
        FaultKind::NotFound => {
            Failure::new(Exit::NotFound, format!("there is no {}", dir.display()))
        }
        _ => Failure::failed(format!("{} cannot be read", dir.display())).why(fault),
    }
}

/// Topic and partition of a folder's name.
fn partition_of(folder: &str) -> Option<(&str, i32)> {
    let (topic, partition) = folder.rsplit_once('-')?;
    Some((topic, partition.parse().ok()?))
}

/// The partitions' folders that are meant, those that are missing too, ordered by topic and number; that
/// there is none is a failure when some were named.
fn folders(
    disk: &dyn Disk,
    root: &Root,
    dir: &Path,
    which: &Which,
) -> Result<Vec<String>, Failure> {
    let mut folders = partition_folders(disk).map_err(|fault| not_readable(&fault))?;
    let written =
        root.all_claims().filter(|(_, claims)| claims.recovery_offset > claims.start_offset);
    for (folder, _) in written {
        if !folders.iter().any(|there| there == folder) {
            folders.push(folder.to_owned());
        }
    }
    for wanted in &which.topic {
        if !folders.iter().any(|folder| is(folder, wanted)) {
            let what = format!("{} has no partition of {wanted}", dir.display());
            return Err(Failure::new(Exit::NotFound, what));
        }
    }
    let all = which.topic.is_empty();
    folders.retain(|folder| all || which.topic.iter().any(|wanted| is(folder, wanted)));
    folders.sort_by(|a, b| partition_of(a).cmp(&partition_of(b)));
    Ok(folders)
}

fn is(folder: &str, wanted: &str) -> bool {
    let Some((topic, partition)) = partition_of(folder) else { return false };
    let named = wanted.rsplit_once(':');
    topic == wanted || named == Some((topic, &partition.to_string()))
}

/// Bytes of the segments in a folder: what a walk has before it.
fn segment_bytes(disk: &dyn Disk, folder: &str) -> Result<u64, Fault> {
    let entries = match disk.list(folder) {
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(0),
        listed => listed?,
    };
    let mut bytes = 0;
    for entry in entries.iter().filter(|entry| entry.name.ends_with(".log")) {
        let path = format!("{folder}/{}", entry.name);
        match disk.open(&path, tidings_node::broker::log::OpenMode::Existing) {
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            file => bytes += file?.len()?,
        }
    }
    Ok(bytes)
}

/// An object that begins with the topic and the partition that a path is of.
fn of_partition(path: &str) -> Map<String, Value> {
    let folder = path.split('/').next().unwrap_or_default();
    let mut object = Map::new();
    if let Some((topic, partition)) = partition_of(folder) {
        object.insert("topic".to_owned(), json!(topic));
        object.insert("partition".to_owned(), json!(partition));
    }
    object
}

fn damage_json(damage: &Damage) -> Value {
    let mut object = of_partition(&damage.path);
    object.insert("kind".to_owned(), json!(damage.kind.name()));
    object.insert("file".to_owned(), json!(damage.path));
    object.insert("first_byte".to_owned(), json!(damage.bytes.0));
    object.insert("end_byte".to_owned(), json!(damage.bytes.1));
    object.insert("first_offset".to_owned(), json!(damage.offsets.map(|(first, _)| first)));
    object.insert("end_offset".to_owned(), json!(damage.offsets.map(|(_, end)| end)));
    object.insert("what".to_owned(), json!(damage.what));
    object.into()
}

/// `offset 7`, or `offsets 7 to 9`.
fn offsets((first, end): (i64, i64)) -> String {
    match end.saturating_sub(first) {
        ..=0 => "no offset".to_owned(),
        1 => format!("offset {first}"),
        _ => format!("offsets {first} to {}", end - 1),
    }
}

/// One thing with its plural, such as `3 records`.
pub(super) fn count(number: u64, one: &str) -> String {
    match (number, one.strip_suffix("ch"), one.strip_suffix('y')) {
        (1, ..) => format!("1 {one}"),
        (_, Some(_), _) => format!("{number} {one}es"),
        (_, _, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_meant_by_its_topic_or_with_its_number() {
        let table = [
            ("orders-0", "orders", true),
            ("orders-0", "orders:0", true),
            ("orders-0", "orders:1", false),
            ("orders-10", "orders:1", false),
            ("big-orders-0", "orders", false),
            ("big-orders-0", "big-orders", true),
            ("orders", "orders", false),
        ];
        for (folder, wanted, expected) in table {
            assert_eq!(is(folder, wanted), expected, "{folder} {wanted}");
        }
    }

    #[test]
    fn runs_of_offsets_and_numbers_of_things_read_well() {
        assert_eq!(
            [(7, 7), (7, 8), (7, 10)].map(offsets),
            ["no offset", "offset 7", "offsets 7 to 9"]
        );
        let counted = [count(1, "batch"), count(2, "batch"), count(0, "record"), count(3, "entry")];
        assert_eq!(counted, ["1 batch", "2 batches", "0 records", "3 entries"]);
    }
}
