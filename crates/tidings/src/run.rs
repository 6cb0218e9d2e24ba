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

#[cfg(test)]
mod crash;
mod handling;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tidings_engine::{
    Engine, Polled, Producer, Record, SentRecord, SubscribeOptions, Subscription, TopicPartition,
};
use tokio::sync::watch;

use crate::{
    Backoff, DecodeError, Envelope, Error, Service,
    backoff::Tries,
    dead_letter::DeadLetter,
    figures::Counts,
    limits,
    processed::{HANDLER, Input, OUTPUT, Ordinal, Processed},
    publisher::{make_topic, record_bytes, record_bytes_max},
    replay::Replay,
};
use handling::Handled;

#[cfg(test)]
pub(crate) use crash::Crash;
pub(crate) use handling::panic_text;

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
    /// The largest record that each output topic takes.
    record_bytes_max: BTreeMap<String, usize>,
    producer: Producer,
    /// None while joining, and while an append holds it.
    subscription: Option<Subscription>,
    assigned: Vec<TopicPartition>,
    queue: VecDeque<Record>,
    pending: Pending,
    processed: Processed,
    replay: Replay,
    /// Of the record at the head of the queue, known by its place, when it has been tried.
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
            record_bytes_max: BTreeMap::new(),
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
        match worker.take_stock().await {
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
                Broken::Fatal(error) => {
                    tracing::error!(service = %self.service.name, %error, "cannot go on, ends");
                    return Err(error);
                }
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
            self.take_stock().await?;
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
                Handled::CheckIn => self.queue.push_front(record),
                Handled::Again(pause) => {
                    self.queue.push_front(record);
                    self.flush().await?;
                    self.wait(pause).await?;
                }
            }
            if self.is_check_in_due() {
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

    fn is_check_in_due(&self) -> bool {
        self.polled_at.elapsed() >= self.service.check_in
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

    /// Makes the topics that it writes to if they are missing, learns what they take, and reads what
    /// is in them.
    async fn take_stock(&mut self) -> Result<(), Broken> {
        for topic in &self.outputs {
            make_topic(&self.engine, topic).await?;
            let bytes = record_bytes_max(&self.engine, topic).await?;
            self.record_bytes_max.insert(topic.clone(), bytes);
        }
        let (most, least) = (self.most_in(&self.dead_topic), limits::DEAD_TOPIC_RECORD_BYTES_MIN);
        if most < least {
            let problem = format!(
                "{} takes records of {most} bytes, a dead letter may need {least}: raise its \
                 max.message.bytes",
                self.dead_topic
            );
            let service = self.service.name.clone();
            return Err(Broken::Fatal(Error::Wiring { service, problem }));
        }
        self.catch_up().await
    }

    /// The largest record that an output topic takes.
    fn most_in(&self, topic: &str) -> usize {
        self.record_bytes_max.get(topic).copied().unwrap_or(usize::MAX)
    }

    /// Reads what this service has written and this instance has not seen.
    async fn catch_up(&mut self) -> Result<(), Broken> {
        let mut reading = self.replay.reading(&self.engine, &self.outputs).await?;
        while let Some(record) = reading.next().await? {
            if *record.topic == *self.dead_topic {
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
    (TopicPartition { topic: topic.to_string(), partition: *partition }, *offset)
}

/// Which input an output came from, and which of its outputs it is.
fn cause_of(record: &Record, envelope: &Envelope) -> Option<(Input, Ordinal)> {
    let input = Input::of(envelope.causation.as_ref()?.as_str(), record.header(HANDLER)?);
    Some((input, Ordinal::parse(record.header(OUTPUT)?)?))
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
    let name = (&*record.topic, envelope.r#type.as_str());
    let folded = match envelope.payload(record) {
        Ok(payload) => fold(service, name, envelope.version, payload),
        Err(error) => Err(error),
    };
    folded.map_err(|error| Error::Fold {
        service: service.name.clone(),
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        cause: error.to_string(),
    })
}
