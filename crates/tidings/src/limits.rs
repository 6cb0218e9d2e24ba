//! Limits of the SDK, with what each protects.

use std::time::Duration;

/// Blocks of finished inputs that a task keeps for each partition, so that an event that is in the input twice is
/// handled once.
pub const RECENT_SLOTS: u32 = 256;
/// A block with fewer inputs is written again with more in it: so many times the slots are remembered at least, the
/// most recent of a partition.
pub const RECENT_BLOCK_MIN: usize = 256;
/// Inputs in a block. About 16 MiB a partition when all blocks are as large.
pub const RECENT_BLOCK_MAX: usize = 1_024;

/// Records of a partition that later ones may overtake. Says how large the text beside a committed position gets:
/// Kafka takes 4,096 bytes, and one record takes up to 17.
pub const OVERTAKEN_MAX: usize = 200;

/// Records of a partition that wait for their turn in memory; one poll's worth may come on top.
pub const BUFFERED_RECORDS_MAX: usize = 2_000;
/// Their bytes; one poll's worth may come on top.
pub const BUFFERED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events that a service begins to handle before it commits what has ended, and for how long it does so, in
/// milliseconds.
pub const BEGUN_MAX: usize = 5_000;
/// See [`BEGUN_MAX`].
pub const BEGINNING_MS_MAX: u64 = 50;

/// Bytes of the records of a partition that are put aside. When they are that many, the partition is not read on
/// until some are handled, redriven or discarded.
pub const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a record that was put aside takes beside its own bytes, about.
pub const PARKED_OVERHEAD_BYTES: usize = 512;

/// How often a dead key is redriven; then it takes `force`.
pub const REDRIVES_MAX: u32 = 3;
/// Longest time over which a redrive with a rate is spread; the keys that are left are then due together.
pub const REDRIVE_SPREAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a service waits for a command before it asks again.
pub const CONTROL_WAIT: Duration = Duration::from_secs(5);
/// Commands that wait until a service has time for them.
pub const COMMANDS_QUEUED_MAX: usize = 16;

/// The last attempts, of different keys, by which a service tells an outage from bad messages.
pub const BREAKER_WINDOW: usize = 64;

/// Most records a service takes from one poll.
pub const BATCH_RECORDS_MAX: usize = 500;

/// Events that a service without states handles at once, unless it says otherwise.
pub const CONCURRENCY: usize = 32;
/// The most that it may say.
pub const CONCURRENCY_MAX: usize = 1_000;

/// Attempts that have a turn at a limited dependency at once, unless its [`Limits`](crate::Limits) say otherwise.
pub const TURNS_AT_ONCE: usize = 8;
/// Attempts that wait for one.
pub const TURNS_WAITING: usize = 8;
/// A bucket of tokens whose burst nobody said holds what comes in this part of a second.
pub const BURST_PARTS: u32 = 10;
/// How soon an event that had no turn comes again, at the soonest and at the latest.
pub const TURNED_AWAY_FIRST: Duration = Duration::from_millis(50);
/// See [`TURNED_AWAY_FIRST`].
pub const TURNED_AWAY_MAX: Duration = Duration::from_secs(10);
/// Between two of them, where the dependency has no rate: what asking in vain costs at most, also those who ask nothing.
pub const TURNED_AWAY_EVERY: Duration = Duration::from_millis(1);

/// How often a service looks how far behind it is, at most.
pub const BEHIND_EVERY: Duration = Duration::from_millis(100);

/// How often a service's instance writes a report, at most; when nothing has changed, see [`REPORT_EVERY_MAX`].
pub const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How often it writes one at least. Readers take one that is three times as old for that of an instance that is gone.
pub const REPORT_EVERY_MAX: Duration = Duration::from_secs(30);
/// The largest report that is written, and read: 64 handlers take about 40 KiB.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;
/// Handlers in a report; a service with more writes none. Protects who shows them: a handler is 45 lines of metrics.
pub const REPORT_HANDLERS_MAX: usize = 200;
/// Dependencies with limits in a report; a dependency is six lines of metrics, and holds one event that may be overtaken at least.
pub const REPORT_DEPENDENCIES_MAX: usize = OVERTAKEN_MAX;
/// Bytes of the name of a service, of an instance, of a handler or of a dependency in a report.
pub const REPORT_NAME_BYTES_MAX: usize = 256;
/// Most bytes of an outage's cause in a report.
pub const REPORT_CAUSE_BYTES_MAX: usize = 1024;
/// How long a clean stop waits until its report is taken back.
pub const REPORT_STOP_WITHIN: Duration = Duration::from_secs(2);
/// How long reports stay in their topic: those of instances that died are never taken back.
pub const REPORT_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Segments of the topic of reports.
pub const REPORT_SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of outputs and dead letters that a service holds before it commits them, even when there is more to
/// do.
pub const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Segments of the changelog.
pub const CHANGELOG_SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the values by key that a partition's owner has in memory, for each state.
pub const KEYED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a value takes beside its own bytes and its key's, about.
pub const KEYED_OVERHEAD_BYTES: usize = 128;
/// Bytes of values by key that are read ahead of the disk, for an instance whose values are there.
pub const STORE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of changed values that it has in memory for each partition and state before they are written in one piece.
pub const STORE_WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// How long a service that starts waits for a folder that an instance before it has not let go of.
pub const STORE_FREE_WITHIN: Duration = Duration::from_secs(5);
/// How long it waits between two tries.
pub const STORE_FREE_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at the topics of which a service keeps copies.
pub const STANDBY_EVERY: Duration = Duration::from_millis(500);
/// Bytes that are written to such a store at once while the topic is read.
pub const STORE_RESTORE_BYTES: usize = 1024 * 1024;
/// Longest name of a state by key: its topic is named after it and the service.
pub const KEYED_NAME_MAX: usize = 40;

/// Bytes that go into one append of a transaction; it may all be one batch of one partition, and Kafka's default
/// of `max.message.bytes` is 1,048,588. A single record may be larger.
pub const APPEND_BYTES_MAX: usize = 700 * 1024;

/// What the changelog's records may have on top of the largest record of the input: key and headers.
pub const CHANGELOG_ROOM_BYTES: usize = 64 * 1024;

/// Bytes of all outputs of one input; more is a failed attempt. Leaves room below Kafka's default
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

/// The longest time that a service may give its handlers: stopping waits for them.
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

const _: () = assert!(APPEND_BYTES_MAX < 1_048_588);
const _: () = assert!(CONCURRENCY <= CONCURRENCY_MAX);
const _: () = assert!(DEAD_LETTER_BYTES_MAX + CAUSES * CAUSE_BYTES_MAX < 1_048_588);
const _: () = assert!(CAUSES * CAUSE_BYTES_MAX < DEAD_TOPIC_RECORD_BYTES_MIN);
// A note names every row of a batch; a character of an id takes up to six bytes in JSON.
const _: () = assert!(OUTBOX_ROWS * (OUTBOX_ID_BYTES_MAX * 6 + 3) < 900 * 1024);
const _: () = assert!(INBOX_BEGIN_WITHIN.as_secs() * 2 < HANDLER_TIMEOUT_MAX.as_secs());
const _: () = assert!(RESUBSCRIBE_FIRST.as_millis() < RESUBSCRIBE_MAX.as_millis());
const _: () = assert!(HANDLER_TIMEOUT.as_secs() <= HANDLER_TIMEOUT_MAX.as_secs());
const _: () = assert!(BATCH_RECORDS_MAX <= tidings_engine::limits::POLL_RECORDS_MAX);
const _: () = assert!(OVERTAKEN_MAX * 17 + 32 <= 4_096);
const _: () = assert!(RECENT_BLOCK_MIN < RECENT_BLOCK_MAX);
const _: () = assert!(TURNS_AT_ONCE + TURNS_WAITING < CONCURRENCY_MAX);
const _: () = assert!(TURNED_AWAY_FIRST.as_millis() < TURNED_AWAY_MAX.as_millis());
const _: () = assert!(REPORT_EVERY.as_secs() < REPORT_EVERY_MAX.as_secs());
const _: () = assert!(REPORT_BYTES_MAX < 1_048_588 && REPORT_BYTES_MAX < REPORT_SEGMENT_BYTES);
