//! Messages in versions that the oracle's crate does not know, byte by byte as Apache Kafka's
//! specifications lay them out: OffsetCommit and OffsetFetch version 10, which name topics by id.

use bytes::Bytes;
use tidings_wire::{Reader, Wire, Writer, offset_commit, offset_fetch};

fn check<T: Wire + std::fmt::Debug + PartialEq>(message: &T, expected: &[&[u8]]) {
    let expected: Bytes = expected.concat().into();
    let mut writer = Writer::new(true);
    message.encode(&mut writer, 10);
    assert_eq!(Bytes::from(writer.finish().unwrap().concat()), expected);
    let mut reader = Reader::new(expected, true);
    assert_eq!(T::decode(&mut reader, 10).unwrap(), *message);
    reader.finish().unwrap();
}

const ID: [u8; 16] = [7; 16];

#[test]
fn offset_commit_version_10() {
    let partition = offset_commit::Partition {
        partition_index: 1,
        committed_offset: 5,
        committed_leader_epoch: 2,
        committed_metadata: Some("x".into()),
    };
    let topic =
        offset_commit::Topic { topic_id: ID, partitions: vec![partition], ..Default::default() };
    let request = offset_commit::Request {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        topics: vec![topic],
        ..Default::default()
    };
    check(
        &request,
        &[
            b"\x02g\0\0\0\x03\x02m\0\x02",
            &ID,
            b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x02\x02x\0\0\0",
        ],
    );
    let partition = offset_commit::PartitionResponse { partition_index: 1, error_code: 100 };
    let topic = offset_commit::TopicResponse {
        topic_id: ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let response = offset_commit::Response { throttle_time_ms: 9, topics: vec![topic] };
    check(&response, &[b"\0\0\0\x09\x02", &ID, b"\x02\0\0\0\x01\0\x64\0\0\0"]);
}

#[test]
fn offset_fetch_version_10() {
    let topic =
        offset_fetch::GroupTopic { topic_id: ID, partition_indexes: vec![1], ..Default::default() };
    let group = offset_fetch::Group {
        group_id: "g".into(),
        member_id: Some("m".into()),
        member_epoch: 3,
        topics: Some(vec![topic]),
    };
    let request =
        offset_fetch::Request { groups: vec![group], require_stable: true, ..Default::default() };
    check(&request, &[b"\x02\x02g\x02m\0\0\0\x03\x02", &ID, b"\x02\0\0\0\x01\0\0\x01\0"]);
    let partition = offset_fetch::PartitionResponse {
        partition_index: 1,
        committed_offset: 5,
        committed_leader_epoch: 2,
        metadata: Some(String::new()),
        error_code: 0,
    };
    let topic = offset_fetch::GroupTopicResponse {
        topic_id: ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let group =
        offset_fetch::GroupResponse { group_id: "g".into(), topics: vec![topic], error_code: 0 };
    let response = offset_fetch::Response { groups: vec![group], ..Default::default() };
    check(
        &response,
        &[
            b"\0\0\0\0\x02\x02g\x02",
            &ID,
            b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x02\x01\0\0\0\0\0\0\0\0",
        ],
    );
}
