//! What the scenarios are played against.

use crate::server::Server;

/// A broker that listens.
#[derive(Debug)]
pub enum Broker {
    /// The built binary.
    Ours(Server),
    /// Somebody's broker, at this address.
    Theirs(String),
}

impl Broker {
    /// The built binary, started for the caller; or, to see what another broker shows, the one at
    /// `TIDINGS_COMPAT_BROKER`.
    pub fn under_test() -> anyhow::Result<Self> {
        match std::env::var("TIDINGS_COMPAT_BROKER") {
            Ok(address) => Ok(Self::Theirs(address)),
            Err(_) => Server::start().map(Self::Ours),
        }
    }

    /// `host:port` of its Kafka listener.
    pub fn kafka(&self) -> &str {
        match self {
            Self::Ours(server) => server.kafka(),
            Self::Theirs(address) => address,
        }
    }
}
