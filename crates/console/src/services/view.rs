//! What the reports of a service's instances amount to: a line in a list, and a page of its own.
//!
//! Pure. Counts of instances add up; rates and times are those of the last one to two minutes
//! ([`SERVICE_RATE_WINDOW`](crate::limits::SERVICE_RATE_WINDOW)), times since the start where nothing was handled
//! lately. A time is the bound of the bucket that its percentile lies in, so it is never too good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use tidings::{DependencyMetrics, Figures, HandlerFigures, Histogram, Report};

use super::super::chart::Spark;
use super::super::payload::shortened;
use super::super::quantity::{Behind, Count, Moment, Rate};
use super::super::snapshot::{GroupLine, Severity, Snapshot};
use super::Instance;
use crate::limits::CAUSE_CHARS_MAX;

/// Upper bounds of a [`Histogram`]'s buckets, in milliseconds; one more has none.
const BOUNDS_MS: [u32; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];

/// A service in the list.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServiceLine {
    pub(crate) name: String,
    /// Those that report; none where the service left something behind and does not run.
    pub(crate) instances: Count,
    pub(crate) processed_per_second: Rate,
    /// Attempts that failed.
    pub(crate) failed_per_second: Rate,
    /// From the begin of an attempt to its decision.
    pub(crate) processing: Option<Times>,
    /// From when an event happened to the commit of its effects.
    pub(crate) end_to_end: Option<Times>,
    pub(crate) lag: Count,
    /// The age of the oldest record that is read and not done.
    pub(crate) behind: Option<Behind>,
    pub(crate) parked: Count,
    pub(crate) dead_keys: Count,
    /// Why nothing is handled, if that is so.
    pub(crate) breaker: Option<Breaker>,
    #[serde(skip)]
    pub(crate) spark: Spark,
}

/// A dependency that is taken for down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Breaker {
    pub(crate) cause: String,
    #[serde(rename = "since_ms")]
    pub(crate) since: Moment,
    /// Attempts that failed since.
    pub(crate) probes: u32,
    /// Instances that say so.
    pub(crate) instances: Count,
}

/// Times that so many of a hundred do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Times {
    pub(crate) p50_ms: Bound,
    pub(crate) p95_ms: Bound,
    pub(crate) p99_ms: Bound,
}

/// A bucket's upper bound in milliseconds; none of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Bound(pub(crate) Option<u32>);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("> 10 s"),
            Some(ms) if ms < 1_000 => write!(f, "≤ {ms} ms"),
            Some(ms) if ms.is_multiple_of(1_000) => write!(f, "≤ {} s", ms / 1_000),
            Some(ms) => write!(f, "≤ {:.1} s", f64::from(ms) / 1_000.0),
        }
    }
}

impl Times {
    /// None of an empty histogram.
    fn of(counts: &[u64; 15]) -> Option<Self> {
        let all = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let bound = |percent: u64| {
            // The number of the time that this many of a hundred do not exceed, from 1.
            let rank = (u128::from(all) * u128::from(percent)).div_ceil(100);
            let mut seen = 0_u128;
            let bucket = counts.iter().position(|count| {
                seen += u128::from(*count);
                seen >= rank
            });
            Bound(bucket.and_then(|bucket| BOUNDS_MS.get(bucket).copied()))
        };
        (all > 0).then(|| Self { p50_ms: bound(50), p95_ms: bound(95), p99_ms: bound(99) })
    }
}

/// Times lately and ever, of several instances together.
#[derive(Clone, Copy, Default)]
struct Timed {
    lately: [u64; 15],
    ever: [u64; 15],
}

impl Timed {
    fn add(&mut self, now: &Histogram, before: Option<&Histogram>) {
        for (n, count) in now.counts.iter().enumerate() {
            let earlier = before.map_or(0, |before| before.counts[n]);
            self.lately[n] = self.lately[n].saturating_add(count.saturating_sub(earlier));
            self.ever[n] = self.ever[n].saturating_add(*count);
        }
    }

    fn times(&self) -> Option<Times> {
        Times::of(&self.lately).or_else(|| Times::of(&self.ever))
    }
}

impl Instance {
    /// What has been counted since the earlier report, or the start, in a second.
    fn rate(&self, count: impl Fn(&Report) -> u64) -> f64 {
        let from_ms = self.before.as_ref().map_or(self.report.started_ms, |before| before.at_ms);
        let earlier = self.before.as_ref().map_or(0, |before| count(before));
        let ms = self.report.at_ms.saturating_sub(from_ms);
        if ms <= 0 {
            return 0.0;
        }
        count(&self.report).saturating_sub(earlier) as f64 * 1_000.0 / ms as f64
    }

    fn handler_before(&self, name: &str) -> Option<&HandlerFigures> {
        let before = self.before.as_ref()?;
        let handler = before.metrics.handlers.iter().find(|handler| handler.name == name);
        handler.map(|handler| &handler.figures)
    }
}

impl ServiceLine {
    /// Of instances of one service, or of none that is there.
    fn of(name: &str, instances: &[&Instance]) -> Self {
        let figures = |of: &Instance| of.report.metrics.figures;
        let sum = |count: fn(&Figures) -> u64| {
            let counts = instances.iter().map(|of| count(&figures(of)));
            counted(counts.fold(0, u64::saturating_add))
        };
        let rate =
            |count: fn(&Report) -> u64| Rate(instances.iter().map(|of| of.rate(count)).sum());
        let (mut processing, mut end_to_end) = (Timed::default(), Timed::default());
        for of in instances {
            for handler in &of.report.metrics.handlers {
                let before = of.handler_before(&handler.name);
                processing.add(&handler.figures.processing, before.map(|b| &b.processing));
                end_to_end.add(&handler.figures.end_to_end, before.map(|b| &b.end_to_end));
            }
        }
        let lag = instances.iter().map(|of| of.report.metrics.lag_records);
        let seconds = instances.iter().map(|of| of.report.metrics.lag_seconds).fold(0.0, f64::max);
        Self {
            name: name.to_owned(),
            instances: Count::of(instances.len()),
            processed_per_second: rate(|report| report.metrics.figures.processed),
            failed_per_second: rate(|report| report.metrics.figures.failed),
            processing: processing.times(),
            end_to_end: end_to_end.times(),
            lag: counted(lag.fold(0, u64::saturating_add)),
            behind: behind(seconds),
            parked: sum(|figures| figures.parked),
            dead_keys: sum(|figures| figures.dead_keys),
            breaker: breaker(instances),
            spark: Spark::default(),
        }
    }

    pub(crate) fn severity(&self) -> Option<Severity> {
        if self.breaker.is_some() {
            return Some(Severity::Bad);
        }
        (self.dead_keys.0 > 0 || self.instances.0 == 0).then_some(Severity::Warn)
    }

    pub(crate) fn class(&self) -> &'static str {
        self.severity().map_or("", Severity::class)
    }

    /// The end of the path of its page.
    pub(crate) fn path(&self) -> String {
        super::url_encoded(&self.name)
    }
}

/// One that says it; the longest outage of several.
fn breaker(instances: &[&Instance]) -> Option<Breaker> {
    let open: Vec<_> = instances.iter().filter_map(|of| of.report.outage.as_ref()).collect();
    let first = open.iter().min_by_key(|outage| outage.since_ms)?;
    Some(Breaker {
        cause: shortened(&first.cause, CAUSE_CHARS_MAX),
        since: Moment(first.since_ms),
        probes: first.probes,
        instances: Count::of(open.len()),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn behind(seconds: f64) -> Option<Behind> {
    (seconds > 0.0).then_some(Behind { seconds: seconds as u64, at_least: false })
}

fn counted(count: u64) -> Count {
    Count(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Of every service that reports, or has left a changelog; by name.
pub(crate) fn lines<'t>(
    instances: &[Instance],
    topics: impl Iterator<Item = &'t str>,
) -> Vec<ServiceLine> {
    let mut services: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    let left_behind = topics.filter_map(|topic| topic.strip_suffix(".changelog"));
    services.extend(left_behind.map(|name| (name, Vec::new())));
    for instance in instances {
        services.entry(&instance.report.service).or_default().push(instance);
    }
    services.into_iter().map(|(name, its)| ServiceLine::of(name, &its)).collect()
}

/// A service on its own page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceView {
    #[serde(flatten)]
    pub(crate) line: ServiceLine,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) handlers: Vec<HandlerLine>,
    /// Those with limits.
    pub(crate) dependencies: Vec<DependencyLine>,
    pub(crate) instance_list: Vec<InstanceLine>,
    /// The consumer group of its name.
    pub(crate) group: Option<GroupLine>,
    /// Whether there is a desk for what it gives up.
    pub(crate) has_desk: bool,
}

/// A handler, on whatever instance.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HandlerLine {
    pub(crate) name: String,
    pub(crate) event: String,
    pub(crate) kind: String,
    pub(crate) topic: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) processed_per_second: Rate,
    pub(crate) processed: Count,
    pub(crate) failed: Count,
    pub(crate) rejected: Count,
    pub(crate) dropped: Count,
    pub(crate) outages: Count,
    /// Times that it had no turn at a dependency with limits.
    pub(crate) turned_away: Count,
    pub(crate) panics: Count,
    pub(crate) processing: Option<Times>,
    pub(crate) end_to_end: Option<Times>,
}

/// A dependency with limits, of all instances together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DependencyLine {
    #[serde(flatten)]
    pub(crate) all: DependencyMetrics,
    /// Turns that began in a second, lately.
    pub(crate) turns_per_second: Rate,
}

impl DependencyLine {
    /// Nobody else has a turn.
    pub(crate) fn is_full(&self) -> bool {
        self.all.at_once > 0 && self.all.in_use >= self.all.at_once
    }
}

/// Dependencies of all instances, in the order in which an instance has them.
fn dependencies(instances: &[&Instance]) -> Vec<DependencyLine> {
    let mut lines: Vec<DependencyLine> = Vec::new();
    for of in instances {
        for its in &of.report.metrics.dependencies {
            let turns = |report: &Report| {
                let all = report.metrics.dependencies.iter();
                all.filter(|one| one.name == its.name).map(|one| one.turns).sum()
            };
            let rate = of.rate(turns);
            match lines.iter_mut().find(|line| line.all.name == its.name) {
                Some(line) => {
                    line.all.add(its);
                    line.turns_per_second.0 += rate;
                }
                None => {
                    let line = DependencyLine { all: its.clone(), turns_per_second: Rate(rate) };
                    lines.push(line);
                }
            }
        }
    }
    lines
}

/// An instance that reports.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InstanceLine {
    pub(crate) instance: String,
    /// Of the SDK.
    pub(crate) version: String,
    #[serde(rename = "started_ms")]
    pub(crate) started: Moment,
    #[serde(rename = "at_ms")]
    pub(crate) at: Moment,
    pub(crate) processed_per_second: Rate,
    pub(crate) lag: Count,
    pub(crate) behind: Option<Behind>,
    pub(crate) parked: Count,
    pub(crate) dead_keys: Count,
    /// Times that it lost its engine or its membership and joined again.
    pub(crate) rejoined: Count,
    pub(crate) breaker: Option<Breaker>,
}

impl ServiceView {
    pub(crate) fn has_outages(&self) -> bool {
        self.handlers.iter().any(|handler| handler.outages.0 > 0)
    }

    /// As people read it.
    pub(crate) fn count(&self, count: &u64) -> Count {
        counted(*count)
    }

    pub(crate) fn has_panics(&self) -> bool {
        self.handlers.iter().any(|handler| handler.panics.0 > 0)
    }
}

impl InstanceLine {
    /// The end of its id, by which those of one time differ.
    pub(crate) fn short(&self) -> &str {
        let id = &self.instance;
        let start = id.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
        &id[start..]
    }

    fn of(of: &Instance) -> Self {
        let Report { instance, tidings, started_ms, at_ms, metrics, .. } = &*of.report;
        let figures = &metrics.figures;
        Self {
            instance: instance.clone(),
            version: tidings.clone(),
            started: Moment(*started_ms),
            at: Moment(*at_ms),
            processed_per_second: Rate(of.rate(|report| report.metrics.figures.processed)),
            lag: counted(metrics.lag_records),
            behind: behind(metrics.lag_seconds),
            parked: counted(figures.parked),
            dead_keys: counted(figures.dead_keys),
            rejoined: counted(figures.rejoined),
            breaker: breaker(&[of]),
        }
    }
}

impl ServiceView {
    /// None when nothing tells of such a service.
    pub(crate) fn of(snapshot: &Snapshot, name: &str) -> Option<Self> {
        let line = snapshot.service_lines.iter().find(|line| line.name == name)?.clone();
        let reports = |of: &&Instance| of.report.service == name;
        let instances: Vec<&Instance> = snapshot.services.iter().filter(reports).collect();
        let topics = |of: fn(&Report) -> &Vec<String>| -> Vec<String> {
            let all: BTreeSet<&String> = instances.iter().flat_map(|its| of(&its.report)).collect();
            all.into_iter().cloned().collect()
        };
        let changelog = format!("{name}.changelog");
        Some(Self {
            inputs: topics(|report| &report.inputs),
            outputs: topics(|report| &report.outputs),
            handlers: handlers(&instances),
            dependencies: dependencies(&instances),
            instance_list: instances.iter().map(|of| InstanceLine::of(of)).collect(),
            group: snapshot.groups.iter().find(|group| group.name == name).cloned(),
            has_desk: snapshot.topics.iter().any(|topic| topic.name == changelog),
            line,
        })
    }
}

/// Handlers of all instances, in the order in which an instance has them.
fn handlers(instances: &[&Instance]) -> Vec<HandlerLine> {
    let mut lines: Vec<HandlerLine> = Vec::new();
    let mut times: Vec<(Timed, Timed)> = Vec::new();
    for of in instances {
        for handler in &of.report.metrics.handlers {
            let known = lines.iter().position(|line| line.name == handler.name);
            let at = known.unwrap_or_else(|| {
                let said = of.report.handlers.iter().find(|said| said.name == handler.name);
                let said = said.cloned().unwrap_or_default();
                lines.push(HandlerLine {
                    name: handler.name.clone(),
                    event: said.event,
                    kind: said.kind,
                    topic: said.topic,
                    outputs: said.outputs,
                    ..HandlerLine::default()
                });
                times.push((Timed::default(), Timed::default()));
                lines.len() - 1
            });
            let (figures, before) = (&handler.figures, of.handler_before(&handler.name));
            lines[at].add(of, figures);
            times[at].0.add(&figures.processing, before.map(|before| &before.processing));
            times[at].1.add(&figures.end_to_end, before.map(|before| &before.end_to_end));
        }
    }
    for (line, (processing, end_to_end)) in lines.iter_mut().zip(times) {
        (line.processing, line.end_to_end) = (processing.times(), end_to_end.times());
    }
    lines
}

impl HandlerLine {
    fn add(&mut self, of: &Instance, figures: &HandlerFigures) {
        let its = |report: &Report| {
            let handlers = report.metrics.handlers.iter();
            handlers.filter(|one| one.name == self.name).map(|one| one.figures.processed).sum()
        };
        self.processed_per_second.0 += of.rate(its);
        for (count, more) in [
            (&mut self.processed, figures.processed),
            (&mut self.failed, figures.failed),
            (&mut self.rejected, figures.rejected),
            (&mut self.dropped, figures.dropped),
            (&mut self.outages, figures.outages),
            (&mut self.turned_away, figures.turned_away),
            (&mut self.panics, figures.panics),
        ] {
            count.0 = count.0.saturating_add(counted(more).0);
        }
    }

    /// The type without what precedes its last dot.
    pub(crate) fn short_event(&self) -> &str {
        self.event.rsplit('.').next().unwrap_or(&self.event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn counts(filled: &[(usize, u64)]) -> [u64; 15] {
        let mut counts = [0; 15];
        filled.iter().for_each(|(bucket, count)| counts[*bucket] = *count);
        counts
    }

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        for (filled, wanted) in [
            (&[][..], None),
            (&[(0, 1)], Some(["≤ 5 ms", "≤ 5 ms", "≤ 5 ms"])),
            (&[(0, 50), (5, 50)], Some(["≤ 5 ms", "≤ 100 ms", "≤ 100 ms"])),
            (&[(0, 49), (5, 51)], Some(["≤ 100 ms", "≤ 100 ms", "≤ 100 ms"])),
            (&[(0, 95), (9, 4), (10, 1)], Some(["≤ 5 ms", "≤ 5 ms", "≤ 1 s"])),
            (&[(10, 1), (14, 1)], Some(["≤ 2.5 s", "> 10 s", "> 10 s"])),
            (&[(3, u64::MAX), (4, u64::MAX)], Some(["≤ 50 ms", "≤ 50 ms", "≤ 50 ms"])),
        ] {
            let times = Times::of(&counts(filled));
            let said = times.map(|t| [t.p50_ms, t.p95_ms, t.p99_ms].map(|b| b.to_string()));
            assert_eq!(said, wanted.map(|w| w.map(str::to_owned)), "{filled:?}");
        }
    }

    /// A report of an instance of `pay`, with what one handler has done.
    fn report(at_ms: i64, processed: u64, times: &[u64; 15], outage: bool) -> Arc<Report> {
        let handler = json!({
            "name": "charge", "processed": processed, "failed": 1,
            "processing": { "counts": times, "sum_us": 0 },
        });
        let outage = outage.then(|| json!({ "cause": "closed", "since_ms": at_ms, "probes": 2 }));
        let report = json!({
            "report": 1, "service": "pay", "instance": "a", "started_ms": 0, "at_ms": at_ms,
            "inputs": ["orders"], "outputs": ["payments"], "outage": outage,
            "handlers": [{ "name": "charge", "event": "shop.OrderPlaced", "topic": "orders" }],
            "metrics": {
                "service": "pay", "lag_records": 3, "lag_seconds": 7.9,
                "figures": { "processed": processed, "parked": 2, "dead_keys": 1 },
                "handlers": [handler],
                "dependencies": [{
                    "name": "Bank", "in_use": 3, "at_once": 4, "waiting": 1, "waiting_at_most": 8,
                    "per_second": 50, "turns": processed, "held_back": 2, "turned_away": 5,
                }],
            },
        });
        Arc::new(serde_json::from_value(report).unwrap())
    }

    #[test]
    fn instances_add_up_and_rates_are_of_the_time_between_two_reports() {
        let (fast, slow) = (counts(&[(0, 100)]), counts(&[(0, 100), (14, 20)]));
        let grown = Instance {
            report: report(70_000, 700, &slow, false),
            before: Some(report(10_000, 100, &fast, false)),
        };
        let fresh = Instance { report: report(10_000, 50, &counts(&[]), true), before: None };
        let lines = lines(&[grown.clone(), fresh], ["pay.changelog", "old.changelog"].into_iter());
        let names: Vec<_> = lines.iter().map(|l| (l.name.as_str(), l.instances.0)).collect();
        assert_eq!(names, [("old", 0), ("pay", 2)]);
        let pay = &lines[1];
        assert_eq!(pay.processed_per_second, Rate(10.0 + 5.0));
        assert_eq!((pay.lag, pay.parked, pay.dead_keys), (Count(6), Count(4), Count(2)));
        assert_eq!(pay.behind, Some(Behind { seconds: 7, at_least: false }));
        assert_eq!(pay.processing.unwrap().p50_ms, Bound(None), "lately all were slow");
        let breaker = pay.breaker.as_ref().unwrap();
        assert_eq!((breaker.cause.as_str(), breaker.instances), ("closed", Count(1)));
        assert_eq!(pay.severity(), Some(Severity::Bad));
        assert_eq!(lines[0].severity(), Some(Severity::Warn), "it does not run");

        let quiet = Instance {
            report: report(70_000, 100, &fast, false),
            before: Some(report(10_000, 100, &fast, false)),
        };
        let line = ServiceLine::of("pay", &[&quiet]);
        assert_eq!(line.processed_per_second, Rate(0.0));
        assert_eq!(line.processing.unwrap().p99_ms, Bound(Some(5)), "of all its life");
        let handlers = handlers(&[&grown, &quiet]);
        let [charge] = &handlers[..] else { panic!("{handlers:?}") };
        assert_eq!((charge.short_event(), charge.topic.as_str()), ("OrderPlaced", "orders"));
        assert_eq!((charge.processed, charge.failed), (Count(800), Count(2)));
        assert_eq!(charge.processed_per_second, Rate(10.0));
        let dependencies = dependencies(&[&grown, &quiet]);
        let [bank] = &dependencies[..] else { panic!("{dependencies:?}") };
        let of = &bank.all;
        assert_eq!([of.in_use, of.at_once, of.waiting, of.waiting_at_most], [6, 8, 2, 16]);
        assert_eq!((of.per_second, bank.turns_per_second), (Some(100), Rate(10.0)));
        assert_eq!((of.turns, of.held_back, of.turned_away), (800, 4, 10));
        assert!(!bank.is_full());
    }
}
