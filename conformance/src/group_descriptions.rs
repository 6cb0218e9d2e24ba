//! Groups as an operator sees them.

use std::collections::BTreeSet;

use tidings_engine::{Error, GroupDescription, SubscribeOptions};

use crate::stage::{Stage, at, texts};

/// Partition, committed, end, lag, metadata.
type Shown<'a> = (i32, Option<i64>, i64, i64, Option<&'a str>);

fn positions(group: &GroupDescription) -> Vec<Shown<'_>> {
    let offsets = group.offsets.iter();
    offsets
        .map(|o| (o.partition, o.committed, o.end_offset, o.lag, o.metadata.as_deref()))
        .collect()
}

pub async fn a_group_shows_members_positions_and_lag(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b", "c"]).await;
    stage.fill(&topic, 1, &["d"]).await;
    let options = SubscribeOptions { client_id: "till".to_owned(), ..SubscribeOptions::default() };
    let mut member = stage.member_with(&group, &[&topic], options).await;
    member.assigned(2).await;
    member.commit(&at(&topic, 0), 1, Some("so far")).await;

    let described = stage.engine.group(&group).await.unwrap();
    let shown = (described.name.as_str(), described.state.as_str(), described.protocol.as_str());
    assert_eq!(shown, (group.as_str(), "Stable", "range"));
    let [shown] = described.members.as_slice() else { panic!("{:?}", described.members) };
    assert_eq!((shown.client_id.as_str(), shown.member_id.is_empty()), ("till", false));
    assert_eq!(shown.assignment, [at(&topic, 0), at(&topic, 1)]);
    let expected = [(0, Some(1), 3, 2, Some("so far")), (1, None, 1, 1, None)];
    assert_eq!(positions(&described), expected);

    member.close().await;
    let described = stage.engine.group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));
    assert_eq!(positions(&described), [(0, Some(1), 3, 2, Some("so far"))]);
}

pub async fn groups_are_listed_by_name(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let (b, a) = (stage.name("b"), stage.name("a"));
    let mut members = Vec::new();
    for group in [&b, &a] {
        let mut member = stage.member(group, &[&topic]).await;
        member.assigned(1).await;
        members.push(member);
    }
    let groups = stage.engine.groups().await.unwrap();
    let groups = groups.iter().filter(|group| [&a, &b].contains(&&group.name));
    let groups: Vec<_> = groups
        .map(|group| (group.name.as_str(), group.state.as_str(), group.protocol_type.as_str()))
        .collect();
    assert_eq!(groups, [(a.as_str(), "Stable", "consumer"), (b.as_str(), "Stable", "consumer")]);
    for member in members {
        member.close().await;
    }
}

pub async fn a_group_nobody_made_is_dead(stage: Stage) {
    let described = stage.engine.group(&stage.name("g")).await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Dead", 0));
    assert_eq!(positions(&described), []);
    let names = stage.engine.groups().await.unwrap().into_iter().map(|group| group.name);
    assert!(!BTreeSet::from_iter(names).contains(&stage.name("g")));
}

pub async fn positions_are_reset_only_without_members(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b", "c"]).await;
    let mut member = stage.member(&group, &[&topic]).await;
    member.received(3).await;
    member.commit(&at(&topic, 0), 3, None).await;
    let refused = stage.engine.reset_group(&group, &[(at(&topic, 0), 1, None)]).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(text) if text.contains("members")), "{refused:?}");
    member.close().await;

    let said = Some("set by hand".to_owned());
    stage.engine.reset_group(&group, &[(at(&topic, 0), 1, said.clone())]).await.unwrap();
    let held = stage.engine.group(&group).await.unwrap().offsets;
    assert_eq!((held[0].committed, &held[0].metadata), (Some(1), &said));
    let mut member = stage.member(&group, &[&topic]).await;
    member.received(2).await;
    assert_eq!(texts(&member.records), ["b", "c"]);
    member.close().await;

    stage.engine.reset_group(&group, &[]).await.unwrap();
    let missing = stage.engine.reset_group(&group, &[(at(&topic, 7), 0, None)]).await.unwrap_err();
    assert_eq!(missing, Error::UnknownTopic(at(&topic, 7).to_string()));
    let negative =
        stage.engine.reset_group(&group, &[(at(&topic, 0), -1, None)]).await.unwrap_err();
    assert!(matches!(negative, Error::Invalid(_)), "{negative:?}");
}

pub async fn groups_are_deleted_only_without_members(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let group = stage.name("g");
    let mut member = stage.member(&group, &[&topic]).await;
    member.assigned(1).await;
    member.commit(&at(&topic, 0), 0, None).await;
    let refused = stage.engine.delete_group(&group).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(text) if text.contains("members")), "{refused:?}");
    member.close().await;

    stage.engine.delete_group(&group).await.unwrap();
    assert_eq!(stage.engine.group(&group).await.unwrap().state, "Dead");
    let again = stage.engine.delete_group(&group).await.unwrap_err();
    assert!(matches!(again, Error::Invalid(_)), "{again:?}");
    let mut member = stage.member(&group, &[&topic]).await;
    member.assigned(1).await;
    assert_eq!(member.assigned, [(at(&topic, 0), 0, None)]);
    member.close().await;
}
