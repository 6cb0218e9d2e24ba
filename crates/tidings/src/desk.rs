//! Where a person looks at what a service has put aside, and says what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_engine::{Engine, Error as EngineError, Header, ReadLimit, TopicPartition};

use crate::{
    Error, Id,
    control::{
        Act, Carried, Command, Entry as Control, Selection, control_topic, make_control_topic,
    },
    limits,
    publisher::{now_ms, record_bytes_max},
    replay::read_all,
    task::{Entry, Shelf},
};

/// What a service's name has behind it in the topic that holds its letters, and in the one that holds its shelf.
const DEAD_SUFFIX: &str = ".dead";
const CHANGELOG_SUFFIX: &str = ".changelog";

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
    /// When the event was written, in milliseconds since the epoch.
    pub timestamp: i64,
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
    /// The states that the key has no value of, where it waits for one: then it is tried when there is one, and its key
    /// is not held up.
    pub awaits: Vec<String>,
}

/// Dead keys that share a cause, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadCause {
    /// Why, in words.
    pub cause: String,
    /// How many they are.
    pub keys: usize,
    /// Their first events and what waits behind them.
    pub events: usize,
    /// When the first of them died, in milliseconds since the epoch.
    pub oldest_ms: i64,
    /// When the last of them died.
    pub newest_ms: i64,
}

impl DeadCause {
    /// The causes of these keys, that of the most keys first.
    pub fn of(keys: &[DeadKey]) -> Vec<Self> {
        let mut causes: BTreeMap<&str, Self> = BTreeMap::new();
        for key in keys {
            let known = causes.entry(&key.cause).or_insert_with(|| Self {
                cause: key.cause.clone(),
                keys: 0,
                events: 0,
                oldest_ms: key.since_ms,
                newest_ms: key.since_ms,
            });
            known.keys += 1;
            known.events += 1 + key.followers;
            known.oldest_ms = known.oldest_ms.min(key.since_ms);
            known.newest_ms = known.newest_ms.max(key.since_ms);
        }
        let mut causes: Vec<_> = causes.into_values().collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.keys));
        causes
    }
}

/// A command to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommand {
    /// Who gives it.
    pub by: String,
    /// For which keys.
    pub of: Selection,
    /// What becomes of them.
    pub act: Act,
    /// Only keys that were dead by then, in milliseconds since the epoch: what a person has seen, when more may
    /// have died since. It is held against [`DeadKey::since_ms`].
    pub dead_by_ms: Option<i64>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

impl NewCommand {
    /// For all that is dead when it is given, without a reason.
    pub fn new(by: impl Into<String>, of: Selection, act: Act) -> Self {
        Self { by: by.into(), of, act, dead_by_ms: None, reason: None }
    }

    /// Whether it is for this key.
    pub fn means(&self, key: &DeadKey) -> bool {
        self.dead_by_ms.is_none_or(|by_ms| key.since_ms <= by_ms)
            && self.of.means(&key.letters, &key.cause)
    }

    /// Whether it would leave the key alone, which was redriven [`limits::REDRIVES_MAX`] times or awaits a value.
    pub fn spares(&self, key: &DeadKey) -> bool {
        self.act.spares(key.redrives, &key.awaits)
    }
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
    /// Keys that were left alone: they had been redriven [`limits::REDRIVES_MAX`] times or await a value, and nobody said
    /// `force`; or the edit was larger than what the service's changelog takes.
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
    /// Only what was dead by then.
    pub dead_by_ms: Option<i64>,
    /// Why.
    pub reason: Option<String>,
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

    /// The services that have ever given a key up, by name: those with a record in `<service>.dead` and a
    /// changelog.
    pub async fn services(engine: &Engine) -> Result<Vec<String>, Error> {
        let topics = engine.topics().await?;
        let names: BTreeSet<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let services = topics.iter().filter_map(|topic| {
            let service = topic.name.strip_suffix(DEAD_SUFFIX)?;
            let ever = topic.partitions.iter().any(|partition| partition.end_offset > 0);
            let kept = names.contains(format!("{service}{CHANGELOG_SUFFIX}").as_str());
            (ever && kept).then(|| service.to_owned())
        });
        let services: BTreeSet<String> = services.collect();
        Ok(services.into_iter().collect())
    }

    /// Whether there is a service of this name, or was: one that has a changelog.
    pub async fn exists(&self) -> Result<bool, Error> {
        match self.engine.topic(&self.changelog()).await {
            Ok(_) => Ok(true),
            Err(EngineError::UnknownTopic(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn changelog(&self) -> String {
        format!("{}{CHANGELOG_SUFFIX}", self.service)
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
                    timestamp: record.timestamp,
                    key: record.key.clone(),
                    value: record.value.clone(),
                    headers: record.headers.clone(),
                    letters: dead.letters.clone(),
                    cause: dead.cause.clone(),
                    since_ms: dead.since_ms,
                    attempts: parked.attempts,
                    redrives: parked.redrives,
                    followers: shelf.followers(offset),
                    awaits: dead.awaits.clone(),
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
        let changelog = self.changelog();
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

    /// The keys that a selection means now.
    pub async fn meant(&self, of: &Selection) -> Result<Vec<DeadKey>, Error> {
        let mut keys = self.dead().await?;
        keys.retain(|key| of.means(&key.letters, &key.cause));
        Ok(keys)
    }

    /// The keys that a command means at this moment: what it would do, without doing it.
    pub async fn would(&self, command: &NewCommand) -> Result<Vec<DeadKey>, Error> {
        let mut keys = self.dead().await?;
        keys.retain(|key| command.means(key));
        Ok(keys)
    }

    /// Whether a service can keep an event with this value: refused as
    /// [`Invalid`](tidings_engine::Error::Invalid) when the value is larger than its topics take, which is named.
    /// [`Desk::give`] looks for itself.
    pub async fn check_edit(&self, value: &str) -> Result<(), Error> {
        let (changelog, control) = (self.changelog(), control_topic(&self.service));
        // In a command it is a text of JSON, in which some characters take two bytes.
        let in_command = serde_json::to_string(value).map_or(usize::MAX, |text| text.len());
        for (topic, bytes) in [(changelog, value.len()), (control, in_command)] {
            let most = match record_bytes_max(&self.engine, &topic).await {
                Ok(most) => most.saturating_sub(limits::CHANGELOG_ROOM_BYTES),
                // Made by the first command, and as large as the broker makes topics; or nothing that may be seen.
                Err(EngineError::UnknownTopic(_) | EngineError::Denied(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            if bytes > most {
                let why = format!(
                    "the new value takes {bytes} bytes in {topic}, and {most} are the most"
                );
                return Err(EngineError::Invalid(why).into());
            }
        }
        Ok(())
    }

    /// [`Desk::give`] for all that is dead now, without a reason.
    pub async fn command(
        &self,
        by: impl Into<String>,
        of: Selection,
        act: Act,
    ) -> Result<Given, Error> {
        self.give(NewCommand::new(by, of, act)).await
    }

    /// Gives a command, in the name of whoever gives it; durable when this returns. It is for what is dead
    /// now: what dies later is not redriven by it.
    pub async fn give(&self, command: NewCommand) -> Result<Given, Error> {
        let keys = self.would(&command).await?.len();
        let topic = control_topic(&self.service);
        make_control_topic(&self.engine, &topic).await?;
        if let Act::Edit { value } = &command.act {
            self.check_edit(value).await?;
        }
        let (id, at_ms) = (Id::fresh(), now_ms());
        let NewCommand { by, of, act, dead_by_ms, reason } = command;
        let command = Command { id: id.clone(), by, at_ms, of, act, dead_by_ms, reason };
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
            Some(Control::Command(Command { id, by, at_ms, of, act, dead_by_ms, reason })) => {
                let (done, left) = (0, 0);
                audit.push(Audited { id, by, at_ms, of, act, dead_by_ms, reason, done, left });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cause: &str, since_ms: i64, followers: usize, redrives: u32) -> DeadKey {
        DeadKey {
            topic: "orders".into(),
            partition: 0,
            offset: since_ms,
            timestamp: 0,
            key: None,
            value: None,
            headers: Vec::new(),
            letters: vec![Id::from(format!("l-{since_ms}"))],
            cause: cause.into(),
            since_ms,
            attempts: 3,
            redrives,
            followers,
            awaits: Vec::new(),
        }
    }

    #[test]
    fn causes_are_counted_the_most_frequent_first() {
        let keys = [key("no card", 5, 0, 0), key("no stock", 1, 2, 0), key("no stock", 9, 0, 0)];
        let causes = DeadCause::of(&keys);
        let told: Vec<_> = causes
            .iter()
            .map(|c| (&*c.cause, c.keys, c.events, c.oldest_ms, c.newest_ms))
            .collect();
        assert_eq!(told, [("no stock", 2, 4, 1, 9), ("no card", 1, 1, 5, 5)]);
    }

    #[test]
    fn a_command_says_whom_it_means_and_whom_it_would_leave_alone() {
        let redrive = |force| Act::Redrive { per_second: None, force };
        let max = limits::REDRIVES_MAX;
        for (of, act, dead_by_ms, means, spares) in [
            (Selection::All, redrive(false), None, true, true),
            (Selection::All, redrive(false), Some(4), false, true),
            (Selection::All, redrive(true), Some(5), true, false),
            (Selection::Cause("no".into()), Act::Discard, None, false, false),
            (Selection::Letter("l-5".into()), Act::Discard, Some(5), true, false),
        ] {
            let command = NewCommand { dead_by_ms, ..NewCommand::new("ann", of, act) };
            let key = key("no card", 5, 0, max);
            assert_eq!((command.means(&key), command.spares(&key)), (means, spares), "{command:?}");
        }
    }
}
