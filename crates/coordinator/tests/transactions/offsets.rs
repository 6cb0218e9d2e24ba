//! Offsets in transactions: what counts, and when.

use bytes::Bytes;
use tidings_coordinator::TransactionEnd::{Abort, Commit};
use tidings_coordinator::{
    Answer, CommitOffsets, CommitPartition, Coordinator, Effect, FetchOffsets, GroupRefused,
    JoinGroup, TopicFacts, TopicName, Waiter, WantedOffsets, limits,
};

use crate::decisions::NOW;

pub(crate) fn coordinator() -> Coordinator {
    let mut groups = Coordinator::new();
    groups.topics_mut().put("orders", TopicFacts { id: [1; 16], partitions: i32::MAX });
    groups
}

fn commit(offset: i64) -> CommitOffsets {
    commit_at(0, offset)
}

pub(crate) fn commit_at(partition: usize, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: "g".into(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
        knows_epochs: false,
        partitions: vec![CommitPartition {
            topic: TopicName::Name("orders".into()),
            partition: i32::try_from(partition).expect("few partitions"),
            offset,
            leader_epoch: -1,
            metadata: None,
        }],
    }
}

fn commit_in(groups: &mut Coordinator, producer_id: i64, offset: i64) {
    let decision = groups.decide_commit_in_transaction(NOW, &commit(offset));
    for record in decision.expect("allowed").records {
        groups.apply_in_transaction(producer_id, record);
    }
}

fn commit_outside(groups: &mut Coordinator, offset: i64) {
    let decision = groups.decide_commit(NOW, &commit(offset)).expect("allowed");
    decision.records.into_iter().for_each(|record| groups.apply(NOW, record));
}

/// The offset, and whether another one is pending.
fn shown(groups: &Coordinator) -> (i64, bool) {
    shown_at(groups, 0)
}

pub(crate) fn shown_at(groups: &Coordinator, partition: usize) -> (i64, bool) {
    let partition = i32::try_from(partition).expect("few partitions");
    let wanted = WantedOffsets::These(vec![(TopicName::Name("orders".into()), partition)]);
    let asked = FetchOffsets { group: "g".into(), member: None, wanted };
    let shown = groups.committed(&asked).expect("answered").remove(0);
    let offset = shown.outcome.expect("a known topic").map_or(-1, |held| held.offset);
    (offset, shown.is_unstable)
}

#[test]
fn an_offset_counts_when_its_transaction_is_committed() {
    for (end, expected) in [(Commit, 7), (Abort, 3)] {
        let mut groups = coordinator();
        commit_outside(&mut groups, 3);
        commit_in(&mut groups, 1, 5);
        commit_in(&mut groups, 1, 7);
        assert_eq!(shown(&groups), (3, true));
        groups.end_transaction(NOW, 2, Commit);
        assert_eq!(shown(&groups), (3, true), "another producer's end says nothing");
        groups.end_transaction(NOW, 1, end);
        assert_eq!(shown(&groups), (expected, false), "{end:?}");
        groups.end_transaction(NOW, 1, Commit);
        assert_eq!(shown(&groups), (expected, false), "{end:?} twice");
    }
}

#[test]
fn the_later_commit_counts_whichever_transaction_ends_first() {
    let mut groups = coordinator();
    commit_in(&mut groups, 1, 5);
    commit_in(&mut groups, 2, 6);
    groups.end_transaction(NOW, 2, Commit);
    assert_eq!(shown(&groups), (6, true));
    groups.end_transaction(NOW, 1, Commit);
    assert_eq!(shown(&groups), (6, false));

    commit_in(&mut groups, 1, 7);
    commit_outside(&mut groups, 8);
    commit_in(&mut groups, 2, 9);
    assert_eq!(shown(&groups), (8, true));
    groups.end_transaction(NOW, 1, Commit);
    assert_eq!(shown(&groups), (8, true));
    groups.end_transaction(NOW, 2, Commit);
    assert_eq!(shown(&groups), (9, false));
}

#[test]
fn what_is_forgotten_does_not_come_back_with_a_commit() {
    let mut groups = coordinator();
    commit_in(&mut groups, 1, 5);
    assert_eq!(groups.committed_topics().collect::<Vec<_>>(), ["orders"]);
    for record in groups.decide_forget_topic("orders") {
        groups.apply(NOW, record);
    }
    groups.end_transaction(NOW, 1, Commit);
    assert_eq!(shown(&groups), (-1, false));

    commit_outside(&mut groups, 1);
    commit_in(&mut groups, 1, 5);
    for record in groups.decide_delete(NOW, "g").expect("no members") {
        groups.apply(NOW, record);
    }
    groups.end_transaction(NOW, 1, Commit);
    assert_eq!(shown(&groups), (-1, false));
}

fn with_member() -> (Coordinator, String) {
    let mut groups = coordinator();
    let join = JoinGroup {
        group: "g".into(),
        member_id: String::new(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"a"))],
        require_known_member_id: false,
        can_skip_assignment: false,
    };
    groups.join(NOW, Waiter(1), join, [1; 16]);
    let Some(Effect::Answer { answer: Answer::Joined(Ok(joined)), .. }) = groups.poll() else {
        panic!("it is alone")
    };
    (groups, joined.member_id)
}

#[test]
fn who_says_which_member_it_works_for_must_be_right() {
    let (groups, member) = with_member();
    let table = [
        ("nothing said", "", -1, Ok(())),
        ("a member", member.as_str(), 1, Ok(())),
        ("an old generation", member.as_str(), 0, Err(GroupRefused::IllegalGeneration)),
        (
            "a member without a generation",
            member.as_str(),
            -1,
            Err(GroupRefused::IllegalGeneration),
        ),
        ("a stranger", "stranger", 1, Err(GroupRefused::UnknownMember)),
        ("a generation without a member", "", 1, Err(GroupRefused::UnknownMember)),
    ];
    for (name, member_id, generation, expected) in table {
        let request = CommitOffsets { member_id: member_id.into(), generation, ..commit(1) };
        let decided = groups.decide_commit_in_transaction(NOW, &request);
        assert_eq!(decided.map(|_| ()), expected, "{name}");
    }
    let nobody = coordinator();
    for (generation, expected) in [(-1, Ok(())), (3, Err(GroupRefused::IllegalGeneration))] {
        let request = CommitOffsets { generation, ..commit(1) };
        let decided = nobody.decide_commit_in_transaction(NOW, &request);
        assert_eq!(decided.map(|_| ()), expected, "no group, generation {generation}");
    }
}

#[test]
fn what_is_pending_makes_a_group_that_can_be_deleted() {
    let mut groups = coordinator();
    assert!(groups.decide_delete(NOW, "g").is_err());
    commit_in(&mut groups, 1, 5);
    for (generation, expected) in [(-1, Ok(())), (3, Err(GroupRefused::UnknownMember))] {
        let request = CommitOffsets { generation, ..commit(1) };
        let decided = groups.decide_commit_in_transaction(NOW, &request);
        assert_eq!(decided.map(|_| ()), expected, "generation {generation}");
    }
    for record in groups.decide_delete(NOW, "g").expect("there is something to delete") {
        groups.apply(NOW, record);
    }
    groups.end_transaction(NOW, 1, Commit);
    assert_eq!(shown(&groups), (-1, false));
    assert!(groups.decide_delete(NOW, "g").is_err());
}

#[test]
fn what_is_pending_is_limited() {
    let mut groups = coordinator();
    let most = i32::try_from(limits::PENDING_OFFSETS_MAX).expect("a small limit");
    let mut request = commit(1);
    request.partitions = (0..most)
        .map(|partition| CommitPartition { partition, ..commit(1).partitions.remove(0) })
        .collect();
    let decided = groups.decide_commit_in_transaction(NOW, &request);
    for record in decided.expect("as many as fit").records {
        groups.apply_in_transaction(1, record);
    }
    let one_more = groups.decide_commit_in_transaction(NOW, &commit(1));
    assert_eq!(one_more.map(|_| ()), Err(GroupRefused::Full));
    groups.end_transaction(NOW, 1, Abort);
    assert!(groups.decide_commit_in_transaction(NOW, &commit(1)).is_ok());
}
