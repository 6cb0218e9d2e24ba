//! Who may ask over HTTP, and under which names: from arguments to the gateway's guard.
//!
//! What other machines can reach asks for credentials, unless it is said that it shall not.

use std::io::Read as _;
use std::path::Path;

use tidings_gateway::{Access, AccessOptions, Accounts};
use tidings_terminal::failure::{Exit, Failure};

use super::ports::Ports;
use super::screen::reachable;
use crate::args::Up;
use crate::limits::ACCOUNTS_BYTES_MAX;

/// As said, for these listeners; refused when they would be open to others by oversight.
pub(super) fn access(said: &Up, ports: &Ports) -> Result<Access, Failure> {
    let of_others = |listener: &tokio::net::TcpListener| {
        listener.local_addr().ok().filter(|at| !at.ip().is_loopback())
    };
    let listeners = [("--http", &ports.http), ("--registry", &ports.registry)];
    let mut hosts = said.http_host.clone();
    for (flag, listener) in listeners {
        let Some(at) = of_others(listener) else { continue };
        if said.http_auth_file.is_none() && !said.insecure {
            return Err(Failure::new(
                Exit::Usage,
                format!("{flag} {at} is open to other machines"),
            )
            .why("whoever reaches it could read and change everything: nothing asks who they are")
            .hint(
                "--http-auth-file FILE with a line NAME:HASH or a token, or --insecure where \
                     nobody else can reach it",
            ));
        }
        // The name that the first screen shows for an address that is every address.
        if at.ip().is_unspecified() {
            hosts.push(reachable(at));
        }
    }
    let accounts = said.http_auth_file.as_deref().map(accounts).transpose()?;
    let options = AccessOptions { hosts, accounts, open_metrics: said.http_open_metrics };
    Access::new(options).map_err(|bad| {
        Failure::new(Exit::Usage, "--http-host is not understood")
            .why(bad)
            .hint("--http-host log.example.com, or --http-host '*' for every name")
    })
}

fn accounts(path: &Path) -> Result<Accounts, Failure> {
    let unusable = |why: String| {
        Failure::new(Exit::Usage, format!("{} names nobody who may ask", path.display()))
            .why(why)
            .hint("a line for each: NAME:HASH as `htpasswd -nB NAME` makes it, or a token such as of `openssl rand -hex 32`")
    };
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read =
        file.and_then(|file| file.take(ACCOUNTS_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| unusable(error.to_string()))?;
    if text.len() > ACCOUNTS_BYTES_MAX {
        return Err(unusable(format!("it has more than {ACCOUNTS_BYTES_MAX} bytes")));
    }
    Accounts::parse(&text).map_err(|bad| unusable(bad.to_string()))
}
