//! Limits of the SDK, with what each protects.

use std::time::Duration;

/// Inputs whose completion a service remembers, the most recent: the window of de-duplication.
/// About 64 MiB when full.
pub const PROCESSED_IDS_MAX: usize = 1_000_000;

/// Most records a service takes from one poll, and so handles between two commits.
pub const BATCH_RECORDS_MAX: usize = 500;

/// Bytes of outputs and dead letters that a service holds before it appends them, even in the
/// middle of a batch. One input's outputs may exceed it by [`INPUT_OUTPUT_BYTES_MAX`].
pub const PENDING_BYTES_MAX: usize = 256 * 1024;

/// Bytes of all outputs of one input; more is a rejection. Leaves room below Kafka's default
/// `max.message.bytes` of 1,048,588, because they may all go to one partition in one batch.
pub const INPUT_OUTPUT_BYTES_MAX: usize = 700 * 1024;

/// Largest dead letter written with its value, where the topic takes as much; a larger one keeps key, headers and the position of
/// the original, and says so in `tidings-dead-truncated`.
pub const DEAD_LETTER_BYTES_MAX: usize = INPUT_OUTPUT_BYTES_MAX;

/// What a dead-letter topic must take, at least, for a service to start: a letter that is cut down to
/// its cause always fits.
pub const DEAD_TOPIC_RECORD_BYTES_MIN: usize = 64 * 1024;

/// Most bytes of a cause, and of a chain of causes, kept in a dead letter's headers.
pub const CAUSE_BYTES_MAX: usize = 8 * 1024;

/// Own appends remembered by offset so that replay does not fold them twice; beyond it the service
/// reads its output topics up to their ends, which empties the memory.
pub const OWN_APPENDS_MAX: usize = 100_000;

/// Records read at once from each output partition during a replay.
pub const REPLAY_RECORDS: usize = 1_000;

/// Bytes read at once from each output partition during a replay.
pub const REPLAY_BYTES: usize = 1024 * 1024;

/// Between two looks at a transaction that is not decided and holds up a replay.
pub const REPLAY_PAUSE: Duration = Duration::from_millis(20);

/// How long a transaction of a service may be open: one batch of effects and positions is appended in it,
/// nothing is handled. The engine aborts one that takes longer, and the service joins again.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a new owner of a partition waits for transactions that others have open in the output topics.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// How long one poll waits for records.
pub const POLL_WAIT: Duration = Duration::from_secs(1);

/// Longest that one poll blocks while the service waits out a backoff or an outage; how soon it
/// learns that a partition was taken away.
pub const WAITING_POLL: Duration = Duration::from_millis(500);

/// Longest that a service works through a batch, or the handlers of one event, before it appends,
/// commits and polls again to hear of a rebalance: a member that is silent for the engine's
/// `REBALANCE_TIMEOUT` loses its partitions.
pub const CHECK_IN: Duration = Duration::from_secs(5);

/// The longest time that a service may give its handlers: with [`CHECK_IN`] and the append it stays
/// below the engine's `REBALANCE_TIMEOUT`.
pub const HANDLER_TIMEOUT_MAX: Duration = Duration::from_secs(45);

/// How long a handler may take, unless [`Service::timeout`](crate::Service::timeout) says otherwise.
pub const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Most rows that a relay takes from an outbox at once, and so publishes in one transaction.
pub const OUTBOX_ROWS: usize = 500;

/// Bytes of rows after which a relay takes no more of them at once; the last row may exceed it by
/// [`INPUT_OUTPUT_BYTES_MAX`], a row of Debezium's layout by whatever the database holds in one.
pub const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest id of an event in an outbox.
pub const OUTBOX_ID_BYTES_MAX: usize = 255;

/// Longest name of an outbox: it names tables, topics and locks, with something behind it.
pub const OUTBOX_NAME_LENGTH_MAX: usize = 40;

/// Into so many lanes the keys of an outbox are divided. Transactions that add events of one lane follow each
/// other, so one transaction holds at most so many locks; PostgreSQL has room for about 6,400 by default.
pub const OUTBOX_LANES: u64 = 1024;

/// How often a relay looks for rows that nobody tells it of.
pub const OUTBOX_POLL: Duration = Duration::from_millis(100);

/// The same where PostgreSQL tells it (LISTEN): for what was told while it did not listen, and to notice
/// that its connection, and so its lead, is lost.
pub const OUTBOX_POLL_TOLD: Duration = Duration::from_secs(2);

/// How often a relay that does not lead tries to: how long an outbox stands still when the leader dies.
pub const OUTBOX_STAND_BY: Duration = Duration::from_millis(500);

/// How long a database may take to begin a transaction and look for an input's inbox row before that is an
/// outage; a quarter of the attempt's time where that is less.
pub const INBOX_BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// Inbox rows that `Inbox::forget` removes in one transaction.
pub const INBOX_FORGET_ROWS: usize = 500;

/// First and longest pause before a service resubscribes after an engine error.
pub const RESUBSCRIBE_FIRST: Duration = Duration::from_millis(50);
/// See [`RESUBSCRIBE_FIRST`].
pub const RESUBSCRIBE_MAX: Duration = Duration::from_secs(5);

/// Causes and chains of causes in a dead letter: its own, and two of each family of headers.
const CAUSES: usize = 7;

const _: () = assert!(PENDING_BYTES_MAX + INPUT_OUTPUT_BYTES_MAX < 1_048_588);
const _: () = assert!(DEAD_LETTER_BYTES_MAX + CAUSES * CAUSE_BYTES_MAX < 1_048_588);
const _: () = assert!(CAUSES * CAUSE_BYTES_MAX < DEAD_TOPIC_RECORD_BYTES_MIN);
// A note names every row of a batch; a character of an id takes up to six bytes in JSON.
const _: () = assert!(OUTBOX_ROWS * (OUTBOX_ID_BYTES_MAX * 6 + 3) < 900 * 1024);
const _: () = assert!(INBOX_BEGIN_WITHIN.as_secs() * 2 < HANDLER_TIMEOUT_MAX.as_secs());
const _: () = assert!(RESUBSCRIBE_FIRST.as_millis() < RESUBSCRIBE_MAX.as_millis());
const _: () = assert!(HANDLER_TIMEOUT.as_secs() <= HANDLER_TIMEOUT_MAX.as_secs());
const _: () = assert!(
    HANDLER_TIMEOUT_MAX.as_secs() + CHECK_IN.as_secs() + 10
        <= tidings_engine::limits::REBALANCE_TIMEOUT.as_secs()
);
const _: () = assert!(BATCH_RECORDS_MAX <= tidings_engine::limits::POLL_RECORDS_MAX);
