//! Positions of groups: each points to the record that it pointed to, or to the next one that is there; never
//! further. A group that is further at the target stays where it is.

use std::collections::{BTreeMap, HashSet};

use tidings_engine::{Error, GroupDescription, TopicPartition};
use tidings_terminal::failure::Failure;

use super::map::Map;
use super::notes::{Noticed, Step};
use super::plan::{Tail, tail};
use super::{Sides, again, is_meant};
use crate::place::failed;

/// What became of a group.
#[derive(Clone, Debug)]
pub(super) struct GroupCopied {
    pub(super) name: String,
    /// Positions that were set now, that were right already, and that are further at the target.
    pub(super) set: usize,
    pub(super) same: usize,
    pub(super) further: usize,
    /// Positions behind which the source has records that are still to be copied.
    pub(super) waiting: usize,
    pub(super) refused: Option<String>,
}

type Wanted = (TopicPartition, i64, Option<String>);

pub(super) async fn set(
    sides: &Sides,
    noticed: &Noticed,
    topics: &HashSet<String>,
    patterns: &[String],
) -> Result<Vec<GroupCopied>, Failure> {
    let unread = |error| failed("the source's groups cannot be listed", &error);
    let groups = sides.source.groups().await.map_err(unread)?;
    let of_consumers = |kind: &str| kind.is_empty() || kind == "consumer";
    let meant = groups
        .into_iter()
        .filter(|group| of_consumers(&group.protocol_type) && is_meant(&group.name, patterns));
    let mut copied = Vec::new();
    let mut ends = BTreeMap::new();
    for group in meant {
        let described = sides.source.group(&group.name).await.map_err(unread)?;
        copied.extend(one(sides, noticed, topics, &described, &mut ends).await?);
    }
    Ok(copied)
}

/// None of a group that has no positions in what is copied.
async fn one(
    sides: &Sides,
    noticed: &Noticed,
    topics: &HashSet<String>,
    group: &GroupDescription,
    ends: &mut BTreeMap<TopicPartition, i64>,
) -> Result<Option<GroupCopied>, Failure> {
    let unread = |error| failed(format!("group {} cannot be seen", group.name), &error);
    let there = sides.target.group(&group.name).await.map_err(unread)?;
    let there = there.offsets.into_iter().filter_map(|held| {
        let at = TopicPartition { topic: held.topic, partition: held.partition };
        Some((at, held.committed?))
    });
    let there: BTreeMap<TopicPartition, i64> = there.collect();
    let mut copied = GroupCopied {
        name: group.name.clone(),
        set: 0,
        same: 0,
        further: 0,
        waiting: 0,
        refused: None,
    };
    let mut wanted: Vec<Wanted> = Vec::new();
    for held in group.offsets.iter().filter(|held| topics.contains(&held.topic)) {
        let Some(committed) = held.committed else { continue };
        let at = TopicPartition { topic: held.topic.clone(), partition: held.partition };
        let steps = noticed.steps.get(&at).map_or(&[][..], Vec::as_slice);
        let end = steps.last().map_or(0, |step| step.source.1);
        copied.waiting += usize::from(!steps.is_empty() && committed > end);
        let offset = match Map::of(&sides.notes, steps).at_or_after(committed).await? {
            Some(offset) => offset,
            None => end_of(sides, &at, steps, ends).await?,
        };
        match there.get(&at) {
            Some(is) if *is == offset => copied.same += 1,
            Some(is) if *is > offset => copied.further += 1,
            _ => wanted.push((
                at,
                offset,
                held.metadata.clone().filter(|text| is_the_same_there(text)),
            )),
        }
    }
    if wanted.is_empty() && copied.same + copied.further == 0 {
        return Ok(None);
    }
    match sides.target.reset_group(&group.name, &wanted).await {
        Ok(()) => copied.set = wanted.len(),
        Err(Error::Invalid(why)) => copied.refused = Some(why),
        Err(error) => {
            let what = format!("positions of group {} are not set", group.name);
            return Err(again(failed(what, &error), &error));
        }
    }
    Ok(Some(copied))
}

/// What a service of the SDK says beside its position counts in offsets of the source; without it the service handles
/// again what it does not remember otherwise.
fn is_the_same_there(metadata: &str) -> bool {
    !metadata.starts_with(tidings::POSITION_TEXT)
}

/// Where who has read everything that was copied goes on: behind the marker of the last transaction, so that
/// nothing seems to be left; but before any record.
async fn end_of(
    sides: &Sides,
    at: &TopicPartition,
    steps: &[Step],
    ends: &mut BTreeMap<TopicPartition, i64>,
) -> Result<i64, Failure> {
    if let Some(end) = ends.get(at) {
        return Ok(*end);
    }
    let last = steps.last().map_or(0, |step| step.target.1);
    let (Tail::Record(end) | Tail::End(end)) = tail(sides, at, last).await?;
    ends.insert(at.clone(), end);
    Ok(end)
}
