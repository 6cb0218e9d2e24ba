//! The owner's books: which logs there are and what they are like. They outlive a crash, as a catalog does.

use tidings_log::{LogConfig, LogId, LogKey, Moment, StoreConfig};

use crate::batches::Values;
use crate::model::LogModel;
use crate::random::Random;

/// Any time that is not near 0.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// What a log of a history is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Compacted,
    BySize,
    ByTime,
    InMemory,
}

impl Kind {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Plain, "orders-0"),
        (Self::Compacted, "stock-0"),
        (Self::BySize, "clicks-0"),
        (Self::ByTime, "audit-1"),
        (Self::InMemory, "metrics-0"),
    ];

    /// Small segments with many index entries, so that a history rolls several times.
    pub(crate) fn config(self, random: &mut Random) -> LogConfig {
        let plain = LogConfig {
            segment_bytes: [400, 1_500, 4_500][random.below(3) as usize],
            index_interval_bytes: [150, 600][random.below(2) as usize],
            segment_index_bytes: [64, 10_000][random.below(2) as usize],
            retention_ms: -1,
            ..LogConfig::KAFKA
        };
        match self {
            Self::Plain => plain,
            Self::Compacted => LogConfig {
                delete: false,
                compact: true,
                min_cleanable_dirty_millionths: [0, 300_000][random.below(2) as usize],
                delete_retention_ms: [0, 1 << 40][random.below(2) as usize],
                ..plain
            },
            Self::BySize => LogConfig { retention_bytes: 3_000, ..plain },
            Self::ByTime => LogConfig { retention_ms: 60_000, ..plain },
            Self::InMemory => LogConfig { volatile: true, ..plain },
        }
    }
}

/// A log with its place in the owner's books.
#[derive(Clone, Debug)]
pub struct Slot {
    pub id: LogId,
    pub kind: Kind,
    pub stage: Stage,
    pub model: LogModel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Live,
    /// Removal was decided, durably; the folder may be there.
    Removed,
    Gone,
}

/// What outlives a crash besides the disk: the owner's books and what was promised.
#[derive(Clone, Debug)]
pub struct Books {
    pub slots: Vec<Slot>,
    pub config: StoreConfig,
    pub(crate) now: Moment,
    pub(crate) leader_epoch: i32,
    keys_made: u8,
    pub(crate) values: Values,
}

impl Books {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xb00c);
        let config = StoreConfig {
            journal_bytes: [65_536, 98_304][random.below(2) as usize],
            journal_chunk_bytes: 16_384,
            journal_seed: seed,
            writes_in_flight_max: 1 + random.below(4) as usize,
            write_bytes_max: [4_096, 8_192][random.below(2) as usize],
            flush_bytes: [4_000, 16_000][random.below(2) as usize],
            flush_part_bytes: [1, 20_000, 100_000][random.below(3) as usize],
            unflushed_bytes_max: 40_000,
            flush_after_ms: 500,
            open_files_max: [1, 8][random.below(2) as usize],
            cache_bytes: [0, 6_000, 60_000][random.below(3) as usize],
            retention_check_ms: 400,
            // The model remembers every producer, and so must the store.
            producers_max: usize::MAX,
            producer_expiry_ms: i64::MAX,
            compaction_slots_max: 1 << 16,
            scrub_bytes_per_second: [0, 10_000][random.below(2) as usize],
        };
        let mut books = Self {
            slots: Vec::new(),
            config,
            now: Moment { wall_ms: BEGIN_MS, mono_ms: 1_000 },
            leader_epoch: 0,
            keys_made: 0,
            values: Values::Any,
        };
        let first = random.below(5) as usize;
        for (kind, dir) in (0..4).map(|at| Kind::ALL[(first + at) % 5]) {
            let config = kind.config(&mut random);
            books.create(kind, dir, config);
        }
        books
    }

    /// Few bytes of everything, for a directory of which every bit is flipped.
    pub(crate) fn small(seed: u64) -> Self {
        let mut books = Self::new(seed);
        books.values = Values::Small;
        books.config.journal_bytes = 32_768;
        books.config.journal_chunk_bytes = 8_192;
        books.config.cache_bytes = 0;
        books.config.scrub_bytes_per_second = 0;
        books
    }

    pub(crate) fn create(&mut self, kind: Kind, dir: &str, config: LogConfig) -> usize {
        self.keys_made += 1;
        let mut model = LogModel::new(LogKey([self.keys_made; 20]), dir, config);
        model.now_ms = self.now.wall_ms;
        let id = LogId(u64::from(self.keys_made));
        self.slots.push(Slot { id, kind, stage: Stage::Live, model });
        self.slots.len() - 1
    }
}
