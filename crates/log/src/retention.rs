//! What retention would remove at a given moment: a function of values, by Kafka's rules.
//!
//! Segments go from the front only, whole, and only below `limit`. A segment goes when one of these
//! holds:
//! 1. the log start offset has passed all of it (whatever `cleanup.policy` says);
//! 2. `cleanup.policy` has `delete` and without it the log still has at least `retention.bytes`;
//! 3. `cleanup.policy` has `delete` and its largest timestamp is more than `retention.ms` ago.
//!
//! Time is by the records' timestamps. A timestamp in the future keeps its segment, and what follows
//! it, until the size is exceeded. A segment none of whose batches has a timestamp is as old as the
//! next one that has; Kafka takes the file's modification time there.
//!
//! The clock is not believed at once: [`PlausibleClock`] keeps a wall clock that leaps forward from
//! expiring everything. It errs towards keeping.

use crate::LogConfig;
use crate::store::Moment;

/// A leap of the wall clock against the monotonic one that is taken without question.
pub(crate) const CLOCK_LEAP_MAX_MS: i64 = 10 * 60 * 1000;
/// How long a larger leap forward must have stood until it is believed.
pub(crate) const CLOCK_LEAP_BELIEVED_AFTER_MS: u64 = 60 * 60 * 1000;

/// What retention and compaction must know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) base_offset: i64,
    /// The offset after its last batch.
    pub(crate) next_offset: i64,
    /// Bytes of its batches.
    pub(crate) bytes: u64,
    /// Bytes of its `.index`.
    pub(crate) offset_index_bytes: u64,
    /// Bytes of its `.timeindex`.
    pub(crate) time_index_bytes: u64,
    /// The largest timestamp of its first batch; -1: none.
    pub(crate) first_timestamp: i64,
    /// The largest timestamp of its batches; -1: none.
    pub(crate) max_timestamp: i64,
}

/// What retention does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    Keep,
    /// The first `segments` segments go; the log then starts at `new_start`, or where it does already
    /// if that is later.
    Drop {
        segments: usize,
        new_start: i64,
    },
    /// Everything is to go, the active segment too: roll it, then ask again.
    RollFirst,
}

/// What [`expired`] looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetentionFacts<'a> {
    /// Oldest first; the last one is the active segment, what is in memory included.
    pub(crate) segments: &'a [SegmentFacts],
    pub(crate) start_offset: i64,
    /// Nothing at or past this offset goes: the durable offset, or the last stable offset.
    pub(crate) limit: i64,
}

/// What of a log goes at `now_ms`, which comes from a [`PlausibleClock`].
pub(crate) fn expired(facts: RetentionFacts<'_>, config: &LogConfig, now_ms: i64) -> Retention {
    let RetentionFacts { segments, start_offset, limit } = facts;
    let passed = |at: usize| segments.get(at + 1).is_some_and(|s| s.base_offset <= start_offset);
    let (by_size, by_time) = if config.delete {
        (over_size(segments, config.retention_bytes), over_age(segments, config, now_ms))
    } else {
        (0, 0)
    };
    let doomed = segments.iter().enumerate().take_while(|&(at, segment)| {
        segment.next_offset <= limit && (passed(at) || at < by_size.max(by_time))
    });
    let doomed = doomed.count();
    match segments.get(doomed) {
        _ if doomed == 0 => Retention::Keep,
        Some(first_kept) => Retention::Drop { segments: doomed, new_start: first_kept.base_offset },
        None if segments.last().is_some_and(|active| active.bytes > 0) => Retention::RollFirst,
        None if doomed == 1 => Retention::Keep,
        None => Retention::Drop {
            segments: doomed - 1,
            new_start: segments.last().map_or(start_offset, |active| active.base_offset),
        },
    }
}

/// How many segments from the front can go so that `retention_bytes` are left.
fn over_size(segments: &[SegmentFacts], retention_bytes: i64) -> usize {
    let Ok(wanted) = u64::try_from(retention_bytes) else { return 0 };
    let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let Some(mut excess) = total.checked_sub(wanted) else { return 0 };
    let fits = |segment: &&SegmentFacts| match excess.checked_sub(segment.bytes) {
        Some(left) => {
            excess = left;
            true
        }
        None => false,
    };
    segments.iter().take_while(fits).count()
}

/// How many segments from the front are older than `retention.ms`.
fn over_age(segments: &[SegmentFacts], config: &LogConfig, now_ms: i64) -> usize {
    if config.retention_ms < 0 {
        return 0;
    }
    let aged = |at: usize| {
        let newest = segments[at..].iter().map(|segment| segment.max_timestamp).find(|&t| t >= 0);
        newest.is_some_and(|newest| now_ms.saturating_sub(newest) > config.retention_ms)
    };
    (0..segments.len()).take_while(|&at| aged(at)).count()
}

/// The wall clock, unless it leaps forward.
///
/// A leap of more than [`CLOCK_LEAP_MAX_MS`] ahead of what the monotonic clock has counted (a wrong
/// time server, a typing error, a machine that slept) is believed once it has stood for
/// [`CLOCK_LEAP_BELIEVED_AFTER_MS`]; until then time goes on as if it had not happened. A leap back is
/// believed at once: it only keeps things longer. The clock at the start is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlausibleClock {
    believed: Moment,
    /// The first look at which the clock was ahead.
    ahead_since_mono_ms: Option<u64>,
}

impl PlausibleClock {
    pub(crate) fn new(now: Moment) -> Self {
        Self { believed: now, ahead_since_mono_ms: None }
    }

    /// The time to act on, in milliseconds since 1970.
    pub(crate) fn plausible_now(&mut self, now: Moment) -> i64 {
        let counted = now.mono_ms.saturating_sub(self.believed.mono_ms);
        let counted = i64::try_from(counted).unwrap_or(i64::MAX);
        let expected = self.believed.wall_ms.saturating_add(counted);
        let leapt = now.wall_ms > expected.saturating_add(CLOCK_LEAP_MAX_MS);
        let since = *self.ahead_since_mono_ms.get_or_insert(now.mono_ms);
        let stood = now.mono_ms.saturating_sub(since) >= CLOCK_LEAP_BELIEVED_AFTER_MS;
        if leapt && !stood {
            return expected;
        }
        *self = Self::new(now);
        now.wall_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    /// Segments of 100 offsets each from `(bytes, largest timestamp)`; the last one is active.
    fn segments(of: &[(u64, i64)]) -> Vec<SegmentFacts> {
        let at = |(number, &(bytes, max_timestamp)): (usize, &(u64, i64))| SegmentFacts {
            base_offset: number as i64 * 100,
            next_offset: number as i64 * 100 + if bytes > 0 { 100 } else { 0 },
            bytes,
            offset_index_bytes: 0,
            time_index_bytes: 0,
            first_timestamp: max_timestamp,
            max_timestamp,
        };
        of.iter().enumerate().map(at).collect()
    }

    fn config(delete: bool, retention_ms: i64, retention_bytes: i64) -> LogConfig {
        LogConfig { delete, retention_ms, retention_bytes, ..LogConfig::KAFKA }
    }

    fn dropped(segments: usize) -> Retention {
        Retention::Drop { segments, new_start: segments as i64 * 100 }
    }

    #[test]
    fn what_expires_by_time() {
        const NOW: i64 = 100 * DAY;
        const EXACTLY: i64 = NOW - 7 * DAY;
        type Case = (&'static str, &'static [(u64, i64)], LogConfig, Retention);
        let week = config(true, 7 * DAY, -1);
        let table: [Case; 12] = [
            ("no segments", &[], week, Retention::Keep),
            ("an empty log", &[(0, -1)], week, Retention::Keep),
            ("nothing is old", &[(9, NOW), (9, NOW)], week, Retention::Keep),
            ("exactly as old as allowed", &[(9, EXACTLY), (9, NOW)], week, Retention::Keep),
            ("a millisecond older", &[(9, EXACTLY - 1), (9, NOW)], week, dropped(1)),
            ("only leading segments", &[(9, 0), (9, NOW), (9, 0), (9, NOW)], week, dropped(1)),
            (
                "a far future keeps what follows",
                &[(9, i64::MAX), (9, 0), (9, 0)],
                week,
                Retention::Keep,
            ),
            ("the active one too", &[(9, 0), (9, 0)], week, Retention::RollFirst),
            ("all but an empty active one", &[(9, 0), (9, 0), (0, -1)], week, dropped(2)),
            ("without timestamps: as the next", &[(9, -1), (9, 0), (9, NOW)], week, dropped(2)),
            ("without timestamps to the end", &[(9, -1), (9, -1)], week, Retention::Keep),
            ("no bound", &[(9, 0), (9, NOW)], config(true, -1, -1), Retention::Keep),
        ];
        for (name, of, config, expected) in table {
            let segments = segments(of);
            let facts = RetentionFacts { segments: &segments, start_offset: 0, limit: i64::MAX };
            assert_eq!(expired(facts, &config, NOW), expected, "{name}");
        }
    }

    #[test]
    fn what_expires_by_size_and_start_and_limit() {
        let three = segments(&[(100, 5), (100, 5), (100, 5)]);
        let keep = Retention::Keep;
        let table = [
            ("unbounded", config(true, -1, -1), 0, 300, keep),
            ("all fits", config(true, -1, 300), 0, 300, keep),
            ("less than a segment too much", config(true, -1, 201), 0, 300, keep),
            ("exactly a segment too much", config(true, -1, 200), 0, 300, dropped(1)),
            ("less than two too much", config(true, -1, 101), 0, 300, dropped(1)),
            ("nothing is to be kept", config(true, -1, 0), 0, 300, Retention::RollFirst),
            ("the limit holds", config(true, -1, 0), 0, 299, dropped(2)),
            ("the limit holds within the first", config(true, -1, 0), 0, 99, keep),
            ("compact only", config(false, 1, 1), 0, 300, keep),
            ("compact only, start in the first", config(false, 1, 1), 99, 300, keep),
            ("compact only, start after the first", config(false, 1, 1), 100, 300, dropped(1)),
            ("start at the end leaves the active one", config(false, 1, 1), 300, 300, dropped(2)),
            ("start before the limit", config(false, 1, 1), 300, 150, dropped(1)),
            ("size after start", config(true, -1, 100), 100, 300, dropped(2)),
        ];
        for (name, config, start_offset, limit, expected) in table {
            let facts = RetentionFacts { segments: &three, start_offset, limit };
            assert_eq!(expired(facts, &config, 5), expected, "{name}");
        }
    }

    #[test]
    fn a_clock_that_leaps_forward_expires_nothing_for_an_hour() {
        const HOUR: u64 = CLOCK_LEAP_BELIEVED_AFTER_MS;
        let at = |wall_ms, mono_ms| Moment { wall_ms, mono_ms };
        let mut clock = PlausibleClock::new(at(1000, 0));
        // (wall, monotonic, believed)
        let table = [
            (1_500, 500, 1_500),
            // Ahead by less than the leap that is looked at twice.
            (2_020, 1_000, 2_020),
            // Back: at once.
            (100, 2_000, 100),
            // Forward by a century: not for an hour, and then on from there.
            (100 * 365 * DAY, 3_000, 1_100),
            (100 * 365 * DAY + 1, 3_000 + HOUR - 1, 1_100 + HOUR as i64 - 1),
            (100 * 365 * DAY + 2, 3_000 + HOUR, 100 * 365 * DAY + 2),
            (100 * 365 * DAY + 3, 3_001 + HOUR, 100 * 365 * DAY + 3),
        ];
        for (wall, mono, believed) in table {
            assert_eq!(clock.plausible_now(at(wall, mono)), believed, "{wall} at {mono}");
        }
    }

    #[test]
    fn a_leap_that_is_taken_back_is_forgotten() {
        let at = |wall_ms, mono_ms| Moment { wall_ms, mono_ms };
        let mut clock = PlausibleClock::new(at(0, 0));
        let leap = 10 * DAY;
        assert_eq!(clock.plausible_now(at(leap, 1)), 1);
        assert_eq!(clock.plausible_now(at(2, 2)), 2);
        let later = CLOCK_LEAP_BELIEVED_AFTER_MS + 2;
        assert_eq!(clock.plausible_now(at(leap, later)), later as i64);
    }
}
