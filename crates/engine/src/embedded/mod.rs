//! The embedded engine: the seam on an in-process node.
//!
//! Every call is one or a few requests to the node's broker, in the same terms as a Kafka client
//! would use; nothing here keeps state of its own except producers and subscriptions.

mod assignor;
mod cluster;
mod groups;
mod member_bytes;
mod membership;
mod placing;
mod producer;
mod refusals;
mod subscription;
mod topics;
mod transactions;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_node::broker::log::BatchError;
use tidings_node::broker::{FetchedData, Isolation as NodeIsolation};
use tidings_node::{MemoryDisk, Node, NodeConfig, decode_committed};

use crate::{Error, Header, Isolation, TopicPartition};

pub(crate) use producer::EmbeddedProducer;
pub(crate) use subscription::EmbeddedSubscription;
pub(crate) use transactions::EmbeddedTransactions;

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

fn isolation_of(isolation: Isolation) -> NodeIsolation {
    match isolation {
        Isolation::Committed => NodeIsolation::Committed,
        Isolation::All => NodeIsolation::Uncommitted,
    }
}

/// The offset after the last record that a reader may see.
fn readable_end(data: &FetchedData, isolation: NodeIsolation) -> i64 {
    match isolation {
        NodeIsolation::Committed => data.last_stable_offset,
        NodeIsolation::Uncommitted => data.high_watermark,
    }
}

/// The records from `from` on, and the offset after the last batch. Who reads uncommitted records is
/// told of no aborted transactions.
fn decode(
    data: FetchedData,
    at: &TopicPartition,
    from: i64,
) -> Result<(Vec<crate::Record>, i64), BatchError> {
    let topic = Arc::from(at.topic.as_str());
    let to = |record| to_record(&topic, at.partition, record);
    decode_committed(data.batches, from, &data.aborted, to)
}

fn to_record(topic: &Arc<str>, partition: i32, record: tidings_node::Record) -> crate::Record {
    let header = |header: tidings_node::Header| Header { name: header.name, value: header.value };
    crate::Record {
        topic: Arc::clone(topic),
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: match record.headers.is_empty() {
            true => Vec::new(),
            false => record.headers.into_iter().map(header).collect(),
        },
    }
}
