//! How a topic is kept and shared out: retention, and partitions that get far more than their share.

use std::fmt;

use serde::Serialize;
use tidings_engine::Config;

use crate::limits::SKEW_RECORDS_MIN;
use crate::quantity::Bytes;

/// How long a topic keeps its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Retention {
    /// None for ever.
    pub(crate) ms: Option<i64>,
    /// Of each partition; none as many as there are.
    pub(crate) bytes: Option<u64>,
    /// The last record of each key is kept.
    pub(crate) compacted: bool,
    /// Old records are deleted.
    pub(crate) deletes: bool,
}

impl Retention {
    pub(crate) fn of(configs: &[Config]) -> Self {
        let value = |name: &str| {
            let config = configs.iter().find(|config| config.name == name);
            config.and_then(|config| config.value.as_deref())
        };
        let number = |name: &str| value(name).and_then(|value| value.parse::<i64>().ok());
        let policy = value("cleanup.policy").unwrap_or("delete");
        Self {
            ms: number("retention.ms").filter(|ms| *ms >= 0),
            bytes: number("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
            compacted: policy.contains("compact"),
            deletes: policy.contains("delete"),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = match (self.ms.filter(|_| self.deletes), self.bytes.filter(|_| self.deletes)) {
            (None, None) => None,
            (Some(ms), None) => Some(span(ms)),
            (None, Some(bytes)) => Some(Bytes(bytes).to_string()),
            (Some(ms), Some(bytes)) => Some(format!("{} or {}", span(ms), Bytes(bytes))),
        };
        match (self.compacted, limits) {
            (true, Some(limits)) => write!(f, "last of each key, {limits}"),
            (true, None) => f.write_str("last of each key"),
            (false, Some(limits)) => f.write_str(&limits),
            (false, None) => f.write_str("for ever"),
        }
    }
}

/// The largest unit that leaves a whole number, or days for what is long.
fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    for (unit_ms, unit) in UNITS {
        if ms >= unit_ms && (ms % unit_ms == 0 || ms >= 100 * unit_ms) {
            return format!("{} {unit}", ms / unit_ms);
        }
    }
    format!("{ms} ms")
}

/// A partition that gets far more than its share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Skew {
    pub(crate) partition: usize,
    /// Of all records, in percent.
    pub(crate) percent: u8,
}

impl Skew {
    /// By how many records each partition got. One gets far more than its share when that is more than twice what it would
    /// be, or, of few partitions, more than half of what the others would have besides.
    pub(crate) fn of(records: &[i64]) -> Option<Self> {
        let total: i64 = records.iter().sum();
        let (partition, most) = records.iter().enumerate().max_by_key(|(_, records)| **records)?;
        if records.len() < 2 || total < SKEW_RECORDS_MIN {
            return None;
        }
        let fair = 1.0 / records.len() as f64;
        let share = *most as f64 / total as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to 100")]
        let percent = (share * 100.0).round() as u8;
        (share > (2.0 * fair).min((1.0 + fair) / 2.0)).then_some(Self { partition, percent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_with_far_more_than_its_share_is_named() {
        for (records, wanted) in [
            (vec![], None),
            (vec![5_000], None),
            (vec![600, 400], None),
            (vec![700, 300], None),
            (vec![200, 800], Some((1, 80))),
            (vec![10, 989, 0], None),
            (vec![400, 300, 300], None),
            (vec![700, 150, 150], Some((0, 70))),
            (vec![100, 100, 500, 300], None),
            (vec![100, 100, 510, 290], Some((2, 51))),
            (vec![100; 20], None),
            ([vec![100; 19], vec![250]].concat(), Some((19, 12))),
        ] {
            let skew = Skew::of(&records).map(|skew| (skew.partition, skew.percent));
            assert_eq!(skew, wanted, "{records:?}");
        }
    }

    #[test]
    fn retention_is_said_as_people_say_it() {
        for (said, wanted) in [
            (&[][..], "for ever"),
            (&[("retention.ms", "604800000"), ("retention.bytes", "-1")], "7 d"),
            (&[("retention.ms", "5400000")], "90 min"),
            (&[("retention.ms", "-1"), ("retention.bytes", "1000000")], "1.0 MB"),
            (&[("retention.ms", "3600000"), ("retention.bytes", "1000")], "1 h or 1.0 kB"),
            (&[("cleanup.policy", "compact"), ("retention.ms", "1000")], "last of each key"),
            (
                &[("cleanup.policy", "compact,delete"), ("retention.ms", "86400000")],
                "last of each key, 1 d",
            ),
        ] {
            let configs = said.iter().map(|(name, value)| Config {
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
                is_default: false,
            });
            let retention = Retention::of(&configs.collect::<Vec<_>>());
            assert_eq!(retention.to_string(), wanted, "{said:?}");
        }
    }
}
