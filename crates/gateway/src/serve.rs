//! A router on a listener, until told to stop.
//!
//! Connections are counted and bounded, and none may keep its place without asking anything, or without
//! reading what it asked for: limits in [`Limits`]. What listens on loopback is meant for this machine, and takes no changes from
//! pages of other hosts, also when their names are made to lead here (DNS rebinding).

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::limits::{ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX, HTTP_HEAD_TIMEOUT, HTTP_WRITE_STALL_MAX};
use crate::stall::Unstalled;

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
    let router = if listener.local_addr()?.ip().is_loopback() {
        router.layer(from_fn(only_local_changes))
    } else {
        router
    };
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
                Ok((socket, _)) => {
                    let (router, stopped) = (router.clone(), stopped.clone());
                    connections.spawn(connection(socket, router, limits, stopped));
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
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let service = TowerToHyperService::new(router);
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

/// Refuses a change that was asked under a name which is not this machine's own.
async fn only_local_changes(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || is_local(request.headers()) {
        return next.run(request).await;
    }
    let why = "changes are taken under the names localhost and loopback addresses only\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// No browser leaves the host out.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::HeaderValue;
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
            .route("/", get(|| async { "read" }).put(|| async { "changed" }))
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
    async fn ask(socket: &mut TcpStream, method: &str, host: &str) -> String {
        let head = format!("{method} / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
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
        assert_eq!(ask(&mut served.connect().await, "GET", "localhost").await, "");
        drop(idle.pop());
        let answered = async {
            while !ask(&mut served.connect().await, "GET", "localhost").await.ends_with("read") {}
        };
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
        let answered = async {
            while !ask(&mut served.connect().await, "GET", "localhost").await.ends_with("read") {}
        };
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

    #[tokio::test]
    async fn changes_under_a_foreign_name_are_refused_on_loopback() {
        let served = served(3, DEADLINE).await;
        for (method, host, status) in [
            ("GET", "evil.example:8081", "200"),
            ("PUT", "evil.example:8081", "421"),
            ("PUT", "127.0.0.1.evil.example", "421"),
            ("PUT", "localhost:8081", "200"),
            ("PUT", "127.0.0.1:8081", "200"),
        ] {
            let answer = ask(&mut served.connect().await, method, host).await;
            assert_eq!(answer.get(9..12), Some(status), "{method} {host}: {answer}");
        }
        served.stop().await;
    }

    #[test]
    fn local_names_are_told_from_others() {
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST:80", true),
            ("127.1.2.3:8081", true),
            ("[::1]:8081", true),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("[::2]", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_local(&headers), local, "{host}");
        }
        assert!(is_local(&HeaderMap::new()));
    }
}
