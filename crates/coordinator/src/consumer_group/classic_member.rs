//! Members that speak the classic protocol in a group of the consumer protocol: their joins, syncs and
//! heartbeats are translated (KIP-848, online migration).
//!
//! To such a member its epoch is the generation, and the server is the leader. A join says what the member
//! owns and is a step towards its target; the sync that follows gives it what it may have. A heartbeat
//! answers REBALANCE_IN_PROGRESS when there is another step to be taken, for which the member joins
//! again within its rebalance timeout. A member that was removed and joins with what it owned is told, as in
//! a classic group; Kafka lets it in, and it uses what others have until its sync is answered.

use super::{ClassicMember, ConsumerGroup, Draft, Member, MemberState};
use crate::config::positive;
use crate::embedded::{CONSUMER, Subscription, by_id, encode_assignment};
use crate::{GroupRefused, JoinGroup, Joined, Now, SyncGroup, Synced, Topics};

impl Draft<'_> {
    /// Takes the join of a classic member, in an id that it has or is given.
    pub(crate) fn join_classic(
        &mut self,
        request: JoinGroup,
        fresh_id: String,
    ) -> Result<Joined, GroupRefused> {
        let brings_id = !request.member_id.is_empty();
        let id = if brings_id { request.member_id.clone() } else { fresh_id };
        self.check_room(&id)?;
        if !self.group.supports(&id, &request) {
            return Err(GroupRefused::InconsistentProtocol);
        }
        if !brings_id && request.instance_id.is_none() && request.require_known_member_id {
            return Err(GroupRefused::MemberIdRequired { member_id: id });
        }
        if let Some(instance) = &request.instance_id {
            match self.group.statics.get(instance).cloned() {
                None if brings_id => return Err(GroupRefused::UnknownMember),
                None => {}
                Some(holder) if !brings_id => self.replace(&holder, &id),
                Some(holder) if holder != id => return Err(GroupRefused::FencedInstance),
                Some(_) => {}
            }
        }
        let offered = request.protocols.first().map(|(_, metadata)| metadata.clone());
        let said = Subscription::decode(&offered.unwrap_or_default())
            .map_err(|_| GroupRefused::InconsistentProtocol)?;
        let owned = by_id(&said.owned, self.set.topics);
        // Removed, it may not know that what it owns is somebody else's by now.
        if brings_id && !owned.is_empty() && !self.group.members.contains_key(&id) {
            return Err(GroupRefused::UnknownMember);
        }
        let mut about =
            self.group.members.get(&id).map(|member| member.about.clone()).unwrap_or_default();
        let protocol = request.protocols[0].0.clone();
        about.instance_id = request.instance_id.or(about.instance_id);
        about.rack_id = said.rack_id.or(about.rack_id);
        about.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
        about.topics = said.topics.into_iter().collect();
        about.regex = None;
        about.client_id = request.client_id;
        about.client_host = request.client_host;
        about.classic = Some(ClassicMember {
            session_timeout_ms: request.session_timeout_ms,
            // Copies, for a request's bytes are part of its whole frame and would keep that.
            protocols: request
                .protocols
                .into_iter()
                .map(|(name, metadata)| (name, bytes::Bytes::copy_from_slice(&metadata)))
                .collect(),
        });
        let changed = self.subscribe(&id, about)?;
        self.update_target();
        self.reconcile(&id, Some(&owned), changed);
        Ok(Joined {
            generation: self.group.members[&id].current.epoch,
            protocol_type: CONSUMER.to_owned(),
            protocol,
            leader: String::new(),
            member_id: id,
            members: Vec::new(),
            skip_assignment: false,
        })
    }
}

impl ConsumerGroup {
    /// Whether all classic members could work with one of these protocols.
    fn supports(&self, id: &str, request: &JoinGroup) -> bool {
        let others = || {
            let others = self.members.iter().filter(|(other, _)| *other != id);
            others.filter_map(|(_, member)| member.about.classic.as_ref())
        };
        let has = |classic: &ClassicMember, name: &str| {
            classic.protocols.iter().any(|(offered, _)| offered == name)
        };
        request.protocol_type == CONSUMER
            && request.protocols.iter().any(|(name, _)| others().all(|other| has(other, name)))
    }

    /// Whether all members but these speak the classic protocol, and there are such.
    pub(super) fn is_classic_without(&self, leaving: &[String]) -> bool {
        let mut rest = self.members.iter().filter(|(id, _)| !leaving.contains(id)).peekable();
        rest.peek().is_some() && rest.all(|(_, member)| member.about.classic.is_some())
    }

    /// The classic member that speaks, if it is one, of this generation.
    fn classic_member(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<&Member, GroupRefused> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(GroupRefused::UnknownMember),
                Some(holder) if holder != id => return Err(GroupRefused::FencedInstance),
                Some(_) => {}
            }
        }
        let member = self.members.get(id).filter(|member| member.about.classic.is_some());
        let member = member.ok_or(GroupRefused::UnknownMember)?;
        if member.current.epoch != generation {
            return Err(GroupRefused::IllegalGeneration);
        }
        Ok(member)
    }

    pub(crate) fn sync_classic(
        &mut self,
        now: Now,
        request: &SyncGroup,
        topics: &Topics,
    ) -> Result<Synced, GroupRefused> {
        let (id, instance) = (&request.member_id, request.instance_id.as_deref());
        let member = self.classic_member(id, instance, request.generation)?;
        let classic = member.about.classic.as_ref().expect("found as a classic member");
        let (protocol, metadata) =
            classic.protocols.first().cloned().ok_or(GroupRefused::InconsistentProtocol)?;
        let differs = |said: &Option<String>, held: &str| said.as_ref().is_some_and(|s| s != held);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, &protocol) {
            return Err(GroupRefused::InconsistentProtocol);
        }
        let is_late =
            self.epoch() > member.current.epoch && member.current.state != MemberState::Unrevoked;
        if is_late {
            self.expect_join(now, id);
            return Err(GroupRefused::Rebalancing);
        }
        let version = Subscription::decode(&metadata).map_or(0, |said| said.version);
        let assignment = encode_assignment(&member.current.assigned, topics, version);
        let member = self.members.get_mut(id).expect("found above");
        member.deadlines.sync_ms = None;
        member.touch(now, 0);
        Ok(Synced { protocol_type: CONSUMER.to_owned(), protocol, assignment })
    }

    pub(crate) fn heartbeat_classic(
        &mut self,
        now: Now,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupRefused> {
        let member = self.classic_member(id, instance, generation)?;
        let current = &member.current;
        let next_step = match current.state {
            _ if current.epoch < self.epoch() => true,
            MemberState::Unrevoked | MemberState::Unknown => true,
            MemberState::Unreleased => !self.waits_for_others(id, member),
            MemberState::Stable => false,
        };
        self.touch(now, 0, id);
        if next_step {
            self.expect_join(now, id);
            return Err(GroupRefused::Rebalancing);
        }
        Ok(())
    }

    fn waits_for_others(&self, id: &str, member: &Member) -> bool {
        let missing = |(topic, partition): (crate::TopicId, i32)| {
            !member.current.assigned.has(&topic, partition)
                && !self.is_free_for(topic, partition, id)
        };
        self.target(id).iter().any(missing)
    }

    /// The member has been told to join again, and has its rebalance timeout for that.
    fn expect_join(&mut self, now: Now, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            let ends_ms = now.mono_ms + positive(member.about.rebalance_timeout_ms);
            member.deadlines.join_ms.get_or_insert(ends_ms);
        }
    }

    /// The member's join has been kept: it is to ask for its assignment.
    pub(crate) fn expect_sync(&mut self, now: Now, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.deadlines.join_ms = None;
            member.deadlines.sync_ms =
                Some(now.mono_ms + positive(member.about.rebalance_timeout_ms));
            member.touch(now, 0);
        }
    }

    /// The ids that a LeaveGroup names, each or why not.
    pub(crate) fn leaver(&self, id: &str, instance: Option<&str>) -> Result<String, GroupRefused> {
        let found = match instance {
            None => self.members.contains_key(id).then(|| id.to_owned()),
            Some(instance) => match self.statics.get(instance) {
                Some(holder) if !id.is_empty() && holder != id => {
                    return Err(GroupRefused::FencedInstance);
                }
                holder => holder.cloned(),
            },
        };
        found.ok_or(GroupRefused::UnknownMember)
    }
}
