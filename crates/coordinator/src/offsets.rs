//! Committed offsets: who may commit, what a commit writes, and who may take offsets away.

use crate::coordinator::Coordinator;
use crate::embedded::CONSUMER;
use crate::group::{Group, State};
use crate::{
    CommitOffsets, CommitPartition, Committed, CommittedPartition, DeleteOffsets, DeletedOffset,
    FetchOffsets, FetchedOffset, GroupRefused, GroupTrouble, Now, Record, TopicName, WantedOffsets,
    limits,
};

/// What a commit comes to: one answer per partition, and the records of those accepted.
#[derive(Clone, Debug)]
pub struct CommitDecision {
    pub answers: Vec<CommittedPartition>,
    pub records: Vec<Record>,
}

/// What a deletion of offsets comes to.
#[derive(Clone, Debug)]
pub struct DeletionDecision {
    pub answers: Vec<DeletedOffset>,
    pub records: Vec<Record>,
}

impl Coordinator {
    /// Whether the commit may be made, and the records that make it; changes nothing.
    pub fn decide_commit(
        &self,
        now: Now,
        request: &CommitOffsets,
    ) -> Result<CommitDecision, GroupRefused> {
        if request.group.len() > limits::NAME_BYTES_MAX {
            return Err(GroupRefused::InvalidGroup);
        }
        match self.group(&request.group) {
            Some(group) => match self.consumer_group(&request.group) {
                Some(consumers) => consumers.may_commit(request)?,
                None => group.may_commit(request)?,
            },
            None if request.generation >= 0 && request.knows_epochs => {
                return Err(GroupRefused::Other(GroupTrouble::NotFound));
            }
            None if request.generation >= 0 => return Err(GroupRefused::IllegalGeneration),
            None if self.is_full() => return Err(GroupRefused::Full),
            None => {}
        }
        Ok(self.check_and_record(now, request))
    }

    /// The partitions of a commit that may be made, each for itself.
    pub(crate) fn check_and_record(&self, now: Now, request: &CommitOffsets) -> CommitDecision {
        let mut decision = CommitDecision { answers: Vec::new(), records: Vec::new() };
        for wanted in &request.partitions {
            let outcome = self.check_commit(wanted).map(|topic| {
                decision.records.push(record(now, &request.group, topic, wanted));
            });
            let (topic, partition) = (wanted.topic.clone(), wanted.partition);
            decision.answers.push(CommittedPartition { topic, partition, outcome });
        }
        decision
    }

    /// The name of the topic in which to commit.
    fn check_commit<'a>(&'a self, wanted: &'a CommitPartition) -> Result<&'a str, GroupRefused> {
        let refused = |trouble| Err(GroupRefused::Other(trouble));
        let Some(topic) = self.topics().resolve(&wanted.topic) else {
            return refused(GroupTrouble::UnknownTopicId);
        };
        if wanted.metadata.as_ref().is_some_and(|m| m.len() > limits::OFFSET_METADATA_BYTES_MAX) {
            refused(GroupTrouble::MetadataTooLarge)
        } else if !self.topics().has(topic, wanted.partition) {
            refused(GroupTrouble::UnknownPartition)
        } else {
            Ok(topic)
        }
    }

    /// What the group has committed; nothing for a group that is not there.
    pub fn committed(&self, request: &FetchOffsets) -> Result<Vec<FetchedOffset>, GroupRefused> {
        let group = self.group(&request.group);
        if let Some(consumers) = self.consumer_group(&request.group) {
            consumers.may_fetch(request.member.as_ref())?;
        }
        let all = || group.into_iter().flat_map(|group| &group.offsets);
        let fetched = |asked: TopicName, topic: &str, partition: i32| FetchedOffset {
            topic: asked,
            partition,
            outcome: Ok(group.and_then(|group| group.offset(topic, partition)).cloned()),
            is_unstable: self.pending.is_pending(&(
                request.group.clone(),
                topic.to_owned(),
                partition,
            )),
        };
        Ok(match &request.wanted {
            WantedOffsets::All => all()
                .map(|((topic, at), _)| fetched(TopicName::Name(topic.clone()), topic, *at))
                .collect(),
            WantedOffsets::AllById => all()
                .filter_map(|((topic, at), _)| {
                    let facts = self.topics().facts(topic)?;
                    Some(fetched(TopicName::Id(facts.id), topic, *at))
                })
                .collect(),
            WantedOffsets::These(partitions) => {
                let found = |(asked, partition): &(TopicName, i32)| {
                    let Some(topic) = self.topics().resolve(asked) else {
                        let unknown = GroupRefused::Other(GroupTrouble::UnknownTopicId);
                        return FetchedOffset {
                            topic: asked.clone(),
                            partition: *partition,
                            outcome: Err(unknown),
                            is_unstable: false,
                        };
                    };
                    fetched(asked.clone(), topic, *partition)
                };
                partitions.iter().map(found).collect()
            }
        })
    }

    /// Which offsets may be deleted, and the records that do it; changes nothing.
    pub fn decide_delete_offsets(
        &self,
        request: &DeleteOffsets,
    ) -> Result<DeletionDecision, GroupRefused> {
        let group = self.group(&request.group);
        let group = group.ok_or(GroupRefused::Other(GroupTrouble::NotFound))?;
        let subscribed = match self.consumer_group(&request.group) {
            Some(consumers) => Some(consumers.subscribed_topics()),
            None => {
                group.may_lose_offsets()?;
                group.subscribed_topics()
            }
        };
        let mut decision = DeletionDecision { answers: Vec::new(), records: Vec::new() };
        for (topic, partition) in &request.partitions {
            let (topic, partition) = (topic.clone(), *partition);
            let outcome = if !self.topics().has(&topic, partition) {
                Err(GroupRefused::Other(GroupTrouble::UnknownPartition))
            } else if subscribed.as_ref().is_some_and(|topics| topics.contains(&topic)) {
                Err(GroupRefused::Other(GroupTrouble::Subscribed))
            } else {
                if group.offset(&topic, partition).is_some() {
                    decision.records.push(tombstone(&group.name, &topic, partition));
                }
                Ok(())
            };
            decision.answers.push(DeletedOffset { topic, partition, outcome });
        }
        Ok(decision)
    }

    /// Every topic in which some group has committed an offset; a topic may come more than once.
    pub fn committed_topics(&self) -> impl Iterator<Item = &str> {
        let committed = self.groups().flat_map(|group| group.offsets.keys());
        committed.map(|(topic, _)| topic.as_str()).chain(self.pending.topics())
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
            .chain(self.pending.tombstones_in(topic))
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

    /// Single offsets are only taken from a group of whose subscriptions is known what they are.
    fn may_lose_offsets(&self) -> Result<(), GroupRefused> {
        if self.state == State::Empty || self.protocol_type == CONSUMER {
            Ok(())
        } else {
            Err(GroupRefused::Other(GroupTrouble::NotEmpty))
        }
    }

    pub(crate) fn offset(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets.get(&(topic.to_owned(), partition))
    }

    /// The tombstones of everything the group has committed.
    pub(crate) fn offset_tombstones(&self) -> Vec<Record> {
        let all = self.offsets.keys();
        all.map(|(topic, partition)| tombstone(&self.name, topic, *partition)).collect()
    }
}

fn record(now: Now, group: &str, topic: &str, wanted: &CommitPartition) -> Record {
    Record::Offset {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition: wanted.partition,
        committed: Some(Committed {
            offset: wanted.offset,
            leader_epoch: wanted.leader_epoch,
            metadata: wanted.metadata.clone().unwrap_or_default(),
            commit_timestamp_ms: now.wall_ms,
        }),
    }
}

pub(crate) fn tombstone(group: &str, topic: &str, partition: i32) -> Record {
    let (group, topic) = (group.to_owned(), topic.to_owned());
    Record::Offset { group, topic, partition, committed: None }
}
