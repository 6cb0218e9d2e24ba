//! What a handler may know: the node, where clients find it, and who asks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidings_broker::{Call, Client, OverQuota};
use tidings_node::{Node, NodeError, NodeFigures};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::allowances::{Allowances, Elements};
use crate::limits::{
    ConnectionLimits, FETCH_BYTES_MAX, FETCH_BYTES_MIN, FETCH_SHARE, FETCHES_PER_CONNECTION_MAX,
};
use crate::pauses::Pauses;
use crate::said::Lines;

/// One connection's view of the server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: Node,
    /// The broker that it was made to; the node itself unless that is shown as several.
    pub(crate) broker_id: i32,
    /// Host and port of each broker, from the node's own id on.
    pub(crate) advertised: Arc<Vec<(String, u16)>>,
    /// Where the server listens.
    pub(crate) listener: SocketAddr,
    pub(crate) limits: ConnectionLimits,
    pub(crate) peer: SocketAddr,
    pub(crate) fetches: Fetches,
    pub(crate) allowances: Allowances,
    pub(crate) lines: Arc<Lines>,
    pub(crate) pauses: Pauses,
}

/// One request's view of it.
///
/// The node decides requests in the order in which they are submitted, and a submission may have
/// to wait. So the connection takes up its next request only when this one has been submitted, or
/// has said that it may be overtaken.
#[derive(Debug)]
pub(crate) struct Context {
    connection: Arc<Connection>,
    passed: Arc<AtomicBool>,
    /// Whose quotas the request is charged to, once its header has been read.
    client: OnceLock<Arc<Client>>,
    /// What the quotas say of the request so far.
    pause_ms: AtomicU64,
}

/// Whether a request is refused for a quota, which its clients know from some version on.
pub(crate) fn over_quota(version: i16, refused_since: i16) -> OverQuota {
    if version >= refused_since { OverQuota::Refused } else { OverQuota::Slowed }
}

impl Context {
    /// The context, and what turns true when the next request may be taken up.
    pub(crate) fn new(connection: Arc<Connection>) -> (Self, Arc<AtomicBool>) {
        let passed = Arc::new(AtomicBool::new(false));
        let (client, pause_ms) = (OnceLock::new(), AtomicU64::new(0));
        (Self { connection, passed: Arc::clone(&passed), client, pause_ms }, passed)
    }

    /// Asks the node, on behalf of the client.
    pub(crate) async fn ask<C: Call>(&self, request: C) -> Result<C::Reply, NodeError> {
        self.ask_within(OverQuota::Slowed, request).await
    }

    /// The same, of what may be refused for a quota.
    pub(crate) async fn ask_within<C: Call>(
        &self,
        over_quota: OverQuota,
        request: C,
    ) -> Result<C::Reply, NodeError> {
        let node = &self.connection.node;
        let answer = match self.client.get() {
            Some(client) => node.submit_as(Arc::clone(client), over_quota, request).await?,
            None => node.submit(request).await?,
        };
        self.let_pass();
        let (reply, pause_ms) = answer.with_pause().await?;
        self.pause_ms.fetch_max(pause_ms, Ordering::Relaxed);
        Ok(reply)
    }

    /// What the header says of who asks.
    pub(crate) fn asked_by(&self, client_id: Option<&str>) {
        let client = self.connection.pauses.client(self.connection.peer.ip(), client_id);
        // A request has one header.
        let _first = self.client.set(client);
    }

    /// Ends the request: how long its client is to pause, which begins now.
    pub(crate) fn begin_pause(&self) -> i32 {
        let pause_ms = self.pause_ms.load(Ordering::Relaxed);
        if pause_ms > 0 {
            self.connection.pauses.begin(Duration::from_millis(pause_ms));
        }
        i32::try_from(pause_ms).unwrap_or(i32::MAX)
    }

    /// Lets the next request be taken up: this one's place among them does not matter.
    pub(crate) fn let_pass(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn elements(&self) -> &Elements {
        &self.connection.allowances.elements
    }

    pub(crate) fn fetches(&self) -> &Fetches {
        &self.connection.fetches
    }

    /// The bytes that a fetch may return when it wants so many.
    pub(crate) fn fetch_bytes(&self, wanted: usize) -> usize {
        fetch_bytes(wanted, self.connection.node.fetched_bytes_left())
    }

    /// The controller and the coordinator of everything.
    pub(crate) fn node_id(&self) -> i32 {
        self.connection.node.node_id()
    }

    /// The broker that was asked.
    pub(crate) fn broker_id(&self) -> i32 {
        self.connection.broker_id
    }

    /// Every broker that clients are told of, by id.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = AdvertisedBroker<'_>> {
        let ids = self.node_id()..;
        ids.zip(self.connection.advertised.iter()).map(|(id, (host, port))| AdvertisedBroker {
            id,
            host,
            port: *port,
        })
    }

    pub(crate) fn node_figures(&self) -> NodeFigures {
        self.connection.node.figures()
    }

    /// The data directory's path.
    pub(crate) fn log_dir(&self) -> String {
        self.connection.node.log_dir().to_owned()
    }

    pub(crate) fn cluster_id(&self) -> String {
        self.connection.node.cluster_id().to_owned()
    }

    pub(crate) fn host(&self) -> String {
        self.brokers().next().map(|broker| broker.host.to_owned()).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> i32 {
        self.brokers().next().map_or(-1, |broker| i32::from(broker.port))
    }

    pub(crate) fn listener(&self) -> SocketAddr {
        self.connection.listener
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.connection.limits
    }

    /// The client's address the way Kafka writes it in descriptions of groups.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.connection.peer.ip())
    }
}

/// A broker as clients are told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdvertisedBroker<'a> {
    pub(crate) id: i32,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

/// How many fetches of one connection may be under way.
#[derive(Debug)]
pub(crate) struct Fetches {
    slots: Arc<Semaphore>,
}

impl Default for Fetches {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(FETCHES_PER_CONNECTION_MAX)) }
    }
}

impl Fetches {
    /// Waits for a slot; it goes back when it is dropped.
    pub(crate) async fn begin(&self) -> FetchReservation {
        let slots = Arc::clone(&self.slots);
        let slot = slots.acquire_owned().await.expect("the semaphore is never closed");
        FetchReservation { _slot: slot }
    }
}

/// The bytes that a fetch may return when it wants so many and so many may still be held.
fn fetch_bytes(wanted: usize, left: usize) -> usize {
    wanted.min((left / FETCH_SHARE).clamp(FETCH_BYTES_MIN, FETCH_BYTES_MAX))
}

/// A fetch under way, until its answer has been written.
#[derive(Debug)]
pub(crate) struct FetchReservation {
    _slot: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_return_less_as_unread_answers_pile_up() {
        let plenty = FETCH_SHARE * FETCH_BYTES_MAX;
        for (wanted, left, allowed) in [
            (10, plenty, 10),
            (10, 0, 10),
            (usize::MAX, usize::MAX, FETCH_BYTES_MAX),
            (usize::MAX, plenty, FETCH_BYTES_MAX),
            (usize::MAX, FETCH_SHARE * 3 * FETCH_BYTES_MIN, 3 * FETCH_BYTES_MIN),
            (usize::MAX, 0, FETCH_BYTES_MIN),
        ] {
            assert_eq!(fetch_bytes(wanted, left), allowed, "{wanted} wanted, {left} left");
        }
    }
}
