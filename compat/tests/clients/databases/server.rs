//! A database server of a test's own: made, started, killed and started again. SQLite's is a folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tidings_compat::{ReservedPort, handed_over};

use super::PATIENCE;

/// The user `nobody`, where the test is root: servers refuse to be.
const NOBODY: &str = "65534";
/// Between two looks at whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct DatabaseServer {
    kind: Kind,
    folder: TempDir,
    port: ReservedPort,
    /// SQLite has none.
    child: Option<Child>,
}

impl DatabaseServer {
    /// A server without databases of anybody's, on a port of its own.
    pub(super) fn start(kind: Kind) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        if kind != Kind::Sqlite && is_root()? {
            let chown = Command::new("chown").arg(NOBODY).arg(folder.path()).status();
            ensure!(chown.context("could not run chown")?.success(), "chown failed");
        }
        make(kind, folder.path())?;
        let port = ReservedPort::any()?;
        let child = spawn(kind, folder.path(), port.address())?;
        Ok(Self { kind, folder, port, child })
    }

    /// Where sqlx finds the database that everybody has.
    pub(super) fn url(&self) -> String {
        match self.kind {
            Kind::Postgres => format!("postgres://tidings@{}/postgres", self.port.address()),
            Kind::MariaDb => format!("mysql://root@{}/tidings", self.port.address()),
            Kind::Sqlite => format!("sqlite://{}/shop.db?mode=rwc", self.folder.path().display()),
        }
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().expect("the server was alive");
            child.wait().expect("it is dead");
        }
    }

    /// A signal to the server's process, and not to others that it may have started.
    pub(super) fn tell(&self, signal: &str) {
        let id = self.child.as_ref().expect("a process").id().to_string();
        let told = Command::new("kill").args([signal, &id]).status();
        assert!(told.expect("kill runs").success(), "the server is already gone");
    }

    /// Starts it on the data that it has.
    pub(super) fn start_again(&mut self) {
        let begun = Instant::now();
        loop {
            let port = self.port.address();
            self.child = spawn(self.kind, self.folder.path(), port).expect("the server starts");
            // Processes of the killed one may be at work still, and it gives up.
            thread::sleep(LOOK_EVERY * 10);
            let Some(child) = &mut self.child else { return };
            if child.try_wait().expect("a child").is_none() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not start again");
        }
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        if thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let end = log.lines().rev().take(30).collect::<Vec<_>>();
            eprintln!("--- the end of the server's log");
            end.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn is_root() -> anyhow::Result<bool> {
    let said = Command::new("id").arg("-u").output().context("could not run id")?;
    Ok(said.stdout.trim_ascii() == b"0")
}

/// A command of somebody who is not root, with its output in the server's log.
fn command(program: PathBuf, folder: &Path) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = if is_root()? {
        let mut other = Command::new("setpriv");
        other.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
        other
    } else {
        Command::new(program)
    };
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    // MariaDB deletes the passing tables in it when it starts, whosever they are.
    command.env("TMPDIR", folder);
    command.stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// The tool that its family hands over, or one of the programs in it.
fn program(kind: Kind, name: &str) -> PathBuf {
    match kind {
        Kind::Postgres => handed_over("TIDINGS_COMPAT_POSTGRES").join(name),
        Kind::MariaDb if name == "mariadbd" => handed_over("TIDINGS_COMPAT_MARIADB"),
        Kind::MariaDb | Kind::Sqlite => PathBuf::from(name),
    }
}

fn make(kind: Kind, folder: &Path) -> anyhow::Result<()> {
    let data = folder.join("data");
    let mut make = match kind {
        Kind::Postgres => {
            let mut initdb = command(program(kind, "initdb"), folder)?;
            initdb.arg("-D").arg(data).args(["-U", "tidings", "-A", "trust", "--no-sync"]);
            initdb.args(["-E", "UTF8", "--locale=C"]);
            initdb
        }
        Kind::MariaDb => {
            let mut install = command(program(kind, "mariadb-install-db"), folder)?;
            install.args(["--no-defaults", "--basedir=/usr", "--skip-test-db"]);
            install.arg("--auth-root-authentication-method=normal");
            install.arg(format!("--datadir={}", data.display()));
            install
        }
        Kind::Sqlite => return Ok(()),
    };
    let ended = make.status().with_context(|| format!("could not start {make:?}"))?;
    let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    ensure!(ended.success(), "{make:?} ended with {ended}\n{}", log());
    Ok(())
}

/// Flushing to the disk is left out: only processes are killed here, and no machine.
fn spawn(kind: Kind, folder: &Path, address: &str) -> anyhow::Result<Option<Child>> {
    let (host, port) = address.rsplit_once(':').context("no port in the address")?;
    let data = folder.join("data");
    let mut server = match kind {
        Kind::Postgres => {
            let mut postgres = command(program(kind, "postgres"), folder)?;
            postgres.arg("-D").arg(data).args(["-h", host, "-p", port, "-F"]);
            postgres.args(["-c", "unix_socket_directories="]);
            postgres
        }
        Kind::MariaDb => {
            let init = folder.join("init.sql");
            std::fs::write(
                &init,
                "CREATE DATABASE IF NOT EXISTS tidings CHARACTER SET utf8mb4;\n",
            )?;
            let mut mariadbd = command(program(kind, "mariadbd"), folder)?;
            mariadbd.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
            mariadbd.arg(format!("--bind-address={host}")).arg(format!("--port={port}"));
            mariadbd.arg(format!("--socket={}", folder.join("socket").display()));
            mariadbd.args(["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2"]);
            mariadbd.arg(format!("--init-file={}", init.display()));
            mariadbd
        }
        Kind::Sqlite => return Ok(None),
    };
    server.spawn().map(Some).with_context(|| format!("could not start {server:?}"))
}
