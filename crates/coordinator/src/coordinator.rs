//! All groups of a node, their timers, and the way in and out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::consumer_group::ConsumerGroup;
use crate::embedded::CONSUMER;
use crate::group::Group;
use crate::memory::GroupMemory;
use crate::pending_offsets::PendingOffsets;
use crate::retention::Sweep;
use crate::timers::Timers;
use crate::{
    Beat, Committed, DescribedGroup, GroupOverrides, GroupRefused, GroupTrouble, GroupsConfig,
    Heartbeat, JoinGroup, Joined, LeaveGroup, LeftMember, ListGroups, ListedGroup, Record,
    SyncGroup, Synced, Topics, limits,
};

/// Kafka's name of the protocol in which members assign among themselves.
const CLASSIC: &str = "classic";

/// The time of a decision. `mono_ms` never goes back and counts from the node's start; `wall_ms`
/// is milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub wall_ms: i64,
    pub mono_ms: u64,
}

/// Names one join or sync until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// What the owner must do, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append these records and then [`Coordinator::accept`] the change; it has not been made. When the
    /// log does not take them: [`Coordinator::persist_failed`].
    Change(Change),
    /// Append this record. When the log does not take it: [`Coordinator::persist_failed`].
    Persist(Record),
    /// Answer this request; with `once_durable`, not before all records yielded so far are on disk.
    Answer { waiter: Waiter, answer: Answer, once_durable: bool },
}

/// A change of a group that counts when the log has its records.
#[derive(Clone, Debug)]
pub struct Change {
    pub group: String,
    pub records: Vec<Record>,
    /// The classic member that has joined and is to ask for its assignment.
    pub(crate) joined: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Joined(Result<Joined, GroupRefused>),
    Synced(Result<Synced, GroupRefused>),
    Beaten(Result<Beat, GroupRefused>),
}

/// Effects in the order in which they were decided.
#[derive(Debug, Default)]
pub(crate) struct Effects(VecDeque<Effect>);

impl Effects {
    pub(crate) fn persist(&mut self, record: Record) {
        self.0.push_back(Effect::Persist(record));
    }

    pub(crate) fn joined(&mut self, waiter: Waiter, result: Result<Joined, GroupRefused>) {
        self.answer(waiter, Answer::Joined(result), false);
    }

    pub(crate) fn joined_once_durable(&mut self, waiter: Waiter, joined: Joined) {
        self.answer(waiter, Answer::Joined(Ok(joined)), true);
    }

    pub(crate) fn synced(&mut self, waiter: Waiter, result: Result<Synced, GroupRefused>) {
        self.answer(waiter, Answer::Synced(result), false);
    }

    pub(crate) fn synced_once_durable(&mut self, waiter: Waiter, synced: Synced) {
        self.answer(waiter, Answer::Synced(Ok(synced)), true);
    }

    /// The answer to a heartbeat waits only when it depends on something: on a change before it, or on
    /// what it says of an assignment.
    pub(crate) fn beaten(&mut self, waiter: Waiter, result: Result<Beat, GroupRefused>) {
        let shows = result.as_ref().is_ok_and(|beat| beat.assignment.is_some());
        let changes = self.0.iter().any(|effect| matches!(effect, Effect::Change(_)));
        let once_durable = shows || changes;
        self.answer(waiter, Answer::Beaten(result), once_durable);
    }

    pub(crate) fn change(&mut self, group: &str, records: Vec<Record>) {
        if !records.is_empty() {
            self.push_change(group, records, None);
        }
    }

    /// Of a join there is an effect even where it changes nothing in the log.
    pub(crate) fn change_by_join(&mut self, group: &str, records: Vec<Record>, joined: String) {
        self.push_change(group, records, Some(joined));
    }

    fn push_change(&mut self, group: &str, records: Vec<Record>, joined: Option<String>) {
        self.0.push_back(Effect::Change(Change { group: group.to_owned(), records, joined }));
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer, once_durable: bool) {
        self.0.push_back(Effect::Answer { waiter, answer, once_durable });
    }
}

/// The groups of one node.
///
/// Invariant: a group of the consumer protocol is in `groups`, too, for what it has committed, and has
/// no members there.
#[derive(Debug, Default)]
pub struct Coordinator {
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) consumers: BTreeMap<String, ConsumerGroup>,
    timers: Timers,
    pub(crate) effects: Effects,
    pub(crate) config: GroupsConfig,
    pub(crate) topics: Topics,
    pub(crate) sweep: Sweep,
    pub(crate) pending: PendingOffsets,
    pub(crate) memory: GroupMemory,
}

impl Coordinator {
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the settings of groups.
    pub fn configure(&mut self, config: GroupsConfig) {
        self.config = config;
    }

    /// Replaces what is set for one group.
    pub fn configure_group(&mut self, group: &str, overrides: GroupOverrides) {
        if overrides == GroupOverrides::default() {
            self.config.overrides.remove(group);
        } else {
            self.config.overrides.insert(group.to_owned(), overrides);
        }
    }

    pub fn config(&self) -> &GroupsConfig {
        &self.config
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// For the owner to say what topics there are.
    pub fn topics_mut(&mut self) -> &mut Topics {
        &mut self.topics
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.0.pop_front()
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    pub(crate) fn groups_from(
        &self,
        from: Bound<String>,
    ) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.range((from, Bound::Unbounded))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.groups.len() >= limits::GROUPS_MAX
    }

    // ---- membership ----------------------------------------------------------------------------

    /// A member wants in, or in again. `fresh` is random: it becomes part of a new member's id.
    pub fn join(&mut self, now: Now, waiter: Waiter, request: JoinGroup, fresh: [u8; 16]) {
        if let Err(refused) = self.try_join(now, waiter, request, fresh) {
            self.effects.joined(waiter, Err(refused));
        }
    }

    fn try_join(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: JoinGroup,
        fresh: [u8; 16],
    ) -> Result<(), GroupRefused> {
        self.check_join(&request)?;
        let name = request.group.clone();
        match self.consumers.get(&name) {
            Some(group) if !group.is_empty() => {
                return self.join_consumers(now, waiter, request, fresh);
            }
            // A group without members becomes a classic one.
            Some(_) => {
                let records = self.consumer_tombstones(now, &name);
                self.consumers.remove(&name);
                self.effects.change(&name, records);
            }
            None => {}
        }
        if !self.groups.contains_key(&name) {
            if !request.member_id.is_empty() {
                return Err(GroupRefused::UnknownMember);
            }
            if self.is_full() {
                return Err(GroupRefused::Full);
            }
        }
        let group =
            self.groups.entry(name.clone()).or_insert_with(|| Group::new(&name, now.mono_ms));
        let prefix = request.instance_id.as_ref().unwrap_or(&request.client_id);
        let fresh_id = member_id(prefix, fresh);
        let size_max = self.config.classic_group_size_max;
        let outcome = group.join(now, waiter, request, fresh_id, size_max, &mut self.effects);
        self.reset_timer(&name);
        outcome
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), GroupRefused> {
        let fits = |text: &str| text.len() <= limits::NAME_BYTES_MAX;
        if request.group.is_empty() || !fits(&request.group) {
            return Err(GroupRefused::InvalidGroup);
        }
        let (min_ms, max_ms) =
            (self.config.session_timeout_min_ms, self.config.session_timeout_max_ms);
        if !(min_ms..=max_ms).contains(&request.session_timeout_ms) {
            return Err(GroupRefused::InvalidSessionTimeout { min_ms, max_ms });
        }
        let named = [&request.member_id, &request.client_id, &request.client_host];
        let fit = named.into_iter().all(|text| fits(text))
            && fits(&request.protocol_type)
            && request.instance_id.as_deref().is_none_or(fits)
            && request.protocols.iter().all(|(name, _)| fits(name));
        if !fit || request.protocols.len() > limits::PROTOCOLS_PER_MEMBER_MAX {
            return Err(GroupRefused::Full);
        }
        Ok(())
    }

    /// A member asks for its assignment; the leader brings everyone's.
    pub fn sync(&mut self, now: Now, waiter: Waiter, request: SyncGroup) {
        let name = request.group.clone();
        if let Some(outcome) = self.sync_consumers(now, &request) {
            self.effects.synced(waiter, outcome);
            return self.reset_timer(&name);
        }
        // What takes the place of other assignments may be counted twice until it is counted anew.
        let assigned = request.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if let Err(refused) = self.take_memory_of_member(now, assigned) {
            return self.effects.synced(waiter, Err(refused));
        }
        let outcome = match self.groups.get_mut(&name) {
            Some(group) => group.sync(now, waiter, request, &mut self.effects),
            None => Err(no_such_group(&name)),
        };
        if let Err(refused) = outcome {
            self.effects.synced(waiter, Err(refused));
        }
        self.reset_timer(&name);
    }

    pub fn heartbeat(&mut self, now: Now, request: &Heartbeat) -> Result<(), GroupRefused> {
        if let Some(outcome) = self.heartbeat_consumers(now, request) {
            if outcome.is_err() {
                self.reset_timer(&request.group);
            }
            return outcome;
        }
        let group =
            self.groups.get_mut(&request.group).ok_or_else(|| no_such_group(&request.group))?;
        let instance = request.instance_id.as_deref();
        group.heartbeat(now, &request.member_id, instance, request.generation)
    }

    /// A sign of life other than a heartbeat, such as a commit.
    pub fn heard_from(&mut self, now: Now, group: &str, member_id: &str) {
        if self.consumers.contains_key(group) {
            return;
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.touch(member_id, now.mono_ms);
        }
    }

    pub fn leave(
        &mut self,
        now: Now,
        request: LeaveGroup,
    ) -> Result<Vec<LeftMember>, GroupRefused> {
        if request.group.is_empty() {
            return Err(GroupRefused::InvalidGroup);
        }
        if self.consumers.contains_key(&request.group) {
            return Ok(self.leave_consumers(now, request));
        }
        let mut left = Vec::new();
        let members_before = self.groups.get(&request.group).map_or(0, |held| held.members.len());
        for (member_id, instance_id) in request.members {
            let outcome = match self.groups.get_mut(&request.group) {
                Some(group) => group.leave(&member_id, instance_id.as_deref(), &mut self.effects),
                None => Err(GroupRefused::UnknownMember),
            };
            left.push(LeftMember { member_id, instance_id, outcome });
        }
        if left.iter().any(|member| member.outcome.is_ok()) {
            if let Some(group) = self.groups.get_mut(&request.group) {
                let members_left = group.members.len() < members_before;
                group.settle_departures(now, members_left, &mut self.effects);
            }
            self.reset_timer(&request.group);
        }
        Ok(left)
    }

    /// The log did not take the group's last record: its members must join again.
    pub fn persist_failed(&mut self, now: Now, group: &str) {
        if let Some(consumers) = self.consumers.get_mut(group) {
            consumers.not_kept();
            return self.timers.set(group, Some(now.mono_ms + limits::RETRY_MS));
        }
        if let Some(held) = self.groups.get_mut(group) {
            held.unsettle(now, &mut self.effects);
        }
        self.reset_timer(group);
    }

    // ---- time ----------------------------------------------------------------------------------

    /// When [`Coordinator::tick`] must be called next, in `Now::mono_ms` terms.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let sweep = (!self.groups.is_empty()).then(|| self.sweep.next_ms());
        [self.timers.next_ms(), sweep].into_iter().flatten().min()
    }

    /// Acts on every session, rebalance and sync deadline that has passed. What else time makes due is
    /// decided by [`Coordinator::decide_expiry`].
    pub fn tick(&mut self, now: Now) {
        while let Some(name) = self.timers.pop_due(now.mono_ms) {
            if self.consumers.contains_key(&name) {
                self.tick_consumers(now, &name);
                continue;
            }
            if let Some(group) = self.groups.get_mut(&name) {
                group.tick(now, &mut self.effects);
                let idle_until = group.empty_since_ms + limits::IDLE_GROUP_KEPT_MS;
                if group.is_idle() && idle_until <= now.mono_ms {
                    self.groups.remove(&name);
                    self.effects.persist(Record::Group { group: name, snapshot: None });
                    continue;
                }
            }
            self.reset_timer(&name);
        }
    }

    fn tick_consumers(&mut self, now: Now, name: &str) {
        self.expire_consumers(now, name);
        if self.idle_consumers_end_ms(name).is_some_and(|ends_ms| ends_ms <= now.mono_ms) {
            let records = self.consumer_tombstones(now, name);
            self.effects.change(name, records);
        }
        // What was decided here sets the timer when it is accepted; until then it is not repeated.
        match self.next_consumers_ms(name).filter(|next_ms| *next_ms > now.mono_ms) {
            Some(next_ms) => self.timers.set(name, Some(next_ms)),
            None => self.timers.set(name, Some(now.mono_ms + limits::RETRY_MS)),
        }
    }

    /// When a group of the consumer protocol with nothing in it is forgotten.
    fn idle_consumers_end_ms(&self, name: &str) -> Option<u64> {
        let is_empty = self.consumers.get(name).is_some_and(ConsumerGroup::is_empty);
        let held = self.groups.get(name).filter(|held| is_empty && held.is_idle())?;
        Some(held.empty_since_ms + limits::IDLE_GROUP_KEPT_MS)
    }

    fn next_consumers_ms(&self, name: &str) -> Option<u64> {
        let next_ms = self.consumers.get(name).and_then(ConsumerGroup::next_deadline_ms);
        [next_ms, self.idle_consumers_end_ms(name)].into_iter().flatten().min()
    }

    pub(crate) fn reset_timer(&mut self, name: &str) {
        if self.consumers.contains_key(name) {
            let next_ms = self.next_consumers_ms(name);
            return self.timers.set(name, next_ms);
        }
        let Some(group) = self.groups.get(name) else { return self.timers.set(name, None) };
        // Never recorded and nothing in it: as if it had not been.
        if group.is_idle() && group.generation == 0 {
            self.groups.remove(name);
            return self.timers.set(name, None);
        }
        let next = group.next_deadline_ms();
        self.timers.set(name, next);
    }

    // ---- what is kept --------------------------------------------------------------------------

    /// Folds one record into the state: when loading, every record in order; afterwards the offset
    /// commits and deletions that were decided here and appended.
    pub fn apply(&mut self, now: Now, record: Record) {
        let name = match record {
            Record::Offset { group, topic, partition, committed: Some(committed) } => {
                let place = (group, topic, partition);
                self.pending.supersede_all(&place);
                return self.put_offset(now, place, committed);
            }
            Record::Offset { group, topic, partition, committed: None } => {
                let place = (group, topic, partition);
                self.pending.supersede_all(&place);
                let (group, topic, partition) = place;
                if let Some(held) = self.groups.get_mut(&group) {
                    held.offsets.remove(&(topic, partition));
                }
                group
            }
            Record::Group { group, snapshot: Some(snapshot) } => {
                self.consumers.remove(&group);
                let held = self.groups.entry(group.clone());
                let held = held.or_insert_with(|| Group::new(&group, now.mono_ms));
                held.load(snapshot, now.mono_ms);
                group
            }
            Record::Group { group, snapshot: None } => {
                if let Some(held) = self.groups.get_mut(&group) {
                    held.forget_membership(now, &mut self.effects);
                }
                group
            }
            Record::Consumer { group, change } => {
                self.apply_consumer(now, &group, change);
                group
            }
        };
        self.reset_timer(&name);
    }

    pub(crate) fn put_offset(
        &mut self,
        now: Now,
        (group, topic, partition): (String, String, i32),
        committed: Committed,
    ) {
        let held = self.groups.entry(group.clone());
        let held = held.or_insert_with(|| Group::new(&group, now.mono_ms));
        held.offsets.insert((topic, partition), committed);
        self.reset_timer(&group);
    }

    /// The records that delete a group, also one of which there is only what is pending; changes
    /// nothing.
    pub fn decide_delete(&mut self, now: Now, name: &str) -> Result<Vec<Record>, GroupRefused> {
        let Some(group) = self.groups.get(name) else {
            let records: Vec<Record> = self.pending.tombstones_of(name).collect();
            let nothing = GroupRefused::Other(GroupTrouble::NotFound);
            return if records.is_empty() { Err(nothing) } else { Ok(records) };
        };
        let consumers = self.consumers.get(name);
        if !group.members.is_empty() || consumers.is_some_and(|group| !group.is_empty()) {
            return Err(GroupRefused::Other(GroupTrouble::NotEmpty));
        }
        let mut records = group.offset_tombstones();
        records.extend(self.pending.tombstones_of(name));
        if consumers.is_some() {
            records.extend(self.consumer_tombstones(now, name));
        } else {
            records.push(Record::Group { group: name.to_owned(), snapshot: None });
        }
        Ok(records)
    }

    // ---- what it looks like --------------------------------------------------------------------

    pub fn list(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let among = |named: &[String], what: &str| {
            named.is_empty() || named.iter().any(|name| name.eq_ignore_ascii_case(what))
        };
        let groups = self.groups.values().map(|group| match self.consumers.get(&group.name) {
            Some(consumers) => ListedGroup {
                group: group.name.clone(),
                protocol_type: CONSUMER.to_owned(),
                state: consumers.state(),
                group_type: CONSUMER,
            },
            None => ListedGroup {
                group: group.name.clone(),
                protocol_type: group.protocol_type.clone(),
                state: group.state.name(),
                group_type: CLASSIC,
            },
        });
        let wanted = |listed: &ListedGroup| {
            among(&request.states, listed.state) && among(&request.types, listed.group_type)
        };
        groups.filter(wanted).collect()
    }

    /// The group, or one in state `Dead` when there is none or its members speak the consumer protocol.
    pub fn describe(&self, name: &str) -> DescribedGroup {
        let classic = self.groups.get(name).filter(|_| !self.consumers.contains_key(name));
        classic.map_or_else(
            || DescribedGroup {
                group: name.to_owned(),
                state: "Dead",
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            },
            Group::describe,
        )
    }
}

fn no_such_group(name: &str) -> GroupRefused {
    if name.is_empty() { GroupRefused::InvalidGroup } else { GroupRefused::UnknownMember }
}

/// `prefix` and a version 4 UUID made of `fresh`.
pub(crate) fn member_id(prefix: &str, mut fresh: [u8; 16]) -> String {
    fresh[6] = fresh[6] & 0x0f | 0x40;
    fresh[8] = fresh[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(fresh);
    let cut = prefix.floor_char_boundary(limits::MEMBER_ID_PREFIX_BYTES_MAX);
    let dash = if cut == 0 { "" } else { "-" };
    format!(
        "{}{dash}{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        &prefix[..cut],
        number >> 96,
        number >> 80 & 0xffff,
        number >> 64 & 0xffff,
        number >> 48 & 0xffff,
        number & 0xffff_ffff_ffff,
    )
}
