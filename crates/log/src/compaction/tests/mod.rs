//! Compaction on a disk in memory: what each kind of batch becomes, crashes, histories against a model.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::partition_log::handles::Handles;
use crate::partition_log::segment::{MaxTime, Segment};
use crate::partition_log::transactions::{self, AbortedTransaction};
use crate::retention::SegmentFacts;
use crate::{
    Batch, BatchBuilder, BatchHeader, Compression, Disk, EndMarker, Ending, LogConfig, MemoryDisk,
    NewRecord, OpenMode, Record, split,
};

mod crashes;
mod model;
mod rules;
mod speed;

const DIR: &str = "t-0";
const CONFIG: LogConfig = LogConfig {
    compact: true,
    delete: false,
    min_cleanable_dirty_millionths: 0,
    delete_retention_ms: 1000,
    index_interval_bytes: 100,
    ..LogConfig::KAFKA
};

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all(DIR).unwrap();
    disk
}

/// A record; without a value it is a tombstone.
fn record(timestamp: i64, key: &str, value: Option<&str>) -> NewRecord {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    NewRecord { timestamp, key: Some(bytes(key)), value: value.map(bytes), ..NewRecord::default() }
}

/// A batch of records with the offsets from `base_offset` on.
fn batch(builder: BatchBuilder, base_offset: i64, records: &[NewRecord]) -> Batch {
    let mut builder = builder;
    records.iter().for_each(|record| builder.push(record));
    placed(&builder.build(), base_offset)
}

/// The end of the transaction of `producer`: id and epoch.
fn end(ending: Ending, producer: (i64, i16), base_offset: i64, timestamp: i64) -> Batch {
    let marker = EndMarker { ending, coordinator_epoch: 3 };
    placed(&marker.batch(producer.0, producer.1, timestamp), base_offset)
}

fn placed(batch: &Batch, base_offset: i64) -> Batch {
    let (_, bytes) = batch.placed(base_offset, 5, None);
    Batch::parse(Bytes::from(bytes)).unwrap()
}

/// Writes a sealed segment of `batches`, with indexes that say nothing.
fn write_segment(disk: &MemoryDisk, batches: &[Batch]) -> SegmentFacts {
    let base_offset = batches[0].header().base_offset;
    let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    for (file, bytes) in [(names::LOG, &bytes[..]), (".index", b""), (".timeindex", b"")] {
        let path = names::path(DIR, base_offset, file, "");
        disk.open(&path, OpenMode::Create).unwrap().write_at(bytes, 0).unwrap();
    }
    SegmentFacts {
        base_offset,
        next_offset: batches.last().unwrap().last_offset() + 1,
        bytes: bytes.len() as u64,
        offset_index_bytes: 0,
        time_index_bytes: 0,
        first_timestamp: batches[0].header().max_timestamp,
        max_timestamp: batches.iter().map(|batch| batch.header().max_timestamp).max().unwrap(),
    }
}

/// The segments and an empty active one after them.
fn with_active(mut segments: Vec<SegmentFacts>) -> Vec<SegmentFacts> {
    let end = segments.last().unwrap().next_offset;
    segments.push(SegmentFacts {
        base_offset: end,
        next_offset: end,
        bytes: 0,
        offset_index_bytes: 0,
        time_index_bytes: 0,
        first_timestamp: -1,
        max_timestamp: -1,
    });
    segments
}

/// A plan that takes all of `segments`, of which the part from `dirty_from` on is dirty.
fn plan_of(segments: &[SegmentFacts], dirty_from: i64, now_ms: i64) -> CompactPlan {
    let facts = CompactFacts {
        segments: &with_active(segments.to_vec()),
        start_offset: 0,
        cleaned_to: dirty_from,
        last_stable_offset: i64::MAX,
    };
    plan(facts, &CONFIG, now_ms).expect("something is dirty")
}

/// What is known of a cleaned segment.
#[derive(Clone, Debug)]
struct Cleaned {
    segment: Segment,
    max_time: MaxTime,
    aborted: Vec<AbortedTransaction>,
}

impl std::ops::Deref for Cleaned {
    type Target = Segment;
    fn deref(&self) -> &Segment {
        &self.segment
    }
}

/// Runs a job to its end, with every swap.
fn run(disk: &MemoryDisk, job: &mut CompactJob) -> (Vec<Cleaned>, Outcome) {
    let mut cleaned = Vec::new();
    loop {
        match job.run().unwrap() {
            Step::More => {}
            Step::Replaced(replacement) => {
                replacement.swap(disk).unwrap();
                let Replacement { segment, aborted, .. } = replacement;
                assert!(segment.sealed && segment.sparse);
                assert_eq!(segment.txn_entries as usize, aborted.len());
                let max_time = *segment.max_time.get().unwrap();
                cleaned.push(Cleaned { segment, max_time, aborted });
            }
            Step::Done(outcome) => return (cleaned, outcome),
        }
    }
}

fn job(disk: &MemoryDisk, plan: CompactPlan) -> CompactJob {
    job_with(disk, plan, Vec::new(), LiveProducers::default())
}

fn job_with(
    disk: &MemoryDisk,
    plan: CompactPlan,
    aborted: Vec<AbortedTransaction>,
    live: LiveProducers,
) -> CompactJob {
    let handles = Arc::new(Handles::new(Arc::new(disk.clone()), 16));
    CompactJob::new(handles, &Arc::from(DIR), plan, aborted, live, 1 << 16)
}

/// Every batch in the folder's segments, by base offset of the segment.
fn segments_in(disk: &MemoryDisk) -> Vec<(i64, Vec<Batch>)> {
    let mut segments = Vec::new();
    for name in disk.list(DIR).unwrap().into_iter().map(|entry| entry.name) {
        if let Some(base_offset) = names::base_offset(&name, names::LOG, "") {
            let bytes = Bytes::from(disk.read_raw(&format!("{DIR}/{name}")).unwrap());
            let batches: Result<Vec<Batch>, _> = split(bytes.clone()).collect();
            let batches = batches.unwrap();
            let read: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
            assert_eq!(read, bytes.len(), "{name} is whole batches");
            segments.push((base_offset, batches));
        }
    }
    segments
}

fn batches_in(disk: &MemoryDisk) -> Vec<Batch> {
    segments_in(disk).into_iter().flat_map(|(_, batches)| batches).collect()
}

/// Offset, key and value of every record of data in the folder.
fn contents(disk: &MemoryDisk) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let data = batches_in(disk).into_iter().filter(|batch| !batch.header().attributes.control());
    let records = data.flat_map(|batch| batch.records().unwrap());
    let line = |record: Record| {
        let key = record.key.as_ref().map(text).unwrap_or_default();
        (record.offset, key, record.value.as_ref().map(text))
    };
    records.map(line).collect()
}

/// The facts of a cleaned segment, as the next plan wants them.
fn facts_of(segment: &Cleaned) -> SegmentFacts {
    SegmentFacts {
        base_offset: segment.base_offset,
        next_offset: segment.next_offset,
        bytes: segment.size,
        offset_index_bytes: u64::from(segment.offset_entries) * 8,
        time_index_bytes: u64::from(segment.time_entries) * 12,
        first_timestamp: segment.first_timestamp,
        max_timestamp: segment.max_time.timestamp,
    }
}

/// Puts cleaned segments into the list in place of their sources.
fn install(segments: &mut Vec<SegmentFacts>, cleaned: &[Cleaned]) {
    for new in cleaned {
        segments.retain(|s| !(new.base_offset..new.next_offset).contains(&s.base_offset));
        segments.push(facts_of(new));
    }
    segments.sort_by_key(|segment| segment.base_offset);
}

/// Holds a cleaned segment's facts and indexes against its batches.
fn check_cleaned(disk: &MemoryDisk, segment: &Cleaned) {
    let read = |file| disk.read_raw(&names::path(DIR, segment.base_offset, file, "")).unwrap();
    let (log, offsets, times) = (read(names::LOG), read(".index"), read(".timeindex"));
    assert_eq!(read(".txnindex"), transactions::encode(&segment.aborted));
    assert_eq!(log.len() as u64, segment.size);
    let batches: Vec<Batch> = split(Bytes::from(log)).map(Result::unwrap).collect();
    let max = batches.iter().map(|batch| batch.header().newest_record_ms()).max().unwrap();
    let first = batches.iter().find(|batch| batch.header().newest_record_ms() == max);
    let first = first.filter(|_| max >= 0).map_or(-1, Batch::last_offset);
    assert_eq!(segment.max_time, MaxTime { timestamp: max, last_offset: first });
    assert_eq!(segment.first_timestamp, batches[0].header().max_timestamp);
    assert_eq!(segment.next_offset, batches.last().unwrap().last_offset() + 1);
    assert_eq!(offsets.len(), segment.offset_entries as usize * 8);
    assert_eq!(times.len(), segment.time_entries as usize * 12);
    let number = |bytes: &[u8]| i64::from(i32::from_be_bytes(bytes.try_into().unwrap()));
    for entry in offsets.chunks(8) {
        let (offset, mut position) =
            (segment.base_offset + number(&entry[..4]), number(&entry[4..]));
        let batch = batches.iter().find(|batch| batch.last_offset() == offset).unwrap();
        for before in batches.iter().take_while(|b| b.last_offset() < offset) {
            position -= before.bytes().len() as i64;
        }
        assert_eq!(position, 0, "of the batch that ends with {}", batch.last_offset());
    }
    for entry in times.chunks(12) {
        let timestamp = i64::from_be_bytes(entry[..8].try_into().unwrap());
        let offset = segment.base_offset + number(&entry[8..]);
        let batch = batches.iter().find(|batch| batch.last_offset() == offset).unwrap();
        assert_eq!(batch.header().newest_record_ms(), timestamp);
    }
    let last_time = times.chunks(12).last().map(|entry| entry[..8].try_into().unwrap());
    assert_eq!(last_time.map(i64::from_be_bytes), (max >= 0).then_some(max));
}
