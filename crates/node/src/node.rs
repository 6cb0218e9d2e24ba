//! The node's handle and its threads.

use std::path::PathBuf;
use std::sync::Arc;

use tidings_broker::{Call, OpenReport};
use tidings_broker::log::{Disk, Fault};

#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub node_id: i32,
    pub default_partitions: i32,
    pub auto_create_topics: bool,
    pub disk_reserve_bytes: u64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self { node_id: 1, default_partitions: 4, auto_create_topics: true, disk_reserve_bytes: 64 * 1024 * 1024 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The data directory belongs to another running process.
    #[error("{path} is in use by process {pid}")]
    Locked { path: PathBuf, pid: String },
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the node has stopped")]
    Stopped,
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFigures {
    pub requests: u64,
    pub produced_bytes: u64,
    pub fetched_bytes: u64,
    pub syncs: u64,
    pub free_bytes: u64,
}

/// A handle to a running node; clones share it. The node stops when [`Node::stop`] is called.
#[derive(Clone, Debug)]
pub struct Node {}

impl Node {
    /// Opens the data directory (creating it), locks it, recovers, and starts the threads.
    pub fn open(_dir: impl Into<PathBuf>, _config: NodeConfig) -> Result<(Self, OpenReport), NodeError> { todo!() }
    /// The same on any disk, for instance [`crate::MemoryDisk`].
    pub fn start(_disk: Arc<dyn Disk>, _config: NodeConfig) -> Result<(Self, OpenReport), NodeError> { todo!() }
    pub fn cluster_id(&self) -> &str { todo!() }
    pub fn node_id(&self) -> i32 { todo!() }
    /// Asks the broker; waits where the limits are reached. A reply that promises durability comes
    /// when it is true.
    pub async fn call<C: Call>(&self, _request: C) -> Result<C::Reply, NodeError> { todo!() }
    pub fn figures(&self) -> NodeFigures { todo!() }
    /// Finishes what is under way, closes the logs cleanly and ends the threads.
    pub async fn stop(&self) -> Result<(), NodeError> { todo!() }
}
