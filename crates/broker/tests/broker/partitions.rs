//! Partitions added to topics, and assigned to brokers.

use tidings_broker::log::{Fate, MemoryDisk};
use tidings_broker::{
    BrokerConfig, CreatePartitions, DeleteTopics, DescribeMetadataLog, DescribeTopics,
    MorePartitions, NewTopic, Reassign, ReassignRefused, Reassignment, TopicDescription, TopicName,
    TopicRefused, Topics, limits,
};

use crate::rig::{Rig, batch, config};

fn more(topic: &str, count: i32) -> MorePartitions {
    MorePartitions { topic: topic.into(), count, assignment: None }
}

fn grow(rig: &mut Rig, more: MorePartitions) -> Result<(), TopicRefused> {
    let request = CreatePartitions { topics: vec![more], validate_only: false };
    rig.call(request).remove(0).outcome
}

fn describe(rig: &mut Rig, name: &str) -> TopicDescription {
    let topics = Topics::These(vec![TopicName::Name(name.into())]);
    rig.call(DescribeTopics { topics, auto_create: false }).remove(0).topic.expect("known")
}

fn replicas(rig: &mut Rig, name: &str) -> Vec<Vec<i32>> {
    describe(rig, name).partitions.into_iter().map(|partition| partition.replicas).collect()
}

fn reassign(
    rig: &mut Rig,
    topic: &str,
    partition: i32,
    replicas: Option<&[i32]>,
    replication_may_change: bool,
) -> Result<(), ReassignRefused> {
    let replicas = replicas.map(<[i32]>::to_vec);
    let partitions = vec![Reassignment { topic: topic.into(), partition, replicas }];
    rig.call(Reassign { replication_may_change, partitions }).remove(0).outcome
}

/// A node that is shown as so many brokers, on what a disk holds.
fn shown_as(disk: MemoryDisk, brokers: i32) -> Rig {
    Rig::with(disk, BrokerConfig { brokers, ..config() })
}

fn replicated(name: &str, partitions: i32, replication: i16) -> NewTopic {
    let (partitions, replication) = (Some(partitions), Some(replication));
    NewTopic { name: name.into(), partitions, replication, ..NewTopic::default() }
}

#[test]
fn added_partitions_take_records_at_once_and_after_a_restart() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.topic("b");
    rig.produce("a", 1, batch(&["before"])).unwrap();
    assert_eq!(grow(&mut rig, more("a", 4)), Ok(()));
    rig.produce("a", 3, batch(&["after"])).unwrap();
    rig.produce("b", 0, batch(&["other"])).unwrap();
    for _ in 0..2 {
        assert_eq!(describe(&mut rig, "a").partitions.len(), 4);
        assert_eq!(rig.values("a", 1, 0), ["before"]);
        assert_eq!(rig.values("a", 3, 0), ["after"]);
        assert_eq!(rig.values("b", 0, 0), ["other"]);
        rig = rig.restart();
        assert_eq!((rig.report.partitions, rig.report.findings.len()), (6, 0));
    }
    assert_eq!(grow(&mut rig, more("a", 5)), Ok(()));
    assert_eq!(describe(&mut rig, "a").partitions.len(), 5);
}

#[test]
fn partitions_are_answered_shown_and_kept_only_when_they_are_on_disk() {
    let mut rig = Rig::new();
    rig.topic("a");
    let request = CreatePartitions { topics: vec![more("a", 3)], validate_only: false };
    let growing = rig.submit(request);
    let topics = Topics::These(vec![TopicName::Name("a".into())]);
    let asking = rig.submit(DescribeTopics { topics, auto_create: false });
    assert!(!rig.is_answered(growing) && !rig.is_answered(asking));
    let disk = rig.disk.crash(&mut |_| Fate::Lost);
    drop(rig);
    let mut rig = Rig::on(disk);
    assert_eq!(describe(&mut rig, "a").partitions.len(), 2);
    assert_eq!(grow(&mut rig, more("a", 3)), Ok(()));
}

#[test]
fn only_more_partitions_can_be_had() {
    let mut rig = Rig::new();
    rig.topic("a");
    let assigned = |assignment: &[&[i32]]| MorePartitions {
        assignment: Some(assignment.iter().map(|list| list.to_vec()).collect()),
        ..more("a", 4)
    };
    let invalid = |kind: fn(String) -> TopicRefused| kind(String::new());
    let cases = [
        (more("no.such", 3), TopicRefused::Unknown),
        (more("a", 2), invalid(TopicRefused::InvalidPartitions)),
        (more("a", 1), invalid(TopicRefused::InvalidPartitions)),
        (more("a", -1), invalid(TopicRefused::InvalidPartitions)),
        (more("a", limits::PARTITIONS_PER_TOPIC_MAX + 1), invalid(TopicRefused::InvalidPartitions)),
        (assigned(&[&[1]]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[&[1], &[1], &[1]]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[&[1], &[2]]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[&[1], &[]]), invalid(TopicRefused::InvalidAssignment)),
    ];
    for (more, expected) in cases {
        let shown = format!("{more:?}");
        let refused = grow(&mut rig, more).unwrap_err();
        let same = std::mem::discriminant(&refused) == std::mem::discriminant(&expected);
        assert!(same, "{shown}: {refused:?}");
    }
    let request = CreatePartitions { topics: vec![more("a", 4)], validate_only: true };
    let checking = rig.submit(request);
    let checked = rig.answer::<CreatePartitions>(checking).expect("at once").remove(0);
    assert_eq!(checked.outcome, Ok(()));
    assert_eq!(describe(&mut rig, "a").partitions.len(), 2);
    assert_eq!(grow(&mut rig, assigned(&[&[1], &[1]])), Ok(()));
}

#[test]
fn the_brokers_own_topics_do_not_grow() {
    let mut rig = Rig::new();
    let own = "__consumer_offsets";
    let topics = Topics::These(vec![TopicName::Name(own.into())]);
    rig.call(DescribeTopics { topics, auto_create: true });
    assert!(matches!(grow(&mut rig, more(own, 2)), Err(TopicRefused::InvalidRequest(_))));
}

#[test]
fn what_was_said_of_a_deleted_topic_says_nothing_of_the_next_of_its_name() {
    let mut rig = Rig::new();
    rig.topic("a");
    grow(&mut rig, more("a", 6)).unwrap();
    rig.call(DeleteTopics { topics: vec![TopicName::Name("a".into())] });
    assert!(!rig.disk.files().iter().any(|file| file.starts_with("a-")));
    rig.topic("a");
    let mut rig = rig.restart();
    assert_eq!(describe(&mut rig, "a").partitions.len(), 2);
    assert_eq!(rig.report.findings, Vec::<String>::new());
}

#[test]
fn virtual_brokers_hold_replicas_in_turns() {
    let mut rig = shown_as(MemoryDisk::with_crash_model(), 3);
    assert_eq!(rig.create(replicated("a", 3, 3)).unwrap().replicas, 3);
    assert_eq!(replicas(&mut rig, "a"), [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
    // The next topic goes on where this one ended.
    rig.create(replicated("b", 1, 2)).unwrap();
    rig.create(replicated("c", 1, 1)).unwrap();
    assert_eq!(replicas(&mut rig, "b"), [[1, 2]]);
    assert_eq!(replicas(&mut rig, "c"), [[2]]);
    let refused = rig.create(replicated("d", 1, 4)).unwrap_err();
    assert!(matches!(refused, TopicRefused::InvalidReplication(_)));
    let in_sync = |count: &str| NewTopic {
        configs: vec![("min.insync.replicas".to_owned(), Some(count.to_owned()))],
        ..replicated("f", 1, 2)
    };
    let refused = rig.create(in_sync("3")).unwrap_err();
    assert!(matches!(refused, TopicRefused::InvalidConfig(_)), "{refused:?}");
    rig.create(in_sync("2")).unwrap();
    let assignment = vec![(0, vec![3, 1]), (1, vec![2, 1])];
    rig.create(NewTopic { name: "e".into(), assignment, ..NewTopic::default() }).unwrap();
    assert_eq!(replicas(&mut rig, "e"), [[3, 1], [2, 1]]);
    grow(&mut rig, more("e", 3)).unwrap();
    assert_eq!(replicas(&mut rig, "e").remove(2).len(), 2);

    let disk = rig.disk.clone();
    rig.broker.close().unwrap();
    drop(rig);
    let mut rig = shown_as(disk.clone(), 3);
    assert_eq!(replicas(&mut rig, "a"), [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
    rig.broker.close().unwrap();
    drop(rig);
    // What one broker has is one replica of everything.
    let mut rig = shown_as(disk, 1);
    assert_eq!(replicas(&mut rig, "a"), [[1], [1], [1]]);
}

#[test]
fn partitions_are_reassigned_among_brokers_that_there_are() {
    let mut rig = shown_as(MemoryDisk::with_crash_model(), 3);
    rig.create(replicated("a", 2, 2)).unwrap();
    type Case<'a> = (&'a str, i32, Option<&'a [i32]>, bool, Result<(), ReassignRefused>);
    let cases: [Case<'_>; 8] = [
        ("a", 0, Some(&[3, 2]), false, Ok(())),
        ("a", 0, Some(&[3, 2]), false, Ok(())),
        ("a", 1, Some(&[1, 2, 3]), true, Ok(())),
        ("a", 2, Some(&[1, 2]), true, Err(ReassignRefused::UnknownPartition)),
        ("b", 0, Some(&[1, 2]), true, Err(ReassignRefused::UnknownPartition)),
        ("a", 0, None, true, Err(ReassignRefused::NoneInProgress)),
        (
            "a",
            0,
            Some(&[4, 1]),
            true,
            Err(ReassignRefused::InvalidAssignment(
                "a partition is assigned to broker 4; there is no such broker".into(),
            )),
        ),
        (
            "a",
            0,
            Some(&[1]),
            false,
            Err(ReassignRefused::OtherReplication { present: 2, wanted: 1 }),
        ),
    ];
    for (topic, partition, to, may_change, expected) in cases {
        let outcome = reassign(&mut rig, topic, partition, to, may_change);
        assert_eq!(outcome, expected, "{topic}-{partition} to {to:?}");
    }
    let placed = [vec![3, 2], vec![1, 2, 3]];
    assert_eq!(replicas(&mut rig, "a"), placed);
    let disk = rig.disk.clone();
    rig.broker.close().unwrap();
    drop(rig);
    assert_eq!(replicas(&mut shown_as(disk, 3), "a"), placed);

    let mut rig = Rig::new();
    rig.topic("a");
    let logged = rig.call(DescribeMetadataLog);
    assert_eq!(reassign(&mut rig, "a", 0, Some(&[1]), true), Ok(()));
    assert_eq!(rig.call(DescribeMetadataLog).end_offset, logged.end_offset, "nothing changed");
    let other = reassign(&mut rig, "a", 0, Some(&[2]), true);
    assert!(matches!(other, Err(ReassignRefused::InvalidAssignment(_))));
}

#[test]
fn the_metadatas_log_grows_with_each_change_that_is_kept() {
    let mut rig = Rig::new();
    let before = rig.call(DescribeMetadataLog);
    assert!(before.end_offset > 0 && before.high_watermark == before.end_offset);
    rig.topic("a");
    let after = rig.call(DescribeMetadataLog);
    assert_eq!(
        (after.end_offset, after.high_watermark),
        (before.end_offset + 1, before.end_offset + 1)
    );
}
