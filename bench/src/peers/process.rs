//! A peer's process: started, looked at through `/proc`, ended.
//!
//! What it says goes to a file beside its data. It is killed when dropped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// The kernel counts processor time in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// From SIGTERM to its end.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts it with what it says in the file `said`.
    pub(super) fn start(command: &mut Command, said: &Path) -> anyhow::Result<Self> {
        let log = File::create(said)?;
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Cargo's own path would put the librdkafka of this build in front of others.
        let child = command.env_remove("LD_LIBRARY_PATH").spawn();
        let program = command.get_program().display().to_string();
        Ok(Self { child: child.with_context(|| format!("could not start {program}"))? })
    }

    /// Asks it to end, as an operator would, and waits.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "the peer is already gone");
        let asked = std::time::Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < STOPPED_WITHIN, "the peer does not stop");
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the peer ended with {status}"),
        }
    }

    /// Processor time of all its threads so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.proc("stat")?;
        // The program's name, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok());
        let (user, system) = (ticks(11).context("no utime")?, ticks(12).context("no stime")?);
        Ok(TICK * (user + system))
    }

    /// Bytes of memory it holds now.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most bytes of memory it has held.
    pub(super) fn peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// Bytes that had to come from a disk for it.
    pub(super) fn disk_reads(&self) -> anyhow::Result<u64> {
        let text = self.proc("io")?;
        let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
        Ok(line.context("no read_bytes")?.parse()?)
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kib = line.split_ascii_whitespace().next().context("no number")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| path)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
