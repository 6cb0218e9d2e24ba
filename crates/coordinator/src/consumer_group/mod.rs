//! One group of the consumer protocol (KIP-848): what the log keeps of it, folded.
//!
//! 1. A change of members, subscriptions or subscribed topics makes the *group epoch* grow.
//! 2. When the group epoch is ahead of the *target epoch*, the assignor makes a new target for everyone,
//!    for the next heartbeat of whichever member comes first.
//! 3. Each member is *reconciled* with its target at its own heartbeats: first it gives up what is not its
//!    any more, then its epoch becomes the target's, then it gets what others have given up.
//!
//! Invariants: a partition has at most one owner, which is the member that has it assigned or has not yet
//! said that it gave it up; the group epoch only grows while there is the group; an instance id has at most
//! one member. Deadlines are derived from the records and the time at which they were applied.

use std::collections::BTreeMap;

use crate::config::positive;
use crate::{GroupsConfig, Now, Partitions, TopicId, limits};

mod assignor;
mod classic_member;
mod describe;
mod draft;
mod heartbeat;
mod migration;
mod reconcile;
mod record;
mod regex;
mod target;

pub(crate) use draft::Draft;
pub(crate) use heartbeat::{Setting, check};
pub use record::{
    AboutMember, ClassicMember, ConsumerRecord, CurrentAssignment, GroupEpoch, MemberState,
    ResolvedRegex,
};

/// The epoch with which a member joins, or starts over.
const JOINING: i32 = 0;
/// The epoch with which a member leaves.
const LEAVING: i32 = -1;
/// The epoch of a static member that has left and will come back.
const LEAVING_FOR_A_WHILE: i32 = -2;

#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) about: AboutMember,
    pub(crate) current: CurrentAssignment,
    deadlines: Deadlines,
}

/// When a member counts as gone, for each thing that it has to do in time.
#[derive(Clone, Copy, Debug, Default)]
struct Deadlines {
    session_ms: u64,
    /// To give up partitions.
    revoke_ms: Option<u64>,
    /// Of a classic member: to join again, and to ask for its assignment.
    join_ms: Option<u64>,
    sync_ms: Option<u64>,
}

impl Deadlines {
    fn next_ms(&self) -> u64 {
        let others = [self.revoke_ms, self.join_ms, self.sync_ms].into_iter().flatten();
        others.fold(self.session_ms, u64::min)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    epoch: Option<GroupEpoch>,
    target_epoch: Option<i32>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) targets: BTreeMap<String, Partitions>,
    pub(crate) regexes: BTreeMap<String, ResolvedRegex>,
    /// `group.instance.id` → member id.
    statics: BTreeMap<String, String>,
    /// Who has a partition, or has not yet given it up.
    owners: BTreeMap<(TopicId, i32), String>,
    /// The version of the topics that the group epoch takes into account; 0: not known.
    topics_seen: u64,
}

impl ConsumerGroup {
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch.map_or(0, |epoch| epoch.epoch)
    }

    fn metadata_hash(&self) -> i64 {
        self.epoch.map_or(0, |epoch| epoch.metadata_hash)
    }

    fn target_epoch(&self) -> i32 {
        self.target_epoch.unwrap_or(0)
    }

    fn target(&self, id: &str) -> Partitions {
        self.targets.get(id).cloned().unwrap_or_default()
    }

    /// Whether nothing is kept of the group.
    pub(crate) fn is_gone(&self) -> bool {
        self.epoch.is_none()
            && self.target_epoch.is_none()
            && self.members.is_empty()
            && self.targets.is_empty()
            && self.regexes.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn is_free_for(&self, topic: TopicId, partition: i32, id: &str) -> bool {
        self.owners.get(&(topic, partition)).is_none_or(|owner| owner == id)
    }

    // ---- the fold ------------------------------------------------------------------------------

    pub(crate) fn apply(&mut self, now: Now, setting_ms: u64, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(epoch) => self.epoch = epoch,
            ConsumerRecord::TargetEpoch(epoch) => self.target_epoch = epoch,
            ConsumerRecord::Target { id, partitions: Some(all) } => {
                self.targets.insert(id, all);
            }
            ConsumerRecord::Target { id, partitions: None } => {
                self.targets.remove(&id);
            }
            ConsumerRecord::Regex { regex, resolved: Some(resolved) } => {
                self.regexes.insert(regex, resolved);
            }
            ConsumerRecord::Regex { regex, resolved: None } => {
                self.regexes.remove(&regex);
            }
            ConsumerRecord::Member { id, about: Some(about) } => {
                self.put_member(now, setting_ms, id, about);
            }
            ConsumerRecord::Member { id, about: None } => self.remove_member(&id),
            ConsumerRecord::Current { id, current: Some(current) } => {
                self.put_current(now, setting_ms, id, current);
            }
            // The record of the member itself follows, which takes it away.
            ConsumerRecord::Current { id, current: None } => {
                if self.members.contains_key(&id) {
                    self.put_current(now, setting_ms, id, CurrentAssignment::default());
                }
            }
        }
    }

    /// What would take a record back: the value that it replaces.
    fn before(&self, record: &ConsumerRecord) -> ConsumerRecord {
        let member = |id: &String| self.members.get(id);
        match record {
            ConsumerRecord::Epoch(_) => ConsumerRecord::Epoch(self.epoch),
            ConsumerRecord::TargetEpoch(_) => ConsumerRecord::TargetEpoch(self.target_epoch),
            ConsumerRecord::Target { id, .. } => {
                let partitions = self.targets.get(id).cloned();
                ConsumerRecord::Target { id: id.clone(), partitions }
            }
            ConsumerRecord::Regex { regex, .. } => {
                let resolved = self.regexes.get(regex).cloned();
                ConsumerRecord::Regex { regex: regex.clone(), resolved }
            }
            ConsumerRecord::Member { id, .. } => {
                let about = member(id).map(|member| member.about.clone());
                ConsumerRecord::Member { id: id.clone(), about }
            }
            ConsumerRecord::Current { id, .. } => {
                let current = member(id).map(|member| member.current.clone());
                ConsumerRecord::Current { id: id.clone(), current }
            }
        }
    }

    fn put_member(&mut self, now: Now, setting_ms: u64, id: String, about: AboutMember) {
        if let Some(instance) = &about.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        let member = self.members.entry(id).or_default();
        let is_new = member.deadlines.session_ms == 0;
        let changes_protocol = member.about.classic.is_some() != about.classic.is_some();
        member.about = about;
        if is_new || changes_protocol {
            member.deadlines = Deadlines::default();
            member.touch(now, setting_ms);
        }
    }

    fn remove_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.disown(id, &member.current);
        if let Some(instance) = &member.about.instance_id
            && self.statics.get(instance).is_some_and(|holder| holder == id)
        {
            self.statics.remove(instance);
        }
    }

    fn put_current(&mut self, now: Now, setting_ms: u64, id: String, current: CurrentAssignment) {
        let mut member = self.members.remove(&id).unwrap_or_default();
        self.disown(&id, &member.current);
        for (topic, partition) in current.assigned.iter().chain(current.revoking.iter()) {
            self.owners.insert((topic, partition), id.clone());
        }
        let gives_up = current.state == MemberState::Unrevoked && member.about.classic.is_none();
        member.deadlines.revoke_ms =
            gives_up.then(|| now.mono_ms + positive(member.about.rebalance_timeout_ms));
        if member.deadlines.session_ms == 0 {
            member.touch(now, setting_ms);
        }
        member.current = current;
        self.members.insert(id, member);
    }

    fn disown(&mut self, id: &str, current: &CurrentAssignment) {
        for (topic, partition) in current.assigned.iter().chain(current.revoking.iter()) {
            if self.owners.get(&(topic, partition)).is_some_and(|owner| owner == id) {
                self.owners.remove(&(topic, partition));
            }
        }
    }

    // ---- time ----------------------------------------------------------------------------------

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.members.values().map(|member| member.deadlines.next_ms()).min()
    }

    /// The members that have let a deadline pass.
    pub(crate) fn expired(&self, now: Now) -> Vec<String> {
        let due = |member: &Member| member.deadlines.next_ms() <= now.mono_ms;
        let expired = self.members.iter().filter(|(_, member)| due(member));
        expired.map(|(id, _)| id.clone()).collect()
    }

    /// A sign of life.
    pub(crate) fn touch(&mut self, now: Now, setting_ms: u64, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.touch(now, setting_ms);
        }
    }

    /// What was decided is not kept: the topics must be looked at again.
    pub(crate) fn not_kept(&mut self) {
        self.topics_seen = 0;
    }

    /// The session timeout of members that do not bring their own.
    pub(crate) fn setting_ms(config: &GroupsConfig, name: &str) -> u64 {
        config.session_timeout_ms(name).max(limits::SWEEP_PAUSE_MS)
    }
}

impl Member {
    fn touch(&mut self, now: Now, setting_ms: u64) {
        let own = self.about.classic.as_ref().map(|classic| positive(classic.session_timeout_ms));
        self.deadlines.session_ms = now.mono_ms + own.unwrap_or(setting_ms).max(1);
    }
}
