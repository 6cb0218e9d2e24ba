//! Bytes and segments past what the checkpoint claims: copies of what the journal has, which go, or all
//! that is left of it, which stays.

use std::sync::Arc;

use super::super::aside;
use super::super::epochs::Epochs;
use super::super::flush::take_in;
use super::super::scan::{Scan, is_damage};
use super::super::segment::{Added, Segment, SegmentWriter};
use super::{FilesFound, Recovery, copy, names, recovery_damage};
use crate::{Fault, FaultKind, OpenMode};

impl Recovery {
    /// Step 3: bytes and segments past what the checkpoint claims.
    pub(super) fn settle_rest(&mut self, files: &FilesFound) -> Result<(), Fault> {
        let claimed = self.known.segment_base;
        let holds = |base: &i64| if self.keep_all { true } else { *base > claimed };
        let mut later: Vec<i64> = files.logs.iter().copied().filter(holds).collect();
        if !self.keep_all && self.known.position == 0 && files.logs.contains(&claimed) {
            later.insert(0, claimed);
        }
        let in_last = match self.segments.last() {
            Some(last) if !last.sealed => {
                let len = last.open(&self.handles)?.len()?;
                len > last.size
            }
            _ => false,
        };
        if later.is_empty() && !in_last {
            return Ok(());
        }
        let trust_journal =
            !self.keep_all && !self.opening.journal_damaged && self.journal.covers(self.end_offset);
        if trust_journal { self.cut_copies(&later) } else { self.take_rest(&later) }
    }

    /// The journal has everything, so what is past the checkpoint is of no use.
    fn cut_copies(&mut self, later: &[i64]) -> Result<(), Fault> {
        for &base_offset in later.iter().rev() {
            self.remove_segment(base_offset)?;
        }
        if let Some(last) = self.segments.last().filter(|last| !last.sealed) {
            let file = self.handles.disk().open(&last.path(), OpenMode::Existing)?;
            if file.len()? > last.size {
                file.truncate(last.size)?;
            }
        }
        Ok(())
    }

    /// What is past the checkpoint becomes part of the log, batch by batch.
    fn take_rest(&mut self, later: &[i64]) -> Result<(), Fault> {
        self.record_due = true;
        self.dir_unsynced = true;
        if self.segments.last().is_some_and(|last| !last.sealed) {
            let last = self.segments.pop().expect("it was just seen");
            if let Some(position) = self.take_segment(last, later.is_empty())? {
                return self.cut(position, later);
            }
        }
        for (number, &base_offset) in later.iter().enumerate() {
            if base_offset != self.end_offset {
                if !(self.keep_all && base_offset > self.end_offset) {
                    return self.cut_later(&later[number..]);
                }
                if !self.known.sparse {
                    let why = format!("offsets {}..{base_offset} are missing", self.end_offset);
                    let path = names::log(self.dir(), base_offset);
                    self.report(recovery_damage(&path, 0, why));
                }
                self.end_offset = base_offset;
            }
            let mut segment = Segment::empty(&self.handles, self.dir(), base_offset);
            segment.sparse = self.known.sparse;
            let is_last = number + 1 == later.len();
            if let Some(position) = self.take_segment(segment, is_last)? {
                return self.cut(position, &later[number + 1..]);
            }
        }
        Ok(())
    }

    /// Takes in the batches of a segment past those it has; returns where the log must be cut.
    fn take_segment(&mut self, segment: Segment, is_last: bool) -> Result<Option<u64>, Fault> {
        let file = self.handles.disk().open(&segment.path(), OpenMode::Existing)?;
        let bytes = file.len()?;
        let new = segment.size == 0;
        let mut whole = segment.clone();
        if new && self.keep_all {
            // Its indexes, sound or not, show ways around damage.
            let (dir, base) = (segment.dir(), segment.base_offset);
            whole = Segment::load(&self.handles, dir, base, i64::MAX)?.0;
            whole.sparse = segment.sparse;
        }
        whole.size = bytes;
        let (from, expected) = (segment.size, self.end_offset.max(segment.base_offset));
        let believed = Epochs::learning();
        let mut scan = Scan::new(&file, from, bytes, expected, &believed).sparse(segment.sparse);
        let mut writer =
            if new { SegmentWriter::create(segment) } else { SegmentWriter::new(segment) };
        let mut cut_at = None;
        let mut lost = false;
        loop {
            match scan.next() {
                Ok(Some(found)) => {
                    writer.segment.size = found.position;
                    writer.add(&Added::of(&found.header, found.bytes), &self.opening.config);
                    let (offset, epoch) = (found.header.base_offset, found.header.leader_epoch);
                    if self.epochs.differs(offset, epoch) {
                        self.epochs.begin(offset, epoch);
                    }
                    let batch = copy(scan.bytes_of(&found));
                    if let Some(aborted) = take_in(&mut self.producers, &found.header, &batch) {
                        writer.add_txn(&aborted);
                        self.aborted.push(aborted);
                    }
                    self.end_offset = found.header.last_offset() + 1;
                }
                Ok(None) => break,
                Err(fault) if is_damage(&fault) => {
                    let at = scan.position();
                    let goes_on = self.keep_all
                        && whole.skip_damage(&self.handles, &mut scan)?
                        && scan.position() < bytes;
                    let known_end = self.known_end(&whole, is_last);
                    if !goes_on && known_end.is_none() {
                        cut_at = Some(at);
                        break;
                    }
                    self.report(fault);
                    if !goes_on {
                        // What there was is lost, and its offsets are not given again.
                        self.end_offset = known_end.unwrap_or(self.end_offset);
                        lost = true;
                        break;
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        let end = cut_at.unwrap_or(bytes);
        writer.segment.size = end;
        if lost || !is_last && cut_at.is_none() {
            writer.seal();
        }
        whole.forget_handles(&self.handles);
        let (mut segment, _) = writer.finish(self.handles.disk(), &mut self.unsynced.files)?;
        segment.next_offset = self.end_offset;
        self.unsynced.files.push(file);
        self.segments.push(segment);
        Ok(cut_at)
    }

    /// How far a segment that cannot be read further has gone, by its indexes and the producer snapshots;
    /// none when they do not know, or the journal knows better.
    fn known_end(&self, segment: &Segment, is_last: bool) -> Option<i64> {
        let journaled = self.journal.batches.last_key_value();
        let in_journal =
            journaled.is_some_and(|(_, (batch, _))| batch.last_offset() >= self.end_offset);
        if !self.keep_all || in_journal {
            return None;
        }
        let indexed = segment.last_indexed_offset(&self.handles).map(|offset| offset + 1);
        if !is_last {
            // The next one says where it begins.
            return Some(self.end_offset.max(indexed.unwrap_or(0)));
        }
        let snapshot = self.found_snapshots.last().copied();
        indexed.max(snapshot).filter(|&end| end > self.end_offset)
    }

    /// Ends the log at `position` of the last segment. A copy is made first if a valid batch would go.
    fn cut(&mut self, position: u64, later: &[i64]) -> Result<(), Fault> {
        let disk = Arc::clone(&self.handles);
        let disk = disk.disk();
        let last = self.segments.last().expect("the segment that is cut");
        let (path, base_offset) = (last.path(), last.base_offset);
        let file = disk.open(&path, OpenMode::Existing)?;
        let mut parts =
            vec![aside::Part { from: position, to: file.len()?, file: Arc::clone(&file) }];
        parts.extend(self.parts(later)?);
        self.put_aside(base_offset, position, &parts)?;
        for &base_offset in later.iter().rev() {
            self.remove_segment(base_offset)?;
        }
        file.truncate(position)?;
        if position == 0 {
            self.segments.pop();
            self.remove_segment(base_offset)?;
        }
        Ok(())
    }

    /// Ends the log before whole segments.
    fn cut_later(&mut self, later: &[i64]) -> Result<(), Fault> {
        let parts = self.parts(later)?;
        if let Some(&first) = later.first() {
            self.put_aside(first, 0, &parts)?;
        }
        for &base_offset in later.iter().rev() {
            self.remove_segment(base_offset)?;
        }
        Ok(())
    }

    fn parts(&self, later: &[i64]) -> Result<Vec<aside::Part>, Fault> {
        let parts = later.iter().map(|&base_offset| {
            let path = names::log(self.dir(), base_offset);
            let file = self.handles.disk().open(&path, OpenMode::Existing)?;
            Ok(aside::Part { from: 0, to: file.len()?, file })
        });
        parts.collect()
    }

    fn put_aside(
        &mut self,
        base_offset: i64,
        position: u64,
        parts: &[aside::Part],
    ) -> Result<(), Fault> {
        let cut_bytes: u64 = parts.iter().map(|part| part.to - part.from).sum();
        if cut_bytes > 0 && (self.keep_all || aside::any_batch(parts, self.end_offset)?) {
            let disk = self.handles.disk();
            let name = aside::keep(disk, self.dir(), base_offset, position, parts)?;
            self.recovered.kept_aside = Some(name);
        }
        self.recovered.cut_bytes += cut_bytes;
        Ok(())
    }

    fn remove_segment(&mut self, base_offset: i64) -> Result<(), Fault> {
        self.dir_unsynced = true;
        let dir = self.dir();
        let derived = [
            names::offset_index(dir, base_offset),
            names::time_index(dir, base_offset),
            names::txn_index(dir, base_offset),
        ];
        for path in derived {
            match self.handles.disk().remove_file(&path) {
                Err(fault) if fault.kind != FaultKind::NotFound => return Err(fault),
                _ => {}
            }
        }
        self.handles.disk().remove_file(&names::log(dir, base_offset))
    }
}
