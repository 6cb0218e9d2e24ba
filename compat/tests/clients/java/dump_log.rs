//! Kafka's own `kafka-dump-log` over everything that a clean stop leaves: it finds nothing wrong, and
//! it reads the records that a consumer reads. Its readers of checkpoints read ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidings_compat::{Finished, run};

use super::written::{KINDS, Kind, Written};
use super::{PATIENCE, java};

/// The tool, run on these files to its end.
pub(super) fn tool(options: &[&str], files: &[PathBuf]) -> Finished {
    let names: Vec<&str> = files.iter().map(|file| file.to_str().expect("a name")).collect();
    let mut command = java("kafka.tools.DumpLogSegments");
    command.args(options).args(["--files", &names.join(",")]);
    run(&mut command, "", PATIENCE).expect("it ends")
}

/// What the tool says of these files, line by line; it must end well and say nothing on the side.
pub(super) fn dump_log(options: &[&str], files: &[PathBuf]) -> Vec<String> {
    let ended = tool(options, files);
    assert_eq!(ended.stderr, "");
    Finished::success(ended).expect("it ends well")
}

/// The part of a line after `name` and a blank, up to the next blank.
pub(super) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.find(name).unwrap_or_else(|| panic!("no {name} in {line}"));
    line[at + name.len()..].split_whitespace().next().unwrap_or_default()
}

pub(super) fn number(line: &str, name: &str) -> i64 {
    field(line, name).parse().unwrap_or_else(|_| panic!("no number after {name} in {line}"))
}

/// The records of `.log` files by their folder: offset and value.
fn records(lines: &[String]) -> BTreeMap<String, Vec<(i64, Option<String>)>> {
    let mut records: BTreeMap<String, Vec<(i64, Option<String>)>> = BTreeMap::new();
    let (mut folder, mut position, mut codecs) = (String::new(), 0, BTreeMap::new());
    for line in lines {
        if let Some(file) = line.strip_prefix("Dumping ") {
            let parent = Path::new(file).parent().and_then(Path::file_name);
            folder = parent.expect("a folder").to_string_lossy().into_owned();
            position = 0;
        } else if line.starts_with("baseOffset: ") {
            assert!(line.ends_with(" isvalid: true"), "{line}");
            assert_eq!(number(line, " position: "), position, "{line}");
            position += number(line, " size: ");
            let count = number(line, "lastOffset: ") - number(line, "baseOffset: ") + 1;
            assert_eq!(number(line, " count: "), count, "{line}");
            codecs.insert(folder.clone(), field(line, "compresscodec: ").to_owned());
        } else if let Some(record) = line.strip_prefix("| offset: ") {
            let value = record.split_once(" payload: ").map(|(_, value)| value.to_owned());
            let offset = record.split(' ').next().expect("an offset").parse().expect("a number");
            records.entry(folder.clone()).or_default().push((offset, value));
        } else {
            assert!(line.starts_with("Log starting offset: "), "{line}");
        }
    }
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        assert_eq!(codecs[&format!("{codec}-0")], codec);
    }
    records
}

pub(super) fn says_nothing_but_their_names(options: &[&str], files: &[PathBuf]) {
    let wanted: Vec<String> =
        files.iter().map(|file| format!("Dumping {}", file.display())).collect();
    let lines = dump_log(options, files);
    let (said, rest): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.starts_with("Dumping "));
    assert_eq!(said, wanted);
    let other: Vec<&String> = rest.iter().filter(|line| !line.ends_with(" is empty.")).collect();
    assert_eq!(other, Vec::<&String>::new());
}

#[test]
fn every_file_of_a_stopped_server_is_as_kafka_wants_it() {
    let written = Written::make();

    let logs = written.files(".log");
    let dumped = records(&dump_log(&["--deep-iteration", "--print-data-log"], &logs));
    for (kind, read) in KINDS.iter().zip(&written.read) {
        for partition in 0..kind.partitions {
            let in_partition = read.iter().filter(|item| item.partition == partition);
            let wanted: Vec<(i64, Option<String>)> =
                in_partition.map(|item| (item.offset, item.item.value.clone())).collect();
            let folder = format!("{}-{partition}", kind.topic);
            assert!(dumped.get(&folder) == Some(&wanted), "{folder} has other records");
        }
    }
    let segments = logs.iter().filter(|file| file.parent() == Some(&written.folder("zstd", 0)));
    assert!(segments.count() > 1, "zstd-0 has one segment");

    for suffix in [".index", ".timeindex"] {
        let files = written.files(suffix);
        assert_eq!(files.len(), logs.len(), "{suffix}");
        let passed: Vec<String> = dump_log(&["--index-sanity-check"], &files)
            .into_iter()
            .filter(|line| !line.starts_with("Dumping "))
            .collect();
        let wanted: Vec<String> =
            files.iter().map(|file| format!("{} passed sanity check.", file.display())).collect();
        let empty: Vec<String> =
            files.iter().map(|file| format!("{} is empty.", file.display())).collect();
        for (line, (passes, is_empty)) in passed.iter().zip(wanted.iter().zip(&empty)) {
            assert!(line == passes || line == is_empty, "{line}");
        }
        assert_eq!(passed.len(), files.len(), "{suffix}");
        says_nothing_but_their_names(&["--verify-index-only"], &files);
    }

    check_snapshots(&written);
    check_offsets(&written);
    check_checkpoints(&written);
}

/// Kafka's own readers find each partition's end in the node's checkpoints, and its leader epochs.
fn check_checkpoints(written: &Written) {
    let root = |name: &str| written.server.data().join(name);
    let ends = ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"].map(root);
    let mut files = ends.to_vec();
    files.push(root("log-start-offset-checkpoint"));
    let partitions = || KINDS.iter().flat_map(|kind| (0..kind.partitions).map(move |p| (kind, p)));
    let epochs = |kind: &Kind, partition| {
        written.folder(kind.topic, partition).join("leader-epoch-checkpoint")
    };
    files.extend(partitions().map(|(kind, partition)| epochs(kind, partition)));
    let entries = checkpoints(&files);
    for (kind, read) in KINDS.iter().zip(&written.read) {
        for partition in 0..kind.partitions {
            let end = read.iter().filter(|item| item.partition == partition).count();
            let wanted = format!("{}-{partition} {end}", kind.topic);
            for file in &ends {
                assert!(entries[file].contains(&wanted), "no {wanted} in {}", file.display());
            }
            let first = entries[&epochs(kind, partition)].first().expect("a leader epoch");
            assert!(first.ends_with(" 0"), "{first}");
        }
    }
}

/// The entries of checkpoint files, as Kafka's readers have them.
pub(super) fn checkpoints(files: &[PathBuf]) -> BTreeMap<PathBuf, Vec<String>> {
    let mut command = java("Checkpoints");
    command.args(files);
    let ended = run(&mut command, "", PATIENCE).expect("it ends");
    let mut entries: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut file = PathBuf::new();
    for line in Finished::success(ended).expect("Kafka reads them") {
        match line.strip_prefix("file ") {
            Some(name) => file = PathBuf::from(name),
            None => entries.entry(file.clone()).or_default().push(line),
        }
    }
    entries
}

/// The newest snapshot of a partition ends with its producer's last batch.
fn check_snapshots(written: &Written) {
    for (kind, read) in KINDS.iter().zip(&written.read) {
        for partition in 0..kind.partitions {
            let folder = written.folder(kind.topic, partition);
            let newest = written.files(".snapshot").into_iter().rfind(|f| f.starts_with(&folder));
            let lines = newest.map_or_else(Vec::new, |newest| dump_log(&[], &[newest]));
            let last = lines.last().filter(|line| line.starts_with("producerId: "));
            if kind.topic == "without-sequences" {
                assert_eq!(last, None);
                continue;
            }
            let last = last.expect("a producer");
            let records = read.iter().filter(|item| item.partition == partition).count() as i64;
            assert_eq!(number(last, " lastSequence: "), records - 1, "{last}");
            assert_eq!(number(last, " lastOffset: "), records - 1, "{last}");
        }
    }
}

/// Committed offsets are records that Kafka decodes.
fn check_offsets(written: &Written) {
    let files = written.files(".log");
    let offsets: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("/__consumer_offsets-"))
        .collect();
    let lines = dump_log(&["--offsets-decoder"], &offsets);
    for (partition, offset) in [(0, 1000), (1, 500)] {
        let key = format!(
            "key: {{\"type\":\"1\",\"data\":{{\"group\":\"readers\",\"topic\":\"plain\",\
             \"partition\":{partition}}}}}"
        );
        let committed = lines.iter().find(|line| line.contains(&key)).expect(&key);
        assert!(committed.contains(&format!("\"offset\":{offset},")), "{committed}");
    }
    // What the tool says of a record that it cannot decode.
    let undecoded = lines.iter().find(|line| line.contains("skipping."));
    assert_eq!(undecoded, None);
}
