//! The peers: this project's binary, Apache Kafka as it comes, Apache Kafka that flushes each
//! batch, and Tansu, whose storage is its memory as its package builds it. Each is started on an empty folder and a port of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::light::Light;
use super::process::Process;

/// From its start until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two attempts to reach it.
const ATTEMPTS_EVERY: Duration = Duration::from_micros(500);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tidings,
    /// With its defaults: acknowledged when the page cache has it.
    Kafka,
    /// With `log.flush.interval.messages=1`: acknowledged when the disk has it.
    KafkaFlushing,
    /// In memory: it has no storage on a local disk without a database beside it.
    Tansu,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::Tidings, Self::Kafka, Self::KafkaFlushing, Self::Tansu];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::Kafka => "kafka",
            Self::KafkaFlushing => "kafka, flushing",
            Self::Tansu => "tansu",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) tidings: PathBuf,
    /// The folder of Apache Kafka's jars, if it is to be had.
    pub(super) jars: Option<PathBuf>,
    /// Tansu, if it is to be had.
    pub(super) tansu: Option<PathBuf>,
}

impl Programs {
    pub(super) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Tidings => true,
            Kind::Kafka | Kind::KafkaFlushing => self.jars.is_some(),
            Kind::Tansu => self.tansu.is_some(),
        }
    }
}

/// A peer that runs.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) process: Process,
    pub(super) address: String,
    folder: PathBuf,
}

impl Peer {
    /// Starts it on an empty folder; returns when it answers.
    pub(super) fn start(kind: Kind, programs: &Programs, folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        if matches!(kind, Kind::Kafka | Kind::KafkaFlushing) {
            format(kind, programs, &folder, &address)?;
        }
        Self::run(kind, programs, folder, address)
    }

    /// Ends it and starts it again on what it has.
    pub(super) fn restart(self, programs: &Programs) -> anyhow::Result<Self> {
        let Self { kind, process, address, folder } = self;
        process.stop()?;
        Self::run(kind, programs, folder, address)
    }

    fn run(
        kind: Kind,
        programs: &Programs,
        folder: PathBuf,
        address: String,
    ) -> anyhow::Result<Self> {
        let mut command = match kind {
            Kind::Tidings => tidings(programs, &folder, &address),
            Kind::Kafka | Kind::KafkaFlushing => {
                let mut command = java(programs, "-Xmx1g", "kafka.Kafka")?;
                command.arg(folder.join("server.properties"));
                command
            }
            Kind::Tansu => tansu(programs, &address)?,
        };
        let process = Process::start(&mut command, &folder.join("said"))?;
        let mut peer = Self { kind, process, address, folder };
        let begun = Instant::now();
        while Light::connect(&peer.address).and_then(|mut light| light.greet()).is_err() {
            peer.process.check().with_context(|| peer.said())?;
            ensure!(begun.elapsed() < READY_WITHIN, "{} does not answer", kind.name());
            std::thread::sleep(ATTEMPTS_EVERY);
        }
        Ok(peer)
    }

    /// Where its partitions are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }
}

fn tidings(programs: &Programs, folder: &Path, address: &str) -> Command {
    let mut command = Command::new(&programs.tidings);
    command.args(["up", "--kafka", address, "--http", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
    command.arg("--data").arg(folder.join("data"));
    command
}

fn tansu(programs: &Programs, address: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(programs.tansu.as_ref().context("there is no Tansu")?);
    let url = format!("tcp://{address}");
    command.args(["broker", "--storage-engine", "memory://tansu/"]);
    command.args(["--listener-url", &url, "--advertised-listener-url", &url]);
    Ok(command)
}

/// With the settings of Kafka's own start script.
pub(super) fn java(programs: &Programs, heap: &str, class: &str) -> anyhow::Result<Command> {
    let jars = programs.jars.as_ref().context("there are no jars of Apache Kafka")?;
    let mut command = Command::new("java");
    command.args(["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
    command.args(["-XX:InitiatingHeapOccupancyPercent=35", heap, "-cp"]);
    let jars = [jars.join("*"), jars.join("classes")].map(|path| path.display().to_string());
    command.arg(jars.join(":")).arg(class);
    Ok(command)
}

/// Writes Kafka's configuration and formats its folder. What is set beyond what a single broker
/// needs to start is the flushing, and the wait that a first rebalance begins with.
fn format(kind: Kind, programs: &Programs, folder: &Path, address: &str) -> anyhow::Result<()> {
    let controller = format!("127.0.0.1:{}", free_port()?);
    let flushing = if kind == Kind::KafkaFlushing { "log.flush.interval.messages=1\n" } else { "" };
    let text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers={controller}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         {flushing}\
         log.dirs={}\n",
        folder.join("data").display()
    );
    let config = folder.join("server.properties");
    fs::write(&config, text)?;
    let mut command = java(programs, "-Xmx256m", "kafka.tools.StorageTool")?;
    command.args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&config);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "Kafka's folder could not be formatted");
    Ok(())
}

/// A port that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
