//! Quotas over the socket: defined, answered with a pause, and the pause kept.

use tidings_wire::{
    alter_client_quotas, api_versions, create_partitions, create_topics, delete_topics,
    describe_client_quotas, list_offsets,
};

use crate::client::{Client, Served, appending, batch, fetching};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

fn altering(entity: Entity<'_>, key: &str, value: Option<f64>) -> alter_client_quotas::Request {
    let part = |(kind, name): &(&str, Option<&str>)| alter_client_quotas::EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(str::to_owned),
    };
    let op = alter_client_quotas::OpData {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entity = entity.iter().map(part).collect();
    let entry = alter_client_quotas::EntryData { entity, ops: vec![op] };
    alter_client_quotas::Request { entries: vec![entry], validate_only: false }
}

/// Sets a quota, as a client that has none.
async fn set(served: &Served, entity: Entity<'_>, key: &str, value: f64) {
    let mut admin = served.connect().await;
    admin.name = "admin";
    let response = admin.call(1, &altering(entity, key, Some(value))).await;
    assert_eq!(response.entries[0].error_code, 0, "{response:?}");
}

const TEST: Entity<'_> = &[("client-id", Some("test"))];

#[tokio::test]
async fn quotas_are_described_as_they_were_set() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for version in 0..=1 {
        let entity: Entity<'_> = &[("user", Some("a")), ("client-id", None)];
        let set = altering(entity, "consumer_byte_rate", Some(1024.0));
        let response = client.call(version, &set).await.entries.remove(0);
        assert_eq!((response.error_code, response.error_message), (0, None));
        assert_eq!(response.entity.len(), 2);
        let component = describe_client_quotas::ComponentData {
            entity_type: "client-id".into(),
            match_type: 1,
            r#match: None,
        };
        let request =
            describe_client_quotas::Request { components: vec![component], strict: false };
        let response = client.call(version, &request).await;
        let entry = response.entries.unwrap().remove(0);
        let entity = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
        let expected = [("client-id".into(), None), ("user".into(), Some("a".into()))];
        assert_eq!(entity.collect::<Vec<_>>(), expected);
        assert_eq!(entry.values.len(), 1);
        let value = &entry.values[0];
        assert_eq!((value.key.as_str(), value.value), ("consumer_byte_rate", 1024.0));
        client.call(version, &altering(&[("user", Some("a"))], "x", None)).await;
    }
    let refused = client.call(1, &altering(TEST, "producer_byte_rate", Some(0.0))).await;
    let text = Some("Quota producer_byte_rate must be greater than 0".to_owned());
    assert_eq!((refused.entries[0].error_code, &refused.entries[0].error_message), (42, &text));
    let component = describe_client_quotas::ComponentData {
        entity_type: "group".into(),
        match_type: 2,
        r#match: None,
    };
    let request = describe_client_quotas::Request { components: vec![component], strict: false };
    let refused = client.call(1, &request).await;
    assert_eq!((refused.error_code, refused.entries), (35, None));
    served.stop().await;
}

#[tokio::test]
async fn who_produces_too_fast_is_answered_at_once_and_then_not_read_for_a_while() {
    let (served, mut client) = Served::with_topic("t").await;
    set(&served, TEST, "producer_byte_rate", 1.0).await;
    let response = client.call(9, &appending("t", batch(&["x"]))).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(response.throttle_time_ms, 20_000, "the longest pause");
    client.send(0, &api_versions::Request::default()).await;

    let mut other = served.connect().await;
    other.name = "other";
    for _ in 0..50 {
        let response = other.call(9, &appending("t", batch(&["y"]))).await;
        assert_eq!(response.throttle_time_ms, 0);
    }
    assert!(client.has_nothing(), "the connection is not read");
    served.stop().await;
}

#[tokio::test]
async fn after_its_pause_a_client_goes_on() {
    let (served, mut client) = Served::with_topic("t").await;
    set(&served, TEST, "producer_byte_rate", 100_000.0).await;
    let long = "x".repeat(500_000);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let response = client.call(9, &appending("t", batch(&[&long]))).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        pauses.push(response.throttle_time_ms);
    }
    assert_eq!(pauses[0], 0, "a window's worth may come at once");
    assert!(pauses.iter().all(|pause_ms| *pause_ms < 20_000), "{pauses:?}");
    client.call(0, &api_versions::Request::default()).await;
    served.stop().await;
}

#[tokio::test]
async fn without_answers_a_pause_is_kept_all_the_same() {
    let (served, mut client) = Served::with_topic("t").await;
    set(&served, TEST, "producer_byte_rate", 1.0).await;
    let mut request = appending("t", batch(&["x"]));
    request.acks = 0;
    client.send(9, &request).await;
    client.send(9, &request).await;
    let mut other = served.connect().await;
    other.name = "other";
    loop {
        let fetched = other.call(12, &fetching("t", 0, 1000)).await;
        if fetched.responses[0].partitions[0].high_watermark > 0 {
            break;
        }
    }
    for _ in 0..20 {
        other.append("t", &["y"]).await;
    }
    let fetched = other.call(12, &fetching("t", 0, 0)).await;
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 21);
    served.stop().await;
}

#[tokio::test]
async fn every_kind_of_quota_is_charged() {
    let (served, mut writer) = Served::with_topic("t").await;
    writer.append("t", &["some record"]).await;
    set(&served, TEST, "consumer_byte_rate", 1.0).await;
    let fetched = served.connect().await.call(12, &fetching("t", 0, 0)).await;
    assert!(fetched.responses[0].partitions[0].records.as_ref().is_some());
    assert!(fetched.throttle_time_ms > 0);

    set(&served, TEST, "controller_mutation_rate", 0.001).await;
    let new = create_topics::Topic {
        name: "u".into(),
        num_partitions: 3,
        replication_factor: -1,
        ..Default::default()
    };
    let request = create_topics::Request { topics: vec![new], ..Default::default() };
    let created = served.connect().await.call(7, &request).await;
    assert_eq!(created.topics[0].error_code, 0);
    assert_eq!(created.throttle_time_ms, 20_000);

    const OVER_QUOTA: i16 = 89;
    for (version, code) in [(6, OVER_QUOTA), (5, 0)] {
        let mut request = request.clone();
        request.topics[0].name = "v".into();
        let created = served.connect().await.call(version, &request).await;
        assert_eq!((created.topics[0].error_code, created.throttle_time_ms), (code, 20_000));
    }
    for (version, code, count) in [(3, OVER_QUOTA, 4), (2, 0, 4)] {
        let topic =
            create_partitions::CreatePartitionsTopic { name: "u".into(), count, assignments: None };
        let request = create_partitions::Request { topics: vec![topic], ..Default::default() };
        let grown = served.connect().await.call(version, &request).await;
        assert_eq!((grown.results[0].error_code, grown.throttle_time_ms), (code, 20_000));
    }
    for (version, code) in [(5, OVER_QUOTA), (4, 0)] {
        let topic_names = vec!["u".to_owned()];
        let request = delete_topics::Request { topic_names, ..Default::default() };
        let deleted = served.connect().await.call(version, &request).await;
        assert_eq!((deleted.responses[0].error_code, deleted.throttle_time_ms), (code, 20_000));
    }

    set(&served, TEST, "request_percentage", 0.000_001).await;
    let mut client: Client = served.connect().await;
    let request = list_offsets::Request::default();
    while client.call(7, &request).await.throttle_time_ms == 0 {}
    served.stop().await;
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_held_and_closed() {
    let served = Served::start().await;
    let mut admin = served.connect().await;
    let everywhere: Entity<'_> = &[("ip", None)];
    let set = altering(everywhere, "connection_creation_rate", Some(1.0));
    assert_eq!(admin.call(1, &set).await.entries[0].error_code, 0);
    let mut closed = 0;
    let mut clients = Vec::new();
    while closed == 0 {
        let mut client = served.connect().await;
        client.send(0, &api_versions::Request::default()).await;
        match client.next_frame().await {
            Some(_) => clients.push(client),
            None => closed += 1,
        }
    }
    assert!(clients.len() >= 10, "a window's worth may come at once");
    admin.call(0, &api_versions::Request::default()).await;
    served.stop().await;
}
