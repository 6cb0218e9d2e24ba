//! Groups as seen from outside: list, describe, reset.

use std::collections::{BTreeMap, BTreeSet};

use tidings_node::broker::{
    CommitOffsets, CommitPartition, Committed, DeleteGroups, DescribeGroups, DescribedGroup,
    FetchOffsets, FetchedOffset, GroupRefused, GroupTrouble, ListGroups, TopicName, WantedOffsets,
};

use super::{Embedded, member_bytes, refusals};
use crate::{Error, GroupDescription, GroupMember, GroupOffset, GroupSummary, TopicPartition};

impl Embedded {
    pub(crate) async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        let listed = self.node.call(ListGroups::default()).await?;
        let mut groups: Vec<_> = listed
            .into_iter()
            .map(|group| GroupSummary {
                name: group.group,
                state: group.state.to_owned(),
                protocol_type: group.protocol_type,
            })
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    pub(crate) async fn group(&self, name: &str) -> Result<GroupDescription, Error> {
        let described = self.describe_group(name).await?;
        let group = name.to_owned();
        let fetch = FetchOffsets { group, member: None, wanted: WantedOffsets::All };
        let committed = self.node.call(fetch).await?;
        let committed = committed.map_err(|refused| refusals::group(name, refused))?;
        let members: Vec<_> = described.members.into_iter().map(to_member).collect();
        let offsets = self.positions(committed, &members).await?;
        Ok(GroupDescription {
            name: name.to_owned(),
            state: described.state.to_owned(),
            protocol: described.protocol,
            members,
            offsets,
        })
    }

    async fn describe_group(&self, name: &str) -> Result<DescribedGroup, Error> {
        let described = self.node.call(DescribeGroups { groups: vec![name.to_owned()] }).await?;
        let described = described.into_iter().next();
        described.ok_or_else(|| Error::Unavailable(format!("group {name} was not described")))
    }

    /// Where the group is in everything that it has committed or been assigned, sorted; partitions
    /// that are gone are left out.
    async fn positions(
        &self,
        committed: Vec<FetchedOffset>,
        members: &[GroupMember],
    ) -> Result<Vec<GroupOffset>, Error> {
        let assigned = members.iter().flat_map(|member| member.assignment.iter().cloned());
        let mut wanted: BTreeMap<TopicPartition, Option<Committed>> =
            assigned.map(|at| (at, None)).collect();
        let committed = committed.into_iter().filter_map(committed_at);
        wanted.extend(committed.map(|(at, held)| (at, Some(held))));
        let topics: BTreeSet<String> = wanted.keys().map(|at| at.topic.clone()).collect();
        let known = self.describe_known(topics).await?;
        let known: BTreeMap<_, _> =
            known.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        let position = |(at, committed): (TopicPartition, Option<Committed>)| {
            let index = usize::try_from(at.partition).ok()?;
            let partition = known.get(&at.topic)?.get(index)?;
            let offset = committed.as_ref().map(|committed| committed.offset);
            let end_offset = partition.high_watermark;
            Some(GroupOffset {
                topic: at.topic,
                partition: at.partition,
                committed: offset,
                end_offset,
                lag: (end_offset - offset.unwrap_or(partition.start_offset)).max(0),
                metadata: committed.and_then(|held| said(held.metadata)),
            })
        };
        Ok(wanted.into_iter().filter_map(position).collect())
    }

    pub(crate) async fn reset_group(
        &self,
        name: &str,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        let topics: BTreeSet<String> = offsets.iter().map(|(at, ..)| at.topic.clone()).collect();
        let known = self.describe_known(topics).await?;
        for (at, offset, _) in offsets {
            let exists = known.iter().any(|topic| {
                topic.name == at.topic
                    && usize::try_from(at.partition).is_ok_and(|id| id < topic.partitions.len())
            });
            if !exists {
                return Err(Error::UnknownTopic(at.to_string()));
            }
            if *offset < 0 {
                return Err(Error::Invalid(format!("{at}: offset {offset} is negative")));
            }
        }
        let commit = CommitOffsets {
            group: name.to_owned(),
            generation: -1,
            member_id: String::new(),
            instance_id: None,
            knows_epochs: false,
            partitions: offsets
                .iter()
                .map(|(at, offset, said)| to_commit(at, *offset, said.clone()))
                .collect(),
        };
        let refused = |refused| match refused {
            GroupRefused::UnknownMember
            | GroupRefused::IllegalGeneration
            | GroupRefused::Rebalancing => has_members(name),
            other => refusals::group(name, other),
        };
        for partition in self.node.call(commit).await?.map_err(refused)? {
            partition.outcome.map_err(refused)?;
        }
        Ok(())
    }

    pub(crate) async fn delete_group(&self, name: &str) -> Result<(), Error> {
        let deleted = self.node.call(DeleteGroups { groups: vec![name.to_owned()] }).await?;
        let outcome = deleted.into_iter().next().map_or(Ok(()), |(_, outcome)| outcome);
        outcome.map_err(|refused| match refused {
            GroupRefused::Other(GroupTrouble::NotEmpty) => has_members(name),
            other => refusals::group(name, other),
        })
    }
}

fn has_members(group: &str) -> Error {
    Error::Invalid(format!("group {group} has members; stop them first"))
}

/// What is committed, and where.
pub(super) fn committed_at(fetched: FetchedOffset) -> Option<(TopicPartition, Committed)> {
    let TopicName::Name(topic) = fetched.topic else { return None };
    let held = fetched.outcome.ok()??;
    Some((TopicPartition { topic, partition: fetched.partition }, held))
}

/// The metadata of a commit; Kafka's record of one has no null, so nothing said reads as empty.
pub(super) fn said(metadata: String) -> Option<String> {
    Some(metadata).filter(|text| !text.is_empty())
}

pub(super) fn to_commit(
    at: &TopicPartition,
    offset: i64,
    metadata: Option<String>,
) -> CommitPartition {
    let TopicPartition { topic, partition } = at.clone();
    let topic = TopicName::Name(topic);
    CommitPartition { topic, partition, offset, leader_epoch: -1, metadata }
}

fn to_member(member: tidings_node::broker::GroupMember) -> GroupMember {
    GroupMember {
        // Other kinds of groups (Connect's workers) assign other things; those show none.
        assignment: member_bytes::decode_assignment(&member.assignment).unwrap_or_default(),
        member_id: member.member_id,
        client_id: member.client_id,
        host: member.client_host,
    }
}
