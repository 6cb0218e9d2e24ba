//! Consumer groups: membership, committed offsets, and the tools' view of them.

use bytes::Bytes;
use tidings_wire::{
    consumer_group_describe, consumer_group_heartbeat, delete_groups, describe_groups,
    find_coordinator, heartbeat, join_group, leave_group, list_groups, metadata, offset_commit,
    offset_delete, offset_fetch, sync_group,
};

use crate::client::{Client, Served};

fn joining(member_id: &str) -> join_group::Request {
    let protocol = join_group::Protocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"subscription"),
    };
    join_group::Request {
        group_id: "g".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// Joins as a first member, with the round that MEMBER_ID_REQUIRED asks for.
async fn join(client: &mut Client, version: i16) -> join_group::Response {
    let first = client.call(version, &joining("")).await;
    if version < 4 {
        return first;
    }
    assert_eq!(first.error_code, 79, "{first:?}");
    assert!(!first.member_id.is_empty());
    client.call(version, &joining(&first.member_id)).await
}

fn syncing(
    generation_id: i32,
    member_id: &str,
    to: &[(&str, &'static str)],
) -> sync_group::Request {
    let assignments = to.iter().map(|(member, assignment)| sync_group::Assignment {
        member_id: (*member).into(),
        assignment: Bytes::from_static(assignment.as_bytes()),
    });
    sync_group::Request {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

fn beating(generation_id: i32, member_id: &str) -> heartbeat::Request {
    heartbeat::Request {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_member_joins_syncs_beats_and_leaves_in_every_version() {
    for version in 0..=join_group::API.version_max {
        let served = Served::start().await;
        let mut client = served.connect().await;
        let joined = join(&mut client, version).await;
        assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id), "v{version}");
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.members[0].metadata, "subscription");
        let (generation, member) = (joined.generation_id, joined.member_id.as_str());
        let sync = syncing(generation, member, &[(member, "all of it")]);
        let synced = client.call(version.min(5), &sync).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all of it"[..]));
        let v = version.min(4);
        assert_eq!(client.call(v, &beating(generation, member)).await.error_code, 0);
        assert_eq!(client.call(v, &beating(generation + 1, member)).await.error_code, 22);
        assert_eq!(client.call(v, &beating(generation, "nobody")).await.error_code, 25);
        let leave = leave_group::Request {
            group_id: "g".into(),
            member_id: member.into(),
            members: vec![leave_group::Member {
                member_id: member.into(),
                group_instance_id: None,
                ..Default::default()
            }],
        };
        let left = client.call(v, &leave).await;
        assert_eq!(left.error_code, 0);
        if v >= 3 {
            assert_eq!(
                (left.members[0].error_code, left.members[0].member_id.as_str()),
                (0, member)
            );
        }
        let again = client.call(v, &leave).await;
        let code = if v >= 3 { again.members[0].error_code } else { again.error_code };
        assert_eq!(code, 25, "v{version}");
        served.stop().await;
    }
}

#[tokio::test]
async fn a_second_member_makes_the_first_join_again() {
    let served = Served::start().await;
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    let one = join(&mut first, 7).await;
    let sync = syncing(one.generation_id, &one.member_id, &[(&one.member_id, "both")]);
    first.call(5, &sync).await;

    let two = second.call(7, &joining("")).await.member_id;
    second.send(7, &joining(&two)).await;
    // The heartbeat tells of the rebalance as soon as the second member's request has arrived.
    let mut told = 0;
    while told == 0 {
        told = first.call(4, &beating(one.generation_id, &one.member_id)).await.error_code;
    }
    assert_eq!(told, 27);
    let again = first.call(7, &joining(&one.member_id)).await;
    let joined = second.receive::<join_group::Request>(7).await;
    assert_eq!((again.error_code, joined.error_code), (0, 0));
    assert_eq!(again.generation_id, one.generation_id + 1);
    assert_eq!((again.generation_id, &again.leader), (joined.generation_id, &joined.leader));
    assert_eq!((again.members.len(), joined.members.len()), (2, 0));

    let generation = again.generation_id;
    second.send(5, &syncing(generation, &two, &[])).await;
    let shares = [(one.member_id.as_str(), "left"), (two.as_str(), "right")];
    let left = first.call(5, &syncing(generation, &one.member_id, &shares)).await;
    let right = second.receive::<sync_group::Request>(5).await;
    assert_eq!((&left.assignment[..], &right.assignment[..]), (&b"left"[..], &b"right"[..]));
    served.stop().await;
}

#[tokio::test]
async fn group_requests_are_refused_by_what_is_wrong() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let joins = [
        ("no group", join_group::Request { group_id: String::new(), ..joining("") }, 24),
        ("short session", join_group::Request { session_timeout_ms: 1, ..joining("") }, 26),
        ("stranger", joining("stranger"), 25),
        ("no protocols", join_group::Request { protocols: Vec::new(), ..joining("") }, 23),
    ];
    for (name, request, expected) in joins {
        let response = client.call(7, &request).await;
        assert_eq!(response.error_code, expected, "{name}");
        assert_eq!((response.protocol_name, response.generation_id), (None, -1), "{name}");
        assert_eq!(client.call(6, &request).await.protocol_name.as_deref(), Some(""), "{name}");
    }
    assert_eq!(client.call(5, &syncing(1, "stranger", &[])).await.error_code, 25);
    served.stop().await;
}

fn committing(topic_id: [u8; 16], offset: i64, metadata: &str) -> offset_commit::Request {
    let partition = offset_commit::Partition {
        committed_offset: offset,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    let topic = offset_commit::Topic { name: "t".into(), topic_id, partitions: vec![partition] };
    offset_commit::Request { group_id: "g".into(), topics: vec![topic], ..Default::default() }
}

fn asking(topic_id: [u8; 16], indexes: Option<Vec<i32>>, version: i16) -> offset_fetch::Request {
    let group_id = "g".to_owned();
    if version < 8 {
        let topics = indexes.map(|partition_indexes| {
            vec![offset_fetch::Topic { name: "t".into(), partition_indexes }]
        });
        return offset_fetch::Request { group_id, topics, ..Default::default() };
    }
    let topics = indexes.map(|partition_indexes| {
        vec![offset_fetch::GroupTopic { name: "t".into(), topic_id, partition_indexes }]
    });
    let groups = vec![offset_fetch::Group { group_id, topics, ..Default::default() }];
    offset_fetch::Request { groups, ..Default::default() }
}

/// Name, id and partitions of each topic.
type Answered = Vec<(String, [u8; 16], Vec<offset_fetch::PartitionResponse>)>;

fn answered(response: offset_fetch::Response, version: i16) -> Answered {
    if version < 8 {
        let topics = response.topics.into_iter();
        return topics.map(|topic| (topic.name, [0; 16], topic.partitions)).collect();
    }
    assert_eq!(response.groups[0].error_code, 0);
    let topics = response.groups[0].topics.iter().cloned();
    topics.map(|topic| (topic.name, topic.topic_id, topic.partitions)).collect()
}

async fn id_of(client: &mut Client, topic: &str) -> [u8; 16] {
    let asked = metadata::RequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = metadata::Request { topics: Some(vec![asked]), ..Default::default() };
    client.call(12, &request).await.topics[0].topic_id
}

#[tokio::test]
async fn what_is_committed_in_any_version_is_fetched_in_any_version() {
    let (served, mut client) = Served::with_topic("t").await;
    let id = id_of(&mut client, "t").await;
    let mut offset = 0;
    for commit_version in 2..=offset_commit::API.version_max {
        offset += 1;
        let text = format!("by v{commit_version}");
        let committed = client.call(commit_version, &committing(id, offset, &text)).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
        let by_id = commit_version >= 10;
        let named = (if by_id { "" } else { "t" }, if by_id { id } else { [0; 16] });
        assert_eq!((committed.topics[0].name.as_str(), committed.topics[0].topic_id), named);
        for version in 1..=offset_fetch::API.version_max {
            let response = client.call(version, &asking(id, Some(vec![0, 1]), version)).await;
            let (name, topic_id, partitions) = answered(response, version).remove(0);
            let named = (if version >= 10 { "" } else { "t" }, version >= 10);
            assert_eq!((name.as_str(), topic_id == id), named, "v{version}");
            let found: Vec<_> = partitions
                .iter()
                .map(|p| {
                    (p.partition_index, p.committed_offset, p.metadata.as_deref(), p.error_code)
                })
                .collect();
            let expected = [(0, offset, Some(text.as_str()), 0), (1, -1, Some(""), 0)];
            assert_eq!(found, expected, "v{version}");
            if version >= 2 {
                let all = client.call(version, &asking(id, None, version)).await;
                let (name, _, partitions) = answered(all, version).remove(0);
                assert_eq!((name.as_str(), partitions.len()), (named.0, 1), "v{version}");
            }
        }
    }
    let unknown = client.call(10, &committing([9; 16], 9, "")).await;
    assert_eq!(unknown.topics[0].partitions[0].error_code, 100);
    let unknown = client.call(10, &asking([9; 16], Some(vec![0]), 10)).await;
    let partition = &answered(unknown, 10)[0].2[0];
    assert_eq!((partition.committed_offset, partition.error_code), (-1, 100));
    let long = client.call(8, &committing(id, 9, &"x".repeat(4097))).await;
    assert_eq!(long.topics[0].partitions[0].error_code, 12);
    let mut missing = committing(id, 9, "");
    missing.topics[0].name = "missing".into();
    assert_eq!(client.call(8, &missing).await.topics[0].partitions[0].error_code, 3);
    let mut stale = committing(id, 9, "");
    (stale.generation_id_or_member_epoch, stale.member_id) = (3, "stranger".into());
    let code = client.call(8, &stale).await.topics[0].partitions[0].error_code;
    assert!([22, 25].contains(&code), "{code}");
    for (version, expected) in [(8, 22), (9, 69)] {
        let mut nowhere = stale.clone();
        nowhere.group_id = "nowhere".into();
        let code = client.call(version, &nowhere).await.topics[0].partitions[0].error_code;
        assert_eq!(code, expected, "v{version}");
    }
    served.stop().await;
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let (served, mut client) = Served::with_topic("t").await;
    let joined = join(&mut client, 7).await;
    let sync = syncing(joined.generation_id, &joined.member_id, &[(&joined.member_id, "a")]);
    client.call(5, &sync).await;

    let described =
        describe_groups::Request { groups: vec!["g".into(), "none".into()], ..Default::default() };
    for version in 0..=describe_groups::API.version_max {
        let response = client.call(version, &described).await;
        let (group, none) = (&response.groups[0], &response.groups[1]);
        assert_eq!((group.error_code, group.group_state.as_str()), (0, "Stable"));
        assert_eq!(
            (group.protocol_type.as_str(), group.protocol_data.as_str()),
            ("consumer", "range")
        );
        let member = &group.members[0];
        assert_eq!(
            (member.client_id.as_str(), member.client_host.as_str()),
            ("test", "/127.0.0.1")
        );
        assert_eq!(
            (&member.member_assignment[..], &member.member_metadata[..]),
            (&b"a"[..], &b"subscription"[..])
        );
        let missing = if version >= 6 { 69 } else { 0 };
        assert_eq!((none.error_code, none.group_state.as_str()), (missing, "Dead"));
        assert_eq!(none.error_message.is_some(), version >= 6);
    }
    for version in 0..=list_groups::API.version_max {
        let listed = client.call(version, &list_groups::Request::default()).await;
        let ids: Vec<_> = listed.groups.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!(ids, ["g"]);
    }
    for (state, expected) in [("Stable", 1), ("Empty", 0)] {
        let request =
            list_groups::Request { states_filter: vec![state.into()], ..Default::default() };
        assert_eq!(client.call(4, &request).await.groups.len(), expected);
    }
    for (group_type, expected) in [("Classic", 1), ("consumer", 0)] {
        let types_filter = vec![group_type.into()];
        let request = list_groups::Request { types_filter, ..Default::default() };
        assert_eq!(client.call(5, &request).await.groups.len(), expected);
    }
    let delete = delete_groups::Request { groups_names: vec!["g".into(), "none".into()] };
    let codes = |response: delete_groups::Response| {
        response.results.into_iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    assert_eq!(codes(client.call(2, &delete).await), [68, 69]);
    let leave = leave_group::Request {
        group_id: "g".into(),
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    assert_eq!(client.call(1, &leave).await.error_code, 0);
    assert_eq!(codes(client.call(0, &delete).await)[1], 69);
    served.stop().await;
}

#[tokio::test]
async fn this_node_coordinates_every_group_and_transactional_id() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for (key_type, code) in [(0, 0), (1, 0), (2, 42)] {
        for version in 0..=6 {
            let request = find_coordinator::Request {
                key: "k".into(),
                key_type,
                coordinator_keys: vec!["k".into(), "l".into()],
            };
            let response = client.call(version, &request).await;
            let code = if version == 0 { 0 } else { code };
            let (host, port) = if code == 0 { ("broker.test", 19092) } else { ("", -1) };
            if version < 4 {
                let found = (response.error_code, response.host.as_str(), response.port);
                assert_eq!(found, (code, host, port), "v{version}");
                continue;
            }
            let keys: Vec<_> = response.coordinators.iter().map(|c| c.key.as_str()).collect();
            assert_eq!(keys, ["k", "l"]);
            for found in &response.coordinators {
                assert_eq!((found.error_code, found.host.as_str(), found.port), (code, host, port));
            }
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn single_offsets_are_deleted() {
    let (served, mut client) = Served::with_topic("t").await;
    let id = id_of(&mut client, "t").await;
    let partition =
        |partition_index| offset_delete::OffsetDeleteRequestPartition { partition_index };
    let topic = offset_delete::OffsetDeleteRequestTopic {
        name: "t".into(),
        partitions: vec![partition(0), partition(7)],
    };
    let request = offset_delete::Request { group_id: "g".into(), topics: vec![topic] };
    assert_eq!(client.call(0, &request).await.error_code, 69);
    client.call(8, &committing(id, 3, "")).await;
    let response = client.call(0, &request).await;
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!((response.error_code, codes), (0, vec![0, 3]));
    let left = client.call(8, &asking(id, None, 8)).await;
    assert_eq!(answered(left, 8), []);
    served.stop().await;
}

fn heartbeat_as(member_id: &str, epoch: i32) -> consumer_group_heartbeat::Request {
    consumer_group_heartbeat::Request {
        group_id: "g".into(),
        member_id: member_id.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn entering(member_id: &str) -> consumer_group_heartbeat::Request {
    consumer_group_heartbeat::Request {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..heartbeat_as(member_id, 0)
    }
}

#[tokio::test]
async fn a_member_of_the_consumer_protocol_joins_and_leaves() {
    let (served, mut client) = Served::with_topic("t").await;
    let id = id_of(&mut client, "t").await;
    for version in 0..=1 {
        let joined = client.call(version, &entering("m")).await;
        assert_eq!((joined.error_code, joined.member_id.as_deref()), (0, Some("m")));
        assert_eq!(joined.heartbeat_interval_ms, 5_000);
        let topics = joined.assignment.expect("an assignment").topic_partitions;
        assert_eq!((topics[0].topic_id, &topics[0].partitions[..]), (id, &[0][..]));
        let beat = client.call(version, &heartbeat_as("m", joined.member_epoch)).await;
        assert_eq!((beat.error_code, beat.member_epoch), (0, joined.member_epoch));
        assert_eq!(beat.assignment, None);

        let mut commit = committing(id, 7, "");
        commit.member_id = "m".into();
        for (commit_version, epoch, code) in
            [(9, 0, 113), (8, joined.member_epoch, 35), (9, joined.member_epoch, 0)]
        {
            commit.generation_id_or_member_epoch = epoch;
            let answer = client.call(commit_version, &commit).await;
            assert_eq!(answer.topics[0].partitions[0].error_code, code, "v{commit_version}");
        }

        let left = client.call(version, &heartbeat_as("m", -1)).await;
        assert_eq!((left.error_code, left.member_epoch), (0, -1));
        let gone = client.call(version, &heartbeat_as("m", joined.member_epoch)).await;
        assert_eq!(gone.error_code, 25);
    }
    // The coordinator makes an id in version 0, and none in version 1.
    let named = client.call(0, &entering("")).await;
    assert_eq!(named.member_id.expect("made for it").len(), 36);
    let refused = client.call(1, &entering("")).await;
    assert_eq!((refused.error_code, refused.error_message.is_some()), (42, true));
    served.stop().await;
}

#[tokio::test]
async fn a_group_of_the_consumer_protocol_is_described() {
    let (served, mut client) = Served::with_topic("t").await;
    let id = id_of(&mut client, "t").await;
    let joined = client.call(1, &entering("m")).await;
    let group_ids = vec!["g".to_owned(), "none".to_owned()];
    let request = consumer_group_describe::Request { group_ids, ..Default::default() };
    for version in 0..=1 {
        let described = client.call(version, &request).await;
        let (group, none) = (&described.groups[0], &described.groups[1]);
        let seen = (group.group_state.as_str(), group.assignor_name.as_str());
        assert_eq!(seen, ("Stable", "uniform"));
        let epoch = joined.member_epoch;
        assert_eq!((group.group_epoch, group.assignment_epoch), (epoch, epoch));
        let member = &group.members[0];
        let seen = (member.member_id.as_str(), member.client_host.as_str(), member.member_epoch);
        assert_eq!(seen, ("m", "/127.0.0.1", epoch));
        assert_eq!(member.subscribed_topic_names, ["t"]);
        let assigned = &member.assignment.topic_partitions[0];
        assert_eq!((assigned.topic_id, assigned.topic_name.as_str()), (id, "t"));
        assert_eq!(member.target_assignment, member.assignment);
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
        assert_eq!((none.error_code, none.error_message.is_some()), (69, true));
    }
    let request = describe_groups::Request { groups: vec!["g".into()], ..Default::default() };
    assert_eq!(client.call(6, &request).await.groups[0].error_code, 69);
    served.stop().await;
}

#[tokio::test]
async fn refusals_of_the_consumer_protocol_have_kafkas_codes() {
    let (served, mut client) = Served::with_topic("t").await;
    assert_eq!(client.call(1, &heartbeat_as("m", 3)).await.error_code, 69);
    let instance =
        |request| consumer_group_heartbeat::Request { instance_id: Some("i".into()), ..request };
    let joined = client.call(1, &instance(entering("m"))).await;
    assert_eq!(joined.error_code, 0);
    let with_assignor =
        consumer_group_heartbeat::Request { server_assignor: Some("mine".into()), ..entering("n") };
    let with_regex = consumer_group_heartbeat::Request {
        subscribed_topic_regex: Some("(".into()),
        ..entering("n")
    };
    let cases = [
        (heartbeat_as("m", joined.member_epoch + 1), 110),
        (instance(entering("n")), 111),
        (with_assignor, 112),
        (with_regex, 128),
        (instance(heartbeat_as("n", 1)), 82),
        (heartbeat_as("n", 1), 25),
    ];
    for (request, code) in cases {
        let refused = client.call(1, &request).await;
        assert_eq!(refused.error_code, code, "{:?}", refused.error_message);
        assert!(refused.error_message.is_some());
    }
    // A classic member of another kind cannot join.
    let other = join_group::Request { protocol_type: "connect".into(), ..joining("") };
    assert_eq!(client.call(7, &other).await.error_code, 23);
    served.stop().await;
}
