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

/// How long a shell waits for the names of topics or groups.
pub(crate) const COMPLETION_TIMEOUT: Duration = Duration::from_secs(1);
/// Names that a shell is given.
pub(crate) const COMPLETION_NAMES_MAX: usize = 1_000;

/// Groups whose positions and members are asked for in one request.
pub(crate) const GROUPS_AT_ONCE: usize = 100;

/// Bytes of a file of accounts.
pub(crate) const ACCOUNTS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a file of settings.
pub(crate) const SETTINGS_BYTES_MAX: usize = 1024 * 1024;
/// Directories, from the working directory upwards, in which a project's file is looked for.
pub(crate) const PROJECT_LEVELS_MAX: usize = 64;

/// Bytes of a `--format`.
pub(crate) const FORMAT_BYTES_MAX: usize = 4096;
/// Headers of one record of formatted input.
pub(crate) const HEADERS_MAX: usize = 1_000;
/// Bytes of the program that a `--grep` expression becomes, and of what it remembers while it searches.
pub(crate) const GREP_BYTES_MAX: usize = 1024 * 1024;
/// Records a second that `--rate` may ask for: beyond it the pauses are too short to be kept.
pub(crate) const RATE_MAX: u32 = 10_000;

/// Bytes of one fetched partition, and of all in one answer.
pub(crate) const FETCH_PARTITION_BYTES: i32 = 1024 * 1024;
pub(crate) const FETCH_BYTES: i32 = 16 * 1024 * 1024;
/// How long a broker waits for new records before it answers a fetch with none.
pub(crate) const FETCH_WAIT: Duration = Duration::from_millis(500);

/// How often a schema that was not found is looked for again.
pub(crate) const SCHEMAS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Schemas that were not found of which that is known; bytes that only look framed name any.
pub(crate) const SCHEMAS_MISSING_MAX: usize = 1_000;

/// Partitions that a copy carries, or compares, at once.
pub(crate) const COPY_PARTITIONS_AT_ONCE: usize = 4;
/// Bytes of records in one transaction of a copy; a larger single record goes alone.
pub(crate) const COPY_STEP_BYTES: usize = 8 * 1024 * 1024;
/// Records in one transaction of a copy, so that what is noted of their offsets fits one record.
pub(crate) const COPY_STEP_RECORDS_MAX: usize = 20_000;
/// Bytes that a copy asks for in one read.
pub(crate) const COPY_READ_BYTES: usize = 1024 * 1024;
/// Steps of a partition that are read before they are written: one waits, one is being read.
pub(crate) const COPY_STEPS_AHEAD: usize = 1;
/// How long a transaction of a copy may take; who runs the copy again ends it at once.
pub(crate) const COPY_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a copy waits for records that are known to be there.
pub(crate) const COPY_READ_WITHIN: Duration = Duration::from_secs(30);
/// Steps of all partitions that a copy remembers: 10 TiB and more, in 100 MB.
pub(crate) const COPY_STEPS_MAX: usize = 2_000_000;
/// Keys of records that compaction has taken, while a later record of the key is looked for; for more the
/// partition is compared in several rounds.
pub(crate) const COPY_KEYS_MAX: usize = 1_000_000;
/// Differences of one partition that are told one by one.
pub(crate) const COPY_DIFFERENCES_TOLD: usize = 5;

/// Partitions of the topic with which the clocks of brokers are looked at, one for each.
pub(crate) const DOCTOR_PARTITIONS_MAX: usize = 100;
/// How far a broker's clock may be from this machine's before it is a warning, and an error.
pub(crate) const CLOCK_SKEW_WARNING: Duration = Duration::from_secs(1);
/// See [`CLOCK_SKEW_WARNING`]. Kafka refuses records from more than an hour ahead.
pub(crate) const CLOCK_SKEW_ERROR: Duration = Duration::from_secs(60);

/// Looks of which the dashboard of `top` keeps rates and lags.
pub(crate) const TOP_HISTORY: usize = 300;
/// A group that is behind and has committed nothing for this long is stuck.
pub(crate) const TOP_STUCK_AFTER: Duration = Duration::from_secs(15);
/// Instances of services that it knows.
pub(crate) const TOP_REPORTS_MAX: usize = 1_000;
/// An instance that has reported nothing for this long is gone.
pub(crate) const TOP_REPORT_AGE: Duration = Duration::from_secs(90);
/// Rounds of reading reports in one look.
pub(crate) const TOP_ROUNDS: usize = 16;
/// Keys that may wait.
pub(crate) const TOP_EVENTS_AHEAD: usize = 64;
/// How long the thread that reads keys waits before it looks whether anybody listens.
pub(crate) const TOP_KEY_WAIT: Duration = Duration::from_millis(200);
/// Characters of what is looked for.
pub(crate) const TOP_FILTER_CHARS_MAX: usize = 60;

/// How long pages and services under way may take to finish when the node stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

const _: () = assert!(FETCH_PARTITION_BYTES <= FETCH_BYTES);
