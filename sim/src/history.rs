//! Seeded histories of one partition's log: what its owner does, step by step.

use std::sync::Arc;

use bytes::Bytes;
use tidings_log::{
    AppendAt, AppendRefused, Appended, Batch, BatchBuilder, CommitLog, Disk, Fault, LogConfig,
    NewRecord,
};

use crate::model::Model;
use crate::random::Random;

/// The folder of the log under test; two levels, as both must become durable.
pub const DIR: &str = "topics/orders-0";
/// Small enough that a history rolls several times and every batch is indexed.
pub const CONFIG: LogConfig =
    LogConfig { segment_bytes: 1500, index_interval_bytes: 150, ..LogConfig::KAFKA };
const PRODUCERS: usize = 3;
const STEPS_MIN: u64 = 12;
const STEPS_MAX: u64 = 28;

/// Makes the disk that the log sees out of the one that is going to crash.
pub type Wrap = fn(tidings_log::MemoryDisk) -> Arc<dyn Disk>;

/// A log with its owner: opens it, appends, syncs, stops.
#[derive(Debug)]
pub struct Owner {
    disk: Arc<dyn Disk>,
    random: Random,
    pub model: Model,
    log: Option<CommitLog>,
    /// Each producer's epoch, next sequence and last batch.
    producers: [(i16, i32, Option<Batch>); PRODUCERS],
    leader_epoch: i32,
}

/// Why a history ended before its time.
#[derive(Debug)]
pub enum Ended {
    /// The disk failed, as it was told to.
    Power,
    /// The log did what it must not.
    Violation(String),
}

impl From<Fault> for Ended {
    fn from(_: Fault) -> Self {
        Self::Power
    }
}

impl Owner {
    pub fn new(disk: Arc<dyn Disk>, seed: u64) -> Self {
        Self {
            disk,
            random: Random::new(seed),
            model: Model::default(),
            log: None,
            producers: Default::default(),
            leader_epoch: 0,
        }
    }

    /// Runs the seed's whole history, or until the power is cut.
    pub fn run(&mut self) -> Result<(), Ended> {
        self.open()?;
        let steps = STEPS_MIN + self.random.below(STEPS_MAX - STEPS_MIN);
        for _ in 0..steps {
            match self.random.below(16) {
                0..=8 => self.append()?,
                9..=11 => self.sync()?,
                12 => self.sync_while_appending()?,
                13 => self.resend()?,
                14 => self.leader_epoch += 1,
                _ => self.stop_and_open()?,
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Ended> {
        let (log, recovered) = CommitLog::open(Arc::clone(&self.disk), DIR, CONFIG)?;
        if recovered.cut_bytes > 0 || !recovered.damaged.is_empty() {
            return Err(Ended::Violation(format!("a sound log was repaired: {recovered:?}")));
        }
        self.model.check(&log).map_err(Ended::Violation)?;
        self.log = Some(log);
        Ok(())
    }

    fn log(&mut self) -> &mut CommitLog {
        self.log.as_mut().expect("the owner keeps its log open")
    }

    fn append(&mut self) -> Result<(), Ended> {
        let batch = self.next_batch();
        let stored = self.model.stored(&batch, self.leader_epoch);
        let at = self.at();
        let expected = self.model.end_offset;
        match self.log().append(&batch, at) {
            Ok(Appended::Written { base_offset, .. }) if base_offset == expected => {
                self.model.append(stored);
                Ok(())
            }
            Err(AppendRefused::Fault(_)) if self.log().poisoned().is_some() => {
                self.model.in_doubt = Some(stored);
                Err(Ended::Power)
            }
            other => Err(Ended::Violation(format!("append at {expected} gave {other:?}"))),
        }
    }

    fn at(&self) -> AppendAt {
        AppendAt { now_ms: 0, leader_epoch: self.leader_epoch, log_append_time: false }
    }

    fn next_batch(&mut self) -> Batch {
        let records = 1 + self.random.below(3);
        let mut builder = BatchBuilder::new();
        let who = self.random.below(PRODUCERS as u64 + 1) as usize;
        if let Some((epoch, sequence, _)) = self.producers.get_mut(who) {
            if self.random.once_in(10) {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            builder = builder.producer(who as i64, *epoch, *sequence);
            *sequence += records as i32;
        }
        for _ in 0..records {
            let bytes = if self.random.once_in(8) { 700 } else { self.random.below(120) };
            let value: Vec<u8> = (0..bytes).map(|_| self.random.number() as u8).collect();
            let timestamp = self.random.below(1000) as i64;
            let value = Some(Bytes::from(value));
            builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
        }
        let batch = builder.build();
        if let Some((_, _, last)) = self.producers.get_mut(who) {
            *last = Some(batch.clone());
        }
        batch
    }

    /// Sends a producer's last batch again; it must be known.
    fn resend(&mut self) -> Result<(), Ended> {
        let who = self.random.below(PRODUCERS as u64) as usize;
        let Some(batch) = self.producers[who].2.clone() else { return Ok(()) };
        let at = self.at();
        match self.log().append(&batch, at) {
            Ok(Appended::Duplicate { .. }) => Ok(()),
            other => Err(Ended::Violation(format!("a batch sent again gave {other:?}"))),
        }
    }

    fn sync(&mut self) -> Result<(), Ended> {
        if let Some(work) = self.log().sync_begin() {
            let result = work.run();
            self.log().sync_end(&work, result);
        }
        self.note_durable()
    }

    fn sync_while_appending(&mut self) -> Result<(), Ended> {
        let work = self.log().sync_begin();
        let result = work.as_ref().map_or(Ok(()), |work| work.run());
        self.append()?;
        if let Some(work) = work {
            self.log().sync_end(&work, result);
        }
        self.note_durable()
    }

    fn note_durable(&mut self) -> Result<(), Ended> {
        self.model.durable_offset = self.log().durable_offset();
        if self.log().poisoned().is_some() { Err(Ended::Power) } else { Ok(()) }
    }

    /// Ends the process, cleanly or not, and starts it again; the page cache outlives it.
    fn stop_and_open(&mut self) -> Result<(), Ended> {
        let mut log = self.log.take().expect("the owner keeps its log open");
        if !self.random.once_in(3) {
            log.close()?;
            self.model.durable_offset = log.durable_offset();
        }
        drop(log);
        self.open()
    }
}
