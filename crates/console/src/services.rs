//! Services as their instances report themselves in [`REPORTS_TOPIC`]: kept for their pages, `/api/services` and `/metrics`.
//!
//! Of each instance the last report is kept, as long as it is not older than [`REPORT_STALE_AFTER`] by the record's timestamp
//! and has not been taken back. Bounded by [`REPORTS_KEPT`] and [`REPORTS_BYTES_MAX`]: whoever may write to the topic may
//! fill it with whatever it likes, and gets the oldest reports forgotten by it at most.

pub(super) mod pages;
pub(super) mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings::{Outage, REPORTS_TOPIC, Report};
use tidings_engine::{Engine, Error, ReadLimit, Record, Topic};
use tidings_gateway::url_encoded;

use super::payload::shortened;
use super::quantity::Moment;
use super::snapshot::{Problem, Severity};
use crate::limits::{
    CAUSE_CHARS_MAX, REPORT_READ_BYTES, REPORT_READS_PER_SAMPLE, REPORT_SHOWN_BYTES_MAX,
    REPORT_STALE_AFTER, REPORTS_BYTES_MAX, REPORTS_KEPT, REPORTS_PER_SAMPLE, SERVICE_RATE_WINDOW,
};

/// An instance that is there.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) report: Arc<Report>,
    /// An earlier report of it, from which rates are taken; none when it has just started, or was just found.
    pub(crate) before: Option<Arc<Report>>,
}

/// The metrics of all instances in Prometheus' text format.
pub(super) fn exposition(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return String::new();
    }
    let metrics = instances.iter().map(|of| (of.report.instance.as_str(), &of.report.metrics));
    tidings::exposition(&metrics.collect::<Vec<_>>())
}

/// Services that wait for a dependency, one problem for each however many instances say so.
pub(super) fn problems(instances: &[Instance]) -> Vec<Problem> {
    let reports = instances.iter().map(|of| &of.report);
    let waiting = reports.filter_map(|of| Some((of.service.as_str(), of.outage.as_ref()?)));
    let waiting: BTreeMap<&str, &Outage> = waiting.collect();
    let problem = |(service, outage): (&str, &Outage)| Problem {
        severity: Severity::Bad,
        what: format!("Service {service} takes a dependency for down, and waits"),
        detail: shortened(&outage.cause, CAUSE_CHARS_MAX),
        href: format!("/services/{}", url_encoded(service)),
    };
    waiting.into_iter().map(problem).collect()
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Services {
    /// The first record not read.
    next: i64,
    /// By the record's key.
    reports: BTreeMap<Bytes, Reported>,
    bytes: usize,
}

#[derive(Debug)]
struct Reported {
    report: Arc<Report>,
    /// The report that rates are taken from, and the one that takes its place.
    before: [Option<Arc<Report>>; 2],
    at_ms: i64,
    bytes: usize,
}

impl Reported {
    /// The same instance, as it was before this report of it.
    fn aged(self, next: &Report) -> [Option<Arc<Report>>; 2] {
        if self.report.started_ms != next.started_ms {
            return [None, None];
        }
        let window_ms = i64::try_from(SERVICE_RATE_WINDOW.as_millis()).unwrap_or(i64::MAX);
        let [base, newer] = self.before;
        match newer {
            // As soon as the newer one is old enough itself, it is what is compared with.
            Some(newer) if next.at_ms.saturating_sub(newer.at_ms) >= window_ms => {
                [Some(newer), Some(self.report)]
            }
            Some(newer) => [base, Some(newer)],
            None => [Some(Arc::clone(&self.report)), Some(self.report)],
        }
    }
}

impl Services {
    /// Reads on; what does not fit into one sample has its turn in the next.
    pub(super) async fn read(
        &mut self,
        engine: &Engine,
        topics: &[Topic],
        now: Moment,
    ) -> Result<(), Error> {
        let topic = topics.iter().find(|topic| topic.name == REPORTS_TOPIC);
        let Some(partition) = topic.and_then(|topic| topic.partitions.first()) else {
            *self = Self::default();
            return Ok(());
        };
        if self.next > partition.end_offset {
            // It was made anew.
            *self = Self::default();
        }
        self.next = self.next.max(partition.start_offset);
        let mut room = REPORTS_PER_SAMPLE;
        for _ in 0..REPORT_READS_PER_SAMPLE {
            if self.next >= partition.end_offset || room == 0 {
                break;
            }
            let wait = Duration::ZERO;
            let limit = ReadLimit { records: room, bytes: REPORT_READ_BYTES, wait };
            let read = match engine.read(REPORTS_TOPIC, 0, self.next, limit).await {
                Ok(read) => read,
                // It has gone or moved on meanwhile, or cannot be read.
                Err(
                    Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. } | Error::Corrupt(_),
                ) => {
                    break;
                }
                Err(error) => return Err(error),
            };
            if read.next <= self.next {
                break;
            }
            self.next = read.next;
            room = room.saturating_sub(read.records.len());
            read.records.iter().for_each(|record| self.apply(record, now));
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record, now: Moment) {
        let Some(key) = &record.key else { return };
        if record.value.is_none() {
            self.forget(key);
        }
        let Some(report) = Report::from_record(record) else { return };
        let before = self.forget(key).map_or([None, None], |earlier| earlier.aged(&report));
        let shown = tidings::exposition(&[(&report.instance, &report.metrics)]).len();
        let bytes = record.value.as_ref().map_or(0, Bytes::len) + key.len() + shown;
        if bytes > REPORT_SHOWN_BYTES_MAX {
            return;
        }
        // A clock that is ahead makes nothing younger.
        let at_ms = record.timestamp.min(now.0);
        let reported = Reported { report: Arc::new(report), before, at_ms, bytes };
        self.bytes += bytes;
        // Not a part of the batch that it came in, which would be kept whole.
        self.reports.insert(Bytes::copy_from_slice(key), reported);
        while self.reports.len() > REPORTS_KEPT || self.bytes > REPORTS_BYTES_MAX {
            let oldest = self.reports.iter().min_by_key(|(_, reported)| reported.at_ms);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &Bytes) -> Option<Reported> {
        let reported = self.reports.remove(key)?;
        self.bytes -= reported.bytes;
        Some(reported)
    }

    /// The reports of those that are there, by service and instance.
    pub(super) fn lately(&mut self, now: Moment) -> Vec<Instance> {
        let stale_ms = i64::try_from(REPORT_STALE_AFTER.as_millis()).unwrap_or(i64::MAX);
        let is_stale = |of: &Reported| now.0.saturating_sub(of.at_ms) > stale_ms;
        let stale = self.reports.iter().filter(|(_, of)| is_stale(of)).map(|(key, _)| key.clone());
        for key in stale.collect::<Vec<_>>() {
            self.forget(&key);
        }
        let instance = |reported: &Reported| Instance {
            report: Arc::clone(&reported.report),
            before: reported.before[0].clone(),
        };
        self.reports.values().map(instance).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);

    fn record(key: &str, value: Option<String>, timestamp: i64) -> Record {
        Record {
            topic: REPORTS_TOPIC.into(),
            partition: 0,
            offset: 0,
            timestamp,
            key: Some(key.to_owned().into()),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    fn report(instance: &str, ago_ms: i64) -> Record {
        let value = format!(
            "{{\"report\":1,\"service\":\"pay\",\"instance\":\"{instance}\",\
             \"metrics\":{{\"service\":\"pay\"}}}}"
        );
        record(&format!("pay/{instance}"), Some(value), NOW.0 - ago_ms)
    }

    fn after(records: &[Record]) -> Services {
        let mut services = Services::default();
        records.iter().for_each(|record| services.apply(record, NOW));
        services
    }

    fn names(services: &mut Services, now_ms: i64) -> Vec<String> {
        let lately = services.lately(Moment(now_ms));
        lately.iter().map(|of| of.report.instance.clone()).collect()
    }

    #[test]
    fn the_last_report_of_each_instance_that_is_there_is_shown() {
        for (records, shown) in [
            (vec![report("b", 0), report("a", 0), report("b", 0)], vec!["a", "b"]),
            (vec![report("a", 0), record("pay/a", None, NOW.0), report("b", 0)], vec!["b"]),
            (vec![report("a", 90_000), report("b", 90_001)], vec!["a"]),
            (vec![report("a", 0), record("pay/a", Some("no JSON".into()), NOW.0)], vec!["a"]),
            (vec![record("pay/a", Some("{\"report\":1}".into()), NOW.0)], vec![]),
        ] {
            assert_eq!(names(&mut after(&records), NOW.0), shown);
        }
        let mut services = after(&[report("a", -3_600_000)]);
        assert_eq!(names(&mut services, NOW.0 + 90_000), ["a"]);
        assert!(names(&mut services, NOW.0 + 90_001).is_empty(), "of a clock that is ahead");
        assert_eq!((services.reports.len(), services.bytes), (0, 0));
    }

    #[test]
    fn rates_are_taken_from_a_report_that_is_a_minute_or_two_old() {
        let at = |started_ms: i64, at_ms: i64| {
            let value = format!(
                "{{\"report\":1,\"service\":\"pay\",\"instance\":\"a\",\"started_ms\":{started_ms},\
                 \"at_ms\":{at_ms},\"metrics\":{{\"service\":\"pay\"}}}}"
            );
            record("pay/a", Some(value), NOW.0)
        };
        let window = i64::try_from(SERVICE_RATE_WINDOW.as_millis()).unwrap();
        for (reports, wanted) in [
            (vec![(1, 0)], None),
            (vec![(1, 0), (1, 5)], Some(0)),
            (vec![(1, 0), (1, 5), (1, 10)], Some(0)),
            (vec![(1, 0), (1, window), (1, window + 5)], Some(0)),
            (vec![(1, 0), (1, window), (1, window * 2)], Some(0)),
            (vec![(1, 0), (1, window), (1, window * 2), (1, window * 3)], Some(window)),
            (vec![(1, 0), (1, 5), (2, 10)], None),
        ] {
            let records: Vec<_> = reports.iter().map(|(start, ms)| at(*start, *ms)).collect();
            let lately = after(&records).lately(NOW);
            let before = lately[0].before.as_ref().map(|report| report.at_ms);
            assert_eq!(before, wanted, "{reports:?}");
        }
    }

    #[test]
    fn a_service_that_waits_is_one_problem() {
        let waiting = |instance: &str| {
            let value = format!(
                "{{\"report\":1,\"service\":\"pay\",\"instance\":\"{instance}\",\
                 \"outage\":{{\"cause\":\"the bank is closed\",\"since_ms\":1,\"probes\":2}},\
                 \"metrics\":{{\"service\":\"pay\"}}}}"
            );
            record(&format!("pay/{instance}"), Some(value), NOW.0)
        };
        let mut services = after(&[waiting("a"), report("b", 0), waiting("c")]);
        let problems = problems(&services.lately(NOW));
        let said = problems.iter().map(|p| (p.what.as_str(), p.detail.as_str(), p.href.as_str()));
        let wanted = (
            "Service pay takes a dependency for down, and waits",
            "the bank is closed",
            "/services/pay",
        );
        assert_eq!(said.collect::<Vec<_>>(), [wanted]);
    }

    #[test]
    fn the_oldest_make_room() {
        let records = (0..1_500).map(|n| report(&format!("{n:04}"), 1_500 - n));
        let mut services = after(&records.collect::<Vec<_>>());
        let names = names(&mut services, NOW.0);
        assert_eq!((names.len(), names[0].as_str()), (REPORTS_KEPT, "0500"));
        let of = |n: usize, handlers: usize, width: usize| {
            let handlers = (0..handlers).map(|n| format!("{{\"name\":\"{n:0width$}\"}}"));
            let handlers = handlers.collect::<Vec<_>>().join(",");
            let value = format!(
                "{{\"report\":1,\"service\":\"pay\",\"instance\":\"{n}\",\
                 \"metrics\":{{\"service\":\"pay\",\"handlers\":[{handlers}]}}}}"
            );
            record(&format!("pay/{n}"), Some(value), NOW.0)
        };
        let services = after(&(0..150).map(|n| of(n, 160, 3)).collect::<Vec<_>>());
        assert!(services.bytes <= REPORTS_BYTES_MAX);
        let text = exposition(
            &services
                .reports
                .values()
                .map(|of| Instance { report: Arc::clone(&of.report), before: None })
                .collect::<Vec<_>>(),
        );
        assert!(text.len() < REPORTS_BYTES_MAX && text.len() > REPORTS_BYTES_MAX / 2);
        assert!(services.reports.len() < 150);
        assert!(after(&[of(0, 200, 100)]).reports.is_empty(), "one is too large to be shown");
    }
}
