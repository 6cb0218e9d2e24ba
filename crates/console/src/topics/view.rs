//! What the page of a topic or of a record and its twin show.

use axum::http::StatusCode;
use std::time::Duration;

use axum::http::HeaderMap;
use serde::Serialize;
use tidings_engine::{Error, Partition, ReadLimit, Record, Topic};
use tidings_gateway::Trouble;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::asked::Asked;
use super::command_line::{Addresses, CommandLine, of_record, of_search};
use super::partitions::{Retention, Skew};
use super::scan::{Ended, Looked, Next, Row, Scan, shown_partition};
use crate::Shared;
use crate::dead::is_dead_topic;
use crate::event::RecordView;
use crate::limits::{EVENT_READ_BYTES, SEARCH_PAGE, SEARCH_WAIT, SEARCHES_MAX};
use crate::observe::size_of;
use crate::quantity::{Bytes, Count};
use crate::reading::Reader;
use crate::snapshot::{Snapshot, TopicLine};

#[derive(Clone, Debug, Serialize)]
pub(super) struct TopicView {
    #[serde(flatten)]
    pub(super) line: TopicLine,
    pub(super) partition_list: Vec<PartitionLine>,
    pub(super) configs: Vec<ConfigLine>,
    /// Newest first.
    pub(super) page: Vec<Row>,
    /// Paths of the columns.
    pub(super) columns: Vec<String>,
    /// The one partition that is shown.
    pub(super) partition: Option<i32>,
    /// The `before` of the next, older page.
    pub(super) older: Option<String>,
    pub(super) looked: Looked,
    pub(super) ended: Ended,
    /// The record that is opened in place.
    pub(super) open: Option<Box<OpenRecord>>,
    /// Why there is none, where one was asked for: retention may have taken it since the link was made.
    pub(super) open_refused: Option<String>,
    pub(super) commands: Vec<CommandLine>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct PartitionLine {
    pub(super) id: i32,
    pub(super) start_offset: Count,
    pub(super) end_offset: Count,
    pub(super) records: Count,
    /// Of all records, in percent.
    pub(super) percent: u8,
    /// None where the engine does not know sizes.
    pub(super) bytes: Option<Bytes>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ConfigLine {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) is_default: bool,
}

/// A record, and how it is found elsewhere.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OpenRecord {
    #[serde(flatten)]
    pub(super) record: RecordView,
    pub(super) commands: Vec<CommandLine>,
}

/// A turn among the searches.
pub(super) async fn turn(shared: &Shared) -> Result<SemaphorePermit<'_>, Trouble> {
    match timeout(SEARCH_WAIT, shared.searches.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        // The semaphore is never closed.
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

pub(super) fn busy() -> Trouble {
    Trouble::unavailable(format!("{SEARCHES_MAX} searches are under way already"))
        .hint("try again when one of them has ended")
}

pub(super) async fn topic(
    shared: &Shared,
    snapshot: &Snapshot,
    name: &str,
    asked: Asked,
    host: Option<&str>,
) -> Result<TopicView, Trouble> {
    let engine = &shared.engine;
    let topic = engine.topic(name).await?;
    let configs = engine.topic_configs(name).await?;
    let addresses = Addresses::of(host, &shared.options);
    let mut line = topic_line(&topic, snapshot);
    line.retention = Some(Retention::of(&configs));
    let (open, open_refused) = match asked.open {
        Some((partition, offset)) => match record(shared, name, partition, offset, host).await {
            Ok(record) => (Some(Box::new(record)), None),
            Err(trouble) if trouble.status == StatusCode::NOT_FOUND => (None, Some(trouble.detail)),
            Err(trouble) => return Err(trouble),
        },
        None => (None, None),
    };
    let partition = shown_partition(&topic, &asked);
    let commands = of_search(&addresses, name, &asked);
    let columns = asked.columns.iter().map(ToString::to_string).collect();
    let _turn = turn(shared).await?;
    let reader = Reader::new(shared.schemas.current().await);
    let mut scan = Scan::begin(engine, &topic, asked, SEARCH_PAGE, reader).await?;
    let mut page = Vec::new();
    let ended = loop {
        match scan.next().await? {
            Next::Row(row) => page.push(*row),
            Next::Looked => {}
            Next::Ended(ended) => break ended,
        }
    };
    Ok(TopicView {
        partition_list: partition_lines(&topic),
        line,
        configs: configs
            .into_iter()
            .map(|config| ConfigLine {
                name: config.name,
                value: config.value,
                is_default: config.is_default,
            })
            .collect(),
        page,
        columns,
        partition,
        older: scan.cursor(),
        looked: scan.looked,
        ended,
        open,
        open_refused,
        commands,
    })
}

/// Sizes as they are now, rates as they were sampled.
fn topic_line(topic: &Topic, snapshot: &Snapshot) -> TopicLine {
    let sampled = snapshot.topics.binary_search_by(|line| line.name.cmp(&topic.name));
    let sampled = sampled.ok().map(|index| snapshot.topics[index].clone());
    let records: Vec<i64> = topic.partitions.iter().map(records_of).collect();
    let mut line = sampled.unwrap_or_else(|| TopicLine {
        internal: topic.internal,
        dead_letters: is_dead_topic(&topic.name),
        partitions: Count::of(topic.partitions.len()),
        skew: Skew::of(&records),
        name: topic.name.clone(),
        ..TopicLine::default()
    });
    line.records = Count(records.iter().sum());
    line.bytes = size_of(topic).map(Bytes);
    line
}

fn records_of(partition: &Partition) -> i64 {
    partition.end_offset - partition.start_offset
}

fn partition_lines(topic: &Topic) -> Vec<PartitionLine> {
    let total: i64 = topic.partitions.iter().map(records_of).sum();
    let line = |partition: &Partition| PartitionLine {
        id: partition.id,
        start_offset: Count(partition.start_offset),
        end_offset: Count(partition.end_offset),
        records: Count(records_of(partition)),
        percent: u8::try_from((records_of(partition) * 100 + total / 2) / total.max(1))
            .unwrap_or(100),
        bytes: partition.size_bytes.map(Bytes),
    };
    topic.partitions.iter().map(line).collect()
}

pub(super) async fn record(
    shared: &Shared,
    topic: &str,
    partition: i32,
    offset: i64,
    host: Option<&str>,
) -> Result<OpenRecord, Trouble> {
    let record = read_record(shared, topic, partition, offset).await?;
    let addresses = Addresses::of(host, &shared.options);
    let reader = Reader::new(shared.schemas.current().await);
    let registry = addresses.registry.clone();
    let view = move || RecordView::of(&record, &reader, registry.as_deref());
    let viewed = tokio::task::spawn_blocking(view).await;
    let record = viewed.map_err(|error| Trouble::internal(error.to_string()))?;
    let commands = of_record(&addresses, topic, partition, offset);
    Ok(OpenRecord { record, commands })
}

/// A record, however large; a few at once.
pub(super) async fn read_record(
    shared: &Shared,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Record, Trouble> {
    let _turn = turn(shared).await?;
    let limit = ReadLimit { records: 1, bytes: EVENT_READ_BYTES, wait: Duration::ZERO };
    let read = match shared.engine.read(topic, partition, offset, limit).await {
        Err(error @ Error::Corrupt(_)) => {
            return Err(Trouble::from(error)
                .titled("The record cannot be read")
                .hint("records before and behind its batch can be; a batch that is too large to decompress here may be read by a Kafka client"));
        }
        read => read?,
    };
    let found = read.records.into_iter().next().filter(|record| record.offset == offset);
    found.ok_or_else(|| {
        Trouble::not_found(format!("{topic}-{partition} has no record at offset {offset}"))
            .hint("markers of transactions and records that were compacted away have offsets too")
    })
}

/// How the client calls this server.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(axum::http::header::HOST)?.to_str().ok()
}
