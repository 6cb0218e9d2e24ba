//! A service's loop: poll, handle, append, commit.
//!
//! Invariants:
//! 1. A position is committed only after every output and dead letter of the records before it is
//!    durable.
//! 2. Nothing is pending when the subscription is polled, so a partition is never given away with
//!    work half done.
//! 3. Before a record of a newly assigned partition is handled, all that was written for that
//!    partition by others has been read ([`crate::replay`]).
//! 4. While an append is under way the membership lives, even if the loop is dropped: nobody else
//!    gets the partitions before it is known what is in the log.
//!
//! After a failed append what is in memory may be ahead of the log; state and memory are then thrown
//! away and rebuilt. Records wait in `queue` (one poll's worth), effects in `pending`
//! ([`limits::PENDING_BYTES_MAX`]).

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tidings_engine::{
    Engine, Polled, Producer, Record, SentRecord, SubscribeOptions, Subscription, TopicPartition,
};
use tokio::sync::watch;

use crate::{
    Backoff, DecodeError, Envelope, Error, Id, Outcome, Scope, Service,
    backoff::{Tries, Verdict},
    dead_letter::{DeadKind, DeadLetter, Death, position_id},
    envelope::Stamp,
    event::Emission,
    figures::Counts,
    handler::{AnyAttempt, Delivery, Registered},
    limits,
    outcome::{Stop, StopKind},
    processed::{HANDLER, Input, OUTPUT, Ordinal, Processed, Progress},
    publisher::{now_ms, record_bytes},
    replay::Replay,
};

#[cfg(test)]
pub(crate) use crash::Crash;

/// Why the loop left its straight path.
#[derive(Debug)]
enum Broken {
    /// Join again; when `in_doubt`, rebuild first.
    Engine { error: tidings_engine::Error, in_doubt: bool },
    /// The service cannot go on.
    Fatal(Error),
    /// A test ends the process here.
    #[cfg(test)]
    Crashed,
}

impl From<tidings_engine::Error> for Broken {
    fn from(error: tidings_engine::Error) -> Self {
        Self::Engine { error, in_doubt: false }
    }
}

/// What became of a record.
enum Handled {
    Done,
    /// To be handled again after a pause.
    Again(Duration),
}

/// Effects not yet in the log, and the positions that they allow to commit.
#[derive(Default)]
struct Pending {
    records: Vec<SentRecord>,
    bytes: usize,
    emitted: u64,
    dead: u64,
    positions: BTreeMap<TopicPartition, i64>,
}

impl Pending {
    fn add(&mut self, record: SentRecord) {
        self.bytes += record_bytes(&record);
        self.records.push(record);
    }
}

/// A service's loop with all it owns.
pub(crate) struct Worker {
    service: Service,
    engine: Engine,
    inputs: Vec<String>,
    outputs: Vec<String>,
    dead_topic: String,
    producer: Producer,
    /// None while joining, and while an append holds it.
    subscription: Option<Subscription>,
    assigned: Vec<TopicPartition>,
    queue: VecDeque<Record>,
    pending: Pending,
    processed: Processed,
    replay: Replay,
    /// Of the record at the head of the queue, known by its place.
    tries: Option<(TopicPartition, i64, Tries)>,
    polled_at: Instant,
    counts: Counts,
    stop: watch::Receiver<bool>,
}

impl Worker {
    /// Rebuilds the state from the log and joins the group.
    pub(crate) async fn begin(
        service: Service,
        engine: Engine,
        counts: Counts,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let mut worker = Self {
            inputs: service.inputs(),
            outputs: service.outputs(),
            dead_topic: service.dead_topic(),
            producer: engine.producer().await?,
            service,
            engine,
            subscription: None,
            assigned: Vec::new(),
            queue: VecDeque::new(),
            pending: Pending::default(),
            processed: Processed::new(limits::PROCESSED_IDS_MAX),
            replay: Replay::default(),
            tries: None,
            polled_at: Instant::now(),
            counts,
            stop,
        };
        match worker.catch_up().await {
            Ok(()) => {}
            Err(Broken::Fatal(error)) => return Err(error),
            Err(Broken::Engine { error, .. }) => return Err(error.into()),
            #[cfg(test)]
            Err(Broken::Crashed) => unreachable!("no crash is planned in the catch-up"),
        }
        worker.subscription = Some(worker.join().await?);
        Ok(worker)
    }

    async fn join(&self) -> Result<Subscription, tidings_engine::Error> {
        let client_id = self.service.name.clone();
        let options = SubscribeOptions { client_id, ..SubscribeOptions::default() };
        self.engine.subscribe(&self.service.name, &self.inputs, options).await
    }

    /// Works until it is told to stop, or cannot.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let backoff = Backoff {
            first: limits::RESUBSCRIBE_FIRST,
            max: limits::RESUBSCRIBE_MAX,
            attempts: u32::MAX,
        };
        let mut failures = 0;
        while !self.stopping() {
            let broken = match self.serve(&mut failures).await {
                Ok(()) => break,
                Err(broken) => broken,
            };
            match broken {
                Broken::Fatal(error) => return Err(error),
                Broken::Engine { error, in_doubt } => {
                    failures += 1;
                    let (service, pause) = (&self.service.name, backoff.pause(failures));
                    tracing::warn!(%service, %error, ?pause, "lost the engine, joining again");
                    self.counts.now.rejoined += 1;
                    self.counts.show();
                    self.drop_the_batch(in_doubt);
                    self.rest(pause).await;
                }
                #[cfg(test)]
                Broken::Crashed => return Ok(()),
            }
        }
        Ok(())
    }

    /// The straight path: until told to stop, or until something breaks.
    async fn serve(&mut self, failures: &mut u32) -> Result<(), Broken> {
        if self.subscription.is_none() {
            self.producer = self.engine.producer().await?;
            self.catch_up().await?;
            self.subscription = Some(self.join().await?);
        }
        while !self.stopping() {
            let Some(record) = self.queue.pop_front() else {
                self.flush().await?;
                self.poll().await?;
                *failures = 0;
                continue;
            };
            match self.handle(&record).await? {
                Handled::Done => self.finish(&record),
                Handled::Again(pause) => {
                    self.queue.push_front(record);
                    self.flush().await?;
                    self.wait(pause).await?;
                }
            }
            if self.polled_at.elapsed() >= self.service.check_in {
                self.flush().await?;
                self.look_for_a_rebalance().await?;
                self.take_up()?;
            } else if self.pending.bytes >= limits::PENDING_BYTES_MAX {
                self.flush().await?;
            }
        }
        self.flush().await?;
        match self.subscription.take() {
            Some(subscription) => Ok(subscription.close().await?),
            None => Ok(()),
        }
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Forgets what is in hand; it will be delivered again.
    fn drop_the_batch(&mut self, in_doubt: bool) {
        self.subscription = None;
        self.assigned.clear();
        self.queue.clear();
        self.tries = None;
        let unsent = !std::mem::take(&mut self.pending).records.is_empty();
        if in_doubt || unsent {
            self.service.wiring.states.begin_again();
            self.processed = Processed::new(limits::PROCESSED_IDS_MAX);
            self.replay = Replay::default();
        }
    }

    /// Sleeps, unless told to stop.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }

    fn member(&mut self) -> Result<&mut Subscription, tidings_engine::Error> {
        self.subscription
            .as_mut()
            .ok_or_else(|| tidings_engine::Error::Unavailable("not a member of the group".into()))
    }

    async fn poll(&mut self) -> Result<(), Broken> {
        let mut stop = self.stop.clone();
        let polled = tokio::select! {
            polled = self.member()?.poll(limits::BATCH_RECORDS_MAX, limits::POLL_WAIT) => polled?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        self.polled_at = Instant::now();
        self.take(polled).await
    }

    async fn take(&mut self, polled: Polled) -> Result<(), Broken> {
        match polled {
            Polled::Records(records) => self.queue.extend(records),
            Polled::Revoked(partitions) => self.let_go(&partitions),
            Polled::Assigned(partitions) => {
                self.assigned.extend(partitions.into_iter().map(|(id, ..)| id));
                self.catch_up().await?;
            }
        }
        Ok(())
    }

    /// Queued records of these partitions are somebody else's now.
    fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.assigned.retain(|id| !partitions.contains(id));
        self.queue.retain(|record| !partitions.contains(&place(record).0));
        self.tries.take_if(|(partition, ..)| partitions.contains(partition));
    }

    /// Waits between two attempts, nothing handled meanwhile, the membership kept.
    async fn wait(&mut self, pause: Duration) -> Result<(), Broken> {
        let until = Instant::now() + pause;
        loop {
            let begun = Instant::now();
            let slice = until.saturating_duration_since(begun).min(limits::WAITING_POLL);
            if slice.is_zero() || self.stopping() {
                break;
            }
            self.look_for_a_rebalance().await?;
            self.rest(slice.saturating_sub(begun.elapsed())).await;
        }
        self.take_up()
    }

    /// Polls for changes of the assignment only; no partition is fetched from until [`Self::take_up`].
    async fn look_for_a_rebalance(&mut self) -> Result<(), Broken> {
        let assigned = self.assigned.clone();
        let member = self.member()?;
        member.pause(&assigned);
        let polled = member.poll(limits::BATCH_RECORDS_MAX, Duration::ZERO).await?;
        self.polled_at = Instant::now();
        self.take(polled).await
    }

    fn take_up(&mut self) -> Result<(), Broken> {
        let assigned = self.assigned.clone();
        self.member()?.resume(&assigned);
        Ok(())
    }

    /// Reads what this service has written and this instance has not seen.
    async fn catch_up(&mut self) -> Result<(), Broken> {
        let mut reading = self.replay.reading(&self.engine, &self.outputs).await?;
        while let Some(record) = reading.next().await? {
            if record.topic == self.dead_topic {
                let letter = DeadLetter::from_record(&record)
                    .filter(|letter| letter.service.as_ref() == Some(&self.service.name));
                if let Some(input) = letter.and_then(|letter| letter.input()) {
                    self.processed.finish(input);
                }
            } else if let Ok(envelope) = Envelope::from_record(&record)
                && envelope.source == self.service.name
            {
                if let Some((input, ordinal)) = cause_of(&record, &envelope) {
                    self.processed.output(input, ordinal);
                }
                fold_read(&mut self.service, &record, &envelope).map_err(Broken::Fatal)?;
            }
        }
        Ok(())
    }

    /// Lets every handler of the record's event have it.
    async fn handle(&mut self, record: &Record) -> Result<Handled, Broken> {
        let envelope = match Envelope::from_record(record) {
            Ok(envelope) => Arc::new(envelope),
            Err(error) => {
                self.bury_undecodable(record, None, None, &Stop::failed(error.to_string()));
                return Ok(Handled::Done);
            }
        };
        for index in 0..self.service.handlers.len() {
            let handler = &self.service.handlers[index];
            if handler.topic != record.topic || handler.event_type != envelope.r#type {
                continue;
            }
            if let Some(pause) = self.handle_with(index, record, &envelope).await? {
                return Ok(Handled::Again(pause));
            }
        }
        Ok(Handled::Done)
    }

    /// One attempt of one handler, unless it has finished this input before. A pause says: again.
    async fn handle_with(
        &mut self,
        index: usize,
        record: &Record,
        envelope: &Arc<Envelope>,
    ) -> Result<Option<Duration>, Broken> {
        let name = self.service.handlers[index].name.clone();
        let input = Input::of(envelope.id.as_str(), &name);
        let progress = self.processed.progress(input);
        if progress == Progress::Finished {
            // Handlers that are done with a record at which another one is still trying.
            self.counts.now.duplicates += u64::from(self.tries.is_none());
            return Ok(None);
        }
        let attempt = match self.attempt(index, record, envelope) {
            Ok(attempt) => attempt,
            Err(stop) => {
                self.bury_undecodable(record, Some(&name), Some(&envelope.id), &stop);
                return Ok(None);
            }
        };
        let outcome = match attempt {
            Ok(attempt) => self.outcome(attempt).await,
            Err(panicked) => Err(panicked),
        };
        match outcome.and_then(within_limit) {
            Ok(emissions) => {
                self.emit(&name, envelope, &progress, emissions)?;
                self.counts.now.processed += 1;
                self.tries = None;
                Ok(None)
            }
            Err(stop) => Ok(self.judge(&name, record, envelope, &stop)),
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

    /// Puts a handler's outputs into the state and among the pending ones, except those that are in
    /// the log from an earlier attempt.
    fn emit(
        &mut self,
        handler: &str,
        cause: &Envelope,
        progress: &Progress,
        emissions: Vec<Emission>,
    ) -> Result<(), Broken> {
        let (now, of) = (now_ms(), u32::try_from(emissions.len()).unwrap_or(u32::MAX));
        for (number, emission) in (0..of).zip(emissions) {
            if matches!(progress, Progress::Partly(seen) if seen.contains(&number)) {
                continue;
            }
            let service = &self.service.name;
            let parts = [cause.id.as_str(), service, handler, &number.to_string()];
            let id = Id::derived(&parts);
            fold_emitted(&mut self.service, &emission).map_err(Broken::Fatal)?;
            let mut record = emission.into_record(&Stamp {
                id: &id,
                source: &self.service.name,
                time_ms: now,
                correlation: cause.correlation.as_ref().unwrap_or(&cause.id),
                causation: Some(&cause.id),
                traceparent: cause.traceparent.as_deref(),
            });
            record.headers.push(tidings_engine::Header::text(HANDLER, handler));
            record.headers.push(Ordinal { number, of }.header());
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
        if self.processed.progress(input) == Progress::Finished {
            self.counts.now.duplicates += 1;
            return;
        }
        let (service, kind) = (self.service.name.clone(), DeadKind::Undecodable);
        let service = service.as_str();
        self.bury(&Death { record, service, handler, event_id, kind, stop, attempts: 0 });
        self.processed.finish(input);
    }

    fn bury(&mut self, death: &Death) {
        self.pending.add(death.letter(&self.dead_topic));
        self.pending.dead += 1;
    }

    /// All handlers are done with the record.
    fn finish(&mut self, record: &Record) {
        self.tries = None;
        let (partition, offset) = place(record);
        self.pending.positions.insert(partition, offset + 1);
    }

    /// Appends what is pending, then commits the positions that it allows.
    async fn flush(&mut self) -> Result<(), Broken> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.records.is_empty() {
            self.append(pending.records).await?;
            self.counts.now.emitted += pending.emitted;
            self.counts.now.dead += pending.dead;
        }
        self.counts.show();
        #[cfg(test)]
        self.service.crash.here()?;
        if !pending.positions.is_empty() {
            let offsets: Vec<_> =
                pending.positions.into_iter().map(|(id, next)| (id, next, None)).collect();
            self.member()?.commit(&offsets).await?;
        }
        #[cfg(test)]
        self.service.crash.here()?;
        if self.replay.is_full() {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Appends in a task of its own that holds the membership until the engine has answered.
    async fn append(&mut self, records: Vec<SentRecord>) -> Result<(), Broken> {
        let (producer, subscription) = (self.producer.clone(), self.subscription.take());
        #[cfg(test)]
        self.service.crash.here()?;
        let append = tokio::spawn(async move { (producer.send(records).await, subscription) });
        let sent = match append.await {
            Ok((sent, subscription)) => {
                self.subscription = subscription;
                sent
            }
            Err(error) => Err(tidings_engine::Error::Unavailable(error.to_string())),
        };
        let positions = sent.map_err(|error| Broken::Engine { error, in_doubt: true })?;
        self.replay.appended(&positions);
        Ok(())
    }
}

fn place(record: &Record) -> (TopicPartition, i64) {
    let Record { topic, partition, offset, .. } = record;
    (TopicPartition { topic: topic.clone(), partition: *partition }, *offset)
}

/// Which input an output came from, and which of its outputs it is.
fn cause_of(record: &Record, envelope: &Envelope) -> Option<(Input, Ordinal)> {
    let input = Input::of(envelope.causation.as_ref()?.as_str(), record.header(HANDLER)?);
    Some((input, Ordinal::parse(record.header(OUTPUT)?)?))
}

/// Refuses outputs that would not fit into one batch.
fn within_limit(emissions: Vec<Emission>) -> Result<Vec<Emission>, Stop> {
    /// What the envelope adds, at most, besides the key (twice).
    const ENVELOPE_BYTES: usize = 1024;
    let bytes: usize =
        emissions.iter().map(|e| e.payload.len() + 2 * e.key.len() + ENVELOPE_BYTES).sum();
    if bytes > limits::INPUT_OUTPUT_BYTES_MAX {
        return Err(Stop::failed(format!(
            "{} outputs of {bytes} bytes exceed the limit of {} bytes per input",
            emissions.len(),
            limits::INPUT_OUTPUT_BYTES_MAX
        )));
    }
    Ok(emissions)
}

/// Folds one of the service's own events into its states.
fn fold(
    service: &mut Service,
    (topic, event_type): (&str, &str),
    version: u32,
    payload: &[u8],
) -> Result<(), DecodeError> {
    let Service { folds, wiring, .. } = service;
    for fold in folds.iter().filter(|f| f.topic == topic && f.event_type == event_type) {
        fold.apply(&mut wiring.states, version, payload)?;
    }
    Ok(())
}

/// Folds an event as read from the log.
fn fold_read(service: &mut Service, record: &Record, envelope: &Envelope) -> Result<(), Error> {
    let name = (record.topic.as_str(), envelope.r#type.as_str());
    let folded = match envelope.payload(record) {
        Ok(payload) => fold(service, name, envelope.version, payload),
        Err(error) => Err(error),
    };
    folded.map_err(|error| Error::Fold {
        service: service.name.clone(),
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        cause: error.to_string(),
    })
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

#[cfg(test)]
mod crash {
    //! A process that ends at a chosen point between handling, append and commit.

    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use super::Broken;

    /// Counts the points that are passed; at zero the service is gone.
    #[derive(Clone, Debug)]
    pub(crate) struct Crash(Arc<AtomicI64>);

    impl Crash {
        pub(crate) fn never() -> Self {
            Self::after(i64::MAX)
        }

        pub(crate) fn after(points: i64) -> Self {
            Self(Arc::new(AtomicI64::new(points)))
        }

        pub(super) fn here(&self) -> Result<(), Broken> {
            match self.0.fetch_sub(1, Ordering::Relaxed) {
                ..=0 => Err(Broken::Crashed),
                _ => Ok(()),
            }
        }
    }
}
