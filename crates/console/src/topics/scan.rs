//! A topic's records from the newest to the oldest, over its partitions, within a budget.
//!
//! 1. Each partition is read backwards in chunks, small ones first, so that what is newest is soon there. A chunk is judged
//!    by the filter as it comes; of what is not taken only offset and time are kept.
//! 2. Of all partitions the record with the newest timestamp is next. A partition keeps its own order whatever its
//!    timestamps say, so that the cursor stays true.
//! 3. When the budget ends, the cursor says where: each partition's offset below which nothing was looked at. A scan always
//!    comes through its first chunks, so that the next one begins further back.
//!
//! In memory are one chunk ([`SEARCH_CHUNK_BYTES`], or one larger record) and the rows of a chunk for every partition. Chunks
//! are judged on a thread where waiting does no harm.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use tidings_engine::{Engine, Error, Offset, Partition, ReadLimit, Record, Topic};
use tidings_gateway::{Cursor, Trouble};

use super::asked::Asked;
use super::filter::{Filter, Verdict};
use crate::event::EventLine;
use crate::json_path::{Extent, JsonPath};
use crate::limits::{
    CAUSE_CHARS_MAX, COLUMN_CHARS, FILTERED_JSON_BYTES_MAX, SEARCH_CHUNK_BYTES,
    SEARCH_CHUNK_GIVEN_UP_BYTES, SEARCH_CHUNK_RECORDS, SEARCH_FIRST_RECORDS, SEARCH_PARTITIONS_MAX,
    SearchBudget,
};
use crate::payload::shortened;
use crate::quantity::{Bytes, Count, Moment};
use crate::reading::{Reader, Reading, is_framed};

/// A record that was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) line: EventLine,
    /// What each column's path finds; none where it finds nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<Option<String>>,
}

impl Row {
    pub(super) fn of(reading: &Reading<'_>, columns: &[JsonPath]) -> Self {
        let (record, line) = (reading.record.as_ref(), EventLine::of(reading));
        if columns.is_empty() {
            return Self { line, columns: Vec::new() };
        }
        let bytes = record.value.as_deref().unwrap_or_default();
        let value = (bytes.len() <= FILTERED_JSON_BYTES_MAX)
            .then(|| serde_json::from_slice::<Value>(bytes).ok())
            .flatten();
        let extent = value.as_ref().map(Extent::of);
        let field = |path: &JsonPath| {
            let found = path.find_within(value.as_ref()?, extent?)?;
            let texts = found.iter().map(|found| match found {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            let texts: Vec<_> = texts.take(COLUMN_CHARS).collect();
            (!texts.is_empty()).then(|| shortened(&texts.join(", "), COLUMN_CHARS))
        };
        Self { line, columns: columns.iter().map(field).collect() }
    }
}

/// What a scan has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Looked {
    /// Records looked at.
    pub(super) records: Count,
    pub(super) bytes: Bytes,
    /// Of them, taken.
    pub(super) found: Count,
    /// Of them, too large or too costly for the filter to tell.
    pub(super) too_large: Count,
    /// Of them, those that the expression does not fit; and why, of the first.
    pub(super) failed: Count,
    pub(super) failure: Option<String>,
    /// Offsets whose bytes are damaged.
    pub(super) damaged: Count,
    /// Offsets that have not been looked at.
    pub(super) left: Count,
    /// How far back it is.
    #[serde(rename = "back_to_ms")]
    pub(super) back_to: Option<Moment>,
}

/// Why a scan stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// Nothing is left.
    Complete,
    /// As many as were asked for were found.
    Rows,
    Records,
    Bytes,
    Time,
}

/// What comes next of a scan.
#[derive(Debug)]
pub(super) enum Next {
    Row(Box<Row>),
    /// More was looked at, and nothing found.
    Looked,
    Ended(Ended),
}

pub(super) struct Scan {
    engine: Engine,
    topic: String,
    what: Arc<What>,
    parts: Vec<Part>,
    budget: SearchBudget,
    began: Instant,
    pub(super) looked: Looked,
}

/// What is looked for, and shown of it.
#[derive(Debug)]
struct What {
    filter: Filter,
    columns: Vec<JsonPath>,
    reader: Reader,
}

#[derive(Debug)]
struct Part {
    id: i32,
    /// Nothing before it is wanted.
    low: i64,
    /// Everything from it on has been loaded.
    end: i64,
    /// What was loaded and not handed over, oldest first.
    pile: VecDeque<Entry>,
    /// Records of the next chunk.
    chunk: usize,
    /// Whether anything was loaded.
    begun: bool,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    time: Moment,
    row: Option<Box<Row>>,
}

impl Part {
    /// Nothing below it has been handed over.
    fn position(&self) -> i64 {
        self.pile.back().map_or(self.end, |last| last.offset + 1)
    }

    /// What was judged and not taken need not be looked at again, whatever others have in between.
    fn pass_by(&mut self) {
        while self.pile.pop_back_if(|last| last.row.is_none()).is_some() {}
    }

    fn left(&self) -> i64 {
        (self.position() - self.low).max(0)
    }

    fn wants_more(&self) -> bool {
        self.pile.is_empty() && self.end > self.low
    }
}

impl Scan {
    /// Refuses a partition that is not there. Of a topic with too many partitions, one is scanned.
    pub(super) async fn begin(
        engine: &Engine,
        topic: &Topic,
        asked: Asked,
        budget: SearchBudget,
        reader: Reader,
    ) -> Result<Self, Trouble> {
        let began = Instant::now();
        let only = shown_partition(topic, &asked);
        let wanted = topic.partitions.iter().filter(|p| only.is_none_or(|only| only == p.id));
        let mut parts = Vec::new();
        for partition in wanted {
            parts.push(part(engine, &topic.name, partition, &asked).await?);
        }
        if parts.is_empty() {
            let only = only.unwrap_or_default();
            let why = format!("topic {} has no partition {only}", topic.name);
            return Err(Trouble::not_found(why));
        }
        let what = Arc::new(What { filter: asked.filter, columns: asked.columns, reader });
        let (engine, topic) = (engine.clone(), topic.name.clone());
        let mut scan =
            Self { engine, topic, what, parts, budget, began, looked: Looked::default() };
        scan.reckon();
        Ok(scan)
    }

    /// Where the next scan goes on; none when nothing is left.
    pub(super) fn cursor(&self) -> Option<String> {
        let left = self.parts.iter().any(|part| part.left() > 0);
        let places = self.parts.iter().map(|part| format!("{}:{}", part.id, part.position()));
        left.then(|| places.collect::<Vec<_>>().join(","))
    }

    /// Goes on. Whoever drops it in the middle may go on.
    pub(super) async fn next(&mut self) -> Result<Next, Error> {
        let mut loaded = false;
        loop {
            let is_first = self.parts.iter().any(|part| part.wants_more() && !part.begun);
            if !is_first && let Some(ended) = self.exhausted() {
                self.parts.iter_mut().for_each(Part::pass_by);
                self.reckon();
                return Ok(Next::Ended(ended));
            }
            if let Some(index) = self.parts.iter().position(Part::wants_more) {
                self.load(index).await?;
                loaded = true;
                continue;
            }
            let newest = self.parts.iter_mut().filter(|part| !part.pile.is_empty());
            let newest = newest.max_by_key(|part| part.pile.back().map(|last| last.time));
            let Some(entry) = newest.and_then(|part| part.pile.pop_back()) else {
                self.reckon();
                return Ok(Next::Ended(Ended::Complete));
            };
            self.looked.back_to = Some(entry.time);
            if let Some(row) = entry.row {
                self.looked.found.0 += 1;
                return Ok(Next::Row(row));
            }
            if loaded && self.parts.iter().any(Part::wants_more) {
                self.reckon();
                return Ok(Next::Looked);
            }
        }
    }

    fn exhausted(&self) -> Option<Ended> {
        let SearchBudget { records, bytes, time, rows } = self.budget;
        if self.looked.found >= Count::of(rows) {
            return Some(Ended::Rows);
        }
        // What is loaded is handed over; only more of it takes of the budget.
        if !self.parts.iter().any(Part::wants_more) {
            return None;
        }
        match () {
            () if self.looked.records.0.unsigned_abs() >= records => Some(Ended::Records),
            () if self.looked.bytes.0 >= bytes => Some(Ended::Bytes),
            () if self.began.elapsed() >= time => Some(Ended::Time),
            () => None,
        }
    }

    fn reckon(&mut self) {
        self.looked.left = Count(self.parts.iter().map(Part::left).sum());
    }

    /// Loads the next chunk of a partition, and judges it.
    async fn load(&mut self, index: usize) -> Result<(), Error> {
        let part = &mut self.parts[index];
        let (low, end) = (part.low, part.end);
        let count = i64::try_from(part.chunk).unwrap_or(i64::MAX);
        let from = low.max(end.saturating_sub(count));
        let chunk = match read_chunk(&self.engine, &self.topic, part.id, from, end).await {
            Ok(chunk) => chunk,
            Err(Error::OffsetOutOfRange { first, .. }) if first > from => {
                // Its oldest records have gone.
                part.low = first.min(end);
                return Ok(());
            }
            Err(Error::Corrupt(_)) if part.chunk > 1 => {
                part.chunk = (part.chunk / 8).max(1);
                return Ok(());
            }
            Err(Error::Corrupt(_)) => {
                self.looked.damaged.0 += end - from;
                (part.begun, part.end) = (true, from);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.looked.bytes.0 += chunk.read_bytes;
        let Some(records) = chunk.records else {
            part.chunk = (part.chunk / 8).max(1);
            return Ok(());
        };
        let part = &mut self.parts[index];
        part.begun = true;
        part.chunk = next_chunk(part.chunk, records.len(), chunk.kept_bytes);
        let what = Arc::clone(&self.what);
        let deadline = self.began.checked_add(self.budget.time);
        let judged = if what.filter.looks_inside() || records.iter().any(is_framed) {
            let judging = tokio::task::spawn_blocking(move || judge(&records, &what, deadline));
            judging.await.map_err(|error| Error::Unavailable(error.to_string()))?
        } else {
            judge(&records, &what, deadline)
        };
        let part = &mut self.parts[index];
        part.end = judged.stopped_at.unwrap_or(chunk.from);
        part.pile = judged.entries;
        self.looked.records.0 += judged.looked.records.0;
        self.looked.too_large.0 += judged.looked.too_large.0;
        self.looked.failed.0 += judged.looked.failed.0;
        self.looked.failure = self.looked.failure.take().or(judged.looked.failure);
        Ok(())
    }
}

/// The one partition that is scanned; none for all.
pub(super) fn shown_partition(topic: &Topic, asked: &Asked) -> Option<i32> {
    let too_many = topic.partitions.len() > SEARCH_PARTITIONS_MAX;
    let only = asked.offset.is_some() || too_many;
    asked.partition.or_else(|| only.then_some(0))
}

async fn part(
    engine: &Engine,
    topic: &str,
    partition: &Partition,
    asked: &Asked,
) -> Result<Part, Error> {
    let Partition { id, start_offset, end_offset, size_bytes } = *partition;
    let by_time = async |time: Option<i64>, otherwise: i64| match time {
        Some(time) => engine.offset(topic, id, Offset::Timestamp(time)).await,
        None => Ok(otherwise),
    };
    let low = by_time(asked.filter.since, start_offset).await?.max(start_offset);
    let mut end = by_time(asked.filter.until, end_offset).await?.min(end_offset);
    if let Some(offset) = asked.offset {
        end = end.min(offset.saturating_add(1));
    }
    end = before(&asked.before, id).map_or(end, |before| end.min(before)).max(low);
    // What records take on average says how many make a chunk.
    let records = (end_offset - start_offset).max(1).unsigned_abs();
    let average = size_bytes.map_or(1, |bytes| bytes / records).max(1);
    let fitting = usize::try_from(SEARCH_CHUNK_BYTES as u64 / average).unwrap_or(usize::MAX);
    let chunk = fitting.clamp(1, SEARCH_FIRST_RECORDS);
    Ok(Part { id, low, end, pile: VecDeque::new(), chunk, begun: false })
}

/// Partitions that a cursor does not name are newer than it.
fn before(cursor: &Cursor, id: i32) -> Option<i64> {
    cursor.get(&id).copied()
}

/// How many records the next chunk has: up to four times as many, as long as they fit.
fn next_chunk(now: usize, records: usize, bytes: usize) -> usize {
    let average = (bytes / records.max(1)).max(1);
    let fitting = (SEARCH_CHUNK_BYTES / average).max(1);
    now.saturating_mul(4).min(fitting).min(SEARCH_CHUNK_RECORDS)
}

struct Chunk {
    /// None when they turned out too large to be read at once.
    records: Option<VecDeque<Record>>,
    /// The first offset that was looked at.
    from: i64,
    kept_bytes: usize,
    read_bytes: u64,
}

/// The records of a range; if they do not fit, the newest of them.
async fn read_chunk(
    engine: &Engine,
    topic: &str,
    partition: i32,
    from: i64,
    end: i64,
) -> Result<Chunk, Error> {
    let mut chunk = Chunk { records: Some(VecDeque::new()), from, kept_bytes: 0, read_bytes: 0 };
    let mut next = from;
    while next < end {
        let wanted = usize::try_from(end - next).unwrap_or(usize::MAX).min(SEARCH_CHUNK_RECORDS);
        let wait = std::time::Duration::ZERO;
        let limit = ReadLimit { records: wanted, bytes: SEARCH_CHUNK_BYTES, wait };
        let read = engine.read(topic, partition, next, limit).await?;
        if read.next <= next {
            break;
        }
        next = read.next;
        let Some(records) = &mut chunk.records else { break };
        for record in read.records.into_iter().filter(|record| record.offset < end) {
            chunk.read_bytes += size(&record) as u64;
            chunk.kept_bytes += size(&record);
            records.push_back(record);
            while chunk.kept_bytes > SEARCH_CHUNK_BYTES && records.len() > 1 {
                chunk.kept_bytes -= records.pop_front().as_ref().map_or(0, size);
                chunk.from = records.front().map_or(from, |first| first.offset);
            }
        }
        if chunk.read_bytes > SEARCH_CHUNK_GIVEN_UP_BYTES as u64 && next < end && end - from > 1 {
            chunk.records = None;
            break;
        }
    }
    Ok(chunk)
}

fn size(record: &Record) -> usize {
    let headers =
        record.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, |v| v.len()));
    let (key, value) = (record.key.as_ref(), record.value.as_ref());
    headers.sum::<usize>() + key.map_or(0, |key| key.len()) + value.map_or(0, |value| value.len())
}

struct Judged {
    /// Oldest first.
    entries: VecDeque<Entry>,
    looked: Looked,
    /// The offset below which nothing was judged, where time was up.
    stopped_at: Option<i64>,
}

/// Newest first, so that what is left when time is up is the oldest; one is always judged.
fn judge(records: &VecDeque<Record>, what: &What, deadline: Option<Instant>) -> Judged {
    let mut judged =
        Judged { entries: VecDeque::new(), looked: Looked::default(), stopped_at: None };
    for record in records.iter().rev() {
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late && let Some(last) = judged.entries.front() {
            judged.stopped_at = Some(last.offset);
            break;
        }
        judged.looked.records.0 += 1;
        let reading = what.reader.read(record);
        let taken = match what.filter.judge(&reading.record) {
            Verdict::Taken => true,
            Verdict::Left => false,
            Verdict::TooLarge => {
                judged.looked.too_large.0 += 1;
                false
            }
            Verdict::Failed(why) => {
                judged.looked.failed.0 += 1;
                judged.looked.failure.get_or_insert(shortened(&why, CAUSE_CHARS_MAX));
                false
            }
        };
        let row = taken.then(|| Box::new(Row::of(&reading, &what.columns)));
        let time = Moment(record.timestamp);
        judged.entries.push_front(Entry { offset: record.offset, time, row });
    }
    judged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_engine::{NewTopic, SentRecord};

    use super::*;

    #[test]
    fn chunks_grow_as_long_as_they_fit() {
        const MIB: usize = 1024 * 1024;
        for (now, records, bytes, wanted) in [
            (64, 64, 6_400, 256),
            (64, 0, 0, 256),
            (4_096, 4_096, 4_096 * 100, 4_096),
            (64, 64, 64 * 64 * 1024, 16),
            (64, 1, 100 * MIB, 1),
            (1, 1, 100, 4),
        ] {
            assert_eq!(next_chunk(now, records, bytes), wanted, "{now} {records} {bytes}");
        }
    }

    async fn scan(records: usize, budget: SearchBudget, said: &str) -> Scan {
        let engine = Engine::in_memory().await.unwrap();
        let new = NewTopic { name: "t".into(), partitions: Some(2), configs: vec![] };
        engine.create_topic(new).await.unwrap();
        let record = |n: usize| SentRecord {
            topic: "t".into(),
            partition: Some(i32::from(n.is_multiple_of(10))),
            value: Some(vec![b'x'; 1_000].into()),
            timestamp: Some(i64::try_from(n).unwrap() + 1),
            ..SentRecord::default()
        };
        engine.producer().await.unwrap().send((0..records).map(record).collect()).await.unwrap();
        let topic = engine.topic("t").await.unwrap();
        let pairs = vec![("q".to_owned(), said.to_owned())];
        let asked = Asked::parse(pairs, Moment(0)).unwrap();
        let reader = Reader::new(Arc::default());
        Scan::begin(&engine, &topic, asked, budget, reader).await.unwrap()
    }

    async fn ended(scan: &mut Scan) -> Ended {
        loop {
            if let Next::Ended(ended) = scan.next().await.unwrap() {
                return ended;
            }
        }
    }

    #[tokio::test]
    async fn each_part_of_the_budget_ends_a_scan_that_has_got_further() {
        const ALL: SearchBudget = SearchBudget {
            records: u64::MAX,
            bytes: u64::MAX,
            time: Duration::from_secs(600),
            rows: usize::MAX,
        };
        for (budget, said, wanted) in [
            (ALL, "y", Ended::Complete),
            (SearchBudget { records: 0, ..ALL }, "y", Ended::Records),
            (SearchBudget { bytes: 0, ..ALL }, "y", Ended::Bytes),
            (SearchBudget { time: Duration::ZERO, ..ALL }, "y", Ended::Time),
            (SearchBudget { rows: 3, ..ALL }, "x", Ended::Rows),
        ] {
            let mut scan = scan(2_000, budget, said).await;
            let left = scan.looked.left;
            assert_eq!(ended(&mut scan).await, wanted);
            assert!(scan.looked.left < left, "{wanted:?}: {:?}", scan.looked);
            assert_eq!(scan.cursor().is_none(), wanted == Ended::Complete);
        }
    }

    #[tokio::test]
    async fn what_is_in_memory_is_bounded_by_chunks() {
        let budget = SearchBudget {
            records: u64::MAX,
            bytes: u64::MAX,
            time: Duration::from_secs(600),
            rows: usize::MAX,
        };
        let mut scan = scan(20_000, budget, "x").await;
        let mut found = 0;
        while let Next::Row(_) | Next::Looked = scan.next().await.unwrap() {
            found += 1;
            let rows: usize = scan.parts.iter().map(|part| part.pile.len()).sum();
            assert!(rows <= 2 * SEARCH_CHUNK_BYTES / 1_000, "{rows} rows after {found}");
        }
        assert_eq!(scan.looked.records, Count(20_000));
    }
}
