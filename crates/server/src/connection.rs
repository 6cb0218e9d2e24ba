//! One connection: frames in, answers out, in the order of the requests.
//!
//! 1. The reading side takes a frame's length, refuses it or reads it; what comes waits until it
//!    fits the limits.
//! 2. It takes the request up: decodes it and hands it to the node, before the next one. So the
//!    node sees requests in the order in which they came, and several are under way at once.
//! 3. The writing side takes the turns in the same order, waits for each and writes its answer
//!    straight to the socket: nothing is buffered, a slow reader stops its own connection.
//!
//! While the client is to pause by its quotas ([`Pauses`](crate::pauses::Pauses)) nothing more is taken
//! up, and no more read than a buffer of it.
//!
//! A request whose answer may be of any size (a list of all topics) is taken up when every answer
//! before it has been written. The memory of both directions is bounded by
//! [`Allowances`](crate::allowances::Allowances) over all connections.
//!
//! Both sides are one task. A frame that is refused, or an answer that cannot be given, ends the
//! reading; the answers before it are still written, then the connection closes with its reason
//! logged. When reading ends, answers under way get [`DRAIN_MAX`].

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tidings_broker::ConnectionOpened;
use tidings_node::Node;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::allowances::{Answers, HeldBytes};
use crate::api::{self, CloseReason, NoAnswer, Outcome, Turn};
use crate::context::Connection;
use crate::incoming::Incoming;
use crate::limits::{
    ConnectionLimits, DRAIN_MAX, FETCH_BYTES_MIN, FRAME_BYTES_MIN, READ_BUFFER_BYTES,
    REQUEST_BYTES_PER_CONNECTION_MAX, REQUESTS_PER_CONNECTION_MAX, SEGMENTS_PER_WRITE_MAX,
};
use crate::said::Lines;
use crate::server::{Counters, stopped};

/// What a connection shares with the server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) limits: ConnectionLimits,
}

const NEVER_CLOSED: &str = "the semaphores are never closed";

/// A turn, and what its request and its answer hold until the answer has been written.
struct Pending {
    turn: Turn,
    bytes: (OwnedSemaphorePermit, HeldBytes),
    answer: Option<OwnedSemaphorePermit>,
}

/// The requests that are under way.
#[derive(Debug, Default)]
struct UnderWay {
    count: AtomicUsize,
    ended: Notify,
}

impl UnderWay {
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.ended.notify_one();
    }

    fn is_none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Waits until every answer has been written.
    async fn none(&self) {
        while !self.is_none() {
            self.ended.notified().await;
        }
    }
}

/// Serves a connection until either side ends it; its reason is logged here.
pub(crate) async fn run(socket: TcpStream, connection: Arc<Connection>, mut shared: Shared) {
    if let Err(reason) = may_be_served(&connection, &mut shared).await {
        return log(&connection, Err(reason));
    }
    let (read, write) = socket.into_split();
    let (turns, pending) = mpsc::channel(REQUESTS_PER_CONNECTION_MAX);
    let under_way = Arc::new(UnderWay::default());
    let limits = shared.limits;
    let answers = connection.allowances.answers.clone();
    let bytes_max = REQUEST_BYTES_PER_CONNECTION_MAX.min(limits.request_bytes_in_flight_max);
    let reading = Reading {
        socket: Incoming::new(read),
        bytes: Arc::new(Semaphore::new(bytes_max.max(limits.request_bytes_max))),
        under_way: Arc::clone(&under_way),
        connection: Arc::clone(&connection),
        shared,
        turns,
    };
    let node = connection.node.clone();
    let mut writing = Writing { socket: write, pending, under_way, limits, answers, node };
    let mut written = std::pin::pin!(writing.run());
    let ended = tokio::select! {
        ended = reading.run() => ended,
        ended = &mut written => return log(&connection, ended),
    };
    // The reading side is gone and with it the sender: writing ends after the last answer.
    match timeout(DRAIN_MAX, written).await {
        Ok(Err(reason)) if ended.is_ok() => log(&connection, Err(reason)),
        _ => log(&connection, ended),
    }
}

/// Refuses, after the pause that its address owes, a connection that its quota does not allow
/// (KIP-612).
async fn may_be_served(connection: &Connection, shared: &mut Shared) -> Result<(), CloseReason> {
    let opened = ConnectionOpened { ip: connection.peer.ip() };
    let pause_ms = connection.node.call(opened).await.map_err(NoAnswer::from)?;
    if pause_ms == 0 {
        return Ok(());
    }
    let pause = Duration::from_millis(pause_ms);
    // When the server stops first, the connection ends all the same.
    let _stopped = timeout(pause, stopped(&mut shared.stopping)).await;
    Err(CloseReason::ConnectionQuota(pause))
}

fn log(connection: &Connection, ended: Result<(), CloseReason>) {
    let peer = connection.peer;
    let lines: &Lines = &connection.lines;
    match ended {
        Ok(()) => tracing::debug!(%peer, "disconnected"),
        Err(CloseReason::Io(error)) if is_disconnect(&error) => {
            tracing::debug!(%peer, %error, "disconnected");
        }
        Err(reason @ (CloseReason::Idle(_) | CloseReason::NoAnswer(NoAnswer::Node(_)))) => {
            tracing::info!(%peer, %reason, "connection closed");
        }
        Err(reason) => {
            if let Some(left_out) = lines.may_say() {
                tracing::warn!(%peer, %reason, left_out, "connection closed");
            }
        }
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
    socket: Incoming,
    /// The bytes of requests that this connection may have in flight.
    bytes: Arc<Semaphore>,
    under_way: Arc<UnderWay>,
    connection: Arc<Connection>,
    shared: Shared,
    turns: mpsc::Sender<Pending>,
}

impl Reading {
    /// Reads until the client ends its side, the server stops, or something must be refused.
    async fn run(mut self) -> Result<(), CloseReason> {
        let first_max = self.shared.limits.first_request_max;
        let first = timeout(first_max, self.next_frame()).await;
        let mut next = first.map_err(|_| CloseReason::NoFirstRequest(first_max))?;
        while let Some((frame, bytes)) = next? {
            self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
            let (turn, answer) = if api::answers_at_length(&frame) {
                self.answer_alone(frame).await
            } else {
                (api::take_up(&self.connection, frame).await, None)
            };
            let last = matches!(turn, Turn::Done(Outcome::Close(_)));
            if let Turn::Done(Outcome::Close(CloseReason::Malformed { .. })) = turn {
                self.shared.counters.frames_refused.fetch_add(1, Ordering::Relaxed);
            }
            self.under_way.begin();
            let pending = Pending { turn, bytes, answer };
            if self.turns.send(pending).await.is_err() || last {
                return Ok(());
            }
            next = self.next_frame().await;
        }
        Ok(())
    }

    /// The next frame, with what it holds of the limits; none when the client or the server is done.
    async fn next_frame(
        &mut self,
    ) -> Result<Option<(Bytes, (OwnedSemaphorePermit, HeldBytes))>, CloseReason> {
        let Some(said) = self.next_length().await? else { return Ok(None) };
        // The pause of an answer that was given while this request was on its way.
        tokio::select! {
            () = stopped(&mut self.shared.stopping) => return Ok(None),
            () = self.connection.pauses.over() => {}
        }
        let most = self.shared.limits.request_bytes_max;
        let in_range = |length: &usize| (FRAME_BYTES_MIN..=most).contains(length);
        let Some(length) = usize::try_from(said).ok().filter(in_range) else {
            self.shared.counters.frames_refused.fetch_add(1, Ordering::Relaxed);
            return Err(CloseReason::FrameLength { said, most });
        };
        let own = self.reserve(length).await;
        let (frame, held) = self.read_frame(length).await?;
        Ok(Some((frame, (own, held))))
    }

    /// Works out an answer of a size that the request does not tell, with no other under way here: so
    /// one connection holds one such answer, and who does not read holds up nobody.
    async fn answer_alone(&self, frame: Bytes) -> (Turn, Option<OwnedSemaphorePermit>) {
        self.under_way.none().await;
        let answers = &self.connection.allowances.answers;
        let _place = answers.begin(frame.len()).await;
        let outcome = api::answer(&self.connection, frame).await;
        let held = match &outcome {
            Outcome::Answer { segments, .. } => {
                Some(answers.hold(segments.iter().map(Bytes::len).sum()).await)
            }
            Outcome::Nothing | Outcome::Close(_) => None,
        };
        (Turn::Done(outcome), held)
    }

    /// The next frame's length; none when the client or the server is done. An idle client may be
    /// silent for [`IDLE_MAX`](crate::limits::IDLE_MAX), one that waits for an answer as long as it
    /// takes.
    async fn next_length(&mut self) -> Result<Option<i32>, CloseReason> {
        let ConnectionLimits { idle_max, frame_read_max, .. } = self.shared.limits;
        loop {
            let idle = self.under_way.is_none();
            let ready = tokio::select! {
                () = stopped(&mut self.shared.stopping) => return Ok(None),
                ready = timeout(idle_max, self.socket.wait()) => ready,
            };
            match ready {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => return Ok(None),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if idle => return Err(CloseReason::Idle(idle_max)),
                Err(_) => {}
            }
        }
        let length = timeout(frame_read_max, self.socket.i32()).await;
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
    async fn read_frame(&mut self, length: usize) -> Result<(Bytes, HeldBytes), CloseReason> {
        let read_max = self.shared.limits.frame_read_max;
        let (mut frame, mut held, mut room) = (BytesMut::new(), HeldBytes::default(), 0);
        let mut left = read_max;
        while frame.len() < length {
            if frame.len() == room {
                let more = room.max(READ_BUFFER_BYTES).min(length - room);
                held.grow(more, &self.connection.allowances.requests).await;
                frame.reserve(more);
                room += more;
            }
            let started = Instant::now();
            let missing = room - frame.len();
            let read = timeout(left, self.socket.append_to(&mut frame, missing)).await;
            read.map_err(|_| CloseReason::SlowRequest(read_max))??;
            left = left.saturating_sub(started.elapsed());
        }
        Ok((frame.freeze(), held))
    }
}

struct Writing {
    socket: OwnedWriteHalf,
    pending: mpsc::Receiver<Pending>,
    under_way: Arc<UnderWay>,
    limits: ConnectionLimits,
    answers: Answers,
    node: Node,
}

impl Writing {
    /// Answers until there are no more turns, or one says that the connection closes.
    async fn run(&mut self) -> Result<(), CloseReason> {
        while let Some(pending) = self.pending.recv().await {
            let Pending { turn, bytes: _bytes, answer } = pending;
            let outcome = match turn {
                Turn::Done(outcome) => outcome,
                Turn::Waiting(serving) => serving.await,
            };
            match outcome {
                Outcome::Answer { segments, reserved } => {
                    self.write(segments, answer.is_some()).await?;
                    drop(reserved);
                }
                Outcome::Nothing => {}
                Outcome::Close(reason) => return Err(reason),
            }
            self.under_way.end();
        }
        Ok(())
    }

    /// Writes all segments; the client must take some bytes every
    /// [`IDLE_MAX`](crate::limits::IDLE_MAX), and all of them sooner while memory is short.
    async fn write(
        &mut self,
        mut segments: Vec<Bytes>,
        is_counted: bool,
    ) -> Result<(), CloseReason> {
        let ConnectionLimits { idle_max, unread_look, .. } = self.limits;
        let (mut first, mut copy) = (0, None);
        let begun = Instant::now();
        let mut progress = begun;
        while let Some(rest) = segments.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let upcoming = rest.iter().take(SEGMENTS_PER_WRITE_MAX);
            let slices: Vec<IoSlice<'_>> = upcoming.map(|bytes| IoSlice::new(bytes)).collect();
            let look = unread_look.min(idle_max);
            let Ok(written) = timeout(look, self.socket.write_vectored(&slices)).await else {
                if progress.elapsed() >= idle_max {
                    return Err(CloseReason::Unread(idle_max));
                }
                self.check_shortage(begun)?;
                if !is_counted && copy.is_none() {
                    copy = Some(self.copy_out(rest)?);
                }
                continue;
            };
            let mut written = written?;
            if written == 0 {
                return Err(std::io::Error::from(ErrorKind::WriteZero).into());
            }
            progress = Instant::now();
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
            self.check_shortage(begun)?;
        }
        Ok(())
    }

    /// Whoever reads slowly is in nobody's way until somebody waits for the memory.
    fn check_shortage(&self, begun: Instant) -> Result<(), CloseReason> {
        let unread_max = self.limits.unread_under_shortage_max;
        let is_short = self.answers.are_short() || self.node.fetched_bytes_left() < FETCH_BYTES_MIN;
        if is_short && begun.elapsed() >= unread_max {
            return Err(CloseReason::UnreadUnderShortage(unread_max));
        }
        Ok(())
    }

    /// Takes what is unread out of the memory that it shares with the log's newest batches, of which
    /// a few bytes keep a whole frame alive.
    fn copy_out(&self, unread: &mut [Bytes]) -> Result<OwnedSemaphorePermit, CloseReason> {
        let bytes = unread.iter().map(Bytes::len).sum();
        let held = self.answers.try_hold(bytes);
        let held = held.ok_or(CloseReason::UnreadUnderShortage(self.limits.unread_look))?;
        for segment in unread {
            *segment = Bytes::copy_from_slice(segment);
        }
        Ok(held)
    }
}
