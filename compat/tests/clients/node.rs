//! Node's clients: kafkajs, @platformatic/kafka.

use std::process::Command;

use tidings_compat::{handed_over, own_file};

use crate::scenarios;

#[test]
fn kafkajs_and_platformatic_see_what_kafka_shows() {
    scenarios::play(&["kafkajs", "platformatic"], |client| {
        let folder = handed_over("TIDINGS_COMPAT_NODE");
        let mut command = Command::new(folder.join("node"));
        command.env("NODE_PATH", folder.join("node_modules"));
        command.arg(own_file("node/scenarios.js")).arg(client);
        command
    });
}
