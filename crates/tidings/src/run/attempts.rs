//! One record: decode it, let its handlers have it one after the other, and turn what they decide into outputs,
//! dead letters and what becomes of the record.
//!
//! A handler that decides at its first poll costs no task; others are spawned, so that they go on while the loop
//! commits and polls.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tidings_engine::{Header, Record, SentRecord, TopicPartition};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use super::{Broken, Worker, commit::Decided, millis};
use crate::{
    DecodeError, Envelope, Error, Id, Outcome, Scope, Service,
    dead_letter::{DeadKind, Death, cut},
    envelope::Stamp,
    event::{Emission, Emissions},
    handler::{AnyAttempt, Delivery, Registered},
    limits,
    outcome::{Stop, StopKind},
    publisher::{now_ms, record_bytes},
    replay::{HANDLER, ordinal},
    state::fold,
    task::{Dead, Ended, Input, Key, Sign, Work},
};

/// Records that are being attempted.
#[derive(Default)]
pub(super) struct Attempts {
    futures: JoinSet<Timed>,
    records: HashMap<task::Id, Attempted>,
}

/// How an attempt ended, and when.
type Timed = (Outcome<Emissions>, Instant);

/// An attempt that was spawned, and its end.
pub(super) type AttemptEnd = (task::Id, Timed);

/// A record that its handlers have one after the other.
struct Attempted {
    at: TopicPartition,
    work: Work,
    /// None when the record is no event.
    envelope: Option<Arc<Envelope>>,
    /// Handlers that will have it, and what the record is to each.
    left: VecDeque<(usize, Input)>,
    /// The one that has it.
    now: Option<(usize, Input)>,
    /// Since when.
    begun: Instant,
    failures: Vec<Failure>,
    /// A handler came to a decision of its own, so what it stands on works.
    is_decided: bool,
    is_probe: bool,
    abort: Option<AbortHandle>,
}

/// A handler that came to no decision, or none that was reached.
struct Failure {
    /// Its number; none where the record is no event.
    handler: Option<usize>,
    kind: DeadKind,
    stop: Stop,
}

impl Attempted {
    fn of(at: TopicPartition, work: Work, envelope: Option<Arc<Envelope>>, is_probe: bool) -> Self {
        let (left, failures) = (VecDeque::new(), Vec::new());
        let (now, begun, is_decided, abort) = (None, Instant::now(), false, None);
        Self { at, work, envelope, left, now, begun, failures, is_decided, is_probe, abort }
    }
}

impl Failure {
    /// The heaviest decides: what may pass is waited for before anything is given up. A handler that was not let in
    /// hides nothing of another that was.
    fn weight(&self) -> u8 {
        match (self.kind, self.stop.kind) {
            (_, StopKind::TurnedAway { .. }) => 0,
            (DeadKind::Undecodable, _) => 1,
            (DeadKind::Absent, _) => 2,
            (_, StopKind::Outage) => 5,
            _ if self.stop.is_own => 3,
            _ => 4,
        }
    }

    fn turned_away(&self) -> Option<Duration> {
        match self.stop.kind {
            StopKind::TurnedAway { after } => Some(after),
            _ => None,
        }
    }
}

impl Attempts {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// When the records were written.
    pub(super) fn timestamps(&self) -> impl Iterator<Item = i64> {
        self.records.values().map(|attempted| attempted.work.record.timestamp)
    }

    /// Waits for an attempt to end; none when there is none.
    pub(super) async fn next(&mut self) -> Option<AttemptEnd> {
        loop {
            if let Some(ended) = end_of(self.futures.join_next_with_id().await?) {
                return Some(ended);
            }
        }
    }

    pub(super) fn try_next(&mut self) -> Option<AttemptEnd> {
        loop {
            if let Some(ended) = end_of(self.futures.try_join_next_with_id()?) {
                return Some(ended);
            }
        }
    }

    /// Drops what is attempted of these partitions.
    pub(super) fn drop_of(&mut self, partitions: &[TopicPartition]) {
        for record in self.records.values() {
            if partitions.contains(&record.at)
                && let Some(abort) = &record.abort
            {
                abort.abort();
            }
        }
        self.records.retain(|_, record| !partitions.contains(&record.at));
    }

    fn spawn(&mut self, mut record: Attempted, attempt: AnyAttempt, timeout: Duration) {
        let abort = self.futures.spawn(async move {
            let ended = match tokio::time::timeout(timeout, Guarded(attempt)).await {
                Ok(ended) => ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
                Err(_) => Err(Stop::failed(format!("the handler took longer than {timeout:?}"))),
            };
            (ended, Instant::now())
        });
        let id = abort.id();
        record.abort = Some(abort);
        self.records.insert(id, record);
    }
}

/// None for one that was dropped. A panic outside of the handler's polls is one of its future's end.
fn end_of(joined: Result<AttemptEnd, JoinError>) -> Option<AttemptEnd> {
    match joined {
        Ok(ended) => Some(ended),
        Err(error) if error.is_cancelled() => None,
        Err(error) => {
            let id = error.id();
            Some((id, (Err(panicked(error.into_panic().as_ref())), Instant::now())))
        }
    }
}

impl Worker {
    /// What handlers of the service have of a record: nothing, where it is no event.
    pub(super) fn inputs_of(service: &Service, record: &Record) -> Vec<Input> {
        let Ok(envelope) = Envelope::from_record(record) else { return Vec::new() };
        let takes = |handler: &&Registered| {
            *handler.topic == *record.topic && handler.event_type == envelope.r#type
        };
        let input = |handler: &Registered| Input::of(envelope.id.as_str(), &handler.name);
        service.handlers.iter().filter(takes).map(input).collect()
    }

    /// Begins to let every handler of the record's event have it.
    pub(super) fn begin_attempt(
        &mut self,
        task: usize,
        mut work: Work,
        is_probe: bool,
    ) -> Result<(), Broken> {
        let at = self.tasks[task].at().clone();
        let envelope = match Envelope::from_record(&work.record) {
            Ok(envelope) => Arc::new(envelope),
            Err(error) => {
                let failure = undecodable(None, &error);
                let mut record = Attempted::of(at, work, None, is_probe);
                record.failures.push(failure);
                self.conclude(record);
                return Ok(());
            }
        };
        let mut left = VecDeque::new();
        for (index, handler) in self.service.handlers.iter().enumerate() {
            if *handler.topic != *work.record.topic
                || handler.event_type != envelope.r#type
                || work.finished.contains(&handler.name)
            {
                continue;
            }
            let input = Input::of(envelope.id.as_str(), &handler.name);
            if self.tasks[task].recent().has(input) {
                self.counts.now.duplicates += 1;
                self.counts.handlers[index].duplicates += 1;
                // Also when that is remembered no more.
                work.finished.push(handler.name.clone());
            } else {
                left.push_back((index, input));
            }
        }
        self.go_on(Attempted { left, ..Attempted::of(at, work, Some(envelope), is_probe) })
    }

    /// The next handler has the record; after the last one it is over.
    fn go_on(&mut self, mut record: Attempted) -> Result<(), Broken> {
        while let Some((index, input)) = record.left.pop_front() {
            (record.now, record.begun) = (Some((index, input)), Instant::now());
            let mut attempt = match self.attempt(&record) {
                Ok(Ok(attempt)) => attempt,
                Ok(Err(stop)) => {
                    self.attempted(&mut record, (Err(stop), Instant::now()))?;
                    continue;
                }
                Err(error) => {
                    record.failures.push(undecodable(Some(index), &error));
                    continue;
                }
            };
            // Most handlers that call nobody are done at once.
            let mut context = Context::from_waker(Waker::noop());
            match poll_guarded(&mut attempt, &mut context) {
                Poll::Ready(ended) => {
                    let ended = ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
                    self.attempted(&mut record, (ended, Instant::now()))?;
                }
                Poll::Pending => {
                    self.attempts.spawn(record, attempt, self.service.timeout);
                    return Ok(());
                }
            }
        }
        self.conclude(record);
        Ok(())
    }

    /// An attempt that was spawned is over.
    pub(super) fn attempt_ended(&mut self, (id, ended): AttemptEnd) -> Result<(), Broken> {
        let Some(mut record) = self.attempts.records.remove(&id) else { return Ok(()) };
        self.attempted(&mut record, ended)?;
        self.go_on(record)
    }

    /// Begins an attempt. Outer error: the record is not the event. Inner error: the handler
    /// panicked before its first await.
    fn attempt(&self, record: &Attempted) -> Result<Result<AnyAttempt, Stop>, DecodeError> {
        let Attempted { work, envelope: Some(envelope), now: Some((now, _)), .. } = record else {
            return Err(DecodeError::NoValue);
        };
        let payload = envelope.payload(&work.record)?;
        let delivery = Delivery { envelope, payload, record: &work.record };
        let handler = &self.service.handlers[*now];
        let Some(task) = self.task_of(&record.at.topic, record.at.partition) else {
            return Ok(Err(Stop::failed("the partition is somebody else's")));
        };
        let scope = Scope {
            wiring: &self.service.wiring,
            service: &self.service.name,
            handler: &handler.name,
            input_id: &envelope.id,
            record: &work.record,
            store: self.tasks[task].store(),
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| handler.call(&delivery, &scope))) {
            Ok(attempt) => attempt,
            Err(panic) => Ok(Err(panicked(panic.as_ref()))),
        }
    }

    /// A handler has had the record: its outputs go into the state and among the pending ones.
    fn attempted(&mut self, record: &mut Attempted, (ended, at): Timed) -> Result<(), Broken> {
        let (Some((index, input)), Some(envelope)) = (record.now, &record.envelope) else {
            return Ok(());
        };
        let (took, time_ms) = (at.saturating_duration_since(record.begun), envelope.time_ms);
        self.counts.handlers[index].processing.add(took);
        let key = record.work.record.key.as_ref();
        let ended = ended.and_then(|Emissions { emitted, changes, .. }| {
            let name = &self.service.handlers[index].name;
            Ok((self.outputs(name, envelope, emitted)?, self.values(&record.at, key, changes)?))
        });
        match ended {
            Ok((outputs, values)) => {
                self.keep(&record.at, values);
                self.pending.decided.push(Decided::of(index, time_ms, outputs.len()));
                for (emission, output) in outputs {
                    fold_emitted(&mut self.service, &emission).map_err(Broken::Fatal)?;
                    self.pending.add(output);
                    self.pending.emitted += 1;
                }
                record.is_decided = true;
                self.finished(record, index, input);
            }
            Err(stop) => {
                self.counts.stopped(index, &stop);
                let kind = match stop.kind {
                    StopKind::Rejected => DeadKind::Rejected,
                    StopKind::Absent => DeadKind::Absent,
                    StopKind::Failed
                    | StopKind::Outage
                    | StopKind::Dropped
                    | StopKind::TurnedAway { .. } => DeadKind::Failed,
                };
                if stop.kind == StopKind::Dropped {
                    // Nobody was called.
                    self.pending.decided.push(Decided::of(index, time_ms, 0));
                    self.finished(record, index, input);
                } else if kind == DeadKind::Rejected {
                    let (id, attempts) = (Some(&envelope.id), record.work.attempts + 1);
                    self.bury(&record.work.record, Some(index), id, kind, &stop, attempts);
                    self.pending.decided.push(Decided::of(index, time_ms, 0));
                    record.is_decided = true;
                    self.finished(record, index, input);
                } else {
                    record.failures.push(Failure { handler: Some(index), kind, stop });
                }
            }
        }
        Ok(())
    }

    /// A handler is done with the record.
    fn finished(&mut self, record: &mut Attempted, index: usize, input: Input) {
        self.processed(index);
        record.work.finished.push(self.service.handlers[index].name.clone());
        if let Some(task) = self.task_of(&record.at.topic, record.at.partition) {
            self.tasks[task].recent().finish(input);
        }
    }

    /// Counts an event that a handler need not have again.
    fn processed(&mut self, index: usize) {
        self.counts.now.processed += 1;
        self.counts.handlers[index].processed += 1;
    }

    /// Every handler has had the record.
    fn conclude(&mut self, record: Attempted) {
        let ended = self.verdict(&record);
        let Attempted { at, work, .. } = record;
        if let Some(task) = self.task_of(&at.topic, at.partition) {
            self.tasks[task].ended(work, ended);
        }
    }

    /// What becomes of a record.
    fn verdict(&mut self, record: &Attempted) -> Ended {
        let Attempted { work, envelope, failures, is_decided, is_probe, .. } = record;
        let (key, now) = (Key::of(&work.record), now_ms());
        let last = work.attempts + 1 >= self.service.backoff.attempts;
        let worst = failures.iter().max_by_key(|failure| failure.weight());
        let sign = match worst {
            None => is_decided.then_some(Sign::Works),
            // It lies in the event or the code, and says nothing about the outside.
            Some(Failure { stop, .. }) if stop.is_own => None,
            Some(Failure { stop, .. }) if stop.kind == StopKind::Outage => Some(Sign::Down),
            // A probe that did not get through; else it says nothing, as nobody was called.
            Some(Failure { stop, .. }) if stop.is_turned_away() => {
                (*is_probe && self.breaker.is_open()).then_some(Sign::Down)
            }
            Some(_) => Some(Sign::Fails { last }),
        };
        let cause = worst.map(|failure| cut(&failure.stop.cause).to_owned()).unwrap_or_default();
        match sign {
            Some(sign) if self.note(&key, (sign, *is_probe), &cause, now) => return Ended::Again,
            Some(_) => {}
            None if *is_probe => self.breaker.give_up(),
            None => {}
        }
        let Some(worst) = worst else { return Ended::Done };
        let pause = self.service.backoff.jittered(work.attempts + 1, work.record.offset);
        let turned_away = failures.iter().filter_map(Failure::turned_away).max();
        let is_hopeless = matches!(worst.kind, DeadKind::Undecodable | DeadKind::Absent);
        let has_failed = !is_hopeless && !worst.stop.is_turned_away();
        if has_failed && !last {
            self.counts.now.retried += 1;
            let pause = turned_away.map_or(pause, |after| pause.max(after));
            let service = &self.service.name;
            tracing::debug!(%service, cause, ?pause, "tries again");
            return Ended::Failed { due_ms: now.saturating_add(millis(pause)) };
        }
        // Nothing is given up as long as a handler had no turn.
        if let Some(after) = turned_away {
            let after = if has_failed { after.max(pause) } else { after };
            return Ended::Later { due_ms: now.saturating_add(millis(after)) };
        }
        let is_absent = worst.kind == DeadKind::Absent;
        let awaits = failures.iter().filter_map(|failure| failure.stop.awaits.clone());
        let awaits = if is_absent { awaits.collect() } else { Vec::new() };
        let id = envelope.as_deref().map(|envelope| &envelope.id);
        let letters = failures.iter().map(|Failure { handler, kind, stop }| {
            let attempts = if *kind == DeadKind::Undecodable { 0 } else { work.attempts + 1 };
            if let Some(index) = handler.filter(|_| *kind != DeadKind::Undecodable) {
                self.processed(index);
            }
            self.bury(&work.record, *handler, id, *kind, stop, attempts)
        });
        let letters = letters.collect();
        Ended::Dead(Dead { since_ms: now, control: self.commanded, letters, cause, awaits })
    }

    /// Tells the breaker; true when the attempt counts for nothing.
    fn note(&mut self, key: &Key, sign: (Sign, bool), cause: &str, now_ms: i64) -> bool {
        let was_open = self.breaker.is_open();
        let is_nothing = self.breaker.judge(key, sign, cause, now_ms);
        if was_open != self.breaker.is_open() {
            let service = &self.service.name;
            match self.breaker.outage() {
                Some(outage) => {
                    tracing::warn!(%service, cause = outage.cause, "a dependency is down, waits");
                }
                None => tracing::info!(%service, "the outage is over, goes on"),
            }
        }
        if is_nothing || was_open {
            self.counts.set_outage(self.breaker.outage());
            self.counts.show();
        }
        is_nothing
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
            let (size, most) = (record_bytes(&record), self.topics.most_in(emission.topic));
            if size > most {
                let Emission { topic, event_type, .. } = emission;
                return Err(Stop::own(format!(
                    "{event_type} of {size} bytes exceeds the {most} bytes that max.message.bytes \
                     of {topic} leaves a record"
                )));
            }
            bytes += size;
            outputs.push((emission, record));
        }
        if bytes > limits::INPUT_OUTPUT_BYTES_MAX {
            return Err(Stop::own(format!(
                "{} outputs of {bytes} bytes exceed the limit of {} bytes per input",
                outputs.len(),
                limits::INPUT_OUTPUT_BYTES_MAX
            )));
        }
        Ok(outputs)
    }

    /// Writes a dead letter, and tells its id.
    fn bury(
        &mut self,
        record: &Record,
        handler: Option<usize>,
        event_id: Option<&Id>,
        kind: DeadKind,
        stop: &Stop,
        attempts: u32,
    ) -> Id {
        let Service { name: service, handlers, .. } = &self.service;
        let handler = handler.map(|index| handlers[index].name.as_str());
        let death = Death { record, service, handler, event_id, kind, stop, attempts };
        let bytes_max = limits::DEAD_LETTER_BYTES_MAX.min(self.topics.most_in(&self.topics.dead));
        self.pending.add(death.letter(&self.topics.dead, bytes_max));
        self.pending.dead += 1;
        death.id()
    }
}

fn undecodable(handler: Option<usize>, error: &DecodeError) -> Failure {
    Failure { handler, kind: DeadKind::Undecodable, stop: Stop::own(error.to_string()) }
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

type Panic = Box<dyn Any + Send>;

/// A future whose panics are values.
struct Guarded(AnyAttempt);

impl Future for Guarded {
    type Output = Result<Outcome<Emissions>, Panic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_guarded(&mut self.0, context)
    }
}

fn poll_guarded(
    attempt: &mut AnyAttempt,
    context: &mut Context<'_>,
) -> Poll<Result<Outcome<Emissions>, Panic>> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context))) {
        Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Stop {
    Stop::of_panic(format!("the handler panicked: {}", panic_text(panic)))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
