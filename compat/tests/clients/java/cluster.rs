//! A real Apache Kafka cluster of three brokers that are their own controllers (KRaft), replication 3 and
//! two replicas in sync wanted, with its files in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;
use tidings_compat::{Conversation, Finished, ReservedPort, eventually, run};

use super::{PATIENCE, java};
use crate::librdkafka::config_at;

/// As operators have it, but for what would take long: no waiting for more members of a group, few
/// partitions of internal topics, and looks at retention and compaction all the time.
const CONFIG: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=5
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=200
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=200
log.initial.task.delay.ms=200
log.cleaner.backoff.ms=200
log.segment.delete.delay.ms=1000
num.partitions=4
";
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
const BROKERS: usize = 3;

/// Of one broker.
struct Ports {
    broker: ReservedPort,
    controller: ReservedPort,
}

/// Three brokers that answer; killed when dropped.
pub(super) struct Cluster {
    _brokers: Vec<Conversation>,
    ports: Vec<Ports>,
    _folder: TempDir,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let any = || ReservedPort::any().expect("a port");
        let ports: Vec<Ports> =
            (0..BROKERS).map(|_| Ports { broker: any(), controller: any() }).collect();
        let configs: Vec<PathBuf> =
            (0..BROKERS).map(|index| format(folder.path(), &ports, index)).collect();
        let start = |config: &PathBuf| {
            let mut command = java("kafka.Kafka");
            command.arg(config);
            Conversation::start(&mut command, PATIENCE).expect("it starts")
        };
        let brokers = configs.iter().map(start).collect();
        let cluster = Self { _brokers: brokers, ports, _folder: folder };
        let client: BaseConsumer = config_at(&cluster.addresses()).create().expect("a client");
        let all = eventually(PATIENCE, || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (metadata.brokers().len() == BROKERS).then_some(())
        });
        assert!(all.is_some(), "the brokers do not all answer");
        cluster
    }

    /// The cluster as an engine connects to it.
    pub(super) fn url(&self) -> String {
        format!("kafka://{}", self.addresses())
    }

    fn addresses(&self) -> String {
        let each = self.ports.iter().map(|ports| ports.broker.address());
        each.collect::<Vec<_>>().join(",")
    }
}

/// Writes the configuration of one broker and formats its folder.
fn format(folder: &Path, ports: &[Ports], index: usize) -> PathBuf {
    let voters = ports.iter().enumerate();
    let voters = voters.map(|(at, each)| format!("{}@{}", at + 1, each.controller.address()));
    let voters = voters.collect::<Vec<_>>().join(",");
    let [broker, controller] =
        [&ports[index].broker, &ports[index].controller].map(ReservedPort::address);
    let id = index + 1;
    let data = folder.join(format!("data-{id}"));
    let text = format!(
        "{CONFIG}\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{broker}\n\
         log.dirs={}\n",
        data.display()
    );
    let config = folder.join(format!("server-{id}.properties"));
    fs::write(&config, text).expect("written");
    let mut command = java("kafka.tools.StorageTool");
    command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&config);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("formatted");
    config
}
