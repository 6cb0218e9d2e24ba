//! Records: produce batches to leaders, fetch from places on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tidings_node::broker::log::{BatchError, BatchHeader, split};
use tidings_node::{NewRecord, Record, encode_batch};
use tidings_terminal::failure::Failure;
use tidings_wire::{fetch, produce};

use super::topics::Edge;
use super::{Client, ErrorCode};
use crate::limits::{ATTEMPT_PAUSE, ATTEMPTS, FETCH_BYTES, FETCH_PARTITION_BYTES};
use crate::offsets::Point;

const TIMEOUT_MS: i32 = 30_000;

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) base_offset: i64,
}

/// A record, with the partition it is of and the batch it came in.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) record: Record,
    pub(crate) batch: BatchHeader,
}

/// Offsets of a partition when it was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edges {
    pub(crate) start: i64,
    /// Below it no transaction is open.
    pub(crate) last_stable: i64,
    pub(crate) high_watermark: i64,
}

/// What one round of fetching brought.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// In order per partition.
    pub(crate) records: Vec<Found>,
    /// Of the partitions that answered.
    pub(crate) edges: BTreeMap<i32, Edges>,
    /// Every partition has been read to its end.
    pub(crate) at_end: bool,
    /// Batches that were passed over, since they are larger than what is decompressed.
    pub(crate) too_large: Vec<TooLarge>,
}

/// A batch that was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) partition: i32,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Bytes that are decompressed at most.
    pub(crate) limit: usize,
}

impl Client {
    /// Appends records to one partition as one batch, waiting until it is durable.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        leaders: &mut Vec<i32>,
        records: &[NewRecord],
    ) -> Result<Sent, Failure> {
        let batch = encode_batch(records, None);
        let failed = |code: ErrorCode, said| {
            code.failure(format!("{} records were not taken by {topic}", records.len()), said)
        };
        let mut last = ErrorCode::NONE;
        for _ in 0..ATTEMPTS {
            let Some(leader) = usize::try_from(partition).ok().and_then(|p| leaders.get(p)) else {
                let count = leaders.len();
                return Err(ErrorCode::UNKNOWN_TOPIC
                    .failure(format!("topic {topic} has no partition {partition}"), None)
                    .why(format!("it has {count}, numbered from 0")));
            };
            let request = request(topic, partition, batch.clone());
            let response = self.call_node(*leader, &request).await?;
            let topics = response.responses.into_iter().flat_map(|t| t.partition_responses);
            let Some(answer) = topics.into_iter().next() else {
                return Err(failed(ErrorCode(-1), Some("the answer is empty".to_owned())));
            };
            last = ErrorCode(answer.error_code);
            match last {
                ErrorCode::NONE => {
                    return Ok(Sent { partition, base_offset: answer.base_offset });
                }
                code if !code.is_moving() => return Err(failed(code, answer.error_message)),
                _ => {
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                    *leaders = self.leaders(topic, false).await?;
                }
            }
        }
        Err(failed(last, None))
    }

    /// Offsets of places, by partition. An offset is moved to where a partition begins or ends, unless
    /// those of all partitions are past their ends, which is a failure.
    pub(crate) async fn offsets_at(
        &mut self,
        topic: &str,
        leaders: &[i32],
        points: &BTreeMap<i32, Point>,
    ) -> Result<BTreeMap<i32, i64>, Failure> {
        let leader = |id: i32| usize::try_from(id).ok().and_then(|id| leaders.get(id)).copied();
        let asked: Vec<_> =
            points.keys().filter_map(|id| Some((topic.to_owned(), *id, leader(*id)?))).collect();
        let starts = self.edges(&asked, Edge::Start).await?;
        let ends = self.edges(&asked, Edge::End).await?;
        let edge = |edges: &BTreeMap<(String, i32), i64>, id| {
            edges.get(&(topic.to_owned(), id)).copied().unwrap_or(0)
        };
        let past = |(id, point): (&i32, &Point)| matches!(point, Point::At(offset) if *offset > edge(&ends, *id));
        if !points.is_empty() && ends.len() == asked.len() && points.iter().all(past) {
            let wanted = points.values().find_map(|point| match point {
                Point::At(offset) => Some(*offset),
                _ => None,
            });
            let last = ends.values().max().copied().unwrap_or(0);
            let wanted = wanted.unwrap_or(0);
            return Err(Failure::failed(format!("offset {wanted} is past the end of {topic}"))
                .why(format!("the next record's offset is at most {last}"))
                .hint("--offset end, or --offset -N for the last N records"));
        }
        let mut by_time: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        for at in &asked {
            if let Some(Point::Time(time_ms)) = points.get(&at.1) {
                by_time.entry(*time_ms).or_default().push(at.clone());
            }
        }
        let mut found = BTreeMap::new();
        for (time_ms, partitions) in by_time {
            found.extend(self.edges(&partitions, Edge::Time(time_ms)).await?);
        }
        let offset = |id: i32, point: Point| {
            let (start, end) = (edge(&starts, id), edge(&ends, id));
            match point {
                Point::Start => start,
                Point::End => end,
                Point::At(offset) => offset.clamp(start, end),
                Point::AfterStart(count) => start.saturating_add(count).min(end),
                Point::BeforeEnd(count) => end.saturating_sub(count).max(start),
                // Where nothing is that late, the answer is -1.
                Point::Time(_) => match edge(&found, id) {
                    offset if offset >= start => offset,
                    _ => end,
                },
            }
        };
        Ok(points.iter().map(|(id, point)| (*id, offset(*id, *point))).collect())
    }

    /// The same for places to stop before: offsets stay what they are, however far ahead.
    pub(crate) async fn ends_at(
        &mut self,
        topic: &str,
        leaders: &[i32],
        points: &BTreeMap<i32, Point>,
    ) -> Result<BTreeMap<i32, i64>, Failure> {
        let mut ends = BTreeMap::new();
        let mut others = BTreeMap::new();
        for (partition, point) in points {
            match point {
                Point::At(offset) => drop(ends.insert(*partition, *offset)),
                other => drop(others.insert(*partition, *other)),
            }
        }
        ends.extend(self.offsets_at(topic, leaders, &others).await?);
        Ok(ends)
    }

    /// Fetches from these offsets, which move on with what was read. Waits for new records only
    /// where all partitions are of one leader.
    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        leaders: &mut Vec<i32>,
        next: &mut BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<Fetched, Failure> {
        let mut by_leader: BTreeMap<i32, Vec<fetch::Partition>> = BTreeMap::new();
        for (id, offset) in next.iter() {
            let Some(leader) = usize::try_from(*id).ok().and_then(|id| leaders.get(id)) else {
                continue;
            };
            by_leader.entry(*leader).or_default().push(fetch::Partition {
                partition: *id,
                fetch_offset: *offset,
                partition_max_bytes: FETCH_PARTITION_BYTES,
                ..Default::default()
            });
        }
        let wait = if by_leader.len() > 1 { wait / 10 } else { wait };
        let mut fetched = Fetched { at_end: true, ..Fetched::default() };
        let mut moved = false;
        for (leader, partitions) in by_leader {
            let request = fetch_request(topic, partitions, wait);
            let response = self.call_node(leader, &request).await?;
            match ErrorCode(response.error_code) {
                ErrorCode::NONE => {}
                code => return Err(code.topic_failure(topic, None)),
            }
            for answer in response.responses.into_iter().flat_map(|topic| topic.partitions) {
                moved |= take(topic, answer, next, &mut fetched)?;
            }
        }
        if moved {
            fetched.at_end = false;
            tokio::time::sleep(ATTEMPT_PAUSE).await;
            *leaders = self.leaders(topic, false).await?;
        }
        Ok(fetched)
    }
}

/// Takes one partition's answer; says whether the partition has moved.
fn take(
    topic: &str,
    answer: fetch::PartitionResponse,
    next: &mut BTreeMap<i32, i64>,
    fetched: &mut Fetched,
) -> Result<bool, Failure> {
    let id = answer.partition_index;
    let from = next.get(&id).copied().unwrap_or(0);
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {}
        // What was there when the offset was looked up has been dropped since.
        ErrorCode::OFFSET_OUT_OF_RANGE if from < answer.log_start_offset => {
            next.insert(id, answer.log_start_offset);
            fetched.at_end = false;
            return Ok(false);
        }
        code if code.is_moving() => return Ok(true),
        code => return Err(code.topic_failure(topic, None)),
    }
    let unreadable = |e| {
        Failure::failed(format!("records of {topic}-{id} from offset {from} cannot be read")).why(e)
    };
    let mut after = from;
    for batch in answer.records.unwrap_or_default().into_iter().flat_map(split) {
        let batch = batch.map_err(unreadable)?;
        after = after.max(batch.last_offset() + 1);
        let header = *batch.header();
        if header.attributes.control() {
            continue;
        }
        let records = match batch.records() {
            Err(BatchError::TooLarge { limit }) => {
                let (first, last) = (header.base_offset.max(from), batch.last_offset());
                fetched.too_large.push(TooLarge { partition: id, first, last, limit });
                continue;
            }
            records => records.map_err(unreadable)?.into_iter(),
        };
        let wanted = records.filter(|record| record.offset >= from);
        fetched.records.extend(wanted.map(|record| Found { partition: id, record, batch: header }));
    }
    fetched.at_end &= after >= answer.high_watermark;
    let edges = Edges {
        start: answer.log_start_offset,
        last_stable: answer.last_stable_offset,
        high_watermark: answer.high_watermark,
    };
    fetched.edges.insert(id, edges);
    next.insert(id, after);
    Ok(false)
}

fn request(topic: &str, partition: i32, batch: Bytes) -> produce::Request {
    let data = produce::PartitionData { index: partition, records: Some(batch) };
    let partition_data = vec![data];
    let topic = produce::TopicData { name: topic.to_owned(), partition_data, ..Default::default() };
    produce::Request {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![topic],
    }
}

fn fetch_request(topic: &str, partitions: Vec<fetch::Partition>, wait: Duration) -> fetch::Request {
    let topic = fetch::Topic { topic: topic.to_owned(), partitions, ..Default::default() };
    fetch::Request {
        replica_id: -1,
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}
