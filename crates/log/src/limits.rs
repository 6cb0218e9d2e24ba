//! Limits of the log, with what each protects.

/// Largest batch that a log takes, whatever a topic's `max.message.bytes` says.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes that decompressing one batch may yield.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a producer's batch may decompress to whatever its size: batches of a few megabytes of equal bytes
/// are honest, and zstd makes a hundred bytes of them.
pub const DECOMPRESSED_BYTES_FREE: usize = 8 * 1024 * 1024;
/// Beyond that, bytes that may come out of each byte of a producer's batch: more than gzip (1,032), lz4
/// (255) and snappy (21) ever reach. Only zstd, which makes 32,768 of one, is held back: otherwise a request
/// of two kilobytes would cost as much time as one of a megabyte.
pub const DECOMPRESSION_RATIO_MAX: usize = 1_100;
/// What decoding one batch takes at most: what comes out of it, and a window that zstd keeps of the
/// same. One is decoded at a time for requests, and one for upkeep.
pub const DECODING_BYTES_MAX: usize = 2 * DECOMPRESSED_BYTES_MAX;
/// Records of a refused batch that the answer names, as Kafka's message does.
pub const REFUSED_RECORDS_MAX: usize = 3;
/// Largest window a zstd frame may ask for, as a power of two; what the highest level uses. Of its
/// memory only as much is touched as comes out.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Most bytes that one read returns beyond its first batch, whatever the caller asks for.
pub const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest segment: positions in Kafka's index are signed 32-bit.
pub const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;
/// Batches remembered per producer, Kafka's bound on `max.in.flight.requests.per.connection`.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Producers remembered per partition; past it the one that wrote longest ago is forgotten.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 16_384;
/// What a batch takes in the tail of its log beside its bytes: 64 bytes in a queue that doubles.
pub const TAIL_BATCH_BYTES: usize = 128;
/// Producers remembered in all, unless the store is told others; past it the partition that remembers
/// most of them forgets those that wrote longest ago.
pub const PRODUCERS_MAX: usize = 128_000;
/// What a partition then forgets at once of those that it may: the more, the less often it is looked for.
pub const PRODUCERS_FORGOTTEN_SHARE: usize = 8;
/// What one remembered producer takes with as many batches as are remembered: in the log, in what a
/// flush has of it, and in the copy that a flush works on. Measured by `tests/broker/memory.rs` of
/// the broker with an allocator that counts.
pub const PRODUCER_BYTES: usize = 1280;
/// Of all producers that are remembered this part may have transactions open: none of those is forgotten.
pub const OPEN_TRANSACTIONS_SHARE: usize = 2;
/// Transactions open at a time per partition: no producer of one is forgotten, so this bounds memory.
pub const OPEN_TRANSACTIONS_PER_PARTITION_MAX: usize = 8_192;
/// Leader epochs that a checkpoint remembers; older ones are checked only for being older.
pub const LEADER_EPOCHS_MAX: usize = 32;
/// Largest of Kafka's text checkpoints that is read: 10,000 lines with the longest topic names are 3 MB.
pub const CHECKPOINT_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Producer snapshots kept: the newest, and one to fall back to when it is damaged.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Bytes of a journal frame above which the next entry begins another one, while fewer writes are out
/// than may be: writes that overlap cost little more than one.
pub const JOURNAL_SPREAD_BYTES: usize = 16 * 1024;
/// Bytes read at a time when a log is scanned.
pub const SCAN_CHUNK_BYTES: usize = 256 * 1024;
/// Places at which a batch with a wrong length may seem to end that are tried, each at the cost of two
/// reads: hostile records can hold as many as they like.
pub const CHECKED_ENDS_MAX: usize = 64;
/// Parts of a flush round that are done side by side: one waits for the disk most of its time.
pub const FLUSH_PARTS_MAX: usize = 8;
/// Files and folders above which the part of a flush round leaves them to one sync of the whole disk.
pub const FLUSH_SYNC_ALL_FILES: usize = 64;
/// Logs, and batches, that one step of putting a flush round together looks at: about a millisecond.
pub const PLAN_LOGS_PER_STEP: usize = 512;
pub const PLAN_BATCHES_PER_STEP: usize = 16_384;
/// Milliseconds until a flush that met a fault is tried again.
pub const FLUSH_RETRY_MS: u64 = 500;
/// Milliseconds between two writings of Kafka's own checkpoints of all partitions.
pub const KAFKA_FILES_EVERY_MS: u64 = 60_000;
/// Milliseconds after which an idle journal notes how far it is durable.
pub const ANNOUNCE_AFTER_MS: u64 = 100;
/// Milliseconds until a log is looked at again that waits for its next flush.
pub const UPKEEP_SOON_MS: u64 = 1_000;
/// Bytes that the scrubber reads at a time.
pub const SCRUB_STEP_BYTES: u64 = 1 << 20;
/// Places found damaged that are told of; past it a new one is not.
pub const ROTS_REMEMBERED_MAX: usize = 4096;
/// Openings whose first sequences the journal's control file remembers; frames of older ones are told
/// from dropped ones only by the chain they are in.
pub const JOURNAL_EPOCHS_MAX: usize = 24;
/// Bytes of the journal's ring read at a time when it is opened.
pub const JOURNAL_READ_BYTES: usize = 1 << 20;
/// Bytes of zeros written at a time when the journal's ring grows.
pub const JOURNAL_PREPARE_BYTES: usize = 1 << 20;

const _: () = assert!(OPEN_TRANSACTIONS_PER_PARTITION_MAX < PRODUCERS_PER_PARTITION_MAX);
const _: () = assert!(PRODUCERS_PER_PARTITION_MAX <= PRODUCERS_MAX);
const _: () = assert!(OPEN_TRANSACTIONS_SHARE > 1);
/// Bytes that one step of a compaction reads.
pub const COMPACTION_STEP_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that a compaction reads or writes at a time.
pub const COMPACTION_CHUNK_BYTES: usize = 1024 * 1024;
/// Places for keys in a compaction's memory, unless the store is told others.
pub const COMPACTION_SLOTS_MAX: usize = 1 << 22;

/// What a producer's batch may decompress to whose compressed records are so many bytes.
pub const fn decompressed_bytes_max(compressed: usize) -> usize {
    let by_ratio = compressed.saturating_mul(DECOMPRESSION_RATIO_MAX);
    if by_ratio < DECOMPRESSED_BYTES_FREE {
        DECOMPRESSED_BYTES_FREE
    } else if by_ratio < DECOMPRESSED_BYTES_MAX {
        by_ratio
    } else {
        DECOMPRESSED_BYTES_MAX
    }
}

const _: () = assert!(DECOMPRESSED_BYTES_FREE < DECOMPRESSED_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= SEGMENT_BYTES_MAX as usize);
const _: () = assert!(SCAN_CHUNK_BYTES >= 4096);
const _: () = assert!(COMPACTION_SLOTS_MAX.is_power_of_two());
