//! W3C trace context, and the spans of what is written and handled.
//!
//! Spans follow OpenTelemetry's conventions for messaging (1.4x, in development) as far as fields of `tracing`
//! can: `otel.name` and `otel.kind` are what `tracing-opentelemetry` reads. An event continues the trace of its
//! cause with a span id derived from its own id, so a redelivered input makes the same. The span of its writing
//! (`create`) says it as `span_id`, the span of its handling (`process`) as `link.span_id`, both beside
//! `trace_id`: that is the link from consumer to producer. Log lines of a handler are inside the second.
//!
//! Never in a span: payloads, keys, headers, and the texts of errors, which may quote a payload.
//!
//! Source: W3C Trace Context, section 3.2; OpenTelemetry semantic conventions, messaging spans and Kafka.

use std::fmt;

use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    Outcome, Scope, envelope::Stamp, event::Emission, handler::Delivery, id::digest,
    outcome::StopKind,
};

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<&str> = text.split('-').collect();
        let &[version, trace, span, flags, ..] = &parts[..] else { return None };
        if [version, trace, span, flags].map(str::len) != [2, 32, 16, 2]
            || ![version, trace, span, flags].into_iter().all(lower_hex)
            || version == "ff"
            || (version == "00" && parts.len() != 4)
        {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace, span, flags: u8::from_str_radix(flags, 16).ok()? })
    }

    /// The same trace with a span of its own, derived from the event's id; without a valid parent a
    /// trace derived from the correlation, so that redelivery cannot fork it.
    pub(crate) fn of(stamp: &Stamp) -> Self {
        let span = &digest(&["span", stamp.id.as_str()])[..8];
        let span = u64::from_be_bytes(span.try_into().unwrap_or_default()).max(1);
        let parent = stamp.traceparent.and_then(Self::parse).map(|p| (p.trace, p.flags));
        let (trace, flags) = parent.unwrap_or_else(|| {
            (u128::from_be_bytes(digest(&["trace", stamp.correlation.as_str()])).max(1), 1)
        });
        Self { trace, span, flags }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// The span of an event's writing, over at once: when it is in the log is its transaction's matter.
pub(crate) fn create(emission: &Emission, stamp: &Stamp, own: TraceParent) {
    let span = info_span!(
        "create",
        otel.name = %format_args!("create {}", emission.topic),
        otel.kind = "producer",
        messaging.system = "kafka",
        messaging.operation.type = "create",
        messaging.operation.name = "create",
        messaging.destination.name = emission.topic,
        messaging.message.id = %stamp.id,
        messaging.message.conversation_id = %stamp.correlation,
        messaging.message.body.size = emission.payload.len(),
        cloudevents.event_id = %stamp.id,
        cloudevents.event_source = stamp.source,
        cloudevents.event_type = emission.event_type,
        tidings.kind = emission.kind.as_str(),
        tidings.causation_id = Empty,
        trace_id = %format_args!("{:032x}", own.trace),
        span_id = %format_args!("{:016x}", own.span),
        parent_span_id = Empty,
    );
    if span.is_disabled() {
        return;
    }
    if let Some(causation) = stamp.causation {
        span.record("tidings.causation_id", causation.as_str());
    }
    if let Some(parent) = stamp.traceparent.and_then(TraceParent::parse) {
        span.record("parent_span_id", format_args!("{:016x}", parent.span).to_string());
    }
}

/// The span of one attempt at one event.
pub(crate) struct Processing {
    span: Span,
    ended: bool,
}

impl Processing {
    pub(crate) fn of(delivery: &Delivery, scope: &Scope) -> Self {
        let Delivery { envelope, payload, record } = delivery;
        let span = info_span!(
            "process",
            otel.name = %format_args!("process {}", record.topic),
            otel.kind = "consumer",
            otel.status_code = Empty,
            error.type = Empty,
            messaging.system = "kafka",
            messaging.operation.type = "process",
            messaging.operation.name = "process",
            messaging.destination.name = %record.topic,
            messaging.destination.partition.id = %record.partition,
            messaging.consumer.group.name = scope.service,
            messaging.kafka.offset = record.offset,
            messaging.message.id = %envelope.id,
            messaging.message.conversation_id = Empty,
            messaging.message.body.size = payload.len(),
            cloudevents.event_id = %envelope.id,
            cloudevents.event_source = envelope.source,
            cloudevents.event_type = envelope.r#type,
            tidings.kind = envelope.kind.as_str(),
            tidings.handler = scope.handler,
            tidings.causation_id = Empty,
            tidings.outcome = Empty,
            trace_id = Empty,
            link.span_id = Empty,
        );
        let processing = Self { span, ended: false };
        let span = &processing.span;
        if span.is_disabled() {
            return processing;
        }
        if let Some(id) = &envelope.correlation {
            span.record("messaging.message.conversation_id", id.as_str());
        }
        if let Some(id) = &envelope.causation {
            span.record("tidings.causation_id", id.as_str());
        }
        if let Some(producer) = envelope.traceparent.as_deref().and_then(TraceParent::parse) {
            span.record("trace_id", format!("{:032x}", producer.trace));
            span.record("link.span_id", format!("{:016x}", producer.span));
        }
        processing
    }

    /// Waits for an attempt inside of the span, and says in it how the attempt ended.
    pub(crate) async fn run<T>(mut self, attempt: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let outcome = attempt.instrument(self.span.clone()).await;
        self.ended = true;
        let stop = outcome.as_ref().err();
        let said = match stop.map(|stop| stop.kind) {
            None => "done",
            Some(StopKind::Rejected) => "rejected",
            Some(StopKind::Failed) => "failed",
            Some(StopKind::Outage) => "outage",
            Some(StopKind::Absent) => "absent",
            Some(StopKind::Dropped) => "dropped",
            Some(StopKind::TurnedAway { .. }) => "turned away",
        };
        self.span.record("tidings.outcome", said);
        let is_none = |kind| matches!(kind, StopKind::Rejected | StopKind::TurnedAway { .. });
        if let Some(stop) = stop.filter(|stop| !is_none(stop.kind)) {
            let class = stop.error.as_ref().map_or(said, |(name, _)| name.as_str());
            self.failed(class);
        }
        outcome
    }

    fn failed(&self, class: &str) {
        self.span.record("otel.status_code", "ERROR");
        self.span.record("error.type", class);
    }
}

/// A panic or a timeout: the attempt is dropped before its end.
impl Drop for Processing {
    fn drop(&mut self) {
        if !self.ended {
            self.span.record("tidings.outcome", "unfinished");
            self.failed("unfinished");
        }
    }
}
