//! The files of a data directory by their names, and what the small ones hold.
//!
//! Read here apart from the code that writes and uses them, so that the one checks the other.

use crate::{Disk, Fault, OpenMode, ProducerEntry};

/// Bytes of the largest file that is read in one piece: an index of the largest segment, or the
/// snapshot of as many producers as a partition remembers.
const WHOLE_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    Snapshot,
    /// Kafka's `leader-epoch-checkpoint` of a partition.
    LeaderEpochs,
    /// Kafka's `partition.metadata`.
    PartitionMetadata,
    /// Kafka's `*-offset-checkpoint` of a node: an offset for each partition.
    OffsetCheckpoint,
    /// The node's own checkpoint.
    Checkpoint,
    JournalRing,
    JournalControl,
    /// Bytes that a recovery or a repair took out of the log.
    SetAside,
    Other,
}

const DIGITS: usize = 20;

/// What a file is, with the offset in its name where there is one.
pub fn file_kind(path: &str) -> (FileKind, Option<i64>) {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    match path {
        "checkpoint" => return (FileKind::Checkpoint, None),
        "journal/ring" => return (FileKind::JournalRing, None),
        "journal/control" => return (FileKind::JournalControl, None),
        _ => {}
    }
    match name {
        "leader-epoch-checkpoint" => return (FileKind::LeaderEpochs, None),
        "partition.metadata" => return (FileKind::PartitionMetadata, None),
        "recovery-point-offset-checkpoint"
        | "log-start-offset-checkpoint"
        | "replication-offset-checkpoint" => return (FileKind::OffsetCheckpoint, None),
        _ => {}
    }
    let (digits, rest) = name.split_at_checked(DIGITS).unwrap_or((name, ""));
    let offset = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok());
    let Some(Some(offset)) = offset else { return (FileKind::Other, None) };
    let kind = match rest {
        ".log" => FileKind::Log,
        ".index" => FileKind::OffsetIndex,
        ".timeindex" => FileKind::TimeIndex,
        ".txnindex" => FileKind::TransactionIndex,
        ".snapshot" => FileKind::Snapshot,
        _ if rest.ends_with(".cut") || rest.starts_with(".damaged-") => FileKind::SetAside,
        _ => FileKind::Other,
    };
    (kind, Some(offset))
}

pub(super) fn path(folder: &str, offset: i64, suffix: &str) -> String {
    format!("{folder}/{offset:0DIGITS$}{suffix}")
}

/// All bytes of a file that is small by its nature.
pub(super) fn read_whole(disk: &dyn Disk, path: &str) -> Result<Vec<u8>, Fault> {
    let file = disk.open(path, OpenMode::Existing)?;
    let len = file.len()?.min(WHOLE_FILE_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Why a file is not what its name says: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: u64,
    pub what: String,
}

fn wrong<T>(at: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: at as u64, what: what.into() })
}

/// An entry of an `.index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    pub last_offset: i64,
    pub position: u64,
}

/// An entry of a `.timeindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    pub timestamp: i64,
    pub last_offset: i64,
}

/// An entry of a `.txnindex`: a transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedEntry {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;
const ABORTED_ENTRY_BYTES: usize = 34;
const SNAPSHOT_ENTRIES_AT: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// The entries of an `.index`, in order; the first that cannot follow the one before is told.
pub fn offset_entries(base: i64, bytes: &[u8]) -> (Vec<OffsetEntry>, Option<Wrong>) {
    entries(bytes, OFFSET_ENTRY_BYTES, |mut entry, before: Option<&OffsetEntry>| {
        let relative = i32::from_be_bytes(take(&mut entry)?);
        let position = i32::from_be_bytes(take(&mut entry)?);
        let entry = OffsetEntry {
            last_offset: base.checked_add(i64::from(relative))?,
            position: u64::try_from(position).ok()?,
        };
        let follows = before.is_none_or(|before| {
            entry.last_offset > before.last_offset && entry.position > before.position
        });
        (relative >= 0 && follows).then_some(entry)
    })
}

/// The entries of a `.timeindex`.
pub fn time_entries(base: i64, bytes: &[u8]) -> (Vec<TimeEntry>, Option<Wrong>) {
    entries(bytes, TIME_ENTRY_BYTES, |mut entry, before: Option<&TimeEntry>| {
        let timestamp = i64::from_be_bytes(take(&mut entry)?);
        let relative = i32::from_be_bytes(take(&mut entry)?);
        let entry = TimeEntry { timestamp, last_offset: base.checked_add(i64::from(relative))? };
        let follows = before.is_none_or(|before| {
            entry.timestamp > before.timestamp && entry.last_offset > before.last_offset
        });
        (relative >= 0 && follows).then_some(entry)
    })
}

/// The entries of a `.txnindex`.
pub fn aborted_entries(bytes: &[u8]) -> (Vec<AbortedEntry>, Option<Wrong>) {
    entries(bytes, ABORTED_ENTRY_BYTES, |mut entry, before: Option<&AbortedEntry>| {
        let version = i16::from_be_bytes(take(&mut entry)?);
        let entry = AbortedEntry {
            producer_id: i64::from_be_bytes(take(&mut entry)?),
            first_offset: i64::from_be_bytes(take(&mut entry)?),
            last_offset: i64::from_be_bytes(take(&mut entry)?),
            last_stable_offset: i64::from_be_bytes(take(&mut entry)?),
        };
        let follows = before.is_none_or(|before| entry.last_offset > before.last_offset);
        let sane = version == 0 && entry.first_offset <= entry.last_offset;
        (sane && follows).then_some(entry)
    })
}

/// Entries of one size; those that `read` refuses are left out, and the first of them is told.
fn entries<T>(
    bytes: &[u8],
    entry_bytes: usize,
    read: impl Fn(&[u8], Option<&T>) -> Option<T>,
) -> (Vec<T>, Option<Wrong>) {
    let (mut good, mut first) = (Vec::new(), None);
    let mut found = |at: usize, what: &str| {
        first.get_or_insert(Wrong { at: at as u64, what: what.to_owned() });
    };
    for (number, entry) in bytes.chunks(entry_bytes).enumerate() {
        let at = number * entry_bytes;
        if entry.len() < entry_bytes {
            found(at, "half an entry at the end");
        } else if let Some(entry) = read(entry, good.last()) {
            good.push(entry);
        } else {
            found(at, "an entry that cannot follow the one before");
        }
    }
    (good, first)
}

/// The entries of a producer snapshot.
pub fn snapshot_entries(bytes: &[u8]) -> Result<Vec<ProducerEntry>, Wrong> {
    let mut rest = bytes;
    let head = (|| {
        let version = i16::from_be_bytes(take(&mut rest)?);
        let checksum = u32::from_be_bytes(take(&mut rest)?);
        let covered = rest;
        let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
        Some((version, checksum, covered, count))
    })();
    let Some((version, checksum, covered, count)) = head else {
        return wrong(0, format!("{} bytes are too few for a snapshot", bytes.len()));
    };
    if version != 1 {
        return wrong(0, format!("version {version} of a snapshot"));
    }
    let actual = crc32c::crc32c(covered);
    if actual != checksum {
        return wrong(2, format!("checksum {actual:#010x} does not match {checksum:#010x}"));
    }
    if rest.len() != count.saturating_mul(SNAPSHOT_ENTRY_BYTES) {
        return wrong(SNAPSHOT_ENTRIES_AT, format!("{} bytes for {count} producers", rest.len()));
    }
    let entries = rest.chunks_exact(SNAPSHOT_ENTRY_BYTES).map(producer_entry);
    let all: Option<Vec<ProducerEntry>> = entries.collect();
    all.map_or_else(|| wrong(SNAPSHOT_ENTRIES_AT, "half an entry"), Ok)
}

fn producer_entry(mut entry: &[u8]) -> Option<ProducerEntry> {
    Some(ProducerEntry {
        producer_id: i64::from_be_bytes(take(&mut entry)?),
        epoch: i16::from_be_bytes(take(&mut entry)?),
        last_sequence: i32::from_be_bytes(take(&mut entry)?),
        last_offset: i64::from_be_bytes(take(&mut entry)?),
        offset_delta: i32::from_be_bytes(take(&mut entry)?),
        timestamp: i64::from_be_bytes(take(&mut entry)?),
        coordinator_epoch: i32::from_be_bytes(take(&mut entry)?),
        transaction_offset: Some(i64::from_be_bytes(take(&mut entry)?)).filter(|&at| at >= 0),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

/// The lines of one of Kafka's text checkpoints, split at blanks: `0`, their number, the lines.
/// Each must have `fields` of them, all but the first `names` being numbers.
pub fn checkpoint_lines(
    bytes: &[u8],
    fields: usize,
    names: usize,
) -> Result<Vec<Vec<String>>, Wrong> {
    let Ok(text) = std::str::from_utf8(bytes) else { return wrong(0, "not text") };
    let mut lines = text.split_terminator('\n');
    if lines.next() != Some("0") {
        return wrong(0, "not version 0 of a checkpoint");
    }
    let Some(count) = lines.next().and_then(|said| said.parse::<usize>().ok()) else {
        return wrong(2, "no number of lines");
    };
    let mut rows = Vec::new();
    for line in lines {
        let row: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let numbers = row.iter().skip(names).all(|field| field.parse::<i64>().is_ok());
        if row.len() != fields || !numbers {
            return wrong(0, format!("line {} is {line:?}", rows.len() + 3));
        }
        rows.push(row);
    }
    if rows.len() != count {
        return wrong(2, format!("{} lines where {count} are said", rows.len()));
    }
    Ok(rows)
}

/// Leader epochs with the first offset of each, as `leader-epoch-checkpoint` has them.
pub fn leader_epochs(bytes: &[u8]) -> Result<Vec<(i32, i64)>, Wrong> {
    let rows = checkpoint_lines(bytes, 2, 0)?;
    let epochs: Option<Vec<(i32, i64)>> = rows
        .iter()
        .map(|row| Some((row.first()?.parse().ok()?, row.get(1)?.parse().ok()?)))
        .collect();
    let Some(epochs) = epochs else { return wrong(0, "an epoch that is none") };
    let ordered = epochs.windows(2).all(|pair| match pair {
        [before, after] => before.0 < after.0 && before.1 <= after.1,
        _ => true,
    });
    if ordered { Ok(epochs) } else { wrong(0, "epochs out of order") }
}
