//! Limits of the command line, with what each protects.

use std::time::Duration;

/// How long a broker may take to accept a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take to answer, beyond what it was asked to wait.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one answer; a longer one is refused before it is read.
pub(crate) const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Attempts while a new topic gets its leaders or a partition moves.
pub(crate) const ATTEMPTS: usize = 30;
/// Time between two attempts.
pub(crate) const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// Lines of standard input read ahead of what is sent.
pub(crate) const LINES_AHEAD: usize = 1_000;
/// Lines sent together, as far as they are there.
pub(crate) const BATCH_LINES_MAX: usize = 1_000;
/// Bytes of one batch; brokers refuse more than a megabyte unless told otherwise.
pub(crate) const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one line of input.
pub(crate) const LINE_BYTES_MAX: usize = 1_000_000;

/// Bytes of one fetched partition, and of all in one answer.
pub(crate) const FETCH_PARTITION_BYTES: i32 = 1024 * 1024;
pub(crate) const FETCH_BYTES: i32 = 16 * 1024 * 1024;
/// How long a broker waits for new records before it answers a fetch with none.
pub(crate) const FETCH_WAIT: Duration = Duration::from_millis(500);

/// How long pages and services under way may take to finish when the node stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

const _: () = assert!(FETCH_PARTITION_BYTES <= FETCH_BYTES);
