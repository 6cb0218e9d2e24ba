//! The checkpoint: how far each log is in its segments, in one file of the data directory.
//!
//! Everything below a log's recovery offset is durable in segments, so damage there is reported and
//! never cut; everything at or above it is in the journal. The file is written anew each time, as
//! `checkpoint.new`, synced and renamed, so a crash leaves the older or the newer one.
//!
//! Each record has a checksum of its own: a damaged one costs its log a scan, and not the others.
//! `docs/log-format.md` has the layout.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::partition_log::handles::Handles;
use crate::partition_log::segment::{MaxTime, Segment};
use crate::{Disk, Fault, FaultKind, LogKey, OpenMode};

pub(crate) mod claims;

pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
const UNFINISHED_FILE: &str = "checkpoint.new";
const MAGIC: [u8; 4] = *b"TDCP";
const VERSION: u16 = 2;
/// Checksum, magic, version, flags, count, length of the rest.
const HEADER_BYTES: usize = 24;
/// Checksum, length.
const RECORD_HEADER_BYTES: usize = 8;
const SPARSE: u16 = 1;
const HAS_SNAPSHOT: u16 = 2;

/// What the checkpoint says of a segment's index of aborted transactions, which has no checksum of its
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TxnRecord {
    pub(crate) base_offset: i64,
    pub(crate) entries: u32,
    pub(crate) crc: u32,
}

/// What the checkpoint says of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRecord {
    pub(crate) dir: Arc<str>,
    pub(crate) start_offset: i64,
    /// Everything below it is durable in segments.
    pub(crate) recovery_offset: i64,
    /// Compaction has taken batches out of segments.
    pub(crate) sparse: bool,
    /// The segment and the byte in it where the recovery offset is; byte 0 when the next batch begins
    /// a segment.
    pub(crate) segment_base: i64,
    pub(crate) position: u64,
    /// Entries of that segment's indexes.
    pub(crate) offset_entries: u32,
    pub(crate) time_entries: u32,
    pub(crate) txn_entries: u32,
    pub(crate) bytes_since_entry: u32,
    pub(crate) last_time_entry: i64,
    pub(crate) first_timestamp: i64,
    /// Of that segment's batches.
    pub(crate) max_time: MaxTime,
    /// The producer snapshot that holds at the recovery offset; none when there is no producer.
    pub(crate) snapshot_offset: Option<i64>,
    /// Below it the log has been compacted.
    pub(crate) cleaned_to: i64,
    /// By base offset, of the segments that have any.
    pub(crate) txns: Vec<TxnRecord>,
    pub(crate) epochs: Vec<(i32, i64)>,
}

impl LogRecord {
    /// Of a log that begins at `base`, of which nothing is in segments.
    pub(crate) fn nothing(dir: Arc<str>, base: i64) -> Self {
        Self {
            dir,
            start_offset: base,
            recovery_offset: base,
            sparse: false,
            segment_base: base,
            position: 0,
            offset_entries: 0,
            time_entries: 0,
            txn_entries: 0,
            bytes_since_entry: 0,
            last_time_entry: -1,
            first_timestamp: -1,
            max_time: MaxTime::NONE,
            snapshot_offset: None,
            cleaned_to: 0,
            txns: Vec::new(),
            epochs: Vec::new(),
        }
    }

    /// Of a log that goes on at `offset`, in its last segment if that is not sealed.
    pub(crate) fn ending(dir: Arc<str>, offset: i64, last: Option<&Segment>) -> Self {
        let nothing = Self::nothing(dir, offset);
        match last.filter(|last| !last.sealed) {
            None => nothing,
            Some(last) => Self {
                segment_base: last.base_offset,
                position: last.size,
                offset_entries: last.offset_entries,
                time_entries: last.time_entries,
                txn_entries: last.txn_entries,
                bytes_since_entry: u32::try_from(last.bytes_since_entry).unwrap_or(u32::MAX),
                last_time_entry: last.last_time_entry,
                first_timestamp: last.first_timestamp,
                max_time: last.max_time.get().copied().unwrap_or(MaxTime::NONE),
                ..nothing
            },
        }
    }

    /// The segment that holds the recovery offset.
    pub(crate) fn segment(&self, handles: &Handles, dir: &Arc<str>) -> Segment {
        let empty = Segment::empty(handles, dir, self.segment_base);
        Segment {
            next_offset: self.recovery_offset,
            size: self.position,
            sparse: self.sparse,
            offset_entries: self.offset_entries,
            time_entries: self.time_entries,
            txn_entries: self.txn_entries,
            txn_crc: self
                .txns
                .iter()
                .find(|txn| txn.base_offset == self.segment_base)
                .map_or(0, |txn| txn.crc),
            last_time_entry: self.last_time_entry,
            bytes_since_entry: u64::from(self.bytes_since_entry),
            first_timestamp: self.first_timestamp,
            max_time: OnceLock::from(self.max_time),
            ..empty
        }
    }

    fn put(&self, key: LogKey, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        out.extend_from_slice(&key.0);
        let flags = if self.sparse { SPARSE } else { 0 }
            | if self.snapshot_offset.is_some() { HAS_SNAPSHOT } else { 0 };
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&(self.epochs.len() as u16).to_be_bytes());
        for number in [self.start_offset, self.recovery_offset, self.segment_base] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.position.to_be_bytes());
        let counts =
            [self.offset_entries, self.time_entries, self.txn_entries, self.bytes_since_entry];
        for count in counts {
            out.extend_from_slice(&count.to_be_bytes());
        }
        let times = [
            self.last_time_entry,
            self.first_timestamp,
            self.max_time.timestamp,
            self.max_time.last_offset,
            self.snapshot_offset.unwrap_or(-1),
            self.cleaned_to,
        ];
        for number in times {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (epoch, first) in &self.epochs {
            out.extend_from_slice(&epoch.to_be_bytes());
            out.extend_from_slice(&first.to_be_bytes());
        }
        out.extend_from_slice(&(self.txns.len() as u32).to_be_bytes());
        for txn in &self.txns {
            out.extend_from_slice(&txn.base_offset.to_be_bytes());
            out.extend_from_slice(&txn.entries.to_be_bytes());
            out.extend_from_slice(&txn.crc.to_be_bytes());
        }
        out.extend_from_slice(self.dir.as_bytes());
        let len = (out.len() - start) as u32;
        out[start + 4..start + RECORD_HEADER_BYTES].copy_from_slice(&len.to_be_bytes());
        let crc = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_be_bytes());
    }

    fn take(record: &[u8]) -> Option<(LogKey, Self)> {
        let mut fields = Fields { rest: record.get(RECORD_HEADER_BYTES..)? };
        let key = LogKey(fields.array()?);
        let flags = u16::from_be_bytes(fields.array()?);
        let epoch_count = u16::from_be_bytes(fields.array()?);
        let mut found = Self::nothing(Arc::from(""), 0);
        found.sparse = flags & SPARSE != 0;
        found.start_offset = fields.number()?;
        found.recovery_offset = fields.number()?;
        found.segment_base = fields.number()?;
        found.position = u64::from_be_bytes(fields.array()?);
        found.offset_entries = u32::from_be_bytes(fields.array()?);
        found.time_entries = u32::from_be_bytes(fields.array()?);
        found.txn_entries = u32::from_be_bytes(fields.array()?);
        found.bytes_since_entry = u32::from_be_bytes(fields.array()?);
        found.last_time_entry = fields.number()?;
        found.first_timestamp = fields.number()?;
        found.max_time = MaxTime { timestamp: fields.number()?, last_offset: fields.number()? };
        let snapshot_offset = fields.number()?;
        found.snapshot_offset = (flags & HAS_SNAPSHOT != 0).then_some(snapshot_offset);
        found.cleaned_to = fields.number()?;
        for _ in 0..epoch_count {
            found.epochs.push((i32::from_be_bytes(fields.array()?), fields.number()?));
        }
        let txn_count = u32::from_be_bytes(fields.array()?);
        for _ in 0..txn_count {
            found.txns.push(TxnRecord {
                base_offset: fields.number()?,
                entries: u32::from_be_bytes(fields.array()?),
                crc: u32::from_be_bytes(fields.array()?),
            });
        }
        found.dir = Arc::from(std::str::from_utf8(fields.rest).ok()?);
        Some((key, found))
    }
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }
}

/// The checkpoint as it is on disk, or will be with the next one.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) records: BTreeMap<LogKey, LogRecord>,
}

/// What reading the checkpoint found.
#[derive(Debug, Default)]
pub(crate) struct CheckpointFound {
    pub(crate) checkpoint: Checkpoint,
    /// Logs that have no record may have had one.
    pub(crate) lost: bool,
    pub(crate) missing: bool,
    pub(crate) damaged: Option<Fault>,
}

impl Checkpoint {
    /// Without the file nothing was ever checkpointed here, or the file was lost: then everything that
    /// segments hold counts. One of a later version is refused.
    pub(crate) fn read(disk: &dyn Disk) -> Result<CheckpointFound, Fault> {
        let file = match disk.open(CHECKPOINT_FILE, OpenMode::Existing) {
            Err(fault) if fault.kind == FaultKind::NotFound => {
                let nothing = CheckpointFound::default();
                return Ok(CheckpointFound { lost: true, missing: true, ..nothing });
            }
            opened => opened?,
        };
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let fault = |offset: usize, why: String| Fault {
            operation: "read",
            path: CHECKPOINT_FILE.to_owned(),
            offset: Some(offset as u64),
            kind: FaultKind::Corrupt(why),
        };
        // Taken as damage, all that a later program wrote would be scanned and written anew.
        if let Some(version) = header_version(&bytes).filter(|&version| version > VERSION) {
            return Err(fault(0, format!("format version {version} is not known here")));
        }
        let (checkpoint, damaged_at) = Self::decode(&bytes);
        let damaged = damaged_at.map(|at| fault(at, "the checkpoint is damaged".to_owned()));
        let lost = damaged.is_some();
        Ok(CheckpointFound { checkpoint, lost, missing: false, damaged })
    }

    /// Writes the checkpoint; it is durable when this returns without a fault.
    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), Fault> {
        let bytes = self.encode();
        let file = disk.open(UNFINISHED_FILE, OpenMode::Create)?;
        file.truncate(0)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(UNFINISHED_FILE, CHECKPOINT_FILE)?;
        disk.sync_dir("")
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        for (&key, record) in &self.records {
            record.put(key, &mut bytes);
        }
        let rest = (bytes.len() - HEADER_BYTES) as u64;
        bytes[4..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..16].copy_from_slice(&(self.records.len() as u32).to_be_bytes());
        bytes[16..24].copy_from_slice(&rest.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[4..HEADER_BYTES]);
        bytes[..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The records that are whole, and the first byte that cannot be what was written.
    fn decode(bytes: &[u8]) -> (Self, Option<usize>) {
        let mut checkpoint = Self::default();
        let Some(count) = header_count(bytes) else { return (checkpoint, Some(0)) };
        let mut damaged = None;
        let mut at = HEADER_BYTES;
        let mut seen = 0;
        while seen < count {
            let rest = bytes.get(at..).unwrap_or_default();
            let len = rest.get(4..).and_then(<[u8]>::first_chunk).map(|b| u32::from_be_bytes(*b));
            let record = len.and_then(|len| rest.get(..usize::try_from(len).ok()?));
            let Some(record) = record.filter(|record| record.len() > RECORD_HEADER_BYTES) else {
                return (checkpoint, damaged.or(Some(at)));
            };
            let crc = record.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            let whole = crc == Some(crc32c::crc32c(&record[4..]));
            match LogRecord::take(record).filter(|_| whole) {
                Some((key, found)) => {
                    checkpoint.records.insert(key, found);
                }
                None => damaged = damaged.or(Some(at)),
            }
            at += record.len();
            seen += 1;
        }
        let over = (at != bytes.len()).then_some(at);
        (checkpoint, damaged.or(over))
    }
}

/// The format of a file whose header is whole.
fn header_version(bytes: &[u8]) -> Option<u16> {
    let header = bytes.get(..HEADER_BYTES)?;
    let crc = u32::from_be_bytes(*header.first_chunk()?);
    let version = u16::from_be_bytes(*header.get(8..)?.first_chunk()?);
    let sound = crc == crc32c::crc32c(&header[4..]) && header[4..8] == MAGIC;
    sound.then_some(version)
}

fn header_count(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..HEADER_BYTES)?;
    let sound = header_version(bytes) == Some(VERSION);
    let rest = u64::from_be_bytes(*header.get(16..)?.first_chunk()?);
    let whole = usize::try_from(rest).is_ok_and(|rest| bytes.len() - HEADER_BYTES == rest);
    let count = u32::from_be_bytes(*header.get(12..)?.first_chunk()?);
    // A file that was cut still gives its first records.
    (sound && (whole || count > 0)).then_some(count)
}
