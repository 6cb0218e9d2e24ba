//! One connection: frames in, answers out, in the order of the requests.
//!
//! 1. The reading side takes a frame's length, refuses it or reads it; what comes waits until it
//!    fits the limits.
//! 2. It takes the request up: decodes it and hands it to the node, before the next one. So the
//!    node sees requests in the order in which they came, and several are under way at once.
//! 3. The writing side takes the turns in the same order, waits for each and writes its answer
//!    straight to the socket: nothing is buffered, a slow reader stops its own connection.
//!
//! Both sides are one task. A frame that is refused, or an answer that cannot be given, ends the
//! reading; the answers before it are still written, then the connection closes with its reason
//! logged. When reading ends, answers under way get [`DRAIN_MAX`].

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::api::{self, CloseReason, NoAnswer, Outcome, Turn};
use crate::context::Connection;
use crate::limits::{
    ConnectionLimits, DRAIN_MAX, FRAME_BYTES_MAX, FRAME_BYTES_MIN, READ_BUFFER_BYTES,
    REQUEST_BYTES_PER_CONNECTION_MAX, REQUESTS_PER_CONNECTION_MAX, SEGMENTS_PER_WRITE_MAX,
};
use crate::server::{Counters, stopped};

/// What a connection shares with the server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    pub(crate) request_bytes: RequestBytes,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) limits: ConnectionLimits,
}

/// The bytes of requests that all connections may have in flight.
#[derive(Clone, Debug)]
pub(crate) struct RequestBytes {
    all: Arc<Semaphore>,
    /// One request may be read to its end beyond them.
    beyond: Arc<Semaphore>,
}

impl RequestBytes {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(bytes_max)), beyond: Arc::new(Semaphore::new(1)) }
    }
}

/// What a request holds of [`RequestBytes`] until it has been answered.
#[derive(Default)]
struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Waits until so many more bytes fit, or until this is the request that may go beyond.
    async fn grow(&mut self, bytes: usize, all: &RequestBytes) {
        if self.beyond.is_some() {
            return;
        }
        let bytes = u32::try_from(bytes).expect("FRAME_BYTES_MAX fits");
        tokio::select! {
            biased;
            more = Arc::clone(&all.all).acquire_many_owned(bytes) => {
                let more = more.expect(NEVER_CLOSED);
                match &mut self.bytes {
                    Some(held) => held.merge(more),
                    held @ None => *held = Some(more),
                }
            }
            beyond = Arc::clone(&all.beyond).acquire_owned() => {
                self.beyond = Some(beyond.expect(NEVER_CLOSED));
            }
        }
    }
}

const NEVER_CLOSED: &str = "the semaphores are never closed";

/// A turn, and the bytes of the request until it has been answered.
struct Pending {
    turn: Turn,
    _bytes: (OwnedSemaphorePermit, Held),
}

/// Serves a connection until either side ends it; its reason is logged here.
pub(crate) async fn run(socket: TcpStream, connection: Arc<Connection>, shared: Shared) {
    let peer = connection.peer;
    let (read, write) = socket.into_split();
    let (turns, pending) = mpsc::channel(REQUESTS_PER_CONNECTION_MAX);
    let under_way = Arc::new(AtomicUsize::new(0));
    let idle_max = shared.limits.idle_max;
    let reading = Reading {
        socket: BufReader::with_capacity(READ_BUFFER_BYTES, read),
        bytes: Arc::new(Semaphore::new(REQUEST_BYTES_PER_CONNECTION_MAX)),
        under_way: Arc::clone(&under_way),
        connection,
        shared,
        turns,
    };
    let mut writing = Writing { socket: write, pending, under_way, idle_max };
    let mut written = std::pin::pin!(writing.run());
    let ended = tokio::select! {
        ended = reading.run() => ended,
        ended = &mut written => return log(peer, ended),
    };
    // The reading side is gone and with it the sender: writing ends after the last answer.
    match timeout(DRAIN_MAX, written).await {
        Ok(Err(reason)) if ended.is_ok() => log(peer, Err(reason)),
        _ => log(peer, ended),
    }
}

fn log(peer: std::net::SocketAddr, ended: Result<(), CloseReason>) {
    match ended {
        Ok(()) => tracing::debug!(%peer, "disconnected"),
        Err(CloseReason::Io(error)) if is_disconnect(&error) => {
            tracing::debug!(%peer, %error, "disconnected");
        }
        Err(reason @ (CloseReason::Idle(_) | CloseReason::NoAnswer(NoAnswer::Node(_)))) => {
            tracing::info!(%peer, %reason, "connection closed");
        }
        Err(reason) => tracing::warn!(%peer, %reason, "connection closed"),
    }
}

fn is_disconnect(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

struct Reading {
    socket: BufReader<OwnedReadHalf>,
    /// The bytes of requests that this connection may have in flight.
    bytes: Arc<Semaphore>,
    under_way: Arc<AtomicUsize>,
    connection: Arc<Connection>,
    shared: Shared,
    turns: mpsc::Sender<Pending>,
}

impl Reading {
    /// Reads until the client ends its side, the server stops, or something must be refused.
    async fn run(mut self) -> Result<(), CloseReason> {
        loop {
            let Some(length) = self.next_length().await? else { return Ok(()) };
            let in_range = |length: &usize| (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(length);
            let Some(length) = usize::try_from(length).ok().filter(in_range) else {
                self.shared.counters.frames_refused.fetch_add(1, Ordering::Relaxed);
                return Err(CloseReason::FrameLength(length));
            };
            let own = self.reserve(length).await;
            let (frame, held) = self.read_frame(length).await?;
            self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);

            let turn = api::take_up(&self.connection, frame).await;
            let last = matches!(turn, Turn::Done(Outcome::Close(_)));
            if let Turn::Done(Outcome::Close(CloseReason::Malformed { .. })) = turn {
                self.shared.counters.frames_refused.fetch_add(1, Ordering::Relaxed);
            }
            self.under_way.fetch_add(1, Ordering::Relaxed);
            let sent = self.turns.send(Pending { turn, _bytes: (own, held) }).await;
            if sent.is_err() || last {
                return Ok(());
            }
        }
    }

    /// The next frame's length; none when the client or the server is done. An idle client may be
    /// silent for [`IDLE_MAX`](crate::limits::IDLE_MAX), one that waits for an answer as long as it
    /// takes.
    async fn next_length(&mut self) -> Result<Option<i32>, CloseReason> {
        let ConnectionLimits { idle_max, frame_read_max, .. } = self.shared.limits;
        loop {
            let idle = self.under_way.load(Ordering::Relaxed) == 0;
            let ready = tokio::select! {
                () = stopped(&mut self.shared.stopping) => return Ok(None),
                ready = timeout(idle_max, wait_for_bytes(&mut self.socket)) => ready,
            };
            match ready {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => return Ok(None),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if idle => return Err(CloseReason::Idle(idle_max)),
                Err(_) => {}
            }
        }
        let length = timeout(frame_read_max, self.socket.read_i32()).await;
        Ok(Some(length.map_err(|_| CloseReason::SlowRequest(frame_read_max))??))
    }

    /// Waits until a request of this length fits the limit of its connection.
    async fn reserve(&self, length: usize) -> OwnedSemaphorePermit {
        let length = u32::try_from(length).expect("FRAME_BYTES_MAX fits");
        Arc::clone(&self.bytes).acquire_many_owned(length).await.expect(NEVER_CLOSED)
    }

    /// Each frame has its own memory, which the batches in it keep alive as long as they need. It
    /// grows with what has come, as what is held of the limits does: a length alone holds nothing
    /// back from other connections. The time in which the limits hold back this one is not the
    /// client's.
    async fn read_frame(&mut self, length: usize) -> Result<(Bytes, Held), CloseReason> {
        let read_max = self.shared.limits.frame_read_max;
        let (mut frame, mut held, mut room) = (BytesMut::new(), Held::default(), 0);
        let mut left = read_max;
        while frame.len() < length {
            if frame.len() == room {
                let more = room.max(READ_BUFFER_BYTES).min(length - room);
                held.grow(more, &self.shared.request_bytes).await;
                frame.reserve(more);
                room += more;
            }
            let started = Instant::now();
            let mut body = (&mut self.socket).take((room - frame.len()) as u64);
            let read = timeout(left, body.read_buf(&mut frame)).await;
            if read.map_err(|_| CloseReason::SlowRequest(read_max))?? == 0 {
                return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            left = left.saturating_sub(started.elapsed());
        }
        Ok((frame.freeze(), held))
    }
}

/// Whether there is something to read, rather than the end.
async fn wait_for_bytes(socket: &mut BufReader<OwnedReadHalf>) -> Result<bool, std::io::Error> {
    use tokio::io::AsyncBufReadExt;
    Ok(!socket.fill_buf().await?.is_empty())
}

struct Writing {
    socket: OwnedWriteHalf,
    pending: mpsc::Receiver<Pending>,
    under_way: Arc<AtomicUsize>,
    idle_max: Duration,
}

impl Writing {
    /// Answers until there are no more turns, or one says that the connection closes.
    async fn run(&mut self) -> Result<(), CloseReason> {
        while let Some(Pending { turn, _bytes }) = self.pending.recv().await {
            let outcome = match turn {
                Turn::Done(outcome) => outcome,
                Turn::Waiting(serving) => serving.await,
            };
            match outcome {
                Outcome::Answer { segments, reserved } => {
                    self.write(segments).await?;
                    drop(reserved);
                }
                Outcome::Nothing => {}
                Outcome::Close(reason) => return Err(reason),
            }
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes all segments; the client must take some bytes every [`IDLE_MAX`](crate::limits::IDLE_MAX).
    async fn write(&mut self, mut segments: Vec<Bytes>) -> Result<(), CloseReason> {
        let mut first = 0;
        while let Some(rest) = segments.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let upcoming = rest.iter().take(SEGMENTS_PER_WRITE_MAX);
            let slices: Vec<IoSlice<'_>> = upcoming.map(|bytes| IoSlice::new(bytes)).collect();
            let written = timeout(self.idle_max, self.socket.write_vectored(&slices)).await;
            let mut written = written.map_err(|_| CloseReason::Idle(self.idle_max))??;
            if written == 0 {
                return Err(std::io::Error::from(ErrorKind::WriteZero).into());
            }
            for segment in rest {
                let taken = written.min(segment.len());
                segment.advance(taken);
                written -= taken;
                if segment.is_empty() {
                    first += 1;
                } else {
                    break;
                }
            }
        }
        Ok(())
    }
}
