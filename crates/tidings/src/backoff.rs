//! When to try again, and when to stop trying: a decision over values.

use std::time::Duration;

use crate::outcome::{Stop, StopKind};

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
}

/// What becomes of an event whose handler had no effects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait, then call the handler again.
    Again(Duration),
    /// Write a dead letter and go on.
    Dead,
}

/// How often the event in hand has failed, and how often it met an outage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    pub(crate) failures: u32,
    pub(crate) outages: u32,
}

impl Tries {
    /// Counts the stop and decides. Outages are no failures: they never end in a dead letter.
    pub(crate) fn judge(&mut self, stop: &Stop, backoff: &Backoff) -> Verdict {
        match stop.kind {
            StopKind::Rejected => {
                self.failures += 1;
                Verdict::Dead
            }
            StopKind::Failed => {
                self.failures += 1;
                if self.failures >= backoff.attempts {
                    return Verdict::Dead;
                }
                Verdict::Again(backoff.pause(self.failures))
            }
            StopKind::Outage => {
                self.outages = self.outages.saturating_add(1);
                Verdict::Again(backoff.pause(self.outages))
            }
        }
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
    fn verdicts() {
        use StopKind::{Failed, Outage, Rejected};
        let backoff = Backoff { first: MS(10), max: MS(30), attempts: 3 };
        let again = |ms| Verdict::Again(MS(ms));
        for (stops, expected) in [
            (&[Rejected][..], vec![Verdict::Dead]),
            (&[Failed, Failed, Failed][..], vec![again(10), again(20), Verdict::Dead]),
            (
                &[Outage, Outage, Outage, Outage][..],
                vec![again(10), again(20), again(30), again(30)],
            ),
            (
                &[Failed, Outage, Failed, Outage, Failed][..],
                vec![again(10), again(10), again(20), again(20), Verdict::Dead],
            ),
        ] {
            let mut tries = Tries::default();
            let verdicts: Vec<Verdict> = stops
                .iter()
                .map(|&kind| {
                    tries.judge(&Stop { kind, cause: String::new(), error: None }, &backoff)
                })
                .collect();
            assert_eq!(verdicts, expected, "{stops:?}");
        }
    }

    #[test]
    fn one_attempt_is_always_made() {
        let backoff = Backoff { attempts: 0, ..Backoff::default() };
        assert_eq!(Tries::default().judge(&Stop::failed("x"), &backoff), Verdict::Dead);
    }
}
