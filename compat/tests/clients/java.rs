//! Apache Kafka's own Java client: idempotent producer, group, administration, restart.

mod broker;
mod cluster;
mod conformance;
mod dump_log;
mod dump_stored;
mod kafka;
mod recordings;
mod secured;
mod stored;
mod streams;
mod written;

use std::process::Command;
use std::time::Duration;

use tidings_compat::{Conversation, Server, handed_over, run};

/// For one program from start to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A class of compat/java or of Apache Kafka, in a machine that is small and starts fast.
fn java(class: &str) -> Command {
    let jars = handed_over("TIDINGS_COMPAT_JARS");
    let mut path = jars.join("classes").into_os_string();
    path.push(":");
    path.push(jars.join("*"));
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx384m", "-cp"]);
    command.arg(path).arg(class);
    command
}

fn program(scenario: &str, server: &Server) -> Command {
    let mut command = java("Compat");
    command.args([scenario, server.kafka()]);
    command
}

fn check(scenario: &str) {
    let server = Server::start().expect("the server starts");
    let ended = run(&mut program(scenario, &server), "", PATIENCE).expect("the program ends");
    let said = ended.success().expect("the program is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

#[test]
fn produce_and_consume() {
    check("produce-consume");
}

#[test]
fn group_rebalance() {
    check("rebalance");
}

#[test]
fn subscription_by_a_pattern() {
    check("pattern");
}

#[test]
fn administration() {
    check("admin");
}

#[test]
fn restart() {
    let mut server = Server::start().expect("the server starts");
    let mut talk =
        Conversation::start(&mut program("restart", &server), PATIENCE).expect("it starts");
    talk.expect("half").expect("half of the records are sent");
    server.kill_and_restart().expect("the server starts again");
    talk.say("restarted\n").expect("the program listens");
    let said = talk.finish().expect("the program ends").success().expect("the program is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}
