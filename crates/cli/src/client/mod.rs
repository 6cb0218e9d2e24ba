//! A small Kafka client: what the commands need, against any cluster.
//!
//! Each broker is asked over one connection, one request at a time. Requests go to the leader or
//! coordinator they belong to; moves are followed by asking for metadata again. Versions are
//! negotiated with ApiVersions.

mod connection;
mod error_code;
mod groups;
mod loads;
mod records;
mod topics;

use std::collections::HashMap;

use tidings_terminal::failure::Failure;
use tidings_wire::{Request, find_coordinator, metadata};

use crate::limits::{ATTEMPT_PAUSE, ATTEMPTS};
use connection::Connection;
pub(crate) use error_code::ErrorCode;
pub(crate) use groups::{GroupListing, GroupView, MemberView, OffsetView};
pub(crate) use loads::GroupLoad;
pub(crate) use records::{Edges, Fetched, Found, Sent, TooLarge};
pub(crate) use topics::{ConfigView, PartitionView, TopicView};

const CLIENT_ID: &str = "tidings-cli";

#[derive(Debug)]
pub(crate) struct Client {
    bootstrap: String,
    /// By address; the bootstrap connection is among them.
    connections: HashMap<String, Connection>,
    /// Addresses by broker id, as of the last metadata.
    brokers: HashMap<i32, String>,
}

impl Client {
    pub(crate) async fn connect(bootstrap: &str) -> Result<Self, Failure> {
        let connection = Connection::open(bootstrap).await?;
        let connections = HashMap::from([(bootstrap.to_owned(), connection)]);
        Ok(Self { bootstrap: bootstrap.to_owned(), connections, brokers: HashMap::new() })
    }

    /// Asks the broker that was named on the command line.
    async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Failure> {
        let address = self.bootstrap.clone();
        self.call_at(address, request).await
    }

    /// Asks a broker by its id.
    async fn call_node<R: Request>(
        &mut self,
        node: i32,
        request: &R,
    ) -> Result<R::Response, Failure> {
        if !self.brokers.contains_key(&node) {
            self.metadata(Some(Vec::new()), false).await?;
        }
        let address = self.brokers.get(&node).cloned().ok_or_else(|| {
            Failure::failed(format!("broker {node} is not known"))
                .why(format!("the metadata of {} do not name it", self.bootstrap))
        })?;
        self.call_at(address, request).await
    }

    async fn call_at<R: Request>(
        &mut self,
        address: String,
        request: &R,
    ) -> Result<R::Response, Failure> {
        if !self.connections.contains_key(&address) {
            let connection = Connection::open(&address).await?;
            self.connections.insert(address.clone(), connection);
        }
        let Some(connection) = self.connections.get_mut(&address) else {
            unreachable!("it was put there just now");
        };
        let answered = connection.call(request).await;
        if answered.is_err() {
            self.connections.remove(&address);
        }
        answered
    }

    /// Metadata of these topics; none means all.
    async fn metadata(
        &mut self,
        topics: Option<Vec<String>>,
        auto_create: bool,
    ) -> Result<metadata::Response, Failure> {
        let topics = topics.map(|names| {
            let named = names.into_iter();
            named
                .map(|name| metadata::RequestTopic { name: Some(name), ..Default::default() })
                .collect()
        });
        let request = metadata::Request {
            topics,
            allow_auto_topic_creation: auto_create,
            ..Default::default()
        };
        let response = self.call(&request).await?;
        self.brokers = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
            .collect();
        Ok(response)
    }

    /// Leaders of a topic's partitions by number, once all have one.
    pub(crate) async fn leaders(
        &mut self,
        topic: &str,
        auto_create: bool,
    ) -> Result<Vec<i32>, Failure> {
        let mut last = ErrorCode::NONE;
        for _ in 0..ATTEMPTS {
            let response = self.metadata(Some(vec![topic.to_owned()]), auto_create).await?;
            let found = response.topics.into_iter().next();
            let Some(mut found) = found else { break };
            last = ErrorCode(found.error_code);
            if last == ErrorCode::NONE {
                found.partitions.sort_by_key(|p| p.partition_index);
                match found.partitions.iter().find(|p| p.leader_id < 0) {
                    None => return Ok(found.partitions.iter().map(|p| p.leader_id).collect()),
                    Some(leaderless) => last = ErrorCode(leaderless.error_code),
                }
            } else if !(last.is_moving() || auto_create && last == ErrorCode::UNKNOWN_TOPIC) {
                break;
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        Err(last.topic_failure(topic, None))
    }

    /// The broker that looks after a group.
    async fn coordinator(&mut self, group: &str) -> Result<i32, Failure> {
        let mut last = ErrorCode::NONE;
        for _ in 0..ATTEMPTS {
            let request = find_coordinator::Request {
                key: group.to_owned(),
                key_type: 0,
                coordinator_keys: vec![group.to_owned()],
            };
            let response = self.call(&request).await?;
            // From version 4 on the answer is a list.
            let (code, node, host, port) = match response.coordinators.into_iter().next() {
                Some(found) => (found.error_code, found.node_id, found.host, found.port),
                None => (response.error_code, response.node_id, response.host, response.port),
            };
            last = ErrorCode(code);
            if last == ErrorCode::NONE {
                self.brokers.insert(node, format!("{host}:{port}"));
                return Ok(node);
            }
            if !last.is_moving() {
                break;
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        Err(last.failure(format!("group {group} has no coordinator"), None))
    }
}
