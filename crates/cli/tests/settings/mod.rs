//! Contexts, the project's file, and where each setting comes from.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::node::{Node, tidings};
use crate::{lines_of_json, said, text};

/// Runs in a directory, with settings of its own.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = tidings(arguments);
    command.current_dir(dir).env("XDG_CONFIG_HOME", dir.join("settings")).output().unwrap()
}

/// The origin and value of a setting.
fn setting(output: &Output, key: &str) -> (String, String) {
    let document = lines_of_json(output).remove(0);
    let all = document["settings"].as_array().unwrap().clone();
    let found = all.iter().find(|setting| setting["key"] == key).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

#[test]
fn commands_talk_to_the_context_that_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir.path().join("data"));
    let run = |arguments: &[&str]| run_in(dir.path(), arguments);
    let kafka = format!("kafka={}", node.kafka);
    assert_eq!(said(&run(&["context", "set", "here", &kafka])), "set here\n");
    said(&run(&["context", "set", "away", "kafka=127.0.0.1:1", "output=json"]));
    said(&run(&["topic", "create", "t"]));
    let findings = run(&["doctor", "--no-trial", "-o", "name"]);
    assert!(
        text(&findings.stdout).contains("brokers\n"),
        "the engine is where kafka is: {findings:?}"
    );
    assert_eq!(run(&["topic", "list", "--context", "away"]).status.code(), Some(1));
    said(&run(&["context", "use", "away"]));
    assert_eq!(run(&["topic", "list"]).status.code(), Some(1));
    assert_eq!(said(&run(&["topic", "list", "-b", &node.kafka])).lines().count(), 1, "as JSON");
    let list = said(&run(&["context", "list", "-o", "name"])).to_owned();
    assert_eq!(list, "away\nhere\n");
    let table = said(&run(&["context", "list"])).to_owned();
    assert!(table.contains("*  away"), "{table}");
    let shown = lines_of_json(&run(&["context", "show", "here", "-o", "json"])).remove(0);
    assert_eq!((&shown["kafka"], &shown["engine"]), (&node.kafka.clone().into(), &Value::Null));

    for (arguments, code) in [
        (&["context", "use", "nowhere"][..], 3),
        (&["context", "show", "nowhere"], 3),
        (&["topic", "list", "--context", "nowhere"], 3),
        (&["context", "set", "x", "kafak=a:1"], 2),
        (&["context", "set", "x"], 2),
        (&["context", "set", "x", "engine=kafka://me:secret@a:1"], 2),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!text(&output.stderr).contains("secret"), "{}", text(&output.stderr));
    }
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(dir.path(), arguments);
    said(&run(&["context", "set", "dev", "kafka=dev:1"]));
    let print = ["config", "print", "-o", "json"];
    assert_eq!(setting(&run(&print), "kafka"), ("dev:1".into(), "context dev".into()));
    assert_eq!(setting(&run(&print), "engine"), ("kafka://dev:1".into(), "setting kafka".into()));
    assert_eq!(setting(&run(&print), "output"), ("table".into(), "default".into()));

    let project = dir.path().join("tidings.toml");
    std::fs::write(&project, "kafka = \"project:1\"\n[up]\ndata = \"kept\"\n").unwrap();
    let below = dir.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let mut command = tidings(&print);
    command.current_dir(&below).env("XDG_CONFIG_HOME", dir.path().join("settings"));
    let output = command.output().unwrap();
    let (value, origin) = setting(&output, "kafka");
    assert_eq!(value, "project:1");
    assert!(origin.starts_with("project ") && origin.ends_with("tidings.toml"), "{origin}");
    assert!(setting(&output, "up.data").0.ends_with("/kept"));
    let output = command.env("TIDINGS_KAFKA", "env:1").output().unwrap();
    assert_eq!(setting(&output, "kafka"), ("env:1".into(), "environment TIDINGS_KAFKA".into()));
    let table = said(&run(&["config", "print", "--origin"])).to_owned();
    assert!(table.starts_with("SETTING") && table.contains("FROM"), "{table}");

    let defaults = "success=99.9%, latency=99%<5s, freshness=99%<1m";
    assert_eq!(setting(&run(&print), "slo.*"), (defaults.into(), "default".into()));
    std::fs::write(&project, "[slo]\npayment = \"success=99%\"\n\"*\" = \"latency=off\"\n")
        .unwrap();
    for (name, wanted) in [("slo.payment", "success=99%"), ("slo.*", "latency=off")] {
        let (value, origin) = setting(&run(&print), name);
        assert_eq!(value, wanted);
        assert!(origin.starts_with("project "), "{origin}");
    }

    std::fs::write(&project, "kafak = \"a:1\"\n").unwrap();
    let output = run(&["topic", "list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no setting kafak\ntry:   kafka\n"));
    assert_eq!(run(&["context", "list"]).status.code(), Some(0), "it needs no settings");
}
