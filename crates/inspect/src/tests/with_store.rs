//! What a store wrote, damaged at rest and repaired, opened by a store again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_log::{
    AppendAt, Appended, Disk, LogConfig, LogId, LogKey, MemoryDisk, Moment, Store, StoreConfig,
    TransactionVersion, split,
};

use super::builder;
use crate::*;

const FOLDER: &str = "orders-0";
const LOG: LogId = LogId(1);
const AT: AppendAt = AppendAt {
    now_ms: 0,
    leader_epoch: 0,
    log_append_time: false,
    transactions: TransactionVersion::One,
};
const NOW: Moment = Moment { wall_ms: 0, mono_ms: 1_000_000 };
/// Two or three batches to a segment.
const CONFIG: LogConfig =
    LogConfig { segment_bytes: 250, index_interval_bytes: 100, ..LogConfig::KAFKA };
const BATCHES: i64 = 9;

fn open(disk: &MemoryDisk) -> Store {
    let config = StoreConfig {
        journal_bytes: 64 << 10,
        journal_chunk_bytes: 16 << 10,
        ..StoreConfig::small()
    };
    let (mut store, _) = Store::open(Arc::new(disk.clone()), config).unwrap();
    store.open_log(LOG, LogKey([7; 20]), FOLDER, CONFIG).unwrap();
    store.begin(false).unwrap();
    store
}

fn append(store: &mut Store, value: &str) -> i64 {
    let base = store.log(LOG).unwrap().end_offset();
    let batch =
        builder(&[value.as_bytes(), b"second"], base).producer(7, 0, i32::try_from(base).unwrap());
    match store.append(LOG, &batch.build(), AT).unwrap() {
        Appended::Written { base_offset, .. } => base_offset,
        other => panic!("{other:?}"),
    }
}

fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    for n in 0..BATCHES {
        assert_eq!(append(&mut store, &format!("value {n}")), n * 2);
        store.settle(NOW);
        store.flush_now(NOW);
    }
    store.close().unwrap();
    disk
}

/// Every record that a store serves, over gaps.
fn served(store: &Store) -> BTreeMap<i64, Option<Bytes>> {
    let mut records = BTreeMap::new();
    let mut from = 0;
    loop {
        let read = store.read_now(LOG, from, i64::MAX, 1).unwrap();
        let batches: Vec<_> = read.into_iter().flat_map(split).collect();
        if batches.is_empty() {
            return records;
        }
        for batch in batches {
            let batch = batch.unwrap();
            from = batch.last_offset() + 1;
            records.extend(batch.records().unwrap().into_iter().map(|r| (r.offset, r.value)));
        }
    }
}

fn damage_of(disk: &MemoryDisk) -> Vec<Damage> {
    let root = root(disk).unwrap();
    let claims = root.claims(FOLDER);
    let report = verify(disk, FOLDER, claims.as_ref(), Depth::Records, &mut |_| {}).unwrap();
    [root.damage, report.damage].concat()
}

fn repair_all(disk: &MemoryDisk) -> RepairReport {
    let claims = root(disk).unwrap().claims(FOLDER);
    let report = repair(disk, FOLDER, claims.as_ref(), Mode::Apply).unwrap();
    write_claims(disk, std::slice::from_ref(&report)).unwrap();
    report
}

#[test]
fn what_a_store_closed_is_sound() {
    let disk = written();
    assert_eq!(damage_of(&disk), []);
    let all: Vec<i64> = (0..BATCHES * 2).collect();
    assert_eq!(served(&open(&disk)).into_keys().collect::<Vec<_>>(), all);
}

#[test]
fn a_store_serves_everything_but_what_a_repair_says_is_lost() {
    let disk = written();
    let before = served(&open(&disk));
    let logs = disk.files().into_iter().filter(|file| file.ends_with(".log"));
    for log in logs {
        let bytes = disk.read_raw(&log).unwrap().len() as u64;
        // A byte in each part of each batch: about every sixth.
        for byte in (0..bytes).step_by(6) {
            let disk = disk.fork();
            assert!(disk.flip_bit(&log, byte * 8 + 3));
            let what = format!("byte {byte} of {log}");
            assert_ne!(damage_of(&disk), [], "{what}");
            let lost = repair_all(&disk).lost();
            assert_eq!(damage_of(&disk), [], "{what}");
            let mut left = before.clone();
            left.retain(|offset, _| !lost.iter().any(|&(from, to)| (from..to).contains(offset)));
            assert!(left.len() >= before.len() - 2, "{what} cost {lost:?}");

            let mut store = open(&disk);
            assert_eq!(served(&store), left, "{what}");
            assert_eq!(append(&mut store, "after"), BATCHES * 2, "{what}");
            store.settle(NOW);
            store.close().unwrap();
            assert_eq!(damage_of(&disk), [], "{what}, after an append");
            assert_eq!(served(&open(&disk)).len(), left.len() + 2, "{what}");
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_told_and_costs_no_record() {
    let disk = written();
    let before = served(&open(&disk));
    assert!(disk.flip_bit("checkpoint", 8 * 40));
    let found = damage_of(&disk);
    let told: Vec<_> = found.iter().map(|damage| (damage.kind, damage.path.as_str())).collect();
    assert_eq!(told, [(DamageKind::Derived, "checkpoint")]);
    assert_eq!(repair_all(&disk).actions, []);
    let store = open(&disk);
    assert_eq!(served(&store), before);
}

/// The files of a store that runs are looked at between any two of its calls.
#[test]
fn a_store_at_work_has_no_damage() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    for n in 0..BATCHES {
        append(&mut store, &format!("value {n}"));
        store.settle(NOW);
        assert_eq!(damage_of(&disk.fork()), [], "after append {n}");
        if n % 3 == 2 {
            store.flush_now(NOW);
            assert_eq!(damage_of(&disk.fork()), [], "after flush {n}");
        }
    }
    assert!(disk.list(FOLDER).unwrap().iter().any(|entry| entry.name.ends_with(".log")));
}
