//! The listeners, bound together or not at all.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tidings_terminal::failure::{Exit, Failure};
use tokio::net::TcpListener;

use super::holder;
use crate::args::{HTTP_DEFAULT, KAFKA_DEFAULT, REGISTRY_DEFAULT, Up};

#[derive(Debug)]
pub(super) struct Ports {
    /// One for each broker: on ports in a row from the first on, or each on a free one. None where a
    /// cluster's brokers listen.
    pub(super) kafka: Vec<TcpListener>,
    pub(super) http: TcpListener,
    pub(super) registry: TcpListener,
}

impl Ports {
    pub(super) async fn bind(said: &Up) -> Result<Self, Failure> {
        let brokers = if said.engine.is_none() { said.virtual_brokers } else { 0 };
        Ok(Self {
            kafka: bind_brokers(&said.kafka, brokers).await?,
            http: bind("the console", "--http", &said.http, HTTP_DEFAULT).await?,
            registry: bind("the schema registry", "--registry", &said.registry, REGISTRY_DEFAULT)
                .await?,
        })
    }
}

async fn bind_brokers(said: &str, brokers: i32) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for index in 0..brokers {
        let at = nth(said, index).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{brokers} brokers have no room from {said} on"))
                .hint("--kafka HOST:PORT with a smaller port, or port 0 for any free ones")
        })?;
        listeners.push(bind("Kafka", "--kafka", &at, KAFKA_DEFAULT).await?);
    }
    Ok(listeners)
}

/// The address that many ports further; the same one for port 0, which is any free one.
fn nth(said: &str, index: i32) -> Option<String> {
    match said.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if port > 0 => {
            let port = port.checked_add(u16::try_from(index).ok()?)?;
            Some(format!("{host}:{port}"))
        }
        // What is no address is refused where it is bound.
        _ => Some(said.to_owned()),
    }
}

async fn bind(whose: &str, flag: &str, said: &str, instance: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(said).await;
    listener.map_err(|e| {
        let failure = Failure::new(Exit::Conflict, format!("{whose} cannot listen on {said}"));
        let other = format!("{flag} HOST:PORT with another port");
        match e.kind() {
            io::ErrorKind::AddrInUse => {
                let port = said.to_socket_addrs().ok().and_then(|mut all| all.next());
                let holder = port.as_ref().map(SocketAddr::port).and_then(holder::of_port);
                let why = match holder {
                    Some(holder) => format!("the port is held by {holder}"),
                    None => "the port is held by a process that cannot be seen".to_owned(),
                };
                failure.why(why).hint(format!("stop that process, or {other}"))
            }
            io::ErrorKind::InvalidInput => {
                Failure::new(Exit::Usage, format!("{said:?} is no address to listen on"))
                    .why(format!("HOST:PORT is wanted, for instance {instance}"))
                    .hint(format!("{flag} {instance}"))
            }
            _ => failure.why(e).hint(other),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::nth;

    #[test]
    fn brokers_have_ports_in_a_row_or_any_free_ones() {
        let cases = [
            ("127.0.0.1:9092", 0, Some("127.0.0.1:9092")),
            ("127.0.0.1:9092", 2, Some("127.0.0.1:9094")),
            ("[::1]:9092", 1, Some("[::1]:9093")),
            ("127.0.0.1:0", 2, Some("127.0.0.1:0")),
            ("127.0.0.1:65535", 1, None),
            ("nonsense", 1, Some("nonsense")),
        ];
        for (said, index, expected) in cases {
            assert_eq!(nth(said, index).as_deref(), expected, "{said} {index}");
        }
    }
}
