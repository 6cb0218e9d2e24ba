//! How fast a log of 1 KB records is rewritten, on a disk in memory. A measurement, to be run by hand:
//! `cargo test --release -p tidings-log -- --ignored --nocapture compaction_speed`.

use super::*;

/// Batches of 16 records of about 1 KB with keys from a set half as large as the log.
fn segments(disk: &MemoryDisk, codec: Compression, batches_each: i64) -> Vec<SegmentFacts> {
    let value = Bytes::from(vec![b'v'; 1000]);
    let mut state = 1_u64;
    let mut segments = Vec::new();
    for segment in 0..4 {
        let mut batches = Vec::new();
        for number in 0..batches_each {
            let mut builder = BatchBuilder::new().compression(codec);
            for _ in 0..16 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = (state >> 33) % (batches_each as u64 * 32);
                let key = Some(Bytes::from(format!("key-{key:016}")));
                let value = Some(value.clone());
                builder.push(&NewRecord { timestamp: number, key, value, ..NewRecord::default() });
            }
            batches.push(placed(&builder.build(), (segment * batches_each + number) * 16));
        }
        segments.push(write_segment(disk, &batches));
    }
    segments
}

#[test]
#[ignore = "a measurement, for a release build"]
fn compaction_speed() {
    for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let disk = disk();
        let segments = segments(&disk, codec, 4000);
        let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let started = timer();
        let (_, outcome) = run(&disk, &mut job(&disk, plan_of(&segments, 0, 50)));
        let seconds = started();
        let figures = outcome.figures;
        assert_eq!(figures.bytes_read, total);
        println!(
            "{codec:?}: {:.0} MB/s of stored batches ({:.0} MB/s of records), {} of {} records dropped",
            total as f64 / seconds / 1e6,
            256e3 * 1024.0 / seconds / 1e6,
            figures.records_dropped,
            figures.records_dropped + figures.records_kept,
        );
    }
}

/// Seconds from now on.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement needs a clock"
)]
fn timer() -> impl Fn() -> f64 {
    let started = std::time::Instant::now();
    move || started.elapsed().as_secs_f64()
}
