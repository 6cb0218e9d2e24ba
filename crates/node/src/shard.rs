//! The thread that owns the broker.
//!
//! 1. Hand on what the broker wants carried out: the journal's writes, and jobs to the workers.
//! 2. Wait for a message, at most until the broker's next timer or the next look at free space.
//! 3. Submit everything that is queued (up to a turn's limit), take back what has ended, tick the
//!    timers.
//! 4. Hand out completions; go to 1.
//!
//! There is no timer for group commit: while as many writes are out as may be, what is accepted
//! gathers for the next one. So a lone client waits for one write, and many share one.
//!
//! A panic on any thread ends the shard: its reason is logged, the allowances are closed and the
//! waiting callers' channels dropped, which tells each of them that the node has stopped.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_broker::log::{Disk, Fault, FaultKind};
use tidings_broker::{
    Broker, BrokerConfig, Client, Completion, DiskRoom, Job, JobKind, Now, OpenReport, OverQuota,
    ProduceRefused, Reply, Request, SessionFetched, Ticket, Usage,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::fetched::FetchedBytes;
use crate::limits::{FETCHED_LOOK_MS, FREE_SPACE_PROBE_MS, REQUESTS_PER_TURN_MAX};
use crate::node::{Counters, Ended};
use crate::pool::reason;
use crate::{JournalIo, JournalIoEvent, Lane, NodeConfig, NodeError, Workers};

/// What the shard is told. The channel is unbounded, its contents are not: a request carries its
/// share of the allowances, the broker bounds the writes and jobs that are out, and there is one stop
/// per caller.
#[derive(Debug)]
pub(crate) enum Message {
    Request(Request, Asked),
    Journal(JournalIoEvent),
    JobDone(Job),
    /// A worker panicked.
    WorkerLost(String),
    /// Finish and close.
    Stop,
    /// The last handle has gone: end without closing.
    Abandon,
}

/// Who waits for an answer, and what they hold until they have it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The reply, and how many milliseconds the client must pause.
    pub(crate) reply: oneshot::Sender<(Reply, u64)>,
    /// Whose quotas it is charged to.
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) over_quota: OverQuota,
    pub(crate) usage: Usage,
    /// What its client must pause for the partitions that it has created and deleted.
    pub(crate) pause_ms: u64,
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

/// Opens the broker on the caller's thread (recovery may fail, and says so), then starts the threads.
pub(crate) fn start(
    disk: Arc<dyn Disk>,
    config: &NodeConfig,
    counters: Arc<Counters>,
    allowances: [Arc<Semaphore>; 2],
    fetched_bytes: FetchedBytes,
) -> Result<Started, NodeError> {
    let clock = Clock::start();
    let broker_config = BrokerConfig {
        kept: config.kept,
        node_id: config.node_id,
        brokers: config.brokers,
        default_partitions: config.default_partitions,
        auto_create_topics: config.auto_create_topics,
        delete_topics: config.delete_topics,
        disk_reserve_bytes: config.disk_reserve_bytes,
        store: config.store,
        seed: seed(),
    };
    let (broker, report) = Broker::open(Arc::clone(&disk), broker_config, clock.now())?;
    let cluster_id = broker.cluster_id().to_owned();
    let (inbox, messages) = mpsc::channel();
    let tell = inbox.clone();
    let (writes_max, choice) = (config.store.writes_in_flight_max, config.journal_io);
    let journal = JournalIo::start(&*disk, choice, writes_max, move |event| {
        // A shard that has ended wants no outcome.
        let _ended = tell.send(Message::Journal(event));
    })?;
    let tell = inbox.clone();
    let workers = Workers::start(move |reason| {
        let _ended = tell.send(Message::WorkerLost(reason));
    })?;
    let (end, ended) = watch::channel(None);
    let mut shard = Shard {
        broker,
        disk,
        clock,
        messages,
        outcomes: inbox.clone(),
        journal,
        workers,
        writes_out: 0,
        jobs_out: 0,
        waiting: HashMap::new(),
        next_ticket: 0,
        probe_due_ms: 0,
        room: DiskRoom::Plenty,
        journal_failed: false,
        fetched_bytes,
        counters,
    };
    let thread = spawn("tidings-shard", move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| shard.run()));
        for allowance in &allowances {
            allowance.close();
        }
        // Disk, broker and threads go before the end is told, so that the directory is unlocked by
        // then.
        drop(shard);
        let outcome = outcome.unwrap_or_else(|panic| {
            tracing::error!(reason = %reason(&*panic), "the shard panicked; the node has stopped");
            Err(NodeError::Stopped)
        });
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
    /// For what the workers have done.
    outcomes: mpsc::Sender<Message>,
    journal: JournalIo,
    workers: Workers,
    writes_out: usize,
    jobs_out: usize,
    waiting: HashMap<Ticket, Asked>,
    next_ticket: u64,
    probe_due_ms: u64,
    /// What was left of the disk at the last look.
    room: DiskRoom,
    /// The journal's failure has been told.
    journal_failed: bool,
    fetched_bytes: FetchedBytes,
    counters: Arc<Counters>,
}

impl Shard {
    fn run(&mut self) -> Result<(), NodeError> {
        loop {
            self.probe_free_space();
            self.hand_on_writes();
            self.hand_on_jobs();
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
        self.tell_of_trouble();
        self.hand_out();
        Ok(end)
    }

    fn patience(&self) -> Duration {
        let timers = [self.broker.next_timeout_ms(), self.broker.next_job_ms()];
        let due = timers.into_iter().flatten().fold(self.probe_due_ms, u64::min);
        let patience = due.saturating_sub(self.clock.now().mono_ms);
        let look = if self.broker.reads_want_room() { FETCHED_LOOK_MS } else { u64::MAX };
        Duration::from_millis(patience.min(look))
    }

    fn take(&mut self, message: Message) -> Result<Turn, NodeError> {
        match message {
            Message::Request(request, mut asked) => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.counters.requests.fetch_add(1, Ordering::Relaxed);
                self.submit(ticket, request, &mut asked);
                self.waiting.insert(ticket, asked);
                Ok(Turn::On)
            }
            Message::Journal(JournalIoEvent::Done(write, outcome)) => {
                self.writes_out -= 1;
                self.counters.journal_writes.fetch_add(1, Ordering::Relaxed);
                self.broker.write_done(self.clock.now(), write, outcome);
                Ok(Turn::On)
            }
            Message::JobDone(job) => {
                self.jobs_out -= 1;
                self.broker.job_done(self.clock.now(), job);
                Ok(Turn::On)
            }
            Message::Journal(JournalIoEvent::Lost(reason)) | Message::WorkerLost(reason) => {
                tracing::error!(%reason, "a thread panicked; the node has stopped");
                Err(NodeError::Stopped)
            }
            Message::Stop => Ok(Turn::Stop),
            Message::Abandon => Ok(Turn::Abandon),
        }
    }

    /// Has a request decided; where there are quotas, its time is part of what it used.
    fn submit(&mut self, ticket: Ticket, mut request: Request, asked: &mut Asked) {
        let now = self.clock.now();
        match &asked.client {
            Some(client) if self.broker.has_quotas() => {
                self.broker.prepare(now, client, asked.over_quota, &mut request);
                let began = Instant::now();
                self.broker.submit(now, ticket, request);
                let took = began.elapsed().as_nanos();
                asked.usage.handler_ns = u64::try_from(took).unwrap_or(u64::MAX);
                asked.pause_ms = self.broker.charge_mutations(now, client);
            }
            _ => self.broker.submit(now, ticket, request),
        }
    }

    fn hand_on_writes(&mut self) {
        while let Some(write) = self.broker.next_write() {
            self.writes_out += 1;
            self.journal.submit(write);
        }
    }

    fn hand_on_jobs(&mut self) {
        self.broker.set_room_for_reads(self.fetched_bytes.left());
        while let Some(mut job) = self.broker.next_job(self.clock.now()) {
            self.jobs_out += 1;
            let lane = match job.kind() {
                JobKind::Flush => Lane::Flush,
                JobKind::Upkeep => Lane::Upkeep,
                JobKind::Request => Lane::Read,
            };
            let outcomes = self.outcomes.clone();
            self.workers.run(lane, move || {
                job.run();
                // A shard that has ended wants no outcome.
                let _ended = outcomes.send(Message::JobDone(job));
            });
        }
    }

    /// Says once what the operator must know: that the journal has failed, and what is damaged.
    fn tell_of_trouble(&mut self) {
        if !self.journal_failed
            && let Some(trouble) = self.broker.journal_failed()
        {
            self.journal_failed = true;
            tracing::error!("{trouble}");
        }
        while let Some(damage) = self.broker.next_damage() {
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!("{damage}");
        }
    }

    fn hand_out(&mut self) {
        while let Some(Completion { ticket, mut reply }) = self.broker.poll() {
            if let Reply::Fetch(fetched)
            | Reply::FetchInSession(Ok(SessionFetched { partitions: fetched, .. })) = &mut reply
            {
                self.fetched_bytes.count(fetched);
            }
            let Some(mut asked) = self.waiting.remove(&ticket) else {
                debug_assert!(false, "{ticket:?} was answered twice");
                continue;
            };
            self.count(&reply, &mut asked.usage);
            let pause_ms = match &asked.client {
                Some(client) if self.broker.has_quotas() => {
                    self.broker.charge(self.clock.now(), client, &asked.usage).max(asked.pause_ms)
                }
                _ => 0,
            };
            // A caller that went away wants no answer.
            let _gone = asked.reply.send((reply, pause_ms));
        }
    }

    /// Counts what came of a request, in the figures and in what it used.
    fn count(&mut self, reply: &Reply, usage: &mut Usage) {
        match reply {
            Reply::Produce(produced) => {
                let refused = |p: &tidings_broker::Produced| {
                    matches!(p.outcome, Err(ProduceRefused::Storage(_)))
                };
                if produced.iter().any(refused) {
                    self.probe_due_ms = 0;
                }
                if produced.iter().all(|p| p.outcome.is_ok()) {
                    self.counters.produced_bytes.fetch_add(usage.produced_bytes, Ordering::Relaxed);
                }
            }
            Reply::Fetch(fetched)
            | Reply::FetchInSession(Ok(SessionFetched { partitions: fetched, .. })) => {
                let data = fetched.iter().filter_map(|f| f.outcome.as_ref().ok());
                let bytes = data.map(|data| data.bytes() as u64).sum();
                self.counters.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
                usage.fetched_bytes = bytes;
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
                let now = self.clock.now();
                self.broker.set_free_bytes(now, free);
                let unflushed = self.broker.unflushed_bytes();
                self.counters.free_bytes.store(free, Ordering::Relaxed);
                let total = self.disk.total_bytes().unwrap_or(u64::MAX);
                self.counters.total_bytes.store(total, Ordering::Relaxed);
                self.counters.unflushed_bytes.store(unflushed, Ordering::Relaxed);
                self.tell_of_room(free, unflushed);
            }
            Err(fault) => tracing::warn!(%fault, "free space is unknown"),
        }
    }

    /// Says once when produce begins to be slowed or refused for want of room, and once when it is
    /// taken again.
    fn tell_of_room(&mut self, free: u64, unflushed: u64) {
        let room = self.broker.disk_room();
        let before = std::mem::replace(&mut self.room, room);
        match (before, room) {
            (DiskRoom::None, DiskRoom::None) | (DiskRoom::Plenty, DiskRoom::Plenty) => {}
            (_, DiskRoom::None) => {
                tracing::error!(
                    free,
                    unflushed,
                    "the disk is full: produce is refused until there is room"
                );
            }
            (DiskRoom::Plenty, DiskRoom::Low(left)) => {
                tracing::warn!(free, unflushed, left, "the disk is nearly full: produce is slowed");
            }
            (DiskRoom::Low(_), DiskRoom::Low(_)) => {}
            (DiskRoom::None, DiskRoom::Low(_)) | (_, DiskRoom::Plenty) => {
                tracing::warn!(free, unflushed, "the disk has room again: produce is taken");
            }
        }
    }

    /// Makes everything that is accepted durable, answers for it, closes the logs.
    fn close(&mut self) -> Result<(), NodeError> {
        loop {
            self.hand_on_writes();
            if self.writes_out == 0 && self.jobs_out == 0 {
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
        self.tell_of_trouble();
        Ok(self.broker.close()?)
    }
}
