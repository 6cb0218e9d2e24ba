//! `tidings log dump`: what files hold, one line for each thing in them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tidings_inspect::{
    FileKind, JournalEntry, Listed, Wrong, aborted_entries, file_kind, leader_epochs,
    offset_entries, partition_offsets, snapshot_entries, time_entries, topic_id,
};
use tidings_node::ReadOnlyDisk;
use tidings_node::broker::log::{Batch, BatchHeader, Disk, Fault, FaultKind, OpenMode, Record};
use tidings_terminal::Form;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Item, Reader, piece, write};

use super::verify::damage_line;
use super::{damage_json, not_readable, open, partition_of};
use crate::command::consume::record_json;

/// Files other than segments are read whole up to this.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(super) fn dump(path: &Path, records: bool, form: Form) -> Result<(), Failure> {
    let (dir, files) = files(path)?;
    let disk = open(&dir)?;
    let mut dump = Dump { disk, records, form, gone: false };
    let alone = files.len() == 1;
    for file in files {
        if form == Form::Name || !alone && form.is_table() {
            dump.line(&format!("{file}\n"))?;
        }
        if form != Form::Name {
            dump.file(&file)?;
        }
        if dump.gone {
            break;
        }
    }
    Ok(())
}

/// The data directory that `path` is in or is, and the files in it that are meant.
fn files(path: &Path) -> Result<(PathBuf, Vec<String>), Failure> {
    let missing = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("there is no {}", path.display()))
        }
        _ => Failure::failed(format!("{} cannot be read", path.display())).why(e),
    };
    let path = path.canonicalize().map_err(missing)?;
    let name = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
    if path.is_file() {
        let of_node =
            matches!(file_kind(&name(&path)).0, FileKind::Checkpoint | FileKind::OffsetCheckpoint);
        return Ok(match parent.parent() {
            Some(dir) if !of_node => {
                (dir.to_path_buf(), vec![format!("{}/{}", name(&parent), name(&path))])
            }
            _ => (parent, vec![name(&path)]),
        });
    }
    let folder = name(&path);
    let listed = |fault: Fault| not_readable(&fault);
    if partition_of(&folder).is_some() || folder == "journal" {
        let disk = open(&parent)?;
        let files = in_folder(&disk, &folder).map_err(listed)?;
        return Ok((parent, files));
    }
    let disk = open(&path)?;
    let mut files = Vec::new();
    for entry in disk.list("").map_err(listed)? {
        if !entry.is_dir {
            files.push(entry.name);
        } else if partition_of(&entry.name).is_some() || entry.name == "journal" {
            files.extend(in_folder(&disk, &entry.name).map_err(listed)?);
        }
    }
    Ok((path, files))
}

fn in_folder(disk: &dyn Disk, folder: &str) -> Result<Vec<String>, Fault> {
    let entries = disk.list(folder)?.into_iter().filter(|entry| !entry.is_dir);
    Ok(entries.map(|entry| format!("{folder}/{}", entry.name)).collect())
}

struct Dump {
    disk: ReadOnlyDisk,
    records: bool,
    form: Form,
    /// Nobody reads what is written any more.
    gone: bool,
}

impl Dump {
    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.gone = self.gone || write(text.as_bytes())? == Reader::Gone;
        Ok(())
    }

    /// One thing in a file: a line for people, or an object that begins with the file.
    fn item(&mut self, file: &str, text: &str, value: Value) -> Result<(), Failure> {
        let mut object = Map::from_iter([("file".to_owned(), json!(file))]);
        if let Value::Object(fields) = value {
            object.extend(fields);
        }
        let told = piece(self.form, &Item::new(file, object.into()));
        self.line(&told.unwrap_or_else(|| format!("{text}\n")))
    }

    fn file(&mut self, file: &str) -> Result<(), Failure> {
        let (kind, base) = file_kind(file);
        match kind {
            FileKind::Log => self.segment(file),
            FileKind::JournalRing => self.journal(file),
            FileKind::Checkpoint => self.checkpoint(file),
            FileKind::JournalControl | FileKind::SetAside | FileKind::Other => {
                let bytes = self.open(file)?.len().map_err(|fault| not_readable(&fault))?;
                self.item(file, &format!("{bytes} bytes"), json!({ "bytes": bytes }))
            }
            kind => self.small_file(file, kind, base.unwrap_or(0)),
        }
    }

    fn open(
        &self,
        file: &str,
    ) -> Result<std::sync::Arc<dyn tidings_node::broker::log::File>, Failure> {
        self.disk.open(file, OpenMode::Existing).map_err(|fault| not_readable(&fault))
    }

    fn segment(&mut self, file: &str) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let disk = ReadOnlyDisk::clone(&self.disk);
        let walked = tidings_inspect::batches(&disk, file, &mut |listed| {
            outcome = match listed {
                Listed::Damage(damage) => self.item(
                    file,
                    damage_line(&damage).trim_end(),
                    json!({ "damage": damage_json(&damage) }),
                ),
                Listed::Batch { header, position, bytes } => {
                    self.batch(file, &header, position, bytes)
                }
            };
            if outcome.is_err() || self.gone {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        walked.map_err(|fault| not_readable(&fault))?;
        outcome
    }

    fn batch(
        &mut self,
        file: &str,
        header: &BatchHeader,
        position: u64,
        bytes: bytes::Bytes,
    ) -> Result<(), Failure> {
        let (text, value) = batch_view(header, position, bytes.len());
        self.item(file, &text, value)?;
        if !self.records {
            return Ok(());
        }
        match Batch::parse(bytes).and_then(|batch| batch.records()) {
            Ok(records) => records.iter().try_for_each(|record| self.record(file, record)),
            Err(error) => {
                self.item(file, &format!("  {error}"), json!({ "undecodable": error.to_string() }))
            }
        }
    }

    fn record(&mut self, file: &str, record: &Record) -> Result<(), Failure> {
        let folder = file.split('/').next().unwrap_or_default();
        let (topic, partition) = partition_of(folder).unwrap_or((folder, 0));
        let shown = |bytes: &Option<bytes::Bytes>| match bytes {
            None => "null".to_owned(),
            Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        };
        let (key, value) = (shown(&record.key), shown(&record.value));
        let text = format!("  {} time {} key {key} value {value}", record.offset, record.timestamp);
        self.item(file, &text, json!({ "record": record_json(topic, partition, record) }))
    }

    fn journal(&mut self, file: &str) -> Result<(), Failure> {
        let dump = match tidings_inspect::read_journal(&self.disk) {
            Err(Fault { kind: FaultKind::NotFound, .. }) => return Ok(()),
            read => read.map_err(|fault| not_readable(&fault))?,
        };
        let (epoch, start, next) = (dump.epoch, dump.start, dump.next);
        let end = if dump.clean { "clean" } else { "not closed" };
        let text = format!("epoch {epoch}, frames {start} to {next}, {end}");
        let value = json!({ "epoch": epoch, "start": start, "next": next, "clean": dump.clean });
        self.item(file, &text, value)?;
        for frame in &dump.frames {
            let state = format!("{:?}", frame.state).to_lowercase();
            let text = format!(
                "frame {} at {}, {} bytes, epoch {}, durable {}, {} entries, {state}",
                frame.sequence,
                frame.offset,
                frame.len,
                frame.epoch,
                frame.durable,
                frame.entries.len()
            );
            let value = json!({
                "frame": frame.sequence, "position": frame.offset, "bytes": frame.len,
                "epoch": frame.epoch, "durable": frame.durable, "state": state,
                "entries": frame.entries.len(),
            });
            self.item(file, &text, value)?;
            if self.records {
                frame.entries.iter().try_for_each(|entry| self.journal_entry(file, entry))?;
            }
        }
        Ok(())
    }

    fn journal_entry(&mut self, file: &str, entry: &JournalEntry) -> Result<(), Failure> {
        let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match entry {
            JournalEntry::Batch { key, offset, bytes } => {
                let key = hex(&key.0);
                let text = format!("  {key}: batch at offset {offset}, {bytes} bytes");
                let value = json!({ "key": key, "batch": { "offset": offset, "bytes": bytes } });
                self.item(file, &text, value)
            }
            JournalEntry::StartOffset { key, offset } => {
                let key = hex(&key.0);
                let text = format!("  {key}: start offset {offset}");
                self.item(file, &text, json!({ "key": key, "start_offset": offset }))
            }
        }
    }

    fn checkpoint(&mut self, file: &str) -> Result<(), Failure> {
        let root = tidings_inspect::root(&self.disk).map_err(|fault| not_readable(&fault))?;
        for (folder, claims) in root.all_claims() {
            let text = format!(
                "{folder}: start {}, in segments up to {}, which is byte {} of segment {}",
                claims.start_offset, claims.recovery_offset, claims.position, claims.segment_base
            );
            let value = json!({
                "folder": folder, "start_offset": claims.start_offset,
                "recovery_offset": claims.recovery_offset, "segment": claims.segment_base,
                "position": claims.position, "leader_epochs": claims.leader_epochs,
            });
            self.item(file, &text, value)?;
        }
        for damage in root.damage.iter().filter(|damage| damage.path == file) {
            let text = damage_line(damage);
            self.item(file, text.trim_end(), json!({ "damage": damage_json(damage) }))?;
        }
        Ok(())
    }

    fn small_file(&mut self, file: &str, kind: FileKind, base: i64) -> Result<(), Failure> {
        let opened = self.open(file)?;
        let len = opened.len().map_err(|fault| not_readable(&fault))?.min(FILE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = opened.read_at(&mut bytes, 0).map_err(|fault| not_readable(&fault))?;
        bytes.truncate(read);
        let (items, wrong) = entries(kind, base, &bytes);
        for (text, value) in items {
            self.item(file, &text, value)?;
        }
        if let Some(Wrong { at, what }) = wrong {
            let text = format!("byte {at}: {what}");
            self.item(file, &text, json!({ "wrong": { "byte": at, "what": what } }))?;
        }
        Ok(())
    }
}

type Entry = (String, Value);

fn batch_view(header: &BatchHeader, position: u64, bytes: usize) -> Entry {
    let last_offset = header.base_offset + i64::from(header.last_offset_delta);
    let codec =
        header.attributes.compression().map_or("?".to_owned(), |codec| format!("{codec:?}"));
    let codec = codec.to_lowercase();
    let mut text = format!(
        "offsets {} to {last_offset} at byte {position}, {bytes} bytes, {} records, {codec}, time {} to \
         {}, leader epoch {}",
        header.base_offset,
        header.record_count,
        header.base_timestamp,
        header.max_timestamp,
        header.leader_epoch
    );
    if header.producer_id >= 0 {
        text += &format!(
            ", producer {} epoch {} sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        );
    }
    let (transactional, control) = (header.attributes.transactional(), header.attributes.control());
    if transactional {
        text += ", transactional";
    }
    if control {
        text += ", control";
    }
    let value = json!({
        "first_offset": header.base_offset, "last_offset": last_offset, "position": position,
        "bytes": bytes, "records": header.record_count, "codec": codec,
        "base_timestamp": header.base_timestamp, "max_timestamp": header.max_timestamp,
        "leader_epoch": header.leader_epoch, "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch, "base_sequence": header.base_sequence,
        "transactional": transactional, "control": control, "crc": header.crc,
    });
    (text, value)
}

/// Everything in one of the small files, and what is wrong with it.
fn entries(kind: FileKind, base: i64, bytes: &[u8]) -> (Vec<Entry>, Option<Wrong>) {
    match kind {
        FileKind::OffsetIndex => {
            let (entries, wrong) = offset_entries(base, bytes);
            let view = |e: &tidings_inspect::OffsetEntry| {
                let text = format!("offset {} at byte {}", e.last_offset, e.position);
                (text, json!({ "last_offset": e.last_offset, "position": e.position }))
            };
            (entries.iter().map(view).collect(), wrong)
        }
        FileKind::TimeIndex => {
            let (entries, wrong) = time_entries(base, bytes);
            let view = |e: &tidings_inspect::TimeEntry| {
                let text = format!("time {} at offset {}", e.timestamp, e.last_offset);
                (text, json!({ "timestamp": e.timestamp, "last_offset": e.last_offset }))
            };
            (entries.iter().map(view).collect(), wrong)
        }
        FileKind::TransactionIndex => {
            let (entries, wrong) = aborted_entries(bytes);
            (entries.iter().map(aborted_view).collect(), wrong)
        }
        FileKind::Snapshot => all(snapshot_entries(bytes), |e| {
            let text = format!(
                "producer {} epoch {} last sequence {} last offset {} time {}",
                e.producer_id, e.epoch, e.last_sequence, e.last_offset, e.timestamp
            );
            let value = json!({
                "producer_id": e.producer_id, "epoch": e.epoch, "last_sequence": e.last_sequence,
                "last_offset": e.last_offset, "offset_delta": e.offset_delta,
                "timestamp": e.timestamp, "coordinator_epoch": e.coordinator_epoch,
                "transaction_offset": e.transaction_offset,
            });
            (text, value)
        }),
        FileKind::LeaderEpochs => all(leader_epochs(bytes), |&(epoch, offset)| {
            let text = format!("leader epoch {epoch} from offset {offset}");
            (text, json!({ "leader_epoch": epoch, "first_offset": offset }))
        }),
        FileKind::OffsetCheckpoint => {
            all(partition_offsets(bytes), |(topic, partition, offset)| {
                let text = format!("{topic}-{partition} {offset}");
                (text, json!({ "topic": topic, "partition": partition, "offset": offset }))
            })
        }
        _ => all(topic_id(bytes).map(|id| vec![id]), |id| {
            (format!("topic id {id}"), json!({ "topic_id": id }))
        }),
    }
}

fn aborted_view(entry: &tidings_inspect::AbortedEntry) -> Entry {
    let text = format!(
        "producer {} aborted offsets {} to {}, last stable offset {}",
        entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
    );
    let value = json!({
        "producer_id": entry.producer_id, "first_offset": entry.first_offset,
        "last_offset": entry.last_offset, "last_stable_offset": entry.last_stable_offset,
    });
    (text, value)
}

fn all<T>(read: Result<Vec<T>, Wrong>, view: impl Fn(&T) -> Entry) -> (Vec<Entry>, Option<Wrong>) {
    match read {
        Ok(entries) => (entries.iter().map(view).collect(), None),
        Err(wrong) => (Vec::new(), Some(wrong)),
    }
}
