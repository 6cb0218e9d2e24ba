//! A member of a group as its caller sees it: polls, commits, pauses.
//!
//! Invariants: positions move only by what a fetch answered; a poll that is dropped half way loses
//! nothing (its fetch is kept and taken up by the next poll); an event of the membership comes
//! before any record fetched after it; records of a partition that was given up are not returned.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidings_node::Answer;
use tidings_node::broker::{
    CommitOffsets, Fetch, FetchPartition, FetchRefused, Fetched, Isolation, TopicName,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::groups::to_commit;
use super::membership::{EVENTS_QUEUED_MAX, Event, Given, Identity, Membership, Next};
use super::{Embedded, decode, isolation_of, readable_end, refusals, wait_ms};
use crate::limits::{
    FETCH_BYTES_MAX, FETCH_PARTITION_BYTES_MAX, FETCH_WAIT_MAX, PARTITION_PAUSE, POLL_RECORDS_MAX,
};
use crate::{Error, Polled, Record, Start, SubscribeOptions, TopicPartition};

#[derive(Debug)]
pub(crate) struct EmbeddedSubscription {
    engine: Embedded,
    group: String,
    start: Start,
    isolation: Isolation,
    me: Identity,
    events: mpsc::Receiver<Event>,
    next: mpsc::Sender<Next>,
    membership: JoinHandle<Result<(), Error>>,
    standing: Standing,
    partitions: BTreeMap<TopicPartition, Reading>,
    /// The partition after which the next fetch and the next poll begin, so that none starves.
    turn: Option<TopicPartition>,
    fetch: Option<Outstanding>,
    /// A partition's failure that waits until the records fetched beside it are polled.
    failure: Option<Error>,
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Joining; no partitions.
    Joining,
    Settled,
    /// The caller was told that its partitions go with the next poll.
    Revoked,
    Failed(Error),
}

/// A partition that is read.
#[derive(Debug)]
struct Reading {
    /// The next offset to fetch.
    offset: i64,
    end_offset: i64,
    fetched: VecDeque<Record>,
    paused: bool,
    /// Left out of fetches until then.
    not_before: Option<Instant>,
}

/// What ended a wait.
enum Waited {
    Told(Event),
    /// Something came, or there is time left.
    On,
    Over,
}

/// A fetch that is out, and the offsets it asked for.
#[derive(Debug)]
struct Outstanding {
    answer: Answer<Fetch>,
    asked: BTreeMap<TopicPartition, i64>,
    until: Instant,
}

impl Reading {
    /// Where the caller is.
    fn position(&self) -> i64 {
        self.fetched.front().map_or(self.offset, |record| record.offset)
    }
}

impl EmbeddedSubscription {
    pub(crate) fn join(
        engine: &Embedded,
        group: &str,
        topics: &[String],
        options: SubscribeOptions,
    ) -> Result<Self, Error> {
        if topics.is_empty() {
            return Err(Error::Invalid("a subscription needs at least one topic".to_owned()));
        }
        let (tell, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (next, go) = mpsc::channel(1);
        let (start, isolation) = (options.start, isolation_of(options.isolation));
        let membership = Membership {
            engine: engine.clone(),
            group: group.to_owned(),
            topics: topics.to_vec(),
            options,
            events: tell,
            next: go,
            me: Identity::default(),
        };
        Ok(Self {
            engine: engine.clone(),
            group: group.to_owned(),
            start,
            isolation,
            me: Identity::default(),
            events,
            next,
            membership: tokio::spawn(membership.run()),
            standing: Standing::Joining,
            partitions: BTreeMap::new(),
            turn: None,
            fetch: None,
            failure: None,
        })
    }

    pub(crate) async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, Error> {
        let max = max.clamp(1, POLL_RECORDS_MAX);
        let deadline = Instant::now().checked_add(wait);
        if self.standing == Standing::Revoked {
            self.give_up();
        }
        let mut over = false;
        loop {
            let event = self.events.try_recv().ok();
            if let Some(polled) = event.and_then(|event| self.take_event(event)) {
                return Ok(polled);
            }
            if let Standing::Failed(error) = &self.standing {
                return Err(error.clone());
            }
            let records = self.take_records(max);
            if !records.is_empty() {
                return Ok(Polled::Records(records));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if over {
                return Ok(Polled::Records(records));
            }
            match self.wait(deadline).await? {
                Waited::Told(event) => {
                    if let Some(polled) = self.take_event(event) {
                        return Ok(polled);
                    }
                }
                Waited::On => {}
                Waited::Over => over = true,
            }
        }
    }

    /// Waits for an event, an answer or the deadline, whichever is first.
    async fn wait(&mut self, deadline: Option<Instant>) -> Result<Waited, Error> {
        if self.fetch.is_none() && self.standing == Standing::Settled {
            self.start_fetch(deadline).await?;
        }
        // A fetch that is over by the deadline answers by itself, with nothing if need be.
        let patience = match &self.fetch {
            Some(fetch) if deadline.is_none_or(|deadline| fetch.until <= deadline) => None,
            Some(_) => deadline,
            None => self.partitions.values().filter_map(|p| p.not_before).chain(deadline).min(),
        };
        let over = async {
            match patience {
                Some(patience) => sleep_until(patience).await,
                None => std::future::pending().await,
            }
        };
        let answer = async {
            match &mut self.fetch {
                Some(fetch) => (&mut fetch.answer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.events.recv() => {
                let gone = || Error::Unavailable("the group membership has ended".to_owned());
                return Ok(Waited::Told(event.unwrap_or_else(|| Event::Failed(gone()))));
            }
            answer = answer => {
                let asked = self.fetch.take().map(|fetch| fetch.asked).unwrap_or_default();
                self.absorb(&asked, answer?);
            }
            () = over => {}
        }
        let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        Ok(if over { Waited::Over } else { Waited::On })
    }

    /// Fetches everything that may be fetched and is not here yet; nothing if there is none.
    async fn start_fetch(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let now = Instant::now();
        let rests = |reading: &Reading| reading.not_before.is_some_and(|until| now < until);
        let wanted = |reading: &Reading| !reading.paused && reading.fetched.is_empty();
        let asked: BTreeMap<TopicPartition, i64> = self
            .partitions
            .iter()
            .filter(|(_, reading)| wanted(reading) && !rests(reading))
            .map(|(at, reading)| (at.clone(), reading.offset))
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let rested = self.partitions.values().filter_map(|reading| reading.not_before);
        let rested = rested.filter(|until| now < *until);
        let until = rested.chain(deadline).chain([now + FETCH_WAIT_MAX]).min();
        let until = until.unwrap_or(now);
        let partition = |at: &TopicPartition| FetchPartition {
            topic: at.topic.clone().into(),
            partition: at.partition,
            offset: asked[at],
            max_bytes: FETCH_PARTITION_BYTES_MAX,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let request = Fetch {
            isolation: self.isolation,
            max_wait_ms: wait_ms(until.saturating_duration_since(now)),
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            partitions: in_turn(&asked, self.turn.as_ref()).map(partition).collect(),
        };
        let answer = self.engine.node.submit(request).await?;
        self.fetch = Some(Outstanding { answer, asked, until });
        Ok(())
    }

    /// Takes what was fetched, where it is still wanted.
    fn absorb(&mut self, asked: &BTreeMap<TopicPartition, i64>, fetched: Vec<Fetched>) {
        for Fetched { topic, partition, outcome } in fetched {
            // Partitions are asked for by their topics' names.
            let TopicName::Name(topic) = topic else { continue };
            let at = TopicPartition { topic, partition };
            let Some(reading) = self.partitions.get_mut(&at) else { continue };
            if asked.get(&at) != Some(&reading.offset) || !reading.fetched.is_empty() {
                continue;
            }
            reading.not_before = None;
            let failed = match outcome {
                Ok(data) => {
                    reading.end_offset = readable_end(&data, self.isolation);
                    match decode(data, &at, reading.offset) {
                        Ok((records, next)) => {
                            reading.fetched = records.into();
                            reading.offset = next;
                            continue;
                        }
                        Err(error) => refusals::decode(&at, &error),
                    }
                }
                Err(FetchRefused::OutOfRange { wanted, first, next }) => {
                    reading.offset = match self.start {
                        Start::Earliest => first,
                        Start::Latest => next,
                    };
                    let to = reading.offset;
                    tracing::warn!(group = %self.group, %at, wanted, to, "position is out of range");
                    continue;
                }
                Err(FetchRefused::UnknownPartition) => {
                    // Its topic was deleted: the next rebalance takes it away.
                    reading.not_before = Some(Instant::now() + PARTITION_PAUSE);
                    continue;
                }
                Err(refused) => refusals::fetch(&at, refused),
            };
            reading.not_before = Some(Instant::now() + PARTITION_PAUSE);
            self.failure.get_or_insert(failed);
        }
    }

    fn take_records(&mut self, max: usize) -> Vec<Record> {
        let mut taken = Vec::new();
        let mut last = None;
        for at in in_turn(&self.partitions, self.turn.as_ref()).cloned().collect::<Vec<_>>() {
            let Some(reading) = self.partitions.get_mut(&at) else { continue };
            if reading.paused || reading.fetched.is_empty() {
                continue;
            }
            let count = reading.fetched.len().min(max - taken.len());
            taken.extend(reading.fetched.drain(..count));
            last = Some(at);
            if taken.len() == max {
                break;
            }
        }
        if last.is_some() {
            self.turn = last;
        }
        taken
    }

    fn take_event(&mut self, event: Event) -> Option<Polled> {
        match event {
            Event::Settled(me, given) => {
                self.me = me;
                self.standing = Standing::Settled;
                let reading = |given: &Given| Reading {
                    offset: given.offset,
                    end_offset: given.end_offset,
                    fetched: VecDeque::new(),
                    paused: false,
                    not_before: None,
                };
                self.partitions = given.iter().map(|g| (g.at.clone(), reading(g))).collect();
                let given = given.into_iter().map(|g| (g.at, g.offset, g.metadata));
                Some(Polled::Assigned(given.collect()))
            }
            Event::Unsettled if self.partitions.is_empty() => {
                self.give_up();
                None
            }
            Event::Unsettled => {
                self.standing = Standing::Revoked;
                Some(Polled::Revoked(self.partitions.keys().cloned().collect()))
            }
            Event::Failed(error) => {
                self.standing = Standing::Failed(error);
                None
            }
        }
    }

    /// Lets the membership join again.
    fn give_up(&mut self) {
        self.standing = Standing::Joining;
        self.partitions.clear();
        self.fetch = None;
        self.failure = None;
        // A membership that has ended tells by its closed events.
        let _ended = self.next.try_send(Next);
    }

    pub(crate) async fn commit(
        &mut self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let request = self.commit_request(offsets)?;
        let refused = |refused| refusals::group(&self.group, refused);
        for partition in self.engine.node.call(request).await?.map_err(refused)? {
            partition.outcome.map_err(refused)?;
        }
        Ok(())
    }

    /// Positions of partitions that are this member's, committed by it.
    pub(super) fn commit_request(
        &self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<CommitOffsets, Error> {
        if let Some((at, ..)) = offsets.iter().find(|(at, ..)| !self.partitions.contains_key(at)) {
            let group = &self.group;
            return Err(Error::Fenced(format!("group {group}: {at} is not this member's")));
        }
        let commit = |(at, offset, metadata): &(TopicPartition, i64, Option<String>)| {
            to_commit(at, *offset, metadata.clone())
        };
        Ok(CommitOffsets {
            group: self.group.clone(),
            generation: self.me.generation,
            member_id: self.me.member_id.clone(),
            instance_id: None,
            knows_epochs: false,
            partitions: offsets.iter().map(commit).collect(),
        })
    }

    pub(crate) fn pause(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            if let Some(reading) = self.partitions.get_mut(at) {
                reading.paused = true;
            }
        }
    }

    pub(crate) fn resume(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            if let Some(reading) = self.partitions.get_mut(at) {
                reading.paused = false;
                // The fetch that is out may not ask for it.
                self.fetch = None;
            }
        }
    }

    pub(crate) fn seek(&mut self, at: &TopicPartition, offset: i64) {
        if let Some(reading) = self.partitions.get_mut(at) {
            reading.offset = offset;
            reading.fetched.clear();
            self.fetch = None;
        }
    }

    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition).map(Reading::position)
    }

    pub(crate) fn lag(&self) -> i64 {
        let behind = |reading: &Reading| (reading.end_offset - reading.position()).max(0);
        self.partitions.values().map(behind).sum()
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        let Self { membership, events, next, .. } = self;
        drop((events, next));
        membership.await.map_err(|stop| Error::Unavailable(stop.to_string()))?
    }
}

/// The keys, beginning after `last` and going round.
fn in_turn<'a, V>(
    map: &'a BTreeMap<TopicPartition, V>,
    last: Option<&TopicPartition>,
) -> impl Iterator<Item = &'a TopicPartition> {
    let first = map.keys().position(|at| last.is_none_or(|last| at > last)).unwrap_or(0);
    map.keys().skip(first).chain(map.keys().take(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_take_turns() {
        let at = |partition| TopicPartition { topic: "t".into(), partition };
        let map: BTreeMap<_, ()> = (0..3).map(|partition| (at(partition), ())).collect();
        let order = |last: Option<TopicPartition>| {
            in_turn(&map, last.as_ref()).map(|at| at.partition).collect::<Vec<_>>()
        };
        assert_eq!(order(None), [0, 1, 2]);
        assert_eq!(order(Some(at(0))), [1, 2, 0]);
        assert_eq!(order(Some(at(2))), [0, 1, 2]);
        assert_eq!(order(Some(at(9))), [0, 1, 2]);
    }
}
