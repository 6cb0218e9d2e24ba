//! The indexes of aborted transactions: believed when the checkpoint's checksum agrees, else made anew
//! from the batches.

use super::super::flush::take_in;
use super::super::producers::Producers;
use super::super::scan::is_damage;
use super::super::segment::Segment;
use super::super::transactions::{self, ENTRY_BYTES};
use super::{Recovery, copy, names, read_whole};
use crate::{Fault, FaultKind, OpenMode};

impl Recovery {
    /// The index of aborted transactions of every segment. Where one is not what the checkpoint says,
    /// all are made anew from the batches.
    pub(super) fn load_aborted(&mut self) -> Result<(), Fault> {
        if self.keep_all {
            return Ok(());
        }
        let mut sound = true;
        let mut segments = std::mem::take(&mut self.segments);
        for segment in &mut segments {
            let path = names::txn_index(segment.dir(), segment.base_offset);
            let known = self.known.txns.iter().find(|txn| txn.base_offset == segment.base_offset);
            let found = match (known, segment.sealed) {
                (None, false) => continue,
                _ => read_whole(self.handles.disk(), &path, usize::MAX)?.unwrap_or_default(),
            };
            let entries = known.map_or(0, |known| known.entries as usize);
            let len = found.len().min(entries.saturating_mul(ENTRY_BYTES));
            // Of a sealed segment all of the file counts.
            let whole = !segment.sealed || found.len() == len;
            let crc = crc32c::crc32c(&found[..len]);
            let decoded =
                transactions::decode(&found[..len], segment.base_offset, segment.next_offset);
            let same = whole && known.is_none_or(|known| known.crc == crc);
            match decoded.filter(|decoded| same && decoded.len() == entries) {
                Some(aborted) => {
                    (segment.txn_entries, segment.txn_crc) = (aborted.len() as u32, crc);
                    self.aborted.extend(aborted);
                }
                None => sound = false,
            }
        }
        self.segments = segments;
        if sound { Ok(()) } else { self.rebuild_aborted() }
    }

    fn rebuild_aborted(&mut self) -> Result<(), Fault> {
        self.recovered.rebuilt_indexes += 1;
        (self.record_due, self.dir_unsynced) = (true, true);
        self.aborted.clear();
        let mut producers = Producers::default();
        let mut segments = std::mem::take(&mut self.segments);
        for segment in &mut segments {
            let file = segment.open(&self.handles)?;
            let mut scan = segment.scan(&file, &self.epochs);
            let mut found = Vec::new();
            loop {
                match scan.next() {
                    Ok(Some(batch)) => {
                        let bytes = copy(scan.bytes_of(&batch));
                        found.extend(take_in(&mut producers, &batch.header, &bytes));
                    }
                    Ok(None) => break,
                    Err(fault) if is_damage(&fault) => {
                        self.recovered.damaged.push(fault);
                        if !segment.skip_damage(&self.handles, &mut scan)? {
                            break;
                        }
                    }
                    Err(fault) => return Err(fault),
                }
            }
            let bytes = transactions::encode(&found);
            (segment.txn_entries, segment.txn_crc) = (found.len() as u32, crc32c::crc32c(&bytes));
            self.write_txn_index(segment, &bytes)?;
            self.aborted.extend(found);
        }
        self.segments = segments;
        Ok(())
    }

    fn write_txn_index(&mut self, segment: &Segment, bytes: &[u8]) -> Result<(), Fault> {
        let path = names::txn_index(segment.dir(), segment.base_offset);
        let disk = self.handles.disk();
        if bytes.is_empty() {
            return match disk.remove_file(&path) {
                Err(fault) if fault.kind != FaultKind::NotFound => Err(fault),
                _ => Ok(()),
            };
        }
        let file = disk.open(&path, OpenMode::Create)?;
        file.truncate(0)?;
        // A full disk does not keep the log from opening: the next one makes it again.
        match file.write_at(bytes, 0) {
            Err(fault) if fault.kind == FaultKind::NoSpace => return Ok(()),
            written => written?,
        }
        self.unsynced.files.push(file);
        Ok(())
    }
}
