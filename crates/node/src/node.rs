//! The node's handle: what callers in this process hold.
//!
//! A call takes its share of the request and byte allowances, brings its request to the shard
//! ([`crate::inbox`]) and waits for the answer. Requests are decided in the order in which they were
//! submitted.
//! However the shard ends (stop, panic, a lost disk), every waiting and every later caller gets
//! [`NodeError::Stopped`]; nobody hangs.

use std::future::Future;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tidings_broker::limits::KeptLimits;
use tidings_broker::log::{Disk, Fault, StoreConfig};
use tidings_broker::{Call, Client, OpenReport, OverQuota, Reply, Request, Usage};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::fetched::FetchedBytes;
use crate::inbox::{self, Inbox, Message};
use crate::limits::{FETCHED_BYTES_HELD_MAX, PRODUCE_BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX};
use crate::shard::{Asked, Work};
use crate::{FileDisk, JournalIoChoice};

#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    pub node_id: i32,
    /// The brokers that clients are shown, with ids from the node's own on: more than one only for
    /// tests.
    pub brokers: i32,
    pub default_partitions: i32,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub disk_reserve_bytes: u64,
    /// How much memory and disk the logs take.
    pub store: StoreConfig,
    /// [`limits::PRODUCE_BYTES_IN_FLIGHT_MAX`](crate::limits::PRODUCE_BYTES_IN_FLIGHT_MAX), or less.
    pub produce_bytes_in_flight_max: usize,
    /// How much clients may make the node keep beside records.
    pub kept: KeptLimits,
    /// [`limits::FETCHED_BYTES_HELD_MAX`](crate::limits::FETCHED_BYTES_HELD_MAX), or less.
    pub fetched_bytes_held_max: usize,
    /// How the journal is written.
    pub journal_io: JournalIoChoice,
}

impl NodeConfig {
    /// For a node on a [`MemoryDisk`](crate::MemoryDisk): little of everything.
    pub fn in_memory() -> Self {
        Self { store: StoreConfig::small(), ..Self::default() }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            node_id: 1,
            brokers: 1,
            default_partitions: 4,
            auto_create_topics: true,
            delete_topics: true,
            disk_reserve_bytes: 64 * 1024 * 1024,
            store: StoreConfig::default(),
            produce_bytes_in_flight_max: PRODUCE_BYTES_IN_FLIGHT_MAX,
            fetched_bytes_held_max: FETCHED_BYTES_HELD_MAX,
            kept: KeptLimits::default(),
            journal_io: JournalIoChoice::default(),
        }
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
    /// Bytes of batches in produce requests that were accepted in whole.
    pub produced_bytes: u64,
    pub fetched_bytes: u64,
    /// Durable writes of the journal, each of everything that was accepted meanwhile.
    pub journal_writes: u64,
    /// Ranges of offsets that were found damaged.
    pub damaged: u64,
    /// Bytes accepted and not yet in segments, as of the last look at the free space.
    pub unflushed_bytes: u64,
    /// As of the last look, about a second ago.
    pub free_bytes: u64,
    /// The size of the file system; as large as can be where there is no end of it.
    pub total_bytes: u64,
}

/// [`NodeFigures`] as the shard counts them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) produced_bytes: AtomicU64,
    pub(crate) fetched_bytes: AtomicU64,
    pub(crate) journal_writes: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) unflushed_bytes: AtomicU64,
    pub(crate) free_bytes: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
}

/// Where the logs of a node are that has no directory.
const IN_MEMORY: &str = "/memory";

/// How the shard thread ended; none while it runs.
pub(crate) type Ended = Option<Result<(), NodeError>>;

/// A handle to a running node; clones share it. The node stops when [`Node::stop`] is called. When
/// the last handle goes without that, the threads end at once and the next start recovers.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node_id: i32,
    log_dir: String,
    cluster_id: String,
    inbox: Inbox,
    requests: Arc<Semaphore>,
    produce_bytes: Arc<Semaphore>,
    produce_bytes_max: usize,
    fetched_bytes: FetchedBytes,
    counters: Arc<Counters>,
    ended: watch::Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.queue(Message::Abandon);
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics; waiting for it means the directory is unlocked after.
            let _ended = thread.join();
        }
    }
}

impl Node {
    /// Opens the data directory (creating it), locks it, recovers, and starts the threads.
    pub fn open(
        dir: impl Into<PathBuf>,
        config: NodeConfig,
    ) -> Result<(Self, OpenReport), NodeError> {
        let dir: PathBuf = dir.into();
        let disk = FileDisk::open(dir.clone())?;
        // Only shown: what cannot be made absolute is shown as it was said.
        let log_dir = dir.canonicalize().unwrap_or(dir).display().to_string();
        Self::start_at(log_dir, Arc::new(disk), config)
    }

    /// The same on any disk, for instance [`crate::MemoryDisk`].
    pub fn start(disk: Arc<dyn Disk>, config: NodeConfig) -> Result<(Self, OpenReport), NodeError> {
        Self::start_at(IN_MEMORY.to_owned(), disk, config)
    }

    fn start_at(
        log_dir: String,
        disk: Arc<dyn Disk>,
        config: NodeConfig,
    ) -> Result<(Self, OpenReport), NodeError> {
        let counters = Arc::new(Counters::default());
        let requests = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX));
        let produce_bytes = Arc::new(Semaphore::new(config.produce_bytes_in_flight_max));
        let node_id = config.node_id;
        let fetched_bytes = FetchedBytes::new(config.fetched_bytes_held_max);
        let allowances = [Arc::clone(&requests), Arc::clone(&produce_bytes)];
        let started =
            inbox::start(disk, &config, Arc::clone(&counters), allowances, fetched_bytes.clone())?;
        let shared = Shared {
            node_id,
            log_dir,
            cluster_id: started.cluster_id,
            inbox: started.inbox,
            requests,
            produce_bytes,
            produce_bytes_max: config.produce_bytes_in_flight_max,
            fetched_bytes,
            counters,
            ended: started.ended,
            thread: Some(started.thread),
        };
        Ok((Self { shared: Arc::new(shared) }, started.report))
    }

    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// The data directory as an absolute path; `/memory` where there is none.
    pub fn log_dir(&self) -> &str {
        &self.shared.log_dir
    }

    pub fn node_id(&self) -> i32 {
        self.shared.node_id
    }

    /// Asks the broker; waits where the limits are reached. A reply that promises durability comes
    /// when it is true.
    pub async fn call<C: Call>(&self, request: C) -> Result<C::Reply, NodeError> {
        self.submit(request).await?.await
    }

    /// Hands a request to the broker without waiting for its answer. Requests are decided in the
    /// order in which their `submit` returned. Dropped before it returns, it has asked nothing.
    pub async fn submit<C: Call>(&self, request: C) -> Result<Answer<C>, NodeError> {
        self.submit_for(request, None, OverQuota::Slowed).await
    }

    /// [`Node::submit`] on behalf of a client, whose quotas it is charged to.
    pub async fn submit_as<C: Call>(
        &self,
        client: Arc<Client>,
        over_quota: OverQuota,
        request: C,
    ) -> Result<Answer<C>, NodeError> {
        self.submit_for(request, Some(client), over_quota).await
    }

    async fn submit_for<C: Call>(
        &self,
        request: C,
        client: Option<Arc<Client>>,
        over_quota: OverQuota,
    ) -> Result<Answer<C>, NodeError> {
        let shared = &self.shared;
        let stopped = |_| NodeError::Stopped;
        let request = request.into_request();
        let produce_bytes = produce_bytes(&request);
        let slot = Arc::clone(&shared.requests).acquire_owned().await.map_err(stopped)?;
        let weight = u32::try_from(produce_bytes.min(shared.produce_bytes_max))
            .expect("the allowance fits a u32, see limits.rs");
        let bytes = Arc::clone(&shared.produce_bytes);
        let bytes = bytes.acquire_many_owned(weight).await.map_err(stopped)?;
        let (reply, answer) = oneshot::channel();
        let usage = Usage { produced_bytes: produce_bytes as u64, ..Usage::default() };
        let asked = Asked { reply, client, over_quota, usage, pause_ms: 0, _held: (slot, bytes) };
        shared.inbox.bring(Work::Request(request, asked));
        Ok(Answer { reply: answer, call: PhantomData })
    }

    /// How many more bytes of fetched batches callers may hold before reads of segments wait.
    pub fn fetched_bytes_left(&self) -> usize {
        self.shared.fetched_bytes.left()
    }

    pub fn figures(&self) -> NodeFigures {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeFigures {
            requests: read(&counters.requests),
            produced_bytes: read(&counters.produced_bytes),
            fetched_bytes: read(&counters.fetched_bytes),
            journal_writes: read(&counters.journal_writes),
            damaged: read(&counters.damaged),
            unflushed_bytes: read(&counters.unflushed_bytes),
            free_bytes: read(&counters.free_bytes),
            total_bytes: read(&counters.total_bytes),
        }
    }

    /// Returns when the node has ended, however it did; at once when it has ended before.
    pub async fn ended(&self) -> Result<(), NodeError> {
        let mut ended = self.shared.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Err(NodeError::Stopped)),
            Err(_) => Err(NodeError::Stopped),
        }
    }

    /// Finishes what is under way, closes the logs cleanly and ends the threads. Requests that wait
    /// for something to happen (parked fetches, joins) get [`NodeError::Stopped`]. Every call
    /// returns how the node ended, also one after the end.
    pub async fn stop(&self) -> Result<(), NodeError> {
        self.shared.inbox.queue(Message::Stop);
        self.ended().await
    }
}

fn produce_bytes(request: &Request) -> usize {
    match request {
        Request::Produce(produce) => produce.partitions.iter().map(|p| p.batch.len()).sum(),
        _ => 0,
    }
}

const OWN_KIND: &str = "the broker answers a request in its own kind";

/// The answer to a submitted request, to be awaited once. Dropping it does not undo the request.
#[derive(Debug)]
pub struct Answer<C> {
    reply: oneshot::Receiver<(Reply, u64)>,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Answer<C> {
    /// The reply, and how many milliseconds the client who asked must pause by its quotas.
    pub async fn with_pause(self) -> Result<(C::Reply, u64), NodeError> {
        let (reply, pause_ms) = self.reply.await.map_err(|_| NodeError::Stopped)?;
        Ok((C::from_reply(reply).expect(OWN_KIND), pause_ms))
    }
}

impl<C: Call> Future for Answer<C> {
    type Output = Result<C::Reply, NodeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = std::task::ready!(Pin::new(&mut self.reply).poll(context));
        let (reply, _) = reply.map_err(|_| NodeError::Stopped)?;
        Poll::Ready(Ok(C::from_reply(reply).expect(OWN_KIND)))
    }
}
