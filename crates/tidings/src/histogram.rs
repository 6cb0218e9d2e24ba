//! A histogram of times, in the buckets of OpenTelemetry's messaging conventions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in seconds, as Prometheus writes them; one more has no bound.
pub(crate) const BOUNDS: [&str; 14] = [
    "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0",
    "7.5", "10.0",
];
const BOUNDS_US: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// How many times lay in which bucket: up to 5, 10, 25, 50, 75, 100, 250, 500 and 750 ms, 1, 2.5, 5, 7.5 and 10 s, and
/// longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many lay in each bucket and in none before it.
    pub counts: [u64; 15],
    /// All times together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many times there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All times together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_the_first_bucket_that_it_does_not_exceed() {
        let us = Duration::from_micros;
        for (time, bucket) in [
            (us(0), 0),
            (us(5_000), 0),
            (us(5_001), 1),
            (us(100_000), 5),
            (us(10_000_000), 13),
            (us(10_000_001), 14),
            (Duration::MAX, 14),
        ] {
            let mut histogram = Histogram::default();
            histogram.add(time);
            let found = histogram.counts.iter().position(|count| *count == 1);
            assert_eq!((found, histogram.count()), (Some(bucket), 1), "{time:?}");
        }
        for (text, bound) in BOUNDS.iter().zip(BOUNDS_US) {
            let seconds: f64 = text.parse().expect("a number");
            assert_eq!(Duration::from_secs_f64(seconds), us(bound));
        }
    }

    #[test]
    fn times_add_up() {
        let mut histogram = Histogram::default();
        for ms in [1, 2, 30] {
            histogram.add(Duration::from_millis(ms));
        }
        assert_eq!((histogram.count(), histogram.sum()), (3, Duration::from_millis(33)));
        histogram.add(Duration::MAX);
        assert_eq!(histogram.sum_us, u64::MAX, "it does not begin anew");
    }
}
