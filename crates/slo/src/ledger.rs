//! Good and bad by time, in steps: minutes for six hours, half hours for three days. 24 bytes a step, 12 KiB in all.
//!
//! A window is as many steps as make it up, the one under way among them: what is told of 5 minutes is of the last 4
//! to 5.

use std::collections::VecDeque;
use std::time::Duration;

use crate::WINDOWS;

const FINE: Duration = Duration::from_secs(60);
const FINE_STEPS: usize = 360;
const COARSE: Duration = Duration::from_secs(30 * 60);
const COARSE_STEPS: usize = 144;

/// Each window is whole steps that are all kept: fine ones up to six hours, coarse ones beyond.
const _: () = {
    let mut at = 0;
    while at < WINDOWS.len() {
        let (length, fine, coarse) =
            (WINDOWS[at].length.as_secs(), FINE.as_secs(), COARSE.as_secs());
        let (step, kept) = if length <= fine * FINE_STEPS as u64 {
            (fine, FINE_STEPS as u64)
        } else {
            (coarse, COARSE_STEPS as u64)
        };
        assert!(length % step == 0 && length / step <= kept);
        at += 1;
    }
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) good: u64,
    pub(super) bad: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }

    fn is_empty(self) -> bool {
        self.good == 0 && self.bad == 0
    }

    /// The part that is bad; none where nothing is.
    pub(super) fn error_ratio(self) -> Option<f64> {
        let all = self.good.saturating_add(self.bad);
        (all > 0).then(|| self.bad as f64 / all as f64)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    fine: VecDeque<(u64, Tally)>,
    coarse: VecDeque<(u64, Tally)>,
}

impl Ledger {
    /// `at` since the tracker began.
    pub(super) fn add(&mut self, at: Duration, tally: Tally) {
        if !tally.is_empty() {
            add(&mut self.fine, step(at, FINE), FINE_STEPS, tally);
            add(&mut self.coarse, step(at, COARSE), COARSE_STEPS, tally);
        }
    }

    /// Of the last so long, up to three days.
    pub(super) fn last(&self, now: Duration, window: Duration) -> Tally {
        if window <= FINE * FINE_STEPS as u32 {
            sum(&self.fine, step(now, FINE), window.as_secs() / FINE.as_secs())
        } else {
            sum(&self.coarse, step(now, COARSE), window.as_secs() / COARSE.as_secs())
        }
    }
}

fn step(at: Duration, length: Duration) -> u64 {
    at.as_secs() / length.as_secs()
}

fn add(steps: &mut VecDeque<(u64, Tally)>, now: u64, kept: usize, tally: Tally) {
    match steps.back_mut() {
        Some((step, sum)) if *step == now => sum.add(tally),
        _ => steps.push_back((now, tally)),
    }
    while steps.len() > kept {
        steps.pop_front();
    }
}

fn sum(steps: &VecDeque<(u64, Tally)>, now: u64, count: u64) -> Tally {
    let mut all = Tally::default();
    let recent = steps.iter().rev().take_while(|(step, _)| step + count > now);
    recent.for_each(|(_, tally)| all.add(*tally));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_what_happened_in_it() {
        let minute = |minutes: u64| Duration::from_secs(minutes * 60);
        let mut ledger = Ledger::default();
        for at in 0..3 * 24 * 60 {
            ledger.add(minute(at), Tally { good: 9, bad: 1 });
        }
        let now = minute(3 * 24 * 60 - 1);
        for (window, all) in
            [(5, 50), (60, 600), (6 * 60, 3_600), (24 * 60, 14_400), (3 * 24 * 60, 43_200)]
        {
            let Tally { good, bad } = ledger.last(now, minute(window));
            assert_eq!((good + bad, bad), (all, all / 10), "{window} min");
        }
        assert_eq!((ledger.fine.len(), ledger.coarse.len()), (FINE_STEPS, COARSE_STEPS));
        let quiet = now + minute(10);
        assert_eq!(ledger.last(quiet, minute(5)).error_ratio(), None, "nothing has happened since");
        assert_eq!(ledger.last(quiet, minute(60)).good, 450);
    }
}
