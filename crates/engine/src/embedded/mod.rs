//! The embedded engine: the seam on an in-process node.
//!
//! Every call is one or a few requests to the node's broker, in the same terms as a Kafka client
//! would use; nothing here keeps state of its own except producers and subscriptions.

mod assignor;
mod groups;
mod member_bytes;
mod membership;
mod partitioner;
mod producer;
mod refusals;
mod subscription;
mod topics;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_node::{MemoryDisk, Node, NodeConfig};

use crate::{Error, Header};

pub use partitioner::partition_of;
pub(crate) use producer::EmbeddedProducer;
pub(crate) use subscription::EmbeddedSubscription;

#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    node: Node,
}

impl Embedded {
    pub(crate) fn on(node: Node) -> Self {
        Self { node }
    }

    /// Recovery reads the disk, so it runs where blocking is allowed.
    pub(crate) async fn open(dir: &Path) -> Result<Self, Error> {
        let dir = dir.to_path_buf();
        let opened = tokio::task::spawn_blocking(move || Node::open(dir, NodeConfig::default()));
        let (node, report) =
            opened.await.map_err(|stop| Error::Unavailable(stop.to_string()))??;
        for finding in &report.findings {
            tracing::warn!(%finding, "recovered");
        }
        Ok(Self::on(node))
    }

    pub(crate) fn in_memory() -> Result<Self, Error> {
        let (node, _) = Node::start(Arc::new(MemoryDisk::default()), NodeConfig::in_memory())?;
        Ok(Self::on(node))
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        Ok(self.node.stop().await?)
    }
}

/// Whole milliseconds, rounded up, so that a wait never turns into none.
fn wait_ms(wait: Duration) -> u32 {
    let ms = wait.as_nanos().div_ceil(1_000_000);
    u32::try_from(ms).unwrap_or(u32::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn to_record(topic: &str, partition: i32, record: tidings_node::Record) -> crate::Record {
    let header = |header: tidings_node::Header| Header { name: header.name, value: header.value };
    crate::Record {
        topic: topic.to_owned(),
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(header).collect(),
    }
}
