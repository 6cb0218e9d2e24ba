//! Produce, Fetch and ListOffsets.

use tidings_node::broker::log::{BatchBuilder, Compression};
use tidings_node::{NewRecord, encode_batch};
use tidings_wire::{
    api_versions, create_topics, delete_records, fetch, init_producer_id, list_offsets, metadata,
    produce,
};

use crate::client::{Served, appending, batch, fetching, values};

fn owned(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[tokio::test]
async fn what_is_produced_in_any_version_is_fetched_in_any_version() {
    let (served, mut client) = Served::with_topic("t").await;
    let id = client.topic_id("t").await;
    let mut expected = Vec::new();
    for version in produce::API.version_min..=produce::API.version_max {
        let value = format!("v{version}");
        let mut request = appending("t", batch(&[&value]));
        request.topic_data[0].topic_id = id;
        let response = client.call(version, &request).await;
        let answered = &response.responses[0].partition_responses[0];
        let offset = expected.len() as i64;
        assert_eq!((answered.error_code, answered.base_offset), (0, offset), "v{version}");
        assert_eq!(answered.log_append_time_ms, -1);
        expected.push((offset, value));
    }
    for version in fetch::API.version_min..=fetch::API.version_max {
        let mut request = fetching("t", 0, 0);
        request.topics[0].topic_id = id;
        let response = client.call(version, &request).await;
        let topic = &response.responses[0];
        let named = if version < 13 { ("t", [0; 16]) } else { ("", id) };
        assert_eq!((topic.topic.as_str(), topic.topic_id), named, "v{version}");
        let partition = &topic.partitions[0];
        assert_eq!((response.error_code, response.session_id, partition.error_code), (0, 0, 0));
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (11, 11));
        assert_eq!(partition.aborted_transactions, None);
        assert_eq!(values(partition), expected, "v{version}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_batch_is_stored_byte_for_byte_and_returned_whole_from_its_middle() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["a"]).await;
    let sent = batch(&["b", "c", "d"]);
    client.call(9, &appending("t", sent.clone())).await;
    let mut request = fetching("t", 2, 0);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    request.max_bytes = 1;
    let response = client.call(12, &request).await;
    let partition = &response.responses[0].partitions[0];
    assert_eq!(values(partition), owned(&[(1, "b"), (2, "c"), (3, "d")]));
    // Base offset and leader epoch are the broker's; the rest is the client's.
    let stored = partition.records.clone().unwrap().joined();
    assert_eq!(stored[16..], sent[16..]);
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_neither_blocks_what_follows_nor_is_overtaken_by_it() {
    let (served, mut client) = Served::with_topic("t").await;
    client.send(12, &fetching("t", 0, 50_000)).await;
    // Reaches the broker although the fetch before it waits, and wakes it.
    client.send(9, &appending("t", batch(&["wake"]))).await;
    client.send(4, &api_versions::Request { ..named() }).await;
    let fetched = client.receive::<fetch::Request>(12).await;
    assert_eq!(values(&fetched.responses[0].partitions[0]), owned(&[(0, "wake")]));
    let produced = client.receive::<produce::Request>(9).await;
    assert_eq!(produced.responses[0].partition_responses[0].base_offset, 0);
    assert_eq!(client.receive::<api_versions::Request>(4).await.error_code, 0);
    served.stop().await;
}

fn named() -> api_versions::Request {
    api_versions::Request {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    }
}

#[tokio::test]
async fn a_fetch_at_the_end_waits_no_longer_than_it_may() {
    let (served, mut client) = Served::with_topic("t").await;
    for wait in [0, 10] {
        let response = client.call(12, &fetching("t", 0, wait)).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, 0));
        assert!(partition.records.as_ref().unwrap().is_empty());
    }
    served.stop().await;
}

#[tokio::test]
async fn pipelined_produces_keep_their_order() {
    const REQUESTS: usize = 200;
    let (served, mut client) = Served::with_topic("t").await;
    let identity = client.call(4, &init_producer_id::Request { ..Default::default() }).await;
    assert_eq!((identity.error_code, identity.producer_epoch), (0, 0));
    for sequence in 0..REQUESTS {
        let mut batch = BatchBuilder::new().producer(
            identity.producer_id,
            identity.producer_epoch,
            sequence as i32,
        );
        batch.push(&NewRecord {
            timestamp: 1,
            key: None,
            value: Some(sequence.to_string().into()),
            headers: Vec::new(),
        });
        client.send(9, &appending("t", batch.build().bytes().clone())).await;
    }
    for sequence in 0..REQUESTS {
        let response = client.receive::<produce::Request>(9).await;
        let answered = &response.responses[0].partition_responses[0];
        assert_eq!((answered.error_code, answered.base_offset), (0, sequence as i64));
    }
    served.stop().await;
}

#[tokio::test]
async fn acks_0_gets_no_answer_and_its_refusal_closes_the_connection() {
    let (served, mut client) = Served::with_topic("t").await;
    let mut request = appending("t", batch(&["quiet"]));
    request.acks = 0;
    client.send(9, &request).await;
    // The next frame answers the next request: its correlation id follows the unanswered one's.
    client.send(4, &named()).await;
    let frame = client.next_frame().await.unwrap();
    let decoded = tidings_wire::decode_response::<api_versions::Request>(4, frame);
    assert_eq!(decoded.unwrap().0, 3);

    let mut other = served.connect().await;
    let read = other.call(12, &fetching("t", 0, 0)).await;
    assert_eq!(values(&read.responses[0].partitions[0]), owned(&[(0, "quiet")]));

    request.topic_data[0].name = "missing".into();
    client.send(9, &request).await;
    client.assert_closed().await;
    assert_eq!(other.call(4, &named()).await.error_code, 0);
    served.stop().await;
}

#[tokio::test]
async fn produce_is_refused_by_partition() {
    let (served, mut client) = Served::with_topic("t").await;
    let good = batch(&["good"]);
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let mut zstd = BatchBuilder::new().compression(Compression::Zstd);
    zstd.push(&NewRecord { timestamp: 1, key: None, value: Some("z".into()), headers: Vec::new() });
    let zstd = zstd.build().bytes().clone();
    for (name, version, topic, records, acks, expected) in [
        ("a flipped bit", 9, "t", Some(corrupt.clone().into()), -1, 2),
        ("cut short", 9, "t", Some(good.slice(..good.len() - 1)), -1, 87),
        ("no batch", 9, "t", None, -1, 87),
        ("two batches", 9, "t", Some([&good[..], &good[..]].concat().into()), -1, 87),
        ("unknown topic", 9, "missing", Some(good.clone()), -1, 3),
        ("acks=2", 9, "t", Some(good.clone()), 2, 21),
        ("zstd below version 7", 6, "t", Some(zstd.clone()), -1, 76),
        ("zstd from version 7", 7, "t", Some(zstd.clone()), -1, 0),
        ("acks=1", 9, "t", Some(good.clone()), 1, 0),
    ] {
        let mut request = appending(topic, good.clone());
        request.acks = acks;
        request.topic_data[0].partition_data[0].records = records;
        let response = client.call(version, &request).await;
        let answered = &response.responses[0].partition_responses[0];
        assert_eq!(answered.error_code, expected, "{name}: {answered:?}");
        assert_eq!(answered.base_offset == -1, expected != 0, "{name}");
    }
    // One partition's refusal is not its neighbour's.
    let mut request = appending("t", corrupt.into());
    request.topic_data.extend(appending("t2", good).topic_data);
    let created = metadata::Request {
        topics: Some(vec![metadata::RequestTopic {
            name: Some("t2".into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    assert_eq!(client.call(12, &created).await.topics[0].error_code, 0);
    let response = client.call(9, &request).await;
    let codes: Vec<_> = response
        .responses
        .iter()
        .map(|topic| (topic.name.as_str(), topic.partition_responses[0].error_code))
        .collect();
    assert_eq!(codes, [("t", 2), ("t2", 0)]);
    served.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_produce_in_words_and_recovers() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["before"]).await;
    served.disk.set_capacity(served.disk.used_bytes());
    let large = "x".repeat(100_000);
    let refused = loop {
        let answered = client.append("t", &[&large]).await;
        if answered.error_code != 0 {
            break answered;
        }
    };
    assert_eq!(refused.error_code, 56, "{refused:?}");
    assert!(!refused.error_message.unwrap().is_empty());
    // Reading goes on.
    let read = client.call(12, &fetching("t", 0, 0)).await;
    assert_eq!(values(&read.responses[0].partitions[0])[0], (0, "before".to_owned()));

    served.disk.set_capacity(u64::MAX);
    while client.append("t", &["after"]).await.error_code != 0 {}
    served.stop().await;
}

#[tokio::test]
async fn fetch_is_refused_by_partition_or_as_a_whole() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["a"]).await;
    for (topic, offset, epoch, expected) in
        [("t", 2, -1, 1), ("t", -5, -1, 1), ("missing", 0, -1, 3), ("t", 0, 99, 75), ("t", 1, 0, 0)]
    {
        let mut request = fetching(topic, offset, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = client.call(12, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, expected, "{topic} from {offset}");
        assert!(partition.records.as_ref().unwrap().is_empty());
        assert_eq!(partition.high_watermark, if expected == 0 { 1 } else { -1 });
    }
    for (session_id, session_epoch, expected) in [(7, 1, 70), (0, 1, 70), (0, 0, 0), (0, -1, 0)] {
        let request = fetch::Request { session_id, session_epoch, ..fetching("t", 0, 0) };
        assert_eq!(client.call(12, &request).await.error_code, expected);
    }
    served.stop().await;
}

#[tokio::test]
async fn offsets_are_listed_by_end_and_by_time() {
    let (served, mut client) = Served::with_topic("t").await;
    client.append("t", &["a", "b"]).await;
    client.append("t", &["c"]).await;
    for (version, timestamp, expected) in [
        (1, -1, (0, 3, -1)),
        (7, -1, (0, 3, -1)),
        (7, -2, (0, 0, -1)),
        (7, -3, (0, 1, 1001)),
        (6, -3, (35, -1, -1)),
        (7, -4, (35, -1, -1)),
        (8, -4, (0, 0, -1)),
        (8, -5, (35, -1, -1)),
        (9, -5, (0, -1, -1)),
        (10, -6, (35, -1, -1)),
        (11, -6, (0, -1, -1)),
        (11, -7, (35, -1, -1)),
        (7, 0, (0, 0, 1000)),
        (7, 1001, (0, 1, 1001)),
        (7, 5000, (0, -1, -1)),
    ] {
        let partition = list_offsets::Partition { timestamp, ..Default::default() };
        let topic = list_offsets::Topic { name: "t".into(), partitions: vec![partition] };
        let request =
            list_offsets::Request { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = client.call(version, &request).await;
        let found = &response.topics[0].partitions[0];
        let found = (found.error_code, found.offset, found.timestamp);
        assert_eq!(found, expected, "v{version} {timestamp}");
    }
    served.stop().await;
}

fn deleting(topic: &str, offset: i64) -> delete_records::Request {
    let partition = delete_records::Partition { partition_index: 0, offset };
    let topic = delete_records::Topic { name: topic.into(), partitions: vec![partition] };
    delete_records::Request { topics: vec![topic], timeout_ms: 1000 }
}

#[tokio::test]
async fn records_below_an_offset_are_deleted_in_any_version() {
    let (served, mut client) = Served::with_topic("t").await;
    for value in ["a", "b", "c", "d"] {
        client.append("t", &[value]).await;
    }
    let internal = "__consumer_offsets";
    client
        .call(
            12,
            &metadata::Request {
                topics: Some(vec![metadata::RequestTopic {
                    name: Some(internal.into()),
                    ..Default::default()
                }]),
                ..Default::default()
            },
        )
        .await;
    for (version, topic, offset, low_watermark, error_code) in [
        (0, "t", 1, 1, 0),
        (1, "t", 0, 1, 0),
        (2, "t", 5, -1, 1),
        (2, "t", -2, -1, 1),
        (2, "missing", 0, -1, 3),
        (2, internal, 0, -1, 17),
        (2, "t", -1, 4, 0),
    ] {
        let response = client.call(version, &deleting(topic, offset)).await;
        let partition = &response.topics[0].partitions[0];
        let seen = (partition.low_watermark, partition.error_code);
        assert_eq!(seen, (low_watermark, error_code), "{topic} before {offset}");
    }
    let read = client.call(12, &fetching("t", 3, 0)).await;
    assert_eq!(read.responses[0].partitions[0].error_code, 1);
    let read = client.call(12, &fetching("t", 4, 0)).await;
    assert_eq!(read.responses[0].partitions[0].log_start_offset, 4);
    served.stop().await;
}

#[tokio::test]
async fn a_refused_batch_names_the_records_and_their_error() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let config =
        create_topics::Config { name: "cleanup.policy".into(), value: Some("compact".into()) };
    let topic = create_topics::Topic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let create =
        create_topics::Request { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.call(5, &create).await.topics[0].error_code, 0);
    let record = |key: Option<&'static str>, timestamp| NewRecord {
        timestamp,
        key: key.map(Into::into),
        value: Some("v".into()),
        headers: Vec::new(),
    };
    let keyless = encode_batch(&[record(Some("k"), 1), record(None, 1)], None);
    let early = encode_batch(&[record(Some("k"), i64::MAX / 2)], None);
    for (version, records, error_code, named) in
        [(8, keyless.clone(), 87, vec![1]), (7, keyless, 87, vec![]), (9, early, 32, vec![0])]
    {
        let response = client.call(version, &appending("t", records)).await;
        let answered = &response.responses[0].partition_responses[0];
        assert_eq!((answered.error_code, answered.base_offset), (error_code, -1), "{answered:?}");
        let indexes: Vec<i32> = answered.record_errors.iter().map(|e| e.batch_index).collect();
        assert_eq!(indexes, named, "v{version}: {answered:?}");
        assert_eq!(answered.error_message.is_some(), version >= 8);
    }
    served.stop().await;
}
