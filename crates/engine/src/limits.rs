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

const _: () = assert!(FETCH_PARTITION_BYTES_MAX <= FETCH_BYTES_MAX);
const _: () = assert!(BATCH_RECORDS_BYTES_MAX + BATCH_HEADER_BYTES <= 1_048_588);
