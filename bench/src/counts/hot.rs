//! The functions whose instructions are counted, each on a store in memory.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{bail, ensure};
use tidings_node::MemoryDisk;
use tidings_node::broker::log::{
    AppendAt, Batch, LogConfig, LogId, LogKey, Moment, Reading, Store, StoreConfig,
    TransactionVersion,
};

use crate::owner;

pub(super) const NAMES: [&str; 6] = [
    "batch-check-16k",
    "batch-check-100",
    "append-write-16k",
    "append-write-100",
    "append-write-100-by-64",
    "tail-read-1m",
];

const NOW: Moment = Moment { wall_ms: 1_700_000_000_000, mono_ms: 0 };
const LOG: LogId = LogId(1);
/// What a tail read finds.
const TAIL_BYTES: usize = 4 << 20;

/// Does it so many times.
pub(super) fn run(name: &str, times: u64) -> anyhow::Result<()> {
    let (small, large) = (owner::batch(1, 100), owner::batch(16, 1000));
    match name {
        "batch-check-16k" => check(&large, times),
        "batch-check-100" => check(&small, times),
        "append-write-16k" => append(&large, times, 1),
        "append-write-100" => append(&small, times, 1),
        "append-write-100-by-64" => append(&small, times, 64),
        "tail-read-1m" => tail_read(&large, times),
        _ => bail!("{name} is not counted"),
    }
}

/// What a produce request's batch goes through first.
fn check(batch: &Batch, times: u64) -> anyhow::Result<()> {
    for _ in 0..times {
        black_box(Batch::parse(black_box(batch.bytes().clone()))?);
    }
    Ok(())
}

/// From the append to the moment when readers have it; the write itself is left out. `at_once` appends
/// go into one write; a time is one append.
fn append(batch: &Batch, times: u64, at_once: u64) -> anyhow::Result<()> {
    let mut store = store()?;
    for time in 1..=times {
        put(&mut store, batch)?;
        if time % at_once == 0 {
            write(&mut store)?;
        }
    }
    Ok(())
}

fn tail_read(batch: &Batch, times: u64) -> anyhow::Result<()> {
    let mut store = store()?;
    for _ in 0..TAIL_BYTES / batch.bytes().len() {
        put(&mut store, batch)?;
        write(&mut store)?;
    }
    for time in 0..times {
        let from = i64::try_from(time % 64)?;
        match store.read(LOG, black_box(from), i64::MAX, 1 << 20)? {
            Reading::Ready(batches) => ensure!(!black_box(batches).is_empty(), "offset {from}"),
            Reading::Cold(_) => bail!("offset {from} is not in memory"),
        }
    }
    Ok(())
}

/// Of one log, with room for everything that is counted.
fn store() -> anyhow::Result<Store> {
    let config = StoreConfig { journal_chunk_bytes: 64 << 20, ..StoreConfig::default() };
    let (mut store, _) = Store::open(Arc::new(MemoryDisk::new()), config)?;
    store.open_log(LOG, LogKey([1; 20]), "hot-0", LogConfig::KAFKA)?;
    store.begin(false)?;
    store.settle(NOW);
    while let Some(mut work) = store.next_work(NOW) {
        work.run();
        store.work_done(NOW, work);
    }
    Ok(store)
}

fn put(store: &mut Store, batch: &Batch) -> anyhow::Result<()> {
    let at = AppendAt {
        now_ms: NOW.wall_ms,
        leader_epoch: 0,
        log_append_time: false,
        transactions: TransactionVersion::One,
    };
    black_box(store.append(LOG, black_box(batch), at)?);
    Ok(())
}

fn write(store: &mut Store) -> anyhow::Result<()> {
    while let Some(write) = store.next_write() {
        store.write_done(write, Ok(()));
    }
    ensure!(store.take_advanced().contains(&LOG), "the append is durable");
    Ok(())
}
