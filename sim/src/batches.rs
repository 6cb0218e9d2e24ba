//! What producers send: plain, idempotent and transactional batches, and the ends of transactions.
//!
//! A producer goes on where its log says it stands, so that it is right after any crash.

use bytes::Bytes;
use tidings_log::{Batch, BatchBuilder, Compression, EndMarker, Ending, NewRecord};

use crate::model::LogModel;
use crate::random::Random;

const IDEMPOTENT: [i64; 2] = [1, 2];
const TRANSACTIONAL: [i64; 2] = [11, 12];
/// So few that compaction finds much to remove.
const KEYS: u64 = 6;

/// How large the values of records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Mostly small; sometimes more than a block, rarely several.
    Any,
    Small,
}

/// The next batch for a log.
pub fn next(random: &mut Random, log: &LogModel, now_ms: i64, values: Values) -> Batch {
    let sent = Sent { log, now_ms, values };
    match random.below(10) {
        0..=3 => sent.filled(random, BatchBuilder::new()),
        4..=6 => {
            let producer = IDEMPOTENT[random.below(2) as usize];
            let builder = continued(random, log, producer);
            sent.filled(random, builder)
        }
        _ => sent.transactional(random),
    }
}

struct Sent<'a> {
    log: &'a LogModel,
    now_ms: i64,
    values: Values,
}

impl Sent<'_> {
    fn transactional(&self, random: &mut Random) -> Batch {
        let producer = TRANSACTIONAL[random.below(2) as usize];
        let known = self.log.all.producers.get(&producer);
        if let Some(known) = known.filter(|known| known.open.is_some())
            && random.once_in(2)
        {
            let ending = if random.once_in(2) { Ending::Abort } else { Ending::Commit };
            let coordinator_epoch = known.coordinator_epoch.max(0) + random.below(2) as i32;
            let raised = i16::from(random.once_in(3));
            let marker = EndMarker { ending, coordinator_epoch };
            return marker.batch(producer, known.epoch + raised, self.now_ms);
        }
        let builder = continued(random, self.log, producer).transactional();
        self.filled(random, builder)
    }
    fn filled(&self, random: &mut Random, builder: BatchBuilder) -> Batch {
        let mut builder = match random.below(6) {
            0 => builder.compression(Compression::Lz4),
            _ => builder,
        };
        let count = if random.once_in(12) { 12 } else { 1 + random.below(3) };
        for _ in 0..count {
            let key = (self.log.config.compact || random.once_in(4))
                .then(|| Bytes::from(format!("key-{}", random.below(KEYS))));
            let is_tombstone = self.log.config.compact && random.once_in(6);
            let value = (!is_tombstone).then(|| value(random, self.values));
            let timestamp = self.now_ms - random.below(50) as i64;
            builder.push(&NewRecord { timestamp, key, value, headers: Vec::new() });
        }
        builder.build()
    }
}

/// A builder for what the producer sends next; sometimes it has begun a new epoch.
fn continued(random: &mut Random, log: &LogModel, producer: i64) -> BatchBuilder {
    let builder = BatchBuilder::new();
    match log.all.producers.get(&producer) {
        None => builder.producer(producer, 0, 0),
        Some(known) if known.open.is_none() && random.once_in(10) => {
            builder.producer(producer, known.epoch + 1, 0)
        }
        Some(known) => builder.producer(producer, known.epoch, known.next_sequence()),
    }
}

fn value(random: &mut Random, values: Values) -> Bytes {
    let bytes = match random.below(40) {
        _ if values == Values::Small => random.below(40),
        0 => 9_000,
        1 | 2 => 4_500,
        3..=6 => 700,
        _ => random.below(120),
    };
    let seed = random.number().to_be_bytes();
    (0..bytes as usize).map(|at| seed[at % 8] ^ (at / 8) as u8).collect()
}
