//! A process that may have few files open: connections beyond what there is room for are closed, those that
//! are there are served on, the log has what it needs, and whoever goes makes room.

use std::net::TcpStream;
use std::time::Duration;

use tidings_compat::{Server, eventually};
use tidings_wire::{api_versions, create_topics, metadata, produce};

use crate::wire::{ask, connect};

const FILES: u32 = 256;
/// More than there is room for.
const CONNECTIONS: usize = 400;
/// Beyond the time after which what little there is is flushed, on a disk that other tests keep busy.
const FLUSHED_WITHIN: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(20);

fn is_served(stream: &mut TcpStream) -> bool {
    ask(stream, 0, &api_versions::Request::default()).is_ok()
}

fn create(stream: &mut TcpStream, name: &str) {
    let topic = create_topics::Topic {
        name: name.to_owned(),
        num_partitions: 20,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        create_topics::Request { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let created = ask(stream, 4, &request).expect("an answer");
    assert_eq!(created.topics[0].error_code, 0);
}

/// A record into each partition, and what they were answered.
fn produce_to(stream: &mut TcpStream, name: &str) -> Vec<i16> {
    let record = tidings_node::NewRecord::default();
    let data = |index| produce::PartitionData {
        index,
        records: Some(tidings_node::encode_batch([&record], None)),
    };
    let request = produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::TopicData {
            name: name.to_owned(),
            partition_data: (0..20).map(data).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let stored = ask(stream, 7, &request).expect("an answer");
    stored.responses[0].partition_responses.iter().map(|stored| stored.error_code).collect()
}

#[test]
fn connections_beyond_the_files_are_closed_and_the_log_keeps_its_own() {
    let server = Server::start_with_files(FILES).expect("the server starts");
    let mut neighbour = connect(&server);
    create(&mut neighbour, "before");
    let mut taken = Vec::new();
    let mut refused = 0;
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&server);
        if is_served(&mut stream) {
            taken.push(stream);
        } else {
            refused += 1;
        }
    }
    println!("{} connections are served, {refused} were closed", taken.len());
    assert!(taken.len() >= 50 && refused > 100, "{} and {refused}", taken.len());
    // Segments are made while every connection that there is room for is open.
    create(&mut neighbour, "during");
    for topic in ["before", "during"] {
        assert_eq!(produce_to(&mut neighbour, topic), [0; 20], "{topic}");
    }
    let segment = server.data().join("during-19").join("00000000000000000000.log");
    let is_there = || std::fs::metadata(&segment).ok().filter(|file| file.len() > 0);
    eventually(FLUSHED_WITHIN, is_there).expect("it is flushed");
    for topic in ["before", "during"] {
        assert_eq!(produce_to(&mut neighbour, topic), [0; 20], "{topic}, after the flush");
    }
    assert!(taken.iter_mut().all(is_served), "who was there is served on");
    drop(taken);
    let again = eventually(PATIENCE, || is_served(&mut connect(&server)).then_some(()));
    again.expect("there is room again");
    ask(&mut neighbour, 4, &metadata::Request::default()).expect("the neighbour is served");
}
