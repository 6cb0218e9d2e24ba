//! Compaction of one log in which every key was written ten times over, on the one thread that does it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tidings_node::broker::log::{LogConfig, LogId};

use crate::measured::{Heading, Limit, Measured};
use crate::owner::{self, Logs, Owner};
use crate::suite::{Round, log_config, store_config};

const VALUE_BYTES: usize = 1000;
const RECORDS_PER_BATCH: u64 = 16;
/// How often each key is there.
const TIMES: u64 = 10;

/// Time that passes until all is compacted.
const STEP: Duration = Duration::from_secs(600);
const STEPS: usize = 4;

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let dir = round.dir.join("store");
    let config = LogConfig {
        compact: true,
        delete: false,
        min_cleanable_dirty_millionths: 0,
        segment_bytes: 64 << 20,
        ..log_config()
    };
    let mut owner = Owner::open(&dir, store_config(), Logs { count: 1, config })?;
    let records = round.sizes.compacted_bytes / VALUE_BYTES as u64;
    let keys = (records / TIMES).max(1);
    let mut written = 0;
    for first in (0..records).step_by(usize::try_from(RECORDS_PER_BATCH)?) {
        let keys = (first..first + RECORDS_PER_BATCH).map(|record| Some(record % keys));
        let batch = owner::keyed_batch(keys, VALUE_BYTES);
        written += batch.bytes().len() as u64;
        owner.put_and_drive(&batch)?;
    }
    owner.flush_all()?;
    let size = |owner: &Owner| owner.store.log(LogId(0)).map(|log| log.size_bytes());
    let before = size(&owner).context("a log that is open")?;
    owner.upkeep = Duration::ZERO;
    let mut after = before;
    // The log is looked at, its last segment is sealed, and it is looked at again.
    for _ in 0..STEPS {
        owner.keep_up(STEP)?;
        after = size(&owner).context("a log that is open")?;
    }
    ensure!(after < before / 2, "{before} bytes of {written} written became {after}");
    round.note("compaction", &format!("{before} B became {after} B"));
    let heading = Heading::against("compact 1 KB records", Limit::None, ">= 200 MB/s");
    round.put(heading, Measured::once(before, owner.upkeep));
    owner.close()
}
