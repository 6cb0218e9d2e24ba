//! Metadata, CreateTopics, DeleteTopics and DescribeCluster.

use tidings_wire::{create_topics, delete_topics, describe_cluster, metadata};

use crate::client::Served;

fn named(name: &str) -> metadata::RequestTopic {
    metadata::RequestTopic { name: Some(name.into()), ..Default::default() }
}

fn asking(topics: Option<Vec<metadata::RequestTopic>>, create: bool) -> metadata::Request {
    metadata::Request { topics, allow_auto_topic_creation: create, ..Default::default() }
}

#[tokio::test]
async fn metadata_names_the_broker_and_all_topics_as_each_version_asks() {
    let (served, mut client) = Served::with_topic("t").await;
    for version in 0..=metadata::API.version_max {
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let response = client.call(version, &asking(all, true)).await;
        let broker = &response.brokers[0];
        assert_eq!((broker.host.as_str(), broker.port), ("broker.test", 19092));
        assert_eq!(response.brokers.len(), 1);
        if version >= 1 {
            assert_eq!(response.controller_id, broker.node_id);
        }
        if version >= 2 {
            assert_eq!(response.cluster_id.as_deref(), Some(served.node.cluster_id()));
            assert_eq!(served.node.cluster_id().len(), 22);
        }
        let topics: Vec<_> = response.topics.iter().filter(|t| !t.is_internal).collect();
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_deref()).collect();
        assert!(names.contains(&Some("t")), "v{version}: {names:?}");
        let topic = topics.iter().find(|topic| topic.name.as_deref() == Some("t")).unwrap();
        assert_eq!(topic.topic_id == [0; 16], version < 10);
        assert_eq!(topic.topic_authorized_operations, i32::MIN);
        let partition = &topic.partitions[0];
        let node = broker.node_id;
        assert_eq!((partition.error_code, partition.leader_id), (0, node));
        assert_eq!(partition.leader_epoch >= 0, version >= 7);
        assert_eq!((&partition.replica_nodes, &partition.isr_nodes), (&vec![node], &vec![node]));
        if version >= 1 {
            let none = client.call(version, &asking(Some(Vec::new()), true)).await;
            assert_eq!(none.topics, []);
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn missing_topics_are_created_when_asked_for_and_allowed() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for (version, name, create, expected) in [
        (12, "new", false, 3),
        (12, "new", true, 0),
        (12, "new", false, 0),
        // Below version 4 there is nothing to ask: creation is always allowed.
        (3, "old", true, 0),
        (12, "no spaces", true, 17),
        (12, "..", true, 17),
        (12, "", true, 17),
    ] {
        let response = client.call(version, &asking(Some(vec![named(name)]), create)).await;
        let topic = &response.topics[0];
        assert_eq!((topic.name.as_deref(), topic.error_code), (Some(name), expected));
        assert_eq!(topic.partitions.len(), if expected == 0 { 2 } else { 0 });
    }
    served.stop().await;
}

#[tokio::test]
async fn topics_are_found_by_id() {
    let (served, mut client) = Served::with_topic("t").await;
    let by_name = client.call(12, &asking(Some(vec![named("t")]), false)).await;
    let topic_id = by_name.topics[0].topic_id;
    let by_id =
        |topic_id| asking(Some(vec![metadata::RequestTopic { topic_id, name: None }]), true);
    let found = client.call(12, &by_id(topic_id)).await;
    assert_eq!(found.topics, by_name.topics);
    let early = client.call(11, &by_id(topic_id)).await;
    assert_eq!((early.topics[0].error_code, early.topics[0].name.as_deref()), (42, Some("")));
    // Java's client sends an empty name beside the id: for a subscription by a regular expression.
    let named_too = |name: &str| {
        let topic = metadata::RequestTopic { topic_id, name: Some(name.into()) };
        asking(Some(vec![topic]), true)
    };
    for name in ["", "t", "other"] {
        let found = client.call(12, &named_too(name)).await;
        assert_eq!(found.topics, by_name.topics, "{name}");
    }
    let early = client.call(11, &named_too("t")).await;
    assert_eq!((early.topics[0].error_code, early.topics[0].name.as_deref()), (42, Some("t")));
    let missing = client.call(12, &by_id([7; 16])).await;
    let topic = &missing.topics[0];
    assert_eq!((topic.error_code, topic.topic_id, topic.name.as_deref()), (100, [7; 16], None));
    served.stop().await;
}

fn creation(name: &str, partitions: i32, replication: i16) -> create_topics::Topic {
    create_topics::Topic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replication,
        ..Default::default()
    }
}

#[tokio::test]
async fn topics_are_created_or_refused_one_by_one() {
    let (served, mut client) = Served::with_topic("t").await;
    let config =
        create_topics::Config { name: "max.message.bytes".into(), value: Some("2000".into()) };
    let nothing = create_topics::Config { name: "retention.ms".into(), value: None };
    let unknown = create_topics::Config { name: "no.such".into(), value: Some("1".into()) };
    let topics = vec![
        creation("three", 3, 1),
        creation("default", -1, -1),
        creation("t", 1, 1),
        creation("bad name", 1, 1),
        creation("none", 0, 1),
        creation("copies", 1, 3),
        create_topics::Topic { configs: vec![config], ..creation("configured", 1, -1) },
        create_topics::Topic { configs: vec![unknown], ..creation("misconfigured", 1, -1) },
        create_topics::Topic { configs: vec![nothing], ..creation("unset", 1, -1) },
    ];
    let dry = create_topics::Request {
        topics: topics.clone(),
        validate_only: true,
        ..Default::default()
    };
    let wet = create_topics::Request { topics, ..Default::default() };
    for request in [dry, wet] {
        let response = client.call(7, &request).await;
        let outcomes: Vec<_> = response.topics.iter().map(outcome).collect();
        assert_eq!(
            outcomes,
            [
                ("three", 0, 3),
                ("default", 0, 2),
                ("t", 36, -1),
                ("bad name", 17, -1),
                ("none", 37, -1),
                ("copies", 38, -1),
                ("configured", 0, 1),
                ("misconfigured", 40, -1),
                ("unset", 40, -1),
            ]
        );
        for topic in &response.topics {
            assert_eq!(topic.error_message.is_some(), topic.error_code != 0);
            assert_eq!(topic.configs.as_ref().unwrap().is_empty(), topic.error_code != 0);
            let made = topic.error_code == 0 && !request.validate_only;
            assert_eq!(topic.topic_id != [0; 16], made, "{}", topic.name);
        }
        let configs = response.topics[6].configs.as_ref().unwrap();
        let set = configs.iter().find(|config| config.name == "max.message.bytes").unwrap();
        assert_eq!((set.value.as_deref(), set.config_source), (Some("2000"), 1));
    }
    served.stop().await;
}

fn outcome(topic: &create_topics::TopicResponse) -> (&str, i16, i32) {
    (topic.name.as_str(), topic.error_code, topic.num_partitions)
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let response = client.call(12, &asking(Some(vec![named(name)]), true)).await;
        ids.push(response.topics[0].topic_id);
    }
    let names = delete_topics::Request {
        topic_names: vec!["a".into(), "missing".into()],
        timeout_ms: 1,
        ..Default::default()
    };
    let response = client.call(1, &names).await;
    let codes: Vec<_> =
        response.responses.iter().map(|r| (r.name.as_deref(), r.error_code)).collect();
    assert_eq!(codes, [(Some("a"), 0), (Some("missing"), 3)]);

    let topic = |name: Option<&str>, topic_id| delete_topics::Topic {
        name: name.map(Into::into),
        topic_id,
    };
    let topics = vec![
        topic(None, ids[1]),
        topic(None, ids[0]),
        topic(Some("c"), ids[2]),
        topic(Some("c"), [0; 16]),
    ];
    let request = delete_topics::Request { topics, ..Default::default() };
    let mut codes: Vec<_> = client
        .call(6, &request)
        .await
        .responses
        .into_iter()
        .map(|r| (r.topic_id, r.name, r.error_code))
        .collect();
    codes.sort_by_key(|(_, _, code)| *code);
    let c = Some("c".to_owned());
    let mut gone = vec![(ids[1], Some("b".to_owned()), 0), (ids[2], c.clone(), 0)];
    gone.sort();
    let mut done = codes[..2].to_vec();
    done.sort();
    assert_eq!(done, gone);
    assert_eq!(codes[2..], [(ids[2], c, 42), (ids[0], None, 100)]);
    served.stop().await;
}

#[tokio::test]
async fn the_cluster_is_one_broker() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for version in 0..=2 {
        let response = client.call(version, &describe_cluster::Request::default()).await;
        assert_eq!(
            (response.error_code, response.cluster_id.as_str()),
            (0, served.node.cluster_id())
        );
        assert_eq!((response.controller_id, response.brokers.len()), (served.node.node_id(), 1));
        assert_eq!(response.brokers[0].host, "broker.test");
    }
    for (endpoint_type, error) in [(2, 114), (3, 115)] {
        let request = describe_cluster::Request { endpoint_type, ..Default::default() };
        assert_eq!(client.call(1, &request).await.error_code, error);
    }
    let request = describe_cluster::Request {
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    assert_eq!(client.call(1, &request).await.cluster_authorized_operations, 8096);
    served.stop().await;
}
