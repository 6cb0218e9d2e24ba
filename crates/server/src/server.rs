//! The listener: takes connections within the limits and ends them together.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidings_node::Node;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::allowances::Allowances;
use crate::connection::{self, Shared};
use crate::context::{Connection, Fetches};
use crate::limits::{ACCEPT_PAUSE, ConnectionLimits, DRAIN_MAX};
use crate::pauses::Pauses;
use crate::said::Lines;

/// What the server is told once.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Host and port of each broker that clients are told to connect to, from the node's own id on;
    /// one of them unless the node is shown as several.
    pub advertised: Vec<(String, u16)>,
    pub limits: ConnectionLimits,
}

impl ServerConfig {
    /// With the limits that there are.
    pub fn new(advertised: (String, u16)) -> Self {
        Self { advertised: vec![advertised], limits: ConnectionLimits::default() }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[error("the listener has no address")]
pub struct ServerError {
    #[from]
    source: std::io::Error,
}

/// Counters since start, and the connections of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerFigures {
    pub connections: u64,
    pub connections_accepted: u64,
    /// Closed at once because a limit was reached.
    pub connections_refused: u64,
    pub requests: u64,
    /// Frames that were too long or malformed; each closed its connection.
    pub frames_refused: u64,
}

/// [`ServerFigures`] as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    connections_accepted: AtomicU64,
    connections_refused: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) frames_refused: AtomicU64,
}

/// A node on the network. Dropping it ends the connections at once; [`Server::stop`] lets answers
/// under way finish first.
#[derive(Debug)]
pub struct Server {
    local_addrs: Vec<SocketAddr>,
    counters: Arc<Counters>,
    stopping: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
}

/// Serves the node to whoever connects to one of the listeners, until the server is stopped: each
/// is that of the broker that is advertised in its place, and serves everything. The node is the
/// caller's to stop, afterwards.
pub async fn start(
    node: Node,
    listeners: Vec<TcpListener>,
    config: ServerConfig,
) -> Result<Server, ServerError> {
    let local_addrs: Result<Vec<SocketAddr>, _> =
        listeners.iter().map(TcpListener::local_addr).collect();
    let local_addrs = local_addrs?;
    let (stopping, stopped) = watch::channel(false);
    let counters = Arc::new(Counters::default());
    let allowances = Allowances::new(&config.limits);
    let advertised = Arc::new(config.advertised);
    let (lines, by_address) = (Arc::default(), Arc::default());
    let ids = node.node_id()..;
    let each = ids.zip(listeners).zip(&local_addrs).map(|((broker_id, listener), at)| {
        let accepting = Accepting {
            node: node.clone(),
            broker_id,
            advertised: Arc::clone(&advertised),
            listener: *at,
            limits: config.limits,
            counters: Arc::clone(&counters),
            allowances: allowances.clone(),
            lines: Arc::clone(&lines),
            by_address: Arc::clone(&by_address),
            stopping: stopped.clone(),
        };
        tokio::spawn(accepting.run(listener))
    });
    let accepting = each.collect();
    Ok(Server { local_addrs, counters, stopping, accepting })
}

impl Server {
    /// Where it listens, by broker.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    pub fn figures(&self) -> ServerFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerFigures {
            connections: read(&self.counters.connections),
            connections_accepted: read(&self.counters.connections_accepted),
            connections_refused: read(&self.counters.connections_refused),
            requests: read(&self.counters.requests),
            frames_refused: read(&self.counters.frames_refused),
        }
    }

    /// Takes no more connections or requests, gives answers under way a moment
    /// ([`DRAIN_MAX`](crate::limits::DRAIN_MAX)), and returns when every connection is closed.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        for accepting in &mut self.accepting {
            // A panic of the task is reported by the runtime; there is nothing left to stop.
            let _ended = accepting.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// Waits until the server stops, or is gone.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the server with it.
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

/// One listener's view of the server.
struct Accepting {
    node: Node,
    /// The broker that the listener is one of.
    broker_id: i32,
    advertised: Arc<Vec<(String, u16)>>,
    listener: SocketAddr,
    limits: ConnectionLimits,
    counters: Arc<Counters>,
    allowances: Allowances,
    lines: Arc<Lines>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stopping: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(_ended) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => self.take(socket, peer, &mut connections),
                    Err(error) => {
                        tracing::error!(%error, "cannot accept connections");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let all_closed = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(2 * DRAIN_MAX, all_closed).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn take(&self, socket: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let Some(place) = self.place(peer) else {
            self.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let connection = Arc::new(Connection {
            node: self.node.clone(),
            broker_id: self.broker_id,
            advertised: Arc::clone(&self.advertised),
            listener: self.listener,
            pauses: Pauses::new(),
            limits: self.limits,
            peer,
            fetches: Fetches::default(),
            allowances: self.allowances.clone(),
            lines: Arc::clone(&self.lines),
        });
        let shared = Shared {
            counters: Arc::clone(&self.counters),
            stopping: self.stopping.clone(),
            limits: self.limits,
        };
        connections.spawn(async move {
            let _place = place;
            connection::run(socket, connection, shared).await;
        });
    }

    /// A place among the connections, if the limits leave one.
    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let limit = self.limits.connections_max;
        // Whoever takes a place holds the lock, so no two listeners take the last one.
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if self.counters.connections.load(Ordering::Relaxed) >= limit as u64 {
            if let Some(left_out) = self.lines.may_say() {
                tracing::warn!(%peer, limit, left_out, "too many connections");
            }
            return None;
        }
        let count = by_address.entry(peer.ip()).or_default();
        let limit = self.limits.connections_per_address_max;
        if *count >= limit {
            if let Some(left_out) = self.lines.may_say() {
                tracing::warn!(%peer, limit, left_out, "too many connections from this address");
            }
            return None;
        }
        *count += 1;
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        drop(by_address);
        self.counters.connections_accepted.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            address: peer.ip(),
            counters: Arc::clone(&self.counters),
            by_address: Arc::clone(&self.by_address),
        })
    }
}

/// One connection's place, given back when it is dropped.
struct Place {
    address: IpAddr,
    counters: Arc<Counters>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
