//! Limits of the coordinator, with what each protects.

/// Shortest session: below it a pause of the client looks like its death (Kafka's
/// `group.min.session.timeout.ms`).
pub const SESSION_TIMEOUT_MIN_MS: i32 = 6_000;
/// Longest session: how long a dead member can hold partitions (`group.max.session.timeout.ms`).
pub const SESSION_TIMEOUT_MAX_MS: i32 = 1_800_000;
/// Session timeout of members of the consumer protocol, where nothing else is set
/// (`group.consumer.session.timeout.ms`), and its bounds.
pub const CONSUMER_SESSION_MS: i32 = 45_000;
pub const CONSUMER_SESSION_MIN_MS: i32 = 45_000;
pub const CONSUMER_SESSION_MAX_MS: i32 = 60_000;
/// How often they are to send heartbeats (`group.consumer.heartbeat.interval.ms`), and its bounds.
pub const CONSUMER_HEARTBEAT_MS: i32 = 5_000;
pub const CONSUMER_HEARTBEAT_MIN_MS: i32 = 5_000;
pub const CONSUMER_HEARTBEAT_MAX_MS: i32 = 15_000;
/// How long committed offsets are kept that nobody needs (`offsets.retention.minutes`).
pub const OFFSETS_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Time between two searches for them (`offsets.retention.check.interval.ms`).
pub const RETENTION_CHECK_MS: u64 = 600_000;
/// How long a new member's first join may wait before it counts as gone.
pub const NEW_MEMBER_JOIN_MAX_MS: u64 = 300_000;
/// Members of one group, those that were only given an id included (`group.max.size`).
pub const MEMBERS_PER_GROUP_MAX: usize = 1_000;
/// Groups on one node: memory, and the length of a listing.
pub const GROUPS_MAX: usize = 100_000;
/// Bytes of all groups: names, members with their metadata and assignments, committed and pending
/// offsets, unless the owner says otherwise; more is refused.
pub const ALL_GROUPS_BYTES_MAX: usize = 384 * 1024 * 1024;
/// Milliseconds until they are counted again when they have reached it.
pub const GROUP_RECOUNT_MS: u64 = 1000;
/// They are counted earlier when such a part of it has been taken since.
pub const GROUP_RECOUNT_SHARE: usize = 64;
/// What a member takes beside its metadata and assignment: its place in maps.
pub const MEMBER_BYTES: usize = 1024;
/// What a committed offset takes beside its metadata.
pub const OFFSET_BYTES: usize = 256;
/// What a group takes beside its name, which is kept four times, and what is in it. This and the next five
/// were measured by `tests/broker/memory.rs` of the broker with an allocator that counts.
pub const GROUP_BYTES: usize = 2560;
/// What a group takes beside that as one of the consumer protocol.
pub const CONSUMER_GROUP_BYTES: usize = 4096;
/// What a member of the consumer protocol takes beside what it says and has.
pub const CONSUMER_MEMBER_BYTES: usize = 1536;
/// What a name takes in a set of names, beside its bytes.
pub const LISTED_NAME_BYTES: usize = 48;
/// What a partition that a member is to have, has, or owns takes.
pub const ASSIGNED_PARTITION_BYTES: usize = 64;
/// What an offset that is pending in a transaction takes beside its metadata and its names, which are kept
/// twice, if it is its producer's only one.
pub const PENDING_OFFSET_BYTES: usize = 1536;
/// Protocols that one member may offer.
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 100;
/// Metadata of all protocols of one member.
pub const MEMBER_METADATA_BYTES_MAX: usize = 1024 * 1024;
/// Metadata, or assignments, of all members of one group; bounds the leader's join answer and the
/// group's record in the log.
pub const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of metadata in one committed offset (Kafka's `offset.metadata.max.bytes`).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;
/// Bytes of any one id or name, as a record in the log can hold it.
pub const NAME_BYTES_MAX: usize = 16_384;
/// Bytes of the client's id or instance id that go into a generated member id.
pub const MEMBER_ID_PREFIX_BYTES_MAX: usize = 255;
/// Groups that one step of the search for expired offsets looks at.
pub const GROUPS_PER_SWEEP: usize = 1_000;
/// Expired offsets after which a step ends; the group it is in is finished first.
pub const EXPIRIES_PER_SWEEP: usize = 1_000;
/// Pause between two steps, so that clients get their turn.
pub const SWEEP_PAUSE_MS: u64 = 10;
/// Bytes of a regular expression to which a member subscribes.
pub const REGEX_BYTES_MAX: usize = 4_096;
/// Memory that a compiled expression may take.
pub const REGEX_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Pause after which a change that time made due, and that the log did not take, is tried again.
pub const RETRY_MS: u64 = 1_000;
/// How long a group without members and offsets is kept for its generation number.
pub const IDLE_GROUP_KEPT_MS: u64 = 600_000;
/// Transactional ids on one node: the length of a listing.
pub const TRANSACTIONAL_IDS_MAX: usize = 100_000;
/// Bytes of all transactional ids and the partitions of their transactions, unless the owner says
/// otherwise.
pub const TRANSACTION_BYTES_MAX: usize = 96 * 1024 * 1024;
/// What a transactional id takes beside its name, which is kept three times. This and the next three were
/// measured by `tests/broker/memory.rs` of the broker with an allocator that counts.
pub const TRANSACTIONAL_ID_BYTES: usize = 512;
/// What a transaction takes that has any partitions.
pub const TRANSACTION_OPEN_BYTES: usize = 576;
/// What a topic of a transaction takes beside its name.
pub const TRANSACTION_TOPIC_BYTES: usize = 128;
/// What a partition of a transaction takes.
pub const TRANSACTION_PARTITION_BYTES: usize = 16;
/// Partitions of one transaction: its end appends a marker to each in one go, and its record names them.
pub const PARTITIONS_PER_TRANSACTION_MAX: usize = 10_000;
/// Longest transaction unless the owner says otherwise: how long a silent producer can hold readers of
/// committed records back (Kafka's `transaction.max.timeout.ms`).
pub const TRANSACTION_TIMEOUT_MAX_MS: i32 = 900_000;
/// How long a transactional id is kept that nobody uses, unless the owner says otherwise
/// (`transactional.id.expiration.ms`).
pub const TRANSACTIONAL_ID_KEPT_MS: u64 = 604_800_000;
/// Offsets that are pending in transactions on one node.
pub const PENDING_OFFSETS_MAX: usize = 100_000;
/// Until something that could not be written about a transaction is tried again.
pub const TRANSACTION_RETRY_MS: u64 = 1_000;

const _: () = assert!(SESSION_TIMEOUT_MIN_MS < SESSION_TIMEOUT_MAX_MS);
const _: () = assert!(CONSUMER_HEARTBEAT_MAX_MS < CONSUMER_SESSION_MIN_MS);
const _: () = assert!(CONSUMER_SESSION_MIN_MS <= CONSUMER_SESSION_MS);
const _: () = assert!(CONSUMER_SESSION_MS <= CONSUMER_SESSION_MAX_MS);
const _: () = assert!(MEMBER_METADATA_BYTES_MAX <= GROUP_BYTES_MAX);
const _: () = assert!(NAME_BYTES_MAX <= i16::MAX as usize);
const _: () = assert!(MEMBER_ID_PREFIX_BYTES_MAX + 64 < NAME_BYTES_MAX);
