//! Fetch and ListOffsets.

use tidings_broker::log::{BatchBuilder, NewRecord};
use tidings_broker::{
    DeleteTopics, Fetch, FetchPartition, FetchRefused, Fetched, Isolation, ListOffsets,
    ListOffsetsPartition, NewTopic, OffsetAt, OffsetSpec, TopicName, limits,
};

use crate::rig::{Rig, WALL_MS, batch, fetch, produce, values_of};

fn values(fetched: Vec<Fetched>) -> Vec<Vec<String>> {
    let each = fetched.into_iter();
    each.map(|part| values_of(part.outcome.expect("readable").batches, 0)).collect()
}

fn over(partitions: &[(&str, i32, i64)], max_bytes: usize) -> Fetch {
    let part = |(topic, partition, offset): &(&str, i32, i64)| FetchPartition {
        topic: (*topic).into(),
        partition: *partition,
        offset: *offset,
        max_bytes,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    };
    let partitions = partitions.iter().map(part).collect();
    Fetch { isolation: Isolation::Uncommitted, max_wait_ms: 0, min_bytes: 1, max_bytes, partitions }
}

#[test]
fn a_fetch_waits_until_there_is_data_and_not_longer_than_it_said() {
    let mut rig = Rig::new();
    rig.topic("a");
    let ticket = rig.submit(fetch("a", 0, 0));
    assert!(!rig.is_answered(ticket));
    rig.submit(produce("a", 1, batch(&["elsewhere"])));
    rig.submit(produce("a", 0, batch(&["x"])));
    assert!(!rig.is_answered(ticket), "it is not on disk");
    rig.sync();
    assert_eq!(values(rig.answer::<Fetch>(ticket).unwrap()), [["x"]]);

    let ticket = rig.submit(fetch("a", 0, 1));
    rig.pass(999);
    assert!(!rig.is_answered(ticket));
    rig.pass(1);
    assert_eq!(values(rig.answer::<Fetch>(ticket).unwrap()), [Vec::<String>::new()]);
    assert_eq!(rig.broker.next_timeout_ms(), None);
}

#[test]
fn a_fetch_of_a_topic_in_memory_is_answered_by_the_append() {
    let mut rig = Rig::new();
    let configs = vec![("tidings.durability".to_owned(), Some("memory".to_owned()))];
    let new = NewTopic { name: "m".into(), configs, ..NewTopic::default() };
    rig.create(new).unwrap();
    let ticket = rig.submit(fetch("m", 0, 0));
    rig.submit(produce("m", 0, batch(&["x"])));
    assert_eq!(values(rig.answer::<Fetch>(ticket).expect("nothing else tells of it")), [["x"]]);
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_wants() {
    let mut rig = Rig::new();
    rig.topic("a");
    let one = batch(&["x"]);
    let min_bytes = one.len() * 3;
    let ticket = rig.submit(Fetch { min_bytes, ..fetch("a", 0, 0) });
    for _ in 0..2 {
        rig.produce("a", 0, one.clone()).unwrap();
        assert!(!rig.is_answered(ticket));
    }
    rig.produce("a", 0, one).unwrap();
    assert_eq!(values(rig.answer::<Fetch>(ticket).unwrap()), [["x", "x", "x"]]);

    let ticket = rig.submit(Fetch { min_bytes, ..fetch("a", 0, 2) });
    rig.pass(1000);
    assert_eq!(values(rig.answer::<Fetch>(ticket).unwrap()), [["x"]], "what there is in time");
}

#[test]
fn bytes_that_were_written_and_not_durable_when_the_fetch_came_count_when_they_are() {
    let mut rig = Rig::new();
    rig.topic("a");
    let one = batch(&["x"]);
    rig.submit(produce("a", 0, one.clone()));
    let ticket = rig.submit(Fetch { min_bytes: one.len(), ..fetch("a", 0, 0) });
    assert!(!rig.is_answered(ticket));
    rig.sync();
    assert_eq!(values(rig.answer::<Fetch>(ticket).expect("enough")), [["x"]]);
}

#[test]
fn a_fetch_that_wants_more_than_it_may_get_is_answered_when_it_is_full() {
    let mut rig = Rig::new();
    rig.topic("a");
    let one = batch(&["x"]);
    let limited = over(&[("a", 0, 0)], one.len() + 1);
    let request = || Fetch { max_wait_ms: 1000, min_bytes: 1 << 20, ..limited.clone() };
    let ticket = rig.submit(request());
    rig.produce("a", 0, one.clone()).unwrap();
    assert!(!rig.is_answered(ticket));
    rig.produce("a", 0, one).unwrap();
    assert_eq!(values(rig.answer::<Fetch>(ticket).expect("full")), [["x"]]);
    let ticket = rig.submit(request());
    assert_eq!(values(rig.answer::<Fetch>(ticket).expect("full at once")), [["x"]]);
}

#[test]
fn an_offset_inside_a_batch_gives_the_whole_batch() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["a", "b", "c"])).unwrap();
    rig.produce("a", 0, batch(&["d"])).unwrap();
    assert_eq!(values(rig.fetch_now(fetch("a", 0, 1))), [["a", "b", "c", "d"]]);
}

#[test]
fn limits_hold_but_there_is_always_one_batch() {
    let mut rig = Rig::new();
    rig.topic("a");
    let one = batch(&["x"]);
    for partition in [0, 0, 1, 1] {
        rig.produce("a", partition, one.clone()).unwrap();
    }
    let both = [("a", 0, 0), ("a", 1, 0)];
    let none = Vec::<&str>::new();
    let cases = [
        (1, vec![vec!["x"], none.clone()]),
        (0, vec![vec!["x"], none.clone()]),
        (one.len(), vec![vec!["x"], none.clone()]),
        (one.len() * 3, vec![vec!["x", "x"], vec!["x"]]),
        (one.len() * 4, vec![vec!["x", "x"], vec!["x", "x"]]),
    ];
    for (max_bytes, expected) in cases {
        assert_eq!(values(rig.fetch_now(over(&both, max_bytes))), expected, "{max_bytes}");
    }
    let second = [("a", 0, 2), ("a", 1, 0)];
    assert_eq!(values(rig.fetch_now(over(&second, 1))), [none, vec!["x"]]);
}

#[test]
fn what_cannot_be_fetched_is_refused_at_once_and_for_itself() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["x"])).unwrap();
    let epoch = |said| {
        let mut request = fetch("a", 0, 0);
        request.partitions[0].current_leader_epoch = Some(said);
        request
    };
    let out_of = |wanted| Err(FetchRefused::OutOfRange { wanted, first: 0, next: 1 });
    let cases = [
        (fetch("none", 0, 0), Err(FetchRefused::UnknownPartition)),
        (fetch("a", 2, 0), Err(FetchRefused::UnknownPartition)),
        (fetch("a", -1, 0), Err(FetchRefused::UnknownPartition)),
        (fetch("a", 0, 2), out_of(2)),
        (fetch("a", 0, -1), out_of(-1)),
        (fetch("a", 0, i64::MAX), out_of(i64::MAX)),
        (epoch(1), Err(FetchRefused::UnknownEpoch { got: 1, current: 0 })),
        (epoch(0), Ok(())),
        (epoch(-1), Ok(())),
    ];
    for (request, expected) in cases {
        let ticket = rig.submit(request.clone());
        let answer = rig.answer::<Fetch>(ticket).expect("at once").remove(0);
        assert_eq!(answer.outcome.map(|_| ()), expected, "{request:?}");
    }
    let mixed = rig.fetch_now(over(&[("none", 0, 0), ("a", 0, 0)], 1000));
    assert_eq!(mixed[0].outcome.as_ref().unwrap_err(), &FetchRefused::UnknownPartition);
    assert_eq!(mixed[1].outcome.as_ref().unwrap().high_watermark, 1);
}

#[test]
fn an_offset_that_is_written_but_not_durable_is_waited_for() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.submit(produce("a", 0, batch(&["x", "y"])));
    let ticket = rig.submit(fetch("a", 0, 1));
    assert!(!rig.is_answered(ticket));
    rig.sync();
    assert_eq!(
        values_of(rig.answer::<Fetch>(ticket).unwrap().remove(0).outcome.unwrap().batches, 1),
        ["y"]
    );
}

#[test]
fn deleting_a_topic_answers_the_fetches_that_wait_on_it() {
    let mut rig = Rig::new();
    rig.topic("a");
    let ticket = rig.submit(fetch("a", 1, 0));
    rig.submit(DeleteTopics { topics: vec![TopicName::Name("a".into())] });
    rig.submit(over_nothing());
    let answer = rig.answer::<Fetch>(ticket).expect("woken").remove(0);
    assert_eq!(answer.outcome.unwrap_err(), FetchRefused::UnknownPartition);
}

fn over_nothing() -> Fetch {
    over(&[], 1)
}

#[test]
fn when_too_many_fetches_wait_the_next_is_answered_with_what_there_is() {
    let mut rig = Rig::new();
    rig.topic("a");
    for _ in 0..limits::WAITING_FETCHES_MAX {
        let ticket = rig.submit(fetch("a", 0, 0));
        assert!(!rig.is_answered(ticket));
    }
    let ticket = rig.submit(fetch("a", 0, 0));
    assert_eq!(values(rig.answer::<Fetch>(ticket).expect("at once")), [Vec::<String>::new()]);
    rig.order.clear();
    rig.pass(1000);
    assert_eq!(rig.order.len(), limits::WAITING_FETCHES_MAX);
    let ticket = rig.submit(fetch("a", 0, 0));
    assert!(!rig.is_answered(ticket), "there is room again");
}

#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let mut rig = Rig::new();
    let ticket = rig.submit(Fetch { max_wait_ms: 500, ..over_nothing() });
    assert_eq!(rig.answer::<Fetch>(ticket).map(|parts| parts.len()), Some(0));
}

// ---- ListOffsets -------------------------------------------------------------------------------

fn at(rig: &mut Rig, at: OffsetSpec) -> Result<OffsetAt, FetchRefused> {
    let partition =
        ListOffsetsPartition { topic: "a".into(), partition: 0, at, current_leader_epoch: None };
    let ticket =
        rig.submit(ListOffsets { isolation: Isolation::Uncommitted, partitions: vec![partition] });
    while !rig.is_answered(ticket) && rig.work() {}
    rig.answer::<ListOffsets>(ticket).expect("answered when searched").remove(0).outcome
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    let mut rig = Rig::new();
    rig.topic("a");
    let nowhere = OffsetAt { offset: -1, timestamp: -1, leader_epoch: -1 };
    assert_eq!(at(&mut rig, OffsetSpec::MaxTimestamp), Ok(nowhere));
    for stamps in [[10, 30], [20, 20]] {
        let mut builder = BatchBuilder::new();
        for stamp in stamps {
            builder.push(&NewRecord { timestamp: WALL_MS + stamp, ..NewRecord::default() });
        }
        rig.produce("a", 0, builder.build().bytes().clone()).unwrap();
    }
    rig.submit(produce("a", 0, batch(&["not durable"])));
    let edge = |offset| OffsetAt { offset, timestamp: -1, leader_epoch: 0 };
    let found =
        |offset, stamp: i64| OffsetAt { offset, timestamp: WALL_MS + stamp, leader_epoch: 0 };
    let cases = [
        (OffsetSpec::Earliest, edge(0)),
        (OffsetSpec::Latest, edge(4)),
        (OffsetSpec::MaxTimestamp, found(1, 30)),
        (OffsetSpec::Timestamp(0), found(0, 10)),
        (OffsetSpec::Timestamp(WALL_MS + 11), found(1, 30)),
        (OffsetSpec::Timestamp(WALL_MS + 31), nowhere),
    ];
    for (spec, expected) in cases {
        assert_eq!(at(&mut rig, spec), Ok(expected), "{spec:?}");
    }
}

#[test]
fn listing_refuses_unknown_partitions_and_epochs() {
    let mut rig = Rig::new();
    rig.topic("a");
    let part = |topic: &str, epoch| ListOffsetsPartition {
        topic: topic.into(),
        partition: 0,
        at: OffsetSpec::Latest,
        current_leader_epoch: epoch,
    };
    let partitions = vec![part("none", None), part("a", Some(3)), part("a", Some(0))];
    let answers = rig.call(ListOffsets { isolation: Isolation::Committed, partitions });
    let outcomes: Vec<_> = answers.into_iter().map(|a| a.outcome.map(|at| at.offset)).collect();
    let unknown = FetchRefused::UnknownEpoch { got: 3, current: 0 };
    assert_eq!(outcomes, [Err(FetchRefused::UnknownPartition), Err(unknown), Ok(0)]);
}
