//! Go's clients: franz-go, sarama, kafka-go.

use std::process::Command;

use tidings_compat::handed_over;

use crate::scenarios;

#[test]
fn franz_go_sarama_and_kafka_go_see_what_kafka_shows() {
    scenarios::play(&["franz-go", "sarama", "kafka-go"], |client| {
        let mut command = Command::new(handed_over("TIDINGS_COMPAT_GO"));
        command.arg(client);
        command
    });
}
