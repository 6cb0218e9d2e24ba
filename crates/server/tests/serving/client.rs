//! A server to talk to, and a client that says exactly what a test wants said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidings_node::{MemoryDisk, NewRecord, Node, NodeConfig, encode_batch};
use tidings_server::{Server, ServerConfig};
use tidings_wire::{Request, RequestHeader, create_topics, fetch, metadata, produce};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What is advertised; the first of several brokers has this port.
const HOST: &str = "broker.test";
const PORT: u16 = 19092;

/// Far beyond what anything here takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) disk: MemoryDisk,
    pub(crate) server: Server,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::shown_as(1).await
    }

    /// A node that is shown as so many brokers, each with a listener.
    pub(crate) async fn shown_as(brokers: i32) -> Self {
        let disk = MemoryDisk::new();
        let config = NodeConfig { brokers, default_partitions: 2, ..NodeConfig::default() };
        let (node, _) = Node::start(Arc::new(disk.clone()), config).unwrap();
        let (mut listeners, mut config) = (Vec::new(), ServerConfig::new((HOST.into(), PORT)));
        for _ in 0..brokers {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        config.advertised = (PORT..).take(listeners.len()).map(|p| (HOST.into(), p)).collect();
        let server = tidings_server::start(node.clone(), listeners, config).await.unwrap();
        Self { node, disk, server }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.server.local_addrs()[0]).await
    }

    /// A client, after making this topic with one partition.
    pub(crate) async fn with_topic(topic: &str) -> (Self, Client) {
        let served = Self::start().await;
        let mut client = served.connect().await;
        let new = create_topics::Topic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: -1,
            ..Default::default()
        };
        let request = create_topics::Request { topics: vec![new], ..Default::default() };
        let response = client.call(7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        (served, client)
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.node.stop().await.unwrap();
    }
}

pub(crate) struct Client {
    /// What it calls itself.
    pub(crate) name: &'static str,
    socket: TcpStream,
    sent: i32,
    received: i32,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self { name: "test", socket, sent: 0, received: 0 }
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Sends without waiting for the answer; correlation ids count from 1.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.sent += 1;
        let client_id = Some(self.name.to_owned());
        let header = RequestHeader { version, correlation_id: self.sent, client_id };
        let frame = tidings_wire::encode_request(&header, request).unwrap().concat();
        self.send_raw(&frame).await;
    }

    /// The next frame without its length; none when the server has closed the connection.
    pub(crate) async fn next_frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = match self.socket.read_i32().await {
                Ok(length) => usize::try_from(length).unwrap(),
                Err(_) => return None,
            };
            let mut frame = BytesMut::zeroed(length);
            self.socket.read_exact(&mut frame).await.unwrap();
            Some(frame.freeze())
        };
        timeout(DEADLINE, read).await.expect("an answer or the end of the connection")
    }

    /// The answer to the oldest request that has none yet.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.next_frame().await.expect("the connection is open");
        self.received += 1;
        let decoded = tidings_wire::decode_response::<R>(version, frame);
        let (correlation_id, response) = decoded.unwrap();
        assert_eq!(correlation_id, self.received, "answers come in the order of the requests");
        response
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// Ends the client's side: the server sees the end of what it reads.
    pub(crate) async fn end_sending(&mut self) {
        // The server may have closed first, which is what the caller then finds out.
        let _closed = self.socket.shutdown().await;
    }

    /// Whether nothing has come that was not received yet.
    pub(crate) fn has_nothing(&self) -> bool {
        let outcome = self.socket.try_read(&mut [0]);
        outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub(crate) async fn assert_closed(&mut self) {
        assert_eq!(self.next_frame().await, None);
    }

    pub(crate) async fn topic_id(&mut self, topic: &str) -> [u8; 16] {
        let topic = metadata::RequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = metadata::Request { topics: Some(vec![topic]), ..Default::default() };
        let response = self.call(13, &request).await;
        assert_eq!((response.error_code, response.topics[0].error_code), (0, 0));
        response.topics[0].topic_id
    }

    /// Appends to partition 0 and returns the outcome.
    pub(crate) async fn append(
        &mut self,
        topic: &str,
        values: &[&str],
    ) -> produce::PartitionResponse {
        let response = self.call(9, &appending(topic, batch(values))).await;
        response.responses[0].partition_responses[0].clone()
    }
}

/// One batch with these values.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(place, value)| NewRecord {
            timestamp: 1_000 + place as i64,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        })
        .collect();
    encode_batch(&records, None)
}

/// A request to append a batch to partition 0.
pub(crate) fn appending(topic: &str, batch: Bytes) -> produce::Request {
    let data = produce::PartitionData { index: 0, records: Some(batch) };
    let topic =
        produce::TopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    produce::Request { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

/// A request to read partition 0 from an offset, waiting up to `max_wait_ms` for a byte.
pub(crate) fn fetching(topic: &str, offset: i64, max_wait_ms: i32) -> fetch::Request {
    let partition = fetch::Partition {
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        fetch::Topic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let (min_bytes, max_bytes) = (1, 1 << 20);
    fetch::Request { max_wait_ms, min_bytes, max_bytes, topics: vec![topic], ..Default::default() }
}

/// The values in fetched batches, with their offsets.
pub(crate) fn values(partition: &fetch::PartitionResponse) -> Vec<(i64, String)> {
    let batches = partition.records.clone().unwrap();
    let (records, _) = tidings_node::decode_batches(batches, 0).unwrap();
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    records.into_iter().map(|record| (record.offset, text(record.value))).collect()
}
