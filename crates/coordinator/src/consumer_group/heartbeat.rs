//! ConsumerGroupHeartbeat: joining, staying, leaving.
//!
//! A member joins with epoch 0 and stays with the epoch that it was last told. Its heartbeats say what has
//! changed of its subscription and what it owns; the answers say what it may own when that has changed, and
//! in answer to a full heartbeat (one that says everything).

use std::collections::BTreeSet;

use super::reconcile::Step;
use super::{
    AboutMember, ConsumerGroup, ConsumerRecord, CurrentAssignment, Draft, JOINING, LEAVING,
    LEAVING_FOR_A_WHILE, MemberState,
};
use crate::{
    AssignorName, Beat, ConsumerHeartbeat, ConsumerTrouble, GroupRefused, GroupsConfig, Now,
    Partitions, TopicId, Topics, limits,
};

/// What a decision about a group may look at besides the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) now: Now,
    pub(crate) name: &'a str,
    pub(crate) config: &'a GroupsConfig,
    pub(crate) topics: &'a Topics,
    /// The session timeout of the group's members.
    pub(crate) session_ms: u64,
}

/// Refuses what no group could take.
pub(crate) fn check(
    request: &ConsumerHeartbeat,
    config: &GroupsConfig,
) -> Result<(), GroupRefused> {
    let invalid = |why: &str| Err(ConsumerTrouble::InvalidRequest(why.to_owned()).into());
    let needs_id = request.brings_member_id || request.epoch > 0 || request.epoch == LEAVING;
    let empty = |text: &Option<String>| text.as_deref() == Some("");
    if needs_id && request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match request.epoch {
        JOINING if request.rebalance_timeout_ms.is_none() => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        JOINING if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        JOINING if request.topics.is_none() && request.regex.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                 (re-)joining.",
            );
        }
        LEAVING_FOR_A_WHILE if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        epoch if epoch < LEAVING_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(name) = &request.assignor
        && !AssignorName::of(name).is_some_and(|known| config.consumer.assignors.contains(&known))
    {
        return Err(ConsumerTrouble::UnsupportedAssignor(name.clone()).into());
    }
    let texts = [Some(&request.group), Some(&request.member_id), Some(&request.client_id)];
    let optional = [&request.instance_id, &request.rack_id, &request.regex].map(Option::as_ref);
    let topics = request.topics.iter().flatten().map(Some);
    let fit = texts.into_iter().chain(optional).chain(topics).flatten();
    if fit.into_iter().any(|text| text.len() > limits::NAME_BYTES_MAX) {
        return invalid("A name is too long.");
    }
    Ok(())
}

impl Draft<'_> {
    /// Takes a heartbeat that does not leave; `fresh_id` is for a member that brings none.
    pub(crate) fn beat(
        &mut self,
        mut request: ConsumerHeartbeat,
        fresh_id: String,
    ) -> Result<Beat, GroupRefused> {
        if request.member_id.is_empty() {
            request.member_id = fresh_id;
        }
        let id = request.member_id.clone();
        self.check_room(&id)?;
        self.admit(&request)?;
        let is_full = request.rebalance_timeout_ms.is_some()
            && (request.topics.is_some() || request.regex.is_some())
            && request.owned.is_some();
        let wants_assignment = request.epoch == JOINING || is_full;
        let before = self.group.members.get(&id).map(|member| member.current.assigned.clone());
        let owned = request.owned.take();
        let about = self.group.about_after(&id, request);
        let changed = self.subscribe(&id, about)?;
        self.update_target();
        self.reconcile(&id, owned.as_ref(), changed);
        let current = &self.group.members[&id].current;
        let assigned = &current.assigned;
        let shown = wants_assignment || before.unwrap_or_default() != *assigned;
        Ok(Beat {
            member_id: id.clone(),
            epoch: current.epoch,
            heartbeat_interval_ms: self.set.config.heartbeat_interval_ms(self.set.name),
            assignment: shown.then(|| assigned.clone()),
        })
    }

    pub(super) fn check_room(&self, id: &str) -> Result<(), GroupRefused> {
        let full = self.group.members.len() >= self.set.config.consumer.group_size_max;
        if full && !self.group.members.contains_key(id) { Err(GroupRefused::Full) } else { Ok(()) }
    }

    /// Finds the member that speaks, or lets it in under its instance's or its own id.
    fn admit(&mut self, request: &ConsumerHeartbeat) -> Result<(), GroupRefused> {
        let id = &request.member_id;
        let joins = request.epoch == JOINING;
        let holder =
            request.instance_id.as_ref().map(|instance| self.group.statics.get(instance).cloned());
        match holder {
            None | Some(None) if joins => return Ok(()),
            None if !self.group.members.contains_key(id) => {
                return Err(GroupRefused::UnknownMember);
            }
            None => {}
            Some(None) => return Err(GroupRefused::UnknownMember),
            // The same member again, whose first answer was lost or who starts over: its id is its
            // own for as long as it runs.
            Some(Some(holder)) if holder == *id => {}
            Some(Some(holder)) if joins => {
                let held = &self.group.members[&holder];
                if held.about.classic.is_none() && held.current.epoch != LEAVING_FOR_A_WHILE {
                    return Err(ConsumerTrouble::UnreleasedInstance { holder }.into());
                }
                self.replace(&holder, id);
                return Ok(());
            }
            Some(Some(_)) => return Err(GroupRefused::FencedInstance),
        }
        let current = &self.group.members[id].current;
        check_epoch(request.epoch, request.owned.as_ref(), current)
    }

    /// The member takes the place of the one that held its instance id, with its assignment.
    pub(super) fn replace(&mut self, holder: &str, id: &str) {
        let member = self.group.members[holder].clone();
        let target = self.group.target(holder);
        self.remove(holder);
        let id = || id.to_owned();
        self.change(ConsumerRecord::Member { id: id(), about: Some(member.about) });
        self.change(ConsumerRecord::Target { id: id(), partitions: Some(target) });
        let (epoch, previous_epoch) = (JOINING, JOINING);
        let current = CurrentAssignment { epoch, previous_epoch, ..member.current };
        self.change(ConsumerRecord::Current { id: id(), current: Some(current) });
    }

    fn remove(&mut self, id: &str) {
        let id = || id.to_owned();
        self.change(ConsumerRecord::Current { id: id(), current: None });
        self.change(ConsumerRecord::Target { id: id(), partitions: None });
        self.change(ConsumerRecord::Member { id: id(), about: None });
    }

    /// Keeps what the member says of itself, and makes the group epoch grow when that or the topics'
    /// state asks for it; returns whether the member's own subscription changed.
    pub(super) fn subscribe(&mut self, id: &str, about: AboutMember) -> Result<bool, GroupRefused> {
        let before = self.group.members.get(id).map(|member| member.about.clone());
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        let new_regex = about.regex.clone().filter(|_| about.regex != before.regex);
        let changed = about.topics != before.topics || about.regex != before.regex;
        if let Some(regex) = new_regex {
            super::regex::resolve(&regex, self.set.topics, self.set.now)?;
        }
        if is_new || about != before {
            self.check_size(id, &about)?;
            self.change(ConsumerRecord::Member { id: id.to_owned(), about: Some(about) });
        }
        let must = changed || is_new || self.group.epoch() == 0;
        if must || self.group.topics_seen != self.set.topics.version() {
            self.refresh_regexes();
            self.bump_epoch(must);
            self.group.topics_seen = self.set.topics.version();
        }
        Ok(changed)
    }

    /// What members say of themselves is limited, each and together.
    fn check_size(&self, id: &str, about: &AboutMember) -> Result<(), GroupRefused> {
        let others = self.group.members.iter().filter(|(other, _)| *other != id);
        let others: usize = others.map(|(_, member)| member.about.bytes()).sum();
        let bytes = about.bytes();
        if bytes > limits::MEMBER_METADATA_BYTES_MAX || others + bytes > limits::GROUP_BYTES_MAX {
            return Err(GroupRefused::Full);
        }
        Ok(())
    }

    /// Takes the member a step towards its target.
    pub(super) fn reconcile(&mut self, id: &str, owned: Option<&Partitions>, changed: bool) {
        let group = &*self.group;
        let current = &group.members[id].current;
        let target_epoch = group.target_epoch();
        let is_there = current.state == MemberState::Stable && current.epoch == target_epoch;
        if is_there && !changed {
            return;
        }
        let names = group.topics_of(id).into_iter();
        let subscribed: BTreeSet<TopicId> =
            names.filter_map(|name| self.set.topics.facts(name)).map(|facts| facts.id).collect();
        let target = group.target(id).filtered(|topic, _| subscribed.contains(topic));
        let step = Step {
            id,
            target_epoch,
            target: &target,
            owned,
            subscription_changed: changed,
            subscribed: &subscribed,
        };
        let next = group.reconcile(&step);
        if next != *current {
            self.change(ConsumerRecord::Current { id: id.to_owned(), current: Some(next) });
        }
    }

    // ---- leaving -------------------------------------------------------------------------------

    /// Takes a heartbeat that leaves, for good or, of a static member, for a while; returns the id of
    /// the member to be removed.
    pub(crate) fn leave(
        &mut self,
        request: &ConsumerHeartbeat,
    ) -> Result<Option<String>, GroupRefused> {
        let id = &request.member_id;
        match &request.instance_id {
            None if !self.group.members.contains_key(id) => {
                return Err(GroupRefused::UnknownMember);
            }
            None => {}
            Some(instance) => match self.group.statics.get(instance) {
                None => return Err(GroupRefused::UnknownMember),
                Some(holder) if holder != id => return Err(GroupRefused::FencedInstance),
                Some(_) => {}
            },
        }
        if request.instance_id.is_none() || request.epoch != LEAVING_FOR_A_WHILE {
            return Ok(Some(id.clone()));
        }
        let current = CurrentAssignment {
            epoch: LEAVING_FOR_A_WHILE,
            state: MemberState::Stable,
            revoking: Partitions::default(),
            ..self.group.members[id].current.clone()
        };
        self.change(ConsumerRecord::Current { id: id.clone(), current: Some(current) });
        Ok(None)
    }

    /// Members are gone: what they had is free, and the others' target is to be made anew.
    pub(crate) fn remove_members(&mut self, ids: &[String]) {
        for id in ids {
            self.remove(id);
        }
        self.refresh_regexes();
        self.bump_epoch(true);
    }
}

/// Whether the member speaks of its own epoch, or of the one before while it owns nothing that is not
/// its own.
fn check_epoch(
    said: i32,
    owned: Option<&Partitions>,
    current: &CurrentAssignment,
) -> Result<(), GroupRefused> {
    let missed_an_answer = said == current.previous_epoch
        && owned.is_some_and(|owned| owned.is_subset_of(&current.assigned));
    let holds =
        said == JOINING || said == current.epoch || (said < current.epoch && missed_an_answer);
    let known = current.epoch;
    if holds { Ok(()) } else { Err(ConsumerTrouble::FencedEpoch { said, known }.into()) }
}

impl ConsumerGroup {
    /// What is known of a member after this heartbeat: what it does not say stays.
    fn about_after(&self, id: &str, request: ConsumerHeartbeat) -> AboutMember {
        let before = self.members.get(id).map(|member| member.about.clone()).unwrap_or_default();
        AboutMember {
            instance_id: request.instance_id.or(before.instance_id),
            rack_id: request.rack_id.or(before.rack_id),
            client_id: request.client_id,
            client_host: request.client_host,
            topics: request.topics.map_or(before.topics, |topics| topics.into_iter().collect()),
            regex: match request.regex {
                Some(regex) => Some(regex).filter(|regex| !regex.is_empty()),
                None => before.regex,
            },
            rebalance_timeout_ms: request
                .rebalance_timeout_ms
                .unwrap_or(before.rebalance_timeout_ms),
            assignor: request.assignor.or(before.assignor),
            classic: None,
        }
    }
}

impl AboutMember {
    fn bytes(&self) -> usize {
        let classic = self.classic.as_ref().map_or(0, |classic| {
            let protocols = classic.protocols.iter();
            protocols.map(|(name, metadata)| name.len() + metadata.len()).sum()
        });
        let topics: usize = self.topics.iter().map(String::len).sum();
        topics + self.regex.as_ref().map_or(0, String::len) + classic
    }
}
