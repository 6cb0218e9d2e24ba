//! Kafka's own checkpoints of all partitions, in the root: for Kafka and its tools. Nothing here reads
//! them, so a fault that leaves the older ones is passed over.

use super::checkpoint::{Checkpoint, LogRecord};
use crate::partition_log::kafka_files::{
    HIGH_WATERMARKS_FILE, PartitionOffset, RECOVERY_POINTS_FILE, START_OFFSETS_FILE, encode_offsets,
};
use crate::{Disk, Fault, OpenMode};

/// Writes the three files as the checkpoint has it.
pub(super) fn write(disk: &dyn Disk, checkpoint: &Checkpoint) -> Result<(), Fault> {
    type Offset = fn(&LogRecord) -> i64;
    let files: [(&str, Offset); 3] = [
        (RECOVERY_POINTS_FILE, |record| record.recovery_offset),
        (START_OFFSETS_FILE, |record| record.start_offset),
        (HIGH_WATERMARKS_FILE, |record| record.recovery_offset),
    ];
    for (name, offset) in files {
        let of_all = checkpoint.records.values().filter_map(|record| {
            let (topic, partition) = partition_of(&record.dir)?;
            Some(PartitionOffset { topic: topic.to_owned(), partition, offset: offset(record) })
        });
        let mut offsets: Vec<PartitionOffset> = of_all.collect();
        offsets.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        replace(disk, name, encode_offsets(&offsets).as_bytes())?;
    }
    disk.sync_dir("")
}

/// A folder's topic and partition, by Kafka's rule for their names.
fn partition_of(dir: &str) -> Option<(&str, i32)> {
    let name = dir.rsplit('/').next()?;
    let (topic, partition) = name.rsplit_once('-')?;
    Some((topic, partition.parse().ok().filter(|partition| *partition >= 0)?))
}

fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let unfinished = format!("{name}.tmp");
    let file = disk.open(&unfinished, OpenMode::Create)?;
    file.truncate(0)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&unfinished, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_name_partitions() {
        let table = [
            ("orders-0", Some(("orders", 0))),
            ("a/b/orders-by-day-12", Some(("orders-by-day", 12))),
            ("orders", None),
            ("orders-x", None),
            ("orders--1", Some(("orders-", 1))),
        ];
        for (dir, expected) in table {
            assert_eq!(partition_of(dir), expected, "{dir}");
        }
    }
}
