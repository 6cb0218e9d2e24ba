//! A client that costs little: one connection, one request after the other, no threads of its own.
//!
//! For what librdkafka would be the limit of: many connections on few cores, and readers that only
//! take bytes. Versions are old ones without tagged fields, which both peers serve.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tidings_node::broker::log::{BatchBuilder, NewRecord};
use tidings_wire::{self as wire, Request, RequestHeader};

/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Where a frame's body begins, and where a response's does.
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub(super) struct Light {
    stream: TcpStream,
}

impl Light {
    pub(super) fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream })
    }

    /// What every client says first.
    pub(super) fn greet(&mut self) -> anyhow::Result<()> {
        let answer = self.call(0, &wire::api_versions::Request::default())?;
        ensure!(answer.error_code == 0, "ApiVersions: error {}", answer.error_code);
        Ok(())
    }

    /// Creates a topic; returns when its partitions have leaders.
    pub(super) fn create(&mut self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        self.create_with(topic, partitions, &[])
    }

    /// The same with these configurations.
    pub(super) fn create_with(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let config = |(name, value): &(&str, &str)| wire::create_topics::Config {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        let new = wire::create_topics::Topic {
            name: topic.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..wire::create_topics::Topic::default()
        };
        let request = wire::create_topics::Request {
            topics: vec![new],
            ..wire::create_topics::Request::default()
        };
        let answer = self.call(4, &request)?;
        let error = answer.topics.first().context("no answer for the topic")?.error_code;
        ensure!(error == 0, "{topic} could not be created: error {error}");
        let begun = Instant::now();
        while !self.is_led(topic)? {
            ensure!(begun.elapsed() < ANSWER_WITHIN, "{topic} has no leader");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_led(&mut self, topic: &str) -> anyhow::Result<bool> {
        let wanted = wire::metadata::RequestTopic {
            name: Some(topic.to_owned()),
            ..wire::metadata::RequestTopic::default()
        };
        let request = wire::metadata::Request {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: false,
            ..wire::metadata::Request::default()
        };
        let answer = self.call(4, &request)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found = answer.topics.iter().all(|topic| topic.error_code == 0);
        Ok(found && partitions.all(|partition| partition.error_code == 0))
    }

    /// One batch into partition 0, acknowledged by all replicas.
    pub(super) fn produce(&mut self, topic: &str, batch: &Bytes) -> anyhow::Result<()> {
        let answer = self.call(PRODUCE_VERSION, &produce_request(topic, batch))?;
        produced(&answer)
    }

    pub(super) fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> anyhow::Result<R::Response> {
        self.stream.write_all(&frame(version, request)?)?;
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.stream.read_exact(&mut body)?;
        Ok(wire::decode_response::<R>(version, body.into())?.1)
    }

    /// Reads batches of partition 0 from `offset` on into `buffer`; their bytes, and the offset after
    /// the last of them.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        offset: i64,
        buffer: &mut Vec<u8>,
    ) -> anyhow::Result<(u64, i64)> {
        let request = fetch_request(topic, offset);
        self.stream.write_all(&frame(FETCH_VERSION, &request)?)?;
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let body = &mut buffer[..length];
        self.stream.read_exact(body)?;
        // Correlation id, throttle time, one topic with its name, one partition: then its fields.
        let at = 4 + 4 + 4 + 2 + topic.len() + 4;
        let number = |at: usize| -> anyhow::Result<i32> {
            let bytes = body.get(at..at + 4).context("a short answer")?;
            Ok(i32::from_be_bytes(bytes.try_into()?))
        };
        let error = number(at + 4)? >> 16;
        ensure!(error == 0, "Fetch: error {error}");
        // Index, error, high watermark, last stable offset, aborted transactions: none of them.
        let records = at + 4 + 2 + 8 + 8 + 4;
        let bytes = usize::try_from(number(records)?).unwrap_or(0);
        let next = after(&body[records + 4..], offset)?;
        Ok((bytes as u64, next))
    }
}

pub(super) const PRODUCE_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 4;
const FETCH_BYTES: i32 = 8 << 20;

pub(super) fn frame<R: Request>(version: i16, request: &R) -> anyhow::Result<Vec<u8>> {
    let header = RequestHeader { version, correlation_id: 1, client_id: Some("bench".to_owned()) };
    Ok(wire::encode_request(&header, request)?.concat())
}

pub(super) fn produce_request(topic: &str, batch: &Bytes) -> wire::produce::Request {
    wire::produce::Request {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![wire::produce::TopicData {
            name: topic.to_owned(),
            partition_data: vec![wire::produce::PartitionData {
                index: 0,
                records: Some(batch.clone()),
            }],
            ..wire::produce::TopicData::default()
        }],
    }
}

/// Fails unless every partition took its batch.
pub(super) fn produced(answer: &wire::produce::Response) -> anyhow::Result<()> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    for partition in partitions {
        if partition.error_code != 0 {
            bail!("Produce: error {}", partition.error_code);
        }
    }
    Ok(())
}

fn fetch_request(topic: &str, offset: i64) -> wire::fetch::Request {
    wire::fetch::Request {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        topics: vec![wire::fetch::Topic {
            topic: topic.to_owned(),
            partitions: vec![wire::fetch::Partition {
                partition: 0,
                fetch_offset: offset,
                partition_max_bytes: FETCH_BYTES,
                ..wire::fetch::Partition::default()
            }],
            ..wire::fetch::Topic::default()
        }],
        ..wire::fetch::Request::default()
    }
}

/// The offset after the last whole batch.
fn after(mut batches: &[u8], offset: i64) -> anyhow::Result<i64> {
    const BEFORE_LENGTH: usize = 8;
    const HEAD: usize = 12;
    let mut next = offset;
    while let Some(head) = batches.get(..27) {
        let length = u32::from_be_bytes(head[BEFORE_LENGTH..HEAD].try_into()?) as usize;
        let Some(rest) = batches.get(HEAD + length..) else { break };
        let base = i64::from_be_bytes(head[..BEFORE_LENGTH].try_into()?);
        next = base + i64::from(i32::from_be_bytes(head[23..27].try_into()?)) + 1;
        batches = rest;
    }
    Ok(next)
}

/// A batch of one record with a value of `size` bytes.
pub(super) fn batch(size: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord {
        key: None,
        value: Some(vec![0x5a; size].into()),
        timestamp: 1_700_000_000_000,
        headers: Vec::new(),
    });
    builder.build().bytes().clone()
}
