//! A store with the threads that carry its work out, and one loop that owns it: what the node's shard
//! is, without a broker, requests and answers.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use tidings_node::broker::log::{
    AppendAt, AppendRefused, Appended, Batch, BatchBuilder, Disk, LogConfig, LogId, LogKey, Moment,
    NewRecord, Store, StoreConfig, TransactionVersion, Work, WorkKind,
};
use tidings_node::{FileDisk, JournalIo, JournalIoChoice, JournalIoEvent, Lane, Workers};

use crate::measured::Measured;

/// How long the loop waits before it asks the store again, should nothing happen.
const PATIENCE: Duration = Duration::from_millis(5);

enum Event {
    Journal(JournalIoEvent),
    /// With how long it took.
    Work(Work, Duration),
    Lost(String),
}

pub(crate) struct Owner {
    pub(crate) store: Store,
    io: JournalIo,
    workers: Workers,
    send: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    start: Instant,
    /// Added to both clocks, to make what is due later due now.
    ahead: Duration,
    writes_out: usize,
    works_out: usize,
    /// Time that upkeep took on its thread.
    pub(crate) upkeep: Duration,
}

/// The logs of an owner, all with the same configuration.
#[derive(Clone, Copy)]
pub(crate) struct Logs {
    pub(crate) count: u64,
    pub(crate) config: LogConfig,
}

impl Owner {
    pub(crate) fn open(dir: &Path, config: StoreConfig, logs: Logs) -> anyhow::Result<Self> {
        let disk = Arc::new(FileDisk::open(dir)?);
        let shared: Arc<dyn Disk> = Arc::<FileDisk>::clone(&disk);
        let (mut store, found) = Store::open(shared, config)?;
        ensure!(found.damaged.is_empty(), "{found:?}");
        for number in 0..logs.count {
            let (key, dir) = (key(number), format!("bench-{number}"));
            store.open_log(LogId(number), key, &dir, logs.config)?;
        }
        store.begin(false)?;
        let (send, events) = mpsc::channel();
        let (told, lost) = (send.clone(), send.clone());
        // The loop that would hear it may have ended, by a failure of its own.
        let tell = move |event| drop(told.send(Event::Journal(event)));
        let writes = config.writes_in_flight_max;
        let io = JournalIo::start(&*disk, JournalIoChoice::Auto, writes, tell)?;
        let workers = Workers::start(move |reason| drop(lost.send(Event::Lost(reason))))?;
        Ok(Self {
            store,

            io,
            workers,
            send,
            events,
            start: Instant::now(),
            ahead: Duration::ZERO,
            writes_out: 0,
            works_out: 0,
            upkeep: Duration::ZERO,
        })
    }

    pub(crate) fn now(&self) -> Moment {
        let millis = |duration: Duration| u64::try_from((duration + self.ahead).as_millis());
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = millis(wall).unwrap_or(u64::MAX);
        Moment {
            wall_ms: i64::try_from(wall_ms).unwrap_or(i64::MAX),
            mono_ms: millis(self.start.elapsed()).unwrap_or(u64::MAX),
        }
    }

    /// Sends out what is to be done.
    pub(crate) fn drive(&mut self) {
        while let Some(write) = self.store.next_write() {
            self.writes_out += 1;
            if let Some((write, outcome)) = self.io.submit(write) {
                // As below.
                drop(self.send.send(Event::Journal(JournalIoEvent::Done(write, outcome))));
            }
        }
        while let Some(mut work) = self.store.next_work(self.now()) {
            self.works_out += 1;
            let send = self.send.clone();
            let lane = match work.kind() {
                WorkKind::Flush => Lane::Flush,
                WorkKind::Upkeep => Lane::Upkeep,
            };
            self.workers.run(lane, move || {
                let begun = Instant::now();
                work.run();
                // The loop that would hear it may have ended.
                drop(send.send(Event::Work(work, begun.elapsed())));
            });
        }
    }

    /// Waits for something to end, takes in everything that has; says whether anything had.
    pub(crate) fn take(&mut self) -> anyhow::Result<bool> {
        let Ok(event) = self.events.recv_timeout(PATIENCE) else { return Ok(false) };
        self.take_in(event)?;
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event)?;
        }
        Ok(true)
    }

    fn take_in(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Journal(JournalIoEvent::Done(write, outcome)) => {
                self.writes_out -= 1;
                outcome.clone()?;
                self.store.write_done(write, outcome);
            }
            Event::Work(work, took) => {
                self.works_out -= 1;
                if work.kind() == WorkKind::Upkeep {
                    self.upkeep += took;
                }
                self.store.work_done(self.now(), work);
            }
            Event::Journal(JournalIoEvent::Lost(reason)) | Event::Lost(reason) => {
                bail!("a thread panicked: {reason}")
            }
        }
        Ok(())
    }

    /// `clients` of which each appends `batch` to the next log in turn, waits until it is durable and
    /// does so again, until `span` is over or `bytes_max` are appended.
    pub(crate) fn append(
        &mut self,
        batch: &Batch,
        logs: u64,
        clients: usize,
        span: Duration,
        bytes_max: u64,
    ) -> anyhow::Result<Measured> {
        let size = batch.bytes().len() as u64;
        let mut waiting: HashMap<LogId, VecDeque<(i64, Instant)>> = HashMap::new();
        let (mut idle, mut sent, mut latencies) = (clients, 0, Vec::new());
        let start = Instant::now();
        loop {
            let more = start.elapsed() < span && sent * size < bytes_max;
            if !more && idle == clients {
                break;
            }
            while more && idle > 0 && !self.store.congested() {
                let id = LogId(sent % logs);
                let Some(last_offset) = self.put(id, batch)? else { break };
                waiting.entry(id).or_default().push_back((last_offset, Instant::now()));
                sent += 1;
                idle -= 1;
            }
            self.drive();
            let advanced = self.store.take_advanced();
            if advanced.is_empty() {
                self.take()?;
                continue;
            }
            for id in advanced {
                let durable = self.store.log(id).context("a log that is open")?.durable_offset();
                let Some(waiting) = waiting.get_mut(&id) else { continue };
                while let Some((_, begun)) = waiting.pop_front_if(|(last, _)| *last < durable) {
                    latencies.push(begun.elapsed());
                    idle += 1;
                }
            }
        }
        let took = start.elapsed();
        Ok(Measured::of(latencies, sent * size, took))
    }

    /// The batch's last offset; none when it must wait.
    fn put(&mut self, id: LogId, batch: &Batch) -> anyhow::Result<Option<i64>> {
        let now_ms = self.now().wall_ms;
        let at = AppendAt {
            now_ms,
            leader_epoch: 0,
            log_append_time: false,
            transactions: TransactionVersion::One,
        };
        match self.store.append(id, batch, at) {
            Ok(Appended::Written { last_offset, .. }) => Ok(Some(last_offset)),
            Ok(other) => bail!("{other:?} for a batch of no producer"),
            Err(AppendRefused::Congested) => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Appends without regard to time: `bytes` in all, and waits until they are durable.
    pub(crate) fn fill(&mut self, batch: &Batch, logs: u64, bytes: u64) -> anyhow::Result<()> {
        self.append(batch, logs, FILLING_CLIENTS, Duration::MAX, bytes).map(drop)
    }

    /// Appends one batch to the first log, and waits only where the store says so.
    pub(crate) fn put_and_drive(&mut self, batch: &Batch) -> anyhow::Result<()> {
        while self.store.congested() || self.put(LogId(0), batch)?.is_none() {
            self.drive();
            self.take()?;
        }
        self.drive();
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event)?;
        }
        Ok(())
    }

    /// Returns when everything is durable and in segments.
    pub(crate) fn flush_all(&mut self) -> anyhow::Result<()> {
        // By then a flush is due however little there is.
        self.ahead += FLUSHED_AFTER;
        loop {
            self.drive();
            if self.writes_out + self.works_out == 0 && self.store.unflushed_bytes() == 0 {
                return Ok(());
            }
            self.take()?;
        }
    }

    /// Returns when no write and no work is out.
    pub(crate) fn rest(&mut self) -> anyhow::Result<()> {
        while self.writes_out + self.works_out > 0 {
            self.take()?;
        }
        Ok(())
    }

    /// Does all upkeep that is due after `ahead`.
    pub(crate) fn keep_up(&mut self, ahead: Duration) -> anyhow::Result<()> {
        self.ahead += ahead;
        loop {
            self.drive();
            if self.writes_out + self.works_out == 0 {
                return Ok(());
            }
            self.take()?;
        }
    }

    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        self.rest()?;
        Ok(self.store.close()?)
    }
}

/// More than `flush_after_ms`.
const FLUSHED_AFTER: Duration = Duration::from_secs(60);
/// Clients that only fill a log.
const FILLING_CLIENTS: usize = 256;

fn key(number: u64) -> LogKey {
    let mut key = [0; 20];
    key[12..].copy_from_slice(&(number + 1).to_be_bytes());
    LogKey(key)
}

/// A batch of `count` records with values of `size` bytes and no keys.
pub(crate) fn batch(count: usize, size: usize) -> Batch {
    keyed_batch((0..count).map(|_| None), size)
}

/// A batch of records with those keys and values of `size` bytes.
pub(crate) fn keyed_batch(keys: impl Iterator<Item = Option<u64>>, size: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for key in keys {
        builder.push(&NewRecord {
            key: key.map(|key| key.to_be_bytes().to_vec().into()),
            value: Some(vec![0x5a; size].into()),
            timestamp: i64::try_from(millis).unwrap_or(i64::MAX),
            headers: Vec::new(),
        });
    }
    builder.build()
}
