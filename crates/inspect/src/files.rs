//! The files of a data directory by their names, and what the small ones hold.
//!
//! Indexes are read here apart from the code that writes and uses them, so that the one checks the
//! other.

use tidings_log::{Disk, Fault, OpenMode, ProducerEntry, format};

use crate::limits::WHOLE_FILE_BYTES_MAX;
use crate::source::Source;

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
        format::LEADER_EPOCHS_FILE => return (FileKind::LeaderEpochs, None),
        format::METADATA_FILE => return (FileKind::PartitionMetadata, None),
        format::RECOVERY_POINTS_FILE
        | format::START_OFFSETS_FILE
        | format::HIGH_WATERMARKS_FILE => return (FileKind::OffsetCheckpoint, None),
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

pub(crate) fn path(folder: &str, offset: i64, suffix: &str) -> String {
    format!("{folder}/{offset:0DIGITS$}{suffix}")
}

/// All bytes of a file that is small by its nature; blocks that cannot be read are zeros.
pub(crate) fn read_whole(disk: &dyn Disk, path: &str) -> Result<Vec<u8>, Fault> {
    let file = disk.open(path, OpenMode::Existing)?;
    let len = file.len()?.min(WHOLE_FILE_BYTES_MAX);
    let mut source = Source::new(&*file, len);
    Ok(source.bytes(0, usize::try_from(len).unwrap_or(0))?.to_vec())
}

/// Why a file is not what its name says: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: u64,
    pub what: String,
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

impl AbortedEntry {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = 0_i16.to_be_bytes().to_vec();
        let fields =
            [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        bytes.extend(fields.into_iter().flat_map(i64::to_be_bytes));
        bytes
    }
}

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;
const ABORTED_ENTRY_BYTES: usize = 34;

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
    let why = "not a whole snapshot whose checksum holds";
    format::decode_snapshot(bytes).ok_or_else(|| Wrong { at: 0, what: why.to_owned() })
}

/// An offset per topic and partition, as Kafka's `*-offset-checkpoint` files have it.
pub fn partition_offsets(bytes: &[u8]) -> Result<Vec<(String, i32, i64)>, Wrong> {
    let offsets = format::decode_offsets(bytes).map_err(|error| wrong(&error))?;
    Ok(offsets.into_iter().map(|at| (at.topic, at.partition, at.offset)).collect())
}

/// Leader epochs with the first offset of each, as `leader-epoch-checkpoint` has them.
pub fn leader_epochs(bytes: &[u8]) -> Result<Vec<(i32, i64)>, Wrong> {
    format::decode_leader_epochs(bytes).map_err(|error| wrong(&error))
}

/// The topic's id in `partition.metadata`, in Kafka's notation.
pub fn topic_id(bytes: &[u8]) -> Result<String, Wrong> {
    format::decode_metadata(bytes).map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::fmt::Display) -> Wrong {
    Wrong { at: 0, what: error.to_string() }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}
