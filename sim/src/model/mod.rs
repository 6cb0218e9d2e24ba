//! What a log must be, said in the simplest way: a list of batches, and what was promised of them.
//!
//! The owner notes each append and each promise ([`LogModel::note`]). After a crash
//! [`LogModel::adopt`] judges how far the log reaches and forgets what it may have lost;
//! [`LogModel::check`] then holds everything that can be asked of the log to the list.

use bytes::Bytes;
use tidings_log::{Batch, LogConfig, LogId, LogKey, PartitionLog, Store};

mod answers;
mod fold;

pub use answers::Answers;
pub use fold::{Aborted, Fold};

/// A log as a list of batches, and what of it was promised.
#[derive(Clone, Debug)]
pub struct LogModel {
    pub key: LogKey,
    pub dir: String,
    pub config: LogConfig,
    /// Every batch that was ever appended and not lost, as it must be stored.
    pub batches: Vec<Batch>,
    /// The offset after the last batch.
    pub end: i64,
    /// Everything below was acknowledged.
    pub durable: i64,
    /// The start that was shown, and the one that was said to be durable.
    pub start: i64,
    pub durable_start: i64,
    /// The latest time the log was told.
    pub now_ms: i64,
    /// Of a log in memory: everything below was in segments, durably.
    pub kept: i64,
    /// What all batches add up to.
    pub all: Fold,
}

impl LogModel {
    pub fn new(key: LogKey, dir: &str, config: LogConfig) -> Self {
        Self {
            key,
            dir: dir.to_owned(),
            config,
            batches: Vec::new(),
            end: 0,
            durable: 0,
            start: 0,
            durable_start: 0,
            now_ms: 0,
            kept: 0,
            all: Fold::default(),
        }
    }

    /// Takes in a batch that was accepted, as the log stores it next.
    pub fn append(&mut self, batch: &Batch, leader_epoch: i32, log_append_time_ms: Option<i64>) {
        let stored = stored(batch, self.end, leader_epoch, log_append_time_ms);
        self.all.add(&stored);
        self.end = stored.last_offset() + 1;
        self.batches.push(stored);
    }

    /// Notes what the log promises now; a promise that is taken back is a violation.
    pub fn note(&mut self, log: &PartitionLog) -> Result<(), String> {
        let (start, durable, end) = (log.start_offset(), log.durable_offset(), log.end_offset());
        let durable_start = log.durable_start_offset();
        if end != self.end {
            return Err(format!("{}: ends at {end} and not {}", self.dir, self.end));
        }
        if durable < self.durable || durable > end {
            return Err(format!("{}: durable went from {} to {durable}", self.dir, self.durable));
        }
        if durable_start < self.durable_start || durable_start > start || start > durable {
            let was = self.durable_start;
            return Err(format!(
                "{}: durable start went from {was} to {durable_start}, start {start}, durable \
                 {durable}",
                self.dir
            ));
        }
        self.note_start(start)?;
        self.durable = durable;
        self.durable_start = durable_start;
        Ok(())
    }

    /// A start may move by itself only as far as retention allows.
    fn note_start(&mut self, start: i64) -> Result<(), String> {
        if start < self.start {
            return Err(format!("{}: start went back from {} to {start}", self.dir, self.start));
        }
        if start > self.start && !self.retention_may_reach(start) {
            return Err(format!("{}: start went from {} to {start}", self.dir, self.start));
        }
        self.start = start;
        Ok(())
    }

    /// Whether retention may have moved the start to `start`: what it removed was too old, or what it
    /// left is still as much as is to be kept.
    fn retention_may_reach(&self, start: i64) -> bool {
        if !self.config.delete {
            return false;
        }
        let removed = self.batches.iter().filter(|batch| batch.last_offset() < start);
        let too_old = |batch: &Batch| {
            let age = self.now_ms - batch.header().max_timestamp;
            self.config.retention_ms >= 0 && age > self.config.retention_ms
        };
        let left = self.batches.iter().filter(|batch| batch.last_offset() >= start);
        let left_bytes: usize = left.map(|batch| batch.bytes().len()).sum();
        let enough_left =
            self.config.retention_bytes >= 0 && left_bytes as i64 >= self.config.retention_bytes;
        let mut removed = removed.skip_while(|batch| batch.last_offset() < self.start);
        enough_left || removed.all(too_old)
    }

    /// Judges how far a log reaches that was opened after a crash (or a stop), and forgets what it lost.
    /// A log that skips the journal may lose what was not flushed, but not where the store says that it was
    /// `closed` with everything.
    pub fn adopt(&mut self, log: &PartitionLog, closed: bool) -> Result<(), String> {
        let (start, end) = (log.start_offset(), log.end_offset());
        let boundary = end == 0
            || end == self.end
            || self.batches.iter().any(|batch| batch.last_offset() + 1 == end);
        let begun_anew = self.config.volatile && end == start;
        if (!boundary && !begun_anew) || end > self.end {
            return Err(format!("{}: ends at {end}, inside a batch or past all", self.dir));
        }
        let may_lose = self.config.volatile && !closed;
        let promised = if may_lose { self.kept } else { self.durable };
        if end < promised {
            return Err(format!("{}: ends at {end}, but {promised} was acknowledged", self.dir));
        }
        if start < self.durable_start {
            let was = self.durable_start;
            return Err(format!("{}: starts at {start}, but {was} was durable", self.dir));
        }
        if start > self.start && !self.retention_may_reach(start) {
            return Err(format!("{}: starts at {start}, but {} was asked", self.dir, self.start));
        }
        if log.durable_offset() != end || log.durable_start_offset() != start {
            let (durable, durable_start) = (log.durable_offset(), log.durable_start_offset());
            return Err(format!(
                "{}: opened as {start}..{end}, but durable is {durable_start}..{durable}",
                self.dir
            ));
        }
        self.batches.retain(|batch| batch.last_offset() < end);
        self.all = self.fold_below(end);
        self.end = end;
        (self.start, self.durable_start, self.durable) = (start, start, end);
        self.kept = end;
        Ok(())
    }

    /// Holds everything that can be asked of the log to the list.
    pub fn check(&self, store: &Store, id: LogId) -> Result<Answers, String> {
        let log = store.log(id).ok_or_else(|| format!("{}: not open", self.dir))?;
        let said = |what| format!("{}: {what}", self.dir);
        let answers = Answers::ask(store, id, log).map_err(said)?;
        answers.hold_to(self).map_err(said)?;
        Ok(answers)
    }

    /// What the batches below `end` add up to.
    pub fn fold_below(&self, end: i64) -> Fold {
        let mut fold = Fold::default();
        for batch in self.batches.iter().filter(|batch| batch.last_offset() < end) {
            fold.add(batch);
        }
        fold
    }
}

/// How `batch` is stored.
fn stored(batch: &Batch, base: i64, leader_epoch: i32, log_append_time_ms: Option<i64>) -> Batch {
    let mut bytes = batch.bytes().to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    if let Some(now_ms) = log_append_time_ms {
        bytes[22] |= 0x08;
        bytes[35..43].copy_from_slice(&now_ms.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    Batch::parse(Bytes::from(bytes)).expect("the model makes valid batches")
}
