//! `tidings log repair`: makes a damaged data directory sound, and says what is lost.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidings_inspect::{Action, Mode, RepairReport, Root};
use tidings_node::broker::log::{Disk, Fault};
use tidings_node::{FileDisk, NodeError};
use tidings_terminal::Form;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, Item, piece, print};
use tidings_terminal::table::Look;

use super::{count, folders, not_readable, of_partition, offsets, open};
use crate::args::{Consent, Which};
use crate::command::consent::decide;

pub(super) fn repair(
    dir: &Path,
    which: &Which,
    consent: Consent,
    form: Form,
) -> Result<(), Failure> {
    // Before the lock, which would make the directory.
    drop(open(dir)?);
    let disk: Arc<dyn Disk> = if consent.dry_run {
        Arc::new(open(dir)?)
    } else {
        Arc::new(FileDisk::open(dir).map_err(|error| locked(&error))?)
    };
    let root = tidings_inspect::root(&*disk).map_err(|fault| not_readable(&fault))?;
    let folders = folders(&*disk, &root, dir, which)?;
    let planned = each(&*disk, &folders, &root, Mode::Plan)?;
    let to_do = planned.iter().any(|report| !report.actions.is_empty());
    if !to_do {
        return if form.is_table() { print("nothing to repair\n") } else { Ok(()) };
    }
    if consent.dry_run {
        return print(&told(&planned, "would be", form));
    }
    let plan = Plan(&planned);
    let name = dir.display().to_string();
    decide(consent, form, &plan, &name, "nothing was repaired")?;
    let done = each(&*disk, &folders, &root, Mode::Apply)?;
    tidings_inspect::write_claims(&*disk, &done).map_err(|fault| stopped(&fault))?;
    print(&told(&done, "was", form))
}

fn locked(error: &NodeError) -> Failure {
    match error {
        NodeError::Locked { .. } => Failure::new(Exit::Conflict, "the data is in use")
            .why(error)
            .hint("stop the node first; `tidings log verify` reads beside it"),
        _ => Failure::failed("the data cannot be locked").why(error),
    }
}

fn stopped(fault: &Fault) -> Failure {
    Failure::failed("the repair did not end; it can be run again").why(fault)
}

fn each(
    disk: &dyn Disk,
    folders: &[String],
    root: &Root,
    mode: Mode,
) -> Result<Vec<RepairReport>, Failure> {
    let repair = |folder: &String| {
        tidings_inspect::repair(disk, folder, root.claims(folder).as_ref(), mode)
            .map_err(|fault| stopped(&fault))
    };
    folders.iter().map(repair).collect()
}

/// What would be done.
struct Plan<'a>(&'a [RepairReport]);

impl Plan<'_> {
    fn all(&self) -> Vec<Item> {
        self.0.iter().flat_map(|report| &report.actions).map(action_item).collect()
    }
}

/// Each action is a document of its own.
impl Answer for Plan<'_> {
    fn document(&self) -> Value {
        self.all().into_iter().map(|item| item.value).collect()
    }

    fn items(&self) -> Vec<Item> {
        self.all()
    }

    fn text(&self, _look: Look) -> String {
        told(self.0, "would be", Form::Table)
    }
}

/// Every action, and for people in the end what is lost.
fn told(reports: &[RepairReport], when: &str, form: Form) -> String {
    let mut text = String::new();
    for action in reports.iter().flat_map(|report| &report.actions) {
        let told = piece(form, &action_item(action));
        text += &told.unwrap_or_else(|| action_line(action, when));
    }
    if !form.is_table() {
        return text;
    }
    let mut records = 0;
    for report in reports {
        for lost in report.lost() {
            text += &format!("{}: {} lost\n", report.folder, offsets(lost));
            records += lost.1.abs_diff(lost.0);
        }
    }
    text += &match records {
        0 => "no record is lost\n".to_owned(),
        _ => format!("at most {} lost\n", count(records, "record")),
    };
    text
}

fn action_line(action: &Action, when: &str) -> String {
    match action {
        Action::SetAside { path, bytes: (from, to), into, .. } => {
            format!("{path} bytes {from}..{to}: {when} set aside as {into}\n")
        }
        Action::Lost { path, .. } => format!("{path}: nothing is there to read\n"),
        Action::Restored { path, bytes: (from, to), what, .. } => {
            format!("{path} bytes {from}..{to}: {what}, {when} put right\n")
        }
        Action::Rebuilt { path } => format!("{path}: {when} made anew\n"),
        Action::Removed { path } => {
            format!("{path}: {when} removed, the next start does without\n")
        }
        Action::NewSegment { path, .. } => format!("{path}: {when} made, the log goes on there\n"),
    }
}

/// Named by its file.
fn action_item(action: &Action) -> Item {
    let (name, path) = match action {
        Action::SetAside { path, .. } => ("set_aside", path),
        Action::Lost { path, .. } => ("lost", path),
        Action::Restored { path, .. } => ("restored", path),
        Action::Rebuilt { path } => ("rebuilt", path),
        Action::Removed { path } => ("removed", path),
        Action::NewSegment { path, .. } => ("new_segment", path),
    };
    let mut object = of_partition(path);
    object.insert("action".to_owned(), json!(name));
    object.insert("file".to_owned(), json!(path));
    let mut insert = |name: &str, value: Value| object.insert(name.to_owned(), value);
    if let Action::SetAside { bytes, .. } | Action::Restored { bytes, .. } = action {
        insert("first_byte", json!(bytes.0));
        insert("end_byte", json!(bytes.1));
    }
    if let Action::SetAside { offsets, .. }
    | Action::Restored { offsets, .. }
    | Action::Lost { offsets, .. } = action
    {
        insert("first_offset", json!(offsets.0));
        insert("end_offset", json!(offsets.1));
    }
    if let Action::SetAside { into, .. } = action {
        insert("into", json!(into));
    }
    Item::new(path, object.into())
}
