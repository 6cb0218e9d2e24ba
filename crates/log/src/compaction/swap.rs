//! Puts cleaned segments in place of their sources so that a crash leaves all of one or all of the
//! other, in Kafka's manner and names.
//!
//! 1. The `.cleaned` files are complete and durable.
//! 2. The indexes are renamed to `.swap`; the folder is synced.
//! 3. The `.log` is renamed to `.swap`; the folder is synced. From here on the new segment counts.
//! 4. The indexes are renamed to their final names, over those of the first source, and the files of the
//!    other sources are removed; the folder is synced.
//! 5. The `.log` is renamed to its final name, over the first source's; the folder is synced.
//!
//! So a `.log.swap` says that its indexes are durable as `.swap` or under their final names, and that
//! the segments between its base offset and its last batch are to go. Without one, `.swap` and
//! `.cleaned` files mean nothing. Every step may find itself done already.

use std::collections::BTreeSet;

use super::names::{self, CLEANED, INDEXES, LOG, SWAP};
use super::source::Source;
use crate::partition_log::segment::Segment;
use crate::partition_log::transactions::AbortedTransaction;
use crate::retention::SegmentFacts;
use crate::{Disk, Fault, OpenMode};

/// A group's new segment, complete and durable beside its sources.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// Base offsets of the segments that go, oldest first. Who reads one of them must have its files open
    /// before [`Self::swap`].
    pub(crate) sources: Vec<i64>,
    /// What takes their place.
    pub(crate) segment: Segment,
    /// What is in its `.txnindex`.
    pub(crate) aborted: Vec<AbortedTransaction>,
}

impl Replacement {
    /// Puts the new segment in place of its sources. After a fault it may be called again, and until it
    /// succeeds either may be what the next open finds; the sources' open files stay readable.
    pub(crate) fn swap(&self, disk: &dyn Disk) -> Result<(), Fault> {
        let (base, next) = (self.segment.base_offset, self.segment.next_offset);
        let names = names_in(disk, self.segment.dir())?;
        let has = |file: &str, stage: &str| {
            names.iter().any(|name| names::base_offset(name, file, stage) == Some(base))
        };
        if has(LOG, CLEANED) {
            for file in INDEXES.iter().filter(|file| has(file, CLEANED)) {
                rename(disk, self.segment.dir(), base, file, (CLEANED, SWAP))?;
            }
            disk.sync_dir(self.segment.dir())?;
            rename(disk, self.segment.dir(), base, LOG, (CLEANED, SWAP))?;
        } else if !has(LOG, SWAP) {
            return Ok(());
        }
        disk.sync_dir(self.segment.dir())?;
        complete(disk, self.segment.dir(), base, next)
    }

    /// Removes the new segment's files; the sources stay.
    pub(crate) fn abandon(self, disk: &dyn Disk) -> Result<(), Fault> {
        for name in names_in(disk, self.segment.dir())? {
            if name.ends_with(CLEANED) {
                disk.remove_file(&format!("{}/{name}", self.segment.dir()))?;
            }
        }
        Ok(())
    }
}

/// Completes or takes back what a crash left of compactions in the folder `dir`; to be called before
/// anything else looks at it. A fault of kind [`FaultKind::Corrupt`](crate::FaultKind::Corrupt) means
/// that a new segment whose swap was not complete cannot be read to its end; then nothing was removed.
pub(crate) fn finish_swaps(disk: &dyn Disk, dir: &str) -> Result<(), Fault> {
    let names = names_in(disk, dir)?;
    let swaps = names.iter().filter_map(|name| names::base_offset(name, LOG, SWAP));
    for base_offset in swaps {
        let next_offset = end_of_swap(disk, dir, base_offset)?;
        complete(disk, dir, base_offset, next_offset)?;
    }
    let mut removed = false;
    for name in names_in(disk, dir)? {
        let stale = [LOG].iter().chain(&INDEXES).any(|file| {
            [CLEANED, SWAP].iter().any(|stage| names::base_offset(&name, file, stage).is_some())
        });
        if stale {
            disk.remove_file(&format!("{dir}/{name}"))?;
            removed = true;
        }
    }
    if removed { disk.sync_dir(dir) } else { Ok(()) }
}

/// Steps 4 and 5.
fn complete(disk: &dyn Disk, dir: &str, base: i64, next: i64) -> Result<(), Fault> {
    for name in names_in(disk, dir)? {
        for file in INDEXES {
            if names::base_offset(&name, file, SWAP) == Some(base) {
                rename(disk, dir, base, file, (SWAP, ""))?;
            }
        }
        let source = [LOG].iter().chain(&INDEXES);
        let source = source.filter_map(|file| names::base_offset(&name, file, "")).next();
        if source.is_some_and(|source| base < source && source < next) {
            disk.remove_file(&format!("{dir}/{name}"))?;
        }
    }
    disk.sync_dir(dir)?;
    rename(disk, dir, base, LOG, (SWAP, ""))?;
    disk.sync_dir(dir)
}

/// The offset after the last batch of a `.log.swap`, every batch of which is checked on the way.
fn end_of_swap(disk: &dyn Disk, dir: &str, base_offset: i64) -> Result<i64, Fault> {
    let path = names::path(dir, base_offset, LOG, SWAP);
    let file = disk.open(&path, OpenMode::Existing)?;
    let facts = SegmentFacts {
        base_offset,
        next_offset: i64::MAX,
        bytes: file.len()?,
        offset_index_bytes: 0,
        time_index_bytes: 0,
        first_timestamp: -1,
        max_timestamp: -1,
    };
    let mut source = Source::new(file, &facts, Vec::new());
    let mut next_offset = base_offset;
    while let Some((header, _)) = source.next()? {
        next_offset = header.last_offset() + 1;
    }
    Ok(next_offset)
}

fn rename(
    disk: &dyn Disk,
    dir: &str,
    base: i64,
    file: &str,
    (from, to): (&str, &str),
) -> Result<(), Fault> {
    disk.rename(&names::path(dir, base, file, from), &names::path(dir, base, file, to))
}

fn names_in(disk: &dyn Disk, dir: &str) -> Result<BTreeSet<String>, Fault> {
    let entries = disk.list(dir)?.into_iter();
    Ok(entries.filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
}
