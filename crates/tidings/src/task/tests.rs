//! A task taken through seeded histories of records, attempts that end in any order and way, commits, crashes
//! and people who redrive: order per key and every effect once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    store::{Memory, Values},
    tests::Seeded,
};

const PAUSE_MAX_MS: i64 = 1_000;

fn at() -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition: 0 }
}

fn record(offset: i64, key: Option<&str>) -> Record {
    Record {
        topic: "orders".into(),
        partition: 0,
        offset,
        timestamp: 0,
        key: key.map(|key| key.to_owned().into()),
        value: Some(offset.to_string().into()),
        headers: Vec::new(),
    }
}

fn task(committed: (i64, Option<String>)) -> Task {
    Task::new(at(), "service.changelog", committed)
}

fn dead() -> Ended {
    awaiting(&[])
}

fn awaiting(states: &[&str]) -> Ended {
    let (letters, cause) = (Vec::new(), "no".to_owned());
    let awaits = states.iter().map(|&state| state.to_owned()).collect();
    Ended::Dead(Dead { since_ms: 0, control: 0, letters, cause, awaits })
}

/// A record has no inputs that matter.
fn none(_: &Record) -> Vec<Input> {
    Vec::new()
}

fn offsets(task: &mut Task, now_ms: i64) -> Vec<i64> {
    let mut begun = Vec::new();
    while let Some(work) = task.next(now_ms, PAUSE_MAX_MS) {
        begun.push(work.record.offset);
        task.ended(work, Ended::Done);
    }
    begun
}

#[test]
fn a_key_that_fails_is_put_aside_and_the_others_flow() {
    let mut task = task((0, None));
    for (offset, key) in [(0, "a"), (1, "b"), (2, "a"), (3, "c")] {
        task.deliver(record(offset, Some(key)));
    }
    let first = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(first, Ended::Failed { due_ms: 50 });
    task.deliver(record(4, Some("a")));
    assert_eq!(offsets(&mut task, 49), [1, 3]);
    assert_eq!(task.commit().position, Some((5, None)), "what is put aside is in the changelog");
    let again = task.next(50, PAUSE_MAX_MS).expect("it is due");
    assert_eq!((again.record.offset, again.attempts), (0, 1));
    assert!(task.next(50, PAUSE_MAX_MS).is_none(), "what follows it waits");
    task.ended(again, Ended::Done);
    assert_eq!(offsets(&mut task, 50), [2, 4]);
    assert_eq!(task.shelf().len(), 0);
}

#[test]
fn unordered_lets_followers_pass() {
    let mut task = task((0, None)).unordered(true);
    for offset in 0..3 {
        task.deliver(record(offset, Some("a")));
    }
    let first = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(first, dead());
    assert_eq!(offsets(&mut task, 0), [1, 2]);
    task.deliver(record(3, Some("a")));
    assert_eq!(offsets(&mut task, 0), [3]);
}

#[test]
fn a_dead_key_waits_for_a_person() {
    let mut task = task((0, None));
    for offset in 0..3 {
        task.deliver(record(offset, Some("a")));
    }
    for time_ms in [0, PAUSE_MAX_MS] {
        let work = task.next(time_ms, PAUSE_MAX_MS).expect("an attempt");
        task.ended(
            work,
            if time_ms == 0 { Ended::Failed { due_ms: PAUSE_MAX_MS } } else { dead() },
        );
    }
    assert_eq!(offsets(&mut task, i64::MAX), [0; 0]);
    assert!(!task.redrive(1, 0, |_| {}) && !task.discard(1, &none), "it is not dead, it follows");
    assert!(task.redrive(0, 0, |record| record.value = Some("mended".into())));
    let again = task.next(0, PAUSE_MAX_MS).expect("it was sent back");
    assert_eq!((again.attempts, again.record.value.as_deref()), (0, Some(&b"mended"[..])));
    task.ended(again, dead());
    assert!(task.discard(0, &none));
    assert_eq!(offsets(&mut task, 0), [1, 2]);
}

#[test]
fn what_had_no_turn_is_put_aside_once_and_counts_no_attempt() {
    let mut task = task((0, None));
    for (offset, key) in [(0, "a"), (1, "b"), (2, "a")] {
        task.deliver(record(offset, Some(key)));
    }
    let first = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(first, Ended::Later { due_ms: 50 });
    assert_eq!(offsets(&mut task, 49), [1], "other keys flow");
    let commit = task.commit();
    assert_eq!((commit.position, commit.changelog.len()), (Some((3, None)), 2));
    for now_ms in [50, 90] {
        let again = task.next(now_ms, PAUSE_MAX_MS).expect("it is due");
        assert_eq!((again.record.offset, again.attempts), (0, 0));
        assert!(task.next(now_ms, PAUSE_MAX_MS).is_none(), "what follows it waits");
        task.ended(again, Ended::Later { due_ms: now_ms + 40 });
        assert!(!task.has_changes(), "that it waits longer is in memory only");
        assert_eq!(task.due_ms(now_ms, PAUSE_MAX_MS), Some(now_ms + 40));
    }
    // One of two handlers is done with it, which is news.
    let mut again = task.next(130, PAUSE_MAX_MS).expect("it is due");
    again.finished.push("mail".into());
    task.ended(again, Ended::Later { due_ms: 140 });
    assert_eq!(task.commit().changelog.len(), 1);
    assert_eq!(offsets(&mut task, 140), [0, 2]);
}

fn absent() -> Ended {
    awaiting(&["account"])
}

/// For so many states.
fn memory(states: usize) -> Store {
    Store::of((0..states).map(|_| Values::Memory(Memory::default())).collect())
}

fn keeping(committed: (i64, Option<String>)) -> Task {
    task(committed).keeping(vec![("account".into(), "service.state.account".into())], memory(1))
}

#[test]
fn what_awaits_a_value_does_not_hold_its_key_and_comes_before_what_follows_the_value() {
    let mut task = keeping((0, None));
    for offset in 0..4 {
        task.deliver(record(offset, Some("a")));
    }
    let early = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(early, absent());
    let makes = task.next(0, PAUSE_MAX_MS).expect("the key goes on");
    assert_eq!(makes.record.offset, 1);
    task.keep(0, "a".into(), Some("1".into()), true);
    task.deliver(record(4, Some("b")));
    let other = task.next(0, PAUSE_MAX_MS).expect("another key");
    task.ended(other, Ended::Done);
    assert!(task.next(0, PAUSE_MAX_MS).is_none(), "the key is still being handled");
    task.ended(makes, Ended::Done);
    task.deliver(record(5, Some("a")));
    assert_eq!(offsets(&mut task, 0), [0, 2, 3, 5]);
    let commit = task.commit();
    assert_eq!(commit.position, Some((6, None)));
    let values: Vec<_> = commit.changelog.iter().filter(|r| r.topic.contains("state")).collect();
    assert_eq!(values.len(), 1);
    assert_eq!((values[0].partition, values[0].value.as_deref()), (Some(0), Some(&b"1"[..])));
}

#[test]
fn what_awaits_a_value_that_is_made_by_a_record_from_the_shelf_waits_for_its_end() {
    let mut task = keeping((0, None));
    for offset in 0..3 {
        task.deliver(record(offset, Some("a")));
    }
    let early = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(early, absent());
    let makes = task.next(0, PAUSE_MAX_MS).expect("the second");
    task.ended(makes, Ended::Failed { due_ms: 10 });
    let again = task.next(10, PAUSE_MAX_MS).expect("it is due");
    task.keep(0, "a".into(), Some("1".into()), true);
    task.deliver(record(3, Some("b")));
    assert_eq!(offsets(&mut task, 10), [3], "of the key one at a time");
    task.ended(again, Ended::Failed { due_ms: 20 });
    assert_eq!(offsets(&mut task, 20), [0, 1, 2]);
}

/// What is on the shelf, in the changelog.
fn parked(offset: i64, key: &str, ended: Ended) -> Entry {
    let Ended::Dead(dead) = ended else { panic!("{ended:?} is not dead") };
    let (state, finished) = (State::Dead(dead), Vec::new());
    let record = record(offset, Some(key));
    Entry::Parked(
        offset,
        Some(Box::new(Parked { record, attempts: 1, state, finished, redrives: 0 })),
    )
}

#[test]
fn what_awaits_values_of_two_states_goes_on_with_either() {
    for state in [0, 1] {
        let states = ["account", "card"].map(|name| (name.to_owned(), format!("s.state.{name}")));
        let mut task = task((0, None)).keeping(states.to_vec(), memory(2));
        task.deliver(record(0, Some("a")));
        task.deliver(record(1, Some("a")));
        let early = task.next(0, PAUSE_MAX_MS).expect("the first");
        task.ended(early, awaiting(&["account", "card"]));
        let makes = task.next(0, PAUSE_MAX_MS).expect("the key goes on");
        task.keep(state, "a".into(), Some("1".into()), true);
        task.ended(makes, Ended::Done);
        assert_eq!(offsets(&mut task, 0), [0], "{state}");
    }
}

#[test]
fn what_awaits_a_state_that_is_kept_no_more_is_tried_again() {
    // It is named otherwise now, or belongs to another topic's keys.
    for states in [vec![("money", "service.state.money")], vec![("account", "")]] {
        let own = |(name, topic): (&str, &str)| (name.to_owned(), topic.to_owned());
        let mut task = task((1, None)).keeping(states.into_iter().map(own).collect(), memory(1));
        task.restore(parked(0, "a", absent()));
        task.settle().expect("in memory");
        task.deliver(record(1, Some("a")));
        assert_eq!(offsets(&mut task, 0), [0, 1]);
    }
}

#[test]
fn what_awaits_a_value_and_is_redriven_waits_until_its_key_is_free() {
    let mut task = keeping((0, None));
    for offset in 0..3 {
        task.deliver(record(offset, Some("a")));
    }
    let early = task.next(0, PAUSE_MAX_MS).expect("the first");
    task.ended(early, absent());
    let other = task.next(0, PAUSE_MAX_MS).expect("the key goes on");
    task.commit();
    assert!(task.redrive(0, 0, |_| {}));
    assert!(task.next(0, PAUSE_MAX_MS).is_none(), "of a key one at a time");
    let changelog = task.commit().changelog;
    let [sent] = &changelog[..] else { panic!("{changelog:?}") };
    let is_dead = sent.headers.iter().any(|header| header.name == "tidings-parked-dead-since");
    assert!(!is_dead, "it is redriven, whatever happens to this task");
    task.ended(other, Ended::Done);
    assert_eq!(offsets(&mut task, 0), [0, 2]);
}

#[test]
fn a_restored_task_lets_go_on_what_has_its_value() {
    for has_value in [false, true] {
        let mut task = keeping((1, None));
        task.restore(parked(0, "a", absent()));
        if has_value {
            task.store_mut().restore(0, &"a".into(), Some(&"1".into()));
        }
        task.settle().expect("in memory");
        task.deliver(record(1, Some("a")));
        assert_eq!(offsets(&mut task, 0), if has_value { vec![0, 1] } else { vec![1] });
        assert_eq!(task.shelf().dead_keys(), usize::from(!has_value));
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_a_key() {
    let mut task = task((0, None));
    task.deliver(record(0, Some("a")));
    let work = task.next(1_000_000, PAUSE_MAX_MS).expect("the first");
    task.ended(work, Ended::Failed { due_ms: 1_000_100 });
    assert_eq!(task.due_ms(999_999, PAUSE_MAX_MS), Some(1_000_100));
    assert_eq!(offsets(&mut task, 500_000), [0]);
}

#[test]
fn a_log_that_begins_anew_is_handled_from_its_beginning() {
    let mut task = task((100, None));
    assert!(!task.deliver(record(100, Some("a"))) && !task.deliver(record(101, Some("b"))));
    let dies = task.next(0, 0).expect("a");
    task.ended(dies, dead());
    let _dropped = task.next(0, 0).expect("b");
    task.commit();
    assert!(task.deliver(record(0, Some("b"))), "it was made anew");
    assert_eq!(offsets(&mut task, 0), [0], "what was attempted of its key is dropped");
    assert_eq!(task.commit().position, Some((1, None)));
    for offset in 1..100 {
        task.deliver(record(offset, None));
    }
    // Another record has the place of the dead one, which stays.
    task.deliver(Record { timestamp: 7, ..record(100, Some("a")) });
    assert_eq!(offsets(&mut task, 0), (1..100).collect::<Vec<_>>());
    let former = i64::MIN + 100;
    assert_eq!(task.shelf().dead().map(|(offset, _)| offset).collect::<Vec<_>>(), [former]);
    assert_eq!(task.shelf().followers(former), 1);
    assert!(task.discard(former, &none));
    assert_eq!(offsets(&mut task, 0), [100]);
    assert_eq!(task.commit().position, Some((101, None)));
}

#[test]
fn what_was_tried_from_the_shelf_when_the_log_began_anew_is_tried_again() {
    let mut task = task((100, None));
    task.deliver(record(100, Some("a")));
    let fails = task.next(0, 0).expect("a");
    task.ended(fails, Ended::Failed { due_ms: 5 });
    let _dropped = task.next(5, PAUSE_MAX_MS).expect("it is due");
    assert!(task.deliver(record(0, Some("b"))), "it was made anew");
    assert_eq!(offsets(&mut task, 5), [100, 0]);
}

/// A record is tried from the shelf, and another comes that has its place.
fn displaced(task: &mut Task, other: &str) -> Work {
    task.deliver(record(0, Some("a")));
    let fails = task.next(0, 0).expect("a");
    task.ended(fails, Ended::Failed { due_ms: 5 });
    let Commit { changelog, .. } = task.commit();
    let [parked] = &changelog[..] else { panic!("{changelog:?}") };
    let SentRecord { topic, key, value, headers, .. } = parked.clone();
    let topic = topic.into();
    let parked = Record { topic, partition: 0, offset: 0, timestamp: 0, key, value, headers };
    // The log was made anew while nobody looked.
    *task = self::task((0, None));
    task.restore(Entry::from_record(&parked).expect("a task wrote it").1);
    let tried = task.next(5, PAUSE_MAX_MS).expect("it is due");
    task.deliver(Record { timestamp: 7, ..record(0, Some(other)) });
    tried
}

#[test]
fn what_has_lost_its_place_while_it_was_tried_ends_where_it_is() {
    let former = i64::MIN;
    for (ended, then) in [
        (Ended::Done, vec![0]),
        (Ended::Failed { due_ms: 6 }, vec![former, 0]),
        (Ended::Later { due_ms: 6 }, vec![former, 0]),
        (Ended::Again, vec![former, 0]),
        (dead(), vec![]),
    ] {
        let mut task = task((0, None));
        let tried = displaced(&mut task, "a");
        assert!(task.next(5, PAUSE_MAX_MS).is_none(), "of a key one at a time");
        let how = format!("{ended:?}");
        task.ended(tried, ended);
        assert_eq!(offsets(&mut task, 6), then, "{how}");
        let left = if then.is_empty() { vec![former] } else { Vec::new() };
        assert_eq!(task.shelf().dead().map(|(at, _)| at).collect::<Vec<_>>(), left, "{how}");
    }
}

#[test]
fn the_record_that_took_a_place_keeps_it_when_it_fails_too() {
    let mut task = task((0, None));
    let tried = displaced(&mut task, "b");
    let other = task.next(5, PAUSE_MAX_MS).expect("another key");
    task.ended(other, dead());
    task.ended(tried, dead());
    let cause = |at| task.shelf().get(at).map(|parked| parked.record.key.clone());
    assert_eq!(cause(i64::MIN), Some(Some("a".into())));
    assert_eq!(cause(0), Some(Some("b".into())));
}

#[test]
fn a_log_that_was_made_anew_twice_loses_nothing_of_the_shelf() {
    let mut task = task((0, None));
    for timestamp in 0..3 {
        task.deliver(Record { timestamp, ..record(0, Some("a")) });
        task.restore(parked(0, "a", dead()));
        let Some(mut its) = task.shelf().get(0).cloned() else { panic!("it is there") };
        its.record.timestamp = timestamp;
        task.restore(Entry::Parked(0, Some(Box::new(its))));
    }
    assert_eq!(task.shelf().len(), 3);
}

#[test]
fn a_discarded_record_far_ahead_of_what_is_open_is_not_handled_again() {
    let input = |record: &Record| vec![Input::of(&record.offset.to_string(), "h")];
    let mut task = task((0, None));
    let last = i64::try_from(limits::OVERTAKEN_MAX).expect("small") * 3;
    task.deliver(record(0, Some("a")));
    let first = task.next(0, 0).expect("the first");
    task.ended(first, dead());
    (1..last).for_each(|offset| _ = task.deliver(record(offset, None)));
    task.deliver(record(last, Some("a")));
    assert!(task.discard(0, &input));
    let follower = task.next(0, 0).expect("it follows");
    assert_eq!(follower.record.offset, last);
    task.ended(follower, dead());
    assert!(task.discard(last, &input));
    let Commit { position, changelog } = task.commit();
    let mut heir = self::task(position.expect("it has one"));
    for SentRecord { topic, key, value, headers, .. } in changelog {
        let topic = topic.into();
        let record = Record { topic, partition: 0, offset: 0, timestamp: 0, key, value, headers };
        heir.restore(Entry::from_record(&record).expect("a task wrote it").1);
    }
    heir.deliver(record(last, Some("a")));
    let again = heir.next(0, 0).expect("it comes again");
    assert!(heir.recent().has(input(&again.record)[0]), "its handler is done with it");
}

/// What the log holds: what was committed, and nothing else.
#[derive(Default)]
struct Log {
    changelog: BTreeMap<Bytes, SentRecord>,
    committed: (i64, Option<String>),
    /// Offsets by key, in the order of their effects.
    effects: Vec<(Option<Bytes>, i64)>,
}

struct History {
    random: Seeded,
    input: Vec<Record>,
    log: Log,
    task: Task,
    delivered: usize,
    running: Vec<Work>,
    /// Not committed.
    effects: Vec<(Option<Bytes>, i64)>,
    now_ms: i64,
    unkind: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Seeded(seed);
        let keys = 1 + random.below(6);
        let mut offset = 0;
        let input = (0..40)
            .map(|_| {
                // Markers of transactions lie between.
                offset += 1 + i64::from(random.below(3) == 0);
                let key = random.below(keys + 1).checked_sub(1).map(|key| key.to_string());
                record(offset, key.as_deref())
            })
            .collect();
        let task = task((0, None));
        let (log, running, effects) = (Log::default(), Vec::new(), Vec::new());
        Self { random, input, log, task, delivered: 0, running, effects, now_ms: 0, unkind: true }
    }

    fn step(&mut self) {
        match self.random.below(if self.unkind { 12 } else { 10 }) {
            0 | 1 => {
                if let Some(record) = self.input.get(self.delivered) {
                    assert!(!self.task.deliver(record.clone()));
                    self.delivered += 1;
                }
            }
            2..=4 => self.running.extend(self.task.next(self.now_ms, PAUSE_MAX_MS)),
            5..=7 if !self.running.is_empty() => self.end_one(),
            8 => self.commit(),
            9 => {
                self.now_ms += 20;
                self.redrive();
            }
            10 if self.random.below(4) == 0 => self.crash(),
            _ => {}
        }
    }

    fn end_one(&mut self) {
        let one = usize::try_from(self.random.below(self.running.len() as u64)).expect("small");
        let work = self.running.swap_remove(one);
        let fate = if self.unkind { self.random.below(10) } else { 9 };
        let ended = match fate {
            0 | 1 => Ended::Failed { due_ms: self.now_ms + 30 },
            2 => dead(),
            3 => Ended::Again,
            4 => Ended::Later { due_ms: self.now_ms + 30 },
            _ => {
                self.effects.push((work.record.key.clone(), work.record.offset));
                Ended::Done
            }
        };
        self.task.ended(work, ended);
    }

    fn redrive(&mut self) {
        let dead: Vec<i64> = self.task.shelf().dead().map(|(offset, _)| offset).collect();
        for offset in dead {
            assert!(self.task.redrive(offset, self.now_ms, |_| {}));
        }
    }

    fn commit(&mut self) {
        let Commit { position, changelog } = self.task.commit();
        for record in changelog {
            let key = record.key.clone().expect("each has one");
            if record.value.is_none() {
                self.log.changelog.remove(&key);
            } else {
                self.log.changelog.insert(key, record);
            }
        }
        if let Some(position) = position {
            assert!(position.0 >= self.log.committed.0, "it never goes back");
            self.log.committed = position;
        }
        self.log.effects.append(&mut self.effects);
    }

    fn crash(&mut self) {
        self.effects.clear();
        self.running.clear();
        self.task = task(self.log.committed.clone());
        let records: Vec<SentRecord> = self.log.changelog.values().cloned().collect();
        for SentRecord { topic, key, value, headers, .. } in records {
            let topic = topic.into();
            let record =
                Record { topic, partition: 0, offset: 0, timestamp: 0, key, value, headers };
            let (partition, entry) = Entry::from_record(&record).expect("a task wrote it");
            assert_eq!(partition, at());
            self.task.restore(entry);
        }
        let from = self.log.committed.0;
        self.delivered = self.input.partition_point(|record| record.offset < from);
    }

    fn check(&self, seed: u64) {
        let mut last: BTreeMap<&Bytes, i64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (key, offset) in self.log.effects.iter().chain(&self.effects) {
            assert!(seen.insert(*offset), "seed {seed}: {offset} twice");
            let Some(key) = key else { continue };
            let before = last.insert(key, *offset);
            assert!(before.is_none_or(|before| before < *offset), "seed {seed}: {offset} too late");
        }
    }
}

#[test]
fn whatever_happens_order_holds_and_every_effect_is_there_once() {
    for seed in 0..400 {
        let mut history = History::new(seed);
        for _ in 0..400 {
            history.step();
        }
        history.check(seed);
        // Then everything works, and everything ends.
        history.unkind = false;
        for _ in 0..2_000 {
            history.step();
        }
        history.commit();
        history.check(seed);
        let Task { lanes, ready, watermark, .. } = &history.task;
        let rest = (lanes, ready, watermark, history.delivered, &history.running);
        assert_eq!(history.log.effects.len(), history.input.len(), "seed {seed}: {rest:?}");
        assert_eq!(history.task.shelf().len(), 0, "seed {seed}");
        let end = history.input.last().map_or(0, |record| record.offset + 1);
        assert_eq!(history.log.committed, (end, None), "seed {seed}");
    }
}
