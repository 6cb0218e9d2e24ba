//! What destroys asks first, tells what it would do, and refuses where nobody can be asked.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::node::{self, Node, tidings};
use crate::{feed, lines_of_json, run, said, text};

/// A node with ten records in one partition, of which a group has read four.
fn node(dir: &std::path::Path) -> Node {
    let node = Node::start(dir);
    said(&run(&node, &["topic", "create", "t", "-p", "1"]));
    let numbers: String = (0..10).map(|n| format!("{n}\n")).collect();
    said(&feed(&node, &["produce", "t"], &numbers));
    node::commit(&node.kafka, "readers", "t", 0, 4);
    node
}

#[test]
fn without_a_terminal_nothing_is_destroyed_unless_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let before = said(&run(&node, &["group", "describe", "readers"])).to_owned();
    for (arguments, what) in [
        (&["topic", "delete", "t"][..], "topic t was not deleted"),
        (&["topic", "trim", "t", "--before", "5"], "topic t was not trimmed"),
        (&["group", "reset", "readers", "--to", "start"], "group readers was not reset"),
        (&["group", "delete", "readers"], "group readers was not deleted"),
    ] {
        let refused = run(&node, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let wanted = format!(
            "error: {what}\nwhy:   nobody can be asked: standard input is no terminal\n\
             try:   --yes to do it, --dry-run to see what it would do\n"
        );
        assert_eq!(text(&refused.stderr), wanted);
        let told = run(&node, &[arguments, &["--dry-run"]].concat());
        assert!(said(&told).contains("PARTITION"), "{arguments:?}: {}", said(&told));
    }
    assert_eq!(said(&run(&node, &["group", "describe", "readers"])), before);
    assert_eq!(said(&run(&node, &["consume", "t"])).lines().count(), 10);
}

#[test]
fn positions_are_reset_and_groups_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let reset = |to: &str| {
        let arguments = ["group", "reset", "readers", "--to", to, "--yes", "-o", "json"];
        lines_of_json(&run(&node, &arguments)).remove(0)["positions"][0].clone()
    };
    let position =
        |from: i64, to: i64| json!({"topic": "t", "partition": 0, "committed": from, "to": to});
    assert_eq!(reset("start"), position(4, 0));
    assert_eq!(reset("-3"), position(0, 7));
    assert_eq!(reset("@-1h"), position(7, 0));
    assert_eq!(reset("0=end"), position(0, 10));
    let other = ["group", "reset", "new", "--to", "2", "-t", "t", "--yes"];
    assert!(said(&run(&node, &other)).contains("t              0          -   2"));
    for (to, code) in [("1:2", 2), ("middle", 2), ("7=1", 3), ("99", 1)] {
        let output = run(&node, &["group", "reset", "readers", "--to", to, "--yes"]);
        assert_eq!(output.status.code(), Some(code), "{to}");
    }
    assert_eq!(
        run(&node, &["group", "reset", "none", "--to", "1", "--yes"]).status.code(),
        Some(3)
    );

    assert_eq!(said(&run(&node, &["group", "delete", "readers", "--yes"])), "deleted readers\n");
    assert_eq!(run(&node, &["group", "delete", "readers", "--yes"]).status.code(), Some(3));
    assert_eq!(said(&run(&node, &["group", "list", "-o", "name"])), "new\n");
}

#[test]
fn records_before_a_place_are_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let trim = ["topic", "trim", "t", "--before", "-2", "--yes", "-o", "json"];
    let wanted = json!({"topic": "t", "partition": 0, "start_offset": 0, "before_offset": 8});
    assert_eq!(lines_of_json(&run(&node, &trim)), [json!({ "trimmed": [wanted] })]);
    assert_eq!(said(&run(&node, &["consume", "t"])), "8\n9\n");
}

#[test]
fn a_watched_answer_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut command = tidings(&["topic", "list", "-o", "name", "--watch=1s"]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdout(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "__consumer_offsets");
    assert_eq!(lines.next().unwrap().unwrap(), "t");
    said(&run(&node, &["topic", "create", "a"]));
    assert!(lines.any(|line| line.unwrap() == "a"), "it is asked again");
    drop(lines);
    assert_eq!(watching.wait().unwrap().code(), Some(0), "a closed pipe is not an error");
}
