//! What happens when nothing goes wrong but the power.

use super::*;
use crate::BatchHeader;

#[test]
fn what_was_appended_is_read_from_memory_and_from_segments() {
    let mut node = Node::open(&MemoryDisk::new());
    node.append(&["a", "b"], 5);
    node.append(&["c"], 6);
    assert_eq!((node.log().durable_offset(), node.log().end_offset()), (3, 3));
    assert_eq!(node.texts(), ["a", "b", "c"]);
    let bytes = node.log().size_bytes();
    assert_eq!(node.store.unflushed_bytes(), bytes);
    node.flush();
    assert_eq!((node.store.unflushed_bytes(), node.log().size_bytes()), (0, bytes));
    assert_eq!(node.texts(), ["a", "b", "c"]);
    let reading = node.store.read(LOG, 0, 3, 1000).expect("readable");
    assert!(matches!(reading, Reading::Ready(_)), "the newest stay in memory");
    node.append(&["d"], 7);
    assert_eq!(node.texts(), ["a", "b", "c", "d"]);
}

#[test]
fn nothing_is_served_before_it_is_durable() {
    let mut node = Node::open(&MemoryDisk::new());
    node.accept(LOG, &["a"], 0);
    assert_eq!((node.log().durable_offset(), node.log().end_offset()), (0, 1));
    assert_eq!(node.store.read_now(LOG, 0, 9, 100), Ok(Vec::new()));
    let write = node.store.next_write().expect("a write");
    assert_eq!(node.store.read_now(LOG, 0, 9, 100), Ok(Vec::new()));
    let outcome = write.run();
    node.store.write_done(write, outcome);
    assert_eq!(node.log().durable_offset(), 1);
    assert_eq!(node.store.take_advanced(), BTreeSet::from([LOG]));
    assert_eq!(node.texts(), ["a"]);
}

#[test]
fn a_clean_stop_leaves_all_in_segments_and_opening_finds_it() {
    for config in [CONFIG, SMALL] {
        let disk = MemoryDisk::new();
        let mut node = Node::open_with(&disk, config, 2);
        for at in 0..20 {
            node.accept(LOG, &[&format!("a{at}")], at);
            node.accept(LogId(2), &[&format!("b{at}"), "x"], at);
        }
        let disk = node.close();
        let node = Node::open_with(&disk, config, 2);
        assert_eq!(node.recovered, StoreRecovered { closed: true, ..StoreRecovered::default() });
        assert_eq!(node.logs, [Recovered::default(), Recovered::default()]);
        assert_eq!(node.store.unflushed_bytes(), 0);
        let expected: Vec<String> = (0..20).map(|at| format!("a{at}")).collect();
        assert_eq!(node.texts(), expected);
        assert_eq!(node.texts_of(LogId(2)).len(), 40);
    }
}

#[test]
fn a_power_cut_at_any_time_keeps_what_is_durable() {
    let disk = MemoryDisk::with_crash_model();
    let mut node = Node::open_with(&disk, SMALL, 1);
    let mut expected = Vec::new();
    for at in 0..30 {
        node.append(&[&format!("a{at}")], at);
        expected.push(format!("a{at}"));
        if at % 7 == 3 {
            node.flush();
        }
        let left = Node::open_with(&power_cut(&disk), SMALL, 1);
        assert_eq!((left.texts(), &left.logs[..]), (expected.clone(), &[Recovered::default()][..]));
        // And once more, with what the first opening did.
        let left = Node::open_with(&power_cut(&left.disk), SMALL, 1);
        assert_eq!(left.texts(), expected);
    }
}

#[test]
fn an_empty_log_makes_no_file() {
    let disk = MemoryDisk::new();
    Node::open_with(&disk, CONFIG, 3).close();
    let files = disk.files();
    assert!(files.iter().all(|path| !path.starts_with("t-")), "{files:?}");
}

#[test]
fn batches_are_stored_as_they_came_but_for_offset_and_epoch() {
    let mut node = Node::open(&MemoryDisk::new());
    node.append(&["before"], 1);
    let batch = producer_batch(&["x", "y"], 7, Some((9, 0, 0)));
    node.store.append(LOG, &batch, AppendAt { leader_epoch: 4, ..AT }).expect("appended");
    node.store.settle(NOW);
    let stored = node.store.read_now(LOG, 1, 3, 1).expect("readable").concat();
    let (given, found) = (batch.bytes(), BatchHeader::read(&stored).expect("a header"));
    assert_eq!((found.base_offset, found.leader_epoch), (1, 4));
    assert_eq!((&stored[8..12], &stored[16..]), (&given[8..12], &given[16..]));
    assert_eq!(node.log().leader_epochs(), [(0, 0), (4, 1)]);
}

#[test]
fn log_append_time_is_put_into_the_batch() {
    let mut node = Node::open(&MemoryDisk::new());
    let at = AppendAt { now_ms: 777, log_append_time: true, ..AT };
    node.store.append(LOG, &batch_of(&["x", "y"], 5), at).expect("appended");
    node.store.settle(NOW);
    let stored = Bytes::from(node.store.read_now(LOG, 0, 2, 1).expect("readable").concat());
    let batch = Batch::parse(stored).expect("a batch");
    let times: Vec<i64> = batch.records().unwrap().iter().map(|r| r.timestamp).collect();
    assert_eq!((times, batch.header().max_timestamp), (vec![777, 777], 777));
}

#[test]
fn reads_return_whole_batches_within_bounds() {
    for cached in [true, false] {
        let cache_bytes = if cached { 1 << 20 } else { 0 };
        let config = StoreConfig { cache_bytes, ..small_store() };
        let mut node = Node::try_open(&MemoryDisk::new(), config, SMALL, 1).expect("it opens");
        for at in 0..40 {
            node.append(&[&format!("a{at}"), &format!("b{at}")], at);
        }
        node.flush();
        let spans = |from, until, max_bytes| -> Vec<(i64, i64)> {
            let read = node.store.read_now(LOG, from, until, max_bytes).expect("readable");
            let batches = read.into_iter().flat_map(split).map(|batch| batch.expect("valid"));
            batches.map(|b| (b.header().base_offset, b.last_offset())).collect()
        };
        assert_eq!(spans(0, 80, 0), [(0, 1)], "at least one batch");
        assert_eq!(spans(1, 80, 240), [(0, 1), (2, 3), (4, 5)], "from inside a batch");
        assert_eq!(spans(3, 3, 1000), []);
        assert_eq!(spans(2, 3, 1000), [(2, 3)], "a batch that begins below the bound");
        assert_eq!(spans(80, 99, 1000), []);
        for (from, next) in [(81, 80), (-1, 80)] {
            let refused = ReadRefused::OutOfRange { wanted: from, first: 0, next };
            assert_eq!(node.store.read_now(LOG, from, 99, 1), Err(refused));
        }
        let all: Vec<String> =
            (0..40).flat_map(|at| [format!("a{at}"), format!("b{at}")]).collect();
        for max_bytes in [1, 150, 100_000] {
            for from in 0..80 {
                let found = node.texts_from(LOG, from, max_bytes).expect("sound");
                assert_eq!(found, all[from as usize..], "from {from} by {max_bytes}");
            }
        }
        let cold = matches!(node.store.read(LOG, 0, 80, 1), Ok(Reading::Cold(_)));
        assert_eq!(cold, !cached);
    }
}

#[test]
fn an_older_leader_epoch_leaves_what_is_there_readable() {
    let config = StoreConfig { cache_bytes: 0, ..small_store() };
    let mut node = Node::try_open(&MemoryDisk::new(), config, CONFIG, 1).expect("it opens");
    node.store.append(LOG, &batch_of(&["a"], 0), AppendAt { leader_epoch: 5, ..AT }).expect("ok");
    let older = node.store.append(LOG, &batch_of(&["b"], 0), AppendAt { leader_epoch: 3, ..AT });
    assert!(matches!(older, Err(crate::AppendRefused::Fault(_))), "{older:?}");
    node.flush();
    assert_eq!(node.texts()[0], "a");
}
