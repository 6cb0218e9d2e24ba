//! Where a person looks at what a service has put aside, and says what becomes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_engine::{Engine, Error as EngineError, Header, ReadLimit, TopicPartition};

use crate::{
    Error, Id,
    control::{
        Act, Carried, Command, Entry as Control, Selection, control_topic, make_control_topic,
    },
    limits,
    publisher::now_ms,
    replay::read_all,
    task::{Entry, Shelf},
};

/// What a service has put aside, and commands about it; the service need not run on this machine, nor now.
///
/// ```no_run
/// # async fn f(engine: tidings_engine::Engine) -> Result<(), tidings::Error> {
/// use tidings::{Act, Desk, Selection};
///
/// let desk = Desk::of(&engine, "payment");
/// for key in desk.dead().await? {
///     println!("{} died of {}, {} wait behind it", key.letters[0], key.cause, key.followers);
/// }
/// let act = Act::Redrive { per_second: Some(10), force: false };
/// let given = desk.command("ann", Selection::Cause("no card".into()), act).await?;
/// println!("{:?}", desk.outcome(&given, std::time::Duration::from_secs(10)).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Desk {
    engine: Engine,
    service: String,
}

/// A key whose first event had its last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadKey {
    /// Where the event came from.
    pub topic: String,
    /// Where the event came from.
    pub partition: i32,
    /// Where the event came from.
    pub offset: i64,
    /// The key; none when the event had none.
    pub key: Option<Bytes>,
    /// The event.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Ids of its letters in the dead-letter topic.
    pub letters: Vec<Id>,
    /// Why, in words.
    pub cause: String,
    /// Milliseconds since the epoch.
    pub since_ms: i64,
    /// Attempts since it was last redriven.
    pub attempts: u32,
    /// How often a person has sent it back.
    pub redrives: u32,
    /// Events of the key that wait behind it.
    pub followers: usize,
}

/// A command that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The command's id, in the control topic.
    pub id: Id,
    /// Keys that it is for, as of the moment when it was given.
    pub keys: usize,
    offset: i64,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandOutcome {
    /// Keys that were redriven, edited or discarded.
    pub done: u64,
    /// Keys that were left alone: they had been redriven [`limits::REDRIVES_MAX`] times, and nobody said `force`.
    pub left: u64,
    /// Keys of which nothing has been heard: their service does not run, or they were redriven by somebody else.
    pub unheard: u64,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The command's id.
    pub id: Id,
    /// Who gave it.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// For which keys.
    pub of: Selection,
    /// What.
    pub act: Act,
    /// Keys that were redriven, edited or discarded.
    pub done: u64,
    /// Keys that were left alone.
    pub left: u64,
}

impl Audited {
    /// When it was given, by RFC 3339.
    pub fn at(&self) -> String {
        crate::rfc3339::format(self.at_ms)
    }
}

impl Desk {
    /// The desk of a service.
    pub fn of(engine: &Engine, service: impl Into<String>) -> Self {
        Self { engine: engine.clone(), service: service.into() }
    }

    /// The keys that are dead, the longest dead first. What a running service is about to do is not in it.
    pub async fn dead(&self) -> Result<Vec<DeadKey>, Error> {
        let mut keys = Vec::new();
        for (at, shelf) in self.shelves().await? {
            for (offset, dead) in shelf.dead() {
                let Some(parked) = shelf.get(offset) else { continue };
                let record = &parked.record;
                keys.push(DeadKey {
                    topic: at.topic.clone(),
                    partition: at.partition,
                    offset,
                    key: record.key.clone(),
                    value: record.value.clone(),
                    headers: record.headers.clone(),
                    letters: dead.letters.clone(),
                    cause: dead.cause.clone(),
                    since_ms: dead.since_ms,
                    attempts: parked.attempts,
                    redrives: parked.redrives,
                    followers: shelf.followers(offset),
                });
            }
        }
        keys.sort_by_key(|key| (key.since_ms, key.partition, key.offset));
        Ok(keys)
    }

    /// Records that wait for their next attempt, or behind one that does.
    pub async fn waiting(&self) -> Result<usize, Error> {
        let shelves = self.shelves().await?;
        let waiting = |shelf: &Shelf| {
            let dead = shelf.dead().map(|(offset, _)| 1 + shelf.followers(offset));
            shelf.len() - dead.sum::<usize>()
        };
        Ok(shelves.values().map(waiting).sum())
    }

    async fn shelves(&self) -> Result<BTreeMap<TopicPartition, Shelf>, Error> {
        let changelog = format!("{}.changelog", self.service);
        let partitions = match self.engine.topic(&changelog).await {
            Ok(topic) => topic.partitions,
            Err(EngineError::UnknownTopic(_)) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let place = |partition: tidings_engine::Partition| TopicPartition {
            topic: changelog.clone(),
            partition: partition.id,
        };
        let partitions: Vec<TopicPartition> = partitions.into_iter().map(place).collect();
        let mut shelves: BTreeMap<TopicPartition, Shelf> = BTreeMap::new();
        let take = |record| match Entry::from_record(&record) {
            Some((at, Entry::Parked(offset, Some(parked)))) => {
                shelves.entry(at).or_default().put(offset, *parked);
            }
            Some((at, Entry::Parked(offset, None))) => {
                shelves.entry(at).or_default().take(offset);
            }
            Some(_) | None => {}
        };
        read_all(&self.engine, &partitions, take).await?;
        Ok(shelves)
    }

    /// The keys that a selection means now: what a command would do, without doing it.
    pub async fn meant(&self, of: &Selection) -> Result<Vec<DeadKey>, Error> {
        let mut keys = self.dead().await?;
        keys.retain(|key| of.means(&key.letters, &key.cause));
        Ok(keys)
    }

    /// Gives a command, in the name of whoever gives it; durable when this returns. It is for what is dead
    /// now: what dies later is not redriven by it.
    pub async fn command(
        &self,
        by: impl Into<String>,
        of: Selection,
        act: Act,
    ) -> Result<Given, Error> {
        let keys = self.meant(&of).await?.len();
        let topic = control_topic(&self.service);
        make_control_topic(&self.engine, &topic).await?;
        let (id, by, at_ms) = (Id::fresh(), by.into(), now_ms());
        let command = Command { id: id.clone(), by, at_ms, of, act };
        let record = Control::Command(command).into_record(&self.service);
        let appended = self.engine.producer().await?.send(vec![record]).await?;
        let offset = appended.first().map_or(0, |position| position.offset);
        Ok(Given { id, keys, offset })
    }

    /// What became of a command, as soon as it is known for every key, or after that time.
    pub async fn outcome(
        &self,
        given: &Given,
        patience: Duration,
    ) -> Result<CommandOutcome, Error> {
        let topic = control_topic(&self.service);
        let deadline = Instant::now() + patience;
        let (mut outcome, mut next, keys) =
            (CommandOutcome::default(), given.offset + 1, given.keys as u64);
        loop {
            outcome.unheard = keys.saturating_sub(outcome.done + outcome.left);
            let wait = deadline.saturating_duration_since(Instant::now());
            if outcome.unheard == 0 || wait.is_zero() {
                return Ok(outcome);
            }
            let limit = ReadLimit { wait, ..CONTROL_READ };
            let read = self.engine.read(&topic, 0, next, limit).await?;
            next = read.next;
            for record in &read.records {
                if let Some(Control::Carried(Carried { command, done, left, .. })) =
                    Control::from_record(record)
                    && command == given.id
                {
                    outcome.done += done;
                    outcome.left += left;
                }
            }
        }
    }

    /// Every command that was given, the first one first.
    pub async fn audit(&self) -> Result<Vec<Audited>, Error> {
        let topic = control_topic(&self.service);
        if let Err(EngineError::UnknownTopic(_)) = self.engine.topic(&topic).await {
            return Ok(Vec::new());
        }
        let mut audit: Vec<Audited> = Vec::new();
        let take = |record| match Control::from_record(&record) {
            Some(Control::Command(Command { id, by, at_ms, of, act })) => {
                audit.push(Audited { id, by, at_ms, of, act, done: 0, left: 0 });
            }
            Some(Control::Carried(carried)) => {
                let its = |audited: &&mut Audited| audited.id == carried.command;
                if let Some(audited) = audit.iter_mut().rev().find(its) {
                    audited.done += carried.done;
                    audited.left += carried.left;
                }
            }
            None => {}
        };
        read_all(&self.engine, &[TopicPartition { topic, partition: 0 }], take).await?;
        Ok(audit)
    }
}

/// How the control topic is read.
pub(crate) const CONTROL_READ: ReadLimit = ReadLimit {
    records: limits::REPLAY_RECORDS,
    bytes: limits::REPLAY_BYTES,
    wait: limits::CONTROL_WAIT,
};
