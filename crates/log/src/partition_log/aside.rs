//! Keeping a copy of bytes that recovery is about to cut.
//!
//! A batch after the damage may have been acknowledged before a disk went bad, so it is not for
//! recovery to destroy. Here, unlike in reads, bytes are searched for batches: whatever a record's
//! value pretends to be, the worst is a copy too many.

use std::sync::Arc;

use super::names;
use crate::limits::{BATCH_BYTES_MAX, SCAN_CHUNK_BYTES};
use crate::{BatchHeader, Disk, Fault, FaultKind, File, HEADER_BYTES, OpenMode, batch};

/// Checksums tried before it is taken for granted that a batch is there.
const CANDIDATES_MAX: usize = 1024;
const MAGIC_AT: usize = 16;

/// A range of a file.
pub(super) struct Part {
    pub(super) file: Arc<dyn File>,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Whether a valid batch with an offset from `min_offset` on begins anywhere in the parts.
pub(super) fn any_batch(parts: &[Part], min_offset: i64) -> Result<bool, Fault> {
    let mut candidates = 0;
    for part in parts {
        let mut chunk = vec![0; SCAN_CHUNK_BYTES];
        let mut at = part.from;
        while at + HEADER_BYTES as u64 <= part.to {
            let read = part.file.read_at(&mut chunk, at)?;
            let held = chunk.get(..read).unwrap_or_default();
            for (start, window) in held.windows(HEADER_BYTES).enumerate() {
                if window[MAGIC_AT] != 2 || !could_be_batch(window, min_offset) {
                    continue;
                }
                candidates += 1;
                if candidates > CANDIDATES_MAX || is_batch(part, at + start as u64, window)? {
                    return Ok(true);
                }
            }
            if read < HEADER_BYTES {
                break;
            }
            at += (read - HEADER_BYTES + 1) as u64;
        }
    }
    Ok(false)
}

fn could_be_batch(window: &[u8], min_offset: i64) -> bool {
    BatchHeader::read(window).is_some_and(|header| {
        header.total_bytes().is_some()
            && header.base_offset >= min_offset
            && header.record_count > 0
            && header.last_offset_delta == header.record_count - 1
    })
}

fn is_batch(part: &Part, position: u64, window: &[u8]) -> Result<bool, Fault> {
    let total = BatchHeader::read(window).and_then(|header| header.total_bytes());
    let Some(total) = total.filter(|&total| position + total as u64 <= part.to) else {
        return Ok(false);
    };
    debug_assert!(total <= BATCH_BYTES_MAX);
    let mut bytes = vec![0; total];
    let read = part.file.read_at(&mut bytes, position)?;
    Ok(bytes.get(..read).is_some_and(|bytes| batch::check_first(bytes).is_ok()))
}

/// Copies the parts, one after another, to a durable file in `dir` and returns its path.
pub(super) fn keep(
    disk: &dyn Disk,
    dir: &str,
    base_offset: i64,
    position: u64,
    parts: &[Part],
) -> Result<String, Fault> {
    let name = format!("{dir}/{base_offset:020}-{position}");
    let unfinished = format!("{name}{}", names::KEPT_ASIDE_UNFINISHED);
    let file = disk.open(&unfinished, OpenMode::Create)?;
    if let Err(fault) = copy(parts, &*file) {
        if fault.kind == FaultKind::NoSpace {
            disk.remove_file(&unfinished)?;
        }
        return Err(fault);
    }
    file.sync()?;
    let mut path = format!("{name}{}", names::KEPT_ASIDE);
    let mut number = 1;
    while disk.open(&path, OpenMode::Existing).is_ok() {
        number += 1;
        path = format!("{name}-{number}{}", names::KEPT_ASIDE);
    }
    disk.rename(&unfinished, &path)?;
    disk.sync_dir(dir)?;
    Ok(path)
}

fn copy(parts: &[Part], to: &dyn File) -> Result<(), Fault> {
    to.truncate(0)?;
    let mut chunk = vec![0; SCAN_CHUNK_BYTES];
    let mut written = 0;
    for part in parts {
        let mut at = part.from;
        while at < part.to {
            let wanted = usize::try_from(part.to - at).unwrap_or(usize::MAX).min(chunk.len());
            let read = part.file.read_at(&mut chunk[..wanted], at)?;
            if read == 0 {
                break;
            }
            to.write_at(&chunk[..read], written)?;
            at += read as u64;
            written += read as u64;
        }
    }
    Ok(())
}
