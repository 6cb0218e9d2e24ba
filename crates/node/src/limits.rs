//! Limits of the node, with what each protects.

/// Bytes of produce requests that may wait for the shard at once; further callers wait.
pub const PRODUCE_BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;
/// Requests that may wait for the shard at once; further callers wait.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 65_536;
