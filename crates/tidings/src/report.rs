//! Reports: how every instance of every service does, in a topic that anyone can read.
//!
//! An instance writes its [`Report`] to [`REPORTS_TOPIC`], under the key `<service>/<instance>`, when something has changed,
//! every [`limits::REPORT_EVERY`] at most, and every [`limits::REPORT_EVERY_MAX`] at least; a clean stop takes it back with a tombstone.
//! The topic has one partition, is compacted, and forgets what is older than [`limits::REPORT_RETENTION`]: instances that died.
//! A reader takes a report that has not been renewed for three times the longest pause for that of an instance that is gone.
//!
//! It is off the service's path: a task of its own looks at what the loop shows ([`figures`](crate::figures)) and makes plain appends,
//! in no transaction. Where they fail (no permission, no engine) the service knows nothing of it; it is said once and tried again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_engine::{Engine, Error as EngineError, NewTopic, Producer, Record, SentRecord};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    DependencyMetrics, HandlerMetrics, Id, Metrics, Outage, Service,
    figures::{Shown, View},
    limited::Gate,
    limits,
    publisher::now_ms,
    topics::{create_topic, find_topic},
};

/// The topic of reports.
pub const REPORTS_TOPIC: &str = "tidings.services";

/// The version of what is written: a reader of one knows all fields of those before it.
const VERSION: u32 = 1;

/// How an instance of a service does, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Report {
    /// The version of the report; 1.
    pub report: u32,
    /// The service's name.
    pub service: String,
    /// New each time that an instance starts.
    pub instance: String,
    /// The version of the SDK.
    pub tidings: String,
    /// When it started, in milliseconds since the epoch.
    pub started_ms: i64,
    /// When it was written, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The topics it reads.
    pub inputs: Vec<String>,
    /// The topics of the events that it may write.
    pub outputs: Vec<String>,
    /// Its handlers.
    pub handlers: Vec<ReportedHandler>,
    /// Why it handles nothing, if it takes its failures for those of a dependency.
    pub outage: Option<Outage>,
    /// What it has done; parked events and dead keys are among the figures.
    pub metrics: Metrics,
}

/// A handler, in a [`Report`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReportedHandler {
    /// Its name.
    pub name: String,
    /// The type of the events that it handles.
    pub event: String,
    /// Their kind, as in `ce_kind`.
    pub kind: String,
    /// Their topic.
    pub topic: String,
    /// The topics of the events that it may write.
    pub outputs: Vec<String>,
}

impl Report {
    /// The report that a record of [`REPORTS_TOPIC`] holds; none when it is a tombstone, larger than a report is
    /// ([`limits::REPORT_BYTES_MAX`], [`limits::REPORT_HANDLERS_MAX`]), no report, or one whose key is another's.
    pub fn from_record(record: &Record) -> Option<Self> {
        let value = record.value.as_deref()?;
        if value.len() > limits::REPORT_BYTES_MAX {
            return None;
        }
        let report: Self = serde_json::from_slice(value).ok()?;
        let is_its_key = record.key.as_deref() == Some(report.key().as_bytes());
        let is_sound = report.report >= VERSION && report.problem().is_none();
        (is_its_key && is_sound).then_some(report)
    }

    /// Why nobody could show it: its metrics would be too many, or not its own.
    fn problem(&self) -> Option<String> {
        let (most, longest) = (limits::REPORT_HANDLERS_MAX, limits::REPORT_NAME_BYTES_MAX);
        let Metrics { service, handlers, dependencies, lag_seconds, .. } = &self.metrics;
        if self.handlers.len().max(handlers.len()) > most {
            return Some(format!("more than {most} handlers"));
        }
        if dependencies.len() > limits::REPORT_DEPENDENCIES_MAX {
            return Some(format!("more than {} dependencies", limits::REPORT_DEPENDENCIES_MAX));
        }
        let names: BTreeSet<&str> = handlers.iter().map(|handler| handler.name.as_str()).collect();
        let limited: BTreeSet<&str> = dependencies.iter().map(|of| of.name.as_str()).collect();
        let all = [self.service.as_str(), &self.instance].into_iter();
        let all = all.chain(names.iter().chain(&limited).copied());
        if let Some(name) = all.into_iter().find(|name| name.len() > longest) {
            return Some(format!("a name of {} bytes, at most {longest} are shown", name.len()));
        }
        let each_once = names.len() == handlers.len() && limited.len() == dependencies.len();
        let is_its_own = *service == self.service && each_once;
        (!is_its_own || !lag_seconds.is_finite()).then(|| "metrics that are not its own".to_owned())
    }

    fn key(&self) -> String {
        key(&self.service, &self.instance)
    }
}

fn key(service: &str, instance: &str) -> String {
    format!("{service}/{instance}")
}

/// What does not change while a service runs, and the gates of its dependencies, each with its name.
#[derive(Clone, Debug)]
pub(crate) struct About {
    report: Arc<Report>,
    gates: Arc<[(String, Arc<Gate>)]>,
}

/// A type's short name, or its whole one where two have the same.
fn named(gates: &[Arc<Gate>]) -> Arc<[(String, Arc<Gate>)]> {
    let name = |gate: &Arc<Gate>| {
        let short = gate.name();
        let is_shared = gates.iter().filter(|other| other.name() == short).count() > 1;
        if is_shared { gate.type_name.to_owned() } else { short }
    };
    gates.iter().map(|gate| (name(gate), Arc::clone(gate))).collect()
}

impl About {
    pub(crate) fn of(service: &Service) -> Self {
        let owned = |names: &[&str]| {
            let names: BTreeSet<&str> = names.iter().copied().collect();
            names.into_iter().map(str::to_owned).collect()
        };
        let handlers = service.handlers.iter().map(|handler| ReportedHandler {
            name: handler.name.clone(),
            event: handler.event_type.to_owned(),
            kind: handler.kind.as_str().to_owned(),
            topic: handler.topic.to_owned(),
            outputs: owned(&handler.outputs),
        });
        let report = Arc::new(Report {
            report: VERSION,
            service: service.name.clone(),
            instance: Id::fresh().to_string(),
            tidings: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: now_ms(),
            inputs: service.inputs(),
            outputs: service.outputs(),
            handlers: handlers.collect(),
            ..Report::default()
        });
        Self { report, gates: named(&service.gates) }
    }

    pub(crate) fn instance(&self) -> &str {
        &self.report.instance
    }

    pub(crate) fn metrics(&self, shown: &Shown) -> Metrics {
        let (view, is_open) = (shown.view.borrow().clone(), shown.outage.borrow().is_some());
        self.metrics_at(&view, is_open, self.dependencies(), now_ms())
    }

    /// How they are used now.
    fn dependencies(&self) -> Vec<DependencyMetrics> {
        self.gates.iter().map(|(name, gate)| gate.metrics(name)).collect()
    }

    fn metrics_at(
        &self,
        view: &View,
        breaker_open: bool,
        dependencies: Vec<DependencyMetrics>,
        now_ms: i64,
    ) -> Metrics {
        let names = self.report.handlers.iter().map(|handler| handler.name.clone());
        let handlers = names.zip(&view.handlers);
        // A record of a clock that is ahead is not old.
        let age_ms = |oldest_ms: i64| now_ms.saturating_sub(oldest_ms).max(0);
        Metrics {
            service: self.report.service.clone(),
            figures: view.figures,
            lag_records: view.behind.records,
            lag_seconds: view.behind.oldest_ms.map_or(0.0, |ms| age_ms(ms) as f64 / 1_000.0),
            breaker_open,
            handlers: handlers
                .map(|(name, figures)| HandlerMetrics { name, figures: *figures })
                .collect(),
            dependencies,
        }
    }

    fn report(&self, seen: Seen, now_ms: i64) -> Report {
        let Seen { view, outage, dependencies } = seen;
        let metrics = self.metrics_at(&view, outage.is_some(), dependencies, now_ms);
        let outage = outage.map(|mut outage| {
            let most = outage.cause.floor_char_boundary(limits::REPORT_CAUSE_BYTES_MAX);
            outage.cause.truncate(most);
            outage
        });
        Report { at_ms: now_ms, outage, metrics, ..Report::clone(&self.report) }
    }
}

/// What a report is made of; another one is news.
#[derive(Clone, PartialEq)]
struct Seen {
    view: View,
    outage: Option<Outage>,
    dependencies: Vec<DependencyMetrics>,
}

/// The task that writes reports; dropping it ends it without a tombstone.
#[derive(Debug)]
pub(crate) struct Reporter {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reporter {
    pub(crate) fn start(engine: Engine, about: About, shown: Shown) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(report(Writer::of(engine, &about), about, shown, stopped)) }
    }

    /// Takes the report back, if that is quick.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        if timeout(limits::REPORT_STOP_WITHIN, &mut self.task).await.is_err() {
            tracing::debug!("a report was not taken back in time");
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reports until it is stopped, or the service has ended by itself.
async fn report(mut writer: Writer, about: About, shown: Shown, mut stop: watch::Receiver<bool>) {
    let mut last: Option<(Seen, Instant)> = None;
    loop {
        let (view, outage) = (shown.view.borrow().clone(), shown.outage.borrow().clone());
        let now = Seen { view, outage, dependencies: about.dependencies() };
        let before = last.as_ref().map(|(before, at)| (*before != now, at.elapsed()));
        if is_due(before, writer.is_failing) {
            writer.write(Some(about.report(now.clone(), now_ms()))).await;
            last = Some((now, Instant::now()));
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = sleep(limits::REPORT_EVERY) => {}
        }
        if shown.view.has_changed().is_err() {
            return;
        }
    }
    if writer.has_written && !writer.is_failing {
        writer.write(None).await;
    }
}

/// Whether to write a report: of the last try, whether something has changed since, and how long ago it was.
fn is_due(last: Option<(bool, Duration)>, is_failing: bool) -> bool {
    let Some((is_news, ago)) = last else { return true };
    ago >= limits::REPORT_EVERY_MAX || (is_news && !is_failing && ago >= limits::REPORT_EVERY)
}

struct Writer {
    engine: Engine,
    service: String,
    key: String,
    /// None until the topic is there, and again after a failure.
    producer: Option<Producer>,
    is_failing: bool,
    has_written: bool,
}

impl Writer {
    fn of(engine: Engine, about: &About) -> Self {
        let (service, key) = (about.report.service.clone(), about.report.key());
        Self { engine, service, key, producer: None, is_failing: false, has_written: false }
    }

    /// Writes a report, or takes it back. Failures end here.
    async fn write(&mut self, report: Option<Report>) {
        let problem = report.as_ref().and_then(Report::problem);
        let value = report.map(|report| serde_json::to_vec(&report).expect("plain data is JSON"));
        let (bytes, most) = (value.as_ref().map_or(0, Vec::len), limits::REPORT_BYTES_MAX);
        let too_large =
            || (bytes > most).then(|| format!("{bytes} bytes, at most {most} are read"));
        let written = match problem.or_else(too_large) {
            Some(problem) => Err(EngineError::Invalid(format!("a report has {problem}"))),
            None => self.append(value).await,
        };
        let Err(error) = written else {
            (self.has_written, self.is_failing) = (true, false);
            return;
        };
        let service = &self.service;
        if self.is_failing {
            tracing::debug!(service, %error, "no report");
        } else {
            tracing::info!(service, %error, "cannot write reports; the service needs none");
        }
        (self.producer, self.is_failing) = (None, true);
    }

    async fn append(&mut self, value: Option<Vec<u8>>) -> Result<(), EngineError> {
        if self.producer.is_none() {
            make_reports_topic(&self.engine).await?;
            self.producer = Some(self.engine.producer().await?);
        }
        let Some(producer) = &self.producer else { return Ok(()) };
        let record = SentRecord {
            topic: REPORTS_TOPIC.to_owned(),
            partition: Some(0),
            key: Some(self.key.clone().into()),
            value: value.map(Into::into),
            ..SentRecord::default()
        };
        producer.send(vec![record]).await.map(|_| ())
    }
}

/// Makes it unless it is there. What somebody has made of it is left alone.
async fn make_reports_topic(engine: &Engine) -> Result<(), EngineError> {
    if find_topic(engine, REPORTS_TOPIC).await?.is_some() {
        return Ok(());
    }
    let configs = [
        ("cleanup.policy", "compact,delete".to_owned()),
        ("retention.ms", limits::REPORT_RETENTION.as_millis().to_string()),
        ("segment.bytes", limits::REPORT_SEGMENT_BYTES.to_string()),
        ("min.cleanable.dirty.ratio", "0.1".to_owned()),
    ];
    let configs = configs.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let topic = NewTopic { name: REPORTS_TOPIC.to_owned(), partitions: Some(1), configs };
    create_topic(engine, topic).await?;
    engine.can_append(REPORTS_TOPIC).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_due_when_there_is_news_and_now_and_then_without() {
        let (soon, later) = (limits::REPORT_EVERY, limits::REPORT_EVERY_MAX);
        let little = Duration::from_millis(1);
        for (last, is_failing, due) in [
            (None, false, true),
            (Some((true, soon)), false, true),
            (Some((true, soon - little)), false, false),
            (Some((false, soon)), false, false),
            (Some((false, later)), false, true),
            // What cannot be written is tried again now and then.
            (Some((true, later - little)), true, false),
            (Some((true, later)), true, true),
        ] {
            assert_eq!(is_due(last, is_failing), due, "{last:?} {is_failing}");
        }
    }
}
