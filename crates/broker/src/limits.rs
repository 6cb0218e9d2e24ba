//! Limits of the broker, with what each protects.

pub use tidings_coordinator::limits::{
    ALL_GROUPS_BYTES_MAX, GROUPS_MAX, MEMBERS_PER_GROUP_MAX, OFFSET_METADATA_BYTES_MAX,
    OFFSETS_RETENTION_MS, RETENTION_CHECK_MS, SESSION_TIMEOUT_MAX_MS, SESSION_TIMEOUT_MIN_MS,
    TRANSACTION_BYTES_MAX,
};

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 10_000;
/// Partitions of the node: each takes memory, [`PARTITION_BYTES`].
pub const PARTITIONS_MAX: usize = 20_000;
/// What a topic of the longest name with one partition takes, which has some batches and a segment; further
/// partitions of a topic take less. Measured by `tests/broker/memory.rs` with an allocator that counts.
pub const PARTITION_BYTES: usize = 8 * 1024;
/// Bytes of all configurations, assignments and quotas that clients have said.
pub const SAID_BYTES_MAX: usize = 48 * 1024 * 1024;
/// What all configs of one resource take, where there are any, beside each of them. This and the next two
/// were measured by `tests/broker/memory.rs` with an allocator that counts.
pub const CONFIGS_BYTES: usize = 576;
/// What one config takes beside its name and value.
pub const CONFIG_BYTES: usize = 160;
/// What a group of which something is said takes, or the definition of a quota, beside its names, which are
/// kept twice.
pub const SAID_OF_BYTES: usize = 384;
/// What an assignment of a partition takes beside the brokers it names.
pub const ASSIGNMENT_BYTES: usize = 48;
/// Brokers that one node may be shown as: each has a listener of its own.
pub const BROKERS_MAX: i32 = 32;
/// Bytes of a folder's name that every file system takes.
pub const FOLDER_NAME_BYTES_MAX: usize = 255;
/// Bytes of a topic's name; its partitions' folders must fit.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Configs that may be said of one resource.
pub const CONFIGS_PER_TOPIC_MAX: usize = 100;
/// Groups of which something is said.
pub const GROUPS_CONFIGURED_MAX: usize = 10_000;
/// Bytes of the name of such a group.
pub const CONFIGURED_GROUP_NAME_BYTES_MAX: usize = 1_024;
/// Definitions of quotas.
pub const QUOTAS_MAX: usize = 10_000;
/// Clients whose use of their quotas is remembered: a name is the client's to choose.
pub const QUOTA_BUCKETS_MAX: usize = 10_000;
/// What a client with a quota may use at once: what its rate gives in this time, as by Kafka's
/// eleven samples of a second.
pub const QUOTA_WINDOW_MS: u64 = 10_000;
/// Longest pause that a client is told; below the 30 s after which Kafka's clients give a request up.
pub const QUOTA_THROTTLE_MAX_MS: u64 = 20_000;
/// Bytes of the names in what is remembered of clients with quotas.
pub const QUOTA_BUCKET_NAMES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one config's value.
pub const CONFIG_VALUE_BYTES_MAX: usize = 32_767;
/// Fetches that may wait for data at once; further ones are answered at once with what there is.
pub const WAITING_FETCHES_MAX: usize = 20_000;
/// Bytes of batches in one fetch answer, whatever the client allows (one batch may exceed it).
pub const FETCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Fetch sessions kept at once (Kafka's `max.incremental.fetch.session.cache.slots`); a client that
/// gets none sends full fetches.
pub const FETCH_SESSIONS_MAX: usize = 1_000;
/// Partitions of all fetch sessions; each takes [`FETCH_SESSION_PARTITION_BYTES`].
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 240_000;
/// What a partition of a session takes whose topic is said by the longest name; one that is said by its id
/// takes less. Measured by `tests/broker/memory.rs` with an allocator that counts.
pub const FETCH_SESSION_PARTITION_BYTES: usize = 1024;
/// A session that was not used for so long may go for any other, one that is older than that for a
/// larger one (Kafka's `min.incremental.fetch.session.eviction.ms`).
pub const FETCH_SESSION_EVICTION_MS: u64 = 120_000;
/// Longest wait of a fetch.
pub const FETCH_WAIT_MAX_MS: u32 = 300_000;
/// Reads of segments that may be out at once, a fetch of many partitions counting once; further
/// ones wait for their turn. Bounds the memory that cold data takes on its way.
pub const READS_OUT_MAX: usize = 16;
/// Bytes of batches that have been or are being read ahead of those who read segments one after
/// another; within what may be read at all.
pub const AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Milliseconds for which they are kept for a reader that does not come.
pub const AHEAD_KEPT_MS: u64 = 2_000;
/// Findings of damage kept until the owner asks for them; the oldest go first.
pub const DAMAGE_KEPT_MAX: usize = 1_000;
/// Longest wait of a produce request for room on the disk; below the 30 s after which Kafka's
/// clients give a request up.
pub const PRODUCE_WAIT_MAX_MS: u64 = 20_000;
/// Produce is slowed when less is free than this many times the reserve.
pub const THROTTLE_RESERVES: u64 = 2;
/// Produce that was refused for want of room is taken again with this share of the reserve free above it:
/// right at the reserve every file that comes or goes would turn the answer.
pub const RESUME_SHARE: u64 = 16;
/// Slowed produce takes this share of what is left above the reserve per second.
pub const THROTTLE_SHARE: u64 = 8;
/// Longest pause between two slowed produce requests.
pub const THROTTLE_PAUSE_MAX_MS: u64 = 1_000;
/// Producer ids reserved by one record of the catalog.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;
/// Bytes read at once when the catalog or the groups are loaded.
pub const LOAD_CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Records put into one batch of a broker's own log.
pub const OWN_BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// `-`, and the digits of a partition.
const PARTITION_SUFFIX_BYTES_MAX: usize = 6;
const _: () = assert!(TOPIC_NAME_BYTES_MAX + PARTITION_SUFFIX_BYTES_MAX <= FOLDER_NAME_BYTES_MAX);
const _: () = assert!(THROTTLE_PAUSE_MAX_MS < PRODUCE_WAIT_MAX_MS);
const _: () = assert!(PARTITIONS_PER_TOPIC_MAX <= 99_999);
const _: () = assert!(OWN_BATCH_BYTES_MAX * 2 <= tidings_log::limits::BATCH_BYTES_MAX);
const _: () = assert!(
    tidings_coordinator::limits::GROUP_BYTES_MAX * 2 <= tidings_log::limits::BATCH_BYTES_MAX
);

/// What clients may make a broker keep beside records, all of it memory; the default is the constants of
/// the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimits {
    pub partitions_max: usize,
    pub said_bytes_max: usize,
    /// [`ALL_GROUPS_BYTES_MAX`].
    pub group_bytes_max: usize,
    pub transaction_bytes_max: usize,
    pub fetch_session_partitions_max: usize,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            partitions_max: PARTITIONS_MAX,
            said_bytes_max: SAID_BYTES_MAX,
            group_bytes_max: ALL_GROUPS_BYTES_MAX,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            fetch_session_partitions_max: FETCH_SESSION_PARTITIONS_MAX,
        }
    }
}
