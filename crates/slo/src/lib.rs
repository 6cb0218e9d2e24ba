//! Service level objectives: what is promised of a service, and how fast the budget for what may go wrong is used up.
//!
//! Three of each service, from what its instances report of themselves (`tidings.services`):
//!
//! | objective | an event is good when | counted |
//! |---|---|---|
//! | success | it did not end as a dead letter | each event, once per handler |
//! | latency | its effects were committed within so long of its happening | the same |
//! | freshness | (a second is good when) the oldest event not done is younger than so much | each look at a service that is there |
//!
//! An objective of 99.9 % leaves a budget of 0.1 %. Errors at that very rate are a *burn rate* of 1. What is burnt too fast is
//! told by two windows, as in the SRE workbook ([`ALERTS`]): the long one that it matters, the short one that it goes on.
//!
//! Source: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs", for a period of 30 days.

mod ledger;
pub mod limits;
mod objectives;
mod promql;
mod tracker;

use std::time::Duration;

pub use objectives::{DEFAULTS, Kind, LATENCY_BOUNDS, Malformed, Objective, Objectives};
pub use promql::{openslo, rules, sloth};
pub use tracker::Tracker;

use serde::Serialize;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// A window that burn rates are taken over, as Prometheus writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub name: &'static str,
    pub length: Duration,
}

const fn window(name: &'static str, length: Duration) -> Window {
    Window { name, length }
}

const M5: Window = window("5m", minutes(5));
const M30: Window = window("30m", minutes(30));
const H1: Window = window("1h", minutes(60));
const H2: Window = window("2h", minutes(2 * 60));
const H6: Window = window("6h", minutes(6 * 60));
const D1: Window = window("1d", minutes(24 * 60));
const D3: Window = window("3d", minutes(3 * 24 * 60));

/// All of them, the shortest first.
pub const WINDOWS: [Window; 7] = [M5, M30, H1, H2, H6, D1, D3];

/// Who is told that a budget burns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Somebody looks today.
    Ticket,
    /// Somebody is woken.
    Page,
}

impl Urgency {
    /// The label of alerts.
    pub fn severity(self) -> &'static str {
        match self {
            Self::Page => "critical",
            Self::Ticket => "warning",
        }
    }
}

/// Told when both windows burn faster than this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnAlert {
    pub urgency: Urgency,
    pub long: Window,
    pub short: Window,
    pub factor: f64,
}

/// With 2 % of a month's budget gone in an hour and 5 % in six somebody is woken, with 10 % in one or three days
/// somebody looks.
pub const ALERTS: [BurnAlert; 4] = [
    BurnAlert { urgency: Urgency::Page, long: H1, short: M5, factor: 14.4 },
    BurnAlert { urgency: Urgency::Page, long: H6, short: M30, factor: 6.0 },
    BurnAlert { urgency: Urgency::Ticket, long: D1, short: H2, factor: 3.0 },
    BurnAlert { urgency: Urgency::Ticket, long: D3, short: H6, factor: 1.0 },
];

/// How an objective of a service does, as `/api/slos` and the pages show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloLine {
    pub service: String,
    #[serde(rename = "slo")]
    pub kind: Kind,
    /// The part that shall be good.
    pub objective: f64,
    /// Of latency and freshness: how long at most.
    pub within_seconds: Option<f64>,
    pub state: State,
    /// Since the console looks.
    pub good: u64,
    pub bad: u64,
    pub observed_seconds: u64,
    pub windows: Vec<WindowLine>,
}

/// Worst last, so that the largest is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing has happened in any window.
    Idle,
    Ok,
    Ticket,
    Page,
}

/// One window of it; none where nothing has happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowLine {
    pub window: &'static str,
    pub error_ratio: Option<f64>,
    pub burn_rate: Option<f64>,
}

impl SloLine {
    /// Of a window of [`WINDOWS`], by its name.
    pub fn burn(&self, window: &str) -> Option<f64> {
        self.windows.iter().find(|line| line.window == window)?.burn_rate
    }

    /// As people read it: `99.9 %`.
    pub fn objective_text(&self) -> String {
        percent(self.objective)
    }

    /// What is good, in words.
    pub fn meaning(&self) -> String {
        match (self.kind, self.within_seconds) {
            (Kind::Success, _) => "of events end without a dead letter".to_owned(),
            (Kind::Latency, Some(s)) => format!("of events are done within {s} s"),
            (Kind::Freshness, Some(s)) => format!("of the time nothing waits longer than {s} s"),
            (Kind::Latency | Kind::Freshness, None) => String::new(),
        }
    }

    /// Whether its budget lasts, in a word or two.
    pub fn state_text(&self) -> &'static str {
        match self.state {
            State::Page => "burns fast",
            State::Ticket => "burns",
            State::Ok => "within",
            State::Idle => "idle",
        }
    }

    /// A burn rate as people read it; a dash where nothing has happened.
    pub fn burn_text(&self, window: &str) -> String {
        match self.burn(window) {
            None => "–".to_owned(),
            Some(0.0) => "0".to_owned(),
            Some(rate) if rate < 0.1 => "<0.1".to_owned(),
            Some(rate) if rate < 10.0 => format!("{rate:.1}"),
            Some(rate) => format!("{rate:.0}"),
        }
    }

    /// How much has been good since the console looks; a dash where nothing has happened.
    pub fn good_text(&self) -> String {
        let all = self.good as f64 + self.bad as f64;
        if all == 0.0 {
            return "–".to_owned();
        }
        // What is not all good is not shown as 100 %.
        let part = self.good as f64 / all;
        let shown = if self.bad > 0 { part.min(0.999_99) } else { part };
        percent((shown * 100_000.0).floor() / 100_000.0)
    }

    /// The worst first.
    pub fn sort(lines: &mut [Self]) {
        lines.sort_by(|a, b| {
            let by_state = b.state.cmp(&a.state);
            by_state.then_with(|| (&a.service, a.kind).cmp(&(&b.service, b.kind)))
        });
    }
}

/// A part of 1 in percent, without digits that say nothing.
pub fn percent(part: f64) -> String {
    let text = format!("{:.4}", part * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What the windows say together.
fn state(burn: impl Fn(Window) -> Option<f64>) -> State {
    let burns = |alert: &&BurnAlert| {
        let faster = |window| burn(window).is_some_and(|rate| rate > alert.factor);
        faster(alert.long) && faster(alert.short)
    };
    match ALERTS.iter().filter(burns).map(|alert| alert.urgency).max() {
        Some(Urgency::Page) => State::Page,
        Some(Urgency::Ticket) => State::Ticket,
        None if WINDOWS.into_iter().all(|window| burn(window).is_none()) => State::Idle,
        None => State::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_windows_must_burn() {
        for (rates, expected) in [
            (&[][..], State::Idle),
            (&[("3d", 0.5)], State::Ok),
            (&[("1h", 20.0), ("5m", 20.0)], State::Page),
            (&[("1h", 20.0), ("5m", 14.4)], State::Ok),
            (&[("1h", 14.0), ("5m", 20.0), ("6h", 7.0), ("30m", 7.0)], State::Page),
            (&[("1d", 3.5), ("2h", 3.5)], State::Ticket),
            (&[("3d", 1.5), ("6h", 1.5)], State::Ticket),
            (&[("3d", 1.5), ("6h", 0.0)], State::Ok),
        ] {
            let burn = |window: Window| {
                let found = rates.iter().find(|(name, _)| *name == window.name);
                found.map(|(_, rate)| *rate)
            };
            assert_eq!(state(burn), expected, "{rates:?}");
        }
    }

    #[test]
    fn the_good_part_is_shown_whatever_an_instance_reports() {
        let line = |good, bad| SloLine {
            service: "pay".to_owned(),
            kind: Kind::Success,
            objective: 0.999,
            within_seconds: None,
            state: State::Ok,
            good,
            bad,
            observed_seconds: 60,
            windows: Vec::new(),
        };
        for (good, bad, wanted) in [
            (0, 0, "–"),
            (10, 0, "100 %"),
            (9_999_999, 1, "99.999 %"),
            (1, 3, "25 %"),
            (u64::MAX, u64::MAX, "50 %"),
        ] {
            assert_eq!(line(good, bad).good_text(), wanted, "{good} {bad}");
        }
    }

    #[test]
    fn percent_has_no_digits_that_say_nothing() {
        for (part, wanted) in
            [(0.99, "99 %"), (0.999, "99.9 %"), (0.99995, "99.995 %"), (0.9, "90 %")]
        {
            assert_eq!(percent(part), wanted);
        }
    }
}
