//! The shard: the broker with its clock, its disk and what is out.
//!
//! Whoever holds it ([`crate::inbox`]) has it [take](Shard::take) what has come, and then
//! [settle](Shard::settle):
//!
//! 1. Tick the timers, look at the free space when that is due.
//! 2. Hand on what the broker wants carried out: the journal's writes, and jobs to the workers.
//! 3. Hand out completions.
//!
//! There is no timer for group commit: while as many writes are out as may be, what is accepted
//! gathers for the next one. So a lone client waits for one write, and many share one.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_broker::log::{Disk, Fault, JournalWrite};
use tidings_broker::{
    Broker, BrokerConfig, Client, Completion, DiskRoom, Job, JobKind, Now, OpenReport, OverQuota,
    ProduceRefused, Reply, Request, SessionFetched, Ticket, Usage,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::fetched::FetchedBytes;
use crate::inbox::{Inbox, Message};
use crate::limits::{FETCHED_LOOK_MS, FREE_SPACE_PROBE_MS};
use crate::node::Counters;
use crate::{JournalIo, JournalIoEvent, Lane, NodeConfig, NodeError, Workers};

/// What the shard decides about.
#[derive(Debug)]
pub(crate) enum Work {
    Request(Request, Asked),
    Written(JournalWrite, Result<(), Fault>),
    JobDone(Job),
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

pub(crate) struct Shard {
    broker: Broker,
    disk: Arc<dyn Disk>,
    clock: Clock,
    /// For what the workers have done.
    inbox: Inbox,
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
    /// When the thread that keeps the timers looks at them next.
    looked_at_ms: u64,
}

impl Shard {
    /// Opens the broker (recovery may fail, and says so) and starts the threads that it hands work to.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        config: &NodeConfig,
        counters: Arc<Counters>,
        fetched_bytes: FetchedBytes,
        inbox: Inbox,
    ) -> Result<(Self, OpenReport), NodeError> {
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
        let (writes_max, choice) = (config.store.writes_in_flight_max, config.journal_io);
        let tell = inbox.clone();
        let journal = JournalIo::start(&*disk, choice, writes_max, move |event| match event {
            JournalIoEvent::Done(write, outcome) => tell.bring(Work::Written(write, outcome)),
            JournalIoEvent::Lost(reason) => tell.queue(Message::ThreadLost(reason)),
        })?;
        let tell = inbox.clone();
        let workers = Workers::start(move |reason| tell.queue(Message::ThreadLost(reason)))?;
        let shard = Self {
            broker,
            disk,
            clock,
            inbox,
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
            looked_at_ms: 0,
        };
        Ok((shard, report))
    }

    pub(crate) fn cluster_id(&self) -> &str {
        self.broker.cluster_id()
    }

    /// Decides; what comes of it is carried out by [`Shard::settle`].
    pub(crate) fn take(&mut self, work: Work) {
        match work {
            Work::Request(request, mut asked) => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.counters.requests.fetch_add(1, Ordering::Relaxed);
                self.submit(ticket, request, &mut asked);
                self.waiting.insert(ticket, asked);
            }
            Work::Written(write, outcome) => self.written(write, outcome),
            Work::JobDone(job) => {
                self.jobs_out -= 1;
                self.broker.job_done(self.clock.now(), job);
            }
        }
    }

    fn written(&mut self, write: JournalWrite, outcome: Result<(), Fault>) {
        self.writes_out -= 1;
        self.counters.journal_writes.fetch_add(1, Ordering::Relaxed);
        self.broker.write_done(self.clock.now(), write, outcome);
    }

    /// Carries out what has been decided, and acts on what is due.
    pub(crate) fn settle(&mut self) {
        let now = self.clock.now();
        if self.broker.next_timeout_ms().is_some_and(|due| due <= now.mono_ms) {
            self.broker.tick(now);
        }
        self.probe_free_space();
        self.hand_on_writes();
        self.tell_of_trouble();
        self.hand_out();
        self.hand_on_jobs();
    }

    /// How long the thread that keeps the timers may sleep from now on.
    pub(crate) fn patience(&mut self) -> Duration {
        let (now_ms, due_ms) = (self.clock.now().mono_ms, self.due_ms());
        self.looked_at_ms = due_ms;
        Duration::from_millis(due_ms.saturating_sub(now_ms))
    }

    /// Whether something is due before that thread looks; it counts as told.
    pub(crate) fn wants_look(&mut self) -> bool {
        let due_ms = self.due_ms();
        let wanted = due_ms < self.looked_at_ms;
        self.looked_at_ms = self.looked_at_ms.min(due_ms);
        wanted
    }

    fn due_ms(&self) -> u64 {
        let timers = [self.broker.next_timeout_ms(), self.broker.next_job_ms()];
        let due_ms = timers.into_iter().flatten().fold(self.probe_due_ms, u64::min);
        if self.broker.reads_want_room() {
            due_ms.min(self.clock.now().mono_ms + FETCHED_LOOK_MS)
        } else {
            due_ms
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
            if let Some((write, outcome)) = self.journal.submit(write) {
                self.written(write, outcome);
            }
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
            let inbox = self.inbox.clone();
            self.workers.run(lane, move || {
                job.run();
                inbox.bring(Work::JobDone(job));
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

    /// Makes everything that is accepted durable, answers for it, closes the logs. Requests that come
    /// meanwhile are let go.
    pub(crate) fn close(&mut self, messages: &mpsc::Receiver<Message>) -> Result<(), NodeError> {
        loop {
            self.hand_on_writes();
            if self.writes_out == 0 && self.jobs_out == 0 {
                break;
            }
            match messages.recv() {
                Ok(Message::Work(Work::Request(_, asked))) => drop(asked),
                Ok(Message::Work(work)) => self.take(work),
                Ok(Message::ThreadLost(reason)) => return Err(thread_lost(&reason)),
                Ok(Message::Stop | Message::Look) => {}
                Ok(Message::Abandon) | Err(mpsc::RecvError) => return Err(NodeError::Stopped),
            }
            self.hand_out();
        }
        self.hand_out();
        self.tell_of_trouble();
        Ok(self.broker.close()?)
    }
}

/// A thread of the node has panicked, which ends it.
pub(crate) fn thread_lost(reason: &str) -> NodeError {
    tracing::error!(%reason, "a thread panicked; the node has stopped");
    NodeError::Stopped
}
