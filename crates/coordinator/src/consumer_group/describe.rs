//! What a group of the consumer protocol looks like from outside.

use super::{ConsumerGroup, Draft, LEAVING, Member, MemberState};
use crate::{
    CommitOffsets, ConsumerMember, ConsumerRecord, ConsumerTrouble, DescribedConsumerGroup,
    GroupRefused, GroupsConfig, NamedPartitions, Partitions, Topics,
};

impl ConsumerGroup {
    /// Kafka's name of the group's state.
    pub(crate) fn state(&self) -> &'static str {
        let target_epoch = self.target_epoch();
        let is_there = |member: &Member| {
            member.current.state == MemberState::Stable && member.current.epoch == target_epoch
        };
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch() > target_epoch {
            "Assigning"
        } else if self.members.values().all(is_there) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub(crate) fn describe(
        &self,
        name: &str,
        config: &GroupsConfig,
        topics: &Topics,
    ) -> DescribedConsumerGroup {
        let named = |partitions: &Partitions| -> NamedPartitions {
            let there = partitions.by_topic().filter_map(|(id, numbers)| {
                let name = topics.name_of(id)?.to_owned();
                Some((*id, name, numbers.iter().copied().collect()))
            });
            there.collect()
        };
        let member = |(id, member): (&String, &Member)| ConsumerMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            about: member.about.clone(),
            assigned: named(&member.current.assigned),
            target: named(&self.target(id)),
        };
        DescribedConsumerGroup {
            group: name.to_owned(),
            state: self.state(),
            epoch: self.epoch(),
            target_epoch: self.target_epoch(),
            assignor: self.assignor(config.default_assignor()).name(),
            members: self.members.iter().map(member).collect(),
        }
    }

    // ---- who may commit and fetch --------------------------------------------------------------

    pub(crate) fn may_commit(&self, request: &CommitOffsets) -> Result<(), GroupRefused> {
        if request.generation <= LEAVING && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&request.member_id).ok_or(GroupRefused::UnknownMember)?;
        if member.about.classic.is_none() && !request.knows_epochs {
            return Err(ConsumerTrouble::VersionTooOld.into());
        }
        member.check_epoch(request.generation)
    }

    pub(crate) fn may_fetch(&self, member: Option<&(String, i32)>) -> Result<(), GroupRefused> {
        let Some((id, epoch)) = member else { return Ok(()) };
        let member = self.members.get(id).ok_or(GroupRefused::UnknownMember)?;
        member.check_epoch(*epoch)
    }
}

impl Member {
    fn check_epoch(&self, said: i32) -> Result<(), GroupRefused> {
        let known = self.current.epoch;
        if said == known {
            Ok(())
        } else if self.about.classic.is_some() {
            Err(GroupRefused::IllegalGeneration)
        } else {
            Err(ConsumerTrouble::StaleEpoch { said, known }.into())
        }
    }
}

impl Draft<'_> {
    /// Takes away everything that is kept of the group.
    pub(crate) fn remove_all(&mut self) {
        let ids: Vec<String> = self.group.members.keys().cloned().collect();
        let with_targets: Vec<String> = self.group.targets.keys().cloned().collect();
        for id in &ids {
            self.change(ConsumerRecord::Current { id: id.clone(), current: None });
        }
        for id in with_targets {
            self.change(ConsumerRecord::Target { id, partitions: None });
        }
        self.change(ConsumerRecord::TargetEpoch(None));
        for id in ids {
            self.change(ConsumerRecord::Member { id, about: None });
        }
        let regexes: Vec<String> = self.group.regexes.keys().cloned().collect();
        for regex in regexes {
            self.change(ConsumerRecord::Regex { regex, resolved: None });
        }
        self.change(ConsumerRecord::Epoch(None));
    }
}
