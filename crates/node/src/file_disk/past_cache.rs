//! Long reads and writes that go past the page cache, at any place and from and to anywhere in memory.
//!
//! The kernel wants whole blocks at block boundaries in the file and in memory. What may lie anywhere
//! is read straight to where it stays ([`read_new`]); everything else goes through a buffer of the
//! thread's own. That copy costs less than memory that is new to the kernel, as most of the page cache
//! is: ten times as much where the machine is a virtual one.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use tidings_broker::log::BLOCK_BYTES;

use super::aligned::AlignedBuffer;
use crate::limits::{DIRECT_BYTES, DIRECT_WRITE_BYTES};

thread_local! {
    /// Between the disk and where bytes are wanted, or come from. Kept, because memory that is new to a
    /// process costs more than the copy.
    static BLOCKS: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::zeroed(DIRECT_BYTES));
}

/// Reads from `file`, which reads whole blocks, until `buffer` is full or the file ends.
pub(super) fn read(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    BLOCKS.with_borrow_mut(|blocks| {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let skip = (at % BLOCK_BYTES as u64) as usize;
            let want = (skip + buffer.len() - filled).next_multiple_of(BLOCK_BYTES);
            let want = want.min(blocks.len());
            let got = fill_blocks(file, &mut blocks[..want], at - skip as u64)?;
            let Some(read) = blocks.get(skip..got) else { break };
            let read = &read[..read.len().min(buffer.len() - filled)];
            buffer[filled..filled + read.len()].copy_from_slice(read);
            filled += read.len();
            if got < want {
                break;
            }
        }
        Ok(filled)
    })
}

/// Reads up to `len` bytes from `file`, which reads whole blocks, into memory of their own, and gives
/// all of it to the disk at once: it works on the parts of one long read side by side. Neither zeroing
/// that memory nor copying was much less work than the reading.
pub(super) fn read_new(file: &fs::File, len: usize, offset: u64) -> io::Result<Bytes> {
    let skip = (offset % BLOCK_BYTES as u64) as usize;
    let want = (skip + len).next_multiple_of(BLOCK_BYTES);
    let mut room: Vec<u8> = Vec::with_capacity(want + BLOCK_BYTES - 1);
    let start = room.as_ptr().align_offset(BLOCK_BYTES);
    room.resize(start, 0);
    let mut filled = 0;
    while filled < want && filled.is_multiple_of(BLOCK_BYTES) {
        let at = i64::try_from(offset - skip as u64 + filled as u64).map_err(io::Error::other)?;
        let free = &mut room.spare_capacity_mut()[..want - filled];
        #[expect(unsafe_code, reason = "std reads into memory that has been written only")]
        // SAFETY: the kernel writes at most as many bytes as are free, and as many as it says it did,
        // so that they are initialized; the descriptor is open until then.
        let read = unsafe {
            let read = libc::pread(file.as_raw_fd(), free.as_mut_ptr().cast(), free.len(), at);
            room.set_len(room.len() + usize::try_from(read).unwrap_or(0));
            read
        };
        match usize::try_from(read) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    let all = Bytes::from(room).slice(start..);
    Ok(all.slice(skip.min(filled)..filled.min(skip + len)))
}

/// Ends at the first read that does not end at a block: only a file's end is there.
fn fill_blocks(file: &fs::File, blocks: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < blocks.len() && filled.is_multiple_of(BLOCK_BYTES) {
        match file.read_at(&mut blocks[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes `parts` one after the other. Both files are the same one; what is not a whole block, at the
/// front and at the end, goes to `cached`.
pub(super) fn write(
    cached: &fs::File,
    past_cache: &fs::File,
    parts: &[&[u8]],
    offset: u64,
) -> io::Result<()> {
    BLOCKS.with_borrow_mut(|blocks| {
        let mut bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut parts = Parts { first: &[], rest: parts };
        let mut at = offset;
        while bytes > 0 {
            let over = (at % BLOCK_BYTES as u64) as usize;
            let whole = bytes - bytes % BLOCK_BYTES;
            let (file, len) = match (over, whole) {
                (0, 0) => (cached, bytes),
                (0, _) => (past_cache, whole.min(DIRECT_WRITE_BYTES)),
                _ => (cached, bytes.min(BLOCK_BYTES - over)),
            };
            parts.take(&mut blocks[..len]);
            file.write_all_at(&blocks[..len], at)?;
            at += len as u64;
            bytes -= len;
        }
        Ok(())
    })
}

/// Bytes that lie in several places.
struct Parts<'a> {
    first: &'a [u8],
    rest: &'a [&'a [u8]],
}

impl Parts<'_> {
    /// Fills `buffer`, for which there must be enough left.
    fn take(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            if self.first.is_empty() {
                let Some((first, rest)) = self.rest.split_first() else { return };
                (self.first, self.rest) = (first, rest);
                continue;
            }
            let len = self.first.len().min(buffer.len());
            let (now, later) = self.first.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.first = later;
            buffer = &mut buffer[len..];
        }
    }
}
