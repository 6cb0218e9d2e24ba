//! What all groups together may take of memory: names, members' metadata and assignments, committed and
//! pending offsets.
//!
//! Between counts it is known as the last count and what was taken since, which is never less than the
//! truth. It is counted anew when that reaches the bound, and then not before a second has passed or a
//! [`limits::GROUP_RECOUNT_SHARE`]th of the bound has been taken.
//!
//! What would take more than there is is refused: who is new gets [`GroupRefused::Full`], and a member that is
//! there [`GroupTrouble::NoRoom`], with which it asks again. What gives memory back never is.

use crate::consumer_group::{AboutMember, ConsumerGroup, CurrentAssignment, ResolvedRegex};
use crate::coordinator::Coordinator;
use crate::group::Group;
use crate::{
    CommitOffsets, CommitPartition, ConsumerRecord, GroupRefused, GroupTrouble, JoinGroup, Now,
    Partitions, Record, limits,
};

#[derive(Debug)]
pub(crate) struct GroupMemory {
    counted: usize,
    taken_since: usize,
    counted_at_ms: Option<u64>,
}

impl Default for GroupMemory {
    /// Not counted yet.
    fn default() -> Self {
        Self { counted: 0, taken_since: usize::MAX, counted_at_ms: None }
    }
}

impl GroupMemory {
    /// Takes so many bytes if there is room for them.
    fn take(
        &mut self,
        now_ms: u64,
        bytes: usize,
        bytes_max: usize,
        count: impl FnOnce() -> usize,
    ) -> bool {
        if self.taken_with(bytes) > bytes_max && self.may_count(now_ms, bytes_max) {
            self.counted = count();
            self.taken_since = 0;
            self.counted_at_ms = Some(now_ms);
        }
        let fits = self.taken_with(bytes) <= bytes_max;
        if fits {
            self.taken_since += bytes;
        }
        fits
    }

    fn taken_with(&self, bytes: usize) -> usize {
        self.counted.saturating_add(self.taken_since).saturating_add(bytes)
    }

    fn may_count(&self, now_ms: u64, bytes_max: usize) -> bool {
        let is_old = self
            .counted_at_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= limits::GROUP_RECOUNT_MS);
        is_old || self.taken_since >= bytes_max / limits::GROUP_RECOUNT_SHARE
    }
}

impl Coordinator {
    /// Refuses what would let the groups take more memory than they may.
    pub fn take_memory(&mut self, now: Now, bytes: usize) -> Result<(), GroupRefused> {
        let mut memory = std::mem::take(&mut self.memory);
        let fits = memory.take(now.mono_ms, bytes, self.config.bytes_max, || self.held_bytes());
        self.memory = memory;
        if fits { Ok(()) } else { Err(GroupRefused::Full) }
    }

    /// The same for a decision of a member that is in its group already: it is to ask again.
    pub(crate) fn take_memory_of_member(
        &mut self,
        now: Now,
        bytes: usize,
    ) -> Result<(), GroupRefused> {
        let taken = self.take_memory(now, bytes);
        taken.map_err(|_| GroupRefused::Other(GroupTrouble::NoRoom))
    }

    /// What the groups take.
    pub fn held_bytes(&self) -> usize {
        let groups = self.groups.values().map(Group::held_bytes);
        let consumers = self.consumers.values().map(ConsumerGroup::held_bytes);
        groups.chain(consumers).sum::<usize>() + self.pending.held_bytes()
    }

    fn new_group_bytes(&self, name: &str) -> usize {
        if self.groups.contains_key(name) { 0 } else { group_bytes(name) }
    }

    /// By how much a join adds to [`Self::held_bytes`] at most.
    pub fn grows_by_join(&self, request: &JoinGroup) -> usize {
        let named = [&request.member_id, &request.client_id, &request.client_host];
        let names = named.into_iter().map(String::len).sum::<usize>()
            + 2 * request.instance_id.as_ref().map_or(0, String::len);
        let metadata = request.protocols.iter().map(|(name, bytes)| name.len() + bytes.len());
        self.new_group_bytes(&request.group)
            + limits::MEMBER_BYTES
            + names
            + metadata.sum::<usize>()
    }

    /// By how much a commit adds to [`Self::held_bytes`]: an offset that is there is replaced.
    pub fn grows_by(&self, request: &CommitOffsets) -> usize {
        let held = self.group(&request.group).map(|group| &group.offsets);
        let grows_by = |wanted: &CommitPartition| {
            let topic = self.topics().resolve(&wanted.topic)?;
            let place = (topic.to_owned(), wanted.partition);
            let metadata = wanted.metadata.as_ref().map_or(0, String::len);
            Some(match held.and_then(|held| held.get(&place)) {
                Some(there) => metadata.saturating_sub(there.metadata.len()),
                None => offset_bytes(topic, metadata),
            })
        };
        let offsets = request.partitions.iter().filter_map(grows_by);
        self.new_group_bytes(&request.group) + offsets.sum::<usize>()
    }

    /// The same of a commit in a transaction: what it commits is pending first.
    pub fn grows_by_pending(&self, request: &CommitOffsets) -> usize {
        let pending = request.partitions.iter().filter_map(|wanted| {
            let topic = self.topics().resolve(&wanted.topic)?;
            let metadata = wanted.metadata.as_ref().map_or(0, String::len);
            Some(pending_bytes(&request.group, topic, metadata))
        });
        self.grows_by(request) + pending.sum::<usize>()
    }

    /// By how much records of a group of the consumer protocol add to [`Self::held_bytes`] at most.
    pub(crate) fn grows_by_records(&self, name: &str, records: &[Record]) -> usize {
        let none = ConsumerGroup::default();
        let group = self.consumers.get(name).unwrap_or(&none);
        let grows_by = |record: &Record| match record {
            Record::Consumer { change, .. } => {
                change.held_bytes().saturating_sub(group.replaced_bytes(change))
            }
            Record::Group { .. } | Record::Offset { .. } => 0,
        };
        let records = records.iter().map(grows_by).sum::<usize>();
        let is_new = records > 0 && !self.consumers.contains_key(name);
        let group =
            if is_new { limits::CONSUMER_GROUP_BYTES + self.new_group_bytes(name) } else { 0 };
        records + group
    }
}

fn group_bytes(name: &str) -> usize {
    limits::GROUP_BYTES + 4 * name.len()
}

fn offset_bytes(topic: &str, metadata: usize) -> usize {
    limits::OFFSET_BYTES + topic.len() + metadata
}

/// An offset that is pending in a transaction, under its producer and under its place.
pub(crate) fn pending_bytes(group: &str, topic: &str, metadata: usize) -> usize {
    limits::PENDING_OFFSET_BYTES + 2 * (group.len() + topic.len()) + metadata
}

fn partitions_bytes(partitions: &Partitions) -> usize {
    partitions.count() * limits::ASSIGNED_PARTITION_BYTES
}

impl Group {
    pub(crate) fn held_bytes(&self) -> usize {
        let members = self.members.iter().map(|(id, member)| {
            limits::MEMBER_BYTES
                + id.len()
                + member.names_bytes()
                + member.metadata_bytes()
                + member.assignment.len()
        });
        let pending = self.pending.keys().map(|id| limits::MEMBER_BYTES + id.len());
        let offsets =
            self.offsets.iter().map(|((topic, _), held)| offset_bytes(topic, held.metadata.len()));
        group_bytes(&self.name) + members.chain(pending).chain(offsets).sum::<usize>()
    }
}

impl ConsumerGroup {
    fn held_bytes(&self) -> usize {
        let members = self
            .members
            .iter()
            .map(|(id, member)| member_bytes(id, &member.about) + current_bytes(&member.current));
        let targets = self.targets.values().map(partitions_bytes);
        let regexes = self.regexes.iter().map(|(regex, resolved)| regex_bytes(regex, resolved));
        limits::CONSUMER_GROUP_BYTES + members.chain(targets).chain(regexes).sum::<usize>()
    }

    /// What goes when the record comes.
    fn replaced_bytes(&self, record: &ConsumerRecord) -> usize {
        match record {
            ConsumerRecord::Epoch(_) | ConsumerRecord::TargetEpoch(_) => 0,
            ConsumerRecord::Target { id, .. } => self.targets.get(id).map_or(0, partitions_bytes),
            ConsumerRecord::Regex { regex, .. } => {
                self.regexes.get(regex).map_or(0, |resolved| regex_bytes(regex, resolved))
            }
            ConsumerRecord::Member { id, .. } => {
                self.members.get(id).map_or(0, |member| member_bytes(id, &member.about))
            }
            ConsumerRecord::Current { id, .. } => {
                self.members.get(id).map_or(0, |member| current_bytes(&member.current))
            }
        }
    }
}

impl ConsumerRecord {
    /// What it keeps.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Epoch(_) | Self::TargetEpoch(_) => 0,
            Self::Target { partitions, .. } => partitions.as_ref().map_or(0, partitions_bytes),
            Self::Regex { regex, resolved } => {
                resolved.as_ref().map_or(0, |resolved| regex_bytes(regex, resolved))
            }
            Self::Member { id, about } => about.as_ref().map_or(0, |about| member_bytes(id, about)),
            Self::Current { current, .. } => current.as_ref().map_or(0, current_bytes),
        }
    }
}

/// A member's id is in four maps.
fn member_bytes(id: &str, about: &AboutMember) -> usize {
    let texts = [&about.rack_id, &about.assignor, &about.regex];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>()
        + 2 * about.instance_id.as_ref().map_or(0, String::len)
        + about.client_id.len()
        + about.client_host.len();
    let classic = about.classic.as_ref().map_or(0, |classic| {
        let protocols = classic.protocols.iter();
        protocols.map(|(name, bytes)| limits::LISTED_NAME_BYTES + name.len() + bytes.len()).sum()
    });
    limits::CONSUMER_MEMBER_BYTES
        + 4 * id.len()
        + texts
        + classic
        + names_bytes(about.topics.iter())
}

/// What a member has, and that it is the owner, under its id each time.
fn current_bytes(current: &CurrentAssignment) -> usize {
    2 * (partitions_bytes(&current.assigned) + partitions_bytes(&current.revoking))
}

fn regex_bytes(regex: &str, resolved: &ResolvedRegex) -> usize {
    2 * limits::LISTED_NAME_BYTES + regex.len() + names_bytes(resolved.topics.iter())
}

fn names_bytes<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| limits::LISTED_NAME_BYTES + name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stays_within_the_bound_and_what_goes_makes_room() {
        let mut memory = GroupMemory::default();
        let mut take =
            |now_ms, bytes, count: fn() -> usize| memory.take(now_ms, bytes, 1000, count);
        assert!(take(0, 600, || 0), "the first count finds nothing");
        assert!(take(0, 400, || unreachable!("there is room for it")));
        assert!(!take(1, 1, || 1000), "all of it is held");
        assert!(!take(2, 1, || unreachable!("it was counted just now")));
        assert!(take(1 + limits::GROUP_RECOUNT_MS, 1, || 600), "some of it has gone");
        assert!(take(1 + limits::GROUP_RECOUNT_MS, 399, || unreachable!("there is room")));
        let share = 1000 / limits::GROUP_RECOUNT_SHARE;
        assert!(take(2 + limits::GROUP_RECOUNT_MS, share, || 0), "much was taken since");
        assert!(!take(9000, 1001, || 0), "more than all");
    }
}
