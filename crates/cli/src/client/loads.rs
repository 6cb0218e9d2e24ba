//! How far many groups are, in few requests: a hundred groups for each.

use std::collections::BTreeMap;

use tidings_terminal::failure::Failure;
use tidings_wire::{describe_groups, offset_fetch};

use super::{Client, ErrorCode, GroupListing};
use crate::limits::GROUPS_AT_ONCE;

/// A group with its positions.
#[derive(Clone, Debug)]
pub(crate) struct GroupLoad {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) members: usize,
    /// Topic, partition, offset.
    pub(crate) committed: Vec<(String, i32, i64)>,
}

impl Client {
    /// Those of the groups that are still there.
    pub(crate) async fn group_loads(
        &mut self,
        groups: &[GroupListing],
    ) -> Result<Vec<GroupLoad>, Failure> {
        let mut by_node: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for group in groups {
            by_node.entry(group.coordinator).or_default().push(group.name.clone());
        }
        let mut loads = Vec::new();
        for (node, names) in by_node {
            for names in names.chunks(GROUPS_AT_ONCE) {
                let mut committed = self.committed(node, names).await?;
                let request =
                    describe_groups::Request { groups: names.to_vec(), ..Default::default() };
                let described = self.call_node(node, &request).await?.groups.into_iter();
                let there = described.filter(|group| group.error_code == 0);
                loads.extend(there.map(|group| GroupLoad {
                    committed: committed.remove(&group.group_id).unwrap_or_default(),
                    name: group.group_id,
                    state: group.group_state,
                    members: group.members.len(),
                }));
            }
        }
        Ok(loads)
    }

    /// Positions of groups that one broker looks after.
    async fn committed(
        &mut self,
        node: i32,
        names: &[String],
    ) -> Result<BTreeMap<String, Vec<(String, i32, i64)>>, Failure> {
        let group =
            |name: &String| offset_fetch::Group { group_id: name.clone(), ..Default::default() };
        let request = offset_fetch::Request {
            group_id: names.first().cloned().unwrap_or_default(),
            topics: None,
            groups: names.iter().map(group).collect(),
            ..Default::default()
        };
        let response = self.call_node(node, &request).await?;
        if response.groups.is_empty() && !names.is_empty() {
            return Err(Failure::failed("positions of many groups are not told at once")
                .why("the broker is older than Kafka 3.0 (OffsetFetch before version 8)")
                .hint("`tidings group describe GROUP`, for one"));
        }
        let sound = response.groups.into_iter().filter(|group| group.error_code == 0);
        let positions = sound.map(|group| {
            let committed = group.topics.into_iter().flat_map(|topic| {
                let name = topic.name;
                let told = topic.partitions.into_iter().filter(|p| {
                    ErrorCode(p.error_code) == ErrorCode::NONE && p.committed_offset >= 0
                });
                told.map(move |p| (name.clone(), p.partition_index, p.committed_offset))
            });
            (group.group_id, committed.collect())
        });
        Ok(positions.collect())
    }
}
