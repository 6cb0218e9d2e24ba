//! How much data the suites make.

/// Bytes of a log where the size matters, with `--large`.
pub(crate) const LARGE_BYTES: u64 = 10_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of all logs together before a start is timed.
    pub(crate) started_bytes: u64,
    /// Of the log that is read from the disk.
    pub(crate) cold_bytes: u64,
    /// Of the log that is compacted.
    pub(crate) compacted_bytes: u64,
}

pub(crate) const USUAL: Sizes =
    Sizes { started_bytes: 500_000_000, cold_bytes: 500_000_000, compacted_bytes: 300_000_000 };

pub(crate) const LARGE: Sizes =
    Sizes { started_bytes: LARGE_BYTES, cold_bytes: LARGE_BYTES, compacted_bytes: LARGE_BYTES };

/// Logs in the rows of many partitions.
pub(crate) const MANY: u64 = 1_000;
pub(crate) const VERY_MANY: u64 = 10_000;
