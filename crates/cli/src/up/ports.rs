//! The three listeners, bound together or not at all.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::net::TcpListener;

use super::holder;
use crate::args::{HTTP_DEFAULT, KAFKA_DEFAULT, REGISTRY_DEFAULT, Up};
use crate::failure::{Exit, Failure};

#[derive(Debug)]
pub(super) struct Ports {
    pub(super) kafka: TcpListener,
    pub(super) http: TcpListener,
    pub(super) registry: TcpListener,
}

impl Ports {
    pub(super) async fn bind(said: &Up) -> Result<Self, Failure> {
        Ok(Self {
            kafka: bind("Kafka", "--kafka", &said.kafka, KAFKA_DEFAULT).await?,
            http: bind("the console", "--http", &said.http, HTTP_DEFAULT).await?,
            registry: bind("the schema registry", "--registry", &said.registry, REGISTRY_DEFAULT)
                .await?,
        })
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
