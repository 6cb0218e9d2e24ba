//! The task that posts what is queued, and metrics every so often.
//!
//! A batch goes when it is full or [`SPANS_EVERY`] after its first span. What a collector may take later (no answer, 429,
//! 502, 503, 504) is tried again with growing pauses, [`ATTEMPTS`] times in all; then, or when it is refused, it is
//! dropped and counted. Meanwhile the queue fills. Trouble is said once, and so is its end.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use crate::endpoint::Wanted;
use crate::limits::{ATTEMPTS, BATCH_SPANS, PAUSE_FIRST, PAUSE_MAX, SPANS_EVERY};
use crate::spans::Span;
use crate::{Counts, json, metrics};

/// What the metrics are now, in Prometheus' text format.
pub(crate) type Text = Box<dyn Fn() -> String + Send + Sync>;

pub(crate) struct Sender {
    wanted: Wanted,
    counts: Arc<Counts>,
    text: Text,
    begun_ns: u64,
    /// Since when the collector has taken nothing.
    failing: Option<Instant>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// Perhaps later.
    NotNow(String),
    Refused(String),
}

impl Sender {
    pub(crate) fn new(wanted: Wanted, counts: Arc<Counts>, text: Text) -> Self {
        Self { wanted, counts, text, begun_ns: now_ns(), failing: None }
    }

    /// Until it is told to stop; then what is queued goes, at one attempt for each request.
    pub(crate) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Span>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut ticks = interval(self.wanted.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once, when nothing has happened yet.
        ticks.tick().await;
        loop {
            let mut batch = Vec::new();
            let is_due = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => false,
                () = gathered(&mut queue, &mut batch) => false,
                _ = ticks.tick() => true,
            };
            self.send_spans(&batch, &mut stop).await;
            if is_due {
                self.send_metrics(&mut stop).await;
            }
            if *stop.borrow() {
                break;
            }
        }
        queue.close();
        loop {
            let mut batch = Vec::new();
            if queue.recv_many(&mut batch, BATCH_SPANS).await == 0 {
                break;
            }
            self.send_spans(&batch, &mut stop).await;
        }
        self.send_metrics(&mut stop).await;
    }

    async fn send_spans(&mut self, spans: &[Span], stop: &mut watch::Receiver<bool>) {
        let Some(url) = self.wanted.traces.clone().filter(|_| !spans.is_empty()) else { return };
        let taken = self.send(&url, &json::traces(&self.wanted, spans), stop).await;
        let count = if taken { &self.counts.sent } else { &self.counts.dropped };
        Counts::add(count, spans.len());
    }

    async fn send_metrics(&mut self, stop: &mut watch::Receiver<bool>) {
        let Some(url) = self.wanted.metrics.clone() else { return };
        let text = (self.text)();
        let (metrics, left_out) = metrics::read(&text);
        if left_out > 0 {
            warn!(left_out, "there are more metrics than one request to the collector may have");
        }
        let body = json::metrics(&self.wanted, &metrics, self.begun_ns, now_ns());
        // What was not taken is in the next ones.
        let _taken = self.send(&url, &body, stop).await;
    }

    /// Whether it was taken, at last.
    async fn send(&mut self, url: &Uri, body: &Json, stop: &mut watch::Receiver<bool>) -> bool {
        let body = body.to_string();
        let mut pause = PAUSE_FIRST;
        for attempt in 1..=ATTEMPTS {
            let within = self.wanted.timeout;
            let answer = timeout(within, post(&self.wanted, url, body.clone())).await;
            let answer =
                answer.unwrap_or_else(|_| Answer::NotNow(format!("no answer within {within:?}")));
            let (why, may_be_later) = match answer {
                Answer::Taken => {
                    if let Some(since) = self.failing.take() {
                        info!(
                            seconds = since.elapsed().as_secs(),
                            "the collector takes spans and metrics again"
                        );
                    }
                    return true;
                }
                Answer::NotNow(why) => (why, true),
                Answer::Refused(why) => (why, false),
            };
            Counts::add(&self.counts.failures, 1);
            if self.failing.is_none() {
                self.failing = Some(Instant::now());
                warn!(%url, %why, "the collector does not take spans or metrics; what does not fit into the queue is dropped");
            }
            if !may_be_later || attempt == ATTEMPTS || *stop.borrow() {
                return false;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return false,
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
        false
    }
}

/// Waits for a first span, then for a batch of them, but not for long. Nothing is lost if it is not waited for to
/// the end: what it took is in the batch.
async fn gathered(queue: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    match queue.recv().await {
        Some(span) => batch.push(span),
        // The subscriber, which has the other end, lives as long as the process.
        None => std::future::pending().await,
    }
    let whole = async {
        while batch.len() < BATCH_SPANS {
            match queue.recv().await {
                Some(span) => batch.push(span),
                None => return,
            }
        }
    };
    let _whole_or_late = timeout(SPANS_EVERY, whole).await;
}

/// One request on a connection of its own: there are few.
async fn post(wanted: &Wanted, url: &Uri, body: String) -> Answer {
    match request(wanted, url, body).await {
        Ok(status) if status.is_success() => Answer::Taken,
        Ok(status) if [429, 502, 503, 504].contains(&status.as_u16()) => {
            Answer::NotNow(format!("it answers {status}"))
        }
        Ok(status) => Answer::Refused(format!("it answers {status}")),
        Err(why) => Answer::NotNow(why),
    }
}

async fn request(wanted: &Wanted, url: &Uri, body: String) -> Result<StatusCode, String> {
    let host = url.host().unwrap_or_default();
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let address = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(|error| error.to_string())?;
    // It ends when its sender is dropped, here; what it ends with is what the sender says.
    tokio::spawn(async { drop(connection.await) });
    let answered = sender.send_request(request).await;
    answered.map(|answer| answer.status()).map_err(|error| error.to_string())
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
