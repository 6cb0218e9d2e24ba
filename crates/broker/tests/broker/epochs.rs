//! Leader epochs: raised when records may be gone, kept, and told to readers.

use tidings_broker::{
    DescribeTopics, EndsOfEpochs, EpochEnd, EpochPartition, Fetch, FetchRefused, Isolation,
    ListOffsets, ListOffsetsPartition, NewTopic, OffsetSpec, TopicName, Topics,
};

use crate::rig::{Rig, batch, fetch};

fn epoch_of(rig: &mut Rig, topic: &str) -> i32 {
    let topics = Topics::These(vec![TopicName::Name(topic.into())]);
    let answer = rig.call(DescribeTopics { topics, auto_create: false }).remove(0);
    answer.topic.expect("there is such a topic").partitions[0].leader_epoch
}

fn end_of(
    rig: &mut Rig,
    epoch: i32,
    current: Option<i32>,
) -> Result<Option<EpochEnd>, FetchRefused> {
    let current_leader_epoch = current;
    let part = EpochPartition { topic: "a".into(), partition: 0, current_leader_epoch, epoch };
    rig.call(EndsOfEpochs { partitions: vec![part] }).remove(0).outcome
}

fn listed(rig: &mut Rig, at: OffsetSpec) -> (i64, i32) {
    let part =
        ListOffsetsPartition { topic: "a".into(), partition: 0, at, current_leader_epoch: None };
    let request = ListOffsets { isolation: Isolation::Uncommitted, partitions: vec![part] };
    let found = rig.call(request).remove(0).outcome.expect("it is there");
    (found.offset, found.leader_epoch)
}

fn ended(epoch: i32, end_offset: i64) -> Result<Option<EpochEnd>, FetchRefused> {
    Ok(Some(EpochEnd { epoch, end_offset }))
}

/// A node whose topic had three records, and whose disk lost the last of them while it was down.
fn after_damage() -> Rig {
    let mut rig = Rig::new();
    rig.topic("a");
    for value in ["x", "y", "z"] {
        rig.produce("a", 0, batch(&[value])).expect("there is room");
    }
    rig.broker.close().expect("a clean close");
    let (disk, segment) = (rig.disk.clone(), "a-0/00000000000000000000.log");
    drop(rig);
    let bytes = disk.read_raw(segment).expect("the segment is there").len() as u64;
    assert!(disk.truncate_raw(segment, bytes - 1));
    Rig::on(disk)
}

#[test]
fn epochs_stay_while_nothing_is_lost() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["x"])).expect("there is room");
    let mut rig = rig.restart();
    assert_eq!(epoch_of(&mut rig, "a"), 0);
    assert_eq!(end_of(&mut rig, 0, Some(0)), ended(0, 1));
    assert_eq!(end_of(&mut rig, 1, None), Ok(None));
}

#[test]
fn damage_raises_every_epoch_and_readers_are_told_where_the_old_one_ended() {
    let mut rig = after_damage();
    assert_eq!(epoch_of(&mut rig, "a"), 1);
    let told = "leader epoch 1 tells readers that records may be gone";
    assert_eq!(rig.report.findings.last().map(String::as_str), Some(told));
    assert_eq!(end_of(&mut rig, 0, Some(1)), ended(0, 3));
    let fenced = FetchRefused::FencedEpoch { got: 0, current: 1 };
    assert_eq!(end_of(&mut rig, 0, Some(0)), Err(fenced.clone()));
    let mut old = fetch("a", 0, 3);
    old.partitions[0].current_leader_epoch = Some(0);
    assert_eq!(rig.fetch_now(old).remove(0).outcome.unwrap_err(), fenced);

    // What is written from now on is in the new epoch.
    assert_eq!(rig.produce("a", 0, batch(&["w"])).expect("there is room").base_offset, 3);
    assert_eq!(end_of(&mut rig, 0, None), ended(0, 3));
    assert_eq!(end_of(&mut rig, 1, None), ended(1, 4));
    assert_eq!(listed(&mut rig, OffsetSpec::Earliest), (0, 0));
    assert_eq!(listed(&mut rig, OffsetSpec::Latest), (4, 1));
    rig.topic("new");
    assert_eq!(epoch_of(&mut rig, "new"), 1);
}

#[test]
fn a_topic_in_memory_that_was_not_stopped_has_a_new_epoch() {
    type Ending = fn(Rig) -> Rig;
    let table: [(&str, &str, Ending, i32, i64); 4] = [
        ("memory", "killed", |rig| Rig::on(rig.disk.fork()), 1, 0),
        ("memory", "stopped", Rig::restart, 0, 2),
        ("disk", "killed", |rig| Rig::on(rig.disk.fork()), 0, 2),
        ("disk", "stopped", Rig::restart, 0, 2),
    ];
    for (durability, how, ended_by, epoch, end) in table {
        let what = format!("{durability}, {how}");
        let mut rig = Rig::new();
        let configs = vec![("tidings.durability".to_owned(), Some(durability.to_owned()))];
        let (name, partitions) = ("a".to_owned(), Some(1));
        rig.create(NewTopic { name, partitions, configs, ..NewTopic::default() }).expect("created");
        rig.produce("a", 0, batch(&["x", "y"])).expect("there is room");
        let mut rig = ended_by(rig);
        assert_eq!(epoch_of(&mut rig, "a"), epoch, "{what}");
        assert_eq!(end_of(&mut rig, 0, Some(epoch)), ended(0, end), "{what}");
        // Others have come to where a reader was.
        rig.produce("a", 0, batch(&["v", "w", "z"])).expect("there is room");
        let mut old = fetch("a", 0, 2);
        old.partitions[0].current_leader_epoch = Some(0);
        let outcome = rig.fetch_now(old).remove(0).outcome.map(|_| ());
        let fenced = FetchRefused::FencedEpoch { got: 0, current: 1 };
        assert_eq!(outcome, if epoch == 0 { Ok(()) } else { Err(fenced) }, "{what}");
    }
}

#[test]
fn a_reader_whose_last_record_is_of_another_history_is_told_where_they_part() {
    let mut rig = after_damage();
    rig.produce("a", 0, batch(&["w", "v"])).expect("there is room");
    for (offset, epoch, expected) in [
        (3, 0, Ok(None)),
        (4, 0, Ok(Some(EpochEnd { epoch: 0, end_offset: 3 }))),
        (4, 1, Ok(None)),
        (5, 1, Ok(None)),
        (6, 1, Ok(Some(EpochEnd { epoch: 1, end_offset: 5 }))),
        (5, 2, Err(FetchRefused::OutOfRange { wanted: 5, first: 0, next: 5 })),
    ] {
        let mut request: Fetch = fetch("a", 0, offset);
        request.partitions[0].last_fetched_epoch = Some(epoch);
        let outcome = rig.fetch_now(request).remove(0).outcome;
        let parted = outcome.map(|data| {
            assert!(data.diverging.is_none() || data.batches.is_empty());
            data.diverging
        });
        assert_eq!(parted, expected, "epoch {epoch} before {offset}");
    }
}

#[test]
fn an_epoch_that_was_told_is_not_taken_back() {
    let mut rig = after_damage();
    let before = epoch_of(&mut rig, "a");
    rig.produce("a", 0, batch(&["w"])).expect("there is room");
    let checkpoint = {
        rig.settle();
        rig.broker.close().expect("a clean close");
        rig.disk.read_raw("a-0/leader-epoch-checkpoint").expect("Kafka's file")
    };
    assert_eq!(String::from_utf8_lossy(&checkpoint), "0\n2\n0 0\n1 3\n");
    let disk = rig.disk.clone();
    drop(rig);
    assert!(epoch_of(&mut Rig::on(disk), "a") >= before);
}
