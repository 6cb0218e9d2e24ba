//! Members of groups: assignment, positions, fencing.

use std::time::Duration;

use tidings_engine::{Error, Polled, Start, SubscribeOptions};

use crate::stage::{Stage, at, text, texts, until};

pub async fn a_lone_member_gets_everything(stage: Stage) {
    let topic = stage.topic("t", 3).await;
    stage.fill(&topic, 1, &["a", "b"]).await;
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.assigned(3).await;
    assert_eq!(member.assigned, [0, 1, 2].map(|partition| (at(&topic, partition), 0, None)));
    assert_eq!(member.subscription.lag(), 2);
    stage.fill(&topic, 2, &["c"]).await;
    member.received(3).await;
    member.records.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(texts(&member.records), ["a", "b", "c"]);
    assert_eq!(member.subscription.lag(), 0);
    member.close().await;
}

pub async fn members_start_where_they_are_told(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["old"]).await;
    let latest = SubscribeOptions { start: Start::Latest, ..SubscribeOptions::default() };
    let mut member = stage.member_with(&stage.name("g"), &[&topic], latest).await;
    member.assigned(1).await;
    assert_eq!(member.assigned, [(at(&topic, 0), 1, None)]);
    stage.fill(&topic, 0, &["new"]).await;
    member.received(1).await;
    assert_eq!(texts(&member.records), ["new"]);
    member.close().await;
}

pub async fn committed_positions_resume_with_their_metadata(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b", "c"]).await;
    let mut member = stage.member(&group, &[&topic]).await;
    member.received(3).await;
    member.commit(&at(&topic, 0), 2, Some("two done")).await;
    let too_long = [(at(&topic, 0), 3, Some("x".repeat(4097)))];
    let refused = member.subscription.commit(&too_long).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    member.close().await;

    let mut member = stage.member(&group, &[&topic]).await;
    member.assigned(2).await;
    let resumed = (at(&topic, 0), 2, Some("two done".to_owned()));
    assert_eq!(member.assigned, [resumed, (at(&topic, 1), 0, None)]);
    member.received(1).await;
    assert_eq!(texts(&member.records), ["c"]);
    member.close().await;
}

pub async fn two_members_share_until_one_leaves(stage: Stage) {
    let topic = stage.topic("t", 4).await;
    let group = stage.name("g");
    let mut one = stage.member(&group, &[&topic]).await;
    one.assigned(4).await;
    let mut other = stage.member(&group, &[&topic]).await;
    until(&mut one, &mut other, |one, other| one.assigned.len() == 2 && other.assigned.len() == 2)
        .await;
    assert!(one.partitions().is_disjoint(&other.partitions()));

    for partition in 0..4 {
        stage.fill(&topic, partition, &["x"]).await;
    }
    until(&mut one, &mut other, |one, other| one.records.len() + other.records.len() >= 4).await;
    assert_eq!((one.records.len(), other.records.len()), (2, 2));

    other.close().await;
    one.assigned(4).await;
    one.close().await;
}

pub async fn a_dropped_member_leaves_too(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    let options = SubscribeOptions {
        session_timeout: Duration::from_secs(300),
        ..SubscribeOptions::default()
    };
    let mut one = stage.member_with(&group, &[&topic], options.clone()).await;
    one.assigned(2).await;
    let mut other = stage.member_with(&group, &[&topic], options.clone()).await;
    until(&mut one, &mut other, |one, other| one.assigned.len() == 1 && other.assigned.len() == 1)
        .await;
    drop(one);
    other.assigned(2).await;

    // Also one that never saw its first assignment.
    drop(stage.member_with(&group, &[&topic], options).await);
    other.close().await;
    while stage.engine.group(&group).await.unwrap().state != "Empty" {
        tokio::task::yield_now().await;
    }
}

pub async fn topics_are_assigned_together(stage: Stage) {
    let (orders, payments) = (stage.topic("orders", 3).await, stage.topic("payments", 3).await);
    let group = stage.name("g");
    let mut one = stage.member(&group, &[&orders, &payments]).await;
    let mut other = stage.member(&group, &[&orders, &payments]).await;
    until(&mut one, &mut other, |one, other| {
        one.assigned.len() + other.assigned.len() == 6
            && !one.assigned.is_empty()
            && !other.assigned.is_empty()
    })
    .await;
    for member in [&one, &other] {
        let of = |topic: &str| -> Vec<i32> {
            member.partitions().iter().filter(|p| p.topic == topic).map(|p| p.partition).collect()
        };
        assert_eq!(of(&orders), of(&payments));
    }
    one.close().await;
    other.close().await;
}

pub async fn revoked_partitions_may_be_committed_until_the_next_poll(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b"]).await;
    let mut one = stage.member(&group, &[&topic]).await;
    one.received(2).await;
    let mut other = stage.member(&group, &[&topic]).await;
    let revoked = loop {
        let wait = Duration::from_secs(30);
        match one.subscription.poll(10, wait).await.unwrap() {
            Polled::Revoked(revoked) => break revoked,
            Polled::Records(records) => assert_eq!(records, [], "there are no more"),
            Polled::Assigned(assigned) => panic!("not revoked before {assigned:?}"),
        }
    };
    assert_eq!(revoked, [at(&topic, 0), at(&topic, 1)]);
    let commit =
        [0, 1].map(|partition| (at(&topic, partition), 2 - i64::from(partition) * 2, None));
    one.subscription.commit(&commit).await.unwrap();

    one.assigned.clear();
    one.close().await;
    other.assigned(2).await;
    assert_eq!(other.assigned, [(at(&topic, 0), 2, None), (at(&topic, 1), 0, None)]);
    other.close().await;
}

pub async fn commits_after_a_rebalance_are_fenced(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    let mut one = stage.member(&group, &[&topic]).await;
    let nothing_yet = one.subscription.commit(&[(at(&topic, 0), 0, None)]).await.unwrap_err();
    assert!(matches!(nothing_yet, Error::Fenced(_)), "{nothing_yet:?}");
    one.assigned(2).await;
    one.commit(&at(&topic, 1), 0, None).await;

    let mut other = stage.member(&group, &[&topic]).await;
    until(&mut one, &mut other, |one, other| one.assigned.len() == 1 && other.assigned.len() == 1)
        .await;
    let lost = other.partitions().into_iter().next().unwrap();
    let refused = one.subscription.commit(&[(lost.clone(), 0, None)]).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced(_)), "{refused:?}");
    other.commit(&lost, 0, None).await;
    one.close().await;
    other.close().await;
}

pub async fn a_topic_that_appears_later_is_assigned(stage: Stage) {
    let (topic, later) = (stage.topic("t", 1).await, stage.name("later"));
    let mut member = stage.member(&stage.name("g"), &[&topic, &later]).await;
    member.assigned(1).await;
    stage.topic("later", 2).await;
    stage.fill(&later, 1, &["a"]).await;
    member.assigned(3).await;
    member.received(1).await;
    assert_eq!(texts(&member.records), ["a"]);
    member.close().await;
}

pub async fn a_topic_made_again_is_read_from_its_start(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["a", "b"]).await;
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.received(2).await;
    stage.engine.delete_topic(&topic).await.unwrap();
    stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["c"]).await;
    member.received(3).await;
    assert_eq!(texts(&member.records), ["a", "b", "c"]);
    member.close().await;
}

pub async fn paused_partitions_wait_and_sought_ones_go_back(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.assigned(2).await;
    member.subscription.pause(&[at(&topic, 0)]);
    stage.fill(&topic, 0, &["paused"]).await;
    stage.fill(&topic, 1, &["a", "b"]).await;
    member.received(2).await;
    assert_eq!(texts(&member.records), ["a", "b"]);

    // Whatever is fetched after this was sent would have brought the paused record along.
    stage.fill(&topic, 1, &["c"]).await;
    member.received(3).await;
    assert_eq!(texts(&member.records), ["a", "b", "c"]);

    member.subscription.resume(&[at(&topic, 0)]);
    member.received(4).await;
    assert_eq!(texts(&member.records[3..]), ["paused"]);

    member.subscription.seek(&at(&topic, 1), 1);
    member.received(6).await;
    assert_eq!(texts(&member.records[4..]), ["b", "c"]);
    member.close().await;
}

pub async fn dropped_polls_lose_nothing(stage: Stage) {
    const RECORDS: usize = 500;
    let topic = stage.topic("t", 1).await;
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    let write = async {
        for n in 0..RECORDS {
            stage.fill(&topic, 0, &[&n.to_string()]).await;
        }
    };
    let follow = async {
        let mut turns = 0;
        while member.records.len() < RECORDS {
            turns += 1;
            let mut poll = Box::pin(member.subscription.poll(7, Duration::from_secs(30)));
            // Given up after a few turns of the scheduler: now before, now after its answer.
            let mut polled = None;
            for _ in 0..turns % 8 {
                tokio::select! {
                    biased;
                    done = &mut poll => { polled = Some(done.unwrap()); break; }
                    () = tokio::task::yield_now() => {}
                }
            }
            drop(poll);
            if let Some(Polled::Records(records)) = polled {
                member.records.extend(records);
            }
        }
    };
    tokio::join!(write, follow);
    let seen: Vec<usize> = member.records.iter().map(|r| text(r).parse().unwrap()).collect();
    assert_eq!(seen, (0..RECORDS).collect::<Vec<_>>());
    member.close().await;
}

pub async fn two_groups_do_not_disturb_each_other(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["a"]).await;
    let mut one = stage.member(&stage.name("one"), &[&topic]).await;
    let mut other = stage.member(&stage.name("other"), &[&topic]).await;
    one.received(1).await;
    one.commit(&at(&topic, 0), 1, None).await;
    other.received(1).await;
    assert_eq!(other.assigned, [(at(&topic, 0), 0, None)]);
    one.close().await;
    other.close().await;
}
