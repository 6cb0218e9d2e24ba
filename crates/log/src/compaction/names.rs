//! The names of a segment's files at each stage of its replacement.

/// Digits of the offset in a name.
const DIGITS: usize = 20;

/// The files of a segment besides its `.log`.
pub(super) const INDEXES: [&str; 3] = [".index", ".timeindex", ".txnindex"];
pub(super) const LOG: &str = ".log";
/// Behind the name of a file that a compaction is writing.
pub(super) const CLEANED: &str = ".cleaned";
/// Behind the name of a file that is to replace others; of a `.log`: that does replace them, and only
/// the rest of the renaming is missing.
pub(super) const SWAP: &str = ".swap";

pub(super) fn log(dir: &str, base_offset: i64) -> String {
    path(dir, base_offset, LOG, "")
}

/// `file` is [`LOG`] or one of [`INDEXES`]; `stage` is [`CLEANED`], [`SWAP`] or nothing.
pub(super) fn path(dir: &str, base_offset: i64, file: &str, stage: &str) -> String {
    format!("{dir}/{base_offset:0DIGITS$}{file}{stage}")
}

/// The base offset in the name of a segment's file at that stage.
pub(super) fn base_offset(name: &str, file: &str, stage: &str) -> Option<i64> {
    let digits = name.strip_suffix(stage)?.strip_suffix(file)?;
    let all_digits = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}
