//! Spans and metrics by OTLP to a collector, for `tidings up` and for programs with services of their own.
//!
//! Spans are those that the SDK makes by the messaging conventions (`tidings::trace`): each says its own trace and span id, its
//! parent and its link in fields, derived from the event's id, so that those of several processes fit together. A layer of
//! `tracing` takes them as they end ([`Spans`]), a task of its own puts them into JSON and posts them ([`Exporting`]).
//! Metrics are a text in Prometheus' format, read again: the same names, so nothing is said twice.
//!
//! A collector that is slow or down costs a queue of [`limits::QUEUE_SPANS`] spans; what does not fit is dropped and
//! counted ([`Counted`]), and whoever makes spans never waits.
//!
//! Only `http/json` is spoken, without TLS: to a collector beside the process, which is where one belongs. The crates of
//! OpenTelemetry were weighed and left out: their SDK gives spans ids of its own, which these must not have, and
//! the exporter brings prost and tonic (docs/decisions/0019).
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>, OTLP/HTTP in JSON encoding.

mod endpoint;
mod json;
pub mod limits;
mod metrics;
mod send;
mod spans;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::{QUEUE_SPANS, STOP_WITHIN};
use crate::send::Sender;
pub use endpoint::{Refused, Wanted};
pub use spans::Spans;

/// Counts that the layer and the task share.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl Counts {
    fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What has become of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Spans that the collector has taken.
    pub sent: u64,
    /// Spans that were lost because the queue was full or the collector did not take them.
    pub dropped: u64,
    /// Requests that failed, repeated ones included.
    pub failures: u64,
}

/// Where [`Counted`] is looked up.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Counts>);

impl Counter {
    pub fn read(&self) -> Counted {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { sent, dropped, failures } = &*self.0;
        Counted { sent: read(sent), dropped: read(dropped), failures: read(failures) }
    }
}

/// An exporter that has not been started: its layer is in the subscriber already, its queue fills.
pub struct Exporter {
    wanted: Wanted,
    queue: mpsc::Receiver<spans::Span>,
    counts: Arc<Counts>,
}

impl Exporter {
    /// The exporter, and what goes into the subscriber, with [`Spans::filter`].
    pub fn new(wanted: Wanted) -> (Self, Spans) {
        let (sender, queue) = mpsc::channel(QUEUE_SPANS);
        let counts = Arc::new(Counts::default());
        let layer = Spans::new(sender, Arc::clone(&counts));
        (Self { wanted, queue, counts }, layer)
    }

    pub fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.counts))
    }

    /// Sends until it is stopped. `metrics` is what they are now, in Prometheus' text format.
    pub fn start(self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Exporting {
        let (stop, stopped) = watch::channel(false);
        let sender = Sender::new(self.wanted, self.counts, Box::new(metrics));
        Exporting { stop, task: tokio::spawn(sender.run(self.queue, stopped)) }
    }
}

/// A running one.
pub struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what is queued, if that is quick.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if timeout(STOP_WITHIN, &mut self.task).await.is_err() {
            tracing::warn!(
                "the last spans were not sent: the collector does not take them in time"
            );
            self.task.abort();
        }
    }
}
