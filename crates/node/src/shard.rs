//! The threads: one shard that owns the broker, one that runs its group commits (with a helper per
//! further partition that takes part in one).
//!
//! 1. Wait for a message, at most until the broker's next timer or the next look at free space.
//! 2. Submit everything that is queued (up to a turn's limit), tick the timers.
//! 3. Hand out completions.
//! 4. When no group commit is out, start one with whatever is pending; go to 1.
//!
//! There is no timer for group commit: the next one starts when the last one has ended, with all
//! that was written meanwhile. So a lone client waits for one sync, and many share one.
//!
//! A panic on either thread ends the shard: its reason is logged, the allowances are closed and the
//! waiting callers' channels dropped, which tells each of them that the node has stopped.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_broker::log::{Disk, Fault, FaultKind};
use tidings_broker::{
    Broker, BrokerConfig, Completion, Now, OpenReport, ProduceRefused, Reply, Request, SyncBatch,
    SyncPart, Ticket,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::limits::{FREE_SPACE_PROBE_MS, REQUESTS_PER_TURN_MAX, SYNCS_AT_ONCE_MAX};
use crate::node::{Counters, Ended};
use crate::{NodeConfig, NodeError};

/// What the shard is told. The channel is unbounded, its contents are not: a request carries its
/// share of the allowances, there is at most one group commit, and one stop per caller.
#[expect(clippy::large_enum_variant, reason = "nearly every message is a request")]
#[derive(Debug)]
pub(crate) enum Message {
    Request(Request, Asked),
    Synced(SyncBatch),
    /// The sync thread panicked.
    SyncLost(String),
    /// Finish and close.
    Stop,
    /// The last handle has gone: end without closing.
    Abandon,
}

/// Who waits for an answer, and what they hold until they have it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) reply: oneshot::Sender<Reply>,
    pub(crate) produce_bytes: u64,
    pub(crate) _held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A running shard.
pub(crate) struct Started {
    pub(crate) report: OpenReport,
    pub(crate) cluster_id: String,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) ended: watch::Receiver<Ended>,
    pub(crate) thread: JoinHandle<()>,
}

/// Opens the broker on the caller's thread (recovery may fail, and says so), then starts both.
pub(crate) fn start(
    disk: Arc<dyn Disk>,
    config: &NodeConfig,
    counters: Arc<Counters>,
    allowances: [Arc<Semaphore>; 2],
) -> Result<Started, NodeError> {
    let clock = Clock::start();
    let broker_config = BrokerConfig {
        node_id: config.node_id,
        default_partitions: config.default_partitions,
        auto_create_topics: config.auto_create_topics,
        disk_reserve_bytes: config.disk_reserve_bytes,
        seed: seed(),
    };
    let (broker, report) = Broker::open(Arc::clone(&disk), broker_config, clock.now())?;
    let cluster_id = broker.cluster_id().to_owned();
    let (inbox, messages) = mpsc::channel();
    let (commits, commit_queue) = mpsc::channel();
    let outcomes = inbox.clone();
    let syncing = spawn("tidings-sync", move || run_syncs(&commit_queue, &outcomes))?;
    let (end, ended) = watch::channel(None);
    let mut shard = Shard {
        broker,
        disk,
        clock,
        messages,
        commits,
        sync_is_out: false,
        waiting: HashMap::new(),
        next_ticket: 0,
        probe_due_ms: 0,
        reserve_bytes: config.disk_reserve_bytes,
        full: false,
        counters,
    };
    let thread = spawn("tidings-shard", move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| shard.run()));
        for allowance in &allowances {
            allowance.close();
        }
        // Disk and broker go before the end is told, so that the directory is unlocked by then.
        drop(shard);
        let outcome = outcome.unwrap_or_else(|panic| {
            tracing::error!(reason = %reason(&*panic), "the shard panicked; the node has stopped");
            Err(NodeError::Stopped)
        });
        let joined = syncing.join();
        debug_assert!(joined.is_ok(), "the sync thread catches its panics");
        end.send_replace(Some(outcome));
    })?;
    Ok(Started { report, cluster_id, inbox, ended, thread })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fault> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| Fault {
        operation: "start thread",
        path: name.to_owned(),
        offset: None,
        kind: FaultKind::Io(error.to_string()),
    })
}

fn run_syncs(commits: &mpsc::Receiver<SyncBatch>, outcomes: &mpsc::Sender<Message>) {
    for mut batch in commits {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run_side_by_side(batch.parts());
            batch
        }));
        let message = match outcome {
            Ok(batch) => Message::Synced(batch),
            Err(panic) => Message::SyncLost(reason(&*panic)),
        };
        if outcomes.send(message).is_err() {
            return;
        }
    }
}

/// Runs the syncs of one commit, several at a time: file systems gather what is synced at the same
/// moment, so a commit of many partitions takes little longer than one of a single partition.
fn run_side_by_side(parts: &mut [SyncPart]) {
    let helpers = parts.len().min(SYNCS_AT_ONCE_MAX).saturating_sub(1);
    let queue = Mutex::new(parts.iter_mut());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(part) = next() {
            part.run();
        }
    };
    thread::scope(|scope| {
        let helper = || thread::Builder::new().name("tidings-sync".to_owned());
        // With fewer helpers than wanted it takes longer; no sync is left out.
        let helpers: Vec<_> =
            (0..helpers).map_while(|_| helper().spawn_scoped(scope, work).ok()).collect();
        work();
        for helper in helpers {
            if let Err(panic) = helper.join() {
                resume_unwind(panic);
            }
        }
    });
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

/// 64 bits that differ from start to start: the keys of a `RandomState` come from the system.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[derive(Debug)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now() }
    }

    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        // A wall clock before 1970 reads as 1970.
        let wall = wall.unwrap_or_default().as_millis();
        Now { wall_ms: i64::try_from(wall).unwrap_or(i64::MAX), mono_ms }
    }
}

/// Whether a turn goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    On,
    Stop,
    Abandon,
}

struct Shard {
    broker: Broker,
    disk: Arc<dyn Disk>,
    clock: Clock,
    messages: mpsc::Receiver<Message>,
    commits: mpsc::Sender<SyncBatch>,
    sync_is_out: bool,
    waiting: HashMap<Ticket, Asked>,
    next_ticket: u64,
    probe_due_ms: u64,
    /// Free bytes below which the broker refuses produce.
    reserve_bytes: u64,
    /// There were fewer at the last look.
    full: bool,
    counters: Arc<Counters>,
}

impl Shard {
    fn run(&mut self) -> Result<(), NodeError> {
        loop {
            self.probe_free_space();
            self.start_sync();
            match self.turn()? {
                Turn::On => {}
                Turn::Stop => return self.close(),
                Turn::Abandon => return Err(NodeError::Stopped),
            }
        }
    }

    fn turn(&mut self) -> Result<Turn, NodeError> {
        let mut end = match self.messages.recv_timeout(self.patience()) {
            Ok(message) => self.take(message)?,
            Err(mpsc::RecvTimeoutError::Timeout) => Turn::On,
            Err(mpsc::RecvTimeoutError::Disconnected) => Turn::Abandon,
        };
        for _ in 1..REQUESTS_PER_TURN_MAX {
            if end != Turn::On {
                break;
            }
            let Ok(message) = self.messages.try_recv() else { break };
            end = self.take(message)?;
        }
        let now = self.clock.now();
        if self.broker.next_timeout_ms().is_some_and(|due| due <= now.mono_ms) {
            self.broker.tick(now);
        }
        self.hand_out();
        Ok(end)
    }

    fn patience(&self) -> Duration {
        let due = self.broker.next_timeout_ms().unwrap_or(u64::MAX).min(self.probe_due_ms);
        Duration::from_millis(due.saturating_sub(self.clock.now().mono_ms))
    }

    fn take(&mut self, message: Message) -> Result<Turn, NodeError> {
        match message {
            Message::Request(request, asked) => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.counters.requests.fetch_add(1, Ordering::Relaxed);
                self.waiting.insert(ticket, asked);
                self.broker.submit(self.clock.now(), ticket, request);
                Ok(Turn::On)
            }
            Message::Synced(batch) => {
                self.sync_is_out = false;
                self.counters.syncs.fetch_add(1, Ordering::Relaxed);
                self.broker.sync_end(self.clock.now(), batch);
                Ok(Turn::On)
            }
            Message::SyncLost(reason) => {
                tracing::error!(%reason, "the sync thread panicked; the node has stopped");
                Err(NodeError::Stopped)
            }
            Message::Stop => Ok(Turn::Stop),
            Message::Abandon => Ok(Turn::Abandon),
        }
    }

    fn start_sync(&mut self) {
        if self.sync_is_out {
            return;
        }
        if let Some(batch) = self.broker.sync_begin() {
            // The sync thread lives until `commits` is dropped; if it died it has told us so.
            self.sync_is_out = self.commits.send(batch).is_ok();
        }
    }

    fn hand_out(&mut self) {
        while let Some(Completion { ticket, reply }) = self.broker.poll() {
            let Some(asked) = self.waiting.remove(&ticket) else {
                debug_assert!(false, "{ticket:?} was answered twice");
                continue;
            };
            self.count(&reply, asked.produce_bytes);
            // A caller that went away wants no answer.
            let _gone = asked.reply.send(reply);
        }
    }

    fn count(&mut self, reply: &Reply, produce_bytes: u64) {
        match reply {
            Reply::Produce(produced) => {
                let refused = |p: &tidings_broker::Produced| {
                    matches!(p.outcome, Err(ProduceRefused::Storage(_)))
                };
                if produced.iter().any(refused) {
                    self.probe_due_ms = 0;
                }
                if produced.iter().all(|p| p.outcome.is_ok()) {
                    self.counters.produced_bytes.fetch_add(produce_bytes, Ordering::Relaxed);
                }
            }
            Reply::Fetch(fetched) => {
                let data = fetched.iter().filter_map(|f| f.outcome.as_ref().ok());
                let bytes = data.map(|data| data.batches.len() as u64).sum();
                self.counters.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn probe_free_space(&mut self) {
        let now_ms = self.clock.now().mono_ms;
        if now_ms < self.probe_due_ms {
            return;
        }
        self.probe_due_ms = now_ms + FREE_SPACE_PROBE_MS;
        match self.disk.free_bytes() {
            Ok(free) => {
                self.counters.free_bytes.store(free, Ordering::Relaxed);
                self.broker.set_free_bytes(free);
                self.tell_of_room(free);
            }
            Err(fault) => tracing::warn!(%fault, "free space is unknown"),
        }
    }

    /// Says once when produce begins to be refused for want of room, and once when it is taken again.
    fn tell_of_room(&mut self, free: u64) {
        let reserve = self.reserve_bytes;
        let full = free < reserve;
        if full == std::mem::replace(&mut self.full, full) {
            return;
        }
        if full {
            tracing::error!(
                free,
                reserve,
                "the disk is full: produce is refused until there is room"
            );
        } else {
            tracing::warn!(free, reserve, "the disk has room again: produce is taken");
        }
    }

    /// Makes everything that is written durable, answers for it, closes the logs.
    fn close(&mut self) -> Result<(), NodeError> {
        loop {
            self.start_sync();
            if !self.sync_is_out {
                break;
            }
            match self.messages.recv() {
                Ok(Message::Request(_, asked)) => drop(asked),
                Ok(message) => {
                    self.take(message)?;
                }
                Err(mpsc::RecvError) => return Err(NodeError::Stopped),
            }
            self.hand_out();
        }
        self.hand_out();
        Ok(self.broker.close()?)
    }
}
