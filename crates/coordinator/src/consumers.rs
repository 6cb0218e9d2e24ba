//! The coordinator's side of groups of the consumer protocol: which group it is, what becomes of the
//! decision, and how members of both protocols meet.
//!
//! A decision changes nothing: its records are an effect, and count when the owner has appended them and
//! gives them back ([`Coordinator::accept`]). The answer that depends on them follows.

use crate::consumer_group::{ConsumerGroup, Draft, Setting, check};
use crate::coordinator::{Change, Coordinator, member_id};
use crate::group::Group;
use crate::{
    Beat, ConsumerHeartbeat, ConsumerRecord, DescribedConsumerGroup, GroupRefused, GroupTrouble,
    Heartbeat, JoinGroup, LeaveGroup, LeftMember, Now, Record, SyncGroup, Synced, Waiter, limits,
};

/// What a decision about a group may look at; the group itself is borrowed beside it.
macro_rules! setting {
    ($coordinator:expr, $now:expr, $name:expr) => {
        Setting {
            now: $now,
            name: $name,
            config: &$coordinator.config,
            topics: &$coordinator.topics,
            session_ms: ConsumerGroup::setting_ms(&$coordinator.config, $name),
        }
    };
}

/// An answer, and the records that make it true.
type Decided = (Beat, Vec<Record>);

impl Coordinator {
    pub(crate) fn consumer_group(&self, name: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(name)
    }

    /// A member of the consumer protocol joins, stays or leaves. `fresh` is random: the id of a new
    /// member that brings none.
    pub fn consumer_heartbeat(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: ConsumerHeartbeat,
        fresh: [u8; 16],
    ) {
        let name = request.group.clone();
        let is_new = request.epoch == 0;
        let decided = check(&request, &self.config).and_then(|()| {
            if request.epoch < 0 {
                self.decide_leave(now, &request)
            } else {
                self.decide_beat(now, request, fresh)
            }
        });
        let decided = decided.and_then(|(answer, records)| {
            self.take_memory_for(now, &name, &records).map_err(|refused| match is_new {
                true => GroupRefused::Full,
                false => refused,
            })?;
            Ok((answer, records))
        });
        match decided {
            Err(refused) => self.effects.beaten(waiter, Err(refused)),
            Ok((answer, records)) => {
                if let Some(group) = self.consumers.get_mut(&name) {
                    let session_ms = ConsumerGroup::setting_ms(&self.config, &name);
                    if answer.epoch >= 0 {
                        group.touch(now, session_ms, &answer.member_id);
                    }
                }
                self.effects.change(&name, records);
                self.effects.beaten(waiter, Ok(answer));
            }
        }
    }

    /// Refuses a decision whose records would keep more than there is room for.
    fn take_memory_for(
        &mut self,
        now: Now,
        name: &str,
        records: &[Record],
    ) -> Result<(), GroupRefused> {
        let bytes = self.grows_by_records(name, records);
        if bytes == 0 {
            return Ok(());
        }
        let taken = self.take_memory_of_member(now, bytes);
        if taken.is_err()
            && let Some(group) = self.consumers.get_mut(name)
        {
            group.not_kept();
        }
        taken
    }

    fn decide_beat(
        &mut self,
        now: Now,
        request: ConsumerHeartbeat,
        fresh: [u8; 16],
    ) -> Result<Decided, GroupRefused> {
        let name = request.group.clone();
        let set = setting!(self, now, &name);
        if let Some(group) = self.consumers.get_mut(&name) {
            let mut draft = Draft::new(group, &set);
            let answer = draft.beat(request, member_id("", fresh))?;
            return Ok((answer, of_consumers(&name, draft.finish())));
        }
        let classic = self.groups.get(&name);
        if request.epoch != 0 {
            return Err(GroupRefused::Other(GroupTrouble::NotFound));
        }
        if classic.is_none() && self.groups.len() >= limits::GROUPS_MAX {
            return Err(GroupRefused::Full);
        }
        let mut fresh_group = ConsumerGroup::default();
        let mut draft = Draft::new(&mut fresh_group, &set);
        let mut records = Vec::new();
        if let Some(classic) = classic {
            if !classic.members.is_empty() {
                draft.upgrade(classic)?;
            }
            records.extend(classic.tombstone());
        }
        let answer = draft.beat(request, member_id("", fresh))?;
        records.extend(of_consumers(&name, draft.finish()));
        Ok((answer, records))
    }

    fn decide_leave(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
    ) -> Result<Decided, GroupRefused> {
        let name = &request.group;
        let set = setting!(self, now, name);
        let group = self.consumers.get_mut(name);
        let group = group.ok_or(GroupRefused::Other(GroupTrouble::NotFound))?;
        let mut draft = Draft::new(group, &set);
        let gone = draft.leave(request)?;
        let answer = Beat {
            member_id: request.member_id.clone(),
            epoch: request.epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        let records = match gone {
            Some(id) => remove(draft, name, &[id]),
            None => of_consumers(name, draft.finish()),
        };
        Ok((answer, records))
    }

    /// Members whose time is over are removed.
    pub(crate) fn expire_consumers(&mut self, now: Now, name: &str) {
        let set = setting!(self, now, name);
        let Some(group) = self.consumers.get_mut(name) else { return };
        let expired = group.expired(now);
        if expired.is_empty() {
            return;
        }
        let records = remove(Draft::new(group, &set), name, &expired);
        self.effects.change(name, records);
    }

    /// The tombstones of all that is kept of a group of the consumer protocol.
    pub(crate) fn consumer_tombstones(&mut self, now: Now, name: &str) -> Vec<Record> {
        let set = setting!(self, now, name);
        let Some(group) = self.consumers.get_mut(name) else { return Vec::new() };
        let mut draft = Draft::new(group, &set);
        draft.remove_all();
        of_consumers(name, draft.finish())
    }

    pub(crate) fn apply_consumer(&mut self, now: Now, name: &str, change: ConsumerRecord) {
        let session_ms = ConsumerGroup::setting_ms(&self.config, name);
        let group = self.consumers.entry(name.to_owned()).or_default();
        group.apply(now, session_ms, change);
        let (gone, empty) = (group.is_gone(), group.is_empty());
        if gone {
            self.consumers.remove(name);
        }
        let held = self.groups.entry(name.to_owned());
        let held = held.or_insert_with(|| Group::new(name, now.mono_ms));
        if empty {
            held.empty_since_ms = now.mono_ms;
        }
    }

    /// Applies a change that the log has taken, and does what follows from it.
    pub fn accept(&mut self, now: Now, change: Change) {
        let Change { group: name, records, joined } = change;
        for record in records {
            self.apply(now, record);
        }
        if let (Some(id), Some(group)) = (joined, self.consumers.get_mut(&name)) {
            group.expect_sync(now, &id);
        }
        self.reset_timer(&name);
    }

    pub fn describe_consumers(&self, name: &str) -> Result<DescribedConsumerGroup, GroupRefused> {
        if name.is_empty() {
            return Err(GroupRefused::InvalidGroup);
        }
        let group = self.consumers.get(name);
        let group = group.ok_or(GroupRefused::Other(GroupTrouble::NotFound))?;
        Ok(group.describe(name, &self.config, &self.topics))
    }

    // ---- members of the classic protocol -------------------------------------------------------

    /// Takes a classic member's join if the group is one of the consumer protocol with members.
    pub(crate) fn join_consumers(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: JoinGroup,
        fresh: [u8; 16],
    ) -> Result<(), GroupRefused> {
        let name = request.group.clone();
        let set = setting!(self, now, &name);
        let prefix = request.instance_id.clone().unwrap_or_else(|| request.client_id.clone());
        let group = self.consumers.get_mut(&name).expect("asked for before");
        let mut draft = Draft::new(group, &set);
        let answer = draft.join_classic(request, member_id(&prefix, fresh))?;
        // It may have taken the place of the last member of the consumer protocol.
        let records = if draft.may_downgrade(&[]) {
            downgrade(draft, &name, &[])
        } else {
            of_consumers(&name, draft.finish())
        };
        self.take_memory_for(now, &name, &records)?;
        self.effects.change_by_join(&name, records, answer.member_id.clone());
        self.effects.joined_once_durable(waiter, answer);
        Ok(())
    }

    pub(crate) fn sync_consumers(
        &mut self,
        now: Now,
        request: &SyncGroup,
    ) -> Option<Result<Synced, GroupRefused>> {
        let group = self.consumers.get_mut(&request.group)?;
        Some(group.sync_classic(now, request, &self.topics))
    }

    pub(crate) fn heartbeat_consumers(
        &mut self,
        now: Now,
        request: &Heartbeat,
    ) -> Option<Result<(), GroupRefused>> {
        let group = self.consumers.get_mut(&request.group)?;
        let instance = request.instance_id.as_deref();
        Some(group.heartbeat_classic(now, &request.member_id, instance, request.generation))
    }

    pub(crate) fn leave_consumers(&mut self, now: Now, request: LeaveGroup) -> Vec<LeftMember> {
        let name = request.group;
        let set = setting!(self, now, &name);
        let group = self.consumers.get_mut(&name).expect("asked for before");
        let mut gone = Vec::new();
        let mut left = Vec::new();
        for (member_id, instance_id) in request.members {
            let outcome = group.leaver(&member_id, instance_id.as_deref()).map(|id| {
                if !gone.contains(&id) {
                    gone.push(id);
                }
            });
            left.push(LeftMember { member_id, instance_id, outcome });
        }
        if !gone.is_empty() {
            let records = remove(Draft::new(group, &set), &name, &gone);
            self.effects.change(&name, records);
        }
        left
    }
}

fn of_consumers(name: &str, changes: Vec<ConsumerRecord>) -> Vec<Record> {
    let of = |change| Record::Consumer { group: name.to_owned(), change };
    changes.into_iter().map(of).collect()
}

/// Members leave: the group goes on without them, or is a classic one again.
fn remove(mut draft: Draft<'_>, name: &str, ids: &[String]) -> Vec<Record> {
    if draft.may_downgrade(ids) {
        return downgrade(draft, name, ids);
    }
    draft.remove_members(ids);
    of_consumers(name, draft.finish())
}

fn downgrade(mut draft: Draft<'_>, name: &str, leaving: &[String]) -> Vec<Record> {
    let snapshot = draft.downgraded(leaving);
    draft.remove_all();
    let mut records = of_consumers(name, draft.finish());
    records.push(Record::Group { group: name.to_owned(), snapshot: Some(snapshot) });
    records
}
