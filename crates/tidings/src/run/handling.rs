//! One record: decode it, let its handlers have it, and turn what they decide into pending outputs,
//! pauses and dead letters.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tidings_engine::{Header, Record, SentRecord};

use super::{Broken, Worker, fold, place};
use crate::{
    DecodeError, Envelope, Error, Id, Outcome, Scope, Service,
    backoff::{Tries, Verdict},
    dead_letter::{DeadKind, Death, position_id},
    envelope::Stamp,
    event::Emission,
    handler::{AnyAttempt, Delivery, Registered},
    limits,
    outcome::{Stop, StopKind},
    processed::{HANDLER, Input, ordinal},
    publisher::{now_ms, record_bytes},
};

/// What became of a record.
pub(super) enum Handled {
    Done,
    /// Some of its handlers have had it; the others when the service has checked in.
    CheckIn,
    /// To be handled again after a pause.
    Again(Duration),
}

/// What became of a record with one of its handlers.
enum Turn {
    /// The handler was not called.
    Passed,
    Called,
    Again(Duration),
}

impl Worker {
    /// Lets every handler of the record's event have it.
    pub(super) async fn handle(&mut self, record: &Record) -> Result<Handled, Broken> {
        let envelope = match Envelope::from_record(record) {
            Ok(envelope) => Arc::new(envelope),
            Err(error) => {
                self.bury_undecodable(record, None, None, &Stop::failed(error.to_string()));
                return Ok(Handled::Done);
            }
        };
        let mut called = false;
        for index in 0..self.service.handlers.len() {
            let handler = &self.service.handlers[index];
            if *handler.topic != *record.topic || handler.event_type != envelope.r#type {
                continue;
            }
            if called && self.is_check_in_due() {
                let (partition, offset) = place(record);
                self.tries = Some((partition, offset, Tries::default()));
                return Ok(Handled::CheckIn);
            }
            match self.handle_with(index, record, &envelope).await? {
                Turn::Passed => {}
                Turn::Called => called = true,
                Turn::Again(pause) => return Ok(Handled::Again(pause)),
            }
        }
        Ok(Handled::Done)
    }

    /// One attempt of one handler, unless it has finished this input before.
    async fn handle_with(
        &mut self,
        index: usize,
        record: &Record,
        envelope: &Arc<Envelope>,
    ) -> Result<Turn, Broken> {
        let name = self.service.handlers[index].name.clone();
        let input = Input::of(envelope.id.as_str(), &name);
        if self.processed.is_finished(input) {
            // Not those that are done with the record in hand while others are not.
            self.counts.now.duplicates += u64::from(self.tries.is_none());
            return Ok(Turn::Passed);
        }
        let attempt = match self.attempt(index, record, envelope) {
            Ok(attempt) => attempt,
            Err(stop) => {
                self.bury_undecodable(record, Some(&name), Some(&envelope.id), &stop);
                return Ok(Turn::Passed);
            }
        };
        let outcome = match attempt {
            Ok(attempt) => self.outcome(attempt).await,
            Err(panicked) => Err(panicked),
        };
        let outputs = outcome.and_then(|emissions| self.outputs(&name, envelope, emissions));
        match outputs {
            Ok(outputs) => {
                self.emit(&name, envelope, outputs)?;
                self.counts.now.processed += 1;
                self.tries = None;
                Ok(Turn::Called)
            }
            Err(stop) => {
                let pause = self.judge(&name, record, envelope, &stop);
                Ok(pause.map_or(Turn::Called, Turn::Again))
            }
        }
    }

    /// Begins an attempt. Outer error: the record is not the event. Inner error: the handler
    /// panicked before its first await.
    fn attempt(
        &mut self,
        index: usize,
        record: &Record,
        envelope: &Arc<Envelope>,
    ) -> Result<Result<AnyAttempt, Stop>, Stop> {
        let undecodable = |error: DecodeError| Stop::failed(error.to_string());
        let payload = envelope.payload(record).map_err(undecodable)?;
        let delivery = Delivery { envelope, payload, record };
        let handler: &Registered = &self.service.handlers[index];
        let scope = Scope {
            wiring: &self.service.wiring,
            service: &self.service.name,
            handler: &handler.name,
            input_id: &envelope.id,
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| handler.call(&delivery, &scope))) {
            Ok(Ok(attempt)) => Ok(Ok(attempt)),
            Ok(Err(error)) => Err(undecodable(error)),
            Err(panic) => Ok(Err(self.panicked(panic.as_ref()))),
        }
    }

    /// Waits for an attempt, which may also panic or take too long.
    async fn outcome(&mut self, attempt: AnyAttempt) -> Result<Vec<Emission>, Stop> {
        let timeout = self.service.timeout;
        match tokio::time::timeout(timeout, Guarded(attempt)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(self.panicked(panic.as_ref())),
            Err(_elapsed) => Err(Stop::failed(format!("the handler took longer than {timeout:?}"))),
        }
    }

    fn panicked(&mut self, panic: &(dyn Any + Send)) -> Stop {
        self.counts.now.panics += 1;
        Stop::failed(format!("the handler panicked: {}", panic_text(panic)))
    }

    /// A handler's outputs as they are appended. Refuses what a topic or one append would not take.
    fn outputs(
        &self,
        handler: &str,
        cause: &Envelope,
        emissions: Vec<Emission>,
    ) -> Result<Vec<(Emission, SentRecord)>, Stop> {
        let (now, of) = (now_ms(), u32::try_from(emissions.len()).unwrap_or(u32::MAX));
        let service = &self.service.name;
        let (mut outputs, mut bytes) = (Vec::with_capacity(emissions.len()), 0);
        for (number, emission) in (0..of).zip(emissions) {
            let id = Id::derived(&[cause.id.as_str(), service, handler, &number.to_string()]);
            let mut record = emission.clone().into_record(&Stamp {
                id: &id,
                source: service,
                time_ms: now,
                correlation: cause.correlation.as_ref().unwrap_or(&cause.id),
                causation: Some(&cause.id),
                traceparent: cause.traceparent.as_deref(),
            });
            record.headers.push(Header::text(HANDLER, handler));
            record.headers.push(ordinal(number, of));
            let (size, most) = (record_bytes(&record), self.most_in(emission.topic));
            if size > most {
                let Emission { topic, event_type, .. } = emission;
                return Err(Stop::failed(format!(
                    "{event_type} of {size} bytes exceeds the {most} bytes that max.message.bytes \
                     of {topic} leaves a record"
                )));
            }
            bytes += size;
            outputs.push((emission, record));
        }
        if bytes > limits::INPUT_OUTPUT_BYTES_MAX {
            return Err(Stop::failed(format!(
                "{} outputs of {bytes} bytes exceed the limit of {} bytes per input",
                outputs.len(),
                limits::INPUT_OUTPUT_BYTES_MAX
            )));
        }
        Ok(outputs)
    }

    /// Puts a handler's outputs into the state and among the pending ones.
    fn emit(
        &mut self,
        handler: &str,
        cause: &Envelope,
        outputs: Vec<(Emission, SentRecord)>,
    ) -> Result<(), Broken> {
        for (emission, record) in outputs {
            fold_emitted(&mut self.service, &emission).map_err(Broken::Fatal)?;
            self.pending.add(record);
            self.pending.emitted += 1;
        }
        self.processed.finish(Input::of(cause.id.as_str(), handler));
        Ok(())
    }

    /// Counts a stop: a pause before the next attempt, or a dead letter.
    fn judge(
        &mut self,
        handler: &str,
        record: &Record,
        envelope: &Envelope,
        stop: &Stop,
    ) -> Option<Duration> {
        let (partition, offset) = place(record);
        let mut tries = match self.tries.take() {
            Some((p, o, tries)) if (&p, o) == (&partition, offset) => tries,
            _ => Tries::default(),
        };
        let (kind, figures) = (stop.kind, &mut self.counts.now);
        figures.outages += u64::from(kind == StopKind::Outage);
        figures.rejected += u64::from(kind == StopKind::Rejected);
        match tries.judge(stop, &self.service.backoff) {
            Verdict::Again(pause) => {
                figures.retried += u64::from(kind == StopKind::Failed);
                let service = &self.service.name;
                tracing::debug!(%service, handler, cause = stop.cause(), ?pause, "tries again");
                self.tries = Some((partition, offset, tries));
                Some(pause)
            }
            Verdict::Dead => {
                figures.processed += 1;
                let kind = match kind {
                    StopKind::Rejected => DeadKind::Rejected,
                    StopKind::Failed | StopKind::Outage => DeadKind::Failed,
                };
                self.bury(&Death {
                    record,
                    service: &self.service.name.clone(),
                    handler: Some(handler),
                    event_id: Some(&envelope.id),
                    kind,
                    stop,
                    attempts: tries.failures,
                });
                self.processed.finish(Input::of(envelope.id.as_str(), handler));
                None
            }
        }
    }

    fn bury_undecodable(
        &mut self,
        record: &Record,
        handler: Option<&str>,
        event_id: Option<&Id>,
        stop: &Stop,
    ) {
        let known_by = position_id(&record.topic, record.partition, record.offset);
        let input = Input::of(known_by.as_str(), handler.unwrap_or_default());
        if self.processed.is_finished(input) {
            self.counts.now.duplicates += u64::from(self.tries.is_none());
            return;
        }
        let (service, kind) = (self.service.name.clone(), DeadKind::Undecodable);
        let service = service.as_str();
        self.bury(&Death { record, service, handler, event_id, kind, stop, attempts: 0 });
        self.processed.finish(input);
    }

    fn bury(&mut self, death: &Death) {
        let bytes_max = limits::DEAD_LETTER_BYTES_MAX.min(self.most_in(&self.dead_topic));
        self.pending.add(death.letter(&self.dead_topic, bytes_max));
        self.pending.dead += 1;
    }
}

/// Folds an event that is about to be appended. One that does not read back must not get into the
/// log, where it would keep the service from ever starting again.
fn fold_emitted(service: &mut Service, emission: &Emission) -> Result<(), Error> {
    let Emission { topic, event_type, version, payload, .. } = emission;
    fold(service, (topic, event_type), *version, payload).map_err(|error| Error::Encode {
        event_type,
        cause: format!("what was written does not read back: {error}"),
    })
}

/// A future whose panics are values.
struct Guarded(AnyAttempt);

impl Future for Guarded {
    type Output = Result<Outcome<Vec<Emission>>, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let attempt = self.0.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| attempt.poll(context))) {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
