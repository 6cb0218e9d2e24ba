//! Follows the reports of services and keeps the ledgers of their objectives.
//!
//! Reports carry counts since an instance's start. What an instance has done before this tracker saw anything does not
//! count; of one that starts later everything does. Bounded: [`SERVICES_MAX`] services, those that come first; one
//! that has not reported for [`FORGET_AFTER`] makes room. Ledgers are in memory and begin anew with the console.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings::Report;

use crate::ledger::{Ledger, Tally};
use crate::limits::{FORGET_AFTER, INSTANCES_MAX, SERVICES_MAX};
use crate::objectives::{Kind, Objective, Objectives};
use crate::{SloLine, WINDOWS, WindowLine, state};

#[derive(Debug)]
pub struct Tracker {
    objectives: Objectives,
    services: BTreeMap<String, Service>,
    /// By service and instance.
    instances: BTreeMap<(String, String), Instance>,
    began_ms: Option<i64>,
    /// Services that there was no room for at the last look.
    untracked: usize,
}

#[derive(Debug)]
struct Service {
    began: Duration,
    seen: Duration,
    kept: Vec<Kept>,
}

/// An objective and what became of it.
#[derive(Debug)]
struct Kept {
    kind: Kind,
    objective: Objective,
    all: Tally,
    ledger: Ledger,
}

#[derive(Debug)]
struct Instance {
    seen: Duration,
    counts: Counts,
}

/// What an instance has counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    processed: u64,
    dead: u64,
    /// By the buckets of its times, of all handlers.
    times: [u64; 15],
}

impl Counts {
    fn of(report: &Report) -> Self {
        let handlers = &report.metrics.handlers;
        let mut times = [0_u64; 15];
        for handler in handlers {
            for (sum, count) in times.iter_mut().zip(handler.figures.end_to_end.counts) {
                *sum = sum.saturating_add(count);
            }
        }
        let processed =
            handlers.iter().fold(0_u64, |sum, of| sum.saturating_add(of.figures.processed));
        Self { processed, dead: report.metrics.figures.dead, times }
    }

    /// What was counted since; counts that went backwards are those of somebody else, and count for nothing.
    fn since(&self, before: &Self) -> Self {
        let mut times = [0; 15];
        for (at, since) in times.iter_mut().enumerate() {
            *since = self.times[at].saturating_sub(before.times[at]);
        }
        Self {
            processed: self.processed.saturating_sub(before.processed),
            dead: self.dead.saturating_sub(before.dead),
            times,
        }
    }

    fn tally(&self, kind: Kind, objective: &Objective) -> Tally {
        match kind {
            // An event may die of several handlers.
            Kind::Success => {
                Tally { good: self.processed.saturating_sub(self.dead), bad: self.dead }
            }
            Kind::Latency => {
                let in_time = objective.bound().map_or(0, |(at, _)| at + 1);
                let sum = |times: &[u64]| times.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
                let (good, bad) = self.times.split_at(in_time);
                Tally { good: sum(good), bad: sum(bad) }
            }
            Kind::Freshness => Tally::default(),
        }
    }
}

impl Tracker {
    pub fn new(objectives: Objectives) -> Self {
        Self {
            objectives,
            services: BTreeMap::new(),
            instances: BTreeMap::new(),
            began_ms: None,
            untracked: 0,
        }
    }

    /// Takes the last reports of all instances that are there. `at` is how long the console runs, `now_ms` the time.
    pub fn look(&mut self, at: Duration, now_ms: i64, reports: &[Arc<Report>]) {
        let began_ms = *self.began_ms.get_or_insert(now_ms);
        let gone = |seen: Duration| at.saturating_sub(seen) > FORGET_AFTER;
        self.services.retain(|_, service| !gone(service.seen));
        self.instances.retain(|_, instance| !gone(instance.seen));
        let mut by_service: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
        for report in reports {
            by_service.entry(&report.service).or_default().push(report);
        }
        self.untracked = 0;
        for (name, reports) in by_service {
            if self.services.len() >= SERVICES_MAX && !self.services.contains_key(name) {
                self.untracked += 1;
                continue;
            }
            let mut done = Counts::default();
            for report in &reports {
                let since = self.since_last(at, began_ms, report);
                done.processed = done.processed.saturating_add(since.processed);
                done.dead = done.dead.saturating_add(since.dead);
                for (sum, count) in done.times.iter_mut().zip(since.times) {
                    *sum = sum.saturating_add(count);
                }
            }
            let lag = reports.iter().map(|of| of.metrics.lag_seconds).fold(0.0, f64::max);
            self.count(at, name, &done, lag);
        }
        self.make_room();
    }

    /// What an instance has done since its last report.
    fn since_last(&mut self, at: Duration, began_ms: i64, report: &Report) -> Counts {
        let counts = Counts::of(report);
        let name = (report.service.clone(), report.instance.clone());
        let before = self.instances.insert(name, Instance { seen: at, counts: counts.clone() });
        match before {
            Some(before) => counts.since(&before.counts),
            None if report.started_ms >= began_ms => counts,
            None => Counts::default(),
        }
    }

    fn count(&mut self, at: Duration, name: &str, done: &Counts, lag_seconds: f64) {
        let objectives = &self.objectives;
        let service = self.services.entry(name.to_owned()).or_insert_with(|| {
            let kept = Kind::ALL.into_iter().filter_map(|kind| {
                let objective = objectives.of(name, kind)?;
                Some(Kept { kind, objective, all: Tally::default(), ledger: Ledger::default() })
            });
            Service { began: at, seen: at, kept: kept.collect() }
        });
        service.seen = at;
        for Kept { kind, objective, all, ledger } in &mut service.kept {
            let tally = match kind {
                Kind::Freshness => {
                    let good = u64::from(lag_seconds <= objective.within.as_secs_f64());
                    Tally { good, bad: 1 - good }
                }
                Kind::Success | Kind::Latency => done.tally(*kind, objective),
            };
            all.add(tally);
            ledger.add(at, tally);
        }
    }

    /// Those seen longest ago go.
    fn make_room(&mut self) {
        while self.instances.len() > INSTANCES_MAX {
            let oldest = self.instances.iter().min_by_key(|(_, instance)| instance.seen);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            self.instances.remove(&oldest);
        }
    }

    /// How each objective does, the worst first.
    pub fn lines(&self, now: Duration) -> Vec<SloLine> {
        let of_service = |(name, service): (&String, &Service)| {
            let lines = service.kept.iter().map(|kept| kept.line(name, service.began, now));
            lines.collect::<Vec<_>>()
        };
        let mut lines: Vec<SloLine> = self.services.iter().flat_map(of_service).collect();
        SloLine::sort(&mut lines);
        lines
    }

    pub fn untracked(&self) -> usize {
        self.untracked
    }
}

impl Kept {
    fn line(&self, service: &str, began: Duration, now: Duration) -> SloLine {
        let budget = self.objective.budget();
        let error_ratio = |length| self.ledger.last(now, length).error_ratio();
        let windows = WINDOWS.into_iter().map(|window| {
            let error_ratio = error_ratio(window.length);
            let burn_rate = error_ratio.map(|ratio| ratio / budget);
            WindowLine { window: window.name, error_ratio, burn_rate }
        });
        let within = self.objective.within.as_secs_f64();
        SloLine {
            service: service.to_owned(),
            kind: self.kind,
            objective: self.objective.part,
            within_seconds: (self.kind != Kind::Success).then_some(within),
            state: state(|window| Some(error_ratio(window.length)? / budget)),
            good: self.all.good,
            bad: self.all.bad,
            observed_seconds: now.saturating_sub(began).as_secs(),
            windows: windows.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::State;

    fn report(
        service: &str,
        instance: &str,
        started_ms: i64,
        of: [u64; 4],
        lag: f64,
    ) -> Arc<Report> {
        let [processed, dead, quick, slow] = of;
        let mut counts = [0; 15];
        (counts[0], counts[14]) = (quick, slow);
        let report = json!({
            "report": 1, "service": service, "instance": instance, "started_ms": started_ms,
            "metrics": {
                "service": service, "lag_seconds": lag, "figures": { "dead": dead },
                "handlers": [{
                    "name": "h", "processed": processed,
                    "end_to_end": { "counts": counts, "sum_us": 0 },
                }],
            },
        });
        Arc::new(serde_json::from_value(report).unwrap())
    }

    fn tracker() -> Tracker {
        Tracker::new(Objectives::default())
    }

    fn line(tracker: &Tracker, now: u64, kind: Kind) -> SloLine {
        let lines = tracker.lines(Duration::from_secs(now));
        lines.into_iter().find(|line| line.kind == kind).unwrap()
    }

    #[test]
    fn what_was_done_before_the_first_look_does_not_count_and_what_comes_does() {
        let mut tracker = tracker();
        let at = Duration::from_secs;
        tracker.look(at(0), 10_000, &[report("pay", "old", 1_000, [500, 50, 400, 100], 0.0)]);
        let before = line(&tracker, 0, Kind::Success);
        assert_eq!((before.good, before.bad, before.state), (0, 0, State::Idle));
        tracker.look(
            at(60),
            70_000,
            &[
                report("pay", "old", 1_000, [600, 51, 490, 110], 90.0),
                report("pay", "new", 20_000, [100, 0, 100, 0], 0.0),
            ],
        );
        let success = line(&tracker, 60, Kind::Success);
        assert_eq!((success.good, success.bad), (199, 1));
        assert_eq!(
            success.burn("5m").map(f64::round),
            Some(5.0),
            "1 of 200, where 1 of 1000 may be"
        );
        assert_eq!(success.state, State::Ticket, "all windows burn at 5: more than 3, less than 6");
        let latency = line(&tracker, 60, Kind::Latency);
        assert_eq!((latency.good, latency.bad), (190, 10));
        let fresh = line(&tracker, 60, Kind::Freshness);
        assert_eq!((fresh.good, fresh.bad, fresh.state), (1, 1, State::Page), "the oldest counts");
        assert_eq!(tracker.lines(at(60))[0].kind, Kind::Freshness, "the worst comes first");
        tracker.look(at(61), 71_000, &[report("pay", "old", 1_000, [600, 51, 490, 110], 0.0)]);
        assert_eq!(line(&tracker, 61, Kind::Success).bad, 1, "the same report counts once");
    }

    #[test]
    fn services_and_instances_are_bounded() {
        let mut tracker = tracker();
        let reports: Vec<_> = (0..SERVICES_MAX + 3)
            .map(|n| report(&format!("{n:04}"), "i", 0, [0; 4], 0.0))
            .collect();
        tracker.look(Duration::ZERO, 0, &reports);
        assert_eq!((tracker.services.len(), tracker.untracked()), (SERVICES_MAX, 3));
        let later = FORGET_AFTER + Duration::from_secs(1);
        tracker.look(later, 0, &reports[SERVICES_MAX..]);
        assert_eq!((tracker.services.len(), tracker.untracked()), (3, 0), "who is gone made room");
        for n in 0..=INSTANCES_MAX {
            let one = report("a", &n.to_string(), 0, [0; 4], 0.0);
            tracker.look(later + Duration::from_millis(n as u64), 0, &[one]);
        }
        assert_eq!(tracker.instances.len(), INSTANCES_MAX);
    }
}
