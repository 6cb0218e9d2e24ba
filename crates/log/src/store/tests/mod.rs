//! The store's behaviour on the memory disk. Power cuts are explored in `sim`.

use bytes::Bytes;

use super::*;
use crate::{
    AppendAt, Appended, Batch, BatchBuilder, Fate, FaultKind, MemoryDisk, NewRecord, ReadRefused,
    Recovered, TransactionVersion, split,
};

mod bounded;
mod census;
mod cut;
mod expired;
mod failed;
mod full;
mod gaps;
mod killed;
mod opened;
mod parts;
mod removed;
mod retained;
mod straight;
mod trouble;
mod volatile;

const CONFIG: LogConfig =
    LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 200, ..LogConfig::KAFKA };
/// Two or three batches of [`batch_of`] to a segment.
const SMALL: LogConfig =
    LogConfig { segment_bytes: 250, index_interval_bytes: 100, ..LogConfig::KAFKA };
const AT: AppendAt = AppendAt {
    now_ms: 0,
    leader_epoch: 0,
    log_append_time: false,
    transactions: TransactionVersion::One,
};
const NOW: Moment = Moment { wall_ms: 0, mono_ms: 1_000_000 };
const LOG: LogId = LogId(1);
const B: LogId = LogId(2);
const VOLATILE: LogConfig = LogConfig { volatile: true, ..CONFIG };

/// A store on a memory disk, with some logs.
struct Node {
    disk: MemoryDisk,
    store: Store,
    recovered: StoreRecovered,
    logs: Vec<Recovered>,
    unclaimed: Vec<(LogKey, u64)>,
}

fn key(id: LogId) -> LogKey {
    let mut key = [0; 20];
    key[12..].copy_from_slice(&id.0.to_be_bytes());
    LogKey(key)
}

fn dir(id: LogId) -> String {
    format!("t-{}", id.0 - 1)
}

fn small_store() -> StoreConfig {
    StoreConfig { journal_bytes: 1 << 20, journal_chunk_bytes: 64 << 10, ..StoreConfig::small() }
}

impl Node {
    fn open(disk: &MemoryDisk) -> Self {
        Self::open_with(disk, CONFIG, 1)
    }

    fn open_with(disk: &MemoryDisk, config: LogConfig, logs: u64) -> Self {
        Self::try_open(disk, small_store(), config, logs).expect("the store opens")
    }

    fn try_open(
        disk: &MemoryDisk,
        store: StoreConfig,
        config: LogConfig,
        logs: u64,
    ) -> Result<Self, Fault> {
        let (mut store, recovered) = Store::open(Arc::new(disk.clone()), store)?;
        let opened = (1..=logs)
            .map(|id| store.open_log(LogId(id), key(LogId(id)), &dir(LogId(id)), config))
            .collect::<Result<_, _>>()?;
        let unclaimed = store.begin(false)?;
        Ok(Self { disk: disk.clone(), store, recovered, logs: opened, unclaimed })
    }

    fn log(&self) -> &PartitionLog {
        self.store.log(LOG).expect("it is open")
    }

    /// Appends without writing.
    fn accept(&mut self, id: LogId, texts: &[&str], timestamp: i64) {
        let base_offset = self.store.log(id).expect("it is open").end_offset();
        let last_offset = base_offset + texts.len() as i64 - 1;
        let appended = self.store.append(id, &batch_of(texts, timestamp), AT);
        assert_eq!(appended, Ok(Appended::Written { base_offset, last_offset }));
    }

    fn append(&mut self, texts: &[&str], timestamp: i64) {
        self.accept(LOG, texts, timestamp);
        self.store.settle(NOW);
    }

    fn flush(&mut self) {
        self.store.flush_now(NOW);
    }

    fn close(mut self) -> MemoryDisk {
        self.store.close().expect("it closes");
        self.disk
    }

    fn texts(&self) -> Vec<String> {
        self.texts_of(LOG)
    }

    fn texts_of(&self, id: LogId) -> Vec<String> {
        let start = self.store.log(id).expect("it is open").start_offset();
        self.texts_from(id, start, 1000).expect("the log is sound")
    }

    /// The values of the records from `from` on, read in pieces of about `max_bytes`.
    fn texts_from(
        &self,
        id: LogId,
        mut from: i64,
        max_bytes: usize,
    ) -> Result<Vec<String>, ReadRefused> {
        let mut texts = Vec::new();
        let end = self.store.log(id).expect("it is open").durable_offset();
        while from < end {
            let read = self.store.read_now(id, from, i64::MAX, max_bytes)?;
            assert!(!read.is_empty(), "something at {from} of {end}");
            for batch in read.into_iter().flat_map(split) {
                let records = batch.expect("a valid batch").records().expect("decodes");
                let wanted = from;
                for record in records.into_iter().filter(|record| record.offset >= wanted) {
                    assert_eq!(record.offset, from, "no offset is left out");
                    let value = record.value.expect("a value");
                    texts.push(String::from_utf8_lossy(&value).into_owned());
                    from += 1;
                }
            }
        }
        Ok(texts)
    }
}

/// One record a text.
fn batch_of(texts: &[&str], timestamp: i64) -> Batch {
    producer_batch(texts, timestamp, None)
}

fn producer_batch(texts: &[&str], timestamp: i64, producer: Option<(i64, i16, i32)>) -> Batch {
    let mut builder = BatchBuilder::new();
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for text in texts {
        let value = Some(Bytes::copy_from_slice(text.as_bytes()));
        builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
    }
    builder.build()
}

/// What is left when the power goes and nothing unsynced lasts.
fn power_cut(disk: &MemoryDisk) -> MemoryDisk {
    disk.crash(&mut |_| Fate::Lost)
}

fn at(mono_ms: u64) -> Moment {
    Moment { wall_ms: 0, mono_ms }
}

/// Big values, so that a ring fills with few frames.
fn big() -> String {
    "x".repeat(400 * 1024)
}

/// The owner's loop until nothing is due, for a while.
fn turn(store: &mut Store, from_ms: u64, steps: u64) {
    for step in 0..steps {
        while let Some(write) = store.next_write() {
            let outcome = write.run();
            store.write_done(write, outcome);
        }
        let now = at(from_ms + step * 1000);
        if let Some(mut work) = store.next_work(now) {
            work.run();
            store.work_done(now, work);
        }
    }
}
