//! Fetch sessions: what they say, what they leave out, and that it adds up to what full fetches say.

use std::collections::BTreeMap;

use tidings_broker::log::split;
use tidings_broker::{
    DeleteRecords, DeleteRecordsPartition, DeleteTopics, Fetch, FetchInSession, FetchPartition,
    FetchRefused, FetchSessionRefused, Fetched, NewTopic, SessionFetched, SessionStep, TopicName,
    limits,
};

use crate::rig::{Rig, batch, fetch, produce};

fn part(topic: impl Into<TopicName>, partition: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        topic: topic.into(),
        partition,
        offset,
        max_bytes: 1 << 20,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    }
}

fn over(partitions: Vec<FetchPartition>) -> Fetch {
    Fetch { max_wait_ms: 0, partitions, ..fetch("", 0, 0) }
}

fn step(step: SessionStep, partitions: Vec<FetchPartition>) -> FetchInSession {
    FetchInSession { step, by_id: false, fetch: over(partitions), forgotten: Vec::new() }
}

fn next(id: i32, epoch: i32, changed: Vec<FetchPartition>) -> FetchInSession {
    step(SessionStep::Next { id, epoch }, changed)
}

fn ask(rig: &mut Rig, request: FetchInSession) -> Result<SessionFetched, FetchSessionRefused> {
    let ticket = rig.submit(request);
    while !rig.is_answered(ticket) && rig.work() {}
    rig.answer::<FetchInSession>(ticket).expect("answered when segments have been read")
}

fn begin(rig: &mut Rig, partitions: Vec<FetchPartition>) -> SessionFetched {
    ask(rig, step(SessionStep::Begin { ends: 0 }, partitions)).expect("there is room")
}

/// Partition, next offset after its records if it has some, high watermark.
fn said(fetched: &SessionFetched) -> Vec<(i32, Option<i64>, i64)> {
    let of = |fetched: &Fetched| {
        let data = fetched.outcome.as_ref().expect("nothing is refused");
        (fetched.partition, end_of(fetched), data.high_watermark)
    };
    fetched.partitions.iter().map(of).collect()
}

fn end_of(fetched: &Fetched) -> Option<i64> {
    let data = fetched.outcome.as_ref().ok()?;
    let last = data.batches.iter().cloned().flat_map(split).last()?;
    Some(last.expect("whole batches").last_offset() + 1)
}

fn wide(rig: &mut Rig, name: &str, partitions: i32) {
    let new = NewTopic { partitions: Some(partitions), ..NewTopic::default() };
    rig.create(NewTopic { name: name.into(), ..new }).expect("a new topic");
}

#[test]
fn a_session_says_everything_once_and_then_what_has_changed() {
    let mut rig = Rig::new();
    wide(&mut rig, "a", 3);
    rig.produce("a", 1, batch(&["x"])).unwrap();
    let all = (0..3).map(|partition| part("a", partition, 0)).collect();
    let first = begin(&mut rig, all);
    let id = first.session_id;
    assert!(id > 0);
    assert_eq!(said(&first), [(0, None, 0), (1, Some(1), 1), (2, None, 0)]);

    // The client asks for what follows, as it must: its records come until it does.
    let again = ask(&mut rig, next(id, 1, Vec::new())).unwrap();
    assert_eq!(said(&again), [(1, Some(1), 1)]);
    let quiet = ask(&mut rig, next(id, 2, vec![part("a", 1, 1)])).unwrap();
    assert_eq!((quiet.session_id, said(&quiet)), (id, vec![]));

    rig.produce("a", 2, batch(&["y"])).unwrap();
    let moved = ask(&mut rig, next(id, 3, Vec::new())).unwrap();
    assert_eq!(said(&moved), [(2, Some(1), 1)]);

    let forgotten = vec![("a".into(), 2), ("a".into(), 7)];
    let request = FetchInSession { forgotten, ..next(id, 4, vec![part("a", 0, 0)]) };
    assert_eq!(said(&ask(&mut rig, request).unwrap()), []);
    rig.produce("a", 2, batch(&["z"])).unwrap();
    assert_eq!(said(&ask(&mut rig, next(id, 5, Vec::new())).unwrap()), []);
}

#[test]
fn a_start_offset_that_moved_is_said() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["x", "y"])).unwrap();
    let id = begin(&mut rig, vec![part("a", 0, 2)]).session_id;
    let partition = DeleteRecordsPartition { topic: "a".into(), partition: 0, before: Some(1) };
    rig.call(DeleteRecords { partitions: vec![partition] });
    let fetched = ask(&mut rig, next(id, 1, Vec::new())).unwrap();
    let data = fetched.partitions[0].outcome.as_ref().unwrap();
    assert_eq!((data.log_start_offset, data.high_watermark), (1, 2));
    assert_eq!(said(&ask(&mut rig, next(id, 2, Vec::new())).unwrap()), []);
}

#[test]
fn what_does_not_continue_a_session_is_refused_and_leaves_it_as_it_was() {
    let mut rig = Rig::new();
    rig.topic("a");
    let id = begin(&mut rig, vec![part("a", 0, 0)]).session_id;
    let unknown = if id == 1 { 2 } else { 1 };
    let by_id = FetchInSession { by_id: true, ..next(id, 1, Vec::new()) };
    let wrong = |got| FetchSessionRefused::WrongEpoch { expected: 1, got };
    let cases = [
        (next(unknown, 1, Vec::new()), FetchSessionRefused::NotFound(unknown)),
        (next(0, 1, Vec::new()), FetchSessionRefused::NotFound(0)),
        (next(id, 2, Vec::new()), wrong(2)),
        (next(id, -7, Vec::new()), wrong(-7)),
        (by_id, FetchSessionRefused::MixedNames),
    ];
    for (request, expected) in cases {
        assert_eq!(ask(&mut rig, request).unwrap_err(), expected);
    }
    assert!(ask(&mut rig, next(id, 1, Vec::new())).is_ok());
    // A new session in its place, and then none.
    let begun = step(SessionStep::Begin { ends: id }, vec![part("a", 0, 0)]);
    let other = ask(&mut rig, begun).unwrap().session_id;
    assert_eq!(ask(&mut rig, next(id, 2, vec![])).unwrap_err(), FetchSessionRefused::NotFound(id));
    let ended = step(SessionStep::End { ends: other }, vec![part("a", 1, 0)]);
    let outside = ask(&mut rig, ended).unwrap();
    assert_eq!((outside.session_id, said(&outside)), (0, vec![(1, None, 0)]));
    let gone = FetchSessionRefused::NotFound(other);
    assert_eq!(ask(&mut rig, next(other, 1, vec![])).unwrap_err(), gone);
}

#[test]
fn a_session_without_partitions_ends() {
    let mut rig = Rig::new();
    rig.topic("a");
    assert_eq!(begin(&mut rig, Vec::new()).session_id, 0);
    let id = begin(&mut rig, vec![part("a", 0, 0)]).session_id;
    let request = FetchInSession { forgotten: vec![("a".into(), 0)], ..next(id, 1, vec![]) };
    assert_eq!(ask(&mut rig, request).unwrap().session_id, 0);
    assert_eq!(ask(&mut rig, next(id, 2, vec![])).unwrap_err(), FetchSessionRefused::NotFound(id));
}

#[test]
fn a_fetch_of_a_session_waits_for_its_partitions_alone() {
    let mut rig = Rig::new();
    wide(&mut rig, "a", 3);
    let id = begin(&mut rig, vec![part("a", 0, 0), part("a", 1, 0)]).session_id;
    let waiting = |epoch| FetchInSession {
        fetch: Fetch { max_wait_ms: 1000, ..over(Vec::new()) },
        ..next(id, epoch, Vec::new())
    };
    let ticket = rig.submit(waiting(1));
    rig.produce("a", 2, batch(&["elsewhere"])).unwrap();
    assert!(!rig.is_answered(ticket));
    rig.submit(produce("a", 1, batch(&["x"])));
    assert!(!rig.is_answered(ticket), "it is not on disk");
    rig.sync();
    let woken = rig.answer::<FetchInSession>(ticket).expect("woken").unwrap();
    assert_eq!(said(&woken), [(1, Some(1), 1)]);

    let changed = FetchInSession {
        fetch: Fetch { partitions: vec![part("a", 1, 1)], ..waiting(2).fetch },
        ..waiting(2)
    };
    let ticket = rig.submit(changed);
    rig.pass(999);
    assert!(!rig.is_answered(ticket));
    rig.pass(1);
    let over = rig.answer::<FetchInSession>(ticket).expect("its time is over").unwrap();
    assert_eq!((over.session_id, said(&over)), (id, vec![]));
    assert_eq!(rig.broker.next_timeout_ms(), None);

    // The next fetch of a session outdates one that waits; its end does too.
    let outdated = rig.submit(waiting(3));
    let ticket = rig.submit(waiting(4));
    let refused = FetchSessionRefused::WrongEpoch { expected: 4, got: 3 };
    assert_eq!(rig.answer::<FetchInSession>(outdated).unwrap().unwrap_err(), refused);
    rig.submit(step(SessionStep::End { ends: id }, Vec::new()));
    let ended = rig.answer::<FetchInSession>(ticket).unwrap().unwrap_err();
    assert_eq!(ended, FetchSessionRefused::NotFound(id));
    assert_eq!(rig.broker.next_timeout_ms(), None);
}

#[test]
fn partitions_that_gave_records_go_behind_those_that_did_not() {
    let mut rig = Rig::new();
    wide(&mut rig, "a", 3);
    let one = batch(&["x"]);
    for partition in [0, 0, 1, 2] {
        rig.produce("a", partition, one.clone()).unwrap();
    }
    let small = |request: FetchInSession| FetchInSession {
        fetch: Fetch { max_bytes: one.len(), ..request.fetch },
        ..request
    };
    let all = (0..3).map(|partition| part("a", partition, 0)).collect();
    let first = ask(&mut rig, small(step(SessionStep::Begin { ends: 0 }, all))).unwrap();
    let with_records = |fetched: &SessionFetched| -> Vec<i32> {
        let got = fetched.partitions.iter().filter(|fetched| end_of(fetched).is_some());
        got.map(|fetched| fetched.partition).collect()
    };
    assert_eq!((first.partitions.len(), with_records(&first)), (3, vec![0]));
    let mut turns = Vec::new();
    let mut changed = vec![part("a", 0, 1)];
    for epoch in 1..5 {
        let fetched = ask(&mut rig, small(next(first.session_id, epoch, changed))).unwrap();
        turns.push(with_records(&fetched));
        let after = fetched.partitions.iter().filter_map(|f| Some((f.partition, end_of(f)?)));
        changed = after.map(|(partition, end)| part("a", partition, end)).collect();
    }
    assert_eq!(turns, [vec![1], vec![2], vec![0], vec![]]);
}

#[test]
fn topics_by_id_are_told_apart_from_those_that_had_the_name_before() {
    let mut rig = Rig::new();
    let old = TopicName::Id(rig.topic("a").id);
    let begun = FetchInSession {
        by_id: true,
        ..step(SessionStep::Begin { ends: 0 }, vec![part(old.clone(), 0, 0)])
    };
    let id = ask(&mut rig, begun).unwrap().session_id;
    let mut epoch = 0;
    let mut refused = |rig: &mut Rig| {
        epoch += 1;
        let request = FetchInSession { by_id: true, ..next(id, epoch, Vec::new()) };
        let mut fetched = ask(rig, request).unwrap();
        fetched.partitions.pop().map(|fetched| {
            assert_eq!(fetched.topic, old);
            fetched.outcome.unwrap_err()
        })
    };
    assert_eq!(refused(&mut rig), None);
    rig.call(DeleteTopics { topics: vec!["a".into()] });
    assert_eq!(refused(&mut rig), Some(FetchRefused::UnknownId));
    let new = rig.topic("a").id;
    assert_ne!(TopicName::Id(new), old);
    assert_eq!(refused(&mut rig), Some(FetchRefused::InconsistentId));
    assert_eq!(refused(&mut rig), Some(FetchRefused::InconsistentId), "as long as it is asked for");
    let unknown = rig.fetch_now(over(vec![part(TopicName::Id([9; 16]), 0, 0)])).remove(0);
    assert_eq!(unknown.outcome.unwrap_err(), FetchRefused::UnknownId);
}

#[test]
fn when_there_is_no_room_for_a_session_fetches_are_full() {
    let mut rig = Rig::new();
    rig.topic("a");
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..limits::FETCH_SESSIONS_MAX {
        ids.insert(begin(&mut rig, vec![part("a", 0, 0)]).session_id);
    }
    assert!(ids.len() == limits::FETCH_SESSIONS_MAX && !ids.contains(&0));
    let outside = begin(&mut rig, vec![part("a", 0, 0), part("a", 1, 0)]);
    assert_eq!((outside.session_id, outside.partitions.len()), (0, 2));
    // It waits like any other.
    let waiting = FetchInSession {
        fetch: Fetch { max_wait_ms: 1000, ..over(vec![part("a", 0, 0)]) },
        ..step(SessionStep::Begin { ends: 0 }, Vec::new())
    };
    let ticket = rig.submit(waiting);
    assert!(!rig.is_answered(ticket));
    rig.produce("a", 0, batch(&["x"])).unwrap();
    let woken = rig.answer::<FetchInSession>(ticket).unwrap().unwrap();
    assert_eq!((woken.session_id, said(&woken)), (0, vec![(0, Some(1), 1)]));
    // Sessions that nobody has used for long make room.
    rig.pass(limits::FETCH_SESSION_EVICTION_MS + 1);
    assert_ne!(begin(&mut rig, vec![part("a", 0, 0)]).session_id, 0);
}

// ---- a client's view, against full fetches -----------------------------------------------------

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

type Key = (String, i32);
/// High watermark and start offset, or what was refused.
type View = Result<(i64, i64), FetchRefused>;

/// A client that keeps to the rules of sessions, as Kafka's does.
#[derive(Default)]
struct Reader {
    session: Option<(i32, i32)>,
    wanted: BTreeMap<Key, i64>,
    /// What the session has been told of.
    told: BTreeMap<Key, i64>,
    view: BTreeMap<Key, View>,
    read: BTreeMap<Key, i64>,
}

impl Reader {
    fn request(&mut self) -> FetchInSession {
        let changed = self
            .wanted
            .iter()
            .filter(|(key, offset)| self.session.is_none() || self.told.get(*key) != Some(offset));
        let partitions = changed.map(|((topic, p), offset)| part(topic.as_str(), *p, *offset));
        let gone = self.told.keys().filter(|key| !self.wanted.contains_key(*key));
        let forgotten = gone.map(|(topic, p)| (topic.as_str().into(), *p)).collect();
        let at = match self.session {
            None => SessionStep::Begin { ends: 0 },
            Some((id, epoch)) => SessionStep::Next { id, epoch },
        };
        let request = FetchInSession { forgotten, ..step(at, partitions.collect()) };
        self.told = self.wanted.clone();
        request
    }

    fn take(&mut self, fetched: SessionFetched) {
        self.session = match (fetched.session_id, self.session) {
            (0, _) => None,
            (id, Some((_, epoch))) => Some((id, epoch + 1)),
            (id, None) => Some((id, 1)),
        };
        self.view.retain(|key, _| self.wanted.contains_key(key));
        for fetched in fetched.partitions {
            let TopicName::Name(topic) = fetched.topic.clone() else { panic!("asked by name") };
            let key = (topic, fetched.partition);
            if let Some(end) = end_of(&fetched) {
                self.wanted.insert(key.clone(), end);
                self.read.insert(key.clone(), end);
            }
            let view = fetched.outcome.map(|data| (data.high_watermark, data.log_start_offset));
            self.view.insert(key, view);
        }
    }
}

fn change(rig: &mut Rig, dice: &mut Dice, reader: &mut Reader) {
    let topic = ["a", "b", "c"][dice.roll(3) as usize];
    let partition = dice.roll(3) as i32;
    let key = (topic.to_owned(), partition);
    match dice.roll(12) {
        0..=4 => drop(rig.produce(topic, partition, batch(&["x", "y"]))),
        5 => {
            let before = Some(dice.roll(6) as i64);
            let asked = DeleteRecordsPartition { topic: topic.into(), partition, before };
            rig.call(DeleteRecords { partitions: vec![asked] });
        }
        6 => drop(rig.call(DeleteTopics { topics: vec![topic.into()] })),
        7 => drop(rig.create(NewTopic { name: topic.into(), ..NewTopic::default() })),
        8 | 9 => drop(reader.wanted.insert(key, dice.roll(4) as i64)),
        10 => drop(reader.wanted.remove(&key)),
        _ => {
            rig.settle();
        }
    }
}

#[test]
fn what_a_session_says_adds_up_to_what_full_fetches_say() {
    for seed in 0..60 {
        let (mut rig, mut dice, mut reader) = (Rig::new(), Dice(seed), Reader::default());
        rig.topic("a");
        for turn in 0..120 {
            for _ in 0..dice.roll(4) {
                change(&mut rig, &mut dice, &mut reader);
            }
            let request = reader.request();
            let fetched = ask(&mut rig, request).expect("the session is the client's own");
            reader.take(fetched);
            let asked = reader.told.iter().map(|((t, p), at)| part(t.as_str(), *p, *at));
            let full = rig.fetch_now(over(asked.collect()));
            for (fetched, (key, _)) in full.into_iter().zip(&reader.told) {
                let end = end_of(&fetched);
                let expected =
                    fetched.outcome.map(|data| (data.high_watermark, data.log_start_offset));
                let about = format!("seed {seed}, turn {turn}, {key:?}");
                assert_eq!(reader.view.get(key), Some(&expected), "{about}");
                if let Some(end) = end {
                    assert_eq!(reader.read.get(key), Some(&end), "{about}");
                }
            }
        }
    }
}
