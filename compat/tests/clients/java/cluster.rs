//! A real Apache Kafka cluster of three brokers that are their own controllers (KRaft), replication 3 and
//! two replicas in sync wanted, with its files in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;
use tidings_compat::{Conversation, ReservedPort, eventually};

use super::{PATIENCE, java};
use crate::librdkafka::config_at;

/// As operators have it, but for what would take long: no waiting for more members of a group, few
/// partitions of internal topics, and looks at retention and compaction all the time. The timeouts are those of
/// operators who want a lost broker replaced within seconds; docs/operations.md gives them.
const CONFIG: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BETWEEN:PLAINTEXT
inter.broker.listener.name=BETWEEN
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
controller.quorum.fetch.timeout.ms=800
controller.quorum.election.timeout.ms=500
controller.quorum.election.backoff.max.ms=200
controller.quorum.request.timeout.ms=1000
controller.socket.timeout.ms=2000
request.timeout.ms=2500
replica.socket.timeout.ms=2000
replica.lag.time.max.ms=3000
socket.connection.setup.timeout.ms=1000
socket.connection.setup.timeout.max.ms=2000
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
pub(super) const BROKERS: usize = 3;
/// From its start until a broker is in sync with the others, and for as long as drills go on.
const LIFE: Duration = Duration::from_secs(600);

/// Where a broker is heard: by clients, by the other brokers, as a controller.
pub(super) trait Place {
    fn addresses(&self) -> [&str; 3];

    /// A command that runs there.
    fn command(&self, command: Command) -> Command;
}

/// On this machine's own addresses.
struct Loopback([ReservedPort; 3]);

impl Loopback {
    fn any() -> Self {
        Self(std::array::from_fn(|_| ReservedPort::any().expect("a port")))
    }
}

impl Place for Loopback {
    fn addresses(&self) -> [&str; 3] {
        self.0.each_ref().map(ReservedPort::address)
    }

    fn command(&self, command: Command) -> Command {
        command
    }
}

/// Three brokers that answer; killed when dropped.
pub(super) struct Cluster {
    /// None of those that do not run.
    running: Vec<Option<Conversation>>,
    configs: Vec<PathBuf>,
    places: Vec<Box<dyn Place>>,
    client: BaseConsumer,
    _folder: TempDir,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let any = || Box::new(Loopback::any()) as Box<dyn Place>;
        Self::start_at((0..BROKERS).map(|_| any()).collect())
    }

    /// Each broker at its place.
    pub(super) fn start_at(places: Vec<Box<dyn Place>>) -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let configs: Vec<PathBuf> =
            (0..places.len()).map(|index| format(folder.path(), &places, index)).collect();
        let client = config_at(&addresses(&places)).create().expect("a client");
        let running = places.iter().map(|_| None).collect();
        let mut cluster = Self { running, configs, places, client, _folder: folder };
        for index in 0..cluster.places.len() {
            cluster.start_broker(index);
        }
        let all = eventually(PATIENCE, || {
            let metadata = cluster.client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (metadata.brokers().len() == cluster.places.len()).then_some(())
        });
        assert!(all.is_some(), "the brokers do not all answer");
        cluster
    }

    /// The cluster as an engine connects to it.
    pub(super) fn url(&self) -> String {
        format!("kafka://{}", addresses(&self.places))
    }

    /// Starts a broker that does not run.
    pub(super) fn start_broker(&mut self, index: usize) {
        let mut command = java("kafka.Kafka");
        command.arg(&self.configs[index]);
        let mut command = self.places[index].command(command);
        let started = Conversation::start(&mut command, LIFE).expect("it starts");
        assert!(self.running[index].replace(started).is_none(), "broker {index} runs already");
    }

    /// Kills a broker with SIGKILL.
    pub(super) fn kill(&mut self, index: usize) {
        // Dropped conversations are killed.
        drop(self.running[index].take().expect("it runs"));
    }

    /// Stops a broker as an operator would: it hands its partitions over first.
    pub(super) fn stop(&mut self, index: usize) {
        let running = self.running[index].take().expect("it runs");
        running.terminate().expect("it is there");
        running.finish().expect("it ends");
    }

    /// The broker that leads a partition.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<usize> {
        let metadata = self.client.fetch_metadata(Some(topic), Duration::from_secs(1)).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        let leader = partitions.iter().find(|at| at.id() == partition)?.leader();
        usize::try_from(leader - 1).ok()
    }

    /// Waits until every partition has a leader and all of its replicas in sync.
    pub(super) fn wait_in_sync(&self) {
        let in_sync = eventually(PATIENCE, || {
            let metadata = self.client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let is_whole = |at: &rdkafka::metadata::MetadataPartition| {
                at.leader() > 0 && at.isr().len() == at.replicas().len()
            };
            partitions.all(is_whole).then_some(())
        });
        assert!(in_sync.is_some(), "the replicas do not come into sync");
    }
}

fn addresses(places: &[Box<dyn Place>]) -> String {
    places.iter().map(|place| place.addresses()[0]).collect::<Vec<_>>().join(",")
}

/// Writes the configuration of one broker and formats its folder.
fn format(folder: &Path, places: &[Box<dyn Place>], index: usize) -> PathBuf {
    let voters = places.iter().enumerate();
    let voters = voters.map(|(at, each)| format!("{}@{}", at + 1, each.addresses()[2]));
    let voters = voters.collect::<Vec<_>>().join(",");
    let [clients, between, controller] = places[index].addresses();
    let id = index + 1;
    let data = folder.join(format!("data-{id}"));
    let open = format!("PLAINTEXT://{clients},BETWEEN://{between}");
    let text = format!(
        "{CONFIG}\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners={open},CONTROLLER://{controller}\n\
         advertised.listeners={open}\n\
         log.dirs={}\n",
        data.display()
    );
    let config = folder.join(format!("server-{id}.properties"));
    fs::write(&config, text).expect("written");
    super::format(&config, &[]);
    config
}
