//! Limits of the engine, with what each protects.

use std::time::Duration;

/// Most records that one poll returns, whatever its caller asks.
pub const POLL_RECORDS_MAX: usize = 10_000;
/// Bytes of records that one batch of a producer may hold before it is split; a larger single
/// record goes alone. Below Kafka's default `max.message.bytes` (1,048,588) with the batch's own
/// 61 bytes. A topic that takes less gets smaller batches.
pub const BATCH_RECORDS_BYTES_MAX: usize = 1_000_000;
/// Bytes of a batch besides its records: what `max.message.bytes` must leave room for.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Records that one batch of a producer may hold, so that many tiny records are split too.
pub const BATCH_RECORDS_MAX: usize = 50_000;
/// Times that one send tries again under a new producer identity or a smaller batch limit.
pub const SEND_ATTEMPTS_MAX: u32 = 5;
/// Age at which a producer or a group leader asks for a topic's partitions again.
pub const METADATA_AGE_MAX: Duration = Duration::from_secs(1);
/// How long a send to a topic of a cluster waits for what it asks anew, before it goes on with what is known.
pub const KNOWN_WAIT: Duration = Duration::from_millis(250);
/// Bytes of all partitions in one fetch of a subscription; a single larger batch is still served.
pub const FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one partition in one fetch of a subscription.
pub const FETCH_PARTITION_BYTES_MAX: usize = 1024 * 1024;
/// Longest that one fetch is parked in the node; longer waits are made of several.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest time between two heartbeats; a third of the session timeout when that is less. Also how
/// late a member learns of a rebalance.
pub const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_millis(250);
/// How long a rebalance waits for a member to poll and join again before it goes on without it.
pub const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a partition that cannot be read just now (its topic is gone) is left out of fetches.
pub const PARTITION_PAUSE: Duration = Duration::from_secs(1);
/// Entries of one list in another member's subscription or assignment; more is malformed.
pub const MEMBER_LIST_MAX: usize = 100_000;
/// How long a transaction may take unless its producer says otherwise; Kafka's own default.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long opening a transactional id waits for the end of the transaction that its former holder left.
pub const TRANSACTION_OPEN_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at a transaction that is being decided.
pub const TRANSACTION_RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long connecting to a cluster waits for a first broker, unless the URL says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one question to a cluster may take, unless the URL says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a broker of a cluster may be silent while something is asked of it before it is taken for lost and the
/// same is asked of whoever leads by then, unless the URL says otherwise. Asking again does no harm: what was appended
/// already is recognized.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a cluster may take to acknowledge a record, with every repetition, unless the URL says otherwise.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a file that holds a secret; a token of OAUTHBEARER has a few thousand.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a file of properties.
pub const PROPERTIES_BYTES_MAX: u64 = 64 * 1024;
/// Longest pause between two attempts to connect to a broker that was lost.
pub const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Longest pause before a request to a cluster is repeated, and between two looks for the leader of a partition
/// that has lost its own: it adds to the time for which a service stands still.
pub const CLUSTER_RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);
/// After which a step at a cluster is held up, and its client looks round for brokers that are gone.
pub const HELD_UP_AFTER: Duration = Duration::from_secs(1);
/// Between two looks of a client that is held up.
pub const LOOK_ROUND_PAUSE: Duration = Duration::from_millis(250);
/// Looks of one send that is held up: by then it is not a lost broker that it waits for.
pub const LOOKS_ROUND_MAX: usize = 40;
/// Looks of a member of a group after a broker was lost: each asks another broker, as chance has it.
pub const LOOKS_AFTER_A_LOSS: usize = 8;
/// Looks of one that leaves for a reason that nobody has found yet.
pub const LOOKS_WITHOUT_A_LOSS: usize = 3;
/// How long a member of a group that leaves after a loss waits for its coordinator.
pub const COORDINATOR_FOUND_WITHIN: Duration = Duration::from_secs(1);
/// What a client has to find its way once a broker is known to have ended, before it is given up.
pub const WAY_FOUND_WITHIN: Duration = Duration::from_secs(5);
/// How long the machine of a broker that is gone has to refuse a connection.
pub const REFUSED_WITHIN: Duration = Duration::from_millis(200);
/// How long new clients begin at the brokers that were left when one was lost.
pub const LOST_REMEMBERED: Duration = Duration::from_secs(30);
/// Times that a transactional id is opened, each with another client where the one before found no way.
pub const OPENINGS_MAX: usize = 3;
/// How late the end of a cluster's client is noticed by what serves it.
pub const SERVE_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at whether a cluster's brokers have all seen a change.
pub const CHANGE_LOOK_PAUSE: Duration = Duration::from_millis(20);
/// For a partition's leader that has moved, or has not heard that it leads, to be found: an election on a
/// busy cluster takes a part of it.
pub const LEADER_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks at whether a topic's partitions take records again.
pub const LEADER_LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries to commit to a group whose coordinator is on its way to another broker.
pub const COMMIT_RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often a change in a cluster has to be seen in a row before it is taken to be known.
pub const CHANGE_LOOKS: usize = 6;
/// For a topic that was just made to be known to whichever broker is asked.
pub const CHANGE_SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Readers of a cluster of each kind that are kept for the next read; each has a few threads.
pub const READERS_KEPT_MAX: usize = 4;
/// Bytes of keys and values after which a poll of a cluster's subscription is full. More would be copied to where no
/// processor's cache is any more when it is used.
pub const POLL_BYTES_MAX: usize = FETCH_PARTITION_BYTES_MAX;
/// Kilobytes of records that one reader or subscription of a cluster fetches ahead.
pub const FETCHED_AHEAD_KILOBYTES_MAX: usize = 16 * 1024;
/// How long a broker of a cluster waits for a first record before it answers a fetch of a subscription, or of
/// a reader that waits for records to come.
pub const CLUSTER_FETCH_WAIT: Duration = Duration::from_millis(500);
/// The same for a reader of what is there: a broker is asked by one fetch at a time, so turning a reader to
/// another partition takes as long.
pub const CLUSTER_FETCH_WAIT_BRIEF: Duration = Duration::from_millis(10);
/// Records and kilobytes that one producer of a cluster may have under way; then its senders wait.
pub const SENDING_RECORDS_MAX: usize = 100_000;
/// See [`SENDING_RECORDS_MAX`].
pub const SENDING_KILOBYTES_MAX: usize = 64 * 1024;
/// How long a member of a group in a cluster may go without a poll before it is put out; Kafka's own
/// default. A rebalance waits as long for it.
pub const CLUSTER_POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);
/// How often a client of a cluster asks which brokers there are and who leads its partitions: a broker that was
/// cut off does not say that it leads no more, and what waits for its answer is sent again when it is seen to be gone.
/// Also how late a member of a group learns of topics that came, went or grew.
pub const CLUSTER_METADATA_AGE_MAX: Duration = Duration::from_secs(1);
/// Former owners that a new member of a group in a cluster fences at once; each takes a client.
pub const CLUSTER_FENCES_AT_ONCE: usize = 8;
/// Time between two heartbeats to a cluster, or a third of the session timeout when that is less.
pub const CLUSTER_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

const _: () = assert!(FETCH_PARTITION_BYTES_MAX <= FETCH_BYTES_MAX);
const _: () = assert!(BATCH_RECORDS_BYTES_MAX + BATCH_HEADER_BYTES <= 1_048_588);
