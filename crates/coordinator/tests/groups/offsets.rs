//! Who may commit what, and what is read back.

use tidings_coordinator::{
    CommitOffsets, CommitPartition, FetchOffsets, FetchedOffset, GroupRefused, GroupTrouble,
    Record, limits,
};

use crate::house::{GROUP, House, commit, join, static_join, sync};

fn fetched(house: &House, partitions: Option<&[(&str, i32)]>) -> Vec<(String, i32, i64)> {
    let own = |all: &[(&str, i32)]| all.iter().map(|(t, p)| ((*t).to_owned(), *p)).collect();
    let request = FetchOffsets { group: GROUP.into(), partitions: partitions.map(own) };
    let all = house.groups.committed(&request).into_iter();
    all.map(|found| (found.topic, found.partition, found.offset)).collect()
}

#[test]
fn commits_are_checked_against_the_membership() {
    use GroupRefused::{IllegalGeneration, UnknownMember};
    let (mut house, leader, _) = House::with_two_members();
    let with_instance =
        |request: CommitOffsets| CommitOffsets { instance_id: Some("i".into()), ..request };
    let cases = [
        ("current member", commit(&leader, 2, 1), Ok(())),
        ("old generation", commit(&leader, 1, 1), Err(IllegalGeneration)),
        ("future generation", commit(&leader, 3, 1), Err(IllegalGeneration)),
        ("member without generation", commit(&leader, -1, 1), Err(IllegalGeneration)),
        ("stranger", commit("stranger", 2, 1), Err(UnknownMember)),
        ("from outside", commit("", -1, 1), Err(UnknownMember)),
        ("unknown instance", with_instance(commit(&leader, 2, 1)), Err(UnknownMember)),
    ];
    for (name, request, expected) in cases {
        assert_eq!(house.commit(&request).map(|_| ()), expected, "{name}");
    }
    // Who was replaced may not commit any more.
    let one = house.leave(&[(&leader, None)]);
    assert_eq!(one[0].outcome, Ok(()));
    assert_eq!(house.commit(&commit(&leader, 2, 9)).map(|_| ()), Err(UnknownMember));
    assert_eq!(fetched(&house, None), [("orders".to_owned(), 0, 1)]);
}

#[test]
fn who_was_replaced_by_its_own_instance_may_not_commit() {
    let mut house = House::default();
    let old = house.join_now(static_join("", "one")).member_id;
    house.sync_now(sync(&old, 1, &[])).unwrap();
    let new = house.join_now(static_join("", "one")).member_id;
    let named = |id: &str| CommitOffsets { instance_id: Some("one".into()), ..commit(id, 1, 4) };
    assert_eq!(house.commit(&named(&old)).map(|_| ()), Err(GroupRefused::FencedInstance));
    let unnamed = house.commit(&commit(&old, 1, 4)).map(|_| ());
    assert_eq!(unnamed, Err(GroupRefused::UnknownMember));
    assert_eq!(house.commit(&named(&new)).map(|_| ()), Ok(()));
}

#[test]
fn commits_during_a_rebalance_are_taken_until_it_completes() {
    let (mut house, leader, follower) = House::with_two_members();
    house.send_join(join(""));
    assert_eq!(house.commit(&commit(&follower, 2, 5)).map(|_| ()), Ok(()), "what was processed");
    house.send_join(join(&leader));
    house.send_join(join(&follower));
    let early = house.commit(&commit(&follower, 3, 6)).map(|_| ());
    assert_eq!(early, Err(GroupRefused::Rebalancing), "nothing is assigned yet");
}

#[test]
fn a_group_without_members_takes_commits_from_outside() {
    let mut house = House::default();
    assert_eq!(house.commit(&commit("", 0, 3)).map(|_| ()), Err(GroupRefused::IllegalGeneration));
    assert_eq!(house.commit(&commit("", -1, 3)).map(|_| ()), Ok(()));
    assert_eq!(house.state(), "Empty");
    assert_eq!(fetched(&house, None), [("orders".to_owned(), 0, 3)]);
}

#[test]
fn each_partition_is_answered_for_itself() {
    let mut house = House::default();
    let wanted = |topic: &str, partition: i32, metadata: usize| CommitPartition {
        topic: topic.into(),
        partition,
        offset: 7,
        leader_epoch: 4,
        metadata: Some("m".repeat(metadata)),
    };
    let request = CommitOffsets {
        partitions: vec![
            wanted("orders", 0, limits::OFFSET_METADATA_BYTES_MAX),
            wanted("orders", 1, limits::OFFSET_METADATA_BYTES_MAX + 1),
            wanted("orders", 9, 0),
            wanted("nothing", 0, 0),
        ],
        ..commit("", -1, 0)
    };
    let answers = house.commit(&request).unwrap();
    let outcomes: Vec<_> = answers.into_iter().map(|answer| answer.outcome).collect();
    let refused = |trouble| Err(GroupRefused::Other(trouble));
    assert_eq!(
        outcomes,
        [
            Ok(()),
            refused(GroupTrouble::MetadataTooLarge),
            refused(GroupTrouble::UnknownPartition),
            refused(GroupTrouble::UnknownPartition),
        ]
    );
    let asked = FetchOffsets {
        group: GROUP.into(),
        partitions: Some(vec![("orders".into(), 0), ("orders".into(), 1)]),
    };
    let absent = FetchedOffset {
        topic: "orders".into(),
        partition: 1,
        offset: -1,
        leader_epoch: -1,
        metadata: None,
    };
    let present = FetchedOffset {
        partition: 0,
        offset: 7,
        leader_epoch: 4,
        metadata: Some("m".repeat(limits::OFFSET_METADATA_BYTES_MAX)),
        ..absent.clone()
    };
    assert_eq!(house.groups.committed(&asked), [present, absent]);
}

#[test]
fn deleting_a_topic_forgets_its_offsets_and_nothing_else() {
    let mut house = House::default();
    for (topic, partition) in [("orders", 0), ("orders", 3), ("orders2", 0)] {
        let now = house.now();
        let mut request = commit("", -1, 5);
        request.partitions[0].topic = topic.into();
        request.partitions[0].partition = partition;
        let decision = house.groups.decide_commit(now, &request, |_, _| true).unwrap();
        decision.records.into_iter().for_each(|record| house.groups.apply(now, record));
    }
    let records = house.groups.decide_forget_topic("orders");
    assert_eq!(records.len(), 2);
    let now = house.now();
    records.into_iter().for_each(|record| house.groups.apply(now, record));
    assert_eq!(fetched(&house, None), [("orders2".to_owned(), 0, 5)]);
    assert_eq!(house.groups.committed_topics().collect::<Vec<_>>(), ["orders2"]);
}

#[test]
fn deleting_a_group_forgets_its_offsets() {
    let mut house = House::default();
    house.commit(&commit("", -1, 3)).unwrap();
    let records = house.groups.decide_delete(GROUP).unwrap();
    let now = house.now();
    assert_eq!(records.len(), 2);
    assert!(matches!(&records[0], Record::Offset { committed: None, .. }));
    records.into_iter().for_each(|record| house.groups.apply(now, record));
    assert_eq!((house.state(), fetched(&house, None).len()), ("Dead", 0));
    assert_eq!(fetched(&house, Some(&[("orders", 0)])), [("orders".to_owned(), 0, -1)]);
}
