//! Limits of the engine, with what each protects.

/// Most records that one poll returns, whatever its caller asks.
pub const POLL_RECORDS_MAX: usize = 10_000;
