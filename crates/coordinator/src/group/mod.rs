//! One classic group: members, generations and the rebalance between them.
//!
//! 1. A change of membership moves the group to `PreparingRebalance`; joins wait there until all
//!    members have joined or the rebalance timeout has passed. The first join of an empty group is
//!    answered at once (Kafka with `group.initial.rebalance.delay.ms=0`).
//! 2. The generation grows, a protocol is voted for, joins are answered: `CompletingRebalance`.
//!    Syncs wait for the leader's.
//! 3. The leader's sync brings the assignments: the generation is recorded, syncs are answered,
//!    `Stable`. Members that never ask for their assignment are removed at the sync deadline.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::coordinator::Effects;
use crate::member::{Member, metadata_bytes};
use crate::{
    Committed, DescribedGroup, GroupRefused, GroupSnapshot, IN_PROCESS_HOST, JoinGroup, Joined,
    Now, Record, Waiter, limits,
};

mod syncing;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    /// Kafka's name of the state.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) protocol_type: String,
    pub(crate) protocol: Option<String>,
    pub(crate) generation: i32,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// `group.instance.id` → member id.
    statics: BTreeMap<String, String>,
    /// Ids given out and not yet joined with, and when they lapse.
    pub(crate) pending: BTreeMap<String, u64>,
    rebalance_ends_ms: u64,
    sync_ends_ms: u64,
    pub(crate) offsets: BTreeMap<(String, i32), Committed>,
    /// Since when the group has had no members.
    pub(crate) empty_since_ms: u64,
    /// When it was last recorded with its members, or as having none.
    pub(crate) state_since_wall_ms: Option<i64>,
}

impl Group {
    pub(crate) fn new(name: &str, now_ms: u64) -> Self {
        Self { name: name.to_owned(), empty_since_ms: now_ms, ..Self::default() }
    }

    /// Replaces the membership by what the log kept of it, without the members that ended with the
    /// process they were in: the others then rebalance. So they do when nobody leads them: they come from
    /// a group of the consumer protocol.
    pub(crate) fn load(&mut self, snapshot: GroupSnapshot, now_ms: u64) {
        let protocol = snapshot.protocol.clone().unwrap_or_default();
        self.protocol_type = snapshot.protocol_type;
        self.protocol = snapshot.protocol;
        self.generation = snapshot.generation;
        self.leader = snapshot.leader;
        self.state_since_wall_ms =
            (snapshot.state_timestamp_ms >= 0).then_some(snapshot.state_timestamp_ms);
        self.members.clear();
        self.statics.clear();
        self.empty_since_ms = now_ms;
        let recorded = snapshot.members.len();
        for kept in snapshot.members.into_iter().filter(|m| m.client_host != IN_PROCESS_HOST) {
            if let Some(instance) = &kept.instance_id {
                self.statics.insert(instance.clone(), kept.member_id.clone());
            }
            let id = kept.member_id.clone();
            self.members.insert(id, Member::load(kept, &protocol, now_ms));
        }
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol = None;
            self.leader = None;
        } else if self.members.len() < recorded || self.leader.is_none() {
            self.state = State::PreparingRebalance;
            self.rebalance_ends_ms = now_ms + self.rebalance_timeout_ms();
        } else {
            self.state = State::Stable;
        }
    }

    /// Everything but the offsets is gone; who waits must join again.
    pub(crate) fn forget_membership(&mut self, now: Now, effects: &mut Effects) {
        for member in std::mem::take(&mut self.members).into_values() {
            if let Some(waiter) = member.joining {
                effects.joined(waiter, Err(GroupRefused::Rebalancing));
            }
            if let Some(waiter) = member.syncing {
                effects.synced(waiter, Err(GroupRefused::Rebalancing));
            }
        }
        let (name, offsets) = (std::mem::take(&mut self.name), std::mem::take(&mut self.offsets));
        *self = Self { offsets, ..Self::new(&name, now.mono_ms) };
    }

    /// The record that ends the group, if there is anything of it in the log but offsets.
    pub(crate) fn tombstone(&self) -> Option<Record> {
        let group = self.name.clone();
        (self.generation > 0).then_some(Record::Group { group, snapshot: None })
    }

    /// The record of the group as it is from now on.
    fn recorded(&mut self, now: Now) -> Record {
        self.state_since_wall_ms = Some(now.wall_ms);
        self.record(now)
    }

    fn record(&self, now: Now) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| member.snapshot(id, protocol));
        Record::Group {
            group: self.name.clone(),
            snapshot: Some(GroupSnapshot {
                protocol_type: self.protocol_type.clone(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                state_timestamp_ms: now.wall_ms,
                members: members.collect(),
            }),
        }
    }

    // ---- who may speak -------------------------------------------------------------------------

    /// Whether the request comes from a member, and from the newest holder of its instance id.
    pub(crate) fn validate(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), GroupRefused> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(GroupRefused::UnknownMember),
                Some(holder) if holder != member_id => return Err(GroupRefused::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupRefused::UnknownMember) }
    }

    pub(crate) fn validate_generation(&self, generation: i32) -> Result<(), GroupRefused> {
        if generation == self.generation { Ok(()) } else { Err(GroupRefused::IllegalGeneration) }
    }

    /// Whether a member with these protocols could work with the present members.
    fn accepts(&self, request: &JoinGroup) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let others = || self.members.iter().filter(|(id, _)| **id != request.member_id);
        self.protocol_type == request.protocol_type
            && request
                .protocols
                .iter()
                .any(|(name, _)| others().all(|(_, member)| member.supports(name)))
    }

    fn has_room_for(&self, request: &JoinGroup, size_max: usize) -> bool {
        let known = self.members.contains_key(&request.member_id)
            || self.pending.contains_key(&request.member_id)
            || request.instance_id.as_ref().is_some_and(|id| self.statics.contains_key(id));
        let others = self.members.iter().filter(|(id, _)| **id != request.member_id);
        let held: usize = others.map(|(_, member)| member.metadata_bytes()).sum();
        let bytes = metadata_bytes(&request.protocols);
        (known || self.members.len() + self.pending.len() < size_max)
            && bytes <= limits::MEMBER_METADATA_BYTES_MAX
            && held + bytes <= limits::GROUP_BYTES_MAX
    }

    // ---- joining -------------------------------------------------------------------------------

    /// Answers the join or lets it wait; `fresh_id` is the id for a member that has none.
    pub(crate) fn join(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: JoinGroup,
        fresh_id: String,
        size_max: usize,
        effects: &mut Effects,
    ) -> Result<(), GroupRefused> {
        if !self.accepts(&request) {
            return Err(GroupRefused::InconsistentProtocol);
        }
        if !self.has_room_for(&request, size_max) {
            return Err(GroupRefused::Full);
        }
        if !request.member_id.is_empty() {
            return self.join_with_id(now, waiter, request, effects);
        }
        if let Some(instance) = &request.instance_id {
            if let Some(old_id) = self.statics.get(instance).cloned() {
                self.replace_static(now, waiter, &old_id, &fresh_id, request, effects);
                return Ok(());
            }
        } else if request.require_known_member_id {
            let lapses = now.mono_ms + u64::try_from(request.session_timeout_ms).unwrap_or(0);
            self.pending.insert(fresh_id.clone(), lapses);
            return Err(GroupRefused::MemberIdRequired { member_id: fresh_id });
        }
        self.add(now, waiter, fresh_id, request, effects);
        Ok(())
    }

    fn join_with_id(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: JoinGroup,
        effects: &mut Effects,
    ) -> Result<(), GroupRefused> {
        let id = request.member_id.clone();
        if request.instance_id.is_none() && self.pending.remove(&id).is_some() {
            self.add(now, waiter, id, request, effects);
            return Ok(());
        }
        self.validate(&id, request.instance_id.as_deref())?;
        let unchanged = self.members[&id].protocols == request.protocols;
        let leads = self.leader.as_deref() == Some(&*id);
        match self.state {
            State::Empty => return Err(GroupRefused::UnknownMember),
            State::CompletingRebalance if unchanged => {
                effects.joined(waiter, Ok(self.answer_join(&id)));
            }
            State::Stable if unchanged && !leads => {
                effects.joined(waiter, Ok(self.answer_join(&id)));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                let member = self.members.get_mut(&id).expect("validated above");
                member.update(request);
                if let Some(earlier) = member.joining.replace(waiter) {
                    effects.joined(earlier, Err(GroupRefused::Rebalancing));
                }
                self.rebalance(now, effects);
            }
        }
        self.touch(&id, now.mono_ms);
        Ok(())
    }

    fn add(
        &mut self,
        now: Now,
        waiter: Waiter,
        id: String,
        request: JoinGroup,
        effects: &mut Effects,
    ) {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&request.protocol_type);
        }
        if let Some(instance) = &request.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, Member::new(request, waiter, now.mono_ms));
        self.rebalance(now, effects);
    }

    /// A static member came back without its id: it takes the place of its former self, which is
    /// fenced. While the group is stable and the choice of protocol stays, nobody else notices.
    fn replace_static(
        &mut self,
        now: Now,
        waiter: Waiter,
        old_id: &str,
        new_id: &str,
        request: JoinGroup,
        effects: &mut Effects,
    ) {
        let mut member = self.members.remove(old_id).expect("instance ids point at members");
        if let Some(fenced) = member.joining.take() {
            effects.joined(fenced, Err(GroupRefused::FencedInstance));
        }
        if let Some(fenced) = member.syncing.take() {
            effects.synced(fenced, Err(GroupRefused::FencedInstance));
        }
        let leader_before = self.leader.clone();
        if self.leader.as_deref() == Some(old_id) {
            self.leader = Some(new_id.to_owned());
        }
        let instance = request.instance_id.clone().expect("only static members are replaced");
        let can_skip_assignment = request.can_skip_assignment;
        self.statics.insert(instance, new_id.to_owned());
        member.update(request);
        member.touch(now.mono_ms);
        self.members.insert(new_id.to_owned(), member);
        if self.state == State::Stable && self.vote() == self.protocol {
            effects.persist(self.recorded(now));
            let mut answer = self.answer_join(new_id);
            if can_skip_assignment {
                answer.skip_assignment = answer.leader == new_id;
            } else {
                // The former leader is named, so that the returning one does not assign anew.
                answer.members.clear();
                answer.leader = leader_before.unwrap_or_default();
            }
            effects.joined_once_durable(waiter, answer);
        } else {
            self.members.get_mut(new_id).expect("inserted above").joining = Some(waiter);
            self.rebalance(now, effects);
        }
    }

    fn answer_join(&self, id: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == id {
            let all = self.members.iter();
            all.map(|(id, m)| (id.clone(), m.instance_id.clone(), m.metadata(&protocol))).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader,
            member_id: id.to_owned(),
            members,
            skip_assignment: false,
        }
    }

    // ---- the rebalance -------------------------------------------------------------------------

    /// Membership changed: starts a rebalance, or sees whether the one under way is complete.
    fn rebalance(&mut self, now: Now, effects: &mut Effects) {
        let first = self.state == State::Empty;
        if self.state == State::CompletingRebalance {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
                if let Some(waiter) = member.syncing.take() {
                    effects.synced(waiter, Err(GroupRefused::Rebalancing));
                    member.touch(now.mono_ms);
                }
            }
        }
        if self.state != State::PreparingRebalance {
            self.state = State::PreparingRebalance;
            self.rebalance_ends_ms = now.mono_ms + self.rebalance_timeout_ms();
        }
        let all_joined =
            self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some());
        if first || all_joined || self.rebalance_ends_ms <= now.mono_ms {
            self.complete_join(now, effects);
        }
    }

    fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        u64::try_from(longest.unwrap_or(0)).unwrap_or(0)
    }

    fn complete_join(&mut self, now: Now, effects: &mut Effects) {
        self.members.retain(|_, member| member.joining.is_some() || member.instance_id.is_some());
        if self.members.is_empty() {
            return self.become_empty(now, effects);
        }
        let joined = |id: &String| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some((id, _)) = self.members.iter().find(|(_, m)| m.joining.is_some()) else {
                // Only static members are left and none has come back yet: their sessions decide.
                self.rebalance_ends_ms = now.mono_ms + self.rebalance_timeout_ms().max(1);
                return;
            };
            self.leader = Some(id.clone());
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.vote();
        self.state = State::CompletingRebalance;
        self.sync_ends_ms = now.mono_ms + self.rebalance_timeout_ms();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.answer_join(&id);
            let member = self.members.get_mut(&id).expect("its own key");
            match member.joining.take() {
                Some(waiter) => {
                    member.joined(now.mono_ms);
                    effects.joined(waiter, Ok(answer));
                }
                None => member.synced = false,
            }
        }
    }

    fn become_empty(&mut self, now: Now, effects: &mut Effects) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.empty_since_ms = now.mono_ms;
        effects.persist(self.recorded(now));
    }

    /// The protocol that every member supports and most prefer; of equals the first by name.
    fn vote(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let common = |name: &str| self.members.values().all(|other| other.supports(name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    // ---- staying and leaving -------------------------------------------------------------------

    pub(crate) fn heartbeat(
        &mut self,
        now: Now,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupRefused> {
        self.validate(member_id, instance)?;
        self.validate_generation(generation)?;
        self.touch(member_id, now.mono_ms);
        match self.state {
            State::Empty => Err(GroupRefused::UnknownMember),
            State::PreparingRebalance => Err(GroupRefused::Rebalancing),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    pub(crate) fn touch(&mut self, member_id: &str, now_ms: u64) {
        if let Some(member) = self.members.get_mut(member_id)
            && member.joining.is_none()
            && member.session_ends_ms().is_some()
        {
            member.touch(now_ms);
        }
    }

    /// Takes one member out; the caller then calls [`Group::settle_departures`]. An id that was given
    /// out and never joined with lapses: of that a stable group takes no notice.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        effects: &mut Effects,
    ) -> Result<(), GroupRefused> {
        if self.pending.remove(member_id).is_some() {
            return Ok(());
        }
        let id = match (member_id, instance) {
            ("", Some(instance)) => {
                self.statics.get(instance).cloned().ok_or(GroupRefused::UnknownMember)?
            }
            _ => {
                self.validate(member_id, instance)?;
                member_id.to_owned()
            }
        };
        self.remove(&id, effects);
        Ok(())
    }

    fn remove(&mut self, id: &str, effects: &mut Effects) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(waiter) = member.joining {
            effects.joined(waiter, Err(GroupRefused::UnknownMember));
        }
        if let Some(waiter) = member.syncing {
            effects.synced(waiter, Err(GroupRefused::UnknownMember));
        }
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Members have gone, or only ids that were never joined with: the rest rebalances, or the
    /// rebalance under way may be complete.
    pub(crate) fn settle_departures(&mut self, now: Now, members: bool, effects: &mut Effects) {
        let concerned = members || self.state == State::PreparingRebalance;
        if concerned && self.state != State::Empty {
            self.rebalance(now, effects);
        }
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Acts on every deadline that has passed.
    pub(crate) fn tick(&mut self, now: Now, effects: &mut Effects) {
        let due = |at: u64| at <= now.mono_ms;
        let pending_before = self.pending.len();
        self.pending.retain(|_, lapses| !due(*lapses));
        let sync_is_over = self.awaits_syncs() && due(self.sync_ends_ms);
        let is_gone = |member: &Member| {
            (sync_is_over && !member.synced) || member.session_ends_ms().is_some_and(due)
        };
        let gone = self.members.iter().filter(|(_, member)| is_gone(member));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id, effects);
        }
        let lapsed = self.pending.len() < pending_before;
        if !gone.is_empty() || lapsed || due(self.rebalance_ends_ms) {
            self.settle_departures(now, !gone.is_empty(), effects);
        }
    }

    fn awaits_syncs(&self) -> bool {
        matches!(self.state, State::CompletingRebalance | State::Stable)
            && self.members.values().any(|member| !member.synced)
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let sessions = self.members.values().filter_map(Member::session_ends_ms).min();
        let lapses = self.pending.values().copied().min();
        let rebalance = (self.state == State::PreparingRebalance).then_some(self.rebalance_ends_ms);
        let sync = self.awaits_syncs().then_some(self.sync_ends_ms);
        let idle = self.is_idle().then_some(self.empty_since_ms + limits::IDLE_GROUP_KEPT_MS);
        [sessions, lapses, rebalance, sync, idle].into_iter().flatten().min()
    }

    // ---- what it looks like --------------------------------------------------------------------

    /// Whether nothing but a generation number is left of the group.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.offsets.is_empty()
    }

    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        DescribedGroup {
            group: self.name.clone(),
            state: self.state.name(),
            protocol_type: self.protocol_type.clone(),
            protocol: stable.unwrap_or_default().to_owned(),
            members: self.members.iter().map(|(id, m)| m.describe(id, stable)).collect(),
        }
    }
}
