//! A real Apache Kafka broker, started on the partition folders that the binary wrote: it serves the
//! same records and appends after them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;
use tidings_compat::{Conversation, Finished, eventually, handed_over, run};

use super::PATIENCE;
use super::written::{KINDS, Written, create, entries, everything};
use crate::librdkafka::config_at;

/// A broker that is its own controller, with its files in a folder.
struct Kafka {
    running: Conversation,
    address: String,
}

fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-Xmx384m", "-cp"]);
    command.arg(handed_over("TIDINGS_COMPAT_JARS").join("*")).arg(class);
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Writes the configuration and formats the folder.
fn format(folder: &Path) -> String {
    let (broker, controller) = (free_port(), free_port());
    let data = folder.join("data");
    let text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n",
        data.display()
    );
    let config = folder.join("server.properties");
    fs::write(&config, text).expect("written");
    let mut command = java("kafka.tools.StorageTool");
    command.args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(config);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("formatted");
    format!("127.0.0.1:{broker}")
}

impl Kafka {
    fn start(folder: &Path, address: &str) -> Self {
        let mut command = java("kafka.Kafka");
        command.arg(folder.join("server.properties"));
        let running = Conversation::start(&mut command, PATIENCE).expect("it starts");
        let client: BaseConsumer =
            config_at(address).set("group.id", "looker").create().expect("a client");
        let ready = eventually(PATIENCE, || {
            client.fetch_metadata(None, std::time::Duration::from_secs(1)).ok()
        });
        assert!(ready.is_some(), "Kafka does not answer");
        Self { running, address: address.to_owned() }
    }

    fn stop(self) {
        self.running.terminate().expect("it is there");
        self.running.finish().expect("it ends");
    }
}

/// Puts our files in the place of Kafka's; what Kafka knows of the topic by its id stays.
fn replace(kafkas: &Path, ours: &Path) {
    for file in entries(kafkas) {
        if !file.ends_with("partition.metadata") {
            fs::remove_file(file).expect("removed");
        }
    }
    for file in entries(ours) {
        let name = file.file_name().expect("a name");
        if name != "partition.metadata" {
            fs::copy(&file, kafkas.join(name)).expect("copied");
        }
    }
}

#[test]
fn a_kafka_broker_serves_the_same_records_from_our_folders() {
    let written = Written::make();
    let folder = TempDir::new().expect("a folder");
    let address = format(folder.path());
    let kafka = Kafka::start(folder.path(), &address);
    create(&kafka.address);
    kafka.stop();

    for kind in &KINDS {
        for partition in 0..kind.partitions {
            let name = format!("{}-{partition}", kind.topic);
            replace(
                &folder.path().join("data").join(&name),
                &written.folder(kind.topic, partition),
            );
        }
    }
    let kafka = Kafka::start(folder.path(), &address);
    for (kind, ours) in KINDS.iter().zip(&written.read) {
        let read = everything(&kafka.address, kind);
        assert!(read == *ours, "{} reads differently from Kafka", kind.topic);
    }
    kafka.stop();
}
