//! Tells a broken dependency from a bad message by measurement: one key that fails is the key's trouble, many
//! keys that fail one after the other, with none that works between them, are not.
//!
//! While it is open nothing is handled but a probe now and then, attempts are not counted, and nothing more is
//! committed or given up. A probe that works closes it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::{Backoff, limits};

/// When a service takes its failures for somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// So many different keys fail one after the other. With `usize::MAX` only what a handler calls an outage is
    /// one.
    pub keys: usize,
    /// Pauses between two probes.
    pub probe: Backoff,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        let (first, max) = (Duration::from_millis(200), Duration::from_secs(10));
        Self { keys: 5, probe: Backoff { first, max, attempts: u32::MAX } }
    }
}

/// Why and since when a service handles nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// What the last attempt said.
    pub cause: String,
    /// Milliseconds since the epoch.
    pub since_ms: i64,
    /// Attempts that failed since.
    pub probes: u32,
}

/// What an attempt said about the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The handler came to a decision.
    Works,
    /// It failed; with its last attempt when `last`.
    Fails { last: bool },
    /// It says itself that a dependency is down.
    Down,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    /// Keys that failed since one worked.
    failing: BTreeSet<Key>,
    /// The last attempts of different keys: whether they failed.
    window: VecDeque<(Key, bool)>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    outage: Outage,
    probe_at_ms: i64,
    probing: bool,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Self {
        Self { options, failing: BTreeSet::new(), window: VecDeque::new(), open: None }
    }

    pub(crate) fn outage(&self) -> Option<&Outage> {
        self.open.as_ref().map(|open| &open.outage)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether an attempt may be made now: any while closed, one at a time when it is time to probe.
    pub(crate) fn lets_through(&self, now_ms: i64) -> bool {
        let due = |open: &Open| !open.probing && now_ms >= self.due_ms(open, now_ms);
        self.open.as_ref().is_none_or(due)
    }

    /// A time further away than any pause is a clock that was set back.
    fn due_ms(&self, open: &Open, now_ms: i64) -> i64 {
        let longest = i64::try_from(self.options.probe.max.as_millis()).unwrap_or(i64::MAX);
        if open.probe_at_ms.saturating_sub(now_ms) > longest { now_ms } else { open.probe_at_ms }
    }

    /// When the next probe is due.
    pub(crate) fn probe_at_ms(&self, now_ms: i64) -> Option<i64> {
        self.open.as_ref().filter(|open| !open.probing).map(|open| self.due_ms(open, now_ms))
    }

    /// An attempt that was let through begins; true when it is a probe.
    pub(crate) fn begin(&mut self) -> bool {
        let open = self.open.as_mut();
        open.map(|open| open.probing = true).is_some()
    }

    /// The attempt that was a probe will not end.
    pub(crate) fn give_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// Takes an attempt in; true when it counts for nothing, because the breaker is open. What was begun before it
    /// opened is no probe.
    pub(crate) fn judge(
        &mut self,
        key: &Key,
        (sign, is_probe): (Sign, bool),
        cause: &str,
        now_ms: i64,
    ) -> bool {
        match sign {
            Sign::Works => {
                self.failing.clear();
                if self.open.take().is_some() {
                    self.window.clear();
                }
                // Where nothing fails there is nothing to weigh it against.
                if !self.window.is_empty() {
                    self.remember(key, false);
                }
                return false;
            }
            Sign::Fails { .. } | Sign::Down if self.open.is_some() && !is_probe => return true,
            Sign::Fails { .. } | Sign::Down if self.open.is_some() => {}
            Sign::Down => {}
            Sign::Fails { last } => {
                self.failing.insert(key.clone());
                self.remember(key, true);
                if !self.trips(last) {
                    if last {
                        // It dies of its own trouble.
                        self.failing.remove(key);
                    }
                    return false;
                }
            }
        }
        let probes = self.open.as_ref().map_or(0, |open| open.outage.probes.saturating_add(1));
        let since_ms = self.open.as_ref().map_or(now_ms, |open| open.outage.since_ms);
        let pause = self.options.probe.pause(probes.saturating_add(1));
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.open = Some(Open {
            outage: Outage { cause: cause.to_owned(), since_ms, probes },
            probe_at_ms: now_ms.saturating_add(pause_ms),
            probing: false,
        });
        true
    }

    /// Many keys in a row; or half of the last ones; or a key would die of what another one has as well.
    fn trips(&self, last: bool) -> bool {
        if self.options.keys == usize::MAX {
            return false;
        }
        let failed = self.window.iter().filter(|(_, failed)| *failed).count();
        self.failing.len() >= self.options.keys
            || (last && self.failing.len() > 1)
            || (failed >= limits::BREAKER_WINDOW / 4 && failed * 2 >= self.window.len())
    }

    fn remember(&mut self, key: &Key, failed: bool) {
        self.window.retain(|(its, _)| its != key);
        self.window.push_back((key.clone(), failed));
        if self.window.len() > limits::BREAKER_WINDOW {
            self.window.pop_front();
        }
        if self.window.iter().all(|(_, failed)| !failed) {
            self.window.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sign::{Down, Works};

    const FAILS: Sign = Sign::Fails { last: false };
    const LAST: Sign = Sign::Fails { last: true };

    fn after(signs: &[(u8, Sign)]) -> Breaker {
        let mut breaker = Breaker::new(BreakerOptions::default());
        for (number, (key, sign)) in signs.iter().enumerate() {
            let now_ms = i64::try_from(number).expect("small");
            breaker.judge(&Key::Of(vec![*key].into()), (*sign, false), "no answer", now_ms);
        }
        breaker
    }

    #[test]
    fn many_keys_open_it_and_one_key_never_does() {
        let one_key = [(1, FAILS); 40];
        let mixed: Vec<(u8, Sign)> =
            (0..200).map(|n| (n, if n % 4 == 3 { FAILS } else { Works })).collect();
        let half: Vec<(u8, Sign)> =
            (0..26).map(|n| (n, if n % 5 < 3 { FAILS } else { Works })).collect();
        for (signs, open) in [
            (&one_key[..], false),
            (&[(1, FAILS), (2, FAILS), (3, FAILS), (4, FAILS)][..], false),
            (&[(1, FAILS), (2, FAILS), (3, FAILS), (4, FAILS), (5, FAILS)][..], true),
            (&[(1, FAILS), (2, FAILS), (3, Works), (4, FAILS), (5, FAILS), (6, FAILS)][..], false),
            (&[(1, LAST)][..], false),
            (&[(1, FAILS), (2, LAST)][..], true),
            (&[(1, FAILS), (3, Works), (2, LAST)][..], false),
            (&[(1, LAST), (2, LAST), (3, LAST), (4, LAST), (5, LAST), (6, LAST)][..], false),
            (&[(1, Down)][..], true),
            (&[(1, Down), (1, Works)][..], false),
            (&mixed[..], false),
            (&half[..], true),
        ] {
            assert_eq!(after(signs).is_open(), open, "{} signs: {:?}", signs.len(), signs.first());
        }
    }

    #[test]
    fn it_can_be_left_to_the_handlers_word() {
        let options = BreakerOptions { keys: usize::MAX, ..BreakerOptions::default() };
        let mut breaker = Breaker::new(options);
        for key in 0..200_u8 {
            assert!(!breaker.judge(&Key::Of(vec![key].into()), (LAST, false), "no answer", 0));
        }
        assert!(breaker.judge(&Key::At(0), (Down, false), "closed", 0) && breaker.is_open());
    }

    #[test]
    fn it_probes_one_at_a_time_and_closes_when_one_works() {
        let mut breaker = after(&[]);
        let key = Key::Of("k".into());
        assert!(breaker.lets_through(0));
        assert!(breaker.judge(&key, (Down, false), "closed for today", 1_000));
        assert_eq!((breaker.lets_through(1_199), breaker.lets_through(1_200)), (false, true));
        assert!(breaker.judge(&key, (LAST, false), "begun before", 1_200), "it counts for nothing");
        assert!(breaker.begin());
        assert_eq!((breaker.lets_through(9_999), breaker.probe_at_ms(9_999)), (false, None));
        assert!(breaker.judge(&key, (LAST, true), "still closed", 1_300), "a probe is no attempt");
        assert_eq!(breaker.probe_at_ms(1_300), Some(1_700));
        let outage = Outage { cause: "still closed".into(), since_ms: 1_000, probes: 1 };
        assert_eq!(breaker.outage(), Some(&outage));
        breaker.begin();
        breaker.give_up();
        assert!(breaker.lets_through(1_700) && !breaker.lets_through(1_699));
        assert!(breaker.lets_through(-1_000_000), "the clock was set back");
        breaker.begin();
        assert!(!breaker.judge(&key, (Works, true), "", 1_800));
        assert_eq!(
            (breaker.is_open(), breaker.lets_through(1_800), breaker.begin()),
            (false, true, false)
        );
    }
}
