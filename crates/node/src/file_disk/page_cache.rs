//! What the kernel keeps of a file in memory.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// The page size that the kernel counts in; it cannot be smaller, and a larger one only makes more
/// pages be missed than there are.
const PAGE_BYTES: u64 = 4096;

/// `cachestat`'s number, the same on every architecture that Rust's standard library runs on.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of `cachestat(2)`.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat` of `cachestat(2)`.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether all of these bytes are in memory, or the kernel does not say (`cachestat` came with Linux
/// 6.5).
pub(super) fn holds(file: &File, offset: u64, length: u64) -> bool {
    let range = Range { offset, length };
    let mut pages = Pages::default();
    #[expect(unsafe_code, reason = "std has no cachestat")]
    // SAFETY: the descriptor is open, the kernel reads a `cachestat_range` from `range` and fills in a
    // `cachestat` at `pages`; both are of those types and outlive the call.
    let said =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut pages, 0) };
    let wanted = (offset.saturating_add(length)).div_ceil(PAGE_BYTES) - offset / PAGE_BYTES;
    said != 0 || pages.cached >= wanted
}

#[cfg(test)]
/// Takes what is synced of the file out of memory.
pub(super) fn forget(file: &File) -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "std has no posix_fadvise")]
    // SAFETY: the call takes no pointers; the descriptor is open until it has returned.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if error == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(error)) }
}
