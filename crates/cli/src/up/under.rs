//! What the console, the registry and the demo stand on: a node of this process with its Kafka listener, or
//! somebody's cluster.

use std::future::pending;
use std::sync::Arc;

use tidings_console::FigureSource;
use tidings_engine::{Engine, Error};
use tidings_node::broker::OpenReport;
use tidings_node::{Node, NodeConfig};
use tidings_server::{Server, ServerConfig};
use tidings_terminal::failure::{Exit, Failure};
use tokio::net::TcpListener;

use super::figures;
use super::memory::Budget;
use crate::args::Up;
use crate::place::{not_opened, unreached};

const HINTS: [&str; 2] =
    ["stop that process, or use other data with --data DIR", "other data with --data DIR"];

pub(super) enum Under {
    Node { node: Node, server: Arc<Server> },
    Cluster(Engine),
}

/// Opens the data, and serves it to Kafka clients under these addresses.
pub(super) async fn start_node(
    said: &Up,
    budget: &Budget,
    listeners: Vec<TcpListener>,
    advertised: Vec<(String, u16)>,
) -> Result<(Under, Engine, OpenReport), Failure> {
    let dir = said.data.clone();
    let config = NodeConfig { brokers: said.virtual_brokers, ..budget.node() };
    let opened = tokio::task::spawn_blocking(move || Node::open(dir, config));
    let opened = opened.await.map_err(|e| Failure::failed("the node does not start").why(e))?;
    let (node, report) = opened.map_err(|e| not_opened(&said.data, &e, HINTS))?;
    let engine = Engine::embedded(node.clone());
    let config = ServerConfig { advertised, limits: budget.connections() };
    let server = tidings_server::start(node.clone(), listeners, config)
        .await
        .map_err(|e| Failure::failed("the Kafka listener does not start").why(e))?;
    Ok((Under::Node { node, server: Arc::new(server) }, engine, report))
}

/// Connects to the cluster of a URL.
pub(super) async fn connect(url: &str) -> Result<(Under, Engine), Failure> {
    let engine = Engine::connect(url).await.map_err(not_connected)?;
    Ok((Under::Cluster(engine.clone()), engine))
}

impl Under {
    /// Why a node has ended by itself. A cluster that cannot be reached may come back, and is waited for.
    pub(super) async fn ended(&self) -> Failure {
        match self {
            Self::Node { node, .. } => {
                let ended = node.clone().ended().await;
                let failure = Failure::failed("the node has ended by itself");
                let failure = match ended {
                    Ok(()) => failure,
                    Err(why) => failure.why(why),
                };
                failure.hint("the log above says more; a restart recovers what is on disk")
            }
            Self::Cluster(_) => pending().await,
        }
    }

    /// A cluster's figures are its brokers' to tell.
    pub(super) fn figures(&self) -> FigureSource {
        match self {
            Self::Node { node, server } => {
                let (node, server) = (node.clone(), Arc::downgrade(server));
                FigureSource::new(move || figures::read(&node, server.upgrade().as_deref()))
            }
            Self::Cluster(_) => FigureSource::default(),
        }
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        match self {
            Self::Node { node, server } => {
                if let Some(server) = Arc::into_inner(server) {
                    server.stop().await;
                }
                let stopped = node.stop().await;
                stopped.map_err(|e| Failure::failed("the node did not stop cleanly").why(e))
            }
            Self::Cluster(engine) => {
                let closed = engine.close().await;
                closed.map_err(|e| Failure::failed("the cluster was not left cleanly").why(e))
            }
        }
    }
}

fn not_connected(error: Error) -> Failure {
    match error {
        Error::Connect { address, trouble } => unreached(&address, &trouble, ""),
        Error::Invalid(why) => Failure::new(Exit::Usage, "--engine cannot be used as it is said")
            .why(why)
            .hint("--engine kafka://HOST:PORT,HOST:PORT?parameter=value"),
        error => Failure::failed("the cluster cannot be worked with").why(error),
    }
}
