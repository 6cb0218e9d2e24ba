//! Limits of the node, with what each protects.

/// Bytes of produce requests that may be unanswered at once; further callers wait. A single larger
/// request takes the whole allowance.
pub const PRODUCE_BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;
/// Bytes of fetched batches that callers may hold; past it segments are not read until some are let
/// go of. What is still in memory is given all the same.
pub const FETCHED_BYTES_HELD_MAX: usize = 768 * 1024 * 1024;
/// Milliseconds until it is looked again whether fetched bytes have been let go of.
pub const FETCHED_LOOK_MS: u64 = 20;
/// Requests that may be unanswered at once, parked fetches included; further callers wait.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 65_536;
/// Messages that the shard's thread takes before it hands out answers, so that a flood of requests
/// cannot hold back the answers of the first ones.
pub const WORK_PER_TURN_MAX: usize = 1024;
/// Threads that read what is no longer in memory.
pub const COLD_READERS: usize = 2;
/// Parts of a vectored write that the kernel takes in one call (`IOV_MAX`).
pub const WRITE_PARTS_MAX: usize = 1024;
/// Bytes of one read past the page cache; a longer one is several. Each thread that reads or writes so
/// keeps a buffer of this size.
pub const DIRECT_BYTES: usize = 2 * 1024 * 1024;
/// Bytes from which on a read of what is not in the page cache goes past it.
pub const LONG_READ_BYTES: usize = 128 * 1024;
/// Bytes of one write past the page cache; a longer one is several. The journal's writes, for which
/// somebody waits, find the disk busy with one of these at most.
pub const DIRECT_WRITE_BYTES: usize = 1024 * 1024;
/// Bytes from which on a write goes past the page cache.
pub const LONG_WRITE_BYTES: usize = 16 * 1024;
/// Milliseconds between two looks at the free space of the disk.
pub const FREE_SPACE_PROBE_MS: u64 = 1000;
/// Records for which room is made before they are decoded.
pub const RECORDS_EXPECTED_MAX: usize = 4096;

// A semaphore counts permits in `u32`, and a turn must be able to see every kind of request.
const _: () = assert!(PRODUCE_BYTES_IN_FLIGHT_MAX <= u32::MAX as usize);
const _: () = assert!(WORK_PER_TURN_MAX <= REQUESTS_IN_FLIGHT_MAX);
const _: () = assert!(DIRECT_WRITE_BYTES <= DIRECT_BYTES);
const _: () = assert!(DIRECT_BYTES.is_multiple_of(tidings_log::BLOCK_BYTES));
