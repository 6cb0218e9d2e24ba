//! Groups through the broker: what waits for the disk, and what a restart keeps.

use bytes::Bytes;
use tidings_broker::{
    CommitOffsets, CommitPartition, ConsumerHeartbeat, DeleteGroups, DeleteOffsets, DeleteTopics,
    DescribeConsumerGroups, DescribeGroups, FetchOffsets, FetchedOffset, GroupRefused,
    GroupTrouble, Heartbeat, IN_PROCESS_HOST, JoinGroup, LeaveGroup, ListGroups, Partitions,
    SyncGroup, TopicName, WantedOffsets,
};

use crate::rig::Rig;

pub(crate) fn commit(group: &str, partition: i32, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: group.into(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
        knows_epochs: false,
        partitions: vec![CommitPartition {
            topic: TopicName::Name("a".into()),
            partition,
            offset,
            leader_epoch: 0,
            metadata: Some("where".into()),
        }],
    }
}

pub(crate) fn join(group: &str, member_id: &str) -> JoinGroup {
    JoinGroup {
        group: group.into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"a"))],
        require_known_member_id: false,
        can_skip_assignment: false,
    }
}

pub(crate) fn sync(group: &str, member_id: &str, assignment: &'static [u8]) -> SyncGroup {
    SyncGroup {
        group: group.into(),
        generation: 1,
        member_id: member_id.into(),
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.into(), Bytes::from_static(assignment))],
    }
}

fn committed(rig: &mut Rig, group: &str) -> Vec<(String, i32, i64)> {
    let all = rig.call(all_of(group)).unwrap();
    let flat = |found: FetchedOffset| {
        let TopicName::Name(topic) = found.topic else { panic!("asked by name") };
        (topic, found.partition, found.outcome.unwrap().unwrap().offset)
    };
    all.into_iter().map(flat).collect()
}

pub(crate) fn all_of(group: &str) -> FetchOffsets {
    FetchOffsets { group: group.into(), member: None, wanted: WantedOffsets::All }
}

#[test]
fn a_commit_is_answered_and_shown_when_it_is_on_disk() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 1)).unwrap();
    let sent = rig.submit(commit("g", 0, 2));
    let asked = rig.submit(all_of("g"));
    assert!(!rig.is_answered(sent) && !rig.is_answered(asked));
    rig.sync();
    assert_eq!(rig.answer::<CommitOffsets>(sent).unwrap().unwrap()[0].outcome, Ok(()));
    let found = rig.answer::<FetchOffsets>(asked).unwrap().unwrap();
    assert_eq!(found[0].outcome.as_ref().unwrap().as_ref().unwrap().offset, 2);
    let asked = rig.submit(all_of("g"));
    assert!(rig.is_answered(asked), "all of it is on disk");
}

#[test]
fn a_commit_for_a_partition_that_is_not_there_is_refused_for_itself() {
    let mut rig = Rig::new();
    rig.topic("a");
    let mut request = commit("g", 0, 1);
    request.partitions.push(CommitPartition { partition: 9, ..request.partitions[0].clone() });
    let answers = rig.call(request).unwrap();
    let unknown = GroupRefused::Other(GroupTrouble::UnknownPartition);
    assert_eq!(answers[0].outcome, Ok(()));
    assert_eq!(answers[1].outcome, Err(unknown));
}

#[test]
fn a_restart_keeps_offsets_and_members_go_on_without_a_rebalance() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("batch", 1, 7)).unwrap();
    let member = rig.call(join("live", "")).unwrap().member_id;
    rig.call(sync("live", &member, b"mine")).unwrap();
    let mut rig = rig.restart();
    assert_eq!(committed(&mut rig, "batch"), [("a".to_owned(), 1, 7)]);
    let beat = Heartbeat {
        group: "live".into(),
        generation: 1,
        member_id: member.clone(),
        instance_id: None,
    };
    assert_eq!(rig.call(beat), Ok(()));
    assert_eq!(rig.call(sync("live", &member, b"")).unwrap().assignment, &b"mine"[..]);
    let listed = rig.call(ListGroups { states: vec!["stable".into()], types: Vec::new() });
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].group.as_str(), listed[0].state), ("live", "Stable"));
    let described = rig.call(DescribeGroups { groups: vec!["live".into(), "none".into()] });
    assert_eq!(described[0].members[0].assignment, &b"mine"[..]);
    assert_eq!((described[1].state, described[1].members.len()), ("Dead", 0));
}

#[test]
fn in_process_members_are_gone_after_a_restart_and_their_group_is_joined_at_once() {
    let inside =
        |member: &str| JoinGroup { client_host: IN_PROCESS_HOST.into(), ..join("g", member) };
    let mut rig = Rig::new();
    let old = rig.call(inside("")).unwrap().member_id;
    rig.call(sync("g", &old, b"all")).unwrap();
    let mut rig = Rig::on(rig.disk.fork());
    let sent = rig.submit(inside(""));
    let joined = rig.answer::<JoinGroup>(sent).expect("nobody is waited for").unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
}

#[test]
fn a_sync_is_answered_when_the_generation_is_on_disk() {
    let mut rig = Rig::new();
    let member = rig.call(join("g", "")).unwrap().member_id;
    let sent = rig.submit(sync("g", &member, b"all"));
    assert!(!rig.is_answered(sent));
    rig.sync();
    assert_eq!(rig.answer::<SyncGroup>(sent).unwrap().unwrap().assignment, &b"all"[..]);
}

#[test]
fn waiting_joins_are_answered_when_time_runs_out() {
    let mut rig = Rig::new();
    let first = rig.call(join("g", "")).unwrap().member_id;
    rig.call(sync("g", &first, b"all")).unwrap();
    let second = rig.submit(join("g", ""));
    assert!(!rig.is_answered(second));
    rig.pass(10_000);
    let joined = rig.answer::<JoinGroup>(second).expect("the first one's session ended").unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
}

#[test]
fn leaving_answers_each_member() {
    let mut rig = Rig::new();
    let member = rig.call(join("g", "")).unwrap().member_id;
    let members = vec![(member, None), ("stranger".to_owned(), None)];
    let left = rig.call(LeaveGroup { group: "g".into(), members }).unwrap();
    assert_eq!(left[0].outcome, Ok(()));
    assert_eq!(left[1].outcome, Err(GroupRefused::UnknownMember));
}

#[test]
fn deleting_a_topic_forgets_what_was_committed_in_it() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 5)).unwrap();
    rig.call(DeleteTopics { topics: vec![TopicName::Name("a".into())] }).remove(0).outcome.unwrap();
    rig.topic("a");
    assert_eq!(committed(&mut rig, "g"), []);
    let mut rig = rig.restart();
    assert_eq!(committed(&mut rig, "g"), []);
}

#[test]
fn a_deleted_group_is_gone_after_a_restart_too() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 5)).unwrap();
    let member = rig.call(join("busy", "")).unwrap().member_id;
    assert_eq!(member.len(), "client-".len() + 36);
    let groups = vec!["g".to_owned(), "busy".to_owned(), "none".to_owned()];
    let answers = rig.call(DeleteGroups { groups });
    let refused = |trouble| Err(GroupRefused::Other(trouble));
    let outcomes: Vec<_> = answers.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(
        outcomes,
        [Ok(()), refused(GroupTrouble::NotEmpty), refused(GroupTrouble::NotFound)]
    );
    let mut rig = rig.restart();
    assert_eq!(committed(&mut rig, "g"), []);
    assert_eq!(rig.call(ListGroups::default()).len(), 0, "busy was never settled");
}

#[test]
fn deleted_and_expired_offsets_are_gone_after_a_restart_too() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(commit("g", 0, 5)).unwrap();
    rig.call(commit("g", 1, 6)).unwrap();
    let request = DeleteOffsets { group: "g".into(), partitions: vec![("a".into(), 0)] };
    let sent = rig.submit(request);
    assert!(!rig.is_answered(sent), "its tombstone is not on disk");
    rig.settle();
    assert_eq!(rig.answer::<DeleteOffsets>(sent).unwrap().unwrap()[0].outcome, Ok(()));
    let mut rig = rig.restart();
    assert_eq!(committed(&mut rig, "g"), [("a".to_owned(), 1, 6)]);
    rig.pass(8 * 24 * 60 * 60 * 1000);
    assert_eq!(committed(&mut rig, "g"), []);
    rig.settle();
    let mut rig = rig.restart();
    assert_eq!(committed(&mut rig, "g"), []);
}

pub(crate) fn beat(member_id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: "new".into(),
        member_id: member_id.into(),
        brings_member_id: true,
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: Some(10_000).filter(|_| epoch == 0),
        topics: Some(vec!["a".to_owned()]).filter(|_| epoch == 0),
        regex: None,
        assignor: None,
        owned: Some(Partitions::default()).filter(|_| epoch == 0),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
    }
}

#[test]
fn an_epoch_is_told_when_it_is_on_disk_and_survives_a_restart() {
    let mut rig = Rig::new();
    rig.topic("a");
    let sent = rig.submit(beat("m", 0));
    assert!(!rig.is_answered(sent), "its records are not on disk");
    rig.settle();
    let joined = rig.answer::<ConsumerHeartbeat>(sent).unwrap().unwrap();
    assert_eq!((joined.epoch, joined.assignment.unwrap().count()), (1, 2));
    let asked = rig.submit(beat("m", 1));
    assert!(rig.is_answered(asked), "nothing has changed");
    let mut rig = rig.restart();
    assert_eq!(rig.call(beat("m", 1)).unwrap().epoch, 1);
    // A new topic of the name, seen through the catalog.
    rig.call(DeleteTopics { topics: vec![TopicName::Name("a".into())] }).remove(0).outcome.unwrap();
    let empty = rig.call(beat("m", 1)).unwrap();
    assert_eq!(empty.assignment, Some(Partitions::default()));
    rig.topic("a");
    let seen = rig.call(ConsumerHeartbeat { owned: Some(Partitions::default()), ..beat("m", 1) });
    assert_eq!(seen.unwrap().assignment.unwrap().count(), 2);
    rig.pass(60_000);
    rig.settle();
    assert_eq!(rig.call(beat("m", 3)), Err(GroupRefused::UnknownMember), "its session is over");
    let mut rig = rig.restart();
    let request = DescribeConsumerGroups { groups: vec!["new".into()] };
    let (_, described) = rig.call(request).remove(0);
    let described = described.unwrap();
    assert_eq!((described.state, described.members.len()), ("Empty", 0));
}
