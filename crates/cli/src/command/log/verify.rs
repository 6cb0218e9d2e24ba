//! `tidings log verify`: is everything as it was written?
//!
//! Reads the checkpoint before the segments, so that what a running node has flushed meanwhile is not
//! taken for damage.

use std::path::Path;

use serde_json::json;
use tidings_inspect::{Damage, DamageKind, Depth, PartitionReport};
use tidings_terminal::Form;
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Item, piece, print};
use tidings_terminal::progress::Progress;
use tidings_terminal::table::{Look, left, right, table};

use super::{
    count, damage_json, folders, not_readable, of_partition, offsets, open, segment_bytes,
};
use crate::args::Which;

pub(super) fn verify(dir: &Path, which: &Which, deep: bool, form: Form) -> Result<(), Failure> {
    let disk = open(dir)?;
    let depth = if deep { Depth::Records } else { Depth::Batches };
    let root = tidings_inspect::root(&disk).map_err(|fault| not_readable(&fault))?;
    let folders = folders(&disk, &root, dir, which)?;
    let mut total = 0;
    for folder in &folders {
        total += segment_bytes(&disk, folder).map_err(|fault| not_readable(&fault))?;
    }
    let mut progress = Progress::of(total);
    let mut reports = Vec::new();
    for folder in &folders {
        let claims = root.claims(folder);
        let mut walked = |bytes| progress.add(bytes, bytes, folder);
        let report = tidings_inspect::verify(&disk, folder, claims.as_ref(), depth, &mut walked);
        let report = report.map_err(|fault| not_readable(&fault))?;
        let item = Item::new(&report.folder, report_json(&report));
        piece(form, &item).map_or(Ok(()), |text| print(&text))?;
        reports.push(report);
    }
    drop(progress);
    let mut damage = root.damage;
    let files = root.files + reports.iter().map(|report| report.files).sum::<u64>();
    let of_partitions = reports.iter().flat_map(|report| report.damage.clone());
    if form.is_table() {
        damage.extend(of_partitions);
        print(&shown(&reports, &damage, Look::of(form)))?;
    } else {
        let of_node: Vec<_> = damage.iter().map(damage_json).collect();
        // The node's own files have no name of their own.
        if form != Form::Name {
            let item = Item::new("", json!({ "damage": of_node, "files": root.files }));
            piece(form, &item).map_or(Ok(()), |text| print(&text))?;
        }
        damage.extend(of_partitions);
    }
    if damage.is_empty() {
        if form.is_table() {
            let partitions = count(reports.len() as u64, "partition");
            print(&format!("sound: {}, {partitions}\n", count(files, "file")))?;
        }
        return Ok(());
    }
    Err(damaged(dir, &damage))
}

fn damaged(dir: &Path, damage: &[Damage]) -> Failure {
    let lost: u64 = damage
        .iter()
        .filter(|damage| damage.kind == DamageKind::Records)
        .filter_map(|damage| damage.offsets)
        .map(|(first, end)| end.abs_diff(first))
        .sum();
    let places = count(damage.len() as u64, "place");
    let in_journal =
        damage.iter().any(|damage| damage.kind == DamageKind::Records && damage.offsets.is_none());
    let why = match (lost, in_journal) {
        (0, false) => "every record can be read".to_owned(),
        (0, true) => "the journal may have held records there".to_owned(),
        (lost, _) => format!("at most {} cannot be read", count(lost, "record")),
    };
    let how = format!("stop the node, then `tidings log repair {}`", dir.display());
    Failure::failed(format!("damage in {places}")).why(why).hint(how)
}

fn report_json(report: &PartitionReport) -> serde_json::Value {
    let mut object = of_partition(&report.folder);
    let figures = json!({
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes,
        "files": report.files,
        "start_offset": report.start_offset,
        "end_offset": report.end_offset,
        "gaps": report.gaps,
        "others": report.others,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
    });
    if let serde_json::Value::Object(figures) = figures {
        object.extend(figures);
    }
    object.into()
}

fn shown(reports: &[PartitionReport], damage: &[Damage], look: Look) -> String {
    let rows: Vec<_> = reports
        .iter()
        .map(|report| {
            [
                report.folder.clone(),
                report.segments.to_string(),
                report.batches.to_string(),
                report.records.to_string(),
                report.bytes.to_string(),
                report.start_offset.to_string(),
                report.end_offset.to_string(),
                if report.damage.is_empty() {
                    "-".to_owned()
                } else {
                    report.damage.len().to_string()
                },
            ]
        })
        .collect();
    let columns = [
        left("PARTITION"),
        right("SEGMENTS"),
        right("BATCHES"),
        right("RECORDS"),
        right("BYTES").wide(),
        right("FIRST"),
        right("NEXT"),
        right("DAMAGE"),
    ];
    let mut text = table(columns, &rows, look);
    for report in reports {
        for &gap in &report.gaps {
            text += &format!("{}: no batch has {}\n", report.folder, offsets(gap));
        }
        for other in &report.others {
            text += &format!("{other}: not part of the log\n");
        }
    }
    for damage in damage {
        text += &damage_line(damage);
    }
    text
}

pub(super) fn damage_line(damage: &Damage) -> String {
    let (from, to) = damage.bytes;
    let costs = match (damage.kind, damage.offsets) {
        (DamageKind::Records, Some(range)) => format!("{} cannot be read", offsets(range)),
        (DamageKind::Records, None) => "may hold records".to_owned(),
        (DamageKind::Field, _) => "repair puts it right".to_owned(),
        (DamageKind::Derived, _) => "no record is lost, repair makes it anew".to_owned(),
        (DamageKind::Content, _) => "as its producer sent it".to_owned(),
    };
    format!("{} bytes {from}..{to}: {}; {costs}\n", damage.path, damage.what)
}
