//! Partitions, replicas, log directories, the quorum, and what needs security that there is none of.

use tidings_wire::{
    alter_partition_reassignments, alter_replica_log_dirs, alter_user_scram_credentials,
    create_acls, create_delegation_token, create_partitions, create_topics, delete_acls,
    describe_acls, describe_cluster, describe_delegation_token, describe_log_dirs, describe_quorum,
    describe_user_scram_credentials, elect_leaders, expire_delegation_token,
    list_partition_reassignments, metadata, renew_delegation_token, sasl_authenticate,
    sasl_handshake, unregister_broker,
};

use crate::client::{Client, Served, appending, batch};

fn growing(name: &str, count: i32) -> create_partitions::CreatePartitionsTopic {
    create_partitions::CreatePartitionsTopic { name: name.into(), count, assignments: None }
}

async fn topic(client: &mut Client, name: &str) -> metadata::Topic {
    let named = metadata::RequestTopic { name: Some(name.into()), ..Default::default() };
    let request = metadata::Request {
        topics: Some(vec![named]),
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    client.call(9, &request).await.topics.remove(0)
}

#[tokio::test]
async fn partitions_are_added_or_refused_topic_by_topic() {
    let (served, mut client) = Served::with_topic("t").await;
    let assigned = create_partitions::CreatePartitionsTopic {
        assignments: Some(vec![create_partitions::CreatePartitionsAssignment {
            broker_ids: vec![9],
        }]),
        ..growing("t", 2)
    };
    for (version, asked, expected) in [
        (0, vec![growing("t", 1)], vec![("t", 37)]),
        (1, vec![growing("t", 0), growing("missing", 2)], vec![("t", 37), ("missing", 3)]),
        (2, vec![assigned], vec![("t", 39)]),
        (3, vec![growing("t", 2), growing("t", 3)], vec![("t", 42)]),
        (3, vec![growing("t", 3)], vec![("t", 0)]),
    ] {
        let request = create_partitions::Request { topics: asked, ..Default::default() };
        let response = client.call(version, &request).await;
        let outcomes: Vec<_> =
            response.results.iter().map(|r| (r.name.as_str(), r.error_code)).collect();
        assert_eq!(outcomes, expected);
        assert!(response.results.iter().all(|r| r.error_message.is_some() == (r.error_code != 0)));
    }
    let described = topic(&mut client, "t").await;
    assert_eq!(described.partitions.len(), 3);
    assert_eq!(described.topic_authorized_operations, 3576);
    let mut append = appending("t", batch(&["new"]));
    append.topic_data[0].partition_data[0].index = 2;
    let appended = client.call(9, &append).await;
    assert_eq!(appended.responses[0].partition_responses[0].error_code, 0);
    served.stop().await;
}

#[tokio::test]
async fn leaders_need_no_election() {
    let (served, mut client) = Served::with_topic("t").await;
    let asked = |topic: &str, partitions| elect_leaders::TopicPartitions {
        topic: topic.into(),
        partitions,
    };
    let topic_partitions = Some(vec![asked("t", vec![0, 1]), asked("missing", vec![0])]);
    let request = elect_leaders::Request { topic_partitions, ..Default::default() };
    for version in 0..=2 {
        let response = client.call(version, &request).await;
        let codes: Vec<Vec<i16>> = response
            .replica_election_results
            .iter()
            .map(|topic| topic.partition_result.iter().map(|p| p.error_code).collect())
            .collect();
        assert_eq!(codes, [vec![84, 3], vec![3]]);
    }
    let all = elect_leaders::Request { topic_partitions: None, ..Default::default() };
    let response = client.call(2, &all).await;
    let needed: Vec<_> = response
        .replica_election_results
        .iter()
        .map(|topic| (topic.topic.as_str(), topic.partition_result.len()))
        .collect();
    assert_eq!((response.error_code, needed), (0, vec![("t", 0)]));
    let unknown = elect_leaders::Request { election_type: 2, ..request };
    let response = client.call(2, &unknown).await;
    let codes = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    assert_eq!(codes.map(|partition| partition.error_code).collect::<Vec<_>>(), [42; 3]);
    assert_eq!(response.error_code, 42);
    served.stop().await;
}

#[tokio::test]
async fn reassignments_end_at_once() {
    let (served, mut client) = Served::with_topic("t").await;
    let mut answered = async |partition_index, replicas: Option<Vec<i32>>| {
        let partition =
            alter_partition_reassignments::ReassignablePartition { partition_index, replicas };
        let topic = alter_partition_reassignments::ReassignableTopic {
            name: "t".into(),
            partitions: vec![partition],
        };
        let request =
            alter_partition_reassignments::Request { topics: vec![topic], ..Default::default() };
        let response = client.call(1, &request).await;
        assert!(response.allow_replication_factor_change);
        response.responses[0].partitions[0].error_code
    };
    assert_eq!(answered(0, Some(vec![1])).await, 0);
    assert_eq!(answered(0, Some(vec![2])).await, 39);
    assert_eq!(answered(0, Some(vec![1, 1])).await, 39);
    assert_eq!(answered(0, Some(vec![])).await, 39);
    assert_eq!(answered(0, None).await, 85);
    assert_eq!(answered(1, Some(vec![1])).await, 3);
    let listed = client.call(0, &list_partition_reassignments::Request::default()).await;
    assert_eq!((listed.error_code, listed.topics.len()), (0, 0));
    served.stop().await;
}

#[tokio::test]
async fn the_log_directory_is_described_with_sizes() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["some", "records"]).await;
    let all = describe_log_dirs::Request { topics: None };
    for version in 1..=4 {
        let response = client.call(version, &all).await;
        let [dir] = response.results.as_slice() else { panic!("one directory: {response:?}") };
        assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, served.node.log_dir()));
        // The disk in memory has no end.
        assert_eq!((dir.total_bytes, dir.usable_bytes), (-1, -1));
        let topic = dir.topics.iter().find(|topic| topic.name == "t").unwrap();
        let [partition] = topic.partitions.as_slice() else { panic!("one partition") };
        assert!(partition.partition_size > 0);
        assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
    }
    let asked = |topic: &str, partitions| describe_log_dirs::DescribableLogDirTopic {
        topic: topic.into(),
        partitions,
    };
    let topics = Some(vec![asked("t", vec![0, 7]), asked("missing", vec![0])]);
    let some = client.call(4, &describe_log_dirs::Request { topics }).await;
    assert_eq!((some.results[0].topics.len(), some.results[0].topics[0].partitions.len()), (1, 1));

    let moving = |path: &str, name: &str, partitions| alter_replica_log_dirs::Request {
        dirs: vec![alter_replica_log_dirs::AlterReplicaLogDir {
            path: path.into(),
            topics: vec![alter_replica_log_dirs::AlterReplicaLogDirTopic {
                name: name.into(),
                partitions,
            }],
        }],
    };
    let here = served.node.log_dir();
    for (request, expected) in [
        (moving(here, "t", vec![0, 1]), vec![0, 9]),
        (moving(here, "missing", vec![0]), vec![9]),
        (moving("/elsewhere", "t", vec![0]), vec![57]),
    ] {
        let response = client.call(2, &request).await;
        let codes: Vec<_> =
            response.results[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, expected);
    }
    served.stop().await;
}

#[tokio::test]
async fn the_node_is_the_only_voter() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let asked = |topic: &str| describe_quorum::TopicData {
        topic_name: topic.into(),
        partitions: vec![describe_quorum::PartitionData { partition_index: 0 }],
    };
    let request =
        describe_quorum::Request { topics: vec![asked("__cluster_metadata"), asked("other")] };
    for version in 0..=2 {
        let response = client.call(version, &request).await;
        let quorum = &response.topics[0].partitions[0];
        assert_eq!((response.error_code, quorum.error_code, quorum.leader_id), (0, 0, 1));
        let [voter] = quorum.current_voters.as_slice() else { panic!("one voter") };
        assert_eq!((voter.replica_id, voter.log_end_offset), (1, quorum.high_watermark));
        assert!(quorum.high_watermark > 0 && quorum.observers.is_empty());
        assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1);
        assert_eq!(response.nodes.len(), if version >= 2 { 1 } else { 0 });
        assert_eq!(response.topics[1].partitions[0].error_code, 3);
    }
    for (broker_id, expected) in [(1, 42), (2, 102)] {
        let response = client.call(0, &unregister_broker::Request { broker_id }).await;
        assert_eq!((response.error_code, response.error_message.is_some()), (expected, true));
    }
    served.stop().await;
}

#[tokio::test]
async fn without_security_there_is_nothing_to_administer() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let response = client.call(3, &describe_acls::Request::default()).await;
    assert_eq!((response.error_code, response.error_message.is_some()), (54, true));
    let creations = vec![create_acls::AclCreation::default(); 2];
    let created = client.call(3, &create_acls::Request { creations }).await;
    assert_eq!(created.results.iter().map(|r| r.error_code).collect::<Vec<_>>(), [54, 54]);
    let filters = vec![delete_acls::DeleteAclsFilter::default()];
    let deleted = client.call(3, &delete_acls::Request { filters }).await;
    assert_eq!(deleted.filter_results[0].error_code, 54);

    let mechanism = "PLAIN".to_owned();
    let handshake = client.call(1, &sasl_handshake::Request { mechanism }).await;
    assert_eq!((handshake.error_code, handshake.mechanisms.len()), (34, 0));
    assert_eq!(client.call(2, &sasl_authenticate::Request::default()).await.error_code, 34);
    let token = client.call(3, &create_delegation_token::Request::default()).await;
    assert_eq!((token.error_code, token.principal_name.as_str()), (64, "ANONYMOUS"));
    assert_eq!(client.call(2, &renew_delegation_token::Request::default()).await.error_code, 64);
    assert_eq!(client.call(2, &expire_delegation_token::Request::default()).await.error_code, 64);
    assert_eq!(client.call(3, &describe_delegation_token::Request::default()).await.error_code, 64);

    let all = describe_user_scram_credentials::Request { users: None };
    let response = client.call(0, &all).await;
    assert_eq!((response.error_code, response.results.len()), (0, 0));
    let name = describe_user_scram_credentials::UserName { name: "kim".into() };
    let one = describe_user_scram_credentials::Request { users: Some(vec![name]) };
    assert_eq!(client.call(0, &one).await.results[0].error_code, 91);
    let set = alter_user_scram_credentials::ScramCredentialUpsertion {
        name: "kim".into(),
        ..Default::default()
    };
    let alter = alter_user_scram_credentials::Request { upsertions: vec![set], deletions: vec![] };
    let altered = client.call(0, &alter).await;
    assert_eq!((altered.results.len(), altered.results[0].error_code), (1, 33));
    served.stop().await;
}

#[tokio::test]
async fn virtual_brokers_answer_as_one_cluster_on_every_port() {
    let served = Served::shown_as(3).await;
    let mut clients = Vec::new();
    for address in served.server.local_addrs() {
        clients.push(Client::connect(*address).await);
    }
    let new = create_topics::Topic {
        name: "t".into(),
        num_partitions: 3,
        replication_factor: 2,
        ..Default::default()
    };
    let create = create_topics::Request { topics: vec![new], ..Default::default() };
    let created = clients[2].call(7, &create).await;
    assert_eq!((created.topics[0].error_code, created.topics[0].replication_factor), (0, 2));

    for (id, client) in (1..).zip(&mut clients) {
        let described = topic(client, "t").await;
        let replicas: Vec<_> =
            described.partitions.iter().map(|p| (p.leader_id, p.replica_nodes.clone())).collect();
        assert_eq!(replicas, [(1, vec![1, 2]), (2, vec![2, 3]), (3, vec![3, 1])]);
        assert!(described.partitions.iter().all(|p| p.isr_nodes == p.replica_nodes));

        let cluster = client.call(2, &describe_cluster::Request::default()).await;
        let brokers: Vec<_> = cluster.brokers.iter().map(|b| (b.broker_id, b.port)).collect();
        assert_eq!(brokers, [(1, 19092), (2, 19093), (3, 19094)]);
        assert_eq!(cluster.controller_id, 1);

        assert_eq!(client.append("t", &["anywhere"]).await.error_code, 0);
        let dirs = client.call(4, &describe_log_dirs::Request { topics: None }).await;
        let here: Vec<i32> = dirs.results[0]
            .topics
            .iter()
            .filter(|topic| topic.name == "t")
            .flat_map(|topic| topic.partitions.iter().map(|p| p.partition_index))
            .collect();
        let expected = [[0, 2], [0, 1], [1, 2]];
        assert_eq!(here, expected[id as usize - 1], "broker {id}");
    }
    let quorum = describe_quorum::Request {
        topics: vec![describe_quorum::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![describe_quorum::PartitionData { partition_index: 0 }],
        }],
    };
    let quorum = clients[1].call(2, &quorum).await.topics.remove(0).partitions.remove(0);
    let observers: Vec<_> = quorum.observers.iter().map(|o| o.replica_id).collect();
    assert_eq!((quorum.current_voters.len(), observers), (1, vec![2, 3]));
    served.stop().await;
}
