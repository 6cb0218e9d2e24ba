//! Durable writes of several sizes and depths; reads past the page cache and through it.

use crate::measured::Heading;
use crate::physical;
use crate::suite::Round;

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    for size in [4 << 10, 16 << 10, 64 << 10, 256 << 10] {
        for depth in [1, 4, 8] {
            round.raw_writes(size, depth)?;
        }
    }
    let path = round.dir.join("growing");
    for size in [4 << 10, 64 << 10] {
        let name = format!("raw: {} KiB write + fdatasync, growing", size >> 10);
        let measured = physical::synced_writes(&path, size, round.span)?;
        round.put(Heading::plain(name), measured);
    }
    let path = round.dir.join("flushed");
    let measured = physical::synced_writes(&path, 32 << 20, round.span * 2)?;
    round.put(Heading::plain("raw: 32 MiB write + fdatasync, growing"), measured);
    let path = round.dir.join("raw");
    for depth in [1, 2, 8] {
        let name = format!("raw: 1 MiB direct reads, {depth} at once");
        round.put(Heading::plain(name), physical::direct_reads(&path, depth)?);
    }
    physical::forget(&path)?;
    let measured = physical::cached_reads(&path, None)?;
    round.put(Heading::plain("raw: 1 MiB reads, not in the page cache"), measured);
    let measured = physical::cached_reads(&path, Some(round.span))?;
    round.put(Heading::plain("raw: 1 MiB reads, in the page cache"), measured);
    Ok(())
}
