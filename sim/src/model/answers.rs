//! Everything that can be asked of a log, and what the model says to the answers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidings_log::{
    Batch, ByTime, LogId, PartitionLog, ProducerEntry, Record, Store, TimeSearch, TimedOffset,
    split,
};

use super::{Aborted, LogModel};

/// What a log answers; two recoveries of one disk must give equal ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub start: i64,
    pub durable: i64,
    pub end: i64,
    pub last_stable: i64,
    pub producers: Vec<ProducerEntry>,
    pub epochs: Vec<(i32, i64)>,
    pub aborted: Vec<(i64, i64)>,
    /// Every batch from the start to the durable offset.
    pub read: Vec<Bytes>,
    /// Each question by time with its answer.
    pub times: Vec<(ByTime, Option<TimedOffset>)>,
}

impl Answers {
    pub fn ask(store: &Store, id: LogId, log: &PartitionLog) -> Result<Self, String> {
        let (start, durable) = (log.start_offset(), log.durable_offset());
        let read = read_all(store, id, start, durable)?;
        let newest = read.iter().map(|batch| batch.header().max_timestamp).max().unwrap_or(0);
        let oldest = read.iter().map(|batch| batch.header().max_timestamp).min().unwrap_or(0);
        let middle = oldest + (newest - oldest) / 2;
        let questions = [
            ByTime::Latest,
            ByTime::FirstFrom(0),
            ByTime::FirstFrom(oldest),
            ByTime::FirstFrom(middle),
            ByTime::FirstFrom(newest),
            ByTime::FirstFrom(newest + 1),
        ];
        let mut times = Vec::new();
        for by in questions {
            times.push((by, search(store, id, by, durable)?));
        }
        Ok(Self {
            start,
            durable,
            end: log.end_offset(),
            last_stable: log.last_stable_offset(),
            producers: log.producers(),
            epochs: log.leader_epochs().to_vec(),
            aborted: log.aborted(start, log.last_stable_offset()),
            read: read.into_iter().map(|batch| batch.bytes().clone()).collect(),
            times,
        })
    }

    /// Whether only look-ups by time are answered differently.
    pub fn agrees_but_for_times(&self, other: &Self) -> bool {
        Self { times: Vec::new(), ..self.clone() } == Self { times: Vec::new(), ..other.clone() }
    }

    /// The first answer that differs, in short.
    pub fn difference(&self, other: &Self) -> String {
        let pairs = [
            ("start", format!("{}", self.start), format!("{}", other.start)),
            ("durable", format!("{}", self.durable), format!("{}", other.durable)),
            ("end", format!("{}", self.end), format!("{}", other.end)),
            ("stable", format!("{}", self.last_stable), format!("{}", other.last_stable)),
            ("producers", format!("{:?}", self.producers), format!("{:?}", other.producers)),
            ("epochs", format!("{:?}", self.epochs), format!("{:?}", other.epochs)),
            ("aborted", format!("{:?}", self.aborted), format!("{:?}", other.aborted)),
            ("batches", format!("{}", self.read.len()), format!("{}", other.read.len())),
            ("times", format!("{:?}", self.times), format!("{:?}", other.times)),
        ];
        let first = pairs.into_iter().find(|(_, before, after)| before != after);
        let (what, before, after) = first.unwrap_or(("bytes", String::new(), String::new()));
        format!("{what} {before}, then {after}")
    }

    pub(super) fn hold_to(&self, model: &LogModel) -> Result<(), String> {
        let mut read = Vec::new();
        for bytes in &self.read {
            read.push(Batch::parse(bytes.clone()).map_err(|error| format!("read: {error}"))?);
        }
        if model.config.compact {
            self.check_compacted(model, &read)?;
        } else {
            self.check_whole(model, &read)?;
        }
        self.check_times(model, &read)?;
        self.check_producers(model)?;
        self.check_transactions(model, &read)?;
        self.check_epochs(model)
    }

    /// Without compaction the log is its batches, byte for byte.
    fn check_whole(&self, model: &LogModel, read: &[Batch]) -> Result<(), String> {
        let expected: Vec<&Batch> = model
            .batches
            .iter()
            .filter(|batch| batch.last_offset() >= self.start && batch.last_offset() < self.durable)
            .collect();
        for (number, (found, expected)) in read.iter().zip(&expected).enumerate() {
            if found.bytes() != expected.bytes() {
                let (found, expected) = (found.header(), expected.header());
                return Err(format!("batch {number} is {found:?} and not {expected:?}"));
            }
        }
        if read.len() != expected.len() {
            return Err(format!("{} batches instead of {}", read.len(), expected.len()));
        }
        Ok(())
    }

    /// With compaction every record is one that was appended, every key has its last value, and what an
    /// open transaction holds back is all there.
    fn check_compacted(&self, model: &LogModel, read: &[Batch]) -> Result<(), String> {
        let mut appended = BTreeMap::new();
        for batch in model.batches.iter().filter(|batch| batch.last_offset() < self.durable) {
            for record in records(batch)? {
                appended.insert(record.offset, (record, batch.header().producer_id));
            }
        }
        let mut found = BTreeSet::new();
        for batch in read {
            for record in records(batch)? {
                let sent = appended.get(&record.offset).map(|(record, _)| record);
                if sent != Some(&record) {
                    return Err(format!("record {record:?} is not what was appended: {sent:?}"));
                }
                found.insert(record.offset);
            }
        }
        let settled = model.fold_below(self.durable);
        let first_open = settled.first_open().unwrap_or(self.durable).min(self.durable);
        for offset in appended.range(first_open.max(self.start)..).map(|(offset, _)| offset) {
            if !found.contains(offset) {
                return Err(format!("offset {offset} is gone, but {first_open} is not decided"));
            }
        }
        let aborted = |offset: i64, producer_id: i64| {
            settled.aborted.iter().any(|aborted| {
                aborted.producer_id == producer_id
                    && (aborted.first..aborted.last).contains(&offset)
            })
        };
        let mut last_of_key: BTreeMap<&Bytes, (i64, bool)> = BTreeMap::new();
        for (offset, (record, producer_id)) in &appended {
            let control = model.batches.iter().any(|batch| {
                batch.header().attributes.control() && batch.header().base_offset == *offset
            });
            if let (false, false, Some(key)) =
                (control, aborted(*offset, *producer_id), &record.key)
            {
                last_of_key.insert(key, (*offset, record.value.is_none()));
            }
        }
        for (key, (last, is_tombstone)) in last_of_key {
            if last < self.start || found.contains(&last) {
                continue;
            }
            let resurrected = appended.iter().any(|(offset, (record, producer_id))| {
                record.key.as_ref() == Some(key)
                    && found.contains(offset)
                    && !aborted(*offset, *producer_id)
            });
            if !is_tombstone || resurrected || model.config.delete_retention_ms > 0 {
                return Err(format!("the last record of key {key:?}, offset {last}, is gone"));
            }
        }
        Ok(())
    }

    /// Look-ups by time, against looking at every record that was read. With compaction memory may still
    /// serve a record that is gone from segments, where look-ups find a later one.
    fn check_times(&self, model: &LogModel, read: &[Batch]) -> Result<(), String> {
        let mut all = Vec::new();
        for batch in read {
            all.extend(records(batch)?.into_iter().filter(|record| record.offset >= self.start));
        }
        let newest = all.iter().map(|record| record.timestamp).max();
        let timed =
            |record: &Record| TimedOffset { offset: record.offset, timestamp: record.timestamp };
        for (by, answer) in &self.times {
            let matches = |record: &&Record| match by {
                ByTime::FirstFrom(wanted) => record.timestamp >= *wanted,
                ByTime::Latest => Some(record.timestamp) == newest,
            };
            let expected = all.iter().find(matches).map(timed);
            let is_later_one = model.config.compact
                && answer.is_none_or(|answer| {
                    let past = all.iter().filter(|r| Some(r.offset) >= expected.map(|e| e.offset));
                    past.map(timed).any(|record| record == answer) && is_from(*by, answer)
                });
            if *answer != expected && !is_later_one {
                return Err(format!("{by:?} gives {answer:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }

    fn check_producers(&self, model: &LogModel) -> Result<(), String> {
        let expected = model.all.entries();
        if self.producers != expected {
            return Err(format!("producers {:?} instead of {expected:?}", self.producers));
        }
        Ok(())
    }

    fn check_transactions(&self, model: &LogModel, read: &[Batch]) -> Result<(), String> {
        let settled = model.fold_below(self.durable);
        let first_open = settled.first_open().unwrap_or(self.durable);
        if self.last_stable != first_open && self.last_stable != first_open.max(self.start) {
            return Err(format!("last stable {} instead of {first_open}", self.last_stable));
        }
        for (producer_id, first) in &self.aborted {
            let known =
                |aborted: &&Aborted| aborted.producer_id == *producer_id && aborted.first == *first;
            if settled.aborted.iter().find(known).is_none() {
                return Err(format!("transaction {producer_id} from {first} was not aborted"));
            }
        }
        let told_of =
            |aborted: &&Aborted| aborted.last >= self.start && aborted.first < self.last_stable;
        for aborted in settled.aborted.iter().filter(told_of) {
            let in_it = |batch: &Batch| {
                batch.header().producer_id == aborted.producer_id
                    && !batch.header().attributes.control()
                    && (aborted.first..aborted.last).contains(&batch.header().base_offset)
            };
            let is_said = self.aborted.contains(&(aborted.producer_id, aborted.first));
            if !is_said && read.iter().any(in_it) {
                return Err(format!("{aborted:?} is not told of, only {:?}", self.aborted));
            }
        }
        if !self.aborted.is_sorted_by_key(|(_, first)| first) {
            return Err(format!("aborted transactions out of order: {:?}", self.aborted));
        }
        Ok(())
    }

    /// Epochs that began past the start, and the one that the start is in.
    fn check_epochs(&self, model: &LogModel) -> Result<(), String> {
        let told = |epochs: &[(i32, i64)]| {
            let (before, after): (Vec<_>, Vec<_>) =
                epochs.iter().copied().partition(|(_, first)| *first <= self.start);
            (before.last().map(|(epoch, _)| *epoch), after)
        };
        let (found, expected) = (told(&self.epochs), told(&model.all.epochs));
        if found != expected && self.start < self.end {
            let all = &model.all.epochs;
            return Err(format!("leader epochs {:?} instead of {all:?}", self.epochs));
        }
        Ok(())
    }
}

fn is_from(by: ByTime, answer: TimedOffset) -> bool {
    match by {
        ByTime::FirstFrom(wanted) => answer.timestamp >= wanted,
        ByTime::Latest => true,
    }
}

fn records(batch: &Batch) -> Result<Vec<Record>, String> {
    batch.records().map_err(|error| format!("records: {error}"))
}

/// Every batch, by reads of different sizes.
fn read_all(store: &Store, id: LogId, start: i64, durable: i64) -> Result<Vec<Batch>, String> {
    let mut found: Vec<Batch> = Vec::new();
    let mut from = start;
    while from < durable {
        let bytes = 1 + 300 * (found.len() % 4);
        let pieces = store
            .read_now(id, from, i64::MAX, bytes)
            .map_err(|refused| format!("read at {from}: {refused}"))?;
        let before = found.len();
        for batch in pieces.into_iter().flat_map(split) {
            let batch = batch.map_err(|error| format!("read at {from} returned {error}"))?;
            if batch.last_offset() < from || batch.last_offset() >= durable {
                let base = batch.header().base_offset;
                return Err(format!("offset {base} was read where {from} comes next"));
            }
            from = batch.last_offset() + 1;
            found.push(batch);
        }
        if found.len() == before {
            return Err(format!("nothing was read at {from} of {durable}"));
        }
    }
    Ok(found)
}

fn search(store: &Store, id: LogId, by: ByTime, until: i64) -> Result<Option<TimedOffset>, String> {
    let answer = match store.search(id, by, until) {
        Ok(TimeSearch::Ready(answer)) => Ok(answer),
        Ok(TimeSearch::Cold(cold)) => cold.run(),
        Err(fault) => Err(fault),
    };
    answer.map_err(|fault| format!("search {by:?}: {fault}"))
}
