//! Keys and values of schemas: `consume` prints what they say, by the registry of the node.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::node::{Node, post, tidings};
use crate::{feed, lines_of_json, run, said, text};

const AVRO: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"who","type":["null","string"]}]}"#;
const PROTOBUF: &str =
    "syntax = \"proto3\"; message Other {} message Order { int64 id = 1; string who = 2; }";

/// The id that the node's registry gives it.
fn register(node: &Node, subject: &str, kind: &str, schema: &str) -> i64 {
    let registry = node.ready["registry"].as_str().unwrap().trim_start_matches("http://");
    let body = json!({ "schemaType": kind, "schema": schema }).to_string();
    let answer = post(registry, &format!("/subjects/{subject}/versions"), &body);
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let registered: serde_json::Value = serde_json::from_str(body).unwrap();
    registered["id"].as_i64().unwrap_or_else(|| panic!("{registered}"))
}

/// A schema in Protobuf, as a registry that has such writes it to the topic.
fn as_another_registry(node: &Node, subject: &str, id: i64) {
    let key = json!({ "keytype": "SCHEMA", "subject": subject, "version": 1, "magic": 1 });
    let value = json!({ "subject": subject, "version": 1, "id": id, "schemaType": "PROTOBUF",
        "schema": PROTOBUF, "deleted": false });
    said(&feed(node, &["produce", "_schemas", "-k", "\t"], &format!("{key}\t{value}\n")));
}

/// In the wire format, as hexadecimal.
fn framed(id: i64, hex: &str) -> String {
    format!("00{id:08x}{hex}")
}

fn send(node: &Node, topic: &str, key: &str, value: &str) {
    let line = format!("{key} {value}\n");
    said(&feed(node, &["produce", topic, "-f", "%k{hex} %v{hex}\\n"], &line));
}

/// A node whose topic `t` has an Avro value under an Avro key, a value in Protobuf and one in JSON.
fn node(dir: &std::path::Path) -> Node {
    let node = Node::start(dir);
    let key = register(&node, "t-key", "AVRO", "\"string\"");
    let avro = register(&node, "t-value", "AVRO", AVRO);
    let json = register(&node, "t-json", "JSON", r#"{"type":"object"}"#);
    let protobuf = 100;
    as_another_registry(&node, "t-proto", protobuf);
    send(&node, "t", &framed(key, "064b2d37"), &framed(avro, "0e0206416e6e"));
    send(&node, "t", "6b", &framed(protobuf, "020208071203416e6e"));
    send(&node, "t", "6b", &framed(json, "7b226964223a31307d"));
    node
}

#[test]
fn values_are_printed_as_their_schemas_say() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let consume = |arguments: &[&str]| run(&node, &[&["consume", "t"], arguments].concat());
    let all = r#"{"id":7,"who":"Ann"}
{"id":7,"who":"Ann"}
{"id":10}
"#;
    assert_eq!(said(&consume(&[])), all);
    assert_eq!(said(&consume(&["-k", "="])).lines().next(), Some("K-7={\"id\":7,\"who\":\"Ann\"}"));
    // A format is of bytes, until it is said.
    assert_eq!(said(&consume(&["-n", "1", "-f", "%V %k{hex}\\n"])), "11 0000000001064b2d37\n");
    let printed = ["--use-schema-registry", "-f", "%k %v{json[id]}\\n"];
    assert_eq!(said(&consume(&printed)), "K-7 7\nk 7\nk 10\n");
    let only = ["-n", "1", "--use-schema-registry=value", "-f", "%k{hex} %v\\n"];
    assert_eq!(said(&consume(&only)), "0000000001064b2d37 {\"id\":7,\"who\":\"Ann\"}\n");
    let none = consume(&["-n", "1", "--use-schema-registry=none"]);
    assert_eq!(none.stdout, b"\0\0\0\0\x02\x0e\x02\x06Ann\n");
    // Filters see what is printed without a format.
    assert_eq!(said(&consume(&["--json", "$.who=Ann", "-f", "%o "])), "0 1 ");
    assert_eq!(said(&consume(&["--key", "K-7", "-f", "%o "])), "0 ");
    let records = lines_of_json(&consume(&["-o", "json"]));
    assert_eq!(records[0]["value"], "{\"id\":7,\"who\":\"Ann\"}");
    assert_eq!(
        (&records[0]["key_schema_id"], &records[0]["value_schema_id"]),
        (&json!(1), &json!(2))
    );
    assert_eq!((&records[1]["key"], records[1].get("key_schema_id")), (&json!("k"), None));
}

#[test]
fn what_cannot_be_decoded_is_printed_as_it_is_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let avro = register(&node, "t-value", "AVRO", AVRO);
    for value in
        [framed(avro, "0e02"), framed(avro, "0e04"), framed(77, "ff"), framed(0, "00000007")]
    {
        send(&node, "t", "6b", &value);
    }
    let output = run(&node, &["consume", "t", "-o", "json"]);
    let records = lines_of_json(&output);
    let refused: Vec<_> = records.iter().map(|record| record["value_refused"].as_str()).collect();
    assert!(refused[0].unwrap().starts_with("the bytes do not fit the schema: "), "{refused:?}");
    assert_eq!(refused[2..], [Some("the registry has no schema 77"), None]);
    assert_eq!(records[2]["value_hex"], "000000004dff");
    // Each kind of reason once.
    let notes = text(&output.stderr);
    assert_eq!(notes.lines().count(), 2, "{notes}");
    assert!(
        notes.contains(
            "note: the value of t-0@2 is printed as it is: the registry has no schema 77"
        )
    );
}

#[test]
fn a_schema_that_comes_while_records_are_followed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut command = tidings(&["consume", "t", "--follow"]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdout(Stdio::piped());
    let mut follow = command.spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(3).last().as_deref(), Some("{\"id\":10}"));
    let new = register(&node, "new", "AVRO", "{\"type\":\"array\",\"items\":\"int\"}");
    send(&node, "t", "6b", &framed(new, "04020400"));
    assert_eq!(lines.next().as_deref(), Some("[1,2]"));
    follow.kill().unwrap();
    follow.wait().unwrap();
}
