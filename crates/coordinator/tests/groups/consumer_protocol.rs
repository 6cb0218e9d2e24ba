//! The consumer protocol: who is admitted, what each heartbeat is answered, who owns what.

use std::collections::BTreeMap;

use tidings_coordinator::{
    AssignorName, Beat, CommitOffsets, ConsumerHeartbeat, ConsumerTrouble, Coordinator,
    FetchOffsets, GroupRefused, GroupTrouble, ListGroups, Partitions, TopicFacts, WantedOffsets,
};

use crate::house::{GROUP, House, ORDERS_ID, commit};

pub(crate) const BILLS_ID: [u8; 16] = [2; 16];

/// A first heartbeat that subscribes to `orders`.
pub(crate) fn enter(member_id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: GROUP.into(),
        member_id: member_id.into(),
        brings_member_id: true,
        epoch: 0,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: Some(30_000),
        topics: Some(vec!["orders".into()]),
        regex: None,
        assignor: None,
        owned: Some(Partitions::default()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
    }
}

/// A heartbeat that says nothing new.
pub(crate) fn stay(member_id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        epoch,
        rebalance_timeout_ms: None,
        topics: None,
        owned: None,
        ..enter(member_id)
    }
}

/// A heartbeat that says what the member owns.
pub(crate) fn owning(member_id: &str, epoch: i32, owned: &Partitions) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned.clone()), ..stay(member_id, epoch) }
}

pub(crate) fn of_orders(numbers: &[i32]) -> Partitions {
    numbers.iter().map(|number| (ORDERS_ID, *number)).collect()
}

fn entered(house: &mut House, member_id: &str) -> Beat {
    house.consumer_beat(enter(member_id)).expect("admitted")
}

fn trouble(refused: Result<Beat, GroupRefused>) -> ConsumerTrouble {
    match refused {
        Err(GroupRefused::Other(GroupTrouble::Consumer(trouble))) => trouble,
        other => panic!("{other:?}"),
    }
}

/// `m1` owns two partitions of four and `m2` the others, both at epoch 2.
pub(crate) fn pair() -> House {
    let mut house = House::default();
    let first = entered(&mut house, "m1");
    assert_eq!((first.epoch, first.assignment), (1, Some(of_orders(&[0, 1, 2, 3]))));
    let second = entered(&mut house, "m2");
    assert_eq!((second.epoch, second.assignment), (2, Some(Partitions::default())));
    let told = house.consumer_beat(stay("m1", 1)).unwrap();
    assert_eq!((told.epoch, told.assignment), (1, Some(of_orders(&[0, 1]))), "two to be given up");
    let waits = house.consumer_beat(stay("m2", 2)).unwrap();
    assert_eq!((waits.epoch, waits.assignment), (2, None));
    let done = house.consumer_beat(owning("m1", 1, &of_orders(&[0, 1]))).unwrap();
    assert_eq!((done.epoch, done.assignment), (2, None));
    let given = house.consumer_beat(stay("m2", 2)).unwrap();
    assert_eq!((given.epoch, given.assignment), (2, Some(of_orders(&[2, 3]))));
    assert_eq!(state(&house), "Stable");
    house
}

pub(crate) fn state(house: &House) -> &'static str {
    house.groups.describe_consumers(GROUP).map_or("none", |described| described.state)
}

/// What the log says, told to a coordinator that knows nothing else.
pub(crate) fn reloaded(house: &House) -> Coordinator {
    let mut groups = Coordinator::new();
    groups.topics_mut().put("orders", TopicFacts { id: ORDERS_ID, partitions: 4 });
    house.kept.iter().cloned().for_each(|record| groups.apply(house.now(), record));
    groups
}

#[test]
fn partitions_are_given_up_before_others_get_them() {
    let house = pair();
    let described = house.groups.describe_consumers(GROUP).unwrap();
    assert_eq!((described.epoch, described.target_epoch, described.assignor), (2, 2, "uniform"));
    let assigned: Vec<_> = described
        .members
        .iter()
        .map(|member| (member.member_id.as_str(), member.epoch, member.assigned[0].2.clone()))
        .collect();
    assert_eq!(assigned, [("m1", 2, vec![0, 1]), ("m2", 2, vec![2, 3])]);
    assert_eq!(described.members[0].target, described.members[0].assigned);
    let listed = house.groups.list(&ListGroups { states: vec![], types: vec!["Consumer".into()] });
    assert_eq!((listed[0].state, listed[0].group_type), ("Stable", "consumer"));
    assert_eq!(house.state(), "Dead", "it is no classic group");
}

#[test]
fn heartbeats_that_contradict_themselves_are_refused() {
    use ConsumerTrouble::{InvalidRequest, UnsupportedAssignor};
    let mut house = House::default();
    let invalid = |text: &str| InvalidRequest(text.to_owned());
    let cases = [
        (enter(""), invalid("MemberId can't be empty.")),
        (
            ConsumerHeartbeat { group: String::new(), ..enter("m") },
            invalid("GroupId can't be empty."),
        ),
        (
            ConsumerHeartbeat { instance_id: Some(String::new()), ..enter("m") },
            invalid("InstanceId can't be empty."),
        ),
        (
            ConsumerHeartbeat { rack_id: Some(String::new()), ..enter("m") },
            invalid("RackId can't be empty."),
        ),
        (
            ConsumerHeartbeat { rebalance_timeout_ms: None, ..enter("m") },
            invalid("RebalanceTimeoutMs must be provided in first request."),
        ),
        (
            ConsumerHeartbeat { owned: Some(of_orders(&[1])), ..enter("m") },
            invalid("TopicPartitions must be empty when (re-)joining."),
        ),
        (
            ConsumerHeartbeat { topics: None, ..enter("m") },
            invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                 (re-)joining.",
            ),
        ),
        (stay("m", -2), invalid("InstanceId can't be null.")),
        (stay("m", -3), invalid("MemberEpoch is invalid.")),
        (
            ConsumerHeartbeat { assignor: Some("mine".into()), ..enter("m") },
            UnsupportedAssignor("mine".into()),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(trouble(house.consumer_beat(request)), expected);
    }
    let wrong = ConsumerHeartbeat { regex: Some("(".into()), ..enter("m") };
    assert!(matches!(trouble(house.consumer_beat(wrong)), ConsumerTrouble::InvalidRegex(_)));
    assert_eq!(house.kept, [], "nothing came of any of it");
}

#[test]
fn who_is_not_known_or_speaks_of_another_epoch_is_refused() {
    let mut house = House::default();
    let not_found = Err(GroupRefused::Other(GroupTrouble::NotFound));
    assert_eq!(house.consumer_beat(stay("m1", 1)), not_found);
    assert_eq!(house.consumer_beat(stay("m1", -1)), not_found);
    let mut house = pair();
    let unknown = Err(GroupRefused::UnknownMember);
    assert_eq!(house.consumer_beat(stay("stranger", 2)), unknown);
    assert_eq!(house.consumer_beat(stay("stranger", -1)), unknown);
    let fenced = |said| ConsumerTrouble::FencedEpoch { said, known: 2 };
    assert_eq!(trouble(house.consumer_beat(stay("m1", 3))), fenced(3));
    assert_eq!(trouble(house.consumer_beat(stay("m1", 1))), fenced(1), "does not say what it owns");
    let too_much = owning("m1", 1, &of_orders(&[0, 1, 2]));
    assert_eq!(trouble(house.consumer_beat(too_much)), fenced(1));
    let missed = house.consumer_beat(owning("m1", 1, &of_orders(&[0]))).unwrap();
    assert_eq!(missed.epoch, 2, "the answer that told of the new epoch was lost");
}

#[test]
fn an_assignment_is_sent_when_it_changes_and_in_answer_to_a_full_heartbeat() {
    let mut house = pair();
    assert_eq!(house.consumer_beat(stay("m1", 2)).unwrap().assignment, None);
    let full = ConsumerHeartbeat { epoch: 2, owned: Some(of_orders(&[0, 1])), ..enter("m1") };
    let answer = house.consumer_beat(full).unwrap();
    assert_eq!(answer.assignment, Some(of_orders(&[0, 1])));
    assert_eq!(answer.heartbeat_interval_ms, 5_000);
    let again = house.consumer_beat(enter("m1")).unwrap();
    assert_eq!((again.epoch, again.assignment), (2, Some(of_orders(&[0, 1]))), "joins anew");
}

#[test]
fn a_member_that_leaves_or_falls_silent_frees_its_partitions() {
    for leaves in [true, false] {
        let mut house = pair();
        if leaves {
            assert_eq!(house.consumer_beat(stay("m2", -1)).unwrap().epoch, -1);
        } else {
            for _ in 0..8 {
                house.pass(5_000);
                assert_eq!(house.consumer_beat(stay("m1", 2)).map(|beat| beat.epoch), Ok(2));
            }
            house.pass(5_000);
        }
        assert_eq!(state(&house), "Assigning");
        let alone = house.consumer_beat(stay("m1", 2)).unwrap();
        assert_eq!((alone.epoch, alone.assignment), (3, Some(of_orders(&[0, 1, 2, 3]))));
        assert_eq!(house.consumer_beat(stay("m2", 2)), Err(GroupRefused::UnknownMember));
    }
}

#[test]
fn a_member_that_does_not_give_up_partitions_in_time_is_removed() {
    let mut house = House::default();
    entered(&mut house, "m1");
    entered(&mut house, "m2");
    house.consumer_beat(stay("m1", 1)).unwrap();
    for _ in 0..6 {
        house.pass(5_000);
        // Alive, and says nothing of what it owns.
        if house.consumer_beat(stay("m1", 1)).is_err() {
            break;
        }
        house.consumer_beat(stay("m2", 2)).unwrap();
    }
    assert_eq!(house.consumer_beat(stay("m1", 1)), Err(GroupRefused::UnknownMember));
    let all = house.consumer_beat(stay("m2", 2)).unwrap();
    assert_eq!((all.epoch, all.assignment), (3, Some(of_orders(&[0, 1, 2, 3]))));
}

#[test]
fn a_static_member_comes_back_to_what_it_had_and_nobody_notices() {
    let instance =
        |request: ConsumerHeartbeat| ConsumerHeartbeat { instance_id: Some("i".into()), ..request };
    let mut house = House::default();
    house.consumer_beat(instance(enter("old"))).unwrap();
    entered(&mut house, "other");
    house.consumer_beat(owning("old", 1, &of_orders(&[0, 1]))).unwrap();
    house.consumer_beat(stay("other", 2)).unwrap();
    let unreleased = ConsumerTrouble::UnreleasedInstance { holder: "old".into() };
    assert_eq!(trouble(house.consumer_beat(instance(enter("new")))), unreleased);
    let again = house.consumer_beat(instance(enter("old"))).expect("the same member");
    assert_eq!(again.assignment, Some(of_orders(&[0, 1])));
    let left = house.consumer_beat(instance(stay("old", -2))).unwrap();
    assert_eq!(left.epoch, -2);
    let back = house.consumer_beat(instance(enter("new"))).unwrap();
    assert_eq!((back.epoch, back.assignment), (2, Some(of_orders(&[0, 1]))));
    assert_eq!(house.consumer_beat(stay("other", 2)).unwrap().assignment, None);
    assert_eq!(house.consumer_beat(instance(stay("old", 2))), Err(GroupRefused::FencedInstance));
    assert_eq!(house.consumer_beat(instance(stay("old", -1))), Err(GroupRefused::FencedInstance));
    let nobody = ConsumerHeartbeat { instance_id: Some("j".into()), ..stay("new", 2) };
    assert_eq!(house.consumer_beat(nobody), Err(GroupRefused::UnknownMember));
    // One that does not come back is removed when its session ends.
    house.consumer_beat(instance(stay("new", -2))).unwrap();
    for _ in 0..10 {
        house.pass(5_000);
        house
            .consumer_beat(stay("other", 2))
            .ok()
            .or_else(|| house.consumer_beat(stay("other", 3)).ok());
    }
    let described = house.groups.describe_consumers(GROUP).unwrap();
    assert_eq!(described.members.len(), 1);
    assert_eq!(described.members[0].assigned[0].2, [0, 1, 2, 3]);
}

#[test]
fn new_partitions_new_topics_and_deleted_ones_are_seen_at_the_next_heartbeat() {
    let mut house = House::default();
    let both = vec!["orders".to_owned(), "bills".to_owned()];
    let first =
        house.consumer_beat(ConsumerHeartbeat { topics: Some(both), ..enter("m") }).unwrap();
    assert_eq!((first.epoch, first.assignment.unwrap().count()), (1, 4));
    house.groups.topics_mut().put("other", TopicFacts { id: [9; 16], partitions: 1 });
    assert_eq!(house.consumer_beat(stay("m", 1)).unwrap().epoch, 1, "not subscribed to");
    house.groups.topics_mut().put("bills", TopicFacts { id: BILLS_ID, partitions: 2 });
    let more = house.consumer_beat(stay("m", 1)).unwrap();
    assert_eq!((more.epoch, more.assignment.unwrap().count()), (2, 6));
    house.groups.topics_mut().put("orders", TopicFacts { id: ORDERS_ID, partitions: 7 });
    let more = house.consumer_beat(stay("m", 2)).unwrap();
    assert_eq!((more.epoch, more.assignment.unwrap().count()), (3, 9));
    house.groups.topics_mut().remove("orders");
    let less = house.consumer_beat(stay("m", 3)).unwrap();
    assert_eq!(less.assignment.unwrap().count(), 2);
}

#[test]
fn a_subscription_by_expression_follows_the_topics() {
    let mut house = House::default();
    let by_regex = |regex: &str| ConsumerHeartbeat {
        topics: None,
        regex: Some(regex.to_owned()),
        ..enter("m")
    };
    let first = house.consumer_beat(by_regex("ord.*")).unwrap();
    assert_eq!(first.assignment.unwrap().count(), 4);
    house.groups.topics_mut().put("ordinary", TopicFacts { id: BILLS_ID, partitions: 2 });
    let more = house.consumer_beat(stay("m", 1)).unwrap();
    assert_eq!((more.epoch, more.assignment.unwrap().count()), (2, 6));
    let other = ConsumerHeartbeat { regex: Some("ordi.*".into()), ..stay("m", 2) };
    let less = house.consumer_beat(other).unwrap();
    assert_eq!(less.assignment.unwrap(), [(BILLS_ID, 0), (BILLS_ID, 1)].into_iter().collect());
    let none = ConsumerHeartbeat { regex: Some(String::new()), ..stay("m", 2) };
    assert_eq!(house.consumer_beat(none).unwrap().assignment, Some(Partitions::default()));
    let regexes = house.kept.iter().filter(|record| format!("{record:?}").contains("Regex"));
    assert_eq!(regexes.count(), 5, "three resolutions, and two that nobody uses any more");
}

#[test]
fn the_assignor_that_most_members_prefer_is_used() {
    let mut house = House::default();
    let prefer = |id: &str, name: AssignorName| ConsumerHeartbeat {
        assignor: Some(name.name().to_owned()),
        ..enter(id)
    };
    house.consumer_beat(prefer("m1", AssignorName::Uniform)).unwrap();
    house.consumer_beat(prefer("m2", AssignorName::Range)).unwrap();
    house.consumer_beat(prefer("m3", AssignorName::Range)).unwrap();
    assert_eq!(house.groups.describe_consumers(GROUP).unwrap().assignor, "range");
}

#[test]
fn a_group_has_a_largest_number_of_members() {
    let mut house = House::default();
    let mut config = house.groups.config().clone();
    config.consumer.group_size_max = 2;
    house.groups.configure(config);
    entered(&mut house, "m1");
    entered(&mut house, "m2");
    assert_eq!(house.consumer_beat(enter("m3")), Err(GroupRefused::Full));
    assert!(house.consumer_beat(enter("m2")).is_ok());
}

#[test]
fn only_members_of_their_epoch_commit_and_fetch() {
    let mut house = pair();
    let knows = |request: CommitOffsets| CommitOffsets { knows_epochs: true, ..request };
    let stale = |said| Err(ConsumerTrouble::StaleEpoch { said, known: 2 }.into());
    let cases = [
        (knows(commit("m1", 2, 5)), Ok(())),
        (knows(commit("m1", 1, 5)), stale(1)),
        (knows(commit("m1", 3, 5)), stale(3)),
        (knows(commit("stranger", 2, 5)), Err(GroupRefused::UnknownMember)),
        (knows(commit("", -1, 5)), Err(GroupRefused::UnknownMember)),
        (commit("m1", 2, 5), Err(ConsumerTrouble::VersionTooOld.into())),
    ];
    for (request, expected) in cases {
        assert_eq!(house.commit(&request).map(|_| ()), expected, "{request:?}");
    }
    let fetch = |member: Option<(&str, i32)>| FetchOffsets {
        group: GROUP.into(),
        member: member.map(|(id, epoch)| (id.to_owned(), epoch)),
        wanted: WantedOffsets::All,
    };
    let found = |member| house.groups.committed(&fetch(member)).map(|found| found.len());
    assert_eq!(found(None), Ok(1));
    assert_eq!(found(Some(("m1", 2))), Ok(1));
    assert_eq!(found(Some(("m1", 1))), stale(1).map(|()| 0));
    assert_eq!(found(Some(("stranger", 2))), Err(GroupRefused::UnknownMember));
}

#[test]
fn a_group_without_members_is_deleted_or_forgotten_in_time_and_leaves_nothing() {
    for deletes in [true, false] {
        let mut house = pair();
        let not_empty = GroupRefused::Other(GroupTrouble::NotEmpty);
        let now = house.now();
        assert_eq!(house.groups.decide_delete(now, GROUP).unwrap_err(), not_empty);
        house.consumer_beat(stay("m1", -1)).unwrap();
        house.consumer_beat(stay("m2", -1)).unwrap();
        assert_eq!(state(&house), "Empty");
        if deletes {
            let records = house.groups.decide_delete(now, GROUP).unwrap();
            records.into_iter().for_each(|record| house.keep(record));
        } else {
            house.pass(11 * 60 * 1000);
        }
        assert_eq!(state(&house), "none");
        let mut last: BTreeMap<_, bool> = BTreeMap::new();
        for record in &house.kept {
            let (key, value) = record.encode();
            last.insert(key, value.is_some());
        }
        assert!(last.values().all(|there| !there), "every key ends in a tombstone");
        assert_eq!(reloaded(&house).list(&ListGroups::default()).len(), 0);
    }
}

#[test]
fn a_restart_keeps_members_epochs_and_assignments() {
    let house = pair();
    let mut groups = reloaded(&house);
    let described = format!("{:?}", house.groups.describe_consumers(GROUP).unwrap());
    assert_eq!(format!("{:?}", groups.describe_consumers(GROUP).unwrap()), described);
    let mut later = house.now();
    later.mono_ms += 44_999;
    groups.tick(later);
    assert!(groups.poll().is_none(), "sessions begin anew");
    later.mono_ms += 1;
    groups.tick(later);
    assert!(groups.poll().is_some());
}

#[test]
fn a_change_that_the_log_does_not_take_has_not_been_made() {
    let mut house = pair();
    let before = format!("{:?}", house.groups.describe_consumers(GROUP).unwrap());
    let now = house.now();
    house.groups.consumer_heartbeat(now, tidings_coordinator::Waiter(900), enter("m3"), [0; 16]);
    while house.groups.poll().is_some() {}
    house.groups.persist_failed(now, GROUP);
    assert_eq!(format!("{:?}", house.groups.describe_consumers(GROUP).unwrap()), before);
    assert_eq!(house.consumer_beat(enter("m3")).unwrap().epoch, 3);
}
