//! A router on a listener, until told to stop.
//!
//! Connections are counted and bounded, and none may keep its place without asking anything, or without
//! reading what it asked for: limits in [`Limits`]. Each request is told whose it is ([`Peer`]). Who may ask, and under which
//! name, is for the router to know ([`Access`](crate::Access)).

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::limits::{ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX, HTTP_HEAD_TIMEOUT, HTTP_WRITE_STALL_MAX};
use crate::stall::Unstalled;

/// The address that a request comes from: an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What one listener's connections may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    head_timeout: Duration,
    write_stall: Duration,
}

/// Serves until `stop` is ready, then lets the requests under way finish. No more than so many connections
/// are open at once, and never more than [`HTTP_CONNECTIONS_MAX`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let connections = connections_max.min(HTTP_CONNECTIONS_MAX);
    let (head_timeout, write_stall) = (HTTP_HEAD_TIMEOUT, HTTP_WRITE_STALL_MAX);
    let limits = Limits { connections, head_timeout, write_stall };
    serve_within(limits, listener, router, stop).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if connections.len() >= limits.connections => {
                    warn!(%peer, limit = limits.connections, "too many HTTP connections");
                }
                Ok((socket, peer)) => {
                    let (router, stopped) = (router.clone(), stopped.clone());
                    let connection = connection(socket, Peer(peer.ip()), router, limits, stopped);
                    connections.spawn(connection);
                }
                Err(error) => {
                    error!(%error, "cannot accept HTTP connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connection(
    socket: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let socket = TokioIo::new(Unstalled::new(socket, limits.write_stall));
    let mut connection = pin!(http.serve_connection(socket, service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    /// Far beyond what any of these takes.
    const DEADLINE: Duration = Duration::from_secs(30);

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<io::Result<()>>,
    }

    /// More than a client's and a server's kernel hold for a connection.
    const LARGE: usize = 64 * 1024 * 1024;

    async fn served(connections: usize, head_timeout: Duration) -> Served {
        served_within(Limits { connections, head_timeout, write_stall: DEADLINE }).await
    }

    async fn served_within(limits: Limits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|| async { "read" }))
            .route("/large", get(|| async { vec![b'x'; LARGE] }));
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap() };
        let task = tokio::spawn(serve_within(limits, listener, router, stopped));
        Served { address, stop, task }
    }

    impl Served {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn stop(self) {
            self.stop.send(()).unwrap();
            timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
        }
    }

    /// All that comes until the other side closes, or resets.
    async fn until_closed(socket: &mut TcpStream) -> String {
        let mut text = String::new();
        let _closed_or_reset = timeout(DEADLINE, socket.read_to_string(&mut text)).await.unwrap();
        text
    }

    /// Sends a request that asks for the connection to be closed; the answer, empty when refused.
    async fn ask(socket: &mut TcpStream) -> String {
        let head = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let _sent_or_refused = socket.write_all(head.as_bytes()).await;
        until_closed(socket).await
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_and_a_place_that_is_left_is_given_again() {
        let served = served(3, DEADLINE).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(served.connect().await);
        }
        assert_eq!(ask(&mut served.connect().await).await, "");
        drop(idle.pop());
        let answered = async { while !ask(&mut served.connect().await).await.ends_with("read") {} };
        timeout(DEADLINE, answered).await.unwrap();
        served.stop().await;
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed() {
        let served = served(3, Duration::from_millis(20)).await;
        assert_eq!(until_closed(&mut served.connect().await).await, "");
        let mut half = served.connect().await;
        half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        until_closed(&mut half).await;
        let mut kept = served.connect().await;
        kept.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(until_closed(&mut kept).await.ends_with("read"));
        served.stop().await;
    }

    #[tokio::test]
    async fn a_connection_that_does_not_read_is_closed() {
        let write_stall = Duration::from_millis(20);
        let limits = Limits { connections: 1, head_timeout: DEADLINE, write_stall };
        let served = served_within(limits).await;
        let mut unread = served.connect().await;
        unread.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let answered = async { while !ask(&mut served.connect().await).await.ends_with("read") {} };
        timeout(DEADLINE, answered).await.unwrap();
        drop(unread);
        served.stop().await;
    }

    #[tokio::test]
    async fn idle_connections_do_not_hold_up_the_stop() {
        let served = served(3, DEADLINE * 2).await;
        let mut kept = served.connect().await;
        kept.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        kept.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        served.stop().await;
    }
}
