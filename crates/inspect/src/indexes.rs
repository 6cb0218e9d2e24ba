//! The indexes of a segment against its batches, while it is walked: each entry must be what a batch
//! says.

use std::collections::BTreeMap;

use tidings_log::{BatchHeader, Disk, EndMarker, Ending, Fault, FaultKind};

use crate::damage::{Damage, DamageKind};
use crate::files::{self, AbortedEntry, OffsetEntry, TimeEntry, Wrong, path};
use crate::partition::{Inventory, PartitionReport};

/// The transactions of a log, as its batches tell them.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// First offset of the open one, by producer.
    open: BTreeMap<i64, i64>,
    end: Option<EndMarker>,
}

/// How a batch ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aborted {
    No,
    /// The transaction began in the log.
    Known(AbortedEntry),
    /// It began before it.
    Unknown,
}

impl Transactions {
    /// Says how the control batch that is taken in next ends its transaction.
    pub(crate) fn control(&mut self, header: &BatchHeader, end: Option<EndMarker>) {
        self.end = end.filter(|_| header.attributes.control());
    }

    pub(crate) fn take_in(&mut self, header: &BatchHeader) -> Aborted {
        let end = self.end.take();
        if !header.attributes.control() {
            if header.attributes.transactional() {
                self.open.entry(header.producer_id).or_insert(header.base_offset);
            }
            return Aborted::No;
        }
        let Some(end) = end else { return Aborted::No };
        let first_offset = self.open.remove(&header.producer_id);
        if end.ending != Ending::Abort {
            return Aborted::No;
        }
        let last_offset = header.last_offset();
        let Some(first_offset) = first_offset else { return Aborted::Unknown };
        let oldest_open = self.open.values().min().copied();
        Aborted::Known(AbortedEntry {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            last_stable_offset: oldest_open.unwrap_or(last_offset.saturating_add(1)),
        })
    }
}

/// One index: entries that are passed in the order of the batches.
#[derive(Debug)]
struct Check<E> {
    path: String,
    bytes: u64,
    entry_bytes: u64,
    entries: Vec<E>,
    next: usize,
    wrong: Option<Wrong>,
}

trait Entry: PartialEq {
    const SUFFIX: &'static str;
    const BYTES: u64;
    /// Of the batch that it is about.
    fn last_offset(&self) -> i64;
}

impl Entry for OffsetEntry {
    const SUFFIX: &'static str = ".index";
    const BYTES: u64 = 8;
    fn last_offset(&self) -> i64 {
        self.last_offset
    }
}

impl Entry for TimeEntry {
    const SUFFIX: &'static str = ".timeindex";
    const BYTES: u64 = 12;
    fn last_offset(&self) -> i64 {
        self.last_offset
    }
}

impl Entry for AbortedEntry {
    const SUFFIX: &'static str = ".txnindex";
    const BYTES: u64 = 34;
    fn last_offset(&self) -> i64 {
        self.last_offset
    }
}

impl<E: Entry> Check<E> {
    /// None when there is no such file.
    fn load(
        disk: &dyn Disk,
        inventory: &Inventory,
        base: i64,
        read: impl Fn(&[u8]) -> (Vec<E>, Option<Wrong>),
    ) -> Result<Option<Self>, Fault> {
        if !inventory.has(base, E::SUFFIX) {
            return Ok(None);
        }
        let path = path(&inventory.folder, base, E::SUFFIX);
        let bytes = match files::read_whole(disk, &path) {
            Err(Fault { kind: FaultKind::NotFound, .. }) => return Ok(None),
            read => read?,
        };
        let (entries, wrong) = read(&bytes);
        let bytes = bytes.len() as u64;
        Ok(Some(Self { path, bytes, entry_bytes: E::BYTES, entries, next: 0, wrong }))
    }

    fn unconfirmed(&self) -> Wrong {
        let what = "an entry that no batch confirms".to_owned();
        Wrong { at: self.next as u64 * self.entry_bytes, what }
    }

    /// Passes the entries up to a batch's last offset; the one of the batch itself must be `right`.
    fn confirm(&mut self, last_offset: i64, right: impl Fn(&E) -> bool) {
        while let Some(entry) = self.entries.get(self.next) {
            if entry.last_offset() > last_offset {
                return;
            }
            if entry.last_offset() < last_offset || !right(entry) {
                self.wrong.get_or_insert(self.unconfirmed());
            }
            self.next += 1;
        }
    }

    /// Passes entries whose batches cannot be asked.
    fn pass(&mut self, until: i64) {
        while self.entries.get(self.next).is_some_and(|entry| entry.last_offset() < until) {
            self.next += 1;
        }
    }

    /// Passes entries of batches that are no longer there.
    fn pass_gap(&mut self, from: i64, until: i64) {
        let in_gap = |entry: &E| (from..until).contains(&entry.last_offset());
        while self.entries.get(self.next).is_some_and(in_gap) {
            self.next += 1;
        }
    }

    /// Whether the batch was named by the entry before the next.
    fn has_passed(&self, last_offset: i64) -> bool {
        let before = self.next.checked_sub(1).and_then(|before| self.entries.get(before));
        before.is_some_and(|entry| entry.last_offset() == last_offset)
    }

    /// `may_have_more`: the segment goes on past what was walked.
    fn report(mut self, may_have_more: bool, report: &mut PartitionReport) {
        report.files += 1;
        if self.next < self.entries.len() && !may_have_more {
            self.wrong.get_or_insert(self.unconfirmed());
        }
        report.damage.extend(self.wrong.map(|wrong| Damage {
            kind: DamageKind::Derived,
            path: self.path,
            bytes: (wrong.at, self.bytes),
            offsets: None,
            what: wrong.what,
        }));
    }
}

/// The indexes of a segment.
#[derive(Debug)]
pub(crate) struct Indexes {
    offsets: Option<Check<OffsetEntry>>,
    times: Option<Check<TimeEntry>>,
    aborted: Option<Check<AbortedEntry>>,
    aborted_path: String,
    /// An abort that the `.txnindex` does not have.
    left_out: Option<i64>,
    largest_timestamp: i64,
    /// Damage may have held the largest timestamp.
    uncertain: bool,
}

impl Indexes {
    pub(crate) fn load(disk: &dyn Disk, inventory: &Inventory, base: i64) -> Result<Self, Fault> {
        Ok(Self {
            offsets: Check::load(disk, inventory, base, |b| files::offset_entries(base, b))?,
            times: Check::load(disk, inventory, base, |b| files::time_entries(base, b))?,
            aborted: Check::load(disk, inventory, base, files::aborted_entries)?,
            aborted_path: path(&inventory.folder, base, AbortedEntry::SUFFIX),
            left_out: None,
            largest_timestamp: -1,
            uncertain: false,
        })
    }

    pub(crate) fn batch(&mut self, header: &BatchHeader, position: u64, aborted: Aborted) {
        let last_offset = header.last_offset();
        if let Some(offsets) = &mut self.offsets {
            offsets.confirm(last_offset, |entry| entry.position == position);
        }
        let timestamp = header.newest_record_ms();
        let is_largest = timestamp > self.largest_timestamp || self.uncertain;
        self.largest_timestamp = self.largest_timestamp.max(timestamp);
        if let Some(times) = &mut self.times {
            times.confirm(last_offset, |entry| is_largest && entry.timestamp == timestamp);
        }
        if let Some(index) = &mut self.aborted {
            index.confirm(last_offset, |entry| match aborted {
                Aborted::No => false,
                Aborted::Known(known) => *entry == known,
                Aborted::Unknown => entry.producer_id == header.producer_id,
            });
        }
        let is_there = self.aborted.as_ref().is_some_and(|index| index.has_passed(last_offset));
        if matches!(aborted, Aborted::Known(_)) && !is_there {
            self.left_out.get_or_insert(last_offset);
        }
    }

    /// Passes offsets without batches. The end of a transaction that was lost counts all the same.
    pub(crate) fn gap(&mut self, from: i64, until: i64) {
        self.aborted.iter_mut().for_each(|index| index.pass_gap(from, until));
    }

    /// Passes damage after which offsets from `until` on follow.
    pub(crate) fn damage(&mut self, until: i64) {
        self.uncertain = true;
        self.offsets.iter_mut().for_each(|index| index.pass(until));
        self.times.iter_mut().for_each(|index| index.pass(until));
        self.aborted.iter_mut().for_each(|index| index.pass(until));
    }

    /// The largest offset that the offset and the time index name.
    pub(crate) fn names_up_to(&self) -> Option<i64> {
        let offset = self.offsets.as_ref().and_then(|index| index.entries.last());
        let time = self.times.as_ref().and_then(|index| index.entries.last());
        offset.map(Entry::last_offset).max(time.map(Entry::last_offset))
    }

    pub(crate) fn report(mut self, may_have_more: bool, report: &mut PartitionReport) {
        if let Some(offset) = self.left_out {
            let what = format!("the transaction aborted at offset {offset} is not in it");
            match &mut self.aborted {
                Some(index) => {
                    index.wrong.get_or_insert(Wrong { at: 0, what });
                }
                None => report.damage.push(Damage {
                    kind: DamageKind::Derived,
                    path: self.aborted_path,
                    bytes: (0, 0),
                    offsets: None,
                    what,
                }),
            }
        }
        self.offsets.into_iter().for_each(|index| index.report(may_have_more, report));
        self.times.into_iter().for_each(|index| index.report(may_have_more, report));
        self.aborted.into_iter().for_each(|index| index.report(may_have_more, report));
    }
}
