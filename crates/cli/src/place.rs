//! Where an engine is: a cluster's URL, or a data directory that no process has open.

use std::path::{Path, PathBuf};

use tidings_engine::{ConnectTrouble, Engine, Error};
use tidings_node::{Node, NodeConfig, NodeError, raise_open_files};
use tidings_terminal::failure::{Exit, Failure};

use crate::up::process_name;

/// Every data directory has it from its first start on.
const JOURNAL: &str = "journal";

const HINTS: [&str; 2] = [
    "stop that process; or name its Kafka port: kafka://127.0.0.1:9092",
    "`tidings log verify` says what is wrong with it",
];

/// Where, as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cluster(String),
    Directory(PathBuf),
}

/// What to do about a data directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Refused,
    Made,
}

impl Place {
    pub(crate) fn of(said: &str) -> Self {
        if said.contains("://") && !said.starts_with("file://") {
            return Self::Cluster(said.to_owned());
        }
        let path = said.strip_prefix("file://").or_else(|| said.strip_prefix("file:"));
        Self::Directory(PathBuf::from(path.unwrap_or(said)))
    }

    pub(crate) async fn open(&self, absent: Absent) -> Result<Engine, Failure> {
        match self {
            Self::Cluster(url) => {
                Engine::connect(url).await.map_err(|error| not_connected(url, &error))
            }
            Self::Directory(path) => open_directory(path, absent).await,
        }
    }
}

async fn open_directory(path: &Path, absent: Absent) -> Result<Engine, Failure> {
    let shown = path.display();
    let is_data = path.join(JOURNAL).is_dir();
    if !is_data && absent == Absent::Refused {
        let failure = match path.exists() {
            true => Failure::new(Exit::NotFound, format!("{shown} is no data directory"))
                .why(format!("it has no {JOURNAL}")),
            false => Failure::new(Exit::NotFound, format!("there is no {shown}")),
        };
        return Err(failure.hint("the DIR of `tidings up --data DIR`, or kafka://HOST:PORT"));
    }
    let foreign = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if !is_data && foreign() {
        return Err(Failure::new(Exit::Conflict, format!("{shown} holds something else"))
            .why(format!("it is not empty, and has no {JOURNAL}"))
            .hint("a new directory, which is made"));
    }
    // Without it the limit stays what it is, which does for a small log.
    let (Ok(_) | Err(_)) = raise_open_files();
    let dir = path.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || Node::open(dir, NodeConfig::default())).await;
    let opened = opened.map_err(|e| Failure::failed("the log does not start").why(e))?;
    let (node, report) = opened.map_err(|error| not_opened(path, &error, HINTS))?;
    for finding in &report.findings {
        eprintln!("recovered: {finding}");
    }
    Ok(Engine::embedded(node))
}

/// A data directory that cannot be opened; the hints are for one that is in use and for any other.
pub(crate) fn not_opened(path: &Path, error: &NodeError, [in_use, other]: [&str; 2]) -> Failure {
    let shown = path.display();
    match error {
        NodeError::Locked { pid, .. } => {
            Failure::new(Exit::Conflict, format!("the data in {shown} is in use"))
                .why(format!("process {pid} ({}) has it open", process_name(pid)))
                .hint(in_use)
        }
        error => {
            Failure::failed(format!("the data in {shown} cannot be opened")).why(error).hint(other)
        }
    }
}

/// A cluster that cannot be connected to; `beside` is one more thing to try when nobody answers.
pub(crate) fn unreached(address: &str, trouble: &ConnectTrouble, beside: &str) -> Failure {
    let (what, beside) = match trouble {
        ConnectTrouble::Unreachable(_) => ("no broker answers at", beside),
        ConnectTrouble::Tls(_) => ("TLS does not work at", ""),
        ConnectTrouble::Denied(_) => ("the credentials are not accepted at", ""),
        ConnectTrouble::Unusable(_) => ("there is no way to connect to", ""),
        ConnectTrouble::TooOld(_) => ("the brokers are too old at", ""),
    };
    let failure = Failure::failed(format!("{what} {address}")).why(trouble.cause());
    failure.hint(format!("{}{beside}", trouble.hint()))
}

fn not_connected(url: &str, error: &Error) -> Failure {
    match error {
        Error::Invalid(why) => {
            Failure::new(Exit::Usage, format!("{url} cannot be connected to")).why(why)
        }
        Error::Connect { address, trouble } => {
            unreached(address, trouble, "; a node is started with `tidings up`")
        }
        error => Failure::failed(format!("{url} cannot be connected to")).why(error),
    }
}

/// A failure of an engine in the middle of something.
pub(crate) fn failed(what: impl Into<String>, error: &Error) -> Failure {
    let exit = match error {
        Error::UnknownTopic(_) => Exit::NotFound,
        Error::TopicExists(_) | Error::Fenced(_) => Exit::Conflict,
        _ => Exit::Failed,
    };
    Failure::new(exit, what).why(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_cluster_and_all_else_a_directory() {
        let directory = |path: &str| Place::Directory(PathBuf::from(path));
        for (said, place) in [
            ("kafka://a:1,b:2?tls=true", Place::Cluster("kafka://a:1,b:2?tls=true".to_owned())),
            ("http://a", Place::Cluster("http://a".to_owned())),
            ("./data", directory("./data")),
            ("file:data", directory("data")),
            ("file:///var/data", directory("/var/data")),
        ] {
            assert_eq!(Place::of(said), place, "{said}");
        }
    }
}
