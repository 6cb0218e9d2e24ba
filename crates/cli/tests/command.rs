//! The built binary, as its users and their scripts see it.

mod access;
mod aids;
mod copy;
mod dead;
mod decoded;
mod destroy;
mod forms;
mod log;
mod node;
mod otlp;
mod records;
mod settings;

use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};

use node::{Node, tidings};
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn run(node: &Node, arguments: &[&str]) -> Output {
    tidings(arguments).env("TIDINGS_KAFKA", &node.kafka).output().unwrap()
}

fn feed(node: &Node, arguments: &[&str], input: &str) -> Output {
    let mut command = tidings(arguments);
    command.env("TIDINGS_KAFKA", &node.kafka);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Standard output of a command that must succeed.
fn said(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}: {}", output.status, text(&output.stderr));
    text(&output.stdout)
}

fn lines_of_json(output: &Output) -> Vec<Value> {
    said(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn wrong_arguments_are_code_2() {
    for arguments in [
        &["upp"][..],
        &["topic", "rename"],
        &["topic", "create"],
        &["topic", "create", "t", "-p", "0"],
        &["topic", "create", "t", "-c", "novalue"],
        &["consume", "t", "-n", "x"],
        &["up", "--speed", "max"],
        &["up", "--demo", "shop", "--speed", "slow"],
        &["up", "--until-done"],
        &["up", "--virtual-brokers", "0"],
        &["up", "--virtual-brokers", "33"],
    ] {
        let output = tidings(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("error: "), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
    let output = tidings(&["consume", "t", "--offset", "middle"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let wanted = "error: \"middle\" is no place in a topic\n\
                  why:   that is neither a place nor a range\n\
                  try:   start, end, 47, +2, -3, 10:20, :end, @-1h, @2026-11-30, @-2h:-1h, \
                  or 0=5,1=end for partitions\n";
    assert_eq!(text(&output.stderr), wanted);
}

#[test]
fn a_broker_that_is_not_there_is_said_with_what_to_try() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for arguments in [&["topic", "list"][..], &["group", "list"], &["consume", "t"]] {
        let output = tidings(arguments).args(["-b", &closed]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with(&format!(
                "error: no Kafka broker can be reached at {closed}\nwhy:   "
            ))
        );
        assert!(said.contains("refused") && said.contains("\ntry:   start a node"), "{said}");
    }
}

#[test]
fn what_says_something_of_a_node_is_refused_beside_a_cluster() {
    let cluster = ["up", "--engine", "kafka://127.0.0.1:1?connect_timeout=1s"];
    for own in [
        ["--data", "x"],
        ["--kafka", "127.0.0.1:0"],
        ["--memory", "1GiB"],
        ["--virtual-brokers", "1"],
        ["--max-connections", "10"],
        ["--max-connections-per-ip", "10"],
    ] {
        let output = tidings(&cluster).args(own).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{own:?}");
        let said = text(&output.stderr);
        assert!(said.contains("--engine") && said.contains(own[0]), "{said}");
    }
    let mut up = tidings(&["up", "--data", "x"]);
    let output = up.env("TIDINGS_ENGINE", "kafka://127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("TIDINGS_ENGINE is set"), "{said}");
}

#[test]
fn a_cluster_that_is_not_there_is_said_with_what_to_try() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("kafka://{closed}?connect_timeout=1s");
    let mut up = tidings(&["up", "--http", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
    let output = up.env("TIDINGS_ENGINE", &url).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("error: no broker answers at {closed}\nwhy:   ")), "{said}");
    assert!(said.contains("refused") && said.contains("\ntry:   check the address"), "{said}");

    for wrong in ["http://a", "kafka://a?colour=red", "kafka://me:secret@a"] {
        let output = tidings(&["up", "--engine", wrong]).args(["--http", "127.0.0.1:0"]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let said = text(&output.stderr);
        assert!(said.contains("why:   not the URL of a cluster: "), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_nothing_is_left_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for flag in ["--kafka", "--http", "--registry"] {
        let mut command = tidings(&["up", "--data", data.to_str().unwrap()]);
        for each in ["--kafka", "--http", "--registry"] {
            command.args([each, if each == flag { &address } else { "127.0.0.1:0" }]);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{flag}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
        let holder = format!("the port is held by process {} (", std::process::id());
        assert!(said.contains(&holder), "{said}");
        assert!(said.contains(&format!("or {flag} HOST:PORT with another port")), "{said}");
        assert_eq!(text(&output.stdout), "", "{flag}");
        assert!(!data.exists(), "{flag}");
    }
}

#[test]
fn an_address_that_is_none_is_said_with_one_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (flag, instance) in [
        ("--kafka", "127.0.0.1:9092"),
        ("--http", "127.0.0.1:8080"),
        ("--registry", "127.0.0.1:8081"),
    ] {
        let mut command = tidings(&["up", "--data", data.to_str().unwrap()]);
        for each in ["--kafka", "--http", "--registry"] {
            command.args([each, if each == flag { "foo" } else { "127.0.0.1:0" }]);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let wanted = format!(
            "error: \"foo\" is no address to listen on\n\
             why:   HOST:PORT is wanted, for instance {instance}\n\
             try:   {flag} {instance}\n"
        );
        assert_eq!(text(&output.stderr), wanted);
        assert!(!data.exists(), "{flag}");
    }
}

#[test]
fn up_says_where_it_is_in_one_line_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let ready = &node.ready;
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["data"], dir.path().to_str().unwrap());
    assert_eq!(ready.as_object().unwrap().len(), 6);
    for (name, path) in [("http", "/livez"), ("http", "/readyz"), ("registry", "/subjects")] {
        let url = ready[name].as_str().unwrap();
        let answer = node::get(url.strip_prefix("http://").unwrap(), path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}{path}: {answer}");
    }
    let ended = node.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(text(&ended.stdout), "", "nothing but the ready line");
    let said = text(&ended.stderr);
    assert!(said.starts_with("stopping\nstopped cleanly in "), "{said}");
}

#[test]
fn log_lines_are_objects_where_a_collector_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = node::up(dir.path());
    command.args(["--log-format", "json"]).env("TIDINGS_LOG", "debug");
    let node = Node::spawn(command);
    // A length that no request has: the node closes the connection and says why.
    let mut stream = std::net::TcpStream::connect(&node.kafka).unwrap();
    stream.write_all(&[0xff; 4]).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    let ended = node.stop();
    let said = text(&ended.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!lines.is_empty(), "{said}");
    for line in lines {
        let line: Value = serde_json::from_str(line).expect(line);
        for part in ["timestamp", "level", "target", "message"] {
            assert!(line[part].is_string(), "{part}: {line}");
        }
    }
}

#[test]
fn data_in_use_is_refused_with_the_process_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let second = node::up(dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(4));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("process {} (tidings) has it open", node.pid())), "{said}");
    assert_eq!(text(&second.stdout), "");
    assert_eq!(node.stop().status.code(), Some(0), "the first goes on");
}

#[test]
fn data_is_kept_between_runs() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&feed(&node, &["produce", "kept"], "one\ntwo\n"));
    assert_eq!(node.stop().status.code(), Some(0));
    let node = Node::start(dir.path());
    let mut values: Vec<_> =
        said(&run(&node, &["consume", "kept"])).lines().map(str::to_owned).collect();
    values.sort();
    assert_eq!(values, ["one", "two"]);
}

#[test]
fn topics_are_made_listed_described_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let create = ["topic", "create", "orders", "-p", "3", "-c", "max.message.bytes=2000"];
    assert_eq!(said(&run(&node, &create)), "created orders\n");
    let again = run(&node, &create);
    assert_eq!(again.status.code(), Some(4));
    assert!(text(&again.stderr).contains("topic orders was not created"));

    let list = said(&run(&node, &["topic", "list"])).to_owned();
    assert_eq!(list, "TOPIC   PARTITIONS  RECORDS\norders           3        0\n");
    let list = lines_of_json(&run(&node, &["topic", "list", "-o", "json"]));
    assert_eq!(list[0]["topics"][0]["name"], "orders");
    assert_eq!(list[0]["topics"][0]["partitions"].as_array().unwrap().len(), 3);

    let described = lines_of_json(&run(&node, &["topic", "describe", "orders", "-o", "json"]));
    let partition = json!({"id": 2, "leader": 1, "replicas": [1], "in_sync": [1], "start_offset": 0, "end_offset": 0});
    assert_eq!(described[0]["topic"]["partitions"][2], partition);
    let configs = described[0]["configs"].as_array().unwrap();
    let set = json!({"name": "max.message.bytes", "value": "2000", "default": false});
    assert!(configs.contains(&set), "{configs:?}");
    let table = said(&run(&node, &["topic", "describe", "orders"])).to_owned();
    assert!(table.starts_with("PARTITION  LEADER  REPLICAS"), "{table}");

    assert_eq!(said(&run(&node, &["topic", "delete", "orders", "--yes"])), "deleted orders\n");
    for arguments in [&["topic", "delete", "orders", "--yes"][..], &["topic", "describe", "orders"]]
    {
        assert_eq!(run(&node, arguments).status.code(), Some(3), "{arguments:?}");
    }
    let json = run(&node, &["topic", "create", "other", "-o", "json"]);
    assert_eq!(lines_of_json(&json), [json!({"created": "other"})]);
}

#[test]
fn a_topic_that_cannot_be_made_or_deleted_is_said_with_why_and_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&run(&node, &["topic", "create", "taken"]));
    let configs = "`tidings topic describe` of any topic, which lists the configs";
    for (arguments, code, hint) in [
        (&["create", "a name"][..], 2, "a name of letters, digits, `.`, `_` and `-`"),
        (&["create", "t", "-c", "no.such.config=1"], 2, configs),
        (&["create", "t", "-c", "max.message.bytes=many"], 2, configs),
        (&["create", "t", "-p", "2000000000"], 2, "another number with --partitions"),
        (&["create", "t", "-r", "3"], 2, "another number with --replication"),
        (&["create", "taken"], 4, "`tidings topic describe taken`, or another name"),
        (&["delete", "missing", "--yes"], 3, "`tidings topic list`"),
    ] {
        let output =
            tidings(&["topic"]).args(arguments).env("TIDINGS_KAFKA", &node.kafka).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        let [error, why, advice] = lines[..] else { panic!("{arguments:?}: {lines:?}") };
        assert_eq!(error, format!("error: topic {} was not {}d", arguments[1], arguments[0]));
        assert!(why.starts_with("why:   "), "{arguments:?}: {why}");
        assert_eq!(advice, format!("try:   {hint}"));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn an_offset_past_the_end_is_said_and_the_end_itself_is_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&run(&node, &["topic", "create", "t", "-p", "2"]));
    said(&feed(&node, &["produce", "t", "-p", "0"], "a\nb\nc\n"));
    let wanted = "error: offset 99 is past the end of t\n\
                  why:   the next record's offset is at most 3\n\
                  try:   --offset end, or --offset -N for the last N records\n";
    for more in [&[][..], &["-p", "0"], &["--follow"], &["-n", "1"]] {
        let arguments = [&["consume", "t", "--offset", "99"], more].concat();
        let output = run(&node, &arguments);
        assert_eq!(output.status.code(), Some(1), "{more:?}");
        assert_eq!(text(&output.stderr), wanted, "{more:?}");
        assert_eq!(text(&output.stdout), "", "{more:?}");
    }
    assert_eq!(said(&run(&node, &["consume", "t", "--offset", "3"])), "");
    assert_eq!(said(&run(&node, &["consume", "t", "--offset", "2"])), "c\n");
    let past = run(&node, &["consume", "t", "-p", "1", "--offset", "2"]);
    assert_eq!(past.status.code(), Some(1), "of the partition that is read");
}

#[test]
fn lines_go_in_and_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let sent =
        feed(&node, &["produce", "greetings", "-k", ":", "-H", "from=test"], "a:1\nb:2\na:3\n");
    assert_eq!(said(&sent), "");
    assert_eq!(text(&sent.stderr), "sent 3 records to greetings\n");

    let mut all: Vec<_> = said(&run(&node, &["consume", "greetings", "-k", "="]))
        .lines()
        .map(str::to_owned)
        .collect();
    all.sort();
    assert_eq!(all, ["a=1", "a=3", "b=2"]);
    let records = lines_of_json(&run(&node, &["consume", "greetings", "-o", "json"]));
    let last = records.iter().find(|record| record["value"] == "3").unwrap();
    assert_eq!((&last["topic"], &last["key"]), (&"greetings".into(), &"a".into()));
    assert_eq!(last["headers"], json!([{"name": "from", "value": "test"}]));
    let first = records.iter().find(|record| record["value"] == "1").unwrap();
    assert_eq!(first["partition"], last["partition"], "one key, one partition");
    assert!(first["offset"].as_i64() < last["offset"].as_i64());

    let partition = last["partition"].to_string();
    let tail = run(&node, &["consume", "greetings", "-p", &partition, "--offset", "-1"]);
    assert_eq!(said(&tail), "3\n");
    assert_eq!(said(&run(&node, &["consume", "greetings", "--offset", "end"])), "");
    assert_eq!(said(&run(&node, &["consume", "greetings", "-n", "1"])).lines().count(), 1);
    assert_eq!(run(&node, &["consume", "greetings", "-p", "99"]).status.code(), Some(3));
    assert_eq!(run(&node, &["consume", "nothing"]).status.code(), Some(3));
    let bare = feed(&node, &["produce", "greetings", "-k", ":"], "nokey\n");
    assert_eq!(bare.status.code(), Some(2));

    let places = feed(&node, &["produce", "one", "-p", "0", "-o", "json"], "x\ny\n");
    let wanted = [0, 1].map(|offset| json!({"topic": "one", "partition": 0, "offset": offset}));
    assert_eq!(lines_of_json(&places), wanted);
    let null = feed(&node, &["produce", "one", "-p", "0", "-k", ":", "-Z"], "gone:\n");
    assert_eq!(null.status.code(), Some(0));
    let gone =
        lines_of_json(&run(&node, &["consume", "one", "--offset", "2", "-p", "0", "-o", "json"]));
    assert_eq!((&gone[0]["key"], &gone[0]["value"]), (&"gone".into(), &Value::Null));
}

#[test]
fn many_lines_keep_their_order_per_partition() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let count = 20_000;
    let input: String = (0..count).map(|n| format!("{n:06}-{}\n", "x".repeat(60))).collect();
    said(&feed(&node, &["produce", "many", "-p", "1"], &input));
    assert_eq!(said(&run(&node, &["consume", "many"])), input);
}

#[test]
fn following_shows_records_as_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    said(&run(&node, &["topic", "create", "news"]));
    let mut command = tidings(&["consume", "news", "--follow"]);
    command.env("TIDINGS_KAFKA", &node.kafka).stdout(Stdio::piped());
    let mut following = command.spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for value in ["first", "second"] {
        said(&feed(&node, &["produce", "news"], &format!("{value}\n")));
        assert_eq!(lines.next().unwrap().unwrap(), value);
    }
    drop(lines);
    said(&feed(&node, &["produce", "news"], "nobody reads this\n"));
    assert_eq!(following.wait().unwrap().code(), Some(0), "a closed pipe is not an error");
}

#[test]
fn groups_are_listed_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    assert_eq!(said(&run(&node, &["group", "list"])), "GROUP  STATE  TYPE\n");
    let missing = run(&node, &["group", "describe", "nobody"]);
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing.stdout));

    said(&run(&node, &["topic", "create", "t", "-p", "1"]));
    said(&feed(&node, &["produce", "t"], "1\n2\n3\n"));
    node::commit(&node.kafka, "readers", "t", 0, 2);
    let list = lines_of_json(&run(&node, &["group", "list", "-o", "json"]));
    assert_eq!(list[0]["groups"][0]["name"], "readers");
    assert_eq!(list[0]["groups"][0]["state"], "Empty");
    let group = &lines_of_json(&run(&node, &["group", "describe", "readers", "-o", "json"]))[0];
    assert_eq!((&group["name"], &group["lag"]), (&"readers".into(), &1.into()));
    let position = json!({"topic": "t", "partition": 0, "committed": 2, "end_offset": 3, "lag": 1, "metadata": null});
    assert_eq!(group["offsets"], json!([position]));
    let table = said(&run(&node, &["group", "describe", "readers"])).to_owned();
    let wanted = "readers: Empty, assignor none, lag 1\n\n\
                  TOPIC  PARTITION  COMMITTED  END  LAG\n\
                  t              0          2    3    1\n";
    assert!(table.starts_with(wanted), "{table}");
}

#[test]
fn the_shop_runs_to_its_end_and_reconciles() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = node::up(dir.path());
    command.args(["--demo", "shop", "--speed", "max", "--until-done"]);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "ready, then the reconciliation");
    assert_eq!(lines[0]["event"], "ready");
    assert_eq!(lines[1]["reconciled"], true);
}

#[test]
fn a_demo_that_is_stopped_early_has_not_reconciled() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = node::up(dir.path());
    command.args(["--demo", "shop", "--speed", "1", "--until-done"]);
    let node = Node::spawn(command);
    let ended = node.stop();
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    assert_eq!(text(&ended.stdout), "");
}

#[test]
fn help_describes_what_is_to_be_named() {
    for (arguments, wanted) in [
        (&["topic", "create"][..], "<NAME>  What it is called: letters, digits, `.`, `_` and `-`"),
        (&["topic", "describe"], "<NAME>  The topic"),
        (&["topic", "delete"], "<NAME>  The topic"),
        (&["consume"], "<TOPIC>  The topic to read"),
        (&["group", "describe"], "<NAME>  The group"),
    ] {
        let output = tidings(arguments).arg("-h").output().unwrap();
        assert!(said(&output).lines().any(|line| line.trim() == wanted), "{}", said(&output));
    }
}

#[test]
fn help_names_every_command() {
    let output = tidings(&["--help"]).output().unwrap();
    let help = said(&output);
    for command in ["up", "topic", "produce", "consume", "group"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
}

#[test]
fn virtual_brokers_take_replicas_and_serve_on_every_port() {
    let data = tempfile::tempdir().unwrap();
    let mut command = node::up(data.path());
    command.args(["--virtual-brokers", "3"]);
    let node = Node::spawn(command);
    let brokers: Vec<String> = serde_json::from_value(node.ready["brokers"].clone()).unwrap();
    assert_eq!((brokers.len(), &brokers[0]), (3, &node.kafka));
    said(&run(&node, &["topic", "create", "t", "-p", "3", "-r", "3"]));
    for broker in &brokers {
        let describe = ["topic", "describe", "t", "-o", "json", "-b", broker];
        let described = lines_of_json(&run(&node, &describe)).remove(0);
        let partitions = described["topic"]["partitions"].as_array().unwrap().clone();
        let mut leaders: Vec<_> =
            partitions.iter().map(|p| p["leader"].as_i64().unwrap()).collect();
        leaders.sort_unstable();
        assert_eq!(leaders, [1, 2, 3]);
        assert!(partitions.iter().all(|p| p["replicas"].as_array().unwrap().len() == 3));
    }
    said(&feed(&node, &["produce", "t", "-p", "1"], "hello\n"));
    let consumed = run(&node, &["consume", "t", "-n", "1", "-b", &brokers[2]]);
    assert_eq!(said(&consumed), "hello\n");
    node.stop();

    let node = Node::start(data.path());
    let refused = run(&node, &["topic", "create", "u", "-r", "3"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--virtual-brokers 3"), "{}", text(&refused.stderr));
    assert_eq!(said(&run(&node, &["consume", "t", "-n", "1"])), "hello\n");
}
