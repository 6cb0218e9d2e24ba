//! A service's loop: poll, handle, commit.
//!
//! Invariants:
//! 1. Outputs, dead letters and the positions of the records that they come from are one transaction.
//! 2. Nothing is pending when the subscription is polled, so a partition is never given away with
//!    work half done.
//! 3. Before a record of a newly assigned partition is handled, its former owner is fenced, and all that
//!    was written for that partition by others has been read ([`crate::replay`]).
//!
//! The transactional id is that of one of the partitions that this instance has
//! ([`TopicPartition::transactional_id`]), so no two instances have the same, and whoever is given a
//! partition ends what its former owner has left open.
//!
//! After a failed transaction what is in memory may be ahead of the log; state and memory are then thrown
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
    Engine, Polled, Position, Record, SentRecord, SubscribeOptions, Subscription, TopicPartition,
    TransactionOptions, TransactionalProducer,
};
use tokio::sync::watch;

use crate::{
    Backoff, DecodeError, Envelope, Error, Service,
    backoff::Tries,
    dead_letter::DeadLetter,
    figures::Counts,
    limits,
    processed::{HANDLER, Input, Processed},
    publisher::{make_topic, record_bytes, record_bytes_max},
    replay::{Replay, Until},
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

/// Effects not yet in the log, and the positions that are committed with them.
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
    /// None without partitions.
    producer: Option<TransactionalProducer>,
    /// None while joining.
    subscription: Option<Subscription>,
    /// The partitions that it has, with the position as committed.
    committed: BTreeMap<TopicPartition, i64>,
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
            producer: None,
            service,
            engine,
            subscription: None,
            committed: BTreeMap::new(),
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
        let fences = Some(self.transactional_prefix());
        let options = SubscribeOptions { client_id, fences, ..SubscribeOptions::default() };
        self.engine.subscribe(&self.service.name, &self.inputs, options).await
    }

    /// Of the transactional ids of all instances.
    fn transactional_prefix(&self) -> String {
        format!("{}.", self.service.name)
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
            self.take_stock().await?;
            self.subscription = Some(self.join().await?);
        }
        while !self.stopping() {
            let Some(record) = self.queue.pop_front() else {
                self.pass_markers();
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
        self.producer = None;
        self.subscription = None;
        self.committed.clear();
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
                self.committed.extend(partitions.into_iter().map(|(id, offset, _)| (id, offset)));
                self.own().await?;
                self.catch_up(Until::Settled).await?;
            }
        }
        Ok(())
    }

    /// Takes the transactional id of what it was given.
    async fn own(&mut self) -> Result<(), Broken> {
        let prefix = self.transactional_prefix();
        let id = self.committed.keys().next().map(|at| at.transactional_id(&prefix));
        let options = TransactionOptions { timeout: limits::TRANSACTION_TIMEOUT };
        self.producer = match id {
            Some(id) => Some(self.engine.transactional_producer(&id, options).await?),
            None => None,
        };
        Ok(())
    }

    /// Queued records of these partitions are somebody else's now, and so is the transactional id.
    fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.producer = None;
        self.committed.retain(|id, _| !partitions.contains(id));
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

    fn assigned(&self) -> Vec<TopicPartition> {
        self.committed.keys().cloned().collect()
    }

    /// Polls for changes of the assignment only; no partition is fetched from until [`Self::take_up`].
    async fn look_for_a_rebalance(&mut self) -> Result<(), Broken> {
        let assigned = self.assigned();
        let member = self.member()?;
        member.pause(&assigned);
        let polled = member.poll(limits::BATCH_RECORDS_MAX, Duration::ZERO).await?;
        self.polled_at = Instant::now();
        self.take(polled).await
    }

    fn take_up(&mut self) -> Result<(), Broken> {
        let assigned = self.assigned();
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
        self.catch_up(Until::Readable).await
    }

    /// The largest record that an output topic takes.
    fn most_in(&self, topic: &str) -> usize {
        self.record_bytes_max.get(topic).copied().unwrap_or(usize::MAX)
    }

    /// Reads what this service has written and this instance has not seen.
    async fn catch_up(&mut self, until: Until) -> Result<(), Broken> {
        let mut reading = self.replay.reading(&self.engine, &self.outputs, until).await?;
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
                if let Some(input) = cause_of(&record, &envelope) {
                    self.processed.finish(input);
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

    /// With nothing left to handle, what is behind the last record is done as well: markers of
    /// transactions, which would be lag for ever.
    fn pass_markers(&mut self) {
        let Some(member) = &self.subscription else { return };
        for (partition, committed) in &self.committed {
            let position = member.position(partition).unwrap_or_default();
            let pending = self.pending.positions.get(partition).unwrap_or(committed);
            if position > *pending {
                self.pending.positions.insert(partition.clone(), position);
            }
        }
    }

    /// Commits what is pending: effects and positions in one transaction, positions alone without one.
    async fn flush(&mut self) -> Result<(), Broken> {
        let pending = std::mem::take(&mut self.pending);
        let offsets: Vec<_> =
            pending.positions.into_iter().map(|(id, next)| (id, next, None)).collect();
        if !pending.records.is_empty() {
            let committed = self.transact(pending.records, &offsets).await?;
            self.replay.appended(&committed);
            self.counts.now.emitted += pending.emitted;
            self.counts.now.dead += pending.dead;
        } else if !offsets.is_empty() {
            self.member()?.commit(&offsets).await?;
        }
        self.counts.show();
        self.committed.extend(offsets.into_iter().map(|(partition, next, _)| (partition, next)));
        #[cfg(test)]
        self.service.crash.here()?;
        if self.replay.is_full() {
            self.catch_up(Until::Readable).await?;
        }
        Ok(())
    }

    /// One transaction; where its records went.
    async fn transact(
        &mut self,
        records: Vec<SentRecord>,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<Vec<Position>, Broken> {
        let in_doubt = |error| Broken::Engine { error, in_doubt: true };
        let nobody = || tidings_engine::Error::Unavailable("not a member of the group".into());
        let (Some(producer), Some(member)) = (&self.producer, &self.subscription) else {
            return Err(in_doubt(nobody()));
        };
        #[cfg(test)]
        self.service.crash.here()?;
        let mut transaction = producer.begin().await.map_err(in_doubt)?;
        let appended = transaction.append(records).await.map_err(in_doubt)?;
        #[cfg(test)]
        let mut transaction = self.service.crash.leaving(transaction)?;
        transaction.commit_offsets(member, offsets).await.map_err(in_doubt)?;
        #[cfg(test)]
        let transaction = self.service.crash.leaving(transaction)?;
        transaction.commit().await.map_err(in_doubt)?;
        Ok(appended)
    }
}

fn place(record: &Record) -> (TopicPartition, i64) {
    let Record { topic, partition, offset, .. } = record;
    (TopicPartition { topic: topic.to_string(), partition: *partition }, *offset)
}

/// Which input an output came from.
fn cause_of(record: &Record, envelope: &Envelope) -> Option<Input> {
    Some(Input::of(envelope.causation.as_ref()?.as_str(), record.header(HANDLER)?))
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
