//! A member's side of the classic group protocol, in a task of its own.
//!
//! The task joins, synchronises and heartbeats, so a member stays alive while its caller is busy,
//! and a poll that is dropped loses nothing. It tells the poller what happened ([`Event`]) and does
//! not give anything up before the poller says so ([`Next`]): after `Unsettled` the old partitions
//! stay this member's, heartbeats included, until the poller has seen that and polls again, or the
//! coordinator loses patience ([`REBALANCE_TIMEOUT`]).
//!
//! Invariants: `Settled`, `Unsettled` and `Next` follow each other in a circle, so at most two events
//! and one `Next` are ever queued and telling never blocks a heartbeat; when the poller drops its end the task leaves the group and
//! ends. A leader looks at the topics again every [`METADATA_AGE_MAX`] and rejoins when one appeared,
//! vanished or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidings_node::broker::{
    FetchOffsets, FetchedOffset, GroupRefused, Heartbeat, IN_PROCESS_HOST, JoinGroup, Joined,
    LeaveGroup, SyncGroup, TopicId, TopicName, WantedOffsets,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::groups::{committed_at, said};
use super::transactions::EmbeddedTransactions;
use super::{Embedded, assignor, member_bytes, refusals};
use crate::limits::{
    HEARTBEAT_INTERVAL_MAX, METADATA_AGE_MAX, REBALANCE_TIMEOUT, TRANSACTION_RETRY_PAUSE,
    TRANSACTION_TIMEOUT,
};
use crate::{Error, Start, SubscribeOptions, TopicPartition};

const PROTOCOL_TYPE: &str = "consumer";

/// Who a member is in a generation; what commits are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) member_id: String,
    pub(super) generation: i32,
}

/// A partition given to this member.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) at: TopicPartition,
    /// Where to go on.
    pub(super) offset: i64,
    pub(super) metadata: Option<String>,
    pub(super) end_offset: i64,
}

#[derive(Debug)]
pub(super) enum Event {
    /// The member has these partitions in this generation.
    Settled(Identity, Vec<Given>),
    /// The assignment will change, or has been lost already.
    Unsettled,
    /// Joining is of no use: the node has stopped or refuses the member for good.
    Failed(Error),
}

/// Events that can be queued: `Settled` and the `Unsettled` after it.
pub(super) const EVENTS_QUEUED_MAX: usize = 2;

/// The poller has let go of its partitions: join again.
#[derive(Debug)]
pub(super) struct Next;

/// The poller has gone.
struct Gone;

pub(super) struct Membership {
    pub(super) engine: Embedded,
    pub(super) group: String,
    pub(super) topics: Vec<String>,
    pub(super) options: SubscribeOptions,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) next: mpsc::Receiver<Next>,
    pub(super) me: Identity,
}

/// What a leader based its assignment on.
type Topology = BTreeMap<String, (TopicId, i32)>;

/// Why a round of joining did not settle.
enum Unjoined {
    /// The group moved on; join again.
    Again,
    Failed(Error),
}

impl From<Error> for Unjoined {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<tidings_node::NodeError> for Unjoined {
    fn from(error: tidings_node::NodeError) -> Self {
        Self::Failed(error.into())
    }
}

impl Membership {
    /// Runs until the poller goes, then leaves.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let Gone = self.be_member().await;
        self.leave().await
    }

    async fn be_member(&mut self) -> Gone {
        let events = self.events.clone();
        loop {
            let joined = match self.introduce().await {
                Ok(()) => match unless_gone(&events, self.join()).await {
                    Ok(joined) => joined,
                    Err(gone) => return gone,
                },
                Err(unjoined) => Err(unjoined),
            };
            let (given, led) = match joined {
                Ok(settled) => settled,
                Err(Unjoined::Again) => continue,
                Err(Unjoined::Failed(error)) => return self.fail(error).await,
            };
            let settled = Event::Settled(self.me.clone(), given);
            if let Err(gone) = self.tell(settled).await {
                return gone;
            }
            if let Err(gone) = self.keep(led).await {
                return gone;
            }
        }
    }

    /// Tells the poller that this member is done but for leaving, and waits for it to go.
    async fn fail(&mut self, error: Error) -> Gone {
        let (Ok(()) | Err(Gone)) = self.tell(Event::Failed(error)).await;
        while self.next.recv().await.is_some() {}
        Gone
    }

    async fn tell(&self, event: Event) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Joins and synchronises once; a leader also assigns. Says what the leader assigned by.
    async fn join(&mut self) -> Result<(Vec<Given>, Option<Topology>), Unjoined> {
        let joined = self.enter().await?;
        self.me = Identity { member_id: joined.member_id.clone(), generation: joined.generation };
        let mut led = None;
        let mut assignments = Vec::new();
        if joined.leader == joined.member_id {
            let (all, topology) = self.assign(&joined).await?;
            (assignments, led) = (all, Some(topology));
        }
        let sync = SyncGroup {
            group: self.group.clone(),
            generation: joined.generation,
            member_id: joined.member_id,
            instance_id: None,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol: Some(joined.protocol),
            assignments,
        };
        let synced = match self.engine.node.call(sync).await? {
            Ok(synced) => synced,
            Err(refused) => return Err(self.unjoined(refused)),
        };
        let partitions = member_bytes::decode_assignment(&synced.assignment)
            .map_err(|malformed| Error::Invalid(format!("group {}: {malformed}", self.group)))?;
        Ok((self.positions(partitions).await?, led))
    }

    /// Gets the member its id (KIP-394), so that it can leave from wherever it is dropped later.
    /// Answered at once, hence never given up half way: an id that nobody knows would hold up the
    /// group's rebalances.
    async fn introduce(&mut self) -> Result<(), Unjoined> {
        if !self.me.member_id.is_empty() {
            return Ok(());
        }
        match self.engine.node.call(self.join_request()).await? {
            Ok(Joined { member_id, .. }) | Err(GroupRefused::MemberIdRequired { member_id }) => {
                self.me.member_id = member_id;
                Ok(())
            }
            Err(refused) => Err(self.unjoined(refused)),
        }
    }

    async fn enter(&mut self) -> Result<Joined, Unjoined> {
        let joined = self.engine.node.call(self.join_request()).await?;
        joined.map_err(|refused| self.unjoined(refused))
    }

    fn join_request(&self) -> JoinGroup {
        let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let subscription = member_bytes::encode_subscription(&self.topics);
        JoinGroup {
            group: self.group.clone(),
            member_id: self.me.member_id.clone(),
            instance_id: None,
            client_id: self.options.client_id.clone(),
            client_host: IN_PROCESS_HOST.to_owned(),
            session_timeout_ms: ms(self.options.session_timeout),
            rebalance_timeout_ms: ms(REBALANCE_TIMEOUT),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![(assignor::RANGE.to_owned(), subscription)],
            require_known_member_id: true,
            can_skip_assignment: false,
        }
    }

    fn unjoined(&mut self, refused: GroupRefused) -> Unjoined {
        match refused {
            GroupRefused::UnknownMember => {
                self.me = Identity::default();
                Unjoined::Again
            }
            GroupRefused::IllegalGeneration | GroupRefused::Rebalancing => Unjoined::Again,
            other => Unjoined::Failed(refusals::group(&self.group, other)),
        }
    }

    async fn assign(&self, joined: &Joined) -> Result<(Vec<(String, Bytes)>, Topology), Error> {
        let mut wants: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (member_id, _, metadata) in &joined.members {
            let topics = member_bytes::decode_subscription(metadata).unwrap_or_else(|malformed| {
                // It gets nothing; the others must not suffer for it.
                tracing::warn!(group = %self.group, %member_id, %malformed, "no subscription");
                Vec::new()
            });
            wants.insert(member_id.clone(), topics);
        }
        let topology = self.topology(wants.values().flatten()).await?;
        let counts = topology.iter().map(|(topic, (_, count))| (topic.clone(), *count)).collect();
        let assigned = assignor::range(&wants, &counts);
        let bytes = |(member, partitions): (String, Vec<_>)| {
            (member, member_bytes::encode_assignment(&partitions))
        };
        let topology = self.wanted_by(topology, &wants);
        Ok((assigned.into_iter().map(bytes).collect(), topology))
    }

    /// Topics that nobody has yet are remembered as such, so that their appearance is a change.
    fn wanted_by(&self, known: Topology, wants: &BTreeMap<String, Vec<String>>) -> Topology {
        let missing =
            wants.values().flatten().map(|topic| (topic.clone(), (TopicId::default(), 0)));
        let mut all: Topology = missing.collect();
        all.extend(known);
        all
    }

    async fn topology<'a>(
        &self,
        topics: impl Iterator<Item = &'a String>,
    ) -> Result<Topology, Error> {
        let names: BTreeSet<String> = topics.cloned().collect();
        let known = self.engine.describe_known(names).await?;
        let entry = |topic: tidings_node::broker::TopicDescription| {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            (topic.name, (topic.id, count))
        };
        Ok(known.into_iter().map(entry).collect())
    }

    /// Where to go on in each partition: as committed, or else at the start that was asked for.
    async fn positions(&mut self, partitions: Vec<TopicPartition>) -> Result<Vec<Given>, Unjoined> {
        self.fence(&partitions).await?;
        let fetched = self.stable_offsets(&partitions).await?;
        let topics: BTreeSet<String> = partitions.iter().map(|at| at.topic.clone()).collect();
        let known = self.engine.describe_known(topics).await?;
        let known: BTreeMap<_, _> =
            known.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        let committed: BTreeMap<_, _> = fetched
            .into_iter()
            .filter_map(committed_at)
            .map(|(at, held)| (at, (held.offset, said(held.metadata))))
            .collect();
        let given = partitions.into_iter().map(|at| {
            let index = usize::try_from(at.partition).ok();
            let partition = known.get(&at.topic).zip(index).and_then(|(p, index)| p.get(index));
            let (first, end_offset) =
                partition.map_or((0, 0), |p| (p.start_offset, p.high_watermark));
            let (offset, metadata) =
                committed.get(&at).cloned().unwrap_or(match self.options.start {
                    Start::Earliest => (first, None),
                    Start::Latest => (end_offset, None),
                });
            Given { at, offset, metadata, end_offset }
        });
        Ok(given.collect())
    }

    /// Ends what former owners have left open, if that is asked for.
    async fn fence(&mut self, partitions: &[TopicPartition]) -> Result<(), Unjoined> {
        let Some(prefix) = self.options.fences.clone() else { return Ok(()) };
        let mut beaten = Instant::now();
        for at in partitions {
            let id = at.transactional_id(&prefix);
            EmbeddedTransactions::open(&self.engine, &id, TRANSACTION_TIMEOUT).await?;
            if beaten.elapsed() >= HEARTBEAT_INTERVAL_MAX {
                self.heartbeat().await?;
                beaten = Instant::now();
            }
        }
        Ok(())
    }

    /// What is committed, once no transaction is about to change it (KIP-447).
    async fn stable_offsets(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<FetchedOffset>, Unjoined> {
        let asked = |at: &TopicPartition| (TopicName::Name(at.topic.clone()), at.partition);
        let wanted = WantedOffsets::These(partitions.iter().map(asked).collect());
        loop {
            let (group, wanted) = (self.group.clone(), wanted.clone());
            let fetched =
                self.engine.node.call(FetchOffsets { group, member: None, wanted }).await?;
            let fetched = fetched.map_err(|refused| refusals::group(&self.group, refused))?;
            if !fetched.iter().any(|offset| offset.is_unstable) {
                return Ok(fetched);
            }
            tokio::time::sleep(TRANSACTION_RETRY_PAUSE).await;
            self.heartbeat().await?;
        }
    }

    /// Heartbeats until the poller has let go after a change.
    async fn keep(&mut self, led: Option<Topology>) -> Result<(), Gone> {
        let interval = (self.options.session_timeout / 3).min(HEARTBEAT_INTERVAL_MAX);
        let interval = interval.max(Duration::from_millis(1));
        let events = self.events.clone();
        let mut beat = tokio::time::interval_at(Instant::now() + interval, interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look_due = Instant::now() + METADATA_AGE_MAX;
        let mut unsettled = false;
        loop {
            tokio::select! {
                next = self.next.recv() => return next.map(|Next| ()).ok_or(Gone),
                _ = beat.tick() => {}
            }
            let mut changed = match unless_gone(&events, self.heartbeat()).await? {
                Ok(()) => false,
                Err(Unjoined::Again) => true,
                Err(Unjoined::Failed(error)) => return Err(self.fail(error).await),
            };
            if let Some(led) = &led
                && !unsettled
                && !changed
                && look_due <= Instant::now()
            {
                look_due = Instant::now() + METADATA_AGE_MAX;
                changed = unless_gone(&events, self.has_changed(led)).await?;
            }
            if changed && !unsettled {
                unsettled = true;
                self.tell(Event::Unsettled).await?;
            }
        }
    }

    async fn heartbeat(&mut self) -> Result<(), Unjoined> {
        if self.me.member_id.is_empty() {
            return Err(Unjoined::Again);
        }
        let heartbeat = Heartbeat {
            group: self.group.clone(),
            generation: self.me.generation,
            member_id: self.me.member_id.clone(),
            instance_id: None,
        };
        match self.engine.node.call(heartbeat).await? {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.unjoined(refused)),
        }
    }

    async fn has_changed(&self, led: &Topology) -> bool {
        match self.topology(led.keys()).await {
            Ok(now) => led.iter().any(|(topic, was)| {
                now.get(topic).copied().unwrap_or((TopicId::default(), 0)) != *was
            }),
            // The next heartbeat or join will meet the same trouble and tell.
            Err(_) => false,
        }
    }

    async fn leave(self) -> Result<(), Error> {
        if self.me.member_id.is_empty() {
            return Ok(());
        }
        let members = vec![(self.me.member_id, None)];
        let left = self.engine.node.call(LeaveGroup { group: self.group.clone(), members }).await?;
        let left = left.map_err(|refused| refusals::group(&self.group, refused))?;
        for member in left {
            match member.outcome {
                // Taken for dead before it could leave: gone either way.
                Ok(()) | Err(GroupRefused::UnknownMember) => {}
                Err(refused) => return Err(refusals::group(&self.group, refused)),
            }
        }
        Ok(())
    }
}

/// Runs `work`, unless the poller goes first.
async fn unless_gone<T>(
    events: &mpsc::Sender<Event>,
    work: impl Future<Output = T>,
) -> Result<T, Gone> {
    tokio::select! {
        done = work => Ok(done),
        () = events.closed() => Err(Gone),
    }
}
