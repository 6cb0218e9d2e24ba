//! Transactions over the socket: every version of every API, and the codes that depend on it.

use bytes::Bytes;
use tidings_broker::log::{BatchBuilder, NewRecord};
use tidings_wire::{
    add_offsets_to_txn, add_partitions_to_txn, describe_producers, describe_transactions, end_txn,
    fetch, init_producer_id, list_transactions, offset_fetch, txn_offset_commit, write_txn_markers,
};

use crate::client::{Client, Served, appending, fetching, values};

const ID: &str = "t";

/// Producer id and epoch.
type Producer = (i64, i16);

fn starting() -> init_producer_id::Request {
    init_producer_id::Request {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    }
}

async fn start(client: &mut Client, version: i16) -> Producer {
    let response = client.call(version, &starting()).await;
    assert_eq!(response.error_code, 0, "{response:?}");
    (response.producer_id, response.producer_epoch)
}

fn adding((id, epoch): Producer, partition: i32) -> add_partitions_to_txn::Request {
    let topics = vec![add_partitions_to_txn::AddPartitionsToTxnTopic {
        name: "a".into(),
        partitions: vec![partition],
    }];
    add_partitions_to_txn::Request {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: topics.clone(),
        transactions: vec![add_partitions_to_txn::AddPartitionsToTxnTransaction {
            transactional_id: ID.into(),
            producer_id: id,
            producer_epoch: epoch,
            verify_only: true,
            topics,
        }],
    }
}

async fn add(client: &mut Client, version: i16, producer: Producer, partition: i32) -> i16 {
    let response = client.call(version, &adding(producer, partition)).await;
    let topics = match version {
        ..4 => &response.results_by_topic_v3_and_below,
        _ => &response.results_by_transaction[0].topic_results,
    };
    topics[0].results_by_partition[0].partition_error_code
}

fn batch((id, epoch): Producer, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new().producer(id, epoch, sequence).transactional();
    builder.push(&NewRecord {
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..NewRecord::default()
    });
    builder.build().bytes().clone()
}

async fn produce(client: &mut Client, batch: Bytes) -> i16 {
    let mut request = appending("a", batch);
    request.transactional_id = Some(ID.into());
    client.call(9, &request).await.responses[0].partition_responses[0].error_code
}

async fn end(
    client: &mut Client,
    version: i16,
    (id, epoch): Producer,
    committed: bool,
) -> (i16, Producer) {
    let request = end_txn::Request {
        transactional_id: ID.into(),
        producer_id: id,
        producer_epoch: epoch,
        committed,
    };
    let response = client.call(version, &request).await;
    (response.error_code, (response.producer_id, response.producer_epoch))
}

async fn commit(client: &mut Client, version: i16, (id, epoch): Producer, offset: i64) -> i16 {
    let partition = txn_offset_commit::TxnOffsetCommitRequestPartition {
        committed_offset: offset,
        committed_leader_epoch: -1,
        ..Default::default()
    };
    let request = txn_offset_commit::Request {
        transactional_id: ID.into(),
        group_id: "g".into(),
        producer_id: id,
        producer_epoch: epoch,
        generation_id: -1,
        topics: vec![txn_offset_commit::TxnOffsetCommitRequestTopic {
            name: "a".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    client.call(version, &request).await.topics[0].partitions[0].error_code
}

/// Error code and offset.
async fn committed(client: &mut Client, require_stable: bool) -> (i16, i64) {
    let topics = Some(vec![offset_fetch::Topic { name: "a".into(), partition_indexes: vec![0] }]);
    let request = offset_fetch::Request {
        group_id: "g".into(),
        topics,
        require_stable,
        ..Default::default()
    };
    let response = client.call(7, &request).await;
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.committed_offset)
}

async fn read_committed(client: &mut Client) -> fetch::PartitionResponse {
    let request = fetch::Request { isolation_level: 1, ..fetching("a", 0, 0) };
    client.call(12, &request).await.responses[0].partitions[0].clone()
}

#[tokio::test]
async fn a_transaction_by_the_first_version() {
    let (served, mut client) = Served::with_topic("a").await;
    let producer = start(&mut client, 0).await;
    assert_eq!(add(&mut client, 0, producer, 0).await, 0);
    let offsets = add_offsets_to_txn::Request {
        transactional_id: ID.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: "g".into(),
    };
    assert_eq!(client.call(0, &offsets).await.error_code, 0);
    assert_eq!(produce(&mut client, batch(producer, 0, "first")).await, 0);
    assert_eq!(commit(&mut client, 3, producer, 7).await, 0);
    assert_eq!(committed(&mut client, true).await, (88, -1));
    assert_eq!(committed(&mut client, false).await, (0, -1));
    assert_eq!(values(&read_committed(&mut client).await), []);
    assert_eq!(end(&mut client, 1, producer, true).await.0, 0);
    assert_eq!(end(&mut client, 1, producer, true).await.0, 0, "again");
    assert_eq!(end(&mut client, 1, producer, false).await.0, 48);
    assert_eq!(committed(&mut client, true).await, (0, 7));
    assert_eq!(add(&mut client, 3, producer, 0).await, 0);
    assert_eq!(produce(&mut client, batch(producer, 1, "second")).await, 0);
    assert_eq!(end(&mut client, 4, producer, false).await.0, 0);
    let read = read_committed(&mut client).await;
    assert_eq!(read.last_stable_offset, 4);
    let aborted = read.aborted_transactions.expect("there is one");
    assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (producer.0, 2));
    served.stop().await;
}

#[tokio::test]
async fn an_end_of_version_5_raises_the_epoch_and_says_so_again() {
    let (served, mut client) = Served::with_topic("a").await;
    let producer = start(&mut client, 5).await;
    assert_eq!(add(&mut client, 3, producer, 0).await, 0);
    assert_eq!(produce(&mut client, batch(producer, 0, "x")).await, 0);
    assert_eq!(commit(&mut client, 5, producer, 3).await, 0, "adds the offsets itself");
    let raised = (producer.0, producer.1 + 1);
    assert_eq!(end(&mut client, 5, producer, true).await, (0, raised));
    assert_eq!(end(&mut client, 5, producer, true).await, (0, raised));
    assert_eq!(end(&mut client, 5, producer, false).await.0, 48);
    let none = (-1, -1);
    assert_eq!(end(&mut client, 5, (producer.0, raised.1 + 1), true).await, (90, none));
    assert_eq!(committed(&mut client, true).await, (0, 3));
    served.stop().await;
}

#[tokio::test]
async fn refusals_have_the_codes_that_the_version_knows() {
    let (served, mut client) = Served::with_topic("a").await;
    let old = start(&mut client, 4).await;
    assert_eq!(produce(&mut client, batch(old, 0, "x")).await, 48, "not added");
    for (version, code) in [(0, 48), (3, 48), (4, 120)] {
        assert_eq!(commit(&mut client, version, old, 1).await, code, "v{version}");
    }
    for version in [4, 5] {
        assert_eq!(add(&mut client, version, old, 0).await, 120, "verified, v{version}");
    }
    assert_eq!(add(&mut client, 3, old, 9).await, 3);
    let new = start(&mut client, 4).await;
    assert_eq!(new, (old.0, old.1 + 1));
    for version in 0..=5 {
        let fenced = if version < 2 { 47 } else { 90 };
        assert_eq!(end(&mut client, version, old, true).await.0, fenced, "v{version}");
        assert_eq!(add(&mut client, version, old, 0).await, fenced, "v{version}");
        assert_eq!(end(&mut client, version, (99, 0), true).await.0, 49, "v{version}");
        assert_eq!(commit(&mut client, version, old, 1).await, 47, "v{version}");
    }
    assert_eq!(produce(&mut client, batch(old, 0, "x")).await, 47);
    for (version, code) in [(3, 47), (4, 90)] {
        let mut request = starting();
        (request.producer_id, request.producer_epoch) = (old.0, old.1 - 1);
        request.producer_epoch = old.1.max(0) + 7;
        assert_eq!(client.call(version, &request).await.error_code, code, "v{version}");
    }
    let slow = init_producer_id::Request { transaction_timeout_ms: 900_001, ..starting() };
    assert_eq!(client.call(4, &slow).await.error_code, 50);
    let empty = init_producer_id::Request { transactional_id: Some(String::new()), ..starting() };
    assert_eq!(client.call(4, &empty).await.error_code, 42);
    served.stop().await;
}

#[tokio::test]
async fn a_transaction_is_described_listed_and_ended_by_hand() {
    let (served, mut client) = Served::with_topic("a").await;
    let producer = start(&mut client, 4).await;
    assert_eq!(add(&mut client, 3, producer, 0).await, 0);
    assert_eq!(produce(&mut client, batch(producer, 0, "x")).await, 0);
    let transactional_ids = vec![ID.into(), "none".into()];
    let described = client.call(0, &describe_transactions::Request { transactional_ids }).await;
    let [held, none] = &described.transaction_states[..] else { panic!("{described:?}") };
    assert_eq!((held.transaction_state.as_str(), held.topics[0].partitions.len()), ("Ongoing", 1));
    assert_eq!((held.producer_id, held.transaction_timeout_ms), (producer.0, 60_000));
    assert_eq!(none.error_code, 105);

    let listing = |pattern: &str| list_transactions::Request {
        duration_filter: -1,
        transactional_id_pattern: Some(pattern.into()),
        ..Default::default()
    };
    for (pattern, code, found) in [
        ("", 0, 1),
        ("t", 0, 1),
        (".*", 0, 1),
        ("x|t", 0, 1),
        ("tt", 0, 0),
        ("(", 128, 0),
        (")", 128, 0),
    ] {
        let listed = client.call(2, &listing(pattern)).await;
        let seen = (listed.error_code, listed.transaction_states.len());
        assert_eq!(seen, (code, found), "{pattern:?}");
    }
    for (version, found) in [(0, 1), (1, 0)] {
        let lasting =
            list_transactions::Request { duration_filter: 3_600_000, ..Default::default() };
        let listed = client.call(version, &lasting).await.transaction_states.len();
        assert_eq!(listed, found, "v{version}");
    }

    let topics =
        vec![describe_producers::TopicRequest { name: "a".into(), partition_indexes: vec![0, 9] }];
    let described = client.call(0, &describe_producers::Request { topics }).await;
    let [there, gone] = &described.topics[0].partitions[..] else { panic!("{described:?}") };
    let active = &there.active_producers[0];
    assert_eq!((active.producer_id, active.current_txn_start_offset), (producer.0, 0));
    assert_eq!(gone.error_code, 3);

    let marker = write_txn_markers::WritableTxnMarker {
        producer_id: producer.0,
        producer_epoch: producer.1,
        transaction_result: false,
        topics: vec![write_txn_markers::WritableTxnMarkerTopic {
            name: "a".into(),
            partition_indexes: vec![0, 9],
        }],
        coordinator_epoch: 0,
    };
    let written = client.call(1, &write_txn_markers::Request { markers: vec![marker] }).await;
    let answers = &written.markers[0].topics[0].partitions;
    let codes: Vec<_> = answers.iter().map(|a| (a.partition_index, a.error_code)).collect();
    assert_eq!(codes, [(0, 0), (9, 3)]);
    assert_eq!(read_committed(&mut client).await.last_stable_offset, 2);
    served.stop().await;
}
