//! Makes a damaged partition sound.
//!
//! Per segment, each step durable before the next, so that after a crash the whole can be run again:
//! 1. damaged bytes are copied to `<base>.damaged-<position>`;
//! 2. what can be read is written to `<base>.log.repaired`, batch after batch with its own offsets;
//! 3. that takes the segment's name;
//! 4. its indexes are made anew.
//!
//! Lost offsets get a batch without records, as Kafka's compaction leaves them: readers pass over it, and
//! no offset is given again. An index that no longer fits between steps 3 and 4 only makes look-ups
//! slower: entries are followed when their batch confirms them.

use std::collections::BTreeMap;

use tidings_log::format::{Claims, put_emptied};
use tidings_log::{
    Attributes, Batch, BatchHeader, Disk, EndMarker, Fault, FaultKind, File, LogConfig, OpenMode,
};

use crate::damage::{Damage, DamageKind};
use crate::files::{AbortedEntry, path, read_whole};
use crate::indexes::{Aborted, Transactions};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::partition::{Depth, Inventory, PartitionReport, known, verify};
use crate::source::Source;
use crate::walk::{Piece, UNCOVERED_BYTES, Walk, epoch_at, head_of};

/// Whether to repair, or to say what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plan,
    Apply,
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Damaged bytes are kept in a file beside the segment; these offsets are lost.
    SetAside { path: String, bytes: (u64, u64), offsets: (i64, i64), into: String },
    /// These offsets are lost, and there are no bytes of them.
    Lost { path: String, offsets: (i64, i64) },
    /// A field outside a batch's checksum is put right; nothing is lost.
    Restored { path: String, bytes: (u64, u64), offsets: (i64, i64), what: String },
    /// A derived file is made anew.
    Rebuilt { path: String },
    /// A derived file is removed; the next start makes do without.
    Removed { path: String },
    /// The log goes on in a segment that begins here, so that no offset before it is given again.
    NewSegment { path: String, offset: i64 },
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    pub folder: String,
    pub actions: Vec<Action>,
    /// What the checkpoint must say of the partition from now on; none when that is what it says.
    pub claims: Option<Claims>,
}

impl RepairReport {
    /// Offsets that are lost: first, and one past the last.
    pub fn lost(&self) -> Vec<(i64, i64)> {
        let lost = self.actions.iter().filter_map(|action| match action {
            Action::SetAside { offsets, .. } | Action::Lost { offsets, .. } => Some(*offsets),
            _ => None,
        });
        lost.filter(|(from, to)| from < to).collect()
    }
}

/// Repairs the partition in `folder`, or plans to.
pub fn repair(
    disk: &dyn Disk,
    folder: &str,
    claims: Option<&Claims>,
    mode: Mode,
) -> Result<RepairReport, Fault> {
    let found = verify(disk, folder, claims, Depth::Batches, &mut |_| {})?;
    let mut repair = Repair {
        disk,
        mode,
        inventory: Inventory::take(disk, folder)?,
        claims: claims.cloned(),
        report: RepairReport { folder: folder.to_owned(), ..RepairReport::default() },
        sealed: None,
    };
    if found.damage.iter().any(|damage| damage.kind != DamageKind::Content) {
        repair.all(&found)?;
    }
    if repair.claims.as_ref() != claims {
        repair.report.claims = repair.claims;
    }
    Ok(repair.report)
}

fn is_index(path: &str) -> bool {
    [".index", ".timeindex", ".txnindex"].iter().any(|suffix| path.ends_with(suffix))
}

/// A part of a segment that is written anew.
enum Kept {
    /// A run of its bytes, the head written anew if there is one.
    Bytes { from: u64, to: u64, head: Option<[u8; UNCOVERED_BYTES]> },
    /// A batch without records in the place of these offsets: first, and one past the last.
    Emptied { offsets: (i64, i64), epoch: Option<i32> },
}

/// What of a segment stays and what goes.
#[derive(Default)]
struct Sorted {
    kept: Vec<Kept>,
    aside: Vec<(u64, u64)>,
}

impl Sorted {
    fn keep(&mut self, start: u64, end: u64) {
        match self.kept.last_mut() {
            Some(Kept::Bytes { to, head: None, .. }) if *to == start => *to = end,
            _ => self.kept.push(Kept::Bytes { from: start, to: end, head: None }),
        }
    }

    fn empty(&mut self, offsets: (i64, i64), epoch: Option<i32>) {
        if offsets.0 < offsets.1 {
            self.kept.push(Kept::Emptied { offsets, epoch });
        }
    }
}

struct Repair<'a> {
    disk: &'a dyn Disk,
    mode: Mode,
    inventory: Inventory,
    claims: Option<Claims>,
    report: RepairReport,
    /// The segment that the checkpoint spoke of, and the byte where its claim ended.
    sealed: Option<(i64, u64)>,
}

impl Repair<'_> {
    fn all(&mut self, found: &PartitionReport) -> Result<(), Fault> {
        let mut bases = self.inventory.logs.clone();
        let of_records = |damage: &&Damage| damage.kind == DamageKind::Records;
        let named = found.damage.iter().filter(of_records);
        bases.extend(named.filter_map(|damage| crate::file_kind(&damage.path).1));
        bases.sort_unstable();
        bases.dedup();
        self.seal()?;
        for base in bases {
            let of_file = |suffix: &str| {
                let path = self.path(base, suffix);
                found.damage.iter().filter(move |damage| damage.path == path)
            };
            let is_derived = |damage: &Damage| damage.kind == DamageKind::Derived;
            let log: Vec<&Damage> =
                of_file(".log").filter(|damage| damage.kind != DamageKind::Content).collect();
            let stale = of_file(".index").chain(of_file(".timeindex")).any(is_derived);
            let transactions = of_file(".txnindex").any(is_derived);
            if !log.is_empty() {
                self.segment(base, &log)?;
            }
            if stale || !log.is_empty() {
                self.indexes(base)?;
            }
            if transactions {
                self.transaction_index(base)?;
            }
        }
        for damage in &found.damage {
            if damage.kind == DamageKind::Derived && !is_index(&damage.path) {
                self.remove(&damage.path)?;
            }
        }
        Ok(())
    }

    fn path(&self, base: i64, suffix: &str) -> String {
        path(&self.inventory.folder, base, suffix)
    }

    /// Bytes of a segment that the checkpoint answers for.
    fn claimed(&self, base: i64, len: u64) -> u64 {
        match self.sealed {
            Some((sealed, position)) if sealed == base => len.min(position),
            _ => crate::partition::claimed_bytes(self.claims.as_ref(), base, len),
        }
    }

    /// Writes a segment anew, or one that is missing.
    fn segment(&mut self, base: i64, damage: &[&Damage]) -> Result<(), Fault> {
        let log = self.path(base, ".log");
        if self.inventory.logs.binary_search(&base).is_err() {
            self.inventory.add_log(base);
            if self.mode == Mode::Apply {
                self.disk.create_dir_all(&self.inventory.folder)?;
                self.disk.open(&log, OpenMode::Create)?;
            }
        }
        let file = match self.disk.open(&log, OpenMode::Existing) {
            // It would have been made.
            Err(Fault { kind: FaultKind::NotFound, .. }) if self.mode == Mode::Plan => None,
            opened => Some(opened?),
        };
        let sorted = match &file {
            Some(file) => self.sort(base, &**file, damage)?,
            None => Sorted::default(),
        };
        let without_bytes = damage
            .iter()
            .filter(|damage| damage.kind == DamageKind::Records && !self.sets_aside(damage));
        let lost: Vec<(i64, i64)> = without_bytes.filter_map(|damage| damage.offsets).collect();
        for offsets in lost {
            self.report.actions.push(Action::Lost { path: log.clone(), offsets });
        }
        if let Some(file) = file.filter(|_| self.mode == Mode::Apply) {
            for &(from, to) in &sorted.aside {
                self.set_aside(base, &*file, from, to)?;
            }
            self.rewrite(base, &*file, &sorted)?;
        }
        Ok(())
    }

    fn sets_aside(&self, damage: &Damage) -> bool {
        self.report.actions.iter().any(|action| match action {
            Action::SetAside { path, bytes, .. } => *path == damage.path && *bytes == damage.bytes,
            _ => false,
        })
    }

    /// Decides what of a segment stays, as far as the checkpoint answers for it; lost offsets get a
    /// batch without records.
    fn sort(&mut self, base: i64, file: &dyn File, damage: &[&Damage]) -> Result<Sorted, Fault> {
        let log = self.path(base, ".log");
        let hints = self.inventory.hints(self.disk, base);
        let len = file.len()?;
        let mut source = Source::new(file, self.claimed(base, len));
        let known = known(&self.inventory, self.claims.as_ref(), base, len, &hints);
        let mut walk = Walk::new(&mut source, known);
        let mut sorted = Sorted::default();
        let (mut end, mut epoch) = (base, None);
        let lost = |range: (i64, i64)| damage.iter().any(|damage| damage.offsets == Some(range));
        while let Some(piece) = walk.next()? {
            let (position, bytes) = piece.range();
            let range = (position, position + bytes as u64);
            if let Some(header) = piece.header() {
                if lost((end, header.base_offset)) {
                    sorted.empty((end, header.base_offset), epoch);
                }
                epoch = Some(header.leader_epoch);
                end = header.last_offset().saturating_add(1);
            }
            match piece {
                Piece::Batch { .. } => sorted.keep(range.0, range.1),
                Piece::Restorable { header, what, .. } => {
                    let head = Some(head_of(&header, bytes));
                    sorted.kept.push(Kept::Bytes { from: range.0, to: range.1, head });
                    let offsets = (header.base_offset, end);
                    let (path, bytes) = (log.clone(), range);
                    self.report.actions.push(Action::Restored { path, bytes, offsets, what });
                }
                Piece::Damage { offsets, .. } => {
                    sorted.aside.push(range);
                    sorted.empty(offsets, epoch);
                    end = end.max(offsets.1);
                    let into = self.path(base, &format!(".damaged-{position}"));
                    let (path, bytes) = (log.clone(), range);
                    self.report.actions.push(Action::SetAside { path, bytes, offsets, into });
                }
            }
        }
        let known_end = damage.iter().filter_map(|damage| damage.offsets).map(|(_, to)| to).max();
        sorted.empty((end, known_end.unwrap_or(end)), epoch);
        self.settle_epochs(&mut sorted, epoch);
        Ok(sorted)
    }

    /// Gives the batches without records that have no epoch yet one: what the checkpoint says, else that
    /// of the segment's other batches.
    fn settle_epochs(&self, sorted: &mut Sorted, otherwise: Option<i32>) {
        let known = self.claims.as_ref().map(|claims| &*claims.leader_epochs).unwrap_or_default();
        for kept in &mut sorted.kept {
            if let Kept::Emptied { offsets, epoch } = kept {
                *epoch = epoch_at(known, offsets.0).or(*epoch).or(otherwise);
            }
        }
    }

    fn set_aside(&self, base: i64, file: &dyn File, from: u64, to: u64) -> Result<(), Fault> {
        let unfinished = self.path(base, ".damaged.unfinished");
        let aside = self.disk.open(&unfinished, OpenMode::Create)?;
        aside.truncate(0)?;
        copy(&mut Source::new(file, to), from, to, &*aside, 0)?;
        aside.sync()?;
        let name = self.path(base, &format!(".damaged-{from}"));
        let mut free = name.clone();
        let mut number = 1;
        while self.disk.open(&free, OpenMode::Existing).is_ok() {
            number += 1;
            free = format!("{name}-{number}");
        }
        self.disk.rename(&unfinished, &free)?;
        self.disk.sync_dir(&self.inventory.folder)
    }

    fn rewrite(&self, base: i64, file: &dyn File, sorted: &Sorted) -> Result<(), Fault> {
        let unfinished = self.path(base, ".log.repaired");
        let new = self.disk.open(&unfinished, OpenMode::Create)?;
        new.truncate(0)?;
        let mut written = 0;
        for kept in &sorted.kept {
            match *kept {
                Kept::Bytes { from, to, head } => {
                    copy(&mut Source::new(file, to), from, to, &*new, written)?;
                    if let Some(head) = &head {
                        new.write_at(head, written)?;
                    }
                    written += to - from;
                }
                Kept::Emptied { offsets, epoch } => {
                    let batches = emptied(offsets, epoch.unwrap_or(0));
                    new.write_at(&batches, written)?;
                    written += batches.len() as u64;
                }
            }
        }
        new.sync()?;
        self.disk.rename(&unfinished, &self.path(base, ".log"))?;
        self.disk.sync_dir(&self.inventory.folder)
    }

    /// Makes the offset and the time index of a segment anew.
    fn indexes(&mut self, base: i64) -> Result<(), Fault> {
        for suffix in [".index", ".timeindex"] {
            let path = self.path(base, suffix);
            self.report.actions.push(Action::Rebuilt { path });
        }
        if self.mode == Mode::Plan {
            return Ok(());
        }
        let log = self.disk.open(&self.path(base, ".log"), OpenMode::Existing)?;
        let claimed = self.claimed(base, log.len()?);
        let mut source = Source::new(&*log, claimed);
        let known = known(&self.inventory, self.claims.as_ref(), base, claimed, &[]);
        let mut walk = Walk::new(&mut source, known);
        let mut made = NewIndexes::default();
        while let Some(piece) = walk.next()? {
            if let Piece::Batch { header, position, bytes } = piece {
                made.add(base, &header, position, bytes as u64);
            }
        }
        made.time_entry(base);
        for (suffix, bytes) in [(".index", &made.offsets), (".timeindex", &made.times)] {
            self.write_index(&self.path(base, suffix), bytes)?;
        }
        self.disk.sync_dir(&self.inventory.folder)
    }

    /// Makes the index of aborted transactions of a segment anew: what its batches say, and of the
    /// entries there were those that no batch contradicts.
    fn transaction_index(&mut self, base: i64) -> Result<(), Fault> {
        let path = self.path(base, ".txnindex");
        self.report.actions.push(Action::Rebuilt { path: path.clone() });
        if self.mode == Mode::Plan {
            return Ok(());
        }
        let there = if self.inventory.has(base, ".txnindex") {
            crate::aborted_entries(&read_whole(self.disk, &path)?).0
        } else {
            Vec::new()
        };
        let until = self.inventory.next_base(base).unwrap_or(i64::MAX);
        let in_segment = there.into_iter().filter(|e| (base..until).contains(&e.last_offset));
        let mut entries: BTreeMap<i64, AbortedEntry> =
            in_segment.map(|entry| (entry.last_offset, entry)).collect();
        let mut transactions = Transactions::default();
        let before = self.inventory.logs.partition_point(|&log| log <= base);
        for &log in self.inventory.logs.get(..before).unwrap_or_default() {
            self.batches(log, |header, end| {
                transactions.control(header, end);
                let aborted = transactions.take_in(header);
                if log == base && header.record_count > 0 {
                    settle(&mut entries, header, aborted);
                }
            })?;
        }
        let bytes: Vec<u8> = entries.values().flat_map(AbortedEntry::bytes).collect();
        self.write_index(&path, &bytes)?;
        self.disk.sync_dir(&self.inventory.folder)
    }

    /// Hands every sound batch of a segment to `each`, with how it ends a transaction if it does.
    fn batches(
        &self,
        base: i64,
        mut each: impl FnMut(&BatchHeader, Option<EndMarker>),
    ) -> Result<(), Fault> {
        let log = self.disk.open(&self.path(base, ".log"), OpenMode::Existing)?;
        let len = log.len()?;
        let mut source = Source::new(&*log, self.claimed(base, len));
        let known = known(&self.inventory, self.claims.as_ref(), base, len, &[]);
        let mut walk = Walk::new(&mut source, known);
        while let Some(piece) = walk.next()? {
            let Some(header) = piece.header() else { continue };
            let end = if header.attributes.control() {
                let batch = walk.content(&piece)?.map(Batch::parse);
                batch.and_then(|batch| batch.and_then(|batch| batch.end_marker()).ok().flatten())
            } else {
                None
            };
            each(header, end);
        }
        Ok(())
    }

    fn write_index(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let index = self.disk.open(path, OpenMode::Create)?;
        index.truncate(0)?;
        index.write_at(bytes, 0)?;
        index.sync()
    }

    fn remove(&mut self, path: &str) -> Result<(), Fault> {
        self.report.actions.push(Action::Removed { path: path.to_owned() });
        if self.mode == Mode::Apply {
            self.disk.remove_file(path)?;
            self.disk.sync_dir(&self.inventory.folder)?;
        }
        Ok(())
    }

    /// Ends the segment that the checkpoint speaks of where its claim ends, and has the log go on in a
    /// new one: then nothing that the checkpoint says of bytes and entries has to be true of files that
    /// are written anew. What is past the claim goes to the new segment, for the next start to judge.
    fn seal(&mut self) -> Result<(), Fault> {
        let Some(claims) = &mut self.claims else { return Ok(()) };
        let (base, position, offset) =
            (claims.segment_base, claims.position, claims.recovery_offset);
        if position == 0 || offset <= base {
            return Ok(());
        }
        (claims.segment_base, claims.position) = (offset, 0);
        self.sealed = Some((base, position));
        let is_there = self.inventory.add_log(offset);
        let (from, to) = (self.path(base, ".log"), self.path(offset, ".log"));
        self.report.actions.push(Action::NewSegment { path: to.clone(), offset });
        if self.mode == Mode::Plan {
            return Ok(());
        }
        let old = match self.disk.open(&from, OpenMode::Existing) {
            Err(Fault { kind: FaultKind::NotFound, .. }) => None,
            opened => Some(opened?),
        };
        if !is_there {
            self.disk.create_dir_all(&self.inventory.folder)?;
            let unfinished = self.path(offset, ".log.repaired");
            let next = self.disk.open(&unfinished, OpenMode::Create)?;
            next.truncate(0)?;
            if let Some(old) = &old {
                let len = old.len()?;
                copy(&mut Source::new(&**old, len), position, len, &*next, 0)?;
            }
            next.sync()?;
            self.disk.rename(&unfinished, &to)?;
            self.disk.sync_dir(&self.inventory.folder)?;
        }
        if let Some(old) = old.filter(|old| old.len().is_ok_and(|len| len > position)) {
            old.truncate(position)?;
            old.sync()?;
        }
        Ok(())
    }
}

/// Puts right what the entries say of a batch's transaction.
fn settle(entries: &mut BTreeMap<i64, AbortedEntry>, header: &BatchHeader, aborted: Aborted) {
    let last_offset = header.last_offset();
    entries.retain(|&at, entry| {
        let began_before_the_log =
            aborted == Aborted::Unknown && entry.producer_id == header.producer_id;
        !(header.base_offset..=last_offset).contains(&at)
            || at == last_offset && began_before_the_log
    });
    if let Aborted::Known(entry) = aborted {
        entries.insert(last_offset, entry);
    }
}

/// Batches without records that cover `offsets`: one, if there are not more than fit.
fn emptied((mut first, end): (i64, i64), leader_epoch: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while first < end {
        let delta = i32::try_from(end - first - 1).unwrap_or(i32::MAX);
        let header = BatchHeader {
            base_offset: first,
            batch_length: 0,
            leader_epoch,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: delta,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        put_emptied(&header, &mut bytes);
        first = header.last_offset() + 1;
    }
    bytes
}

/// Copies bytes `from..to` to `at`; what cannot be read becomes zeros.
fn copy(
    source: &mut Source<'_>,
    from: u64,
    to: u64,
    into: &dyn File,
    at: u64,
) -> Result<(), Fault> {
    let mut position = from;
    while position < to {
        let bytes = source.bytes(position, SCAN_CHUNK_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        into.write_at(bytes, at + position - from)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

/// The bytes of a segment's two indexes while they are made, by Kafka's default interval.
#[derive(Default)]
struct NewIndexes {
    offsets: Vec<u8>,
    times: Vec<u8>,
    bytes_since_entry: u64,
    largest: Option<(i64, i64)>,
    last_timestamp: i64,
}

impl NewIndexes {
    fn add(&mut self, base: i64, header: &BatchHeader, position: u64, bytes: u64) {
        let timestamp = header.newest_record_ms();
        if timestamp > self.largest.map_or(-1, |(timestamp, _)| timestamp) {
            self.largest = Some((timestamp, header.last_offset()));
        }
        if self.bytes_since_entry > u64::from(LogConfig::KAFKA.index_interval_bytes)
            && let Ok(relative) = i32::try_from(header.last_offset() - base)
            && let Ok(position) = i32::try_from(position)
        {
            self.offsets.extend_from_slice(&relative.to_be_bytes());
            self.offsets.extend_from_slice(&position.to_be_bytes());
            self.time_entry(base);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += bytes;
    }

    fn time_entry(&mut self, base: i64) {
        let Some((timestamp, last_offset)) = self.largest else { return };
        let is_new = self.times.is_empty() || timestamp > self.last_timestamp;
        if let Ok(relative) = i32::try_from(last_offset - base)
            && is_new
        {
            self.times.extend_from_slice(&timestamp.to_be_bytes());
            self.times.extend_from_slice(&relative.to_be_bytes());
            self.last_timestamp = timestamp;
        }
    }
}
