//! Makes a damaged partition sound.
//!
//! Per segment, each step durable before the next, so that after a crash the whole can be run again:
//! 1. damaged bytes are copied to `<base>.damaged-<position>`;
//! 2. what can be read is written to `<base>.log.repaired`, batch after batch with its own offsets;
//! 3. that takes the segment's name;
//! 4. its indexes are made anew.
//!
//! An index that no longer fits in between only makes look-ups slower: entries are followed when their
//! batch confirms them. Where the end of the log was lost, an empty segment that begins at the first
//! offset never given keeps lost offsets from being given again.

use std::collections::BTreeMap;

use super::damage::{Damage, DamageKind};
use super::files::{AbortedEntry, path, read_whole};
use super::indexes::{Aborted, Transactions};
use super::partition::{Claims, Depth, Inventory, known, verify};
use super::source::Source;
use super::walk::{Piece, UNCOVERED_BYTES, Walk, head_of};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::{Batch, BatchHeader, Disk, EndMarker, Fault, FaultKind, File, LogConfig, OpenMode};

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
        sound_end: None,
        sealed: None,
    };
    let logs = repair.inventory.logs.clone();
    if repair.inventory.logs.is_empty() {
        repair.sound_end = Some(found.start_offset);
    }
    if !found.damage.is_empty() {
        repair.seal()?;
    }
    for base in logs {
        let path = path(folder, base, ".log");
        let damaged = |kinds: &[DamageKind], path: &str| {
            found.damage.iter().any(|d| kinds.contains(&d.kind) && d.path == path)
        };
        if damaged(&[DamageKind::Records, DamageKind::Field], &path) {
            repair.segment(base)?;
        } else {
            let stale = [".index", ".timeindex"].into_iter().any(|suffix| {
                damaged(&[DamageKind::Derived], &super::files::path(folder, base, suffix))
            });
            if stale {
                repair.indexes(base)?;
            }
            if damaged(&[DamageKind::Derived], &super::files::path(folder, base, ".txnindex")) {
                repair.transaction_index(base)?;
            }
        }
    }
    for damage in &found.damage {
        match damage.kind {
            DamageKind::Derived if !is_index(&damage.path) => repair.remove(&damage.path)?,
            DamageKind::Records if !repair.sets_aside(damage) => {
                repair.lost(&damage.path, damage.offsets)?;
            }
            _ => {}
        }
    }
    let end = found.end_offset;
    let lost_its_end = repair.sound_end.is_some_and(|sound| sound < end);
    if lost_its_end && repair.inventory.logs.binary_search(&end).is_err() {
        repair.keep_end(end)?;
    }
    if repair.claims.as_ref() != claims {
        repair.report.claims = repair.claims;
    }
    Ok(repair.report)
}

fn is_index(path: &str) -> bool {
    [".index", ".timeindex", ".txnindex"].iter().any(|suffix| path.ends_with(suffix))
}

/// A run of a segment's bytes that stays, its head written anew if it has one.
struct Kept {
    from: u64,
    to: u64,
    head: Option<[u8; UNCOVERED_BYTES]>,
}

/// What of a segment stays and what goes.
#[derive(Default)]
struct Sorted {
    kept: Vec<Kept>,
    aside: Vec<(u64, u64)>,
}

impl Sorted {
    fn keep(&mut self, from: u64, to: u64) {
        match self.kept.last_mut().filter(|last| last.to == from && last.head.is_none()) {
            Some(last) => last.to = to,
            None if from < to => self.kept.push(Kept { from, to, head: None }),
            None => {}
        }
    }
}

struct Repair<'a> {
    disk: &'a dyn Disk,
    mode: Mode,
    inventory: Inventory,
    claims: Option<Claims>,
    report: RepairReport,
    /// Where the last segment's batches end, when it is not sound.
    sound_end: Option<i64>,
    /// The segment that the checkpoint spoke of, and the byte where its claim ended.
    sealed: Option<(i64, u64)>,
}

impl Repair<'_> {
    fn sets_aside(&self, damage: &Damage) -> bool {
        self.report.actions.iter().any(|action| match action {
            Action::SetAside { path, bytes, .. } => *path == damage.path && *bytes == damage.bytes,
            _ => false,
        })
    }

    fn path(&self, base: i64, suffix: &str) -> String {
        path(&self.inventory.folder, base, suffix)
    }

    /// Bytes of a segment that the checkpoint answers for.
    fn claimed(&self, base: i64, len: u64) -> u64 {
        match self.sealed {
            Some((sealed, position)) if sealed == base => len.min(position),
            _ => super::partition::claimed_bytes(self.claims.as_ref(), base, len),
        }
    }

    fn segment(&mut self, base: i64) -> Result<(), Fault> {
        let log = self.path(base, ".log");
        let file = self.disk.open(&log, OpenMode::Existing)?;
        let sorted = self.sort(base, &*file)?;
        let segment_is_gone = sorted.kept.is_empty() && self.inventory.logs.last() != Some(&base);
        if self.mode == Mode::Apply {
            for &(from, to) in &sorted.aside {
                self.set_aside(base, &*file, from, to)?;
            }
            if segment_is_gone {
                self.remove_segment(base)?;
            } else {
                self.rewrite(base, &*file, &sorted)?;
            }
        }
        if !segment_is_gone {
            self.indexes(base)?;
        }
        Ok(())
    }

    /// Decides what of a segment stays, as far as the checkpoint answers for it.
    fn sort(&mut self, base: i64, file: &dyn File) -> Result<Sorted, Fault> {
        let log = self.path(base, ".log");
        let hints = self.inventory.hints(self.disk, base);
        let len = file.len()?;
        let mut source = Source::new(file, self.claimed(base, len));
        let known = known(&self.inventory, self.claims.as_ref(), base, len, &hints);
        let mut walk = Walk::new(&mut source, known);
        let mut sorted = Sorted::default();
        let mut end = base;
        while let Some(piece) = walk.next()? {
            end = piece.header().map_or(end, |header| header.last_offset().saturating_add(1));
            match piece {
                Piece::Batch { position, bytes, .. } => {
                    sorted.keep(position, position + bytes as u64);
                }
                Piece::Restorable { header, position, bytes, what } => {
                    let to = position + bytes as u64;
                    let head = Some(head_of(&header, bytes));
                    sorted.kept.push(Kept { from: position, to, head });
                    let offsets = (header.base_offset, header.last_offset() + 1);
                    let (path, bytes) = (log.clone(), (position, to));
                    self.report.actions.push(Action::Restored { path, bytes, offsets, what });
                }
                Piece::Damage { from, to, offsets, .. } => {
                    sorted.aside.push((from, to));
                    let into = self.path(base, &format!(".damaged-{from}"));
                    let (path, bytes) = (log.clone(), (from, to));
                    self.report.actions.push(Action::SetAside { path, bytes, offsets, into });
                }
            }
        }
        if self.inventory.logs.last() == Some(&base) && self.claims.is_none() {
            self.sound_end = Some(end);
        }
        Ok(sorted)
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
            copy(&mut Source::new(file, kept.to), kept.from, kept.to, &*new, written)?;
            if let Some(head) = &kept.head {
                new.write_at(head, written)?;
            }
            written += kept.to - kept.from;
        }
        new.sync()?;
        self.disk.rename(&unfinished, &self.path(base, ".log"))?;
        self.disk.sync_dir(&self.inventory.folder)
    }

    fn remove_segment(&self, base: i64) -> Result<(), Fault> {
        for suffix in [".index", ".timeindex", ".txnindex", ".log"] {
            if self.inventory.has(base, suffix) {
                self.disk.remove_file(&self.path(base, suffix))?;
            }
        }
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
            super::aborted_entries(&read_whole(self.disk, &path)?).0
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
                if log == base {
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

    /// Records of which there are no bytes; indexes that have lost their segment go.
    fn lost(&mut self, path: &str, offsets: Option<(i64, i64)>) -> Result<(), Fault> {
        let offsets = offsets.unwrap_or_default();
        self.report.actions.push(Action::Lost { path: path.to_owned(), offsets });
        let Some(base) = super::file_kind(path).1 else { return Ok(()) };
        if self.inventory.logs.binary_search(&base).is_err() {
            for suffix in [".index", ".timeindex", ".txnindex"] {
                if self.inventory.has(base, suffix) {
                    self.remove(&self.path(base, suffix))?;
                }
            }
        }
        Ok(())
    }

    fn keep_end(&mut self, offset: i64) -> Result<(), Fault> {
        let path = self.path(offset, ".log");
        self.report.actions.push(Action::NewSegment { path: path.clone(), offset });
        if self.mode == Mode::Apply {
            self.disk.open(&path, OpenMode::Create)?.sync()?;
            self.disk.sync_dir(&self.inventory.folder)?;
        }
        Ok(())
    }

    /// Ends the segment that the checkpoint speaks of where its claim ends, and has the log go on in a
    /// new one: then nothing that the checkpoint says of bytes and entries has to be true of files that
    /// are written anew. What is past the claim goes to the new segment, for the next start to judge.
    fn seal(&mut self) -> Result<(), Fault> {
        let Some(claims) = &mut self.claims else { return Ok(()) };
        claims.sparse = true;
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
        if header.max_timestamp > self.largest.map_or(-1, |(timestamp, _)| timestamp) {
            self.largest = Some((header.max_timestamp, header.last_offset()));
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
