//! Bodies of events, read before their request takes one of the publishers' places.
//!
//! A body that comes slowly holds up nobody: what it holds is the bytes that have come, of a budget for all
//! ([`BODIES_BYTES_MAX`]) of which one address has a share ([`BODIES_BYTES_OF_PEER_MAX`]). Whoever finds it used up is
//! refused at once, as bodies that wait for each other's room could wait for ever. One that brings less than
//! [`BODY_WINDOW_BYTES_MIN`] in [`BODY_WINDOW`] has ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;

use crate::limits::{
    BODIES_BYTES_MAX, BODIES_BYTES_OF_PEER_MAX, BODY_BYTES_MAX, BODY_WINDOW, BODY_WINDOW_BYTES_MIN,
    HTTP_BODY_TIMEOUT,
};
use crate::trouble::Trouble;

/// What bodies hold, in all and by address.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// Only of addresses that hold any. None is where no address is known.
    by_peer: HashMap<Option<IpAddr>, usize>,
}

/// A body, whose bytes count until this is dropped.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// What one body has taken of the budget.
#[derive(Debug)]
struct Share {
    bodies: Arc<Bodies>,
    peer: Option<IpAddr>,
    bytes: usize,
}

impl Bodies {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Sums are whole whatever a thread that held them was doing.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of a body that is not too large and keeps coming.
    pub(super) async fn read(
        self: &Arc<Self>,
        body: Body,
        peer: Option<IpAddr>,
    ) -> Result<Read, Trouble> {
        let mut share = Share { bodies: Arc::clone(self), peer, bytes: 0 };
        let mut parts = body.into_data_stream();
        let mut bytes = BytesMut::new();
        let last = Instant::now() + HTTP_BODY_TIMEOUT;
        let mut window = (Instant::now() + BODY_WINDOW, 0);
        loop {
            let part = match timeout_at(last.min(window.0), parts.next()).await {
                Ok(None) => return Ok(Read { bytes: bytes.freeze(), _share: share }),
                Ok(Some(part)) => part.map_err(|error| {
                    Trouble::bad_request(format!("the body did not come whole: {error}"))
                })?,
                Err(_elapsed) if window.1 < BODY_WINDOW_BYTES_MIN || Instant::now() >= last => {
                    return Err(too_slow());
                }
                Err(_elapsed) => {
                    window = (Instant::now() + BODY_WINDOW, 0);
                    continue;
                }
            };
            window.1 += part.len();
            if bytes.len() + part.len() > BODY_BYTES_MAX {
                let why = format!("the body has more than {BODY_BYTES_MAX} bytes");
                return Err(Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, why)
                    .hint("send fewer events at once"));
            }
            share.take(part.len())?;
            bytes.extend_from_slice(&part);
        }
    }
}

fn too_slow() -> Trouble {
    let why = format!(
        "the body did not come within {HTTP_BODY_TIMEOUT:?}, or brought less than \
         {BODY_WINDOW_BYTES_MIN} bytes in {BODY_WINDOW:?}"
    );
    Trouble::new(StatusCode::REQUEST_TIMEOUT, why)
}

impl Share {
    fn take(&mut self, bytes: usize) -> Result<(), Trouble> {
        let mut held = self.bodies.held();
        let of_peer = held.by_peer.get(&self.peer).copied().unwrap_or(0) + bytes;
        if held.bytes + bytes > BODIES_BYTES_MAX || of_peer > BODIES_BYTES_OF_PEER_MAX {
            return Err(Trouble::unavailable("too many events are being published")
                .hint("try again, with fewer requests at once"));
        }
        held.bytes += bytes;
        held.by_peer.insert(self.peer, of_peer);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.bodies.held();
        held.bytes -= self.bytes;
        let Some(of_peer) = held.by_peer.get_mut(&self.peer) else { return };
        *of_peer -= self.bytes;
        if *of_peer == 0 {
            held.by_peer.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::sync::mpsc::{Sender, channel};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const PEER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn coming() -> (Sender<Result<Bytes, Infallible>>, Body) {
        let (parts, body) = channel(1);
        (parts, Body::from_stream(ReceiverStream::new(body)))
    }

    fn refused(read: Result<Read, Trouble>) -> u16 {
        read.map(|read| read.bytes).unwrap_err().status.as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_hardly_comes_has_ended() {
        for (bytes, every, answer) in [
            // All of it, in its own time.
            (1, Duration::from_millis(1), Ok(100)),
            (BODY_WINDOW_BYTES_MIN, BODY_WINDOW - Duration::from_millis(1), Ok(100)),
            (1, Duration::from_secs(1), Err((408, BODY_WINDOW))),
            (BODY_WINDOW_BYTES_MIN - 1, BODY_WINDOW, Err((408, BODY_WINDOW))),
            (0, HTTP_BODY_TIMEOUT * 2, Err((408, BODY_WINDOW))),
        ] {
            let bodies = Arc::new(Bodies::default());
            let (parts, body) = coming();
            let parts_max = if every < BODY_WINDOW / 2 { 100 } else { 5 };
            let sent = tokio::spawn(async move {
                for _ in 0..parts_max {
                    tokio::time::sleep(every).await;
                    if parts.send(Ok(Bytes::from(vec![b'x'; bytes]))).await.is_err() {
                        return;
                    }
                }
            });
            let begun = Instant::now();
            let read = bodies.read(body, PEER).await;
            match answer {
                Ok(_) => assert_eq!(read.unwrap().bytes.len(), bytes * parts_max),
                Err((status, after)) => {
                    assert_eq!(refused(read), status);
                    assert_eq!(begun.elapsed().as_secs(), after.as_secs(), "{bytes} {every:?}");
                }
            }
            sent.await.unwrap();
            assert_eq!(bodies.held().bytes, 0);
        }
    }

    #[tokio::test]
    async fn one_address_has_a_share_and_what_is_read_gives_it_back() {
        let bodies = Arc::new(Bodies::default());
        let whole = || Body::from(vec![b'x'; BODY_BYTES_MAX]);
        let mut held = Vec::new();
        for _ in 0..BODIES_BYTES_OF_PEER_MAX / BODY_BYTES_MAX {
            held.push(bodies.read(whole(), PEER).await.unwrap());
        }
        assert_eq!(refused(bodies.read(Body::from("x"), PEER).await), 503);
        let other = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        for _ in 0..(BODIES_BYTES_MAX - BODIES_BYTES_OF_PEER_MAX) / BODY_BYTES_MAX {
            held.push(bodies.read(whole(), other).await.unwrap());
        }
        assert_eq!(refused(bodies.read(Body::from("x"), None).await), 503);
        held.pop();
        assert!(bodies.read(Body::from("x"), None).await.is_ok());
        drop(held);
        assert_eq!(bodies.held().by_peer.len(), 0);
        assert_eq!(bodies.held().bytes, 0);
        let large = Body::from(vec![b'x'; BODY_BYTES_MAX + 1]);
        assert_eq!(refused(bodies.read(large, PEER).await), 413);
    }
}
