//! A broker that keeps nothing and answers at once: what the client can do at most.
//!
//! It knows the requests of a producer, in versions that librdkafka chooses, and one topic with any
//! number of partitions. A thread per connection; it ends with the process.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tidings_wire::{self as wire, Prefix, Request};

/// Starts it; returns its address.
pub(super) fn start(topic: &'static str, partitions: i32) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its thread only.
            thread::spawn(move || serve(stream, address.port(), topic, partitions));
        }
    });
    Ok(address.to_string())
}

fn serve(mut stream: TcpStream, port: u16, topic: &str, partitions: i32) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        stream.read_exact(&mut frame)?;
        let frame = Bytes::from(frame);
        let prefix = Prefix::decode(&frame)?;
        let answer = if prefix.key == wire::api_versions::API.key {
            respond::<wire::api_versions::Request>(prefix, &api_versions())
        } else if prefix.key == wire::metadata::API.key {
            respond::<wire::metadata::Request>(prefix, &metadata(port, topic, partitions))
        } else if prefix.key == wire::produce::API.key {
            let (_, request) = wire::decode_request::<wire::produce::Request>(frame)?;
            respond::<wire::produce::Request>(prefix, &acknowledged(request))
        } else {
            bail!("key {} is not a producer's", prefix.key)
        };
        stream.write_all(&answer?)?;
    }
}

fn respond<R: Request>(prefix: Prefix, response: &R::Response) -> anyhow::Result<Vec<u8>> {
    let segments = wire::encode_response::<R>(prefix.version, prefix.correlation_id, response);
    Ok(segments.context(R::API.name)?.concat())
}

fn api_versions() -> wire::api_versions::Response {
    let served = [wire::api_versions::API, wire::metadata::API, wire::produce::API];
    let keys = served.map(|api| wire::api_versions::ApiVersion {
        api_key: api.key,
        min_version: if api.key == wire::produce::API.key { 0 } else { api.version_min },
        max_version: api.version_max,
    });
    wire::api_versions::Response {
        api_keys: keys.to_vec(),
        ..wire::api_versions::Response::default()
    }
}

fn metadata(port: u16, topic: &str, partitions: i32) -> wire::metadata::Response {
    let partitions = (0..partitions).map(|index| wire::metadata::Partition {
        partition_index: index,
        leader_id: 1,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..wire::metadata::Partition::default()
    });
    wire::metadata::Response {
        brokers: vec![wire::metadata::Broker {
            node_id: 1,
            host: "127.0.0.1".to_owned(),
            port: i32::from(port),
            ..wire::metadata::Broker::default()
        }],
        controller_id: 1,
        topics: vec![wire::metadata::Topic {
            name: Some(topic.to_owned()),
            topic_id: [1; 16],
            partitions: partitions.collect(),
            ..wire::metadata::Topic::default()
        }],
        ..wire::metadata::Response::default()
    }
}

fn acknowledged(request: wire::produce::Request) -> wire::produce::Response {
    let topics = request.topic_data.into_iter().map(|topic| wire::produce::TopicResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .into_iter()
            .map(|partition| wire::produce::PartitionResponse {
                index: partition.index,
                ..wire::produce::PartitionResponse::default()
            })
            .collect(),
    });
    wire::produce::Response { responses: topics.collect(), ..wire::produce::Response::default() }
}
