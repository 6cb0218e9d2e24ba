//! Formats, places and filters of `consume` and `produce`.

use std::process::Stdio;

use bytes::Bytes;
use serde_json::Value;
use tidings_node::NewRecord;
use tidings_node::broker::log::{BatchBuilder, Compression, limits};

use crate::node::{Node, store, tidings};
use crate::{feed, lines_of_json, run, said, text};

/// A node whose topic `t` has two partitions: 0 to 9 in the first, a and b in the second, with the
/// numbers of minutes since the epoch as times.
fn node(dir: &std::path::Path) -> Node {
    let node = Node::start(dir);
    said(&run(&node, &["topic", "create", "t", "-p", "2", "-c", "retention.ms=-1"]));
    let numbers: String =
        (0..10).map(|n| format!("0 {} {n}\n", 1_700_000_000_000_i64 + n)).collect();
    let letters = "1 1700000000000 a\n1 1700000000005 b\n";
    said(&feed(&node, &["produce", "t", "-f", "%p %d %v\\n"], &(numbers + letters)));
    node
}

fn values(node: &Node, arguments: &[&str]) -> String {
    let mut values: Vec<_> = said(&run(node, &[&["consume", "t"], arguments].concat()))
        .lines()
        .map(str::to_owned)
        .collect();
    values.sort();
    values.join("")
}

#[test]
fn places_and_ranges_say_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    for (offset, wanted) in [
        ("start", "0123456789ab"),
        ("end", ""),
        ("8", "89"),
        ("+8", "89"),
        ("-2", "89ab"),
        (":end", "0123456789ab"),
        (":1", "0a"),
        ("1:3", "12b"),
        ("-3:-1", "78a"),
        ("5:99", "56789"),
        ("@1700000000005", "56789b"),
        ("@1700000000004:1700000000006", "45b"),
        ("@1700000000:2023-11-14T22:13:20.002Z", "01a"),
        ("@2023-11-14:1d", "0123456789ab"),
        ("@-1h", ""),
        ("0=8", "89"),
        ("0=8,1=end", "89"),
        ("end,1=1", "b"),
    ] {
        assert_eq!(values(&node, &["--offset", offset]), wanted, "{offset}");
    }
    assert_eq!(values(&node, &["--offset", "-1", "-p", "0,1"]), "9b");
    assert_eq!(values(&node, &["-p", "1"]), "ab");
    // A range ends although more might come.
    assert_eq!(values(&node, &["--offset", "1:3", "-p", "0", "--follow"]), "12");
    let output = run(&node, &["consume", "t", "--offset", "7=1"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn filters_leave_out_what_is_not_meant() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let input = "a {\"id\":1,\"city\":\"Bonn\"}\nb {\"id\":2,\"city\":\"Berlin\"}\na no JSON\n";
    said(&feed(&node, &["produce", "t", "-k", " ", "-H", "from=test"], input));
    said(&feed(&node, &["produce", "t", "-k", " "], "c {\"id\":1}\n"));
    for (arguments, wanted) in [
        (&["--key", "a"][..], 2),
        (&["--key", "a", "--key", "b"], 3),
        (&["--grep", "Be"], 1),
        (&["--grep", "/\"city\":\"B/"], 2),
        (&["--header", "from=test"], 3),
        (&["--json", "$.id=1"], 2),
        (&["--json", "id=1", "--json", "city=Bonn"], 1),
        (&["--key", "a", "--grep", "Berlin"], 0),
        (&["--json", "id=1", "-n", "1"], 1),
        (&["--rate", "1000/s"], 4),
    ] {
        let found = said(&run(&node, &[&["consume", "t"], arguments].concat())).lines().count();
        assert_eq!(found, wanted, "{arguments:?}");
    }
    for arguments in [["--grep", "/(/"], ["--json", "a[=1"], ["--rate", "0"], ["--json", "id"]] {
        let output = run(&node, &[&["consume", "t"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_one_format_prints_another_reads() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let input = [&b"ke\xff\x00\n"[..], b"\n\xff value"].concat();
    let mut command = tidings(&["produce", "from", "-f", "%K{5}%k%v", "-H", "h=1"]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &input).unwrap();
    assert!(child.wait().unwrap().success());

    let format = "%K{big32}%k%V{big32}%v%H{big16}%h{%K{byte}%k%V{byte}%v}%d{big64}";
    let printed = run(&node, &["consume", "from", "-f", format]);
    let mut command = tidings(&["produce", "to", "-f", format]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &printed.stdout).unwrap();
    assert!(child.wait().unwrap().success());

    let of = |topic: &str| {
        let mut record = lines_of_json(&run(&node, &["consume", topic, "-o", "json"])).remove(0);
        record["topic"] = Value::Null;
        record
    };
    assert_eq!(of("from"), of("to"));
    assert_eq!(of("from")["key_hex"], "6b65ff000a");
    assert_eq!(of("from")["value_hex"], "0aff2076616c7565");
}

#[test]
fn records_go_to_the_topics_that_they_name() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let sent = feed(&node, &["produce", "-f", "%t %v\\n"], "a 1\nb 2\na 3\n");
    assert_eq!(said(&sent), "");
    assert_eq!(text(&sent.stderr), "sent 3 records to a, b\n");
    let printed = run(&node, &["consume", "b", "-f", "%t %v\\n"]);
    assert_eq!(said(&printed), "b 2\n");
    for arguments in [&["t", "-f", "%t %v\\n"][..], &["-f", "%v\\n"], &[]] {
        let output = feed(&node, &[&["produce"], arguments].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_format_that_is_refused_says_where_and_why() {
    let output = tidings(&["consume", "t", "-f", "%k %q"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let wanted = "error: the format \"%k %q\" is refused at 4: %q\nwhy:   there is no such escape\ntry:   %t";
    assert!(said.starts_with(wanted), "{said}");
    let output = tidings(&["produce", "t", "-f", "%k%v"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is refused at 1: %k\n"), "{}", text(&output.stderr));
}

#[test]
fn what_came_before_input_that_does_not_fit_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let output = feed(&node, &["produce", "t", "-f", "%v{hex}\\n"], "61\n62\nxx\n63\n");
    assert_eq!(output.status.code(), Some(2));
    let why =
        "error: record 3 of the input does not fit the format\nwhy:   a field is not hexadecimal\n";
    assert!(text(&output.stderr).starts_with(why), "{}", text(&output.stderr));
    let mut values: Vec<_> =
        said(&run(&node, &["consume", "t"])).lines().map(str::to_owned).collect();
    values.sort();
    assert_eq!(values, ["a", "b"]);
}

#[test]
fn a_batch_that_is_too_large_to_decompress_is_passed_over_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&feed(&node, &["produce", "t", "-p", "0"], "before\n"));
    let mut large = BatchBuilder::new().compression(Compression::Zstd);
    let value = Some(Bytes::from(vec![b'x'; limits::DECOMPRESSED_BYTES_MAX]));
    large.push(&NewRecord { value, ..NewRecord::default() });
    store(&node.kafka, "t", large.build().bytes().clone());
    said(&feed(&node, &["produce", "t", "-p", "0"], "after\n"));

    let output = run(&node, &["consume", "t"]);
    assert_eq!(text(&output.stdout), "before\nafter\n");
    assert_eq!(output.status.code(), Some(1));
    let notes = text(&output.stderr);
    assert!(notes.starts_with("note: t-0@1 to 1 is passed over: a batch that decom"), "{notes}");
    assert!(notes.contains("\nerror: a batch of t could not be read, and all else was"), "{notes}");
    assert_eq!(said(&run(&node, &["consume", "t", "--offset", "2"])), "after\n");

    let http = node.ready["http"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let (mut listed, mut before) = (String::new(), String::new());
    loop {
        let answer = crate::node::get(&http, &format!("/api/topics/t?before={before}"));
        let page: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        listed += &page.to_string();
        match page["older"].as_str() {
            Some(older) => before = older.to_owned(),
            None => break,
        }
    }
    for wanted in ["\"value\":\"before\"", "\"value\":\"after\"", "\"damaged\":1"] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
    assert!(crate::node::get(&http, "/topics/t/0/1").contains("The record cannot be read"));
}
