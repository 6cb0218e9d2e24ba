//! A look through the log, newest records first, for what belongs to what is searched for.
//!
//! Every partition is read backwards, piece by piece, that one first whose next records are the newest; so the newest matches come
//! first whatever the number of partitions. Of each record that is looked at, three hashes are remembered: of its id, its correlation and its
//! cause ([`TRACE_RECORDS`] times 40 bytes at most). At the end, what belongs to the matches is picked from them and read
//! again. A search ends with its budget of records, of time or of matches, after whole pieces, and says where it has got to ([`Cursor`]).
//!
//! Where a page goes on, the places of what was found before are given with it, so that what they belong to is found further back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_engine::{Engine, Error, Offset, ReadLimit, Record, Topic};
use tidings_gateway::Trouble;
use tokio::task::JoinSet;

use super::super::observe::{is_kept_by_a_service, is_of_tidings};
use super::super::quantity::{Count, Moment};
use super::super::reading::{Reader, Reading};
use super::index::{Index, Seen};
use super::{Found, Spot};
use crate::limits::{
    TRACE_CHUNK_RECORDS, TRACE_EVENTS_MAX, TRACE_FIRST_RECORDS, TRACE_MATCHES_MAX,
    TRACE_PARTITIONS_MAX, TRACE_PIECE_BYTES, TRACE_READ_BYTES, TRACE_READS, TRACE_RECORDS,
    TRACE_TIME,
};

/// What is looked for, and where.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) text: String,
    /// Only in this topic.
    pub(super) topic: Option<String>,
    pub(super) from: Option<Moment>,
    pub(super) to: Option<Moment>,
    /// Where an earlier page has got to; none of the first one.
    pub(super) before: Option<Cursor>,
    /// What earlier pages have found.
    pub(super) have: Vec<Spot>,
}

/// What a page may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) records: usize,
    pub(super) matches: usize,
    pub(super) time: Duration,
}

impl Budget {
    pub(super) const PAGE: Self =
        Self { records: TRACE_RECORDS, matches: TRACE_MATCHES_MAX, time: TRACE_TIME };
}

/// What has been found, and where the search has got to.
#[derive(Debug)]
pub(super) struct Search {
    /// By time, oldest first.
    pub(super) found: Vec<Found>,
    /// Places that mention what is searched for, itself.
    pub(super) matches: BTreeSet<Spot>,
    /// Records in the range that is searched.
    pub(super) records: Count,
    /// Those that have not been looked at yet.
    pub(super) left: Count,
    /// Everything that is newer has been looked at.
    pub(super) back_to: Option<Moment>,
    /// Where to go on; none at the end.
    pub(super) next: Option<Cursor>,
    /// More belongs to it than is shown.
    pub(super) is_cut: bool,
}

/// The first record looked at, by partition: what is before it has still to be. As URLs write it:
/// `topic:partition=offset,…;topic:…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(BTreeMap<String, BTreeMap<i32, i64>>);

impl Cursor {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut topics = BTreeMap::new();
        let mut partitions = 0;
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (topic, places) = part.split_once(':')?;
            let places = places.split(',').map(|place| {
                let (partition, offset) = place.split_once('=')?;
                Some((partition.parse().ok()?, offset.parse().ok()?))
            });
            let places: BTreeMap<i32, i64> = places.collect::<Option<_>>()?;
            partitions += places.len();
            topics.insert(topic.to_owned(), places);
        }
        (partitions <= TRACE_PARTITIONS_MAX).then_some(Self(topics))
    }

    pub(super) fn text(&self) -> String {
        let topics = self.0.iter().map(|(topic, places)| {
            let places = places.iter().map(|(partition, offset)| format!("{partition}={offset}"));
            format!("{topic}:{}", places.collect::<Vec<_>>().join(","))
        });
        topics.collect::<Vec<_>>().join(";")
    }

    fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(topic)?.get(&partition).copied()
    }
}

/// A partition that is read backwards.
#[derive(Clone, Debug)]
struct Lane {
    topic: Arc<str>,
    partition: i32,
    /// The first record of the range.
    start: i64,
    /// The first record that was looked at.
    front: i64,
    /// When the one at `front` was written; the end of time before the first look.
    front_ms: i64,
    /// How many records to look at next, as large as they have been.
    chunk: i64,
}

impl Lane {
    fn left(&self) -> i64 {
        (self.front - self.start).max(0)
    }
}

/// Topics whose records are events of somebody.
fn is_searched(topic: &Topic) -> bool {
    !topic.internal
        && !topic.name.starts_with('_')
        && !is_of_tidings(&topic.name)
        && !is_kept_by_a_service(&topic.name)
}

/// Looks through the log within a budget.
pub(super) async fn search(
    engine: &Engine,
    reader: &Reader,
    wanted: &Wanted,
    budget: Budget,
) -> Result<Search, Trouble> {
    let deadline = Instant::now() + budget.time;
    let (mut lanes, records) = lanes(engine, wanted).await?;
    let (hasher, mut index) = (RandomState::new(), Index::default());
    let have: BTreeSet<Spot> = wanted.have.iter().cloned().collect();
    let mut seeds = Index::default();
    let mut seed = |record: &Record| seeds.add(&hasher, 0, record, &wanted.text);
    let mut known = again(engine, reader, have, &mut seed).await?;
    let said = Spot::parse(&wanted.text);
    if let Some(spot) = said.clone().filter(|spot| !wanted.have.contains(spot)) {
        known.extend(again(engine, reader, BTreeSet::from([spot]), &mut seed).await?);
    }
    while let Some(turn) = next_lanes(&lanes) {
        let spent = index.seen.len() >= budget.records || Instant::now() >= deadline;
        // The first look is always had, so that going on gets on.
        if (spent && !index.seen.is_empty()) || index.matches.len() >= budget.matches {
            break;
        }
        let mut reads = JoinSet::new();
        for number in turn {
            let (engine, lane) = (engine.clone(), lanes[number].clone());
            reads.spawn(async move { (number, back(&engine, &lane).await) });
        }
        while let Some(read) = reads.join_next().await {
            let (number, piece) = read.map_err(|panic| Trouble::internal(panic.to_string()))?;
            let piece = piece?;
            let lane = &mut lanes[number];
            (lane.front, lane.chunk) = (piece.front, piece.chunk);
            lane.front_ms = piece.records.first().map_or(lane.front_ms, |first| first.timestamp);
            let id = u32::try_from(number).unwrap_or(u32::MAX);
            let records = reader.each(piece.records, Reading::into_record).await?;
            for record in records.iter().rev() {
                index.add(&hasher, id, record, &wanted.text);
            }
        }
    }
    let (numbers, is_cut) =
        index.belonging(&seeds.seen, TRACE_EVENTS_MAX.saturating_sub(known.len()));
    let spot = |number: usize| {
        let Seen { lane, offset, .. } = index.seen[number];
        let lane = &lanes[lane as usize];
        Spot { topic: lane.topic.to_string(), partition: lane.partition, offset }
    };
    let mut matches: BTreeSet<Spot> = index.matches.iter().map(|&number| spot(number)).collect();
    let new = again(engine, reader, numbers.into_iter().map(spot).collect(), &mut |_| {}).await?;
    matches.extend(seeds.matches.iter().map(|&number| known[number].spot()));
    matches.extend(said.filter(|spot| known.iter().any(|one| one.spot() == *spot)));
    let all = known.into_iter().chain(new);
    let found: BTreeMap<Spot, Found> = all.map(|one| (one.spot(), one)).collect();
    let mut found: Vec<Found> = found.into_values().collect();
    found.sort_by_key(|one| (one.line.time, one.spot()));
    Ok(ended(lanes, records, found, matches, is_cut))
}

fn ended(
    lanes: Vec<Lane>,
    records: i64,
    found: Vec<Found>,
    matches: BTreeSet<Spot>,
    is_cut: bool,
) -> Search {
    let unfinished: Vec<Lane> = lanes.into_iter().filter(|lane| lane.left() > 0).collect();
    let left = unfinished.iter().map(Lane::left).sum();
    let back_to = unfinished.iter().map(|lane| lane.front_ms).max();
    let mut cursor = Cursor::default();
    for lane in &unfinished {
        cursor.0.entry(lane.topic.to_string()).or_default().insert(lane.partition, lane.front);
    }
    Search {
        found,
        matches,
        records: Count(records),
        left: Count(left),
        back_to: back_to.filter(|ms| *ms != i64::MAX).map(Moment),
        next: (left > 0).then_some(cursor),
        is_cut,
    }
}

/// The partitions to be searched, and how many records they have in the range in all.
async fn lanes(engine: &Engine, wanted: &Wanted) -> Result<(Vec<Lane>, i64), Trouble> {
    let topics = match &wanted.topic {
        Some(name) => vec![engine.topic(name).await?],
        None => engine.topics().await?.into_iter().filter(is_searched).collect(),
    };
    let (mut lanes, mut records) = (Vec::new(), 0);
    for topic in &topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in topic.partitions.iter().filter(|p| p.end_offset > p.start_offset) {
            if lanes.len() >= TRACE_PARTITIONS_MAX {
                let why = format!("more than {TRACE_PARTITIONS_MAX} partitions have records");
                return Err(Trouble::bad_request(why)
                    .titled("The log is too wide to be searched at once")
                    .hint("say a `topic`"));
            }
            let at = |at: Moment| engine.offset(&name, partition.id, Offset::Timestamp(at.0));
            let start = match wanted.from {
                Some(from) => at(from).await?.max(partition.start_offset),
                None => partition.start_offset,
            };
            let end = match wanted.to {
                Some(to) => at(to).await?.min(partition.end_offset),
                None => partition.end_offset,
            };
            records += (end - start).max(0);
            let front = match &wanted.before {
                Some(cursor) => cursor.get(&name, partition.id).unwrap_or(start).min(end),
                None => end,
            };
            let lane = Lane {
                topic: Arc::clone(&name),
                partition: partition.id,
                start,
                front,
                front_ms: i64::MAX,
                chunk: TRACE_FIRST_RECORDS,
            };
            if lane.left() > 0 {
                lanes.push(lane);
            }
        }
    }
    Ok((lanes, records))
}

/// Those whose next records are the newest; none when all have been looked at.
fn next_lanes(lanes: &[Lane]) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = (0..lanes.len()).filter(|&n| lanes[n].left() > 0).collect();
    open.sort_by_key(|&n| std::cmp::Reverse(lanes[n].front_ms));
    open.truncate(TRACE_READS);
    (!open.is_empty()).then_some(open)
}

/// Records below a lane's front, oldest first, and where that is now.
struct Piece {
    records: Vec<Record>,
    front: i64,
    /// How many the next one should have.
    chunk: i64,
}

async fn back(engine: &Engine, lane: &Lane) -> Result<Piece, Error> {
    let mut count = lane.chunk;
    loop {
        if let Some(piece) = piece(engine, lane, count).await? {
            return Ok(piece);
        }
        count = (count / 2).max(1);
    }
}

/// None when more than one record would be larger than [`TRACE_PIECE_BYTES`].
async fn piece(engine: &Engine, lane: &Lane, count: i64) -> Result<Option<Piece>, Error> {
    let front = lane.start.max(lane.front - count);
    let (mut next, mut bytes, mut records) = (front, 0, Vec::new());
    while next < lane.front {
        if bytes > TRACE_PIECE_BYTES && count > 1 {
            return Ok(None);
        }
        let room = usize::try_from(lane.front - next).unwrap_or(usize::MAX);
        let limit = ReadLimit { records: room, bytes: TRACE_READ_BYTES, wait: Duration::ZERO };
        let read = match engine.read(&lane.topic, lane.partition, next, limit).await {
            Ok(read) => read,
            // What retention has taken meanwhile is passed by, and so is what is damaged.
            Err(Error::OffsetOutOfRange { first, .. }) if first > next => {
                next = first;
                continue;
            }
            Err(Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. } | Error::Corrupt(_)) => {
                break;
            }
            Err(error) => return Err(error),
        };
        if read.next <= next {
            break;
        }
        next = read.next;
        let below = read.records.into_iter().filter(|record| record.offset < lane.front);
        let before = records.len();
        records.extend(below);
        bytes += records[before..].iter().map(Record::payload_bytes).sum::<usize>();
    }
    let of_one = bytes / records.len().max(1) + 1;
    let chunk = i64::try_from(TRACE_PIECE_BYTES / 2 / of_one).unwrap_or(i64::MAX);
    Ok(Some(Piece { records, front, chunk: chunk.clamp(1, TRACE_CHUNK_RECORDS) }))
}

/// What is at these places, where it still is; each record is let go when it has been looked at.
async fn again(
    engine: &Engine,
    reader: &Reader,
    places: BTreeSet<Spot>,
    look: &mut (impl FnMut(&Record) + Send),
) -> Result<Vec<Found>, Error> {
    let mut places: VecDeque<Spot> = places.into_iter().collect();
    let mut found = Vec::new();
    while let Some(Spot { topic, partition, offset }) = places.pop_front() {
        let near = |spot: &&Spot| spot.topic == topic && spot.partition == partition;
        let last = places.iter().take_while(near).map(|spot| spot.offset);
        let last = last.take_while(|at| *at < offset + TRACE_CHUNK_RECORDS).last();
        let records = usize::try_from(last.unwrap_or(offset) - offset + 1).unwrap_or(1);
        let limit = ReadLimit { records, bytes: TRACE_READ_BYTES, wait: Duration::ZERO };
        let read = match engine.read(&topic, partition, offset, limit).await {
            Ok(read) => read,
            Err(Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. } | Error::Corrupt(_)) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut there = Vec::new();
        for record in read.records {
            if record.offset == offset {
                there.push(record);
            } else if places.front().is_some_and(|next| {
                next.topic == topic && next.partition == partition && next.offset == record.offset
            }) {
                places.pop_front();
                there.push(record);
            }
        }
        let both = |reading: &Reading<'_>| (Reading::into_record(reading), Found::of(reading));
        for (record, one) in reader.each(there, both).await? {
            look(&record);
            found.push(one);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader::new(Arc::default())
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for text in ["", "t:0=5", "a.b:0=5,12=0;c_d-e:3=9223372036854775807"] {
            assert_eq!(Cursor::parse(text).map(|cursor| cursor.text()).as_deref(), Some(text));
        }
        for text in ["t", "t:0", "t:x=1", "t:0=y", "t:0=1,"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
        let wide: Vec<_> = (0..=TRACE_PARTITIONS_MAX).map(|n| format!("{n}=1")).collect();
        assert_eq!(Cursor::parse(&format!("t:{}", wide.join(","))), None);
    }

    /// A search that goes on page by page, and what it has found in the end; how many pages it took.
    async fn whole(engine: &Engine, text: &str, budget: Budget) -> (Vec<String>, usize) {
        let mut wanted = Wanted { text: text.to_owned(), ..Wanted::default() };
        let (mut pages, mut left) = (0, i64::MAX);
        loop {
            let page = search(engine, &reader(), &wanted, budget).await.unwrap();
            pages += 1;
            assert!(page.left.0 < left, "it gets on");
            left = page.left.0;
            let found: Vec<Spot> = page.found.iter().map(Found::spot).collect();
            assert!(wanted.have.iter().all(|spot| found.contains(spot)), "nothing is lost");
            let Some(cursor) = page.next else {
                assert_eq!(left, 0);
                return (page.found.into_iter().filter_map(|one| one.line.id).collect(), pages);
            };
            wanted.before = Cursor::parse(&cursor.text());
            wanted.have = found;
        }
    }

    #[tokio::test]
    async fn large_records_are_held_a_few_at_a_time() {
        const RECORDS: i64 = 60;
        let engine = Engine::in_memory().await.unwrap();
        let new =
            tidings_engine::NewTopic { name: "t".into(), partitions: Some(1), configs: vec![] };
        engine.create_topic(new).await.unwrap();
        let value = bytes::Bytes::from(vec![b'x'; TRACE_PIECE_BYTES / 10]);
        let producer = engine.producer().await.unwrap();
        for _ in 0..RECORDS {
            let (topic, value) = ("t".to_owned(), Some(value.clone()));
            let record = tidings_engine::SentRecord { topic, value, ..Default::default() };
            producer.send(vec![record]).await.unwrap();
        }
        let mut lane = Lane {
            topic: "t".into(),
            partition: 0,
            start: 0,
            front: RECORDS,
            front_ms: i64::MAX,
            chunk: TRACE_CHUNK_RECORDS,
        };
        let mut seen = Vec::new();
        while lane.left() > 0 {
            let piece = back(&engine, &lane).await.unwrap();
            assert!(piece.records.len() <= 11, "{} records", piece.records.len());
            seen.extend(piece.records.iter().rev().map(|record| record.offset));
            (lane.front, lane.chunk) = (piece.front, piece.chunk);
        }
        assert_eq!(seen, (0..RECORDS).rev().collect::<Vec<_>>(), "each once, newest first");
    }

    #[tokio::test]
    async fn a_search_goes_on_where_it_ended_and_finds_what_belongs_to_it_further_back() {
        let engine = Engine::in_memory().await.unwrap();
        let topic = |name: &str, partitions| tidings_engine::NewTopic {
            name: name.into(),
            partitions: Some(partitions),
            configs: vec![],
        };
        engine.create_topic(topic("a", 3)).await.unwrap();
        engine.create_topic(topic("b", 1)).await.unwrap();
        engine.create_topic(topic("svc.changelog", 1)).await.unwrap();
        let record = |n: i64, name: &str, id: &str, correlation: &str| tidings_engine::SentRecord {
            topic: name.into(),
            partition: Some(if name == "a" { i32::try_from(n % 3).unwrap() } else { 0 }),
            value: Some(format!("filler {n}").into()),
            headers: [("ce_id", id), ("ce_correlationid", correlation)]
                .map(|(name, text)| tidings_engine::Header::text(name, text))
                .to_vec(),
            timestamp: Some(1_700_000_000_000 + n * 1_000),
            ..tidings_engine::SentRecord::default()
        };
        let producer = engine.producer().await.unwrap();
        let mut all = Vec::new();
        for n in 0..3_000 {
            let (id, correlation) = match n {
                3 => ("root".to_owned(), "root".to_owned()),
                1_500 => ("middle".to_owned(), "root".to_owned()),
                2_990 => ("last".to_owned(), "root".to_owned()),
                _ => (format!("e-{n}"), format!("c-{n}")),
            };
            let name = if n % 5 == 0 { "b" } else { "a" };
            all.push(record(n, name, &id, &correlation));
        }
        all.push(record(0, "svc.changelog", "last", "root"));
        producer.send(all).await.unwrap();
        let budget = |records, matches| Budget { records, matches, time: Duration::from_secs(60) };
        let (found, pages) = whole(&engine, "last", budget(400, 100)).await;
        assert_eq!(found, ["root", "middle", "last"]);
        assert!(pages >= 2, "a page is a few pieces larger than its budget: {pages}");
        assert_eq!(whole(&engine, "last", budget(100_000, 100)).await, (found, 1));
        // A word of every value: as many as are taken at once, until the page can hold no more.
        let page = Wanted { text: "filler".into(), ..Wanted::default() };
        let page = search(&engine, &reader(), &page, budget(100_000, 50)).await.unwrap();
        assert!(page.next.is_some() && page.matches.len() >= 50);
        let newest = page.found.last().unwrap().line.time.0;
        assert_eq!(newest, 1_700_000_000_000 + 2_999_000, "the newest come first");
        // In a range of time, and in a topic.
        let range = Wanted {
            text: "filler".into(),
            topic: Some("a".into()),
            from: Some(Moment(1_700_000_010_000)),
            to: Some(Moment(1_700_000_020_000)),
            ..Wanted::default()
        };
        let found = search(&engine, &reader(), &range, budget(100_000, 100)).await.unwrap();
        let ids: Vec<_> = found.found.iter().filter_map(|one| one.line.id.as_deref()).collect();
        assert_eq!(ids, ["e-11", "e-12", "e-13", "e-14", "e-16", "e-17", "e-18", "e-19"]);
        assert_eq!(found.records, Count(8));
    }
}
