//! kafka-python and confluent-kafka: produce, consume, group rebalance, restart, administration.

use std::process::Command;
use std::time::Duration;

use tidings_compat::{Conversation, Server, handed_over, own_file, run};

/// For one script from start to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const CLIENTS: [&str; 2] = ["kafka_python", "confluent"];

fn script(client: &str, scenario: &str, server: &Server) -> Command {
    let mut command = Command::new(handed_over("TIDINGS_COMPAT_PYTHON"));
    command.arg("-u").arg(own_file(&format!("python/{client}_scenarios.py")));
    command.args([scenario, server.kafka()]);
    command
}

/// Scripts check what they see themselves; `ok` is their last line.
fn check(client: &str, scenario: &str) {
    let server = Server::start().expect("the server starts");
    let ended = run(&mut script(client, scenario, &server), "", PATIENCE).expect("the script ends");
    let said = ended.success().expect("the script is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

fn check_restart(client: &str) {
    let mut server = Server::start().expect("the server starts");
    let mut talk =
        Conversation::start(&mut script(client, "restart", &server), PATIENCE).expect("it starts");
    talk.expect("half").expect("half of the records are sent");
    server.kill_and_restart().expect("the server starts again");
    talk.say("restarted\n").expect("the script listens");
    let said = talk.finish().expect("the script ends").success().expect("the script is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

#[test]
fn produce_and_consume() {
    for client in CLIENTS {
        check(client, "produce-consume");
    }
}

#[test]
fn group_rebalance() {
    for client in CLIENTS {
        check(client, "rebalance");
    }
}

#[test]
fn administration() {
    for client in CLIENTS {
        check(client, "admin");
    }
}

#[test]
fn restart() {
    for client in CLIENTS {
        check_restart(client);
    }
}
