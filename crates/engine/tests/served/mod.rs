//! A node behind a Kafka port of this machine.

use std::sync::Arc;

use tidings_engine::Engine;
use tidings_node::{MemoryDisk, Node};
use tidings_server::{Server, ServerConfig};
use tokio::net::TcpListener;

pub(crate) struct Served {
    node: Node,
    server: Server,
    address: String,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let disk = Arc::new(MemoryDisk::default());
        let (node, _) = Node::start(disk, crate::config()).expect("a node in memory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let config = ServerConfig::new((at.ip().to_string(), at.port()));
        let server = tidings_server::start(node.clone(), vec![listener], config).await;
        Self { node, server: server.expect("a server"), address: at.to_string() }
    }

    pub(crate) async fn connect(&self) -> Engine {
        Engine::connect(&format!("kafka://{}", self.address)).await.expect("a connection")
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.node.stop().await.expect("a clean stop");
    }
}
