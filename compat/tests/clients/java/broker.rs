//! A real Apache Kafka broker, started on the partition folders that the binary wrote: it serves the
//! same records and appends after them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::kafka::Kafka;
use super::written::{KINDS, Written, create, entries, everything};

/// Puts our files in the place of Kafka's; what Kafka knows of the topic by its id stays.
fn replace(kafkas: &Path, ours: &Path) {
    for file in entries(kafkas) {
        if !file.ends_with("partition.metadata") {
            fs::remove_file(file).expect("removed");
        }
    }
    for file in entries(ours) {
        let name = file.file_name().expect("a name");
        if name != "partition.metadata" {
            fs::copy(&file, kafkas.join(name)).expect("copied");
        }
    }
}

#[test]
fn a_kafka_broker_serves_the_same_records_from_our_folders() {
    let written = Written::make();
    let folder = TempDir::new().expect("a folder");
    let kafka = Kafka::format(folder.path()).start();
    create(kafka.address());
    let stopped = kafka.stop();

    for kind in &KINDS {
        for partition in 0..kind.partitions {
            let name = format!("{}-{partition}", kind.topic);
            replace(
                &folder.path().join("data").join(&name),
                &written.folder(kind.topic, partition),
            );
        }
    }
    let kafka = stopped.start();
    for (kind, ours) in KINDS.iter().zip(&written.read) {
        let read = everything(kafka.address(), kind);
        assert!(read == *ours, "{} reads differently from Kafka", kind.topic);
    }
    kafka.stop();
}
