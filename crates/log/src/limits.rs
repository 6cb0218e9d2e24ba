//! Limits of the log, with what each protects.

/// Largest batch that a log takes, whatever a topic's `max.message.bytes` says.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes that decompressing one batch may yield.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;
