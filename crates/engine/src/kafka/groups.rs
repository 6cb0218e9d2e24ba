//! Groups as seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset as Spec, TopicPartitionList};

use super::asking::until_answered;
use super::native::{self, DescribedMember, Place};
use super::refusals::{needing, needing_topic};
use super::topics::{add, ends_of, partitions_of};
use super::{Kafka, refusals};
use crate::{
    Error, GroupDescription, GroupMember, GroupOffset, GroupSummary, Isolation, Operation,
    Resource, TopicPartition,
};

impl Kafka {
    pub(crate) async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        // A broker that begins to coordinate says so until it has loaded its groups.
        let listed =
            self.ask(|looker| until_answered(looker, |_| native::list_groups(looker))).await?;
        let listed = listed.map_err(|refused| refusals::of("the groups", &refused))?;
        let summary = |group: native::ListedGroup| GroupSummary {
            name: group.name,
            state: group.state,
            protocol_type: if group.is_simple { String::new() } else { "consumer".to_owned() },
        };
        let mut groups: Vec<_> = listed.into_iter().map(summary).collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    pub(crate) async fn group(&self, name: &str) -> Result<GroupDescription, Error> {
        let (name, what) = (name.to_owned(), format!("group {name}"));
        let refused = |refused: native::Refused| {
            let group = Resource::Group(name.clone());
            needing(Operation::Describe, group)(refusals::of(&what, &refused))
        };
        let asked = name.clone();
        let described =
            self.ask_coordinator(move |looker| native::describe_group(looker, &asked)).await?;
        let asked = name.clone();
        let committed =
            self.ask_coordinator(move |looker| native::group_offsets(looker, &asked)).await?;
        let (state, protocol, members) = match described {
            Ok(group) => (group.state, group.assignor, group.members),
            Err(none) if none.code == Code::GroupIdNotFound => {
                ("Dead".to_owned(), String::new(), Vec::new())
            }
            Err(other) => return Err(refused(other)),
        };
        let members: Vec<_> = members.into_iter().map(to_member).collect();
        let committed = match committed {
            Err(none) if none.code == Code::GroupIdNotFound => Vec::new(),
            offsets => offsets.map_err(refused)?,
        };
        let assigned = members.iter().flat_map(|member| member.assignment.iter().cloned());
        let mut wanted: BTreeMap<TopicPartition, Option<(i64, Option<String>)>> =
            assigned.map(|at| (at, None)).collect();
        let held = committed.into_iter().filter(|place| place.offset >= 0);
        wanted.extend(held.map(|mut place| {
            let held = (place.offset, place.metadata.take().filter(|text| !text.is_empty()));
            (place.at(), Some(held))
        }));
        let all: Vec<TopicPartition> = wanted.keys().cloned().collect();
        let ends = self.ask(move |looker| ends_of(looker, &all, Isolation::All)).await??;
        let offset = |(at, held): (TopicPartition, Option<(i64, Option<String>)>)| {
            let (first, end_offset) = ends.get(&at).copied()?;
            let (committed, metadata) = held.unzip();
            Some(GroupOffset {
                topic: at.topic,
                partition: at.partition,
                committed,
                end_offset,
                lag: (end_offset - committed.unwrap_or(first)).max(0),
                metadata: metadata.flatten(),
            })
        };
        let offsets = wanted.into_iter().filter_map(offset).collect();
        Ok(GroupDescription { name, state, protocol, members, offsets })
    }

    pub(crate) async fn reset_group(
        &self,
        name: &str,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            // librdkafka asks nobody about nothing.
            return Ok(());
        }
        let (name, offsets) = (name.to_owned(), offsets.to_vec());
        let list = self.ask(move |looker| {
            let topics: BTreeSet<&str> = offsets.iter().map(|(at, ..)| at.topic.as_str()).collect();
            let counts = topics.into_iter().map(|topic| match partitions_of(looker, topic) {
                Err(Error::UnknownTopic(_)) => Ok((topic, 0)),
                count => Ok((topic, count?)),
            });
            let counts: BTreeMap<&str, i32> = counts.collect::<Result<_, Error>>()?;
            let mut list = TopicPartitionList::with_capacity(offsets.len());
            for (at, offset, said) in &offsets {
                let count = counts.get(at.topic.as_str()).copied().unwrap_or(0);
                if !(0..count).contains(&at.partition) {
                    return Err(Error::UnknownTopic(at.to_string()));
                }
                if *offset < 0 {
                    return Err(Error::Invalid(format!("{at}: offset {offset} is negative")));
                }
                add(&mut list, at, Spec::Offset(*offset))?;
                if let (Some(said), Some(mut place)) =
                    (said, list.find_partition(&at.topic, at.partition))
                {
                    place.set_metadata(said);
                }
            }
            Ok(list)
        });
        let list = list.await??;
        let asked = name.clone();
        let set = self
            .order_coordinator(move |looker| native::set_group_offsets(looker, &asked, &list))
            .await?;
        let set = set.map_err(|refused| {
            has_members(&name, refused.code)
                .unwrap_or_else(|| refusals::of(&format!("group {name}"), &refused))
        })?;
        match set.into_iter().find_map(|place: Place| Some((place.refused?, place))) {
            None => Ok(()),
            Some((code, place)) => Err(has_members(&name, code).unwrap_or_else(|| {
                let refused = refusals::of_code(&place.clone().at().to_string(), code);
                needing_topic(Operation::Read, &place.topic)(refused)
            })),
        }
    }

    pub(crate) async fn delete_group(&self, name: &str) -> Result<(), Error> {
        let asked = name.to_owned();
        let gone = self.order_coordinator(move |looker| native::delete_group(looker, &asked));
        gone.await?.map_err(|refused| {
            let other = || {
                let other = refusals::of(&format!("group {name}"), &refused);
                needing(Operation::Delete, Resource::Group(name.to_owned()))(other)
            };
            has_members(name, refused.code).unwrap_or_else(other)
        })
    }
}

fn has_members(group: &str, code: Code) -> Option<Error> {
    let refused = matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::NonEmptyGroup
    );
    refused.then(|| Error::Invalid(format!("group {group} has members; stop them first")))
}

fn to_member(member: DescribedMember) -> GroupMember {
    GroupMember {
        member_id: member.member_id,
        client_id: member.client_id,
        host: member.host,
        assignment: member.assignment.into_iter().map(Place::at).collect(),
    }
}
