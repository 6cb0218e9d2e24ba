//! `kafka-dump-log` over a log whose leader epoch has risen, because another log of the node was damaged.

use std::fs::File;
use std::path::{Path, PathBuf};

use tidings_compat::Server;

use super::dump_log::{checkpoints, dump_log, number, says_nothing_but_their_names};
use super::written::entries;
use crate::librdkafka::{Item, producer, send_all};

const TOPIC: &str = "raised";
const DAMAGED: &str = "damaged";

fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files = entries(folder);
    files.retain(|file| file.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}

/// Sends this many records to one partition, a batch each.
fn produce(server: &Server, topic: &str, count: usize) {
    let producer = producer(server, &[("linger.ms", "0")]);
    for n in 0..count {
        // Of now: what is old would go by its age.
        let item = Item { timestamp: 0, ..Item::new("k", n.to_string()) };
        send_all(&producer, topic, &[item]);
    }
}

/// The partition's folder that has records.
fn filled(server: &Server, topic: &str) -> PathBuf {
    let of_topic = |path: &PathBuf| path.to_string_lossy().contains(&format!("/{topic}-"));
    let is_filled = |path: &PathBuf| {
        files(path, ".log").iter().any(|log| log.metadata().is_ok_and(|log| log.len() > 0))
    };
    let mut folders = entries(server.data()).into_iter().filter(of_topic);
    folders.find(is_filled).expect("a partition with records")
}

/// First offset and leader epoch of each batch.
fn epochs(lines: &[String]) -> Vec<(i64, i64)> {
    let batches = lines.iter().filter(|line| line.starts_with("baseOffset: "));
    let of = |line: &String| {
        assert!(line.ends_with(" isvalid: true"), "{line}");
        (number(line, "baseOffset: "), number(line, " partitionLeaderEpoch: "))
    };
    batches.map(of).collect()
}

#[test]
fn a_raised_leader_epoch_is_in_the_batches_and_in_the_checkpoint() {
    let mut server = Server::start().expect("the server starts");
    produce(&server, TOPIC, 4);
    produce(&server, DAMAGED, 1);
    server.stop().expect("it stops");
    let damaged = files(&filled(&server, DAMAGED), ".log").remove(0);
    let bytes = damaged.metadata().expect("a file").len();
    let cut = File::options().write(true).open(&damaged).expect("a segment");
    cut.set_len(bytes - 1).expect("cut");
    server.start_again().expect("it starts again");
    produce(&server, TOPIC, 3);
    server.stop().expect("it stops");

    let folder = filled(&server, TOPIC);
    let lines = dump_log(&["--deep-iteration"], &files(&folder, ".log"));
    let wanted: Vec<(i64, i64)> = (0..7).map(|offset| (offset, i64::from(offset >= 4))).collect();
    assert_eq!(epochs(&lines), wanted);
    let checkpoint = files(&folder, "leader-epoch-checkpoint");
    assert_eq!(checkpoints(&checkpoint)[&checkpoint[0]], ["0 0", "1 4"]);
    for suffix in [".index", ".timeindex"] {
        says_nothing_but_their_names(&["--verify-index-only"], &files(&folder, suffix));
    }
}
