//! A service's loop: takes records in, lets handlers have them, commits what ended.
//!
//! What to do is decided by [`Task`]s, one for each partition that this instance has; here is what they need
//! of the world: the subscription, the handlers' futures, the transaction, the clock.
//!
//! Invariants:
//! 1. Outputs, dead letters, what is put aside and the positions of the records that they come from are one
//!    transaction.
//! 2. Before a partition is given away, what ended is committed; what has not ended is dropped, and its new owner
//!    does it again.
//! 3. Before a record of a newly assigned partition is handled, its former owner is fenced, and all that
//!    was written for that partition by others has been read ([`restore`]).
//!
//! The transactional id is that of one of the partitions that this instance has
//! ([`TopicPartition::transactional_id`]), so no two instances have the same, and whoever is given a
//! partition ends what its former owner has left open.
//!
//! After a failed transaction what is in memory may be ahead of the log; it is then thrown away and read again.
//! A commit takes what has ended when nothing more can be begun, so it is as large as the load makes it.

mod attempts;
mod behind;
mod commands;
mod commit;
#[cfg(test)]
mod crash;
mod restore;
#[cfg(feature = "disk")]
mod standby;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, time::Duration, time::Instant};

use tidings_engine::{
    Engine, Polled, SubscribeOptions, Subscription, TopicPartition, TransactionalProducer,
};
use tokio::sync::watch;

use crate::{
    Backoff, Error, Service,
    bucket::Bucket,
    control::control_topic,
    figures::Counts,
    limits,
    publisher::now_ms,
    replay::Replay,
    store::StoreError,
    task::{Breaker, Task},
};
use attempts::{AttemptEnd, Attempts};
use commands::{Commands, Told};
use commit::Pending;

pub(crate) use attempts::panic_text;
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

/// What is in the log is not in the store: it is read from there again.
impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Engine {
            error: tidings_engine::Error::Unavailable(error.to_string()),
            in_doubt: true,
        }
    }
}

/// A service's loop with all it owns.
pub(crate) struct Worker {
    service: Service,
    engine: Engine,
    topics: Topics,
    /// None without partitions.
    producer: Option<TransactionalProducer>,
    /// None while joining.
    subscription: Option<Subscription>,
    /// None before it has joined.
    commands: Option<Commands>,
    /// The commands before this offset of the control topic have been seen.
    commanded: i64,
    /// By partition.
    tasks: Vec<Task>,
    /// Where values by key are, unless in memory.
    #[cfg(feature = "disk")]
    folder: Option<std::sync::Arc<crate::store::disk::Folder>>,
    /// None without copies for other instances' partitions.
    #[cfg(feature = "disk")]
    standby: Option<standby::Standby>,
    /// The task that is asked first for work.
    turn: usize,
    /// Events that are handled at once, at most.
    at_once: usize,
    attempts: Attempts,
    /// Of events that are begun.
    rate: Option<Bucket>,
    breaker: Breaker,
    /// The record that was the last probe of the open breaker.
    probed: (usize, i64),
    pending: Pending,
    replay: Replay,
    /// Not fetched from.
    paused: Vec<TopicPartition>,
    /// Records that were taken since the last commit.
    taken: usize,
    /// The last poll brought all that it may, or something has been committed since, which takes time: what is tried
    /// again all the time would otherwise leave nothing else its turn.
    may_be_more: bool,
    counts: Counts,
    /// When it was last looked how far behind it is.
    looked: Option<Instant>,
    stop: watch::Receiver<bool>,
}

/// What ended a wait.
enum Happened {
    Nothing,
    Ended(AttemptEnd),
    Polled(Polled),
    Told(Told),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Take,
    Commit,
    Wait,
}

/// What it reads and writes.
struct Topics {
    inputs: Vec<String>,
    /// Of events.
    outputs: Vec<String>,
    dead: String,
    control: String,
    changelog: String,
    changelog_partitions: i32,
    /// The largest record that each of those it writes takes.
    record_bytes_max: BTreeMap<String, usize>,
}

impl Topics {
    /// The largest record that a topic takes.
    fn most_in(&self, topic: &str) -> usize {
        self.record_bytes_max.get(topic).copied().unwrap_or(usize::MAX)
    }
}

impl Worker {
    /// Rebuilds the state from the log and joins the group.
    pub(crate) async fn begin(
        service: Service,
        engine: Engine,
        counts: Counts,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let topics = Topics {
            inputs: service.inputs(),
            outputs: service.outputs(),
            dead: service.dead_topic(),
            control: control_topic(&service.name),
            changelog: service.changelog(),
            changelog_partitions: 0,
            record_bytes_max: BTreeMap::new(),
        };
        let mut worker = Self {
            topics,
            breaker: Breaker::new(service.breaker),
            at_once: service.events_at_once(),
            rate: service.bucket(),
            service,
            engine,
            producer: None,
            subscription: None,
            commands: None,
            commanded: 0,
            tasks: Vec::new(),
            #[cfg(feature = "disk")]
            folder: None,
            #[cfg(feature = "disk")]
            standby: None,
            turn: 0,
            attempts: Attempts::default(),
            probed: (0, -1),
            pending: Pending::default(),
            replay: Replay::default(),
            paused: Vec::new(),
            taken: 0,
            may_be_more: false,
            counts,
            looked: None,
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
        self.engine.subscribe(&self.service.name, &self.topics.inputs, options).await
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
            self.begin_attempts()?;
            if self.step().await? == Step::Commit {
                *failures = 0;
            }
        }
        // What is in hand is finished.
        while let Some(ended) = self.attempts.next().await {
            self.attempt_ended(ended)?;
        }
        self.commit().await?;
        #[cfg(feature = "disk")]
        if let Some(standby) = self.standby.take() {
            standby.stop().await;
        }
        match self.subscription.take() {
            Some(subscription) => Ok(subscription.close().await?),
            None => Ok(()),
        }
    }

    /// What is to be done when nothing more can be begun.
    async fn step(&mut self) -> Result<Step, Broken> {
        if self.may_be_more && self.taken < limits::BEGUN_MAX && !self.pending.is_half_full() {
            self.take_more().await?;
            return Ok(Step::Take);
        }
        if self.is_something_to_commit() {
            self.commit().await?;
            return Ok(Step::Commit);
        }
        self.wait().await?;
        Ok(Step::Wait)
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Begins what may be begun now.
    fn begin_attempts(&mut self) -> Result<(), Broken> {
        let (pause_max_ms, begun_ms) = (millis(self.service.pause_max()), now_ms());
        for _ in 0..limits::BEGUN_MAX {
            let now_ms = now_ms();
            // Handlers that never wait are interrupted, so that what they did is committed and others hear of it.
            let too_long = (now_ms - begun_ms).unsigned_abs() > limits::BEGINNING_MS_MAX;
            let is_busy = self.attempts.len() >= self.at_once;
            if is_busy || too_long || self.pending.is_full() || !self.breaker.lets_through(now_ms) {
                break;
            }
            if !self.rate_wait().is_zero() {
                break;
            }
            let Some((index, work)) = (if self.breaker.is_open() {
                self.next_probe(now_ms, pause_max_ms)
            } else {
                self.next_work(now_ms, pause_max_ms)
            }) else {
                break;
            };
            if let Some(rate) = &mut self.rate {
                rate.take(tokio::time::Instant::now());
            }
            let is_probe = self.breaker.begin();
            self.begin_attempt(index, work, is_probe)?;
        }
        Ok(())
    }

    fn next_work(&mut self, now_ms: i64, pause_max_ms: i64) -> Option<(usize, crate::task::Work)> {
        let count = self.tasks.len();
        for index in (self.turn..count).chain(0..self.turn.min(count)) {
            if let Some(work) = self.tasks[index].next(now_ms, pause_max_ms) {
                self.turn = (index + 1) % count;
                return Some((index, work));
            }
        }
        None
    }

    /// Another record each time: the one before may be bad itself.
    fn next_probe(&mut self, now_ms: i64, pause_max_ms: i64) -> Option<(usize, crate::task::Work)> {
        let count = self.tasks.len();
        let (last, offset) = self.probed;
        let found = (last..count).chain(0..last.min(count)).find_map(|index| {
            let after = if index == last { offset } else { -1 };
            Some((index, self.tasks[index].next_after(after, now_ms, pause_max_ms)?))
        });
        let found = found.or_else(|| self.next_work(now_ms, pause_max_ms));
        if let Some((index, work)) = &found {
            self.probed = (*index, work.record.offset);
        }
        found
    }

    /// Takes what is there already: one commit for more of it costs less than two.
    async fn take_more(&mut self) -> Result<(), Broken> {
        self.pause_what_is_full()?;
        let member = self.member()?;
        let polled = member.poll(limits::BATCH_RECORDS_MAX, Duration::ZERO).await?;
        self.take(polled).await
    }

    /// Waits until something happens.
    async fn wait(&mut self) -> Result<(), Broken> {
        self.show_behind();
        self.pause_what_is_full()?;
        let wake = self.next_time();
        let mut stop = self.stop.clone();
        let Self { attempts, subscription, commands, .. } = self;
        let told = async {
            match commands {
                Some(commands) => commands.next().await,
                None => None,
            }
        };
        let member = subscription.as_mut().ok_or_else(not_a_member)?;
        let happened = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Happened::Nothing,
            Some(ended) = attempts.next() => Happened::Ended(ended),
            () = tokio::time::sleep(wake) => Happened::Nothing,
            Some(told) = told => Happened::Told(told),
            polled = member.poll(limits::BATCH_RECORDS_MAX, limits::POLL_WAIT) => {
                Happened::Polled(polled?)
            }
        };
        match happened {
            Happened::Nothing => Ok(()),
            Happened::Polled(polled) => self.take(polled).await,
            Happened::Told(told) => {
                self.obey(told);
                Ok(())
            }
            Happened::Ended(ended) => {
                self.attempt_ended(ended)?;
                while let Some(ended) = self.attempts.try_next() {
                    self.attempt_ended(ended)?;
                }
                Ok(())
            }
        }
    }

    /// How long until one more event may be begun.
    fn rate_wait(&self) -> Duration {
        let now = tokio::time::Instant::now;
        self.rate.as_ref().map_or(Duration::ZERO, |rate| rate.wait(now()))
    }

    /// Until something on a shelf is due, or a probe, and the rate lets it through.
    fn next_time(&self) -> Duration {
        let (now_ms, pause_max_ms) = (now_ms(), millis(self.service.pause_max()));
        let rate_wait = self.rate_wait();
        let shelved =
            || self.tasks.iter().filter_map(|task| task.due_ms(now_ms, pause_max_ms)).min();
        let is_ready = || self.tasks.iter().any(|task| task.has_ready(now_ms, pause_max_ms));
        let due_ms = match self.breaker.probe_at_ms(now_ms) {
            Some(probe_at_ms) if is_ready() => Some(probe_at_ms),
            // With what is due next.
            Some(probe_at_ms) => shelved().map(|due_ms| due_ms.max(probe_at_ms)),
            None if self.breaker.is_open() => None,
            // What is there waits for the rate only.
            None if !rate_wait.is_zero() && is_ready() => Some(now_ms),
            None => shelved(),
        };
        let wait_ms = due_ms.map(|due_ms| due_ms.saturating_sub(now_ms).max(1));
        // While attempts are at their most, what is due waits for one of them to end.
        let is_busy = self.attempts.len() >= self.at_once;
        match wait_ms.and_then(|wait_ms| u64::try_from(wait_ms).ok()) {
            Some(wait_ms) if !is_busy => Duration::from_millis(wait_ms).max(rate_wait),
            _ => limits::POLL_WAIT,
        }
    }

    /// Fetches nothing for those that have enough, which is little during an outage: what to probe with.
    fn pause_what_is_full(&mut self) -> Result<(), Broken> {
        let is_open = self.breaker.is_open();
        let full =
            self.tasks.iter().filter(|task| task.is_full() || (is_open && task.has_enough()));
        let full: Vec<TopicPartition> = full.map(|task| task.at().clone()).collect();
        if full != self.paused {
            let former = std::mem::replace(&mut self.paused, full.clone());
            self.tell_of_full_shelves(&former);
            let member = self.member()?;
            member.resume(&former);
            member.pause(&full);
        }
        Ok(())
    }

    fn member(&mut self) -> Result<&mut Subscription, tidings_engine::Error> {
        self.subscription.as_mut().ok_or_else(not_a_member)
    }

    async fn take(&mut self, polled: Polled) -> Result<(), Broken> {
        match polled {
            Polled::Records(records) => {
                self.taken += records.len();
                self.may_be_more = records.len() == limits::BATCH_RECORDS_MAX;
                for record in records {
                    if let Some(index) = self.task_of(&record.topic, record.partition)
                        && self.tasks[index].deliver(record)
                    {
                        let (service, at) = (&self.service.name, self.tasks[index].at().clone());
                        tracing::error!(%service, %at, "the log begins anew: records are missing, or it was made anew");
                        self.attempts.drop_of(&[at]);
                        self.breaker.give_up();
                    }
                }
                Ok(())
            }
            Polled::Revoked(partitions) => {
                self.commit().await?;
                self.let_go(&partitions);
                Ok(())
            }
            Polled::Assigned(partitions) => self.take_over(partitions).await,
        }
    }

    fn task_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let place = |task: &Task| {
            let at = task.at();
            at.topic.as_str().cmp(topic).then(at.partition.cmp(&partition))
        };
        self.tasks.binary_search_by(place).ok()
    }

    /// These partitions are somebody else's now, and so may be the transactional id.
    fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.producer = None;
        self.attempts.drop_of(partitions);
        self.breaker.give_up();
        self.tasks.retain(|task| !partitions.contains(task.at()));
        self.paused.clear();
        if self.tasks.is_empty() {
            // Whether it is over will be seen by who has the partitions.
            self.breaker = Breaker::new(self.service.breaker);
            self.counts.set_outage(None);
        }
        self.show_shelves();
    }

    /// Shows how much is put aside.
    fn show_shelves(&mut self) {
        let figures = &mut self.counts.now;
        figures.parked = self.tasks.iter().map(|task| task.shelf().len() as u64).sum();
        figures.dead_keys = self.tasks.iter().map(|task| task.shelf().dead_keys() as u64).sum();
        self.counts.show();
    }

    /// Forgets what is in hand; it will be delivered again.
    fn drop_the_batch(&mut self, in_doubt: bool) {
        self.producer = None;
        self.subscription = None;
        self.attempts = Attempts::default();
        self.breaker.give_up();
        self.tasks.clear();
        self.paused.clear();
        self.may_be_more = false;
        let unsent = !std::mem::take(&mut self.pending).is_empty();
        if in_doubt || unsent {
            self.service.wiring.states.begin_again();
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
}

fn not_a_member() -> tidings_engine::Error {
    tidings_engine::Error::Unavailable("not a member of the group".to_owned())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
