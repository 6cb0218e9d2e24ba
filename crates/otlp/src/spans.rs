//! The layer of `tracing` that takes spans as they end.
//!
//! Only spans of this project, from info on. Ids, parent and link are what a span's fields say (`trace_id`, `span_id`,
//! `parent_span_id`, `link.span_id`); a span without ids is the child of the one that it was made in, or begins a trace. A span
//! that links to the creation of what it handles is its child as well, as the conventions allow where one message is
//! handled: so a trace is one tree in every tool. Nothing but fields of spans is taken: log lines may quote what is secret.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::Counts;
use crate::limits::ATTRIBUTE_CHARS_MAX;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) trace: u128,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) link: Option<u64>,
    pub(crate) begun_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

impl Span {
    /// The service that made it: who handles, or who wrote.
    pub(crate) fn service(&self) -> Option<&str> {
        let text = |wanted: &str| {
            let found = self.attributes.iter().find(|(name, _)| *name == wanted);
            match found {
                Some((_, Value::Text(text))) => Some(text.as_str()),
                _ => None,
            }
        };
        text("messaging.consumer.group.name").or_else(|| text("cloudevents.event_source"))
    }
}

/// By OTLP's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

/// A span under way.
#[derive(Debug, Default)]
struct Open {
    begun_ns: u64,
    name: Option<String>,
    kind: Kind,
    trace: Option<u128>,
    id: Option<u64>,
    parent: Option<u64>,
    link: Option<u64>,
    failed: bool,
    attributes: Vec<(&'static str, Value)>,
}

/// What goes into the subscriber; see the module's head.
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    ids: Ids,
}

impl Spans {
    pub(crate) fn new(queue: mpsc::Sender<Span>, counts: Arc<Counts>) -> Self {
        Self { queue, counts, ids: Ids::default() }
    }

    /// What it wants to see; nobody else's spans, and no log lines.
    pub fn filter<S>() -> impl Filter<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_ours = |metadata: &Metadata<'_>| {
            metadata.is_span()
                && *metadata.level() <= Level::INFO
                && metadata.target().starts_with("tidings")
        };
        filter_fn(is_ours).and(LevelFilter::INFO)
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, said: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut open = Open { begun_ns: now_ns(), ..Open::default() };
        said.record(&mut open);
        if open.trace.is_none()
            && let Some(around) = span.parent()
            && let Some(around) = around.extensions().get::<Open>()
        {
            (open.trace, open.parent) = (around.trace, around.id);
        }
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, said: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            said.record(open);
        }
    }

    /// What is inside needs the ids of what it is in, which come last where the event says the trace.
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            self.ids.give(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut open) = span.extensions_mut().remove::<Open>() else { return };
        self.ids.give(&mut open);
        let ended = open.ended(span.name());
        if self.queue.try_send(ended).is_err() {
            Counts::add(&self.counts.dropped, 1);
        }
    }
}

impl Open {
    fn ended(self, name: &'static str) -> Span {
        Span {
            name: self.name.unwrap_or_else(|| name.to_owned()),
            kind: self.kind,
            trace: self.trace.unwrap_or(1),
            id: self.id.unwrap_or(1),
            parent: self.parent.or(self.link),
            link: self.link,
            begun_ns: self.begun_ns,
            ended_ns: now_ns().max(self.begun_ns),
            failed: self.failed,
            attributes: self.attributes,
        }
    }

    fn take(&mut self, field: &Field, value: Value) {
        let text = match &value {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        match field.name() {
            "otel.name" => self.name = Some(text.to_owned()),
            "otel.kind" => {
                self.kind = match text {
                    "server" => Kind::Server,
                    "client" => Kind::Client,
                    "producer" => Kind::Producer,
                    "consumer" => Kind::Consumer,
                    _ => Kind::Internal,
                }
            }
            "otel.status_code" => self.failed = text.eq_ignore_ascii_case("error"),
            "trace_id" => self.trace = u128::from_str_radix(text, 16).ok().filter(|id| *id != 0),
            "span_id" => self.id = span_id(text),
            "parent_span_id" => self.parent = span_id(text),
            "link.span_id" => self.link = span_id(text),
            name => self.attributes.push((name, value)),
        }
    }

    fn take_text(&mut self, field: &Field, text: &str) {
        let text = match text.char_indices().nth(ATTRIBUTE_CHARS_MAX) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        self.take(field, Value::Text(text.to_owned()));
    }
}

fn span_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, Value::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, Value::Number(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::Truth(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take_text(field, &format!("{value:?}"));
    }
}

/// Ids that nobody else has: a keyed hash of a number, with a key of the process's own.
#[derive(Debug, Default)]
struct Ids {
    key: RandomState,
    given: AtomicU64,
}

impl Ids {
    fn next(&self) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write_u64(self.given.fetch_add(1, Ordering::Relaxed));
        hasher.finish().max(1)
    }

    /// To a span that has none.
    fn give(&self, open: &mut Open) {
        if open.trace.is_none() {
            open.trace = Some(u128::from(self.next()) << 64 | u128::from(self.next()));
        }
        if open.id.is_none() {
            open.id = Some(self.next());
        }
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn taken(queue: usize, make: impl FnOnce()) -> (Vec<Span>, u64) {
        let (sender, mut receiver) = mpsc::channel(queue);
        let counts = Arc::new(Counts::default());
        let layer = Spans::new(sender, Arc::clone(&counts)).with_filter(Spans::filter());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), make);
        let mut spans = Vec::new();
        while let Ok(span) = receiver.try_recv() {
            spans.push(span);
        }
        (spans, counts.dropped.load(Ordering::Relaxed))
    }

    #[test]
    fn a_span_has_the_ids_that_it_says_and_its_children_are_of_its_trace() {
        let (spans, dropped) = taken(8, || {
            let outer = tracing::info_span!(
                target: "tidings::trace",
                "process",
                otel.name = "process orders",
                otel.kind = "consumer",
                otel.status_code = tracing::field::Empty,
                messaging.consumer.group.name = "payment",
                n = 7_u64,
                trace_id = tracing::field::Empty,
                link.span_id = tracing::field::Empty,
            );
            outer.record("trace_id", format!("{:032x}", 0xabc_u128));
            outer.record("link.span_id", format!("{:016x}", 5_u64));
            outer.record("otel.status_code", "ERROR");
            outer.in_scope(|| drop(tracing::info_span!(target: "tidings_engine", "inner")));
            drop(tracing::info_span!(target: "hyper", "not ours"));
            drop(tracing::debug_span!(target: "tidings", "too fine"));
        });
        assert_eq!((spans.len(), dropped), (2, 0));
        let (inner, outer) = (&spans[0], &spans[1]);
        assert_eq!(
            (outer.name.as_str(), outer.kind, outer.failed),
            ("process orders", Kind::Consumer, true)
        );
        assert_eq!((outer.trace, outer.parent, outer.link), (0xabc, Some(5), Some(5)));
        assert_eq!(outer.service(), Some("payment"));
        let names: Vec<&str> = outer.attributes.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["messaging.consumer.group.name", "n"], "ids are no attributes");
        assert_eq!((inner.trace, inner.parent), (0xabc, Some(outer.id)));
        assert_ne!(inner.id, outer.id);
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_counted() {
        let (spans, dropped) = taken(2, || {
            for _ in 0..5 {
                drop(tracing::info_span!(target: "tidings", "one"));
            }
        });
        assert_eq!((spans.len(), dropped), (2, 3));
        assert_ne!(spans[0].trace, spans[1].trace);
    }
}
