//! `tidings log` on the data directory of a node: verify, dump and repair.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::node::{Node, tidings};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn log(arguments: &[&str], dir: &Path) -> Output {
    let mut all = vec!["log", arguments[0], dir.to_str().unwrap()];
    all.extend(&arguments[1..]);
    tidings(&all).output().unwrap()
}

fn lines_of_json(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Appends a record for each value, each in a batch of its own, to partition 0 of `orders`.
fn produce(node: &Node, values: &[&str]) {
    for value in values {
        let mut command = tidings(&["produce", "orders", "-p", "0", "-k", "="]);
        command.env("TIDINGS_KAFKA", &node.kafka).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "key={value}").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn consumed(node: &Node) -> Vec<String> {
    let output = tidings(&["consume", "orders", "-o", "json"])
        .env("TIDINGS_KAFKA", &node.kafka)
        .output()
        .unwrap();
    let records = lines_of_json(&output);
    records.iter().map(|r| format!("{} {}", r["offset"], r["value"].as_str().unwrap())).collect()
}

/// The data of a stopped node with three records in `orders-0`.
fn written(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let node = Node::start(&data);
    produce(&node, &["first", "second", "third"]);
    node.stop();
    data
}

/// The one segment of `orders-0`.
fn segment(data: &Path) -> PathBuf {
    data.join("orders-0/00000000000000000000.log")
}

/// Flips a bit in the value of a record.
fn damage(data: &Path, value: &str) {
    let mut bytes = fs::read(segment(data)).unwrap();
    let at = bytes.windows(value.len()).position(|at| at == value.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(segment(data), bytes).unwrap();
}

#[test]
fn a_sound_directory_is_code_0_beside_a_running_node_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = written(dir.path());
    let stopped = log(&["verify", "--deep"], &data);
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
    let said = text(&stopped.stdout);
    let row: Vec<&str> = said
        .lines()
        .find(|line| line.starts_with("orders-0 "))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row, ["orders-0", "1", "3", "3", "0", "3", "-"]);
    assert!(said.lines().last().unwrap().starts_with("sound: "), "{said}");

    let node = Node::start(&data);
    produce(&node, &["fourth"]);
    let running = log(&["verify", "-o", "json", "-t", "orders:0"], &data);
    assert_eq!(running.status.code(), Some(0), "{}", text(&running.stderr));
    let lines = lines_of_json(&running);
    assert_eq!((&lines[0]["topic"], &lines[0]["partition"]), (&json!("orders"), &json!(0)));
    assert_eq!(lines[0]["damage"], json!([]));
    assert_eq!(lines[1]["damage"], json!([]));
    assert_eq!(lines.len(), 2);
    node.stop();
}

#[test]
fn damage_is_code_1_and_a_repair_loses_only_the_damaged_batch() {
    let dir = tempfile::tempdir().unwrap();
    let data = written(dir.path());
    damage(&data, "second");

    let verified = log(&["verify", "-o", "json", "-t", "orders"], &data);
    assert_eq!(verified.status.code(), Some(1));
    let why = "error: damage in 1 place\nwhy:   at most 1 record cannot be read\n\
               try:   stop the node, then `tidings log repair ";
    assert!(text(&verified.stderr).starts_with(why), "{}", text(&verified.stderr));
    let found = &lines_of_json(&verified)[0]["damage"];
    let range = [found[0]["first_offset"].clone(), found[0]["end_offset"].clone()];
    assert_eq!((range, found.as_array().unwrap().len()), ([json!(1), json!(2)], 1), "{found}");
    assert_eq!(found[0]["file"], "orders-0/00000000000000000000.log");
    assert_eq!((&found[0]["topic"], &found[0]["partition"]), (&json!("orders"), &json!(0)));

    let before = fs::read(segment(&data)).unwrap();
    let planned = log(&["repair", "--dry-run"], &data);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
    assert!(text(&planned.stdout).contains("would be set aside as"), "{}", text(&planned.stdout));
    assert_eq!(fs::read(segment(&data)).unwrap(), before);

    let repaired = log(&["repair", "--yes"], &data);
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired.stderr));
    let said = text(&repaired.stdout);
    assert!(said.ends_with("orders-0: offset 1 lost\nat most 1 record lost\n"), "{said}");
    let again = log(&["verify", "--deep"], &data);
    assert_eq!(again.status.code(), Some(0), "{}{}", text(&again.stdout), text(&again.stderr));
    assert_eq!(text(&log(&["repair"], &data).stdout), "nothing to repair\n");

    let node = Node::start(&data);
    produce(&node, &["fourth"]);
    assert_eq!(consumed(&node), ["0 first", "2 third", "3 fourth"]);
    node.stop();
}

#[test]
fn data_that_is_not_there_is_code_3_and_data_in_use_is_code_4() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for command in ["verify", "dump", "repair"] {
        let output = log(&[command], &none);
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(
            text(&output.stderr).starts_with("error: there is no "),
            "{}",
            text(&output.stderr)
        );
    }
    assert!(!none.exists());
    let data = written(dir.path());
    let unknown = log(&["verify", "-t", "orders:99"], &data);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(text(&unknown.stderr).ends_with(" has no partition of orders:99\n"));
    let node = Node::start(&data);
    let locked = log(&["repair", "--yes"], &data);
    assert_eq!(locked.status.code(), Some(4), "{}", text(&locked.stderr));
    assert!(text(&locked.stderr).starts_with("error: the data is in use\n"));
    node.stop();
}

#[test]
fn dump_lists_batches_and_records_of_a_file_and_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let data = written(dir.path());
    let dumped = log(&["dump", "--records"], &segment(&data));
    let lines: Vec<&str> = text(&dumped.stdout).lines().collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[0].starts_with("offsets 0 to 0 at byte 0, "), "{}", lines[0]);
    assert!(lines[1].ends_with(" key \"key\" value \"first\""), "{}", lines[1]);

    let dumped = log(&["dump", "--records", "-o", "json"], &data.join("orders-0"));
    assert_eq!(dumped.status.code(), Some(0), "{}", text(&dumped.stderr));
    let lines = lines_of_json(&dumped);
    let values: Vec<&str> =
        lines.iter().filter_map(|line| line["record"]["value"].as_str()).collect();
    assert_eq!(values, ["first", "second", "third"]);
    let batches = lines.iter().filter(|line| line["codec"] == "none");
    assert_eq!(batches.map(|line| &line["first_offset"]).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(log(&["dump"], &data).status.code(), Some(0));
}
