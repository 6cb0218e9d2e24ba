//! Joining, syncing, staying and leaving.

use bytes::Bytes;
use tidings_coordinator::{
    Coordinator, GroupRefused, GroupTrouble, IN_PROCESS_HOST, JoinGroup, ListGroups, Record,
    SyncGroup, limits,
};

use crate::house::{GROUP, House, REBALANCE_MS, SESSION_MS, join, static_join, sync};

fn offering(member_id: &str, protocols: &[&str]) -> JoinGroup {
    let offer = |name: &&str| ((*name).to_owned(), Bytes::copy_from_slice(name.as_bytes()));
    JoinGroup { protocols: protocols.iter().map(offer).collect(), ..join(member_id) }
}

#[test]
fn the_first_member_is_in_at_once_and_leads() {
    let mut house = House::default();
    let joined = house.join_now(join(""));
    assert_eq!((joined.generation, joined.protocol.as_str()), (1, "range"));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members, [(joined.member_id.clone(), None, Bytes::from_static(b"topics"))]);
    assert_eq!(joined.member_id, "client-00000000-0000-4000-8000-000000000001");
    assert_eq!(house.state(), "CompletingRebalance");
    let plan = [(joined.member_id.as_str(), "all")];
    assert_eq!(house.sync_now(sync(&joined.member_id, 1, &plan)), Ok(Bytes::from_static(b"all")));
    assert_eq!(house.state(), "Stable");
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let (min_ms, max_ms) = (6_000, 1_800_000);
    let session = GroupRefused::InvalidSessionTimeout { min_ms, max_ms };
    let big = Bytes::from(vec![0; limits::MEMBER_METADATA_BYTES_MAX + 1]);
    let cases = [
        ("no group", JoinGroup { group: String::new(), ..join("") }, GroupRefused::InvalidGroup),
        ("short session", JoinGroup { session_timeout_ms: 5_999, ..join("") }, session.clone()),
        ("long session", JoinGroup { session_timeout_ms: 1_800_001, ..join("") }, session),
        ("unknown id", join("stranger"), GroupRefused::UnknownMember),
        ("unknown instance", static_join("stranger", "i"), GroupRefused::UnknownMember),
        ("no protocols", offering("", &[]), GroupRefused::InconsistentProtocol),
        (
            "no protocol type",
            JoinGroup { protocol_type: String::new(), ..join("") },
            GroupRefused::InconsistentProtocol,
        ),
        (
            "another protocol type",
            JoinGroup { protocol_type: "connect".into(), ..join("") },
            GroupRefused::InconsistentProtocol,
        ),
        ("nothing in common", offering("", &["sticky"]), GroupRefused::InconsistentProtocol),
        (
            "too much metadata",
            JoinGroup { protocols: vec![("range".into(), big)], ..join("") },
            GroupRefused::Full,
        ),
    ];
    let (mut house, _, _) = House::with_two_members();
    for (name, request, expected) in cases {
        assert_eq!(house.refused_join(request), expected, "{name}");
    }
    assert_eq!(house.state(), "Stable", "no refusal disturbs the group");
}

#[test]
fn a_member_without_an_id_is_given_one_and_must_come_back_with_it() {
    let mut house = House::default();
    let first = JoinGroup { require_known_member_id: true, ..join("") };
    let GroupRefused::MemberIdRequired { member_id } = house.refused_join(first.clone()) else {
        panic!("an id was to be required")
    };
    assert_eq!(house.join_now(join(&member_id)).member_id, member_id);

    let GroupRefused::MemberIdRequired { member_id } = house.refused_join(first) else {
        panic!("an id was to be required")
    };
    house.pass(u64::from(SESSION_MS.unsigned_abs()));
    assert_eq!(house.refused_join(join(&member_id)), GroupRefused::UnknownMember, "it has lapsed");
}

#[test]
fn a_group_that_nobody_joined_leaves_no_trace() {
    let mut house = House::default();
    house.refused_join(JoinGroup { require_known_member_id: true, ..join("") });
    assert_eq!(house.groups.list(&ListGroups::default()).len(), 1);
    house.pass(u64::from(SESSION_MS.unsigned_abs()));
    assert_eq!(house.groups.list(&ListGroups::default()).len(), 0);
    assert_eq!((house.state(), house.groups.next_timeout_ms()), ("Dead", None));
}

/// An id given out to a member that has not come back with it yet.
fn pending(house: &mut House) -> String {
    match house.refused_join(JoinGroup { require_known_member_id: true, ..join("") }) {
        GroupRefused::MemberIdRequired { member_id } => member_id,
        other => panic!("an id was to be required, not: {other}"),
    }
}

#[test]
fn a_rebalance_waits_for_members_that_were_given_an_id_but_the_first_join_does_not() {
    let mut house = House::default();
    let slow = pending(&mut house);
    let first = house.join_now(join("")).member_id;
    let waits = house.send_join(join(&first));
    assert_eq!(house.joined(waits).map(|_| ()), Some(()), "it is in this generation already");

    let waits = house.send_join(offering(&first, &["range", "other"]));
    assert_eq!(house.joined(waits).map(|_| ()), None, "the other one is on its way");
    let sent = house.send_join(join(&slow));
    assert_eq!(house.joined(sent).unwrap().unwrap().generation, 2);
    assert_eq!(house.joined(waits).unwrap().unwrap().members.len(), 2);

    pending(&mut house);
    let waits = [house.send_join(join(&first)), house.send_join(offering(&slow, &["range", "x"]))];
    house.pass(u64::from(SESSION_MS.unsigned_abs()));
    for sent in waits {
        assert_eq!(house.joined(sent).expect("the id has lapsed").unwrap().generation, 3);
    }
}

#[test]
fn the_protocol_is_voted_for_among_those_in_common() {
    let cases: [(&[&[&str]], &str); 4] = [
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], "b"),
        (&[&["c", "a", "b"], &["b", "a"], &["a", "b"]], "a"),
        (&[&["x", "both"], &["y", "both"]], "both"),
        (&[&["b", "a"], &["a", "b"]], "a"),
    ];
    for (offers, expected) in cases {
        let mut house = House::default();
        let leader = house.join_now(offering("", offers[0])).member_id;
        let others: Vec<u64> =
            offers[1..].iter().map(|offer| house.send_join(offering("", offer))).collect();
        let sent = house.send_join(offering(&leader, offers[0]));
        assert_eq!(house.joined(sent).unwrap().unwrap().protocol, expected, "{offers:?}");
        for other in others {
            assert_eq!(house.joined(other).unwrap().unwrap().protocol, expected);
        }
    }
}

#[test]
fn heartbeats_say_what_the_group_is_doing() {
    let (mut house, leader, follower) = House::with_two_members();
    assert_eq!(house.beat(&leader, 2), Ok(()));
    assert_eq!(house.beat(&leader, 1), Err(GroupRefused::IllegalGeneration));
    assert_eq!(house.beat("stranger", 2), Err(GroupRefused::UnknownMember));
    let third = house.send_join(join(""));
    assert_eq!(house.beat(&leader, 2), Err(GroupRefused::Rebalancing));
    house.send_join(join(&leader));
    house.send_join(join(&follower));
    let third = house.joined(third).unwrap().unwrap();
    assert_eq!(third.generation, 3);
    assert_eq!(house.beat(&third.member_id, 3), Ok(()), "while it waits to sync");
}

#[test]
fn an_unchanged_follower_rejoins_without_disturbing_the_group() {
    let (mut house, leader, follower) = House::with_two_members();
    let again = house.join_now(join(&follower));
    assert_eq!((again.generation, again.leader.as_str()), (2, leader.as_str()));
    assert_eq!(again.members, []);
    assert_eq!(house.sync_now(sync(&follower, 2, &[])), Ok(Bytes::from_static(b"right")));
    assert_eq!(house.state(), "Stable");
    let waits = house.send_join(offering(&follower, &["range"]));
    assert_eq!(house.joined(waits).map(|_| ()), None, "changed metadata rebalances");
    assert_eq!(house.state(), "PreparingRebalance");
}

#[test]
fn a_leader_that_rejoins_starts_a_rebalance() {
    let (mut house, leader, _) = House::with_two_members();
    house.send_join(join(&leader));
    assert_eq!(house.state(), "PreparingRebalance");
}

#[test]
fn a_repeated_join_answers_the_earlier_one_too() {
    let (mut house, leader, _) = House::with_two_members();
    let first = house.send_join(join(&leader));
    let second = house.send_join(join(&leader));
    assert_eq!(house.joined(first).unwrap().unwrap_err(), GroupRefused::Rebalancing);
    assert_eq!(house.joined(second).map(|_| ()), None);
}

#[test]
fn syncs_are_refused_when_they_do_not_fit() {
    let (mut house, leader, follower) = House::with_two_members();
    let of = |request: SyncGroup, kind: &str, protocol: &str| SyncGroup {
        protocol_type: Some(kind.to_owned()),
        protocol: Some(protocol.to_owned()),
        ..request
    };
    let cases = [
        (sync("stranger", 2, &[]), Err(GroupRefused::UnknownMember)),
        (sync(&follower, 1, &[]), Err(GroupRefused::IllegalGeneration)),
        (of(sync(&follower, 2, &[]), "connect", "range"), Err(GroupRefused::InconsistentProtocol)),
        (of(sync(&follower, 2, &[]), "consumer", "a"), Err(GroupRefused::InconsistentProtocol)),
        (of(sync(&follower, 2, &[]), "consumer", "range"), Ok(Bytes::from_static(b"right"))),
        (
            SyncGroup { group: "other".into(), ..sync(&leader, 2, &[]) },
            Err(GroupRefused::UnknownMember),
        ),
        (
            SyncGroup { group: String::new(), ..sync(&leader, 2, &[]) },
            Err(GroupRefused::InvalidGroup),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(house.sync_now(request.clone()), expected, "{request:?}");
    }
    house.send_join(join(&leader));
    assert_eq!(house.sync_now(sync(&follower, 2, &[])), Err(GroupRefused::Rebalancing));
}

#[test]
fn members_the_leader_forgot_get_an_empty_assignment() {
    let mut house = House::default();
    let leader = house.join_now(join("")).member_id;
    let other = house.send_join(join(""));
    house.send_join(join(&leader));
    let other = house.joined(other).unwrap().unwrap().member_id;
    let plan = [(leader.as_str(), "all"), ("stranger", "ghost")];
    assert_eq!(house.sync_now(sync(&leader, 2, &plan)), Ok(Bytes::from_static(b"all")));
    assert_eq!(house.sync_now(sync(&other, 2, &[])), Ok(Bytes::new()));
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let (mut house, leader, follower) = House::with_two_members();
    for _ in 0..3 {
        house.pass(4_000);
        let rebalancing = house.beat(&leader, 2);
        if house.state() == "PreparingRebalance" {
            assert_eq!(rebalancing, Err(GroupRefused::Rebalancing));
        }
    }
    assert_eq!(house.beat(&follower, 2), Err(GroupRefused::UnknownMember));
    let alone = house.join_now(join(&leader));
    assert_eq!((alone.generation, alone.members.len()), (3, 1));
}

#[test]
fn a_rebalance_ends_without_those_that_do_not_come_back() {
    let (mut house, leader, follower) = House::with_two_members();
    let waits = house.send_join(join(&leader));
    for _ in 0..6 {
        house.pass(5_000);
        let _rebalancing_until_the_end = house.beat(&follower, 2);
    }
    let joined = house.joined(waits).expect("after the rebalance timeout").unwrap();
    assert_eq!((joined.generation, joined.members.len()), (3, 1));
    assert_eq!(house.beat(&follower, 2), Err(GroupRefused::UnknownMember));
}

#[test]
fn members_that_never_ask_for_their_assignment_are_removed() {
    let mut house = House::default();
    let leader = house.join_now(join("")).member_id;
    let other = house.send_join(join(""));
    house.send_join(join(&leader));
    let other = house.joined(other).unwrap().unwrap().member_id;
    let waits = house.send_sync(sync(&other, 2, &[]));
    // The leader keeps beating but never brings the assignments.
    for _ in 0..6 {
        house.pass(u64::from(REBALANCE_MS.unsigned_abs()) / 6);
        let _until_it_is_removed = house.beat(&leader, 2);
    }
    assert_eq!(house.synced(waits).unwrap().unwrap_err(), GroupRefused::Rebalancing);
    assert_eq!(house.beat(&leader, 2), Err(GroupRefused::UnknownMember));
    assert_eq!(house.join_now(join(&other)).leader, other);
}

#[test]
fn leaving_is_batched_and_each_is_answered() {
    let (mut house, leader, follower) = House::with_two_members();
    let left = house.leave(&[(&follower, None), ("stranger", None), ("", Some("nobody"))]);
    let outcomes: Vec<_> = left.iter().map(|member| member.outcome.clone()).collect();
    let unknown = || Err(GroupRefused::UnknownMember);
    assert_eq!(outcomes, [Ok(()), unknown(), unknown()]);
    assert_eq!(house.state(), "PreparingRebalance");
    assert_eq!(house.join_now(join(&leader)).generation, 3);
    house.leave(&[(&leader, None)]);
    assert_eq!(house.state(), "Empty");
    let Some(Record::Group { snapshot: Some(empty), .. }) = house.kept.last() else {
        panic!("an empty group's generation is kept")
    };
    assert_eq!((empty.generation, empty.members.len()), (4, 0));
}

#[test]
fn a_waiting_join_is_answered_when_its_member_leaves() {
    let (mut house, leader, _) = House::with_two_members();
    let waits = house.send_join(join(&leader));
    house.leave(&[(&leader, None)]);
    assert_eq!(house.joined(waits).unwrap().unwrap_err(), GroupRefused::UnknownMember);
}

// ---- static members ----------------------------------------------------------------------------

fn static_pair() -> (House, String, String) {
    let mut house = House::default();
    let leader = house.join_now(static_join("", "one")).member_id;
    let other = house.send_join(static_join("", "two"));
    house.send_join(static_join(&leader, "one"));
    let other = house.joined(other).unwrap().unwrap().member_id;
    let plan = [(leader.as_str(), "left"), (other.as_str(), "right")];
    house
        .sync_now(SyncGroup { instance_id: Some("one".into()), ..sync(&leader, 2, &plan) })
        .unwrap();
    house.sync_now(sync(&other, 2, &[])).unwrap();
    (house, leader, other)
}

#[test]
fn a_static_member_that_restarts_keeps_its_place_without_a_rebalance() {
    let (mut house, leader, other) = static_pair();
    let back = house.join_now(static_join("", "two"));
    assert_eq!((back.generation, back.leader.as_str()), (2, leader.as_str()));
    assert_ne!(back.member_id, other);
    assert_eq!(house.sync_now(sync(&back.member_id, 2, &[])), Ok(Bytes::from_static(b"right")));
    assert_eq!((house.state(), house.beat(&leader, 2)), ("Stable", Ok(())));

    let fenced = static_join(&other, "two");
    assert_eq!(house.refused_join(fenced), GroupRefused::FencedInstance);
    let old = SyncGroup { instance_id: Some("two".into()), ..sync(&other, 2, &[]) };
    assert_eq!(house.sync_now(old), Err(GroupRefused::FencedInstance));
}

#[test]
fn a_static_leader_that_restarts_is_told_its_former_id_leads() {
    let (mut house, leader, _) = static_pair();
    let back = house.join_now(static_join("", "one"));
    assert_eq!((back.leader.as_str(), back.members.len()), (leader.as_str(), 0));
    assert_ne!(back.member_id, leader);
}

#[test]
fn a_static_leader_that_understands_it_leads_on_and_assigns_nothing() {
    let (mut house, leader, follower) = static_pair();
    let request = JoinGroup { can_skip_assignment: true, ..static_join("", "one") };
    let again = house.join_now(request);
    assert_ne!(again.member_id, leader);
    assert_eq!((&again.leader, again.skip_assignment), (&again.member_id, true));
    let members: Vec<_> = again.members.iter().map(|(id, ..)| id.clone()).collect();
    assert!(members.contains(&again.member_id) && members.contains(&follower));
    let request = JoinGroup { can_skip_assignment: true, ..static_join("", "two") };
    let other = house.join_now(request);
    assert_eq!((other.leader, other.skip_assignment), (again.member_id, false));
    assert_eq!(other.members, []);
}

#[test]
fn a_static_member_waiting_to_join_is_fenced_by_its_successor() {
    let (mut house, leader, _) = static_pair();
    let waits = house.send_join(static_join(&leader, "one"));
    house.send_join(static_join("", "one"));
    assert_eq!(house.joined(waits).unwrap().unwrap_err(), GroupRefused::FencedInstance);
}

#[test]
fn a_static_member_survives_a_rebalance_it_slept_through_until_its_session_ends() {
    let mut house = House::default();
    let long = JoinGroup { session_timeout_ms: 120_000, ..static_join("", "two") };
    let sleeper = house.join_now(long).member_id;
    house.sync_now(sync(&sleeper, 1, &[])).unwrap();
    let waits = house.send_join(join(""));
    house.pass(u64::from(REBALANCE_MS.unsigned_abs()));
    let awake = house.joined(waits).expect("after the rebalance timeout").unwrap();
    assert_eq!((awake.members.len(), awake.leader == awake.member_id), (2, true));
    house.sync_now(sync(&awake.member_id, 2, &[])).unwrap();
    for _ in 0..6 {
        house.pass(u64::from(REBALANCE_MS.unsigned_abs()) / 6);
        let _until_it_rebalances = house.beat(&awake.member_id, 2);
    }
    let described = house.groups.describe(GROUP);
    assert_eq!(described.members.len(), 1, "it never asked for its assignment");
}

#[test]
fn an_administrator_can_remove_a_static_member_by_instance() {
    let (mut house, _, _) = static_pair();
    let left = house.leave(&[("", Some("two"))]);
    assert_eq!(left[0].outcome, Ok(()));
    assert_eq!(house.groups.describe(GROUP).members.len(), 1);
}

/// As Kafka describes it: metadata only while it is stable, assignments until there are others or the
/// leader is to assign again.
#[test]
fn a_group_that_rebalances_shows_the_assignments_of_the_generation_before() {
    let (mut house, leader, follower) = House::with_two_members();
    let check =
        |house: &House, state: &str, metadata: &'static str, assigned: [&'static str; 2]| {
            let described = house.groups.describe(GROUP);
            let members = described.members.into_iter();
            let shown: Vec<(Bytes, Bytes)> = members.map(|m| (m.metadata, m.assignment)).collect();
            let expected = assigned.map(|own| (Bytes::from(metadata), Bytes::from(own)));
            assert_eq!((described.state, shown), (state, expected.to_vec()));
        };
    check(&house, "Stable", "topics", ["left", "right"]);
    house.send_join(join(&leader));
    check(&house, "PreparingRebalance", "", ["left", "right"]);
    house.send_join(join(&follower));
    check(&house, "CompletingRebalance", "", ["left", "right"]);
    let others = vec![("range".to_owned(), Bytes::from_static(b"others"))];
    house.send_join(JoinGroup { protocols: others, ..join(&follower) });
    check(&house, "PreparingRebalance", "", ["", ""]);
}

// ---- what is kept ------------------------------------------------------------------------------

/// A coordinator that knows only what was kept.
fn reloaded(house: &House) -> Coordinator {
    let mut groups = Coordinator::new();
    for record in &house.kept {
        groups.apply(house.now(), record.clone());
    }
    groups
}

#[test]
fn a_restart_keeps_members_generation_and_assignments() {
    let (mut house, leader, follower) = House::with_two_members();
    let before = house.groups.describe(GROUP);
    house.groups = reloaded(&house);
    let after = house.groups.describe(GROUP);
    assert_eq!((after.state, &after.protocol), ("Stable", &before.protocol));
    let known = |members: &[tidings_coordinator::GroupMember]| -> Vec<(String, Bytes, Bytes)> {
        let all = members.iter();
        all.map(|m| (m.member_id.clone(), m.metadata.clone(), m.assignment.clone())).collect()
    };
    assert_eq!(known(&after.members), known(&before.members));
    assert_eq!(house.beat(&leader, 2), Ok(()), "members go on as if nothing had happened");
    assert_eq!(house.sync_now(sync(&follower, 2, &[])), Ok(Bytes::from_static(b"right")));
    house.pass(u64::from(SESSION_MS.unsigned_abs()));
    assert_eq!(house.state(), "Empty", "sessions count from the restart");
}

#[test]
fn members_of_an_ended_process_hold_nobody_up_after_a_restart() {
    let inside = || JoinGroup { client_host: IN_PROCESS_HOST.into(), ..join("") };
    let mut house = House::default();
    let old = house.join_now(inside()).member_id;
    house.sync_now(sync(&old, 1, &[(&old, "all")])).unwrap();
    house.groups = reloaded(&house);
    assert_eq!(house.state(), "Empty");
    assert_eq!(house.beat(&old, 1), Err(GroupRefused::UnknownMember));
    assert_eq!(house.join_now(inside()).generation, 2, "at once, in the next generation");
}

#[test]
fn members_elsewhere_take_over_from_those_of_an_ended_process() {
    let mut house = House::default();
    let inside =
        house.join_now(JoinGroup { client_host: IN_PROCESS_HOST.into(), ..join("") }).member_id;
    let sent = house.send_join(join(""));
    house.send_join(JoinGroup { client_host: IN_PROCESS_HOST.into(), ..join(&inside) });
    let outside = house.joined(sent).unwrap().unwrap().member_id;
    house.send_sync(sync(&inside, 2, &[(&inside, "left"), (&outside, "right")]));
    house.groups = reloaded(&house);
    assert_eq!(house.state(), "PreparingRebalance");
    assert_eq!(house.beat(&outside, 2), Err(GroupRefused::Rebalancing));
    let joined = house.join_now(join(&outside));
    assert_eq!((joined.generation, joined.members.len()), (3, 1));
    assert_eq!(joined.leader, outside);
}

#[test]
fn what_is_kept_of_a_request_does_not_keep_its_frame() {
    let frame = Bytes::from(vec![7; 1 << 20]);
    let mut house = House::default();
    let protocols = vec![("range".to_owned(), frame.slice(..4))];
    let only = house.join_now(JoinGroup { protocols, ..join("") }).member_id;
    let assignments = vec![(only.clone(), frame.slice(4..8))];
    house.sync_now(SyncGroup { assignments, ..sync(&only, 1, &[]) }).unwrap();
    assert_eq!(house.groups.describe(GROUP).members[0].metadata, &[7; 4][..]);
    assert!(frame.is_unique(), "nobody else holds it");
}

#[test]
fn a_member_id_that_never_joined_leaves_without_a_rebalance() {
    let (mut house, leader, _) = House::with_two_members();
    let known = JoinGroup { require_known_member_id: true, ..join("") };
    let GroupRefused::MemberIdRequired { member_id } = house.refused_join(known) else {
        panic!("an id is given out first")
    };
    assert_eq!(house.leave(&[(&member_id, None)])[0].outcome, Ok(()));
    assert_eq!((house.state(), house.beat(&leader, 2)), ("Stable", Ok(())));
}

#[test]
fn a_generation_that_could_not_be_kept_is_not_used() {
    let (mut house, leader, follower) = House::with_two_members();
    house.groups.persist_failed(house.now(), GROUP);
    assert_eq!(house.state(), "PreparingRebalance");
    assert_eq!(house.beat(&follower, 2), Err(GroupRefused::Rebalancing));
    house.send_join(join(&leader));
    house.send_join(join(&follower));
    assert_eq!(house.groups.describe(GROUP).state, "CompletingRebalance");
}

#[test]
fn an_empty_group_without_offsets_is_forgotten_in_time() {
    let mut house = House::default();
    let only = house.join_now(join("")).member_id;
    house.leave(&[(&only, None)]);
    house.pass(limits::IDLE_GROUP_KEPT_MS - 1);
    assert_eq!(house.state(), "Empty");
    house.pass(1);
    assert_eq!(house.state(), "Dead");
    let gone = Record::Group { group: GROUP.into(), snapshot: None };
    assert_eq!(house.kept.last(), Some(&gone));
    assert_eq!(reloaded(&house).describe(GROUP).state, "Dead");
}

#[test]
fn only_an_empty_group_can_be_deleted() {
    let (mut house, leader, follower) = House::with_two_members();
    let refused = |trouble| Err(GroupRefused::Other(trouble));
    assert_eq!(house.groups.decide_delete(house.now(), GROUP), refused(GroupTrouble::NotEmpty));
    assert_eq!(house.groups.decide_delete(house.now(), "other"), refused(GroupTrouble::NotFound));
    house.leave(&[(&leader, None), (&follower, None)]);
    let records = house.groups.decide_delete(house.now(), GROUP).unwrap();
    assert_eq!(records, [Record::Group { group: GROUP.into(), snapshot: None }]);
}

// ---- limits ------------------------------------------------------------------------------------

#[test]
fn a_group_has_a_largest_number_of_members_pending_ones_included() {
    let mut house = House::default();
    house.join_now(join(""));
    for _ in 2..limits::MEMBERS_PER_GROUP_MAX {
        house.send_join(join(""));
    }
    let asking = JoinGroup { require_known_member_id: true, ..join("") };
    let refused = house.refused_join(asking.clone());
    assert!(matches!(refused, GroupRefused::MemberIdRequired { .. }));
    assert_eq!(house.refused_join(asking), GroupRefused::Full);
    assert_eq!(house.refused_join(join("")), GroupRefused::Full);
}

#[test]
fn all_metadata_of_a_group_is_limited() {
    let mut house = House::default();
    let metadata = Bytes::from(vec![0; limits::MEMBER_METADATA_BYTES_MAX - 10]);
    let big = JoinGroup { protocols: vec![("range".into(), metadata)], ..join("") };
    house.join_now(big.clone());
    for _ in 1..limits::GROUP_BYTES_MAX / limits::MEMBER_METADATA_BYTES_MAX {
        let sent = house.send_join(big.clone());
        assert_eq!(house.joined(sent).map(|_| ()), None, "it waits for the first to rejoin");
    }
    assert_eq!(house.refused_join(big), GroupRefused::Full);
}
