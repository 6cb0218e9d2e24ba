//! Stream processing as services: a topology is a list of pipelines from one event to others.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidings::{Event, Publisher};
//! use tidings_engine::Engine;
//! use tidings_streams::Topology;
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(topic = "shop.orders", key = "order")]
//! struct OrderPlaced { order: String, pence: i64 }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(topic = "shop.large-orders", key = "order")]
//! struct LargeOrder { order: String }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tidings::Error> {
//! let engine = Engine::in_memory().await?;
//! let large = Topology::new("large-orders")
//!     .stream::<OrderPlaced>()
//!     .filter(|order| order.pence >= 100_000)
//!     .map(|order: &OrderPlaced| LargeOrder { order: order.order.clone() })
//!     .to()
//!     .start(&engine)
//!     .await?;
//! let till = Publisher::open(&engine, "till").await?;
//! till.emit(&OrderPlaced { order: "536365".into(), pence: 13_912 }).await?;
//! till.emit(&OrderPlaced { order: "536366".into(), pence: 139_120 }).await?;
//! assert_eq!(large.until(|figures| figures.processed == 2).await.emitted, 1);
//! large.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A topology runs as a [`tidings::Service`] and so promises exactly what a service promises: derived
//! ids, each output in the log once, order per key, dead letters. A panic in a step is a failed
//! attempt.
//!
//! Branching: map to [`tidings::Either`], or begin two pipelines at the same event. Merging: end two
//! pipelines in the same event.
//!
//! Absent: windows, joins, aggregations, tables and any other state; re-keying other than by the
//! output event's own key; processing time. There is nothing in the API that stands for them.
#![warn(missing_docs)]

use std::{collections::BTreeMap, fmt, sync::Arc};

use tidings::{Backoff, Effects, Error, Event, Received, Running, Service, done};
use tidings_engine::Engine;

/// Pipelines under one name: a service's name, with all that a service's name means.
#[must_use = "a topology does nothing until it is started"]
#[derive(Debug)]
pub struct Topology {
    service: Service,
    /// How many pipelines begin at an event and end in the same effects.
    pipelines: BTreeMap<String, usize>,
}

impl Topology {
    /// A topology without pipelines.
    pub fn new(name: impl Into<String>) -> Self {
        Self { service: Service::new(name), pipelines: BTreeMap::new() }
    }

    /// Begins a pipeline at the events of type `E`.
    pub fn stream<E: Event>(self) -> Source<E> {
        Source { topology: self, wanted: Box::new(|_| true) }
    }

    /// How failed events are tried again.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.service = self.service.retry(backoff);
        self
    }

    /// Starts it; see [`Service::start`].
    pub async fn start(self, engine: &Engine) -> Result<Running, Error> {
        self.service.start(engine).await
    }

    /// Starts it and stops it on ctrl-c.
    pub async fn run(self, engine: Engine) -> Result<(), Error> {
        self.service.run(engine).await
    }
}

/// The beginning of a pipeline: events as they are. It has no end of its own, because passing events
/// on unchanged would put them back where they came from.
#[must_use = "a pipeline does nothing until it ends in .to()"]
pub struct Source<E> {
    topology: Topology,
    wanted: Box<dyn Fn(&E) -> bool + Send + Sync>,
}

impl<E: Event> Source<E> {
    /// Goes on with the events of which this holds.
    pub fn filter(self, keep: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        let wanted = self.wanted;
        Self {
            topology: self.topology,
            wanted: Box::new(move |event| wanted(event) && keep(event)),
        }
    }

    /// Makes one value of each event.
    pub fn map<T: 'static>(self, make: impl Fn(&E) -> T + Send + Sync + 'static) -> Stream<E, T> {
        let wanted = self.wanted;
        Stream::new(self.topology, move |event, next| {
            if wanted(event) {
                next(make(event));
            }
        })
    }

    /// Makes any number of values of each event.
    pub fn flat_map<I: IntoIterator<Item: 'static>>(
        self,
        make: impl Fn(&E) -> I + Send + Sync + 'static,
    ) -> Stream<E, I::Item> {
        let wanted = self.wanted;
        Stream::new(self.topology, move |event, next| {
            if wanted(event) {
                make(event).into_iter().for_each(next);
            }
        })
    }
}

impl<E> fmt::Debug for Source<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.topology).finish()
    }
}

/// Gives each value that comes of an event to the next step.
type Steps<E, T> = Box<dyn Fn(&E, &mut dyn FnMut(T)) + Send + Sync>;

/// A pipeline on its way: values made of events of type `E`.
#[must_use = "a pipeline does nothing until it ends in .to()"]
pub struct Stream<E, T> {
    topology: Topology,
    steps: Steps<E, T>,
}

impl<E: Event, T: 'static> Stream<E, T> {
    fn new(
        topology: Topology,
        steps: impl Fn(&E, &mut dyn FnMut(T)) + Send + Sync + 'static,
    ) -> Self {
        Self { topology, steps: Box::new(steps) }
    }

    /// Goes on with the values of which this holds.
    pub fn filter(self, keep: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        let steps = self.steps;
        Self::new(self.topology, move |event, next| {
            steps(event, &mut |value| {
                if keep(&value) {
                    next(value);
                }
            });
        })
    }

    /// Makes another value of each.
    pub fn map<U: 'static>(self, make: impl Fn(&T) -> U + Send + Sync + 'static) -> Stream<E, U> {
        let steps = self.steps;
        Stream::new(self.topology, move |event, next| steps(event, &mut |value| next(make(&value))))
    }

    /// Makes any number of values of each.
    pub fn flat_map<I: IntoIterator<Item: 'static>>(
        self,
        make: impl Fn(&T) -> I + Send + Sync + 'static,
    ) -> Stream<E, I::Item> {
        let steps = self.steps;
        Stream::new(self.topology, move |event, next| {
            steps(event, &mut |value| make(&value).into_iter().for_each(&mut *next));
        })
    }

    /// Ends the pipeline: the values are events and go to their topics.
    ///
    /// The pipeline is named after its two ends, and, when several have the same ends, numbered in
    /// the order of writing. The name is part of the outputs' ids; see [`Stream::to_named`].
    pub fn to(mut self) -> Topology
    where
        T: Effects,
    {
        let mut topics = Vec::new();
        T::topics(&mut topics);
        let ends = format!("{}->{}", E::TYPE, topics.join(","));
        let before = self.topology.pipelines.entry(ends.clone()).or_default();
        *before += 1;
        let name = if *before == 1 { ends } else { format!("{ends}#{before}") };
        self.to_named(name)
    }

    /// Ends the pipeline under a name of its own, which stays when pipelines are added or reordered.
    pub fn to_named(self, name: impl Into<String>) -> Topology
    where
        T: Effects,
    {
        let Topology { service, pipelines } = self.topology;
        let steps: Arc<Steps<E, T>> = Arc::new(self.steps);
        let handler = move |event: Received<E>| {
            let steps = Arc::clone(&steps);
            async move {
                let mut effects = Vec::new();
                steps(&event, &mut |value| effects.push(value));
                done(effects)
            }
        };
        Topology { service: service.on_named(name, handler), pipelines }
    }
}

impl<E, T> fmt::Debug for Stream<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.topology).finish()
    }
}
