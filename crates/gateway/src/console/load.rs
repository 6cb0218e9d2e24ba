//! What a page or its JSON twin about one topic or record shows, asked of the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_engine::{Engine, Error, Partition, ReadLimit, Record, Topic};

use super::event::{EventLine, RecordView};
use super::observe::size_of;
use super::quantity::{Bytes, Count};
use super::snapshot::{Snapshot, TopicLine};
use super::trouble::Trouble;
use crate::limits::{EVENT_READ_BYTES, MERGED_PARTITIONS_MAX, PAGE_RECORDS};

/// Where a page of records begins: both parts are in the URL.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Place {
    /// Only this partition.
    pub(super) partition: Option<i32>,
    /// Records older than these offsets: `partition:offset`, separated by commas.
    pub(super) before: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct TopicView {
    #[serde(flatten)]
    pub(super) line: TopicLine,
    pub(super) partition_list: Vec<PartitionLine>,
    pub(super) configs: Vec<ConfigLine>,
    /// Newest first.
    pub(super) page: Vec<EventLine>,
    /// The one partition that is shown.
    pub(super) partition: Option<i32>,
    /// The `before` of the next, older page.
    pub(super) older: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct PartitionLine {
    pub(super) id: i32,
    pub(super) start_offset: Count,
    pub(super) end_offset: Count,
    pub(super) records: Count,
    /// None where the engine does not know sizes.
    pub(super) bytes: Option<Bytes>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ConfigLine {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

pub(super) async fn topic(
    engine: &Engine,
    snapshot: &Snapshot,
    name: &str,
    place: Place,
) -> Result<TopicView, Trouble> {
    let topic = engine.topic(name).await?;
    let configs = engine.topic_configs(name).await?.into_iter();
    let mut partition = place.partition;
    if topic.partitions.len() > MERGED_PARTITIONS_MAX {
        partition = Some(partition.unwrap_or(0));
    }
    let before = cursor(place.before.as_deref().unwrap_or_default())?;
    let (page, older) = newest(engine, &topic, partition, before).await?;
    Ok(TopicView {
        line: topic_line(&topic, snapshot),
        partition_list: topic.partitions.iter().map(partition_line).collect(),
        configs: configs
            .map(|config| ConfigLine { name: config.name, value: config.value })
            .collect(),
        page,
        partition,
        older,
    })
}

/// Sizes as they are now, rates as they were sampled.
fn topic_line(topic: &Topic, snapshot: &Snapshot) -> TopicLine {
    let sampled = snapshot.topics.iter().find(|line| line.name == topic.name).cloned();
    let mut line = sampled.unwrap_or_else(|| TopicLine {
        name: topic.name.clone(),
        internal: topic.internal,
        dead_letters: super::dead::is_dead_topic(&topic.name),
        partitions: Count::of(topic.partitions.len()),
        records: Count(0),
        bytes: None,
        records_per_second: Default::default(),
        bytes_per_second: Default::default(),
        spark: Default::default(),
    });
    let now = topic.partitions.iter().map(partition_line);
    line.records = Count(now.map(|p| p.records.0).sum());
    line.bytes = size_of(topic).map(Bytes);
    line
}

fn partition_line(partition: &Partition) -> PartitionLine {
    PartitionLine {
        id: partition.id,
        start_offset: Count(partition.start_offset),
        end_offset: Count(partition.end_offset),
        records: Count(partition.end_offset - partition.start_offset),
        bytes: partition.size_bytes.map(Bytes),
    }
}

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

/// The newest records below the cursor, newest first, and the cursor of the page after this.
async fn newest(
    engine: &Engine,
    topic: &Topic,
    only: Option<i32>,
    before: Cursor,
) -> Result<(Vec<EventLine>, Option<String>), Trouble> {
    let wanted = topic.partitions.iter().filter(|p| only.is_none_or(|only| only == p.id));
    let mut piles = Vec::new();
    for partition in wanted {
        let end = before.get(&partition.id).map_or(partition.end_offset, |b| {
            (*b).clamp(partition.start_offset, partition.end_offset)
        });
        let pile = last_records(engine, &topic.name, partition, end).await?;
        piles.push((*partition, end, pile));
    }
    if piles.is_empty() {
        let only = only.unwrap_or_default();
        return Err(Trouble::not_found(format!("topic {} has no partition {only}", topic.name)));
    }
    // Each pile keeps its order whatever its timestamps say, so that the cursor stays true.
    let mut page = Vec::new();
    while page.len() < PAGE_RECORDS {
        let newest = piles.iter_mut().max_by_key(|(_, _, pile)| pile.last().map(|r| r.timestamp));
        let Some((_, end, pile)) = newest else { break };
        let Some(record) = pile.pop() else { break };
        *end = record.offset;
        page.push(EventLine::of(&record));
    }
    let more = piles.iter().any(|(partition, end, _)| *end > partition.start_offset);
    let places = piles.iter().map(|(partition, end, _)| format!("{}:{end}", partition.id));
    let older = (more && !page.is_empty()).then(|| places.collect::<Vec<_>>().join(","));
    Ok((page, older))
}

/// The last records of a partition below an offset, oldest first.
async fn last_records(
    engine: &Engine,
    topic: &str,
    partition: &Partition,
    end: i64,
) -> Result<Vec<Record>, Error> {
    let count = i64::try_from(PAGE_RECORDS).unwrap_or(i64::MAX);
    let mut next = partition.start_offset.max(end - count);
    let mut pile = Vec::new();
    while next < end {
        let read = engine.read(topic, partition.id, next, limit(PAGE_RECORDS)).await?;
        if read.next <= next {
            break;
        }
        next = read.next;
        pile.extend(read.records.into_iter().filter(|record| record.offset < end));
    }
    Ok(pile)
}

fn limit(records: usize) -> ReadLimit {
    ReadLimit { records, bytes: EVENT_READ_BYTES, wait: Duration::ZERO }
}

pub(super) async fn record(
    engine: &Engine,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<RecordView, Trouble> {
    let read = engine.read(topic, partition, offset, limit(1)).await?;
    match read.records.first() {
        Some(record) if record.offset == offset => Ok(RecordView::of(record)),
        _ => {
            Err(Trouble::not_found(format!("{topic}-{partition} has no record at offset {offset}")))
        }
    }
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
