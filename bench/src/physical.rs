//! What the file system can do by itself: the limits that the other figures stand beside.
//!
//! Direct writes go into a file whose blocks have been written before, as the journal's ring's have,
//! so that a write changes no metadata. One thread keeps `depth` writes with the kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use io_uring::{IoUring, opcode, squeue, types};

use crate::measured::Measured;

/// Length of the file that direct writes go round in.
const RING_BYTES: usize = 256 << 20;
/// Of one read, and of one write that only fills a file.
const LARGE: usize = 1 << 20;
/// Longer than a file gets.
const ENDLESS: usize = 1 << 40;
/// What direct I/O is a multiple of.
const BLOCK: usize = 4096;

/// Reads or writes of one size, `depth` at once, without the page cache.
struct Overlapped {
    file: File,
    ring: IoUring,
    size: usize,
    depth: usize,
    /// The buffers, and where the first one begins.
    room: Vec<u8>,
    start: usize,
    begun: Vec<Instant>,
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Overlapped {
    fn new(path: &Path, flags: i32, size: usize, depth: usize) -> anyhow::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_DIRECT | flags)
            .open(path)
            .with_context(|| format!("{} takes no direct I/O", path.display()))?;
        let ring = IoUring::new(u32::try_from(depth)?.next_power_of_two())?;
        // Not all the same byte, which a disk might store as nothing.
        let room: Vec<u8> = (0..size * depth + BLOCK).map(|at| (at * 31 % 251) as u8).collect();
        let start = room.as_ptr().align_offset(BLOCK);
        let begun = vec![Instant::now(); depth];
        Ok(Self { file, ring, size, depth, room, start, begun })
    }

    /// Goes from the beginning of the file to `end` over and over until `span` is over, or once.
    fn run(
        mut self,
        direction: Direction,
        end: usize,
        span: Option<Duration>,
    ) -> anyhow::Result<Measured> {
        let places = end / self.size;
        let (mut next, mut out, mut latencies) = (0, 0, Vec::new());
        let start = Instant::now();
        let more = |next: usize| span.map_or(next < places, |span| start.elapsed() < span);
        for slot in 0..self.depth.min(places) {
            self.begin(direction, slot, next % places)?;
            (next, out) = (next + 1, out + 1);
        }
        while out > 0 {
            self.ring.submit_and_wait(1)?;
            let ended: Vec<_> = self.ring.completion().collect();
            for completion in ended {
                let slot = usize::try_from(completion.user_data())?;
                let count = completion.result();
                ensure!(
                    usize::try_from(count) == Ok(self.size),
                    "a transfer came back with {count}"
                );
                latencies.push(self.begun[slot].elapsed());
                out -= 1;
                if more(next) {
                    self.begin(direction, slot, next % places)?;
                    (next, out) = (next + 1, out + 1);
                }
            }
        }
        let bytes = (latencies.len() * self.size) as u64;
        Ok(Measured::of(latencies, bytes, start.elapsed()))
    }

    fn begin(&mut self, direction: Direction, slot: usize, place: usize) -> anyhow::Result<()> {
        let buffer = &mut self.room[self.start + slot * self.size..][..self.size];
        let (file, length) = (types::Fd(self.file.as_raw_fd()), u32::try_from(buffer.len())?);
        let offset = (place * self.size) as u64;
        let request: squeue::Entry = match direction {
            Direction::Read => {
                opcode::Read::new(file, buffer.as_mut_ptr(), length).offset(offset).build()
            }
            Direction::Write => {
                opcode::Write::new(file, buffer.as_ptr(), length).offset(offset).build()
            }
        };
        self.begun[slot] = Instant::now();
        #[expect(unsafe_code, reason = "the kernel reads and writes through the pointer")]
        // SAFETY: the slot's buffer lies in `room`, which is neither moved nor looked at, and the file
        // stays open, until `run` has seen every completion; a fault ends the process.
        unsafe {
            self.ring.submission().push(&request.user_data(slot as u64))?;
        }
        Ok(())
    }
}

/// Makes the file at `path` exactly `RING_BYTES` of blocks that have been written.
pub(crate) fn prepare_ring(path: &Path) -> anyhow::Result<()> {
    Overlapped::new(path, 0, LARGE, 8)?.run(Direction::Write, RING_BYTES, None)?;
    Ok(File::open(path)?.sync_all()?)
}

/// Durable writes of `size` bytes, `depth` at once, into what [`prepare_ring`] made.
pub(crate) fn durable_writes(
    path: &Path,
    size: usize,
    depth: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    Overlapped::new(path, libc::O_DSYNC, size, depth)?.run(Direction::Write, RING_BYTES, Some(span))
}

/// Durable writes of 1 MiB, four at once, into what [`prepare_ring`] made, beside one append of 2 MiB
/// after another to the file at `growing`: what a disk can do that gets everything twice. The bytes are
/// those of either, on average.
pub(crate) fn writes_beside_appends(
    ring: &Path,
    growing: &Path,
    span: Duration,
) -> anyhow::Result<Measured> {
    let append =
        || Overlapped::new(growing, 0, 2 * LARGE, 1)?.run(Direction::Write, ENDLESS, Some(span));
    thread::scope(|scope| {
        let appending = scope.spawn(append);
        let writes = durable_writes(ring, LARGE, 4, span)?;
        let Ok(appends) = appending.join() else { bail!("the appending thread panicked") };
        Ok(Measured { bytes: u64::midpoint(writes.bytes, appends?.bytes), ..writes })
    })
}

/// Reads of 1 MiB past the page cache, `depth` at once, from one end of the file to the other.
pub(crate) fn direct_reads(path: &Path, depth: usize) -> anyhow::Result<Measured> {
    let length = usize::try_from(std::fs::metadata(path)?.len())?;
    Overlapped::new(path, 0, LARGE, depth)?.run(Direction::Read, length, None)
}

/// Takes what is synced of the file out of the page cache.
pub(crate) fn forget(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "std has no posix_fadvise")]
    // SAFETY: the call takes no pointers; the descriptor is open until it has returned.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// A growing file, as a log is: write at its end, `fdatasync`, again.
pub(crate) fn synced_writes(path: &Path, size: usize, span: Duration) -> io::Result<Measured> {
    let file = File::create(path)?;
    let block = vec![0x5a; size];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        file.write_all_at(&block, (latencies.len() * size) as u64)?;
        file.sync_data()?;
        latencies.push(begun.elapsed());
    }
    let bytes = (latencies.len() * size) as u64;
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

/// Reads the file through the page cache in pieces of 1 MiB, once, or over and over for `span`.
pub(crate) fn cached_reads(path: &Path, span: Option<Duration>) -> io::Result<Measured> {
    let file = File::open(path)?;
    let mut buffer = vec![0; LARGE];
    let (mut latencies, mut bytes, mut at) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while span.is_none_or(|span| start.elapsed() < span) {
        let begun = Instant::now();
        let read = file.read_at(&mut buffer, at)? as u64;
        if read == 0 {
            at = 0;
            if span.is_none() {
                break;
            }
            continue;
        }
        latencies.push(begun.elapsed());
        bytes += read;
        at += read;
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}
