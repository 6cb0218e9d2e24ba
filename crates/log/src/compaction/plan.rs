//! Which segments of a log are cleaned now: a function of values, by Kafka's rules.
//!
//! A log is clean below its cleaner offset and dirty from there. Cleaning reads the keys of the dirty
//! segments that may be cleaned and rewrites every segment below them, the clean ones too, because
//! what they hold may have newer versions in the dirty part. It is due when the dirty part is more than
//! `min.cleanable.dirty.ratio` of what it would rewrite, or when a dirty batch is older than
//! `max.compaction.lag.ms`.
//!
//! Never cleaned: the active segment; a segment that reaches the last stable offset; a segment with
//! a timestamp younger than `min.compaction.lag.ms`, and all after it.

use crate::LogConfig;
use crate::retention::SegmentFacts;

/// What [`plan`] looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactFacts<'a> {
    /// Oldest first; the last one is the active segment.
    pub(crate) segments: &'a [SegmentFacts],
    pub(crate) start_offset: i64,
    /// Below it the log has been cleaned before: [`super::Outcome::cleaned_to`] of the last time, 0 if
    /// there was none.
    pub(crate) cleaned_to: i64,
    pub(crate) last_stable_offset: i64,
}

/// A cleaning that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompactPlan {
    /// Keys are gathered from here on.
    pub(crate) dirty_from: i64,
    /// No segment at or past this offset is touched.
    pub(crate) until: i64,
    /// Each becomes one segment; together they are all segments below `until`.
    pub(crate) groups: Vec<Vec<SegmentFacts>>,
    /// The time of the cleaning, for delete horizons.
    pub(crate) now_ms: i64,
    pub(crate) config: LogConfig,
}

/// The cleaning that is due at `now_ms`, if one is.
pub(crate) fn plan(
    facts: CompactFacts<'_>,
    config: &LogConfig,
    now_ms: i64,
) -> Option<CompactPlan> {
    if !config.compact {
        return None;
    }
    let (active, sealed) = facts.segments.split_last()?;
    // A cleaner offset outside the log tells of another log than this one.
    let known = (facts.start_offset..=active.next_offset).contains(&facts.cleaned_to);
    let dirty_from = if known { facts.cleaned_to } else { facts.start_offset };
    let too_young = now_ms.saturating_sub(config.min_compaction_lag_ms.max(0));
    let cleanable = |segment: &&SegmentFacts| {
        let settled = config.min_compaction_lag_ms <= 0
            || segment.next_offset <= dirty_from
            || segment.max_timestamp <= too_young;
        segment.next_offset <= facts.last_stable_offset && settled
    };
    let cleanable = &sealed[..sealed.iter().take_while(cleanable).count()];
    let until = cleanable.last()?.next_offset;
    let dirty = || cleanable.iter().filter(|segment| segment.next_offset > dirty_from);
    let dirty_bytes: u64 = dirty().map(|segment| segment.bytes).sum();
    let all_bytes: u64 = cleanable.iter().map(|segment| segment.bytes).sum();
    let ratio = u128::from(dirty_bytes) * 1_000_000;
    let dirty_enough =
        ratio > u128::from(all_bytes) * u128::from(config.min_cleanable_dirty_millionths);
    let must_be_clean = now_ms.saturating_sub(config.max_compaction_lag_ms.max(0));
    let overdue = dirty().any(|s| s.first_timestamp > 0 && s.first_timestamp < must_be_clean);
    if dirty_bytes == 0 || !(dirty_enough || overdue) {
        return None;
    }
    Some(CompactPlan {
        dirty_from,
        until,
        groups: grouped(cleanable, config),
        now_ms,
        config: *config,
    })
}

/// Neighbours together as long as the bytes, the indexes and the offsets of what they may become fit
/// one segment.
fn grouped(segments: &[SegmentFacts], config: &LogConfig) -> Vec<Vec<SegmentFacts>> {
    let mut groups: Vec<Vec<SegmentFacts>> = Vec::new();
    for segment in segments {
        match groups.last_mut() {
            Some(group) if fits(group, segment, config) => group.push(*segment),
            _ => groups.push(vec![*segment]),
        }
    }
    groups
}

fn fits(group: &[SegmentFacts], next: &SegmentFacts, config: &LogConfig) -> bool {
    let with_next = |of: fn(&SegmentFacts) -> u64| group.iter().map(of).sum::<u64>() + of(next);
    let base_offset = group.first().map_or(next.base_offset, |first| first.base_offset);
    let index_bytes_max = u64::from(config.segment_index_bytes);
    with_next(|s| s.bytes) <= u64::from(config.segment_bytes)
        && with_next(|s| s.offset_index_bytes) <= index_bytes_max
        && with_next(|s| s.time_index_bytes) <= index_bytes_max
        && next.next_offset - 1 - base_offset <= i64::from(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: SegmentFacts = SegmentFacts {
        base_offset: 1000,
        next_offset: 1100,
        bytes: 500,
        offset_index_bytes: 0,
        time_index_bytes: 0,
        first_timestamp: 90,
        max_timestamp: 100,
    };

    /// A sealed segment of `bytes` between two offsets, with timestamps.
    fn segment(offsets: (i64, i64), bytes: u64, timestamps: (i64, i64)) -> SegmentFacts {
        SegmentFacts {
            base_offset: offsets.0,
            next_offset: offsets.1,
            bytes,
            offset_index_bytes: 8,
            time_index_bytes: 12,
            first_timestamp: timestamps.0,
            max_timestamp: timestamps.1,
        }
    }

    fn four() -> Vec<SegmentFacts> {
        vec![
            segment((0, 250), 100, (1, 10)),
            segment((250, 500), 100, (11, 20)),
            segment((500, 750), 100, (21, 30)),
            segment((750, 1000), 100, (31, 40)),
            ACTIVE,
        ]
    }

    fn config(change: impl FnOnce(&mut LogConfig)) -> LogConfig {
        let mut config = LogConfig { compact: true, ..LogConfig::KAFKA };
        change(&mut config);
        config
    }

    /// (where the dirty part begins, where the cleaning ends).
    fn range(facts: CompactFacts<'_>, config: &LogConfig, now_ms: i64) -> Option<(i64, i64)> {
        plan(facts, config, now_ms).map(|plan| (plan.dirty_from, plan.until))
    }

    #[test]
    fn when_cleaning_is_due_and_how_far_it_goes() {
        let half = config(|_| {});
        let any = config(|c| c.min_cleanable_dirty_millionths = 0);
        let lagging = config(|c| c.min_compaction_lag_ms = 100);
        let forced = config(|c| c.max_compaction_lag_ms = 1000);
        // (name, configuration, cleaner offset, last stable offset, now, expected)
        let table = [
            ("never cleaned", half, 0, 1100, 100, Some((0, 1000))),
            ("not compacted", config(|c| c.compact = false), 0, 1100, 100, None),
            ("half dirty is not more than half", half, 500, 1100, 100, None),
            ("three quarters", half, 250, 1100, 100, Some((250, 1000))),
            ("a segment cleaned in part is dirty", half, 499, 1100, 100, Some((499, 1000))),
            ("a quarter", half, 750, 1100, 100, None),
            ("a quarter, where any will do", any, 750, 1100, 100, Some((750, 1000))),
            ("clean", any, 1000, 1100, 100, None),
            ("clean into the active segment", any, 1050, 1100, 100, None),
            ("the last stable offset holds", half, 0, 999, 100, Some((0, 750))),
            ("within the first segment", half, 0, 249, 100, None),
            ("a cleaner offset past the end", half, 1101, 1100, 100, Some((0, 1000))),
            ("old enough to its last millisecond", lagging, 0, 1100, 130, Some((0, 750))),
            ("a millisecond too young", lagging, 0, 1100, 129, Some((0, 500))),
            ("all too young", lagging, 0, 1100, 109, None),
            ("what is clean is not asked for its age", lagging, 250, 1100, 120, None),
            ("overdue", forced, 750, 1100, 1032, Some((750, 1000))),
            ("not yet overdue", forced, 750, 1100, 1031, None),
            ("overdue but clean", forced, 1000, 1100, 5000, None),
        ];
        for (name, config, cleaned_to, last_stable_offset, now, expected) in table {
            let segments = &four();
            let facts = CompactFacts { segments, start_offset: 0, cleaned_to, last_stable_offset };
            assert_eq!(range(facts, &config, now), expected, "{name}");
        }
    }

    #[test]
    fn a_cleaner_offset_below_the_log_is_its_start() {
        let segments = &four();
        let facts =
            CompactFacts { segments, start_offset: 30, cleaned_to: 0, last_stable_offset: 1100 };
        assert_eq!(range(facts, &config(|_| {}), 100), Some((30, 1000)));
    }

    #[test]
    fn only_an_active_segment_is_nothing_to_clean() {
        let facts = CompactFacts {
            segments: &[ACTIVE],
            start_offset: 0,
            cleaned_to: 0,
            last_stable_offset: 1100,
        };
        assert_eq!(range(facts, &config(|_| {}), 100), None);
    }

    #[test]
    fn neighbours_become_one_as_long_as_they_fit() {
        let wide = |from, until| segment((from, until), 100, (1, 1));
        let max = i64::from(i32::MAX);
        let table = [
            ("all", config(|_| {}), four(), vec![4]),
            ("by bytes", config(|c| c.segment_bytes = 250), four(), vec![2, 2]),
            ("exactly", config(|c| c.segment_bytes = 300), four(), vec![3, 1]),
            ("one is too large", config(|c| c.segment_bytes = 50), four(), vec![1, 1, 1, 1]),
            ("by time index", config(|c| c.segment_index_bytes = 24), four(), vec![2, 2]),
            (
                "the largest range",
                config(|_| {}),
                vec![wide(0, 5), wide(5, max + 1), ACTIVE],
                vec![2],
            ),
            (
                "an offset more",
                config(|_| {}),
                vec![wide(0, 5), wide(5, max + 2), ACTIVE],
                vec![1, 1],
            ),
        ];
        for (name, config, segments, expected) in table {
            let facts = CompactFacts {
                segments: &segments,
                start_offset: 0,
                cleaned_to: 0,
                last_stable_offset: i64::MAX,
            };
            let plan = plan(facts, &config, 100).unwrap();
            let sizes: Vec<usize> = plan.groups.iter().map(Vec::len).collect();
            assert_eq!(sizes, expected, "{name}");
            let base_offsets = plan.groups.iter().flatten().map(|segment| segment.base_offset);
            let all = segments[..segments.len() - 1].iter().map(|segment| segment.base_offset);
            assert!(base_offsets.eq(all), "{name}");
        }
    }
}
