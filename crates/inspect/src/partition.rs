//! Verifies one partition: every segment batch by batch, and every other file against it.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidings_log::format::Claims;
use tidings_log::{Batch, BatchHeader, Disk, EndMarker, Fault, FaultKind, OpenMode};

use crate::damage::{Damage, DamageKind};
use crate::files::{self, FileKind, Wrong, path};
use crate::indexes::{Indexes, Transactions};
use crate::source::Source;
use crate::walk::{Known, Walk};

/// How closely [`verify`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every byte, by the checksums.
    Batches,
    /// Every record is decompressed and decoded as well.
    Records,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionReport {
    pub folder: String,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    /// Of all segments.
    pub bytes: u64,
    /// Files that were looked at.
    pub files: u64,
    pub start_offset: i64,
    /// One past the last offset.
    pub end_offset: i64,
    /// Offsets that no batch covers, where there is no damage either: compaction or a repair took
    /// them. First, and one past the last.
    pub gaps: Vec<(i64, i64)>,
    /// Bytes that the journal has as well, or that were never acknowledged.
    pub unclaimed_bytes: u64,
    /// Files that a recovery or a repair set aside, and files that are not the log's.
    pub others: Vec<String>,
    pub damage: Vec<Damage>,
}

fn span(header: &BatchHeader) -> i64 {
    i64::from(header.last_offset_delta) + 1
}

/// The folders of `disk` that hold a partition: a name, a hyphen and a number.
pub fn partition_folders(disk: &dyn Disk) -> Result<Vec<String>, Fault> {
    let is_partition = |name: &str| {
        name.rsplit_once('-').is_some_and(|(topic, number)| {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            !topic.is_empty() && digits
        })
    };
    let entries = disk.list("")?.into_iter();
    Ok(entries.filter(|e| e.is_dir && is_partition(&e.name)).map(|e| e.name).collect())
}

/// Verifies the partition in `folder`. `progress` is told of bytes that have been walked.
///
/// A file that goes while this runs was removed by the node, and is passed over.
pub fn verify(
    disk: &dyn Disk,
    folder: &str,
    claims: Option<&Claims>,
    depth: Depth,
    progress: &mut dyn FnMut(u64),
) -> Result<PartitionReport, Fault> {
    let inventory = Inventory::take(disk, folder)?;
    let report = PartitionReport {
        folder: folder.to_owned(),
        segments: inventory.logs.len() as u64,
        others: inventory.others.clone(),
        ..PartitionReport::default()
    };
    let mut verifier = Verifier {
        disk,
        claims,
        depth,
        inventory,
        report,
        transactions: Transactions::default(),
        progress,
    };
    verifier.segments()?;
    verifier.small_files()?;
    verifier.missing_end();
    verifier.gaps();
    Ok(verifier.report)
}

/// A partition's files by what they are.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) folder: String,
    /// Base offsets of the segments, ascending.
    pub(crate) logs: Vec<i64>,
    names: BTreeSet<String>,
    pub(crate) snapshots: Vec<i64>,
    others: Vec<String>,
}

impl Inventory {
    pub(crate) fn take(disk: &dyn Disk, folder: &str) -> Result<Self, Fault> {
        let mut inventory = Self { folder: folder.to_owned(), ..Self::default() };
        let entries = match disk.list(folder) {
            Err(Fault { kind: FaultKind::NotFound, .. }) => Vec::new(),
            listed => listed?,
        };
        for entry in entries {
            match files::file_kind(&entry.name) {
                (FileKind::Log, Some(base)) => inventory.logs.push(base),
                (FileKind::Snapshot, Some(offset)) => inventory.snapshots.push(offset),
                (FileKind::SetAside | FileKind::Other, _) => {
                    inventory.others.push(format!("{folder}/{}", entry.name));
                }
                _ => {}
            }
            inventory.names.insert(entry.name);
        }
        inventory.logs.sort_unstable();
        inventory.snapshots.sort_unstable();
        Ok(inventory)
    }

    pub(crate) fn has(&self, base: i64, suffix: &str) -> bool {
        let path = path(&self.folder, base, suffix);
        path.rsplit_once('/').is_some_and(|(_, name)| self.names.contains(name))
    }

    /// Base offsets that files of this kind have and no segment does.
    pub(crate) fn without_log(&self, suffix: &str) -> Vec<i64> {
        let bases = self.names.iter().filter(|name| name.ends_with(suffix));
        bases
            .filter_map(|name| files::file_kind(name).1)
            .filter(|base| self.logs.binary_search(base).is_err())
            .collect()
    }

    /// Counts a segment in; tells whether it was there.
    pub(crate) fn add_log(&mut self, base: i64) -> bool {
        match self.logs.binary_search(&base) {
            Ok(_) => true,
            Err(at) => {
                self.logs.insert(at, base);
                false
            }
        }
    }

    /// What is below the base of the segment after this one.
    pub(crate) fn next_base(&self, base: i64) -> Option<i64> {
        let after = self.logs.partition_point(|&other| other <= base);
        self.logs.get(after).copied()
    }

    /// Positions of batches by their last offsets, as the index of a segment has them: hints that a
    /// walk confirms before it follows them.
    pub(crate) fn hints(&self, disk: &dyn Disk, base: i64) -> Vec<(i64, u64)> {
        let bytes = files::read_whole(disk, &path(&self.folder, base, ".index"));
        let Ok(bytes) = bytes else { return Vec::new() };
        let mut hints: Vec<(i64, u64)> = bytes
            .chunks_exact(8)
            .flat_map(|entry| files::offset_entries(base, entry).0)
            .map(|entry| (entry.last_offset, entry.position))
            .collect();
        hints.sort_unstable_by_key(|&(_, position)| position);
        hints.dedup_by_key(|&mut (_, position)| position);
        hints
    }
}

/// What is known of a segment before it is walked.
pub(crate) fn known<'a>(
    inventory: &Inventory,
    claims: Option<&'a Claims>,
    base_offset: i64,
    bytes: u64,
    index: &'a [(i64, u64)],
) -> Known<'a> {
    let claimed_end =
        claims.filter(|claims| base_offset == claims.segment_base && bytes <= claims.position);
    let until =
        inventory.next_base(base_offset).or(claimed_end.map(|claims| claims.recovery_offset));
    let epochs = claims.filter(|claims| !claims.leader_epochs.is_empty());
    Known { base_offset, until, index, epochs: epochs.map(|claims| &*claims.leader_epochs) }
}

/// Bytes of a segment that the checkpoint answers for.
pub(crate) fn claimed_bytes(claims: Option<&Claims>, base: i64, bytes: u64) -> u64 {
    match claims {
        Some(claims) if base == claims.segment_base => bytes.min(claims.position),
        Some(claims) if base > claims.segment_base => 0,
        _ => bytes,
    }
}

struct Verifier<'a> {
    disk: &'a dyn Disk,
    claims: Option<&'a Claims>,
    depth: Depth,
    inventory: Inventory,
    report: PartitionReport,
    transactions: Transactions,
    progress: &'a mut dyn FnMut(u64),
}

impl Verifier<'_> {
    fn segments(&mut self) -> Result<(), Fault> {
        let claims = self.claims;
        let first = self.inventory.logs.first().copied();
        let start = claims.map(|claims| claims.start_offset).or(first).unwrap_or(0);
        self.report.start_offset = start;
        self.report.end_offset = start;
        for base in self.inventory.logs.clone() {
            let end = self.report.end_offset;
            let said = self.report.damage.iter().any(|damage| damage.offsets == Some((end, base)));
            if base > end && !said {
                self.report.gaps.push((end, base));
            }
            match self.segment(base) {
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Offsets at the end that were there once.
    fn missing_end(&mut self) {
        let end = self.report.end_offset;
        let known = match (self.claims, self.inventory.snapshots.last()) {
            (Some(claims), _) => claims.recovery_offset,
            (None, Some(&offset)) => offset,
            (None, None) => end,
        };
        self.report.end_offset = known.max(end);
        self.lost_segments();
        if known <= end {
            return;
        }
        let said = self
            .report
            .damage
            .iter()
            .any(|damage| damage.offsets.is_some_and(|(from, to)| from <= end && to >= known));
        if !said {
            let base = self.inventory.logs.last().copied().unwrap_or(end);
            let path = path(&self.inventory.folder, base, ".log");
            let (bytes, what) = ((0, 0), format!("offsets {end}..{known} are missing at its end"));
            let kind = DamageKind::Records;
            self.report.damage.push(Damage {
                kind,
                path,
                bytes,
                offsets: Some((end, known)),
                what,
            });
        }
    }

    fn segment(&mut self, base: i64) -> Result<(), Fault> {
        let log = path(&self.inventory.folder, base, ".log");
        let file = self.disk.open(&log, OpenMode::Existing)?;
        let len = file.len()?;
        let claimed = claimed_bytes(self.claims, base, len);
        let hints = self.inventory.hints(self.disk, base);
        let known = known(&self.inventory, self.claims, base, len, &hints);
        let mut source = Source::new(&*file, claimed);
        let mut walk = Walk::new(&mut source, known);
        let mut indexes = Indexes::load(self.disk, &self.inventory, base)?;
        self.report.files += 1;
        self.report.bytes += len;
        self.report.unclaimed_bytes += len - claimed;
        let mut expected = base;
        while let Some(piece) = walk.next()? {
            let (position, bytes) = piece.range();
            if let Some(header) = piece.header() {
                self.batch(header, expected);
                if self.depth == Depth::Records || header.attributes.control() {
                    let content = walk.content(&piece)?.unwrap_or_default();
                    let end = self.content(&log, position, content);
                    self.transactions.control(header, end);
                }
                let completed = self.transactions.take_in(header);
                // A batch without records stands for what is no longer there.
                let emptied = i64::from(header.record_count == 0);
                indexes.gap(expected, header.base_offset + emptied * span(header));
                indexes.batch(header, position, completed);
            } else {
                indexes.damage(walk.expected());
            }
            self.report.damage.extend(piece.damage(&log));
            (self.progress)(bytes as u64);
            expected = walk.expected();
        }
        self.report.end_offset = self.report.end_offset.max(expected);
        self.missing_bytes(&log, base, claimed, expected);
        self.missing_batches(&log, claimed, expected, indexes.names_up_to(), known.until);
        indexes.gap(expected, known.until.unwrap_or(i64::MAX));
        indexes.report(claimed < len, &mut self.report);
        Ok(())
    }

    fn batch(&mut self, header: &BatchHeader, expected: i64) {
        let report = &mut self.report;
        if header.base_offset > expected.max(report.start_offset) {
            report.gaps.push((expected, header.base_offset));
        }
        report.batches += 1;
        report.records += u64::try_from(header.record_count).unwrap_or(0);
    }

    /// Decodes a batch's records; how it ends a transaction, if it does.
    fn content(&mut self, log: &str, position: u64, bytes: Bytes) -> Option<EndMarker> {
        let len = bytes.len() as u64;
        let batch = Batch::parse(bytes).ok()?;
        let decoded = match self.depth {
            Depth::Records => batch.records().map(|_| ()),
            Depth::Batches => Ok(()),
        };
        let decoded = decoded.and_then(|()| batch.end_marker());
        match decoded {
            Ok(end) => end,
            Err(error) => {
                self.report.damage.push(Damage {
                    kind: DamageKind::Content,
                    path: log.to_owned(),
                    bytes: (position, position + len),
                    offsets: Some((batch.header().base_offset, batch.last_offset() + 1)),
                    what: error.to_string(),
                });
                None
            }
        }
    }

    /// Bytes that the checkpoint answers for and the segment does not have.
    fn missing_bytes(&mut self, log: &str, base: i64, bytes: u64, expected: i64) {
        let Some(claims) = self.claims.filter(|claims| claims.segment_base == base) else { return };
        if bytes < claims.position {
            self.report.damage.push(Damage {
                kind: DamageKind::Records,
                path: log.to_owned(),
                bytes: (bytes, claims.position),
                offsets: Some((expected, claims.recovery_offset)).filter(|(from, to)| from < to),
                what: format!("the file ends before byte {}", claims.position),
            });
        }
    }

    /// Batches at the end of a sealed segment that its indexes name.
    fn missing_batches(
        &mut self,
        log: &str,
        bytes: u64,
        expected: i64,
        named: Option<i64>,
        until: Option<i64>,
    ) {
        let Some(until) = until.filter(|&until| expected < until) else { return };
        if !named.is_some_and(|named| (expected..until).contains(&named)) {
            return;
        }
        let damage = Damage {
            kind: DamageKind::Records,
            path: log.to_owned(),
            bytes: (bytes, bytes),
            offsets: Some((expected, until)),
            what: "the file ends before batches that its indexes name".to_owned(),
        };
        // The checkpoint may have said it already.
        if !self
            .report
            .damage
            .iter()
            .any(|known| known.path == log && known.offsets == damage.offsets)
        {
            self.report.damage.push(damage);
        }
    }

    /// Files of segments that are not there themselves.
    fn lost_segments(&mut self) {
        let mut lost: BTreeSet<i64> = BTreeSet::new();
        for suffix in [".index", ".timeindex", ".txnindex"] {
            lost.extend(self.inventory.without_log(suffix));
        }
        let claimed = self.claims.filter(|claims| {
            claims.position > 0 && self.inventory.logs.binary_search(&claims.segment_base).is_err()
        });
        lost.extend(claimed.map(|claims| claims.segment_base));
        for base in lost {
            let until = self.inventory.next_base(base).unwrap_or(self.report.end_offset);
            self.report.gaps.retain(|&(from, to)| from != base || to != until);
            self.report.damage.push(Damage {
                kind: DamageKind::Records,
                path: path(&self.inventory.folder, base, ".log"),
                bytes: (0, 0),
                offsets: Some((base, until)),
                what: "the file is missing".to_owned(),
            });
        }
    }

    /// Offsets that no batch covers are damage where nothing took batches out.
    fn gaps(&mut self) {
        if self.claims.is_none_or(|claims| claims.sparse) {
            return;
        }
        for (from, to) in std::mem::take(&mut self.report.gaps) {
            let before = self.inventory.logs.partition_point(|&base| base <= from);
            let base = before.checked_sub(1).and_then(|before| self.inventory.logs.get(before));
            self.report.damage.push(Damage {
                kind: DamageKind::Records,
                path: path(&self.inventory.folder, base.copied().unwrap_or(from), ".log"),
                bytes: (0, 0),
                offsets: Some((from, to)),
                what: "no batch has these offsets".to_owned(),
            });
        }
    }

    fn small_files(&mut self) -> Result<(), Fault> {
        for offset in self.inventory.snapshots.clone() {
            let path = path(&self.inventory.folder, offset, ".snapshot");
            self.small_file(&path, |bytes| files::snapshot_entries(bytes).err())?;
        }
        let in_folder = |name: &str| format!("{}/{name}", self.inventory.folder);
        let epochs = in_folder("leader-epoch-checkpoint");
        let metadata = in_folder("partition.metadata");
        let names = &self.inventory.names;
        let has_epochs = names.contains("leader-epoch-checkpoint");
        let has_metadata = names.contains("partition.metadata");
        if has_epochs {
            self.small_file(&epochs, |bytes| files::leader_epochs(bytes).err())?;
        }
        if has_metadata {
            self.small_file(&metadata, |bytes| files::topic_id(bytes).err())?;
        }
        Ok(())
    }

    fn small_file(
        &mut self,
        path: &str,
        check: impl Fn(&[u8]) -> Option<Wrong>,
    ) -> Result<(), Fault> {
        let bytes = match files::read_whole(self.disk, path) {
            Err(Fault { kind: FaultKind::NotFound, .. }) => return Ok(()),
            read => read?,
        };
        self.report.files += 1;
        self.report.damage.extend(check(&bytes).map(|wrong| derived(path, &bytes, wrong)));
        Ok(())
    }
}

fn derived(path: &str, bytes: &[u8], wrong: Wrong) -> Damage {
    Damage {
        kind: DamageKind::Derived,
        path: path.to_owned(),
        bytes: (wrong.at, bytes.len() as u64),
        offsets: None,
        what: wrong.what,
    }
}
