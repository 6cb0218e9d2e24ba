//! What a page or its JSON twin about one group shows, asked of the engine; and cursors of URLs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidings_engine::{Engine, TopicPartition};

use super::quantity::Count;
use super::snapshot::{GroupLine, Snapshot};
use super::trouble::Trouble;

pub(crate) type Cursor = BTreeMap<i32, i64>;

/// Offsets of partitions, as URLs write them: `partition:offset,…`.
pub(crate) fn cursor(said: &str) -> Result<Cursor, Trouble> {
    let places = said.split(',').filter(|place| !place.is_empty());
    let parsed: Option<Cursor> = places
        .map(|place| {
            let (partition, offset) = place.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        })
        .collect();
    parsed.ok_or_else(|| {
        Trouble::bad_request(format!("{said:?} is not of the form partition:offset,…"))
    })
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct GroupView {
    #[serde(flatten)]
    pub(super) line: GroupLine,
    pub(super) protocol: String,
    pub(super) member_list: Vec<MemberLine>,
    pub(super) offsets: Vec<OffsetLine>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct MemberLine {
    pub(super) member_id: String,
    pub(super) client_id: String,
    pub(super) host: String,
    /// `topic[partition,…]`, one for each topic.
    pub(super) assignment: Vec<String>,
}

/// Partitions as the command line writes them.
fn by_topic(assignment: &[TopicPartition]) -> Vec<String> {
    let mut topics = BTreeMap::<&str, BTreeSet<i32>>::new();
    for at in assignment {
        topics.entry(&at.topic).or_default().insert(at.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        format!("{topic}[{}]", partitions.join(","))
    });
    topics.collect()
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct OffsetLine {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed: Option<Count>,
    pub(super) end_offset: Count,
    pub(super) lag: Count,
    pub(super) metadata: Option<String>,
}

pub(super) async fn group(
    engine: &Engine,
    snapshot: &Snapshot,
    name: &str,
) -> Result<GroupView, Trouble> {
    let group = engine.group(name).await?;
    if group.state == "Dead" {
        return Err(Trouble::not_found(format!("there is no group {name}")));
    }
    let sampled = snapshot.groups.iter().find(|line| line.name == name).cloned();
    let mut line = sampled.unwrap_or_else(|| GroupLine {
        name: name.to_owned(),
        state: String::new(),
        members: Count(0),
        lag: Count(0),
        behind: None,
        trend: Default::default(),
        stuck: false,
        committed_per_second: Default::default(),
        spark: Default::default(),
    });
    line.state.clone_from(&group.state);
    line.members = Count::of(group.members.len());
    line.lag = Count(group.offsets.iter().map(|o| o.lag).sum());
    let members = group.members.into_iter().map(|member| MemberLine {
        member_id: member.member_id,
        client_id: member.client_id,
        host: member.host,
        assignment: by_topic(&member.assignment),
    });
    let offsets = group.offsets.into_iter().map(|offset| OffsetLine {
        topic: offset.topic,
        partition: offset.partition,
        committed: offset.committed.map(Count),
        end_offset: Count(offset.end_offset),
        lag: Count(offset.lag),
        metadata: offset.metadata.filter(|text| !text.is_empty()),
    });
    let (member_list, mut offsets): (Vec<_>, Vec<_>) = (members.collect(), offsets.collect());
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(GroupView { line, protocol: group.protocol, member_list, offsets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_from_the_url() {
        let parsed = |said| cursor(said).map_err(|trouble| trouble.status.as_u16());
        assert_eq!(parsed(""), Ok(Cursor::new()));
        assert_eq!(parsed("0:12,3:5"), Ok(Cursor::from([(0, 12), (3, 5)])));
        for said in ["1", "a:b", "0:1;2:3", "0:"] {
            assert_eq!(parsed(said), Err(400), "{said}");
        }
    }
}
