//! The names of a segment's files at each stage of its replacement.

use crate::partition_log::names;

pub(super) use names::{LOG, log};

/// The files of a segment besides its `.log`.
pub(super) const INDEXES: [&str; 3] = [names::OFFSET_INDEX, names::TIME_INDEX, names::TXN_INDEX];
/// Behind the name of a file that a compaction is writing.
pub(super) const CLEANED: &str = ".cleaned";
/// Behind the name of a file that is to replace others; of a `.log`: that does replace them, and only
/// the rest of the renaming is missing.
pub(super) const SWAP: &str = ".swap";

/// `file` is [`LOG`] or one of [`INDEXES`]; `stage` is [`CLEANED`], [`SWAP`] or nothing.
pub(super) fn path(dir: &str, base_offset: i64, file: &str, stage: &str) -> String {
    names::named(dir, base_offset, file) + stage
}

/// The base offset in the name of a segment's file at that stage.
pub(super) fn base_offset(name: &str, file: &str, stage: &str) -> Option<i64> {
    names::offset(name.strip_suffix(stage)?, file)
}
