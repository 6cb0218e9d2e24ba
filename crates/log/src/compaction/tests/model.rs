//! Seeded histories of records, tombstones and transactions, cleaned several times, against an obvious
//! model: the list of everything that was ever written.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DELETE_RETENTION_MS: i64 = CONFIG.delete_retention_ms;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A record of data as it was written.
#[derive(Clone, Debug)]
struct Written {
    record: Record,
    producer_id: i64,
    /// Of the transaction it is in, if that has ended.
    ending: Option<Ending>,
    transactional: bool,
    /// The time of the first cleaning that may have found it to be its key's last.
    cleaned_at: Option<i64>,
}

impl Written {
    fn counts(&self) -> bool {
        !self.transactional || self.ending == Some(Ending::Commit)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// First offset of its open transaction.
    open_since: Option<i64>,
}

/// What a log remembers of a producer, folded from its batches: epoch, and of the last five batches of
/// that epoch base sequence, base and last offset.
type State = BTreeMap<i64, (i16, Vec<(i32, i64, i64)>)>;

#[derive(Default)]
struct History {
    disk: MemoryDisk,
    random_codec: u64,
    next_offset: i64,
    now_ms: i64,
    cleaned_to: i64,
    written: BTreeMap<i64, Written>,
    producers: BTreeMap<i64, Producer>,
    /// Of the segment that is being filled.
    active: Vec<Batch>,
    segments: Vec<SegmentFacts>,
    /// Aborted transactions, by last offset.
    aborted: BTreeMap<i64, AbortedTransaction>,
    state: State,
}

fn fold(state: &mut State, header: &BatchHeader) {
    if header.producer_id < 0 {
        return;
    }
    let entry = state.entry(header.producer_id).or_insert((header.producer_epoch, Vec::new()));
    if header.producer_epoch != entry.0 {
        *entry = (header.producer_epoch, Vec::new());
    }
    if !header.attributes.control() {
        entry.1.push((header.base_sequence, header.base_offset, header.last_offset()));
        if entry.1.len() > 5 {
            entry.1.remove(0);
        }
    }
}

impl History {
    fn append(&mut self, batch: Batch) {
        fold(&mut self.state, batch.header());
        self.next_offset = batch.last_offset() + 1;
        self.active.push(batch);
    }

    /// A batch of one to four records; producers 0 to 2 have transactions, 3 and 4 have none, -1 is none.
    fn write(&mut self, random: &mut Random) {
        let producer_id = random.below(6) as i64 - 1;
        let transactional = (0..3).contains(&producer_id);
        self.random_codec = random.below(5);
        let codec = [
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Zstd,
            Compression::Gzip,
        ][self.random_codec as usize];
        let mut builder = BatchBuilder::new().compression(codec);
        let count = 1 + random.below(4) as i64;
        if producer_id >= 0 {
            let producer = self.producers.entry(producer_id).or_default();
            builder = builder.producer(producer_id, producer.epoch, producer.next_sequence);
            producer.next_sequence += count as i32;
            if transactional {
                builder = builder.transactional();
                producer.open_since.get_or_insert(self.next_offset);
            }
        }
        let records: Vec<NewRecord> = (0..count)
            .map(|at| {
                let key = format!("k{}", random.below(12));
                let value = format!("v{}", self.next_offset + at);
                let value = (!random.chance(25)).then_some(value);
                record(self.now_ms - random.below(20) as i64, &key, value.as_deref())
            })
            .collect();
        let batch = batch(builder, self.next_offset, &records);
        for record in batch.records().unwrap() {
            let written =
                Written { record, producer_id, ending: None, transactional, cleaned_at: None };
            self.written.insert(written.record.offset, written);
        }
        self.append(batch);
    }

    fn end_transaction(&mut self, random: &mut Random) {
        let producer_id = random.below(3) as i64;
        let ending = if random.chance(50) { Ending::Commit } else { Ending::Abort };
        let Some(producer) = self.producers.get_mut(&producer_id) else { return };
        let Some(first_offset) = producer.open_since.take() else { return };
        // Producer 2's ends raise its epoch, as KIP-890 has it.
        if producer_id == 2 {
            producer.epoch += 1;
            producer.next_sequence = 0;
        }
        let offset = self.next_offset;
        let batch = end(ending, (producer_id, producer.epoch), offset, self.now_ms);
        for written in self.written.range_mut(first_offset..).map(|(_, written)| written) {
            if written.producer_id == producer_id {
                written.ending = Some(ending);
            }
        }
        self.append(batch);
        if ending == Ending::Abort {
            let last_stable_offset = self.last_stable_offset();
            let aborted = AbortedTransaction {
                producer_id,
                first_offset,
                last_offset: offset,
                last_stable_offset,
            };
            self.aborted.insert(offset, aborted);
        }
    }

    fn last_stable_offset(&self) -> i64 {
        let open = self.producers.values().filter_map(|producer| producer.open_since);
        open.min().unwrap_or(self.next_offset)
    }

    fn roll(&mut self) {
        if !self.active.is_empty() {
            self.segments.push(write_segment(&self.disk, &std::mem::take(&mut self.active)));
        }
    }

    fn clean(&mut self, random: &mut Random) {
        if self.segments.is_empty() {
            return;
        }
        let segments = with_active(self.segments.clone());
        let facts = CompactFacts {
            segments: &segments,
            start_offset: 0,
            cleaned_to: self.cleaned_to,
            last_stable_offset: self.last_stable_offset(),
        };
        let segment_bytes = [200, 2000, 1 << 20][random.below(3) as usize];
        let config = LogConfig { segment_bytes, ..CONFIG };
        let Some(plan) = plan(facts, &config, self.now_ms) else { return };
        let mut live = LiveProducers::default();
        for (&producer_id, (epoch, batches)) in &self.state {
            if batches.is_empty() {
                live.add(producer_id, *epoch, None);
            }
            for &(_, _, last_offset) in batches {
                live.add(producer_id, *epoch, Some(last_offset));
            }
        }
        let aborted = self.aborted.values().filter(|one| one.first_offset < plan.until);
        let aborted: Vec<AbortedTransaction> = aborted.copied().collect();
        let mut job = job_with(&self.disk, plan, aborted, live);
        if random.chance(30) {
            job = job.with_limits(8, 1 + random.below(2000));
        }
        let (cleaned, outcome) = run(&self.disk, &mut job);
        assert_eq!(outcome.damaged, None);
        assert!(outcome.cleaned_to > self.cleaned_to, "it gets on");
        self.cleaned_to = outcome.cleaned_to;
        for segment in &cleaned {
            check_cleaned(&self.disk, segment);
            self.aborted
                .retain(|offset, _| !(segment.base_offset..segment.next_offset).contains(offset));
            self.aborted.extend(segment.aborted.iter().map(|one| (one.last_offset, *one)));
        }
        install(&mut self.segments, &cleaned);
        for (_, written) in self.written.range_mut(..self.cleaned_to) {
            written.cleaned_at.get_or_insert(self.now_ms);
        }
    }

    /// The newest record of each key that counts, of those below `until`.
    fn newest(&self, until: i64) -> BTreeMap<Bytes, i64> {
        let counting = self.written.range(..until).filter(|(_, written)| written.counts());
        counting.map(|(&offset, written)| (written.record.key.clone().unwrap(), offset)).collect()
    }

    fn check(&self) {
        let batches: Vec<Batch> =
            batches_in(&self.disk).into_iter().chain(self.active.iter().cloned()).collect();
        let mut expected = 0;
        for batch in &batches {
            assert!(batch.header().base_offset >= expected, "in order");
            expected = batch.last_offset() + 1;
        }
        let end = self.segments.last().map_or(0, |segment| segment.next_offset);
        assert!(batches.iter().any(|batch| batch.last_offset() + 1 == end) || end == 0);
        let mut there: BTreeSet<i64> = BTreeSet::new();
        for batch in batches.iter().filter(|batch| !batch.header().attributes.control()) {
            for record in batch.records().unwrap() {
                assert_eq!(record, self.written[&record.offset].record, "unchanged");
                assert!(there.insert(record.offset), "once");
            }
        }
        self.check_missing(&there);
        self.check_cleaned_part(&there);
        self.check_read_committed(&batches);
        let mut state = State::new();
        batches.iter().for_each(|batch| fold(&mut state, batch.header()));
        assert_eq!(state, self.state, "producers come out of a replay as before");
    }

    /// What is missing was aborted, superseded, or a tombstone whose time was over.
    fn check_missing(&self, there: &BTreeSet<i64>) {
        let newest = self.newest(i64::MAX);
        for (offset, written) in self.written.iter().filter(|(offset, _)| !there.contains(offset)) {
            let record = &written.record;
            assert!(written.ending.is_some() || !written.transactional, "{offset} is undecided");
            if !written.counts() || newest[record.key.as_ref().unwrap()] > *offset {
                continue;
            }
            assert_eq!(record.value, None, "the newest of its key: {offset}");
            let cleaned_at = written.cleaned_at.expect("a tombstone that was never cleaned");
            assert!(
                self.now_ms >= cleaned_at + DELETE_RETENTION_MS,
                "tombstone {offset} went early"
            );
            let older = there
                .iter()
                .filter(|at| *at < offset)
                .find(|at| self.written[at].record.key == record.key && self.written[at].counts());
            assert_eq!(older, None, "a value is back without its tombstone {offset}");
        }
    }

    /// Below the cleaner offset nothing is superseded and nothing aborted is left.
    fn check_cleaned_part(&self, there: &BTreeSet<i64>) {
        let newest = self.newest(self.cleaned_to);
        for offset in there.range(..self.cleaned_to) {
            let written = &self.written[offset];
            assert!(written.counts(), "{offset} was aborted");
            assert_eq!(newest[written.record.key.as_ref().unwrap()], *offset, "superseded");
        }
    }

    /// What a client that reads committed records makes of it: it leaves out the batches of a producer
    /// from the first offset it is told of to the producer's next end with an abort.
    fn check_read_committed(&self, batches: &[Batch]) {
        let last_stable_offset = self.last_stable_offset();
        let mut told: Vec<&AbortedTransaction> = self.aborted.values().collect();
        told.sort_by_key(|one| one.first_offset);
        let mut told = told.into_iter().peekable();
        let mut aborting = BTreeSet::new();
        for batch in batches.iter().filter(|batch| batch.last_offset() < last_stable_offset) {
            while let Some(one) = told.next_if(|one| one.first_offset <= batch.last_offset()) {
                aborting.insert(one.producer_id);
            }
            let producer_id = batch.header().producer_id;
            match batch.end_marker().unwrap().map(|marker| marker.ending) {
                Some(Ending::Abort) => {
                    aborting.remove(&producer_id);
                }
                Some(Ending::Commit) => {
                    assert!(!aborting.contains(&producer_id), "an end is missing");
                }
                None => {
                    let seen = !batch.header().attributes.transactional()
                        || !aborting.contains(&producer_id);
                    for record in batch.records().unwrap() {
                        let counts = self.written[&record.offset].counts();
                        assert_eq!(seen, counts, "record {}", record.offset);
                    }
                }
            }
        }
    }
}

fn history(seed: u64) -> History {
    let mut random = Random(seed);
    let mut history = History { disk: disk(), now_ms: 100_000, ..History::default() };
    for _ in 0..120 {
        history.now_ms += random.below(120) as i64;
        match random.below(20) {
            0..12 => history.write(&mut random),
            12..16 => history.end_transaction(&mut random),
            16..19 => history.roll(),
            _ => history.clean(&mut random),
        }
        history.check();
    }
    history
}

#[test]
fn histories_keep_what_counts_and_lose_only_what_may_go() {
    let (mut cleanings, mut dropped, mut tombstones_gone) = (0, 0, 0);
    for seed in 0..150 {
        let history = history(seed);
        cleanings += u64::from(history.cleaned_to > 0);
        let there: BTreeSet<i64> = contents(&history.disk).into_iter().map(|line| line.0).collect();
        let newest = history.newest(history.cleaned_to);
        let gone =
            history.written.range(..history.cleaned_to).filter(|(at, _)| !there.contains(at));
        for (offset, written) in gone {
            dropped += 1;
            let newest = newest.get(written.record.key.as_ref().unwrap()) == Some(offset);
            tombstones_gone += u64::from(newest);
        }
    }
    assert!(cleanings > 100 && dropped > 3000 && tombstones_gone > 30);
}
