//! Limits of the gateway, with what each protects.

use std::time::Duration;

/// Connections at once of one listener; one more is closed as soon as it is accepted. Protects file
/// descriptors and memory.
pub const HTTP_CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send a request's head, the first one and, on a connection that it
/// keeps, each further one; so also the longest that a connection is idle.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's body.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave what it was sent unread, before its connection is closed. Longer than the same
/// of streams, whose client is then told why if it can be.
pub const HTTP_WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Pause after a failed accept (too many open files): the listener stays ready, the loop must not
/// spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Users and tokens that may ask.
pub const ACCOUNTS_MAX: usize = 1_000;
/// Characters of a token; with fewer it could be guessed.
pub const TOKEN_CHARS_MIN: usize = 24;
/// Memory that one trial of a password with Argon2 may take, and passes over it.
pub const ARGON2_KIBIBYTES_MAX: u32 = 256 * 1024;
/// See [`ARGON2_KIBIBYTES_MAX`].
pub const ARGON2_PASSES_MAX: u32 = 16;
/// Cost of bcrypt, each one doubling the time; this one takes about two seconds.
pub const BCRYPT_COST_MAX: u32 = 15;
/// Passwords tried at once. Protects processors, and memory from Argon2.
pub const TRIALS_MAX: usize = 2;
/// Passwords that wait to be tried; one more is answered 429.
pub const TRIALS_WAITING_MAX: usize = 32;
/// Passwords that were right and are not tried again, the last ones.
pub const VERIFIED_KEPT: usize = 64;
/// Sessions of browsers at once; the one that began first makes room.
pub const SESSIONS_MAX: usize = 1_000;
/// Cookies of sessions in one request that are looked at.
pub const SESSION_COOKIES_MAX: usize = 4;
/// How long a session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Bytes of a filled-in login form.
pub const LOGIN_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Records of `_schemas` read in one step.
pub const REGISTRY_READ_RECORDS: usize = 1_000;
/// How long one look at the end of `_schemas` waits for what others write.
pub const REGISTRY_FOLLOW_WAIT: Duration = Duration::from_secs(1);
/// Between two looks when the topic is not there or cannot be read.
pub const REGISTRY_FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// How long a write waits until it is shown to readers.
pub const REGISTRY_READ_BACK_MAX: Duration = Duration::from_secs(30);
/// How often one write takes over from other registries before it gives up.
pub const REGISTRY_TAKEOVERS_MAX: u32 = 30;
/// First and longest pause of a registry that was fenced before it takes over again; it doubles. The longest is
/// several times what a write to a cluster takes.
pub const REGISTRY_PAUSE_FIRST: Duration = Duration::from_millis(10);
/// See [`REGISTRY_PAUSE_FIRST`].
pub const REGISTRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bytes of bodies with events that have come and are not published yet, in all.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same of one address, so that others can still publish.
pub const BODIES_BYTES_OF_PEER_MAX: usize = 48 * 1024 * 1024;
/// How long such a body may bring less than [`BODY_WINDOW_BYTES_MIN`].
pub const BODY_WINDOW: Duration = Duration::from_secs(5);
/// See [`BODY_WINDOW`]. A megabyte may take all of [`HTTP_BODY_TIMEOUT`].
pub const BODY_WINDOW_BYTES_MIN: usize = 16 * 1024;
/// Requests that publish events at once, whose bodies are there; more wait.
pub const PUBLISHERS_MAX: usize = 64;
/// How long one waits; then it is answered 503.
pub const PUBLISHER_WAIT: Duration = Duration::from_secs(10);
/// Events of one batch.
pub const EVENTS_BATCH_MAX: usize = 1_000;
/// Attributes of one event.
pub const ATTRIBUTES_MAX: usize = 64;
/// Bytes of a record's key that comes by HTTP.
pub const EVENT_KEY_BYTES_MAX: usize = 8 * 1024;
/// Streams of events at once, server-sent and over WebSockets together; one more is answered 503.
pub const EVENT_STREAMS_MAX: usize = 64;
/// Partitions of one stream, each of which has a read of its own while it waits.
pub const EVENT_STREAM_PARTITIONS_MAX: usize = 64;
/// Records read of one partition before the next one has its turn.
pub const EVENT_STREAM_RECORDS: usize = 200;
/// Bytes of the same; a larger record comes alone. One such read is in memory for each stream.
pub const EVENT_STREAM_BYTES: usize = 64 * 1024;
/// Between two looks of a stream at a cluster, where a read that waits would take a client of its own.
pub const EVENT_LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Longest silence of a stream: a heartbeat says that it is there, and where.
pub const EVENT_HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client may leave a message unread; then its stream is closed.
pub const EVENT_STALL_MAX: Duration = Duration::from_secs(20);
/// After which an EventSource connects again.
pub const EVENT_RECONNECT: Duration = Duration::from_secs(1);
/// Bytes of a message from a WebSocket's client, who has nothing to say.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Reads of `_schemas`, each of up to [`BODY_BYTES_MAX`], with which one look catches up.
pub const SCHEMAS_LOOK_READS: usize = 64;
/// How long a page waits for such a look; then it decodes by the schemas that are known.
pub const SCHEMAS_LOOK_WAIT: Duration = Duration::from_secs(5);
/// How long a look at a cluster is good for; the embedded log is looked at each time.
pub const SCHEMAS_FRESH_FOR_CLUSTER: Duration = Duration::from_secs(1);

const _: () = assert!(BODY_BYTES_MAX <= BODIES_BYTES_OF_PEER_MAX);
const _: () = assert!(BODIES_BYTES_OF_PEER_MAX < BODIES_BYTES_MAX);
const _: () = assert!(BODY_WINDOW.as_secs() < HTTP_BODY_TIMEOUT.as_secs());
const _: () = assert!(EVENT_STALL_MAX.as_secs() < HTTP_WRITE_STALL_MAX.as_secs());
