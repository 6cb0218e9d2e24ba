//! Transactions through the broker: what readers of committed records see, what is refused, what
//! time and restarts do.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_broker::log::{EndMarker, Ending, split};
use tidings_broker::{
    Acks, AddMode, AddOffsets, AddPartitions, AddRefused, CommitInTransaction, CommitOffsets,
    DeleteTopics, DescribeProducers, DescribeTransactions, EndTransaction, Fetch, FetchOffsets,
    InitTransactions, Isolation, ListTransactions, MarkerRefused, Produce, ProduceRefused,
    ProduceTransaction, ProducerIdentity, TopicName, TransactionEnd, TransactionRefused,
    TransactionState, TransactionVersion, WantedOffsets, WriteMarker, WriteMarkers,
};

use crate::groups::commit;
use crate::rig::{Rig, builder, fetch, produce};

pub(crate) const TIMEOUT_MS: i32 = 60_000;

pub(crate) fn init(id: &str) -> InitTransactions {
    InitTransactions { transactional_id: id.into(), timeout_ms: TIMEOUT_MS, expected: None }
}

pub(crate) fn transactional(who: ProducerIdentity, sequence: i32, values: &[&str]) -> Bytes {
    let built = builder(values).producer(who.id, who.epoch, sequence).transactional().build();
    built.bytes().clone()
}

pub(crate) fn send(id: &str, topic: &str, partition: i32, batch: Bytes, adds: bool) -> Produce {
    let transaction = Some(ProduceTransaction { transactional_id: id.into(), adds });
    Produce { transaction, ..produce(topic, partition, batch) }
}

pub(crate) fn end(
    id: &str,
    who: ProducerIdentity,
    end: TransactionEnd,
    version: TransactionVersion,
) -> EndTransaction {
    let (producer_id, epoch) = (who.id, who.epoch);
    EndTransaction { transactional_id: id.into(), producer_id, epoch, end, version }
}

pub(crate) fn add(id: &str, who: ProducerIdentity, partitions: &[(&str, i32)]) -> AddPartitions {
    AddPartitions {
        transactional_id: id.into(),
        producer_id: who.id,
        epoch: who.epoch,
        partitions: partitions.iter().map(|(topic, at)| ((*topic).to_owned(), *at)).collect(),
        mode: AddMode::Add(TransactionVersion::One),
    }
}

pub(crate) fn commit_in(
    id: &str,
    who: ProducerIdentity,
    commit: CommitOffsets,
    adds: bool,
) -> CommitInTransaction {
    let (producer_id, epoch) = (who.id, who.epoch);
    CommitInTransaction {
        transactional_id: id.into(),
        producer_id,
        epoch,
        adds,
        acks: Acks::Durable,
        commit,
    }
}

/// What a reader of committed records sees, filtering as Kafka's consumer does.
pub(crate) fn committed_values(rig: &mut Rig, topic: &str, partition: i32) -> Vec<String> {
    let (mut values, mut next) = (Vec::new(), 0);
    loop {
        let request = Fetch { isolation: Isolation::Committed, ..fetch(topic, partition, next) };
        let data = rig.fetch_now(request).remove(0).outcome.expect("readable");
        let mut aborted: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (producer_id, first) in &data.aborted {
            aborted.entry(*producer_id).or_default().push(*first);
        }
        let batches: Vec<_> = data.batches.into_iter().flat_map(split).collect();
        let Some(last) = batches.last() else { return values };
        next = last.as_ref().expect("whole").last_offset() + 1;
        for batch in batches {
            let batch = batch.expect("whole");
            let header = *batch.header();
            let starts = aborted.entry(header.producer_id).or_default();
            let is_aborted = starts.first().is_some_and(|first| *first <= header.base_offset);
            match batch.end_marker().expect("readable") {
                Some(EndMarker { ending: Ending::Abort, .. }) if is_aborted => {
                    starts.remove(0);
                }
                Some(_) => {}
                None if is_aborted && header.attributes.transactional() => {}
                None => {
                    for record in batch.records().expect("decodable") {
                        let value = record.value.expect("tests write values").to_vec();
                        values.push(String::from_utf8(value).expect("tests write text"));
                    }
                }
            }
        }
    }
}

/// Offset, and whether another one is pending.
fn offset(rig: &mut Rig) -> (i64, bool) {
    let wanted = WantedOffsets::These(vec![(TopicName::Name("a".into()), 0)]);
    let asked = FetchOffsets { group: "g".into(), member: None, wanted };
    let found = rig.call(asked).expect("loaded").remove(0);
    let held = found.outcome.expect("a known topic");
    (held.map_or(-1, |held| held.offset), found.is_unstable)
}

fn state(rig: &mut Rig, id: &str) -> TransactionState {
    let asked = DescribeTransactions { transactional_ids: vec![id.into()] };
    rig.call(asked).remove(0).outcome.expect("it is known").state
}

#[test]
fn only_the_end_of_a_transaction_waits_for_the_disk_when_its_parts_need_not() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    rig.call(commit("g", 0, 1)).expect("committed");
    let batch = transactional(who, 0, &["x"]);
    let sent = rig.submit(Produce { acks: Acks::None, ..send("t", "a", 0, batch, true) });
    let offsets = commit_in("t", who, commit("g", 0, 9), true);
    let offsets = rig.submit(CommitInTransaction { acks: Acks::None, ..offsets });
    assert!(rig.is_answered(sent) && rig.is_answered(offsets));
    let ended = rig.submit(end("t", who, TransactionEnd::Commit, TransactionVersion::Two));
    assert!(!rig.is_answered(ended));
    rig.settle();
    assert!(rig.is_answered(ended));
    let mut rig = rig.restart();
    assert_eq!(committed_values(&mut rig, "a", 0), ["x"]);
    assert_eq!(offset(&mut rig), (9, false));
}

#[test]
fn a_transaction_is_seen_whole_and_only_when_it_is_committed() {
    use TransactionEnd::{Abort, Commit};
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        let adds = version == TransactionVersion::Two;
        let mut rig = Rig::new();
        rig.topic("a");
        rig.topic("b");
        let mut who = rig.call(init("t")).expect("a new id");
        let mut sequence = 0;
        let mut seen: Vec<String> = Vec::new();
        for (round, ending) in [Commit, Abort, Commit, Abort, Commit].into_iter().enumerate() {
            let value = format!("{round}");
            if !adds {
                let added = rig.call(add("t", who, &[("a", 0), ("b", 1)]));
                assert!(added.iter().all(|added| added.outcome.is_ok()), "{added:?}");
                let AddPartitions { transactional_id, producer_id, epoch, .. } = add("t", who, &[]);
                let offsets = AddOffsets { transactional_id, producer_id, epoch, version };
                assert_eq!(rig.call(offsets), Ok(()));
            }
            for (topic, partition) in [("a", 0), ("b", 1)] {
                let batch = transactional(who, sequence, &[&value]);
                let sent = rig.call(send("t", topic, partition, batch, adds)).remove(0);
                assert!(sent.outcome.is_ok(), "{sent:?}");
            }
            let before = offset(&mut rig).0;
            let next = i64::try_from(round).expect("few rounds");
            let sent = commit_in("t", who, commit("g", 0, next), adds);
            assert_eq!(rig.call(sent).expect("accepted").remove(0).outcome, Ok(()));
            assert_eq!(offset(&mut rig), (before, true));
            assert_eq!(committed_values(&mut rig, "a", 0), seen, "before the end");
            let ended = rig.call(end("t", who, ending, version)).expect("ended");
            if ending == Commit {
                seen.push(value);
            }
            let expected = if ending == Commit { next } else { before };
            assert_eq!(offset(&mut rig), (expected, false), "{version:?} {ending:?}");
            for (topic, partition) in [("a", 0), ("b", 1)] {
                let values = committed_values(&mut rig, topic, partition);
                assert_eq!(values, seen, "{version:?} {ending:?} in {topic}");
            }
            assert_eq!(rig.call(end("t", who, ending, version)), Ok(ended), "asked again");
            match version {
                TransactionVersion::One => {
                    assert_eq!(ended, who);
                    sequence += 1;
                }
                TransactionVersion::Two => assert_eq!(ended.epoch, who.epoch + 1),
            }
            who = ended;
        }
        let mut rig = rig.restart();
        assert_eq!(committed_values(&mut rig, "b", 1), seen);
        assert_eq!(offset(&mut rig), (4, false));
    }
}

#[test]
fn the_end_of_a_transaction_costs_one_write() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    for partition in [0, 1] {
        let batch = transactional(who, 0, &["x"]);
        let sent = rig.submit(send("t", "a", partition, batch, true));
        assert!(!rig.is_answered(sent));
        assert!(rig.sync());
        assert!(rig.answer::<Produce>(sent).expect("one write").remove(0).outcome.is_ok());
    }
    let ended = rig.submit(end("t", who, TransactionEnd::Commit, TransactionVersion::Two));
    assert!(!rig.is_answered(ended));
    assert!(rig.sync());
    assert!(rig.answer::<EndTransaction>(ended).expect("one write").is_ok());
    assert_eq!(committed_values(&mut rig, "a", 1), ["x"]);
}

#[test]
fn a_batch_outside_a_transaction_is_refused() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    let old = ProducerIdentity { epoch: who.epoch - 1, ..who };
    let stranger = ProducerIdentity { id: 999, epoch: 0 };
    let newer = ProducerIdentity { epoch: who.epoch + 1, ..who };
    use TransactionRefused::{Fenced, NotAdded, UnknownProducer};
    for (name, producer, id, expected) in [
        ("not added", who, "t", NotAdded),
        ("a newer epoch", newer, "t", Fenced),
        ("a stranger", stranger, "t", UnknownProducer),
        ("another id", who, "u", UnknownProducer),
    ] {
        let batch = transactional(producer, 0, &["x"]);
        let sent = rig.call(send(id, "a", 0, batch, false)).remove(0).outcome;
        assert_eq!(sent, Err(ProduceRefused::Transaction(expected)), "{name}");
    }
    let again = rig.call(init("t")).expect("it is there");
    assert_eq!(again, newer);
    let sent = rig.call(send("t", "a", 0, transactional(who, 0, &["x"]), true)).remove(0);
    assert_eq!(sent.outcome, Err(ProduceRefused::Transaction(Fenced)));
    assert!(old.epoch < 0, "no batch has the epoch before the first");
    let nameless = produce("a", 0, transactional(again, 0, &["x"]));
    let refused = rig.call(nameless).remove(0).outcome;
    assert_eq!(refused, Err(ProduceRefused::NoTransactionalId));
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new());

    // A plain batch of a producer whose transaction is open there.
    let sent = rig.call(send("t", "a", 0, transactional(again, 0, &["x"]), true)).remove(0);
    assert!(sent.outcome.is_ok());
    let plain = builder(&["y"]).producer(again.id, again.epoch, 1).build().bytes().clone();
    let refused = rig.call(send("t", "a", 0, plain, true)).remove(0);
    let outcome = refused.outcome;
    assert!(matches!(outcome, Err(ProduceRefused::InvalidTransaction(_))), "{outcome:?}");
    assert_eq!(refused.refused_from, Some(0), "the log itself refused");
}

#[test]
fn partitions_are_added_all_or_none() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    let outcomes = |rig: &mut Rig, partitions: &[(&str, i32)]| {
        let added = rig.call(add("t", who, partitions));
        added.into_iter().map(|added| added.outcome).collect::<Vec<_>>()
    };
    let none = [Err(AddRefused::NotAttempted), Err(AddRefused::UnknownPartition)];
    assert_eq!(outcomes(&mut rig, &[("a", 0), ("a", 9)]), none);
    let internal = [Err(AddRefused::Internal)];
    assert_eq!(outcomes(&mut rig, &[("__transaction_state", 0)]), internal);
    assert_eq!(state(&mut rig, "t"), TransactionState::Empty);
    assert_eq!(outcomes(&mut rig, &[("a", 0), ("a", 1)]), [Ok(()), Ok(())]);
    assert_eq!(state(&mut rig, "t"), TransactionState::Ongoing);
    let verify = AddPartitions { mode: AddMode::Verify, ..add("t", who, &[("a", 0), ("a", 1)]) };
    assert!(rig.call(verify).into_iter().all(|verified| verified.outcome.is_ok()));
}

#[test]
fn a_new_producer_aborts_the_transaction_of_the_one_before_it() {
    let mut rig = Rig::new();
    rig.topic("a");
    let old = rig.call(init("t")).expect("a new id");
    let sent = rig.call(send("t", "a", 0, transactional(old, 0, &["lost"]), true)).remove(0);
    assert!(sent.outcome.is_ok());
    let new = rig.call(init("t")).expect("at once");
    assert_eq!(new, ProducerIdentity { id: old.id, epoch: old.epoch + 2 });
    let fenced = Err(TransactionRefused::Fenced);
    for ending in [TransactionEnd::Commit, TransactionEnd::Abort] {
        assert_eq!(rig.call(end("t", old, ending, TransactionVersion::Two)), fenced);
    }
    let sent = rig.call(send("t", "a", 0, transactional(new, 0, &["kept"]), true)).remove(0);
    assert!(sent.outcome.is_ok());
    rig.call(end("t", new, TransactionEnd::Commit, TransactionVersion::Two)).expect("committed");
    assert_eq!(committed_values(&mut rig, "a", 0), ["kept"]);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    for restarts in [false, true] {
        let mut rig = Rig::new();
        rig.topic("a");
        let who = rig.call(init("t")).expect("a new id");
        let sent = rig.call(send("t", "a", 0, transactional(who, 0, &["slow"]), true)).remove(0);
        assert!(sent.outcome.is_ok());
        if restarts {
            rig = rig.restart();
        }
        rig.pass(u64::from(TIMEOUT_MS.unsigned_abs()) - 1);
        assert_eq!(state(&mut rig, "t"), TransactionState::Ongoing);
        rig.pass(1);
        rig.settle();
        assert_eq!(state(&mut rig, "t"), TransactionState::CompleteAbort);
        assert_eq!(committed_values(&mut rig, "a", 0), Vec::<String>::new());
        let sent = rig.call(send("t", "a", 0, transactional(who, 1, &["late"]), true)).remove(0);
        let fenced = TransactionRefused::Fenced;
        assert_eq!(sent.outcome, Err(ProduceRefused::Transaction(fenced)));
    }
}

#[test]
fn a_partition_that_is_gone_needs_no_end() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.topic("b");
    let who = rig.call(init("t")).expect("a new id");
    for topic in ["a", "b"] {
        let sent = rig.call(send("t", topic, 0, transactional(who, 0, &["x"]), true)).remove(0);
        assert!(sent.outcome.is_ok());
    }
    let topics = vec![TopicName::Name("a".into())];
    assert!(rig.call(DeleteTopics { topics }).remove(0).outcome.is_ok());
    let ended = rig.call(end("t", who, TransactionEnd::Commit, TransactionVersion::Two));
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(state(&mut rig, "t"), TransactionState::CompleteCommit);
    assert_eq!(committed_values(&mut rig, "b", 0), ["x"]);
}

#[test]
fn pending_offsets_survive_a_restart_and_go_with_their_topic() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    let sent = commit_in("t", who, commit("g", 0, 5), true);
    assert_eq!(rig.call(sent).expect("accepted").remove(0).outcome, Ok(()));
    let mut rig = rig.restart();
    assert_eq!(offset(&mut rig), (-1, true));
    let ended = rig.call(end("t", who, TransactionEnd::Commit, TransactionVersion::Two));
    let who = ended.expect("committed");
    assert_eq!(offset(&mut rig), (5, false));

    let sent = commit_in("t", who, commit("g", 0, 6), true);
    assert_eq!(rig.call(sent).expect("accepted").remove(0).outcome, Ok(()));
    let topics = vec![TopicName::Name("a".into())];
    assert!(rig.call(DeleteTopics { topics }).remove(0).outcome.is_ok());
    rig.topic("a");
    rig.call(end("t", who, TransactionEnd::Commit, TransactionVersion::Two)).expect("committed");
    assert_eq!(offset(&mut rig), (-1, false));
    let mut rig = rig.restart();
    assert_eq!(offset(&mut rig), (-1, false));
}

#[test]
fn a_transaction_that_hangs_can_be_ended_by_hand() {
    let mut rig = Rig::new();
    rig.topic("a");
    let who = rig.call(init("t")).expect("a new id");
    for value in ["x", "y"] {
        let sequence = i32::from(value == "y");
        let batch = transactional(who, sequence, &[value]);
        assert!(rig.call(send("t", "a", 0, batch, true)).remove(0).outcome.is_ok());
    }
    let listed = rig.call(ListTransactions::default()).expect("loaded").transactions;
    assert_eq!((listed.len(), listed[0].state), (1, TransactionState::Ongoing));
    let asked = DescribeProducers { partitions: vec![("a".into(), 0), ("none".into(), 0)] };
    let described = rig.call(asked);
    assert!(described[1].outcome.is_err());
    let producers = described[0].outcome.as_ref().expect("it is there");
    let seen: Vec<_> = producers
        .iter()
        .map(|entry| (entry.producer_id, entry.last_sequence, entry.transaction_offset))
        .collect();
    assert_eq!(seen, [(who.id, 1, Some(0))]);
    let marker = WriteMarker {
        producer_id: who.id,
        epoch: who.epoch,
        end: TransactionEnd::Abort,
        coordinator_epoch: 0,
        topic: "a".into(),
        partition: 0,
    };
    let unknown = WriteMarker { partition: 9, ..marker.clone() };
    let written = rig.call(WriteMarkers { markers: vec![marker.clone(), unknown] });
    assert_eq!(written[0].outcome, Ok(()));
    assert_eq!(written[1].outcome, Err(MarkerRefused::UnknownPartition));
    assert_eq!(committed_values(&mut rig, "a", 0), Vec::<String>::new());
    // The coordinator goes on from there.
    let ended = rig.call(end("t", who, TransactionEnd::Abort, TransactionVersion::Two));
    assert!(ended.is_ok());
    let stale = rig.call(WriteMarkers { markers: vec![marker] });
    assert!(matches!(stale[0].outcome, Err(MarkerRefused::StaleEpoch(_))), "{stale:?}");
}

#[test]
fn ids_are_handed_out_once_to_whoever_asks() {
    let mut rig = Rig::new();
    let mut given = Vec::new();
    for round in 0..6 {
        let id = match round % 2 {
            0 => rig.call(init(&format!("t{round}"))).expect("a new id").id,
            _ => rig.call(tidings_broker::InitProducer { resume: None }).expect("a new id").id,
        };
        assert!(!given.contains(&id), "{id} was given to two");
        given.push(id);
    }
}
