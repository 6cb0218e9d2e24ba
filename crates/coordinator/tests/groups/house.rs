//! A coordinator with a clock that the test moves, and every answer in one place.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_coordinator::{
    Answer, Beat, CommitOffsets, CommitPartition, CommittedPartition, ConsumerHeartbeat,
    Coordinator, Effect, GroupRefused, Heartbeat, JoinGroup, Joined, LeaveGroup, LeftMember, Now,
    Record, SyncGroup, Synced, TopicFacts, TopicName, Waiter,
};

pub(crate) const GROUP: &str = "g";
pub(crate) const ORDERS_ID: [u8; 16] = [1; 16];
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;
pub(crate) const SESSION_MS: i32 = 10_000;
pub(crate) const REBALANCE_MS: i32 = 30_000;

pub(crate) struct House {
    pub(crate) groups: Coordinator,
    now_ms: u64,
    last: u64,
    joins: BTreeMap<u64, Result<Joined, GroupRefused>>,
    syncs: BTreeMap<u64, Result<Synced, GroupRefused>>,
    beats: BTreeMap<u64, Result<Beat, GroupRefused>>,
    /// Everything that was to be kept, in order.
    pub(crate) kept: Vec<Record>,
}

/// A join that asks for nothing special.
pub(crate) fn join(member_id: &str) -> JoinGroup {
    JoinGroup {
        group: GROUP.into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        require_known_member_id: false,
        can_skip_assignment: false,
    }
}

pub(crate) fn static_join(member_id: &str, instance: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance.into()), ..join(member_id) }
}

pub(crate) fn sync(member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncGroup {
    let own = |text: &&str| Bytes::copy_from_slice(text.as_bytes());
    SyncGroup {
        group: GROUP.into(),
        generation,
        member_id: member_id.into(),
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: assignments.iter().map(|(id, a)| ((*id).to_owned(), own(a))).collect(),
    }
}

pub(crate) fn commit(member_id: &str, generation: i32, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: GROUP.into(),
        generation,
        member_id: member_id.into(),
        instance_id: None,
        knows_epochs: false,
        partitions: vec![CommitPartition {
            topic: TopicName::Name("orders".into()),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: None,
        }],
    }
}

impl Default for House {
    /// Nobody is there yet; the topic `orders` has four partitions.
    fn default() -> Self {
        let mut groups = Coordinator::new();
        groups.topics_mut().put("orders", TopicFacts { id: ORDERS_ID, partitions: 4 });
        let (joins, syncs, beats, kept) = Default::default();
        Self { groups, now_ms: 0, last: 0, joins, syncs, beats, kept }
    }
}

impl House {
    pub(crate) fn now(&self) -> Now {
        let passed = i64::try_from(self.now_ms).expect("short tests");
        Now { wall_ms: WALL_MS + passed, mono_ms: self.now_ms }
    }

    /// Lets time pass, acting on each deadline at its moment.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(next) = self.groups.next_timeout_ms().filter(|next| *next <= until) {
            self.now_ms = self.now_ms.max(next);
            self.groups.tick(self.now());
            self.collect();
            for record in self.groups.decide_expiry(self.now()) {
                self.keep(record);
            }
        }
        self.now_ms = until;
    }

    pub(crate) fn collect(&mut self) {
        while let Some(effect) = self.groups.poll() {
            match effect {
                Effect::Persist(record) => self.kept.push(record),
                Effect::Change(change) => {
                    self.kept.extend(change.records.iter().cloned());
                    self.groups.accept(self.now(), change);
                }
                Effect::Answer { waiter, answer: Answer::Joined(result), .. } => {
                    assert!(self.joins.insert(waiter.0, result).is_none(), "answered twice");
                }
                Effect::Answer { waiter, answer: Answer::Synced(result), .. } => {
                    assert!(self.syncs.insert(waiter.0, result).is_none(), "answered twice");
                }
                Effect::Answer { waiter, answer: Answer::Beaten(result), .. } => {
                    assert!(self.beats.insert(waiter.0, result).is_none(), "answered twice");
                }
            }
        }
    }

    /// Answers that nobody has read are lost.
    pub(crate) fn forget_answers(&mut self) {
        self.joins.clear();
        self.syncs.clear();
        self.beats.clear();
    }

    pub(crate) fn send_join(&mut self, request: JoinGroup) -> u64 {
        self.last += 1;
        let fresh = u128::from(self.last).to_be_bytes();
        self.groups.join(self.now(), Waiter(self.last), request, fresh);
        self.collect();
        self.last
    }

    /// Sends a heartbeat of the consumer protocol, which is answered at once.
    pub(crate) fn consumer_beat(
        &mut self,
        request: ConsumerHeartbeat,
    ) -> Result<Beat, GroupRefused> {
        self.last += 1;
        let fresh = u128::from(self.last).to_be_bytes();
        self.groups.consumer_heartbeat(self.now(), Waiter(self.last), request, fresh);
        self.collect();
        self.beats.remove(&self.last).expect("answered at once")
    }

    pub(crate) fn send_sync(&mut self, request: SyncGroup) -> u64 {
        self.last += 1;
        self.groups.sync(self.now(), Waiter(self.last), request);
        self.collect();
        self.last
    }

    /// The answer, when there is one by now.
    pub(crate) fn joined(&mut self, sent: u64) -> Option<Result<Joined, GroupRefused>> {
        self.joins.remove(&sent)
    }

    pub(crate) fn synced(&mut self, sent: u64) -> Option<Result<Synced, GroupRefused>> {
        self.syncs.remove(&sent)
    }

    /// Joins and expects to be in at once.
    pub(crate) fn join_now(&mut self, request: JoinGroup) -> Joined {
        let sent = self.send_join(request);
        self.joined(sent).expect("answered at once").expect("accepted")
    }

    pub(crate) fn refused_join(&mut self, request: JoinGroup) -> GroupRefused {
        let sent = self.send_join(request);
        self.joined(sent).expect("answered at once").expect_err("refused")
    }

    pub(crate) fn sync_now(&mut self, request: SyncGroup) -> Result<Bytes, GroupRefused> {
        let sent = self.send_sync(request);
        self.synced(sent).expect("answered at once").map(|synced| synced.assignment)
    }

    pub(crate) fn beat(&mut self, member_id: &str, generation: i32) -> Result<(), GroupRefused> {
        let request = Heartbeat {
            group: GROUP.into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
        };
        let outcome = self.groups.heartbeat(self.now(), &request);
        self.collect();
        outcome
    }

    pub(crate) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<LeftMember> {
        let own =
            |(id, instance): &(&str, Option<&str>)| ((*id).to_owned(), instance.map(str::to_owned));
        let members = members.iter().map(own).collect();
        let request = LeaveGroup { group: GROUP.into(), members };
        let left = self.groups.leave(self.now(), request).expect("a group id was given");
        self.collect();
        left
    }

    /// Commits as the broker does: decide, keep, apply.
    pub(crate) fn commit(
        &mut self,
        request: &CommitOffsets,
    ) -> Result<Vec<CommittedPartition>, GroupRefused> {
        let now = self.now();
        let decision = self.groups.decide_commit(now, request)?;
        decision.records.into_iter().for_each(|record| self.keep(record));
        Ok(decision.answers)
    }

    pub(crate) fn keep(&mut self, record: Record) {
        self.kept.push(record.clone());
        self.groups.apply(self.now(), record);
    }

    /// The generation that the log has of the classic group; 0 when it has none.
    pub(crate) fn kept_generation(&self) -> i32 {
        let generation = |record: &Record| match record {
            Record::Group { snapshot, .. } => Some(snapshot.as_ref().map_or(0, |s| s.generation)),
            Record::Offset { .. } | Record::Consumer { .. } => None,
        };
        self.kept.iter().rev().find_map(generation).unwrap_or(0)
    }

    pub(crate) fn state(&self) -> &'static str {
        self.groups.describe(GROUP).state
    }

    /// Two members in a stable group of generation 2: the leader's id, the follower's.
    pub(crate) fn with_two_members() -> (Self, String, String) {
        let mut house = Self::default();
        let leader = house.join_now(join("")).member_id;
        let follower = house.send_join(join(""));
        let again = house.send_join(join(&leader));
        let leads = house.joined(again).expect("all have joined").expect("accepted");
        let follows = house.joined(follower).expect("all have joined").expect("accepted");
        assert_eq!((leads.generation, follows.generation), (2, 2));
        let follower = follows.member_id;
        let waits = house.send_sync(sync(&follower, 2, &[]));
        assert_eq!(house.synced(waits).map(|_| ()), None, "until the leader's sync");
        let plan = [(leader.as_str(), "left"), (follower.as_str(), "right")];
        assert_eq!(house.sync_now(sync(&leader, 2, &plan)), Ok(Bytes::from_static(b"left")));
        let synced = house.synced(waits).expect("with the leader's").expect("accepted");
        assert_eq!(synced.assignment, Bytes::from_static(b"right"));
        assert_eq!(house.state(), "Stable");
        (house, leader, follower)
    }
}
