//! Consumer groups: list and describe.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use tidings_terminal::failure::Failure;
use tidings_wire::{
    DecodeError, Reader, delete_groups, describe_groups, list_groups, offset_commit, offset_fetch,
};

use super::topics::Edge;
use super::{Client, ErrorCode};

/// A group in a list; this is also its JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct GroupListing {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) protocol_type: String,
    /// The broker that looks after it.
    pub(crate) coordinator: i32,
}

/// A group with members and positions; this is also its JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupView {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) protocol: String,
    pub(crate) lag: i64,
    pub(crate) members: Vec<MemberView>,
    pub(crate) offsets: Vec<OffsetView>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemberView {
    pub(crate) member_id: String,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) assignment: Vec<Assigned>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Assigned {
    pub(crate) topic: String,
    pub(crate) partitions: Vec<i32>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OffsetView {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) committed: i64,
    pub(crate) end_offset: i64,
    pub(crate) lag: i64,
    pub(crate) metadata: Option<String>,
}

impl Client {
    /// Groups of all brokers, by name.
    pub(crate) async fn groups(&mut self) -> Result<Vec<GroupListing>, Failure> {
        self.metadata(Some(Vec::new()), false).await?;
        let mut nodes: Vec<_> = self.brokers.keys().copied().collect();
        nodes.sort_unstable();
        let mut groups = Vec::new();
        for node in nodes {
            let response = self.call_node(node, &list_groups::Request::default()).await?;
            match ErrorCode(response.error_code) {
                ErrorCode::NONE => {}
                code => return Err(code.failure("groups cannot be listed", None)),
            }
            groups.extend(response.groups.into_iter().map(|group| GroupListing {
                name: group.group_id,
                state: group.group_state,
                protocol_type: group.protocol_type,
                coordinator: node,
            }));
        }
        groups.sort();
        Ok(groups)
    }

    pub(crate) async fn group(&mut self, name: &str) -> Result<GroupView, Failure> {
        let node = self.coordinator(name).await?;
        let request =
            describe_groups::Request { groups: vec![name.to_owned()], ..Default::default() };
        let response = self.call_node(node, &request).await?;
        let described = response.groups.into_iter().next().unwrap_or_default();
        let missing = || {
            ErrorCode::GROUP_NOT_FOUND
                .failure(format!("group {name} cannot be described"), None)
                .hint("`tidings group list`")
        };
        match ErrorCode(described.error_code) {
            ErrorCode::NONE if described.group_state == "Dead" => return Err(missing()),
            ErrorCode::NONE => {}
            ErrorCode::GROUP_NOT_FOUND => return Err(missing()),
            code => return Err(code.failure(format!("group {name} cannot be described"), None)),
        }
        let offsets = self.group_offsets(name, node).await?;
        let members = described.members.into_iter().map(|member| MemberView {
            assignment: assignment(member.member_assignment).unwrap_or_default(),
            member_id: member.member_id,
            client_id: member.client_id,
            host: member.client_host,
        });
        Ok(GroupView {
            name: described.group_id,
            state: described.group_state,
            protocol: described.protocol_data,
            lag: offsets.iter().map(|at| at.lag).sum(),
            members: members.collect(),
            offsets,
        })
    }

    /// Deletes a group without members.
    pub(crate) async fn delete_group(&mut self, name: &str) -> Result<(), Failure> {
        let node = self.coordinator(name).await?;
        let request = delete_groups::Request { groups_names: vec![name.to_owned()] };
        let response = self.call_node(node, &request).await?;
        match response.results.first().map_or(0, |result| result.error_code) {
            0 => Ok(()),
            code => Err(ErrorCode(code).failure(format!("group {name} was not deleted"), None)),
        }
    }

    /// Sets positions of a group without members.
    pub(crate) async fn commit(
        &mut self,
        name: &str,
        positions: impl IntoIterator<Item = (String, i32, i64)>,
    ) -> Result<(), Failure> {
        let mut topics: BTreeMap<String, Vec<offset_commit::Partition>> = BTreeMap::new();
        for (topic, partition_index, committed_offset) in positions {
            topics.entry(topic).or_default().push(offset_commit::Partition {
                partition_index,
                committed_offset,
                ..Default::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| offset_commit::Topic {
            name,
            partitions,
            ..Default::default()
        });
        let request = offset_commit::Request {
            group_id: name.to_owned(),
            topics: topics.collect(),
            ..Default::default()
        };
        let node = self.coordinator(name).await?;
        let response = self.call_node(node, &request).await?;
        let refused = response.topics.iter().find_map(|topic| {
            let partition = topic.partitions.iter().find(|p| p.error_code != 0)?;
            Some((format!("{}-{}", topic.name, partition.partition_index), partition.error_code))
        });
        match refused {
            None => Ok(()),
            Some((at, code)) => {
                let what = format!("group {name} was not reset at {at}");
                Err(ErrorCode(code).failure(what, None))
            }
        }
    }

    async fn group_offsets(&mut self, name: &str, node: i32) -> Result<Vec<OffsetView>, Failure> {
        let group = offset_fetch::Group { group_id: name.to_owned(), ..Default::default() };
        let request = offset_fetch::Request {
            group_id: name.to_owned(),
            topics: None,
            groups: vec![group],
            ..Default::default()
        };
        let response = self.call_node(node, &request).await?;
        // From version 8 on the answer is a list of groups.
        let (code, topics): (i16, Vec<(String, Vec<_>)>) = match response.groups.into_iter().next()
        {
            Some(group) => {
                let topics = group.topics.into_iter().map(|topic| (topic.name, topic.partitions));
                (group.error_code, topics.collect())
            }
            None => {
                let topics = response.topics.into_iter();
                (response.error_code, topics.map(|topic| (topic.name, topic.partitions)).collect())
            }
        };
        match ErrorCode(code) {
            ErrorCode::NONE => {}
            code => {
                return Err(code.failure(format!("positions of group {name} are not told"), None));
            }
        }
        let mut offsets = Vec::new();
        for (topic, partitions) in topics {
            let committed = partitions.into_iter().filter(|p| p.committed_offset >= 0);
            offsets.extend(committed.map(|p| OffsetView {
                topic: topic.clone(),
                partition: p.partition_index,
                committed: p.committed_offset,
                end_offset: 0,
                lag: 0,
                metadata: p.metadata.filter(|text| !text.is_empty()),
            }));
        }
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.measure_lag(&mut offsets).await?;
        Ok(offsets)
    }

    async fn measure_lag(&mut self, offsets: &mut [OffsetView]) -> Result<(), Failure> {
        let mut names: Vec<_> = offsets.iter().map(|at| at.topic.clone()).collect();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let leaders: BTreeMap<_, _> = self
            .metadata(Some(names), false)
            .await?
            .topics
            .into_iter()
            .flat_map(|topic| {
                let name = topic.name.unwrap_or_default();
                topic
                    .partitions
                    .into_iter()
                    .map(move |p| ((name.clone(), p.partition_index), p.leader_id))
            })
            .collect();
        let asked: Vec<_> = offsets
            .iter()
            .filter_map(|at| {
                let leader = leaders.get(&(at.topic.clone(), at.partition))?;
                Some((at.topic.clone(), at.partition, *leader))
            })
            .collect();
        let ends = self.edges(&asked, Edge::End).await?;
        for at in offsets {
            // A deleted topic has no end, and nobody is behind in it.
            let end = ends.get(&(at.topic.clone(), at.partition)).copied().unwrap_or(at.committed);
            at.end_offset = end;
            at.lag = (end - at.committed).max(0);
        }
        Ok(())
    }
}

/// Kafka's ConsumerProtocolAssignment: a version, topics with partitions, user data.
fn assignment(bytes: Bytes) -> Result<Vec<Assigned>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes, false);
    reader.i16()?;
    let topics = reader.i32()?;
    let mut assigned = Vec::new();
    for _ in 0..topics {
        let topic = reader.string()?;
        let count = reader.i32()?;
        let mut partitions = Vec::new();
        for _ in 0..count {
            partitions.push(reader.i32()?);
        }
        assigned.push(Assigned { topic, partitions });
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_consumers_write_it() {
        let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7, 255, 255, 255, 255]);
        let wanted = Assigned { topic: "ab".into(), partitions: vec![0, 7] };
        assert_eq!(assignment(bytes.clone().into()).unwrap(), [wanted]);
        assert_eq!(assignment(Bytes::new()).unwrap(), []);
        bytes.truncate(16);
        assert!(assignment(bytes.into()).is_err(), "cut short");
    }
}
