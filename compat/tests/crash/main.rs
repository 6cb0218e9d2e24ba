//! Crashes of the built binary under load: `kill -9`, power cuts, disks that fail. Rounds by
//! `cargo xtask crash --rounds N`; each test prints what it did, for docs/guarantees.md.

mod dice;
mod kill;
mod load;
mod pipeline;
mod power_cut;
mod thin_disk;
mod transactions;

/// Rounds of each test when nobody said how many.
const ROUNDS: u64 = 3;

fn rounds() -> u64 {
    let said = std::env::var("TIDINGS_CRASH_ROUNDS").ok();
    said.map_or(ROUNDS, |said| said.parse().expect("TIDINGS_CRASH_ROUNDS is a number"))
}
