//! Who may commit what, what is read back, and what is taken away again.

use bytes::Bytes;
use tidings_coordinator::{
    CommitOffsets, CommitPartition, Committed, DeleteOffsets, FetchOffsets, FetchedOffset,
    GroupRefused, GroupTrouble, JoinGroup, Record, TopicFacts, TopicName, WantedOffsets, limits,
};

use crate::house::{GROUP, House, ORDERS_ID, WALL_MS, commit, join, static_join, sync};

fn fetch(house: &House, wanted: WantedOffsets) -> Vec<FetchedOffset> {
    let request = FetchOffsets { group: GROUP.into(), member: None, wanted };
    house.groups.committed(&request).expect("nothing to refuse")
}

/// Everything committed: topic, partition, offset.
fn fetched(house: &House) -> Vec<(TopicName, i32, i64)> {
    let flat = |found: FetchedOffset| {
        let held = found.outcome.expect("known").expect("committed");
        (found.topic, found.partition, held.offset)
    };
    fetch(house, WantedOffsets::All).into_iter().map(flat).collect()
}

fn name(topic: &str) -> TopicName {
    TopicName::Name(topic.into())
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
    assert_eq!(fetched(&house), [(name("orders"), 0, 1)]);
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
    assert_eq!(fetched(&house), [(name("orders"), 0, 3)]);
}

#[test]
fn each_partition_is_answered_for_itself() {
    let mut house = House::default();
    let wanted = |topic: &str, partition: i32, metadata: usize| CommitPartition {
        topic: name(topic),
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
    let wanted = vec![
        (name("orders"), 0),
        (name("orders"), 1),
        (TopicName::Id(ORDERS_ID), 0),
        (TopicName::Id([9; 16]), 0),
    ];
    let found = fetch(&house, WantedOffsets::These(wanted.clone()));
    let asked: Vec<_> = found.iter().map(|found| (found.topic.clone(), found.partition)).collect();
    assert_eq!(asked, wanted);
    let held = Committed {
        offset: 7,
        leader_epoch: 4,
        metadata: "m".repeat(limits::OFFSET_METADATA_BYTES_MAX),
        commit_timestamp_ms: WALL_MS,
    };
    let outcomes: Vec<_> = found.into_iter().map(|found| found.outcome).collect();
    let unknown = Err(GroupRefused::Other(GroupTrouble::UnknownTopicId));
    assert_eq!(outcomes, [Ok(Some(held.clone())), Ok(None), Ok(Some(held)), unknown]);
}

#[test]
fn topics_are_named_by_id_where_the_client_does() {
    let mut house = House::default();
    let by_id = |id: [u8; 16]| {
        let mut request = commit("", -1, 5);
        request.partitions[0].topic = TopicName::Id(id);
        request
    };
    assert_eq!(house.commit(&by_id(ORDERS_ID)).unwrap()[0].outcome, Ok(()));
    let unknown = Err(GroupRefused::Other(GroupTrouble::UnknownTopicId));
    assert_eq!(house.commit(&by_id([9; 16])).unwrap()[0].outcome, unknown);
    assert_eq!(fetched(&house), [(name("orders"), 0, 5)]);
    let all = fetch(&house, WantedOffsets::AllById);
    assert_eq!((all.len(), &all[0].topic), (1, &TopicName::Id(ORDERS_ID)));
    // Made anew, the topic has another id.
    house.groups.topics_mut().put("orders", TopicFacts { id: [2; 16], partitions: 4 });
    assert_eq!(house.commit(&by_id(ORDERS_ID)).unwrap()[0].outcome, unknown);
}

#[test]
fn a_group_that_is_not_there_is_named_so_to_clients_that_know_the_error() {
    let mut house = House::default();
    for (knows_epochs, expected) in [
        (false, GroupRefused::IllegalGeneration),
        (true, GroupRefused::Other(GroupTrouble::NotFound)),
    ] {
        let request = CommitOffsets { knows_epochs, ..commit("member", 1, 5) };
        assert_eq!(house.commit(&request).map(|_| ()), Err(expected));
    }
}

#[test]
fn offsets_are_deleted_where_nobody_subscribes_to_them() {
    use GroupTrouble::{NotEmpty, NotFound, Subscribed, UnknownPartition};
    let refused = |trouble| Err(GroupRefused::Other(trouble));
    let topics = [("orders", 4), ("bills", 1)];
    let delete = |house: &mut House, group: &str| {
        let partitions = [("orders", 0), ("bills", 0), ("nothing", 0)];
        let own = partitions.map(|(topic, partition)| (topic.to_owned(), partition)).to_vec();
        let request = DeleteOffsets { group: group.into(), partitions: own };
        let decision = house.groups.decide_delete_offsets(&request)?;
        decision.records.into_iter().for_each(|record| house.keep(record));
        Ok(decision.answers.into_iter().map(|answer| answer.outcome).collect::<Vec<_>>())
    };
    let cases = [
        ("consumer", "orders", Ok(vec![refused(Subscribed), Ok(()), refused(UnknownPartition)])),
        ("connect", "orders", Err(GroupRefused::Other(NotEmpty))),
    ];
    for (protocol_type, topic, expected) in cases {
        let mut house = House::default();
        for (place, (topic, partitions)) in (1..).zip(topics) {
            house.groups.topics_mut().put(topic, TopicFacts { id: [place; 16], partitions });
            let mut request = commit("", -1, 5);
            request.partitions[0].topic = name(topic);
            house.commit(&request).unwrap();
        }
        let member = house.join_now(JoinGroup {
            protocol_type: protocol_type.into(),
            protocols: vec![("range".into(), subscription(topic))],
            ..join("")
        });
        house.sync_now(sync(&member.member_id, 1, &[])).unwrap();
        assert_eq!(delete(&mut house, GROUP), expected, "{protocol_type}");
        house.leave(&[(&member.member_id, None)]);
        let all = Ok(vec![Ok(()), Ok(()), refused(UnknownPartition)]);
        assert_eq!(delete(&mut house, GROUP), all, "{protocol_type} without members");
        assert_eq!(fetched(&house), []);
        assert_eq!(delete(&mut house, "none"), refused(NotFound).map(|()| Vec::new()));
    }
}

/// Version 0 of a consumer's subscription.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).expect("short")];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.into()
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn offsets_from_outside_go_a_week_after_their_commit() {
    let mut house = House::default();
    house.commit(&commit("", -1, 3)).unwrap();
    house.pass(6 * DAY_MS);
    let mut later = commit("", -1, 4);
    later.partitions[0].partition = 1;
    house.commit(&later).unwrap();
    house.pass(DAY_MS + house.groups.config().retention_check_ms);
    assert_eq!(fetched(&house), [(name("orders"), 1, 4)]);
    house.pass(7 * DAY_MS);
    assert_eq!(house.state(), "Dead", "nothing is left of it");
}

#[test]
fn the_offsets_of_a_group_that_lost_its_members_go_a_week_after_that() {
    let mut house = House::default();
    let member = house.join_now(join("")).member_id;
    house.sync_now(sync(&member, 1, &[])).unwrap();
    house.commit(&commit(&member, 1, 3)).unwrap();
    for _ in 0..3 * DAY_MS / 5_000 {
        house.pass(5_000);
        assert_eq!(house.beat(&member, 1), Ok(()));
    }
    house.leave(&[(&member, None)]);
    house.pass(7 * DAY_MS - 1);
    assert_eq!(fetched(&house), [(name("orders"), 0, 3)], "committed ten days ago");
    house.pass(1 + house.groups.config().retention_check_ms);
    assert_eq!(fetched(&house), []);
}

#[test]
fn a_stable_group_keeps_what_it_subscribes_to_and_one_of_another_kind_everything() {
    for (protocol_type, topic, kept) in
        [("consumer", "orders", 1), ("consumer", "bills", 0), ("connect", "bills", 1)]
    {
        let mut house = House::default();
        let member = house.join_now(JoinGroup {
            protocol_type: protocol_type.into(),
            protocols: vec![("range".into(), subscription(topic))],
            session_timeout_ms: 1_800_000,
            ..join("")
        });
        house.sync_now(sync(&member.member_id, 1, &[])).unwrap();
        house.commit(&commit(&member.member_id, 1, 3)).unwrap();
        for _ in 0..8 * DAY_MS / 1_000_000 {
            house.pass(1_000_000);
            assert_eq!(house.beat(&member.member_id, 1), Ok(()));
        }
        assert_eq!(fetched(&house).len(), kept, "{protocol_type} subscribed to {topic}");
    }
}

#[test]
fn expired_offsets_go_in_steps() {
    let mut house = House::default();
    let count = i32::try_from(limits::EXPIRIES_PER_SWEEP).expect("small");
    house.groups.topics_mut().put("orders", TopicFacts { id: ORDERS_ID, partitions: count });
    for group in ["g", "h", "i"] {
        for partition in 0..count / 2 + 1 {
            let mut request = CommitOffsets { group: group.into(), ..commit("", -1, 3) };
            request.partitions[0].partition = partition;
            house.commit(&request).unwrap();
        }
    }
    house.pass(7 * DAY_MS - 1);
    let mut now = house.now();
    now.wall_ms += 1;
    now.mono_ms += house.groups.config().retention_check_ms;
    let half = limits::EXPIRIES_PER_SWEEP / 2 + 1;
    assert_eq!(house.groups.decide_expiry(now).len(), 2 * half, "whole groups");
    assert_eq!(house.groups.decide_expiry(now).len(), 0, "not before the pause is over");
    now.mono_ms += limits::SWEEP_PAUSE_MS;
    assert_eq!(house.groups.decide_expiry(now).len(), half);
    now.mono_ms += limits::SWEEP_PAUSE_MS;
    assert_eq!(house.groups.decide_expiry(now).len(), 0, "the sweep is over");
}

#[test]
fn deleting_a_topic_forgets_its_offsets_and_nothing_else() {
    let mut house = House::default();
    house.groups.topics_mut().put("orders2", TopicFacts { id: [2; 16], partitions: 1 });
    for (topic, partition) in [("orders", 0), ("orders", 3), ("orders2", 0)] {
        let mut request = commit("", -1, 5);
        request.partitions[0].topic = name(topic);
        request.partitions[0].partition = partition;
        house.commit(&request).unwrap();
    }
    let records = house.groups.decide_forget_topic("orders");
    assert_eq!(records.len(), 2);
    let now = house.now();
    records.into_iter().for_each(|record| house.groups.apply(now, record));
    assert_eq!(fetched(&house), [(name("orders2"), 0, 5)]);
    assert_eq!(house.groups.committed_topics().collect::<Vec<_>>(), ["orders2"]);
}

#[test]
fn deleting_a_group_forgets_its_offsets() {
    let mut house = House::default();
    house.commit(&commit("", -1, 3)).unwrap();
    let now = house.now();
    let records = house.groups.decide_delete(now, GROUP).unwrap();
    assert_eq!(records.len(), 2);
    assert!(matches!(&records[0], Record::Offset { committed: None, .. }));
    records.into_iter().for_each(|record| house.groups.apply(now, record));
    assert_eq!((house.state(), fetched(&house).len()), ("Dead", 0));
    let found = fetch(&house, WantedOffsets::These(vec![(name("orders"), 0)]));
    assert_eq!(found[0].outcome, Ok(None));
}
