//! From one protocol to the other while a group has members (`group.consumer.migration.policy`).
//!
//! Upgrade: when the first member of the consumer protocol joins a classic group of consumers, its members
//! become classic members of a consumer group with what they have as their target; the group epoch goes on
//! from the generation. What a member said that it owns and was not given again is its own until it joins
//! without it: it may not know yet that it must give that up. Downgrade: when the last of them is gone, the classic members are a classic group
//! again, whose generation goes on from the group epoch, and which rebalances at once.

use std::collections::BTreeSet;

use super::{
    AboutMember, ClassicMember, ConsumerGroup, ConsumerRecord, CurrentAssignment, Draft,
    GroupEpoch, MemberState,
};
use crate::embedded::{Assignment, CONSUMER, Subscription, by_id, encode_assignment};
use crate::group::Group;
use crate::{GroupRefused, GroupSnapshot, GroupTrouble, MemberSnapshot, Partitions};

/// What a classic member was given, and what it said that it owned when it joined.
struct Has {
    assigned: Partitions,
    owned: Partitions,
}

const REFUSED: GroupRefused = GroupRefused::Other(GroupTrouble::NotFound);

impl Draft<'_> {
    /// Fills a group that is being made from a classic one. Refused as if there were no such group where
    /// it cannot be converted.
    pub(crate) fn upgrade(&mut self, classic: &Group) -> Result<(), GroupRefused> {
        let config = &self.set.config.consumer;
        let fits = classic.members.len() <= config.group_size_max;
        if !config.migration.upgrades() || classic.protocol_type != CONSUMER || !fits {
            return Err(REFUSED);
        }
        let epoch = classic.generation;
        let mut taken = BTreeSet::new();
        let mut members = Vec::new();
        for (id, member) in &classic.members {
            let (about, mut has) = self.convert(classic, member)?;
            // A leader may have given a partition to two: the first keeps it.
            has.assigned = has.assigned.iter().filter(|at| taken.insert(*at)).collect();
            members.push((id.clone(), about, has));
        }
        for (id, about, _) in &mut members {
            let about = Some(std::mem::take(about));
            self.change(ConsumerRecord::Member { id: id.clone(), about });
        }
        self.change(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash: 0 })));
        for (id, _, has) in &members {
            let partitions = Some(has.assigned.clone());
            self.change(ConsumerRecord::Target { id: id.clone(), partitions });
        }
        self.change(ConsumerRecord::TargetEpoch(Some(epoch)));
        for (id, _, Has { assigned, owned }) in members {
            let revoking: Partitions = owned.iter().filter(|at| taken.insert(*at)).collect();
            let gives_up = !revoking.is_empty();
            let current = CurrentAssignment {
                epoch,
                previous_epoch: epoch,
                state: if gives_up { MemberState::Unrevoked } else { MemberState::Stable },
                assigned,
                revoking,
            };
            self.change(ConsumerRecord::Current { id, current: Some(current) });
        }
        Ok(())
    }

    fn convert(
        &self,
        classic: &Group,
        member: &crate::member::Member,
    ) -> Result<(AboutMember, Has), GroupRefused> {
        let chosen = classic.protocol.clone().or_else(|| Some(member.protocols.first()?.0.clone()));
        let metadata = member.metadata(&chosen.unwrap_or_default());
        let said = Subscription::decode(&metadata).map_err(|_| REFUSED)?;
        let has = Assignment::decode(&member.assignment).map_err(|_| REFUSED)?;
        if has.has_user_data {
            // Of an assignor that the server does not know.
            return Err(REFUSED);
        }
        let (assigned, owned) =
            (by_id(&has.partitions, self.set.topics), by_id(&said.owned, self.set.topics));
        let snapshot = member.snapshot("", "");
        let about = AboutMember {
            instance_id: snapshot.instance_id,
            rack_id: said.rack_id,
            client_id: snapshot.client_id,
            client_host: snapshot.client_host,
            topics: said.topics.into_iter().collect(),
            regex: None,
            rebalance_timeout_ms: snapshot.rebalance_timeout_ms,
            assignor: None,
            classic: Some(ClassicMember {
                session_timeout_ms: snapshot.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
        };
        Ok((about, Has { assigned, owned }))
    }

    /// Whether the group is to be a classic one again when these have left.
    pub(crate) fn may_downgrade(&self, leaving: &[String]) -> bool {
        let rest = self.group.members.len() - leaving.len().min(self.group.members.len());
        self.set.config.consumer.migration.downgrades()
            && rest <= self.set.config.classic_group_size_max
            && self.group.is_classic_without(leaving)
            && self.group.common_protocol(leaving).is_some()
    }

    /// The classic group that is left when these have left.
    pub(crate) fn downgraded(&self, leaving: &[String]) -> GroupSnapshot {
        let protocol = self.group.common_protocol(leaving);
        let rest = self.group.members.iter().filter(|(id, _)| !leaving.contains(id));
        let members = rest.filter_map(|(id, member)| {
            let classic = member.about.classic.as_ref()?;
            let offered =
                classic.protocols.iter().find(|(name, _)| Some(name) == protocol.as_ref());
            let (_, subscription) = offered?;
            let version = Subscription::decode(subscription).map_or(0, |said| said.version);
            Some(MemberSnapshot {
                member_id: id.clone(),
                instance_id: member.about.instance_id.clone(),
                client_id: member.about.client_id.clone(),
                client_host: member.about.client_host.clone(),
                rebalance_timeout_ms: member.about.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                subscription: subscription.clone(),
                assignment: encode_assignment(&self.group.target(id), self.set.topics, version),
            })
        });
        GroupSnapshot {
            protocol_type: CONSUMER.to_owned(),
            generation: self.group.epoch(),
            members: members.collect(),
            protocol,
            // Nobody leads: the members have to join again.
            leader: None,
            state_timestamp_ms: self.set.now.wall_ms,
        }
    }
}

impl ConsumerGroup {
    /// The first protocol of the first that all others offer, too.
    fn common_protocol(&self, leaving: &[String]) -> Option<String> {
        let rest = self.members.iter().filter(|(id, _)| !leaving.contains(id));
        let rest: Vec<&ClassicMember> =
            rest.filter_map(|(_, member)| member.about.classic.as_ref()).collect();
        let offers = |member: &ClassicMember, name: &str| {
            member.protocols.iter().any(|(offered, _)| offered == name)
        };
        let first = rest.first()?.protocols.iter().map(|(name, _)| name);
        first.into_iter().find(|name| rest.iter().all(|other| offers(other, name))).cloned()
    }
}
