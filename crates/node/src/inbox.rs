//! The way to the shard: a queue for its thread, and a lock on the shard itself.
//!
//! Whoever brings something brief while the shard is free and nothing is queued has it decided on
//! its own thread: a heartbeat need not wake another one. (A thousand quiet groups made 3,700 context
//! switches a second when every heartbeat woke the shard's thread and that thread its caller, and make
//! 1,070.) Everything else is queued for the shard's thread, which also keeps the timers.
//!
//! Invariants:
//! 1. What was queued is decided in its order, and before whatever is brought after it.
//! 2. Only the shard's thread waits for the lock; whoever else finds it taken queues up.
//! 3. After a panic in a decision the lock is poisoned: nothing more is decided, and the node stops.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use tidings_broker::log::Disk;
use tidings_broker::{OpenReport, Request};
use tokio::sync::{Semaphore, watch};

use crate::fetched::FetchedBytes;
use crate::limits::WORK_PER_TURN_MAX;
use crate::node::{Counters, Ended};
use crate::pool::{reason, spawn};
use crate::shard::{Shard, Work, thread_lost};
use crate::{NodeConfig, NodeError};

/// What the shard's thread is told. The channel is unbounded, its contents are not: a request carries
/// its share of the allowances, the broker bounds the writes and jobs that are out, there is one stop
/// per caller, and one look until the thread has looked.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are work, which a box would make dearer")]
pub(crate) enum Message {
    Work(Work),
    /// Something is due sooner than the thread knows.
    Look,
    /// A thread panicked.
    ThreadLost(String),
    /// Finish and close.
    Stop,
    /// The last handle has gone: end without closing.
    Abandon,
}

/// Clones lead to the same shard.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    messages: mpsc::Sender<Message>,
    desk: Arc<Desk>,
}

/// Where the shard is while it runs.
#[derive(Default)]
struct Desk {
    shard: Mutex<Option<Shard>>,
    /// Messages that the shard's thread has not taken in hand, one that it waits for the lock with
    /// among them.
    queued: AtomicUsize,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// A running shard.
pub(crate) struct Started {
    pub(crate) report: OpenReport,
    pub(crate) cluster_id: String,
    pub(crate) inbox: Inbox,
    pub(crate) ended: watch::Receiver<Ended>,
    pub(crate) thread: JoinHandle<()>,
}

/// Opens the broker on the caller's thread, then starts the shard's.
pub(crate) fn start(
    disk: Arc<dyn Disk>,
    config: &NodeConfig,
    counters: Arc<Counters>,
    allowances: [Arc<Semaphore>; 2],
    fetched_bytes: FetchedBytes,
) -> Result<Started, NodeError> {
    let (sender, messages) = mpsc::channel();
    let inbox = Inbox { messages: sender, desk: Arc::default() };
    let desk = Arc::clone(&inbox.desk);
    let (shard, report) = Shard::open(disk, config, counters, fetched_bytes, inbox.clone())?;
    let cluster_id = shard.cluster_id().to_owned();
    *desk.shard.lock().unwrap_or_else(PoisonError::into_inner) = Some(shard);
    let (end, ended) = watch::channel(None);
    let thread = spawn("tidings-shard", move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| desk.run(&messages)));
        for allowance in &allowances {
            allowance.close();
        }
        // Disk, broker and threads go before the end is told, so that the directory is unlocked by
        // then.
        let shard = desk.shard.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(shard);
        end.send_replace(Some(outcome.unwrap_or_else(|panic| Err(thread_lost(&reason(&*panic))))));
    })?;
    Ok(Started { report, cluster_id, inbox, ended, thread })
}

impl Inbox {
    /// Has the shard decide about something, here or on its thread. A shard that has ended lets go of
    /// it, and of whoever waits for it.
    pub(crate) fn bring(&self, work: Work) {
        // What is lost by a panic is what the shard was deciding about.
        match catch_unwind(AssertUnwindSafe(|| self.decide_here(work))) {
            Ok(None) => {}
            Ok(Some(work)) => self.queue(Message::Work(work)),
            Err(panic) => {
                // The thread may find the lock poisoned before it finds a message.
                let _stopped = thread_lost(&reason(&*panic));
                self.queue(Message::Abandon);
            }
        }
    }

    /// Tells the shard's thread, unless it has ended.
    pub(crate) fn queue(&self, message: Message) {
        self.desk.queued.fetch_add(1, Ordering::Release);
        let _ended = self.messages.send(message);
    }

    /// Decides, if it is brief and the shard is free; gives it back otherwise.
    fn decide_here(&self, work: Work) -> Option<Work> {
        if !is_brief(&work) {
            return Some(work);
        }
        let Ok(mut desk) = self.desk.shard.try_lock() else { return Some(work) };
        let Some(shard) = desk.as_mut() else { return Some(work) };
        if self.desk.queued.load(Ordering::Acquire) > 0 {
            return Some(work);
        }
        shard.take(work);
        shard.settle();
        let wants_look = shard.wants_look();
        drop(desk);
        if wants_look {
            self.queue(Message::Look);
        }
        None
    }
}

/// Whether its decision takes next to nothing and waits for nothing as a rule, so that waking the
/// shard's thread would be most of the cost: signs of life, and a look at a single group, of which the
/// console takes many a second. Records and commits are better off gathered: decided here, 512 clients
/// that wait for their writes got 14 % less done.
fn is_brief(work: &Work) -> bool {
    let Work::Request(request, _) = work else { return false };
    match request {
        Request::Heartbeat(_)
        | Request::ConsumerHeartbeat(_)
        | Request::ConnectionOpened(_)
        | Request::FetchOffsets(_) => true,
        Request::DescribeGroups(described) => described.groups.len() == 1,
        _ => false,
    }
}

impl Desk {
    /// The shard's thread.
    fn run(&self, messages: &mpsc::Receiver<Message>) -> Result<(), NodeError> {
        let mut first = None;
        loop {
            let mut desk = self.shard.lock().map_err(|_| NodeError::Stopped)?;
            let shard = desk.as_mut().ok_or(NodeError::Stopped)?;
            for _ in 0..WORK_PER_TURN_MAX {
                let Some(message) = first.take().or_else(|| messages.try_recv().ok()) else {
                    break;
                };
                self.queued.fetch_sub(1, Ordering::Release);
                match message {
                    Message::Work(work) => shard.take(work),
                    Message::Look => {}
                    Message::ThreadLost(reason) => return Err(thread_lost(&reason)),
                    Message::Stop => return shard.close(messages),
                    Message::Abandon => return Err(NodeError::Stopped),
                }
            }
            shard.settle();
            let patience = shard.patience();
            drop(desk);
            first = match messages.recv_timeout(patience) {
                Ok(message) => Some(message),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(NodeError::Stopped),
            };
        }
    }
}
