//! Committed offsets: who may commit, and what a commit writes.

use crate::coordinator::Coordinator;
use crate::group::{Group, State};
use crate::{
    CommitOffsets, CommitPartition, Committed, CommittedPartition, FetchOffsets, FetchedOffset,
    GroupRefused, GroupTrouble, Now, Record, limits,
};

/// What a commit comes to: one answer per partition, and the records of those accepted.
#[derive(Clone, Debug)]
pub struct CommitDecision {
    pub answers: Vec<CommittedPartition>,
    pub records: Vec<Record>,
}

impl Coordinator {
    /// Whether the commit may be made, and the records that make it; changes nothing. `exists`
    /// says whether there is such a partition.
    pub fn decide_commit(
        &self,
        now: Now,
        request: &CommitOffsets,
        exists: impl Fn(&str, i32) -> bool,
    ) -> Result<CommitDecision, GroupRefused> {
        if request.group.len() > limits::NAME_BYTES_MAX {
            return Err(GroupRefused::InvalidGroup);
        }
        match self.group(&request.group) {
            Some(group) => group.may_commit(request)?,
            None if request.generation >= 0 => return Err(GroupRefused::IllegalGeneration),
            None if self.is_full() => return Err(GroupRefused::Full),
            None => {}
        }
        let mut decision = CommitDecision { answers: Vec::new(), records: Vec::new() };
        for wanted in &request.partitions {
            let outcome = check(wanted, &exists);
            if outcome.is_ok() {
                decision.records.push(record(now, &request.group, wanted));
            }
            let (topic, partition) = (wanted.topic.clone(), wanted.partition);
            decision.answers.push(CommittedPartition { topic, partition, outcome });
        }
        Ok(decision)
    }

    /// What the group has committed; nothing for a group that is not there.
    pub fn committed(&self, request: &FetchOffsets) -> Vec<FetchedOffset> {
        let group = self.group(&request.group);
        let Some(partitions) = &request.partitions else {
            let all = group.into_iter().flat_map(|group| &group.offsets);
            return all
                .map(|((topic, partition), held)| fetched(topic, *partition, Some(held)))
                .collect();
        };
        let find = |topic: &String, partition: i32| {
            group.and_then(|group| group.offsets.get(&(topic.clone(), partition)))
        };
        partitions
            .iter()
            .map(|(topic, partition)| fetched(topic, *partition, find(topic, *partition)))
            .collect()
    }

    /// Every topic in which some group has committed an offset; a topic may come more than once.
    pub fn committed_topics(&self) -> impl Iterator<Item = &str> {
        self.groups().flat_map(|group| group.offsets.keys()).map(|(topic, _)| topic.as_str())
    }

    /// The tombstones of every offset committed in a topic that is being deleted.
    pub fn decide_forget_topic(&self, topic: &str) -> Vec<Record> {
        let first = (topic.to_owned(), i32::MIN);
        let last = (topic.to_owned(), i32::MAX);
        self.groups()
            .flat_map(|group| {
                let held = group.offsets.range(first.clone()..=last.clone());
                held.map(|((topic, partition), _)| tombstone(&group.name, topic, *partition))
            })
            .collect()
    }
}

impl Group {
    fn may_commit(&self, request: &CommitOffsets) -> Result<(), GroupRefused> {
        let from_outside =
            request.generation < 0 && request.member_id.is_empty() && request.instance_id.is_none();
        if self.state == State::Empty && request.generation < 0 {
            return Ok(());
        }
        if from_outside {
            return Err(GroupRefused::UnknownMember);
        }
        self.validate(&request.member_id, request.instance_id.as_deref())?;
        self.validate_generation(request.generation)?;
        if self.state == State::CompletingRebalance {
            return Err(GroupRefused::Rebalancing);
        }
        Ok(())
    }

    /// The tombstones of everything the group has committed.
    pub(crate) fn offset_tombstones(&self) -> Vec<Record> {
        let all = self.offsets.keys();
        all.map(|(topic, partition)| tombstone(&self.name, topic, *partition)).collect()
    }
}

fn check(wanted: &CommitPartition, exists: impl Fn(&str, i32) -> bool) -> Result<(), GroupRefused> {
    if wanted.metadata.as_ref().is_some_and(|m| m.len() > limits::OFFSET_METADATA_BYTES_MAX) {
        Err(GroupRefused::Other(GroupTrouble::MetadataTooLarge))
    } else if !exists(&wanted.topic, wanted.partition) {
        Err(GroupRefused::Other(GroupTrouble::UnknownPartition))
    } else {
        Ok(())
    }
}

fn record(now: Now, group: &str, wanted: &CommitPartition) -> Record {
    Record::Offset {
        group: group.to_owned(),
        topic: wanted.topic.clone(),
        partition: wanted.partition,
        committed: Some(Committed {
            offset: wanted.offset,
            leader_epoch: wanted.leader_epoch,
            metadata: wanted.metadata.clone().unwrap_or_default(),
            commit_timestamp_ms: now.wall_ms,
        }),
    }
}

fn tombstone(group: &str, topic: &str, partition: i32) -> Record {
    let (group, topic) = (group.to_owned(), topic.to_owned());
    Record::Offset { group, topic, partition, committed: None }
}

fn fetched(topic: &str, partition: i32, held: Option<&Committed>) -> FetchedOffset {
    FetchedOffset {
        topic: topic.to_owned(),
        partition,
        offset: held.map_or(-1, |held| held.offset),
        leader_epoch: held.map_or(-1, |held| held.leader_epoch),
        metadata: held.map(|held| held.metadata.clone()),
    }
}
