//! A router on a listener, until told to stop.

use std::io;

use axum::Router;
use tokio::net::TcpListener;

/// Serves until `stop` is ready, then lets the requests under way finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
