//! When to try again.

use std::time::Duration;

/// How often and how soon a failed event is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second attempt; doubles with each further one.
    pub first: Duration,
    /// Never longer than this.
    pub max: Duration,
    /// Attempts in all; at least one is made.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(10), attempts: 5 }
    }
}

impl Backoff {
    /// The pause after that many failures, counted from 1.
    pub fn pause(&self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.max)
    }

    /// The same, between a half and the whole of it: what failed together does not come back together. The
    /// seed decides, not chance.
    pub(crate) fn jittered(&self, failures: u32, seed: i64) -> Duration {
        let pause = self.pause(failures);
        let mixed =
            (seed as u64).wrapping_add(u64::from(failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = u32::try_from(mixed >> 48).unwrap_or_default();
        pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let pauses: Vec<u128> =
            [1, 2, 3, 7, 8, 33, u32::MAX].map(|n| backoff.pause(n).as_millis()).to_vec();
        assert_eq!(pauses, [100, 200, 400, 6_400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn jitter_is_up_to_half_of_the_pause_and_spreads() {
        let backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..1_000).map(|seed| backoff.jittered(1, seed)).collect();
        let (least, most) = (pauses.iter().min().copied(), pauses.iter().max().copied());
        assert!(least >= Some(MS(50)) && most <= Some(MS(100)), "{least:?} {most:?}");
        assert!(least < Some(MS(52)) && most > Some(MS(98)), "{least:?} {most:?}");
        assert_eq!(backoff.jittered(1, 7), backoff.jittered(1, 7));
    }
}
