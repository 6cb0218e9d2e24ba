//! The console: pages, their JSON twins, a live stream, health and metrics.
//!
//! One task samples the engine into a [`Snapshot`](snapshot::Snapshot) once a second; whatever
//! many readers ask for is answered from that value, so the number of readers costs the engine
//! nothing. Only a page about one topic, record or group asks the engine itself, and nothing knows of the node behind it:
//! figures of the node are handed in by the binary as [`Figure`]s. Pages load nothing from anywhere else.

mod about;
mod api;
mod assets;
mod chart;
mod compat;
mod dead;
mod desk;
mod event;
mod exposition;
mod figure;
mod groups;
mod history;
mod json_path;
pub mod limits;
mod live;
mod login;
mod map;
mod metrics;
mod observe;
mod openapi;
mod pages;
mod payload;
mod quantity;
mod reading;
mod services;
mod slos;
mod snapshot;
mod svg;
mod topics;
mod trace;
mod trouble;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use tidings_engine::{Engine, Error};
use tidings_gateway::events::Events;
use tidings_gateway::limits::BODY_BYTES_MAX;
use tidings_gateway::route;
use tidings_gateway::{Access, Schemas, only_own_pages};
use tidings_slo::Objectives;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

pub use figure::{Family, Figure, FigureKind, FigureSource};
use groups::kept::{History, Keeper, keep};
pub use json_path::JsonPath;
pub use metrics::{METRICS, MetricsText};
use observe::Observer;
use snapshot::{Problem, Severity, Snapshot};

use crate::limits::{
    DESK_READS_MAX, LAG_POINT_EVERY, LIVE_STREAMS_MAX, SAMPLE_INTERVAL, SAMPLE_TIMEOUT,
    SEARCHES_MAX, TRACE_SEARCHES_MAX,
};

/// What the console stands on and where the registry beside it is, to be shown.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub log: LogAddress,
    pub registry: String,
}

impl Addresses {
    /// None where no registry is served. One that listens on every address is on the host that the client calls.
    fn registry_url(&self, host: Option<&str>) -> Option<String> {
        let Ok(at) = self.registry.parse::<SocketAddr>() else {
            return (!self.registry.is_empty()).then(|| format!("http://{}", self.registry));
        };
        if !at.ip().is_unspecified() {
            return Some(format!("http://{at}"));
        }
        let host: Uri = format!("http://{}", host?).parse().ok()?;
        Some(format!("http://{}:{}", host.host()?, at.port()))
    }
}

/// Where Kafka clients find the records that the console shows.
#[derive(Clone, Debug, Default)]
pub enum LogAddress {
    #[default]
    Unsaid,
    /// At the node of this process.
    Node(String),
    /// At the brokers of a cluster.
    Cluster(String),
}

impl LogAddress {
    /// Where the node of this process is.
    fn node(&self) -> Option<&str> {
        match self {
            Self::Node(address) => Some(address),
            Self::Unsaid | Self::Cluster(_) => None,
        }
    }
}

/// What the console is told once.
#[derive(Clone, Debug)]
pub struct ConsoleOptions {
    pub version: &'static str,
    pub addresses: Addresses,
    /// Figures for `/metrics` that the engine does not know.
    pub figures: FigureSource,
    pub access: Access,
    /// What is promised of services.
    pub objectives: Objectives,
    pub sample_interval: Duration,
    /// Time between two points of the history of groups.
    pub history_interval: Duration,
}

impl Default for ConsoleOptions {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            addresses: Addresses::default(),
            figures: FigureSource::default(),
            access: Access::default(),
            objectives: Objectives::default(),
            sample_interval: SAMPLE_INTERVAL,
            history_interval: LAG_POINT_EVERY,
        }
    }
}

/// A running console.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    events: Arc<Events>,
    sampler: JoinHandle<()>,
    keeper: JoinHandle<()>,
    /// Counts what the keeper has written.
    kept: watch::Receiver<u64>,
    stopping: watch::Sender<bool>,
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    options: ConsoleOptions,
    frames: watch::Receiver<Arc<Frame>>,
    /// Turns for reading what a service has put aside.
    desk_reads: Semaphore,
    /// Turns for looking through the log.
    trace_searches: Semaphore,
    history: History,
    events: Arc<Events>,
    /// Turns for searching a topic, or reading a record.
    searches: Arc<Semaphore>,
    /// Permits for live streams.
    streams: Arc<Semaphore>,
    /// What was found for `/metrics/compat`.
    compat: compat::Looks,
    /// What records are decoded by.
    schemas: Arc<Schemas>,
}

/// A snapshot, and what the live stream makes of it, at most once.
#[derive(Debug, Default)]
struct Frame {
    snapshot: Snapshot,
    /// False until the engine has answered, and again while it does not.
    fresh: bool,
    fragments: OnceLock<Vec<live::Fragment>>,
}

impl Shared {
    fn frame(&self) -> Arc<Frame> {
        self.frames.borrow().clone()
    }
}

impl Console {
    /// Starts to sample, and waits for the first sample.
    pub async fn start(engine: Engine, options: ConsoleOptions) -> Self {
        let (sender, mut frames) = watch::channel(Arc::default());
        let schemas = Arc::new(Schemas::new(engine.clone()));
        let observer =
            Observer::new(engine.clone(), Arc::clone(&schemas), options.objectives.clone());
        let sampler = tokio::spawn(sample(observer, sender, options.sample_interval));
        // The sampler sends a frame whether or not the engine answers.
        let _first_frame = frames.changed().await;
        let streams = Arc::new(Semaphore::new(LIVE_STREAMS_MAX));
        let desk_reads = Semaphore::new(DESK_READS_MAX);
        let (stopping, stopped) = watch::channel(false);
        let events = Events::new(engine.clone(), stopped);
        let trace_searches = Semaphore::new(TRACE_SEARCHES_MAX);
        let searches = Arc::new(Semaphore::new(SEARCHES_MAX));
        let history = History::default();
        let keeper = Keeper::new(engine.clone(), history.clone(), options.history_interval);
        let kept = keeper.written();
        let keeper = tokio::spawn(keep(keeper, frames.clone()));
        let shared = Arc::new(Shared {
            engine,
            options,
            frames,
            desk_reads,
            trace_searches,
            history,
            events: Arc::clone(&events),
            searches,
            streams,
            compat: compat::Looks::default(),
            schemas,
        });
        Self { shared, events, sampler, keeper, kept, stopping }
    }

    /// The routes, to be served.
    pub fn router(&self) -> Router {
        let routes = Router::new()
            .merge(pages::routes())
            .nest("/api", api::routes(&self.events))
            .merge(assets::routes())
            .merge(route::router(about::table()))
            .fallback(pages::not_found)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.shared.clone());
        let guarded = self.shared.options.access.guard_pages(routes, login::page);
        guarded.layer(from_fn(only_own_pages)).layer(map_response(with_policy))
    }

    /// Waits until a sample has been taken that began after this call.
    pub async fn sampled(&self) {
        let mut frames = self.shared.frames.clone();
        for _ in 0..2 {
            frames.borrow_and_update();
            if frames.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until a further point of the history of groups is in the log.
    pub async fn kept(&self) {
        let mut kept = self.kept.clone();
        kept.borrow_and_update();
        // An end of the keeper is the end of the console.
        let _kept_or_ended = kept.changed().await;
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> MetricsText {
        MetricsText(self.shared.clone())
    }

    /// Stops sampling and ends all streams.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        self.keeper.abort();
        self.sampler.abort();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn sample(mut observer: Observer, frames: watch::Sender<Arc<Frame>>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let sampled = timeout(SAMPLE_TIMEOUT, observer.sample()).await;
        let error = match sampled {
            Ok(Ok(snapshot)) => {
                failing = false;
                frames.send_replace(Arc::new(Frame { snapshot, fresh: true, ..Frame::default() }));
                continue;
            }
            Ok(Err(e)) => e,
            Err(_) => Error::Unavailable(format!("no answer within {SAMPLE_TIMEOUT:?}")),
        };
        if !failing {
            warn!("the console cannot read the engine: {error}");
            failing = true;
        }
        let mut snapshot = frames.borrow().snapshot.clone();
        snapshot.problems = snapshot.find_problems();
        snapshot.problems.insert(0, engine_problem(&error));
        frames.send_replace(Arc::new(Frame { snapshot, ..Frame::default() }));
    }
}

fn engine_problem(error: &Error) -> Problem {
    Problem {
        severity: Severity::Bad,
        what: "The engine does not answer; what is shown is old".to_owned(),
        detail: error.to_string(),
        href: "/readyz".to_owned(),
    }
}

/// Nothing on a page may come from elsewhere, and no page may be put into another. Pages of ours may say where
/// a request comes from, as a form's `Origin` is "null" otherwise.
async fn with_policy(mut response: Response) -> Response {
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
