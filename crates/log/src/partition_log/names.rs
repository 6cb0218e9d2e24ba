//! The names of a partition's files, as Kafka gives them.

/// Digits of the offset in a name, so that names sort like offsets.
const DIGITS: usize = 20;

pub(crate) const LOG: &str = ".log";
pub(crate) const OFFSET_INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TXN_INDEX: &str = ".txnindex";
pub(super) const SNAPSHOT: &str = ".snapshot";
/// Bytes cut off by a recovery, kept for whoever wants to look.
pub(super) const KEPT_ASIDE: &str = ".cut";
/// The same while it is being written; worthless after a crash.
pub(super) const KEPT_ASIDE_UNFINISHED: &str = ".cut.unfinished";

pub(crate) fn log(dir: &str, base_offset: i64) -> String {
    named(dir, base_offset, LOG)
}

pub(super) fn offset_index(dir: &str, base_offset: i64) -> String {
    named(dir, base_offset, OFFSET_INDEX)
}

pub(super) fn time_index(dir: &str, base_offset: i64) -> String {
    named(dir, base_offset, TIME_INDEX)
}

pub(super) fn txn_index(dir: &str, base_offset: i64) -> String {
    named(dir, base_offset, TXN_INDEX)
}

pub(super) fn snapshot(dir: &str, offset: i64) -> String {
    named(dir, offset, SNAPSHOT)
}

pub(crate) fn named(dir: &str, offset: i64, suffix: &str) -> String {
    format!("{dir}/{offset:0DIGITS$}{suffix}")
}

/// The offset in a file's name, when it has this suffix and is one of ours.
pub(crate) fn offset(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_offsets_both_ways() {
        assert_eq!(log("t-0", 368_769), "t-0/00000000000000368769.log");
        let table = [
            ("00000000000000368769.log", LOG, Some(368_769)),
            ("00000000000000368769.index", LOG, None),
            ("00000000000000368769.timeindex", OFFSET_INDEX, None),
            ("0000000000000036876.log", LOG, None),
            ("+0000000000000368769.log", LOG, None),
            ("99999999999999999999.log", LOG, None),
        ];
        for (name, suffix, expected) in table {
            assert_eq!(offset(name, suffix), expected, "{name}");
        }
    }
}
