//! Opening a store of 1,000 logs: new, after a clean stop, and after an end without one.

use std::path::Path;
use std::time::Instant;

use crate::measured::{Heading, Limit, Measured};
use crate::owner::{self, Logs, Owner};
use crate::sizes::MANY;
use crate::suite::{Round, log_config, store_config};

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let dir = round.dir.join("store");
    let (mut owner, measured) = open(&dir)?;
    round.put(Heading::plain("open, new"), measured);
    let batch = owner::batch(16, 1000);
    owner.fill(&batch, MANY, round.sizes.started_bytes)?;
    owner.close()?;

    let (mut owner, measured) = open(&dir)?;
    let heading = Heading::against("open, after a clean stop", Limit::None, "< 300 ms");
    round.put(heading, measured);
    // As much as may be accepted and not in segments.
    owner.fill(&batch, MANY, store_config().unflushed_bytes_max)?;
    let unflushed = owner.store.unflushed_bytes();
    drop(owner);

    let (owner, measured) = open(&dir)?;
    let heading = Heading::against("open, after no clean stop", Limit::None, "< 1,000 ms");
    round.put(heading, measured);
    round.note("not in segments at that end", &format!("{unflushed} B"));
    owner.close()
}

fn open(dir: &Path) -> anyhow::Result<(Owner, Measured)> {
    let start = Instant::now();
    let owner = Owner::open(dir, store_config(), Logs { count: MANY, config: log_config() })?;
    Ok((owner, Measured::once(0, start.elapsed())))
}
