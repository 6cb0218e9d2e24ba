//! Fetch sessions, topics by id, leader epochs, and topics page by page.

use tidings_wire::{
    create_topics, delete_topics, describe_topic_partitions as pages, fetch,
    offset_for_leader_epoch as epochs, produce,
};

use crate::client::{Client, Served, appending, batch, fetching, values};

/// A fetch of a session, over partition 0 of these topics by their ids.
fn in_session(id: i32, epoch: i32, topics: &[([u8; 16], i64)]) -> fetch::Request {
    let topic = |(topic_id, offset): &([u8; 16], i64)| {
        let mut topic = fetching("", *offset, 0).topics.remove(0);
        topic.topic_id = *topic_id;
        topic
    };
    fetch::Request {
        session_id: id,
        session_epoch: epoch,
        topics: topics.iter().map(topic).collect(),
        ..fetching("", 0, 0)
    }
}

async fn create(client: &mut Client, topic: &str, partitions: i32) -> [u8; 16] {
    let new = create_topics::Topic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: -1,
        ..Default::default()
    };
    let request = create_topics::Request { topics: vec![new], ..Default::default() };
    let response = client.call(7, &request).await;
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

#[tokio::test]
async fn a_session_says_what_has_changed_in_any_version_that_has_sessions() {
    let (served, mut client) = Served::with_topic("t").await;
    let t = client.topic_id("t").await;
    let u = create(&mut client, "u", 1).await;
    for version in 7..=fetch::API.version_max {
        let mut first = in_session(0, 0, &[(t, 0), (u, 0)]);
        first.topics[0].topic = "t".into();
        first.topics[1].topic = "u".into();
        let response = client.call(version, &first).await;
        let id = response.session_id;
        assert!(response.error_code == 0 && id > 0, "v{version}");
        assert_eq!(response.responses.len(), 2);

        let mut next = in_session(id, 1, &[(t, i64::from(version) - 7)]);
        next.topics[0].topic = "t".into();
        let response = client.call(version, &next).await;
        assert_eq!((response.session_id, response.responses.len()), (id, 0), "v{version}");
        client.append("t", &["x"]).await;
        let response = client.call(version, &in_session(id, 2, &[])).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(values(partition).len(), 1, "v{version}");

        let forgotten =
            fetch::ForgottenTopic { topic: "t".into(), topic_id: t, partitions: vec![0] };
        let request =
            fetch::Request { forgotten_topics_data: vec![forgotten], ..in_session(id, 3, &[]) };
        assert_eq!(client.call(version, &request).await.responses, []);
        for (epoch, version, expected) in [
            (3, version, 71),
            (4, if version < 13 { 13 } else { 12 }, 106),
            (-1, version, 0),
            (4, version, 70),
        ] {
            let response = client.call(version, &in_session(id, epoch, &[])).await;
            assert_eq!((response.error_code, response.session_id), (expected, 0), "{epoch}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn a_topic_that_was_created_anew_has_another_id_and_the_old_one_is_unknown() {
    let (served, mut client) = Served::with_topic("t").await;
    let old = client.topic_id("t").await;
    let id = client.call(18, &in_session(0, 0, &[(old, 0)])).await.session_id;
    let request = delete_topics::Request { topic_names: vec!["t".into()], ..Default::default() };
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
    let error = |response: &fetch::Response| {
        assert_eq!(response.responses[0].topic_id, old);
        response.responses[0].partitions[0].error_code
    };
    assert_eq!(error(&client.call(18, &in_session(id, 1, &[])).await), 100);
    let new = create(&mut client, "t", 1).await;
    assert!(new != old && new != [0; 16]);
    assert_eq!(error(&client.call(18, &in_session(id, 2, &[])).await), 103);
    assert_eq!(error(&client.call(18, &in_session(0, -1, &[(old, 0)])).await), 100);

    for (topic_id, expected) in [(old, 100), ([0; 16], 100), (new, 0)] {
        let mut request = appending("t", batch(&["x"]));
        request.topic_data[0].topic_id = topic_id;
        let response = client.call(13, &request).await;
        assert_eq!(response.responses[0].topic_id, topic_id);
        let answered: &produce::PartitionResponse = &response.responses[0].partition_responses[0];
        assert_eq!(answered.error_code, expected);
        assert_eq!(answered.error_message.is_some(), expected != 0);
    }
    served.stop().await;
}

#[tokio::test]
async fn who_says_it_is_a_replica_is_refused() {
    let (served, mut client) = Served::with_topic("t").await;
    let topic_id = client.topic_id("t").await;
    for (version, old, new, expected) in [
        (4, 3, -1, 6),
        (14, 0, -1, 6),
        (15, -1, 0, 6),
        (18, -1, 7, 6),
        (14, -2, -1, 0),
        (18, -1, -2, 0),
    ] {
        let mut request = fetching("t", 0, 0);
        request.topics[0].topic_id = topic_id;
        request.replica_id = old;
        request.replica_state.replica_id = new;
        let response = client.call(version, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, expected, "v{version} {old} {new}");
    }
    served.stop().await;
}

#[tokio::test]
async fn epochs_end_at_the_high_watermark_while_there_is_but_one() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["a", "b"]).await;
    for version in epochs::API.version_min..=epochs::API.version_max {
        for (topic, current, epoch, expected) in [
            ("t", -1, 0, (0, 0, 2)),
            ("t", 0, 0, (0, 0, 2)),
            ("t", -1, 1, (0, -1, -1)),
            ("t", 1, 0, (75, -1, -1)),
            ("missing", -1, 0, (3, -1, -1)),
        ] {
            let partition = epochs::OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: current,
                leader_epoch: epoch,
            };
            let topic =
                epochs::OffsetForLeaderTopic { topic: topic.into(), partitions: vec![partition] };
            let request = epochs::Request { replica_id: -2, topics: vec![topic] };
            let response = client.call(version, &request).await;
            let found = &response.topics[0].partitions[0];
            assert_eq!((found.error_code, found.leader_epoch, found.end_offset), expected);
        }
    }
    served.stop().await;
}

/// Topics with their partitions, and the cursor after them.
type Page = (Vec<(String, Vec<i32>)>, Option<(String, i32)>);

fn shown(page: &pages::Response) -> Page {
    let topics = page.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.clone().unwrap(), partitions.collect())
    });
    let cursor = page.next_cursor.as_ref();
    (topics.collect(), cursor.map(|next| (next.topic_name.clone(), next.partition_index)))
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let (served, mut client) = Served::with_topic("b").await;
    let id = create(&mut client, "a", 3).await;
    let asking = |names: &[&str], limit, from: Option<(&str, i32)>| pages::Request {
        topics: names.iter().map(|name| pages::TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor: from.map(|(topic_name, partition_index)| pages::Cursor {
            topic_name: topic_name.into(),
            partition_index,
        }),
    };
    let named = |name: &str, partitions: &[i32]| (name.to_owned(), partitions.to_vec());
    let at = |name: &str, partition| Some((name.to_owned(), partition));
    for (request, expected) in [
        (asking(&[], 10, None), (vec![named("a", &[0, 1, 2]), named("b", &[0])], None)),
        (asking(&[], 2, None), (vec![named("a", &[0, 1])], at("a", 2))),
        (asking(&[], 0, Some(("a", 1))), (vec![named("a", &[1])], at("a", 2))),
        (asking(&[], 1, Some(("a", 2))), (vec![named("a", &[2])], at("b", 0))),
        (asking(&[], 9, Some(("aa", 2))), (vec![named("b", &[0])], None)),
        (asking(&[], 9, Some(("a", 7))), (vec![named("a", &[]), named("b", &[0])], None)),
        (asking(&["b", "a", "b"], 4, None), (vec![named("a", &[0, 1, 2]), named("b", &[0])], None)),
        (asking(&["b", "a"], 3, Some(("b", 0))), (vec![named("b", &[0])], None)),
        (asking(&["b", "missing"], 3, None), (vec![named("b", &[0]), named("missing", &[])], None)),
    ] {
        let response = client.call(0, &request).await;
        assert_eq!(shown(&response), expected, "{request:?}");
        for topic in &response.topics {
            let missing = topic.name.as_deref() == Some("missing");
            assert_eq!(topic.error_code, if missing { 3 } else { 0 });
        }
    }
    for request in [asking(&["b"], 3, Some(("a", 0))), asking(&["b"], 3, Some(("b", -1)))] {
        let response = client.call(0, &request).await;
        assert_eq!((response.topics.len(), response.topics[0].error_code), (1, 42));
    }
    let page = client.call(0, &asking(&["a"], 1, None)).await;
    assert_eq!((page.topics[0].topic_id, page.topics[0].topic_authorized_operations), (id, 3576));
    let leader = &page.topics[0].partitions[0];
    assert_eq!((leader.leader_epoch, leader.isr_nodes.as_slice()), (0, &[leader.leader_id][..]));
    served.stop().await;
}
