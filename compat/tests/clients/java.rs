//! Apache Kafka's own Java client, its tools and itself.

mod apart;
mod broker;
mod cluster;
mod conformance;
mod copy;
mod doctor;
mod dump_epochs;
mod dump_groups;
mod dump_log;
mod dump_stored;
mod failover;
mod kafka;
mod ordered;
mod probe;
mod recordings;
mod secured;
mod stored;
mod streams;
mod upon;
mod written;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidings_compat::{Conversation, Finished, Server, handed_over, run};

use crate::scenarios;

/// For one program from start to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A class of compat/java or of Apache Kafka, in a machine that is small and starts fast.
fn java(class: &str) -> Command {
    with_jars(&handed_over("TIDINGS_COMPAT_JARS"), class)
}

/// The same with the jars of this folder.
fn with_jars(folder: &Path, class: &str) -> Command {
    let mut path = handed_over("TIDINGS_COMPAT_JARS").join("classes").into_os_string();
    path.push(":");
    path.push(folder.join("*"));
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx384m", "-cp"]);
    command.arg(path).arg(class);
    command
}

/// Formats the folder of a broker of Apache Kafka, as its configuration says.
fn format(config: &Path, more: &[String]) {
    let mut command = java("kafka.tools.StorageTool");
    command.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(config).args(more);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("formatted");
}

#[test]
fn the_java_client_and_its_last_one_of_before_4_see_what_kafka_shows() {
    scenarios::play(&["java", "java-3.9"], |client| {
        let jars = handed_over("TIDINGS_COMPAT_JARS");
        let folder = if client == "java" { jars } else { jars.join("older") };
        let mut command = with_jars(&folder, "scenarios.Scenarios");
        command.arg(client);
        command
    });
}

fn program(server: &Server, what: &str) -> Command {
    let mut command = java("scenarios.Scenarios");
    command.args(["java", server.kafka(), what]);
    command
}

#[test]
fn subscription_by_a_pattern() {
    let server = Server::start().expect("the server starts");
    let ended = run(&mut program(&server, "pattern"), "", PATIENCE).expect("the program ends");
    let said = ended.success().expect("the program is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

#[test]
fn restart() {
    let mut server = Server::start().expect("the server starts");
    let mut talk =
        Conversation::start(&mut program(&server, "restart"), PATIENCE).expect("it starts");
    talk.expect("half").expect("half of the records are sent");
    server.kill_and_restart().expect("the server starts again");
    talk.say("restarted\n").expect("the program listens");
    let said = talk.finish().expect("the program ends").success().expect("the program is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}
