//! A real Apache Kafka broker that is its own controller, with its files in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tidings_compat::{Conversation, ReservedPort, eventually};

use super::{PATIENCE, java};
use crate::librdkafka::config_at;

/// As this server is: one node, numbered 1, one partition of each internal topic, no waiting for more
/// members of a group.
const CONFIG: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.partitions=4
";

/// A formatted broker that does not run.
pub(super) struct Formatted {
    config: PathBuf,
    /// The broker's and the controller's.
    ports: [ReservedPort; 2],
}

/// A broker that answers; killed when dropped.
pub(super) struct Kafka {
    running: Conversation,
    formatted: Formatted,
}

impl Kafka {
    /// Writes the configuration and formats the folder; its data will be in `data`.
    pub(super) fn format(folder: &Path) -> Formatted {
        let any = || ReservedPort::any().expect("a port");
        let ports = [any(), any()];
        let [broker, controller] = ports.each_ref().map(ReservedPort::address);
        let listeners = format!("PLAINTEXT://{broker},CONTROLLER://{controller}");
        let text = format!(
            "{CONFIG}\
             controller.quorum.bootstrap.servers={controller}\n\
             listeners={listeners}\n\
             advertised.listeners={listeners}\n\
             log.dirs={}\n",
            folder.join("data").display()
        );
        let config = folder.join("server.properties");
        fs::write(&config, text).expect("written");
        super::format(&config, &["--standalone".to_owned()]);
        Formatted { config, ports }
    }

    /// `host:port` of its listener.
    pub(super) fn address(&self) -> &str {
        self.formatted.ports[0].address()
    }

    /// Stops it as an operator would.
    pub(super) fn stop(self) -> Formatted {
        self.running.terminate().expect("it is there");
        self.running.finish().expect("it ends");
        self.formatted
    }
}

impl Formatted {
    /// Starts it and waits until it answers.
    pub(super) fn start(self) -> Kafka {
        let mut command = java("kafka.Kafka");
        command.arg(&self.config);
        let running = Conversation::start(&mut command, PATIENCE).expect("it starts");
        let client: BaseConsumer = config_at(self.ports[0].address()).create().expect("a client");
        let ready =
            eventually(PATIENCE, || client.fetch_metadata(None, Duration::from_secs(1)).ok());
        assert!(ready.is_some(), "Kafka does not answer");
        Kafka { running, formatted: self }
    }
}
