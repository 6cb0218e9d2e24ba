//! Every form of every list and description: `-o table|wide|json|jsonl|yaml|name`.

use serde_json::{Value, json};

use crate::node::{self, Node};
use crate::{feed, lines_of_json, run, said};

/// What a command says in a form.
fn in_form(node: &Node, arguments: &[&str], form: &str) -> String {
    said(&run(node, &[arguments, &["-o", form]].concat())).to_owned()
}

#[test]
fn yaml_is_the_same_document_as_json_and_jsonl_has_its_things_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&run(&node, &["topic", "create", "orders", "-p", "2", "-c", "retention.ms=-1"]));
    said(&run(&node, &["topic", "create", "prices", "-p", "1"]));
    said(&feed(&node, &["produce", "orders", "-p", "1"], "1\n2\n"));
    node::commit(&node.kafka, "readers", "orders", 1, 1);
    for (arguments, things, names) in [
        (&["topic", "list"][..], "/topics", "__consumer_offsets\norders\nprices\n"),
        (&["topic", "describe", "orders"], "/topic/partitions", "orders-0\norders-1\n"),
        (&["group", "list"], "/groups", "readers\n"),
        (&["group", "describe", "readers"], "/offsets", "orders-1\n"),
    ] {
        let document: Value = serde_json::from_str(&in_form(&node, arguments, "json")).unwrap();
        let yaml = in_form(&node, arguments, "yaml");
        let yaml: Value = serde_yaml_ng::from_str(&yaml).unwrap();
        assert_eq!(yaml, document, "{arguments:?}");
        let lines = run(&node, &[arguments, &["-o", "jsonl"]].concat());
        let lines = Value::from(lines_of_json(&lines));
        assert_eq!(Some(&lines), document.pointer(things), "{arguments:?}");
        assert_eq!(in_form(&node, arguments, "name"), names, "{arguments:?}");
    }
    let wide = in_form(&node, &["topic", "list"], "wide");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = wide.lines().map(words).collect();
    assert_eq!(lines[0], "TOPIC PARTITIONS REPLICAS OUT OF SYNC RECORDS INTERNAL");
    assert!(lines.contains(&"orders 2 1 0 2 no".to_owned()), "{wide}");
    assert!(in_form(&node, &["group", "list"], "wide").starts_with("GROUP    STATE  TYPE  COORD"));
}

#[test]
fn records_and_deeds_have_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    for (form, wanted) in [
        ("table", "created a-table\n"),
        ("wide", "created a-wide\n"),
        ("json", "{\"created\":\"a-json\"}\n"),
        ("jsonl", "{\"created\":\"a-jsonl\"}\n"),
        ("yaml", "created: a-yaml\n"),
        ("name", "a-name\n"),
    ] {
        let topic = format!("a-{form}");
        assert_eq!(in_form(&node, &["topic", "create", &topic], form), wanted);
    }
    let sent = |form: &str| {
        said(&feed(&node, &["produce", "t", "-p", "0", "-k", ":", "-o", form], "k:v\n")).to_owned()
    };
    assert_eq!(sent("name"), "t-0@0\n");
    assert_eq!(sent("yaml"), "---\noffset: 1\npartition: 0\ntopic: t\n");
    let all = ["consume", "t", "-p", "0"];
    assert_eq!(in_form(&node, &all, "name"), "t-0@0\nt-0@1\n");
    let documents: Vec<Value> = in_form(&node, &all, "yaml")
        .split("---\n")
        .skip(1)
        .map(|document| serde_yaml_ng::from_str(document).unwrap())
        .collect();
    let lines = lines_of_json(&run(&node, &[&all[..], &["-o", "jsonl"]].concat()));
    assert_eq!(documents, lines);
    assert_eq!((&lines[1]["offset"], &lines[1]["key"]), (&json!(1), &json!("k")));
    let wide = in_form(&node, &all, "wide");
    assert!(wide.starts_with("0@0\t2") && wide.ends_with("Z\tk\tv\n"), "{wide}");
}

#[test]
fn a_data_directory_is_looked_at_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&feed(&node, &["produce", "t", "-p", "0"], "1\n2\n"));
    let data = dir.path().to_str().unwrap().to_owned();
    node.stop();
    let verify = |form: &str| {
        let output = node::tidings(&["log", "verify", &data, "-t", "t:0", "-o", form]).output();
        said(&output.unwrap()).to_owned()
    };
    assert_eq!(verify("name"), "t-0\n");
    assert!(verify("wide").contains("RECORDS  BYTES  FIRST"));
    assert_eq!(verify("json"), verify("jsonl"));
    let folder = dir.path().join("t-0");
    let dump = |form: &str| {
        let output = node::tidings(&["log", "dump", folder.to_str().unwrap(), "-o", form]).output();
        said(&output.unwrap()).to_owned()
    };
    assert!(dump("name").lines().any(|file| file == "t-0/00000000000000000000.log"));
    assert_eq!(dump("json"), dump("jsonl"));

    let doctor = |form: &str| {
        let output = node::tidings(&["doctor", "--engine", &data, "-o", form]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let document: Value = serde_json::from_str(&doctor("json")).unwrap();
    assert_eq!(serde_yaml_ng::from_str::<Value>(&doctor("yaml")).unwrap(), document);
    let checks = document["findings"].as_array().unwrap();
    assert_eq!(doctor("jsonl").lines().count(), checks.len());
    assert_eq!(doctor("name").lines().next(), checks[0]["check"].as_str());
}
