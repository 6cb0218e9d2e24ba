//! A file of the [`super::FileDisk`].
//!
//! A file opened as [`OpenMode::Durable`] is written with `O_DSYNC`, and without the page cache
//! (`O_DIRECT`) where the file system can do that. Reads and writes of such a file may come from and
//! go to any place in memory; what is not aligned as the kernel wants it is copied on the way.
//!
//! A long read of another file that is not in the page cache goes past it too, and so does every long
//! write: that takes a fraction of the time, and what is read and written once does not drive
//! everybody else's out of memory.

use std::any::Any;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use tidings_broker::log::{Fault, File, OpenMode};

use super::aligned::{AlignedBuffer, is_aligned};
use super::{fault, page_cache, past_cache};
use crate::limits::{LONG_READ_BYTES, LONG_WRITE_BYTES, WRITE_PARTS_MAX};

/// What the system wants as an offset; larger ones than it knows it refuses.
type SystemOffset = libc::off_t;

#[derive(Debug)]
pub(crate) struct OpenFile {
    file: fs::File,
    path: String,
    /// Reads and writes are whole blocks in length and in both places.
    direct: bool,
    /// The same file past the page cache, from the first need on; none where that cannot be.
    past_cache: OnceLock<Option<fs::File>>,
}

impl OpenFile {
    pub(super) fn open(at: &Path, path: &str, mode: OpenMode) -> io::Result<Self> {
        let mut options = fs::File::options();
        options.read(true).write(true).create(mode != OpenMode::Existing).truncate(false);
        let (file, direct) = match mode {
            OpenMode::Existing | OpenMode::Create => (options.open(at)?, false),
            OpenMode::Durable => match options.custom_flags(DIRECT_FLAGS).open(at) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    (options.custom_flags(libc::O_DSYNC).open(at)?, false)
                }
                file => (file?, true),
            },
        };
        Ok(Self { file, path: path.to_owned(), direct, past_cache: OnceLock::new() })
    }

    /// For system calls on this file, as long as it lives.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Whether the kernel writes `bytes` from where they are.
    pub(crate) fn takes_in_place(&self, bytes: &[u8]) -> bool {
        !self.direct || is_aligned(bytes)
    }

    pub(crate) fn fault(
        &self,
        operation: &'static str,
        offset: Option<u64>,
        error: &io::Error,
    ) -> Fault {
        fault(operation, &self.path, offset, error)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.direct {
            return past_cache::read(&self.file, buffer, offset);
        }
        match self.past_cache_for(buffer.len(), offset) {
            Some(past_cache) => past_cache::read(past_cache, buffer, offset),
            None => fill(&self.file, buffer, offset),
        }
    }

    /// The file that such a read goes to if not to the page cache.
    fn past_cache_for(&self, len: usize, offset: u64) -> Option<&fs::File> {
        let is_long = len >= LONG_READ_BYTES && !page_cache::holds(&self.file, offset, len as u64);
        if is_long { self.past_cache() } else { None }
    }

    fn read_new(&self, len: usize, offset: u64) -> io::Result<Bytes> {
        if let Some(past_cache) = self.past_cache_for(len, offset) {
            return past_cache::read_new(past_cache, len, offset);
        }
        let mut bytes = vec![0; len];
        let read = self.read(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    fn past_cache(&self) -> Option<&fs::File> {
        let open = || {
            // By its descriptor: the file may have another name by now.
            let same = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let mut options = fs::File::options();
            options.read(true).write(true).custom_flags(libc::O_DIRECT).open(same).ok()
        };
        self.past_cache.get_or_init(open).as_ref()
    }

    fn write_parts(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if bytes >= LONG_WRITE_BYTES
            && let Some(past_cache) = self.past_cache()
        {
            return past_cache::write(&self.file, past_cache, parts, offset);
        }
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        // Takes away empty parts at the front, of which a call would write nothing.
        IoSlice::advance_slices(&mut rest, 0);
        let mut at = offset;
        while !rest.is_empty() {
            match write_vectored(&self.file, &rest[..rest.len().min(WRITE_PARTS_MAX)], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    at += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(super) const DIRECT_FLAGS: i32 = libc::O_DIRECT | libc::O_DSYNC;

/// Reads until `buffer` is full or the file ends.
fn fill(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes some of `slices` at `offset`; returns how many bytes.
fn write_vectored(file: &fs::File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let count = i32::try_from(slices.len()).map_err(io::Error::other)?;
    let offset = SystemOffset::try_from(offset).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "std has no vectored write at an offset")]
    // SAFETY: an `IoSlice` is an `iovec`; `slices` has `count` of them and borrows what they point to
    // until the call, which only reads it, has returned; the descriptor is open for as long.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let filled = self.read(buffer, offset);
        filled.map_err(|error| self.fault("read", Some(offset), &error))
    }

    fn read_bytes(&self, len: usize, offset: u64) -> Result<Bytes, Fault> {
        self.read_new(len, offset).map_err(|error| self.fault("read", Some(offset), &error))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let written = if !self.direct {
            self.write_parts(&[bytes], offset)
        } else if is_aligned(bytes) {
            self.file.write_all_at(bytes, offset)
        } else {
            self.file.write_all_at(&AlignedBuffer::holding(bytes), offset)
        };
        written.map_err(|error| self.fault("write", Some(offset), &error))
    }

    fn write_vectored_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Fault> {
        if self.direct {
            return self.write_at(&parts.concat(), offset);
        }
        let written = self.write_parts(parts, offset);
        written.map_err(|error| self.fault("write", Some(offset), &error))
    }

    fn len(&self) -> Result<u64, Fault> {
        let metadata = self.file.metadata().map_err(|error| self.fault("stat", None, &error))?;
        Ok(metadata.len())
    }

    fn truncate(&self, len: u64) -> Result<(), Fault> {
        self.file.set_len(len).map_err(|error| self.fault("truncate", Some(len), &error))
    }

    fn sync(&self) -> Result<(), Fault> {
        self.file.sync_data().map_err(|error| self.fault("sync", None, &error))
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_broker::log::{BLOCK_BYTES, Disk as _};

    use super::*;
    use crate::FileDisk;
    use crate::limits::DIRECT_BYTES;

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    fn open(mode: OpenMode) -> (tempfile::TempDir, Arc<dyn File>) {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path()).unwrap();
        let file = disk.open("a", mode).unwrap();
        (dir, file)
    }

    #[test]
    fn a_durable_file_is_read_from_any_place_to_any_place() {
        let (_dir, file) = open(OpenMode::Durable);
        let len = DIRECT_BYTES + 3 * BLOCK_BYTES;
        let bytes = pattern(len);
        file.write_at(&bytes, 0).unwrap();
        let block = BLOCK_BYTES;
        for (from, want) in [
            (0, len),
            (0, 1),
            (1, 1),
            (block - 1, 2),
            (block + 7, DIRECT_BYTES + 5),
            (len - 1, 1),
            (len - 1, 2 * block),
            (len, 10),
            (len + block, 10),
        ] {
            let mut buffer = vec![0; want + 1];
            // An odd place in memory.
            let read = file.read_at(&mut buffer[1..], from as u64).unwrap();
            let expected = &bytes[from.min(len)..(from + want).min(len)];
            assert_eq!(&buffer[1..1 + read], expected, "{want} bytes at {from}");
        }
    }

    #[test]
    fn a_durable_file_whose_end_is_within_a_block_is_read_to_its_end() {
        let (_dir, file) = open(OpenMode::Durable);
        let bytes = pattern(2 * BLOCK_BYTES);
        file.write_at(&bytes, 0).unwrap();
        file.truncate(5000).unwrap();
        let mut buffer = vec![0; 3 * BLOCK_BYTES];
        assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 4990);
        assert_eq!(buffer[..4990], bytes[10..5000]);
    }

    #[test]
    fn a_long_read_finds_the_same_in_the_page_cache_and_past_it() {
        let (_dir, file) = open(OpenMode::Create);
        let bytes = pattern(LONG_READ_BYTES + 3 * BLOCK_BYTES + 77);
        // Not synced: the page cache alone has it.
        file.write_at(&bytes, 0).unwrap();
        let read = |from: usize, len: usize| {
            let mut buffer = vec![0; len];
            let read = file.read_at(&mut buffer, from as u64).unwrap();
            buffer.truncate(read);
            assert_eq!(file.read_bytes(len, from as u64).unwrap(), buffer);
            buffer
        };
        let here = file.as_any().downcast_ref::<OpenFile>().unwrap();
        let cached = || page_cache::holds(&here.file, 0, LONG_READ_BYTES as u64);
        let check = || {
            for from in [0, 1, BLOCK_BYTES + 5, bytes.len()] {
                let end = bytes.len().min(from + LONG_READ_BYTES);
                assert_eq!(read(from, LONG_READ_BYTES), bytes[from..end]);
            }
        };
        check();
        file.sync().unwrap();
        page_cache::forget(&here.file).unwrap();
        let was_cached = cached();
        check();
        // Where the kernel tells, and forgets: that read has left nothing in the page cache.
        assert_eq!(cached(), was_cached);
    }

    #[test]
    fn a_durable_file_is_written_from_any_place_in_memory() {
        let (_dir, file) = open(OpenMode::Durable);
        let bytes = pattern(2 * BLOCK_BYTES + 1);
        file.write_at(&bytes[1..], 0).unwrap();
        file.write_vectored_at(&[&bytes[..3], &bytes[3..BLOCK_BYTES]], BLOCK_BYTES as u64).unwrap();
        let mut buffer = vec![0; 2 * BLOCK_BYTES];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 2 * BLOCK_BYTES);
        assert_eq!(buffer[..BLOCK_BYTES], bytes[1..=BLOCK_BYTES]);
        assert_eq!(buffer[BLOCK_BYTES..], bytes[..BLOCK_BYTES]);
    }

    #[test]
    fn more_parts_than_a_call_takes_are_written_one_after_another() {
        let (_dir, file) = open(OpenMode::Create);
        let bytes = pattern(5 * WRITE_PARTS_MAX);
        let mut parts: Vec<&[u8]> = bytes.chunks(2).collect();
        parts.insert(0, b"");
        parts.push(b"");
        file.write_vectored_at(&parts, 3).unwrap();
        let mut buffer = vec![0; bytes.len() + 10];
        assert_eq!(file.read_at(&mut buffer, 3).unwrap(), bytes.len());
        assert_eq!(buffer[..bytes.len()], bytes);
        file.write_vectored_at(&[], 0).unwrap();
        assert_eq!(file.len().unwrap(), bytes.len() as u64 + 3);
    }

    #[test]
    fn a_long_write_begins_and_ends_anywhere() {
        let long = 2 * DIRECT_BYTES + 17;
        for (start, parts) in [
            (0, vec![BLOCK_BYTES, long]),
            (5, vec![1, BLOCK_BYTES, long, 0, 3]),
            (BLOCK_BYTES - 1, vec![LONG_WRITE_BYTES]),
            (3 * BLOCK_BYTES, vec![7; LONG_WRITE_BYTES / 7 + 1]),
        ] {
            let (_dir, file) = open(OpenMode::Create);
            let bytes = pattern(start + parts.iter().sum::<usize>());
            let mut rest = &bytes[start..];
            let parts: Vec<&[u8]> =
                parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
            file.write_at(&bytes[..start], 0).unwrap();
            file.write_vectored_at(&parts, start as u64).unwrap();
            let mut buffer = vec![0; bytes.len() + 1];
            assert_eq!(file.read_at(&mut buffer, 0).unwrap(), bytes.len(), "from {start}");
            assert!(buffer[..bytes.len()] == bytes, "from {start}");
        }
    }

    #[test]
    fn an_offset_past_what_the_system_knows_is_a_fault() {
        let (_dir, file) = open(OpenMode::Create);
        let fault = file.write_vectored_at(&[b"a"], u64::MAX).unwrap_err();
        assert_eq!((fault.operation, fault.offset), ("write", Some(u64::MAX)));
    }
}
