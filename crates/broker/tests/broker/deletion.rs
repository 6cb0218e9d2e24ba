//! DeleteRecords.

use tidings_broker::{
    DeleteRecords, DeleteRecordsPartition, DeleteRecordsRefused, Fetch, FetchRefused, Isolation,
    ListOffsets, ListOffsetsPartition, NewTopic, OffsetSpec,
};

use crate::rig::{Rig, batch, fetch, produce};

fn delete(topic: &str, partition: i32, before: Option<i64>) -> DeleteRecords {
    let topic = topic.to_owned();
    DeleteRecords { partitions: vec![DeleteRecordsPartition { topic, partition, before }] }
}

fn deleted(rig: &mut Rig, before: Option<i64>) -> Result<i64, DeleteRecordsRefused> {
    rig.call(delete("a", 0, before)).remove(0).outcome
}

fn earliest(rig: &mut Rig) -> i64 {
    let at = OffsetSpec::Earliest;
    let part =
        ListOffsetsPartition { topic: "a".into(), partition: 0, at, current_leader_epoch: None };
    let request = ListOffsets { isolation: Isolation::Uncommitted, partitions: vec![part] };
    rig.call(request).remove(0).outcome.expect("readable").offset
}

#[test]
fn the_start_moves_where_it_is_told_and_never_back() {
    let mut rig = Rig::new();
    rig.topic("a");
    for value in ["0", "1", "2", "3"] {
        rig.produce("a", 0, batch(&[value])).unwrap();
    }
    let out_of_range = |wanted| Err(DeleteRecordsRefused::OutOfRange { wanted, high_watermark: 4 });
    let cases = [
        (Some(2), Ok(2)),
        (Some(1), Ok(2)),
        (Some(0), Ok(2)),
        (Some(5), out_of_range(5)),
        (Some(-7), out_of_range(-7)),
        (Some(3), Ok(3)),
        (None, Ok(4)),
    ];
    for (before, expected) in cases {
        assert_eq!(deleted(&mut rig, before), expected, "{before:?}");
        if let Ok(start) = expected {
            assert_eq!(earliest(&mut rig), start);
            let refused = rig.fetch_now(fetch("a", 0, start - 1)).remove(0).outcome.unwrap_err();
            let wanted = start - 1;
            assert_eq!(refused, FetchRefused::OutOfRange { wanted, first: start, next: 4 });
        }
    }
    assert_eq!(rig.produce("a", 0, batch(&["4"])).unwrap().log_start_offset, 4);
    let mut rig = rig.restart();
    assert_eq!((earliest(&mut rig), rig.values("a", 0, 4)), (4, vec!["4".to_owned()]));
}

#[test]
fn the_answer_waits_for_the_disk_and_survives_what_comes_after() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["0"])).unwrap();
    rig.produce("a", 0, batch(&["1"])).unwrap();
    let ticket = rig.submit(delete("a", 0, Some(1)));
    assert!(!rig.is_answered(ticket));
    let fetched = rig.fetch_now(fetch("a", 0, 0)).remove(0).outcome;
    assert!(fetched.is_err(), "what is to go is not shown any more");
    rig.sync();
    assert_eq!(rig.answer::<DeleteRecords>(ticket).unwrap()[0].outcome, Ok(1));
    let mut rig = Rig::on(rig.disk.crash(&mut |_| tidings_broker::log::Fate::Lost));
    assert_eq!(earliest(&mut rig), 1);
}

#[test]
fn what_may_not_be_deleted_is_refused() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(crate::groups::commit("creates the offsets topic", 0, 1)).unwrap();
    let policy = |name: &str, policy: &str| NewTopic {
        name: name.into(),
        configs: vec![("cleanup.policy".into(), Some(policy.into()))],
        ..NewTopic::default()
    };
    rig.create(policy("compacted", "compact")).unwrap();
    rig.create(policy("both", "compact,delete")).unwrap();
    let internal = "__consumer_offsets";
    let cases = [
        ("none", 0, Err(DeleteRecordsRefused::UnknownPartition)),
        ("a", 2, Err(DeleteRecordsRefused::UnknownPartition)),
        (internal, 0, Err(DeleteRecordsRefused::Internal(internal.into()))),
        ("compacted", 0, Err(DeleteRecordsRefused::Compacted("compacted".into()))),
        ("both", 0, Ok(0)),
        ("a", 1, Ok(0)),
    ];
    for (topic, partition, expected) in cases {
        let outcome = rig.call(delete(topic, partition, None)).remove(0).outcome;
        assert_eq!(outcome, expected, "{topic}-{partition}");
    }
}

#[test]
fn a_fetch_that_waits_below_the_new_start_is_told() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["0"])).unwrap();
    let waiting = rig.submit(Fetch { min_bytes: 1 << 20, ..fetch("a", 0, 0) });
    rig.submit(produce("a", 0, batch(&["1"])));
    assert!(!rig.is_answered(waiting));
    deleted(&mut rig, Some(1)).unwrap();
    rig.pass(1000);
    let answer = rig.answer::<Fetch>(waiting).expect("its time is over").remove(0);
    assert!(matches!(answer.outcome, Err(FetchRefused::OutOfRange { first: 1, .. })));
}
