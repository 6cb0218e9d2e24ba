//! `--memory` holds whatever clients do: they announce what they never send, send much at once, ask
//! for what they do not read, name what does not exist; and somebody else is served meanwhile.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use bytes::Bytes;
use tidings_compat::Server;
use tidings_node::{NewRecord, encode_batch};
use tidings_wire::{create_topics, fetch, join_group, metadata, produce};

use crate::wire::{ask, connect, connect_deaf, frame};

const MEMORY: u64 = 512 << 20;
const TOPIC: &str = "attacked";
const PARTITIONS: i32 = 8;

/// Somebody whose connection must not fail.
struct Neighbour(TcpStream);

impl Neighbour {
    fn is_served(&mut self, during: &str) {
        let asked = metadata::Request {
            topics: Some(vec![metadata::RequestTopic {
                name: Some(TOPIC.to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        let answer = ask(&mut self.0, 4, &asked);
        let answer = answer.unwrap_or_else(|error| panic!("{during}: {error}"));
        assert_eq!(answer.topics[0].partitions.len(), PARTITIONS as usize, "{during}");
        let stored = ask(&mut self.0, 7, &batch_for(0, 100)).expect(during);
        assert_eq!(stored.responses[0].partition_responses[0].error_code, 0, "{during}");
    }
}

fn batch_for(partition: i32, value_bytes: usize) -> produce::Request {
    let record =
        NewRecord { value: Some(Bytes::from(vec![7; value_bytes])), ..NewRecord::default() };
    let data =
        produce::PartitionData { index: partition, records: Some(encode_batch([&record], None)) };
    produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::TopicData {
            name: TOPIC.to_owned(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn create_topic(server: &Server) {
    let topic = create_topics::Topic {
        name: TOPIC.to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: vec![create_topics::Config {
            name: "max.message.bytes".to_owned(),
            value: Some("16777216".to_owned()),
        }],
        ..Default::default()
    };
    let request =
        create_topics::Request { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let created = ask(&mut connect(server), 4, &request).expect("an answer");
    assert_eq!(created.topics[0].error_code, 0);
}

/// Connections that announce the longest request there is, and send a part of it.
fn announce(server: &Server) -> Vec<TcpStream> {
    let part = vec![0; 600_000];
    let mut streams = Vec::new();
    for _ in 0..200 {
        let mut stream = connect_deaf(server);
        stream.write_all(&(6i32 << 20).to_be_bytes()).expect("a length is read");
        // What the server has no room for it does not take.
        let _held_back = stream.write_all(&part);
        streams.push(stream);
    }
    streams
}

/// Much at once, 512 MiB in all.
fn produce_much(server: &Server) {
    thread::scope(|scope| {
        for partition in 0..PARTITIONS {
            scope.spawn(move || {
                let mut stream = connect(server);
                let request = batch_for(partition, 4 << 20);
                for _ in 0..16 {
                    let stored = ask(&mut stream, 7, &request).expect("an answer");
                    assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
                }
            });
        }
    });
}

/// Fetches of everything, from the beginning and from the end, that nobody reads.
fn fetch_unread(server: &Server) -> Vec<TcpStream> {
    let from = |offset: i64| fetch::Request {
        max_wait_ms: 1,
        max_bytes: i32::MAX,
        topics: vec![fetch::Topic {
            topic: TOPIC.to_owned(),
            partitions: (0..PARTITIONS)
                .map(|partition| fetch::Partition {
                    partition,
                    fetch_offset: offset,
                    partition_max_bytes: i32::MAX,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    (0..200)
        .map(|number| {
            let mut stream = connect_deaf(server);
            for _ in 0..4 {
                let _held_back = stream.write_all(&frame(11, &from(number % 16)));
            }
            stream
        })
        .collect()
}

/// Lists that are long to answer, many on each connection, that nobody reads.
fn list_unread(server: &Server) -> Vec<TcpStream> {
    let topic = |number: usize| metadata::RequestTopic {
        name: Some(format!("{number:0>240}")),
        ..Default::default()
    };
    let request = metadata::Request {
        topics: Some((0..10_000).map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let frame = frame(4, &request);
    (0..40)
        .map(|_| {
            let mut stream = connect_deaf(server);
            for _ in 0..2 {
                let _held_back = stream.write_all(&frame);
            }
            stream
        })
        .collect()
}

/// Members of many groups with as much metadata as a member may have.
fn join_many(server: &Server) {
    let mut stream = connect(server);
    for group in 0..700 {
        let protocol = join_group::Protocol {
            name: "range".to_owned(),
            metadata: Bytes::from(vec![1; 1_000_000]),
        };
        let request = join_group::Request {
            group_id: format!("group-{group}"),
            session_timeout_ms: 1_800_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        };
        // Version 3 gives the member its id and its place at once.
        ask(&mut stream, 3, &request).expect("an answer, be it a refusal");
    }
}

fn most(server: &Server, after: &str) {
    let most = server.memory("VmHWM").expect("a figure");
    println!("after {after}: at most {} MiB of {}", most >> 20, MEMORY >> 20);
    assert!(most <= MEMORY, "{after}: {} MiB", most >> 20);
}

#[test]
fn memory_stays_within_what_was_said_whatever_clients_do() {
    let server = Server::start_with(&["--memory", "512MiB"]).expect("the server starts");
    create_topic(&server);
    let mut neighbour = Neighbour(connect(&server));
    neighbour.is_served("peace");

    let announced = announce(&server);
    neighbour.is_served("announcements");
    most(&server, "announcements");
    drop(announced);
    produce_much(&server);
    neighbour.is_served("much at once");
    most(&server, "much at once");
    let fetching = fetch_unread(&server);
    neighbour.is_served("unread fetches");
    most(&server, "unread fetches");
    let listing = list_unread(&server);
    neighbour.is_served("unread lists");
    most(&server, "unread lists");
    drop((fetching, listing));
    join_many(&server);
    neighbour.is_served("many groups");
    most(&server, "many groups");
}
