//! Limits of the server, with what each protects.

use std::time::Duration;

pub use tidings_node::limits::FETCHED_BYTES_HELD_MAX;

/// Connections at once; one more is closed as soon as it is accepted (Kafka's `max.connections`).
/// Protects file descriptors and memory: an idle one takes about [`CONNECTION_BYTES`].
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections at once from one address (Kafka's `max.connections.per.ip`). As many as there are at
/// all: whole fleets come through one proxy, and who wants less says so.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX;
/// What one connection takes beside its requests and answers: measured 8.8 KiB each with 10,000 idle
/// ones; the kernel's part is not the process's.
pub const CONNECTION_BYTES: usize = 12 * 1024;
/// From the acceptance of a connection to the end of its first request. A client says at once who it
/// is and what it wants; one that holds a place and says nothing makes room for others.
pub const FIRST_REQUEST_MAX: Duration = Duration::from_secs(30);
/// Bytes of one request; a longer one is refused by its length alone (Kafka's
/// `socket.request.max.bytes` is the same).
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;
/// A request has at least a key, a version and a correlation id.
pub const FRAME_BYTES_MIN: usize = 8;
/// Bytes of requests that are being read or answered, over all connections; reading waits there. A
/// request holds at most twice what has come of it, or [`READ_BUFFER_BYTES`]; one request at a time
/// may be read beyond, so that halves of requests never wait for each other.
pub const REQUEST_BYTES_IN_FLIGHT_MAX: usize = 512 * 1024 * 1024;
/// The same on one connection.
pub const REQUEST_BYTES_PER_CONNECTION_MAX: usize = 128 * 1024 * 1024;
/// Requests of one connection that are being answered at once; reading waits there. Answers wait
/// for their turn, so this also bounds what a slow reader holds.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 64;
/// Fetches of one connection that are being answered at once: with the next two limits it bounds
/// the bytes of fetched batches that wait for a slow reader.
pub const FETCHES_PER_CONNECTION_MAX: usize = 2;
/// Bytes that one fetch may return, whatever it asks (its first batch may exceed it).
pub const FETCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a fetch may return when the readers are slow: as the bytes that wait for them near the node's
/// [`FETCHED_BYTES_HELD_MAX`], fetches return less, down to this, and wait before they read segments.
pub const FETCH_BYTES_MIN: usize = 1024 * 1024;
/// A fetch may return this share of what may still be held.
pub const FETCH_SHARE: usize = 8;
/// List elements of one request, all lists together: five times the partitions that a node may have,
/// and the longest time for which one request can keep the node busy.
pub const ELEMENTS_PER_REQUEST_MAX: usize = 100_000;
/// List elements of requests that are being answered, over all connections; further requests wait.
pub const ELEMENTS_IN_FLIGHT_MAX: usize = 400_000;
/// What one list element takes at most, decoded, as a question, as its answer and encoded.
pub const ELEMENT_BYTES: usize = 1024;
/// List elements that a request is decoded with before they are counted among all.
pub const ELEMENTS_BEFORE_COUNTING: usize = 4096;
/// Answers that are worked out at once where their size does not follow from the request's: lists of
/// topics, groups, configurations. As many for short requests, and as many for longer ones.
pub const ANSWERS_AT_LENGTH_MAX: usize = 2;
/// Bytes up to which a request is short: it does not wait for its turn behind longer ones.
pub const SHORT_REQUEST_BYTES_MAX: usize = 4096;
/// Bytes up to which an answer is short: one of [`SHORT_ANSWERS_SHARE`] parts of the memory for
/// answers is theirs alone.
pub const SHORT_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// See [`SHORT_ANSWER_BYTES_MAX`].
pub const SHORT_ANSWERS_SHARE: usize = 4;
/// Bytes of such answers, and of those that lie unread for [`UNREAD_LOOK`], over all connections;
/// further ones wait.
pub const ANSWER_BYTES_HELD_MAX: usize = 256 * 1024 * 1024;
/// After this long without progress an answer is copied out of the memory that it shares with the log,
/// so that a slow reader keeps no more alive than its answer.
pub const UNREAD_LOOK: Duration = Duration::from_secs(1);
/// How long an answer may take to be read while others wait for the memory it holds.
pub const UNREAD_UNDER_SHORTAGE_MAX: Duration = Duration::from_secs(2);
/// Lines that the log is told about clients per [`LINES_WINDOW`], over all connections.
pub const LINES_PER_WINDOW_MAX: u32 = 50;
/// See [`LINES_PER_WINDOW_MAX`].
pub const LINES_WINDOW: Duration = Duration::from_secs(10);
/// Longest wait of a fetch, whatever it asks.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(300);
/// Buffer for small requests, so that many are read at once, there while bytes are; and what a
/// request holds of the limits from its length on.
pub const READ_BUFFER_BYTES: usize = 32 * 1024;
/// Segments of an answer that one vectored write takes (the kernel's own limit is 1024).
pub const SEGMENTS_PER_WRITE_MAX: usize = 64;
/// Silence with nothing under way after which a connection is closed, and the longest time in
/// which a client must take some bytes of an answer (Kafka's `connections.max.idle.ms`).
pub const IDLE_MAX: Duration = Duration::from_secs(600);
/// The time for a whole request to arrive once its length has.
pub const FRAME_READ_MAX: Duration = Duration::from_secs(60);
/// How long answers under way may take once the client or the server has ended its side.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Pause after a failed accept (too many open files): the listener stays ready, the loop must not
/// spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an error text in an answer: it must fit a string of the oldest versions.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
/// Groups that one OffsetFetch may ask about: each is a question to the broker.
pub const GROUPS_PER_OFFSET_FETCH_MAX: usize = 1000;
/// Partitions on one page of DescribeTopicPartitions (Kafka's `max.request.partition.size.limit`).
pub const PARTITIONS_PER_PAGE_MAX: usize = 2_000;
/// Transactions that one AddPartitionsToTxn may be about: each is a question to the broker.
pub const TRANSACTIONS_PER_REQUEST_MAX: usize = 1000;
/// Bytes that the pattern of a ListTransactions may take when it is compiled.
pub const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Time between two lines in the log that say why groups are refused: clients ask again and again.
pub const GROUP_TROUBLE_SAID_EVERY: Duration = Duration::from_secs(10);

/// The limits that a server may be given others of, so that they can be reached; the default is the
/// constants of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    /// [`FRAME_BYTES_MAX`].
    pub request_bytes_max: usize,
    pub request_bytes_in_flight_max: usize,
    pub elements_per_request_max: usize,
    pub elements_in_flight_max: usize,
    pub answer_bytes_held_max: usize,
    pub first_request_max: Duration,
    pub idle_max: Duration,
    pub frame_read_max: Duration,
    pub unread_look: Duration,
    pub unread_under_shortage_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            request_bytes_max: FRAME_BYTES_MAX,
            request_bytes_in_flight_max: REQUEST_BYTES_IN_FLIGHT_MAX,
            elements_per_request_max: ELEMENTS_PER_REQUEST_MAX,
            elements_in_flight_max: ELEMENTS_IN_FLIGHT_MAX,
            answer_bytes_held_max: ANSWER_BYTES_HELD_MAX,
            first_request_max: FIRST_REQUEST_MAX,
            idle_max: IDLE_MAX,
            frame_read_max: FRAME_READ_MAX,
            unread_look: UNREAD_LOOK,
            unread_under_shortage_max: UNREAD_UNDER_SHORTAGE_MAX,
        }
    }
}

const _: () = assert!(FRAME_BYTES_MAX <= REQUEST_BYTES_PER_CONNECTION_MAX);
const _: () = assert!(REQUEST_BYTES_PER_CONNECTION_MAX <= REQUEST_BYTES_IN_FLIGHT_MAX);
const _: () = assert!(REQUEST_BYTES_IN_FLIGHT_MAX <= u32::MAX as usize);
const _: () = assert!(CONNECTIONS_MAX >= 10_000);
const _: () = assert!(ELEMENTS_PER_REQUEST_MAX >= 5 * tidings_broker::limits::PARTITIONS_MAX);
const _: () = assert!(ELEMENTS_PER_REQUEST_MAX <= tidings_wire::limits::ELEMENTS_PER_MESSAGE_MAX);
const _: () = assert!(ELEMENTS_PER_REQUEST_MAX <= ELEMENTS_IN_FLIGHT_MAX);
const _: () = assert!(ELEMENTS_BEFORE_COUNTING <= ELEMENTS_PER_REQUEST_MAX);
const _: () = assert!(ANSWER_BYTES_HELD_MAX <= u32::MAX as usize);
const _: () = assert!(UNREAD_LOOK.as_millis() <= UNREAD_UNDER_SHORTAGE_MAX.as_millis());
const _: () = assert!(FIRST_REQUEST_MAX.as_millis() <= IDLE_MAX.as_millis());
const _: () = assert!(FETCH_BYTES_MIN <= FETCH_BYTES_MAX);
const _: () = assert!(FETCH_BYTES_MAX * FETCH_SHARE <= FETCHED_BYTES_HELD_MAX);
const _: () = assert!(FETCHES_PER_CONNECTION_MAX < REQUESTS_PER_CONNECTION_MAX);
const _: () = assert!(ERROR_TEXT_BYTES_MAX <= tidings_wire::limits::STRING_BYTES_MAX);
const _: () = assert!(CONNECTIONS_PER_ADDRESS_MAX <= CONNECTIONS_MAX);
