//! The same appends to one log, to 1,000 and to 10,000; what making so many takes in time, memory and
//! open files.

use std::time::Instant;

use crate::measured::{Heading, Limit, Measured};
use crate::owner::{self, Logs, Owner};
use crate::sizes::{MANY, VERY_MANY};
use crate::suite::{Round, log_config, store_config};

const CLIENTS: usize = 256;
const ONE: &str = "append 16 KB, 1 log";

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let measured = append(round, 1)?;
    round.put(Heading::plain(ONE), measured);
    for (count, wanted) in [(MANY, ">= 90 %"), (VERY_MANY, ">= 50 %")] {
        let measured = append(round, count)?;
        let limit = Limit::Bytes(ONE.to_owned());
        round.put(Heading::against(format!("append 16 KB, {count} logs"), limit, wanted), measured);
    }
    Ok(())
}

fn append(round: &mut Round<'_>, count: u64) -> anyhow::Result<Measured> {
    let dir = round.dir.join("store");
    give_back_memory();
    let (before, start) = (resident_bytes()?, Instant::now());
    let mut owner = Owner::open(&dir, store_config(), Logs { count, config: log_config() })?;
    if count > 1 {
        let name = format!("make {count} logs");
        let wanted = if count == VERY_MANY { "< 5 s" } else { "" };
        let heading = Heading::against(name, Limit::None, wanted);
        round.put(heading, Measured::once(0, start.elapsed()));
        // A small batch each, in its segment: so each has all of its files and state.
        owner.fill(&owner::batch(1, 100), count, count * 168)?;
        owner.flush_all()?;
        let each = resident_bytes()?.saturating_sub(before) / count;
        round.note(&format!("memory of each of {count} logs"), &format!("{each} B (< 50 KB)"));
        let files = std::fs::read_dir("/proc/self/fd")?.count();
        round.note(&format!("open files with {count} logs"), &files.to_string());
    }
    let batch = owner::batch(16, 1000);
    // Memory that is new to the process costs more than what is measured.
    owner.fill(&batch, count, store_config().cache_bytes)?;
    let measured = owner.append(&batch, count, CLIENTS, round.span * 4, u64::MAX)?;
    owner.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(measured)
}

/// What earlier rows used and freed must not hide what this one takes.
fn give_back_memory() {
    #[expect(unsafe_code, reason = "std cannot trim the heap")]
    // SAFETY: the call takes no pointers, and only gives back memory that is free.
    let _given = unsafe { libc::malloc_trim(0) };
}

/// Of this process.
fn resident_bytes() -> anyhow::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(pages * PAGE_BYTES)
}

const PAGE_BYTES: u64 = 4096;
