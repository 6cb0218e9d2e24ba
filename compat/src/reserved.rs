//! A port that stays a test's own, whoever listens on it and when.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use tokio::net::TcpSocket;

/// A port of this machine: bound for as long as this lives, and not listened on. So the system gives it to nobody
/// who asks for any port, to listen or to connect: a server may end and start again on it, whatever other tests
/// start in between.
///
/// A server that asks for this very port, and allows the address's reuse, gets it.
#[derive(Debug)]
pub struct ReservedPort {
    _bound: TcpSocket,
    address: String,
}

impl ReservedPort {
    /// A port that the system chooses.
    pub fn any() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("no socket")?;
        socket.set_reuseaddr(true).context("no reuse of an address")?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).context("no free port")?;
        let address = socket.local_addr().context("a socket without an address")?;
        Ok(Self { _bound: socket, address: address.to_string() })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_is_a_servers_again_and_again_and_nobody_elses() {
        let reserved: Vec<ReservedPort> =
            (0..200).map(|_| ReservedPort::any().expect("a port")).collect();
        let addresses: BTreeSet<&str> = reserved.iter().map(ReservedPort::address).collect();
        assert_eq!(addresses.len(), reserved.len());

        for _ in 0..3 {
            let listener = TcpListener::bind(reserved[0].address()).expect("it is ours");
            let client = TcpStream::connect(reserved[0].address()).expect("it listens");
            let (served, _) = listener.accept().expect("a client");
            drop((listener, client, served));
        }
        let asks_for_any = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let others: Vec<TcpListener> = (0..500).map(|_| asks_for_any()).collect();
        for other in others {
            let got = other.local_addr().expect("an address").to_string();
            assert!(!addresses.contains(got.as_str()), "{got} is reserved");
        }
    }
}
