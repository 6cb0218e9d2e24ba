//! Compares what was copied: both sides are read again, and each record of the source is held against the
//! one that its note says it became.
//!
//! Retention and compaction may have taken records from either side since, and that is no difference where it
//! is theirs to take:
//! - gone at the source: its record is at the target, and a note says that it was copied.
//! - gone at the target: below its first offset, and older than the source's own retention allows; or, in a
//!   compacted topic, a later record there has the same key, or it is a tombstone older than
//!   `delete.retention.ms`.
//!
//! Everything else is a difference. Keys whose later record is still to come are remembered by their hash, at
//! most [`COPY_KEYS_MAX`]; where there are more, the partition is read several times, each time for a part of the
//! keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tidings_engine::{Record, TopicPartition};
use tidings_terminal::failure::Failure;
use tidings_terminal::progress::Progress;
use tokio::task::JoinSet;

use super::Sides;
use super::carry::size_of;
use super::cursor::{Cursor, ends};
use super::map::Map;
use super::notes::{Noticed, Step};
use crate::limits::{COPY_DIFFERENCES_TOLD, COPY_KEYS_MAX, COPY_PARTITIONS_AT_ONCE};
use crate::place::failed;

/// What the comparison of a partition has shown. Counts are of records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Of the source, up to where it was copied.
    pub(super) source_records: u64,
    pub(super) target_records: u64,
    /// Over time, key, value and headers of the records that both have, in their order.
    pub(super) source_checksum: String,
    pub(super) target_checksum: String,
    /// Taken by retention or compaction since.
    pub(super) gone_at_source: u64,
    pub(super) gone_at_target: u64,
    /// The differences: not at the target, not as at the source, and at the target although not copied.
    pub(super) missing: u64,
    pub(super) differing: u64,
    pub(super) foreign: u64,
    /// The first of them.
    pub(super) differences: Vec<String>,
}

impl Verdict {
    pub(super) fn is_same(&self) -> bool {
        self.missing + self.differing + self.foreign == 0
            && self.source_checksum == self.target_checksum
    }

    fn tell(&mut self, difference: String) {
        if self.differences.len() < COPY_DIFFERENCES_TOLD {
            self.differences.push(difference);
        }
    }
}

/// What a topic's own upkeep may take.
#[derive(Clone, Copy, Debug)]
struct Rules {
    now_ms: i64,
    /// Of the source; none when it keeps records of any age.
    retention_ms: Option<i64>,
    /// The source may take records for their size.
    by_size: bool,
    compacted: bool,
    tombstones_ms: i64,
}

/// Keys of which a later record has to come.
#[derive(Debug, Default)]
struct Awaited {
    keys: HashMap<u64, u64>,
    /// This round is about the keys whose hash is `round` modulo `rounds`.
    round: u64,
    rounds: u64,
    keys_max: usize,
}

struct Comparing {
    sides: Arc<Sides>,
    left: Mutex<VecDeque<(TopicPartition, Vec<Step>)>>,
    rules: HashMap<String, Rules>,
    keys_max: usize,
    progress: Mutex<Progress>,
    verdicts: Mutex<Vec<Verdict>>,
}

/// Compares every partition of which something has been copied, sorted.
pub(super) async fn verify(sides: &Arc<Sides>, noticed: &Noticed) -> Result<Vec<Verdict>, Failure> {
    compare(sides, noticed, COPY_KEYS_MAX).await
}

async fn compare(
    sides: &Arc<Sides>,
    noticed: &Noticed,
    keys_max: usize,
) -> Result<Vec<Verdict>, Failure> {
    let mut rules = HashMap::new();
    let topics: HashSet<&String> = noticed.steps.keys().map(|at| &at.topic).collect();
    for topic in topics {
        rules.insert(topic.clone(), Rules::of(sides, topic).await?);
    }
    let partitions: VecDeque<_> =
        noticed.steps.iter().map(|(at, steps)| (at.clone(), steps.clone())).collect();
    let records = partitions.iter().flat_map(|(_, steps)| steps);
    let total = records.map(|step| u64::try_from(step.target.1 - step.target.0).unwrap_or(0)).sum();
    let comparing = Arc::new(Comparing {
        sides: Arc::clone(sides),
        left: Mutex::new(partitions),
        rules,
        keys_max,
        progress: Mutex::new(Progress::told(total)),
        verdicts: Mutex::default(),
    });
    let mut workers = JoinSet::new();
    for _ in 0..COPY_PARTITIONS_AT_ONCE {
        let comparing = Arc::clone(&comparing);
        workers.spawn(async move { comparing.work().await });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|e| Failure::failed("the comparison has stopped").why(e))??;
    }
    let mut verdicts =
        std::mem::take(&mut *comparing.verdicts.lock().unwrap_or_else(PoisonError::into_inner));
    verdicts.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(verdicts)
}

impl Rules {
    async fn of(sides: &Sides, topic: &str) -> Result<Self, Failure> {
        let unseen = |error| failed(format!("the configuration of {topic} cannot be seen"), &error);
        let at_source = sides.source.topic_configs(topic).await.map_err(unseen)?;
        let at_target = sides.target.topic_configs(topic).await.map_err(unseen)?;
        let value = |configs: &[tidings_engine::Config], name: &str| {
            let config = configs.iter().find(|config| config.name == name);
            config.and_then(|config| config.value.clone()).unwrap_or_default()
        };
        let number = |configs, name| value(configs, name).parse::<i64>().unwrap_or(-1);
        let deletes = value(&at_source, "cleanup.policy").contains("delete");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            now_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            retention_ms: Some(number(&at_source, "retention.ms"))
                .filter(|retention| deletes && *retention >= 0),
            by_size: deletes && number(&at_source, "retention.bytes") >= 0,
            compacted: value(&at_target, "cleanup.policy").contains("compact"),
            tombstones_ms: number(&at_target, "delete.retention.ms").max(0),
        })
    }

    fn may_expire(&self, record: &Record) -> bool {
        let age = self.now_ms.saturating_sub(record.timestamp);
        self.by_size || self.retention_ms.is_some_and(|retention| age >= retention)
    }

    fn may_take_tombstone(&self, record: &Record) -> bool {
        let age = self.now_ms.saturating_sub(record.timestamp);
        self.compacted && record.value.is_none() && age >= self.tombstones_ms
    }
}

impl Awaited {
    fn of_round(round: u64, rounds: u64, keys_max: usize) -> Self {
        Self { keys: HashMap::new(), round, rounds, keys_max }
    }

    fn hash(&self, key: &[u8]) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        (hash % self.rounds == self.round).then_some(hash)
    }

    /// False when there are too many.
    fn await_later(&mut self, key: &[u8]) -> bool {
        let Some(hash) = self.hash(key) else { return true };
        *self.keys.entry(hash).or_default() += 1;
        self.keys.len() <= self.keys_max
    }

    /// How many it was awaited for.
    fn came(&mut self, key: &[u8]) -> u64 {
        if self.keys.is_empty() {
            return 0;
        }
        self.hash(key).and_then(|hash| self.keys.remove(&hash)).unwrap_or(0)
    }
}

impl Comparing {
    async fn work(&self) -> Result<(), Failure> {
        loop {
            let next = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((at, steps)) = next else { return Ok(()) };
            let verdict = self.partition(&at, &steps).await?;
            self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(verdict);
        }
    }

    async fn partition(&self, at: &TopicPartition, steps: &[Step]) -> Result<Verdict, Failure> {
        let mut rounds = 1;
        loop {
            if let Some(verdict) = self.rounds(at, steps, rounds).await? {
                return Ok(verdict);
            }
            rounds *= MORE_ROUNDS;
        }
    }

    /// Each round sees the same records, and decides about its own keys. None when more of them are awaited
    /// than are remembered.
    async fn rounds(
        &self,
        at: &TopicPartition,
        steps: &[Step],
        rounds: u64,
    ) -> Result<Option<Verdict>, Failure> {
        let mut whole: Option<Verdict> = None;
        for round in 0..rounds {
            let awaited = Awaited::of_round(round, rounds, self.keys_max);
            let Some(verdict) = self.round(at, steps, awaited).await? else { return Ok(None) };
            match &mut whole {
                None => whole = Some(verdict),
                Some(whole) => {
                    whole.gone_at_target += verdict.gone_at_target;
                    whole.missing += verdict.missing;
                    verdict.differences.into_iter().for_each(|told| whole.tell(told));
                }
            }
        }
        Ok(whole)
    }

    /// None when more keys are awaited than are remembered.
    async fn round(
        &self,
        at: &TopicPartition,
        steps: &[Step],
        awaited: Awaited,
    ) -> Result<Option<Verdict>, Failure> {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return Ok(Some(Verdict::default()));
        };
        let counts = awaited.round == 0;
        let target = ends(&self.sides.target, at).await?;
        let source = (first.source.0, last.source.1);
        let mut pair = Pair {
            source: Cursor::within(&self.sides.source, at, source).await?,
            target: Cursor::within(&self.sides.target, at, (first.target.0, last.target.1)).await?,
            target_start: target.0,
            map: Map::of(&self.sides.notes, steps),
            rules: self.rules[&at.topic],
            awaited,
            checksums: (0, 0),
            verdict: Verdict {
                topic: at.topic.clone(),
                partition: at.partition,
                ..Verdict::default()
            },
        };
        let name = at.to_string();
        while let Some(record) = pair.source.next().await? {
            let size = size_of(&record) as u64;
            if !pair.compare(&record).await? {
                return Ok(None);
            }
            if counts {
                let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.add(1, 2 * size, &name);
            }
        }
        pair.end().await.map(Some)
    }
}

/// By how much the keys are divided further when there are too many.
const MORE_ROUNDS: u64 = 4;

/// A partition on both sides.
struct Pair<'v> {
    source: Cursor<'v>,
    target: Cursor<'v>,
    target_start: i64,
    map: Map<'v>,
    rules: Rules,
    awaited: Awaited,
    checksums: (u32, u32),
    verdict: Verdict,
}

impl Pair<'_> {
    /// False when more keys are awaited than are remembered.
    async fn compare(&mut self, record: &Record) -> Result<bool, Failure> {
        self.verdict.source_records += 1;
        let Some(wanted) = self.map.exact(record.offset).await? else {
            let offset = record.offset;
            self.miss(format!("source offset {offset}: no note says where it went"));
            return Ok(true);
        };
        while let Some(there) = self.target.peek().await? {
            if there.offset >= wanted {
                break;
            }
            self.pass().await?;
        }
        let there = match self.target.peek().await? {
            Some(there) if there.offset == wanted => self.target.next().await?,
            _ => None,
        };
        let Some(there) = there else { return Ok(self.missing(record, wanted)) };
        self.verdict.target_records += 1;
        self.verdict.gone_at_target += self.awaited.came(there.key.as_deref().unwrap_or_default());
        self.checksums.0 = checksum(self.checksums.0, record);
        self.checksums.1 = checksum(self.checksums.1, &there);
        if !is_same(record, &there) {
            self.verdict.differing += 1;
            let (offset, wanted) = (record.offset, there.offset);
            self.verdict.tell(format!("source offset {offset} is not target offset {wanted}"));
        }
        Ok(true)
    }

    /// A record of the target that none of the source belongs to.
    async fn pass(&mut self) -> Result<(), Failure> {
        let Some(there) = self.target.next().await? else { return Ok(()) };
        self.verdict.target_records += 1;
        self.verdict.gone_at_target += self.awaited.came(there.key.as_deref().unwrap_or_default());
        if self.map.holds(there.offset) {
            self.verdict.gone_at_source += 1;
        } else {
            self.verdict.foreign += 1;
            self.verdict.tell(format!("target offset {}: not of this copy", there.offset));
        }
        Ok(())
    }

    fn missing(&mut self, record: &Record, wanted: i64) -> bool {
        let expired = wanted < self.target_start && self.rules.may_expire(record);
        let counts = self.awaited.round == 0;
        if expired || self.rules.may_take_tombstone(record) {
            self.verdict.gone_at_target += u64::from(counts);
            return true;
        }
        match &record.key {
            Some(key) if self.rules.compacted => self.awaited.await_later(key),
            _ => {
                let offset = record.offset;
                self.miss(format!("source offset {offset}: not at target offset {wanted}"));
                true
            }
        }
    }

    /// The first round is about everything but keys.
    fn miss(&mut self, what: String) {
        if self.awaited.round == 0 {
            self.verdict.missing += 1;
            self.verdict.tell(what);
        }
    }

    /// Whoever has written to the target since may have superseded what was copied.
    async fn look_further(&mut self) -> Result<(), Failure> {
        if self.awaited.keys.is_empty() {
            return Ok(());
        }
        let at = &self.target.at;
        self.target.end = ends(self.target.engine, at).await?.1;
        while let Some(there) = self.target.next().await? {
            let came = self.awaited.came(there.key.as_deref().unwrap_or_default());
            self.verdict.gone_at_target += came;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Verdict, Failure> {
        while self.target.peek().await?.is_some() {
            self.pass().await?;
        }
        self.look_further().await?;
        let unsettled: u64 = self.awaited.keys.values().sum();
        if unsettled > 0 {
            self.verdict.missing += unsettled;
            self.verdict.tell(format!(
                "{unsettled} records of {} keys: neither they nor later ones are at the target",
                self.awaited.keys.len()
            ));
        }
        let (source, target) = self.checksums;
        self.verdict.source_checksum = format!("{source:08x}");
        self.verdict.target_checksum = format!("{target:08x}");
        Ok(self.verdict)
    }
}

fn is_same(a: &Record, b: &Record) -> bool {
    a.timestamp == b.timestamp && a.key == b.key && a.value == b.value && a.headers == b.headers
}

/// CRC32C over what was before and each part of the record with its length.
fn checksum(before: u32, record: &Record) -> u32 {
    let mut sum = crc32c::crc32c_append(before, &record.timestamp.to_be_bytes());
    let mut part = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        sum = crc32c::crc32c_append(sum, &length.to_be_bytes());
        sum = crc32c::crc32c_append(sum, bytes.unwrap_or_default());
    };
    part(record.key.as_deref());
    part(record.value.as_deref());
    for header in &record.headers {
        part(Some(header.name.as_bytes()));
        part(header.value.as_deref());
    }
    sum
}

#[cfg(test)]
mod tests {
    use tidings_engine::{Engine, NewTopic, SentRecord};

    use super::*;
    use crate::command::copy::notes::{Note, Noted, Notes};

    const LONG_AGO: i64 = 1_000;

    /// Key and value, and none for a record that cannot be seen.
    type Item = Option<(&'static str, Option<&'static str>, i64)>;

    fn sent((key, value, timestamp): (&str, Option<&str>, i64)) -> SentRecord {
        let bytes = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
        SentRecord {
            topic: "t".to_owned(),
            partition: Some(0),
            key: Some(bytes(key)),
            value: value.map(bytes),
            timestamp: Some(timestamp),
            ..SentRecord::default()
        }
    }

    /// What cannot be seen is aborted together; after it come its marker and the others.
    async fn fill(engine: &Engine, cleanup: &str, items: &[Item]) {
        let configs = [("cleanup.policy", cleanup), ("retention.ms", "3600000")];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let topic = NewTopic { name: "t".to_owned(), partitions: Some(1), configs };
        engine.create_topic(topic).await.unwrap();
        let hidden = items.iter().take_while(|item| item.is_none()).count();
        if hidden > 1 {
            let producer = engine.transactional_producer("x", Default::default()).await.unwrap();
            let mut transaction = producer.begin().await.unwrap();
            let lost = vec![sent(("lost", None, LONG_AGO)); hidden - 1];
            transaction.append(lost).await.unwrap();
            transaction.abort().await.unwrap();
        }
        let seen = items.iter().flatten().map(|item| sent(*item)).collect();
        engine.producer().await.unwrap().send(seen).await.unwrap();
    }

    async fn verdict(cleanup: &str, source: &[Item], target: &[Item]) -> Verdict {
        let engines = (Engine::in_memory().await.unwrap(), Engine::in_memory().await.unwrap());
        fill(&engines.0, cleanup, source).await;
        fill(&engines.1, cleanup, target).await;
        let notes = Notes::of(&engines.1, "x");
        let end = i64::try_from(source.len()).unwrap();
        let noted = Noted {
            topic: "t".to_owned(),
            partition: 0,
            source: (0, end),
            target: (0, end),
            runs: super::super::runs::Runs::default(),
        };
        let made = NewTopic { partitions: Some(1), ..NewTopic::kept(&notes.topic) };
        engines.1.create_topic(made).await.unwrap();
        let record = Note::Step(noted).to_record(&notes.topic);
        engines.1.producer().await.unwrap().send(vec![record]).await.unwrap();
        let noticed = notes.read(&HashSet::from(["t".to_owned()])).await.unwrap();
        let sides = Arc::new(Sides { source: engines.0, target: engines.1, notes });
        let whole = verify(&sides, &noticed).await.unwrap().remove(0);
        // In many rounds as in one.
        let in_rounds = compare(&sides, &noticed, 1).await.unwrap().remove(0);
        let counts =
            |v: &Verdict| (v.source_records, v.target_records, v.gone_at_source, v.foreign);
        assert_eq!(counts(&whole), counts(&in_rounds));
        assert_eq!(
            (whole.gone_at_target, whole.missing, whole.differing),
            (in_rounds.gone_at_target, in_rounds.missing, in_rounds.differing)
        );
        whole
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_upkeep_may_take_is_no_difference_and_all_else_is_one() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = i64::try_from(now).unwrap();
        let a1: Item = Some(("a", Some("1"), now));
        let a2: Item = Some(("a", Some("2"), now));
        let b1: Item = Some(("b", Some("1"), now));
        let c1: Item = Some(("c", Some("1"), now));
        let b_gone: Item = Some(("b", None, LONG_AGO));
        let b_gone_now: Item = Some(("b", None, now));
        // Cleanup, source, target; then gone at the source and the target, missing, differing.
        type Case<'t> = (&'t str, &'t [Item], &'t [Item], [u64; 4]);
        let table: [Case<'_>; 11] = [
            ("delete", &[a1, b1], &[a1, b1], [0, 0, 0, 0]),
            ("delete", &[a1, b1], &[a1, a2], [0, 0, 0, 1]),
            ("delete", &[a1, a2, b1], &[None, None, b1], [0, 0, 2, 0]),
            ("delete", &[a1, b1], &[a1], [0, 0, 1, 0]),
            ("delete", &[None, None, b1], &[a1, a2, b1], [2, 0, 0, 0]),
            ("compact", &[a1, b1, a2], &[None, None, a2], [0, 1, 1, 0]),
            ("compact", &[a1, a1, a2], &[None, None, a2], [0, 2, 0, 0]),
            ("compact", &[b_gone, a1, a2], &[None, None, a2], [0, 2, 0, 0]),
            ("compact", &[b_gone_now, a1, a2], &[None, None, a2], [0, 1, 1, 0]),
            ("compact", &[a1, a1, b1], &[None, None, b1], [0, 0, 2, 0]),
            ("compact", &[a1, b1, c1, b1, a2], &[None, None, None, b1, a2], [0, 2, 1, 0]),
        ];
        for (cleanup, source, target, expected) in table {
            let verdict = verdict(cleanup, source, target).await;
            let Verdict { gone_at_source, gone_at_target, missing, differing, .. } = verdict;
            let found = [gone_at_source, gone_at_target, missing, differing];
            assert_eq!(found, expected, "{cleanup} {source:?} {target:?} {verdict:?}");
            assert_eq!(verdict.is_same(), missing + differing == 0, "{verdict:?}");
            assert_eq!(verdict.differences.is_empty(), verdict.is_same(), "{verdict:?}");
        }
    }

    #[test]
    fn keys_are_divided_among_rounds_and_none_is_left_out() {
        let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        let mut awaited: Vec<Awaited> =
            (0..4).map(|round| Awaited::of_round(round, 4, 100)).collect();
        for key in keys.iter().chain(&keys) {
            assert!(awaited.iter_mut().all(|round| round.await_later(key.as_bytes())));
        }
        for key in &keys {
            let came: Vec<u64> =
                awaited.iter_mut().map(|round| round.came(key.as_bytes())).collect();
            assert_eq!((came.iter().sum::<u64>(), came.iter().max()), (2, Some(&2)), "{key}");
        }
        assert!(awaited.iter().all(|round| round.keys.is_empty()));
    }

    #[test]
    fn the_checksum_tells_records_and_their_order_apart() {
        let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>, timestamp| Record {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp,
            key: key.map(bytes::Bytes::from_static),
            value: value.map(bytes::Bytes::from_static),
            headers: Vec::new(),
        };
        let records = [
            record(Some(b"ab"), Some(b"c"), 1),
            record(Some(b"a"), Some(b"bc"), 1),
            record(None, Some(b"abc"), 1),
            record(Some(b""), Some(b"abc"), 1),
            record(Some(b"abc"), None, 1),
            record(Some(b"abc"), Some(b""), 1),
            record(Some(b"ab"), Some(b"c"), 2),
        ];
        let all: HashSet<u32> = records.iter().map(|record| checksum(0, record)).collect();
        assert_eq!(all.len(), records.len());
        let order = |a: usize, b: usize| checksum(checksum(0, &records[a]), &records[b]);
        assert_ne!(order(0, 1), order(1, 0));
    }
}
