//! Python's clients: kafka-python, aiokafka, confluent-kafka.

use std::process::Command;
use std::time::Duration;

use tidings_compat::{Conversation, Server, handed_over, own_file};

use crate::scenarios;

/// For one conversation from start to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const CLIENTS: [&str; 3] = ["kafka-python", "aiokafka", "confluent-kafka"];

fn program(client: &str) -> Command {
    let mut command = Command::new(handed_over("TIDINGS_COMPAT_PYTHON"));
    command.arg("-u").arg(own_file("python/scenarios.py")).arg(client);
    command
}

#[test]
fn kafka_python_aiokafka_and_confluent_kafka_see_what_kafka_shows() {
    scenarios::play(&CLIENTS, program);
}

#[test]
fn what_was_acknowledged_is_read_after_kill_9() {
    for client in CLIENTS {
        let mut server = Server::start().expect("the server starts");
        let mut command = program(client);
        command.args([server.kafka(), "restart"]);
        let mut talk = Conversation::start(&mut command, PATIENCE).expect("it starts");
        talk.expect("half").expect("half of the records are sent");
        server.kill_and_restart().expect("the server starts again");
        talk.say("restarted\n").expect("the script listens");
        let said = talk.finish().expect("the script ends").success().expect("it is content");
        assert_eq!(said.last().map(String::as_str), Some("ok"), "{client}: {said:?}");
    }
}
