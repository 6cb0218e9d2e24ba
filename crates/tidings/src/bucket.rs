//! A token bucket, as a value: so many tokens a second, and so many at once after a quiet time.
//!
//! It is kept as one instant, the one at which it will be full again: taking a token puts it off by the time that a
//! token takes to come. Times are whole nanoseconds, rounded so that a rate is never exceeded.
//!
//! Invariants: in any stretch of time no more tokens are given than it brings and the burst on top; of two times that are
//! handed in, one that lies before the other is taken for it, so a clock that is set back neither gives nor takes anything.

use std::time::Duration;

use tokio::time::Instant;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// What one token takes to come.
    every: Duration,
    /// What an empty one takes to be full.
    whole: Duration,
    full_at: Instant,
    /// The latest time that was handed in.
    seen: Instant,
}

impl Bucket {
    /// A full one. Neither number is 0.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let every = Duration::from_nanos(1_000_000_000_u64.div_ceil(u64::from(per_second.max(1))));
        Self { every, whole: every.saturating_mul(burst.max(1)), full_at: now, seen: now }
    }

    /// What one token takes to come.
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// How long until there is a token; zero when there is one.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let owed = self.full_at.saturating_duration_since(now.max(self.seen));
        (owed + self.every).saturating_sub(self.whole)
    }

    /// Takes the next token, and says how long until it is there; zero when it is.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        self.seen = self.seen.max(now);
        let wait = self.wait(now);
        self.full_at = self.full_at.max(self.seen) + self.every;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Takes tokens as long as there are any, at each of these milliseconds; how many were there.
    fn taken(per_second: u32, burst: u32, times: &[u64]) -> Vec<u32> {
        let start = Instant::now() + MS(10_000);
        let mut bucket = Bucket::new(per_second, burst, start);
        let at = |ms: &u64| {
            let now = start + MS(*ms) - MS(1_000);
            let mut count = 0;
            while bucket.wait(now).is_zero() {
                assert!(bucket.take(now).is_zero());
                count += 1;
            }
            count
        };
        times.iter().map(at).collect()
    }

    #[test]
    fn tokens_come_at_the_rate_and_pile_up_to_the_burst() {
        // Times are milliseconds; the bucket is made at 1,000, full.
        for (per_second, burst, times, expected) in [
            (10, 1, &[1_000, 1_000, 1_099, 1_100, 1_150, 1_200][..], &[1, 0, 0, 1, 0, 1][..]),
            (10, 3, &[1_000, 1_050, 1_100, 9_000], &[3, 0, 1, 3]),
            (1_000, 5, &[1_000, 1_002, 1_003, 1_100], &[5, 2, 1, 5]),
            (3, 1, &[1_000, 1_333, 1_334], &[1, 0, 1]),
            // The clock is set back: nothing comes, and nothing is lost when it is right again.
            (10, 2, &[1_000, 0, 500, 1_000, 1_100, 1_050, 1_200], &[2, 0, 0, 0, 1, 0, 1]),
            (10, 2, &[0, 0, 1_000, 1_100], &[2, 0, 0, 1]),
        ] {
            assert_eq!(
                taken(per_second, burst, times),
                expected,
                "{per_second}/s, {burst} at once"
            );
        }
    }

    #[test]
    fn who_takes_before_there_is_one_is_told_how_long_it_takes() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, 2, now);
        let waits: Vec<Duration> = (0..5).map(|_| bucket.take(now)).collect();
        assert_eq!(waits, [MS(0), MS(0), MS(10), MS(20), MS(30)]);
        assert_eq!((bucket.wait(now), bucket.wait(now + MS(35))), (MS(40), MS(5)));
    }

    #[test]
    fn no_second_has_more_than_the_rate_and_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(7, 4, start);
        let times = (0..5_000).filter(|ms| {
            let now = start + MS(*ms);
            let there = bucket.wait(now).is_zero();
            if there {
                bucket.take(now);
            }
            there
        });
        let times: Vec<u64> = times.collect();
        assert_eq!(times.len(), 4 + 7 * 5 - 1);
        for first in &times {
            let within = times.iter().filter(|ms| (*first..*first + 1_000).contains(*ms)).count();
            assert!(within <= 7 + 4, "{within} from {first}");
        }
    }
}
