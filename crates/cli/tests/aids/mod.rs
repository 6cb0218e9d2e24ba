//! Completion in shells, the cheat sheet, and what is generated against what a node has.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::node::{self, Node, tidings};
use crate::{feed, run, said, text};

/// What bash is given for the last of these words.
fn completed(node: &Node, words: &[&str]) -> Vec<String> {
    let mut command = tidings(&["--", "tidings"]);
    command.args(words).env("TIDINGS_KAFKA", &node.kafka).env("TIDINGS_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n");
    let output = command.output().unwrap();
    said(&output).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn topics_and_groups_are_completed_while_a_command_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    for topic in ["orders", "orders.eu", "prices"] {
        said(&run(&node, &["topic", "create", topic]));
    }
    node::commit(&node.kafka, "billing", "orders", 0, 0);
    assert_eq!(completed(&node, &["topic", "describe", "ord"]), ["orders", "orders.eu"]);
    assert_eq!(completed(&node, &["consume", "p"]), ["prices"]);
    assert_eq!(completed(&node, &["group", "describe", "b"]), ["billing"]);
    assert_eq!(completed(&node, &["group", "reset", "billing", "-t", "pri"]), ["prices"]);
    assert_eq!(completed(&node, &["gro"]), ["group"]);
    assert_eq!(completed(&node, &["topic", "list", "-o", "ya"]), ["yaml"]);
    node.stop();
    let mut command = tidings(&["--", "tidings", "consume", ""]);
    command.env("TIDINGS_KAFKA", "127.0.0.1:1").env("TIDINGS_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
    assert_eq!(text(&command.output().unwrap().stderr), "", "a shell shows no trouble");
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = tidings(&["completion", shell]).output().unwrap();
        assert!(said(&output).contains("TIDINGS_COMPLETE"), "{shell}");
    }
    assert_eq!(tidings(&["completion", "tcsh"]).output().unwrap().status.code(), Some(2));
    assert!(said(&tidings(&["cheat"]).output().unwrap()).contains("tidings consume"));
}

#[test]
fn every_metric_that_is_generated_is_one_that_a_node_has() {
    let dir = tempfile::tempdir().unwrap();
    // With services that report, and an exporter, which counts whether or not a collector is there.
    let mut command = node::up(&dir.path().join("data"));
    command.args(["--demo", "shop", "--otlp-endpoint", "http://127.0.0.1:9"]);
    let node = Node::spawn(command);
    said(&feed(&node, &["produce", "t"], "1\n"));
    node::commit(&node.kafka, "readers", "t", 0, 0);
    let kit = dir.path().join("kit");
    let to = kit.to_str().unwrap();
    let mut generated = String::new();
    for what in ["prometheus", "grafana", "slo"] {
        let written = tidings(&["generate", what, "--to", to, "-o", "name"]).output().unwrap();
        for path in said(&written).lines() {
            generated += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut names: Vec<_> = generated
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("tidings_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 15, "{names:?}");
    let http = node.ready["http"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    // Groups show with the console's next look at the engine, services once they have reported.
    let metrics = loop {
        let metrics = node::get(&http, "/metrics");
        if metrics.contains("tidings_group_stuck{") && metrics.contains("tidings_service_parked{") {
            break metrics;
        }
    };
    // No service of the shop has a dependency with limits.
    names.retain(|name| !name.starts_with("tidings_service_dependency_"));
    for name in names {
        // A panel is called after a histogram, whose series have longer names.
        let has = |line: &str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{"))
        };
        assert!(metrics.lines().any(has), "{name} is not in {metrics}");
    }
}

#[test]
fn top_tells_what_topics_gain_and_how_far_groups_are() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&feed(&node, &["produce", "t", "-p", "0"], "1\n2\n3\n"));
    node::commit(&node.kafka, "readers", "t", 0, 1);
    let mut command = tidings(&["top", "--every", "1s", "-o", "json"]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdout(Stdio::piped());
    let mut top = command.spawn().unwrap();
    let mut looks = BufReader::new(top.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let first = looks.next().unwrap();
    let wanted = serde_json::json!({
        "name": "readers", "state": "Empty", "members": 0, "lag": 2, "lag_per_second": null,
    });
    assert_eq!(first["groups"], Value::from(vec![wanted]));
    said(&feed(&node, &["produce", "t", "-p", "0"], "4\n"));
    let gains = looks.any(|look| {
        look["topics"][0]["name"] == "t"
            && look["topics"][0]["records_per_second"].as_f64() > Some(0.0)
    });
    assert!(gains, "what comes is told");
    drop(looks);
    assert_eq!(top.wait().unwrap().code(), Some(0), "a closed pipe is not an error");
}

#[test]
fn files_go_where_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("chart");
    let to = to.to_str().unwrap();
    let unit = tidings(&["generate", "systemd"]).output().unwrap();
    assert!(said(&unit).contains("\nDynamicUser=yes\n"));
    let several = tidings(&["generate", "helm"]).output().unwrap();
    assert_eq!(several.status.code(), Some(2));
    assert!(text(&several.stderr).ends_with("try:   --to DIR\n"), "{}", text(&several.stderr));
    let helm = ["generate", "helm", "--to", to, "-o", "json"];
    let written: Value = serde_json::from_str(said(&tidings(&helm).output().unwrap())).unwrap();
    assert_eq!(written["written"].as_array().unwrap().len(), 6);
    assert_eq!(tidings(&helm).output().unwrap().status.code(), Some(4));
    said(&tidings(&[&helm[..], &["--force"]].concat()).output().unwrap());
}
