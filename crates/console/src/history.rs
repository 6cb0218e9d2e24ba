//! What was seen of topics and groups, second by second, and what follows from it.
//!
//! Pure: times are passed in, in milliseconds that never go back. Bounded by
//! [`SAMPLES_KEPT`](crate::limits::SAMPLES_KEPT).

use std::collections::VecDeque;

use super::quantity::{Behind, Rate};
use crate::limits::{DRAIN_SAMPLES, RATE_SAMPLES, SAMPLES_KEPT, STUCK_AFTER};

/// A topic at one moment.
#[derive(Clone, Debug)]
pub(super) struct TopicSample {
    pub(super) at_ms: u64,
    /// End offsets by partition.
    pub(super) ends: Vec<i64>,
    /// None where the engine cannot say.
    pub(super) bytes: Option<u64>,
}

impl TopicSample {
    fn end(&self) -> i64 {
        self.ends.iter().sum()
    }
}

#[derive(Debug, Default)]
pub(super) struct TopicHistory {
    samples: VecDeque<TopicSample>,
}

impl TopicHistory {
    pub(super) fn push(&mut self, sample: TopicSample) {
        push_bounded(&mut self.samples, sample);
    }

    /// Records per second over the last few samples.
    pub(super) fn records_rate(&self) -> Rate {
        recent_rate(&self.samples, |s| (s.at_ms, s.end() as f64))
    }

    /// Bytes per second over the last few samples; none where sizes are not known.
    pub(super) fn bytes_rate(&self) -> Option<Rate> {
        self.samples.back()?.bytes?;
        Some(recent_rate(&self.samples, |s| (s.at_ms, s.bytes.unwrap_or(0) as f64)))
    }

    /// Records per second between each two samples, oldest first.
    pub(super) fn records_rates(&self) -> Vec<f32> {
        let steps = self.samples.iter().zip(self.samples.iter().skip(1));
        #[expect(clippy::cast_possible_truncation, reason = "for a chart of a few pixels")]
        steps
            .map(|(a, b)| rate((a.at_ms, a.end() as f64), (b.at_ms, b.end() as f64)).0 as f32)
            .collect()
    }

    /// Records that each partition has gained since the history began; none before there are two samples.
    pub(super) fn gains(&self) -> Option<Vec<i64>> {
        let (then, now) = (self.samples.front()?, self.samples.back()?);
        let then = |index: usize| then.ends.get(index).copied().unwrap_or(0);
        let ends = now.ends.iter().enumerate();
        (self.samples.len() > 1).then(|| ends.map(|(index, end)| end - then(index)).collect())
    }

    /// How long ago the record at this offset was written; none when it is not written yet.
    pub(super) fn written_ago(&self, partition: usize, offset: i64) -> Option<Behind> {
        let ends = |s: &TopicSample| s.ends.get(partition).copied().unwrap_or(0);
        let now = self.samples.back()?;
        let first = self.samples.iter().position(|s| ends(s) > offset)?;
        let seconds = now.at_ms.saturating_sub(self.samples[first].at_ms) / 1000;
        Some(Behind { seconds, at_least: first == 0 })
    }
}

/// A group at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupSample {
    pub(super) at_ms: u64,
    /// Sum of its committed offsets.
    pub(super) committed: i64,
    pub(super) lag: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trend {
    Rising,
    #[default]
    Steady,
    Falling,
}

/// When a group will have nothing left to do, if it goes on as it did lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "how", content = "seconds")]
pub(crate) enum Drain {
    /// Not seen for long enough.
    #[default]
    Unknown,
    /// Nothing is left, or no more than what it does in a second.
    KeepsUp,
    /// The lag shrinks; in so many seconds it is gone.
    In(u64),
    /// The lag does not shrink.
    Never,
}

impl std::fmt::Display for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("–"),
            Self::KeepsUp => f.write_str("keeps up"),
            Self::In(seconds) => super::quantity::Span(*seconds).fmt(f),
            Self::Never => f.write_str("never"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct GroupHistory {
    samples: VecDeque<GroupSample>,
}

impl GroupHistory {
    pub(super) fn push(&mut self, sample: GroupSample) {
        push_bounded(&mut self.samples, sample);
    }

    /// Records committed per second over the last few samples.
    pub(super) fn committed_rate(&self) -> Rate {
        recent_rate(&self.samples, |s| (s.at_ms, s.committed as f64))
    }

    /// Lag at each sample, oldest first.
    pub(super) fn lags(&self) -> Vec<f32> {
        self.samples.iter().map(|s| s.lag as f32).collect()
    }

    /// Whether the lag has moved by more than a tenth over the last few samples.
    pub(super) fn trend(&self) -> Trend {
        let (Some(now), Some(then)) = (self.samples.back(), earlier(&self.samples)) else {
            return Trend::Steady;
        };
        let moved = now.lag - then.lag;
        if moved.abs() <= then.lag / 10 {
            Trend::Steady
        } else if moved > 0 {
            Trend::Rising
        } else {
            Trend::Falling
        }
    }

    /// From how the lag has moved over up to [`DRAIN_SAMPLES`].
    pub(super) fn drain(&self) -> Drain {
        let Some(now) = self.samples.back() else { return Drain::Unknown };
        if now.lag == 0 || now.lag as f64 <= self.committed_rate().0 {
            return Drain::KeepsUp;
        }
        if self.samples.len() <= RATE_SAMPLES {
            return Drain::Unknown;
        }
        let then = self.samples[self.samples.len().saturating_sub(DRAIN_SAMPLES + 1)];
        let (shrunk, ms) = (then.lag - now.lag, now.at_ms.saturating_sub(then.at_ms));
        if shrunk <= 0 || ms == 0 {
            return Drain::Never;
        }
        let ms =
            u128::from(now.lag.unsigned_abs()) * u128::from(ms) / u128::from(shrunk.unsigned_abs());
        Drain::In(u64::try_from(ms.div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// It has been behind for [`STUCK_AFTER`] and has committed nothing in that time.
    pub(super) fn stuck(&self) -> bool {
        let Some(now) = self.samples.back() else { return false };
        let window = u64::try_from(STUCK_AFTER.as_millis()).unwrap_or(u64::MAX);
        let still =
            self.samples.iter().rev().take_while(|s| s.lag > 0 && s.committed == now.committed);
        still.last().is_some_and(|oldest| now.at_ms - oldest.at_ms >= window)
    }
}

fn push_bounded<T>(samples: &mut VecDeque<T>, sample: T) {
    if samples.len() >= SAMPLES_KEPT {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// The sample that the newest one is compared with.
fn earlier<T>(samples: &VecDeque<T>) -> Option<&T> {
    samples.get(samples.len().saturating_sub(RATE_SAMPLES + 1))
}

fn recent_rate<T>(samples: &VecDeque<T>, point: impl Fn(&T) -> (u64, f64)) -> Rate {
    match (earlier(samples), samples.back()) {
        (Some(then), Some(now)) => rate(point(then), point(now)),
        _ => Rate(0.0),
    }
}

fn rate(then: (u64, f64), now: (u64, f64)) -> Rate {
    let ms = now.0.saturating_sub(then.0);
    if ms == 0 {
        return Rate(0.0);
    }
    // A topic that was made anew or has dropped old segments has not written a negative number.
    Rate(((now.1 - then.1) * 1000.0 / ms as f64).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(samples: &[(u64, &[i64], u64)]) -> TopicHistory {
        let mut history = TopicHistory::default();
        for (at_ms, ends, bytes) in samples {
            history.push(TopicSample { at_ms: *at_ms, ends: ends.to_vec(), bytes: Some(*bytes) });
        }
        history
    }

    #[test]
    fn rates_are_taken_over_the_last_samples() {
        let history = topic(&[(0, &[0, 0], 0), (1000, &[10, 0], 500), (2000, &[10, 30], 1500)]);
        assert_eq!(history.records_rate(), Rate(20.0));
        assert_eq!(history.bytes_rate(), Some(Rate(750.0)));
        assert_eq!(history.records_rates(), [10.0, 30.0]);
        let shrunk = topic(&[(0, &[10], 900), (1000, &[10], 100)]);
        assert_eq!(shrunk.bytes_rate(), Some(Rate(0.0)));
        assert_eq!(topic(&[(0, &[5], 5)]).records_rate(), Rate(0.0));
        assert_eq!(topic(&[(5, &[1], 1), (5, &[9], 9)]).records_rate(), Rate(0.0));
    }

    #[test]
    fn only_the_newest_samples_are_kept() {
        let mut history = TopicHistory::default();
        for second in 0..(SAMPLES_KEPT as u64 + 50) {
            history.push(TopicSample { at_ms: second * 1000, ends: vec![0], bytes: None });
        }
        assert_eq!(history.samples.len(), SAMPLES_KEPT);
        assert_eq!(history.bytes_rate(), None);
        assert_eq!(history.samples[0].at_ms, 50_000);
    }

    #[test]
    fn the_age_of_a_record_follows_from_when_the_end_passed_it() {
        let history = topic(&[(0, &[5], 0), (1000, &[5], 0), (2000, &[9], 0), (5000, &[9], 0)]);
        for (offset, wanted) in [
            (3, Some(Behind { seconds: 5, at_least: true })),
            (5, Some(Behind { seconds: 3, at_least: false })),
            (8, Some(Behind { seconds: 3, at_least: false })),
            (9, None),
        ] {
            assert_eq!(history.written_ago(0, offset), wanted, "offset {offset}");
        }
        assert_eq!(history.written_ago(7, 0), None);
    }

    fn group(samples: impl IntoIterator<Item = (i64, i64)>) -> GroupHistory {
        let mut history = GroupHistory::default();
        for (second, (committed, lag)) in (0..).zip(samples) {
            history.push(GroupSample { at_ms: second * 1000, committed, lag });
        }
        history
    }

    #[test]
    fn a_group_is_stuck_when_it_stays_behind_and_commits_nothing() {
        let seconds = STUCK_AFTER.as_secs();
        let still = || (0..=seconds).map(|_| (7, 3));
        assert!(group(still()).stuck());
        assert!(!group(still().skip(1)).stuck(), "not long enough");
        assert!(!group(still().chain([(8, 2)])).stuck(), "it has moved");
        assert!(!group((0..=seconds).map(|_| (7, 0))).stuck(), "nothing to do");
        assert!(!group([]).stuck());
    }

    #[test]
    fn the_time_to_drain_follows_from_how_the_lag_moves() {
        let falling = |count: i64, by: i64| (0..count).map(move |n| (n, 1_000 - n * by));
        for (samples, wanted) in [
            (vec![], Drain::Unknown),
            (vec![(0, 9)], Drain::Unknown),
            (falling(RATE_SAMPLES as i64, 10).collect::<Vec<_>>(), Drain::Unknown),
            (falling(11, 10).collect(), Drain::In(90)),
            (falling(11, 3).collect(), Drain::In(324)),
            (falling(11, 0).collect(), Drain::Never),
            (falling(11, -5).collect(), Drain::Never),
            ((0..11).map(|n| (n * 500, 400)).collect(), Drain::KeepsUp),
            ((0..11).map(|n| (n, 0)).collect(), Drain::KeepsUp),
            // What was long ago says nothing of now.
            (falling(50, 1).chain((0..31).map(|n| (50 + n, 951))).collect(), Drain::Never),
        ] {
            assert_eq!(group(samples.clone()).drain(), wanted, "{samples:?}");
        }
    }

    #[test]
    fn the_trend_of_the_lag_ignores_small_moves() {
        for (then, now, wanted) in [
            (100, 110, Trend::Steady),
            (100, 111, Trend::Rising),
            (100, 80, Trend::Falling),
            (0, 0, Trend::Steady),
            (0, 5, Trend::Rising),
        ] {
            assert_eq!(group([(0, then), (0, now)]).trend(), wanted, "{then} to {now}");
        }
    }
}
