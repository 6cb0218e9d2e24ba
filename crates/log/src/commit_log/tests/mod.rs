//! The log's behaviour on the memory disk.

use super::*;
use crate::{BatchBuilder, MemoryDisk, NewRecord, split};

const CONFIG: LogConfig = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 200 };
const NOW: AppendAt = AppendAt { now_ms: 0, leader_epoch: 0, log_append_time: false };

fn open(disk: &MemoryDisk) -> (CommitLog, Recovered) {
    open_with(disk, CONFIG)
}

fn open_with(disk: &MemoryDisk, config: LogConfig) -> (CommitLog, Recovered) {
    CommitLog::open(Arc::new(disk.clone()), "t-0", config).expect("the log opens")
}

fn batch_of(texts: &[&str], timestamp: i64) -> Batch {
    let mut builder = BatchBuilder::new();
    for text in texts {
        let value = Some(bytes::Bytes::copy_from_slice(text.as_bytes()));
        builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
    }
    builder.build()
}

fn sync(log: &mut CommitLog) {
    if let Some(work) = log.sync_begin() {
        log.sync_end(&work, work.run());
    }
}

fn texts(log: &CommitLog) -> Vec<String> {
    let mut texts = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        for batch in split(log.read(from, i64::MAX, 1000).expect("the log is sound")) {
            let batch = batch.expect("only whole batches are read");
            for record in batch.records().expect("the records decode") {
                assert_eq!(record.offset, from);
                let value = record.value.expect("a value");
                texts.push(String::from_utf8_lossy(&value).into_owned());
                from += 1;
            }
        }
    }
    texts
}

#[test]
fn what_was_appended_is_read_and_survives_a_clean_stop() {
    let disk = MemoryDisk::new();
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered::default());
    let first = log.append(&batch_of(&["a", "b"], 5), NOW).unwrap();
    assert_eq!(first, Appended::Written { base_offset: 0, last_offset: 1 });
    log.append(&batch_of(&["c"], 6), NOW).unwrap();
    assert_eq!((log.durable_offset(), log.end_offset()), (0, 3));
    sync(&mut log);
    assert_eq!(log.durable_offset(), 3);
    assert_eq!(texts(&log), ["a", "b", "c"]);
    log.close().unwrap();
    let (log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered::default());
    assert_eq!((log.durable_offset(), log.end_offset()), (3, 3));
    assert_eq!(texts(&log), ["a", "b", "c"]);
}
