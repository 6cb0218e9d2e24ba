//! The server under test: the built binary, started, killed and started again.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::deadline::eventually;
use crate::reserved::ReservedPort;
use crate::small_disk::SmallDisk;
use crate::terminate::terminate;

/// From start to its ready line; a debug build on two busy cores needs a small part of it.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// From SIGTERM to its end: what is in memory goes to the disk first.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// Runs a command that may have so many files open, beside those that clients in C have left open here.
const LIMITED: &str = r#"ulimit -n $(($1 + $(ls /proc/$$/fd | wc -l) - 3)) && shift && exec "$@""#;

/// `tidings up` with a data directory of its own. Killed when dropped; its log is shown when the
/// test failed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    data: PathBuf,
    ports: Ports,
    said: Said,
}

/// What is said beside data and addresses.
#[derive(Debug)]
struct Said {
    arguments: Vec<String>,
    files_max: Option<u32>,
}

/// Where it listens, from start to start.
#[derive(Debug)]
struct Ports {
    kafka: ReservedPort,
    http: ReservedPort,
    registry: ReservedPort,
}

impl Server {
    /// Starts on ports that the system chooses, and that stay its own while it is down.
    pub fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let data = folder.path().join("data");
        Self::start_in(folder, data, &[])
    }

    /// The same with these arguments.
    pub fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let data = folder.path().join("data");
        Self::start_in(folder, data, arguments)
    }

    /// The same for a process that may have no more than so many files open.
    pub fn start_with_files(files: u32) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let data = folder.path().join("data");
        Self::start_of(folder, data, &[], Some(files))
    }

    /// The same with its data on this disk; its log is elsewhere.
    pub fn start_on(disk: &SmallDisk) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        Self::start_in(folder, disk.path().join("data"), &[])
    }

    /// The same with its data below this folder.
    pub fn start_below(folder: &Path) -> anyhow::Result<Self> {
        let own = TempDir::new().context("no temporary directory")?;
        Self::start_in(own, folder.join("data"), &[])
    }

    fn start_in(folder: TempDir, data: PathBuf, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_of(folder, data, arguments, None)
    }

    fn start_of(
        folder: TempDir,
        data: PathBuf,
        arguments: &[&str],
        files_max: Option<u32>,
    ) -> anyhow::Result<Self> {
        let any = ReservedPort::any;
        let ports = Ports { kafka: any()?, http: any()?, registry: any()? };
        let arguments: Vec<String> = arguments.iter().map(|said| (*said).to_owned()).collect();
        let said = Said { arguments, files_max };
        let child = spawn(&folder, &data, &ports, &said)?;
        Ok(Self { child, folder, data, ports, said })
    }

    /// Kills the process with SIGKILL and starts it again on the same data and ports.
    pub fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("could not kill the server")?;
        self.child.wait().context("could not wait for the server")?;
        Ok(())
    }

    /// Stops every thread of the process where it is, until it is killed.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        ensure!(told.context("could not run kill")?.success(), "the server is already gone");
        let state = Path::new("/proc").join(self.child.id().to_string()).join("stat");
        let frozen = eventually(STOPPED_WITHIN, || {
            let stat = std::fs::read_to_string(&state).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
        frozen.context("the server does not stand still")
    }

    /// Stops it as an operator would, with SIGTERM, and waits for its end; it must end well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        terminate(&self.child)?;
        let ended = eventually(STOPPED_WITHIN, || self.child.try_wait().transpose());
        let status = ended.context("the server did not stop")?.context("could not wait for it")?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Starts a server that was stopped, on the same data and ports.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.folder, &self.data, &self.ports, &self.said)?;
        Ok(())
    }

    /// What the system shows of its process.
    pub fn process(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }

    /// A figure of its process in bytes, as `/proc` calls it: `VmRSS` is its memory now, `VmHWM` the
    /// most that it had.
    pub fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.process().join("status"))?;
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with(name)).context("no such figure")?;
        let kibibytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kibibytes * 1024)
    }

    /// How many sockets its process has open.
    pub fn open_sockets(&self) -> anyhow::Result<usize> {
        let open = std::fs::read_dir(self.process().join("fd"))?;
        // What is closed in between is not counted.
        let names = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Ok(names.filter(|name| name.to_string_lossy().starts_with("socket:")).count())
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `host:port` of the Kafka listener.
    pub fn kafka(&self) -> &str {
        self.ports.kafka.address()
    }

    /// `host:port` of the console.
    pub fn http(&self) -> &str {
        self.ports.http.address()
    }

    /// `host:port` of the schema registry.
    pub fn registry(&self) -> &str {
        self.ports.registry.address()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            let log = std::fs::read_to_string(log_of(&self.folder)).unwrap_or_default();
            eprintln!("--- the server's log\n{log}");
        }
    }
}

fn log_of(folder: &TempDir) -> PathBuf {
    folder.path().join("stderr.log")
}

/// The binary: handed over, or where `cargo build` puts it beside this test.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("TIDINGS_BINARY") {
        return Ok(binary.into());
    }
    let test = std::env::current_exe().context("no path of this test")?;
    let profile = test.parent().and_then(|deps| deps.parent()).context("no target directory")?;
    let binary = profile.join("tidings");
    ensure!(binary.is_file(), "{} is not built: run `cargo xtask compat`", binary.display());
    Ok(binary)
}

fn spawn(folder: &TempDir, data: &Path, ports: &Ports, said: &Said) -> anyhow::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_of(folder))
        .context("could not open the server's log")?;
    let binary = binary()?;
    let mut command = match said.files_max {
        None => Command::new(&binary),
        Some(files) => {
            let mut limited = Command::new("sh");
            limited.args(["-c", LIMITED, "sh", &files.to_string()]).arg(&binary);
            limited
        }
    };
    let mut child = command
        .arg("up")
        .arg("--data")
        .arg(data)
        .args(["--kafka", ports.kafka.address()])
        .args(["--http", ports.http.address()])
        .args(["--registry", ports.registry.address()])
        .args(&said.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("could not start {}", binary.display()))?;
    match ready(&mut child) {
        Ok(()) => Ok(child),
        Err(error) => {
            let _gone = child.kill();
            let _reaped = child.wait();
            let log = std::fs::read_to_string(log_of(folder)).unwrap_or_default();
            Err(error.context(format!("the server did not become ready\n{log}")))
        }
    }
}

/// Waits for the ready line; a thread keeps reading so that the server never blocks on its output.
fn ready(child: &mut Child) -> anyhow::Result<()> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (heard, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens after the ready line.
            let _unheard = heard.send(line);
        }
    });
    loop {
        let line = lines.recv_timeout(READY_WITHIN).context("no ready line")?;
        let said: Value = serde_json::from_str(&line)
            .with_context(|| format!("a line that is not JSON: {line}"))?;
        if said["event"] == "ready" {
            return Ok(());
        }
    }
}
