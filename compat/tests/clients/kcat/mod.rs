//! kcat: the scenarios, and what it does besides: list, headers, groups that go on, query.

mod scenarios;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidings_compat::{Conversation, Finished, Server, handed_over, run};

/// For one kcat from start to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(server: &Server, arguments: &str) -> Command {
    let mut command = Command::new(handed_over("TIDINGS_COMPAT_KCAT"));
    command.args(["-b", server.kafka()]).args(arguments.split_whitespace());
    command
}

/// Runs kcat to its end; the lines it wrote.
fn kcat(server: &Server, arguments: &str, input: &str) -> Vec<String> {
    let ended = run(&mut command(server, arguments), input, PATIENCE);
    ended.and_then(Finished::success).expect(arguments)
}

fn lines(records: &[String]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

#[test]
fn lists_the_broker_and_a_topic_that_producing_made() {
    let server = Server::start().expect("the server starts");
    kcat(&server, "-P -t orders", "one\n");
    let listing: Value =
        serde_json::from_str(&kcat(&server, "-L -J", "").join("\n")).expect("JSON");
    assert_eq!(listing["brokers"][0]["name"], server.kafka());
    let topics = listing["topics"].as_array().expect("topics");
    let orders = topics.iter().find(|topic| topic["topic"] == "orders").expect("orders");
    assert_eq!(orders["partitions"].as_array().map(Vec::len), Some(4), "{orders}");
}

#[test]
fn keeps_headers_and_null_values() {
    let server = Server::start().expect("the server starts");
    kcat(&server, "-P -t notes -p 0 -H source=till -H empty= -K : -Z", "a:text\nb:\n");
    let read = kcat(&server, "-C -t notes -o beginning -e -q -f %k|%S|%h\\n", "");
    assert_eq!(read, ["a|4|source=till,empty=", "b|-1|source=till,empty="]);
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let server = Server::start().expect("the server starts");
    let group = "-G readers -X auto.offset.reset=earliest -q";
    let first: Vec<String> = (0..10).map(|n| format!("first {n}")).collect();
    kcat(&server, "-P -t log", &lines(&first));
    assert_eq!(sorted(kcat(&server, &format!("{group} -c 10 log"), "")), first);

    let second: Vec<String> = (0..5).map(|n| format!("second {n}")).collect();
    kcat(&server, "-P -t log", &lines(&second));
    assert_eq!(sorted(kcat(&server, &format!("{group} -c 5 log"), "")), second);
}

#[test]
fn a_member_that_is_killed_is_replaced_after_its_session() {
    let server = Server::start().expect("the server starts");
    let sent: Vec<String> = (0..40).map(|n| format!("record {n:02}")).collect();
    kcat(&server, "-P -t left", &lines(&sent));
    let member = "-G pair -X auto.offset.reset=earliest -X session.timeout.ms=6000 -q -u";

    let mut first = Conversation::start(&mut command(&server, &format!("{member} left")), PATIENCE)
        .expect("kcat starts");
    first.expect("record").expect("the first member reads");
    // Dropping it kills it before it has committed or left.
    drop(first);
    assert_eq!(sorted(kcat(&server, &format!("{member} -c 40 left"), "")), sent);
}

#[test]
fn queries_offsets_by_time() {
    let server = Server::start().expect("the server starts");
    kcat(&server, "-P -t ticks -p 0", "one\ntwo\nthree\n");
    let table =
        [("-1", "ticks [0] offset 3"), ("-2", "ticks [0] offset 0"), ("1", "ticks [0] offset 0")];
    for (time, expected) in table {
        assert_eq!(kcat(&server, &format!("-Q -t ticks:0:{time}"), ""), [expected], "{time}");
    }
}

#[test]
fn reads_what_a_transaction_committed() {
    let server = Server::start().expect("the server starts");
    for round in ["one", "two"] {
        let sent = [format!("{round} a"), format!("{round} b")];
        kcat(&server, "-P -t moved -p 0 -X transactional.id=mover", &lines(&sent));
    }
    let read = "-C -t moved -o beginning -e -q -f %o|%s\\n -X isolation.level=read_committed";
    // Offsets 2 and 5 are the markers of the commits.
    assert_eq!(kcat(&server, read, ""), ["0|one a", "1|one b", "3|two a", "4|two b"]);
}

#[test]
fn reads_everything_back_after_kill_9() {
    let mut server = Server::start().expect("the server starts");
    let sent: Vec<String> = (0..2000).map(|n| format!("record {n:04}")).collect();
    kcat(&server, "-P -t kept -X acks=all", &lines(&sent));
    server.kill_and_restart().expect("the server starts again");
    assert_eq!(sorted(kcat(&server, "-C -t kept -o beginning -e -q", "")), sent);
}
