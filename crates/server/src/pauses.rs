//! Pauses of clients that have used more than their quotas allow (KIP-219).
//!
//! The answer goes out at once and says how long the pause is; until it is over nothing more is read
//! from its connection. Requests that were read before are still answered, and other connections
//! are not touched. New connections from an address with a quota may be closed unserved.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_broker::Client;
use tokio::sync::watch;
use tokio::time::Instant;

/// The user of a connection that has not said who it is.
const ANONYMOUS: &str = "ANONYMOUS";

/// One connection's pause, and who its requests are charged to.
#[derive(Debug)]
pub(crate) struct Pauses {
    until: watch::Sender<Option<Instant>>,
    /// Who asked last: a connection's client mostly keeps its name.
    client: Mutex<Option<Arc<Client>>>,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { until: watch::Sender::new(None), client: Mutex::new(None) }
    }

    /// Who asks in a request with this client id.
    pub(crate) fn client(&self, ip: IpAddr, client_id: Option<&str>) -> Arc<Client> {
        let client_id = client_id.unwrap_or_default();
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) if client.client_id == client_id => Arc::clone(client),
            _ => {
                let (user, client_id) = (ANONYMOUS.to_owned(), client_id.to_owned());
                let new = Arc::new(Client { user, client_id, ip });
                *client = Some(Arc::clone(&new));
                new
            }
        }
    }

    /// Nothing more is read for so long from now on.
    pub(crate) fn begin(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.until.send_if_modified(|before| {
            let longer = before.is_none_or(|before| before < until);
            if longer {
                *before = Some(until);
            }
            longer
        });
    }

    /// Waits until the connection may be read.
    pub(crate) async fn over(&self) {
        let mut until = self.until.subscribe();
        loop {
            let Some(end) = *until.borrow_and_update() else { return };
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                // A longer one has begun.
                _ = until.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_lasts_until_the_latest_end() {
        let (pauses, start) = (Pauses::new(), Instant::now());
        pauses.over().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pauses.begin(Duration::from_secs(5));
        pauses.begin(Duration::from_secs(2));
        pauses.over().await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn a_client_is_known_by_its_last_name() {
        let (pauses, ip) = (Pauses::new(), IpAddr::from([127, 0, 0, 1]));
        let names = [Some("a"), Some("a"), None, Some("b")];
        let seen = names.map(|name| pauses.client(ip, name));
        assert!(Arc::ptr_eq(&seen[0], &seen[1]));
        assert_eq!(seen.map(|client| client.client_id.clone()), ["a", "a", "", "b"]);
    }
}
