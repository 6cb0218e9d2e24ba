//! Which process listens on a port, as far as Linux's `/proc` tells this user.

use std::fmt;
use std::fs;
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pid: String,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// The process that listens on this TCP port.
pub(super) fn of_port(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let inodes: Vec<_> =
        tables.iter().flatten().flat_map(|table| listening_inodes(table, port)).collect();
    if inodes.is_empty() {
        return None;
    }
    let sockets: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let mut pids = pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let pid = pids.find(|pid| has_open(pid, &sockets))?;
    let name = name_of(&pid);
    Some(Holder { pid, name })
}

/// The name of a process, or a question mark.
pub(crate) fn name_of(pid: &str) -> String {
    let name = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("comm"));
    name.map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// Whether one of the process's files is one of these sockets; no where they may not be seen.
fn has_open(pid: &str, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(Path::new("/proc").join(pid).join("fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.to_str().is_some_and(|t| sockets.iter().any(|socket| socket == t)))
}

/// Inodes of the sockets in a table of `/proc/net` that listen on the port.
fn listening_inodes(table: &str, port: u16) -> Vec<&str> {
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = rows.filter_map(|row| match row[..] {
        [_, local, _, LISTEN, _, _, _, _, _, inode, ..] if local.ends_with(&end) => Some(inode),
        _ => None,
    });
    listening.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0
   1: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0";

    #[test]
    fn only_listeners_on_the_port_count() {
        assert_eq!(listening_inodes(TABLE, 9092), ["111"]);
        assert_eq!(listening_inodes(TABLE, 8080), ["333"]);
        assert_eq!(listening_inodes(TABLE, 8081), Vec::<&str>::new());
    }

    #[test]
    fn a_port_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = of_port(port).unwrap();
        assert_eq!(holder.pid, std::process::id().to_string());
        drop(listener);
        assert_eq!(of_port(port), None);
    }
}
