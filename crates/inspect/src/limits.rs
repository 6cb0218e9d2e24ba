//! Limits of looking at a data directory, with what each protects.

/// Bytes of a segment read at a time: what walking one holds beside its largest batch.
pub const SCAN_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of the largest file that is read in one piece: an index of the largest segment, or the
/// snapshot of as many producers as a partition remembers.
pub const WHOLE_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Readings of a journal before what looks damaged is taken for it: a node may be writing there.
pub const JOURNAL_READINGS_MAX: usize = 3;
